"""What two corpora have in common: classes, speakers, and what is said and left out."""

import re

import pytest

from conftest import ROOT, run
from local.experiment.cross import Corpus, left_out_words, make_pair, read_label_maps
from ser.base.errors import UserError
from ser.data.data_dir import write_list, write_table

MAPS = {"anger": "ang", "joy": "hap", "calm": "neu"}


def corpus(folder, labels, speakers, prefix="", silent=()):
    """A data directory of one fold with an utterance of each label and speaker; its audio is named by the prefix."""
    utts = {f"{speaker}-{label}": (speaker, label) for speaker in speakers for label in labels}
    folder.mkdir()
    write_table(folder / "utt2spk", {utt: speaker for utt, (speaker, _) in utts.items()})
    write_table(folder / "utt2emo", {utt: label for utt, (_, label) in utts.items()})
    write_table(folder / "utt2audio_digest", {utt: f"{prefix}{utt}" if utt not in silent else "0" for utt in utts})
    write_table(folder / "utt2audio_problem", dict.fromkeys(silent, "silent"))
    (folder / "folds" / "all").mkdir(parents=True)
    write_list(folder / "folds" / "all" / "test", utts)
    return Corpus(folder.name, f"exp/{folder.name}", str(folder), f"{folder.name}-4", "loso", ["all"])


def test_classes_and_labels_that_only_one_has(tmp_path):
    trained = corpus(tmp_path / "a", ("ang", "hap", "neu", "sur"), ("p", "q"))
    scored = corpus(tmp_path / "b", ("Anger", "joy", "calm", "neu", "dis"), ("s",))
    pair, references = make_pair(trained, scored, MAPS)
    assert pair.classes == ["ang", "hap", "neu"] and pair.label_map == {"ang": "ang", "hap": "hap", "neu": "neu"}
    assert references == {"s-Anger": "ang", "s-joy": "hap", "s-calm": "neu", "s-neu": "neu"}
    assert pair.utterances == {"ang": 1, "hap": 1, "neu": 2}
    assert left_out_words(pair) == ["b lacks sur, of which nothing is scored",
                                    "a lacks some labels of b, whose utterances are left out: dis 1"]
    back, _ = make_pair(scored, trained, MAPS)
    assert back.label_map == {"Anger": "ang", "joy": "hap", "calm": "neu", "neu": "neu"}
    assert back.lacking == ["dis"] and back.labels_left_out == {"sur": 2}


def test_utterances_that_no_fold_tests_are_not_scored(tmp_path):
    trained = corpus(tmp_path / "a", ("ang", "sad"), ("p",))
    scored = corpus(tmp_path / "b", ("ang", "sad"), ("s", "t"))
    write_list(tmp_path / "b" / "folds" / "all" / "test", ["s-ang", "s-sad", "t-ang"])
    assert make_pair(trained, scored, {})[1] == {"s-ang": "ang", "s-sad": "sad", "t-ang": "ang"}


def test_speakers_of_both_by_id_or_by_a_recording_are_left_out(tmp_path):
    trained = corpus(tmp_path / "a", ("ang", "sad"), ("p", "q", "u"), silent=("u-sad",))
    scored = corpus(tmp_path / "b", ("ang", "sad"), ("q", "r", "s", "t"), "other ", silent=("t-sad",))
    digests = tmp_path / "b" / "utt2audio_digest"
    digests.write_text(digests.read_text().replace("other ", "other-").replace("other-r-sad", "p-ang"))
    pair, references = make_pair(trained, scored, {})
    assert pair.speakers_left_out == {"q": "the same id", "r": "r-sad is the recording p-ang"}
    assert sorted(references) == ["s-ang", "s-sad", "t-ang", "t-sad"]  # silence is no evidence
    assert left_out_words(pair) == ["2 speakers of b are left out as a has them, too (q: the same id, r: r-sad is the "
                                    "recording p-ang)"]


@pytest.mark.parametrize("labels, speakers, said", [
    (("ang", "dis"), ("s",), r"share 1 of their classes \(ang sad and ang dis\), two are needed; conf/label_maps"),
    (("fea", "dis"), ("s",), "share none of their classes"),
    (("ang", "sad"), ("p",), "all its speakers are in .*/a, too \\(p: the same id\\), so nothing remains"),
])
def test_what_leaves_nothing_to_score(labels, speakers, said, tmp_path):
    trained = corpus(tmp_path / "a", ("ang", "sad"), ("p",))
    with pytest.raises(UserError, match=said):
        make_pair(trained, corpus(tmp_path / "b", labels, speakers), {})


def test_digests_are_needed(tmp_path):
    trained = corpus(tmp_path / "a", ("ang", "sad"), ("p",))
    (tmp_path / "a" / "utt2audio_digest").unlink()
    with pytest.raises(UserError, match="utt2audio_digest: not there, .*--stage 2"):
        make_pair(trained, corpus(tmp_path / "b", ("ang", "sad"), ("s",)), {})


def test_the_label_maps_of_the_recipe():
    maps = read_label_maps(ROOT / "conf" / "label_maps.conf")
    assert maps["joy"] == maps["happiness"] == "hap" and maps["calm"] == maps["cal"] == "neu" and "neu" not in maps


@pytest.mark.parametrize("text, said", [
    ("joy\n", ":1: expected a label and the class"), ("# x\njoy hap happy\n", ":2: expected a label and the class"),
    ("joy hap\nJoy exc\n", ":2: joy counts as hap in another line"),
    ("joy happy\nhappy hap\n", ": joy counts as happy, and that as hap; name one class for both"),
])
def test_wrong_label_maps(text, said, tmp_path):
    (tmp_path / "maps").write_text(text)
    with pytest.raises(UserError) as error:
        read_label_maps(tmp_path / "maps")
    assert f"{tmp_path}/maps{said}" in str(error.value)


WRONG = {
    ("a",): r"--cross 'a': name two or more finished experiments",
    ("a", "nowhere"): r"--cross nowhere: neither .*/nowhere nor nowhere is there; .* ./run.sh … --exp-dir .*/nowhere",
    ("a", "./"): r"no table of an experiment; run ./run.sh … --exp-dir",
    ("a", "a"): r"have one name; name each experiment once",
    ("a", "b"): r"/a/results.json: no table of an experiment",
}


@pytest.mark.parametrize("words", WRONG)
def test_wrong_experiments_are_said_in_one_line(words, tmp_path, outcome):
    for name in "ab":
        (tmp_path / name).mkdir()
    result = run("local/experiment/plan_cross.py", "--cross", " ".join(words), "--exp", tmp_path, tmp_path / "cross",
                 check=False)
    line, = result.stderr.splitlines()
    outcome(f"--cross {' '.join(words)}", "cross", result.returncode, line.replace(str(tmp_path), "exp"))
    assert result.returncode == 1
    assert re.search(WRONG[words], line) and not (tmp_path / "cross").exists()
