"""Classifiers without a network, which a network must beat: from a data directory to the scores of a fold.

They see what the weights of a network see, the training part of the fold; its validation speakers are not used.
scikit-learn, which takes half a second to import, is imported where something is trained.
"""

import functools
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ser.base.conf import option
from ser.base.errors import UserError
from ser.base.log import log
from ser.data.archives import read_vector
from ser.data.data_dir import read_dataset, read_table
from ser.data.fold_data import FoldData
from ser.infer.results_file import Choices
from ser.infer.score_files import write_scores
from ser.model_dir.checkpoint import load_config
from ser.model_dir.data_stamp import DataStamp, digest, stamp_data
from ser.model_dir.finetune_config import FinetuneConfig
from ser.model_dir.record import MadeFrom, begin_model_dir, changes_since, is_done, require_own

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

FUNCTIONALS = "functionals.scp"
_GRID = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # of C
_C = 1.0  # scikit-learn's default, where nothing can be chosen
_MOST_GROUPS = 5


@dataclass(frozen=True)
class Examples:
    """What a classifier learns from.

    Attributes
    ----------
    vectors : numpy.ndarray
        `[utterances, dimension]`; without a dimension for a classifier that reads none.
    emotions : numpy.ndarray
        Integers `[utterances]` from 0 to `num_classes` - 1.
    speakers : numpy.ndarray
        `[utterances]`
    num_classes : int
    """

    vectors: np.ndarray
    emotions: np.ndarray
    speakers: np.ndarray
    num_classes: int


def majority(train: Examples, vectors: np.ndarray) -> np.ndarray:
    """Probabilities `[len(vectors), classes]` that are the classes' shares of the training part for every utterance."""
    shares = np.bincount(train.emotions, minlength=train.num_classes) / len(train.emotions)
    return np.tile(shares, (len(vectors), 1))


def svm(train: Examples, vectors: np.ndarray) -> np.ndarray:
    """Probabilities `[len(vectors), classes]` of a support vector machine.

    They are the softmax over the classes of scikit-learn's one-vs-rest decision values, in which the machine's decision
    is the largest: in order, but not calibrated. (SVC's own come from a random cross-validation and may contradict its
    decision.) A class that the training part lacks has 0.
    """
    from scipy.special import softmax

    present = np.unique(train.emotions)
    if len(present) < 2:
        return majority(train, vectors)
    machine = make_svm(choose_c(train)).fit(train.vectors, train.emotions)
    decisions = machine.decision_function(vectors)
    if decisions.ndim == 1:  # of the second of two classes
        decisions = np.stack([np.zeros_like(decisions), decisions], axis=1)
    probabilities = np.zeros((len(vectors), train.num_classes))
    probabilities[:, present] = softmax(decisions, axis=1)
    return probabilities


