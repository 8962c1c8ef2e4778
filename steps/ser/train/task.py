"""A training as it is asked for: what it depends on, and whether its start fits; without torch, to plan many."""

from dataclasses import asdict, dataclass

from ser.base.conf import without_comments
from ser.base.errors import UserError
from ser.data.feature_conf import OTHER_FEATURES
from ser.data.folds import FINAL
from ser.infer.cross_validation import CrossValidation, read_cross_validation
from ser.model_dir.checkpoint import load_config
from ser.model_dir.data_stamp import stamp_all_folds, stamp_data
from ser.model_dir.finetune_config import FinetuneConfig
from ser.model_dir.record import MadeFrom, feature_configuration
from ser.nn.options import EmotionModelConfig
from ser.train.augment_option import check_augment


@dataclass(frozen=True)
class Task:
    """One training: a system on a fold with a seed.

    Attributes
    ----------
    model_dir, data_dir : str
    fold : str
        Name under data_dir/folds; or FINAL, for a model that learns from all speakers.
    model : EmotionModelConfig
    config : FinetuneConfig
    pretrained_dir : str or None
        Model directory of a speaker model whose extractor is the start.
    seed : int
    folds_dir : str or None
        Of a final model: the folder of the model directories of all folds.

    Raises
    ------
    UserError
        Part of the extractor is to stay as pre-trained, and there is no pretrained_dir; or there is no such
        augmentation.
    """

    model_dir: str
    data_dir: str
    fold: str
    model: EmotionModelConfig
    config: FinetuneConfig
    pretrained_dir: str | None
    seed: int
    folds_dir: str | None = None

    def __post_init__(self) -> None:
        if self.model.train_extractor != "all" and not self.pretrained_dir:
            raise UserError(f"train-extractor {self.model.train_extractor} keeps weights of a pre-training; "
                            "give --pretrained-dir")
        try:
            check_augment(self.config.augment, self.config.feature_norm, "copypaste")
        except ValueError as error:
            raise UserError(str(error)) from None

    def made_from(self) -> MadeFrom:
        """Everything that the result depends on; raises UserError."""
        options = {**asdict(self.model), **asdict(self.config), "fold": self.fold, "seed": self.seed}
        pretraining = load_config(self.pretrained_dir)["identity"] if self.pretrained_dir else None
        paths = {"data_dir": self.data_dir, "pretrained_dir": self.pretrained_dir}
        if self.fold != FINAL:
            stamp = stamp_data(self.data_dir, f"folds/{self.fold}", self.config.feature_norm)
            return MadeFrom(options, stamp, pretraining, paths)
        stamp = stamp_all_folds(self.data_dir, self.config.feature_norm)
        return MadeFrom({**options, "select": "last"}, stamp, pretraining, {**paths, "folds_dir": self.folds_dir},
                        folds=self.cross_validation().identity)

    def require_fitting_start(self) -> None:
        """Raise UserError unless the pre-trained model is of such a network and was trained on such features."""
        if not self.pretrained_dir:
            return
        pretrained = load_config(self.pretrained_dir)
        for key, value in (("backbone", self.model.backbone), ("feature_norm", self.config.feature_norm)):
            if pretrained["options"][key] != value:
                raise UserError(f"{self.pretrained_dir}: pre-trained with {key}={pretrained['options'][key]}, "
                                f"fine-tuning asks for {value}; pre-train again or give --{key.replace('_', '-')}")
        own = feature_configuration(self.data_dir)
        for name in ("fbank.conf", *OTHER_FEATURES):
            if without_comments(pretrained["features"].get(name, "")) != without_comments(own.get(name, "")):
                raise UserError(f"{self.pretrained_dir}: pre-trained on features of another conf/{name} than "
                                f"{self.data_dir}; extract both with the same one (run.sh: --stage 2)")

    def cross_validation(self) -> CrossValidation:
        """What the folds say of a final model; raises UserError."""
        assert self.folds_dir is not None
        stamp = stamp_all_folds(self.data_dir, self.config.feature_norm).of_data
        return read_cross_validation(self.folds_dir, self.data_dir, stamp,
                                     {**asdict(self.model), **asdict(self.config), "seed": self.seed})
