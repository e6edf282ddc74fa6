"""What goes wrong around the answer: checks that misbehave, tiers that cannot, limits of nothing, interruptions."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest
from fakes import LABEL, REFUND, ScriptedModel, ask, call_then, fail, in_turn, model, say, tiers
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.messages.tool import tool_call
from langchain_core.tools import StructuredTool, ToolException, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from langchain_tiered import Ledger, Policy, Tier, collect_ledger, create_tiered_agent
from langchain_tiered.cascade.judge import judge
from langchain_tiered.errors import (
    ConfigurationError,
    InvalidPolicyError,
    InvalidTierError,
    NoAnswerAcceptedError,
    NoTierFitsError,
)

THREAD: Any = {"configurable": {"thread_id": "1"}}
BODIES = pytest.mark.parametrize("body", ["one call", "loop"])
CASCADE = Policy("cascade", floors={"tools": "nano"}, max_check_s=0.1)
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@tool
def refund(order: int) -> str:
    """Refund an order."""
    return f"Order {order} is refunded."


def agent_of(body: str, check: Any, policy: Policy = CASCADE, **more: Any) -> Any:
    nano, mini = tiers(nano=say("nano"), mini=say("mini"))
    return create_tiered_agent(
        [replace(nano, checks=[check]), mini], tools=[refund] if body == "loop" else [], policy=policy, **more
    )


def request(body: str) -> Any:
    return ask(REFUND if body == "loop" else LABEL)


def named(name: str, does: Any) -> Any:
    def check(given: Any) -> Any:
        return does(given)

    check.__name__ = name
    return check


def raises(error: Exception) -> Any:
    def check(_: Any) -> bool:
        raise error

    return named("raises", check)


BAD = [
    pytest.param(raises(ValueError("no total")), "The check raises raised ValueError", id="raises"),
    pytest.param(raises(ZeroDivisionError()), "The check raises raised ZeroDivisionError", id="raises without a word"),
    pytest.param(raises(ConnectionError("reset")), "The check raises raised ConnectionError", id="raises like a model"),
    pytest.param(named("mute", lambda _: None), "The check mute returned a NoneType", id="returns nothing"),
    pytest.param(named("odd", lambda _: "yes"), "The check odd returned a str", id="returns a text"),
    pytest.param(named("odd", lambda _: 1), "The check odd returned a int", id="returns a number"),
    pytest.param(named("odd", lambda _: {"accepted": "yes"}), "neither a Verdict nor a bool", id="half a verdict"),
    pytest.param(
        named("odd", lambda _: {"accepted": True, "score": float("nan")}), "gave nan as its score", id="no score"
    ),
    pytest.param(named("slow", lambda _: time.sleep(0.4)), "The check slow took longer than 0.1 s", id="hangs"),
]


@BODIES
@pytest.mark.parametrize(("check", "why"), BAD)
def test_a_check_that_misbehaves_is_a_rejection_that_names_it(run: Any, body: str, check: Any, why: str) -> None:
    result = run(agent_of(body, check), request(body))
    assert result["messages"][-1].text == "mini"
    assert why in result["route"]["reason"]
    assert [entry.get("rejected_by") for entry in result["ledger"]] == [check.__name__, None]


@BODIES
async def test_an_async_check_that_hangs_or_raises_is_a_rejection_too(body: str) -> None:
    async def hangs(_: Any) -> bool:
        await asyncio.sleep(30)
        return True

    async def breaks(_: Any) -> bool:
        raise LookupError("nowhere")

    for check, why in ((hangs, "hangs took longer than 0.1 s"), (breaks, "breaks raised LookupError")):
        result = await agent_of(body, check).ainvoke(request(body))
        assert result["messages"][-1].text == "mini"
        assert why in result["route"]["reason"]


@BODIES
def test_a_judge_that_answers_in_prose_is_a_rejection_and_is_paid(run: Any, body: str) -> None:
    prose: ScriptedModel = model("flagship", say("I would say that it is quite good."))
    result = run(agent_of(body, judge(prose)), request(body))
    assert result["messages"][-1].text == "mini"
    assert "The judge did not give a score." in result["route"]["reason"]
    assert [(entry["role"], entry["outcome"]) for entry in result["ledger"]] == [
        ("answer", "rejected"),
        ("judge", "accepted"),
        ("answer", "accepted"),
    ]


@BODIES
def test_a_judge_that_is_down_is_a_rejection_and_no_failure_of_the_tier(run: Any, body: str) -> None:
    down: ScriptedModel = model("flagship", fail(ConnectionError("reset")))
    result = run(agent_of(body, judge(down)), request(body))
    assert result["messages"][-1].text == "mini"
    assert "The check judge raised ConnectionError" in result["route"]["reason"]
    assert [(entry["role"], entry["outcome"]) for entry in result["ledger"]] == [
        ("answer", "rejected"),
        ("judge", "failed"),
        ("answer", "accepted"),
    ]


@pytest.mark.parametrize(
    "setting",
    [
        {"max_escalations": -1},
        {"max_wait_s": -0.1},
        {"max_check_s": 0},
        {"max_check_s": -1.0},
        {"max_repeats": 0},
        {"max_repeats": -3},
        {"min_confidence": -0.1},
    ],
    ids=str,
)
def test_a_limit_below_what_makes_sense_is_an_error_when_it_is_written(setting: dict[str, Any]) -> None:
    (name,) = setting
    with pytest.raises(InvalidPolicyError, match=rf"Policy {name}={setting[name]!r}: expected"):
        Policy(**setting)


@BODIES
def test_no_escalation_at_all_is_a_limit_that_holds(run: Any, body: str) -> None:
    policy = replace(CASCADE, max_escalations=0)
    with pytest.raises(NoAnswerAcceptedError, match="escalated 0 times, its limit") as raised:
        run(agent_of(body, named("never", lambda _: False), policy), request(body))
    assert [attempt["tier"] for attempt in raised.value.attempts] == ["nano"]


@BODIES
def test_a_wait_of_no_time_is_no_wait(run: Any, body: str) -> None:
    class RateLimitError(Exception):
        status_code = 429
        response = type("Response", (), {"headers": {"retry-after": "0"}})()

    limited: ScriptedModel = model("nano", fail(RateLimitError("slow down")))
    agent = create_tiered_agent(
        [Tier("nano", limited, criteria=""), *tiers(mini=say("mini"))],
        tools=[refund] if body == "loop" else [],
        policy=replace(CASCADE, max_wait_s=0),
    )
    assert run(agent, request(body))["messages"][-1].text == "mini"
    assert limited.calls == 1


def test_tiers_that_all_lack_a_capability_are_told_by_name_and_nothing_is_paid(run: Any) -> None:
    blind = [
        Tier(name, model(name, say(name), profile={"image_inputs": False}), criteria="") for name in ("nano", "mini")
    ]
    given = {"messages": [HumanMessage([{"type": "text", "text": "Read this receipt."}, PICTURE])]}
    for policy in (Policy(), Policy("cascade"), Policy(pin="mini")):
        with (
            collect_ledger() as ledger,
            pytest.raises(NoTierFitsError, match=r"nano: images \(1\), it takes none; mini"),
        ):
            run(create_tiered_agent(blind, policy=policy), given)
        assert len(ledger) == 0


def test_tools_that_no_tier_can_call_are_told_by_name(run: Any) -> None:
    deaf = [
        Tier(name, model(name, say(name), profile={"tool_calling": False}), criteria="") for name in ("nano", "mini")
    ]
    with pytest.raises(NoTierFitsError, match=r"mini: tools \(1\), it takes none"):
        run(create_tiered_agent(deaf, tools=[refund]), ask(REFUND))


def test_no_tier_that_could_take_the_overflow_is_the_providers_error(run: Any) -> None:
    class BadRequestError(Exception):
        status_code, code = 400, "context_length_exceeded"

    with pytest.raises(BadRequestError) as raised:
        run(
            create_tiered_agent(
                tiers(nano=say("x"), mini=fail(BadRequestError("too long"))), policy=Policy(pin="mini")
            ),
            ask(LABEL),
        )
    assert [attempt["tier"] for attempt in raised.value.attempts] == ["mini"]  # type: ignore[attr-defined]


def test_a_fallback_that_is_the_tiers_own_model_is_an_error_when_it_is_written() -> None:
    own = model("nano", say("nano"))
    for fallbacks in ([own], ["openai:gpt-5.4", "openai:gpt-5.4"]):
        with pytest.raises(InvalidTierError, match="its own model, or given twice"):
            Tier("nano", own, criteria="", fallbacks=fallbacks)


def test_a_tier_whose_calls_all_fail_hands_every_result_on(run: Any) -> None:
    tried: list[int] = []

    def lookup(order: int) -> str:
        """Look the refund of an order up."""
        tried.append(order)
        raise ToolException("the shop is closed")

    def next_order(messages: Any) -> AIMessage:
        order = sum(message.type == "tool" for message in messages)
        return AIMessage("", tool_calls=[tool_call(name="lookup", args={"order": order}, id=f"call_{order}")])

    failing = StructuredTool.from_function(lookup, handle_tool_error=True)
    scripted = tiers(nano=next_order, mini=say("It is closed."))
    result = run(create_tiered_agent(scripted, tools=[failing], policy=CASCADE), ask(REFUND))
    assert [message.type for message in result["messages"]] == ["human", *["ai", "tool"] * 3, "ai"]
    assert tried == [0, 1, 2], "no call is made again"
    assert result["route"]["reason"].endswith("The last 3 tool calls failed.")


class Interrupted:
    """An escalation whose second tier calls a tool that asks a human."""

    def __init__(self, nano: Any, *, policy: Policy | None = None, mini: Any = None, **more: Any) -> None:
        self.ran: list[int] = []
        ran = self.ran

        @tool
        def pay_out(order: int) -> str:
            """Pay the refund of an order out."""
            if interrupt(f"Pay order {order} out?") != "yes":
                return "Refused."
            ran.append(order)
            return "Paid."

        first, second, third = tiers(
            nano=nano, mini=mini or call_then("pay_out", {"order": 7}, say("It is paid.")), flagship=say("flagship")
        )
        self.tiers = [replace(first, **more), second, third]
        self.agent: Any = create_tiered_agent(
            self.tiers, tools=[pay_out], policy=policy or Policy("cascade"), checkpointer=InMemorySaver()
        )

    @property
    def calls(self) -> list[int]:
        return [tier.model.calls for tier in self.tiers]  # type: ignore[union-attr]


def hands_up(_: Any) -> AIMessage:
    return AIMessage("", tool_calls=[tool_call(name="hand_up", args={"reason": "It needs a payment."}, id="h1")])


def booked(result: dict[str, Any]) -> list[tuple[str | None, str]]:
    return [(entry["tier"], entry["outcome"]) for entry in result["ledger"]]


@pytest.mark.parametrize(
    ("nano", "why"),
    [(hands_up, "nano hands up"), (say(""), "empty"), (say("cut", "length"), "cut off"), (say("bad"), "reject_bad")],
    ids=["hands up", "empty", "cut off", "a user's check"],
)
def test_an_escalation_that_is_interrupted_goes_on_and_pays_nothing_twice(run: Any, nano: Any, why: str) -> None:
    given = Interrupted(nano, checks=[named("reject_bad", lambda given: given.answer.text != "bad")])
    with collect_ledger() as before:
        asked = run(given.agent, ask(LABEL), THREAD)
    assert [each.value for each in asked["__interrupt__"]] == ["Pay order 7 out?"]
    assert given.calls == [1, 1, 0]
    assert (asked["route"]["tier"], asked["route"]["escalated_from"]) == ("mini", "nano")
    with collect_ledger() as after:
        result = run(given.agent, Command(resume="yes"), THREAD)
    assert given.calls == [1, 2, 0], "nano is not asked again, and mini only reads on"
    assert given.ran == [7]
    assert [message.type for message in result["messages"]] == ["human", "ai", "tool", "ai"]
    assert result["messages"][-1].text == "It is paid."
    assert why in result["route"]["reason"]
    assert booked(result) == [("nano", "rejected"), ("mini", "tool_turn"), ("mini", "accepted")]
    assert (len(before), len(after)) == (2, 1)
    assert Ledger(result["ledger"]).total_usd == pytest.approx(0.000325 + 2 * 0.0012)
    assert len({entry["run_id"] for entry in result["ledger"]}) == 1
    assert len({entry["id"] for entry in result["ledger"]}) == 3


def test_a_failure_before_the_interruption_is_not_tried_again(run: Any) -> None:
    given = Interrupted(fail(ConnectionError("reset")))
    run(given.agent, ask(LABEL), THREAD)
    result = run(given.agent, Command(resume="no"), THREAD)
    assert (given.calls, given.ran) == ([1, 2, 0], [])
    assert booked(result) == [("nano", "failed"), ("mini", "tool_turn"), ("mini", "accepted")]


def test_an_interrupted_tier_whose_answer_is_then_rejected_escalates_on_with_the_tool_result(run: Any) -> None:
    given = Interrupted(say(""), mini=call_then("pay_out", {"order": 7}, say("cut", "length")))
    run(given.agent, ask(LABEL), THREAD)
    result = run(given.agent, Command(resume="yes"), THREAD)
    assert given.calls == [1, 2, 1]
    assert given.ran == [7]
    assert [message.type for message in result["messages"]] == ["human", "ai", "tool", "ai"]
    assert result["route"]["escalated_from"] == "nano"
    assert booked(result) == [
        ("nano", "rejected"),
        ("mini", "tool_turn"),
        ("mini", "rejected"),
        ("flagship", "accepted"),
    ]


def test_a_slip_that_was_mended_before_the_interruption_is_booked_once(run: Any) -> None:
    def calls(order: Any) -> Any:
        return lambda _: AIMessage("", tool_calls=[tool_call(name="pay_out", args={"order": order}, id=f"c{order}")])

    given = Interrupted(say(""), mini=in_turn(calls("seven"), calls(7), say("It is paid.")))
    run(given.agent, ask(LABEL), THREAD)
    result = run(given.agent, Command(resume="yes"), THREAD)
    assert given.calls == [1, 3, 0]
    assert booked(result) == [
        ("nano", "rejected"),
        ("mini", "rejected"),
        ("mini", "tool_turn"),
        ("mini", "accepted"),
    ]
    assert given.ran == [7]


def test_an_interrupted_escalation_can_be_read_from_the_stored_thread(run: Any) -> None:
    given = Interrupted(say(""))
    run(given.agent, ask(LABEL), THREAD)
    state = given.agent.get_state(THREAD)
    assert state.next == ("mini",)
    assert booked(state.values) == [("nano", "rejected")], "what mini paid is kept in its visit until it ends"
    run(given.agent, Command(resume="yes"), THREAD)
    assert given.agent.get_state(THREAD).next == ()


def test_a_new_message_instead_of_an_answer_begins_a_new_turn(run: Any) -> None:
    given = Interrupted(say(""))
    run(given.agent, ask(LABEL), THREAD)
    given.tiers[1].model.script = say("never mind then")  # type: ignore[union-attr]
    result = run(given.agent, ask(LABEL), THREAD)
    assert result["messages"][-1].text == "never mind then"
    assert given.ran == []


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"router": "openai:gpt-5.4-nano"}, "router='openai:gpt-5.4-nano' is no TierRouter"),
        ({"policy": {"pin": "nano"}}, r"policy=\{'pin': 'nano'\} is no Policy"),
        ({"budget": 0.05}, r"budget=0.05 is no Budget\. Write budget=Budget\(\.\.\.\)"),
    ],
)
def test_what_is_of_another_kind_is_named(given: Any, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        create_tiered_agent(**given)
