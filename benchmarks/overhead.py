"""Measure what the tiered agent costs beside hand-written graphs, with real clients against a server without latency.

```shell
python benchmarks/overhead.py          # at most three minutes on two cores; writes results/overhead.md
python benchmarks/overhead.py --quick  # twenty seconds, rougher, writes nothing
```

CPU time of this process is what counts: the server runs in another one, and wall time swings with whatever else the
machine does. All cases take turns in short rounds, and a ratio is the median of the rounds' own ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from statistics import median, quantiles
from time import perf_counter, process_time
from timeit import timeit
from typing import TYPE_CHECKING, Any

from _server import TOOL_ARGUMENTS, server
from _table import Row, ratio, row, show, write
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import ToolMessage
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, MessagesState, StateGraph

from langchain_tiered import Tier, TierRouter, create_tiered_agent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from langchain.agents.middleware import ModelRequest, ModelResponse

    Request = Callable[[], Awaitable[Any]]

MODELS = {"nano": "gpt-5.4-nano", "mini": "gpt-5.4-mini", "flagship": "gpt-5.4"}
LABELS = "Classify this ticket. Labels: bug, praise, other.\n\n"
TICKET = "The app closes by itself as soon as I open the camera, and it has done so since the update on Tuesday. "
OPEN = "I have been wondering about the following for a while, and would like to hear more about it from you. "
REFUND = "Please refund order 1042, it came late."
CONCURRENT = 64
TOLD = {
    "model": "`ChatOpenAI.ainvoke` alone",
    "graph": "hand-written graph: rule, two workers",
    "graph, async edges": "the same with async edges",
    "checked graph": "hand-written graph with a check",
    "checked graph, async edges": "the same with async edges",
    "tiered": "tiered agent, without tools",
    "agent": "`create_agent`, one tool, routing middleware",
    "tiered with tool": "tiered agent, one tool",
}


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    rounds: int = 36
    """Rounds in which every agent takes its turn."""

    requests: int = 25
    """Requests of one agent in one round."""

    bursts: int = 12
    """Rounds of concurrent requests."""

    burst: int = 384
    """Requests in one of them."""

    imports: int = 9
    """Fresh processes."""


QUICK = Effort(rounds=9, requests=9, bursts=3, burst=160, imports=3)


class State(MessagesState):
    """What somebody writes who builds such a graph by hand."""

    tier: str
    """Which worker answers."""

    finished: bool
    """What the check says."""


async def rule(state: State) -> dict[str, Any]:
    """Choose the worker by a word."""
    return {"tier": "nano" if "labels:" in state["messages"][-1].text.lower() else "flagship"}


async def check(state: State) -> dict[str, Any]:
    """Look whether the answer was cut off."""
    return {"finished": state["messages"][-1].response_metadata.get("finish_reason") != "length"}


def worker(model: ChatOpenAI) -> Any:
    """Return the node that lets `model` answer."""

    async def answer(state: State) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    return answer


def to_worker(state: State) -> str:
    """Lead to the worker that the rule chose."""
    return state["tier"]


def to_end(state: State) -> str:
    """Lead to the bigger worker if the answer was cut off."""
    return END if state["finished"] else "flagship"


def awaited(edge: Callable[[State], str]) -> Callable[[State], Awaitable[str]]:
    """Return an edge as a coroutine function: under `ainvoke`, LangGraph sends a plain function to a thread."""

    async def awaitable(state: State) -> str:
        return edge(state)

    return awaitable


def written_by_hand(models: Mapping[str, ChatOpenAI], *, checked: bool, async_edges: bool) -> Any:
    """Compile the graph that the agent without tools is compared with.

    Most people write their edges as plain functions. Those who know better, and make them async, have a faster graph:
    the agent is held against both.
    """
    edge: Callable[[Any], Any] = awaited if async_edges else lambda plain: plain
    builder = StateGraph(State)
    builder.add_node("rule", rule)
    builder.add_node("nano", worker(models["nano"]))
    builder.add_node("flagship", worker(models["flagship"]))
    builder.add_edge(START, "rule")
    builder.add_conditional_edges("rule", edge(to_worker), ["nano", "flagship"])
    builder.add_edge("flagship", END)
    if checked:
        builder.add_node("check", check)
        builder.add_edge("nano", "check")
        builder.add_conditional_edges("check", edge(to_end), ["flagship", END])
    else:
        builder.add_edge("nano", END)
    return builder.compile()


class RoutedByHand(AgentMiddleware[Any, Any, Any]):
    """Picks the model by a rule, as somebody does who writes a middleware for it."""

    def __init__(self, models: Mapping[str, ChatOpenAI]) -> None:
        super().__init__()
        self.models = models

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Take the small model for refunds."""
        name = "mini" if "refund" in str(request.messages[0].content).lower() else "flagship"
        return await handler(request.override(model=self.models[name]))


