"""Structured answers and tool choices in an agent with routing and escalation: none is lost or overridden."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from fakes import LABEL, ScriptedModel, ask, call_then, in_turn, say, tiers
from langchain.agents.middleware import AgentMiddleware, ModelRetryMiddleware
from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, StructuredOutputError, ToolStrategy
from langchain_core.messages import AIMessage
from langchain_core.messages.tool import tool_call
from orders import CHECKED, agent, among, booked, calls, refund_tool
from pydantic import BaseModel, Field

from langchain_tiered import Tier

if TYPE_CHECKING:
    from collections.abc import Sequence

checked = pytest.mark.parametrize("order", CHECKED)
every = pytest.mark.parametrize("order", ["R", *CHECKED])
orders = pytest.mark.parametrize("order", among("X"))


class Label(BaseModel):
    """The label of a ticket."""

    label: str


class Count(BaseModel):
    """How many tickets."""

    count: int


class Bound(ScriptedModel):
    """Remembers with what its tools were bound."""

    settings: list[dict[str, Any]] = Field(default_factory=list)

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        self.settings.append(kwargs)
        return super().bind_tools(tools, **kwargs)


def bound(**scripts: Any) -> tuple[Tier, ...]:
    return tuple(Tier(name, Bound(model_name=name, script=script), criteria="") for name, script in scripts.items())


def by_tool(**args: Any) -> Any:
    return lambda messages: AIMessage("", tool_calls=[tool_call(name="Label", args=args, id=f"c{len(messages)}")])


def by_text(**args: Any) -> Any:
    return say(json.dumps(args))


STRATEGIES = [(ToolStrategy(Label), by_tool), (ProviderStrategy(Label), by_text), (AutoStrategy(Label), by_tool)]
strategies = pytest.mark.parametrize(("strategy", "answers"), STRATEGIES, ids=["tool", "provider", "auto"])


@every
@strategies
def test_the_tier_of_the_route_gives_the_structured_answer_in_one_call(
    run: Any, order: str, strategy: Any, answers: Any
) -> None:
    scripted = bound(nano=answers(label="bug"), mini=say("mini"))
    result = run(agent(order, scripted, response_format=strategy), ask(LABEL))
    assert result["structured_response"] == Label(label="bug")
    assert calls(scripted) == [1, 0]
    assert [tier for tier, _ in booked(result)] == ["nano"]
    assert result["route"]["tier"] == "nano"


@checked
@strategies
def test_a_schema_that_is_broken_once_is_mended_and_one_broken_twice_goes_up(
    run: Any, order: str, strategy: Any, answers: Any
) -> None:
    wrong, right = answers(wrong="x"), answers(label="bug")
    scripted = bound(nano=in_turn(wrong, right, wrong), mini=right)
    made = agent(order, scripted, response_format=strategy)
    mended, risen = run(made, ask(LABEL)), run(made, ask(LABEL))
    assert (mended["structured_response"], mended["route"]["tier"]) == (Label(label="bug"), "nano")
    assert [outcome for _, outcome in booked(mended)][:1] == ["rejected"]
    assert (risen["structured_response"], risen["route"]["tier"]) == (Label(label="bug"), "mini")
    assert [tier for tier, _ in booked(risen)] == ["nano", "nano", "mini"]
    assert [entry.get("rejected_by") for entry in risen["ledger"]] == ["matches_schema", "matches_schema", None]
    assert calls(scripted) == [4, 1]
    assert "wrong" not in str(risen["messages"]), "what was rejected joins no thread"


@checked
def test_an_error_of_langchains_own_about_the_schema_is_raised_with_what_was_paid(run: Any, order: str) -> None:
    scripted = bound(nano=by_tool(wrong="x"))
    strict = ToolStrategy(Label, handle_errors=False)
    with pytest.raises(StructuredOutputError) as raised:
        run(agent(order, scripted, response_format=strict), ask(LABEL))
    told: Any = raised.value
    assert booked(told.ledger) == [("nano", "rejected")] * 2
    assert [attempt["verdict"]["check"] for attempt in told.attempts] == ["matches_schema"] * 2


@every
@strategies
def test_a_structured_answer_after_a_tool(run: Any, order: str, strategy: Any, answers: Any) -> None:
    refunds: list[int] = []
    scripted = bound(nano=call_then("refund", {"order": 7}, answers(label="bug")), mini=say("mini"))
    made = agent(order, scripted, tools=[refund_tool(refunds)], response_format=strategy)
    result = run(made, ask(LABEL))
    assert (result["structured_response"], refunds, calls(scripted)) == (Label(label="bug"), [7], [2, 0])


@checked
def test_a_structured_answer_that_is_rejected_is_in_no_stream(stream: Any, order: str) -> None:
    scripted = tiers(nano=by_text(wrong="quokka"), mini=by_text(label="bug"))
    made = agent(order, scripted, response_format=ProviderStrategy(Label))
    parts = stream(made, ask(LABEL), stream_mode="messages")
    assert "quokka" not in str([chunk.content for chunk, _ in parts])
    assert "bug" in str([chunk.content for chunk, _ in parts])


class Choosing(AgentMiddleware[Any, Any, Any]):
    """Overrides what is asked of the model."""

    def __init__(self, **overrides: Any) -> None:
        super().__init__()
        self.overrides = overrides

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        return handler(request.override(**self.overrides))

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        return await handler(request.override(**self.overrides))


@orders
def test_a_tool_choice_and_settings_reach_each_model_that_is_asked(run: Any, order: str) -> None:
    """No middleware of ours overrides them: langchain#36568."""
    scripted = bound(nano=say("" if "E" in order else "nano"), mini=say("mini"))
    choosing = Choosing(tool_choice="refund", model_settings={"temperature": 0.5})
    run(agent(order, scripted, {"X": choosing}, tools=[refund_tool([])]), ask(LABEL))
    asked = [tier.model for tier in scripted][: 2 if "E" in order else 1]
    for model in asked:
        assert model.settings == [{"tool_choice": "refund", "temperature": 0.5}]  # type: ignore[union-attr]


@orders
def test_a_schema_that_another_middleware_sets_is_the_one_that_is_wanted_and_checked(run: Any, order: str) -> None:
    """No middleware of ours overrides it: langchain#38847."""

    def count(_: Any) -> AIMessage:
        return AIMessage("", tool_calls=[tool_call(name="Count", args={"count": 7}, id="1")])

    scripted = bound(nano=count, mini=say("mini"))
    choosing = Choosing(response_format=ToolStrategy(Count))
    made = agent(order, scripted, {"X": choosing}, response_format=ToolStrategy(Label | Count))
    result = run(made, ask(LABEL))
    assert result["structured_response"] == Count(count=7)
    assert [tool.name for tool in scripted[0].model.bound[0]] == ["Count"]  # type: ignore[union-attr]


@orders
def test_a_retry_and_a_structured_answer(run: Any, order: str) -> None:
    def down(_: Any) -> AIMessage:
        raise ConnectionError("down")

    scripted = bound(nano=in_turn(down, by_tool(label="bug")), mini=by_tool(label="bug"))
    retry = ModelRetryMiddleware(max_retries=1, initial_delay=0, on_failure="error")
    result = run(agent(order, scripted, {"X": retry}, response_format=ToolStrategy(Label)), ask(LABEL))
    assert result["structured_response"] == Label(label="bug")
    assert len(result["ledger"]) == sum(calls(scripted)) == 2
