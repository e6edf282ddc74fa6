"""Code of ours never blocks the event loop for more than 20 ms: under load, with long input, at first use.

`heartbeat.py` says how ours is told from others'. The machine may be busy: each case is tried again, and the least
counts. First use is measured in fresh processes, each of which uses it once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from fakes import LABEL, ask, say, tiers
from load.crowd import WORKERS, Gate, agent_of, crowd, turn_of_all
from load.heartbeat import Watch, watched

from langchain_tiered import Budget, create_tiered_agent
from langchain_tiered.nodes import classifying
from langchain_tiered.routing.facts import facts_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MOST_S = 0.020
TRIES = 3
CROWD = 120


async def least_blocked(case: Callable[[], Awaitable[Any]]) -> Watch:
    """Return what was seen in the quietest of several tries; one that is quiet enough ends them."""
    seen: list[Watch] = []
    for _ in range(TRIES):
        with watched() as watch:
            await case()
        assert watch.callbacks
        seen.append(watch)
        if watch.slowest_s <= MOST_S:
            break
    return min(seen, key=lambda watch: watch.slowest_s)


def sleeping() -> None:
    time.sleep(0.05)


def computing() -> None:
    began = time.perf_counter()
    while time.perf_counter() - began < 0.05:
        sum(range(300_000))  # some milliseconds in which no other thread can look


@pytest.mark.parametrize("block", [sleeping, computing])
async def test_the_watch_sees_a_plain_function_that_ours_calls_on_the_loop(
    block: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*given: Any, **more: Any) -> Any:
        block()
        return facts_of(*given, **more)

    monkeypatch.setattr(classifying, "facts_of", slow)
    agent = create_tiered_agent(tiers(nano=say("bug"), mini=say("x")))
    with watched() as watch:
        await agent.ainvoke(ask(LABEL))
    assert watch.slowest_s >= 0.045
    assert any("classifying.py" in frame for frame in watch.where)


async def test_the_watch_leaves_out_what_others_do_in_the_same_callback() -> None:
    def slow_model(messages: Any) -> Any:
        time.sleep(0.05)
        return say("bug")(messages)

    agent = create_tiered_agent(tiers(nano=slow_model, mini=say("x")))
    watch = await least_blocked(lambda: agent.ainvoke(ask(LABEL)))
    assert watch.slowest_s <= MOST_S, watch


@pytest.mark.parametrize("body", ["create_tiered_agent", "create_agent"])
async def test_many_conversations_at_once_do_not_block_the_loop(body: str) -> None:
    gates: list[Gate] = []
    agent, talks = agent_of(body, gates), crowd(CROWD)

    async def at_once() -> None:
        gates.append(Gate(1))
        with ThreadPoolExecutor(WORKERS) as pool:
            await turn_of_all(agent, talks, gates, pool)

    watch = await least_blocked(at_once)
    assert watch.slowest_s <= MOST_S, watch


async def test_a_long_conversation_does_not_block_the_loop() -> None:
    said = [("user", f"{LABEL} {'The app crashes at start. ' * 40}"), ("assistant", "bug " * 200)] * 100
    agent = create_tiered_agent(tiers(nano=say("bug"), mini=say("x")), budget=Budget(run_limit_usd=100))
    watch = await least_blocked(lambda: agent.ainvoke({"messages": [*said, ("user", LABEL)]}))
    assert watch.slowest_s <= MOST_S, watch


FIRST_USE = """
import asyncio, json, sys
sys.path[:0] = json.loads(sys.argv[1])
from load.first_use import CASES
from load.heartbeat import watched

async def main():
    case = CASES[sys.argv[2]]()
    await asyncio.sleep(0)
    with watched() as watch:
        await case()
    print(json.dumps([watch.slowest_s, watch.where]))

asyncio.run(main())
"""


@pytest.mark.parametrize("name", ["model by name", "prices", "prices of tiers", "JSON schema of a tool"])
def test_first_use_does_not_block_the_loop(name: str) -> None:
    seen = []
    for _ in range(TRIES):
        command = [sys.executable, "-W", "ignore", "-c", FIRST_USE, json.dumps(sys.path), name]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **KEYLESS})
        seen.append(json.loads(done.stdout.splitlines()[-1]))
        if seen[-1][0] <= MOST_S:
            break
    assert min(seen)[0] <= MOST_S, min(seen)


KEYLESS = {"OPENAI_API_KEY": "none", "OPENAI_BASE_URL": "http://127.0.0.1:9", "LANGSMITH_TRACING": "false"}