def make_svm(c: float) -> "Pipeline":
    """Standardization on the training part, and a machine whose predict() is the largest of its decision values."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    return make_pipeline(StandardScaler(), SVC(C=c, class_weight="balanced", break_ties=True))


def choose_c(train: Examples) -> float:
    """The C of best weighted F1 in a cross-validation inside the training part, no speaker on both of its sides."""
    from sklearn.metrics import f1_score
    from sklearn.model_selection import GroupKFold, cross_val_predict

    num_groups = min(_MOST_GROUPS, len(np.unique(train.speakers)))
    splits = list(GroupKFold(num_groups).split(train.vectors, groups=train.speakers)) if num_groups > 1 else []
    if not splits or any(len(np.unique(train.emotions[learning])) < 2 for learning, _ in splits):
        log(f"C {_C:g}, not chosen: the training part has too few speakers")
        return _C
    hypotheses = {c: cross_val_predict(make_svm(c), train.vectors, train.emotions, cv=splits) for c in _GRID}
    scores = {c: 100 * f1_score(train.emotions, of_c, average="weighted") for c, of_c in hypotheses.items()}
    best = max(_GRID, key=scores.__getitem__)  # of equal ones the smallest
    log(f"C {best:g} of " + ", ".join(f"{c:g}: {score:.2f}" for c, score in scores.items()))
    return best


@dataclass(frozen=True)
class Classifier:
    """How a classifier finds probabilities, and whether it reads functionals.scp."""

    probabilities: Callable[[Examples, np.ndarray], np.ndarray]
    reads_functionals: bool


CLASSIFIERS = {
    "svm": Classifier(svm, reads_functionals=True),
    "majority": Classifier(majority, reads_functionals=False),
}


@dataclass(frozen=True)
class ClassicalConfig:
    """Options of a training without a network."""

    classifier: str = option("svm", "support vector machine on functionals.scp, or the training part's most frequent "
                             "class", choices=tuple(CLASSIFIERS))


@dataclass(frozen=True)
class StampWithFunctionals(DataStamp):
    """A DataStamp, and a checksum of functionals.scp that `of_data` leaves out: the table has networks, too."""

    functionals: str

    @property
    def of_data(self) -> str:
        return DataStamp(**{field.name: getattr(self, field.name) for field in fields(DataStamp)}).of_data

    def changes_since(self, before: Mapping[str, Any]) -> list[str]:
        changes = super().changes_since(before)
        return changes if before.get("functionals") == self.functionals else [*changes, f"functionals ({FUNCTIONALS})"]


@dataclass(frozen=True)
class ClassicalTask:
    """One training: a classifier on a fold. The seed makes no difference, for nothing is random.

    Attributes
    ----------
    model_dir, data_dir : str
    fold : str
        Name under data_dir/folds.
    config : ClassicalConfig
    seed : int
    """

    model_dir: str
    data_dir: str
    fold: str
    config: ClassicalConfig
    seed: int

    @property
    def classifier(self) -> Classifier:
        return CLASSIFIERS[self.config.classifier]

    def made_from(self) -> MadeFrom:
        """Everything that the result depends on; raises UserError."""
        stamp = stamp_data(self.data_dir, f"folds/{self.fold}", FinetuneConfig.feature_norm)
        if self.classifier.reads_functionals:
            stamp = StampWithFunctionals(**asdict(stamp), functionals=checksum_of_functionals(self.data_dir))
        return MadeFrom(options={**asdict(self.config), "fold": self.fold, "seed": self.seed}, data=stamp,
                        pretraining=None, paths={"data_dir": self.data_dir})


def read_functionals(data_dir: str | Path, utts: Sequence[str]) -> np.ndarray:
    """Vectors `[len(utts), dimension]` of functionals.scp; raises UserError."""
    path = Path(data_dir) / FUNCTIONALS
    remedy = f"run steps/make_functionals.sh {data_dir}"
    if not path.is_file():
        raise UserError(f"{path}: not there; {remedy}")
    table = read_table(path)
    missing = [utt for utt in utts if utt not in table]
    if missing:
        raise UserError(f"{path}: has no entry for {missing[0]} ({len(missing)} missing); {remedy}")
    vectors = [read_vector(utt, table[utt]) for utt in utts]
    if len({len(vector) for vector in vectors}) > 1:
        raise UserError(f"{path}: holds vectors of different length; {remedy}")
    return np.stack(vectors).astype(np.float64)


def read_vectors(classifier: Classifier, data_dir: str | Path, utts: Sequence[str]) -> np.ndarray:
    """What a classifier reads of some utterances, `[len(utts), dimension]`; raises UserError."""
    return read_functionals(data_dir, utts) if classifier.reads_functionals else np.empty((len(utts), 0))


def examples_of(data: FoldData, utts: Sequence[str], vectors: np.ndarray) -> Examples:
    """Utterances of a fold, with what a classifier reads of them."""
    return Examples(vectors, data.emotions(utts), np.array([data.speakers[utt] for utt in utts]),
                    len(data.classes))


def probabilities_elsewhere(model_dir: str | Path, train_data: str | Path, data_dir: str | Path,
                            utts: Sequence[str]) -> np.ndarray:
    """Train a finished model again, of which nothing is kept, and let it score utterances of another data directory.

    Parameters
    ----------
    model_dir : str or Path
    train_data, data_dir : str or Path
        Where it learns, and where the utterances are.
    utts : sequence of str

    Returns
    -------
    numpy.ndarray
        `[len(utts), classes]`

    Raises
    ------
    UserError
        The model was trained on something else than what train_data holds now.
    """
    options = load_config(model_dir)["options"]
    task = ClassicalTask(str(model_dir), str(train_data), options["fold"], ClassicalConfig(options["classifier"]),
                         options["seed"])
    changes = changes_since(model_dir, task.made_from())
    if changes:
        raise UserError(f"{model_dir}: changed since it was made: {', '.join(changes)}; train it again (run.sh: "
                        "stage 5)")
    data = FoldData.read(train_data, task.fold)
    train = data.parts["train"]
    examples = examples_of(data, train, read_vectors(task.classifier, train_data, train))
    vectors = read_vectors(task.classifier, data_dir, utts)
    if vectors.shape[1] != examples.vectors.shape[1]:
        raise UserError(f"{data_dir}/{FUNCTIONALS}: has dimension {vectors.shape[1]}, {train_data} has "
                        f"{examples.vectors.shape[1]}; make both with one version of steps/make_functionals.sh")
    return task.classifier.probabilities(examples, vectors)


def checksum_of_functionals(data_dir: str | Path) -> str:
    """Of the content of functionals.scp, whatever its archives are called; empty when it is not there."""
    path = Path(data_dir) / FUNCTIONALS
    return _checksum(path, path.stat().st_mtime_ns) if path.is_file() else ""


@functools.lru_cache(maxsize=8)  # many trainings are planned on one data directory
def _checksum(path: Path, time: int) -> str:
    return digest({utt: zlib.crc32(read_vector(utt, place).data) for utt, place in read_table(path).items()})


def train_classical(task: ClassicalTask, *, precision: str, restart: bool) -> str | None:
    """Train and score one fold.

    Parameters
    ----------
    task : ClassicalTask
    precision : str
        In what scikit-learn computes.
    restart : bool
        Begin again whatever the directory holds.

    Returns
    -------
    str or None
        The result line; None when the directory already holds the RESULT of these options.

    Raises
    ------
    UserError
        Data, options or what the directory holds do not fit together.
    """
    # Options, and whether they are done.
    made_from = task.made_from()
    require_own(task.model_dir)
    if not restart and is_done(task.model_dir, made_from):
        return None

    # Data.
    data = FoldData.read(task.data_dir, task.fold)
    train, test = data.parts["train"], data.parts["test"]
    vectors = read_vectors(task.classifier, task.data_dir, train + test)
    examples = examples_of(data, train, vectors[: len(train)])

    # What the scores are made from. Only now is removed what stood in their place.
    dimension = vectors.shape[1]
    options_digest = digest(asdict(task.config), dimension, precision)[:6]
    dataset = read_dataset(task.data_dir)
    begin_model_dir(task.model_dir, made_from, restart=restart, precision=precision, device=None,
                    classes=data.classes, training_speakers=data.training_speakers, dimension=dimension,
                    dataset=dataset, protocol=data.protocol,
                    utterances={part: len(utts) for part, utts in data.parts.items()}, options_digest=options_digest)

    # Scores.
    probabilities = task.classifier.probabilities(examples, vectors[len(train) :])
    named = {"classifier": task.config.classifier}
    if task.classifier.reads_functionals:
        named |= {"functionals": checksum_of_functionals(task.data_dir)}
    phrase = f"classifier {task.config.classifier}" + (f" {dimension} functionals" if dimension else "")
    trained = Choices(dataset=dataset, protocol=data.protocol, seed=task.seed, phrase=phrase, options=named,
                      pretraining={}, dimension=dimension, log_energy=False, precision=precision, device="cpu",
                      options_digest=options_digest)
    return write_scores(task.model_dir, data, probabilities, trained, made_from.data.of_data)
