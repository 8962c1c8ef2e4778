"""results.json: what a RESULT says, as data for programs; written before the text, which is made from it.

A kind of results file is a dataclass of numbers, words, lists, dicts by word, and other dataclasses. Its JSON has the
same names, sorted, numbers in full precision, and `format`, the version of them all. A field with a default came later
within a format, so it may be missing.
"""

import json
import types
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from ser.base.errors import UserError
from ser.base.files import write_text
from ser.stats.metrics import ClassScores, Scores, scores_by_class, scores_of

NAME = "results.json"
FORMAT = 2

_Kind = TypeVar("_Kind")


@dataclass(frozen=True)
class Choices:
    """What was trained, as the result line names it.

    Attributes
    ----------
    dataset, protocol : str
    seed : int
    phrase : str
        The options below, in the words of the line.
    options : dict
        Those of the training that the line names, by their name in config.json: some that a reader always wants, and
        all that are not at their default.
    pretraining : dict
        dataset, num_speakers, seed, data_stamp, identity and options_digest of the pre-training; empty without one.
    dimension : int
        Features per frame.
    log_energy : bool
        Whether the log energy is one of them.
    precision, device : str
        In what and on what was trained: `bf16` or `fp32`, `cpu` or `cuda`.
    options_digest : str
        Six hexadecimal digits for all options, defaults included, and the precision; the same for all folds and seeds.
    """

    dataset: str
    protocol: str
    seed: int
    phrase: str
    options: dict[str, Any]
    pretraining: dict[str, Any]
    dimension: int
    log_energy: bool
    precision: str
    device: str
    options_digest: str

    @property
    def words(self) -> str:
        """The end of a result line."""
        return f"{self.phrase}, {self.precision} {self.device}, options {self.options_digest}"


@dataclass(frozen=True)
class Counts:
    """Which classes were taken for which, and the scores that follow.

    Attributes
    ----------
    classes : list of str
    confusion : list of list of int
        Utterances, row = reference, column = hypothesis, in the order of `classes`.
    scores : Scores
    by_class : dict of str to ClassScores
    """

    classes: list[str]
    confusion: list[list[int]]
    scores: Scores
    by_class: dict[str, ClassScores]

    @classmethod
    def of(cls, confusion: np.ndarray, classes: list[str]) -> "Counts":
        """Those of a confusion matrix `[classes, classes]`."""
        by_class = dict(zip(classes, scores_by_class(confusion), strict=True))
        return cls(classes, confusion.tolist(), scores_of(confusion), by_class)


@dataclass(frozen=True)
class FoldResults:
    """results.json of a model directory: the test utterances of one fold.

    Attributes
    ----------
    trained : Choices
    fold : str
        Its name under DATA/folds.
    data_stamp : str
        Checksum of the data that it was trained on (ser.model_dir.data_stamp), the same for all folds.
    test : Counts
    """

    trained: Choices
    fold: str
    data_stamp: str
    test: Counts


@dataclass(frozen=True)
class PretrainResults:
    """results.json of a pre-training.

    Attributes
    ----------
    trained : Choices
    data_stamp : str
        As in FoldResults.
    accuracy : float
        Of the identification of the speakers, best of all epochs, in percent.
    utterances, num_speakers : int
        On how many held-out utterances, of how many speakers.
    eer : float or None
        Equal error rate of their verification (ser.infer.verification) with the weights of that epoch, in percent. None
        where it cannot be measured, and of a version of the recipe before it was.
    trials : int
        On how many pairs of the held-out utterances; 0 without an equal error rate.
    """

    trained: Choices
    data_stamp: str
    accuracy: float
    utterances: int
    num_speakers: int
    eer: float | None = None
    trials: int = 0

    @property
    def eer_words(self) -> str:
        """The equal error rate as the result line says it, and on what it was measured."""
        if self.eer is None:
            return "EER none"
        sampled = self.trials < self.utterances * (self.utterances - 1) // 2
        return f"EER {self.eer:.2f} over {self.trials}{' sampled' if sampled else ''} trials"


def result_line(scores: Scores, what: str, trained: Choices, where: str | Path) -> str:
    """The line that users grep: `%WF1 x [ correct / total correct, UA y, WA z, WHAT, … ] WHERE`."""
    return (f"%WF1 {scores.wf1:.2f} [ {scores.correct} / {scores.total} correct, UA {scores.ua:.2f}, "
            f"WA {scores.wa:.2f}, {what}, seed {trained.seed}, "
            f"{trained.dataset} {trained.protocol}, {trained.words} ] {where}\n")


def pretraining_line(results: PretrainResults, where: str | Path) -> str:
    """The same of a pre-training: `%IDACC x [ best of N epochs on …, EER y over N trials, … ] WHERE`."""
    trained = results.trained
    return (f"%IDACC {results.accuracy:.2f} [ best of {trained.options['epochs']} epochs on {results.utterances} "
            f"held-out utterances, {results.num_speakers} speakers, {results.eer_words}, seed {trained.seed}, "
            f"{trained.dataset} {trained.protocol}, {trained.words} ] {where}\n")


def write_results(path: str | Path, results: Any) -> None:
    """Write a results file; the same results give the same bytes."""
    data = {"format": FORMAT, **asdict(results)}
    write_text(path, json.dumps(data, indent=1, sort_keys=True, allow_nan=False) + "\n")


def read_results(path: str | Path, kind: type[_Kind], remedy: str) -> _Kind:
    """Read a results file.

    Parameters
    ----------
    path : str or Path
    kind : type
        Dataclass that it holds.
    remedy : str
        What a message tells the user to do.

    Raises
    ------
    UserError
        The file is missing, damaged, or of another version of the recipe.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        version = data.pop("format")
    except FileNotFoundError:
        raise UserError(f"{path}: not there; {remedy}") from None
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        raise UserError(f"{path}: not a results file; {remedy}") from None
    if version != FORMAT:
        raise UserError(f"{path}: has format {version}, this version of the recipe reads {FORMAT}; {remedy}")
    try:
        return _built(kind, data, "")
    except ValueError as error:
        raise UserError(f"{path}: {error}; {remedy}") from None


def read_fold_results(model_dir: str | Path, data_dir: str | Path) -> FoldResults:
    """Read results.json of a model directory; raises UserError, and says how to make it anew."""
    if not (Path(model_dir) / "RESULT").is_file():
        raise UserError(f"{model_dir}/RESULT: not there; run stage 5")
    return read_results(Path(model_dir) / NAME, FoldResults,
                        f"score it again: steps/score.py {model_dir} {data_dir}")


def _built(kind: Any, value: Any, name: str) -> Any:
    """Build a value of some type from JSON; `name` is where it is. Raises ValueError when it is of another type."""
    origin: Any = get_origin(kind) or kind
    args = get_args(kind)
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        required = {field.name for field in fields(kind) if field.default is field.default_factory is MISSING}
        if not isinstance(value, dict) or not required <= value.keys() <= hints.keys():
            raise ValueError(f"{name or 'it'} must have {', '.join(hints)}")
        return origin(**{key: _built(hints[key], each, f"{name} {key}".strip()) for key, each in value.items()})
    if origin is types.UnionType:  # T | None
        return None if value is None else _built(args[0], value, name)
    if origin is Any:
        return value
    if origin is float and type(value) is int:
        value = float(value)
    if type(value) is not origin:
        raise ValueError(f"{name} must be of type {origin.__name__}")
    if origin is list:
        return [_built(args[0], each, name) for each in value]
    if origin is dict:
        return {key: _built(args[1], each, f"{name} {key}") for key, each in value.items()}
    return value
