"""The requests of a soak, what is right for each, and what the models behind the server say to it.

All follows from a request's number, so that any of them can be made again alone; only the faults hang on the seed.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Literal, NamedTuple
from uuid import uuid4
from zlib import crc32

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.tool import tool_call
from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage
    from langchain_core.messages.ai import UsageMetadata

Kind = Literal["label", "refund", "doubt", "fields", "proof"]
Body = Literal["graph", "middleware", "model"]

FIRST = 100_000
"""What stands in request 0; no other number of six digits stands in any."""

TEXTS: dict[Kind, str] = {
    "label": "Classify the ticket. Labels: bug, praise, other.\n\nTicket {0}: the app crashes at start.",
    "refund": "Please refund order {0}, it came late.",
    "doubt": (
        "My neighbour saw the van on Monday morning. Nobody rang, although I was at home cooking until evening, with "
        "both windows open to the street. What happened to parcel {0}?"
    ),
    "fields": "Extract the ticket's number and mood.\n\nTicket {0}: the app crashes at start, and I am furious.",
    "proof": "Prove that {0} times the square root of two is irrational.",
}
RIGHT: dict[Kind, str] = {
    "label": "Ticket {0} is a bug.",
    "refund": "Order {0} is refunded, with our apologies.",
    "doubt": "Parcel {0} is held at the depot, where you can fetch it.",
    "fields": '{{"number": {0}, "mood": "angry"}}',
    "proof": "Were {0} times the square root of two rational, so were the root itself.",
}
KINDS = tuple(TEXTS)
BODIES: tuple[Body, ...] = ("graph", "middleware", "model")


class Fields(BaseModel):
    """What is wanted of a ticket."""

    number: int
    mood: Literal["angry", "calm"]


class Work(NamedTuple):
    """One request."""

    number: int
    kind: Kind
    body: Body
    streams: bool

    @property
    def told(self) -> int:
        """The number that stands in it, which is the order's."""
        return FIRST + self.number

    @property
    def text(self) -> str:
        """What is asked."""
        return TEXTS[self.kind].format(self.told)

    @property
    def right(self) -> str:
        """The only right answer."""
        return RIGHT[self.kind].format(self.told)


def work_of(number: int) -> Work:
    """Return a request: all kinds in turn, for each body in turn, a third of them streamed."""
    turn, kind = divmod(number, len(KINDS))
    round_, body = divmod(turn, len(BODIES))
    return Work(number, KINDS[kind], BODIES[body], streams=round_ % 3 == 0)


def said(messages: Sequence[BaseMessage]) -> AIMessage:
    """Answer as a good model does: a refund is made by the tool, and is not said to be made before."""
    answer = _said(messages)
    answer.usage_metadata = _usage(messages)
    return answer


def refunded(number: int) -> str:
    """Return what the tool says of the refund of an order."""
    return f"Refunded order {number}: $89.50."


def _said(messages: Sequence[BaseMessage]) -> AIMessage:
    if isinstance(messages[0], SystemMessage) and "<request>" in messages[-1].text:
        return AIMessage(json.dumps({"reason": "A parcel.", "task": "lookup", "tier": "nano", "confidence": 0.9}))
    asked = next(each.text for each in messages if isinstance(each, HumanMessage))
    found = re.search(r"\b\d{6}\b", asked)
    assert found is not None, asked
    number = int(found[0])
    kind = next(kind for kind, text in TEXTS.items() if text.format(number) == asked)
    done = any(isinstance(each, ToolMessage) and each.text == refunded(number) for each in messages)
    if kind == "refund" and not done:
        args = {"order_id": number, "reason": "It came late."}
        return AIMessage("", tool_calls=[tool_call(name="refund_order", args=args, id=f"call_{uuid4().hex}")])
    return AIMessage(RIGHT[kind].format(number))


def _usage(messages: Sequence[BaseMessage]) -> UsageMetadata:
    """Return a usage of its own for each conversation, the same whenever it is had."""
    drawn = crc32("\n".join(each.text for each in messages).encode())
    read, made = 200 + drawn % 4999, 20 + drawn % 397
    return {
        "input_tokens": read,
        "output_tokens": made,
        "total_tokens": read + made,
        "input_token_details": {"cache_read": drawn % 7 * read // 8},
        "output_token_details": {"reasoning": drawn % 5 * made // 6},
    }
