"""Routing and escalation as middleware: each alone, and both in both orders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fakes import LABEL, PROOF, REFUND, ask, call_then, fail, in_turn, model, say, tiers
from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage
from langchain_core.messages.tool import invalid_tool_call, tool_call
from langgraph.checkpoint.memory import InMemorySaver
from orders import CHECKED, ROUTED, AuthenticationError, RateLimitError, agent, booked, calls, refund_tool

from langchain_tiered import Ledger, Policy, Tier, collect_ledger
from langchain_tiered.errors import NoAnswerAcceptedError
from langchain_tiered.middleware import EscalationMiddleware

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

THREAD: Any = {"configurable": {"thread_id": "1"}}
UNSURE = "Hmm, what of my garden?"
REFUSAL = AIMessage("", additional_kwargs={"refusal": "I cannot help with that."})
SECRET = "quokka"  # one word, so that a chunk holds it whole
WRITE = {"reason": "It wants prose.", "task": "write", "tier": "mini", "confidence": 0.9}
MODES = ["messages", "updates", "values", "custom"]
GOOD = call_then("refund", {"order": 7}, say("It is refunded."))

checked = pytest.mark.parametrize("order", CHECKED)
routed = pytest.mark.parametrize("order", ROUTED)
every = pytest.mark.parametrize("order", ["R", *CHECKED])


def malformed(_: Any) -> AIMessage:
    return AIMessage("", tool_calls=[tool_call(name="refund", args={"order": "seven"}, id="call_1")])


def well_formed(_: Any) -> AIMessage:
    return AIMessage("", tool_calls=[tool_call(name="refund", args={"order": 7}, id="call_2")])


def no_json(_: Any) -> AIMessage:
    broken = invalid_tool_call(name="refund", args='{"order": 7', id="call_1", error=None)
    return AIMessage("", invalid_tool_calls=[broken])


def rate_limited(after: str | None = None) -> Any:
    error = RateLimitError("slow down")
    if after is not None:
        error.response = type("Response", (), {"headers": {"retry-after": after}})()  # type: ignore[attr-defined]
    return fail(error)


# Routing


@routed
def test_each_request_is_answered_by_the_tier_of_its_route(run: Any, order: str) -> None:
    scripted = tiers(nano=say("a bug"), mini=say("mini"), flagship=say("a proof"))
    own = model("own", say("own"))
    made = agent(order, scripted, own=own)
    easy, hard = run(made, ask(LABEL)), run(made, ask(PROOF))
    assert (easy["messages"][-1].text, easy["route"]["tier"]) == ("a bug", "nano")
    assert (hard["messages"][-1].text, hard["route"]["tier"]) == ("a proof", "flagship")
    assert easy["messages"][-1].response_metadata["route"] == easy["route"]
    assert booked(easy) == [("nano", "accepted")]
    assert (easy["ledger"][0]["role"], easy["ledger"][0]["model"]) == ("answer", "gpt-5.4-nano")
    assert easy["ledger"][0]["run_id"] != hard["ledger"][0]["run_id"]
    assert set(easy) == {"messages", "route", "ledger"}
    assert own.calls == 0


@every
def test_no_model_is_called_but_the_one_that_answers(run: Any, order: str) -> None:
    scripted = tiers(nano=say("a bug"), mini=say("mini"), flagship=say("flagship"))
    with collect_ledger() as ledger:
        result = run(agent(order, scripted), ask(LABEL))
    assert calls(scripted) == [1, 0, 0]
    assert len(ledger) == 1
    assert Ledger(result["ledger"]).total_usd == pytest.approx(0.000325)


@routed
def test_the_classifier_is_asked_once_where_the_rules_are_unsure_and_is_booked(run: Any, order: str) -> None:
    scripted = tiers(
        nano=call_then("Classification", WRITE, say("")),
        mini=call_then("refund", {"order": 7}, say("Dear all")),
        flagship=say("f"),
    )
    result = run(agent(order, scripted, tools=[refund_tool([])]), ask(UNSURE))
    assert (result["messages"][-1].text, result["route"]["decided_by"]) == ("Dear all", "classifier")
    assert [entry["role"] for entry in result["ledger"]] == ["classify", "answer", "answer"]
    assert {entry["run_id"] for entry in result["ledger"]} == {result["ledger"][0]["run_id"]}


@routed
def test_the_classifiers_tokens_are_never_shown(stream: Any, order: str) -> None:
    scripted = tiers(nano=call_then("Classification", WRITE, say("")), mini=say("Dear all"), flagship=say("f"))
    parts = stream(agent(order, scripted), ask(UNSURE), stream_mode="messages")
    assert "prose" not in str([chunk.content for chunk, _ in parts]) + str(
        [chunk.additional_kwargs for chunk, _ in parts]
    )
    assert not any(chunk.tool_calls for chunk, _ in parts)


@routed
def test_a_tool_loop_is_routed_once_and_finished_by_its_tier(run: Any, order: str, refund: BaseTool) -> None:
    scripted = tiers(nano=say("nano"), mini=GOOD, flagship=say("f"))
    result = run(agent(order, scripted, tools=[refund]), ask(REFUND))
    answers = [message for message in result["messages"] if isinstance(message, AIMessage)]
    assert [answer.response_metadata["model_name"] for answer in answers] == ["gpt-5.4-mini"] * 2
    assert [answer.response_metadata["route"] for answer in answers] == [result["route"]] * 2
    assert booked(result) == [("mini", "tool_turn"), ("mini", "accepted")]


@routed
def test_a_threads_route_only_rises_and_each_turn_is_booked_once(run: Any, order: str) -> None:
    scripted = tiers(nano=say("a bug"), mini=say("mini"), flagship=say("a proof"))
    made = agent(order, scripted, checkpointer=InMemorySaver())
    assert [run(made, ask(text), THREAD)["route"]["tier"] for text in (LABEL, PROOF)] == ["nano", "flagship"]
    result = run(made, ask(LABEL), THREAD)
    assert (result["route"]["tier"], result["route"]["decided_by"]) == ("flagship", "latch")
    assert booked(result) == [("nano", "accepted"), ("flagship", "accepted"), ("flagship", "accepted")]
    assert len(Ledger(result["ledger"]).by_run()) == 3
    assert len(Ledger(result["ledger"]).last_run()) == 1


@checked
def test_an_escalation_is_the_threads_latch(run: Any, order: str) -> None:
    scripted = tiers(nano=say(""), mini=say("mini"))
    made = agent(order, scripted, checkpointer=InMemorySaver())
    run(made, ask(LABEL), THREAD)
    again = run(made, ask(LABEL), THREAD)
    assert (again["route"]["tier"], again["route"]["decided_by"]) == ("mini", "latch")
    assert calls(scripted) == [1, 2]
    anew = agent(order, scripted, policy=Policy(reroute="turn"), checkpointer=InMemorySaver())
    run(anew, ask(LABEL), THREAD)
    run(anew, ask(LABEL), THREAD)
    assert calls(scripted) == [3, 4]


def test_a_given_answer_is_not_changed_where_a_cache_could_give_it_again(run: Any) -> None:
    kept = AIMessage("a bug", id="1", response_metadata={"model_name": "kept"})
    own = FakeMessagesListChatModel(responses=[kept])
    result = run(create_agent(own, middleware=[EscalationMiddleware([Tier("nano", own, criteria="")])]), ask(LABEL))
    assert result["messages"][-1].response_metadata["route"]["tier"] == "nano"
    assert "route" not in kept.response_metadata


# Escalation


@checked
@pytest.mark.parametrize(
    ("rejected", "check"),
    [
        (say("cut", "length"), "finished"),
        (say(""), "not_empty"),
        (lambda _: REFUSAL, "not_refused"),
        (say("half", "content_filter"), "not_refused"),
    ],
    ids=["cut off", "empty", "refused", "filtered"],
)
def test_a_rejected_answer_goes_one_tier_up_and_is_booked(run: Any, order: str, rejected: Any, check: str) -> None:
    result = run(agent(order, tiers(nano=rejected, mini=say("mini"), flagship=say("f"))), ask(LABEL))
    assert [message.text for message in result["messages"]] == [LABEL, "mini"]
    route = result["route"]
    assert (route["tier"], route["decided_by"], route["escalated_from"]) == ("mini", "escalation", "nano")
    assert check in route["reason"]
    assert result["messages"][-1].response_metadata["route"] == route
    assert booked(result) == [("nano", "rejected"), ("mini", "accepted")]
    assert result["ledger"][0]["rejected_by"] == check
    assert Ledger(result["ledger"]).total_usd == pytest.approx(0.000325 + 0.0012)


@checked
@pytest.mark.parametrize("slip", [malformed, no_json])
def test_a_malformed_call_is_told_once_and_mended(
    run: Any, order: str, slip: Any, refund: BaseTool, refunds: list[int]
) -> None:
    scripted = tiers(nano=in_turn(slip, well_formed, GOOD), mini=say("mini"))
    result = run(agent(order, scripted, tools=[refund]), ask(LABEL))
    assert result["messages"][-1].text == "It is refunded."
    assert [message.type for message in result["messages"]] == ["human", "ai", "tool", "ai"]
    assert refunds == [7]
    assert booked(result) == [("nano", "rejected"), ("nano", "tool_turn"), ("nano", "accepted")]
    assert result["route"]["tier"] == "nano"
    nano: Any = scripted[0].model
    assert [message.type for message in nano.asked[1]] == ["human", "ai", "tool"]
    assert [message.type for message in nano.asked[2]] == ["human", "ai", "tool"]
    assert "no JSON" in nano.asked[1][-1].text or "order" in nano.asked[1][-1].text


@checked
def test_a_call_that_is_malformed_twice_is_made_by_the_next_tier(
    run: Any, order: str, refund: BaseTool, refunds: list[int]
) -> None:
    scripted = tiers(nano=malformed, mini=GOOD)
    result = run(agent(order, scripted, tools=[refund]), ask(LABEL))
    assert (refunds, calls(scripted)) == ([7], [2, 2])
    assert [message.type for message in result["messages"]] == ["human", "ai", "tool", "ai"]
    assert booked(result) == [("nano", "rejected")] * 2 + [("mini", "tool_turn"), ("mini", "accepted")]
    assert "valid_tool_calls" in result["route"]["reason"]
    assert result["route"]["reason"].startswith("nano")


@checked
def test_the_reason_of_an_escalation_is_not_that_of_a_slip_mended_above(run: Any, order: str, refund: BaseTool) -> None:
    scripted = tiers(nano=say(""), mini=in_turn(malformed, well_formed, GOOD))
    result = run(agent(order, scripted, tools=[refund]), ask(LABEL))
    assert result["route"]["reason"].startswith("nano was rejected by not_empty")


@checked
def test_tool_results_are_kept_and_no_tool_runs_twice(
    run: Any, order: str, refund: BaseTool, refunds: list[int]
) -> None:
    cut = call_then("refund", {"order": 7}, say("cut", "length"))
    scripted = tiers(nano=cut, mini=say("It is refunded."), flagship=say("f"))
    result = run(agent(order, scripted, tools=[refund]), ask(LABEL))
    assert refunds == [7]
    assert [message.type for message in result["messages"]] == ["human", "ai", "tool", "ai"]
    assert booked(result) == [("nano", "tool_turn"), ("nano", "rejected"), ("mini", "accepted")]


@checked
def test_a_tier_that_turns_in_circles_is_left(run: Any, order: str, refund: BaseTool, refunds: list[int]) -> None:
    def circle(_: Any) -> AIMessage:
        return AIMessage("", tool_calls=[tool_call(name="refund", args={"order": 7}, id=f"c{len(refunds)}")])

    result = run(agent(order, tiers(nano=circle, mini=say("Stopped.")), tools=[refund]), ask(LABEL))
    assert (result["messages"][-1].text, len(refunds)) == ("Stopped.", 2)
    assert "not_stalled" in result["route"]["reason"]


@checked
def test_an_answer_cut_off_after_its_tokens_were_shown_stands_and_is_marked(stream: Any, order: str) -> None:
    made = agent(order, tiers(nano=say("it is a", "length"), mini=say("mini")))
    *_, (_, final) = stream(made, ask(LABEL), stream_mode=["messages", "values"])
    assert final["messages"][-1].text == "it is a"
    assert final["messages"][-1].response_metadata["truncated"] is True
    assert booked(final) == [("nano", "truncated")]


@checked
def test_a_model_that_is_down_is_stood_in_for_by_its_fallback_to_the_end_of_the_turn(
    run: Any, order: str, refund: BaseTool
) -> None:
    spare = model("spare", GOOD)
    first = Tier("nano", model("nano", fail(ConnectionError("down"))), criteria="", fallbacks=[spare])
    scripted = [first, *tiers(mini=say("mini"))]
    result = run(agent(order, scripted, tools=[refund]), ask(LABEL))
    assert (result["messages"][-1].text, result["route"]["tier"]) == ("It is refunded.", "nano")
    assert booked(result) == [("nano", "failed"), ("nano", "tool_turn"), ("nano", "accepted")]
    assert (calls(scripted), spare.calls) == ([1, 0], 2)


@checked
def test_an_outage_without_a_fallback_goes_up(run: Any, order: str) -> None:
    result = run(agent(order, tiers(nano=fail(ConnectionError("down")), mini=say("mini"))), ask(LABEL))
    assert booked(result) == [("nano", "failed"), ("mini", "accepted")]


@checked
def test_a_rate_limit_is_waited_for_as_long_as_the_policy_allows(run: Any, order: str) -> None:
    scripted = tiers(nano=in_turn(rate_limited("0.01"), say("after all")), mini=say("mini"))
    result = run(agent(order, scripted), ask(LABEL))
    assert result["messages"][-1].text == "after all"
    assert booked(result) == [("nano", "failed"), ("nano", "accepted")]


@pytest.mark.parametrize("order", ["RE", "ER"])
def test_a_rate_limit_at_the_top_is_answered_one_tier_below_and_the_route_stays(
    run: Any, order: str, refund: BaseTool, refunds: list[int]
) -> None:
    scripted = tiers(nano=say("nano"), mini=GOOD, flagship=rate_limited())
    result = run(agent(order, scripted, tools=[refund]), ask(PROOF))
    assert (result["messages"][-1].text, result["route"]["tier"], refunds) == ("It is refunded.", "flagship", [7])
    turns = [("flagship", "failed"), ("mini", "tool_turn"), ("flagship", "failed"), ("mini", "downgraded")]
    assert booked(result) == turns


@pytest.mark.parametrize("order", ["RE", "ER"])
def test_after_a_downgrade_the_next_call_is_the_routes_own_model_again(run: Any, order: str, refund: BaseTool) -> None:
    spare = model("spare", well_formed)
    scripted = [
        *tiers(nano=say("nano")),
        Tier("mini", model("mini", fail(ConnectionError("down"))), criteria="", fallbacks=[spare]),
        *tiers(flagship=in_turn(rate_limited(), say("a proof"))),
    ]
    result = run(agent(order, scripted, tools=[refund]), ask(PROOF))
    failures = [("flagship", "failed"), ("mini", "failed")]
    assert booked(result) == [*failures, ("mini", "tool_turn"), ("flagship", "accepted")]


@checked
@pytest.mark.parametrize("error", [AuthenticationError("bad key"), KeyError("a bug"), ValueError("a bug")])
def test_a_callers_mistake_or_a_bug_is_raised_at_once_with_what_was_paid(
    run: Any, order: str, error: Exception
) -> None:
    scripted = tiers(nano=say(""), mini=fail(error), flagship=say("f"))
    with pytest.raises(type(error)) as raised:
        run(agent(order, scripted), ask(LABEL))
    told: Any = raised.value
    assert calls(scripted) == [1, 1, 0]
    assert booked(told.ledger) == [("nano", "rejected"), ("mini", "failed")]
    assert [attempt["tier"] for attempt in told.attempts] == ["nano"]


def test_the_router_alone_puts_what_was_paid_on_an_error(run: Any, refund: BaseTool) -> None:
    scripted = tiers(nano=call_then("refund", {"order": 7}, fail(ConnectionError("down"))))
    with pytest.raises(ConnectionError) as raised:
        run(agent("R", scripted, tools=[refund]), ask(LABEL))
    told: Any = raised.value
    assert booked(told.ledger) == [("nano", "tool_turn"), ("nano", "failed")]
    assert told.attempts == []


@checked
def test_when_all_are_rejected_the_error_lists_the_attempts_and_the_ledger(run: Any, order: str) -> None:
    scripted = tiers(nano=say(""), mini=say("", "length"), flagship=lambda _: REFUSAL)
    with collect_ledger() as ledger, pytest.raises(NoAnswerAcceptedError) as raised:
        run(agent(order, scripted), ask(LABEL))
    assert [attempt["tier"] for attempt in raised.value.attempts] == ["nano", "mini", "flagship"]
    rejections = ["not_empty", "finished", "not_refused"]
    for entries in (raised.value.ledger, ledger.entries):
        assert [entry["outcome"] for entry in entries] == ["rejected"] * 3
        assert [entry.get("rejected_by") for entry in entries] == rejections


@checked
def test_a_provider_error_passes_through_with_its_own_type_once_the_steps_are_used_up(run: Any, order: str) -> None:
    scripted = tiers(nano=say(""), mini=fail(ConnectionError("reset by peer")))
    with pytest.raises(ConnectionError, match="reset by peer") as raised:
        run(agent(order, scripted), ask(LABEL))
    told: Any = raised.value
    assert [attempt["tier"] for attempt in told.attempts] == ["nano", "mini"]
    assert booked(told.ledger) == [("nano", "rejected"), ("mini", "failed")]


@checked
def test_a_failed_turn_leaves_the_thread_as_it_was_paid_and_usable(run: Any, order: str) -> None:
    scripted = tiers(nano=in_turn(say("a bug"), say(""), say("a bug")), mini=in_turn(say(""), say("mini")))
    made = agent(order, scripted, checkpointer=InMemorySaver())
    run(made, ask(LABEL), THREAD)
    with pytest.raises(NoAnswerAcceptedError) as raised:
        run(made, ask(LABEL), THREAD)
    assert len(raised.value.ledger) == 2, "only what this run has paid"
    assert run(made, ask(LABEL), THREAD)["messages"][-1].text == "a bug"


@checked
def test_what_a_turn_has_tried_counts_in_its_next_call(run: Any, order: str, refund: BaseTool) -> None:
    scripted = tiers(nano=say(""), mini=call_then("refund", {"order": 7}, say("")), flagship=say("f"))
    with pytest.raises(NoAnswerAcceptedError, match="escalated 1 times") as raised:
        run(agent(order, scripted, policy=Policy(max_escalations=1), tools=[refund]), ask(LABEL))
    assert [attempt["tier"] for attempt in raised.value.attempts] == ["nano", "mini"]


@pytest.mark.parametrize("order", ["RE", "ER"])
def test_a_tier_that_cannot_take_the_request_is_passed_over(run: Any, order: str) -> None:
    small = Tier("mini", model("mini", say("mini")), criteria="", max_input_tokens=5)
    scripted = [*tiers(nano=say("")), small, *tiers(flagship=say("flagship"))]
    assert booked(run(agent(order, scripted), ask(LABEL))) == [("nano", "rejected"), ("flagship", "accepted")]
