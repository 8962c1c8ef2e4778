"""The options of a fine-tuning beside those of the network, as section 4.2 and conf/finetune.conf have them."""

import math
from dataclasses import dataclass

from ser.base.conf import option
from ser.data.normalization import PER_UTTERANCE
from ser.nn.options import AD_LOSSES


@dataclass(frozen=True)
class FinetuneConfig:
    """Training as section 4.2 prints it; conf/finetune.conf holds what it leaves open."""

    epochs: int = option(50, "epochs")
    min_steps: int = option(0, "on a small corpus more epochs, so that at least this many steps are made")
    batch_size: int = option(128, "utterances per step")
    lr: float = option(0.01, "Adam's learning rate of the classifier and the heads of L_AD")
    extractor_lr_factor: float = option(0.01, "learning rate of the extractor without its AD modules, pre-trained or "
                                        "not, as a factor on --lr")
    ad_lr_factor: float = option(0.01, "the same for AD modules with their attention")
    lr_schedule: str = option("step", "how learning rates fall: step, as the paper's, or cosine after a warm-up over a "
                              "twentieth of the steps", choices=("step", "cosine"))
    lr_milestones: str = option("21,31,41", "epochs from which on the learning rate is multiplied by --lr-decay")
    lr_decay: float = option(0.1, "see --lr-milestones")
    ad_weight: float = option(0.5, "lambda, the weight of L_AD")
    ad_loss: str = option("both", "what L_AD consists of: L_AD+, L_AD-, both or none", choices=tuple(AD_LOSSES))
    crop: int = option(300, "frames of a training crop")
    feature_norm: str = option("utterance-mean", "feature normalization", choices=tuple(PER_UTTERANCE))
    class_weights: str = option("none", "weights of the emotion losses", choices=("none", "balanced"))
    label_smoothing: float = option(0.0, "share of a target that goes to all emotions alike, in both emotion losses")
    weight_decay: float = option(0.0, "decoupled weight decay of all parameters, as a factor on the learning rate")
    augment: str = option("none", "what changes training crops at random: none, or some of specaugment, noise, speed, "
                          "warp and copypaste with commas between, the first one first")
    neutral_class: str = option("neu", "label of neutral utterances, for --augment copypaste")
    select: str = option("best", "epoch that is scored: best on the validation speaker, or last",
                         choices=("best", "last"))

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch_size, self.crop) < 1:
            raise ValueError("epochs, batch-size and crop must be 1 or more")
        if self.min_steps < 0:
            raise ValueError(f"min-steps must be 0 or more, not {self.min_steps}")
        if self.min_steps and self.lr_schedule == "step":
            raise ValueError("min-steps adds epochs, for which the milestones of lr-schedule step say nothing; take "
                             "--lr-schedule cosine")
        if not min(self.lr, self.extractor_lr_factor, self.ad_lr_factor) >= 0:
            raise ValueError("lr and its factors must not lie below 0")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight-decay must be 0 or more, not {self.weight_decay}")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label-smoothing must be 0 or more and below 1, not {self.label_smoothing}")
        if not all(word.isdecimal() for word in self.lr_milestones.split(",")):
            raise ValueError(f"lr-milestones must be epochs with commas between, not {self.lr_milestones!r}")

    @property
    def milestones(self) -> list[int]:
        return [int(word) for word in self.lr_milestones.split(",")]

    def epochs_for(self, num_utterances: int) -> int:
        """More epochs than `epochs` over so many utterances where those make fewer than `min_steps` steps."""
        steps_per_epoch = math.ceil(num_utterances / self.batch_size)
        return max(self.epochs, math.ceil(self.min_steps / steps_per_epoch))
