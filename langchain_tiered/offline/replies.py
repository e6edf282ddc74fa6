"""What goes out for a request: a reply, whole or broken by a fault. Pure; the server carries it out."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from langchain_tiered.offline.wire import Call, Usage, WireError, body_of, dumped, events_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from langchain_tiered.offline.faults import Fault, FaultKind
    from langchain_tiered.offline.reading import Asked
    from langchain_tiered.offline.wire import Answer, Api

    Headers = tuple[tuple[bytes, bytes], ...]
    JSON = dict[str, Any]
    Spoiler = Callable[[str, JSON], str | None]

JSON_TYPE, EVENTS_TYPE = b"application/json", b"text/event-stream; charset=utf-8"
_LIMIT_REQUESTS, _LIMIT_TOKENS = 30_000, 150_000_000
_REFUSED = "I'm sorry, but I can't assist with that."
_CUT_OFF = "The answer begins, and"
_SLOW_PARTS = 20
_HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"


@dataclass(frozen=True)
class Reply:
    """What goes out, in order, and how it ends."""

    parts: tuple[bytes, ...] = ()
    """The body. With none of it and `ending="drop"`, not even a status goes out."""

    status: int = 200
    """The HTTP status."""

    headers: Headers = ()
    """The headers, beside those that say how long the body is."""

    length: int | None = None
    """The length that is announced, in bytes; `None` for a stream."""

    ending: Literal["whole", "drop"] = "whole"
    """Whether the body is ended, or the connection closed where the parts end."""

    pause_s: float = 0.0
    """How long to wait before each part, or, where nothing is to be sent, before the connection is closed."""

    usage: Usage | None = None
    """What a provider would bill, or `None` where no answer was made."""

    told: bool = True
    """Whether the client is told the usage."""


def reply_to(asked: Asked, answer: Answer) -> Reply:
    """Return the whole reply, in the form that was asked for."""
    headers = ((b"content-type", EVENTS_TYPE if asked.stream else JSON_TYPE), *_headers(answer.usage))
    if asked.stream:
        events = events_of(answer, asked)
        return Reply(events, headers=headers, usage=answer.usage, told=asked.include_usage)
    body = body_of(answer, asked)
    return Reply((body,), headers=headers, length=len(body), usage=answer.usage)


def refused(error: WireError, headers: Headers = ()) -> Reply:
    """Return an error in OpenAI's shape."""
    body = dumped(error.body)
    return Reply((body,), error.status, ((b"content-type", JSON_TYPE), *_ids(), *headers), len(body))


def overflow(api: Api, tokens: int, window: int) -> WireError:
    """Return the error of a request that is longer than the model's window."""
    code = "context_length_exceeded"
    if api == "responses":
        told = "Your input exceeds the context window of this model. Please adjust your input and try again."
        return WireError(400, told, "input", code)
    told = f"This model's maximum context length is {window} tokens. However, your messages resulted in {tokens} tokens"
    return WireError(400, f"{told}. Please reduce the length of the messages.", "messages", code)


def instead(fault: Fault, asked: Asked) -> Reply | None:
    """Return what comes in the place of an answer, or `None` for a fault that needs one to break."""
    if fault.kind in ("timeout", "drop_before"):
        return Reply(ending="drop", pause_s=fault.lasts_s)
    if fault.kind == "garbage":
        kind, body = (EVENTS_TYPE, b"data: %b\n\n" % _HTML) if asked.stream else (JSON_TYPE, _HTML)
        return Reply((body,), headers=((b"content-type", kind), *_ids()), length=len(body))
    error = _error(fault, asked)
    if error is None:
        return None
    return refused(error, _limit_headers(fault) if fault.kind == "rate_limit" else ())


def _error(fault: Fault, asked: Asked) -> WireError | None:
    who = f"for {asked.model} in organization org-offline on tokens per min (TPM)"
    more = "Visit https://platform.openai.com/account/rate-limits to learn more."
    match fault.kind:
        case "rate_limit" | "rate_limit_bare":
            told = f"Rate limit reached {who}: Limit 500000, Used 442231, Requested 249686."
            told = f"{told} Please try again in {fault.retry_after_s:g}s. {more}"
            return WireError(429, told, code="rate_limit_exceeded", kind="tokens")
        case "too_large":
            told = f"Request too large {who}: Limit 30000, Requested 41213. The input or output tokens must be reduced"
            return WireError(429, f"{told} in order to run successfully. {more}", None, "rate_limit_exceeded", "tokens")
        case "server_error":
            told = "The server had an error while processing your request. Sorry about that!"
            return WireError(500, told, kind="server_error")
        case "unavailable":
            told = "The engine is currently overloaded, please try again later."
            return WireError(503, told, kind="service_unavailable_error")
        case "overflow":
            return overflow(asked.api, 1_100_000, 1_050_000)
    return None


