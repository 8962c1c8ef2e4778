"""Archives: every bit survives, Kaldi's own reader agrees, and no kind of damage gives a matrix."""

import kaldi_native_io as kio
import kaldiio
import numpy as np
import pytest
import torch

from conftest import read_matrices, read_vectors
from ser.base.errors import UserError
from ser.data.archives import write_archive
from ser.data.data_dir import read_table
from ser.data.feature_bank import load_bank

RNG = np.random.default_rng(6)
MATRICES = {f"a-{n}": RNG.normal(-3, 8, (rows, 5)).astype(np.float32) for n, rows in enumerate((7, 1, 12))}
MATRICES["ä-3"] = np.array([[1e-45, -0.0, 3.4e38, -1e-38, np.pi]], np.float32)
VECTORS = {utt: (np.arange(len(matrix)) % 3 > 0).astype(np.float32) for utt, matrix in MATRICES.items()}
FOLDERS = ["plain", "with space", "with,comma", "a:b", "語音"]


def written(folder, matrices=MATRICES, vectors=VECTORS):
    """A data directory of feats.scp and vad.scp."""
    folder.mkdir(exist_ok=True)
    for name, arrays in (("feats", matrices), ("vad", vectors)):
        write_archive(folder / name, arrays.items())
    return folder


@pytest.mark.parametrize("name", FOLDERS)
def test_every_bit_survives(tmp_path, name):
    data = written(tmp_path / name)
    for table, reader, arrays, kaldi in (("feats.scp", read_matrices, MATRICES, kio.RandomAccessFloatMatrixReader),
                                         ("vad.scp", read_vectors, VECTORS, kio.RandomAccessFloatVectorReader)):
        places = read_table(data / table)
        assert list(places) == list(arrays)
        with kaldi(f"scp:{data / table}") as reference:
            for utt, array in reader(places):
                assert array.dtype == np.float32 and array.tobytes() == arrays[utt].tobytes()
                assert np.array(reference[utt]).tobytes() == arrays[utt].tobytes()
    with kio.SequentialFloatMatrixReader(f"ark:{data / 'feats.ark'}") as reference:
        assert {utt: np.array(value).tobytes() for utt, value in reference} == {
            utt: value.tobytes() for utt, value in MATRICES.items()}


def test_scp_holds_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(type(tmp_path)("here"))
    assert read_table("here/feats.scp")["a-0"] == f"{tmp_path}/here/feats.ark:4"


def test_other_types_become_float32(tmp_path):
    write_archive(tmp_path / "x", [("a", np.arange(6).reshape(2, 3).T), ("b", np.ones((2, 2)))])
    assert [array.tolist() for _, array in read_matrices(read_table(tmp_path / "x.scp"))] == [
        [[0, 3], [1, 4], [2, 5]], [[1, 1], [1, 1]]]


def test_matrices_that_kaldi_wrote(tmp_path):
    with kio.FloatMatrixWriter(f"ark,scp:{tmp_path}/x.ark,{tmp_path}/x.scp") as writer:
        for utt, matrix in MATRICES.items():
            writer.write(utt, matrix)
    for utt, matrix in read_matrices(read_table(tmp_path / "x.scp")):
        assert matrix.tobytes() == MATRICES[utt].tobytes()


@pytest.mark.parametrize("method", [2, 3, 5])
def test_compressed_matrices(tmp_path, method):
    kaldiio.save_ark(f"{tmp_path}/c.ark", {"a-0": MATRICES["a-0"]}, f"{tmp_path}/c.scp", compression_method=method)
    (_, matrix), = read_matrices(read_table(tmp_path / "c.scp"))
    assert np.abs(matrix - MATRICES["a-0"]).max() < 0.3


def test_nothing_is_left_when_the_source_fails(tmp_path):
    def source():
        yield "a-0", MATRICES["a-0"]
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_archive(tmp_path / "x", source())
    assert not list(tmp_path.iterdir())
    write_archive(tmp_path / "x", MATRICES.items())
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(RuntimeError, match="power cut"):
        write_archive(tmp_path / "x", source())
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def refused(reader, table):
    """The message that a reader refuses a table with; what it gave before is right."""
    with pytest.raises(UserError) as caught:
        for utt, array in reader(table):
            assert array.tobytes() == (MATRICES if reader is read_matrices else VECTORS)[utt].tobytes()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name, reader", [("feats", read_matrices), ("vad", read_vectors)])
