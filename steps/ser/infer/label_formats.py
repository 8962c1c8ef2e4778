"""Predictions as text: lines for programs, and the label files of Praat, Audacity and diarization tools."""

import json
from collections.abc import Callable, Sequence

from ser.infer.prediction import Prediction


def as_tsv(name: str, prediction: Prediction, classes: Sequence[str], with_times: bool) -> str:
    """`file [start end] label p1 … pK reason`, tab-separated; `-` for what there is not."""
    name = name.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
    times = [f"{prediction.start:.2f}", f"{prediction.end:.2f}"] if with_times else []
    scores = [f"{prediction.probabilities[label]:.6f}" if prediction.probabilities else "-" for label in classes]
    return "\t".join([name, *times, prediction.label or "-", *scores, prediction.reason or "-"])


def tsv_header(classes: Sequence[str], with_times: bool) -> str:
    """The names of as_tsv()'s columns."""
    return "\t".join(["file", *(["start", "end"] if with_times else []), "label", *classes, "reason"])


def as_json(name: str, prediction: Prediction, classes: Sequence[str], with_times: bool) -> str:
    """An object with the fields of Prediction, and the file's name."""
    times = {"start": round(prediction.start, 2), "end": round(prediction.end, 2)} if with_times else {}
    probabilities = {label: round(p, 6) for label, p in prediction.probabilities.items()}
    return json.dumps({"file": name, **times, "label": prediction.label, "probabilities": probabilities,
                       "reason": prediction.reason})


def as_rttm(name: str, prediction: Prediction, classes: Sequence[str], with_times: bool) -> str | None:
    """A SPEAKER line of NIST's Rich Transcription Time Marked format, whose speaker is the emotion; None without one.

    Its ten fields are type, file, channel, begin, duration, orthography, subtype, name, confidence, lookahead (the
    RT-09 evaluation plan, appendix A); blanks in the file's name become `_`.
    """
    if prediction.label is None:
        return None
    duration = prediction.end - prediction.start
    return (f"SPEAKER {'_'.join(name.split())} 1 {prediction.start:.3f} {duration:.3f} <NA> <NA> {prediction.label} "
            f"{prediction.probabilities[prediction.label]:.6f} <NA>")


LINES: dict[str, Callable[[str, Prediction, Sequence[str], bool], str | None]] = {
    "tsv": as_tsv, "json": as_json, "rttm": as_rttm}


def _shown(prediction: Prediction) -> str:
    return prediction.label or f"({prediction.reason})"


def _score(prediction: Prediction) -> str:
    return f"{prediction.probabilities[prediction.label]:.2f}" if prediction.label else ""


def as_audacity(predictions: Sequence[Prediction]) -> str:
    """A label file of Audacity, `start end text` with tabs; the text is label and probability, or (reason)."""
    return "".join(f"{each.start:.6f}\t{each.end:.6f}\t{_shown(each)} {_score(each)}".rstrip() + "\n"
                   for each in predictions)


def as_textgrid(predictions: Sequence[Prediction]) -> str:
    """A TextGrid of Praat in its long text form, with the interval tiers emotion, where (reason) is in the place of a
    label that is not given, and probability.

    The predictions must follow one another without overlap; what lies between is an interval without text.
    """
    end = predictions[-1].end
    intervals: list[tuple[float, float, str, str]] = []
    covered = 0.0
    for each in predictions:
        if each.start > covered:
            intervals.append((covered, each.start, "", ""))
        intervals.append((each.start, each.end, _shown(each), _score(each)))
        covered = each.end
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {end:.6f}",
             "tiers? <exists>", "size = 2", "item []:"]
    for number, tier in enumerate(("emotion", "probability"), 1):
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f'        name = "{tier}"',
                  "        xmin = 0", f"        xmax = {end:.6f}", f"        intervals: size = {len(intervals)}"]
        for position, (first, last, *texts) in enumerate(intervals, 1):
            text = texts[number - 1].replace('"', '""')
            lines += [f"        intervals [{position}]:", f"            xmin = {first:.6f}",
                      f"            xmax = {last:.6f}", f'            text = "{text}"']
    return "\n".join(lines) + "\n"


# Of a file for each recording: its suffix, and what makes its text.
FILES: dict[str, tuple[str, Callable[[Sequence[Prediction]], str]]] = {
    "textgrid": (".TextGrid", as_textgrid), "audacity": (".txt", as_audacity)}
