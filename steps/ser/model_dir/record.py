"""What tells whether a model directory is done, and from what it was made: options, data, pre-trained model."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser.base.errors import UserError
from ser.base.log import log
from ser.base.processes import world_size
from ser.model_dir.checkpoint import load_config, save_config
from ser.model_dir.data_stamp import DataStamp, digest

if TYPE_CHECKING:  # torch takes a second, which scripts that ask what is done need not wait
    import torch

# What a training leaves in its directory beside config.json; what says that it is done goes first, so that a killed
# removal is not. RESULT is of a fold, TRAINED of a final model, which no speaker is left to test.
DONE = ("RESULT", "TRAINED")
ANALYSIS = ("probes.tsv", "silhouette.tsv", "embeddings.npz",
            "masks.png", "masks.svg", "masks.tsv")  # in its folder analysis
_FOLDERS = ("score", "analysis")
_MADE = (*DONE, "results.json", "README.md", "state.safetensors", "best.safetensors", "last.safetensors",
         "calibration.json", "log/epochs.tsv", "score/per_utt", "score/classes",
         *(f"analysis/{name}" for name in ANALYSIS))


@dataclass(frozen=True)
class MadeFrom:
    """All that the result of a training depends on, but for precision and processor.

    Attributes
    ----------
    options : dict
        Of network and training, with the seed; another value makes another model.
    data : DataStamp
    pretraining : str or None
        Identity of the pre-trained model.
    paths : dict of str to str or None
        Where data and pre-trained model are, for readers of config.json; nothing depends on them.
    folds : str or None
        Identity of the models of the folds, which a final model follows; None for one of them.
    """

    options: Mapping[str, Any]
    data: DataStamp
    pretraining: str | None
    paths: Mapping[str, str | None]
    folds: str | None = None

    def identity(self, precision: str) -> str:
        """Checksum of a training: a state with the same one is of the same training."""
        of_folds = [] if self.folds is None else [self.folds]
        return digest(dict(self.options), asdict(self.data), self.pretraining, precision, *of_folds)

    def as_config(self) -> dict[str, Any]:
        """The options that config.json keeps."""
        of_folds = {} if self.folds is None else {"folds_identity": self.folds}
        return {**self.options, **self.paths, "data_stamp": self.data.of_data, "pretrained_identity": self.pretraining,
                **of_folds}


@functools.cache  # the code of this process stays the same, whatever is committed while it trains
def _git(*words: str) -> str:
    """What git says of this file's repository; nothing where there is no git or no repository."""
    if not shutil.which("git"):
        return ""
    return subprocess.run(["git", "-C", Path(__file__).parent, *words], capture_output=True, text=True).stdout.strip()


def version() -> str:
    """The version of the recipe."""
    return (Path(__file__).parents[1] / "VERSION").read_text(encoding="utf-8").strip()


def environment(device: torch.device | None, precision: str) -> dict[str, Any]:
    """Versions, processor and commit, for the record; nothing is decided by it.

    The device is None where scikit-learn trains, which takes one core and does without torch.
    """
    if device is None:
        trains_with, processor = {"scikit-learn": importlib.metadata.version("scikit-learn")}, "cpu x 1"
    else:
        import torch

        trains_with = {"torch": torch.__version__}
        is_gpu = device.type == "cuda"
        processor = torch.cuda.get_device_name(device) if is_gpu else f"cpu x {torch.get_num_threads()}"
    commit = _git("rev-parse", "--short", "HEAD")
    changes = "+changes" if _git("status", "--porcelain", "-uno") else ""
    return {
        "recipe": version(),
        "python": platform.python_version(),
        **trains_with,
        "precision": precision,
        "device": processor,
        "processes": world_size(),
        "commit": commit + changes,
    }


