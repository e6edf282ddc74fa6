"""Measure what a budget costs: the same agent with one and without.

```shell
python benchmarks/budget.py          # a minute and a half; writes results/budget.md
python benchmarks/budget.py --quick  # rougher, writes nothing
```

All cases take turns in short rounds of one process, and a ratio is the median of the rounds' own ratios. CPU time of
this process is what counts, against a server without latency; the limits are never reached, so that both do the same.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from statistics import median
from time import process_time
from typing import TYPE_CHECKING, Any

from _server import server
from _table import Row, ratio, show, write
from cascade import SURE, asked, models_of, taken, timed
from langgraph.checkpoint.memory import InMemorySaver
from overhead import REFUND, refund, tiers_of

from langchain_tiered import Budget, create_tiered_agent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from langchain_openai import ChatOpenAI

    Request = Callable[[], Awaitable[Any]]

BUDGET = Budget(run_limit_usd=100.0, thread_limit_usd=1000.0)
TURNS = 20
"""Turns of the conversation that is sent along in one case."""

PAID = 100
"""Paid calls that the thread has booked in another: a budget adds them up in each run."""


async def held(agent: Any, text: str, calls: int) -> None:
    """Prove that a request is answered with so many priced calls."""
    ledger = (await agent.ainvoke({"messages": [("user", text)]}))["ledger"]
    assert len(ledger) == calls, ledger
    assert all(entry["cost_usd"] for entry in ledger), ledger


def talked(agent: Any) -> Request:
    """Return a request that comes after a conversation, which is sent along."""
    said = [("user", SURE), ("assistant", "bug")] * TURNS

    async def request() -> Any:
        return await agent.ainvoke({"messages": [*said, ("user", SURE)]})

    return request


async def in_thread(agent: Any) -> Request:
    """Return a request in a thread with many paid calls; it always goes on from the same checkpoint."""
    thread: Any = {"configurable": {"thread_id": "1"}}
    (entry,) = (await agent.ainvoke({"messages": [("user", SURE)]}, thread))["ledger"]
    paid = [{**entry, "id": str(number), "run_id": str(number)} for number in range(PAID)]
    stored = await agent.aupdate_state(thread, {"ledger": paid}, as_node="check")

    async def request() -> Any:
        result = await agent.ainvoke({"messages": [("user", SURE)]}, stored)
        assert len(result["ledger"]) == PAID + 2
        return result

    return request


async def measured(url: str, rounds: int) -> list[Row]:
    """Measure each kind of tier with a budget and without, on one event loop, whose connections stay open."""
    models: dict[str, ChatOpenAI] = models_of(url)
    tiers = tiers_of(models)
    requests: dict[str, Request] = {}
    for budget, told in ((None, "off"), (BUDGET, "on")):
        single = create_tiered_agent(tiers, budget=budget)
        loop = create_tiered_agent(tiers, tools=[refund], budget=budget)
        await held(single, SURE, 1)
        await held(loop, REFUND, 2)
        requests[f"one call, budget {told}"] = asked(single, SURE)
        requests[f"one tool, budget {told}"] = asked(loop, REFUND)
        requests[f"one call after {TURNS} turns, budget {told}"] = talked(single)
        stored = create_tiered_agent(tiers, budget=budget, checkpointer=InMemorySaver())
        requests[f"one call in a thread of {PAID} paid calls, budget {told}"] = await in_thread(stored)
    ms = await taken({name: timed(request, process_time) for name, request in requests.items()}, rounds, 20)
    kinds = [name.partition(",")[0] for name in requests if name.endswith("off")]
    return [
        *(Row(name, f"{median(ms[name]):.2f} ms CPU") for kind in kinds for name in ms if name.startswith(f"{kind},")),
        *(ratio(f"{kind}: on / off", ms[f"{kind}, budget on"], ms[f"{kind}, budget off"], 1.05) for kind in kinds),
    ]


def main() -> None:
    """Measure, show, and write down."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="rougher, writes nothing")
    quick = parser.parse_args().quick
    os.environ |= {"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false", "NO_PROXY": "127.0.0.1"}
    with server() as url:
        rows = asyncio.run(measured(url, 10 if quick else 40))
    show("Budget", rows)
    if not quick:
        write("budget", "Budget", rows)


if __name__ == "__main__":
    main()
