"""The server of a soak: it answers rightly, breaks by chance, and knows what it billed.

```shell
python -m soak.billing SHARE SEED  # the share of the calls that a fault hits, and what the draws start from
```

It tells its URL, then takes a command a line, `report` or `reset`, and answers with a line of JSON; it stops when its
input closes.
"""

from __future__ import annotations

import json
import sys
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Any

from soak.work import said

from langchain_tiered.offline.faults import FAULTS, MODELS, Faults
from langchain_tiered.offline.provider import Provider
from langchain_tiered.offline.server import OfflineServer
from langchain_tiered.testing import ScriptedChatModel

if TYPE_CHECKING:
    from langchain_tiered.offline.faults import Fault
    from langchain_tiered.offline.replies import Reply
    from langchain_tiered.offline.wire import Api


@dataclass(frozen=True)
class Brisk(Faults):
    """Faults that cost little time; a timeout lasts as long as the client waits."""

    def decide(self, model: str, call: int, overall: int, request: str = "") -> Fault | None:
        fault = super().decide(model, call, overall, request)
        if fault is None or fault.kind == "timeout":
            return fault
        return replace(fault, retry_after_s=0.05, seconds=0.2 if fault.kind == "slow" else 0.0)


class Billing(Provider):
    """Writes down each usage that is billed, and whether the client was told."""

    bills: list[tuple[Any, ...]]

    def reset(self) -> None:
        super().reset()
        self.bills = []

    async def reply(self, api: Api, raw: bytes) -> Reply:
        reply = await super().reply(api, raw)
        if reply.usage is not None:
            self.bills.append((json.loads(raw)["model"], *astuple(reply.usage), reply.told))
        return reply


def main(share: float, seed: int) -> None:
    """Serve until the standard input closes."""
    faults = Brisk(rates=dict.fromkeys(FAULTS, share / len(FAULTS)), seed=seed, by="request")
    models = {name: ScriptedChatModel(script=said, model_name=name) for name in MODELS.values()}
    server = OfflineServer(keep_alive=True)
    server._provider = billing = Billing(models=models, faults=faults)
    with server:
        _say(server.url)
        for line in sys.stdin:
            if line.strip() == "reset":
                billing.reset()
            assert server._server is not None
            _say([billing.stats(), billing.bills, len(server._server.server_state.connections)])


def _say(value: object) -> None:
    sys.stdout.write(f"{json.dumps(value)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
