"""What the agent does with an answer: accept it, escalate, go sideways or down, or raise."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from fakes import LABEL, PROOF, REFUND, ScriptedModel, ask, call_then, fail, in_turn, model, say, tiers
from langchain_core.messages import AIMessage, SystemMessage
from langchain_core.messages.tool import tool_call
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command

from langchain_tiered import Ledger, Policy, Tier, TierRouter, collect_ledger, create_tiered_agent
from langchain_tiered.errors import NoAnswerAcceptedError, NoTierFitsError
from langchain_tiered.types import Rates

if TYPE_CHECKING:
    from langchain_tiered.cascade import CheckInput

REFUSAL = AIMessage("", additional_kwargs={"refusal": "I cannot help with that."})


class RateLimitError(Exception):
    """Looks like a provider's: recognised by its status."""

    status_code = 429


class AuthenticationError(Exception):
    """Looks like a provider's: a caller's mistake."""

    status_code = 401


@pytest.fixture
def refunds() -> list[int]:
    return []


@pytest.fixture
def refund(refunds: list[int]) -> Any:
    @tool
    def refund(order: int) -> str:
        """Refund an order."""
        refunds.append(order)
        return f"Order {order} is refunded."

    return refund


def outcomes(result: dict[str, Any]) -> list[tuple[str | None, str]]:
    return [(entry["tier"], entry["outcome"]) for entry in result["ledger"]]


def test_each_request_is_answered_by_the_tier_of_its_route(run: Any) -> None:
    agent = create_tiered_agent(tiers(nano=say("a bug"), mini=say("mini"), flagship=say("a proof")))
    easy, hard = run(agent, ask(LABEL)), run(agent, ask(PROOF))
    assert (easy["messages"][-1].text, easy["route"]["tier"]) == ("a bug", "nano")
    assert (hard["messages"][-1].text, hard["route"]["tier"]) == ("a proof", "flagship")
    assert easy["messages"][-1].response_metadata["route"] == easy["route"]
    assert outcomes(easy) == [("nano", "accepted")]
    assert set(easy) == {"messages", "route", "ledger"}


@pytest.mark.parametrize(
    ("rejected", "why"),
    [
        (say("cut", "length"), "cut off"),
        (say(""), "empty"),
        (lambda _: REFUSAL, "rejected by not_refused: The model refused."),
        (say("half", "content_filter"), "content_filter"),
    ],
)
def test_a_rejected_answer_escalates_and_is_booked(run: Any, rejected: Any, why: str) -> None:
    agent = create_tiered_agent(tiers(nano=rejected, mini=say("mini"), flagship=say("flagship")))
    result = run(agent, ask(LABEL))
    assert [message.text for message in result["messages"]] == [LABEL, "mini"]
    route = result["route"]
    assert (route["tier"], route["decided_by"], route["escalated_from"]) == ("mini", "escalation", "nano")
    assert why in route["reason"]
    assert outcomes(result) == [("nano", "rejected"), ("mini", "accepted")]
    assert Ledger(result["ledger"]).total_usd == pytest.approx(0.000325 + 0.0012)


def test_the_tier_first_chosen_is_named_after_two_escalations(run: Any) -> None:
    agent = create_tiered_agent(tiers(nano=say(""), mini=say(""), flagship=say("flagship")))
    route = run(agent, ask(LABEL))["route"]
    assert (route["tier"], route["escalated_from"]) == ("flagship", "nano")


def test_when_all_are_rejected_the_error_lists_the_attempts_and_the_ledger(run: Any) -> None:
    agent = create_tiered_agent(tiers(nano=say(""), mini=say("", "length"), flagship=lambda _: REFUSAL))
    with collect_ledger() as ledger, pytest.raises(NoAnswerAcceptedError) as raised:
        run(agent, ask(LABEL))
    assert [attempt["tier"] for attempt in raised.value.attempts] == ["nano", "mini", "flagship"]
    assert "3 attempts (nano: The answer is empty.; mini: The answer was cut off" in str(raised.value)
    assert [entry["outcome"] for entry in raised.value.ledger] == ["rejected"] * 3
    assert [entry["outcome"] for entry in ledger] == ["rejected"] * 3
    assert ledger.total_usd == pytest.approx(Ledger(raised.value.ledger).total_usd)


