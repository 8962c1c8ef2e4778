"""Batches gathered from the flat bank, and the normalizations."""

import numpy as np
import pytest
import torch

from ser.data.feature_bank import FeatureBank
from ser.data.normalization import PER_UTTERANCE, corpus_statistics

RNG = np.random.default_rng(4)
MATRICES = [RNG.normal(3, 2, (frames, 5)).astype(np.float32) for frames in (7, 1, 30, 12)]
UTTS = ["a", "b", "c", "d"]


@pytest.fixture
def bank():
    return FeatureBank(UTTS, [len(matrix) for matrix in MATRICES], np.concatenate(MATRICES))


@pytest.mark.parametrize("size", [1, 5, 12, 40])
def test_crops_are_pieces_of_their_utterance(bank, size):
    generator = torch.Generator().manual_seed(0)
    starts = set()
    for _ in range(400):
        for which, crop in zip((2, 0, 1), bank.crops(bank.indices(["c", "a", "b"]), size, generator), strict=True):
            whole = MATRICES[which]
            repeated = np.concatenate([whole] * (2 + size // len(whole)))
            found = [start for start in range(len(whole)) if np.array_equal(repeated[start : start + size], crop)]
            assert found and (found[0] == 0 or found[0] + size <= len(whole))
            starts |= {found[0]} if which == 2 else set()
    assert starts == set(range(max(1, 30 - size + 1)))


def test_padded_holds_whole_utterances_and_zeros(bank):
    batch, lengths = bank.padded(bank.indices(["d", "b", "c"]))
    assert lengths.tolist() == [12, 1, 30]
    for row, which in enumerate((3, 1, 2)):
        assert np.array_equal(batch[row, : lengths[row]], MATRICES[which]) and not batch[row, lengths[row] :].any()


def test_corpus_statistics_are_those_of_the_named_utterances(bank):
    mean, std = corpus_statistics(bank, bank.indices(["d", "a"]))
    frames = np.concatenate([MATRICES[3], MATRICES[0]])
    assert np.allclose(mean, frames.mean(0), atol=1e-5) and np.allclose(std, frames.std(0, ddof=1), atol=1e-5)


def test_normalizations_of_an_utterance():
    assert np.allclose(PER_UTTERANCE["utterance-mean"](MATRICES[2]).mean(0), 0, atol=1e-5)
    normalized = PER_UTTERANCE["utterance"](MATRICES[2])
    assert np.allclose(normalized.mean(0), 0, atol=1e-5) and np.allclose(normalized.std(0), 1, atol=1e-4)
    assert np.isfinite(PER_UTTERANCE["utterance"](MATRICES[1])).all()  # a single frame has no deviation


def test_fingerprint_sees_one_value(bank):
    frames = np.concatenate(MATRICES)
    frames[17, 3] = np.nextafter(frames[17, 3], np.float32(np.inf))
    assert FeatureBank(UTTS, bank.lengths.tolist(), frames).fingerprint() != bank.fingerprint()
