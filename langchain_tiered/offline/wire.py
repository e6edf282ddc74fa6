"""What OpenAI's two protocols look like on the wire: an answer as a body or as server-sent events, and errors.

Everything here turns plain values into plain values; the forms follow recorded exchanges of the real API.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from time import time
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_tiered.offline.reading import Asked

Api = Literal["chat", "responses"]
Finish = Literal["stop", "length", "tool_calls", "content_filter"]

DONE = b"data: [DONE]\n\n"
"""What ends a stream of Chat Completions."""

_PIECE = re.compile(r"\s*\S+|\s+")
_ARGUMENTS_PIECE = re.compile(r".{1,12}", re.DOTALL)
_COMPACT = (",", ":")


class WireError(Exception):
    """A request that OpenAI would refuse, with the status and the body that it would send."""

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        kind: str = "invalid_request_error",
    ) -> None:
        super().__init__(message)
        self.status = status
        """The HTTP status."""
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
        """The body, as JSON."""


class Call(NamedTuple):
    """A tool call of an answer."""

    id: str
    """What the tool's result is matched by."""

    name: str
    """The tool's name."""

    arguments: str
    """The arguments as the model wrote them: JSON, unless a fault broke it."""


@dataclass(frozen=True)
class Usage:
    """The tokens of one answer, in the ledger's words."""

    input_tokens: int = 0
    """All input tokens, cached ones included."""

    cached_tokens: int = 0
    """The part of the input read from the prompt cache."""

    output_tokens: int = 0
    """All output tokens, reasoning included."""

    reasoning_tokens: int = 0
    """The part of the output spent on reasoning."""


@dataclass(frozen=True)
class Answer:
    """What a model says, before it takes the form of a protocol."""

    text: str = ""
    """The content."""

    calls: tuple[Call, ...] = ()
    """The tool calls."""

    finish: Finish = "stop"
    """Why the model stopped, in the words of Chat Completions."""

    refusal: str | None = None
    """The refusal, which stands in the place of the content; `None` where there is none."""

    usage: Usage = field(default_factory=Usage)
    """What it cost."""


def dumped(value: object) -> bytes:
    """Write JSON without spaces, in ASCII: a lone surrogate survives as its escape."""
    return json.dumps(value, separators=_COMPACT).encode()


def body_of(answer: Answer, asked: Asked) -> bytes:
    """Return the answer as the JSON body of the protocol that was asked in."""
    return dumped(_chat_body(answer, asked) if asked.api == "chat" else _response(answer, asked))


def events_of(answer: Answer, asked: Asked) -> tuple[bytes, ...]:
    """Return the answer as the server-sent events of the protocol that was asked in, one item for each event."""
    return tuple(_chat_events(answer, asked) if asked.api == "chat" else _response_events(answer, asked))


def usage_in(body: bytes) -> Usage | None:
    """Read the usage that a body or a stream tells, in either protocol; `None` where it tells none."""
    lines = [line[5:].strip() for line in body.splitlines() if line.startswith(b"data:")] or [body]
    found = None
    for line in lines:
        if b'"usage"' in line:
            found = _told_usage(line) or found
    return found


def _told_usage(line: bytes) -> Usage | None:
    try:
        given: Any = json.loads(line)
        told: Any = given.get("usage") or (given.get("response") or {}).get("usage")
        kind = ("prompt", "completion") if "prompt_tokens" in told else ("input", "output")
        count, made = (told.get(f"{each}_tokens") or 0 for each in kind)
        details, spent = (told.get(f"{each}_tokens_details") or {} for each in kind)
        return Usage(count, details.get("cached_tokens") or 0, made, spent.get("reasoning_tokens") or 0)
    except (ValueError, TypeError, AttributeError):
        return None


def _chat_usage(usage: Usage) -> dict[str, Any]:
    spent = {"reasoning_tokens": usage.reasoning_tokens, "audio_tokens": 0}
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {**spent, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
    }


def _chat_calls(answer: Answer) -> list[dict[str, Any]]:
    return [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in answer.calls
    ]


def _chat_head(asked: Asked, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{uuid4().hex}",
        "object": kind,
        "created": int(time()),
        "model": asked.named,
        "service_tier": asked.service_tier,
        "system_fingerprint": None,
    }


def _chat_body(answer: Answer, asked: Asked) -> dict[str, Any]:
    silent = answer.refusal is not None or (answer.calls and not answer.text)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if silent else answer.text,
        "refusal": answer.refusal,
        "annotations": [],
    }
    if answer.calls:
        message["tool_calls"] = _chat_calls(answer)
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish}
    return {**_chat_head(asked, "chat.completion"), "choices": [choice], "usage": _chat_usage(answer.usage)}


def _chat_events(answer: Answer, asked: Asked) -> Iterator[bytes]:
    """Give the opening, the deltas, the finish, the usage where it was asked for, and the end."""
    head = dumped(_chat_head(asked, "chat.completion.chunk"))[:-1]
    usage = b',"usage":null' if asked.include_usage else b""
    for delta in _chat_deltas(answer):
        choice = b'{"index":0,"delta":%b,"logprobs":null,"finish_reason":null}' % dumped(delta)
        yield b'data: %b%b,"choices":[%b]}\n\n' % (head, usage, choice)
    last = b'{"index":0,"delta":{},"logprobs":null,"finish_reason":"%b"}' % answer.finish.encode()
    yield b'data: %b%b,"choices":[%b]}\n\n' % (head, usage, last)
    if asked.include_usage:
        yield b'data: %b,"choices":[],"usage":%b}\n\n' % (head, dumped(_chat_usage(answer.usage)))
    yield DONE


