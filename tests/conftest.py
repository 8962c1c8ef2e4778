"""Small data directories for the tests, made by the recipe's own scripts once for all workers of pytest-xdist."""

import fcntl
import gc
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from xdist.scheduler import LoadFileScheduling

from scripts import run_script
from ser.data.archives import read_matrix, read_vector

ROOT = Path(__file__).resolve().parent.parent
os.environ |= {"SER_ROOT": str(ROOT), "PYTHONPATH": f"{ROOT}/steps:{ROOT}"}  # as path.sh does
os.chdir(ROOT)
if not (any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists() or Path("/dev/kfd").exists()):  # no GPU
    os.environ["TRITON_INTERPRET"] = "1"  # before anything imports Triton
# A shell ignores these for what it runs in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)


# Groups of tests that take long, in the order in which workers take them. Those of schedulers wait most of the time, so
# they begin apart from each other, beside what computes.
LONG = ("test_cluster_runners[slurm]", "test_readme", "test_run", "test_analysis", "test_run_cross", "test_kills",
        "test_redo", "test_given_features", "test_make_ssl", "test_cluster_runners[sge]", "test_pretrained",
        "test_distributed", "test_faults", "test_training", "test_functionals", "test_final_models", "test_confusions",
        "test_predict_streams", "test_pretrain_seeds", "test_data_dirs", "test_feature_stage", "test_make_functionals",
        "test_significance", "test_make_results", "test_export", "test_mini_corpus", "test_prepare", "test_tasks",
        "test_systems", "test_normalization", "test_left_out", "test_list_source", "test_open_corpora",
        "test_masks", "test_curves", "test_claims", "test_ablations", "test_calibration_table")


def group_of(nodeid):
    """The tests that one worker runs after another: those of a file, or of a file and a scheduler."""
    stem = Path(nodeid.partition("::")[0]).stem
    scheduler = re.search(r"\[(slurm|sge)\b", nodeid) if stem == "test_cluster_runners" else None
    return f"{stem}[{scheduler[1]}]" if scheduler else stem


def pytest_addoption(parser):
    parser.addoption("--quick", action="store_true", help="leave out what takes long and the tests of the whole recipe")


def pytest_ignore_collect(collection_path, config):
    """With --quick, take the tests of the packages alone."""
    if not config.getoption("--quick") or collection_path.suffix != ".py":
        return None
    place = collection_path.relative_to(ROOT).parts
    whole_recipe = place[0] == "tests" and place[1] != "local" and place[1:3] != ("steps", "ser")
    return whole_recipe or collection_path.stem in LONG or None


