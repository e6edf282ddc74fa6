"""Measure what checks cost, and how long a user waits: speculation and the first token, against 200 ms of latency.

```shell
python benchmarks/cascade.py          # a minute and a half; writes results/cascade.md
python benchmarks/cascade.py --quick  # rougher, writes nothing
```

All cases take turns in short rounds of one process, and a ratio is the median of the rounds' own ratios. Checks are
measured in CPU time without latency, waiting in wall time with it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
from collections import defaultdict
from statistics import fmean, median
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

from _server import server
from _table import Row, ratio, show, write
from langchain_openai import ChatOpenAI
from overhead import LABELS, MODELS, REFUND, TICKET, refund, tiers_of

from langchain_tiered import Policy, TierRouter, create_tiered_agent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    Request = Callable[[], Awaitable[float]]

LATENCY_S = 0.2
UNSURE = "What about the thing from the other day?"
"""A request that no rule speaks of, so that the classifier is asked."""

SURE = LABELS + TICKET
"""A request that a rule sends to the first tier."""


def models_of(url: str) -> dict[str, ChatOpenAI]:
    """Return a client for each tier."""
    return {tier: ChatOpenAI(model=name, base_url=url, api_key="none", max_retries=0) for tier, name in MODELS.items()}


async def taken(requests: Mapping[str, Request], rounds: int, each: int) -> dict[str, list[float]]:
    """Return how long a request of each case took, in milliseconds, round by round."""
    ms: dict[str, list[float]] = defaultdict(list)
    names = list(requests)
    for number in range(rounds + 1):
        gc.collect()
        for name in names[number % len(names) :] + names[: number % len(names)]:
            seconds = [await requests[name]() for _ in range(each)]
            if number:  # the first round warms up
                ms[name].append(1e3 * fmean(seconds))
    return ms


def timed(request: Callable[[], Awaitable[Any]], clock: Callable[[], float]) -> Request:
    """Return a request that tells how long it took."""

    async def measured() -> float:
        before = clock()
        await request()
        return clock() - before

    return measured


def asked(graph: Any, text: str) -> Callable[[], Awaitable[Any]]:
    """Return a request to a graph."""

    async def request() -> Any:
        return await graph.ainvoke({"messages": [("user", text)]})

    return request


async def checks(url: str, rounds: int) -> list[Row]:
    """Measure the built-in checks beside none, with and without tools."""
    tiers = tiers_of(models_of(url))
    requests = {
        "unchecked": asked(create_tiered_agent(tiers, checks=()), SURE),
        "checked": asked(create_tiered_agent(tiers), SURE),
        "unchecked, tool": asked(create_tiered_agent(tiers, tools=[refund], checks=()), REFUND),
        "checked, tool": asked(create_tiered_agent(tiers, tools=[refund]), REFUND),
    }
    for name, request in requests.items():
        assert len((await request())["ledger"]) == 1 + ("tool" in name), name
    ms = await taken({name: timed(request, process_time) for name, request in requests.items()}, rounds, 20)
    rows = [Row(f"{name}: built-in checks", f"{median(ms[name]):.2f} ms CPU") for name in requests]
    return [
        *rows,
        ratio("checked / unchecked", ms["checked"], ms["unchecked"], 1.1),
        ratio("checked / unchecked, one tool", ms["checked, tool"], ms["unchecked, tool"], 1.1),
    ]


async def waiting(url: str, rounds: int) -> list[Row]:
    """Measure a request whose classifier and answer are asked at once, beside one round trip."""
    models = models_of(url)
    routers = {
        speculate: TierRouter(tiers_of(models), policy=Policy(speculate=speculate)) for speculate in (False, True)
    }
    requests = {
        "one round trip": lambda: models["nano"].ainvoke(UNSURE),
        "classify, then answer": asked(create_tiered_agent(router=routers[False]), UNSURE),
        "speculate": asked(create_tiered_agent(router=routers[True]), UNSURE),
    }
    for name in ("classify, then answer", "speculate"):
        result = await requests[name]()
        assert result["route"].items() >= {"tier": "nano", "decided_by": "classifier"}.items(), result["route"]
        assert sorted(entry["role"] for entry in result["ledger"]) == ["answer", "classify"], result["ledger"]
    ms = await taken({name: timed(request, perf_counter) for name, request in requests.items()}, rounds, 3)
    rows = [
        Row(f"nano request, {1e3 * LATENCY_S:.0f} ms of latency: {name}", f"{median(ms[name]):.0f} ms") for name in ms
    ]
    return [*rows, ratio("speculate / one round trip", ms["speculate"], ms["one round trip"], 1.15)]


async def until_first(chunks: AsyncIterator[Any]) -> float:
    """Return how long the first word took; the rest is read, so that the connection stays open."""
    before, first = perf_counter(), None
    async for chunk in chunks:
        if first is None and chunk.text:
            first = perf_counter() - before
    assert first is not None
    return first


async def first_tokens(url: str, rounds: int) -> list[Row]:
    """Measure how long it takes until the first word, of the bare model and of an agent whose tier is not held."""
    models = models_of(url)
    agent = create_tiered_agent(tiers_of(models))

    async def bare() -> float:
        return await until_first(models["nano"].astream(SURE))

    async def ours() -> float:
        parts = agent.astream({"messages": [("user", SURE)]}, stream_mode="messages")
        return await until_first(chunk async for chunk, _ in parts)

    ms = await taken({"bare": bare, "ours": ours}, rounds, 3)
    rows = [
        Row("first token, the model alone", f"{median(ms['bare']):.0f} ms"),
        Row("first token, through the agent", f"{median(ms['ours']):.0f} ms"),
    ]
    return [*rows, ratio("first token, agent / model", ms["ours"], ms["bare"], 1.1)]


async def measured(url: str, far: str, rounds: int, slow_rounds: int) -> list[Row]:
    """Measure everything on one event loop, whose connections stay open."""
    return [*await checks(url, rounds), *await waiting(far, slow_rounds), *await first_tokens(far, slow_rounds)]


def main() -> None:
    """Measure, show, and write down."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="rougher, writes nothing")
    quick = parser.parse_args().quick
    os.environ |= {"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false", "NO_PROXY": "127.0.0.1"}
    with server() as url, server(LATENCY_S) as far:
        rows = asyncio.run(measured(url, far, *((8, 4) if quick else (30, 15))))
    show("Cascade", rows)
    if not quick:
        write("cascade", "Cascade", rows)


if __name__ == "__main__":
    main()
