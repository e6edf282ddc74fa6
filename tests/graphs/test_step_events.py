"""What `stream_mode="custom"` tells of a run's steps: one plain event each, inside a tier's loop as well."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fakes import LABEL, REFUND, ScriptedModel, ask, call_then, fail, in_turn, model, say
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.messages.tool import tool_call
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from langchain_tiered import Policy, Tier, create_tiered_agent
from langchain_tiered.errors import NoAnswerAcceptedError
from langchain_tiered.middleware import EscalationMiddleware
from langchain_tiered.nodes.events import StepEvent

THREAD: Any = {"configurable": {"thread_id": "1"}}
BODIES = pytest.mark.parametrize("body", ["one call", "loop"])
SUBGRAPHS = pytest.mark.parametrize("subgraphs", [False, True], ids=["alone", "subgraphs"])


class RateLimitError(Exception):
    """Looks like a provider's: recognised by its status."""

    status_code = 429

    def __init__(self, retry_after: str = "") -> None:
        super().__init__("slow down")
        headers = {"retry-after": retry_after} if retry_after else {}
        self.response = type("Response", (), {"headers": headers})()


@tool
def refund(order: int) -> str:
    """Refund an order."""
    return f"Order {order} is refunded."


def calls_wrongly(_: Any) -> AIMessage:
    return AIMessage("", tool_calls=[tool_call(name="refund", args={"order": "seven"}, id="wrong")])


def agent_of(body: str, mini: Any, *, spare: Any = None, nano: Any = None, **settings: Any) -> Any:
    """Make an agent whose request begins at `mini`, which is a loop where it has tools."""
    fallbacks = [model("spare", spare)] if spare else []
    tiers = [
        Tier("nano", model("nano", nano or say("nano"), ScriptedModel), criteria=""),
        Tier("mini", model("mini", mini, ScriptedModel), criteria="", fallbacks=fallbacks),
        Tier("flagship", model("flagship", say("flagship")), criteria=""),
    ]
    policy = Policy(on_classifier_error="mini", **{"floors": {"tools": "nano", "classify": "mini"}, **settings})
    return create_tiered_agent(
        tiers, tools=[refund] if body == "loop" else [], policy=policy, checkpointer=InMemorySaver()
    )


def request(body: str) -> Any:
    return ask(REFUND if body == "loop" else LABEL)


def events_of(parts: list[Any], *, subgraphs: bool) -> list[Any]:
    return [part[1] if subgraphs else part for part in parts]


def event(action: str, reason: str, to: str = "mini", **more: Any) -> dict[str, Any]:
    told = {"type": "tiered_step", "action": action, "tier": "mini", "to": to, "fallback": 0, "reason": reason}
    return {**told, "check": None, "failure": None, "wait_s": 0.0, **more}


WRONG = {
    "one call": "mini was rejected by valid_tool_calls: It called 'refund', but it was given no tools.",
    "loop": "mini was rejected by valid_tool_calls: refund: 'order' must be a valid integer.",
}


@SUBGRAPHS
@BODIES
def test_a_wait_is_told_once(stream: Any, body: str, subgraphs: bool) -> None:  # noqa: FBT001  (a parameter)
    agent = agent_of(body, in_turn(fail(RateLimitError("0.01")), say("after all")))
    parts = stream(agent, request(body), config=THREAD, stream_mode="custom", subgraphs=subgraphs)
    why = "mini failed: RateLimitError: slow down Waiting 0.01 s."
    assert events_of(parts, subgraphs=subgraphs) == [event("wait", why, failure="rate_limit", wait_s=0.01)]


@SUBGRAPHS
@BODIES
def test_a_repair_is_told_once(stream: Any, body: str, subgraphs: bool) -> None:  # noqa: FBT001  (a parameter)
    agent = agent_of(body, in_turn(calls_wrongly, say("right")))
    parts = stream(agent, request(body), config=THREAD, stream_mode="custom", subgraphs=subgraphs)
    assert events_of(parts, subgraphs=subgraphs) == [event("repair", WRONG[body], check="valid_tool_calls")]


@SUBGRAPHS
@BODIES
def test_a_fallback_is_told_once(stream: Any, body: str, subgraphs: bool) -> None:  # noqa: FBT001  (a parameter)
    agent = agent_of(body, fail(ConnectionError("reset")), spare=say("spare"))
    parts = stream(agent, request(body), config=THREAD, stream_mode="custom", subgraphs=subgraphs)
    why = "mini failed: ConnectionError: reset Its fallback 1 stands in."
    assert events_of(parts, subgraphs=subgraphs) == [event("fall_back", why, fallback=1, failure="outage")]


