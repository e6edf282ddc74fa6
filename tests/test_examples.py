"""The numbered examples, run as a reader would run them: offline, without a key."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("[0-9]*.py"))
SAYS = {
    "01_tiered_agent": ["nano  $0.0000", "mini  $0.000", "flagship  $0.000"],
    "02_tools_and_escalation": ["Refunded order 1042", "hands up", "mini: "],
    "03_own_graph": ["sign(sign)", "(Answered by flagship.)"],
    "04_threads_and_context": ["by latch", "by pin", "The block saw 5 calls"],
    "05_router_alone": ["the floor for 'write'", "'tier': 'flagship'"],
    "06_test_your_app": ["18 passed"],
    "07_checks_and_steps": ["mini judge accepted", "escalate: mini -> flagship", "NoAnswerAcceptedError", "paid all"],
    "08_in_create_agent": ["    nano  $0.0000", "    mini  $0.00", "flagship  $0.00"],
}


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
