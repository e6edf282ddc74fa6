"""The work that is killed: six tasks of three kinds, the models that answer them, and what must come out.

The models stand behind the offline server, in the process of the test: what they were asked is counted where no kill
reaches. An answer follows from the messages alone, so that a call made again is answered as before.
"""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.messages.tool import tool_call
from orchestrator.team import plan, review

from langchain_tiered.testing import ScriptedChatModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage

MODELS = {"nano": "gpt-5.4-nano", "mini": "gpt-5.4-mini", "flagship": "gpt-5.4"}
NEEDS: dict[str, tuple[str, ...]] = {"a": (), "b": (), "c": (), "d": ("a",), "e": ("b", "c"), "f": ("d", "e")}
WITH_TOOL = frozenset("be")
"""Tasks whose worker runs a tool."""


def planned(turn: int) -> list[dict[str, Any]]:
    """Return the tasks of a turn, as the planner writes them."""
    return [
        {
            "id": name,
            "instruction": f"Note turn {turn} part {name}." if name in WITH_TOOL else f"Write turn {turn} part {name}.",
            "depends_on": list(needs),
            "kind": "tools" if name in WITH_TOOL else "write",
        }
        for name, needs in NEEDS.items()
    ]


def wanted(turn: int) -> dict[str, str]:
    """Return what must come of the tasks of a turn."""
    return {name: f"Noted {turn}-{name}." if name in WITH_TOOL else f"Wrote {turn}-{name}." for name in NEEDS}


class Office:
    """Answers for all models, counts what it is asked, and kills who asks for a certain task."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        """Who was asked, and what: turn, task, and whether a tool had answered."""
        self.victim: tuple[int, str, int] | None = None
        """A process, the task at whose call it is killed (`any` for whatever it is), and after how many of these."""
        self._lock = Lock()

    def models(self) -> dict[str, Any]:
        """Return the models by the names that they are served under."""
        return {
            name: ScriptedChatModel(script=partial(self._said, tier), model_name=name) for tier, name in MODELS.items()
        }

    def repeats(self) -> Counter[tuple[str, str]]:
        """Return the calls that were made again, and how often."""
        return Counter({call: count - 1 for call, count in Counter(self.asked).items() if count > 1})

    def _said(self, tier: str, messages: Sequence[BaseMessage]) -> Any:
        text = "\n".join(message.text for message in messages)
        if messages[0].text.startswith("You plan"):
            turn = re.findall(r"Do turn (\d+)", text)[-1]
            return self._answered(tier, f"{turn}-plan", plan(*planned(int(turn))))
        if messages[0].text.startswith("You review"):
            turn = re.findall(r"Do turn (\d+)", text)[-1]
            return self._answered(tier, f"{turn}-review", review(answer=f"Turn {turn} is done."))
        found = re.search(r"(Note|Write) turn (\d+) part (\w)", messages[-1 if len(messages) < 3 else 1].text)
        assert found is not None, text
        verb, turn, name = found.groups()
        ran = any(isinstance(message, ToolMessage) for message in messages)
        if verb == "Note" and not ran:
            call = tool_call(name="note", args={"part": f"{turn}-{name}"}, id=f"call_{uuid4().hex}")
            return self._answered(tier, f"{turn}-{name}", AIMessage("", tool_calls=[call]))
        said = f"{'Noted' if verb == 'Note' else 'Wrote'} {turn}-{name}."
        return self._answered(tier, f"{turn}-{name}{'+tool' * ran}", AIMessage(said))

    def _answered(self, tier: str, what: str, answer: Any) -> Any:
        with self._lock:
            self.asked.append((tier, what))
            if self.victim is not None and self.victim[1] in {"any", what}:
                process, task, left = self.victim
                self.victim = (process, task, left - 1) if left > 1 else None
                if left == 1:
                    os.kill(process, signal.SIGKILL)
        return answer
