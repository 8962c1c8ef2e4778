"""Each way in which the source of a data directory can change is seen, and said in one line."""

import os
import shutil

import pytest

from conftest import run
from stages import iemocap_corpus, kaldi_source

KALDI = "local/kaldi_data_prep.py", "--emotion", "true"
IEMOCAP = "local/iemocap_data_prep.py", "--scope", "improvised"
LABELS = "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
DIALOG = "Session1/sentences/wav/Ses01F_impro01"


def listed(place, command, source="source", data="data"):
    """What list_source.py says; as run.sh does, its listing becomes that of the data directory."""
    said = run("local/list_source.py", *command, place / source, place / data).stdout.strip()
    new = place / data / ".source.json.new"
    assert new.exists() == bool(said)
    if said:
        new.rename(place / data / ".source.json")
    return said


@pytest.fixture
def kaldi(tmp_path):
    kaldi_source(tmp_path / "source")
    assert listed(tmp_path, KALDI) == "it is not complete" and listed(tmp_path, KALDI) == ""
    return tmp_path


@pytest.fixture
def corpus(tmp_path):
    iemocap_corpus(tmp_path / "source")
    assert listed(tmp_path, IEMOCAP) == "it is not complete" and listed(tmp_path, IEMOCAP) == ""
    return tmp_path


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def exchange(path):
    """Other content of the same size."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def more_wavs(source):
    for number in range(4):
        shutil.copy(source / "audio" / "s1-0.wav", source / "audio" / f"s1-1{number}.wav")
    with open(source / "wav.scp", "a") as file:
        file.writelines(f"s1-1{number} audio/s1-1{number}.wav\n" for number in range(4))


OF_KALDI = {
    "edited label": (lambda source: edit(source / "utt2emo", "s1-0 ang", "s1-0 sad"), "utt2emo is another text"),
    "other speaker": (lambda source: edit(source / "utt2spk", "s1-0 s1", "s1-0 s2"), "utt2spk is another text"),
    "new table": (lambda source: (source / "spk2gender").write_text("s1 f\n"), "spk2gender was added"),
    "exchanged wav": (lambda source: exchange(source / "audio" / "s1-0.wav"), "audio/s1-0.wav is another file"),
    "touched wav": (lambda source: os.utime(source / "audio" / "s1-0.wav"), "audio/s1-0.wav is another file"),
    "removed wav": (lambda source: (source / "audio" / "s1-0.wav").unlink(), "audio/s1-0.wav was removed"),
    "all wavs anew": (lambda source: [os.utime(path) for path in (source / "audio").iterdir()],
                      "40 files are other ones, such as audio/s1-0.wav"),
    "more utterances": (more_wavs, "4 files were added, such as audio/s1-10.wav; wav.scp is another text"),
}


@pytest.mark.parametrize("change", OF_KALDI)
def test_kaldi_directory(change, kaldi, outcome):
    act, said = OF_KALDI[change]
    act(kaldi / "source")
    line = listed(kaldi, KALDI)
    outcome(f"source: {change}", "1 data", 0, line)
    assert line == f"the source has changed: {said}" and listed(kaldi, KALDI) == ""


def test_what_a_kaldi_directory_does_not_use_may_change(kaldi):
    (kaldi / "source" / "notes.txt").write_text("x\n")
    (kaldi / "source" / "audio" / "other.wav").write_text("x\n")
    assert listed(kaldi, KALDI) == ""


@pytest.mark.parametrize("entry", ["cat {}/call.wav |", "sox '{}/call.wav' -t wav - |", "{}/call.wav:17",
                                   "call.wav:17", "sox '{}/my call.wav' -t wav - |", "cat <{}/call.wav |",
                                   r"cat {}/my\ call.wav| cat |", "bash -c 'cat {}/call.wav' |",
                                   "echo it's {}/call.wav |", "r\u00e9p\u00e8te.wav"])
def test_a_file_that_wav_scp_names_in_another_way(entry, kaldi):
    source = kaldi / "source"
    for name in ("call.wav", "my call.wav", "re\u0301pe\u0300te.wav"):  # the last as macOS writes it
        (source / name).write_text("x")
    edit(source / "wav.scp", "audio/s1-0.wav", entry.format(source))
    listed(kaldi, KALDI)
    for path in source.glob("*.wav"):
        exchange(path)
    assert ".wav" in listed(kaldi, KALDI)


def test_what_commands_name_beside_files_may_change(kaldi):
    """A folder, or a device, whose time is that of the last start of the machine."""
    source = kaldi / "source"
    edit(source / "wav.scp", "audio/s1-0.wav", f"cd {source} && cat audio/s1-0.wav 2>/dev/null |")
    listed(kaldi, KALDI)
    os.utime(source, (0, 0))
    assert listed(kaldi, KALDI) == ""
    assert "/dev/null" not in (kaldi / "data" / ".source.json").read_text()


OF_CORPUS = {
    "edited label": (lambda root: edit(root / LABELS, "M000\tneu", "M000\tang"), f"{LABELS} is another file"),
    "exchanged wav": (lambda root: exchange(root / DIALOG / "Ses01F_impro01_F003.wav"),
                      f"{DIALOG}/Ses01F_impro01_F003.wav is another file"),
    "new session": (lambda root: shutil.copytree(root / "Session1", root / "Session2"),
                    f"41 files were added, such as {LABELS.replace('Session1', 'Session2')}"),
    "file beside it": (lambda root: (root.parent / "SYNTHETIC").touch(), "../SYNTHETIC was added"),
    "hidden file": (lambda root: (root / ".DS_Store").touch(), ""),
}


@pytest.mark.parametrize("change", OF_CORPUS)
def test_corpus(change, corpus):
    act, said = OF_CORPUS[change]
    act(corpus / "source")
    assert listed(corpus, IEMOCAP) == (said and f"the source has changed: {said}")


def test_what_the_recipe_writes_below_a_corpus_is_not_of_it(corpus):
    assert "source has changed" not in listed(corpus, IEMOCAP, data="source/made/data")
    (corpus / "source" / "made" / "feats.txt").write_text("x")
    assert listed(corpus, IEMOCAP, data="source/made/data") == ""


def test_other_options(corpus):
    said = listed(corpus, (IEMOCAP[0], "--scope", "all"))
    assert said == (f"it was prepared with {' '.join(IEMOCAP)}, asked for is {IEMOCAP[0]} --scope all")


def test_a_folder_that_was_moved_and_one_that_has_another_name(kaldi):
    (kaldi / "link").symlink_to(kaldi / "data")
    assert listed(kaldi, KALDI, data="link") == ""
    (kaldi / "data").rename(kaldi / "moved")
    assert listed(kaldi, KALDI, data="moved") == f"the folder has been moved, it was {kaldi / 'data'}"
    shutil.copytree(kaldi / "moved", kaldi / "copy")
    assert listed(kaldi, KALDI, data="copy") == f"the folder has been moved, it was {kaldi / 'moved'}"


@pytest.mark.parametrize("text", ['{"command": ', "{}", "[]"])
def test_damaged_listing(text, kaldi):
    (kaldi / "data" / ".source.json").write_text(text)
    assert listed(kaldi, KALDI) == "it is not complete"
