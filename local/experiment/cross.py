"""Experiments whose models are scored on each other's data: which they are, and what both corpora of a pair have.

A model of any fold has met no speaker of the other corpus, so every fold's model scores all of it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from local.experiment.experiment import SYNTHETIC_WARNING, Experiment, seed_words
from local.experiment.systems import System, find_systems
from ser.base.errors import UserError
from ser.data.data_dir import is_synthetic, is_word, read_table, read_text
from ser.infer.results_file import read_results

PLAN = "plan.json"
PAIR = "pair.json"
REFERENCES = "utt2emo"
LABEL_MAP = "label_map"
_SAME_WHEN_BAD = ("silent", "constant")  # what sounds like this is no evidence that two recordings are one


@dataclass(frozen=True)
class Corpus:
    """A finished experiment.

    Attributes
    ----------
    name : str
        Of its directory.
    exp, data, dataset, protocol : str
    folds : list of str
    """

    name: str
    exp: str
    data: str
    dataset: str
    protocol: str
    folds: list[str]

    def experiment(self, systems: Sequence[str], seeds: list[str]) -> Experiment:
        return Experiment(dataset=self.dataset, protocol=self.protocol, folds=self.folds, seeds=seeds, exp=self.exp,
                          data=self.data, systems=find_systems(list(systems)))


@dataclass(frozen=True)
class Pair:
    """Models of one corpus, and what of another they are scored on: pair.json.

    Attributes
    ----------
    trained_on, scored_on : str
        Names of experiments.
    dataset, data : str
        Of the scored corpus.
    folds : list of str
        Of the models.
    classes : list of str
        That both have.
    label_map, scored_label_map : dict of str to str
        The class of each label of the models and of the scored corpus; without those that only one of them has.
    lacking : list of str
        Labels of the models that the scored corpus lacks.
    labels_left_out : dict of str to int
        Labels of the scored corpus that the models lack, with their number of utterances.
    speakers_left_out : dict of str to str
        Speakers of the scored corpus whom the models may have met, and how that is known.
    utterances : dict of str to int
        What is scored, by class.
    """

    trained_on: str
    scored_on: str
    dataset: str
    data: str
    folds: list[str]
    classes: list[str]
    label_map: dict[str, str]
    scored_label_map: dict[str, str]
    lacking: list[str]
    labels_left_out: dict[str, int]
    speakers_left_out: dict[str, str]
    utterances: dict[str, int]

    @property
    def name(self) -> str:
        return f"{self.trained_on} on {self.scored_on}"

    def folder(self, exp: str | Path) -> Path:
        """Its directory below that of all pairs, laid out as an experiment directory."""
        return Path(exp, self.name.replace(" ", "_"))


@dataclass(frozen=True)
class CrossPlan:
    """plan.json: what is compared."""

    corpora: list[Corpus]
    systems: list[str]
    seeds: list[str]
    pairs: list[Pair]

    @property
    def heading(self) -> str:
        """What was run, in a line."""
        return (f"{', '.join(f'{each.dataset} ({each.protocol})' for each in self.corpora)}: models of each scored on "
                f"the others, {seed_words(self.seeds)}")

    @property
    def warning(self) -> str | None:
        """What must be said of synthetic corpora."""
        return SYNTHETIC_WARNING if any(is_synthetic(corpus.dataset) for corpus in self.corpora) else None


def read_label_maps(path: str | Path) -> dict[str, str]:
    """Read conf/label_maps.conf as `{label: class}`, labels in lower case.

    Raises
    ------
    UserError
        A line is no pair of words, a label has two classes, or a class is a label that counts as another one.
    """
    table: dict[str, str] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or not all(map(is_word, words)):
            raise UserError(f"{path}:{number}: expected a label and the class that it counts as, found {line!r}")
        label, name = words[0].lower(), words[1].lower()
        if table.setdefault(label, name) != name:
            raise UserError(f"{path}:{number}: {label} counts as {table[label]} in another line; keep one of them")
    for label, name in table.items():
        if table.get(name, name) != name:
            raise UserError(f"{path}: {label} counts as {name}, and that as {table[name]}; name one class for both")
    return table


def classes_of(labels: Iterable[str], label_maps: Mapping[str, str]) -> dict[str, str]:
    """The class of each label; one that no line names is a class of its own."""
    return {label: label_maps.get(label.lower(), label.lower()) for label in sorted(set(labels))}


def audible_digests(data: str) -> dict[str, str]:
    """`{checksum of the audio: utterance}` of what is more than silence."""
    path = Path(data, "utt2audio_digest")
    if not path.is_file():
        raise UserError(f"{path}: not there, so recordings that two corpora have in common cannot be found; make the "
                        "features again (run.sh: --stage 2)")
    problems = Path(data, "utt2audio_problem")
    silent = {utt for utt, problem in (read_table(problems, columns=2) if problems.is_file() else {}).items()
              if problem in _SAME_WHEN_BAD}
    return {digest: utt for utt, digest in read_table(path, columns=2).items() if utt not in silent}


def shared_speakers(data: str, other: str) -> dict[str, str]:
    """Speakers of a data directory who are in another one, too, and how that is known.

    They have the same id in both, or a recording in both, sample by sample.
    """
    utt2spk = read_table(Path(data, "utt2spk"), columns=2)
    ids = set(read_table(Path(other, "utt2spk"), columns=2).values())
    shared = {speaker: "the same id" for speaker in set(utt2spk.values()) & ids}
    theirs = audible_digests(other)
    for digest, utt in sorted(audible_digests(data).items(), key=lambda item: item[1]):
        if digest in theirs and utt in utt2spk:
            shared.setdefault(utt2spk[utt], f"{utt} is the recording {theirs[digest]}")
    return dict(sorted(shared.items()))


def make_pair(trained: Corpus, scored: Corpus, label_maps: Mapping[str, str]) -> tuple[Pair, dict[str, str]]:
    """What models of one corpus are scored on of another, and the class of each utterance of that.

    Raises
    ------
    UserError
        They share fewer than two classes, or no utterance remains.
    """
    # Classes
    of_models = classes_of(read_table(Path(trained.data, "utt2emo"), columns=2).values(), label_maps)
    utt2emo = read_table(Path(scored.data, "utt2emo"), columns=2)
    of_scored = classes_of(utt2emo.values(), label_maps)
    classes = sorted(set(of_models.values()) & set(of_scored.values()))
    if len(classes) < 2:
        raise UserError(f"{trained.data} and {scored.data}: share {len(classes) or 'none'} of their classes "
                        f"({' '.join(of_models)} and {' '.join(of_scored)}), two are needed; conf/label_maps.conf says "
                        "which labels count as the same class")
    label_map = {label: name for label, name in of_models.items() if name in classes}
    scored_label_map = {label: name for label, name in of_scored.items() if name in classes}

    # Utterances
    utt2spk = read_table(Path(scored.data, "utt2spk"), columns=2)
    tested = {utt for fold in scored.folds for utt in read_text(Path(scored.data, "folds", fold, "test")).split()}
    speakers = shared_speakers(scored.data, trained.data)
    references = {utt: scored_label_map[label] for utt, label in utt2emo.items()
                  if utt in tested and label in scored_label_map and utt2spk[utt] not in speakers}
    if not references:
        raise UserError(f"{scored.data}: all its speakers are in {trained.data}, too ({_examples(speakers)}), so "
                        "nothing remains to be scored; if they are other people, give them other ids")
    counts = Counter(references.values())
    pair = Pair(trained.name, scored.name, scored.dataset, scored.data, trained.folds, classes, label_map,
                scored_label_map, lacking=[label for label in of_models if label not in label_map],
                labels_left_out=dict(sorted(Counter(label for label in utt2emo.values()
                                                    if label not in scored_label_map).items())),
                speakers_left_out=speakers, utterances={name: counts[name] for name in classes})
    return pair, references


def _examples(speakers: Mapping[str, str]) -> str:
    return ", ".join(f"{speaker}: {why}" for speaker, why in list(speakers.items())[:2]) + ", …" * (len(speakers) > 2)


def left_out_words(pair: Pair) -> list[str]:
    """What is left out of a pair, a sentence each."""
    words = []
    if pair.lacking:
        words.append(f"{pair.scored_on} lacks {' '.join(pair.lacking)}, of which nothing is scored")
    if pair.labels_left_out:
        labels = ", ".join(f"{label} {count}" for label, count in pair.labels_left_out.items())
        words.append(f"{pair.trained_on} lacks some labels of {pair.scored_on}, whose utterances are left out: "
                     f"{labels}")
    if pair.speakers_left_out:
        words.append(f"{len(pair.speakers_left_out)} speakers of {pair.scored_on} are left out as {pair.trained_on} "
                     f"has them, too ({_examples(pair.speakers_left_out)})")
    return words


def score_directories(pair: Pair, system: System, seeds: Iterable[str], exp: str | Path) -> list[Path]:
    """Where the scores of a system's models are, seed after seed and in it fold after fold."""
    return [Path(system.directory(str(pair.folder(exp)), seed), fold) for seed in seeds for fold in pair.folds]


def read_plan(exp: str | Path) -> CrossPlan:
    """plan.json of a directory of pairs; raises UserError."""
    return read_results(Path(exp, PLAN), CrossPlan, "run ./run.sh --cross again")