async def refund(order: int) -> str:
    """Refund an order."""
    return f"Order {order} refunded."


def tiers_of(models: Mapping[str, ChatOpenAI]) -> list[Tier]:
    """Return three tiers, cheapest first."""
    return [Tier(name, model, criteria=name) for name, model in models.items()]


def agents(models: Mapping[str, ChatOpenAI]) -> dict[str, Request]:
    """Return a request to each of what is compared, by name."""
    question = LABELS + TICKET
    tiered = create_tiered_agent(tiers_of(models))
    loop = create_agent(models["flagship"], [refund], middleware=[RoutedByHand(models)])
    tiered_loop = create_tiered_agent(tiers_of(models), tools=[refund])
    return {
        "model": lambda: models["nano"].ainvoke(question),
        **{
            f"{'checked ' * checked}graph{', async edges' * awaits}": partial(
                _asked, written_by_hand(models, checked=checked, async_edges=awaits), question
            )
            for checked in (False, True)
            for awaits in (False, True)
        },
        "tiered": partial(_asked, tiered, question),
        "agent": partial(_asked, loop, REFUND),
        "tiered with tool": partial(_asked, tiered_loop, REFUND),
    }


async def _asked(graph: Any, text: str) -> Any:
    return await graph.ainvoke({"messages": [("user", text)]})


async def proven(requests: Mapping[str, Request]) -> None:
    """Prove that every agent does the work that its time is taken for, no more and no less."""
    for name in (name for name in requests if "graph" in name):
        assert (await requests[name]())["tier"] == "nano", name
    for name, tier, calls in (("tiered", "nano", 1), ("tiered with tool", "mini", 2)):
        result = await requests[name]()
        assert result["route"].items() >= {"tier": tier, "decided_by": "rules"}.items(), result["route"]
        assert len(result["ledger"]) == calls, result["ledger"]
        assert all(entry["cost_usd"] for entry in result["ledger"]), result["ledger"]
    for name in ("agent", "tiered with tool"):
        told = [message.text for message in (await requests[name]())["messages"] if isinstance(message, ToolMessage)]
        assert told == [f"Order {TOOL_ARGUMENTS['order']} refunded."], told


async def one_by_one(requests: Mapping[str, Request], effort: Effort) -> list[Row]:
    """Measure one request after the other."""
    cpu_ms: dict[str, list[float]] = defaultdict(list)
    wall_ms: dict[str, list[float]] = defaultdict(list)
    names = list(requests)
    for number in range(effort.rounds + 1):
        gc.collect()
        for name in names[number % len(names) :] + names[: number % len(names)]:
            before, walls = process_time(), [await _timed(requests[name]) for _ in range(effort.requests)]
            if number:  # the first round warms up
                cpu_ms[name].append(1e3 * (process_time() - before) / effort.requests)
                wall_ms[name] += walls
    p10_ms = {name: quantiles(walls, n=10)[0] for name, walls in wall_ms.items()}
    rows = [Row(TOLD[name], f"{median(cpu_ms[name]):.2f} ms CPU, {p10_ms[name]:.2f} ms wall (p10)") for name in names]
    goals = {name: 1.15 if "checked" in name else 1.3 for name in names if "graph" in name}
    ours = cpu_ms["tiered"]
    ratios = [ratio(f"tiered agent / hand-written {name}", ours, cpu_ms[name], goal) for name, goal in goals.items()]
    loops = ratio("tiered agent, one tool / `create_agent`", cpu_ms["tiered with tool"], cpu_ms["agent"], 1.6)
    return [*rows, *ratios, loops]


async def _timed(request: Request) -> float:
    before = perf_counter()
    await request()
    return 1e3 * (perf_counter() - before)


