"""The model card beside the weights: what RESULT says, and nothing that is not so."""

import re
import shutil

import numpy as np

from conftest import run
from ser.data.data_dir import read_table
from ser.stats.significance import score_interval


def test_card_says_what_result_says(trained, tiny):
    directory = trained / "vgg5_ad" / "fold_s1"
    card, result = ((directory / name).read_text() for name in ("README.md", "RESULT"))
    wf1, correct, ua, wa = re.match(r"%WF1 (\S+) \[ (\d+) / 12 correct, UA (\S+), WA (\S+),", result).groups()
    for said in (f"| weighted F1 | **{wf1} %**, 95 % ", f"(UA) | {ua} % |",
                 f"(WA) | {wa} %, {correct} of 12 utterances |", "source-2", "loso, fold_s1", "one of ang, sad",
                 "| train | 24 utterances of 2 speakers |",
                 "| test | 12 utterances of 1 speaker |", "| pre-training | none |", "class | 6 of 12 utterances |"):
        assert said in card
    rows = [line.split() for line in read_table(directory / "score" / "per_utt").values()]
    labels = np.array([[("ang", "sad").index(word) for word in row[:2]] for row in rows])
    low, high = score_interval(labels[:, 0], labels[None, :, 1], np.zeros(len(rows)))
    assert f"95 % interval {low:.1f} to {high:.1f} |" in card
    assert sum(int(n) for n in re.findall(r"^\| (?:ang|sad) \| 6 \| (\d) \|$", card, re.MULTILINE)) == int(correct)
    assert "SYNTHETIC" not in card and str(trained) not in card and str(tiny) not in card
    assert not re.search(r"\n\n\n|[{}]|Undefined|None| $", card)


def test_card_of_made_up_sound_says_so_first(trained, tiny, tmp_path):
    shutil.copytree(trained / "vgg5_ad" / "fold_s1", tmp_path / "m")
    config = tmp_path / "m" / "config.json"
    config.write_text(config.read_text().replace('"source-2"', '"synthetic-two"'))
    run("steps/score.py", tmp_path / "m", tiny)
    paragraphs = (tmp_path / "m" / "README.md").read_text().split("\n\n")
    assert paragraphs[1].startswith("> **SYNTHETIC DATA.** This model was trained on made-up sound (synthetic-two).")
