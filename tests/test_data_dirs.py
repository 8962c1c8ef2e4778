"""run.sh and what its data directories are made from: a source that changes, two of one name, a second run that reads."""

import contextlib
import fcntl
import os
import shutil
import subprocess

import pytest

from conftest import ROOT, run
from stages import LOG_LINE, iemocap_corpus, kaldi_source, spoken


def prepare(place, *words, stop=1, source="source", check=True):
    """run.sh up to a stage, over a Kaldi directory; all that it makes is below a place."""
    return run("./run.sh", "--ser-data", place / source, "--systems", "vgg5_baseline", "--data-dir", place / "data",
               "--exp-dir", place / "exp", "--nj", "2", "--stop-stage", stop, *words, check=check)


def only(folder):
    """The one data directory in a folder."""
    found, = folder.glob("*/wav.scp")
    return found.parent


def replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def made(make_once):
    """A source, and its data directory after stage 3."""
    def make(place):
        kaldi_source(place / "source")
        prepare(place, stop=3)

    return make_once("made-data-dir", make)


@pytest.fixture
def whole(made):
    """The same, put right again after a test that has changed it."""
    yield made
    shutil.rmtree(made / "source")
    kaldi_source(made / "source")
    prepare(made, stop=3)


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
def test_changed_source(change, whole, outcome):
    act, said = CHANGES[change]
    data = only(whole / "data")
    act(whole / "source")
    result = prepare(whole)
    outcome(f"{change}, then run.sh again", "1 to 3", result.returncode, spoken(result, "the source has changed", whole))
    assert f"stage 1: data directory {data}: the source has changed: {said}\n" in result.stdout
    assert not list(data.glob(".done.*"))
    assert (data / "utt2emo").read_text() == (whole / "source" / "utt2emo").read_text()
    assert "stage 1" in prepare(whole).stdout and "already done" in prepare(whole).stdout


def test_a_fault_that_stage_2_finds_is_mended_in_the_source(tmp_path, outcome):
    kaldi_source(tmp_path / "source")
    wavs = tmp_path / "source" / "wav.scp"
    whole = wavs.read_text()
    wavs.write_text("".join(f"{line.split()[0]} false |\n" for line in whole.splitlines()))
    results = [prepare(tmp_path, stop=2, check=False) for _ in range(2)]
    data = only(tmp_path / "data")
    said = f"run.sh: {data} is made from {tmp_path}/source: correct it there; the same command makes {data} again"
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
    iemocap_corpus(tmp_path / "IEMOCAP")
    words = ("./run.sh", "--iemocap", tmp_path / "IEMOCAP", "--systems", "vgg5_ad", "--stop-stage", "1", "--data-dir",
             tmp_path / "data", "--exp-dir", tmp_path / "exp")
    for more in ((), ("--scope", "all", "--merge-excited", "true"), ("--scope", "all"), ("--scope", "improvised")):
        run(*words, *more)
    names = sorted(path.parent.name[:-7] for path in tmp_path.glob("data/*/dataset"))
    assert names == ["iemocap", "iemocap_scope-all", "iemocap_scope-all_merge-excited-true"]
    datasets = {path.read_text().strip() for path in tmp_path.glob("data/*/dataset")}
    assert datasets == {"iemocap-impro-4", "iemocap-all-4", "iemocap-all-4-exc"} or len(datasets) == 3


@contextlib.contextmanager
def reader_of(data):
    """Another run that reads a data directory."""
    with open(data / ".lock") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


