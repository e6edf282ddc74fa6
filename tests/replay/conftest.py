"""What the replayed tests share: `wire`, which replays a test's cassette, or records it.

`make record` records anew: over the offline server, or, with OPENAI_API_KEY set, over the real API. What must be
scripted (faults, refusals) always comes from the offline server.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from langchain_tiered import Ledger, collect_ledger
from langchain_tiered.testing import blocked_network, use_cassette
from langchain_tiered.testing.cassettes import RECORD_MODE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_tiered.types import LedgerEntry

__all__ = ["blocked_network"]  # the fixture, as the plugin would give it

CASSETTES = Path(__file__).parents[2] / "cassettes"
REAL_API = b"api.openai.com"
OFFLINE = (
    "Recorded over the offline server: deterministic rules, no language model. The URIs are those of the real API."
)
REAL = "Recorded over the real API."
RECORDING = os.environ.get(RECORD_MODE, "none") != "none"
KEY = os.environ.get("OPENAI_API_KEY") if RECORDING else None
WANTED = pytest.StashKey[dict[str, set[str]]]()
PAID: list[LedgerEntry] = []


def name_of(item: Any) -> str:
    """Name the cassette of a test; sync and async play the same one."""
    params = item.callspec.params if hasattr(item, "callspec") else {}
    kinds = [str(value) for name, value in params.items() if name in ("fault", "case")]
    return "-".join([item.originalname.removeprefix("test_"), *kinds])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[Any]) -> None:
    """Note which cassettes the tests of each module want, before any are deselected."""
    wanted: dict[str, set[str]] = {}
    for item in items:
        if "wire" in getattr(item, "fixturenames", ()):
            wanted.setdefault(item.path.stem, set()).add(name_of(item))
    config.stash[WANTED] = wanted


@pytest.fixture
def wanted_cassettes(pytestconfig: pytest.Config) -> dict[str, set[str]]:
    """The names of the cassettes that the collected tests want, by test module."""
    return pytestconfig.stash[WANTED]


@pytest.fixture(autouse=True)
def _offline(request: pytest.FixtureRequest) -> None:
    """Nothing here reaches the network, unless it is being recorded."""
    if not RECORDING:
        request.getfixturevalue("blocked_network")


@pytest.fixture
def wire(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give a block in which the provider answers from the test's cassette; made with the options of `OfflineServer`."""
    path = CASSETTES / request.path.stem / f"{name_of(request.node)}.yaml"
    for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE", "OPENAI_ORG_ID", "OPENAI_PROXY"):
        monkeypatch.delenv(name, raising=False)  # each changes what the client sends

    @contextmanager
    def replayed(*, needs_usage: bool = True, **_: Any) -> Iterator[Any]:
        monkeypatch.setenv("OPENAI_API_KEY", "replayed")
        with use_cassette(path, needs_usage=needs_usage) as cassette:
            yield cassette

    @contextmanager
    def recorded(*, needs_usage: bool = True, **options: Any) -> Iterator[Any]:
        if "async" in request.node.name:
            pytest.skip("recorded by its sync twin")
        with ExitStack() as stack:
            more: dict[str, Any] = {"note": REAL}
            if options or KEY is None:
                from langchain_tiered.offline.server import OfflineServer  # noqa: PLC0415  (only to record)

                monkeypatch.setenv("OPENAI_API_KEY", "offline")
                _redirect(monkeypatch, stack.enter_context(OfflineServer(**options)).url)
                more = {"note": OFFLINE}
            ledger = stack.enter_context(collect_ledger())
            yield stack.enter_context(use_cassette(path, record_mode="all", needs_usage=needs_usage, **more))
            PAID.extend(() if KEY and options else ledger)

    return recorded if RECORDING else replayed


def _redirect(patch: pytest.MonkeyPatch, url: str) -> None:
    """Lead what is meant for the real API to a local server, below all that could notice.

    With a base URL of its own the client would send other bodies, without a wish for usage in a stream for one.
    """
    import httpcore2  # noqa: PLC0415  (only to record)

    local, connected = httpcore2.URL(url), httpcore2.ConnectionPool.handle_request

    def redirected(pool: Any, request: Any) -> Any:
        if request.url.host == REAL_API:
            target = request.url.target
            request.url = httpcore2.URL(scheme=b"http", host=local.host, port=local.port, target=target)
        return connected(pool, request)

    patch.setattr(httpcore2.ConnectionPool, "handle_request", redirected)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Tell what a recording cost."""
    if not RECORDING:
        return
    known = Ledger(entry for entry in PAID if entry["cost_usd"] is not None)
    files = [*CASSETTES.rglob("*.yaml")]
    who = "over the real API" if KEY else "over the offline server, at the prices of the real models: nothing was paid"
    told = f"{len(PAID)} calls, ${known.total_usd:.6f} {who}; {len(PAID) - len(known)} failed without a cost."
    terminalreporter.write_sep("=", "recording")
    terminalreporter.write_line(f"{told} {len(files)} cassettes, {sum(path.stat().st_size for path in files):,} bytes.")
