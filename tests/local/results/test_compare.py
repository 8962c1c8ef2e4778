"""local/results/compare.py and the reading of per_utt files, on files as steps/finetune.py leaves them."""

import json
import re
import sys

import numpy as np
import pytest
from sklearn.metrics import f1_score

import options
from conftest import run
from local.results import compare
from made_up_results import write_fold

CLASSES = ("ang", "hap", "neu", "sad")


def write_data(folder, dataset="tests-4", num_speakers=6, per_speaker=30):
    """A data directory with one fold a speaker, as far as compare.py and make_results.py read it."""
    utt2spk = {f"s{speaker}-{number:02d}": f"s{speaker}"
               for speaker in range(num_speakers) for number in range(per_speaker)}
    (folder / "folds").mkdir(parents=True)
    (folder / "dataset").write_text(f"{dataset}\n")
    (folder / "utt2spk").write_text("".join(f"{utt} {speaker}\n" for utt, speaker in utt2spk.items()))
    (folder / "folds" / "list").write_text("".join(f"fold_s{speaker}\n" for speaker in range(num_speakers)))
    (folder / "folds" / "protocol").write_text("loso\n")
    return utt2spk


def write_run(directory, data, utt2spk, accuracy, seed=0, dataset="tests-4"):
    """The folds of one system and seed, with hypotheses of some accuracy; returns `{utterance: (ref, hyp)}`."""
    rng, said = np.random.default_rng([seed, int(1000 * accuracy)]), {}
    for number, utt in enumerate(utt2spk):
        reference = CLASSES[number % 4]
        said[utt] = reference, reference if rng.random() < accuracy else str(rng.choice(CLASSES))
    config = {"dataset": dataset, "protocol": "loso", "dimension": 41, "features": {}, "options": {
        "data_dir": str(data), "backbone": "vgg5", "ad_after": "none", "pretrained_dir": None, "feature_norm": "none",
        "crop": 200, "class_weights": "none", "epochs": 1, "select": "best", "seed": seed}}
    for speaker in sorted(set(utt2spk.values())):
        fold = directory / f"fold_{speaker}"
        of_speaker = {utt: pair for utt, pair in said.items() if utt2spk[utt] == speaker}
        write_fold(fold, CLASSES, of_speaker, dataset, seed)
        (fold / "config.json").write_text(json.dumps(config))
    return said


def weighted_f1(said):
    references, hypotheses = zip(*said.values(), strict=True)
    return 100 * f1_score(references, hypotheses, average="weighted")


@pytest.fixture
def place(tmp_path):
    """vgg5_ad with seeds 0 1 2 3, vgg5_baseline, much worse, with 0 1 2, resnet18_baseline with seed 5 only."""
    data = tmp_path / "data"
    utt2spk, said = write_data(data), {}
    for system, seeds, accuracy in (("vgg5_ad", (0, 1, 2, 3), 0.7), ("vgg5_baseline", (0, 1, 2), 0.4),
                                    ("resnet18_baseline", (5,), 0.4)):
        for seed in seeds:
            name = f"{system}_seed{seed}" if seed else system
            said[name] = write_run(tmp_path / "exp" / name, data, utt2spk, accuracy, seed)
    return tmp_path, said


@pytest.fixture
def call(monkeypatch, capsys):
    """Run compare.py in this process: status, what it printed, and its error message."""
    def called(*words):
        monkeypatch.setattr(sys, "argv", ["compare.py", *map(str, words)])
        with pytest.raises(SystemExit) as exit_of:
            options.run(compare.main)
        return exit_of.value.code or 0, *capsys.readouterr()

    return called


NUMBER = r"(-?\d+\.\d\d)"
SENTENCE = (rf"(\w+) is {NUMBER} points of weighted F1 (above|below) (\w+) on (.+) \((.+), "
            rf"180 utterances of 6 speakers\): over speakers 95 % interval {NUMBER} to {NUMBER}, p ([=<] \d\.\d+); "
            rf"over utterances 95 % interval {NUMBER} to {NUMBER}, p ([=<] \d\.\d+); better for (\d) of 6 speakers"
            r"(, and in \d of \d seeds \([+-]\d+\.\d\d to [+-]\d+\.\d\d\))?\. (.+)\n")