def test_cut_at_every_byte(tmp_path, name, reader):
    data = written(tmp_path / "data")
    places, archive = read_table(data / f"{name}.scp"), data / f"{name}.ark"
    content = archive.read_bytes()
    for size in range(len(content)):
        archive.write_bytes(content[:size])
        message = refused(reader, places)
        assert message.startswith(f"{archive}:") and "cut short or damaged (utterance " in message


@pytest.mark.parametrize("name, reader", [("feats", read_matrices), ("vad", read_vectors)])
def test_pointing_anywhere_else(tmp_path, name, reader):
    data = written(tmp_path / "data")
    places, archive = read_table(data / f"{name}.scp"), data / f"{name}.ark"
    right = {int(place.rpartition(":")[2]) for place in places.values()}
    for offset in set(range(archive.stat().st_size + 20)) - right:
        assert "cut short or damaged" in refused(reader, {"a-0": f"{archive}:{offset}"})


@pytest.mark.parametrize("place, reason", [
    ("absent.ark:4", "no such archive"), ("{ark}:999999", "cut short or damaged"), ("{ark}:-5", "damaged"),
    ("{ark}", "no such archive|damaged"), ("{ark}:x", "damaged"), ("{ark}:", "damaged"), ("{folder}:4", "damaged"),
    ("{vad}:4", "holds no matrix"),
])
def test_places_that_are_none(tmp_path, place, reason):
    data = written(tmp_path / "data")
    place = place.format(ark=data / "feats.ark", folder=data, vad=data / "vad.ark")
    with pytest.raises(UserError, match=reason) as caught:
        list(read_matrices({"a-0": place}))
    assert place in str(caught.value) and "a-0" in str(caught.value)


def damaged(what):
    """Matrices and vectors of a data directory with one thing wrong."""
    matrices, vectors = dict(MATRICES), dict(VECTORS)
    if what == "dimension":
        matrices["a-2"] = matrices["a-2"][:, :4]
    elif what == "length":
        vectors["a-2"] = vectors["a-2"][:-1]
    elif what == "missing in vad.scp":
        del vectors["a-2"]
    elif what == "missing in feats.scp":
        del matrices["a-2"]
    else:
        matrices["a-2"] = np.where(np.arange(5) == 3, np.float32(what), matrices["a-2"])
    return matrices, vectors


@pytest.mark.parametrize("what, reason", [
    ("nan", r"feats.ark:\d+: holds a value that is not finite"), ("inf", "not finite"),
    ("dimension", "feats.scp: a-2 has dimension 4, the others 5"),
    ("length", "vad.scp: a-2 has 11 decisions for 12 frames"),
    ("missing in vad.scp", "vad.scp: has no entry for a-2"),
    ("missing in feats.scp", "feats.scp: has no entry for a-2"),
])
def test_bank_of_a_damaged_directory(tmp_path, what, reason):
    data = written(tmp_path / "data", *damaged(what))
    with pytest.raises(UserError, match=reason) as caught:
        load_bank(data, MATRICES)
    assert "\n" not in str(caught.value) and "a-2" in str(caught.value)
    assert load_bank(data, ["a-0", "a-1"]).utts == ["a-0", "a-1"]


@pytest.mark.parametrize("name", ["feats.scp", "vad.scp"])
def test_bank_without_a_table(tmp_path, name):
    data = written(tmp_path / "data")
    (data / name).unlink()
    with pytest.raises(UserError, match=f"{name}: no such file"):
        load_bank(data, MATRICES)


def test_bank_drops_unvoiced_frames_and_names_silence(tmp_path, capsys):
    vectors = {**VECTORS, "a-2": np.zeros(12)}
    bank = load_bank(written(tmp_path / "data", vectors=vectors), MATRICES)
    expected = [MATRICES[utt] if utt == "a-2" or not vectors[utt].any() else MATRICES[utt][vectors[utt] > 0]
                for utt in MATRICES]
    assert torch.equal(bank.frames, torch.from_numpy(np.concatenate(expected)))
    assert bank.lengths.tolist() == [len(matrix) for matrix in expected]
    assert "3 of 4 utterances have no voiced frame and keep all their frames: a-1 a-2 ä-3" in capsys.readouterr().err
