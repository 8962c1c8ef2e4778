"""How long the fifty trainings of Table 2 take on one GPU, on random features of IEMOCAP's size.

Ten rotations of each system are trained and scored by the scripts that run.sh starts, with the schedule of
conf/finetune.conf: 2280 utterances of 4.4 s and ten speakers; once one after another in one process, and once by
several processes that share the GPU. What their pre-training takes is in pretraining.py.
"""

import subprocess
import tempfile
import time
from pathlib import Path

import torch

from ser.base.files import write_text
from ser.data.data_dir import write_list, write_table
from table import ROOT, alone, row
from training import write_features

SYSTEMS = "resnet18_baseline resnet18_pretrain resnet18_pretrain_ad vgg5_baseline vgg5_ad"
UTTERANCES, FRAMES, SPEAKERS, EMOTIONS = 2280, 440, 10, ("ang", "hap", "neu", "sad")
JOBS_PER_GPU = 4


def run(*words):
    return subprocess.run([*map(str, words)], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def emotion_corpus(folder):
    utts = [f"s{n % SPEAKERS}-{n:06d}" for n in range(UTTERANCES)]
    write_features(folder, utts, FRAMES)
    for name in ("feats", "vad"):
        (folder / f"{name}.scp").write_text("".join(sorted((folder / f"{name}.scp").open())))
    write_table(folder / "utt2spk", {utt: utt.split("-")[0] for utt in utts})
    write_table(folder / "utt2emo", {utt: EMOTIONS[n // SPEAKERS % len(EMOTIONS)] for n, utt in enumerate(utts)})
    write_text(folder / "dataset", "random-features\n")
    (folder / "conf").mkdir()
    for name in ("fbank.conf", "vad.conf"):
        (folder / "conf" / name).write_text((ROOT / "conf" / name).read_text())
    run("local/make_folds.py", "--protocol", "loso", folder)
    write_list(folder / "identification" / "train", [utt for n, utt in enumerate(utts) if n // SPEAKERS % 10])
    write_list(folder / "identification" / "valid", [utt for n, utt in enumerate(utts) if not n // SPEAKERS % 10])


def planned(folder, exp, systems):
    """Folder with the tasks of some systems' rotations."""
    run("local/experiment/plan_finetuning.py", "--systems", systems, "--device", "cuda", folder / "data", exp,
        exp / "tasks")
    return exp / "tasks"


def one_after_another(folder, exp, systems):
    """Seconds of trainings in one process."""
    tasks = planned(folder, exp, systems)
    start = time.perf_counter()
    run("steps/finetune_tasks.py", tasks, exp / "log")
    return time.perf_counter() - start


def a_process_each(folder, exp, systems):
    """Seconds of trainings of which each starts a process."""
    tasks = sorted(planned(folder, exp, systems).glob("*.conf"))
    start = time.perf_counter()
    for task in tasks:
        run("steps/finetune.py", "--config", task)
    return time.perf_counter() - start


def sharing(folder, exp, systems, jobs):
    """Seconds of trainings in some long-lived processes on one GPU, as run.sh --jobs-per-gpu starts them."""
    tasks = planned(folder, exp, systems)
    start = time.perf_counter()
    run("steps/parallel/run.py", "--gpu", 1, "--jobs-per-gpu", jobs, "--max-jobs-run", jobs, f"JOB=1:{jobs}",
        exp / "share.JOB.log", "steps/finetune_tasks.py", "--job", "JOB", "--num-jobs", jobs, tasks, exp / "log")
    return time.perf_counter() - start


def rows():
    """Yield rows (table.row); none without a GPU."""
    if not torch.cuda.is_available():
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        emotion_corpus(folder / "data")
        run("steps/pretrain.py", "--config", "conf/pretrain.conf", "--epochs", 1, folder / "data",
            folder / "pretrain_resnet18")

        def another_exp():
            exp = Path(tempfile.mkdtemp(dir=folder))
            (exp / "pretrain_resnet18").symlink_to(folder / "pretrain_resnet18")
            return exp

        seconds = {system: one_after_another(folder, another_exp(), system) for system in SYSTEMS.split()}
        for system, of_system in seconds.items():
            yield alone(f"ten rotations of {system}", of_system, "s")
        total = sum(seconds.values())
        yield alone("fifty trainings", total, "s")
        shared = sharing(folder, another_exp(), SYSTEMS, JOBS_PER_GPU)
        yield row(f"fifty trainings, {JOBS_PER_GPU} share the GPU; one after another", [(shared, total)], "s",
                  smaller_is_better=True)
        each = a_process_each(folder, another_exp(), "vgg5_ad")
        yield row("ten of vgg5_ad in a process; in a process each", [(seconds["vgg5_ad"], each)], "s",
                  smaller_is_better=True)
