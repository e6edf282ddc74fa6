"""Measure what `TieredChatModel` costs beside `ChatOpenAI`, with real clients against a server without latency.

```shell
python benchmarks/chat_model.py          # about two minutes on two cores; writes results/chat_model.md
python benchmarks/chat_model.py --quick  # twenty seconds, rougher, writes nothing
```

The rules decide each route, and the default checks look at each answer. Both models take turns in short rounds over one
server, in one process; a ratio is the median of the rounds' own ratios. CPU time is this process's: the server runs in
another one.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
from collections import defaultdict
from dataclasses import dataclass
from statistics import median, quantiles
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

from _server import server
from _table import Row, ratio, show, write
from langchain_openai import ChatOpenAI

from langchain_tiered import Tier, TieredChatModel

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MODELS = {"nano": "gpt-5.4-nano", "mini": "gpt-5.4-mini", "flagship": "gpt-5.4"}
QUESTION = "Classify this ticket. Labels: bug, praise, other.\n\nThe app closes by itself as soon as I open the camera."
ORDER = "Please refund order 1042, it came late."
CONCURRENT = 64
TOLD = {"openai": "`ChatOpenAI`", "tiered": "`TieredChatModel`"}


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    rounds: int = 40
    """Rounds in which both take their turn."""

    requests: int = 25
    """Requests of one model in one round."""

    bursts: int = 12
    """Rounds of concurrent requests."""

    burst: int = 384
    """Requests in one of them."""


QUICK = Effort(rounds=9, requests=15, bursts=3, burst=160)


def refund(order: int) -> str:
    """Refund an order."""
    return f"Order {order} refunded."


async def proven(models: Mapping[str, Any]) -> None:
    """Prove that the tiered model does what its time is taken for."""
    message = await models["tiered"].ainvoke(QUESTION)
    told = message.response_metadata
    assert told["route"].items() >= {"tier": "nano", "decided_by": "rules"}.items(), told["route"]
    assert [entry["outcome"] for entry in told["ledger"]] == ["accepted"], told["ledger"]
    assert told["ledger"][0]["cost_usd"], told["ledger"]


async def measured(models: Mapping[str, Any], effort: Effort, wanted: str, text: str) -> list[Row]:
    """Measure one request after the other: CPU time, and wall time at the tenth percentile, round by round."""
    cpu_ms: dict[str, list[float]] = defaultdict(list)
    p10_ms: dict[str, list[float]] = defaultdict(list)
    names = list(models)
    for number in range(effort.rounds + 1):
        gc.collect()
        for name in names[number % 2 :] + names[: number % 2]:
            before, walls = process_time(), [await _timed(models[name], text) for _ in range(effort.requests)]
            if number:  # the first round warms up
                cpu_ms[name].append(1e3 * (process_time() - before) / effort.requests)
                p10_ms[name].append(quantiles(walls, n=10)[0])
    rows = [
        Row(f"{TOLD[name]}, {wanted}", f"{median(cpu_ms[name]):.2f} ms CPU, {median(p10_ms[name]):.2f} ms wall (p10)")
        for name in names
    ]
    return [
        *rows,
        ratio(f"CPU time, {wanted}: tiered / `ChatOpenAI`", cpu_ms["tiered"], cpu_ms["openai"], 1.1),
        ratio(f"p10, {wanted}: tiered / `ChatOpenAI`", p10_ms["tiered"], p10_ms["openai"], 1.1),
    ]


async def _timed(model: Any, text: str) -> float:
    before = perf_counter()
    await model.ainvoke(text)
    return 1e3 * (perf_counter() - before)


async def concurrent(models: Mapping[str, Any], effort: Effort) -> list[Row]:
    """Measure requests per second with many under way."""
    per_s: dict[str, list[float]] = defaultdict(list)
    names = list(models)
    for number in range(effort.bursts + 1):
        for name in names[number % 2 :] + names[: number % 2]:
            gc.collect()
            before, left = perf_counter(), iter(range(effort.burst))
            await asyncio.gather(*(_drain(left, models[name]) for _ in range(CONCURRENT)))
            if number:  # the first burst opens the connections
                per_s[name].append(effort.burst / (perf_counter() - before))
    rows = [Row(f"{TOLD[name]}: {CONCURRENT} at a time", f"{median(per_s[name]):.0f} requests/s") for name in names]
    measure = "requests/s: tiered / `ChatOpenAI`"
    return [*rows, ratio(measure, per_s["tiered"], per_s["openai"], 0.95, least=True)]


async def _drain(left: Iterable[int], model: Any) -> None:
    for _ in left:
        await model.ainvoke(QUESTION)


async def first_tokens(models: Mapping[str, Any], effort: Effort) -> list[Row]:
    """Measure the time to the first word of a stream."""
    first_ms: dict[str, list[float]] = defaultdict(list)
    names = list(models)
    for number in range(effort.rounds + 1):
        gc.collect()
        for name in names[number % 2 :] + names[: number % 2]:
            walls = [await _first(models[name]) for _ in range(effort.requests)]
            if number:
                first_ms[name].append(median(walls))
    rows = [Row(f"{TOLD[name]}, first token", f"{median(first_ms[name]):.2f} ms wall (median)") for name in names]
    return [*rows, ratio("first token: tiered / `ChatOpenAI`", first_ms["tiered"], first_ms["openai"], 1.1)]


async def _first(model: Any) -> float:
    before, found = perf_counter(), 0.0
    async for part in model.astream(QUESTION):
        if part.text and not found:
            found = 1e3 * (perf_counter() - before)
    assert found
    return found


async def everything(url: str, effort: Effort) -> list[Row]:
    """Measure all on one event loop, whose connections stay open."""
    clients = {
        tier: ChatOpenAI(model=name, base_url=url, api_key="none", max_retries=0) for tier, name in MODELS.items()
    }
    tiered = TieredChatModel([Tier(name, model, criteria=name) for name, model in clients.items()])
    models: dict[str, Any] = {"openai": clients["nano"], "tiered": tiered}
    await proven(models)
    tools = {"openai": clients["mini"].bind_tools([refund]), "tiered": tiered.bind_tools([refund])}
    return [
        *await measured(models, effort, "`ainvoke`", QUESTION),
        *await measured(tools, effort, "`ainvoke` with a tool", ORDER),
        *await concurrent(models, effort),
        *await first_tokens(models, effort),
    ]


def main() -> None:
    """Measure, show, and write down."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="twenty seconds, rougher, writes nothing")
    effort = QUICK if parser.parse_args().quick else Effort()
    os.environ |= {"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false", "NO_PROXY": "127.0.0.1"}
    with server() as url:
        rows = asyncio.run(everything(url, effort))
    show("The chat model", rows)
    if effort is not QUICK:
        write("chat_model", "The chat model", rows)


if __name__ == "__main__":
    main()
