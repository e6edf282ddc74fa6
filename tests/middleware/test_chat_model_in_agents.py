"""`create_agent` over a `TieredChatModel`: tools, structured output, streams, a human, and our middleware."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import LABEL, ScriptedModel, StreamingModel, ask, call_then, in_turn, say
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.tool import tool_call
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from pydantic import BaseModel

from langchain_tiered import (
    Budget,
    BudgetMiddleware,
    EscalationMiddleware,
    Policy,
    Tier,
    TieredChatModel,
    TierRouterMiddleware,
    collect_ledger,
    create_tiered_agent,
)
from langchain_tiered.errors import BudgetExceededError

NAMES = ("nano", "mini", "flagship")
GOOD = call_then("look", {"order": 7}, say("It was sent."))
LOOK = "Look up order 7."


def look(order: int) -> str:
    """Look up an order."""
    return f"Order {order} was sent."


class Count(BaseModel):
    """A count."""

    count: int


def model(kind: Any = StreamingModel, **scripts: Any) -> TieredChatModel:
    tiers = [
        Tier(name, kind(model_name=f"gpt-5.4-{name}", script=scripts.get(name) or say(name)), criteria=name)
        for name in NAMES
    ]
    return TieredChatModel(tiers, classifier=None)


def answers(result: Any) -> list[AIMessage]:
    return [message for message in result["messages"] if isinstance(message, AIMessage)]


def tier_of(message: Any) -> str:
    return str(message.response_metadata["route"]["tier"])


def test_a_loop_with_tools_stays_on_its_tier(run: Any) -> None:
    with collect_ledger() as ledger:
        result = run(create_agent(model(**dict.fromkeys(NAMES, GOOD)), [look]), ask(LOOK))
    assert [tier_of(message) for message in answers(result)] == ["mini", "mini"]
    assert result["messages"][-1].text == "It was sent."
    assert [(entry["tier"], entry["outcome"]) for entry in ledger] == [("mini", "tool_turn"), ("mini", "accepted")]


def test_no_tool_runs_on_a_malformed_call(run: Any) -> None:
    bad = AIMessage("", tool_calls=[tool_call(name="look", args={"order": "x"}, id="bad")])
    good = AIMessage("", tool_calls=[tool_call(name="look", args={"order": 7}, id="good")])
    script = in_turn(lambda _: bad, lambda _: good, say("It was sent."))
    result = run(create_agent(model(mini=script), [look]), ask(LOOK))
    assert [message.text for message in result["messages"] if message.type == "tool"] == ["Order 7 was sent."]


def test_structured_output_by_the_provider(run: Any) -> None:
    made = model(nano=say('{"count": "many"}'), mini=say('{"count": 7}'))
    result = run(create_agent(made, response_format=ProviderStrategy(Count)), ask(LABEL))
    assert result["structured_response"] == Count(count=7)
    assert tier_of(result["messages"][-1]) == "mini"


def test_structured_output_by_a_tool(run: Any) -> None:
    def counted(_: Any) -> AIMessage:
        return AIMessage("", tool_calls=[tool_call(name="Count", args={"count": 7}, id="c1")])

    made = model(**dict.fromkeys(NAMES, counted))
    result = run(create_agent(made, response_format=ToolStrategy(Count)), ask(LABEL))
    assert result["structured_response"] == Count(count=7)


def test_a_stream_has_each_word_once(stream: Any) -> None:
    agent = create_agent(model(nano=say("", "length"), mini=say("mini says it")), [])
    parts = stream(agent, ask(LABEL), stream_mode="messages")
    assert "".join(chunk.text for chunk, _ in parts if isinstance(chunk, AIMessageChunk)) == "mini says it"


def test_a_human_decides_about_a_call_that_was_judged(run: Any) -> None:
    agent = create_agent(
        model(**dict.fromkeys(NAMES, GOOD)),
        [look],
        middleware=[HumanInTheLoopMiddleware({"look": True})],
        checkpointer=InMemorySaver(),
    )
    thread: Any = {"configurable": {"thread_id": "1"}}
    result = run(agent, ask(LOOK), thread)
    assert "__interrupt__" in result
    result = run(agent, Command(resume={"decisions": [{"type": "approve"}]}), thread)
    assert result["messages"][-1].text == "It was sent."
    assert tier_of(result["messages"][-1]) == "mini"


@pytest.mark.parametrize("ours", [TierRouterMiddleware, EscalationMiddleware])
def test_behind_our_own_middleware_each_call_is_booked_once(run: Any, ours: Any) -> None:
    plain = [Tier("all", model(nano=say("", "length")), criteria="all")]
    with collect_ledger() as ledger:
        result = run(create_agent(plain[0].model, middleware=[ours(plain)]), ask(LABEL))
    assert result["messages"][-1].text == "mini"
    booked = [(entry["id"], entry["outcome"]) for entry in result["ledger"]]
    assert booked == [(entry["id"], entry["outcome"]) for entry in ledger]
    assert [(entry["tier"], entry["outcome"]) for entry in ledger] == [("nano", "rejected"), ("mini", "accepted")]


@pytest.mark.parametrize("tools", [[], [look]], ids=["one call", "loop"])
def test_as_a_tier_of_the_agent_each_call_is_booked_once(run: Any, tools: Any) -> None:
    inner = model(ScriptedModel, nano=say("", "length"))
    agent = create_tiered_agent([Tier("all", inner, criteria="all")], tools=tools)
    with collect_ledger() as ledger:
        result = run(agent, ask(LABEL))
    booked = [(entry["id"], entry["outcome"]) for entry in result["ledger"]]
    assert booked == [(entry["id"], entry["outcome"]) for entry in ledger]
    assert [(entry["tier"], entry["outcome"]) for entry in ledger] == [("nano", "rejected"), ("mini", "accepted")]
    assert {entry["role"] for entry in ledger} == {"answer"}


@pytest.mark.parametrize(("limit_usd", "called"), [(0.0005, []), (1.0, ["nano", "mini"])], ids=["small", "large"])
def test_a_budget_around_holds_the_calls_of_the_tiers_one_by_one(run: Any, limit_usd: float, called: list[str]) -> None:
    made = model(nano=say("", "length"))
    by_middleware: Any = create_agent(made, middleware=[BudgetMiddleware(run_limit_usd=limit_usd)])
    tier = Tier("all", made, criteria="all", rates="openai:gpt-5.4")
    for agent in (by_middleware, create_tiered_agent([tier], budget=Budget(limit_usd))):
        result = run(agent, ask(LABEL))
        assert [entry["tier"] for entry in result["ledger"]] == called
        assert bool(result["messages"][-1].response_metadata.get("budget_exceeded")) == (not called)


@pytest.mark.parametrize("limit_usd", [1e-9, 1.0], ids=["small", "large"])
@pytest.mark.parametrize("own", [{"streaming": True}, {"output_version": "v1"}], ids=["streams", "other form"])
def test_a_budget_holds_the_calls_of_a_tiered_model_in_a_tiered_model(run: Any, own: Any, limit_usd: float) -> None:
    inner = TieredChatModel(model().tiers, classifier=None, **own)
    outer = TieredChatModel([Tier("in", inner, criteria="all"), model().tiers[2]], classifier=None)
    budget: Any = BudgetMiddleware(run_limit_usd=limit_usd, exit_behavior="error")
    agent = create_agent(outer, middleware=[budget])
    if limit_usd < 1:
        with pytest.raises(BudgetExceededError):
            run(agent, ask(LABEL))
        return
    result = run(agent, ask(LABEL))
    assert [entry["tier"] for entry in result["ledger"]] == ["nano"]
    assert [entry["tier"] for entry in result["messages"][-1].response_metadata["ledger"]] == ["nano"]


def test_an_agent_inside_a_tool_is_booked_as_that(run: Any) -> None:
    inner: Any = create_agent(model(ScriptedModel))

    def delegate(order: int) -> str:
        """Look up an order by asking somebody else."""
        text: str = inner.invoke(ask(LABEL))["messages"][-1].text
        return text

    script = call_then("delegate", {"order": 7}, say("done"))
    outer = [Tier(name, ScriptedModel(model_name=f"gpt-5.4-{name}", script=script), criteria=name) for name in NAMES]
    agent = create_tiered_agent(outer, tools=[delegate], policy=Policy(pin="mini"))
    result = run(agent, ask("Look up order 7."))
    assert [(entry["role"], entry["tier"]) for entry in result["ledger"]] == [
        ("answer", "mini"),
        ("other", "nano"),
        ("answer", "mini"),
    ]
