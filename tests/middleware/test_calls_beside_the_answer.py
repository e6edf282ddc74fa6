"""Models that are called beside the one that answers, and budgets of agents inside, are not mistaken for ours."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage
from langchain_core.messages.tool import tool_call, tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from langchain_tiered import (
    Budget,
    BudgetMiddleware,
    EscalationMiddleware,
    Ledger,
    Policy,
    Tier,
    TieredChatModel,
    TierRouterMiddleware,
    collect_ledger,
    create_tiered_agent,
)
from langchain_tiered.errors import BudgetExceededError
from langchain_tiered.testing import ScriptedChatModel

if TYPE_CHECKING:
    from collections.abc import Callable

PIN = Policy(pin="nano")
HELLO: Any = {"messages": [("user", "hi")]}
USAGE: Any = {"input_tokens": 10, "output_tokens": 1, "total_tokens": 11}


def scripted(script: Any, name: str = "gpt-5.4-nano", **more: Any) -> ScriptedChatModel:
    return ScriptedChatModel(script=script, model_name=name, **more)


def two(nano: Any = "the answer") -> list[Tier]:
    cheap = nano if isinstance(nano, ScriptedChatModel) else scripted(nano)
    return [Tier("nano", cheap, criteria="easy"), Tier("flagship", scripted("big", "gpt-5.4"), criteria="hard")]


def calling(name: str, call_id: str, **args: Any) -> AIMessage:
    return AIMessage("", tool_calls=[tool_call(name=name, args=args, id=call_id)])


def told(result: Any) -> list[tuple[str, str | None, str]]:
    return [(entry["model"] or "", entry["tier"], entry["outcome"]) for entry in result["ledger"]]


class Guarded(AgentMiddleware[Any, Any, Any]):
    """Asks a model of its own what it thinks of an answer, once that is there."""

    def __init__(self) -> None:
        super().__init__()
        self.guard = scripted("fine", "gpt-5.4-mini", usage=USAGE)

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        response = handler(request)
        self.guard.invoke(f"Is this fine? {response.result[-1].text}")
        return response


BODIES: dict[str, Callable[[list[Tier], Any], Any]] = {
    "router": lambda found, inner: create_agent(
        scripted("own"), middleware=[TierRouterMiddleware(found, policy=PIN), inner]
    ),
    "escalation": lambda found, inner: create_agent(
        scripted("own"), middleware=[EscalationMiddleware(found, policy=PIN), inner]
    ),
    "agent": lambda found, inner: create_tiered_agent(found, policy=PIN, middleware=[inner]),
}


@pytest.mark.parametrize("body", BODIES)
def test_an_answer_is_booked_as_accepted_whatever_model_is_asked_behind_it(body: str) -> None:
    result = BODIES[body](two(), Guarded()).invoke(HELLO)
    outcomes = {model: outcome for model, _, outcome in told(result)}
    assert outcomes["gpt-5.4-nano"] == "accepted"


class CutOff(ScriptedChatModel):
    """Breaks off in the middle of a tool call, whose half is JSON once it is completed."""

    def _stream(self, messages: Any, *_: Any, **__: Any) -> Any:
        self.asked.append(messages)
        done = isinstance(messages[-1], ToolMessage)
        parts = [] if done else [tool_call_chunk(name="pay", args='{"amount": 10', id="c1", index=0)]
        yield ChatGenerationChunk(message=AIMessageChunk(content="done" if done else "", tool_call_chunks=parts))
        metadata = {"finish_reason": "stop", "model_name": self.model_name}
        last = AIMessageChunk(content="", response_metadata=metadata, usage_metadata=USAGE, chunk_position="last")
        yield ChatGenerationChunk(message=last)


@pytest.mark.parametrize("body", ["escalation", "agent"])
def test_half_a_tool_call_does_not_run_whatever_model_is_asked_behind_it(body: str) -> None:
    paid: list[int] = []

    @tool
    def pay(amount: int) -> str:
        """Pay."""
        paid.append(amount)
        return "paid"

    found = two(CutOff(script="x", model_name="gpt-5.4-nano"))
    if body == "agent":
        made: Any = create_tiered_agent(found, tools=[pay], middleware=[Guarded()], policy=PIN, checks=None)
    else:
        made = create_agent(found[0].model, [pay], middleware=[EscalationMiddleware(found), Guarded()])
    try:
        list(made.stream({"messages": [("user", "Please pay invoice 7 with pay")]}, stream_mode=["messages", "values"]))
    finally:
        assert paid == []


def test_an_answer_is_booked_as_accepted_where_a_check_runs_an_agent_of_ours() -> None:
    judge = create_tiered_agent(two("fine"), policy=PIN)

    def judged(_: Any) -> bool:
        judge.invoke(HELLO)
        return True

    made: Any = create_agent(scripted("own"), middleware=[EscalationMiddleware(two(), checks=[judged], policy=PIN)])
    assert {outcome for _, _, outcome in told(made.invoke(HELLO))} == {"accepted"}


def small(exit_behavior: Any = "end") -> Any:
    """Return an agent whose own budget holds none of its calls."""
    limit = BudgetMiddleware(run_limit_usd=0.000001, exit_behavior=exit_behavior)
    return create_agent(scripted("never", "gpt-5.4"), middleware=[limit])


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_calls_that_a_budget_inside_refuses_are_not_held_by_the_one_outside(mode: str) -> None:
    inner = small()

    @tool
    def sub(number: int) -> str:
        """Ask the other agent."""
        return str(inner.invoke({"messages": [("user", f"q {number}")]})["messages"][-1].text)

    script = [*(calling("sub", f"c{number}", number=number) for number in range(8)), "done"]
    tiers = [Tier("one", scripted(script), criteria="x")]
    agent = create_tiered_agent(tiers, tools=[sub], budget=Budget(run_limit_usd=0.05))
    result = asyncio.run(agent.ainvoke(HELLO)) if mode == "async" else agent.invoke(HELLO)
    assert result["messages"][-1].text == "done"


class Asking(AgentMiddleware[Any, Any, Any]):
    """Asks another agent before each call."""

    def __init__(self, other: Any) -> None:
        super().__init__()
        self.other = other

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        self.other.invoke(HELLO)
        return handler(request)


@pytest.mark.parametrize("body", ["middleware", "agent"])
def test_a_budget_inside_that_is_spent_is_no_end_of_the_run_outside(body: str) -> None:
    asking = Asking(small("error"))
    if body == "agent":
        made: Any = create_tiered_agent(two(), policy=PIN, middleware=[asking], budget=Budget(run_limit_usd=5))
    else:
        made = create_agent(scripted("own"), middleware=[BudgetMiddleware(run_limit_usd=5), asking])
    with pytest.raises(BudgetExceededError):
        made.invoke(HELLO)


def test_a_chat_model_books_no_call_that_a_budget_around_it_refuses() -> None:
    heard: list[Any] = []
    asked = TieredChatModel(two(), policy=Policy(pin="flagship"))

    @tool
    def look() -> str:
        """Look."""
        try:
            return asked.invoke("hi").text
        except BudgetExceededError as error:
            heard.append(error.ledger)
            return "failed"

    tiers = [Tier("one", scripted([calling("look", "c1"), "done"]), criteria="x")]
    agent = create_tiered_agent(tiers, tools=[look], budget=Budget(run_limit_usd=0.0018))
    with collect_ledger() as ledger:
        agent.invoke(HELLO)
    assert heard == [[]]
    assert "failed" not in {entry["outcome"] for entry in ledger}


class Hurried(AgentMiddleware[Any, Any, Any]):
    """Gives a call up that takes too long, and makes it again."""

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        for _ in range(3):
            try:
                return await asyncio.wait_for(handler(request), 0.05)
            except TimeoutError:
                continue
        raise AssertionError("It never answered.")


class Slow(ScriptedChatModel):
    async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
        is_last = len(self.asked) % 3 == 2
        result = await super()._agenerate(*args, **kwargs)
        await asyncio.sleep(0 if is_last else 1)
        return result


@pytest.mark.parametrize("body", ["middleware", "agent"])
async def test_a_call_that_was_given_up_stands_in_the_threads_ledger_at_an_unknown_cost(body: str) -> None:
    slow, saver = Slow(script="hello", model_name="gpt-5.4"), InMemorySaver()
    if body == "agent":
        tiers = [Tier("one", slow, criteria="x")]
        made: Any = create_tiered_agent(tiers, middleware=[Hurried()], checkpointer=saver)
    else:
        made = create_agent(slow, middleware=[BudgetMiddleware(thread_limit_usd=5), Hurried()], checkpointer=saver)
    for _ in range(2):
        result = await made.ainvoke(HELLO, {"configurable": {"thread_id": "ann"}})
    assert sorted(entry["outcome"] for entry in result["ledger"]) == ["accepted"] * 2 + ["failed"] * 4
    assert Ledger(result["ledger"]).total_usd is None


def test_an_agent_in_a_tool_books_on_the_run_around_it() -> None:
    inner = create_agent(scripted("inner"), middleware=[TierRouterMiddleware(two(), policy=PIN)])

    @tool
    def sub() -> str:
        """Ask the other agent."""
        return str(inner.invoke(HELLO)["messages"][-1].text)

    tiers = [Tier("one", scripted([calling("sub", "c1"), "done"]), criteria="x")]
    result = create_tiered_agent(tiers, tools=[sub]).invoke(HELLO)
    assert len({entry["run_id"] for entry in result["ledger"]}) == 1
    assert len(Ledger(result["ledger"]).last_run()) == 3
