"""How far a loop is: a bar on a terminal, in a log a line now and then."""

import sys

import pytest

from ser.base import log


@pytest.fixture
def seconds(monkeypatch):
    """Hours pass as the test says: a list with the present time, which progress() reads."""
    now = [0.0]
    monkeypatch.setattr(log.time, "monotonic", lambda: now[0])
    return now


def test_a_log_has_a_line_after_ten_seconds_and_then_ever_more_seldom(seconds, capsys):
    for _ in log.progress(range(100), unit="sound"):
        seconds[0] += 1
    lines = [line.partition(") ")[2] for line in capsys.readouterr().err.splitlines()]
    assert lines == ["11 of 100 sounds done", "21 of 100 sounds done", "41 of 100 sounds done", "81 of 100 sounds done"]


def test_what_is_quick_or_logs_by_itself_has_none(seconds, capsys):
    assert list(log.progress(range(9))) == list(range(9))
    for _ in log.progress(range(100), in_log=False, total=100):
        seconds[0] += 1
    assert capsys.readouterr().err == ""


def test_items_without_a_length(seconds, capsys):
    for _ in log.progress(iter(range(20)), desc="before"):
        seconds[0] += 1
    assert ") before: 11 items done" in capsys.readouterr().err


def test_a_terminal_has_a_bar_from_the_start(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert sum(log.progress(range(5), unit="sound")) == 10
    assert "| 0/5 [00:00<?, ?sound/s]" in capsys.readouterr().err
