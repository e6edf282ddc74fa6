"""Routing, escalation, and what bounds or prepares an agent's loop, in any order: limits, summaries, tools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fakes import LABEL, ask, call_then, in_turn, model, say, tiers
from langchain.agents.middleware import (
    LLMToolSelectorMiddleware,
    ModelCallLimitMiddleware,
    SummarizationMiddleware,
    ToolCallLimitMiddleware,
    ToolRetryMiddleware,
)
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from orders import agent, among, booked, calls, is_inside, look, refund_call

from langchain_tiered import collect_ledger

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool


THREAD: Any = {"configurable": {"thread_id": "1"}}
DONE = say("It is refunded.")
GOOD = call_then("refund", {"order": 7}, DONE)


orders = pytest.mark.parametrize("order", among("X"))


# Limits


@orders
def test_a_limit_of_model_calls_counts_turns_of_the_loop_and_not_attempts(
    run: Any, order: str, refund: BaseTool, refunds: list[int]
) -> None:
    scripted = tiers(nano=say("") if "E" in order else GOOD, mini=GOOD)
    limit = ModelCallLimitMiddleware(run_limit=2, exit_behavior="error")
    result = run(agent(order, scripted, {"X": limit}, tools=[refund]), ask(LABEL))
    assert (result["messages"][-1].text, refunds) == ("It is refunded.", [7])
    assert calls(scripted) == ([1, 2] if "E" in order else [2, 0])


@orders
def test_a_limit_of_model_calls_ends_the_run_with_what_was_paid_and_keeps_the_latch(
    run: Any, order: str, refund: BaseTool
) -> None:
    scripted = tiers(nano=say("") if "E" in order else GOOD, mini=GOOD)
    limit = ModelCallLimitMiddleware(run_limit=1)
    made = agent(order, scripted, {"X": limit}, tools=[refund], checkpointer=InMemorySaver())
    result = run(made, ask(LABEL), THREAD)
    tier = "mini" if "E" in order else "nano"
    assert "limit" in result["messages"][-1].text.lower()
    assert booked(result)[-1] == (tier, "tool_turn")
    again = run(made, ask(LABEL), THREAD)
    assert again["route"]["tier"] == tier
    assert len(again["ledger"]) == len(result["ledger"]) + 1


@orders
def test_a_limit_of_model_calls_holds_for_a_thread(run: Any, order: str) -> None:
    scripted = tiers(nano=say("nano"), mini=say("mini"))
    made = agent(order, scripted, {"X": ModelCallLimitMiddleware(thread_limit=2)}, checkpointer=InMemorySaver())
    texts = [run(made, ask(LABEL), THREAD)["messages"][-1].text for _ in range(3)]
    assert (texts[:2], calls(scripted)) == (["nano", "nano"], [2, 0])


@orders
def test_a_limit_of_tool_calls_blocks_the_call_and_the_tier_says_so(
    run: Any, order: str, refund: BaseTool, refunds: list[int]
) -> None:
    scripted = tiers(nano=in_turn(refund_call(7, "1"), refund_call(8, "2"), say("One is refunded.")), mini=say("m"))
    made = agent(order, scripted, {"X": ToolCallLimitMiddleware(run_limit=1)}, tools=[refund])
    result = run(made, ask(LABEL))
    assert (result["messages"][-1].text, refunds) == ("One is refunded.", [7])
    assert booked(result) == [("nano", "tool_turn"), ("nano", "tool_turn"), ("nano", "accepted")]


# Summaries


@orders
def test_a_summary_takes_the_place_of_history_and_each_turn_is_booked_once(run: Any, order: str) -> None:
    summarizer = model("summarizer", say("A ticket was labelled."))
    summary = SummarizationMiddleware(summarizer, trigger=("messages", 4), keep=("messages", 2))
    scripted = tiers(nano=say("nano"), mini=say("mini"))
    made = agent(order, scripted, {"X": summary}, checkpointer=InMemorySaver())
    with collect_ledger() as ledger:
        results = [run(made, ask(LABEL), THREAD) for _ in range(4)]
    assert [result["messages"][-1].text for result in results] == ["nano"] * 4
    assert "A ticket was labelled." in results[-1]["messages"][0].text
    assert booked(results[-1]) == [("nano", "accepted")] * 4
    assert [entry["role"] for entry in ledger].count("summarize") == summarizer.calls > 0
    assert len(ledger) == 4 + summarizer.calls


@pytest.mark.parametrize("order", among("X", ours=("E", "RE")))
def test_a_turn_that_is_summarised_in_its_middle_still_rises(
    run: Any, order: str, refund: BaseTool, refunds: list[int]
) -> None:
    def circle(_: Any) -> AIMessage:
        return refund_call(7, f"c{len(refunds)}")(None)  # type: ignore[no-any-return]

    summary = SummarizationMiddleware(model("s", say("It began.")), trigger=("messages", 12), keep=("messages", 8))
    scripted = tiers(nano=in_turn(*(refund_call(i, f"n{i}") for i in range(5)), circle), mini=say("Stopped."))
    result = run(agent(order, scripted, {"X": summary}, tools=[refund]), ask(LABEL))
    assert result["messages"][-1].text == "Stopped."
    assert "not_stalled" in result["route"]["reason"]
    assert len(result["ledger"]) == sum(calls(scripted))


@pytest.mark.parametrize("order", among("X", ours=("E", "RE")))
def test_a_tier_that_turns_in_circles_is_left_though_its_history_was_summarised(
    run: Any, order: str, refund: BaseTool, refunds: list[int]
) -> None:
    def circle(_: Any) -> AIMessage:
        done = len(refunds) > 20  # a test that fails must end
        return AIMessage("in vain") if done else refund_call(7, f"c{len(refunds)}")(None)

    summary = SummarizationMiddleware(model("s", say("It began.")), trigger=("messages", 12), keep=("messages", 4))
    walk = in_turn(*(refund_call(i, f"n{i}") for i in range(5)), say(""))
    scripted = tiers(nano=walk, mini=circle, flagship=say("Stopped."))
    result = run(agent(order, scripted, {"X": summary}, tools=[refund]), ask(LABEL))
    assert (result["messages"][-1].text, result["route"]["tier"]) == ("Stopped.", "flagship")


# Tool selection, tool retries


@orders
@pytest.mark.parametrize("own", [True, False], ids=["a model of its own", "the agent's model"])
def test_the_selected_tools_are_given_to_the_model_that_answers(
    run: Any,
    order: str,
    refund: BaseTool,
    refunds: list[int],
    own: bool,  # noqa: FBT001  (a parameter)
) -> None:
    chosen = call_then("ToolSelectionResponse", {"tools": ["refund"]}, say(""))

    def answers(messages: Any) -> AIMessage:
        return chosen(messages) if messages[0].type == "system" else GOOD(messages)

    selector = model("selector", chosen)
    scripted = tiers(nano=answers, mini=answers)
    selection = LLMToolSelectorMiddleware(model=selector if own else None)
    stands_alone = model("own", answers) if "R" in order else None
    made = agent(order, scripted, {"X": selection}, tools=[refund, look], own=stands_alone)
    with collect_ledger() as ledger:
        result = run(made, ask(LABEL))
    assert (result["messages"][-1].text, refunds) == ("It is refunded.", [7])
    nano: Any = scripted[0].model
    answering = [bound for bound in nano.bound if "ToolSelectionResponse" not in str(bound)]
    assert [[each.name for each in bound] for bound in answering] == [["refund"], ["refund"]]
    assert [entry["role"] for entry in ledger].count("answer") == 2
    assert len(ledger) == 4, "one selection for each call"
    is_around = not any(is_inside(order, "X", of=ours) for ours in "RE")
    assert len(result["ledger"]) == (2 if is_around else 4), "the thread's ledger has what passes through ours"


@pytest.mark.parametrize("order", among("X", ours=("E", "RE")))
def test_a_call_of_a_tool_that_was_not_selected_is_a_slip(
    run: Any, order: str, refund: BaseTool, refunds: list[int]
) -> None:
    selection = LLMToolSelectorMiddleware(
        model=model("selector", call_then("ToolSelectionResponse", {"tools": ["look"]}, say("")))
    )
    scripted = tiers(nano=refund_call(7, "1"), mini=say("I cannot refund."))
    result = run(agent(order, scripted, {"X": selection}, tools=[refund, look]), ask(LABEL))
    if not is_inside(order, "X", of="E"):
        assert (result["messages"][-1].text, refunds) == ("I cannot refund.", [])
    assert len([entry for entry in result["ledger"] if entry["role"] == "answer"]) == sum(calls(scripted))


@orders
def test_a_tool_that_is_retried_is_run_as_often_as_the_retry_says(run: Any, order: str) -> None:
    tries: list[int] = []

    @tool
    def refund(order: int) -> str:
        """Refund an order."""
        tries.append(order)
        if len(tries) == 1:
            raise ConnectionError("down")
        return "done"

    scripted = tiers(nano=GOOD, mini=say("mini"))
    made = agent(order, scripted, {"X": ToolRetryMiddleware(max_retries=1, initial_delay=0)}, tools=[refund])
    result = run(made, ask(LABEL))
    assert (result["messages"][-1].text, tries) == ("It is refunded.", [7, 7])
    assert booked(result) == [("nano", "tool_turn"), ("nano", "accepted")]
