"""Routing, escalation, and what calls a model more than once: whichever stands outside, the answer is the right one.

A letter stands for a middleware, the first one outermost. Each test runs all orders with the router, with escalation,
and with both.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from fakes import LABEL, PROOF, ask, call_then, in_turn, model, say, tiers
from langchain.agents.middleware import (
    AgentMiddleware,
    HumanInTheLoopMiddleware,
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
)
from langchain_core.messages import AIMessage
from langchain_core.messages.tool import tool_call
from langgraph.checkpoint.memory import InMemorySaver
from orders import RateLimitError, agent, among, booked, calls, down, is_inside, look, models, refund_call, resumed

from langchain_tiered import collect_ledger

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool


THREAD: Any = {"configurable": {"thread_id": "1"}}
DONE = say("It is refunded.")
GOOD = call_then("refund", {"order": 7}, DONE)


orders = pytest.mark.parametrize("order", among("X"))


# Fallback


@orders
def test_a_fallback_model_answers_when_all_tiers_are_down_and_is_not_replaced(run: Any, order: str) -> None:
    """The router inside a fallback must not put the failed model back: langchain#40700."""
    spare = model("spare", say("spare"))
    scripted = tiers(nano=down, mini=down)
    with collect_ledger() as ledger:
        result = run(agent(order, scripted, {"X": ModelFallbackMiddleware(spare)}), ask(LABEL))
    assert result["messages"][-1].text == "spare"
    mini_too = "E" in order and not is_inside(order, "X", of="E")  # else the fallback comes before the next tier
    assert (calls(scripted), spare.calls) == ([1, int(mini_too)], 1)
    failures = ["gpt-5.4-nano failed", "gpt-5.4-mini failed"] if mini_too else ["gpt-5.4-nano failed"]
    assert models(result) == [*failures, "spare accepted"]
    assert [entry["id"] for entry in ledger] == [entry["id"] for entry in result["ledger"]]


@orders
def test_a_fallback_model_that_another_middleware_puts_there_is_asked_each_time(
    run: Any, order: str, refund: BaseTool, refunds: list[int]
) -> None:
    spare = model("spare", GOOD)
    scripted = tiers(nano=down, mini=down)
    made = agent(order, scripted, {"X": ModelFallbackMiddleware(spare)}, tools=[refund])
    assert run(made, ask(LABEL))["messages"][-1].text == "It is refunded."
    assert (spare.calls, refunds) == (2, [7])


@orders
def test_a_fallback_to_the_model_of_a_tier_is_asked_as_it_is(run: Any, order: str) -> None:
    scripted = tiers(nano=down, mini=in_turn(down, say("mini")))
    spare: Any = scripted[1].model
    if "E" not in order or is_inside(order, "X", of="E"):
        spare.script = say("mini")
    result = run(agent(order, scripted, {"X": ModelFallbackMiddleware(spare)}), ask(LABEL))
    assert result["messages"][-1].text == "mini"
    assert calls(scripted) in ([1, 1], [1, 2])
    assert len(result["ledger"]) == sum(calls(scripted))


@orders
def test_a_fallback_that_is_not_needed_is_not_asked(run: Any, order: str) -> None:
    spare = model("spare", say("spare"))
    scripted = tiers(nano=say("nano"), mini=say("mini"))
    result = run(agent(order, scripted, {"X": ModelFallbackMiddleware(spare)}), ask(LABEL))
    assert (booked(result), spare.calls) == ([("nano", "accepted")], 0)


# Retry, and whatever else calls the handler more than once


@orders
def test_a_retry_asks_the_same_model_again_and_each_call_is_booked_once(run: Any, order: str) -> None:
    scripted = tiers(nano=in_turn(down, say("nano")), mini=say("mini"))
    retry = ModelRetryMiddleware(max_retries=1, initial_delay=0, on_failure="error")
    result = run(agent(order, scripted, {"X": retry}), ask(LABEL))
    goes_up = "E" in order and not is_inside(order, "X", of="E")  # escalation comes first, and the retry has no need
    assert result["messages"][-1].text == ("mini" if goes_up else "nano")
    assert booked(result) == [("nano", "failed"), ("mini" if goes_up else "nano", "accepted")]
    assert sum(calls(scripted)) == 2


@orders
def test_a_retry_around_all_tiers_begins_anew_and_nothing_paid_is_lost(run: Any, order: str) -> None:
    scripted = tiers(nano=in_turn(down, down, say("nano")), mini=down)
    retry = ModelRetryMiddleware(max_retries=2, initial_delay=0, on_failure="error")
    result = run(agent(order, scripted, {"X": retry}), ask(LABEL))
    assert result["messages"][-1].text == "nano"
    assert result["route"]["tier"] == "nano"
    assert len(result["ledger"]) == sum(calls(scripted))
    assert booked(result)[-1] == ("nano", "accepted")
    assert [outcome for _, outcome in booked(result)[:-1]] == ["failed"] * (len(result["ledger"]) - 1)


@orders
def test_what_was_paid_is_booked_where_a_retry_makes_an_answer_of_the_error(run: Any, order: str) -> None:
    scripted = tiers(nano=down, mini=down)
    made = agent(order, scripted, {"X": ModelRetryMiddleware(max_retries=1, initial_delay=0)})
    result = run(made, ask(LABEL))
    assert "Model call failed after 2 attempts" in result["messages"][-1].text
    assert len(result["ledger"]) == sum(calls(scripted)) >= 2
    assert {outcome for _, outcome in booked(result)} == {"failed"}