def pytest_collection_modifyitems(config, items):
    """Begin with what takes long; the others fill the gaps after it."""
    if config.getoption("--quick"):
        items[:] = [item for item in items if "finished" not in getattr(item, "fixturenames", ())]
    order = {group: number for number, group in enumerate(LONG)}
    items.sort(key=lambda item: order.get(group_of(item.nodeid), len(LONG)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop():
    """Let Python look for garbage, which scripts.py has stopped, though not among what is imported."""
    gc.freeze()
    gc.enable()


def pytest_xdist_make_scheduler(config, log):
    """Give a worker a group at a time."""
    class GroupScheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return nodeid.partition("::")[0] + group_of(nodeid)

    return GroupScheduling(config, log)


def run(*words, check=True, **kwargs):
    """Run a script of the recipe from its root; returns the completed process with text output."""
    words = [str(word) for word in words]
    if words[0].endswith(".py") and kwargs.keys() <= {"env"}:
        result = run_script(words, ROOT, kwargs.get("env", dict(os.environ)))
    else:
        command = [sys.executable, *words] if words[0].endswith(".py") else words
        result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, **kwargs)
    if check and result.returncode:
        raise AssertionError(f"{' '.join(words)}\n{result.stdout}{result.stderr}")
    return result


@pytest.fixture
def script():
    return run


SHORT = ("--epochs=1", "--batch-size=32", "--crop=20", "--feature-norm=utterance")


def recipe(place, *words, check=True, **kwargs):
    """Run run.sh up to the results on the mini corpora, five folds, one job at a time, all its files under `place`."""
    return run("./run.sh", "--stop-stage", "6", "--nj", "1", "--data-dir", place / "data", "--exp-dir", place / "exp",
               "--protocol", "5fold",
               "--pretrain-config", place / "pretrain.conf", "--finetune-config", place / "finetune.conf",
               *words, check=check, **kwargs)


def short_schedule(folder):
    """Write configurations of one epoch into a folder and return it."""
    folder.mkdir(exist_ok=True)
    for name in ("pretrain.conf", "finetune.conf"):
        (folder / name).write_text("\n".join(SHORT) + "\n")
    return folder


def results(place, systems="*"):
    """The RESULT files of folds below a place, `{path: text}`, with nothing in them that tells the place."""
    return {path.relative_to(place): path.read_text().replace(str(place), "PLACE")
            for path in sorted((place / "exp").glob(f"{systems}/*/RESULT"))}


@pytest.fixture(scope="session")
def make_once(tmp_path_factory):
    """Have `make(folder)` fill a folder of some name for the whole session; the other workers wait and share it."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent

    def make_or_wait(name, make):
        folder, done = base / name, base / f"{name}.done"
        with open(base / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return make_or_wait


SMALL = ("--utterances-per-class", "1", "--speakers", "8", "--utterances-per-speaker", "4")


@pytest.fixture(scope="session")
def small_corpora(make_once):
    """The mini corpora with a quarter of the turns that have an emotion, and a sixteenth of VoxCeleb1."""
    return make_once("mini corpora", lambda place: run("local/mini/make_mini_corpora.py", *SMALL, "--nj", "2", place))


@pytest.fixture(scope="session")
def finished(small_corpora, make_once):
    """Where the whole mini recipe was run on one epoch, in a folder with a blank in its name, and its stdout.

    Stage 0 takes the small corpora for its own.
    """
    def make(place):
        mini = place / "data" / "local" / "mini"
        shutil.copytree(small_corpora, mini)
        key = re.search(r'"synthetic mini corpora" "\$mini_root/\.done" (\S+);', (ROOT / "run.sh").read_text())[1]
        (mini / ".done").write_text(f"{key}\n")
        (place / "stdout").write_text(recipe(short_schedule(place)).stdout)

    return make_once("my recipe", make)


def read_matrices(table):
    """Yield each utterance of a feats.scp table with its matrix."""
    return ((utt, read_matrix(utt, place)) for utt, place in table.items())


def read_vectors(table):
    """Yield each utterance of a vad.scp table with its vector."""
    return ((utt, read_vector(utt, place)) for utt, place in table.items())


def tone(rng, frequency, seconds=0.8):
    """A harmonic tone with noise at int16 scale, different for every call."""
    time = np.arange(int(16000 * seconds)) / 16000
    wave = sum(np.sin(2 * np.pi * frequency * k * time + rng.uniform(0, 6)) / k for k in range(1, 12))
    envelope = 0.4 + 0.6 * np.abs(np.sin(2 * np.pi * rng.uniform(2, 4) * time))
    return (3000 * wave * envelope + rng.normal(0, 60, len(time))).astype(np.int16)


def make_tiny(folder):
    rng = np.random.default_rng(0)
    source = folder / "source"
    (source / "audio").mkdir(parents=True)
    tables = {"wav.scp": [], "utt2spk": [], "utt2emo": []}
    for number, speaker in enumerate(("s1", "s2", "s3", "s4")):
        for emotion, factor in (("ang", 1.6), ("sad", 1.0)):
            for take in range(6):
                utt = f"{speaker}-{emotion}{take}"
                soundfile.write(source / "audio" / f"{utt}.wav",
                                tone(rng, (100 + 20 * number) * factor, 0.6 + 0.1 * take), 16000)
                tables["wav.scp"].append(f"{utt} audio/{utt}.wav")
                tables["utt2spk"].append(f"{utt} {speaker}")
                tables["utt2emo"].append(f"{utt} {emotion}")
    for name, lines in tables.items():
        (source / name).write_text("\n".join(lines) + "\n")
    data = folder / "data"
    run("local/kaldi_data_prep.py", "--emotion", "true", source, data)
    run("steps/make_fbank.sh", "--nj", "2", data)
    run("steps/compute_vad.sh", "--nj", "2", data)
    run("local/make_folds.py", "--protocol", "loso", data)
    run("local/make_folds.py", "--protocol", "identification", data)


@pytest.fixture(scope="session")
def tiny(make_once):
    """Four speakers, two emotions, six utterances of each: features, VAD, leave-one-speaker-out and identification."""
    return make_once("tiny", make_tiny) / "data"


@pytest.fixture(scope="session")
def trained(tiny, make_once):
    """Systems with AD, trained on `tiny` for two epochs: `vgg5_ad` with folds fold_s1 and fold_s2, `resnet18_ad` with
    fold_s1."""
    def train(folder):
        for backbone, folds in (("vgg5", ("fold_s1", "fold_s2")), ("resnet18", ("fold_s1",))):
            for fold in folds:
                run("steps/finetune.py", *SHORT, "--epochs", "2", "--extractor-lr-factor", "1",
                    "--ad-lr-factor", "1", "--backbone", backbone, "--ad-after", "last", "--num-threads", "1",
                    "--data", tiny, "--fold", fold, "--dir", folder / f"{backbone}_ad" / fold)

    return make_once("trained", train)


@pytest.fixture(scope="session")
def whole(tiny, make_once):
    """Give the place in which a stage (stages.py) has done its work without any fault."""
    from stages import place_of  # which imports this file
    return lambda stage: place_of(stage, tiny, make_once)


@pytest.fixture
def outcome(record_property):
    """Put a row into the table of faults that ends the report: outcome(fault, stage, status, said)."""
    return lambda *row: record_property("fault", [str(cell) for cell in row])


def pytest_terminal_summary(terminalreporter):
    """Print what became of each fault that a test has made, whichever process ran it."""
    reports = [report for word in ("passed", "failed", "skipped") for report in terminalreporter.stats.get(word, ())]
    # A file that is skipped as a whole has a report without user_properties.
    rows = {tuple(value): report.outcome for report in reports for name, value in getattr(report, "user_properties", [])
            if name == "fault"}
    if not rows:
        return
    terminalreporter.section("faults: stage, fault, exit status, what was said")
    for fault, stage, status, said in sorted(rows, key=lambda row: (row[1], row[0])):
        wrong = "" if rows[fault, stage, status, said] == "passed" else " NOT AS IT SHOULD BE"
        terminalreporter.write_line(f"{stage:<14} {fault:<45} {status:>4}{wrong}  {said[:200]}")
    terminalreporter.write_line(f"{len(rows)} faults")
