"""The server of a soak, in a process of its own: it answers rightly, breaks by chance, and knows what it billed.

It takes a command a line, `report` or `reset`, and answers with a line of JSON; it stops when its input closes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from subprocess import Popen

    from langchain_tiered.offline.faults import Fault
    from langchain_tiered.offline.replies import Reply
    from langchain_tiered.offline.wire import Api

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
    command = [sys.executable, "-W", "error", "-m", "soak.serving", str(share), str(seed)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield Served(process, json.loads(process.stdout.readline()))
        finally:
            process.stdin.close()


def main() -> None:
    """Serve until the standard input closes."""
    from langchain_tiered.offline.faults import FAULTS, MODELS, Faults
    from langchain_tiered.offline.provider import Provider
    from langchain_tiered.offline.server import OfflineServer
    from langchain_tiered.testing import ScriptedChatModel
    from soak.work import said

    @dataclass(frozen=True)
    class Brisk(Faults):
        def decide(self, model: str, call: int, overall: int, request: str = "") -> Fault | None:
            """Return a fault that costs little time; a timeout lasts as long as the client waits."""
            fault = super().decide(model, call, overall, request)
            if fault is None or fault.kind == "timeout":
                return fault
            return replace(fault, retry_after_s=0.05, seconds=0.2 if fault.kind == "slow" else 0.0)

    class Billing(Provider):
        def reset(self) -> None:
            super().reset()
            self.bills: list[tuple[Any, ...]] = []

        async def reply(self, api: Api, raw: bytes) -> Reply:
            """Write down what was billed."""
            reply = await super().reply(api, raw)
            if reply.usage is not None:
                self.bills.append((json.loads(raw)["model"], *astuple(reply.usage), reply.told))
            return reply

    share, seed = float(sys.argv[1]), int(sys.argv[2])
    faults = Brisk(rates=dict.fromkeys(FAULTS, share / len(FAULTS)), seed=seed, by="request")
    models = {name: ScriptedChatModel(script=said, model_name=name) for name in MODELS.values()}
    server = OfflineServer(keep_alive=True)
    server._provider = billing = Billing(models=models, faults=faults)
    with server:
        _say(server.url)
        for line in sys.stdin:
            if line.strip() == "reset":
                billing.reset()
                for model in models.values():
                    model.asked.clear()
            assert server._server is not None
            _say([billing.stats(), billing.bills, len(server._server.server_state.connections)])


def _say(value: object) -> None:
    sys.stdout.write(f"{json.dumps(value)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