class Swallowing(AgentMiddleware[Any, Any, Any]):
    """Makes a tool call of the first error."""

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        try:
            return handler(request)
        except Exception:  # noqa: BLE001  (that is what it is for)
            return refund_call(7, "1")(request.messages)

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        try:
            return await handler(request)
        except Exception:  # noqa: BLE001  (as above)
            return refund_call(7, "1")(request.messages)


@orders
def test_what_was_paid_before_an_error_was_swallowed_is_booked_at_the_end(
    run: Any, order: str, refund: BaseTool, refunds: list[int]
) -> None:
    scripted = tiers(nano=in_turn(down, say("nano")), mini=down)
    result = run(agent(order, scripted, {"X": Swallowing()}, tools=[refund]), ask(LABEL))
    assert refunds == [7]
    assert len(result["ledger"]) == sum(calls(scripted))
    assert result["messages"][-1].text == "nano"


def test_a_rejected_answer_stays_rejected_where_its_error_is_swallowed_further_out(run: Any, refund: BaseTool) -> None:
    scripted = tiers(nano=in_turn(say(""), say("nano")), mini=say(""))
    result = run(agent("RXE", scripted, {"X": Swallowing()}, tools=[refund]), ask(LABEL))
    assert [outcome for _, outcome in booked(result)][:2] == ["rejected", "rejected"]


@orders
def test_what_was_paid_before_an_error_was_swallowed_in_a_resumed_run_is_booked(
    run: Any, order: str, refund: BaseTool
) -> None:
    looking = AIMessage("", tool_calls=[tool_call(name="look", args={"order": 7}, id="look")])
    nano = in_turn(refund_call(7, "0"), lambda _: looking, down, down)
    scripted = tiers(nano=nano, mini=down)
    others = {
        "X": ModelRetryMiddleware(max_retries=1, initial_delay=0),
        "H": HumanInTheLoopMiddleware(interrupt_on={"refund": True}),
    }
    made = agent(f"H{order}", scripted, others, tools=[refund, look], checkpointer=InMemorySaver())
    run(made, ask(LABEL), THREAD)
    result = run(made, resumed({"type": "approve"}), THREAD)
    assert len(result["ledger"]) == sum(calls(scripted)) >= 4


class Twice(AgentMiddleware[Any, Any, Any]):
    """Calls the model twice and keeps one of the answers."""

    def __init__(self, keep: int, *, at_once: bool = False) -> None:
        super().__init__()
        self.keep, self.at_once = keep, at_once

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        return [handler(request), handler(request)][self.keep]

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        if self.at_once:
            return (await asyncio.gather(handler(request), handler(request)))[self.keep]
        return [await handler(request), await handler(request)][self.keep]


@orders
@pytest.mark.parametrize("keep", [0, 1])
def test_each_call_is_booked_once_where_a_middleware_calls_twice(run: Any, order: str, keep: int) -> None:
    scripted = tiers(nano=in_turn(say("one"), say("two")), mini=say("mini"))
    result = run(agent(order, scripted, {"X": Twice(keep)}), ask(LABEL))
    assert result["messages"][-1].text == ("one", "two")[keep]
    discarded_inside = order == "RX" or is_inside(order, "X", of="E")  # whoever judges knows of one answer only
    passed = [not discarded_inside or place == keep for place in (0, 1)]
    assert booked(result) == [("nano", "accepted" if each else "rejected") for each in passed]
    assert result["messages"][-1].response_metadata["route"]["tier"] == "nano"


@pytest.mark.parametrize("order", among("X", ours=("RE",)))
def test_each_answer_is_booked_as_what_became_of_it_where_a_middleware_calls_twice(run: Any, order: str) -> None:
    def limited(_: Any) -> AIMessage:
        raise RateLimitError("slow down")

    scripted = tiers(nano=say("nano"), mini=say("mini"), flagship=in_turn(limited, say("flagship")))
    result = run(agent(order, scripted, {"X": Twice(1)}), ask(PROOF))
    if is_inside(order, "X", of="E"):
        assert result["messages"][-1].text == "mini", "the second call is part of what was downgraded"
    else:
        assert booked(result) == [("flagship", "failed"), ("mini", "downgraded"), ("flagship", "accepted")]


@orders
def test_each_call_is_booked_once_where_a_middleware_calls_twice_at_once(order: str) -> None:
    scripted = tiers(nano=say("nano"), mini=say("mini"))
    result = asyncio.run(agent(order, scripted, {"X": Twice(0, at_once=True)}).ainvoke(ask(LABEL)))
    assert (result["messages"][-1].text, len(result["ledger"])) == ("nano", 2)
    assert result["messages"][-1].response_metadata["route"] == result["route"]


@orders
def test_what_was_rejected_is_booked_where_a_middleware_calls_twice(run: Any, order: str) -> None:
    scripted = tiers(nano=say(""), mini=say("mini"))
    result = run(agent(order, scripted, {"X": Twice(1)}), ask(LABEL))
    assert len(result["ledger"]) == sum(calls(scripted))
    assert result["messages"][-1].text == ("mini" if "E" in order else "")