def _chat_deltas(answer: Answer) -> Iterator[dict[str, Any]]:
    said = answer.refusal is None and (answer.text or not answer.calls)
    yield {"role": "assistant", "content": "" if said else None, "refusal": None if answer.refusal is None else ""}
    for piece in _PIECE.findall(answer.refusal if answer.refusal is not None else answer.text):
        yield {"content" if answer.refusal is None else "refusal": piece}
    for at, call in enumerate(_chat_calls(answer)):
        function = call["function"]
        yield {"tool_calls": [{"index": at, **call, "function": {**function, "arguments": ""}}]}
        for piece in _ARGUMENTS_PIECE.findall(function["arguments"]):
            yield {"tool_calls": [{"index": at, "function": {"arguments": piece}}]}


def _response_usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def _response_head(asked: Asked) -> dict[str, Any]:
    """Return what a response repeats of its request, and what it is before anything was said."""
    given = asked.body
    return {
        "id": f"resp_{uuid4().hex}",
        "object": "response",
        "created_at": int(time()),
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": given.get("instructions"),
        "max_output_tokens": given.get("max_output_tokens"),
        "max_tool_calls": given.get("max_tool_calls"),
        "model": asked.named,
        "output": [],
        "parallel_tool_calls": given.get("parallel_tool_calls", True),
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None, **(given.get("reasoning") or {})},
        "service_tier": asked.service_tier,
        "store": given.get("store", True),
        "temperature": given.get("temperature", 1.0),
        "text": {"format": {"type": "text"}, "verbosity": "medium", **(given.get("text") or {})},
        "tool_choice": given.get("tool_choice") or "auto",
        "tools": given.get("tools") or [],
        "top_logprobs": 0,
        "top_p": given.get("top_p", 1.0),
        "truncation": given.get("truncation", "disabled"),
        "usage": None,
        "user": given.get("user"),
        "metadata": given.get("metadata") or {},
    }


_STATUS: dict[str, dict[str, Any]] = {
    "length": {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
    "content_filter": {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}},
}


def _ended(answer: Answer, output: list[dict[str, Any]]) -> dict[str, Any]:
    state = _STATUS.get(answer.finish, {"status": "completed"})
    return {**state, "output": output, "usage": _response_usage(answer.usage)}


def _response(answer: Answer, asked: Asked) -> dict[str, Any]:
    return {**_response_head(asked), **_ended(answer, _output(answer))}


def _output(answer: Answer) -> list[dict[str, Any]]:
    """Return the items of the output: reasoning, what is said, the calls."""
    items: list[dict[str, Any]] = []
    if answer.usage.reasoning_tokens:
        items.append({"id": f"rs_{uuid4().hex}", "type": "reasoning", "summary": []})
    status = "incomplete" if answer.finish in _STATUS else "completed"
    if answer.text or answer.refusal is not None or not (answer.calls or items or answer.finish in _STATUS):
        head = {"id": f"msg_{uuid4().hex}", "type": "message", "status": status, "role": "assistant"}
        items.append({**head, "content": [_part(answer)]})
    for call in answer.calls:
        head = {"id": f"fc_{uuid4().hex}", "type": "function_call", "status": status}
        items.append({**head, "arguments": call.arguments, "call_id": call.id, "name": call.name})
    return items


def _part(answer: Answer) -> dict[str, Any]:
    if answer.refusal is not None:
        return {"type": "refusal", "refusal": answer.refusal}
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": answer.text}


def _response_events(answer: Answer, asked: Asked) -> Iterator[bytes]:
    head, output = _response_head(asked), _output(answer)
    number = 0

    def event(kind: str, **data: Any) -> bytes:
        nonlocal number
        told = dumped({"type": kind, "sequence_number": number, **data})
        number += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), told)

    yield event("response.created", response=head)
    yield event("response.in_progress", response=head)
    for at, item in enumerate(output):
        for kind, data in _item_events(item):
            yield event(f"response.{kind}", output_index=at, **data)
    whole = {**head, **_ended(answer, output)}
    yield event("response.incomplete" if answer.finish in _STATUS else "response.completed", response=whole)


def _item_events(item: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    empty: dict[str, dict[str, Any]] = {"message": {"content": []}, "function_call": {"arguments": ""}}
    bare = empty.get(item["type"], {})
    yield "output_item.added", {"item": {**item, **({"status": "in_progress", **bare} if bare else {})}}
    if item["type"] == "function_call":
        told = item["arguments"]
        for piece in _ARGUMENTS_PIECE.findall(told):
            yield "function_call_arguments.delta", {"item_id": item["id"], "delta": piece}
        yield "function_call_arguments.done", {"item_id": item["id"], "arguments": told}
    elif item["type"] == "message":
        yield from _part_events(item["id"], item["content"][0])
    yield "output_item.done", {"item": item}


def _part_events(item_id: str, part: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    key = "refusal" if part["type"] == "refusal" else "text"
    place = {"item_id": item_id, "content_index": 0}
    more: dict[str, Any] = {} if key == "refusal" else {"logprobs": []}
    yield "content_part.added", {**place, "part": {**part, key: ""}}
    for piece in _PIECE.findall(part[key]):
        yield f"{part['type']}.delta", {**place, "delta": piece, **more}
    yield f"{part['type']}.done", {**place, key: part[key], **more}
    yield "content_part.done", {**place, "part": part}


def added(total: dict[str, int], usage: Usage) -> None:
    """Add one answer's tokens to a total, in place."""
    for name, count in asdict(usage).items():
        total[name] = total.get(name, 0) + count
