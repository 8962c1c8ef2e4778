"""The ablations of stage 8: which ones, and their table against local/results/compare.py and scipy."""

import json
import re

import pytest
from scipy.stats import false_discovery_control
from test_compare import weighted_f1, write_data, write_run

from conftest import run

ACCURACIES = {"vgg5_ad": 0.7, "vgg5_ad_se": 0.7, "vgg5_ad_an": 0.3, "resnet18_pretrain_ad": 0.5,
              "resnet18_ad_minus": 0.55}


@pytest.fixture
def exp(tmp_path):
    """Results of two systems and three ablations with two seeds each."""
    utt2spk, said = write_data(tmp_path / "data"), {}
    for name, accuracy in ACCURACIES.items():
        for seed, directory in enumerate((name, f"{name}_seed1")):
            said[directory] = write_run(tmp_path / "exp" / directory, tmp_path / "data", utt2spk,
                                        accuracy + 0.001 * len(name), seed)
    return tmp_path / "exp", said


def make(exp, *names, **kwargs):
    return run("local/results/make_ablations.py", "--systems", " ".join(names), "--seeds", "0 1", exp.parent / "data",
               exp, **kwargs)


def test_each_ablation_stands_below_the_system_that_it_changes(exp):
    exp, said = exp
    make(exp, "resnet18_ad_minus", "vgg5_ad_an", "vgg5_ad_se")
    text = (exp / "ABLATIONS").read_text()
    rows = {line.split()[0]: re.split(" {2,}", line) for line in text.splitlines()
            if line.split() and line.split()[0] in ACCURACIES}
    assert list(rows) == ["resnet18_pretrain_ad", "resnet18_ad_minus", "vgg5_ad", "vgg5_ad_an", "vgg5_ad_se"]
    mean = {name: (weighted_f1(said[name]) + weighted_f1(said[f"{name}_seed1"])) / 2 for name in ACCURACIES}
    adjusted = []
    for name, whole in (("resnet18_ad_minus", "resnet18_pretrain_ad"), ("vgg5_ad_an", "vgg5_ad"),
                        ("vgg5_ad_se", "vgg5_ad")):
        row = rows[name]
        assert row[2].startswith(f"{mean[name]:.2f} ± ") and rows[whole][2].startswith(f"{mean[whole]:.2f} ± ")
        assert float(row[3]) == pytest.approx(mean[name] - mean[whole], abs=0.006)
        sentence = run("local/results/compare.py", "--seeds", "0 1", name, whole, exp).stdout
        assert f"over speakers 95 % interval {row[4]}, p" in sentence
        assert f"over utterances 95 % interval {row[8]}, p" in sentence
        assert row[9].replace("< ", "") in sentence and f"better for {row[7]} speakers" in sentence
        adjusted.append(float(re.search(r"over speakers .* p . ([\d.]+); over", sentence)[1]))
        assert row[5].replace("< ", "") == f"{adjusted[-1]:.3f}"
    expected = false_discovery_control(adjusted)
    assert [float(rows[name][6]) for name in ("resnet18_ad_minus", "vgg5_ad_an", "vgg5_ad_se")] == pytest.approx(
        list(expected), abs=0.002)
    assert "the difference is significant over speakers for no ablation, of 3 tested" in text  # six speakers: p >= 0.03


def test_the_data_say_what_the_text_says_and_are_the_same_again(exp):
    exp, _ = exp
    names = ("resnet18_ad_minus", "vgg5_ad_an", "vgg5_ad_se")
    make(exp, *names)
    first = (exp / "ablations.json").read_bytes()
    data = json.loads(first)
    assert data["setting"] == {"dataset": "tests-4", "protocol": "loso", "seeds": ["0", "1"], "extractors": {},
                               "pretrained_on": [],
                               "folds": [f"fold_s{number}" for number in range(6)]}
    rows = {line.split()[0]: re.split(" {2,}", line) for line in (exp / "ABLATIONS").read_text().splitlines()
            if line.startswith(names)}
    assert [row["ablation"]["system"] for row in data["ablations"]] == list(names)
    for row in data["ablations"]:
        result, cells = row["comparison"], rows[row["ablation"]["system"]]
        (low, high), of_utterances = result["interval_speakers"], result["interval_utterances"]
        assert cells[2].startswith(f"{sum(row['ablation']['wf1']) / 2:.2f} ± ")
        assert cells[3:5] == [f"{result['difference']:+.2f}", f"{low:.2f} to {high:.2f}"]
        assert cells[7:9] == [f"{sum(each > 0 for each in result['by_speaker'].values())} of 6",
                              f"{of_utterances[0]:.2f} to {of_utterances[1]:.2f}"]
        assert cells[6] == f"{row['p_adjusted']:.3f}" and set(result["by_speaker"]) == {f"s{n}" for n in range(6)}
        assert sum(result["by_seed"]) / 2 == pytest.approx(result["difference"])
    make(exp, *names)
    assert (exp / "ablations.json").read_bytes() == first


def test_what_cannot_be_compared_is_one_clear_line(exp):
    exp, _ = exp
    assert "vgg5_ad is no ablation" in make(exp, "vgg5_ad", "vgg5_ad_se", check=False).stderr
    result = make(exp, "vgg5_ad_conv1", check=False)
    assert result.returncode == 1 and "vgg5_ad_conv1/fold_s0/RESULT: not there; run stage" in result.stderr
    assert not (exp / "ABLATIONS").exists()


@pytest.mark.parametrize("words, outcome", [
    (("--systems", "vgg5_ad vgg5_baseline"), r"vgg5_ad_an vgg5_ad_se( vgg5_ad_\S+){10}\n"),
    (("--systems", "vgg5_ad", "--ablations", "vgg5_ad_se"), r"vgg5_ad_se\n"),
    (("--systems", "vgg5_ad", "--ablations", "resnet18_ad_se"), r".*changes resnet18_pretrain_ad; name that in .*\n"),
    (("--systems", "vgg5_ad", "--ablations", "vgg5_baseline"), r".*vgg5_baseline is no ablation; .*\n"),
    (("--systems", "vgg5_baseline"), r".*no line changes one of vgg5_baseline; .*\n"),
    (("--systems", "vgg5_ad", "--ablations", "vgg5"), r".*no system 'vgg5'; .*\n"),
])
def test_chosen_ablations(words, outcome):
    result = run("local/experiment/list_systems.py", *words, "ablations", check=False)
    assert re.fullmatch(outcome, result.stderr if result.returncode else result.stdout)
