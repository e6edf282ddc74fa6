"""The step `ask`: a human decides about the last rejected answer, in the form of LangChain's human in the loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, messages_from_dict
from langgraph.types import interrupt

from langchain_tiered.errors import InvalidInputError
from langchain_tiered.nodes.attempts import dicts_of
from langchain_tiered.types import Verdict

if TYPE_CHECKING:
    from langchain_tiered.cascade.steps import Step
    from langchain_tiered.types import Attempt

ACTION = "answer"
FORM = (
    "Resume with {'decisions': [decision]}; a decision is {'type': 'approve'}, "
    "{'type': 'edit', 'edited_action': {'name': 'answer', 'args': {'text': '...'}}}, or {'type': 'reject'}."
)


def decided_by_human(attempt: Attempt, step: Step) -> Attempt | None:
    """Interrupt the run, and return the attempt as a human accepts it; `None` where it is rejected.

    What is no decision is answered by the same question with a word on what was wrong. An error would leave the thread
    stuck: LangGraph keeps what a run was resumed with, and gives it to the same question again.
    """
    text = messages_from_dict(attempt["messages"])[-1].text
    description = step.reason
    while True:
        said = interrupt(
            {
                "action_requests": [{"name": ACTION, "args": {"text": text}, "description": description}],
                "review_configs": [{"action_name": ACTION, "allowed_decisions": ["approve", "edit", "reject"]}],
            }
        )
        try:
            return _decided(attempt, _decision(said))
        except InvalidInputError as error:
            description = f"{step.reason} {error}"


def _decided(attempt: Attempt, decision: Mapping[str, Any]) -> Attempt | None:
    if decision["type"] == "reject":
        return None
    verdict = Verdict(accepted=True, check="human", reason="A human accepted the answer.", score=None)
    if decision["type"] == "approve":
        return {**attempt, "verdict": verdict}
    messages = messages_from_dict(attempt["messages"])
    last = max(place for place, message in enumerate(messages) if isinstance(message, AIMessage))
    edited = AIMessage(_edited_text(decision), id=messages[last].id)
    return {**attempt, "messages": [*attempt["messages"][:last], *dicts_of([edited])], "verdict": verdict}


def _decision(said: object) -> Mapping[str, Any]:
    decisions = said.get("decisions") if isinstance(said, Mapping) else None
    decision = decisions[0] if isinstance(decisions, list) and len(decisions) == 1 else None
    if not isinstance(decision, Mapping) or decision.get("type") not in {"approve", "edit", "reject"}:
        raise InvalidInputError(f"The run was resumed with {said!r}, which is no decision on the answer. {FORM}")
    return decision


def _edited_text(decision: Mapping[str, Any]) -> str:
    try:
        text = decision["edited_action"]["args"]["text"]
    except (KeyError, TypeError):
        text = None
    if not isinstance(text, str) or not text.strip():
        raise InvalidInputError(f"The edit {dict(decision)!r} has no text. {FORM}")
    return text
