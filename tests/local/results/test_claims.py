"""Which comparisons follow from the options of systems, and what local/results/make_claims.py says of them."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from test_compare import CLASSES, write_data, write_run

import options
from conftest import run
from local.experiment.experiment import Experiment
from local.experiment.systems import System, read_systems
from local.results import make_claims
from local.results.families import family_of, find_pairs, is_network
from made_up_results import write_fold

DEFAULT = ("resnet18_baseline", "resnet18_pretrain", "resnet18_pretrain_ad", "vgg5_baseline", "vgg5_ad")


def system(name, *words, backbone="VGG5"):
    return System(name, backbone, "a method", words)


def names(pairs):
    return [(pair.question, pair.system.name, pair.base.name) for pair in pairs]


def test_the_claims_of_the_paper_follow_from_the_table_of_systems():
    table = read_systems()
    assert names(find_pairs([table[name] for name in DEFAULT])) == [
        ("Pre-training", "resnet18_pretrain", "resnet18_baseline"),
        ("AD", "resnet18_pretrain_ad", "resnet18_pretrain"), ("AD", "vgg5_ad", "vgg5_baseline")]


def test_a_line_of_ones_own_has_its_comparison_too():
    base = system("base", "--backbone=vgg5")
    time, stats = (system(name, "--backbone=vgg5", f"--pooling={name}") for name in ("time", "stats"))
    both = system("both", "--backbone=vgg5", "--pooling=time", "--ad-after=conv3")
    assert names(find_pairs([time, base, stats, both])) == [
        ("AD after conv3", "both", "time"), ("--pooling=time", "time", "base"), ("--pooling=stats", "stats", "base")]
    assert names(find_pairs([time, stats])) == [("--pooling=stats for time", "stats", "time")]
    assert not find_pairs([base, both]) and not find_pairs([base, system("again", "--backbone=vgg5")])


def test_neither_backbone_nor_configuration_is_one_option():
    """Nor is a system without a network one of a family."""
    base, strong = (system(name, "--backbone=vgg5", *more) for name, more in (
        ("base", ()), ("strong", ("--config=conf/strong.conf",))))
    strong_ad = system("strong_ad", *strong.options, "--ad-after=last")
    other = system("other", "--backbone=resnet18", backbone="ResNet18")
    svm = system("svm", "--classifier=svm", backbone="SVM")
    assert names(find_pairs([base, other, strong, strong_ad, svm])) == [("AD", "strong_ad", "strong")]
    assert [family_of(each) for each in (base, strong_ad, other, svm)] == [
        "VGG5", "VGG5 with conf/strong.conf", "ResNet18", ""]
    assert not is_network(svm)


@pytest.fixture
def claims(tmp_path, monkeypatch):
    """Make the claims of systems, each with an accuracy, of two seeds; returns CLAIMS, its list and claims.json."""
    def make(accuracies, num_speakers=6, dataset="tests-4"):
        shutil.rmtree(tmp_path)
        data, exp = tmp_path / "data", tmp_path / "exp"
        utt2spk = write_data(data, dataset, num_speakers)
        for each, accuracy in accuracies.items():
            for seed in (0, 1):
                directory = Path(each.directory(str(exp), seed))
                if accuracy is None:
                    write_majority(directory, utt2spk, dataset, seed)
                else:
                    write_run(directory, data, utt2spk, accuracy + 0.001 * len(each.name), seed, dataset)
        folds = sorted(f"fold_{speaker}" for speaker in set(utt2spk.values()))
        experiment = Experiment(dataset=dataset, protocol="loso", folds=folds, seeds=["0", "1"], exp=str(exp),
                                data=str(data), systems=list(accuracies))
        monkeypatch.setattr(make_claims, "open_experiment", lambda args: experiment)
        monkeypatch.setattr(sys, "argv", ["make_claims.py", "--systems", "x", str(data), str(exp)])
        with pytest.raises(SystemExit) as exit_of:
            options.run(make_claims.main)
        assert not exit_of.value.code
        text = (exp / "CLAIMS").read_text()
        sentences = [" ".join(each.split()) for each in re.split(r"\n(?! )", text.split("\n\n")[1])]
        return text, sentences, json.loads((exp / "claims.json").read_text())["claims"]

    return make


def write_majority(directory, utt2spk, dataset, seed):
    """A system that says neu of every utterance."""
    said = {utt: (CLASSES[number % 4], "neu") for number, utt in enumerate(utt2spk)}
    for speaker in set(utt2spk.values()):
        of_speaker = {utt: pair for utt, pair in said.items() if utt2spk[utt] == speaker}
        write_fold(directory / f"fold_{speaker}", CLASSES, of_speaker, dataset, seed)


BASE, AD = system("base", "--backbone=vgg5"), system("ad", "--backbone=vgg5", "--ad-after=last")
START = system("start", "--backbone=vgg5", "--pretrained-dir=EXP/pretrain_vgg5")
SVM, MAJORITY = (system(name, f"--classifier={name}", backbone="-") for name in ("svm", "majority"))


def test_what_is_clear_after_adjusting_for_how_many_there_are(claims):
    """Of six speakers p is 2/64 at best: clear of one comparison, of three no longer."""
    _, (sentence,), (claim,) = claims({BASE: 0.4, AD: 0.8})
    assert claim["comparison"]["p_speakers"] == claim["p_adjusted"] == 2 / 64
    assert re.fullmatch(r"AD helps VGG5: ad is \d+\.\d\d points of weighted F1 above base; over speakers 95 % interval "
                        r"\d+\.\d\d to \d+\.\d\d, p = 0\.031, adjusted p = 0\.031; over utterances 95 % interval "
                        r"\d+\.\d\d to \d+\.\d\d, p < 0\.001; better for 6 of 6 speakers, and in 2 of 2 seeds "
                        r"\(\+\d+\.\d\d to \+\d+\.\d\d\)\.", sentence)
    text, sentences, found = claims({BASE: 0.4, START: 0.42, AD: 0.8, SVM: 0.99})
    assert [each["question"] for each in found] == ["Pre-training", "AD", "svm"]
    assert [each["p_adjusted"] for each in found][1:] == [pytest.approx(3 * 2 / 64)] * 2
    assert sentences[0].startswith("Pre-training makes no clear difference to VGG5: start is ")
    assert sentences[1].startswith("AD makes no clear difference to VGG5: ad is ")
    assert "adjusted p = 0.094; " in sentences[1] and "Holm" in text


def test_a_harm_is_said(claims):
    _, (sentence,), _ = claims({BASE: 0.8, START: 0.3})
    assert re.match(r"Pre-training harms VGG5: start is [\d.]+ points of weighted F1 below base; over speakers 95 % "
                    r"interval -", sentence)


def test_a_network_that_loses_to_no_network_says_so(claims):
    _, sentences, found = claims({BASE: 0.3, system("other", "--backbone=vgg5", "--crop=9", "--lr=1"): 0.5, SVM: 0.9,
                                  MAJORITY: None}, num_speakers=9)
    assert [(each["first"], each["second"], each["chosen_of"], each["family"]) for each in found] == [
        ("other", "svm", 2, "VGG5"), ("other", "majority", 2, "VGG5")]
    assert sentences[0].startswith("other, of 2 networks of VGG5 the best by these scores, LOSES to svm: other is ")
    assert sentences[1].startswith("other, of 2 networks of VGG5 the best by these scores, beats majority: other is ")


@pytest.mark.parametrize("accuracy, said", [(0.66, "base does not clearly beat svm: "),
                                            (0.62, "base DOES NOT BEAT svm: ")])
def test_a_network_about_as_good_as_no_network(accuracy, said, claims):
    _, (sentence,), (claim,) = claims({BASE: accuracy, SVM: 0.64}, num_speakers=9)
    assert claim["p_adjusted"] > 0.05 and sentence.startswith(said), sentence


def test_few_speakers(claims):
    _, (sentence,), (claim,) = claims({BASE: 0.1, AD: 0.99}, num_speakers=5)
    assert sentence.startswith("AD makes no clear difference to VGG5: ad is ")
    assert "; 5 speakers, too few for a test over speakers; over utterances 95 %" in sentence
    assert claim["comparison"]["interval_speakers"] is None


def test_nothing_to_compare(claims):
    text, sentences, found = claims({BASE: 0.5}, dataset="synthetic-tests-4")
    assert sentences[0].startswith("No two of these systems differ in one option alone") and not found
    assert text.startswith("synthetic-tests-4, loso, 6 folds, seeds 0 1\n*** The corpora are SYNTHETIC")


def test_the_script_says_what_compare_says(tmp_path):
    utt2spk = write_data(tmp_path / "data")
    for name, accuracy in (("vgg5_baseline", 0.5), ("vgg5_ad", 0.6)):
        for seed in (0, 1, 2):
            write_run(tmp_path / "exp" / (f"{name}_seed{seed}" if seed else name), tmp_path / "data", utt2spk, accuracy,
                      seed)
    words = ("--systems", "vgg5_baseline vgg5_ad", "--seeds", "0 1 2", tmp_path / "data", tmp_path / "exp")
    assert "made" in run("local/results/make_claims.py", *words).stdout
    paths = [tmp_path / "exp" / name for name in ("CLAIMS", "claims.json")]
    first = [path.read_bytes() for path in paths]
    said = run("local/results/compare.py", "--seeds", "0 1 2", "vgg5_ad", "vgg5_baseline", tmp_path / "exp").stdout
    claim = " ".join(paths[0].read_text().split("\n\n")[1].split())
    points, over_speakers, over_utterances = re.fullmatch(
        r"(.* vgg5_baseline) on tests-4 .*?: (over speakers .*?); (over utterances .*?\)\.) Over .*\n", said).groups()
    assert claim.endswith(f": {points}; {over_speakers}, adjusted {over_speakers.split(', ')[-1]}; {over_utterances}")
    run("local/results/make_claims.py", *words)
    assert [path.read_bytes() for path in paths] == first


def test_what_is_not_trained_is_one_clear_line(tmp_path):
    utt2spk = write_data(tmp_path / "data")
    write_run(tmp_path / "exp" / "vgg5_baseline", tmp_path / "data", utt2spk, 0.5)
    result = run("local/results/make_claims.py", "--systems", "vgg5_baseline vgg5_ad", tmp_path / "data",
                 tmp_path / "exp", check=False)
    assert result.returncode == 1 and "vgg5_ad/fold_s0/RESULT: not there; run stage 5" in result.stderr
    assert not (tmp_path / "exp" / "CLAIMS").exists()
