"""What a run knows again when it goes on: which tools have run, what was paid, and which tasks are still to be done."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.messages.tool import tool_call
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt
from orchestrator.team import MODES, THREAD, Team, ask, outcomes, plan, review, run, sends_back, task, texts

from langchain_tiered import Budget, Ledger, collect_ledger, create_orchestrator
from langchain_tiered.testing import ScriptedChatModel

if TYPE_CHECKING:
    from collections.abc import Iterator

both = pytest.mark.parametrize("mode", MODES)
APPROVED = json.dumps({"verdicts": [{"call": 1, "reason": "It is asked for.", "approved": True}]})
DOUBTED = json.dumps({"verdicts": [{"call": 1, "reason": "It is not asked for.", "approved": False}]})
REJECTS: Any = Command(resume={"decisions": [{"type": "reject", "message": "No."}]})
NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def refund_call(order: int, name: str) -> AIMessage:
    return AIMessage("", tool_calls=[tool_call(name="refund", args={"order": order}, id=name)])


def refunds(**more: Any) -> dict[str, Any]:
    return {**task("a"), "kind": "tools", "instruction": "Refund orders 1 and 2.", **more}


class Desk:
    """Tiers that refund: the first call is approved, the second doubted."""

    def __init__(self, *flagship: Any, mini: Any) -> None:
        self.ran: list[int] = []
        self.team = Team(*flagship, mini=mini)

        @tool
        def refund(order: int) -> str:
            """Refund an order."""
            self.ran.append(order)
            return f"Refunded {order}."

        self.graph: Any = create_orchestrator(
            tiers=self.team.tiers, tools=[refund], risky_tools=["refund"], checkpointer=InMemorySaver()
        )


@both
def test_a_tool_that_ran_before_an_interrupt_keeps_the_task_from_being_tried_again(mode: str) -> None:
    calls = [refund_call(1, "c1"), refund_call(2, "c2"), "no json"]
    script = [plan(refunds(output_schema=NUMBER)), APPROVED, DOUBTED, review("failed", reason="It lacks the number.")]
    desk = Desk(*script, mini=calls)
    assert "__interrupt__" in run(desk.graph, ask(), mode, THREAD)
    result = run(desk.graph, REJECTS, mode, THREAD)["results"][0]
    assert desk.ran == [1]
    assert (result["outcome"], result["attempts"], result["tools"]) == ("failed", 1, ["refund"])
    assert "its tools have run" in result["reason"]


@both
def test_a_task_that_is_sent_back_is_told_of_the_tools_that_ran_before_an_interrupt(mode: str) -> None:
    script = [plan(refunds()), APPROVED, DOUBTED, sends_back(a="Say more."), "It was refunded.", review()]
    desk = Desk(*script, mini=[refund_call(1, "c1"), refund_call(2, "c2"), "done"])
    run(desk.graph, ask(), mode, THREAD)
    result = run(desk.graph, REJECTS, mode, THREAD)
    assert result["results"][0]["tools"] == ["refund"]
    told = [texts(asked) for asked in desk.team.flagship.asked if "tools_that_ran" in texts(asked)]
    assert any("Say more." in each for each in told)


@both
def test_what_a_task_paid_before_an_interrupt_is_booked_though_it_fails_after(mode: str) -> None:
    desk = Desk(
        *[plan(refunds()), DOUBTED, refund_call(1, "c3"), review("failed")],
        mini=[refund_call(1, "c1"), refund_call(1, "c2")],
    )
    with collect_ledger() as paid:
        run(desk.graph, ask(), mode, THREAD)
        result = run(desk.graph, REJECTS, mode, THREAD)
    assert outcomes(result) == {"a": "failed"}
    assert sorted(each["id"] for each in result["ledger"]) == sorted(each["id"] for each in paid.entries)
    of_task = Ledger(each for each in result["ledger"] if each["task_id"] == "a").total_usd
    assert result["results"][0]["cost_usd"] == pytest.approx(of_task)
    assert desk.ran == []


OUT_OF_TURN = [task("a"), task("b"), task("x", "b"), task("y", "a"), task("z", "x")]
"""`y` can begin before `x`, which stands before it in the plan and so is handed over, and waits."""


async def test_a_task_that_waited_while_the_caller_left_is_done_when_the_run_goes_on() -> None:
    calls: list[str] = []
    over = asyncio.Event()

    async def work(given: Any) -> str:
        calls.append(given["id"])
        if given["id"] == "y":
            over.set()
        if given["id"] == "b" and calls.count("b") == 1:
            await asyncio.sleep(60)
        return "done"

    team = Team(plan(*OUT_OF_TURN), review())
    graph: Any = create_orchestrator(tiers=team.tiers, worker=work, checkpointer=InMemorySaver())
    running = asyncio.create_task(graph.ainvoke(ask(), THREAD, durability="sync"))
    await over.wait()
    await asyncio.sleep(0.1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    result = await graph.ainvoke(None, THREAD)
    assert sorted(calls) == ["a", "b", "b", "x", "y", "z"]
    assert set(outcomes(result).values()) == {"done"}


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """Have Ctrl-C raise, also where the tests run in the background of a shell, which ignores it there."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_a_task_that_waited_at_ctrl_c_is_done_when_the_run_goes_on() -> None:
    calls: list[str] = []
    gone = threading.Event()

    def work(given: Any) -> str:
        calls.append(given["id"])
        if given["id"] == "b":
            gone.wait(20)
        if given["id"] == "y":
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
            threading.Timer(0.6, gone.set).start()
        return "done"

    team = Team(plan(*OUT_OF_TURN), review())
    graph: Any = create_orchestrator(tiers=team.tiers, worker=work, checkpointer=InMemorySaver())
    with pytest.raises(KeyboardInterrupt):
        graph.invoke(ask(), THREAD, durability="sync")
    result = graph.invoke(None, THREAD)
    assert sorted(calls) == ["a", "b", "x", "y", "z"]
    assert set(outcomes(result).values()) == {"done"}


