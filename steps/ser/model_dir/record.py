"""What tells whether a model directory is done, and by what it was made: options, stamp of the data, environment."""

import hashlib
import json
import platform
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ser.base.errors import UserError
from ser.base.processes import world_size
from ser.model_dir.checkpoint import load_config

# Options that are checksums, in words.
_CHANGED = {
    "data_stamp": "was made before its data directory changed",
    "pretrained_identity": "was made from another pre-trained model",
}


def digest(*parts: Any) -> str:
    """sha256 of JSON-able parts."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _git(*words: str) -> str:
    """What git says of this file's repository; nothing where there is no git or no repository."""
    if not shutil.which("git"):
        return ""
    return subprocess.run(["git", "-C", Path(__file__).parent, *words], capture_output=True, text=True).stdout.strip()


def environment(device: torch.device, precision: str) -> dict[str, Any]:
    """Versions, processor and commit, for the record; nothing is decided by it."""
    is_gpu = device.type == "cuda"
    commit = _git("rev-parse", "--short", "HEAD")
    changes = "+changes" if _git("status", "--porcelain", "-uno") else ""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "precision": precision,
        "device": torch.cuda.get_device_name(device) if is_gpu else f"cpu x {torch.get_num_threads()}",
        "processes": world_size(),
        "commit": commit + changes,
    }


def is_done(model_dir: str | Path, options: Mapping[str, Any]) -> bool:
    """Whether a model directory holds the RESULT of these options.

    Parameters
    ----------
    model_dir : str or Path
    options : dict
        Everything that the result depends on.

    Raises
    ------
    UserError
        The directory was made with other options, of which the message names one, or is of another format.
    """
    model_dir = Path(model_dir)
    if not (model_dir / "config.json").exists():
        return False
    before = load_config(model_dir)["options"]
    for key in sorted(options.keys() | before.keys()):
        if options.get(key) != before.get(key):
            reason = _CHANGED.get(key, f"was made with {key} {before.get(key)}, asked for is {options.get(key)}")
            raise UserError(f"{model_dir}: {reason}; take another directory (run.sh: --exp-dir) or give "
                            "--restart true (run.sh: --stage N)")
    return (model_dir / "RESULT").exists()


def open_model_dir(model_dir: str | Path, options: Mapping[str, Any], restart: bool) -> bool:
    """Make a model directory, or with `restart` a new one; return is_done()."""
    if restart:
        shutil.rmtree(model_dir, ignore_errors=True)
    Path(model_dir).mkdir(parents=True, exist_ok=True)
    return is_done(model_dir, options)


def data_stamp(data_dir: str | Path, lists: str) -> str:
    """sha256 over what defines a data directory's utterances, labels and features, and some lists of it.

    Parameters
    ----------
    data_dir : str or Path
    lists : str
        Folder of utterance lists under data_dir.
    """
    data_dir = Path(data_dir)
    files = [data_dir / name for name in ("utt2spk", "utt2emo", "utt2num_frames", "conf/fbank.conf", "conf/vad.conf")]
    if (data_dir / lists).is_dir():
        files += sorted((data_dir / lists).iterdir())
    stamp = hashlib.sha256()
    for path in files:
        if path.is_file():
            stamp.update(f"{path.relative_to(data_dir)}\n".encode() + path.read_bytes())
    return stamp.hexdigest()


def feature_configuration(data_dir: str | Path) -> dict[str, str]:
    """The fbank and VAD configuration that stage 2 left in the data directory, as `{name: text}`."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted((Path(data_dir) / "conf").glob("*.conf"))}
