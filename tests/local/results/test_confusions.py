"""Confusion matrices and scores by speaker, beside scikit-learn's, and what their pictures show."""

import csv
import sys

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support, recall_score

from conftest import run
from local.results import make_confusions
from local.results.make_confusions import SpeakerScores, arrange, draw_confusions, draw_speakers
from made_up_results import write_fold
from ser.analysis.figures import NARROW, save
from ser.data.data_dir import read_list, read_table

CLASSES = ["ang", "hap", "sad"]  # nobody is happy, but some are taken to be
SYSTEMS, SEEDS = ("vgg5_ad", "vgg5_baseline"), ("0", "3")


def read_rows(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture(scope="module")
def scored(tiny, tmp_path_factory):
    """Made-up per_utt files, `{(system, seed): {utterance: (reference, hypothesis)}}`; speaker s1 is always angry."""
    exp, rng, runs = tmp_path_factory.mktemp("exp"), np.random.default_rng(0), {}
    emotions = {utt: "ang" if utt.startswith("s1") or utt.endswith("sad0") else emotion
                for utt, emotion in read_table(tiny / "utt2emo").items()}
    for system in SYSTEMS:
        for seed in SEEDS:
            table = runs[system, seed] = {}
            for fold in read_list(tiny / "folds" / "list"):
                folder = exp / (system if seed == "0" else f"{system}_seed{seed}") / fold
                utts = read_list(tiny / "folds" / fold / "test")
                hypotheses = rng.choice(CLASSES, len(utts), p=[0.5, 0.1, 0.4])
                said = {utt: (emotions[utt], str(hyp)) for utt, hyp in zip(utts, hypotheses, strict=True)}
                write_fold(folder, CLASSES, said, "source-2", int(seed))
                table.update(said)
    return exp, runs


def words(tiny, exp):
    return ["local/results/make_confusions.py", "--systems", " ".join(SYSTEMS), "--seeds", " ".join(SEEDS), str(tiny),
            str(exp)]


@pytest.fixture(scope="module")
def made(tiny, scored):
    run(*words(tiny, scored[0]))
    return scored[0] / "analysis"


def test_confusions_are_those_of_scikit_learn(scored, made):
    rows = read_rows(made / "confusions.tsv")
    assert list(rows[0]) == ["system", "seed", "reference", "hypothesis", "utterances"]
    assert len(rows) == 2 * 2 * 9
    for key, table in scored[1].items():
        counts = [int(row["utterances"]) for row in rows if (row["system"], row["seed"]) == key]
        expected = confusion_matrix(*zip(*table.values(), strict=True), labels=CLASSES)
        assert np.array_equal(np.reshape(counts, (3, 3)), expected)


def test_scores_of_a_speaker_are_those_of_scikit_learn(scored, made):
    rows = read_rows(made / "speakers.tsv")
    assert [(row["system"], row["seed"], row["speaker"]) for row in rows] == [
        (*key, speaker) for key in scored[1] for speaker in ("s1", "s2", "s3", "s4")]
    for row in rows:
        pairs = [pair for utt, pair in scored[1][row["system"], row["seed"]].items() if utt.startswith(row["speaker"])]
        references, hypotheses = zip(*pairs, strict=True)
        assert row["fold"] == f"fold_{row['speaker']}" and int(row["utterances"]) == len(pairs) == 12
        assert int(row["correct"]) == sum(one == other for one, other in pairs)
        present = sorted(set(references))
        for key, value in (("wf1", f1_score(references, hypotheses, average="weighted")),
                           ("ua", recall_score(references, hypotheses, labels=present, average="macro")),
                           ("wa", accuracy_score(references, hypotheses))):
            assert float(row[key]) == pytest.approx(100 * value, abs=0.0051), key
    assert len({row["wf1"] for row in rows}) > 8


@pytest.mark.parametrize("dataset", ["synthetic-mini", "recorded"])
def test_pictures_show_the_mean_over_seeds_and_say_when_it_is_no_speech(dataset, tiny, scored, monkeypatch):
    exp, runs = scored
    figures = {}
    monkeypatch.setattr("ser.analysis.figures.save", lambda figure, path: figures.update({path.name: figure}))
    monkeypatch.setattr(make_confusions, "write_text", lambda path, text: None)
    monkeypatch.setattr("local.experiment.experiment.read_dataset", lambda data: dataset)
    monkeypatch.setattr(sys, "argv", words(tiny, exp))
    make_confusions.main()
    assert set(figures) == {f"{name}.{kind}" for name in ("confusions", "speakers") for kind in ("png", "svg")}
    for figure in figures.values():
        assert ("SYNTHETIC" in figure.get_suptitle()) == (dataset != "recorded") and dataset in figure.get_suptitle()
    panels = [axis for axis in figures["confusions.png"].axes if axis.get_title()]
    assert [axis.get_title() for axis in panels] == list(SYSTEMS)
    for system, axis in zip(SYSTEMS, panels, strict=True):
        percent = np.mean([confusion_matrix(*zip(*runs[system, seed].values(), strict=True), labels=CLASSES,
                                            normalize="true") for seed in SEEDS], axis=0) * 100
        image, = axis.images
        np.testing.assert_allclose(image.get_array()[[0, 2]], percent[[0, 2]])
        assert image.get_array().mask[1].all() and image.get_clim() == (0, 100)
        assert [text.get_text() for text in axis.texts] == [f"{value:.0f}" for value in percent[[0, 2]].ravel()]
    axis, = figures["speakers.png"].axes
    assert [label.get_text() for label in axis.get_yticklabels()] == [f"s{n} (12)" for n in (1, 2, 3, 4)]
    for system, line in zip(SYSTEMS, [line for line in axis.lines if line.get_marker() != "None"], strict=True):
        for speaker, value, place in zip(("s1", "s2", "s3", "s4"), *line.get_data(), strict=True):
            pairs = [[pair for utt, pair in runs[system, seed].items() if utt.startswith(speaker)] for seed in SEEDS]
            expected = np.mean([f1_score(*zip(*seed, strict=True), average="weighted") for seed in pairs])
            assert value == pytest.approx(100 * expected) and round(place) == int(speaker[1]) - 1
    for number, system in enumerate(SYSTEMS):
        for position, speaker in enumerate(("s1", "s2", "s3", "s4")):
            (low, place), (high, _) = axis.collections[number].get_paths()[position].vertices
            assert round(place) == position
            pairs = tuple(tuple(pair for utt, pair in runs[system, seed].items() if utt.startswith(speaker))
                          for seed in SEEDS)
            assert [low, high] == pytest.approx(drawn_again(pairs), abs=6)
    assert axis.figure.legends[0].get_texts()[-1].get_text() == "95 % interval over utterances"


def drawn_again(of_seeds, times=400):
    """95 % interval of scikit-learn's weighted F1, as the mean over the seeds, over utterances that are drawn again."""
    drawn = np.random.default_rng(5).integers(len(of_seeds[0]), size=(times, len(of_seeds[0])))
    scores = []
    for pairs in of_seeds:
        codes = np.array([[CLASSES.index(word) for word in pair] for pair in pairs])[drawn]  # [times, utterances, 2]
        codes += len(CLASSES) * np.arange(times)[:, None, None]  # so one call, where each draw has classes of its own
        *_, f1, support = precision_recall_fscore_support(codes[..., 0].ravel(), codes[..., 1].ravel(), zero_division=0,
                                                          labels=np.arange(len(CLASSES) * times))
        scores.append(np.average(f1.reshape(times, -1), weights=support.reshape(times, -1), axis=1))
    return 100 * np.percentile(np.mean(scores, axis=0), [2.5, 97.5])


def widest(figure):
    """Inches from the left of what is drawn of a figure to the right."""
    renderer = figure.canvas.get_renderer() if hasattr(figure.canvas, "get_renderer") else FigureCanvasAgg(
        figure).get_renderer()
    figure.draw(renderer)
    return figure.get_tightbbox(renderer).width


def test_the_pictures_for_a_telephone_fit_its_screen():
    names = ["resnet18_pretrain_ad", "vgg5_baseline", "majority"]
    scores = {name: SpeakerScores(np.arange(10.0), np.stack([np.arange(10.0) - 3, np.arange(10.0) + 3], axis=1))
              for name in names}
    for figure in (draw_confusions({name: np.eye(4) for name in names}, ["ang", "hap", "neu", "sad"], "t" * 80, NARROW),
                   draw_speakers(scores, [f"Ses0{n}F (99)" for n in range(10)], "t" * 80, NARROW)):
        assert widest(figure) <= NARROW + 0.1 and figure.get_size_inches()[0] == NARROW
        sizes = [text.get_fontsize() for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
        assert min(sizes) >= 7.5


@pytest.mark.parametrize("num_systems", [1, 2, 5, 35])
@pytest.mark.parametrize("num_classes", [2, 4, 7, 20])
def test_panels_have_room_for_any_number_of_systems(num_systems, num_classes):
    rows, columns = arrange(num_systems, num_classes)
    assert (rows - 1) * columns < num_systems <= rows * columns and 1 <= columns <= 4
    assert columns == 1 or 72 * 6.2 / columns / num_classes > 20  # points of a cell


def test_every_system_has_a_look_of_its_own():
    names = [f"system{number}" for number in range(35)]
    scores = SpeakerScores(np.arange(10.0), np.zeros((10, 2)))
    figure = draw_speakers(dict.fromkeys(names, scores), [f"s{n}" for n in range(10)], "t")
    looks = {(tuple(np.ravel(line.get_color())), line.get_marker()) for line in figure.axes[0].lines
             if line.get_marker() != "None"}
    assert len(looks) == 35
    figure = draw_confusions({name: np.eye(3) for name in names}, CLASSES, "t")
    assert [axis.get_title() for axis in figure.axes if axis.get_title()] == names


def test_the_same_bytes_again_and_what_is_missing_is_named(tiny, scored, made):
    files = {path.name: path.read_bytes() for path in made.iterdir()}
    assert set(files) == {f"{name}.{kind}" for name in ("confusions", "speakers") for kind in ("tsv", "png", "svg")}
    run(*words(tiny, scored[0]))
    assert files == {path.name: path.read_bytes() for path in made.iterdir()}
    result = run(*words(tiny, scored[0])[:2], "resnet18_baseline", tiny, scored[0], check=False)
    assert result.returncode == 1
    assert result.stderr == (f"make_confusions.py: {scored[0]}/resnet18_baseline/fold_s1/RESULT: not there; "
                             "run stage 5\n")


def test_any_word_can_be_a_class(tmp_path):
    classes = ["$\\frac$", "1", "a/b", "<b>&", "très_triste", "_", "7", "8", "9"]
    figure = draw_confusions({"vgg5_ad": np.full((9, 9), 50.0)}, classes, "title")
    save(figure, tmp_path / "confusions.png")
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == classes
