"""Learning-rate schedules: a factor for each optimizer step."""

import math


def step_decay(milestones, factor):
    """Multiply by `factor` from the beginning of each milestone epoch on; epochs count from 1 (section 4.2)."""
    return lambda epoch, progress: factor ** sum(epoch >= milestone for milestone in milestones)


def warmup_cosine(warmup):
    """Rise linearly over the first `warmup` of all steps, then fall to zero along a cosine."""
    def scale(epoch, progress):
        if progress < warmup:
            return progress / warmup
        return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))
    return scale
