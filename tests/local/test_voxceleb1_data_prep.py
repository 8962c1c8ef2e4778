"""local/voxceleb1_data_prep.py on made-up trees of the three layouts."""

import re
import subprocess
from pathlib import Path

import pytest

from conftest import run

ROOT = Path(__file__).resolve().parents[2]
META = ("VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\n"
        "id10001\tA.J._Buckley\tm\tIreland\tdev\nid10002\tA.R._Rahman\tf\tNew Zealand\tdev\n"
        "id10270\tEartha_Kitt\tf\tUSA\ttest\n")
NAMES = {"id10001": "A.J._Buckley", "id10002": "A.R._Rahman", "id10270": "Eartha_Kitt"}
VIDEOS = ["-zcIwhmdeo4", "_x-_-_-_-_-", "8jEAjG6SegY"]
UTTERANCES = {f"{speaker}-{video}-{number:05d}" for speaker in NAMES for video in VIDEOS for number in (1, 2)}


def prepare(*args):
    return run("local/voxceleb1_data_prep.py", *args, check=False)


def read(path):
    return dict(line.split(maxsplit=1) for line in path.read_text().splitlines())


def put(path, content=b"RIFF"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def place(layout, speaker, video, number):
    split = "test" if speaker == "id10270" else "dev"
    return {"split": f"{split}/wav/{speaker}/{video}/{number:05d}.wav",
            "merged": f"wav/{speaker}/{video}/{number:05d}.wav",
            "oldest": f"voxceleb1_wav/{NAMES[speaker]}/{video}_{number:07d}.wav",
            "oldest-ids": f"voxceleb1_wav/{speaker}/{video}_{number:07d}.wav"}[layout]


def make_corpus(root, layout, meta=META):
    for utt in UTTERANCES:
        put(root / place(layout, utt[:7], utt[8:19], int(utt[20:])))
    if meta:
        (root / "vox1_meta.csv").write_text(meta)
    return root


@pytest.mark.parametrize("layout", ["split", "merged", "oldest", "oldest-ids"])
def test_every_layout_gives_the_same_table(tmp_path, layout):
    make_corpus(tmp_path / "corpus", layout)
    result = prepare(tmp_path / "corpus", tmp_path / "data")
    assert result.returncode == 0, result.stderr
    data = tmp_path / "data"
    assert read(data / "utt2spk") == {utt: utt[:7] for utt in UTTERANCES}
    assert read(data / "spk2gender") == {"id10001": "m", "id10002": "f", "id10270": "f"}
    for utt, path in read(data / "wav.scp").items():
        assert path == str(tmp_path / "corpus" / place(layout, utt[:7], utt[8:19], int(utt[20:])))
    assert (data / "dataset").read_text() == "voxceleb1\n"
    assert "18 (153516)" in result.stdout and "1152" in result.stdout
    assert "all speakers: 3 found, 1251 published" in result.stderr
    subprocess.run(["sort", "-c", data / "utt2spk"], env={"LC_ALL": "C"}, check=True)
    subprocess.run(["sort", "-c", "-k2", data / "utt2spk"], env={"LC_ALL": "C"}, check=True)


@pytest.mark.parametrize("place", [".", "..", "metadata"])
def test_metadata_with_commas_beside_or_inside_the_corpus(tmp_path, place):
    root = make_corpus(tmp_path / "corpus", "oldest", meta=None)
    put(root / place / "vox1_meta.csv", META.replace("\t", ",").replace("VoxCeleb1 ID", "ID").encode())
    result = prepare(root, tmp_path / "data")
    assert result.returncode == 0, result.stderr
    assert set(read(tmp_path / "data/spk2utt")) == set(NAMES)
    assert (tmp_path / "data/spk2gender").exists()


def test_without_metadata_the_folder_is_the_speaker(tmp_path):
    root = make_corpus(tmp_path / "corpus", "oldest", meta=None)
    put(root / "voxceleb1_wav/A.J._Buckley Jr/8jEAjG6SegY_0000001.wav")
    result = prepare(root, tmp_path / "data")
    assert result.returncode == 0 and not (tmp_path / "data/spk2gender").exists()
    assert set(read(tmp_path / "data/spk2utt")) == {*NAMES.values(), "A.J._Buckley_Jr"}
    subprocess.run(["sort", "-c", "-k2", tmp_path / "data/utt2spk"], env={"LC_ALL": "C"}, check=True)


def test_dev_speakers_by_metadata_folder_or_id(tmp_path):
    for layout, meta in [("merged", META), ("merged", None), ("split", None), ("oldest", META)]:
        root = make_corpus(tmp_path / f"{layout}{bool(meta)}", layout, meta)
        result = prepare("--speakers", "dev", root, tmp_path / "data")
        assert result.returncode == 0, result.stderr
        assert set(read(tmp_path / "data/spk2utt")) == {"id10001", "id10002"}
        assert (tmp_path / "data/dataset").read_text() == "voxceleb1-dev\n"
    put(tmp_path / "splitFalse/test/wav/id10003/8jEAjG6SegY/00001.wav")  # the folder says more than the id
    assert prepare("--speakers", "dev", tmp_path / "splitFalse", tmp_path / "data").returncode == 0
    assert set(read(tmp_path / "data/spk2utt")) == {"id10001", "id10002"}
    swapped = META.replace("Ireland\tdev", "Ireland\ttest")  # the metadata says more than the ids
    prepare("--speakers", "dev", make_corpus(tmp_path / "swapped", "merged", swapped), tmp_path / "data")
    assert set(read(tmp_path / "data/spk2utt")) == {"id10002"}
    result = prepare("--speakers", "dev", make_corpus(tmp_path / "names", "oldest", None), tmp_path / "data")
    assert result.returncode == 1 and "put vox1_meta.csv into ROOT" in result.stderr


def test_listed_speakers(tmp_path):
    root = make_corpus(tmp_path / "corpus", "merged")
    (tmp_path / "list").write_text("id10002\nid10270\n")
    assert prepare("--speakers", tmp_path / "list", root, tmp_path / "data").returncode == 0
    assert set(read(tmp_path / "data/spk2utt")) == {"id10002", "id10270"}
    assert (tmp_path / "data/dataset").read_text() == "voxceleb1-list\n"
    (tmp_path / "list").write_text("id10002\nid99999\n")
    result = prepare("--speakers", tmp_path / "list", root, tmp_path / "data")
    assert result.returncode == 1 and "id99999" in result.stderr


@pytest.mark.parametrize("second", ["dev/wav/id10001/8jEAjG6SegY/00001.wav",
                                    "voxceleb1_wav/A.J._Buckley/8jEAjG6SegY_0000001.wav"])
def test_second_copy_of_an_utterance(tmp_path, second):
    """Layouts count alike: equal copies are counted, and two that differ are an error that names both folders."""
    root = make_corpus(tmp_path / "corpus", "merged")
    put(root / second)
    result = prepare(root, tmp_path / "data")
    assert result.returncode == 0 and len(read(tmp_path / "data/utt2spk")) == 18
    assert result.stderr.count(": another copy of a file that is used") == 1
    put(root / second, b"RIFX")
    result = prepare(root, tmp_path / "none")
    assert result.returncode == 1 and not (tmp_path / "none").exists() and len(result.stderr.splitlines()) == 1
    for folder in (root / "wav/id10001/8jEAjG6SegY", (root / second).parent):
        assert str(folder) in result.stderr


def test_folder_beside_a_layout_is_no_twin_of_it(tmp_path):
    root = make_corpus(tmp_path / "corpus", "merged")
    put(root / "8khz/wav/id10001/8jEAjG6SegY/00001.wav", b"RIFX")
    result = prepare(root, tmp_path / "data")
    assert result.returncode == 0 and "8khz" not in (tmp_path / "data/wav.scp").read_text()
    assert "8khz/wav/id10001/8jEAjG6SegY/00001.wav: another file of its name is used" in result.stderr


def test_empty_and_strange_files_are_named(tmp_path):
    root = make_corpus(tmp_path / "corpus", "merged")
    for number in range(3, 21):
        put(root / place("merged", "id10001", VIDEOS[0], number))
    empty = root / place("merged", "id10001", VIDEOS[0], 20)
    put(empty, b"")
    put(root / "wav/id10001/8jEAjG6SegY/music.wav")
    put(root / "wav/id10001/8jEAjG6SegY/._00001.wav")
    result = prepare(root, tmp_path / "data")
    assert result.returncode == 0
    assert f"{empty} is empty" in result.stderr and "music.wav: not a name of VoxCeleb1" in result.stderr
    assert "._00001" not in result.stderr
    assert len(read(tmp_path / "data/utt2spk")) == 35
    put(root / place("merged", "id10001", VIDEOS[0], 19), b"")
    assert "only 34 of 36" in prepare(root, tmp_path / "data").stderr


def test_whole_videos_are_held_out_where_there_are_five(tmp_path):
    root = make_corpus(tmp_path / "corpus", "merged")
    for number in range(1, 31):
        put(root / f"wav/id10003/{number:011d}/00001.wav")
        put(root / f"wav/id10004/00000000000/{number:05d}.wav")
    put(root / "wav/id10005/00000000000/00001.wav")
    assert prepare(root, tmp_path / "data").returncode == 0
    split = read(tmp_path / "data/utt2split")
    assert split.keys() == read(tmp_path / "data/utt2spk").keys()
    valid = {utt for utt, part in split.items() if part == "valid"}
    assert set(split.values()) == {"train", "valid"}
    sizes = {speaker: sum(utt.startswith(speaker) for utt in valid)
             for speaker in ("id10001", "id10003", "id10004", "id10005")}
    assert sizes == {"id10001": 1, "id10003": 3, "id10004": 3, "id10005": 0}
    videos = {part: {utt[:19] for utt in split if split[utt] == part and utt.startswith("id10003")}
              for part in ("train", "valid")}
    assert not videos["train"] & videos["valid"]


def test_published_split_is_followed(tmp_path):
    root = make_corpus(tmp_path / "corpus", "merged")
    lines = [f"{1 + VIDEOS.index(utt[8:19])} {utt[:7]}/{utt[8:19]}/{utt[20:]}.wav" for utt in sorted(UTTERANCES)]
    (root / "iden_split.txt").write_text("\n".join(lines))
    assert prepare(root, tmp_path / "data").returncode == 0
    split = read(tmp_path / "data/utt2split")
    assert split == {utt: ("train", "valid", "test")[VIDEOS.index(utt[8:19])] for utt in UTTERANCES}
    (root / "iden_split.txt").write_text("\n".join(lines[1:]))
    result = prepare(root, tmp_path / "data")
    assert result.returncode == 1 and re.search(r"does not list 1 utterance, the first is id10001", result.stderr)


def test_synthetic_corpus_is_marked(tmp_path):
    root = make_corpus(tmp_path / "corpus", "split")
    (root / "SYNTHETIC").touch()
    result = prepare(root, tmp_path / "data")
    assert (tmp_path / "data/dataset").read_text() == "synthetic-voxceleb1\n" and "WARNING" not in result.stderr


def test_not_a_corpus(tmp_path):
    for root in (tmp_path, tmp_path / "absent"):
        result = prepare(root, tmp_path / "data")
        assert result.returncode == 1 and len(result.stderr.splitlines()) == 1
