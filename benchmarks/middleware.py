"""Measure what each middleware costs beside an empty one with the same hooks and channels, in `create_agent`.

```shell
python benchmarks/middleware.py          # about a minute and a half on two cores; writes results/middleware.md
python benchmarks/middleware.py --quick  # twenty seconds, rougher, writes nothing
```

The agent answers with two model calls and a tool between them, over a real client and a server without latency. Ours
and the empty one take turns in short rounds, in one process; a ratio is the median of the rounds' own ratios of CPU
time.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
from collections import defaultdict
from statistics import median
from time import process_time
from typing import TYPE_CHECKING, Any

from _server import server
from _table import Row, ratio, show, write
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI

from langchain_tiered import BudgetMiddleware, EscalationMiddleware, ReviewMiddleware, Tier, TierRouterMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MODELS = {"nano": "gpt-5.4-nano", "mini": "gpt-5.4-mini", "flagship": "gpt-5.4"}
QUESTION = "Classify this ticket. Labels: bug, praise, other.\n\nThe app closes by itself as soon as I open the camera."
NODES = ("before_agent", "before_model", "after_model", "after_agent")
GOAL = 1.05


def refund(order: int) -> str:
    """Refund an order."""
    return f"Order {order} refunded."


def delete(order: int) -> str:
    """Delete an order. It is never called, so that nobody is asked to review it."""
    return f"Order {order} deleted."


def emptied(middleware: AgentMiddleware[Any, Any, Any]) -> AgentMiddleware[Any, Any, Any]:
    """Return a middleware with the hooks and the channels of another one, which does nothing."""

    def node(self: Any, state: Any, runtime: Any) -> None:
        """Do nothing."""

    async def anode(self: Any, state: Any, runtime: Any) -> None:
        """Do nothing."""

    def wrap(_: Any, request: Any, handler: Callable[[Any], Any]) -> Any:
        return handler(request)

    async def awrap(_: Any, request: Any, handler: Callable[[Any], Any]) -> Any:
        return await handler(request)

    plain = {**dict.fromkeys(NODES, node), "wrap_model_call": wrap, "wrap_tool_call": wrap}
    plain |= {**{f"a{name}": anode for name in NODES}, "awrap_model_call": awrap, "awrap_tool_call": awrap}
    kind = type(middleware)
    own = {name: do for name, do in plain.items() if getattr(kind, name) is not getattr(AgentMiddleware, name)}
    return type(f"Empty{kind.__name__}", (AgentMiddleware,), {**own, "state_schema": middleware.state_schema})()


async def measured(
    model: ChatOpenAI, ours: Sequence[AgentMiddleware[Any, Any, Any]], rounds: int, requests: int
) -> list[Row]:
    """Measure all of them, round by round."""
    agents = {
        type(each).__name__: [create_agent(model, [refund, delete], middleware=[it]) for it in (each, emptied(each))]
        for each in ours
    }
    cpu_ms: dict[tuple[str, str], list[float]] = defaultdict(list)
    for number in range(rounds + 1):
        for name, (full, bare) in agents.items():
            kinds = [("ours", full), ("empty", bare)]
            for kind, agent in kinds if number % 2 else kinds[::-1]:
                gc.collect()
                before = process_time()
                for _ in range(requests):
                    await agent.ainvoke({"messages": [HumanMessage(QUESTION)]})
                if number:  # the first round warms up
                    cpu_ms[kind, name].append(1e3 * (process_time() - before) / requests)
    rows = []
    for name in agents:
        mine, empty = cpu_ms["ours", name], cpu_ms["empty", name]
        rows.append(Row(f"`{name}`", f"{median(mine):.2f} ms CPU, an empty one {median(empty):.2f} ms"))
        rows.append(ratio(f"`{name}` / an empty one", mine, empty, GOAL))
    return rows


async def everything(url: str, rounds: int, requests: int) -> list[Row]:
    """Measure on one event loop, whose connections stay open."""
    clients = {
        tier: ChatOpenAI(model=name, base_url=url, api_key="none", max_retries=0) for tier, name in MODELS.items()
    }
    tiers = [Tier(name, model, criteria=name) for name, model in clients.items()]
    ours = [
        TierRouterMiddleware(tiers),
        EscalationMiddleware(tiers),
        BudgetMiddleware(run_limit_usd=1.0),
        ReviewMiddleware(clients["flagship"], risky_tools=["delete"], on_doubt="reject"),
    ]
    return await measured(clients["nano"], ours, rounds, requests)


def main() -> None:
    """Measure, show, and write down."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="twenty seconds, rougher, writes nothing")
    quick = parser.parse_args().quick
    os.environ |= {"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false", "NO_PROXY": "127.0.0.1"}
    with server() as url:
        rows = asyncio.run(everything(url, *((7, 10) if quick else (24, 20))))
    show("The middleware", rows)
    if not quick:
        write("middleware", "The middleware", rows)


if __name__ == "__main__":
    main()
