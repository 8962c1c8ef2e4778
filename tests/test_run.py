"""run.sh as a user types it: the whole default on a short schedule, again, killed, and typed wrongly."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from sklearn.metrics import f1_score

from conftest import ROOT, SHORT, recipe, results, run
from test_dry_run import told

CORPORA = ROOT / "conf" / "corpora.conf"
SYSTEMS = ("resnet18_baseline", "resnet18_pretrain", "resnet18_pretrain_ad", "vgg5_baseline", "vgg5_ad")


def test_the_table(finished):
    table = (finished / "exp" / "RESULTS").read_text()
    assert table in (finished / "stdout").read_text() and "SYNTHETIC" in table and "paper" not in table
    assert re.findall(r"^(\w+) +(?:ResNet18|VGG5)", table, re.MULTILINE) == list(SYSTEMS)
    grep = subprocess.run(f"grep WF1 '{finished}'/exp/*/*/RESULT", shell=True, capture_output=True, text=True)
    lines = [line for line in grep.stdout.splitlines() if "fold_" in line]
    assert len(lines) == 35 and all("synthetic-iemocap-impro-4 5fold" in line for line in lines)


def test_the_closing_summary_begins_with_the_answer(finished):
    said = (finished / "stdout").read_text()
    summary = said[said.index("make_claims.py: made"):]
    answer = (finished / "exp" / "CLAIMS").read_text().split("\n\n")[1]
    assert summary.split("\n\n")[1] == answer and len(re.findall("^(Pre-training|AD) ", answer, re.MULTILINE)) == 3
    assert summary.count("SYNTHETIC") == 1


def test_pooled_score_is_scikit_learns_over_all_utterances(finished):
    for system in SYSTEMS:
        rows = [row.split() for path in sorted((finished / "exp" / system).glob("fold_*/score/per_utt"))
                for row in path.read_text().splitlines()]
        assert len(rows) == 30 and len({row[0] for row in rows}) == 30
        expected = 100 * f1_score([row[1] for row in rows], [row[2] for row in rows], average="weighted")
        assert (finished / "exp" / system / "RESULT").read_text().startswith(f"%WF1 {expected:.2f} [ ")


def test_what_is_done_is_skipped_and_stays(finished):
    """With --stage 6 the tables are made again, and what is before them is skipped as in a run without --stage."""
    before = results(finished)
    result = recipe(finished, "--stage", "6")
    assert result.stdout.count("already done") == 8 and "0 trainings to do" in result.stdout
    assert results(finished) == before


def test_the_report_says_that_the_corpora_are_synthetic(finished):
    data = finished / "data" / "mini_iemocap_protocol-5fold"
    run("local/results/make_report.py", "--systems", " ".join(SYSTEMS), data, finished / "exp")
    assert "SYNTHETIC" in (finished / "exp" / "report.html").read_text()


def test_paths_with_blanks_are_said_as_one_types_them(finished):
    command = (finished / "exp" / "commands").read_text().splitlines()[0]
    assert f'--exp-dir "{finished}/exp" --protocol 5fold ' in command
    line, = (line for line in (finished / "stdout").read_text().splitlines() if line.startswith("Table:"))
    assert shlex.split(line)[1] == f"{finished}/exp/RESULTS"


def test_pictures_stay_until_a_model_or_what_is_asked_for_changes(tmp_path):
    """A finished stage 7 that finds its pictures draws none; one in which a part failed draws all of them again."""
    exp = tmp_path / "my exp"
    models = fold, of_seed, other = [exp / name / "fold_1" for name in ("vgg5_ad", "vgg5_ad_seed3", "vgg5_ad_an")]
    for folder in (*models, exp / "analysis" / "tensorboard"):
        folder.mkdir(parents=True)
        (folder / "file").touch()
    wf1 = exp / "analysis" / "wf1.svg"

    def must_be_drawn(seeds="0 3", failed="", meanwhile=":"):
        code = f""". local/run/functions.sh; . local/run/training.sh
          exp_dir=$0 systems=vgg5_ad seeds=$1 failed_parts=$2
          if begin_pictures; then echo drawn; echo drawn > "$0/analysis/wf1.svg"; {meanwhile}; fi
          end_pictures"""
        return "drawn" in run("bash", "-euo", "pipefail", "-c", code, exp, seeds, failed).stdout

    assert must_be_drawn(failed=", make_wf1.py (status 1)") and must_be_drawn() and not must_be_drawn()
    for path in (other / "file", exp / "RESULTS", fold / "masks.png"):  # which no table or picture here is made of
        path.write_text("changed")
    assert not must_be_drawn() and must_be_drawn("0") and must_be_drawn() and not must_be_drawn()
    for path in (fold / "file", of_seed / "file", wf1, exp / "analysis" / "tensorboard" / "file"):
        path.write_text("changed")
        os.utime(path, (0, 0))
        assert must_be_drawn() and not must_be_drawn()
        path.unlink()
        assert must_be_drawn() and not must_be_drawn()
    (of_seed / "file").touch()
    assert must_be_drawn(meanwhile='echo > "$0/vgg5_ad/fold_1/file"')  # a model that changes while they are drawn
    assert must_be_drawn() and not must_be_drawn()


@pytest.mark.parametrize("status", [0, 3])
def test_a_stage_beside_others_is_done_once_it_has_ended(status, tmp_path):
    """Functionals are computed beside pre-training; what failed there ends the run and is not done."""
    os.mkfifo(tmp_path / "go")
    code = """. local/run/functions.sh; . local/run/stages.sh; . local/run/data_dirs.sh
      exp_dir=$0 stop_stage=4 corpus=x
      begin 2 functionals "$0/.done.2.functionals" key
      run_beside bash -c 'exit $(cat "$0/go")' "$0"
      begin 3 folds "$0/.done.3" key
      [ ! -e "$0/.done.2.functionals" ]
      end
      echo "$1" > "$0/go"
      await_beside
      stop_clock
      echo stage 5"""
    result = run("bash", "-euo", "pipefail", "-c", code, tmp_path, str(status), check=False)
    assert result.returncode == bool(status) and ("stage 5" in result.stdout) == (not status), result.stderr
    said = "run.sh: failed: functionals, see above; what else was done is kept\n"
    assert result.stderr == (said if status else "")
    assert (tmp_path / ".done.2.functionals").exists() == (not status) and (tmp_path / ".done.3").read_text() == "key\n"
    times = [line.split("\t") for line in (tmp_path / "log" / "times").read_text().splitlines()]
    assert [(line[1], line[4]) for line in times] == [("3", "folds"), ("2", "functionals")][: 1 if status else 2]


@pytest.mark.parametrize("words", [[], ["--exp-dir", "my exp", "--systems", ""], ["--data-dir", "a'b$c"]])
def test_a_recorded_command_can_be_pasted(words, tmp_path):
    code = '. local/run/functions.sh; . local/run/stages.sh; exp_dir=$1; arguments=("${@:2}"); record_command'
    run("bash", "-euo", "pipefail", "-c", code, "run.sh", tmp_path, *words)
    time, command = (tmp_path / "commands").read_text().removesuffix("\n").split("\t")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:+]+", time) and command.startswith("./run.sh")
    pasted = run("bash", "-c", f"run() {{ printf '<%s>' $# \"$@\"; }}; {command.replace('./run.sh', 'run', 1)}")
    assert pasted.stdout == "".join(f"<{word}>" for word in (len(words), *words))


def test_killed_failed_and_continued_gives_the_same_results(finished, tmp_path):
    """A fold that fails takes no other down; what is missing is done by the same command once it is mended."""
    words = ["./run.sh", "--stop-stage", "6", "--data-dir", finished / "data", "--exp-dir", tmp_path / "exp",
             "--nj", "1", "--protocol", "5fold", "--pretrain-config", finished / "pretrain.conf",
             "--finetune-config", finished / "finetune.conf", "--systems", "resnet18_pretrain_ad"]
    victim = finished / "data" / "mini_iemocap_protocol-5fold" / "folds" / "fold_Ses04M" / "test"
    whole = victim.read_text()
    kills = [("pretrain_resnet18/config.json", os.kill, signal.SIGTERM),
             ("resnet18_pretrain_ad/fold_Ses01M/config.json", os.kill, signal.SIGKILL),
             ("resnet18_pretrain_ad/fold_Ses03M/RESULT", os.killpg, signal.SIGKILL)]
    victim.write_text("nobody\n")  # before the last kill, after which its turn comes
    try:
        for marker, kill, number in kills:
            process = subprocess.Popen([str(word) for word in words], cwd=ROOT, start_new_session=True,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while not (tmp_path / "exp" / marker).exists():
                assert process.poll() is None
                time.sleep(0.05)
            kill(process.pid, number)
            process.wait()
        result = run(*words, check=False)
    finally:
        victim.write_text(whole)
    assert result.returncode == 1
    assert re.search(r"run.sh: failed: .*resnet18_pretrain_ad/fold_Ses04M: finetune.py: .*nobody.* \(code 1\); "
                     r"log .*/finetune.1.log; alone, once that is corrected: steps/finetune.py --config "
                     r".*/finetune.1.conf\n",
                     result.stderr)
    assert result.stderr.count("run.sh: failed:") == 1
    assert re.search(r"just what is missing with: ./run.sh --stop-stage 6 .* --systems resnet18_pretrain_ad\n",
                     result.stderr)
    assert len(results(tmp_path)) == 4
    said = dict(told(run(*words, "--dry-run")))
    assert said["5"].startswith("fine-tuning and scoring: 1 of 5 trainings to do")
    assert "1 training to do" in run(*words).stdout
    assert len(results(tmp_path)) == 5 and results(tmp_path) == results(finished, "resnet18_pretrain_ad")


def test_other_options_into_the_same_directory_are_refused(finished):
    before = results(finished)
    (finished / "other.conf").write_text("\n".join(SHORT) + "\n--ad-weight=0.1\n")
    result = recipe(finished, "--finetune-config", finished / "other.conf", "--systems", "vgg5_ad", check=False)
    assert result.returncode == 1 and "was made with ad_weight 0.5, asked for is 0.1" in result.stderr
    assert results(finished) == before


def test_another_corpus_into_the_same_directory_is_refused(finished):
    result = run("./run.sh", "--data-dir", finished / "data", "--exp-dir", finished / "exp", check=False)
    assert result.returncode == 1
    wanted = r"exp holds results of mini 5fold, these would be of mini 10fold; give another"
    assert re.search(wanted, result.stderr)


def state(*folders):
    """Names, times and contents of all that is there."""
    return {path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
            for folder in folders for path in [folder, *folder.rglob("*")]}


def test_a_dry_run_says_what_is_left_and_how_long_it_took_and_changes_nothing(finished):
    folders = finished / "data", finished / "exp"
    before = state(*folders), set(ROOT.iterdir())
    stages = told(recipe(finished, "--dry-run", "--final", "true"))
    times = [line.split("\t") for line in (finished / "exp" / "log" / "times").read_text().splitlines()]
    jobs = {line[1]: int(line[2]) for line in times}  # the corpora of stage 0 are made by conftest.py
    assert set(jobs) == set("123456") and jobs["4"] == 1 and ("5", "35") in {(line[1], line[2]) for line in times}
    assert {what for number, what in stages if number in "123"} == {
        f"{line[4]}: already done" for line in times if line[1] < "4"}
    assert re.fullmatch(r"speaker pre-training: 0 of 1 model to make; last time it took [\d minsh]+", dict(stages)["4"])
    of_folds, final = (what for number, what in stages if number == "5")
    assert re.fullmatch(r"fine-tuning and scoring: 0 of 35 trainings to do; last time it took [\d minsh]+( for \d+ of "
                        r"them)?", of_folds)
    assert final == "final models: 5 trainings to do"  # of the systems with a network
    again = dict(told(recipe(finished, "--dry-run", "--stage", "5")))
    assert again["5"].startswith("fine-tuning and scoring: 35 of 35 trainings to do; last")
    of_data = told(recipe(finished, "--dry-run", "--stage", "2"))
    assert [what.partition(":")[2] for number, what in of_data if number == "1"] == [" already done"] * 2
    assert all("to do, since --stage 2 asks for it; last time" in what for number, what in of_data if number in "23")
    assert dict(of_data)["5"].startswith("fine-tuning and scoring: 35 of 35 trainings")
    other = dict(told(recipe(finished, "--dry-run", "--seeds", "0 1")))
    assert other["4"].startswith("speaker pre-training: 1 of 2 models to make: ") and "up to 70 of 70" in other["5"]
    assert (state(*folders), set(ROOT.iterdir())) == before


def test_a_dry_run_refuses_what_a_run_refuses(finished):
    result = run("./run.sh", "--data-dir", finished / "data", "--exp-dir", finished / "exp", "--dry-run", check=False)
    assert result.returncode == 1 and "exp holds results of mini 5fold, these would be of mini 10fold" in result.stderr


KALDI_LOGS = {
    "run.py": ("# cmd\n#\nepoch 1\nfinetune.py: valid: no such file\n# Accounting: time=5 threads=1\n"
               "# Finished at Tue Nov 24 00:00:00 UTC 2026 with status 1\n"
               "# Ended (code 1) at Tue Nov 24 00:00:00 UTC 2026, elapsed time 5 seconds\n",
               "finetune.py: valid: no such file (code 1)"),
    "run.pl": ("# cmd\n# Started at Tue Nov 24\n#\nkilled here\n# Accounting: time=5 threads=1\n"
               "# Ended (code 0; signal 9) at Tue Nov 24, elapsed time 5 seconds\n", "killed here (code 0; signal 9)"),
    "queue.pl": ("# Running on n\n# cmd\nlast words\n# Accounting: time=5 threads=1\n"
                 "# Finished at Tue Nov 24 00:00:00 UTC 2026 with status 137\n", "last words (code 137)"),
    "cancelled": ("# cmd\n#\nepoch 1\n\n# Slurm job 5_2: CANCELLED\n", "# Slurm job 5_2: CANCELLED"),
}


@pytest.mark.parametrize("runner", KALDI_LOGS)
def test_why_a_job_failed_is_read_from_the_log_of_any_runner(runner, tmp_path):
    text, reason = KALDI_LOGS[runner]
    (tmp_path / "x.log").write_text(text)
    assert run("bash", "-c", ". local/run/training.sh; failure_reason $0", tmp_path / "x.log").stdout == f"{reason}\n"


def test_why_a_job_without_a_log_failed(tmp_path):
    assert run("bash", "-c", ". local/run/training.sh; failure_reason $0", tmp_path / "x").stdout == "it never began\n"


@pytest.mark.parametrize("runner, threads, said", [
    ("utils/queue.pl --mem 3G", 2, "queue.pl asks for --mem per slot, here 2 times 3G, 6G in all: where"),
    ("utils/queue.pl --mem 3G", 1, ""), ("steps/parallel/sge.py --mem 3G", 2, "")])
def test_memory_by_slot_is_said_where_queue_pl_counts_it(runner, threads, said):
    code = '. local/run/training.sh; cuda_cmd=$0; num_threads=$1; memory_by_slot'
    result = run("bash", "-euo", "pipefail", "-c", code, runner, threads)
    assert said in result.stderr and bool(said) == bool(result.stderr)


WRONG = {
    ("--sytems", "vgg5_ad"): r"invalid option --sytems",
    ("--stage",): r"option --stage needs a value",
    ("--stage", "two"): r"--stage 'two' is not a number",
    ("--systems", "vgg6"): r"no system 'vgg6'; similar: vgg5_ad.*; conf/systems.conf and conf/ablat",
    ("--stage", "9", "--stop-stage", "9"): r"--stage 9: the stages are 0 to 8 \(see ./run.sh --help\)",
    ("--stop-stage", "10"): r"--stop-stage 10: the stages are 0 to 8",
    ("--corpus", "iemocap"): r"--corpus iemocap needs --iemocap DIR",
    ("--corpus", "iemocap", "--iemocap", "/nowhere"): r"--iemocap /nowhere: no such directory",
    ("--emodb", "/", "--pretrained", "/nowhere"): r"--pretrained /nowhere: no such directory",
    ("--pretrained", "/"): r"the default makes its own corpora; name an emotion corpus, too",
    ("--ser-data", "/nowhere"): r"--ser-data /nowhere: no such directory",
    ("--corpus", "ravdes"): r"--corpus ravdes: expected one of mini iemocap emodb ravdess cremad",
    ("--ser-data", "/", "--corpus", "iemocap"): r"--corpus iemocap does not use the folder given for --ser-data",
    ("--ser-data", "/", "--emodb", "/"): r"--emodb and --ser-data exclude each other",
    ("--emodb", "/", "--voxceleb1", "/", "--librispeech", "/"): r"--voxceleb1 and --librispeech exclude each other",
    ("--iemocap", "/", "--labels", "all"): r"--labels is not for --corpus iemocap; conf/corpora.conf says which",
    ("--voxceleb1", "/"): r"the default makes its own corpora; name an emotion corpus, too",
    ("--iemocap", "/nowhere"): r"--iemocap /nowhere: no such directory",
    ("--protocol", "9fold"): r"--protocol 9fold: expected 10fold, 5fold, loso, kfold or auto",
    ("--finetune-config", "/nowhere"): r"/nowhere: no such configuration file",
    ("--ablations", "vgg5_ad_se"): r"--ablations are stage 8's; add --stop-stage 8",
    ("--stop-stage", "8", "--ablations", "vgg5_ad"): r"--ablations: vgg5_ad is no ablation",
    ("--nj", "0"): r"--nj must be 1 or more",
    ("--pretrain-seeds", "0 1"): r"--pretrain-seeds '0 1': expected one number for all of --seeds '0', or one for each",
    ("--systems", "vgg5_ad", "--pretrain-seeds", "1"): r"--pretrain-seeds 1: none of --systems starts from a pre-train",
    ("--seeds", "0 x"): r"--seeds '0 x': expected numbers, such as",
    ("--seeds", "\u0663"): r"--seeds .*: expected numbers, such as",
    ("--num-nodes", "2", "--ngpu", "1"): r"--num-nodes 2 is for --cmd-backend slurm",
    ("--jobs-per-gpu", "2", "--cmd-backend", "sge"): r"--jobs-per-gpu 2 is for --cmd-backend local",
    ("--stage", "8"): r"--stage 8 comes after --stop-stage 7, so there is nothing to do",
    ("--exp-dir", "/tmp/a JOB b"): r"--exp-dir /tmp/a JOB b: JOB stands for the number of a job; take another name",
    ("--data-dir", "/tmp/JOB"): r"--data-dir /tmp/JOB: JOB stands for the number of a job; take another name",
    ("stage", "2"): r"unexpected argument 'stage'",
}


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_typed_wrongly(words, tmp_path):
    result = run("./run.sh", "--exp-dir", tmp_path / "exp", "--data-dir", tmp_path / "data", *words, check=False)
    assert result.returncode == 1 and re.search(WRONG[words], result.stderr), result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "data").exists() and not (tmp_path / "exp").exists()


def test_no_gpu_is_said_at_the_start(tmp_path, outcome):
    words = "--exp-dir", tmp_path / "exp", "--data-dir", tmp_path / "data", "--ngpu", "1"
    result = run("./run.sh", *words, check=False, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""})
    outcome("--ngpu 1 without a GPU", "run.sh", result.returncode, result.stderr.strip())
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("run.sh: --ngpu 1: this machine shows 0 GPUs")
    assert not (tmp_path / "data").exists() and not (tmp_path / "exp").exists()


def test_help_lists_every_option():
    text = run("./run.sh", "--help").stdout
    section = Path(ROOT, "run.sh").read_text().partition("# End configuration section.")[0]
    names = re.findall(r"^(\w+)=", section, re.MULTILINE) + re.findall(r"^(\w+) ", CORPORA.read_text(), re.MULTILINE)
    assert len(names) > 25 and "librispeech" in names
    assert [name for name in names if f"--{name.replace('_', '-')} " not in text] == []
    assert re.search(r"^  --stop-stage N +end after this stage \(default: 7\)$", text, re.MULTILINE)
    assert re.search(r"^  --librispeech DIR +LibriSpeech, the folder with SPEAKERS.TXT$", text, re.MULTILINE)
    assert text.count("(default: what cmd.sh says)\n") == 1  # what the comment says, in place of the empty value


def test_a_new_corpus_is_one_script_and_one_line(tmp_path):
    for name in ("conf", "local"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("run.sh", "cmd.sh", "path.sh", "requirements.txt", "steps", ".venv"):
        (tmp_path / name).symlink_to(ROOT / name)
    with open(tmp_path / "conf" / "corpora.conf", "a") as file:
        file.write("new loso scope,seeds NEW, the folder with its tables\n")
    script = tmp_path / "local" / "new_data_prep.py"
    script.write_text("#!/bin/sh\nshift 4\nexec local/kaldi_data_prep.py --emotion true \"$@\"\n")
    script.chmod(0o755)
    (tmp_path / "corpus").mkdir()
    assert re.search(r"--new DIR +NEW, the folder", run(tmp_path / "run.sh", "--help").stdout)
    result = run(tmp_path / "run.sh", "--new", tmp_path / "corpus", "--systems", "vgg5_ad", check=False)
    assert result.returncode == 1 and "stage 1: data directory data/new_" in result.stdout
    command = f"local/new_data_prep.py --scope improvised --seeds 0 {tmp_path}/corpus data/new_"
    assert re.search(rf"\(run.sh\) {re.escape(command)}[0-9a-f]{{6}}\n", result.stdout)
    assert f"{tmp_path}/corpus/wav.scp: no such file" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("run.sh: data/new_")
