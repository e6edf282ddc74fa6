"""A call that is mended or made by the next tier is a whole one, and is booked as such."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fakes import say, tiers
from langchain_core.messages import AIMessage
from langchain_core.tools import tool

from langchain_tiered import TieredChatModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage


@tool
def refund_order(order_id: int) -> str:
    """Refund an order that came late."""
    return f"Refunded {order_id}."


def calling(*arguments: dict[str, Any]) -> Any:
    """Call the tool with one set of arguments after the other."""
    given = iter(arguments)

    def said(_: Sequence[BaseMessage]) -> AIMessage:
        return AIMessage("", tool_calls=[{"name": "refund_order", "args": next(given), "id": "call_1"}])

    return said


BAD, GOOD = {"order": "x"}, {"order_id": 1042}


@pytest.mark.parametrize("streams", [False, True], ids=["invoke", "stream"])
@pytest.mark.parametrize(
    ("mini", "flagship", "outcomes"),
    [
        ((GOOD,), (), ["tool_turn"]),
        ((BAD, GOOD), (), ["rejected", "tool_turn"]),
        ((BAD, BAD), (GOOD,), ["rejected", "rejected", "tool_turn"]),
    ],
    ids=["at once", "mended", "by the next tier"],
)
def test_call_that_is_mended_is_no_cut_off_one(mini: Any, flagship: Any, outcomes: list[str], *, streams: bool) -> None:
    given = tiers(nano=say("n"), mini=calling(*mini), flagship=calling(*flagship))
    asked: Any = TieredChatModel(given, classifier=None).bind_tools([refund_order])
    request = "Please refund order 1042, it came late."
    if streams:
        parts = list(asked.stream(request))
        message = sum(parts[1:], parts[0])
    else:
        message = asked.invoke(request)
    assert message.tool_calls[0]["args"] == GOOD
    assert "truncated" not in message.response_metadata
    assert [entry["outcome"] for entry in message.response_metadata["ledger"]] == outcomes
