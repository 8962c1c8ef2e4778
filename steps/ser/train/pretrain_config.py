"""The options of a speaker pre-training; without torch, which who asks what is done need not wait for."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ser.base.conf import option
from ser.base.processes import world_size
from ser.data.normalization import PER_UTTERANCE
from ser.model_dir.data_stamp import stamp_data
from ser.model_dir.record import MadeFrom
from ser.nn.options import BACKBONES, POOLINGS
from ser.train.augment_option import check_augment


@dataclass(frozen=True)
class PretrainConfig:
    """The schedule of the pre-training, of which the paper prints nothing."""

    backbone: str = option("resnet18", "feature extractor", choices=BACKBONES)
    pooling: str = option("mean", "pooling of the last map, as in steps/finetune.py", choices=POOLINGS)
    epochs: int = option(24, "epochs")
    batch_size: int = option(64, "utterances per step of each process (GPU)")
    global_batch: bool = option(False, "batch-size is of all processes together; else N of them multiply lr by sqrt(N)")
    sync_batch_norm: bool = option(False, "normalize by the statistics of all processes' batches together, not of each "
                                   "one's own")
    lr: float = option(0.001, "Adam's highest learning rate")
    warmup: float = option(0.1, "share of the steps over which the learning rate rises, before it falls as a cosine")
    crop: int = option(200, "frames of a training crop")
    feature_norm: str = option("utterance-mean", "feature normalization", choices=tuple(PER_UTTERANCE))
    augment: str = option("none", "what changes training crops at random: none, or some of specaugment, noise, speed "
                          "and warp with commas between, the first one first")
    weight_decay: float = option(0.0, "decoupled weight decay of all parameters, as a factor on the learning rate")
    margin: float = option(0.0, "of an additive angular margin softmax, in radians; 0 is the cross entropy of a linear "
                           "layer")

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch_size, self.crop) < 1:
            raise ValueError("epochs, batch-size and crop must be 1 or more")
        if not self.lr > 0:
            raise ValueError(f"lr must lie above 0, not {self.lr}")
        if not 0 < self.warmup < 1:
            raise ValueError(f"warmup must lie between 0 and 1, not {self.warmup}")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight-decay must be 0 or more, not {self.weight_decay}")
        if not 0 <= self.margin < math.pi / 2:
            raise ValueError(f"margin must be 0 or more and below pi / 2, not {self.margin}")
        check_augment(self.augment, self.feature_norm)

    def of_processes(self) -> str:
        """How many processes train, where that makes another model; else nothing."""
        is_same = world_size() == 1 or self.global_batch and self.sync_batch_norm
        return "" if is_same else f" {world_size()} processes"

    def made_from(self, data_dir: str | Path, seed: int) -> MadeFrom:
        """What a pre-training with these options depends on; raises UserError for damaged features."""
        return MadeFrom(options={**asdict(self), "seed": seed}, pretraining=None, paths={"data_dir": str(data_dir)},
                        data=stamp_data(data_dir, "identification", self.feature_norm, np.float16))
