"""A stream that ends in the middle of a tool call: LangChain completes its JSON, and half a number would be run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fakes import REFUND, StreamingModel, ask, in_turn, model, say
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.messages.tool import tool_call, tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.tools import tool

from langchain_tiered import EscalationMiddleware, Tier, create_tiered_agent

if TYPE_CHECKING:
    from collections.abc import Iterator

ran: list[int] = []


@tool
def refund(amount: int) -> str:
    """Refund an order by its amount."""
    ran.append(amount)
    return f"Refunded {amount}."


class CutModel(StreamingModel):
    """Streams half of its first call, and ends as if nothing were amiss."""

    def _stream(self, messages: list[BaseMessage], *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:
        if self.calls:
            yield from super()._stream(messages)
            return
        self.asked.append(list(messages))
        for args in ('{"amount":', " 10"):
            name = "refund" if args.startswith("{") else None
            call = tool_call_chunk(name=name, args=args, id="c1" if name else None, index=0)
            yield ChatGenerationChunk(message=AIMessageChunk(content="", id="cut", tool_call_chunks=[call]))
        end = {"finish_reason": "tool_calls", "model_name": self.model_name}
        usage: Any = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
        yield ChatGenerationChunk(
            message=AIMessageChunk(content="", id="cut", response_metadata=end, usage_metadata=usage)
        )


def tier_of(kind: type[StreamingModel]) -> Tier:
    whole = AIMessage("", tool_calls=[tool_call(name="refund", args={"amount": 1000}, id="c2")])
    return Tier("mini", model("mini", in_turn(lambda _: whole, say("done")), kind), criteria="")


def agents() -> dict[str, Any]:
    above = Tier("flagship", model("flagship", say("x")), criteria="")
    below, cut = Tier("nano", model("nano", say("x")), criteria=""), tier_of(CutModel)
    middleware = [EscalationMiddleware([tier_of(CutModel), above])]
    return {
        "graph": create_tiered_agent([below, cut, above], tools=[refund]),
        "middleware": create_agent(middleware[0].ladder.tiers[0].model, [refund], middleware=middleware),
    }


@pytest.mark.parametrize("body", ["graph", "middleware"])
def test_no_tool_runs_on_arguments_that_a_stream_cut_off(stream: Any, body: str) -> None:
    ran.clear()
    parts = stream(agents()[body], ask(REFUND), stream_mode=["messages", "values"])
    result = [part for kind, part in parts if kind == "values"][-1]
    assert ran == [1000]
    assert [message.content for message in result["messages"] if isinstance(message, ToolMessage)] == ["Refunded 1000."]
    assert [entry["outcome"] for entry in result["ledger"]] == ["rejected", "tool_turn", "accepted"]
    assert result["ledger"][0]["rejected_by"] == "valid_tool_calls"


@pytest.mark.parametrize("body", ["graph", "middleware"])
def test_a_call_that_was_streamed_whole_runs(stream: Any, body: str) -> None:
    ran.clear()
    whole = tier_of(StreamingModel)
    agent = create_tiered_agent([whole], tools=[refund])
    if body == "middleware":
        agent = create_agent(whole.model, [refund], middleware=[EscalationMiddleware([whole])])
    stream(agent, ask(REFUND), stream_mode=["messages", "values"])
    assert ran == [1000]