def test_the_sentence_end_to_end(place):
    folder, said = place
    text = run("local/results/compare.py", "vgg5_ad", "vgg5_baseline", folder / "exp").stdout
    (first, points, above, second, dataset, seeds, low_speakers, high_speakers, p_speakers, low, high, p, better,
     in_seeds, verdict) = re.fullmatch(SENTENCE, text).groups()
    assert (first, above, second, dataset, seeds) == ("vgg5_ad", "above", "vgg5_baseline", "tests-4", "seeds 0 1 2")
    suffixes = ("", "_seed1", "_seed2")
    of_first, of_second = (np.array([weighted_f1(said[system + suffix]) for suffix in suffixes])
                           for system in ("vgg5_ad", "vgg5_baseline"))
    gains = of_first - of_second
    assert float(points) == pytest.approx(gains.mean(), abs=0.006)
    assert 0 < float(low) < float(points) < float(high) and 0 < float(low_speakers) < float(points)
    assert float(points) < float(high_speakers)
    assert in_seeds == f", and in {(gains > 0).sum()} of 3 seeds ({gains.min():+.2f} to {gains.max():+.2f})"
    speakers = []
    for speaker in range(6):
        of_speaker = {name: {utt: labels for utt, labels in table.items() if utt.startswith(f"s{speaker}-")}
                      for name, table in said.items()}
        speakers.append(np.mean([weighted_f1(of_speaker[f"vgg5_ad{suffix}"])
                                 - weighted_f1(of_speaker[f"vgg5_baseline{suffix}"]) for suffix in suffixes]))
    assert int(better) == np.sum(np.array(speakers) > 0)
    assert (p, p_speakers) == ("< 0.001", "= 0.031")
    assert verdict == "Over speakers this is significant at 5 %."


def test_the_other_way_round_is_the_same_with_other_signs(place, call):
    exp = place[0] / "exp"
    one, other = (re.fullmatch(SENTENCE, call(*systems, exp)[1]).groups()
                  for systems in (("vgg5_ad", "vgg5_baseline"), ("vgg5_baseline", "vgg5_ad")))
    assert (one[1], one[2], other[2], one[8], one[11]) == (other[1], "above", "below", other[8], other[11])
    assert int(one[12]) + int(other[12]) == 6
    for low, high, error in ((6, 7, 0.02), (9, 10, 1.5)):  # the speakers drawn are the same, the utterances are not
        mirrored = [-float(other[high]), -float(other[low])]
        assert [float(one[low]), float(one[high])] == pytest.approx(mirrored, abs=error)
    assert other[13].startswith(", and in 0 of 3 seeds (-")


def test_a_system_with_itself(place, call):
    status, text, _ = call("--seeds", "1 0", "vgg5_ad", "vgg5_ad", place[0] / "exp")
    assert status == 0 and "vgg5_ad is level with vgg5_ad on tests-4 (seeds 0 1, " in text
    for over in ("speakers", "utterances"):
        assert f"over {over} 95 % interval 0.00 to 0.00, p = 1.000; " in text
    assert "better for 0 of 6 speakers, and in 0 of 2 seeds (+0.00 to +0.00). " in text
    assert text.endswith("Over speakers this is not significant at 5 %.\n")


@pytest.mark.parametrize("num_speakers, said", [(1, "1 speaker"), (2, "2 speakers"), (5, "5 speakers")])
def test_few_speakers_of_synthetic_speech(num_speakers, said, tmp_path, call):
    utt2spk = write_data(tmp_path / "data", "synthetic-x", num_speakers)
    for system, accuracy in (("vgg5_ad", 0.9), ("vgg5_baseline", 0.3)):
        write_run(tmp_path / "exp" / system, tmp_path / "data", utt2spk, accuracy, dataset="synthetic-x")
    status, text, _ = call("vgg5_ad", "vgg5_baseline", tmp_path / "exp")
    assert status == 0 and "on synthetic-x, a SYNTHETIC corpus that says nothing about speech (seed 0, " in text
    assert f" utterances of {said}): {said}, too few for a test over speakers; over utterances 95 %" in text
    assert text.endswith(f"better for {num_speakers} of {said}.\n")


def change(path, *replacement):
    text = path.read_text()
    assert replacement[0] in text
    path.write_text(text.replace(*replacement, 1))


def drop_first_line(path):
    path.write_text(path.read_text().partition("\n")[2])


