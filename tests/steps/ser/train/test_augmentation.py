"""What each augmentation does to crops; that the generator decides all of it; parts of a batch; wrong names."""

import librosa
import numpy as np
import pytest
import torch

from conftest import run
from ser.data.feature_bank import FeatureBank
from ser.train.augment_option import check_augment
from ser.train.augmentation import AUGMENTATIONS, augmented

DIMENSION = 41
SIZE = 100
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def bank():
    """64 utterances longer than a crop, so that a crop is a stretch of one of them."""
    lengths = np.arange(64) + 200
    return FeatureBank([f"u{n}" for n in range(64)], lengths,
                       RNG.normal(size=(lengths.sum(), DIMENSION)).astype(np.float32) + 3)


class Ramps:
    """A source whose crops tell where they were read: frame + 1000 * dimension."""

    device = torch.device("cpu")
    is_resident = True

    def crops(self, positions, size, generator, part=slice(None)):
        ramp = torch.arange(size)[:, None] + 1000.0 * torch.arange(DIMENSION)
        return ramp.expand(len(positions[part]), -1, -1)


def crops_of(source, count=64, seed=0, part=slice(None)):
    generator = torch.Generator().manual_seed(seed)
    crops = source.crops(torch.arange(count), SIZE, generator, part)
    return crops, generator.get_state()


def runs(masked):
    """Lengths of the runs of True in a boolean vector."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], masked, [0]])))
    return edges[1::2] - edges[::2]


def test_specaugment_masks_two_stretches_and_two_bands_with_zero(bank):
    plain, _ = crops_of(bank)
    found, _ = crops_of(augmented(bank, "specaugment", {}))
    assert torch.equal(found[found != 0], plain[found != 0])
    is_masked = (found == 0).numpy()
    frames, bands = is_masked.all(2), is_masked.all(1)
    assert np.array_equal(is_masked, frames[:, :, None] | bands[:, None])
    for masks, widest in ((frames, 20), (bands, 6)):
        lengths = [runs(each) for each in masks]
        assert max(map(len, lengths)) == 2 and max(map(sum, lengths)) <= 2 * widest
        assert max(length for each in lengths if len(each) == 2 for length in each) == pytest.approx(widest, abs=1)
        assert masks.sum(1).mean() == pytest.approx(widest, rel=0.25)  # two masks of half of it in the mean
        assert masks[:, 0].any() and masks[:, -1].any() and masks.mean(0).max() < 0.6


def test_noise_has_a_tenth_of_the_deviation_and_no_mean(bank):
    plain, _ = crops_of(bank)
    found, _ = crops_of(augmented(bank, "noise", {}))
    noise = found - plain
    assert noise.std().item() == pytest.approx(0.1, rel=0.01) and abs(noise.mean()) < 0.001
    assert noise.std(dim=0).min() > 0.05  # another noise for each utterance


def test_speed_reads_frames_between_those_that_are_there(bank):
    found, _ = crops_of(augmented(Ramps(), "speed", {}), 256)
    assert found.shape == (256, SIZE, DIMENSION)
    frames = found - 1000 * torch.arange(DIMENSION)
    rates = frames[:, 1, 0]
    assert rates.min().item() == pytest.approx(0.9, abs=0.01) and rates.max().item() == pytest.approx(1.1, abs=0.01)
    assert torch.allclose(frames, (rates[:, None] * torch.arange(SIZE))[:, :, None].expand_as(frames), atol=0.02)
    assert crops_of(augmented(bank, "speed", {}))[0].shape == (64, SIZE, DIMENSION)


def test_warp_reads_each_filter_at_its_frequency_times_a_factor():
    found, _ = crops_of(augmented(Ramps(), "warp", {}), 256)
    filters = (found - torch.arange(SIZE)[:, None]) / 1000  # [B, T, dimension]
    assert torch.allclose(filters, filters[:, :1].expand_as(filters), atol=1e-4)
    edges = librosa.mel_frequencies(DIMENSION + 2, fmin=20, fmax=8000, htk=True)  # the same scale with log10
    read = np.interp(filters[:, 0].numpy(), np.arange(-1, DIMENSION + 1), edges)  # hertz, linear between filters
    factors = read[:, 20] / edges[21]
    assert factors.min() == pytest.approx(0.9, abs=0.01) and factors.max() == pytest.approx(1.1, abs=0.01)
    inside = (filters[:, 0] > 0).numpy() & (filters[:, 0] < DIMENSION - 1).numpy()
    np.testing.assert_allclose((read / edges[1:-1])[inside], np.broadcast_to(factors[:, None], read.shape)[inside],
                               atol=0.005)
    assert inside.mean() > 0.9


@pytest.mark.parametrize("size, dimension", [(1, 1), (1, 41), (20, 3)])
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_the_smallest_crops_have_their_shape_and_are_finite(name, size, dimension):
    bank = FeatureBank(["a", "b"], [1, 3], RNG.normal(size=(4, dimension)).astype(np.float32))
    crops = augmented(bank, name, {}).crops(torch.tensor([0, 1, 1]), size, torch.Generator().manual_seed(0))
    assert crops.shape == (3, size, dimension) and crops.dtype == torch.float32 and crops.isfinite().all()


@pytest.mark.parametrize("augment", [*AUGMENTATIONS, "speed,warp,specaugment,noise"])
def test_the_generator_decides_and_a_part_is_what_the_whole_batch_has_there(augment, bank):
    source = augmented(bank, augment, {})
    whole, state = crops_of(source)
    assert torch.equal(whole, crops_of(source)[0]) and not torch.equal(whole, crops_of(source, seed=1)[0])
    torch.manual_seed(7)
    assert torch.equal(whole, crops_of(source)[0])
    for part in (slice(0, None, 2), slice(1, None, 2)):
        of_part, after_part = crops_of(source, part=part)
        assert torch.equal(of_part, whole[part]) and torch.equal(after_part, state)


def test_none_is_the_bank_and_the_first_one_changes_first(bank):
    assert augmented(bank, "none", {}) is bank
    masks_last, _ = crops_of(augmented(bank, "noise,specaugment", {}))
    noise_last, _ = crops_of(augmented(bank, "specaugment,noise", {}))
    assert (masks_last == 0).any() and not (noise_last == 0).any()


@pytest.mark.parametrize("augment, norm, message", [
    ("mixup", "utterance", "augment: no 'mixup'; there are specaugment noise speed warp copypaste, several with"),
    ("none,noise", "utterance", "augment: no 'none'; there are"), ("", "utterance", "augment: no ''; there are"),
    ("noise,noise", "utterance", "augment: noise is named twice"),
    ("specaugment", "corpus", "take feature-norm utterance or utterance-mean, not corpus")])
def test_a_wrong_name_is_one_line_that_lists_what_there_is(augment, norm, message):
    with pytest.raises(ValueError, match=message):
        check_augment(augment, norm, "copypaste")


def test_both_scripts_refuse_a_wrong_name(tiny, tmp_path):
    for words in (("steps/pretrain.py", tiny, tmp_path / "m"),
                  ("steps/finetune.py", "--data", tiny, "--fold", "fold_s1", "--dir", tmp_path / "m")):
        result = run(*words, "--augment", "mixup", check=False)
        lines = result.stderr.splitlines()
        assert result.returncode == 1 and len(lines) == 1 and "no 'mixup'; there are specaugment noise" in lines[0]
    assert not (tmp_path / "m").exists()
