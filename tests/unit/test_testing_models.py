"""The scripted model: says its script, remembers what it was asked, behaves as a chat model."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from pydantic import BaseModel

from langchain_tiered import Ledger, Tier, create_tiered_agent
from langchain_tiered.testing import ScriptedChatModel, ScriptExhaustedError

CALL = {"name": "refund", "args": {"order": 1042}, "id": "call_1"}
LABEL = "Classify the ticket. Labels: bug, praise, other.\n\nThe app crashes at start."


def refund(order: int) -> str:
    """Refund an order."""
    return f"Refunded order {order}."


def said(model: Any, text: str = "hi") -> str:
    return str(model.invoke(text).text)


def test_answers_follow_one_another_and_one_too_many_is_an_error() -> None:
    model = ScriptedChatModel(script=["one", AIMessage("two"), lambda messages: f"{messages[-1].text}!"])
    assert [said(model), said(model), said(model, "three")] == ["one", "two", "three!"]
    with pytest.raises(ScriptExhaustedError, match="called 4 times, and its script has 3 answers"):
        said(model)
    assert model.calls == 4


def test_a_single_answer_repeats_and_each_message_is_new() -> None:
    model = ScriptedChatModel(script=AIMessage("same", id="mine"))
    first, second = model.invoke("a"), model.invoke("b")
    assert first.text == second.text
    assert len({first.id, second.id, "mine"}) == 3
    assert [messages[0].text for messages in model.asked] == ["a", "b"]


def test_an_error_is_raised_also_when_a_function_returns_it() -> None:
    model = ScriptedChatModel(script=[TimeoutError("slow"), lambda _: ConnectionError("gone")])
    with pytest.raises(TimeoutError, match="slow"):
        said(model)
    with pytest.raises(ConnectionError, match="gone"):
        said(model)


def test_copies_and_bindings_count_along() -> None:
    model = ScriptedChatModel(script=["one", "two", "three"])
    copy = model.model_copy(update={"tags": ["held"]})
    assert [said(copy), said(model.bind_tools([refund])), said(model)] == ["one", "two", "three"]
    assert model.calls == copy.calls == 3
    assert model.bound == [[refund]]


def test_threads_get_each_answer_once() -> None:
    model = ScriptedChatModel(script=[str(number) for number in range(200)])
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: said(model), range(200)))) == 200


@pytest.mark.parametrize(
    "answer",
    [
        AIMessage("one two three"),
        AIMessage(""),
        AIMessage("Let me see.", tool_calls=[CALL, {**CALL, "id": "call_2"}]),
        AIMessage("", invalid_tool_calls=[{"name": "refund", "args": "order: 1042", "id": "call_1", "error": None}]),
        AIMessage([{"type": "text", "text": "one two", "index": 0}]),
        AIMessage("", additional_kwargs={"refusal": "No."}, response_metadata={"finish_reason": "length"}),
    ],
    ids=["words", "nothing", "calls", "malformed", "blocks", "refusal"],
)
async def test_a_stream_adds_up_to_the_whole_answer(answer: AIMessage) -> None:
    model = ScriptedChatModel(script=answer)
    whole = model.invoke("hi")
    streams = [list(model.stream("hi")), [part async for part in model.astream("hi")]]
    for parts in streams:
        total = sum(parts[1:], parts[0])
        assert (total.text, total.additional_kwargs) == (whole.text, whole.additional_kwargs)
        assert [{**call, "type": None} for call in total.tool_calls] == [
            {**call, "type": None} for call in whole.tool_calls
        ]
        assert len(total.invalid_tool_calls) == len(whole.invalid_tool_calls)
        assert total.usage_metadata == whole.usage_metadata
        assert total.response_metadata == whole.response_metadata


async def test_sync_and_async_follow_one_script() -> None:
    model = ScriptedChatModel(script=["one", "two"])
    assert [said(model), (await model.ainvoke("hi")).text] == ["one", "two"]


def test_it_runs_in_an_agent_of_langchain() -> None:
    model = ScriptedChatModel(script=[AIMessage("", tool_calls=[CALL]), "Done."])
    result = create_agent(model, [refund]).invoke({"messages": [HumanMessage("Refund order 1042.")]})
    assert [message.text for message in result["messages"]][-2:] == ["Refunded order 1042.", "Done."]


def test_it_gives_structured_output() -> None:
    class Order(BaseModel):
        """An order."""

        order: int

    model = ScriptedChatModel(script=AIMessage("", tool_calls=[{**CALL, "name": "Order"}]))
    assert model.with_structured_output(Order).invoke("hi") == Order(order=1042)


@pytest.mark.parametrize(("usage", "priced"), [({"input_tokens": 1_000_000, "output_tokens": 0}, True), (None, False)])
def test_the_ledger_prices_it_as_the_model_that_it_names(usage: Any, priced: bool) -> None:  # noqa: FBT001  (a row of the table)
    usage = usage and {**usage, "total_tokens": 1_000_000}
    model = ScriptedChatModel(script="bug", model_name="gpt-5.4-nano", usage=usage)
    result = create_tiered_agent([Tier("nano", model, criteria="All.")]).invoke({"messages": [HumanMessage(LABEL)]})
    (entry,) = result["ledger"]
    assert entry["model"] == "gpt-5.4-nano"
    assert (Ledger([entry]).total_usd is not None) is priced


def test_a_call_too_many_is_no_outage_to_a_tier() -> None:
    tiers = [Tier(name, ScriptedChatModel(script=[]), criteria="All.") for name in ("nano", "mini")]
    with pytest.raises(ScriptExhaustedError):
        create_tiered_agent(tiers).invoke({"messages": [HumanMessage(LABEL)]})
