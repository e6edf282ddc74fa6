"""A script of answers for the offline server: what a model is to say, or recorded bodies served as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import uuid4

from langchain_tiered.errors import ConfigurationError
from langchain_tiered.offline.faults import named
from langchain_tiered.offline.reading import CHARACTERS_PER_TOKEN
from langchain_tiered.offline.replies import EVENTS_TYPE, JSON_TYPE, Reply
from langchain_tiered.offline.wire import Answer, Call, Usage, dumped, usage_in

if TYPE_CHECKING:
    from langchain_tiered.offline.reading import Asked
    from langchain_tiered.offline.wire import Finish

    Entry = Mapping[str, Any]

_SAID = frozenset({"model", "text", "tool_calls", "finish_reason", "usage", "refusal"})
_RECORDED = frozenset({"model", "status", "headers", "body"})
_FINISHES = ("stop", "length", "tool_calls", "content_filter")
_USAGE = tuple(each.name for each in fields(Usage))
_OF_THE_LINE = frozenset(
    {"content-length", "content-encoding", "transfer-encoding", "connection", "keep-alive", "date"}
)
"""Headers that belong to the connection on which a recording was made."""


class Script:
    """Answers in the order in which they are given, each once; those for one model do not wait for another's.

    ```python
    Script([{"model": "mini", "text": "Yes."}, {"tool_calls": [{"name": "refund", "args": {"order": 1042}}]}])
    Script({"nano": [{"text": "bug"}], "*": [{"status": 200, "headers": {}, "body": recorded}]})
    ```

    Raises:
        ConfigurationError: If an entry has unknown fields, or fields of both kinds, or none.
    """

    def __init__(self, entries: Sequence[Entry] | Mapping[str, Sequence[Entry]]) -> None:
        if isinstance(entries, Mapping):
            entries = [{**entry, "model": model} for model, each in entries.items() for entry in each]
        self._entries = [_checked(entry, at) for at, entry in enumerate(entries)]
        self._left = list(self._entries)

    @property
    def left(self) -> int:
        """How many answers have not been asked for yet."""
        return len(self._left)

    def knows(self, model: str) -> bool:
        """Tell whether there was ever an answer for a model."""
        return any(named(entry.get("model", "*"), model) for entry in self._entries)

    def take(self, model: str) -> Entry | None:
        """Return the next answer for a model, or `None` when there is none left."""
        for at, entry in enumerate(self._left):
            if named(entry.get("model", "*"), model):
                return self._left.pop(at)
        return None

    def reset(self) -> None:
        """Begin again."""
        self._left = list(self._entries)


def scripted(entry: Entry, asked: Asked) -> Answer | Reply:
    """Return what an entry stands for: an answer, or a recorded reply that no protocol is put around."""
    return _recorded(entry) if "body" in entry else _said(entry, asked)


def _checked(entry: object, at: int) -> Entry:
    if not isinstance(entry, Mapping) or not entry.keys() - {"model"}:
        _wrong(at, entry, 'Write {"text": "Yes."}, {"tool_calls": [...]} or {"status": 200, "body": ...}.')
    known = _RECORDED if "body" in entry else _SAID
    if unknown := sorted(map(str, entry.keys() - known)):
        _wrong(at, unknown[0], f"Fields: {', '.join(sorted(known))}.")
    if entry.get("finish_reason", "stop") not in _FINISHES:
        _wrong(at, entry["finish_reason"], f"Reasons to finish: {', '.join(_FINISHES)}.")
    if unknown := sorted(map(str, set(entry.get("usage") or ()) - set(_USAGE))):
        _wrong(at, unknown[0], f"Fields of a usage: {', '.join(_USAGE)}.")
    for call in entry.get("tool_calls") or ():
        if not isinstance(call, Mapping) or not ("name" in call or "function" in call):
            _wrong(at, call, 'Write a call as {"name": "refund", "args": {"order": 1042}}.')
    return entry


def _wrong(at: int, value: object, mend: str) -> NoReturn:
    raise ConfigurationError(f"The script's answer {at} has {value!r}. {mend}")


def _said(entry: Entry, asked: Asked) -> Answer:
    calls = tuple(_call(call) for call in entry.get("tool_calls") or ())
    text = entry.get("text") or ""
    given = len(text) + sum(len(call.arguments) for call in calls) + len(entry.get("refusal") or "")
    counted = {"input_tokens": asked.tokens(), "output_tokens": -(-given // CHARACTERS_PER_TOKEN)}
    finish: Finish = entry.get("finish_reason") or ("tool_calls" if calls else "stop")
    return Answer(text, calls, finish, entry.get("refusal"), Usage(**{**counted, **(entry.get("usage") or {})}))


def _call(call: Mapping[str, Any]) -> Call:
    """Read a call in LangChain's form or in OpenAI's; arguments that are a string stay as they are, broken or not."""
    function = call.get("function") or call
    arguments = function.get("arguments", function.get("args", {}))
    told = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return Call(call.get("id") or f"call_{uuid4().hex[:24]}", function["name"], told)


def _recorded(entry: Entry) -> Reply:
    body = entry["body"]
    raw = body.encode() if isinstance(body, str) else dumped(body)
    events = raw.lstrip().startswith((b"data:", b"event:"))
    headers = {name.lower(): str(value) for name, value in (entry.get("headers") or {}).items()}
    if "/" not in headers.get("content-type", ""):
        headers["content-type"] = (EVENTS_TYPE if events else JSON_TYPE).decode()
    parts = tuple(part + b"\n\n" for part in raw.split(b"\n\n") if part) if events else (raw,)
    return Reply(
        parts,
        entry.get("status", 200),
        tuple((name.encode(), value.encode()) for name, value in headers.items() if name not in _OF_THE_LINE),
        None if events else len(raw),
        usage=usage_in(raw),
    )