@both
@pytest.mark.parametrize("limit", [0.01, 0.013])
def test_a_resumed_run_counts_what_its_tasks_had_paid_before_it_pays_more(mode: str, limit: float) -> None:
    dear = ScriptedChatModel(script=lambda _: "good", model_name="gpt-5.4")

    def work(given: Any) -> str:
        if given["id"] == "first":
            interrupt("May I?")
        return dear.invoke("Do it.", max_tokens=100).text

    graph = create_orchestrator(
        planner=lambda _: json.loads(plan(task("first"), task("b"), task("c"), task("d"))),
        reviewer=lambda _: json.loads(review()),
        worker=work,
        budget=Budget(run_limit_usd=limit),
        checkpointer=InMemorySaver(),
        max_parallel=1,
    )
    run(graph, ask(), mode, THREAD)
    before = dear.calls
    assert before == 3
    result = run(graph, Command(resume="yes"), mode, THREAD)
    assert dear.calls == before
    assert result["verdict"] == "budget_exhausted"
    assert outcomes(result) == {"first": "failed", "b": "done", "c": "done", "d": "done"}


@both
def test_what_was_done_is_kept_where_the_budget_was_spent_before_the_interrupt(mode: str) -> None:
    calls: list[str] = []
    dear = ScriptedChatModel(script=lambda _: "good", model_name="gpt-5.4")

    def work(given: Any) -> str:
        calls.append(given["id"])
        if given["id"] == "first":
            interrupt("May I?")
        return dear.invoke("Do it.", max_tokens=100).text

    graph = create_orchestrator(
        planner=lambda _: json.loads(plan(task("first"), *[task(f"t{n}") for n in range(5)])),
        reviewer=lambda _: json.loads(review()),
        worker=work,
        budget=Budget(run_limit_usd=0.009),
        checkpointer=InMemorySaver(),
        max_parallel=1,
    )
    run(graph, ask(), mode, THREAD)
    before = dear.calls
    result = run(graph, Command(resume="yes"), mode, THREAD)
    assert result["verdict"] == "budget_exhausted"
    assert dear.calls == before > 0
    assert list(outcomes(result).values()).count("done") == before
    assert len(result["ledger"]) == before


@both
def test_nothing_is_done_twice_where_a_resumed_run_goes_on_with_a_revision(mode: str) -> None:
    calls: list[str] = []

    def work(given: Any) -> str:
        calls.append(given["id"])
        return str(interrupt("May I?")) if given["id"] == "a" else f"{given['id']}{calls.count(given['id'])}"

    team = Team(plan(task("a"), task("b"), task("c", "b"), task("d", "a")), sends_back(b="No."), review())
    graph = create_orchestrator(tiers=team.tiers, worker=work, checkpointer=InMemorySaver())
    run(graph, ask(), mode, THREAD)
    assert sorted(calls) == ["a", "b", "c"]
    result = run(graph, Command(resume="yes"), mode, THREAD)
    assert sorted(calls) == ["a", "a", "b", "b", "c", "c", "d"]
    assert set(outcomes(result).values()) == {"done"}


@pytest.mark.parametrize("ends", ["interrupt", "error"])
async def test_those_that_wait_for_what_does_not_come_take_no_place_of_a_bounded_run(ends: str) -> None:
    calls: list[str] = []

    async def work(given: Any) -> str:
        calls.append(given["id"])
        if given["id"] == "first" and calls.count("first") == 1:
            if ends == "error":
                raise KeyError(ends)
            interrupt("May I?")
        await asyncio.sleep(0.05)
        return "done"

    waiting = [task(f"w{n}", "first") for n in range(4)]
    team = Team(plan(task("first"), task("other"), *waiting, task("last", "other")), review())
    graph: Any = create_orchestrator(tiers=team.tiers, worker=work, checkpointer=InMemorySaver())
    bounded = {**THREAD, "max_concurrency": 3}
    result = await asyncio.wait_for(graph.ainvoke(ask(), bounded), 20)
    if ends == "interrupt":
        assert sorted(calls) == ["first", "last", "other"]
        result = await asyncio.wait_for(graph.ainvoke(Command(resume="yes"), bounded), 20)
    assert set(outcomes(result).values()) == {"done"}
    assert (calls.count("other"), calls.count("last")) == (1, 1)
