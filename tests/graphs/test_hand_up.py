"""`hand_up` by choice: a tier that has all it needs and knows its limits may ask for a more capable one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fakes import LABEL, REFUND, ScriptedModel, ask, call_then, model, say, tiers
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.messages.tool import tool_call
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph

from langchain_tiered import Policy, Tier, TieredState, TierRouter, create_tiered_agent, nodes
from langchain_tiered.errors import ConfigurationError, DuplicateNameError, NoAnswerAcceptedError
from langchain_tiered.middleware import EscalationMiddleware
from langchain_tiered.nodes import hand_up, route_by_tier

RAN: list[int] = []
CASCADE = Policy("cascade", floors={"tools": "nano"})
BODIES = pytest.mark.parametrize("body", ["one call", "loop"])


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    RAN.clear()


@tool
def refund(order: int) -> str:
    """Refund an order."""
    RAN.append(order)
    return f"Order {order} is refunded."


def hands_up(_: Any) -> AIMessage:
    call = tool_call(name="hand_up", args={"reason": "This is law."}, id="h1")
    return AIMessage("", tool_calls=[call, tool_call(name="refund", args={"order": 1}, id="r1")])


def with_hand_up(nano: Any, **others: Any) -> list[Tier]:
    first, *above = tiers(nano=nano, **(others or {"mini": say("mini")}))
    return [replace(first, tools=[hand_up]), *above]


def names_bound(tier: Tier) -> list[str]:
    fake: Any = tier.model
    return [each["function"]["name"] if isinstance(each, dict) else each.name for each in fake.bound[-1]]


def agent_of(body: str, scripted: list[Tier], **more: Any) -> Any:
    return create_tiered_agent(scripted, tools=[refund] if body == "loop" else [], **{"policy": CASCADE, **more})


def request(body: str) -> Any:
    return ask(REFUND if body == "loop" else LABEL)


@BODIES
def test_a_tier_with_the_agents_tools_may_hand_up_too(run: Any, body: str) -> None:
    scripted = with_hand_up(hands_up)
    result = run(agent_of(body, scripted), request(body))
    assert [message.text for message in result["messages"][1:]] == ["mini"]
    assert result["route"]["reason"] == "nano hands up: This is law."
    assert [(entry["tier"], entry["outcome"]) for entry in result["ledger"]] == [
        ("nano", "rejected"),
        ("mini", "accepted"),
    ]
    assert names_bound(scripted[0]) == (["refund", "hand_up"] if body == "loop" else ["hand_up"])
    assert RAN == [], "what is called beside it is not run"


@BODIES
def test_it_need_not_and_no_other_tier_has_it(run: Any, body: str) -> None:
    nano = call_then("refund", {"order": 7}, say("done")) if body == "loop" else say("done")
    scripted = with_hand_up(nano, mini=say(""), flagship=say("flagship"))
    assert run(agent_of(body, scripted), request(body))["messages"][-1].text == "done"
    assert ([7] if body == "loop" else []) == RAN
    run(agent_of(body, scripted), request(body), context={"pin": "flagship"})
    flagship: Any = scripted[2].model
    assert "hand_up" not in str(flagship.bound)


def test_after_a_tool_has_run_its_result_is_handed_up_with_it(run: Any) -> None:
    scripted = with_hand_up(call_then("refund", {"order": 7}, hands_up), mini=say("Refunded."))
    result = run(agent_of("loop", scripted), ask(REFUND))
    assert [message.type for message in result["messages"]] == ["human", "ai", "tool", "ai"]
    assert RAN == [7]


@BODIES
def test_a_pinned_route_cannot_be_handed_up(run: Any, body: str) -> None:
    scripted = with_hand_up(say("pinned"))
    assert run(agent_of(body, scripted), request(body), context={"pin": "nano"})["messages"][-1].text == "pinned"
    fake: Any = scripted[0].model
    assert "hand_up" not in str(fake.bound)


@BODIES
def test_a_tier_that_lacks_tools_and_has_it_is_given_one(run: Any, body: str) -> None:
    @tool
    def look(order: int) -> str:
        """Look an order up."""
        return "late"

    scripted = with_hand_up(hands_up)
    if body == "loop":
        scripted[0] = replace(scripted[0], tools=[look, hand_up])
    agent = create_tiered_agent(scripted, tools=[refund], policy=Policy("cascade"))
    assert run(agent, ask(LABEL))["messages"][-1].text == "mini"
    assert names_bound(scripted[0]).count("hand_up") == 1


@BODIES
def test_the_last_tier_has_nobody_to_hand_up_to(body: str) -> None:
    scripted = with_hand_up(say("nano"))
    with pytest.raises(ConfigurationError, match="Tier 'mini' has hand_up, and no tier is above it"):
        agent_of(body, [scripted[0], replace(scripted[1], tools=[hand_up])])
    with pytest.raises(ConfigurationError, match="no tier is above it"):
        agent_of(body, scripted[:1])


def test_it_is_no_tool_of_the_agent_and_nothing_else_has_its_name() -> None:
    @tool("hand_up")
    def other(reason: str) -> str:
        """Do something else."""
        return reason

    with pytest.raises(DuplicateNameError, match="'hand_up'"):
        create_tiered_agent(tiers(nano=say("n"), mini=say("m")), tools=[hand_up])
    with pytest.raises(DuplicateNameError, match="'hand_up'"):
        create_tiered_agent(tiers(nano=say("n"), mini=say("m")), tools=[other])
    first, last = tiers(nano=say("n"), mini=say("m"))
    with pytest.raises(DuplicateNameError, match="'hand_up'"):
        create_tiered_agent([replace(first, tools=[other]), last])


def test_when_the_tier_above_falls_short_too_the_error_says_who_handed_up(run: Any) -> None:
    with pytest.raises(NoAnswerAcceptedError, match=r"nano: This is law\.; mini: The answer is empty"):
        run(agent_of("one call", with_hand_up(hands_up, mini=say(""))), ask(LABEL))


def test_a_graph_of_ones_own_has_it_by_the_tier(run: Any) -> None:
    scripted = with_hand_up(hands_up)
    router = TierRouter(scripted, classifier=None, policy=CASCADE)
    builder: Any = StateGraph(TieredState).add_node("classify", nodes.classify(router))
    builder.add_conditional_edges("classify", route_by_tier, [tier.name for tier in scripted])
    for tier in scripted:
        builder.add_node(tier.name, nodes.answer(tier, tiers=scripted)).add_edge(tier.name, "check")
    builder.add_node("check", nodes.check(scripted), destinations=("nano", "mini", END)).add_edge(START, "classify")
    result = run(builder.compile(), ask(LABEL))
    assert (result["messages"][-1].text, result["route"]["tier"]) == ("mini", "mini")


def test_under_the_escalation_middleware_it_is_one_of_the_agents_tools(run: Any) -> None:
    scripted = tiers(nano=hands_up, mini=say("mini"))
    first: ScriptedModel = scripted[0].model  # type: ignore[assignment]
    agent = create_agent(first, [refund, hand_up], middleware=[EscalationMiddleware(scripted)])
    result = run(agent, ask(REFUND))
    assert result["messages"][-1].text == "mini"
    assert RAN == []


def test_a_model_of_the_context_is_given_it_too(run: Any) -> None:
    other: ScriptedModel = model("other", hands_up)
    result = run(agent_of("one call", with_hand_up(say("nano"))), ask(LABEL), context={"nano_model": other})
    assert result["messages"][-1].text == "mini"
