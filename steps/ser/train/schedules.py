"""Learning-rate schedules: a factor for each optimizer step."""

import math
from collections.abc import Callable, Sequence

# (epoch, share of all steps that are done) to a factor on the learning rates
Schedule = Callable[[int, float], float]


def step_decay(milestones: Sequence[int], factor: float) -> Schedule:
    """Multiply by `factor` from the beginning of each milestone epoch on; epochs count from 1 (section 4.2)."""
    return lambda epoch, progress: factor ** sum(epoch >= milestone for milestone in milestones)


def warmup_cosine(warmup: float) -> Schedule:
    """Rise linearly over the first `warmup` of all steps, then fall to zero along a cosine."""
    def scale(epoch: int, progress: float) -> float:
        if progress < warmup:
            return progress / warmup
        return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))
    return scale
