"""What the graph tests share: each runs an agent both ways."""

from __future__ import annotations

import asyncio
import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say so where the part for LangChain 1.5 was skipped."""
    bridge = Path(__file__).parent / "next"
    is_wanted = any(bridge.is_relative_to(Path(arg.partition("::")[0]).resolve()) for arg in config.args)
    if is_wanted and find_spec("langchain_core.decisions") is None:
        told = "Not tested here: the bridge to LangChain 1.5, which is not installed. Run make test-langchain-next."
        terminalreporter.write_sep("=", told, yellow=True)


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest) -> Any:
    """Run an agent by `invoke` or by `ainvoke`."""

    def sync_run(agent: Any, given: Any, config: Any = None, **options: Any) -> Any:
        return agent.invoke(given, config, **options)

    def async_run(agent: Any, given: Any, config: Any = None, **options: Any) -> Any:
        return asyncio.run(agent.ainvoke(given, config, **options))

    return sync_run if request.param == "sync" else async_run


@pytest.fixture(params=["sync", "async"])
def stream(request: pytest.FixtureRequest) -> Any:
    """Collect what `stream` or `astream` gives."""

    async def collected(agent: Any, given: Any, **options: Any) -> list[Any]:
        return [part async for part in agent.astream(given, **options)]

    def sync_stream(agent: Any, given: Any, **options: Any) -> list[Any]:
        return list(agent.stream(given, **options))

    def async_stream(agent: Any, given: Any, **options: Any) -> list[Any]:
        return asyncio.run(collected(agent, given, **options))

    return sync_stream if request.param == "sync" else async_stream


@pytest.fixture
def snapshot(request: pytest.FixtureRequest) -> Any:
    """Compare with a file in `snapshots/` beside the test; `UPDATE_SNAPSHOTS=1` writes it anew."""

    def compare(name: str, value: Any) -> None:
        text = value if isinstance(value, str) else json.dumps(value, indent=2, sort_keys=True)
        path = request.path.parent / "snapshots" / name
        if os.environ.get("UPDATE_SNAPSHOTS"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"{text.strip()}\n", encoding="utf-8")
        kept = path.read_text(encoding="utf-8").strip()
        assert kept == text.strip(), f"{path.name} differs; where that is meant, UPDATE_SNAPSHOTS=1 writes it anew"

    return compare