def test_max_escalations_bounds_what_a_turn_pays(run: Any) -> None:
    scripted = tiers(nano=say(""), mini=say(""), flagship=say("flagship"))
    agent = create_tiered_agent(scripted, policy=Policy(max_escalations=1))
    with pytest.raises(NoAnswerAcceptedError, match="escalated 1 times"):
        run(agent, ask(LABEL))
    assert scripted[2].model.calls == 0  # type: ignore[union-attr]


def test_tool_results_are_carried_over_and_no_tool_runs_twice(run: Any, refund: Any, refunds: list[int]) -> None:
    cut = call_then("refund", {"order": 1042}, say("cut", "length"))
    agent = create_tiered_agent(tiers(nano=say("nano"), mini=cut, flagship=say("Refunded.")), tools=[refund])
    result = run(agent, ask(REFUND))
    assert refunds == [1042]
    assert [message.type for message in result["messages"]] == ["human", "ai", "tool", "ai"]
    assert result["messages"][-1].text == "Refunded."
    assert outcomes(result) == [("mini", "tool_turn"), ("mini", "rejected"), ("flagship", "accepted")]


def test_a_failure_in_the_middle_of_a_tool_loop_keeps_the_tool_results(
    run: Any, refund: Any, refunds: list[int]
) -> None:
    down = call_then("refund", {"order": 7}, fail(ConnectionError("reset by peer")))
    agent = create_tiered_agent(tiers(nano=say("n"), mini=down, flagship=say("Refunded.")), tools=[refund])
    result = run(agent, ask(REFUND))
    assert refunds == [7]
    assert [message.type for message in result["messages"]] == ["human", "ai", "tool", "ai"]
    assert result["route"]["escalated_from"] == "mini"
    assert outcomes(result) == [("mini", "tool_turn"), ("mini", "failed"), ("flagship", "accepted")]


