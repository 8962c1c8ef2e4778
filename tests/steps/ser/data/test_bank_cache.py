"""The copy of the features on disk: made once, trusted only when it is whole and of these archives, never needed."""

import multiprocessing
import os
import resource
import signal
import time

import numpy as np
import pytest
import torch

from ser.data import feature_bank, flat_frames, voiced_features
from ser.data.archives import write_archive
from ser.data.data_dir import read_table, write_table
from ser.data.feature_bank import load_bank

RNG = np.random.default_rng(7)
MATRICES = {f"{speaker}-{take}": RNG.normal(-3, 8, (5 + 7 * take, 6)).astype(np.float32)
            for speaker in "abc" for take in range(5)}
VECTORS = {utt: (np.arange(len(matrix)) % 3 > 0).astype(np.float32) for utt, matrix in MATRICES.items()}
UTTS = list(MATRICES)
NORM = "utterance-mean"


@pytest.fixture
def data(tmp_path):
    for name, arrays in (("feats", MATRICES), ("vad", VECTORS)):
        write_archive(tmp_path / name, arrays.items())
    return tmp_path


def uncached(data, *words):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feature_bank, "open_cache", lambda features, utts: None)
        return load_bank(data, *words)


def agrees(bank, expected):
    everything = [each.frames_of(torch.arange(len(each.utts))) for each in (bank, expected)]
    return (bank.utts == expected.utts and torch.equal(bank.lengths, expected.lengths) and torch.equal(*everything)
            and bank.fingerprint() == expected.fingerprint())


def makes(data, capsys, *words):
    """Load, compare with the archives, and return whether a copy was made and what else was logged."""
    capsys.readouterr()
    bank = load_bank(data, *words)
    lines = capsys.readouterr().err.splitlines()
    assert agrees(bank, uncached(data, *words))
    return any(": made of 15 utterances" in line for line in lines), [x for x in lines if ": made of" not in x]


def change_archive(data):
    write_archive(data / "feats", {utt: matrix + 1 for utt, matrix in MATRICES.items()}.items())


