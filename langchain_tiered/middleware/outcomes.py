"""What becomes of a risky call: it runs, signed by who approved it, or the model is told why it does not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from langchain_core.messages import AIMessage, ToolMessage
from langgraph.config import get_config
from langgraph.types import Command
from typing_extensions import TypedDict

from langchain_tiered.accounting.recorder import recorder_in
from langchain_tiered.cascade.stall import REVIEW
from langchain_tiered.middleware.approval import human_refusal, human_response, refusal
from langchain_tiered.nodes.events import stream_writer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain.agents.middleware.types import ToolCallRequest
    from langchain_core.messages import BaseMessage, ToolCall

Result: TypeAlias = ToolMessage | Command[Any]


class Noted(TypedDict):
    """What the review says of a call, before any human does. Stored before the interrupt, so that it is paid once."""

    name: str
    """The tool."""

    args: str
    """The arguments that were judged, as ASCII JSON; of a call with others the review has said nothing."""

    decision: Literal["pass", "approve", "doubt", "refuse", "again"]
    """Not risky; may run; doubted; cannot be run as it is; rejected before in this turn."""

    reason: str
    """Why, in a line for a person."""

    schema: dict[str, Any] | None
    """The JSON schema of the tool's arguments, or `None` where it is not known."""


class Approval(TypedDict):
    """That a call may run."""

    name: str
    """The tool."""

    by: Literal["reviewer", "human"] | None
    """Who says so, or `None` where the call is not risky."""

    decision: Literal["approve", "edit"]
    """Whether it runs as it is."""

    reason: str
    """Why, in a line for a person."""

    args: dict[str, Any] | None
    """What a human has put in the place of its arguments, or `None`."""


class Approvals(TypedDict):
    """The calls of one message that may run."""

    message: str | None
    """The id of the message. Some servers count the ids of calls from 0 in each message."""

    calls: dict[str, Approval]
    """The approval of each, by the call's id."""


class ReviewEvent(TypedDict):
    """What was decided about a call, as `stream_mode="custom"` gives it."""

    type: Literal["tiered_review"]
    """Tells the event from those of the app."""

    tool: str
    """The tool."""

    call_id: str
    """The call."""

    decision: Literal["approve", "doubt", "edit", "reject", "respond"]
    """What was decided. A doubt is followed by what a human decides."""

    by: Literal["reviewer", "human", "rules"]
    """Who decided; `rules` reject what cannot run, and what was rejected before."""

    reason: str
    """Why, in a line for a person; it may tell what the call's arguments are."""


def key_of(call: ToolCall) -> str:
    """Return a call's id as every checkpointer can keep it: half an emoji in it could not be written."""
    return str(call["id"]).encode("ascii", "backslashreplace").decode()


def written(args: dict[str, Any]) -> str:
    """Return a call's arguments in a form that can be kept and compared."""
    return json.dumps(args, sort_keys=True, default=str)


def last_answer(messages: Sequence[BaseMessage]) -> tuple[AIMessage | None, set[str]]:
    """Return the last answer, and the ids of its calls that have a result."""
    done: set[str] = set()
    for message in reversed(messages):
        if isinstance(message, AIMessage):
            return message, done
        if isinstance(message, ToolMessage):
            done.add(message.tool_call_id)
    return None, done


def carried_out(
    calls: Sequence[ToolCall],
    noted: Sequence[Noted],
    decisions: Mapping[str, Mapping[str, Any]],
) -> tuple[list[ToolMessage], dict[str, Approval]]:
    """Return what takes the place of the results of calls that do not run, and the approvals of those that do."""
    results: list[ToolMessage] = []
    approvals: dict[str, Approval] = {}
    for call, note in zip(calls, noted, strict=True):
        said = decisions.get(key_of(call))
        outcome = _by_human(call, said) if said is not None else _by_review(call, note)
        if isinstance(outcome, ToolMessage):
            results.append(outcome)
        else:
            approvals[key_of(call)] = outcome
    return results, approvals


