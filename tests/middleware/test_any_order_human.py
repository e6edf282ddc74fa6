"""Routing, escalation, and a human in the loop, in any order: nothing is lost, and nothing is paid or done twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fakes import LABEL, ScriptedModel, ask, call_then, in_turn, model, say, tiers
from langchain.agents.middleware import (
    AgentMiddleware,
    HumanInTheLoopMiddleware,
    ModelCallLimitMiddleware,
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    ToolRetryMiddleware,
)
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Command
from orders import agent, among, booked, calls, refund_call, resumed, wrongly

from langchain_tiered.errors import NoAnswerAcceptedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.tools import BaseTool

    from langchain_tiered import Tier

THREAD: Any = {"configurable": {"thread_id": "1"}}
DONE = say("It is refunded.")
GOOD = call_then("refund", {"order": 7}, DONE)


orders = pytest.mark.parametrize("order", among("X"))


# A human in the loop


def interrupting(order: str, scripted: Sequence[Tier], refund: BaseTool) -> Any:
    saver = InMemorySaver(serde=JsonPlusSerializer(allowed_msgpack_modules=None))
    human = HumanInTheLoopMiddleware(interrupt_on={"refund": True})
    return agent(order, scripted, {"X": human}, tools=[refund], checkpointer=saver)


@orders
def test_nothing_is_lost_or_paid_twice_across_an_interrupt(
    run: Any, order: str, refund: BaseTool, refunds: list[int]
) -> None:
    scripted = tiers(nano=GOOD, mini=GOOD)
    made = interrupting(order, scripted, refund)
    first = run(made, ask(LABEL), THREAD)
    assert (len(first["__interrupt__"]), refunds, booked(first)) == (1, [], [("nano", "tool_turn")])
    result = run(made, resumed({"type": "approve"}), THREAD)
    assert (result["messages"][-1].text, refunds, calls(scripted)) == ("It is refunded.", [7], [2, 0])
    assert booked(result) == [("nano", "tool_turn"), ("nano", "accepted")]
    assert len({entry["run_id"] for entry in result["ledger"]}) == 1, "one run, interrupted once"
    assert result["route"] == first["route"]


@pytest.mark.parametrize("order", among("X", ours=("E", "RE")))
def test_the_tier_that_a_turn_has_risen_to_goes_on_after_an_interrupt(
    run: Any, order: str, refund: BaseTool, refunds: list[int]
) -> None:
    scripted = tiers(nano=say(""), mini=wrongly(7), flagship=GOOD)
    made = interrupting(order, scripted, refund)
    run(made, ask(LABEL), THREAD)
    result = run(made, resumed({"type": "approve"}), THREAD)
    assert (result["messages"][-1].text, refunds, calls(scripted)) == ("It is refunded.", [7], [1, 2, 1 + 1])
    outcomes = [("nano", "rejected"), ("mini", "rejected"), ("mini", "rejected")]
    assert booked(result) == [*outcomes, ("flagship", "tool_turn"), ("flagship", "accepted")]
    assert (result["route"]["tier"], result["route"]["escalated_from"]) == ("flagship", "nano")


@pytest.mark.parametrize("order", among("X", ours=("E", "RE")))
def test_a_turn_may_still_rise_after_an_interrupt(run: Any, order: str, refund: BaseTool, refunds: list[int]) -> None:
    scripted = tiers(nano=call_then("refund", {"order": 7}, say("")), mini=say("It is refunded."))
    made = interrupting(order, scripted, refund)
    run(made, ask(LABEL), THREAD)
    result = run(made, resumed({"type": "approve"}), THREAD)
    assert (result["messages"][-1].text, refunds) == ("It is refunded.", [7])
    assert booked(result) == [("nano", "tool_turn"), ("nano", "rejected"), ("mini", "accepted")]
    assert result["route"]["tier"] == "mini"


@pytest.mark.parametrize("order", among("X", ours=("E", "RE")))
def test_an_error_after_an_interrupt_has_all_that_the_run_has_paid(run: Any, order: str, refund: BaseTool) -> None:
    scripted = tiers(nano=call_then("refund", {"order": 7}, say("")), mini=say(""))
    made = interrupting(order, scripted, refund)
    run(made, ask(LABEL), THREAD)
    with pytest.raises(NoAnswerAcceptedError) as raised:
        run(made, resumed({"type": "approve"}), THREAD)
    assert booked(raised.value.ledger) == [("nano", "tool_turn"), ("nano", "rejected"), ("mini", "rejected")]


@orders
@pytest.mark.parametrize(
    ("decision", "done"),
    [
        ({"type": "edit", "edited_action": {"name": "refund", "args": {"order": 8}}}, [8]),
        ({"type": "reject", "message": "No."}, []),
    ],
    ids=["edit", "reject"],
)
def test_what_a_human_decides_holds(
    run: Any, order: str, refund: BaseTool, refunds: list[int], decision: Any, done: list[int]
) -> None:
    made = interrupting(order, tiers(nano=GOOD, mini=GOOD), refund)
    run(made, ask(LABEL), THREAD)
    result = run(made, resumed(decision), THREAD)
    assert (result["messages"][-1].text, refunds) == ("It is refunded.", done)
    assert booked(result) == [("nano", "tool_turn"), ("nano", "accepted")]


@orders
def test_an_interrupt_that_is_never_answered_does_not_disturb_the_next_turn(
    run: Any, order: str, refund: BaseTool
) -> None:
    scripted = tiers(nano=in_turn(refund_call(7, "1"), say("nano")), mini=say("mini"))
    made = interrupting(order, scripted, refund)
    run(made, ask(LABEL), THREAD)
    result = run(made, ask(LABEL), THREAD)
    assert result["messages"][-1].text == "nano"
    assert [outcome for _, outcome in booked(result)] == ["tool_turn", "accepted"]
    assert len({entry["run_id"] for entry in result["ledger"]}) == 2


class Gate(AgentMiddleware[Any, Any, Any]):
    """Asks a human before the first model call."""

    def before_model(self, state: Any, runtime: Any) -> None:
        from langgraph.types import interrupt  # noqa: PLC0415  (of this double alone)

        if len(state["messages"]) == 1 or state["messages"][-1].type == "human":
            interrupt("Go on?")

    async def abefore_model(self, state: Any, runtime: Any) -> None:
        self.before_model(state, runtime)


@orders
def test_a_run_that_was_interrupted_before_its_first_call_is_routed_by_its_own_request(run: Any, order: str) -> None:
    scripted = tiers(nano=say("nano"), mini=say("mini"), flagship=say("flagship"))
    made = agent(order, scripted, {"X": Gate()}, checkpointer=InMemorySaver())
    for text, tier in ((LABEL, "nano"), ("Prove that the square root of two is irrational.", "flagship")):
        run(made, ask(text), THREAD)
        result = run(made, Command(resume="yes"), THREAD)
        expected = tier if "R" in order else "nano"
        assert (result["messages"][-1].text, result["route"]["tier"]) == (expected, expected)
    assert len(result["ledger"]) == 2


# All of them at once


def test_both_stand_among_five_others_in_many_orders(run: Any, refunds: list[int], refund: BaseTool) -> None:
    stack = "REFYLHT"
    for turn in range(len(stack)):
        for order in (stack[turn:] + stack[:turn], (stack[turn:] + stack[:turn])[::-1]):
            refunds.clear()
            spare: ScriptedModel = model("spare", say("spare"))
            scripted = tiers(nano=say(""), mini=GOOD)
            others: Any = {
                "F": ModelFallbackMiddleware(spare),
                "Y": ModelRetryMiddleware(max_retries=1, initial_delay=0),
                "L": ModelCallLimitMiddleware(run_limit=2),
                "H": HumanInTheLoopMiddleware(interrupt_on={"refund": True}),
                "T": ToolRetryMiddleware(max_retries=1, initial_delay=0),
            }
            made = agent(order, scripted, others, tools=[refund], checkpointer=InMemorySaver())
            assert "__interrupt__" in run(made, ask(LABEL), THREAD)
            result = run(made, resumed({"type": "approve"}), THREAD)
            assert (order, result["messages"][-1].text, refunds) == (order, "It is refunded.", [7])
            assert booked(result) == [("nano", "rejected"), ("mini", "tool_turn"), ("mini", "accepted")]
            assert (calls(scripted), spare.calls) == ([1, 2], 0)
