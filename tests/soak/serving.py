"""Starts the server of a soak in a process of its own, and asks it what it knows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import Popen

ROOT = Path(__file__).parents[2]


class Report(NamedTuple):
    """What the server knows."""

    stats: dict[str, Any]
    """Its own counts; see `Provider.stats`."""

    bills: list[list[Any]]
    """Of each answer: model, input, cached, output and reasoning tokens, and whether the client was told."""

    connections: int
    """How many are open."""


class Served:
    """The server, seen by the process that started it."""

    def __init__(self, process: Popen[str], url: str) -> None:
        self._process, self.url = process, url

    def report(self) -> Report:
        """Return what it knows."""
        return Report(*self._told("report"))

    def reset(self) -> None:
        """Let it count from nothing."""
        self._told("reset")

    def _told(self, command: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextmanager
def serving(share: float, seed: int) -> Iterator[Served]:
    """Start the server, which breaks that share of the calls, and stop it after the block."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "tests"), str(ROOT)))}
    command = [sys.executable, "-W", "error", "-m", "soak.billing", str(share), str(seed)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield Served(process, json.loads(process.stdout.readline()))
        finally:
            process.stdin.close()