CHANGES = {
    "nothing": lambda data: None,
    "feats.scp": lambda data: write_table(data / "feats.scp", read_table(data / "feats.scp") | {
        "a-0": read_table(data / "feats.scp")["b-0"]}),
    "vad.scp": lambda data: write_table(data / "vad.scp", read_table(data / "vad.scp") | {
        "a-0": read_table(data / "vad.scp")["b-0"]}),
    "archive": change_archive,
    "time of feats.scp": lambda data: os.utime(data / "feats.scp"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_made_once_and_again_when_its_source_changes(change, data, capsys):
    assert makes(data, capsys, UTTS, NORM) == (True, [])
    CHANGES[change](data)
    assert makes(data, capsys, UTTS, NORM) == (change != "nothing", [])
    assert makes(data, capsys, UTTS, NORM) == (False, [])


def test_a_whole_copy_is_all_that_is_read(data, monkeypatch):
    expected = uncached(data, UTTS, NORM)
    load_bank(data, UTTS[:1], NORM)
    monkeypatch.setattr(voiced_features, "read_matrix", lambda *_: pytest.fail("an archive is read"))
    monkeypatch.setattr(voiced_features, "read_vector", lambda *_: pytest.fail("an archive is read"))
    assert agrees(load_bank(data, UTTS, NORM), expected)
    bank = load_bank(data, UTTS[::-2], NORM)
    assert torch.equal(bank.frames_of(bank.indices(["b-3"])), expected.frames_of(expected.indices(["b-3"])))


def test_one_copy_for_each_normalization_and_type_and_none_of_old_features(data, capsys):
    for words in ((UTTS, NORM), (UTTS, "none"), (UTTS, NORM, "cpu", np.float16)):
        assert makes(data, capsys, *words) == (True, [])
    copies = {f"{NORM}.float32", "none.float32", f"{NORM}.float16"}
    assert {path.name for path in (data / "bank").iterdir()} == {".lock", *copies}
    assert len({load_bank(data, UTTS, *words).fingerprint()
                for words in ((NORM,), ("none",), (NORM, "cpu", np.float16))}) == 3
    change_archive(data)
    load_bank(data, UTTS, "none")
    assert {path.name for path in (data / "bank").iterdir()} == {".lock", "none.float32"}


def test_half_precision_rounds_and_batches_are_single(data):
    single, half = (load_bank(data, UTTS, NORM, "cpu", dtype) for dtype in (np.float32, np.float16))
    which = torch.arange(15)
    crops = [bank.crops(which, 9, torch.Generator().manual_seed(0)) for bank in (single, half)]
    for mine, exact in ((crops[1], crops[0]), (half.padded(which)[0], single.padded(which)[0])):
        assert mine.dtype == torch.float32 and torch.equal(mine, exact.half().float())
    assert half.frames.dtype == torch.float16


def test_too_large_for_half_precision(data):
    write_archive(data / "feats", {utt: matrix * 1e5 for utt, matrix in MATRICES.items()}.items())
    load_bank(data, UTTS)
    with pytest.raises(voiced_features.UserError, match=r"feats.ark:4: holds a value that is too large for float16 \(ut"
                                                        r"terance a-0\); scale the features down"):
        load_bank(data, UTTS, "none", "cpu", np.float16)


def test_the_frames_are_a_map_of_the_file(data):
    bank = load_bank(data, UTTS[3:9], NORM)
    with open(data / "bank" / f"{NORM}.float32" / "frames", "r+b") as file:
        file.write(np.float32(17).tobytes())
    assert bank.frames[0, 0] == 17


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "first byte of the frames": ("frames", lambda path: flip(path, 0)),
    "last byte of the frames": ("frames", lambda path: flip(path, -1)),
    "frames cut": ("frames", lambda path: path.write_bytes(path.read_bytes()[:-1])),
    "frames longer": ("frames", lambda path: path.write_bytes(path.read_bytes() + b"x")),
    "frames gone": ("frames", lambda path: path.unlink()),
    "byte of the index": ("index", lambda path: flip(path, -30)),
    "byte of its stamp": ("index", lambda path: flip(path, 70)),
    "index cut": ("index", lambda path: path.write_bytes(path.read_bytes()[:-20])),
    "index empty": ("index", lambda path: path.write_bytes(b"")),
    "index of another kind": ("index", lambda path: path.write_bytes(b"\xff\xfe\n\xff\n{}")),
    "index gone": ("index", lambda path: path.unlink()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_noticed_and_mended(damage, data, capsys):
    load_bank(data, UTTS, NORM)
    name, inflict = DAMAGES[damage]
    inflict(data / "bank" / f"{NORM}.float32" / name)
    made, said = makes(data, capsys, UTTS, NORM)
    assert made and all("is damaged" in line for line in said), said
    assert makes(data, capsys, UTTS, NORM) == (False, [])


def test_nothing_is_looked_at_but_what_is_asked_for(data, capsys):
    load_bank(data, UTTS, NORM)
    flip(data / "bank" / f"{NORM}.float32" / "frames", 0)  # of a-0
    assert makes(data, capsys, UTTS[1:], NORM) == (False, [])
    assert makes(data, capsys, UTTS[:1], NORM)[0]


def test_an_utterance_with_a_fault_takes_no_other_down(data, capsys):
    feats = read_table(data / "feats.scp")
    faults = {"a-1": feats["a-1"].replace("feats.ark", "gone.ark"), "b-2": read_table(data / "vad.scp")["b-2"]}
    write_table(data / "feats.scp", feats | faults)
    with pytest.raises(voiced_features.UserError, match=r"gone.ark:\d+: no such archive"):
        load_bank(data, UTTS, NORM)
    assert "left out for a fault: 2, the first: " in capsys.readouterr().err
    others = [utt for utt in UTTS if utt not in ("a-1", "b-2")]
    assert makes(data, capsys, others, NORM) == (False, [])
    (data / "gone.ark").write_bytes((data / "feats.ark").read_bytes())
    load_bank(data, ["a-1"], NORM)
    assert "left out for a fault: 1, " in capsys.readouterr().err


@pytest.mark.parametrize("obstacle", ["bank is a file", "disk is full"])
def test_without_room_for_a_copy_the_archives_are_read(obstacle, data, capsys):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    if obstacle == "bank is a file":
        (data / "bank").touch()
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        for _ in range(2):
            made, said = makes(data, capsys, UTTS, NORM)
            assert not made and len(said) == 1 and "so the archives are read each time" in said[0]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert obstacle == "bank is a file" or [path.name for path in (data / "bank").iterdir()] == [".lock"]


def slow_load(data, ready, results):
    """Load in a process that takes its time over each utterance, and tell what came of it."""
    add, said = flat_frames.FlatWriter.add, []

    def slow_add(self, utt):
        ready.set()
        time.sleep(0.02)
        add(self, utt)

    flat_frames.FlatWriter.add = slow_add
    feature_bank.open_cache.__globals__["log"] = said.append
    results.put((load_bank(data, UTTS, NORM).fingerprint(), sum("made of 15" in line for line in said)))


def start(data):
    context = multiprocessing.get_context("forkserver")
    ready, results = context.Event(), context.Queue()
    process = context.Process(target=slow_load, args=(data, ready, results))
    process.start()
    return process, ready, results


def test_a_killed_process_leaves_nothing_that_is_taken_for_whole(data, capsys):
    process, ready, _ = start(data)
    assert ready.wait(60)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert (data / "bank" / f".{NORM}.float32").exists()
    assert makes(data, capsys, UTTS, NORM) == (True, [])
    assert {path.name for path in (data / "bank").iterdir()} == {".lock", f"{NORM}.float32"}


def test_of_several_processes_one_makes_the_copy(data):
    running = [start(data) for _ in range(3)]
    results = [queue.get(timeout=60) for _, _, queue in running]
    for process, _, _ in running:
        process.join()
    assert {fingerprint for fingerprint, _ in results} == {uncached(data, UTTS, NORM).fingerprint()}
    assert sum(made for _, made in results) == 1
