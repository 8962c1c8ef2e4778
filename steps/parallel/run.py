#!/usr/bin/env python3
"""Run a command, or an array of them, on this machine, in the calling convention of Kaldi's run.pl.

usage: run.py [options] [JOB=1:N] LOG COMMAND...
example:
  steps/parallel/run.py --max-jobs-run 4 JOB=1:8 exp/log/count.JOB.log wc -l data/split8/JOB/wav.scp

Options, before or after the range:
  --num-threads N    threads of a job, its OMP_NUM_THREADS (default: 1)
  --max-jobs-run N   at most N jobs at a time (default: as many as the usable cores have room for)
  --gpu N            devices of a job, its own through CUDA_VISIBLE_DEVICES (default: 0)
  --jobs-per-gpu N   jobs that share a device, or a set of --gpu devices (default: 1); side by side where CUDA's
                     multi-process service works, which is started and stopped here, else in turns
  --progress BOOL    say on the way how far the jobs are (default: true)
  --mem 4G, --time T, --config FILE  accepted for the cluster runners' sake; nothing is limited here

The word JOB in LOG and COMMAND becomes the task index; COMMAND passes through no shell. A job that fails is named
at once; the others go on, and a report with the ends of logs follows. Exit status: 0 if all jobs succeeded, 1 if
not, 128 + signal after TERM, INT or HUP, which end the jobs too. Whatever a job leaves running when it ends, and
every job when this runner is killed, is ended.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import namedtuple

import job_log
import kaldi_convention as kaldi
import mps
from process_groups import Guardian, signal_group, stop_signals

OPTIONS = kaldi.OPTIONS | {
    "jobs-per-gpu": kaldi.Option(kaldi.COUNT, "a number above 0", 1),
    "progress": kaldi.Option("true|false", "true or false", "true"),
}

Job = namedtuple("Job", "index process log devices started")


def visible_gpus():
    """Names of the devices that jobs may use, as CUDA_VISIBLE_DEVICES takes them."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
        try:
            listed = ",".join(subprocess.run(query, capture_output=True, text=True, check=True).stdout.split())
        except (OSError, subprocess.CalledProcessError):
            return []
    return [name.strip() for name in listed.split(",") if name.strip() not in ("", "-1", "NoDevFiles")]


def share_out(options):
    """Return how many jobs may run at a time, and the sets of devices they take turns on ("" for none)."""
    size = options["gpu"]
    if size:
        gpus = visible_gpus()
        if len(gpus) < size:
            raise kaldi.UsageError(f"--gpu {size}: this machine shows {len(gpus)} GPUs (CUDA_VISIBLE_DEVICES, "
                                   "nvidia-smi); leave --gpu out or use a machine that has them")
        if options["jobs-per-gpu"] > 1 and mps.is_there():
            gpus = mps.uuids(gpus)
        device_sets = [",".join(gpus[i:i + size]) for i in range(0, len(gpus) - size + 1, size)]
        limit = len(device_sets) * options["jobs-per-gpu"]
    else:
        device_sets = [""]
        limit = max(len(os.sched_getaffinity(0)) // options["num-threads"], 1)
    return min(limit, options["max-jobs-run"] or limit), device_sets


class Runner:
    """Runs the jobs of a request."""

    def __init__(self, request, limit, device_sets):
        self.request = request
        self.limit = limit
        self.device_sets = device_sets
        self.threads = request.options["num-threads"]
        self.running = []
        self.ended = 0
        self.failures = job_log.Failures(request)
        self.progress = job_log.Progress(request, request.options["progress"] == "true")
        self.stopped_by = None  # the signal that ended the jobs

    def run(self):
        stops = stop_signals()
        awaited = stops | {signal.SIGCHLD}
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.jobs_mask = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
        waiting = list(self.request.indices)
        with Guardian() as self.guardian, self._gpus_shared() as self.environment:
            while waiting or self.running:
                while waiting and len(self.running) < self.limit:
                    self._start(waiting.pop(0))
                received = signal.sigtimedwait(awaited, self.progress.TERMINAL_SECONDS) if self.running else None
                if received and received.si_signo in stops:
                    self.stopped_by = self.stopped_by or signal.Signals(received.si_signo)
                    waiting.clear()
                    self.guardian.end_all()
                for job in [job for job in self.running if has_ended(job)]:
                    self._finish(job)
                if self.running:
                    self.progress.show_time(self.ended, len(self.failures.reasons), self.running[0].index)

    def _gpus_shared(self):
        """A block in which jobs that share devices do so side by side, with what is to be set in their environment."""
        if not self.device_sets[0] or self.request.options["jobs-per-gpu"] == 1:
            return contextlib.nullcontext({})
        return mps.shared_gpus(",".join(self.device_sets).split(","), self.guardian)

    def _start(self, index):
        # Environment, with the devices that the fewest jobs use
        command = self.request.command_of(index)
        environment = {**os.environ, **self.environment, "OMP_NUM_THREADS": str(self.threads)}
        in_use = [job.devices for job in self.running]
        devices = min(self.device_sets, key=in_use.count)
        if devices:
            environment["CUDA_VISIBLE_DEVICES"] = devices

        # Process, in a group of its own
        log = job_log.start_log(self.request.log_of(index), command)
        started = time.time()
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                                       start_new_session=True, preexec_fn=self._become_job)
        except OSError as error:
            os.write(log, os.fsencode(f"cannot run {command[0]}: {error.strerror}\n"))
            self._record(index, log, started, 127 if isinstance(error, FileNotFoundError) else 126)
        else:
            self.running.append(Job(index, process, log, devices, started))

    def _become_job(self):
        self.guardian.adopt_me()
        signal.pthread_sigmask(signal.SIG_SETMASK, self.jobs_mask)

    def _finish(self, job):
        if self.stopped_by is None:
            signal_group(job.process.pid, signal.SIGKILL)
            self.guardian.release(job.process.pid)
        self.running.remove(job)
        self._record(job.index, job.log, job.started, job.process.wait())

    def _record(self, index, log, started, status):
        job_log.end_log(log, status, time.time() - started, self.threads)
        self.ended += 1
        if status:
            others_go_on = self.ended < len(self.request.indices) and self.stopped_by is None
            self.failures.add(index, job_log.reason_of(status), others_go_on)
        self.progress.show_end(self.ended, len(self.failures.reasons))


def has_ended(job):
    """Whether the job's process has exited; it stays a zombie, so that its group's number is still its own."""
    return os.waitid(os.P_PID, job.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def main():
    if sys.argv[1:] in (["--help"], ["-h"]):
        print(__doc__.strip())
        return 0
    try:
        request = kaldi.parse(sys.argv[1:], lambda config: OPTIONS)
        runner = Runner(request, *share_out(request.options))
        runner.run()
        if runner.stopped_by:
            job_log.say(f"stopped by {runner.stopped_by.name}, its jobs were ended; log is in {request.log_of('*')}")
            return 128 + runner.stopped_by
        if runner.failures.reasons:
            runner.failures.report()
            return 1
    except kaldi.UsageError as error:
        job_log.say(f"{error} (see run.py --help)")
        return 1
    except OSError as error:
        job_log.say(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
