"""The equal error rate of a pre-training against scikit-learn, on pairs that are enumerated here."""

import itertools
import json
import re
import shutil

import numpy as np
import pytest
import torch
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import roc_curve
from sklearn.metrics.pairwise import cosine_similarity

from conftest import run
from ser.data.data_dir import read_list, read_table, write_list
from ser.data.feature_bank import FeatureBank, load_bank
from ser.infer.results_file import PretrainResults, pretraining_line, read_results
from ser.infer.verification import held_out_eer, trial_pairs
from ser.model_dir.checkpoint import load_tensors
from ser.nn.models import SpeakerModel

PRETRAIN = ("steps/pretrain.py", "--backbone", "vgg5", "--epochs", "3", "--batch-size", "8", "--crop", "40",
            "--num-threads", "1", "--device", "cpu", "--precision", "fp32")


def eer_of(model, bank, positions, speakers):
    """The equal error rate of all pairs, of utterances that are embedded one by one."""
    with torch.inference_mode():
        embeddings = [model.eval().extractor(*bank.padded(positions[[number]]))[0][0].numpy()
                      for number in range(len(positions))]
    cosines = cosine_similarity(embeddings)
    pairs = list(itertools.combinations(range(len(positions)), 2))
    false_alarms, hits, _ = roc_curve([speakers[one] == speakers[other] for one, other in pairs],
                                      [cosines[pair] for pair in pairs])
    return 100 * brentq(lambda rate: 1 - rate - interp1d(false_alarms, hits)(rate), 0, 1), len(pairs)


@pytest.fixture
def bank():
    lengths = [*range(20, 60), 200]
    frames = np.random.default_rng(0).standard_normal((sum(lengths), 41)).astype(np.float32)
    return FeatureBank([f"u{number}" for number in range(len(lengths))], lengths, frames)


def test_every_pair_of_whole_utterances_in_evaluation_mode(bank):
    torch.manual_seed(0)
    model = SpeakerModel("vgg5", 41, 5)
    positions = torch.randperm(41)[:30]
    speakers = np.random.default_rng(1).integers(5, size=30)
    found, trials = held_out_eer(model, bank, positions, speakers)
    assert model.training  # as it came
    expected, pairs = eer_of(model, bank, positions, speakers)
    assert found == pytest.approx(expected, abs=0.3) and trials == pairs == 435


@pytest.mark.parametrize("speakers", [[0, 1, 2, 3], [7, 7, 7, 7]], ids=["one utterance each", "one speaker"])
def test_without_both_kinds_of_trials_there_is_no_rate(speakers, bank):
    assert held_out_eer(SpeakerModel("vgg5", 41, 5), bank, torch.arange(4), speakers) == (None, 0)


def test_few_pairs_are_all_taken_once():
    first, second = trial_pairs(list("abacb"))
    assert list(zip(first, second, strict=True)) == list(itertools.combinations(range(5), 2))


def test_of_many_pairs_half_are_targets_and_each_has_the_same_chance():
    speakers = np.random.default_rng(0).permutation(np.repeat(np.arange(6), [1, 2, 3, 5, 8, 11]))
    drawn = np.zeros((30, 30))
    for seed in range(300):
        first, second = trial_pairs(speakers, most=434, seed=seed)  # of 435
        assert len(first) == 434 and (speakers[first] == speakers[second]).sum() == 217
        np.add.at(drawn, (first, second), 1)
    drawn += drawn.T
    assert not drawn.diagonal().any()
    pairs = list(itertools.combinations(range(30), 2))
    for kind in (True, False):
        counts = np.array([drawn[pair] for pair in pairs if (speakers[pair[0]] == speakers[pair[1]]) == kind])
        expected = 300 * 217 / len(counts)
        assert counts.sum() == 300 * 217 and abs(counts - expected).max() < 5 * np.sqrt(expected)
    assert np.array_equal(trial_pairs(speakers, most=434), trial_pairs(speakers, most=434))


@pytest.fixture
def pretrained(tiny, tmp_path):
    """A pre-training with three held-out utterances of each speaker, and its data directory."""
    data = shutil.copytree(tiny, tmp_path / "data", ignore=shutil.ignore_patterns("bank"))
    utt2spk = read_table(data / "utt2spk", columns=2)
    valid = [utt for utt in utt2spk if utt.endswith(("ang0", "ang3", "sad1"))]
    write_list(data / "identification" / "valid", valid)
    write_list(data / "identification" / "train", utt2spk.keys() - set(valid))
    return data, run(*PRETRAIN, data, tmp_path / "m").stderr, tmp_path / "m"


def test_a_pretraining_reports_it_with_the_weights_of_its_best_epoch(pretrained):
    data, log, model_dir = pretrained
    results = read_results(model_dir / "results.json", PretrainResults, "")
    line = (model_dir / "RESULT").read_text()
    assert f" held-out utterances, 4 speakers, EER {results.eer:.2f} over 66 trials, seed 0, " in line
    assert line.strip() in log and results.trials == 66
    utts = read_list(data / "identification" / "valid")
    bank = load_bank(data, utts, "utterance-mean", torch.device("cpu"), np.float16)
    model = SpeakerModel("vgg5", 41, 4)
    model.load_state_dict(load_tensors(model_dir / "best.safetensors")[0])
    utt2spk = read_table(data / "utt2spk", columns=2)
    expected, _ = eer_of(model, bank, bank.indices(utts), [utt2spk[utt] for utt in utts])
    assert results.eer == pytest.approx(expected, abs=0.3)


def test_without_two_utterances_of_a_speaker_it_is_left_out(tiny, tmp_path):
    log = run(*PRETRAIN, "--epochs", "1", tiny, tmp_path / "m").stderr
    results = json.loads((tmp_path / "m" / "results.json").read_text())
    assert results["eer"] is None and results["trials"] == 0
    assert " 4 speakers, EER none, seed 0, " in (tmp_path / "m" / "RESULT").read_text()
    assert re.search(r"no equal error rate: no speaker has two held-out utterances, or all are of one speaker\n", log)


def test_results_of_the_version_before_are_read(pretrained):
    _, _, model_dir = pretrained
    path = model_dir / "results.json"
    data = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in data.items() if key not in ("eer", "trials")}))
    results = read_results(path, PretrainResults, "")
    assert results.eer is None and results.accuracy == data["accuracy"]


def test_a_sample_of_the_trials_is_called_one(pretrained):
    _, _, model_dir = pretrained
    data = json.loads((model_dir / "results.json").read_text())
    (model_dir / "results.json").write_text(json.dumps({**data, "utterances": 2000, "trials": 1_000_000}))
    results = read_results(model_dir / "results.json", PretrainResults, "")
    assert f", EER {results.eer:.2f} over 1000000 sampled trials, " in pretraining_line(results, "m")
