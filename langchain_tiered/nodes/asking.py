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

    Raises:
        InvalidInputError: If the run is resumed with something that is no decision; says the form.
    """
    answer = messages_from_dict(attempt["messages"])[-1]
    said = interrupt(
        {
            "action_requests": [{"name": ACTION, "args": {"text": answer.text}, "description": step.reason}],
            "review_configs": [{"action_name": ACTION, "allowed_decisions": ["approve", "edit", "reject"]}],
        }
    )
    decision = _decision(said)
    if decision["type"] == "reject":
        return None
    verdict = Verdict(accepted=True, check="human", reason="A human accepted the answer.", score=None)
    if decision["type"] == "approve":
        return {**attempt, "verdict": verdict}
    edited = AIMessage(_edited_text(decision), id=answer.id)
    return {**attempt, "messages": [*attempt["messages"][:-1], *dicts_of([edited])], "verdict": verdict}


def _decision(said: object) -> Mapping[str, Any]:
    decisions = said.get("decisions") if isinstance(said, Mapping) else None
    decision = decisions[0] if isinstance(decisions, list) and len(decisions) == 1 else None
    if not isinstance(decision, Mapping) or decision.get("type") not in {"approve", "edit", "reject"}:
        raise InvalidInputError(f"The run was resumed with {said!r}, which is no decision on the answer. {FORM}")
    return decision


def _edited_text(decision: Mapping[str, Any]) -> str:
    try:
        return str(decision["edited_action"]["args"]["text"])
    except (KeyError, TypeError) as error:
        raise InvalidInputError(f"The edit {dict(decision)!r} has no text. {FORM}") from error