async def concurrent(requests: Mapping[str, Request], effort: Effort) -> list[Row]:
    """Measure requests per second with many under way."""
    per_s: dict[str, list[float]] = defaultdict(list)
    names = ["graph", "graph, async edges", "tiered"]
    for number in range(effort.bursts + 1):
        for name in names[number % 3 :] + names[: number % 3]:
            gc.collect()
            before, left = perf_counter(), iter(range(effort.burst))
            await asyncio.gather(*(_drain(left, requests[name]) for _ in range(CONCURRENT)))
            if number:  # the first burst opens the connections
                per_s[name].append(effort.burst / (perf_counter() - before))
    told = {name: "tiered agent" if name == "tiered" else f"hand-written {name}" for name in names}
    rows = [Row(f"{told[name]}: {CONCURRENT} at a time", f"{median(per_s[name]):.0f} requests/s") for name in names]
    for name in names[:2]:
        measure = f"requests/s, tiered agent / {told[name]}"
        rows.append(ratio(measure, per_s["tiered"], per_s[name], 0.85, least=True))
    return rows


async def _drain(left: Iterable[int], request: Request) -> None:
    for _ in left:
        await request()


def routing(models: Mapping[str, ChatOpenAI], effort: Effort) -> list[Row]:
    """Measure the router alone, where rules decide and where they are unsure and nobody else is asked."""
    asked: list[str] = []

    def classifier(_: Any) -> str:
        asked.append("a rule was to decide")
        return "nano"

    sure = TierRouter(tiers_of(models), classifier=classifier)
    unsure = TierRouter(tiers_of(models), classifier=None)
    rows = []
    for size, chars in (("1,000 tokens", 4_000), ("100 words", 550)):
        for router, start, how in ((sure, LABELS + TICKET, "rules decide"), (unsure, OPEN, "rules are unsure")):
            text = "".join([start, *repeat(OPEN, chars // len(OPEN))])[:chars]
            assert (router.invoke(text)["decided_by"] == "rules") == (router is sure), text
            each_ms = [_decision_ms(router, text) for _ in range(5 * effort.rounds)]
            rows.append(row(f"`TierRouter.invoke`, {size}, {how}", each_ms, 0.3, unit=" ms"))
    assert not asked, asked
    return rows


def _decision_ms(router: TierRouter, text: str) -> float:
    return 1e3 * timeit(partial(router.invoke, text), timer=process_time, number=20) / 20


IMPORTS = """
import sys
from time import perf_counter
start = perf_counter()
import langchain.agents
between = perf_counter()
import langchain_tiered
end = perf_counter()
early = {"langchain_openai", "openai", "genai_prices"} & sys.modules.keys()
assert not early, early
print(between - start, end - between)
"""


COMPILED = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
"""An installed package is compiled; so is this one, from the second process on."""


def importing(effort: Effort) -> list[Row]:
    """Measure the import in fresh processes that have imported `langchain.agents` already."""
    seconds = []
    for number in range(effort.imports + 1):
        said = subprocess.run(  # noqa: S603  (the script above)
            [sys.executable, "-c", IMPORTS], check=True, capture_output=True, text=True, env=COMPILED
        )
        if number:  # the first one may compile
            seconds.append([float(word) for word in said.stdout.split()])
    theirs, ours = zip(*seconds, strict=True)
    return [
        Row("`import langchain.agents`", f"{median(theirs):.2f} s"),
        row("`import langchain_tiered` after it; no provider, no prices", ours, 0.1, unit=" s"),
    ]


async def measured(url: str, effort: Effort) -> list[Row]:
    """Measure everything that needs the server, on one event loop, whose connections stay open."""
    models = {
        tier: ChatOpenAI(model=name, base_url=url, api_key="none", max_retries=0) for tier, name in MODELS.items()
    }
    requests = agents(models)
    await proven(requests)
    return [*await one_by_one(requests, effort), *await concurrent(requests, effort), *routing(models, effort)]


def main() -> None:
    """Measure, show, and write down."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="twenty seconds, rougher, writes nothing")
    effort = QUICK if parser.parse_args().quick else Effort()
    os.environ |= {"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false", "NO_PROXY": "127.0.0.1"}
    with server() as url:
        rows = asyncio.run(measured(url, effort))
    rows += importing(effort)
    show("Overhead", rows)
    if effort is not QUICK:
        write("overhead", "Overhead", rows)


if __name__ == "__main__":
    main()
