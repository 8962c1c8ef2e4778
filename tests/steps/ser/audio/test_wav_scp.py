"""What an entry of wav.scp names: archives' places and commands; files that only another program decodes."""

import subprocess
import sys

import kaldi_native_io as kio
import kaldiio
import numpy as np
import pytest
import soundfile

from ser.audio.wav_scp import entry_in
from ser.audio.waveform import audio_blocks, audio_problem, joined, load_audio
from ser.base.errors import UserError
from ser.data.data_dir import read_table

RATE = 16000
SOUNDS = {f"utt{n}": np.random.default_rng(n).integers(-9000, 9000, 3000 + n).astype(np.int16) for n in range(3)}


def archive(folder, **options):
    """An archive of kaldiio with its scp; returns `{utterance: place}`."""
    sounds = {utt: (RATE, samples) for utt, samples in SOUNDS.items()}
    kaldiio.save_ark(f"{folder}/wavs.ark", sounds, scp=f"{folder}/wav.scp", **options)
    return read_table(folder / "wav.scp")


FLAC = {"write_function": "soundfile", "write_kwargs": {"format": "flac"}}


@pytest.mark.parametrize("options", [{}, {"write_function": "soundfile"}, FLAC], ids=["RIFF", "wav", "flac"])
def test_places_in_an_archive(tmp_path, options):
    for utt, place in archive(tmp_path, **options).items():
        assert place.startswith(f"{tmp_path}/wavs.ark:")
        assert audio_problem(place) is None
        for load in (load_audio, lambda place: joined(audio_blocks(place))):
            assert np.array_equal(load(place), SOUNDS[utt])


def test_places_as_kaldi_reads_them(tmp_path):
    archive(tmp_path)
    with kio.SequentialWaveReader(f"scp:{tmp_path}/wav.scp") as reader:
        of_kaldi = {utt: np.array(wave.data.numpy())[0] for utt, wave in reader}
    places = read_table(tmp_path / "wav.scp")
    assert of_kaldi.keys() == places.keys()
    assert all(np.array_equal(load_audio(place), of_kaldi[utt]) for utt, place in places.items())


def test_other_rates_and_channels_in_an_archive(tmp_path):
    sound = np.random.default_rng(5).integers(-9000, 9000, (44100, 2)).astype(np.int16)
    kaldiio.save_ark(f"{tmp_path}/a.ark", {"u": (44100, sound)}, scp=f"{tmp_path}/a.scp")
    soundfile.write(tmp_path / "a.wav", sound, 44100)
    place = read_table(tmp_path / "a.scp")["u"]
    assert np.array_equal(load_audio(place), load_audio(tmp_path / "a.wav"))
    with pytest.raises(UserError, match="a.ark:2: has 2 channels, and segments do not say which"):
        load_audio(place, cut=True)


def test_a_file_whose_name_is_like_a_place(tmp_path):
    soundfile.write(tmp_path / "take:12", SOUNDS["utt0"], RATE, format="WAV")
    assert np.array_equal(load_audio(tmp_path / "take:12"), SOUNDS["utt0"])


@pytest.mark.parametrize("options", [{}, FLAC], ids=["RIFF", "flac"])
def test_damaged_archives(tmp_path, options):
    path, offset = archive(tmp_path, **options)["utt2"].rsplit(":", 1)
    content = open(path, "rb").read()
    wrong = {f"{path}:{int(offset) + 1}": "no sound is at that place", f"{path}:{10**9}": "no sound is at that place",
             f"{tmp_path}/absent.ark:5": "No such file", f"{path}:": "No such file", f"{path}:x": "No such file"}
    for place, reason in wrong.items():
        with pytest.raises(UserError, match=reason) as caught:
            load_audio(place)
        assert str(caught.value).startswith(f"{place}: ")
    for size in (2, 6, 20, 60, 1000):
        open(path, "wb").write(content[: int(offset) + size])
        with pytest.raises(UserError, match="cannot be read|cut short|no sound|no samples"):
            load_audio(f"{path}:{offset}")
        assert options or audio_problem(f"{path}:{offset}")  # the header of FLAC does not tell
    if not options:  # a size that a pipe left open would take in the sounds after it
        for size in (b"\0\0\0\0", b"\xff\xff\xff\xff"):
            start = int(read_table(tmp_path / "wav.scp")["utt0"].rsplit(":", 1)[1])
            open(path, "wb").write(content[: start + 4] + size + content[start + 8 :])
            with pytest.raises(UserError, match="does not say how many bytes"):
                load_audio(f"{path}:{start}")


def test_entries_are_relative_to_their_folder_or_to_where_one_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    for name in ("data/both", "both", "here", "data/there"):
        (tmp_path / name).touch()
    for entry, found in [("both", "data/both"), ("here", "here"), ("there", "data/there"), ("nowhere", "data/nowhere"),
                         ("both:7", "data/both:7"), ("here:7", "here:7"), (f"{tmp_path}/here", "here")]:
        assert entry_in(tmp_path / "data", entry) == f"{tmp_path}/{found}"
    assert entry_in("data", "cat here |") == "cat here |"


def test_commands_do_not_read_the_terminal():
    code = "from ser.audio.waveform import load_audio; load_audio('cat |')"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        try:
            assert child.wait(30) and b"it is empty" in child.stderr.read()
        finally:
            child.kill()


def shortened(path):
    soundfile.write(path, SOUNDS["utt0"], RATE, format="NIST")
    content = path.read_bytes()
    coding = b"sample_coding -s26 pcm,embedded-shorten-v2.00"
    path.write_bytes(content.replace(b"sample_coding -s3 pcm", coding)[:1024] + content[1024:])


def test_what_another_program_decodes(tmp_path):
    path = tmp_path / "x.sph"
    shortened(path)
    pointer = tmp_path / "x.wav"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    for file, way_out in ((path, "compressed with shorten; convert it with sph2pipe"), (pointer, "git lfs pull")):
        for load in (load_audio, lambda place: joined(audio_blocks(place))):
            with pytest.raises(UserError, match=f"{file}: cannot be read: .*{way_out}"):
                load(file)
        assert way_out in audio_problem(file)


def test_au_of_unknown_length(tmp_path):
    soundfile.write(tmp_path / "x.au", SOUNDS["utt0"], RATE)
    content = (tmp_path / "x.au").read_bytes()
    for size in (bytes(4), b"\xff" * 4):
        (tmp_path / "x.au").write_bytes(content[:8] + size + content[12:])
        assert np.array_equal(load_audio(tmp_path / "x.au"), SOUNDS["utt0"])
