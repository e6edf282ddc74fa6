"""The work that is killed again and again: the turns of a thread, the models that answer them, and what must come out.

The models stand behind the offline server, in the process of the test: what they were asked is counted where no kill
reaches. An answer follows from the messages alone, so that a call made again is answered as before.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.tool import tool_call

from langchain_tiered.testing import ScriptedChatModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage

MODELS = {"nano": "gpt-5.4-nano", "mini": "gpt-5.4-mini", "flagship": "gpt-5.4"}
FIRST_ORDER = 2000
"""The order of thread 0; the shop of the examples has no number above it."""

_LABEL = "Classify the ticket. Labels: bug, praise, other.\n\nOrder {order} writes: the app crashes at start."
_VAGUE = (
    "My neighbour saw the van on Monday morning. Nobody rang, although I was at home cooking until evening, with both "
    "windows open to the street. What happened to parcel {order}?"
)
_REFUND = "Please refund order {order}, it came late, and give 5 dollars of credit."
_PROOF = "Prove that the square root of two is irrational."
_KNOWN = {"Classify": "bug", "Prove": "By descent."}


class Turn(NamedTuple):
    """One turn of a thread, and what must come of it."""

    request: str
    messages: tuple[tuple[str, str], ...]
    """Type and text of each message that the turn leaves."""
    ledger: tuple[tuple[str | None, str, str], ...]
    """Tier, role and outcome of each paid call."""


def turns_of(thread: int) -> list[Turn]:
    """Return the turns of a thread: a label, a doubt that nano cannot settle, a refund, and a proof."""
    order = FIRST_ORDER + thread
    vague, refund = _VAGUE.format(order=order), _REFUND.format(order=order)
    label = _LABEL.format(order=order)
    found = f"Order {order}: held at the depot."
    done = [f"Refunded order {order}: $89.50.", f"Gave 5 dollars for order {order}."]
    looked = (("ai", ""), ("tool", found)) if looks_up(thread) else ()
    settled = f"Settled. {found}" if looks_up(thread) else "Settled."
    return [
        Turn(label, (("human", label), ("ai", "bug")), (("nano", "answer", "accepted"),)),
        Turn(
            vague,
            (("human", vague), *looked, ("ai", settled)),
            (
                ("nano", "classify", "accepted"),
                *((("nano", "answer", "tool_turn"),) if looks_up(thread) else ()),
                ("nano", "answer", "rejected"),
                ("mini", "answer", "accepted"),
            ),
        ),
        Turn(
            refund,
            (("human", refund), ("ai", ""), *(("tool", each) for each in done), ("ai", f"Settled. {' '.join(done)}")),
            (("mini", "answer", "tool_turn"), ("mini", "answer", "accepted")),
        ),
        Turn(_PROOF, (("human", _PROOF), ("ai", "By descent.")), (("flagship", "answer", "accepted"),)),
    ]


def looks_up(thread: int) -> bool:
    """Tell whether the thread's nano is a loop with a tool, which it calls before it gives up; else one model call.

    It gives up by handing up, or, for every other pair of threads, by an empty answer, which is rejected.
    """
    return thread % 2 == 1


class Asked(NamedTuple):
    """One call that the server was asked for."""

    order: int
    tier: str
    messages: tuple[tuple[str, str], ...]
    """The same for a call that is made again; ids are no part of it."""


class Desk:
    """Answers for all models, writes down what it is asked, and kills who asks too often."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.victim: tuple[int, int] | None = None
        """A process, and after how many calls more it is killed: before it has an answer."""

    def models(self) -> dict[str, Any]:
        """Return the models by the names that they are served under."""
        return {
            name: ScriptedChatModel(script=partial(self._said, tier), model_name=name) for tier, name in MODELS.items()
        }

    def repeats(self) -> Counter[int]:
        """Return how many calls of each thread's order were made again."""
        made, distinct = Counter(each.order for each in self.asked), Counter(each.order for each in set(self.asked))
        return made - distinct

    def _said(self, tier: str, messages: Sequence[BaseMessage]) -> AIMessage:
        found = re.search(r"\b2\d{3}\b", "\n".join(message.text for message in messages))
        assert found is not None
        order = int(found[0])
        self.asked.append(Asked(order, tier, tuple((message.type, message.text) for message in messages)))
        self._kill()
        return _answer(tier, order, messages)

    def _kill(self) -> None:
        if self.victim is None:
            return
        process, left = self.victim
        self.victim = (process, left - 1) if left > 1 else None
        if left == 1:
            os.kill(process, signal.SIGKILL)


def _answer(tier: str, order: int, messages: Sequence[BaseMessage]) -> AIMessage:
    last = max(place for place, message in enumerate(messages) if isinstance(message, HumanMessage))
    request, results = messages[last].text, [m.text for m in messages[last:] if isinstance(m, ToolMessage)]
    if isinstance(messages[0], SystemMessage) and "<request>" in request:
        return AIMessage(json.dumps({"reason": "A parcel.", "task": "lookup", "tier": "nano", "confidence": 0.9}))
    if (known := _KNOWN.get(request.split()[0])) is not None:
        return AIMessage(known)
    if request.startswith("Please refund") and not results:
        refund, credit = {"order_id": order, "reason": "It came late."}, {"order_id": order, "dollars": 5}
        return _calls(refund_order=refund, give_credit=credit)
    return AIMessage(" ".join(["Settled.", *results])) if tier != "nano" else _gives_up(order, looked=bool(results))


def _gives_up(order: int, *, looked: bool) -> AIMessage:
    """Return what nano says to a doubt, once it has looked where it can."""
    if looks_up(order - FIRST_ORDER) and not looked:
        return _calls(look_up={"order_id": order})
    return _calls(hand_up={"reason": "I cannot tell."}) if order // 2 % 2 == 0 else AIMessage("")


def _calls(**tools: dict[str, Any]) -> AIMessage:
    """Call tools, under ids that no other call has, as a provider does."""
    return AIMessage(
        "", tool_calls=[tool_call(name=name, args=args, id=f"call_{uuid4().hex}") for name, args in tools.items()]
    )