def _by_review(call: ToolCall, note: Noted) -> Approval | ToolMessage:
    name, reason = call["name"], note["reason"]
    if note["decision"] in {"pass", "approve"}:
        by: Literal["reviewer"] | None = "reviewer" if note["decision"] == "approve" else None
        return Approval(name=name, by=by, decision="approve", reason=reason, args=None)
    if note["decision"] == "refuse":
        announce(call, "reject", "rules", reason)
        return refusal(call, reason, by="rules", reason=reason)
    announce(call, "reject", "reviewer", reason)
    told = (
        f"The reviewer rejected the tool call for `{name}`: {reason} It was not run. Do not make the same call again."
    )
    return refusal(call, told, by="reviewer", reason=reason)


def _by_human(call: ToolCall, said: Mapping[str, Any]) -> Approval | ToolMessage:
    kind: Literal["approve", "edit", "reject", "respond"] = said["type"]
    announce(call, kind, "human", str(said.get("message") or "") if kind == "reject" else "")
    if kind == "reject":
        return human_refusal(call, said)
    if kind == "respond":
        return human_response(call, said)
    args = said["edited_action"]["args"] if kind == "edit" else None
    return Approval(name=call["name"], by="human", decision=kind, reason="", args=args)


def ended(state: Any, calls: Sequence[ToolCall], again: Noted) -> dict[str, Any]:
    """End the turn of a model that makes a rejected call again: each call has a result, and the answer says why."""
    results = []
    for call in calls:
        why = again["reason"] if call["name"] == again["name"] else "Another call of the message ended the turn."
        announce(call, "reject", "rules", why)
        results.append(refusal(call, f"Not executed, and the turn ends: {why}", by="rules", reason=why))
    text = f"I did not run {again['name']}, because it was rejected. {again['reason']}"
    metadata: dict[str, Any] = {"rejected_again": True}
    if state.get("route"):
        metadata["route"] = dict(state["route"])
    return {"messages": [*results, AIMessage(text, response_metadata=metadata)], "jump_to": "end"}


def approval_of(request: ToolCallRequest) -> Approval | None:
    """Return the approval of a call, or `None` where it has none: it came by another way than from the model."""
    message, _ = last_answer(request.state["messages"])
    approvals: Approvals | None = request.state.get("tiered_approvals")
    if approvals is None or message is None or approvals["message"] != message.id:
        return None
    approval = approvals["calls"].get(key_of(request.tool_call))
    return approval if approval is not None and approval["name"] == request.tool_call["name"] else None


def unreviewed(call: ToolCall) -> ToolMessage:
    """Return what the model is told of a call that nobody has reviewed."""
    reason = "Nobody has reviewed this call, so it was not executed."
    announce(call, "reject", "rules", reason)
    return refusal(call, reason, by="rules", reason=reason)


def edited(request: ToolCallRequest, approval: Approval) -> ToolCallRequest:
    """Return the call with the arguments that a human has put in the place of its own."""
    if approval["args"] is None:
        return request
    return request.override(tool_call={**request.tool_call, "args": approval["args"]})


def signed(result: Result, approval: Approval) -> Result:
    """Write on what a tool gave who approved its call, and tell the model of an edit."""
    if approval["by"] is None:
        return result
    if isinstance(result, ToolMessage):
        return _signed_message(result, approval)
    if not isinstance(result.update, Mapping) or not isinstance(result.update.get("messages"), list):
        return result
    messages = [
        _signed_message(each, approval) if isinstance(each, ToolMessage) else each for each in result.update["messages"]
    ]
    return replace(result, update={**result.update, "messages": messages})


def _signed_message(message: ToolMessage, approval: Approval) -> ToolMessage:
    mark = {"decision": approval["decision"], "by": approval["by"], "reason": approval["reason"]}
    update: dict[str, Any] = {"response_metadata": {**message.response_metadata, REVIEW: mark}}
    if approval["args"] is not None:
        notice = f"Note: a human has changed the arguments of this call before it ran, to {approval['args']}."
        content = message.content
        update["content"] = (
            f"{notice}\n{content}" if isinstance(content, str) else [{"type": "text", "text": notice}, *content]
        )
    return message.model_copy(update=update)


def announce(call: ToolCall, decision: Any, by: Any, reason: str) -> None:
    """Write an event to the custom stream; in a tier's loop to that of the graph around it, where it is heard."""
    writer = getattr(recorder_in(get_config()), "writer", None) or stream_writer()
    writer(
        ReviewEvent(
            type="tiered_review",
            tool=call["name"],
            call_id=str(call["id"]),
            decision=decision,
            by=by,
            reason=reason,
        ),
    )