def spoilt(fault: Fault, asked: Asked, answer: Answer) -> Answer | None:
    """Return the answer as a fault of the model leaves it, or `None` where there is nothing to spoil.

    Arguments of tool calls are spoilt, or the JSON of an answer into a schema. Where tools were offered and none is
    called, the first one is.
    """
    match fault.kind:
        case "length":
            text = answer.text[: len(answer.text) // 2] or _CUT_OFF
            return replace(answer, text=text, calls=(), finish="length")
        case "length_empty":
            spent = max(answer.usage.output_tokens, 1)
            usage = replace(answer.usage, output_tokens=spent, reasoning_tokens=spent)
            return replace(answer, text="", calls=(), finish="length", usage=usage)
        case "refusal":
            return replace(answer, text="", calls=(), finish="stop", refusal=_REFUSED)
        case "content_filter":
            return replace(answer, text="", calls=(), finish="content_filter")
        case "invented_tool":
            return _calling(answer, "search_everything", '{"query":"offline"}')
    return _with_spoilt_json(_SPOILERS[fault.kind], asked, answer)


def broken(fault: Fault, reply: Reply) -> Reply:
    """Return a reply as a fault of the line leaves it.

    A stream is cut between two events, a body in its middle; each fault does to either what it can.
    """
    if fault.kind == "slow":
        parts = reply.parts if reply.length is None else tuple(_pieces(b"".join(reply.parts)))
        return replace(reply, parts=parts, pause_s=fault.lasts_s / len(parts))
    whole = b"".join(reply.parts)
    half = reply.parts[: max(len(reply.parts) // 2, 1)] if reply.length is None else (whole[: len(whole) // 2],)
    if fault.kind != "truncated_stream":
        return replace(reply, parts=half, ending="drop", told=False)
    return replace(reply, parts=half, length=None if reply.length is None else len(half[0]), told=False)


def _pieces(body: bytes) -> Iterable[bytes]:
    size = max(len(body) // _SLOW_PARTS, 1)
    return (body[at : at + size] for at in range(0, len(body), size))


def _calling(answer: Answer, name: str, arguments: str) -> Answer:
    call = Call(f"call_{uuid4().hex[:24]}", name, arguments)
    return replace(answer, text="", calls=(call,), finish="tool_calls")


def _with_spoilt_json(spoil: Spoiler, asked: Asked, answer: Answer) -> Answer | None:
    offered = {tool["function"]["name"]: tool["function"].get("parameters") or {} for tool in asked.tools}
    if answer.calls:
        first, *rest = answer.calls
        arguments = spoil(first.arguments, offered.get(first.name, {}))
        return None if arguments is None else replace(answer, calls=(first._replace(arguments=arguments), *rest))
    if asked.schema is not None:
        text = spoil(answer.text, asked.schema)
        return None if text is None else replace(answer, text=text)
    if not offered or asked.tool_choice == "none":
        return None
    name, schema = next(iter(offered.items()))
    fields = schema.get("properties") or {}
    example = {field: _EXAMPLES.get(each.get("type"), "value") for field, each in fields.items()}
    arguments = spoil(json.dumps(example), schema)
    return None if arguments is None else _calling(answer, name, arguments)


_EXAMPLES: dict[Any, Any] = {"integer": 1, "number": 1.5, "boolean": True, "array": [], "object": {}}


def _cut(told: str, _: JSON) -> str | None:
    return told[: len(told) // 2] or None


def _with_wrong_types(told: str, _: JSON) -> str | None:
    given = _object(told)
    return json.dumps({name: _of_wrong_type(value) for name, value in given.items()}) if given else None


def _of_wrong_type(value: object) -> object:
    return [value] if isinstance(value, str) else "not of this type"


def _without_a_field(told: str, schema: JSON) -> str | None:
    given = _object(told)
    needed = [name for name in schema.get("required") or () if name in given]
    return json.dumps({name: value for name, value in given.items() if name != needed[0]}) if needed else None


def _object(told: str) -> JSON:
    try:
        given = json.loads(told)
    except ValueError:
        return {}
    return given if isinstance(given, dict) else {}


_SPOILERS: dict[FaultKind, Spoiler] = {
    "malformed_arguments": _cut,
    "wrong_types": _with_wrong_types,
    "missing_fields": _without_a_field,
}
SPOILING = frozenset({"length", "length_empty", "refusal", "content_filter", "invented_tool", *_SPOILERS})
"""The faults of the model, which `spoilt` carries out; `instead` and `broken` do the others."""


def _ids() -> Headers:
    return (
        (b"x-request-id", b"req_%b" % uuid4().hex.encode()),
        (b"openai-processing-ms", b"1"),
        (b"openai-version", b"2020-10-01"),
    )


def _headers(usage: Usage) -> Headers:
    return (
        *_ids(),
        (b"x-ratelimit-limit-requests", b"%d" % _LIMIT_REQUESTS),
        (b"x-ratelimit-limit-tokens", b"%d" % _LIMIT_TOKENS),
        (b"x-ratelimit-remaining-requests", b"%d" % (_LIMIT_REQUESTS - 1)),
        (b"x-ratelimit-remaining-tokens", b"%d" % max(_LIMIT_TOKENS - usage.input_tokens, 0)),
        (b"x-ratelimit-reset-requests", b"2ms"),
        (b"x-ratelimit-reset-tokens", b"0s"),
    )


def _limit_headers(fault: Fault) -> Headers:
    wait = f"{fault.retry_after_s:g}".encode()
    return (
        (b"retry-after", wait),
        (b"retry-after-ms", b"%d" % round(fault.retry_after_s * 1000)),
        (b"x-ratelimit-limit-requests", b"%d" % _LIMIT_REQUESTS),
        (b"x-ratelimit-limit-tokens", b"500000"),
        (b"x-ratelimit-remaining-requests", b"%d" % (_LIMIT_REQUESTS - 1)),
        (b"x-ratelimit-remaining-tokens", b"57769"),
        (b"x-ratelimit-reset-requests", b"2ms"),
        (b"x-ratelimit-reset-tokens", b"%bs" % wait),
    )
