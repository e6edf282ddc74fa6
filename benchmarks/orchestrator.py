"""Measure the orchestrator: waiting against the longest chain, own overhead against a bare `Send` fan-out, memory.

```shell
python benchmarks/orchestrator.py          # about two minutes on two cores; writes results/orchestrator.md
python benchmarks/orchestrator.py --quick  # rougher, writes nothing
```
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import operator
import tracemalloc
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Annotated, Any

from _table import Row, ratio, row, show, write
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send
from typing_extensions import TypedDict

from langchain_tiered import Tier, create_orchestrator
from langchain_tiered.testing import ScriptedChatModel

if TYPE_CHECKING:
    from collections.abc import Callable

LATENCY_S = 0.2
INDEPENDENT = 10


class SlowModel(ScriptedChatModel):
    """Answers after a while, as a server with latency does, without holding the event loop up."""

    latency_s: float = LATENCY_S

    async def _agenerate(self, messages: Any, *_: Any, **__: Any) -> Any:
        await asyncio.sleep(self.latency_s)
        return self._generate(messages)


def planned(count: int) -> str:
    """Return a plan of independent tasks, as a planner writes it."""
    tasks = [
        {"id": f"t{n}", "instruction": f"Label part {n}. Labels: good, bad.", "depends_on": [], "kind": "classify"}
        for n in range(count)
    ]
    return json.dumps({"mode": "plan", "answer": "", "tasks": tasks})


REVIEWED = json.dumps({"verdict": "satisfied", "reason": "", "revisions": [], "answer": "Done."})


def flagship(count: int) -> Any:
    """Return what plans and reviews."""

    def said(messages: Any) -> str:
        return planned(count) if messages[0].text.startswith("You plan") else REVIEWED

    return said


def tiers(count: int, latency_s: float) -> list[Tier]:
    """Return three tiers that take their time."""
    models = {"nano": "good", "mini": "good", "flagship": flagship(count)}
    return [
        Tier(name, SlowModel(script=script, model_name=f"gpt-5.4-{name}", latency_s=latency_s), criteria=name)
        for name, script in models.items()
    ]


def waited_s(max_parallel: int) -> float:
    """Return how long a plan of independent tasks takes, in chains of plan, one task and review."""
    graph = create_orchestrator(tiers=tiers(INDEPENDENT, LATENCY_S), max_parallel=max_parallel)
    began = perf_counter()
    result = asyncio.run(graph.ainvoke({"messages": [("user", "Do all of it.")]}))
    assert len(result["results"]) == INDEPENDENT
    return (perf_counter() - began) / (3 * LATENCY_S)


class FanState(TypedDict, total=False):
    """The state of the bare fan-out."""

    task: Any
    results: Annotated[list[Any], operator.add]


def fan_out(count: int, worker: Callable[[Any], Any], *, checkpointer: Any) -> Any:
    """Build plan, `Send`, join by hand, without anything that is ours."""
    tasks = json.loads(planned(count))["tasks"]

    async def work(state: FanState) -> FanState:
        given = state["task"]
        return {"results": [{"id": given["id"], "output": await worker(given)}]}

    builder = StateGraph(FanState)
    builder.add_node("plan", lambda _: {})
    builder.add_node("work", work)
    builder.add_node("review", lambda _: {})
    builder.add_edge(START, "plan")
    builder.add_conditional_edges("plan", lambda _: [Send("work", {"task": each}) for each in tasks], ["work"])
    builder.add_edge("work", "review")
    builder.add_edge("review", END)
    return builder.compile(checkpointer=checkpointer)


def own(count: int, worker: Any, *, checkpointer: Any) -> Any:
    """Build the same with ours; planner and reviewer are functions."""
    plan, reviewed = json.loads(planned(count)), json.loads(REVIEWED)
    return create_orchestrator(
        lambda _: plan, worker, lambda _: reviewed, max_tasks=count, max_parallel=count, checkpointer=checkpointer
    )


async def _answers(given: Any) -> str:
    return str((await MODEL.ainvoke(str(given.get("instruction") or given["id"]))).text)


MODEL = ScriptedChatModel(script="good", model_name="gpt-5.4-nano")


def cpu_ms(graph: Any, given: Any, count: int, thread: list[int]) -> float:
    """Return the CPU time of one run, for each task."""
    thread[0] += 1
    gc.collect()
    began = process_time()
    asyncio.run(graph.ainvoke(given, {"configurable": {"thread_id": str(thread[0])}}))
    return (process_time() - began) * 1000 / count


def peak_mb(count: int, size: int) -> float:
    """Return the most memory that a run of `count` tasks with results of `size` characters takes beyond its start."""

    async def big(given: Any) -> str:
        return f"{given['id']}{'x' * size}"

    graph = own(count, big, checkpointer=None)
    given = {"messages": [("user", "Do all of it.")]}
    asyncio.run(graph.ainvoke(given))
    gc.collect()
    tracemalloc.start()
    asyncio.run(graph.ainvoke(given))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 1e6


def main() -> None:
    """Measure, and show the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    rounds, count = (4, 60) if quick else (15, 100)
    waited_s(8)  # imports
    rows = [
        row(
            "ten tasks, 200 ms each call, `max_parallel=8`: of plan + task + review",
            [waited_s(8) for _ in range(rounds)],
            1.5,
        ),
        row("the same with `max_parallel=10`", [waited_s(10) for _ in range(rounds)], 1.5),
    ]
    for name, saver in (("without a checkpointer", None), ("with `InMemorySaver`", InMemorySaver())):
        thread = [0]
        bare, ours = fan_out(count, _answers, checkpointer=saver), own(count, _answers, checkpointer=saver)
        given = {"messages": [("user", "Do all of it.")]}
        for graph, what in ((bare, {}), (ours, given)):
            cpu_ms(graph, what, count, thread)
        theirs_ms, ours_ms = [], []
        for _ in range(rounds):
            theirs_ms.append(cpu_ms(bare, {}, count, thread))
            ours_ms.append(cpu_ms(ours, given, count, thread))
        rows.append(
            ratio(f"CPU of {count} tasks, of a bare `Send` fan-out of the same workers, {name}", ours_ms, theirs_ms, 2)
        )
        per = sorted(ours_ms)[len(ours_ms) // 2]
        rows.append(
            Row(f"the same, for each task, {name}", f"{per:.2f} ms, bare {sorted(theirs_ms)[rounds // 2]:.2f} ms")
        )
    small, large = peak_mb(1000, 10), peak_mb(1000, 10_000)
    rows.append(Row("peak of 1,000 tasks with results of 10 characters", f"{small:.1f} MB"))
    rows.append(row("growth with results of 10,000 characters, of the results once", [(large - small) / 10.0] * 4, 2.5))
    show("Orchestrator", rows)
    if not quick:
        write("orchestrator", "Orchestrator", rows)


if __name__ == "__main__":
    main()
