"""Each test runs in all ways to ask a model."""

from __future__ import annotations

import pytest
from unit.chat_model.fakes_chat_model import Ways


@pytest.fixture(params=["invoke", "ainvoke", "stream", "astream"])
def ask(request: pytest.FixtureRequest) -> Ways:
    """Ask for a message, whole or added up from its parts."""
    return Ways(request.param)


@pytest.fixture(params=["stream", "astream"])
def streamed(request: pytest.FixtureRequest) -> Ways:
    """Ask for the parts of a message."""
    return Ways(request.param)