def require_own(model_dir: str | Path) -> None:
    """Raise UserError unless a directory is a training's, empty or not there: nobody else's files are touched.

    The log of a job may be in its folder log before the training begins.
    """
    path = Path(model_dir)
    config = path / "config.json"
    if not path.is_dir():
        if path.exists() or path.is_symlink():
            raise UserError(f"{path}: is no folder; take another directory")
    elif config.exists():
        if not _is_of_a_training(config):
            raise UserError(f"{config}: is not that of a training; take another directory, or remove this one yourself")
    else:
        strangers = sorted(each.name for each in path.iterdir()
                           if each.name != "log" and not each.name.startswith(".") and not _is_empty_folder(each))
        if strangers:
            raise UserError(f"{path}: is no model directory, for it holds {strangers[0]} and no config.json of a "
                            "training; take another directory")


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _is_of_a_training(path: Path) -> bool:
    """Whether a config.json was written by this recipe, in whichever version."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError):
        return False
    return (isinstance(config, dict) and "options" in config
            and not config.keys().isdisjoint(("format_version", "identity")))


def changes_since(model_dir: str | Path, made_from: MadeFrom) -> list[str]:
    """What of data and pre-trained model is other than it was when a model directory was made, in words.

    Returns
    -------
    list of str
        Empty when all is as it was, or when nothing is there.

    Raises
    ------
    UserError
        The directory was made with other options, of which the message names one, is of another format, or is not that
        of a training.
    """
    require_own(model_dir)
    if not (Path(model_dir) / "config.json").exists():
        return []
    config = load_config(model_dir)
    before = config["options"]
    unknown = []
    for key, value in sorted(made_from.options.items()):
        if key not in before:
            unknown.append(f"the version of the recipe (it had no {key})")
        elif before[key] != value:
            raise _other_option(model_dir, key, before[key], value)
    start = before.get("pretrained_identity")
    if (start is None) != (made_from.pretraining is None):
        key = "pretrained_dir"
        raise _other_option(model_dir, key, before.get(key), made_from.paths.get(key))
    changes = data_changes_since(config, made_from.data) + unknown[:1]
    if start != made_from.pretraining:
        changes.append("pre-trained model")
    if before.get("folds_identity") != made_from.folds:
        changes.append("models of the folds")
    return changes


def _other_option(model_dir: str | Path, key: str, before: Any, now: Any) -> UserError:
    return UserError(f"{model_dir}: was made with {key} {before}, asked for is {now}; take another directory "
                     "(run.sh: --exp-dir) or give --restart true (run.sh: --stage N)")


def data_changes_since(config: Mapping[str, Any], data: DataStamp) -> list[str]:
    """What of the data is other than in a config.json, in words."""
    if "data" not in config:
        return ["the version of the recipe (it kept no checksums of features)"]
    return data.changes_since(config["data"])


def is_finished(model_dir: str | Path) -> bool:
    """Whether a training has come to its end in a model directory, whatever it was made from."""
    return any((Path(model_dir) / name).exists() for name in DONE)


def is_done(model_dir: str | Path, made_from: MadeFrom) -> bool:
    """Whether a model directory is finished of just this; says what has changed. Raises as changes_since()."""
    changes = changes_since(model_dir, made_from)
    if changes:
        log(f"{model_dir}: changed since it was made: {', '.join(changes)}; it is made again from the start")
    return not changes and is_finished(model_dir)


def begin_model_dir(model_dir: str | Path, made_from: MadeFrom, *, restart: bool, precision: str,
                    device: torch.device | None, **derived: Any) -> None:
    """Write config.json, once options and data are known to be right.

    What an earlier training left there is removed before, when `restart` says so or it was made from other data;
    otherwise the training continues from its state.

    Parameters
    ----------
    model_dir : str or Path
    made_from : MadeFrom
    restart : bool
    precision : str
    device : torch.device or None
        As for environment().
    derived
        What else config.json keeps.
    """
    require_own(model_dir)
    if restart or changes_since(model_dir, made_from):
        clear_model_dir(model_dir)
    save_config(model_dir, made_from.as_config(), identity=made_from.identity(precision), data=asdict(made_from.data),
                environment=environment(device, precision), **derived)


def is_analysed(model_dir: str | Path) -> bool:
    """Whether steps/analyse.py has measured a model; it writes probes.tsv last."""
    return (Path(model_dir) / "analysis" / "probes.tsv").exists()


def clear_model_dir(model_dir: str | Path) -> None:
    """Remove what a training left beside config.json, and nothing else; raises UserError as require_own().

    Of a folder that is a link the link goes, and not what it leads to.
    """
    require_own(model_dir)
    for name in _MADE:
        path = Path(model_dir) / name
        if path.parent.is_symlink() and path.parent.name in _FOLDERS:
            path = path.parent
        path.unlink(missing_ok=True)
    for name in _FOLDERS:
        with contextlib.suppress(OSError):  # not there, or a user's file is in it
            (Path(model_dir) / name).rmdir()


def feature_configuration(data_dir: str | Path) -> dict[str, str]:
    """The configuration of features and VAD that stage 2 left in the data directory, as `{name: text}`."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted((Path(data_dir) / "conf").glob("*.conf"))}
