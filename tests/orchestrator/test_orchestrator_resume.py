"""A run that was broken off, or waits for a human, goes on where it was: what is done is not paid again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.messages.tool import tool_call
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt
from orchestrator.team import MODES, THREAD, Team, ask, outcomes, outputs, plan, review, run, sends_back, task

from langchain_tiered import create_orchestrator
from langchain_tiered.testing import ScriptedChatModel

both = pytest.mark.parametrize("mode", MODES)


class Crash(BaseException):
    """Ends a run where it is, as no handler of exceptions can hold it up."""


def test_a_crash_in_one_task_pays_no_other_one_again() -> None:
    calls: list[str] = []
    broken = [True]

    def work(given: Any) -> str:
        calls.append(given["id"])
        if given["id"] == "c" and broken.pop():
            raise Crash
        return f"{given['id']} after {sorted(given['results'])}"

    broken.insert(0, False)
    team = Team(plan(task("a"), task("b"), task("c", "a", "b"), task("d", "c")), review())
    graph = create_orchestrator(tiers=team.tiers, worker=work, checkpointer=InMemorySaver())
    with pytest.raises(Crash):
        graph.invoke(ask(), THREAD, durability="sync")
    assert sorted(calls) == ["a", "b", "c"]
    result = graph.invoke(None, THREAD, durability="sync")
    assert sorted(calls) == ["a", "b", "c", "c", "d"]
    assert outputs(result)["d"] == "d after ['c']"
    assert team.flagship.calls == 2


async def test_a_run_that_was_cancelled_goes_on_behind_the_tasks_that_are_done() -> None:
    calls: list[str] = []
    hangs, followed = asyncio.Event(), asyncio.Event()

    async def work(given: Any) -> str:
        calls.append(given["id"])
        if given["id"] == "next":
            followed.set()
        if given["id"] == "slow" and calls.count("slow") == 1:
            hangs.set()
            await asyncio.sleep(60)
        return "done"

    team = Team(plan(task("fast"), task("next", "fast"), task("slow")), review())
    graph = create_orchestrator(tiers=team.tiers, worker=work, checkpointer=InMemorySaver())
    running = asyncio.create_task(graph.ainvoke(ask(), THREAD))
    await hangs.wait()
    await followed.wait()
    await asyncio.sleep(0.1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    result = await graph.ainvoke(None, THREAD)
    assert sorted(calls) == ["fast", "next", "slow", "slow"]
    assert set(outcomes(result).values()) == {"done"}


@both
def test_an_interrupt_in_a_worker_surfaces_while_the_others_end_and_is_answered(mode: str) -> None:
    calls: list[str] = []

    def work(given: Any) -> str:
        calls.append(given["id"])
        return f"human said {interrupt({'may I': 'refund'})}" if given["id"] == "ask" else f"{given['id']} is done"

    team = Team(plan(task("ask"), task("other"), task("next", "other"), task("last", "ask")), review())
    graph = create_orchestrator(tiers=team.tiers, worker=work, checkpointer=InMemorySaver())
    paused = run(graph, ask(), mode, THREAD)
    assert [each.value for each in paused["__interrupt__"]] == [{"may I": "refund"}]
    assert [each.value for each in graph.get_state(THREAD).interrupts] == [{"may I": "refund"}]
    assert sorted(calls) == ["ask", "next", "other"]
    result = run(graph, Command(resume="yes"), mode, THREAD)
    assert outputs(result)["ask"] == "human said yes"
    assert sorted(calls) == ["ask", "ask", "last", "next", "other"]
    assert (result["verdict"], list(outputs(result))) == ("satisfied", ["ask", "other", "next", "last"])


@both
def test_two_interrupts_at_once_are_answered_each_by_its_id(mode: str) -> None:
    team = Team(plan(task("a"), task("b"), task("c")), review())
    work: Any = lambda given: interrupt(given["id"]) if given["id"] != "c" else "done"  # noqa: E731  (one line says it)
    graph = create_orchestrator(tiers=team.tiers, worker=work, checkpointer=InMemorySaver())
    paused = run(graph, ask(), mode, THREAD)["__interrupt__"]
    answers = {each.id: f"{each.value}!" for each in paused}
    result = run(graph, Command(resume=answers), mode, THREAD)
    assert outputs(result) == {"a": "a!", "b": "b!", "c": "done"}


def asking_agent(ran: list[str]) -> Any:
    @tool
    def refund(order: int) -> str:
        """Refund an order."""
        said = interrupt({"refund": order})
        ran.append(said)
        return f"Refunded {order}: {said}."

    def script(messages: Any) -> AIMessage:
        if isinstance(messages[-1], ToolMessage):
            return AIMessage(messages[-1].text)
        return AIMessage("", tool_calls=[tool_call(name="refund", args={"order": 1042}, id="call_1")])

    return create_agent(ScriptedChatModel(script=script, model_name="gpt-5.4-mini"), [refund])


@both
def test_an_agent_that_waits_for_a_human_goes_on_with_its_own_graph(mode: str) -> None:
    ran: list[str] = []
    team = Team(plan(task("a"), task("b", "a")), review())
    graph = create_orchestrator(tiers=team.tiers, worker=asking_agent(ran), checkpointer=InMemorySaver())
    run(graph, ask(), mode, THREAD)
    run(graph, Command(resume="yes"), mode, THREAD)
    result = run(graph, Command(resume="again"), mode, THREAD)
    assert ran == ["yes", "again"]
    assert outputs(result) == {"a": "Refunded 1042: yes.", "b": "Refunded 1042: again."}


@both
def test_the_tiers_as_workers_keep_their_ledger_through_an_interrupt(mode: str) -> None:
    @tool
    def refund(order: int) -> str:
        """Refund an order."""
        return f"Refunded {order}: {interrupt('sure?')}."

    call = AIMessage("", tool_calls=[tool_call(name="refund", args={"order": 1042}, id="call_1")])
    refunds = {**task("a"), "kind": "tools", "instruction": "Refund order 1042."}
    team = Team(plan(refunds), review(), mini=[call, "It is done."])
    graph = create_orchestrator(tiers=team.tiers, tools=[refund], checkpointer=InMemorySaver())
    run(graph, ask(), mode, THREAD)
    result = run(graph, Command(resume="yes"), mode, THREAD)
    assert [each["outcome"] for each in result["ledger"] if each["task_id"] == "a"] == ["tool_turn", "accepted"]
    assert team.mini.calls == 2


@both
def test_an_interrupt_in_a_revision_keeps_what_the_round_has_done(mode: str) -> None:
    calls: list[str] = []

    def work(given: Any) -> str:
        calls.append(given["id"])
        if calls.count("a") > 1 and given["id"] == "a":
            return str(interrupt("sure?"))
        return str(given["id"])

    team = Team(plan(task("a"), task("b"), task("c", "a")), sends_back(a="No.", b="No."), review())
    graph = create_orchestrator(tiers=team.tiers, worker=work, checkpointer=InMemorySaver())
    run(graph, ask(), mode, THREAD)
    result = run(graph, Command(resume="other"), mode, THREAD)
    assert outputs(result) == {"a": "other", "b": "b", "c": "c"}
    assert {name: calls.count(name) for name in "abc"} == {"a": 3, "b": 2, "c": 2}
