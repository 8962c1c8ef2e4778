"""Process groups that end with the process that started them, however that one ends."""

import os
import signal
import time


class Guardian:
    """A process that ends process groups once the one that made it is gone, by whatever signal.

    It reads a pipe whose other end only its maker holds: `+PID` for a new group, `-PID` for one
    that has ended, end of file when the maker has closed it or died.

    grace: seconds between TERM and KILL
    """

    def __init__(self, grace=5.0):
        self.grace = grace

    def __enter__(self):
        self.reader, self.writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setsid()
                os.close(self.writer)
                self._watch()
            finally:
                os._exit(0)
        return self

    def adopt_me(self):
        """Called in a new group's first process before it becomes the command, so that no group is ever unknown."""
        os.write(self.writer, b"+%d\n" % os.getpid())

    def release(self, group):
        if self.writer is not None:
            os.write(self.writer, b"-%d\n" % group)

    def end_all(self):
        if self.writer is not None:
            os.close(self.writer)
            self.writer = None

    def __exit__(self, *_):
        self.end_all()
        os.waitpid(self.pid, 0)

    def _watch(self):
        groups = set()
        with open(self.reader, "rb") as messages:
            for message in messages:
                (groups.add if message.startswith(b"+") else groups.discard)(int(message[1:]))
        alive = [group for group in groups if signal_group(group, signal.SIGTERM)]
        deadline = time.monotonic() + self.grace
        while alive and time.monotonic() < deadline:
            time.sleep(0.02)
            alive = [group for group in alive if signal_group(group, 0)]
        for group in alive:
            signal_group(group, signal.SIGKILL)


def signal_group(group, number):
    """Send a signal to a process group; return whether there was one to receive it."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def stop_signals():
    """TERM, INT and HUP, but for those that this process was started to ignore (nohup)."""
    return {number for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
            if signal.getsignal(number) != signal.SIG_IGN}
