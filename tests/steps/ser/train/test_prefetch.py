"""Batches made ahead in a thread: the same ones in the same order, its errors, and its end."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ser.data import feature_bank
from ser.data.feature_bank import FeatureBank, packed
from ser.train.prefetch import prefetch

LENGTHS = [7, 40, 12, 23]
FRAMES = np.random.default_rng(0).standard_normal((sum(LENGTHS), 5)).astype(np.float16)
ELSEWHERE = SimpleNamespace(is_resident=False, device=torch.device("cpu"))


def bank_on(device):
    return FeatureBank("abcd", LENGTHS, FRAMES, device)


def batches(bank, count=20):
    """Positions in a random order with their crops, as an epoch of training draws them."""
    generator = torch.Generator().manual_seed(3)
    for batch in torch.randint(4, (count, 6), generator=generator):
        which = batch.to(bank.lengths.device)
        yield bank.crops(which, 15, generator), which


def same(batch, other):
    return all(torch.equal(mine.cpu(), its.cpu()) for mine, its in zip(batch, other, strict=True))


def no_thread():
    return not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


@pytest.mark.parametrize("where", [ELSEWHERE, SimpleNamespace(is_resident=True)])
def test_the_same_batches_in_the_same_order(where):
    pairs = list(zip(batches(bank_on("cpu")), prefetch(batches(bank_on("cpu")), where), strict=True))
    assert len(pairs) == 20 and all(same(*pair) for pair in pairs)
    assert no_thread()


def test_a_thread_is_ahead_but_not_far():
    made = []
    handed_out = prefetch((made.append(n) or (torch.tensor(n),) for n in range(50)), ELSEWHERE)
    assert not made
    for n in range(10):
        assert next(handed_out)[0] == n
        assert n < len(made) <= n + 5
    handed_out.close()
    assert len(made) <= 15 and no_thread()


@pytest.mark.parametrize("good", [0, 1, 10])
def test_an_error_comes_in_the_place_of_its_batch(good):
    def failing():
        for n in range(good):
            yield (torch.tensor(n),)
        raise OSError("disk gone")

    seen = []
    with pytest.raises(OSError, match="disk gone"):
        for batch, in prefetch(failing(), ELSEWHERE):
            seen.append(int(batch))
    assert seen == list(range(good)) and no_thread()


def test_nothing_to_make():
    assert not list(prefetch(iter(()), ELSEWHERE)) and no_thread()


def test_packing_takes_utterances_out_in_their_order():
    offsets = torch.tensor([0, 7, 47, 59])
    which = torch.tensor([2, 0, 3])
    frames = packed(torch.from_numpy(FRAMES), torch.tensor(LENGTHS)[which], offsets[which], "cpu")
    assert np.array_equal(frames, np.concatenate([FRAMES[47:59], FRAMES[:7], FRAMES[59:]]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("share, resident", [(0.5, True), (0.0, False)])
def test_a_gpu_gets_the_same_wherever_the_features_lie(share, resident, monkeypatch):
    monkeypatch.setattr(feature_bank, "_SHARE_OF_FREE_MEMORY", share)
    bank, reference = bank_on("cuda"), bank_on("cpu")
    assert bank.is_resident == resident and bank.fingerprint() == reference.fingerprint()
    for batch, expected in zip(prefetch(batches(bank, 200), bank), batches(reference, 200), strict=True):
        assert all(tensor.is_cuda for tensor in batch) and same(batch, expected)
    which = torch.tensor([3, 0, 1])
    (mine, lengths), frames = bank.padded(which.to(bank.lengths.device)), bank.frames_of(which.to(bank.lengths.device))
    assert mine.is_cuda and lengths.is_cuda and frames.is_cuda
    assert same((mine, lengths, frames), (*reference.padded(which), reference.frames_of(which)))
