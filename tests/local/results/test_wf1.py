"""local/results/make_wf1.py: what the picture shows, and what chance and the most frequent class are worth."""

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.metrics import f1_score
from test_compare import write_data, write_run

from conftest import run
from local.experiment.experiment import Setting
from local.results import make_wf1
from local.results.make_results import ResultsTable, SystemResults

COUNTS = {"ang": 30, "hap": 10, "neu": 55, "sad": 25}


def row(name, family, wf1, interval_speakers=None):
    mean = np.mean(wf1)
    return SystemResults(name, family, "a method", family, {}, wf1, [mean - 3, mean + 4], interval_speakers, wf1, wf1,
                         wf1)


def table(*rows, dataset="tests-4", counts=COUNTS):
    return ResultsTable(Setting(dataset, "loso", ["fold_a"], ["0"]), counts, list(rows))


@pytest.mark.parametrize("counts", [COUNTS, dict.fromkeys("abcdefg", 20), {"a": 90, "b": 10}])
def test_chance_and_the_most_frequent_class_are_scikit_learns(counts):
    references = np.repeat(list(counts), [1000 * count for count in counts.values()])
    for strategy, expected, error in (("uniform", make_wf1.chance_wf1(counts), 0.3),
                                      ("most_frequent", make_wf1.majority_wf1(counts), 1e-9)):
        guesses = DummyClassifier(strategy=strategy, random_state=0).fit(references, references).predict(references)
        wf1 = 100 * f1_score(references, guesses, average="weighted", zero_division=0)
        assert expected == pytest.approx(wf1, abs=error)


def lines_of(figure):
    """`{y: [x data]}` of the lines of the one panel, and the vertical lines."""
    axis, = figure.axes
    rows, vertical = {}, []
    for line in axis.lines:
        x, y = np.atleast_1d(line.get_xdata()), np.atleast_1d(line.get_ydata())
        if list(y) == [0, 1] and len(set(x)) == 1:
            vertical.append((x[0], line.get_linestyle()))
        elif len(set(y)) == 1:
            rows.setdefault(y[0], []).append((list(x), line.get_marker(), line.get_linewidth()))
    return rows, vertical


def test_rows_intervals_and_lines():
    figure = make_wf1.draw(table(row("vgg5_ad", "VGG5", [60.0, 64.0], [50.0, 70.5]), row("svm", "", [55.0])))
    rows, vertical = lines_of(figure)
    assert [x for x, _, _ in rows[0]] == [[50.0, 70.5], [59.0, 66.0], [60.0, 64.0], [62.0]]
    assert rows[0][0][2] < rows[0][1][2]  # that over speakers is the thin one
    assert [x for x, _, _ in rows[1]] == [[52.0, 59.0], [55.0]]
    assert rows[0][-1][1] != rows[1][-1][1]  # shapes, besides colours
    assert dict(vertical) == {make_wf1.chance_wf1(COUNTS): ":", make_wf1.majority_wf1(COUNTS): "--"}
    words = {text.get_text() for text in figure.axes[0].texts}
    assert words == {"vgg5_ad", "62.0", "svm", "55.0"}
    without = make_wf1.draw(table(row("svm", "", [55.0])))
    assert "95 %, speakers" not in {text.get_text() for text in without.legends[0].get_texts()}
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert f"chance {make_wf1.chance_wf1(COUNTS):.1f}" in labels and figure.get_size_inches()[0] < 4.5
    assert all(text.get_fontsize() >= 8.5 for text in (*figure.axes[0].texts, *figure.legends[0].get_texts()))


def test_the_majority_that_was_scored_is_the_line():
    _, vertical = lines_of(make_wf1.draw(table(row("majority", "", [17.5]), row("vgg5_ad", "VGG5", [60.0]))))
    assert (17.5, "--") in vertical and make_wf1.majority_wf1(COUNTS) not in dict(vertical)


@pytest.mark.parametrize("dataset, title", [("tests-4", ""), ("synthetic-tests-4", "SYNTHETIC corpora, not speech")])
def test_synthetic_corpora_are_named_in_the_picture(dataset, title):
    assert make_wf1.draw(table(row("vgg5_ad", "VGG5", [60.0]), dataset=dataset)).get_suptitle() == title


def test_the_same_bytes_again(tmp_path):
    utt2spk = write_data(tmp_path / "data")
    write_run(tmp_path / "exp" / "vgg5_ad", tmp_path / "data", utt2spk, 0.5)
    words = ("--systems", "vgg5_ad", tmp_path / "data", tmp_path / "exp")
    assert "results.json: not there; run " in run("local/results/make_wf1.py", *words, check=False).stderr
    assert not (tmp_path / "exp" / "analysis" / "wf1.svg").exists()
    run("local/results/make_results.py", *words)
    run("local/results/make_wf1.py", *words)
    first = (tmp_path / "exp" / "analysis" / "wf1.svg").read_bytes()
    run("local/results/make_wf1.py", *words)
    assert (tmp_path / "exp" / "analysis" / "wf1.svg").read_bytes() == first
