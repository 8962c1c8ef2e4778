"""run.sh and its data directories: a source that changes, two of one name, a second run that reads one."""

import contextlib
import fcntl
import os
import shutil
import subprocess

import pytest

from conftest import ROOT, run
from ser.data.data_dir import read_table
from stages import files_of, iemocap_corpus, kaldi_source, spoken


def prepare(place, *words, stop=1, source="source", check=True):
    """run.sh up to a stage, over a Kaldi directory; all that it makes is below a place."""
    return run("./run.sh", "--ser-data", place / source, "--systems", "vgg5_baseline", "--data-dir", place / "data",
               "--exp-dir", place / "exp", "--nj", "1", "--stop-stage", stop, *words, check=check)


def only(folder):
    """The one data directory in a folder."""
    found, = folder.glob("*/wav.scp")
    return found.parent


def replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A source and its data directory after stage 1; the tests that change the source follow one another in it."""
    place = tmp_path_factory.mktemp("prepared")
    kaldi_source(place / "source")
    prepare(place)
    return place, only(place / "data")


@pytest.fixture
def place(prepared):
    """The same when the data directory says that stages 2 and 3 are done, too."""
    place, data = prepared
    for number in (2, 3):
        (data / f".done.{number}").touch()
    return place


@pytest.fixture
def data(prepared):
    return prepared[1]


def exchange_wav(source):
    content = bytearray((source / "audio" / "s1-0.wav").read_bytes())
    content[-1] ^= 1
    (source / "audio" / "s1-0.wav").write_bytes(content)


def complete(source):
    """Four more utterances."""
    for table, value in (("wav.scp", "audio/s1-0.wav"), ("utt2spk", "s1"), ("utt2emo", "sad")):
        with open(source / table, "a") as file:
            file.writelines(f"s1-1{number} {value}\n" for number in range(4))


CHANGES = {
    "edited label": (lambda source: replace(source / "utt2emo", "s1-0 ang", "s1-0 sad"), "utt2emo is another text"),
    "exchanged wav": (exchange_wav, "audio/s1-0.wav is another file"),
    "touched wav": (lambda source: os.utime(source / "audio" / "s1-0.wav"), "audio/s1-0.wav is another file"),
    "completed corpus": (complete, "3 files are other ones, such as utt2emo"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_source(change, place, data, outcome):
    act, said = CHANGES[change]
    act(place / "source")
    result = prepare(place)
    outcome(f"{change}, run.sh again", "1 to 3", result.returncode, spoken(result, "the source has changed", place))
    assert f"stage 1: data directory {data}: the source has changed: {said}\n" in result.stdout
    assert not list(data.glob(".done.*"))
    labels = (place / "source" / "utt2emo").read_text().splitlines()
    assert (data / "utt2emo").read_text().splitlines() == sorted(labels)


def test_a_fault_that_stage_2_finds_is_mended_in_the_source(tmp_path, outcome):
    kaldi_source(tmp_path / "source")
    wavs = tmp_path / "source" / "wav.scp"
    whole = wavs.read_text()
    entries = whole.splitlines()
    broken = [f"{line.split()[0]} false |" for line in entries[1:]]
    first = f"{entries[0].split()[0]} cat {tmp_path}/source/{entries[0].split()[1]} |"  # which stage 1 tries
    wavs.write_text("\n".join([first, *broken]) + "\n")
    results = [prepare(tmp_path, stop=2, check=False) for _ in range(2)]
    data = only(tmp_path / "data")
    said = (f"run.sh: {data} is made from {tmp_path}/source: what is wrong in its files is corrected there; the same "
            f"command makes {data} again")
    assert f"and 29 more, all are in {data}/log/make_fbank_{data.name}.*.log\n" in results[0].stderr
    for result in results:
        assert result.returncode == 1 and result.stderr.splitlines()[-1] == said
    outcome("a command in wav.scp fails", "2 features", 1, said.replace(f"{tmp_path}/", ""))
    wavs.write_text(whole)
    assert "wav.scp is another text" in prepare(tmp_path, stop=2).stdout
    assert len((data / "feats.scp").read_text().splitlines()) == 40


def test_two_sources_of_one_name(tmp_path, outcome):
    for number, name in enumerate(("raw", "denoised")):
        kaldi_source(tmp_path / name / "emo JOB")
        replace(tmp_path / name / "emo JOB" / "utt2emo", "s1-0 ang", f"s1-0 is{number}")
        prepare(tmp_path, source=f"{name}/emo JOB")
    folders = sorted(path.parent for path in tmp_path.glob("data/*/wav.scp"))
    assert len(folders) == 2 and all(path.name.startswith("emo+job_") for path in folders)
    labels = {(path / "utt2emo").read_text().split()[1] for path in folders}
    outcome("two sources of one name", "1 data", 0, " ".join(path.name for path in folders))
    assert labels == {"is0", "is1"}


def test_two_scopes_of_one_corpus(tmp_path):
    for session in (1, 2):
        iemocap_corpus(tmp_path / "IEMOCAP", session)
    words = ("./run.sh", "--iemocap", tmp_path / "IEMOCAP", "--systems", "vgg5_ad", "--stop-stage", "1", "--data-dir",
             tmp_path / "data", "--exp-dir", tmp_path / "exp")
    for more in ((), ("--scope", "all", "--merge-excited", "true"), ("--scope", "all"), ("--scope", "improvised")):
        run(*words, *more)
    names = sorted(path.parent.name[:-7] for path in tmp_path.glob("data/*/dataset"))
    assert names == ["iemocap", "iemocap_scope-all", "iemocap_scope-all_merge-excited-true"]
    assert len({path.read_text() for path in tmp_path.glob("data/*/dataset")}) == 3


@contextlib.contextmanager
def reader_of(data):
    """Another run that reads a data directory."""
    with open(data / ".lock") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def test_what_another_run_reads_is_not_made_again(place, data, outcome):
    with reader_of(data):  # no run is held up as long as all only read
        assert "already done" in prepare(place).stdout
    replace(place / "source" / "utt2emo", "s2-0 ang", "s2-0 sad")
    before = files_of(data)
    for words, reason in (((), "the source has changed: utt2emo is another text"), (("--stage", "1"), "of --stage 1")):
        with reader_of(data):
            result = prepare(place, *words, check=False)
        said = f"run.sh: {data} is in use by another run.sh and must be made again, because {reason}; wait for it or " \
               "give another --data-dir\n"
        outcome("another run reads what must be made", "1 to 3", result.returncode, said.replace(f"{place}/", "")[:-1])
        assert result.returncode == 1 and result.stderr == said
        assert {name: content for name, content in files_of(data).items() if not name.endswith(".new")} == before
    prepare(place)
    assert read_table(data / "utt2emo") == read_table(place / "source" / "utt2emo")


def test_moved_data_and_other_options_of_an_earlier_stage(tmp_path, outcome):
    kaldi_source(tmp_path / "source")
    prepare(tmp_path, stop=2)
    before = only(tmp_path / "data")
    (tmp_path / "data").rename(tmp_path / "moved")
    (tmp_path / "vad.conf").write_text((ROOT / "conf" / "vad.conf").read_text() + "# another\n")
    result = prepare(tmp_path, "--data-dir", tmp_path / "moved", "--stage", "2", stop=2)
    data = only(tmp_path / "moved")
    outcome("data moved, --stage 2", "1 to 2", 0, spoken(result, "has been moved", tmp_path))
    assert f"stage 1: data directory {data}: the folder has been moved, it was {before}\n" in result.stdout
    assert all(f" {data}/" in line for line in (data / "feats.scp").read_text().splitlines())

    before = files_of(data)
    words = "--data-dir", tmp_path / "moved", "--stage", "3", "--vad-config", tmp_path / "vad.conf"
    result = prepare(tmp_path, *words, stop=3)
    other, = set((tmp_path / "moved").glob("source*")) - {data}
    outcome("--stage 3, other options of stage 2", "2 to 3", 0, spoken(result, "stage 2: fbank and VAD of", tmp_path))
    assert (other / "conf" / "vad.conf").read_text().endswith("# another\n") and files_of(data) == before


SHAPING = {"protocol": ("--protocol", "loso"), "number of folds": ("--num-folds", "3"),
           "copies": ("--duplicates", "keep"), "VAD": ("--vad-config", "{}/vad.conf")}


@pytest.mark.parametrize("option", SHAPING)
def test_two_runs_at_once_with_other_options_have_a_directory_each(option, place, data):
    """The second is not held up by the first, which reads its own."""
    (place / "vad.conf").write_text("--mode=1\n")
    before, others = files_of(data), set((place / "data").glob("*/wav.scp"))
    words = [word.format(place) for word in SHAPING[option]]
    with reader_of(data):
        prepare(place, *words)
        assert "already done" in prepare(place, *words).stdout
    assert len(set((place / "data").glob("*/wav.scp")) - others) == 1 and files_of(data) == before


def test_a_corpus_goes_by_what_it_is_and_not_by_its_place(tmp_path):
    """Nothing is trained here: .corpus is what a run that has trained would have left."""
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / ".corpus").write_text("source auto\n")
    kaldi_source(tmp_path / "elsewhere" / "source")
    prepare(tmp_path, source="elsewhere/source")
    (tmp_path / "elsewhere" / "source").rename(tmp_path / "other")
    for words, asked in (((), "other auto"), (("--protocol", "kfold"), "other kfold5")):
        refused = prepare(tmp_path, *words, source="other", check=False)
        assert refused.returncode == 1
        assert f"exp holds results of source auto, these would be of {asked}; give another" in refused.stderr


def test_only_pieces_of_jobs_are_removed(tiny, tmp_path, outcome):
    data = tmp_path / "mine"
    shutil.copytree(tiny, data)
    pieces = data / "data" / ".raw_fbank_mine"
    pieces.mkdir()
    for name in ("raw_fbank_mine.1.ark", ".raw_fbank_mine.2.ark.abcdefgh", "thesis.txt"):
        (pieces / name).write_text("x")
    (data / "bank").mkdir(exist_ok=True)
    (data / "bank" / "notes.txt").write_text("x")
    result = run("steps/make_fbank.sh", "--nj", "1", data, check=False)
    said = f"make_fbank.sh: {pieces}: holds files that are not of this script; move them away\n"
    outcome("a file of one's own in a job's folder", "2 features", 1, said.replace(f"{tmp_path}/", "")[:-1])
    assert result.returncode == 1 and result.stderr == said
    assert [path.name for path in pieces.iterdir()] == ["thesis.txt"]
    (pieces / "thesis.txt").unlink()
    run("steps/make_fbank.sh", "--nj", "1", data)
    assert not pieces.exists() and (data / "bank" / "notes.txt").exists()


@pytest.mark.parametrize("script", ["make_fbank", "compute_vad"])
def test_job_as_a_word_in_a_path(script, tiny, tmp_path, outcome):
    data = tmp_path / "a JOB b" / "data"
    shutil.copytree(tiny, data)
    result = run(f"steps/{script}.sh", data, check=False)
    said = f"{script}.sh: {data}: JOB stands for the number of a job; take another name\n"
    outcome("JOB in the path", "2 features", result.returncode, said.replace(f"{tmp_path}/", "")[:-1])
    assert result.returncode == 1 and result.stderr == said
    assert [path.name for path in tmp_path.iterdir()] == ["a JOB b"]


def test_many_failed_trainings_are_ten_lines_and_a_file(tmp_path, outcome):
    (tmp_path / "tasks").mkdir()
    for number in range(1, 14):
        (tmp_path / "tasks" / f"finetune.{number}.conf").write_text(f"--dir={tmp_path}/m{number}\n")
    script = ". local/run/functions.sh; . local/run/training.sh; exp_dir=$0; arguments=(); report_failed_tasks 13"
    (tmp_path / "log").mkdir()
    result = subprocess.run(["bash", "-c", script, tmp_path], cwd=ROOT, capture_output=True, text=True)
    *lines, more, last = result.stderr.splitlines()
    outcome("13 trainings fail", "5 training", result.returncode, more.replace(f"{tmp_path}/", ""))
    assert result.returncode == 1 and last.startswith("run.sh: not all trainings are done")
    assert len(lines) == 10 and more == f"run.sh: and 3 more failed, all are in {tmp_path}/log/failed"
    assert len((tmp_path / "log" / "failed").read_text().splitlines()) == 13


def test_a_users_own_directory_is_not_replaced(tmp_path, outcome):
    """DATA names a Kaldi directory of the user's, with features of days: nothing in it is touched."""
    for name in ("source", "own"):
        kaldi_source(tmp_path / name)
    own = tmp_path / "own"
    (own / "feats.scp").write_text("u1 feats.ark:3\n")
    before = files_of(own)
    result = run("local/kaldi_data_prep.py", "--emotion", "true", tmp_path / "source", own, check=False)
    said = spoken(result, "is not a data directory that this recipe has made", tmp_path)
    outcome("DATA is a directory of the user's", "1 data", result.returncode, said)
    assert result.returncode == 1 and files_of(own) == before
