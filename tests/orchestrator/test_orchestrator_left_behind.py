"""A worker that is given up stops; what it gives that is no result is a failed task, never the end of the run."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.messages.tool import tool_call
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from orchestrator.team import MODES, Team, ask, outcomes, outputs, plan, review, run, sends_back, task
from pydantic import BaseModel

from langchain_tiered import Budget, create_orchestrator, create_tiered_agent
from langchain_tiered.errors import ConfigurationError
from langchain_tiered.testing import ScriptedChatModel

both = pytest.mark.parametrize("mode", MODES)


def slow_desk(ran: list[int], over: threading.Event) -> Any:
    """Return tiers of which the first thinks for longer than it may, and then calls a tool, as the next one does."""

    @tool
    def refund(order: int) -> str:
        """Refund an order."""
        ran.append(order)
        return f"Refunded {order}."

    def asks(messages: Any) -> AIMessage:
        if messages[-1].type != "human":
            return AIMessage("done")
        return AIMessage("", tool_calls=[tool_call(name="refund", args={"order": 1}, id=f"c{time.monotonic_ns()}")])

    def slow(messages: Any) -> AIMessage:
        time.sleep(1.7)
        threading.Timer(0.3, over.set).start()
        return asks(messages)

    team = Team(mini=slow)
    team.flagship = ScriptedChatModel(script=asks, model_name="gpt-5.4")
    refunds = {**task("a"), "kind": "tools", "instruction": "Refund order 1."}
    return team, create_orchestrator(
        planner=lambda _: json.loads(plan(refunds)),
        reviewer=lambda _: json.loads(review()),
        tiers=team.tiers,
        tools=[refund],
        task_timeout_s=1.2,
    )


@both
def test_a_worker_that_took_too_long_runs_no_tool_beside_the_next_try(mode: str) -> None:
    ran: list[int] = []
    over = threading.Event()
    team, graph = slow_desk(ran, over)
    result = run(graph, ask(), mode)
    if mode == "sync":
        assert over.wait(10)
    assert ran == [1]
    assert (outcomes(result), result["results"][0]["attempts"]) == ({"a": "done"}, 2)
    assert result["results"][0]["tools"] == ["refund"]
    assert team.mini.calls == 1


@both
def test_a_function_that_took_too_long_makes_no_further_call_of_a_model(mode: str) -> None:
    model = ScriptedChatModel(script=lambda _: "y", model_name="gpt-5.4-nano")
    raised: list[str] = []

    def work(_: Any) -> str:
        model.invoke("One.")
        time.sleep(0.5)
        try:
            model.invoke("Two.")
        except Exception as error:
            raised.append(type(error).__name__)
            raise
        return "late"

    team = Team(plan(task("a")), review("failed"))
    result = run(create_orchestrator(tiers=team.tiers, worker=work, task_timeout_s=0.2), ask(), mode)
    time.sleep(0.6)
    assert outcomes(result) == {"a": "failed"}
    assert (model.calls, raised) == (2, ["TooLateError", "TooLateError"])
    assert len([each for each in result["ledger"] if each["task_id"] == "a"]) == 2


class Odd(BaseModel):
    """A value that JSON has no form for."""

    thing: Any


def deep() -> Any:
    found: list[Any] = []
    for _ in range(100_000):
        found = [found]
    return found


def circle() -> Any:
    found: dict[str, Any] = {}
    found["self"] = found
    return found


@both
@pytest.mark.parametrize(
    "gives",
    [lambda: {(1, 2): 3}, circle, deep, lambda: Odd(thing=object()), lambda: {"n": float("nan")}],
    ids=["tuple keys", "circle", "deep", "object", "nan"],
)
def test_an_output_that_json_has_no_form_for_is_a_failed_task(mode: str, gives: Any) -> None:
    team = Team(plan(task("a"), task("b")), review())
    work: Any = lambda given: gives() if given["id"] == "a" else "good"  # noqa: E731  (one line says it)
    result = run(create_orchestrator(tiers=team.tiers, worker=work), ask(), mode)
    assert outcomes(result) == {"a": "failed", "b": "done"}
    assert result["results"][0]["attempts"] == 2


def test_a_number_that_json_has_no_form_for_does_not_fit_a_schema() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "number"}}}
    team = Team(plan(task("a", output_schema=schema)), review())
    result = create_orchestrator(tiers=team.tiers, worker=lambda _: '{"n": Infinity}').invoke(ask())
    assert outcomes(result) == {"a": "failed"}


@pytest.mark.parametrize("ledger", [["oops"], [None, 7], "oops"])
def test_a_ledger_of_a_workers_own_that_holds_no_entries_is_left_out(ledger: Any) -> None:
    team = Team(plan(task("a")), review())
    work: Any = lambda _: {"messages": [AIMessage("good")], "ledger": ledger}  # noqa: E731  (one line says it)
    result = create_orchestrator(tiers=team.tiers, worker=work).invoke(ask())
    assert outputs(result) == {"a": "good"}
    assert [each["role"] for each in result["ledger"]] == ["plan", "review"]


@both
def test_what_a_worker_says_of_its_own_spent_budget_is_no_result(mode: str) -> None:
    team = Team(plan(task("a")), review("failed"))
    agent = create_tiered_agent(team.tiers[:1], budget=Budget(run_limit_usd=1e-9))
    result = run(create_orchestrator(tiers=team.tiers, worker=agent), ask(), mode)
    assert (outcomes(result), outputs(result)) == ({"a": "failed"}, {"a": ""})
    assert "own budget is spent" in result["results"][0]["reason"]
    assert result["verdict"] == "failed"


@both
def test_a_budget_that_ends_in_a_revision_keeps_the_results_that_nobody_sent_back(mode: str) -> None:
    dear = ScriptedChatModel(script=lambda _: "good", model_name="gpt-5.4")
    graph = create_orchestrator(
        planner=lambda _: json.loads(plan(task("a"), task("b", "a"), task("c"))),
        reviewer=lambda _: json.loads(sends_back(a="No.")),
        worker=lambda _: dear.invoke("Do it.", max_tokens=100).text,
        budget=Budget(run_limit_usd=0.0125),
    )
    result = run(graph, ask(), mode)
    assert result["verdict"] == "budget_exhausted"
    assert outcomes(result) == {"a": "failed", "b": "done", "c": "done"}
    assert outputs(result) == {"a": "", "b": "good", "c": "good"}


async def slowly(_: Any) -> str:
    return "done"


@pytest.mark.parametrize("worker", [slowly, RunnableLambda(slowly)], ids=["function", "runnable"])
def test_an_async_function_in_a_sync_run_is_the_callers_mistake(worker: Any) -> None:
    team = Team(plan(task("a")), review())
    graph: Any = create_orchestrator(tiers=team.tiers, worker=worker)
    with pytest.raises(ConfigurationError, match="ainvoke") as raised:
        graph.invoke(ask())
    assert [each["role"] for each in raised.value.ledger] == ["plan"]
    team = Team(plan(task("a")), review())
    assert outputs(run(create_orchestrator(tiers=team.tiers, worker=worker), ask(), "async")) == {"a": "done"}


@both
@pytest.mark.parametrize("timeout_s", [None, 5])
def test_a_worker_that_cancels_itself_has_failed_and_the_run_goes_on(mode: str, timeout_s: float | None) -> None:
    def work(given: Any) -> str:
        if given["id"] == "a":
            raise asyncio.CancelledError
        return "good"

    team = Team(plan(task("a"), task("b")), review())
    result = run(create_orchestrator(tiers=team.tiers, worker=work, task_timeout_s=timeout_s), ask(), mode)
    assert outcomes(result) == {"a": "failed", "b": "done"}
    assert "cancelled" in result["results"][0]["reason"]
