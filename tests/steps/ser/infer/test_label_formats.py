"""Label files: their grammar, and what readers of others make of them where they are installed."""

import json
import re

import pytest

from ser.infer.label_formats import as_audacity, as_json, as_rttm, as_textgrid, as_tsv, tsv_header
from ser.infer.prediction import Prediction

CLASSES = ["ang", 'n"eu']
SPOKEN = Prediction(0.5, 2.25, 'n"eu', {"ang": 0.125, 'n"eu': 0.875}, None)
UNSURE = Prediction(2.25, 4.0, None, {"ang": 0.4999, 'n"eu': 0.5001}, "unsure")
QUIET = Prediction(5.0, 6.12345, None, {}, "no speech")
LINE = [SPOKEN, UNSURE, QUIET]
# Intervals of the tiers; where nothing was said of the sound, there is no text.
EMOTION = [(0, 0.5, ""), (0.5, 2.25, 'n"eu'), (2.25, 4, "(unsure)"), (4, 5, ""), (5, 6.12345, "(no speech)")]
PROBABILITY = [(0, 0.5, ""), (0.5, 2.25, "0.88"), (2.25, 4, ""), (4, 5, ""), (5, 6.12345, "")]


def test_textgrid_by_its_grammar():
    """The long text form of Praat's manual, TextGrid file formats: all but numbers, texts and flags is comment."""
    text = as_textgrid(LINE)
    values = re.findall(r'"(?:[^"]|"")*"|<exists>|(?<![\w\[])-?\d+(?:\.\d+)?(?![\w\]])', text)
    header, rest = values[:6], iter(values[6:])
    assert header == ['"ooTextFile"', '"TextGrid"', "0", "6.123450", "<exists>", "2"]
    for name, expected in (("emotion", EMOTION), ("probability", PROBABILITY)):
        assert [next(rest) for _ in range(5)] == ['"IntervalTier"', f'"{name}"', "0", "6.123450", str(len(expected))]
        found = [(float(next(rest)), float(next(rest)), next(rest)[1:-1].replace('""', '"')) for _ in expected]
        assert found == expected
    assert not list(rest)


def textgrid_package(path):
    textgrid = pytest.importorskip("textgrid")
    return {tier.name: [(each.minTime, each.maxTime, each.mark) for each in tier]
            for tier in textgrid.TextGrid.fromFile(str(path))}


def tgt_package(path):
    tgt = pytest.importorskip("tgt")
    return {tier.name: [(each.start_time, each.end_time, each.text) for each in tier]
            for tier in tgt.io.read_textgrid(str(path), include_empty_intervals=True)}


def praatio_package(path):
    textgrid = pytest.importorskip("praatio.textgrid")
    read = textgrid.openTextgrid(str(path), includeEmptyIntervals=True)
    return {name: [tuple(each) for each in read.getTier(name).entries] for name in read.tierNames}


@pytest.mark.parametrize("read", [textgrid_package, tgt_package, praatio_package])
def test_textgrid_is_read_by_others(read, tmp_path):
    (tmp_path / "x.TextGrid").write_text(as_textgrid(LINE))
    tiers = read(tmp_path / "x.TextGrid")
    for name, expected in (("emotion", EMOTION), ("probability", PROBABILITY)):
        assert [(float(a), float(b), text.replace('""', '"')) for a, b, text in tiers[name]] == expected


def test_audacity():
    """Audacity's manual, Importing and Exporting Labels: begin, end and text, with tabs between."""
    assert as_audacity(LINE) == ('0.500000\t2.250000\tn"eu 0.88\n' "2.250000\t4.000000\t(unsure)\n"
                                 "5.000000\t6.123450\t(no speech)\n")


def test_rttm():
    """The RT-09 evaluation plan, appendix A: ten fields, with <NA> for what there is not."""
    assert as_rttm("my calls/a b.wav", SPOKEN, CLASSES, True) == (
        'SPEAKER my_calls/a_b.wav 1 0.500 1.750 <NA> <NA> n"eu 0.875000 <NA>')
    assert as_rttm("x", UNSURE, CLASSES, True) is None and as_rttm("x", QUIET, CLASSES, True) is None


def test_lines_say_the_same():
    assert tsv_header(CLASSES, True).split("\t") == ["file", "start", "end", "label", *CLASSES, "reason"]
    rows = [as_tsv("a\tb", each, CLASSES, True).split("\t") for each in LINE]
    assert rows == [["a\\tb", "0.50", "2.25", 'n"eu', "0.125000", "0.875000", "-"],
                    ["a\\tb", "2.25", "4.00", "-", "0.499900", "0.500100", "unsure"],
                    ["a\\tb", "5.00", "6.12", "-", "-", "-", "no speech"]]
    for each in LINE:
        assert json.loads(as_json("a", each, CLASSES, False)) == {
            "file": "a", "label": each.label, "probabilities": each.probabilities, "reason": each.reason}
