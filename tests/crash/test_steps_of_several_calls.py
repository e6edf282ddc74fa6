"""What docs/durability.md says of steps that make several calls: a crash in one pays all of its calls again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.messages.tool import tool_call
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from langchain_tiered import Tier, create_tiered_agent
from langchain_tiered.testing import ScriptedChatModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tiered.cascade import CheckInput

THREAD: Any = {"configurable": {"thread_id": "ann"}}


class Crash(BaseException):
    """Ends a run where it is, as no handler of exceptions can hold it up."""


def model(*answers: Any) -> ScriptedChatModel:
    """Give the answers, and crash at the `Crash` among them."""
    return ScriptedChatModel(script=list(answers), model_name="gpt-5.4-mini")


def resumed(agent: Any) -> dict[str, Any]:
    with pytest.raises(Crash):
        agent.invoke({"messages": [("user", "Please look order 1042 up.")]}, THREAD, durability="sync")
    assert agent.get_state(THREAD).tasks
    result: dict[str, Any] = agent.invoke(None, THREAD, durability="sync")
    return result


def looks(order: object) -> AIMessage:
    return AIMessage("", tool_calls=[tool_call(name="look_up", args={"order": order}, id="call_1")])


def results(messages: Sequence[BaseMessage]) -> list[str]:
    return [message.text for message in messages if isinstance(message, ToolMessage)]


@tool
def look_up(order: int) -> str:
    """Look an order up."""
    return f"{order} is late."


def test_a_crash_in_a_repair_pays_the_malformed_call_again() -> None:
    mini = model(looks("ten"), Crash(), looks("ten"), looks(1042), "Late.")
    agent = create_tiered_agent([Tier("mini", mini, criteria="")], tools=[look_up], checkpointer=InMemorySaver())
    result = resumed(agent)
    assert results(result["messages"]) == ["1042 is late."]
    assert (mini.calls, len(result["ledger"])) == (5, 3)  # a lost call, a lost repair, and what is booked


@pytest.mark.parametrize(("tools", "lost"), [([look_up], ["answer", "judge"]), ([], ["judge"])])
def test_a_crash_in_a_check_pays_the_answer_again_in_a_loop_alone(tools: list[Any], lost: list[str]) -> None:
    mini, grader = model("Late.", "Late."), model(Crash(), "yes")

    def graded(given: CheckInput) -> bool:
        return grader.invoke(f"Is it right? {given.answer.text}").text == "yes"

    agent = create_tiered_agent(
        [Tier("mini", mini, criteria="")], tools=tools, checks=[graded], checkpointer=InMemorySaver()
    )
    result = resumed(agent)
    assert sorted(entry["role"] for entry in result["ledger"]) == ["answer", "judge"]
    assert mini.calls - 1 == lost.count("answer")
    assert grader.calls - 1 == lost.count("judge")


def test_a_tools_own_call_is_not_paid_again_and_stays_in_the_ledger() -> None:
    inner = model("Late.", "never asked for")

    @tool
    def look_up(order: int) -> str:
        """Look an order up."""
        return inner.invoke(f"What of {order}?").text

    mini = model(looks(1042), Crash(), "It is late.")
    agent = create_tiered_agent([Tier("mini", mini, criteria="")], tools=[look_up], checkpointer=InMemorySaver())
    result = resumed(agent)
    assert results(result["messages"]) == ["Late."]
    assert inner.calls == 1
    assert [entry["role"] for entry in result["ledger"]] == ["answer", "other", "answer"]
