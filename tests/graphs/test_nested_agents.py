"""A tiered agent that a tool of another one runs: each books its own calls, and the outer one all."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import REFUND, ask, call_then, model, say, tiers
from langchain_core.callbacks import CallbackManager
from langchain_core.tools import tool

from langchain_tiered import Tier, create_tiered_agent
from langchain_tiered.accounting import Recorder, recorder_in, recording


@tool
def refund(order: int) -> str:
    """Refund an order."""
    return f"Order {order} is refunded."


def test_the_innermost_recorder_is_known_in_whatever_order_managers_are_merged() -> None:
    outer, inner = Recorder(), Recorder()
    around = recording({"callbacks": CallbackManager([])}, outer, {})
    within = recording(around, inner, {})
    for handlers in ([outer, inner], [inner, outer]):
        assert recorder_in({"callbacks": CallbackManager(list(handlers))}) is inner
    assert recorder_in(around) is outer
    assert recorder_in(within) is inner


@pytest.mark.parametrize("own_thread", [False, True])
def test_no_call_of_an_inner_agent_is_missing_in_the_outer_ledger(run: Any, own_thread: bool) -> None:  # noqa: FBT001  (a parameter)
    given: dict[str, Any] = {}
    scripted = tiers(mini=call_then("refund", {"order": 7}, say("Refunded.")))
    inner = create_tiered_agent(scripted, tools=[refund])

    @tool
    def delegate(order: int) -> str:
        """Delegate the refund of an order."""
        config: Any = {"configurable": {"thread_id": "2"}} if own_thread else None
        given.update(inner.invoke(ask(REFUND), config))
        return str(given["messages"][-1].text)

    first = Tier("nano", model("nano", call_then("delegate", {"order": 7}, say("done"))), criteria="")
    agent = create_tiered_agent([first], tools=[delegate])
    for _ in range(8):  # handlers were in an order of their own each time
        result = run(agent, ask(REFUND))
        booked = [("mini", "tool_turn"), ("mini", "accepted")]
        assert [(entry["tier"], entry["outcome"]) for entry in given["ledger"]] == booked
        assert [(entry["tier"], entry["outcome"]) for entry in result["ledger"]] == [
            ("nano", "tool_turn"),
            *booked,
            ("nano", "accepted"),
        ]
