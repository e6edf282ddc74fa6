"""What the tests of reviews share: reviewers that say what they are told, and agents with a refund to be reviewed."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from fakes import ScriptedModel, model
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.messages.tool import tool_call
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from langchain_tiered import ReviewMiddleware

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tiered import Tier

THREAD: Any = {"configurable": {"thread_id": "1"}}
APPROVE, REJECT = {"type": "approve"}, {"type": "reject", "message": "Not this one."}
RESPOND = {"type": "respond", "message": "It was refunded by hand."}


def edit(order: Any) -> dict[str, Any]:
    return {"type": "edit", "edited_action": {"name": "refund", "args": {"order": order}}}


def calls_for(*orders: Any, name: str = "refund") -> Any:
    """Call the tool for each order in one message."""
    return lambda messages: AIMessage(
        "",
        tool_calls=[
            tool_call(name=name, args={"order": order}, id=f"{len(messages)}-{place}")
            for place, order in enumerate(orders)
        ],
    )


def saying(*calls: Any) -> Any:
    """Make these calls in one message: a tool's name, the order, and the call's id."""
    made = [tool_call(name=name, args={"order": order}, id=call_id) for name, order, call_id in calls]
    return lambda _: AIMessage("", tool_calls=made)


def review_of(verdicts: Any) -> AIMessage:
    return AIMessage("", tool_calls=[tool_call(name="Review", args={"verdicts": verdicts}, id="review")])


def verdicts(*approved: bool) -> Any:
    """Give a verdict for each call, in order."""
    told = [{"call": n, "reason": f"Reason {n}.", "approved": yes} for n, yes in enumerate(approved, 1)]
    return lambda _: review_of(told)


def part(messages: Sequence[BaseMessage], name: str) -> Any:
    """Read one fenced part of what a reviewer was shown."""
    found = re.findall(rf"^<{name}>\n(.*)\n</{name}>$", messages[-1].text, re.MULTILINE)
    assert len(found) == 1, "each fence is there once"
    return json.loads(found[0])


def by_users_words(messages: Sequence[BaseMessage]) -> AIMessage:
    """Approve what the last user's own words name: a reviewer with one rule, and no model."""
    users = [each for each in part(messages, "request")["messages"] if each["role"] == "user"]
    words = users[-1].get("text", "")
    told = [
        {"call": call["number"], "reason": "By rule.", "approved": str(call["arguments"].get("order")) in words}
        for call in part(messages, "calls")
    ]
    return review_of(told)


def reviewer(script: Any) -> ScriptedModel:
    return model("flagship", script)


def strict_saver() -> InMemorySaver:
    return InMemorySaver(serde=JsonPlusSerializer(allowed_msgpack_modules=None))


def reviewed(script: Any, refund: Any, judge: Any, *others: Any, tools: Any = (), **more: Any) -> Any:
    """Make an agent whose refunds are reviewed."""
    review = ReviewMiddleware(judge, **{"risky_tools": ["refund"], **more})
    given = [refund, *tools]
    return create_agent(model("nano", script), given, middleware=[review, *others], checkpointer=strict_saver())


def roles(result: Any) -> list[tuple[str, str]]:
    return [(entry["role"], entry["outcome"]) for entry in result["ledger"]]


def results(result: Any) -> list[tuple[str, str]]:
    """Return status and text of each tool message."""
    return [(each.status, each.text) for each in result["messages"] if each.type == "tool"]


def marks(result: Any) -> list[Any]:
    return [each.response_metadata.get("review") for each in result["messages"] if each.type == "tool"]


def models_of(scripted: Sequence[Tier]) -> list[int]:
    return [tier.model.calls for tier in scripted]  # type: ignore[union-attr]


@tool
def find(order: int) -> str:
    """Find an order."""
    return f"Order {order} came late."
