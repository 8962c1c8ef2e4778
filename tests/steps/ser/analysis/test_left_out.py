"""Parts of stage 7 that cannot be made: the report says which and why, and the others are made."""

import itertools
import json
import os
import signal
import subprocess
import sys
import types

import numpy as np
import pytest
from matplotlib.figure import Figure

import analyse
from conftest import ROOT, run
from local.results import make_probes
from local.results.make_confusions import draw_confusions, percent_of_reference
from local.results.make_curves import Curves
from local.results.make_curves import draw as draw_curves
from local.results.make_figure1 import separation, tsne
from plot_masks import Panel
from plot_masks import draw as draw_masks
from ser.analysis import figures
from ser.analysis.left_out import Undrawable, parts, reason_of
from ser.base.errors import UserError
from ser.data.data_dir import read_list, read_table

SYSTEMS = "vgg5_baseline vgg5_ad"


@pytest.mark.parametrize("vectors, message", [
    (np.zeros((40, 8)), "all 40 embeddings are the same"), (np.zeros((2, 8)), "all 2 embeddings are the same"),
    (np.ones((1, 8)), "here are 1 of 8"), (np.ones((5, 1)), "here are 5 of 1"),
    (np.full((5, 8), np.nan), "not finite")])
def test_tsne_is_not_asked_what_crashes_it(vectors, message):
    with pytest.raises(Undrawable, match=message):
        tsne(vectors, 0)


@pytest.mark.parametrize("num", [2, 3, 4])
def test_tsne_of_a_few(num):
    assert np.isfinite(tsne(np.random.default_rng(0).standard_normal((num, 8)), 0)).all()
    assert separation(np.eye(num), ["a"] * num) == separation(np.eye(num), list("abcd")[:num]) == "-"


def test_a_process_that_dies_in_native_code_has_said_so(tmp_path):
    picture = tmp_path / "analysis" / "x.png"
    code = ("import os, signal, sys; from pathlib import Path; from ser.analysis.left_out import parts\n"
            "with parts(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGSEGV)")
    assert subprocess.run([sys.executable, "-c", code, picture]).returncode == -signal.SIGSEGV
    assert "did not come to its end" in reason_of(picture)
    with parts(picture):
        picture.touch()
    assert reason_of(picture) is None
    with pytest.raises(UserError), parts(picture):
        raise UserError("x.tsv: damaged")
    assert reason_of(picture).endswith(": x.tsv: damaged") and picture.exists()
    with parts(picture):
        raise Undrawable("too few")
    assert reason_of(picture) == "too few" and not picture.exists()