def test_a_provider_error_passes_through_with_its_own_type_once_the_steps_are_used_up(run: Any) -> None:
    down = fail(ConnectionError("reset by peer"))
    agent = create_tiered_agent(tiers(nano=say(""), mini=down, flagship=down))
    with pytest.raises(ConnectionError, match="reset by peer") as raised:
        run(agent, ask(LABEL))
    assert [attempt["tier"] for attempt in raised.value.attempts] == ["nano", "mini", "flagship"]  # type: ignore[attr-defined]
    assert [entry["outcome"] for entry in raised.value.ledger] == ["rejected", "failed", "failed"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("error", [AuthenticationError("bad key"), KeyError("a bug"), ValueError("a bug")])
def test_a_callers_mistake_or_a_bug_is_raised_at_once(run: Any, refund: Any, error: Exception) -> None:
    for given, text in (((), LABEL), ([refund], REFUND)):
        scripted = tiers(nano=fail(error), mini=fail(error), flagship=say("flagship"))
        with pytest.raises(type(error)) as raised:
            run(create_tiered_agent(scripted, tools=given), ask(text))
        assert scripted[2].model.calls == 0  # type: ignore[union-attr]
        assert [entry["outcome"] for entry in raised.value.ledger] == ["failed"]  # type: ignore[attr-defined]


def test_a_fallback_stands_in_for_a_model_that_is_down(run: Any) -> None:
    spare = model("spare", say("spare"))
    first = Tier("nano", model("nano", fail(ConnectionError("down"))), criteria="", fallbacks=[spare])
    agent = create_tiered_agent([first, *tiers(mini=say("mini"))])
    result = run(agent, ask(LABEL))
    assert (result["messages"][-1].text, result["route"]["tier"]) == ("spare", "nano")
    assert outcomes(result) == [("nano", "failed"), ("nano", "accepted")]


def test_a_tiers_own_rates_do_not_price_another_model_that_stands_in(run: Any) -> None:
    spare = model("gpt-5.4-mini", say("spare"))
    dear = Rates(input_usd=1000, output_usd=1000)
    down = in_turn(say("own"), fail(ConnectionError("down")), say("own"))
    first = Tier("nano", model("nano", down), criteria="", fallbacks=[spare], rates=dear, price_factor=2)
    agent = create_tiered_agent([first])
    assert Ledger(run(agent, ask(LABEL))["ledger"]).total_usd == pytest.approx(2 * 1.1)
    assert run(agent, ask(LABEL))["ledger"][-1]["cost_usd"] == pytest.approx(2 * 0.0012)
    assert run(agent, ask(LABEL), context={"nano_model": spare})["ledger"][0]["cost_usd"] == pytest.approx(2 * 0.0012)


def test_a_rate_limit_at_the_top_is_answered_one_tier_below_and_the_route_stays(run: Any) -> None:
    agent = create_tiered_agent(tiers(nano=say("nano"), mini=say("mini"), flagship=fail(RateLimitError("slow down"))))
    result = run(agent, ask(PROOF))
    assert (result["messages"][-1].text, result["route"]["tier"]) == ("mini", "flagship")
    assert outcomes(result) == [("flagship", "failed"), ("mini", "downgraded")]


def test_a_downgrade_never_goes_below_the_floor(run: Any) -> None:
    limited = tiers(nano=say("nano"), mini=say("mini"), flagship=fail(RateLimitError("slow down")))
    agent = create_tiered_agent(limited, policy=Policy(floors={"reason": "flagship"}))
    with pytest.raises(RateLimitError):
        run(agent, ask(PROOF))


def test_a_rate_limit_is_waited_for_as_long_as_the_policy_allows(run: Any) -> None:
    error = RateLimitError("slow down")
    error.response = type("Response", (), {"headers": {"retry-after": "0.01"}})()  # type: ignore[attr-defined]
    scripted = tiers(nano=in_turn(fail(error), say("after all")), mini=say("mini"))
    result = run(create_tiered_agent(scripted), ask(LABEL))
    assert result["messages"][-1].text == "after all"
    assert outcomes(result) == [("nano", "failed"), ("nano", "accepted")]


def test_a_tier_without_the_tools_is_told_so_and_may_hand_up(run: Any, refund: Any, refunds: list[int]) -> None:
    def wants_more(_: Any) -> AIMessage:
        return AIMessage("", tool_calls=[tool_call(name="hand_up", args={"reason": "I cannot refund."}, id="1")])

    scripted = tiers(
        nano=wants_more, mini=call_then("refund", {"order": 1042}, say("Refunded.")), flagship=say("flagship")
    )
    router = TierRouter(scripted, classifier=lambda _: "nano", policy=Policy())
    agent = create_tiered_agent(router=router, tools=[refund])
    result = run(agent, ask("Help me with my parcel."))
    assert [message.type for message in result["messages"]] == ["human", "ai", "tool", "ai"]
    assert refunds == [1042]
    assert (result["route"]["tier"], result["route"]["reason"]) == ("mini", "nano hands up: I cannot refund.")
    nano: Any = scripted[0].model
    assert [each["function"]["name"] for each in nano.bound[0]] == ["hand_up"]
    assert isinstance(nano.asked[0][0], SystemMessage)
    assert "You do not have the tools refund." in nano.asked[0][0].text
    assert "hand_up" not in str(scripted[1].model.bound[0])  # type: ignore[union-attr]


def test_a_loop_may_hand_up_too(run: Any, refund: Any) -> None:
    @tool
    def look(order: int) -> str:
        """Look an order up."""
        return "late"

    hands_up = call_then(
        "look",
        {"order": 7},
        lambda _: AIMessage("", tool_calls=[tool_call(name="hand_up", args={"reason": "no refunds here"}, id="9")]),
    )
    first = Tier("nano", model("nano", hands_up), criteria="", tools=[look])
    agent = create_tiered_agent(
        router=TierRouter([first, *tiers(mini=say("Refunded."))], classifier=lambda _: "nano"), tools=[refund]
    )
    result = run(agent, ask("Help me with my parcel."))
    assert [message.type for message in result["messages"]] == ["human", "ai", "tool", "ai"]
    assert result["route"]["reason"] == "nano hands up: no refunds here"
    assert outcomes(result) == [("nano", "tool_turn"), ("nano", "rejected"), ("mini", "accepted")]


def test_a_pinned_tier_neither_escalates_nor_is_offered_to_hand_up(run: Any, refund: Any) -> None:
    scripted = tiers(nano=say(""), mini=say("mini"))
    agent = create_tiered_agent(scripted, tools=[refund])
    with pytest.raises(NoAnswerAcceptedError, match="pinned to nano"):
        run(agent, ask(REFUND), context={"pin": "nano"})
    assert scripted[0].model.bound == []  # type: ignore[union-attr]
    assert not isinstance(scripted[0].model.asked[0][0], SystemMessage)  # type: ignore[union-attr]


def test_a_users_check_rejects_with_its_reason_and_sees_the_request(run: Any) -> None:
    seen: list[tuple[str, str]] = []

    def names_a_label(given: CheckInput) -> bool:
        seen.append((given.request[-1].text, given.answer.text))
        return given.answer.text in {"bug", "praise", "other"}

    agent = create_tiered_agent(tiers(nano=say("dunno"), mini=say("bug")), checks={"classify": [names_a_label]})
    result = run(agent, ask(LABEL))
    assert result["messages"][-1].text == "bug"
    assert "names_a_label rejects" in result["route"]["reason"]
    assert seen == [(LABEL, "dunno"), (LABEL, "bug")]


def test_a_model_that_a_check_calls_is_booked_as_a_judge(run: Any) -> None:
    grader: ScriptedModel = model("mini", say("good"))

    def graded(given: CheckInput) -> bool:
        return grader.invoke(given.answer.text).text == "good"

    agent = create_tiered_agent(tiers(nano=say("bug"), mini=say("mini")), checks=[graded])
    result = run(agent, ask(LABEL))
    assert [(entry["role"], entry["outcome"]) for entry in result["ledger"]] == [
        ("answer", "accepted"),
        ("judge", "accepted"),
    ]


def test_no_checks_means_that_anything_is_accepted(run: Any) -> None:
    agent = create_tiered_agent(tiers(nano=say("cut", "length"), mini=say("mini")), checks=())
    assert run(agent, ask(LABEL))["messages"][-1].text == "cut"


def test_a_tier_that_cannot_take_the_request_is_never_escalated_to(run: Any) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    given = {"messages": [{"role": "user", "content": [{"type": "text", "text": "Read this receipt."}, picture]}]}
    blind = Tier("mini", model("mini", say("blind"), profile={"image_inputs": False}), criteria="")
    scripted = tiers(nano=say(""), flagship=say("12.50"))
    result = run(create_tiered_agent([scripted[0], blind, scripted[1]]), given)
    assert (result["route"]["tier"], result["messages"][-1].text) == ("flagship", "12.50")
    with pytest.raises(NoTierFitsError, match="images"):
        run(create_tiered_agent([blind]), given)


def test_a_call_of_a_tool_that_a_tier_does_not_have_is_a_wish_for_more(run: Any, refund: Any) -> None:
    def imitates(_: Any) -> AIMessage:
        return AIMessage("", tool_calls=[tool_call(name="refund", args={"order": 1}, id="c9")])

    agent = create_tiered_agent(tiers(nano=imitates, mini=say("mini")), tools=[refund])
    result = run(agent, ask(LABEL))
    assert [message.type for message in result["messages"]] == ["human", "ai"]
    assert result["route"]["reason"] == "nano hands up: It called 'refund', which it does not have."


def test_a_tier_that_the_policy_pins_has_the_tools(run: Any, refund: Any, refunds: list[int]) -> None:
    scripted = tiers(nano=call_then("refund", {"order": 7}, say("done")), mini=say("mini"))
    agent = create_tiered_agent(scripted, tools=[refund], policy=Policy(pin="nano"))
    assert run(agent, ask(REFUND))["messages"][-1].text == "done"
    assert refunds == [7]


async def test_a_call_that_is_cancelled_is_booked_at_an_unknown_cost() -> None:
    class Slow(ScriptedModel):
        async def _agenerate(self, *_: Any, **__: Any) -> Any:
            await asyncio.sleep(60)

    agent = create_tiered_agent([Tier("nano", model("nano", say("never"), Slow), criteria="")])
    with collect_ledger() as ledger, pytest.raises(TimeoutError):
        await asyncio.wait_for(agent.ainvoke(ask(LABEL)), 0.2)
    assert [(entry["outcome"], entry["cost_usd"]) for entry in ledger] == [("failed", None)]
    assert ledger.total_usd is None


def test_a_tool_may_hand_over_to_the_graph_around_the_agent(run: Any) -> None:
    @tool
    def refund(order: int) -> Any:
        """Refund an order."""
        return Command(goto="person", graph=Command.PARENT)

    agent = create_tiered_agent(tiers(nano=say("n"), mini=call_then("refund", {"order": 7}, say("x"))), tools=[refund])
    builder = StateGraph(MessagesState).add_node("agent", agent, destinations=("person",))
    builder.add_node("person", lambda _: {"messages": [AIMessage("A person takes over.")]})
    assert run(builder.add_edge(START, "agent").compile(), ask(REFUND))["messages"][-1].text == "A person takes over."
