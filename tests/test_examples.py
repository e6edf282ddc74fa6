"""The numbered examples, run as a reader would run them: offline, without a key."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessageChunk

from langchain_tiered.errors import NoAnswerAcceptedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("[0-9]*.py"))
SAYS = {
    "01_tiered_agent": ["nano  $0.0000", "label.\n          delivery\n", "mini  $0.000", "flagship  $0.000"],
    "02_tools_and_escalation": ["Refunded order 1042", "hands up", "mini: "],
    "03_own_graph": [
        "find(find)",
        "ai: complaint\n   ai: (Answered by nano. Order 1042 is delivered.)",
        "(Answered by flagship.)",
    ],
    "04_threads_and_context": ["by latch", "by pin", "The block saw 5 calls"],
    "05_router_alone": ["the floor for 'write'", "'tier': 'flagship'"],
    "06_test_your_app": ["18 passed"],
    "07_checks_and_steps": [
        "nano: delivery\n",
        "mini judge accepted",
        "escalate: mini -> flagship",
        "NoAnswerAcceptedError",
        "paid all",
    ],
    "08_in_create_agent": [
        "    nano  $0.0000",
        "log in.\n          bug\n",
        "    mini  $0.00",
        "Refunded order 1042",
        "flagship  $0.00",
    ],
    "09_inside_other_graphs": [
        "node: mini, $0.00",
        "the thread has paid $0.00",
        "in 2 runs",
        "node, streamed: 26 parts for $0.00",
        "tool: Refunded order 1042",
        "flagship: 2 calls, $0.00",
        "mini: 3 calls, $0.00",
    ],
    "10_supervisor": [
        "supervisor -> shop_desk\n  mini: Refunded",
        "supervisor -> writing_desk\n  mini: Thank you",
        "supervisor -> shop_desk\n  shop_desk -> writing_desk\n  mini: Order 1043: Bluevan: Out for delivery",
        "Dear customer, we are sorry",
    ],
    "11_router_in_lcel": [
        "branch: positive\nsetting: {'tier': 'nano', 'answer': 'positive'}",
        "branch: A person writes our letters.\nsetting: {'tier': 'mini'",
        "setting: {'tier': 'flagship'",
        "by hand: offline-mini",
    ],
    "12_serve_with_fastapi": [
        "ann: 26 tokens: 'Refunded order 1042",
        "  mini, $0.00",
        "bob: 14 tokens",
        "  flagship, $0.00",
        "ann: 9 tokens: 'Order 1043",
        "eve: 0 tokens: ''",
        "was paid for 1 calls, and no more will be",
    ],
    "13_code_review": [
        "step_1_1 search   mini     done",
        "code     mini     done",
        "lookup   nano     done",
        "satisfied:\nstep_1_1: ",
        "functions, the longest",
        "review    flagship      1",
    ],
    "14_support_desk": [
        "asks a human             Refund order 1045",
        "reviewer: doubt refund_order. By rule, no language model: the request is not sure, it says 'perhaps'.",
        "human: reject refund_order. Ask the customer first.",
        "satisfied:\nstep_1: Refunded order 1042",
        "refunds:\n  1041  $ 22.50",
        "\n  1045  $119.00  Refund order 1045: the customer says that the arm is perhaps bent.\n\nrole",
        "review    flagship      4",
    ],
}
TESTS = "06_test_your_app"
TEAMS = [path for path in EXAMPLES if path.stem in ("13_code_review", "14_support_desk")]


def test_every_example_is_run() -> None:
    assert [path.stem for path in EXAMPLES] == sorted(SAYS)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_offline_and_shows_what_it_is_about(path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    command = [sys.executable, "-W", "error", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    for words in SAYS[path.stem]:
        assert words in done.stdout
    last = done.stdout.splitlines()[-3:]
    assert path.stem == TESTS or any("deterministic rules" in line and "no language model" in line for line in last)


@pytest.mark.parametrize(
    "error", [ConnectionError("down"), NoAnswerAcceptedError([], "None.")], ids=lambda error: type(error).__name__
)
async def test_a_served_run_that_fails_ends_its_stream_with_an_error(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        async def astream(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
            yield (), "messages", (AIMessageChunk(content="One"), {})
            raise error

    monkeypatch.syspath_prepend(EXAMPLES[0].parent)
    served = importlib.import_module("12_serve_with_fastapi")
    monkeypatch.setattr(served, "agent", Broken())
    said = [event async for event in served._events("ann", "Refund order 1042.")]
    assert [event.partition("\n")[0] for event in said] == ["event: token", "event: error"]
    assert type(error).__name__ in said[-1]
    assert "The run of ann failed." in caplog.text


@pytest.mark.parametrize("path", TEAMS, ids=lambda path: path.stem)
def test_a_team_says_the_same_each_time_where_nobody_watches(path: Path) -> None:
    command = [sys.executable, str(path)]
    environment = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    first, second = (subprocess.check_output(command, env=environment, timeout=60) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("has_rich", [True, False])
def test_a_team_is_a_live_tree_in_a_terminal_and_lines_without_rich(has_rich: bool) -> None:  # noqa: FBT001  (a case)
    pty = pytest.importorskip("pty", reason="A terminal of Unix.")
    path = TEAMS[-1]
    blocked = "" if has_rich else "sys.modules['rich.live'] = None; "
    code = f"import runpy, sys; sys.path.insert(0, {str(path.parent)!r}); {blocked}"
    code += f"runpy.run_path({str(path)!r}, run_name='__main__')"
    own, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    with subprocess.Popen([sys.executable, "-c", code], stdout=theirs, env={**environment, "TERM": "xterm"}) as running:
        os.close(theirs)
        told = b"".join(iter(lambda: _read(own), b"")).decode()
    os.close(own)
    assert running.returncode == 0
    assert ("├──" in told, "6 of 6 tasks, $" in told) == (has_rich, has_rich)
    assert "1045  $119.00" in told


def _read(terminal: int) -> bytes:
    """Read on; a terminal whose program has ended is an error on Linux, and empty elsewhere."""
    try:
        return os.read(terminal, 65_536)
    except OSError:
        return b""
