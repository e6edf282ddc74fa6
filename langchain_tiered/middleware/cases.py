"""What is known of a risky call before any human decides: what needs nobody, and what the reviewer thinks."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from langchain_core.messages import AIMessage
from langchain_core.utils.function_calling import convert_to_openai_tool

from langchain_tiered.cascade.stall import called_again, rejections
from langchain_tiered.cascade.validity import problems_of
from langchain_tiered.errors import ConfigurationError
from langchain_tiered.middleware.approval import rules_of
from langchain_tiered.middleware.outcomes import Noted, announce, key_of, written
from langchain_tiered.middleware.reviewer import Judged, Reviewer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain.agents.middleware import ModelRequest, ModelResponse
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage, ToolCall
    from langgraph.runtime import Runtime

    from langchain_tiered.middleware.approval import RiskyTools
    from langchain_tiered.middleware.reviewer import Opinion
    from langchain_tiered.types import Tier

MOST_REJECTIONS = 3
"""After how many messages with a rejected call of a tool the turn ends, where no human has a say."""


class Review:
    """What is risky, and who decides about it. Knows nothing of any request."""

    def __init__(
        self,
        reviewer: BaseChatModel | str | Tier | None,
        risky_tools: RiskyTools,
        on_doubt: Literal["interrupt", "reject"],
    ) -> None:
        if on_doubt not in {"interrupt", "reject"}:
            raise ConfigurationError(f"on_doubt={on_doubt!r}: write 'interrupt' or 'reject'.")
        if reviewer is None and on_doubt == "reject":
            raise ConfigurationError("on_doubt='reject' without a reviewer rejects each call. Give a reviewer.")
        self.rules = rules_of(risky_tools)
        self.reviewer = None if reviewer is None else Reviewer(reviewer)
        self.model, self.on_doubt = reviewer, on_doubt

    def noted(self, call: ToolCall, tool: _Tool | None, state: Any, runtime: Runtime[Any], ids: Counter[str]) -> Noted:
        """Return what is known of a risky tool's call without asking anybody; what is left is doubted."""
        messages, name = state["messages"], call["name"]
        note = Noted(
            name=name, args=written(call["args"]), decision="doubt", reason="", schema=tool.schema if tool else None
        )
        if not call["id"] or ids[call["id"]] > 1:
            return {**note, "decision": "refuse", "reason": "Its id is not its own, so nobody can decide about it."}
        if not self.rules[name].holds(call, state, runtime):
            return {**note, "decision": "pass"}
        if (why := called_again(messages, call)) is not None:
            return {**note, "decision": "again", "reason": why}
        if rejections(messages, name) >= MOST_REJECTIONS:
            return {**note, "decision": "again", "reason": f"{MOST_REJECTIONS} calls of it were rejected in this turn."}
        if tool is not None and (wrong := problems_of(AIMessage("", tool_calls=[call]), [tool.source])):
            return {**note, "decision": "refuse", "reason": " ".join(wrong.values())}
        return note


class _Tool(NamedTuple):
    """A tool that the model was given."""

    source: Any
    """The tool itself."""

    told: str
    """What it is said to do."""

    schema: dict[str, Any] | None
    """The JSON schema of its arguments."""


class Case:
    """The risky calls of one response, on their way to the reviewer."""

    def __init__(self, review: Review, request: ModelRequest[Any], response: ModelResponse[Any]) -> None:
        self.answer = next((each for each in reversed(response.result) if isinstance(each, AIMessage)), None)
        system = [request.system_message] if request.system_message else []
        self.asked: list[BaseMessage] = [*system, *request.state["messages"]]
        self.noted: dict[str, Noted] = {}
        self.judged: list[Judged] = []
        calls = self.answer.tool_calls if self.answer is not None else []
        ids = Counter(str(call["id"]) for call in calls)
        state = {**request.state, "messages": [*request.state["messages"], *response.result]}
        for call in (each for each in calls if each["name"] in review.rules):
            tool = _tool(call["name"], request.tools)
            note = review.noted(call, tool, state, request.runtime, ids)
            self.noted[key_of(call)] = note
            if note["decision"] == "doubt":
                self.judged.append(Judged(call, tool.told if tool else ""))
        if review.reviewer is None or any(note["decision"] == "again" for note in self.noted.values()):
            self.judged = []  # of a message that ends the turn nothing runs

    def settle(self, opinions: Sequence[Opinion]) -> None:
        """Write down what the reviewer thinks, and tell it."""
        for judged, opinion in zip(self.judged, opinions, strict=True):
            decision: Literal["approve", "doubt"] = "approve" if opinion.approved else "doubt"
            note = self.noted[key_of(judged.call)]
            self.noted[key_of(judged.call)] = {**note, "decision": decision, "reason": opinion.reason}
            announce(judged.call, decision, "reviewer", opinion.reason)


def _tool(name: str, tools: Sequence[Any]) -> _Tool | None:
    """Return a tool that the model was given, by its name."""
    for source in tools:
        with suppress(Exception):  # what cannot be converted is a tool of the provider's
            told = convert_to_openai_tool(source)["function"]
            if told["name"] == name:
                return _Tool(source, str(told.get("description") or ""), told.get("parameters"))
    return None