DAMAGES = {
    "no RESULT": (lambda exp: (exp / "vgg5_ad_seed1/fold_s3/RESULT").unlink(),
                  r"exp/vgg5_ad_seed1/fold_s3/RESULT: not there; run stage 5"),
    "another reference": (lambda exp: change(exp / "vgg5_baseline/fold_s0/score/per_utt", "s0-00 ang", "s0-00 sad"),
                          r"exp/vgg5_baseline: fold or reference of s0-00 is not that of .*exp/vgg5_ad \(1 such\)"),
    "an utterance less": (lambda exp: change(exp / "vgg5_ad_seed2/fold_s0/score/per_utt", "s0-00", "s0-x"),
                          r"exp/vgg5_ad: scores s0-00, .*exp/vgg5_ad_seed2 does not \(2 such\)"),
    "an utterance twice": (lambda exp: change(exp / "vgg5_ad/fold_s1/score/per_utt", "s1-00", "s0-00"),
                           r"fold_s1/score/per_utt: s0-00 is a test utterance of fold_s0, too"),
    "no such class": (lambda exp: change(exp / "vgg5_ad/fold_s1/score/per_utt", "hap", "joy"),
                      r"fold_s1/score/per_utt: says joy \w+ of s1-\d+, the classes are ang hap neu sad"),
    "other classes": (lambda exp: change(exp / "vgg5_ad/fold_s1/results.json", '"hap",', '"joy",'),
                      r"exp/vgg5_ad/fold_s1: has other classes than fold_s0"),
    "scored by another version": (lambda exp: (exp / "vgg5_ad/fold_s1/results.json").unlink(),
                                  r"results.json: not there; score it again: steps/score.py \S*exp/vgg5_ad/fold_s1 "),
    "results cut short": (lambda exp: change(exp / "vgg5_ad/fold_s1/results.json", "}", ""),
                          r"fold_s1/results.json: not a results file; score it again: steps/score.py "),
    "no per_utt": (lambda exp: (exp / "vgg5_ad/fold_s1/score/per_utt").unlink(),
                   r"fold_s1/score/per_utt: not there; run steps/score.py again"),
    "a line less": (lambda exp: drop_first_line(exp / "vgg5_ad/fold_s1/score/per_utt"),
                    r"fold_s1/score/per_utt: has 29 utterances, results.json 30; run steps/score.py again"),
    "a line cut short": (lambda exp: change(exp / "vgg5_ad/fold_s1/score/per_utt", " 0.25\n", "\n"),
                         r"fold_s1/score/per_utt:1: expected 7 fields"),
    "other data": (lambda exp: change(exp / "../data/utt2spk", "s4-07 ", "s4-x "),
                   r"data/utt2spk: has no s4-07, which .*exp/vgg5_ad scores"),
    "data moved": (lambda exp: (exp / "../data").rename(exp / "../moved"),
                   r"data: no such directory, and .*fold_s0/config.json names it; say with --data where it is now"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files(damage, place, call):
    harm, message = DAMAGES[damage]
    harm(place[0] / "exp")
    status, text, error = call("vgg5_ad", "vgg5_baseline", place[0] / "exp")
    assert status == 1 and text == "" and len(error.splitlines()) == 1
    assert re.search(message, error), error


def test_data_may_have_moved(place, call):
    folder, _ = place
    expected = call("vgg5_ad", "vgg5_baseline", folder / "exp")
    (folder / "data").rename(folder / "moved")
    assert call("--data", folder / "moved", "vgg5_ad", "vgg5_baseline", folder / "exp") == expected


WRONG = {
    ("vgg5_ad", "vgg6"): r"no system 'vgg6'; conf/systems.conf has resnet18_baseline .*, conf/ablations.conf has ",
    ("vgg5_ad", "resnet18_baseline"): r"no seed of both systems \(vgg5_ad has 0 1 2 3, resnet18_baseline has 5\)",
    ("vgg5_ad", "resnet18_pretrain"): r"no seed of both systems \(vgg5_ad has 0 1 2 3, resnet18_pretrain has none\)",
    ("--seeds", "0 3", "vgg5_ad", "vgg5_baseline"): r"exp/vgg5_baseline_seed3/fold_s0/RESULT: not there; run stage 5",
    ("--seeds", "7", "vgg5_ad", "vgg5_baseline"): r"exp/vgg5_ad_seed7: holds no trained fold; run stage 5",
    ("--seeds", "one", "vgg5_ad", "vgg5_baseline"): r"--seeds 'one': expected numbers",
    ("--seeds", "", "vgg5_ad", "vgg5_baseline"): r"--seeds '': expected numbers",
}


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_typed_wrongly(words, place, call):
    status, text, error = call(*words, place[0] / "exp")
    assert status == 1 and text == "" and len(error.splitlines()) == 1
    assert re.search(WRONG[words], error), error


def test_help_has_an_example():
    text = run("local/results/compare.py", "--help").stdout
    assert "example:" in text and "NOT other speakers" in text
