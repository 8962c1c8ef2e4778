"""What is said where the package that reads such models is not installed."""

import sys

import pytest

from ser.audio.ssl import HiddenStates
from ser.base.errors import UserError


def test_without_transformers(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)  # which makes its import fail
    with pytest.raises(UserError, match="^the package transformers, .*: .venv/bin/python -m pip install transformers$"):
        HiddenStates("models/wav2vec2-base", "mean")
