#!/usr/bin/env python3
"""Run a command so that everything it started ends when it is told to end, or killed.

usage: kill_with_parent.py COMMAND...
example: steps/parallel/kill_with_parent.py ./run.sh --stage 4

A shell that is told to end leaves the program that it waits for working. Here TERM, INT and HUP go to
the command's whole process group, and so does TERM when this program is killed. Exit status: the
command's, 128 + signal after a signal.
"""

import signal
import subprocess
import sys

from process_groups import Guardian, stop_signals

GRACE_SECONDS = 30.0  # cluster runners cancel their jobs in this time


def main():
    if sys.argv[1:] in ([], ["--help"], ["-h"]):
        print(__doc__.strip())
        return not sys.argv[1:]
    stops = stop_signals()
    stopped_by = None
    signal.signal(signal.SIGCHLD, lambda *_: None)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, stops | {signal.SIGCHLD})
    with Guardian(GRACE_SECONDS) as guardian:

        def become_command():
            guardian.adopt_me()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

        process = subprocess.Popen(sys.argv[1:], start_new_session=True, preexec_fn=become_command)
        while process.poll() is None:
            number = signal.sigwait(stops | {signal.SIGCHLD})
            if number in stops:
                stopped_by = number
                guardian.end_all()
    status = process.returncode
    if stopped_by or status < 0:
        return 128 + (stopped_by or -status)
    return status


if __name__ == "__main__":
    sys.exit(main())