def test_a_part_of_the_stage_that_crashes_leaves_the_others(tmp_path, outcome):
    code = ("die() { echo \"run.sh: $*\" >&2; exit 1; }; . local/run/training.sh\n"
            "part bash -c 'kill -SEGV $$'; part echo made; part false; require_all_parts; echo never")
    result = subprocess.run(["bash", "-euo", "pipefail", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1 and result.stdout == "made\n"
    last = result.stderr.splitlines()[-1]
    assert last == "run.sh: failed: bash (status 139), false (status 1), see above; all else of the analysis is made"
    outcome("a part of the analysis crashes", "7 analysis", 1, last)


def test_parts_side_by_side(tmp_path):
    """As many at a time as --nj says; whatever becomes of one, all are waited for."""
    code = ("die() { echo \"run.sh: $*\" >&2; exit 1; }; . local/run/training.sh; nj=2; cd $1\n"
            "one() { echo 1 >> steps; sleep 0.3; echo -1 >> steps; exit $1; }\n"
            "for status in 0 3 0 4 0; do begin_part one $status; done; await_parts; require_all_parts")
    result = subprocess.run(["bash", "-euo", "pipefail", "-c", code, "bash", tmp_path], cwd=ROOT,
                            capture_output=True, text=True)
    running = list(itertools.accumulate(map(int, (tmp_path / "steps").read_text().split())))
    assert result.returncode == 1 and len(running) == 10 and max(running) == 2 and running[-1] == 0
    assert result.stderr.startswith("run.sh: failed: one (status 3), one (status 4), see above; ")


@pytest.fixture
def constant(whole, tiny, tmp_path):
    """A place with two finished systems, whose analysis found the same embedding for all utterances, and no labels that
    a probe could tell apart."""
    from stages import RESULTS, moved
    place = moved(whole(RESULTS), tmp_path / "place")
    models = place / "exp"
    speakers = read_table(place / "data" / "utt2spk")
    (models / "vgg5_baseline").rename(models / "vgg5_ad")
    run("cp", "-r", models / "vgg5_ad", models / "vgg5_baseline")
    for system in SYSTEMS.split():
        for fold in read_list(place / "data" / "folds" / "list"):
            folder = models / system / fold / "analysis"
            folder.mkdir()
            (folder / "probes.tsv").write_text("\t".join(analyse.PROBES) + "\n")
            (folder / "silhouette.tsv").write_text("\t".join(analyse.SILHOUETTES) + "\n")
            np.savez(folder / "embeddings.npz", utts=np.array(sorted(speakers)),
                     **{key: np.ones((len(speakers), 4), np.float32) for key in analyse.DRAWN})
    return place


def test_the_report_says_which_part_is_missing_and_why(constant, outcome):
    data, exp = constant / "data", constant / "exp"
    (exp / "analysis" / "figure1.png").write_bytes(b"of other data")
    log = exp / "vgg5_ad" / "fold_s2" / "log" / "epochs.tsv"
    log.unlink()
    run("local/results/make_results.py", "--systems", SYSTEMS, data, exp)
    expected = {"make_claims": (0, "made"), "make_wf1": (0, "made"),
                "make_probes": (0, "no probes.json: no fold has two labels to tell apart"),
                "make_figure1": (0, r"no figure1.png: (a) random extractor: all 48 embeddings are the same"),
                "make_confusions": (0, "made"), "make_curves": (1, "epochs.tsv: not there; train the model first"),
                "make_report": (0, "made")}
    for script, (status, said) in expected.items():
        result = run(f"local/results/{script}.py", "--systems", SYSTEMS, data, exp, check=False)
        assert result.returncode == status and said in result.stdout + result.stderr, result.stderr
    assert not (exp / "analysis" / "figure1.png").exists() and (exp / "analysis" / "curves.png").exists()
    page = (exp / "report.html").read_text()
    left_out = page.split("<h2>Left out</h2>")[1]
    lines = ["analysis/figure1.png: (a) random extractor: all 48 embeddings are the same",
             "analysis/probes.json: no fold has two labels to tell apart",
             f"analysis/curves.png: make_curves.py: {log}: not there; train the model first (run.sh: stages 4 and 5)"]
    for line in lines:
        assert f"<li>{line}</li>" in left_out
    assert page.count("<img") == 3  # wf1.svg, confusions.png and speakers.png
    assert "Not in this report: ablations.json. Made with:" in left_out
    outcome("all embeddings are the same", "7 analysis", 0, lines[0])
    outcome("three utterances: nothing to probe", "7 analysis", 0, lines[1])


def test_what_has_too_few_labels_is_left_out_of_the_probes(capsys):
    utts = [f"{speaker}{number}" for speaker in "abc" for number in range(2)]
    data = types.SimpleNamespace(
        name="fold_c", parts={"train": utts[:2], "valid": utts[2:4], "test": utts[4:]},
        labels=dict(zip(utts, ["x", "x", "x", "y", "x", "y"], strict=True)), speakers={utt: utt[0] for utt in utts})
    vectors = np.random.default_rng(0).standard_normal((6, 4))
    for _ in range(2):
        probes, silhouettes = analyse.measure(vectors, data)
    assert set(probes) == {"speaker", "unseen-speaker"} and len(silhouettes) == 4
    assert capsys.readouterr().err.count("fold_c: not measured: emotion: two or more labels are needed") == 1
    with pytest.raises(UserError, match="not finite"):
        analyse.measure(vectors * np.nan, data)


def test_a_table_with_gaps():
    one = {"system": "s", "moment": "after", "space": "F+", "pooling": "network"}
    rows = [make_probes.SpaceRow(**{**one, "space": space}, silhouette={"emotion": [], "speaker": [0.5]},
                                 accuracy={"emotion": [], "speaker": [50.0, 51.0], "unseen-speaker": []})
            for space in ("F+", "F-")]
    verdict = make_probes.judge(rows, "s")
    assert set(verdict.readings) == {"speaker"}
    assert make_probes.sentence(verdict).startswith("s, after fine-tuning: NOT MEASURED: speaker reads about as well")
    table = make_probes.ProbesTable(None, {"speaker": 25.0}, rows, [verdict])
    cells = make_probes.table_of(table, "network").content
    assert cells[1][3:6] == ["-", "25.00", "-"] and cells[2][3:] == ["-", "50.50 ± 0.71", "-", "-", "0.50"]
    assert make_probes.DASH in json.dumps([block.content for block in make_probes.blocks_of(table)])


@pytest.mark.parametrize("scores", [np.full((2, 1), np.nan), np.array([[50.0, np.nan], [40.0, np.inf]])])
def test_curves_of_one_epoch_and_of_what_is_not_finite(scores, tmp_path):
    curves = Curves("s", "wf1", {"a": "a", "b": "b"}, np.arange(scores.shape[1]), scores, scores)
    figures.save(draw_curves([curves], "title"), tmp_path / "x.png")


def test_empty_classes_and_utterances_of_a_frame(tmp_path):
    percent = percent_of_reference(np.array([[0, 0], [0, 3]]))
    figures.save(draw_confusions({"s": percent}, ["a", "b"], "title"), tmp_path / "x.png")
    panel = Panel("utt", np.zeros((1, 41), np.float32), np.array([0.5]), np.full(3, 0.5))
    figures.save(draw_masks([panel], (16, 16), None, "title"), tmp_path / "y.png")


def test_labels_of_any_characters(tmp_path, capsys, monkeypatch, recwarn):
    classes = ["生气", "$x^{%$", r"\frac{", "<b>", "_a", "a\u0308"]
    monkeypatch.setattr(figures.font_manager, "findSystemFonts", lambda: [])
    monkeypatch.setattr(figures.font_manager.fontManager, "ttflist", [
        entry for entry in figures.font_manager.fontManager.ttflist if "DejaVu" in entry.name])
    figures._families_with.cache_clear()
    figures._named.clear()
    for name in ("x.png", "y.pdf"):
        figures.save(draw_confusions({"s": np.eye(6)}, classes, "title"), tmp_path / name)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "WARNING: boxes stand for 气生 in pictures; install a font" in said
    assert not recwarn.list
    figures._families_with.cache_clear()


def test_a_font_that_has_the_characters_is_taken(tmp_path, capsys, monkeypatch):
    """Matplotlib's own fonts for mathematics stand for one that was installed after it listed the fonts."""
    manager = figures.font_manager.fontManager
    other = next(entry for entry in manager.ttflist if entry.name == "STIXGeneral" and entry.style == "normal")
    monkeypatch.setattr(manager, "ttflist", [entry for entry in manager.ttflist if "DejaVu" in entry.name])
    monkeypatch.setattr(figures.font_manager, "findSystemFonts", lambda: [other.fname, os.devnull])
    figures._families_with.cache_clear()
    figure = Figure()
    text = figure.text(0.5, 0.5, "a\N{CIRCLED LATIN CAPITAL LETTER A}")
    figures.save(figure, tmp_path / "x.png")
    assert "STIXGeneral" in text.get_fontfamily() and not capsys.readouterr().err
    figures._families_with.cache_clear()