@SUBGRAPHS
@BODIES
def test_an_escalation_is_told_once(stream: Any, body: str, subgraphs: bool) -> None:  # noqa: FBT001  (a parameter)
    agent = agent_of(body, say(""))
    parts = stream(agent, request(body), config=THREAD, stream_mode="custom", subgraphs=subgraphs)
    why = "mini was rejected by not_empty: The answer is empty."
    assert events_of(parts, subgraphs=subgraphs) == [event("escalate", why, "flagship", check="not_empty")]


@SUBGRAPHS
@BODIES
def test_a_downgrade_is_told_once(stream: Any, body: str, subgraphs: bool) -> None:  # noqa: FBT001  (a parameter)
    agent = agent_of(body, fail(RateLimitError()), floors={"tools": "nano"})
    given = request(body) if body == "loop" else ask("Write a friendly mail to Ann about the delay.")
    parts = stream(agent, given, config=THREAD, stream_mode="custom", subgraphs=subgraphs)
    why = "mini failed: RateLimitError: slow down"
    assert events_of(parts, subgraphs=subgraphs) == [event("downgrade", why, "nano", failure="rate_limit")]


@SUBGRAPHS
@BODIES
def test_a_question_to_a_human_is_told_once_and_not_again_on_resume(
    stream: Any,
    body: str,
    subgraphs: bool,  # noqa: FBT001  (a parameter)
) -> None:
    agent = agent_of(body, say("half", "length"), on_no_answer="ask", max_escalations=0)
    options = {"config": THREAD, "stream_mode": "custom", "subgraphs": subgraphs}
    why = "mini was rejected by finished: The answer was cut off (length). The turn has escalated 0 times, its limit."
    parts = stream(agent, request(body), **options)
    assert events_of(parts, subgraphs=subgraphs) == [event("ask", why, check="finished")]
    assert stream(agent, Command(resume={"decisions": [{"type": "approve"}]}), **options) == []
    assert agent.get_state(THREAD).values["messages"][-1].text == "half"


@BODIES
def test_a_stop_is_told_before_the_error(body: str) -> None:
    told: list[Any] = []
    agent = agent_of(body, say(""), max_escalations=0)
    with pytest.raises(NoAnswerAcceptedError):
        told.extend(agent.stream(request(body), THREAD, stream_mode="custom"))
    why = "mini was rejected by not_empty: The answer is empty. The turn has escalated 0 times, its limit."
    assert told == [event("stop", why, check="not_empty")]


@SUBGRAPHS
@BODIES
def test_the_steps_of_a_turn_come_in_order_as_plain_json(stream: Any, body: str, subgraphs: bool) -> None:  # noqa: FBT001  (a parameter)
    mini = in_turn(fail(RateLimitError("0.01")), fail(ConnectionError("reset")))
    agent = agent_of(body, mini, spare=calls_wrongly)
    parts = stream(agent, request(body), config=THREAD, stream_mode="custom", subgraphs=subgraphs)
    told = events_of(parts, subgraphs=subgraphs)
    assert [(each["action"], each["fallback"], each["to"]) for each in told] == [
        ("wait", 0, "mini"),
        ("fall_back", 1, "mini"),
        ("repair", 1, "mini"),
        ("escalate", 0, "flagship"),
    ]
    assert json.loads(json.dumps(told)) == told
    for each in told:
        assert each.keys() == StepEvent.__annotations__.keys()


@BODIES
def test_an_accepted_answer_is_no_event(stream: Any, body: str) -> None:
    agent = agent_of(body, call_then("refund", {"order": 7}, say("done")) if body == "loop" else say("done"))
    assert stream(agent, request(body), config=THREAD, stream_mode="custom", subgraphs=True) == []


@BODIES
def test_the_steps_of_an_agent_that_a_tool_runs_are_its_own(stream: Any, body: str) -> None:
    inner = agent_of(body, in_turn(calls_wrongly, say("right")))

    @tool
    def research(order: int) -> str:
        """Research the refund of an order."""
        return str(inner.invoke(request(body), {"configurable": {"thread_id": "2"}})["messages"][-1].text)

    first = Tier("nano", model("nano", call_then("research", {"order": 7}, say("done"))), criteria="")
    outer = create_tiered_agent([first], tools=[research])
    assert stream(outer, ask(REFUND), stream_mode="custom") == []


def test_the_escalation_middleware_tells_its_steps_too(stream: Any) -> None:
    scripted = [
        Tier("nano", model("nano", in_turn(fail(RateLimitError("0.01")), say(""))), criteria=""),
        Tier("mini", model("mini", say("mini")), criteria=""),
    ]
    agent: Any = create_agent(scripted[0].model, middleware=[EscalationMiddleware(scripted)])
    told = stream(agent, ask(LABEL), stream_mode="custom")
    assert [(each["action"], each["tier"], each["to"]) for each in told] == [
        ("wait", "nano", "nano"),
        ("escalate", "nano", "mini"),
    ]