@pytest.mark.parametrize("words", [(), ("--stage", "2"), ("--protocol", "kfold", "--num-folds", "3")], ids=" ".join)
def test_what_another_run_reads_is_not_made_again(words, whole, outcome):
    data = only(whole / "data")
    if not words:
        replace(whole / "source" / "utt2emo", "s1-0 ang", "s1-0 sad")
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file() and not path.name.endswith(".new")}
    with reader_of(data):
        result = prepare(whole, *words, stop=3, check=False)
    why = {0: "the source has changed: utt2emo is another text", 2: "of --stage 2", 4: "its options have changed"}
    said = (f"run.sh: {data} is in use by another run.sh and must be made again, because {why[len(words)]}; wait for it "
            "or give another --data-dir\n")
    outcome("another run reads what must be made again", "1 to 3", result.returncode, said.replace(f"{whole}/", "")[:-1])
    assert result.returncode == 1 and result.stderr == said
    assert {path: path.read_bytes() for path in before} == before
    prepare(whole, *words, stop=3)


def test_runs_that_only_read_are_not_held_up(made):
    with reader_of(only(made / "data")):
        assert prepare(made, stop=3).stdout.count("already done") == 3


def test_a_data_directory_that_was_moved(made, tmp_path, outcome):
    shutil.copytree(made / "data", tmp_path / "data")
    result = prepare(made, "--data-dir", tmp_path / "data", "--exp-dir", tmp_path / "exp", "--stage", "2", stop=2)
    data = only(tmp_path / "data")
    outcome("data moved, --stage 2", "1 to 2", 0, spoken(result, "has been moved", made))
    assert f"stage 1: data directory {data}: the folder has been moved, it was {only(made / 'data')}" in result.stdout
    assert all(f" {data}/" in line for line in (data / "feats.scp").read_text().splitlines())


def test_options_of_an_earlier_stage_are_noticed(whole, tmp_path):
    (tmp_path / "vad.conf").write_text((ROOT / "conf" / "vad.conf").read_text() + "# another\n")
    result = prepare(whole, "--stage", "3", "--vad-config", tmp_path / "vad.conf", stop=3)
    assert LOG_LINE.sub("(", result.stdout).count("fbank and VAD") == 1
    assert f"stage 2: fbank and VAD of {only(whole / 'data')}: its options have changed" in result.stdout


def test_a_corpus_goes_by_what_it_is_and_not_by_its_place(tmp_path, made):
    """Nothing is trained here: .corpus is what a run that has trained would have left."""
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / ".corpus").write_text("source auto\n")
    shutil.copytree(made / "source", tmp_path / "source")
    prepare(tmp_path)
    (tmp_path / "source").rename(tmp_path / "other")
    refused = prepare(tmp_path, source="other", check=False)
    assert refused.returncode == 1 and "exp holds results of source auto, these would be of other auto" in refused.stderr
    assert "holds results of source auto, these would be of source loso" in prepare(
        made, "--exp-dir", tmp_path / "exp", "--protocol", "loso", check=False).stderr


def test_only_pieces_of_jobs_are_removed(made, tmp_path, outcome):
    data = tmp_path / "mine"
    shutil.copytree(only(made / "data"), data)
    pieces = data / "data" / ".raw_fbank_mine"
    pieces.mkdir()
    for name in ("raw_fbank_mine.1.ark", ".raw_fbank_mine.2.ark.abcdefgh", "thesis.txt"):
        (pieces / name).write_text("x")
    (data / "bank").mkdir()
    (data / "bank" / "notes.txt").write_text("x")
    result = run("steps/make_fbank.sh", "--nj", "1", data, check=False)
    said = f"make_fbank.sh: {pieces}: holds files that are not of this script; move them away\n"
    outcome("a file of one's own among the pieces", "2 features", result.returncode, said.replace(f"{tmp_path}/", "")[:-1])
    assert result.returncode == 1 and result.stderr == said
    assert [path.name for path in pieces.iterdir()] == ["thesis.txt"]
    (pieces / "thesis.txt").unlink()
    run("steps/make_fbank.sh", "--nj", "1", data)
    assert not pieces.exists() and (data / "bank" / "notes.txt").exists()


@pytest.mark.parametrize("script", ["make_fbank", "compute_vad"])
def test_job_as_a_word_in_a_path(script, made, tmp_path, outcome):
    data = tmp_path / "a JOB b" / "data"
    shutil.copytree(only(made / "data"), data)
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
