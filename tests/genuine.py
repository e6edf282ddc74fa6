"""Recorded exchanges of others with OpenAI, where they lie beside the checkout; none of their text is ours.

What a body says is read here from its JSON alone, so that it can be held against what the library makes of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

WIRE = Path(__file__).parents[1] / "../shared/wire"
ABSENT = "The recorded exchanges (../shared/wire) are not beside this checkout."


class Usage(NamedTuple):
    """Tokens as a body states them; `None` is what it does not state."""

    input_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass(frozen=True)
class Recording:
    """One recorded exchange."""

    id: str
    """Its name in the collection."""

    api: str
    """`chat` or `responses`."""

    status: int
    """The HTTP status."""

    headers: dict[str, str] = field(repr=False)
    """The headers of the reply."""

    body: Any = field(repr=False)
    """An object, or the raw text of a stream."""

    tools: list[dict[str, Any]] = field(default_factory=list, repr=False)
    """The tools that the request declared."""

    before: list[dict[str, Any]] = field(default_factory=list, repr=False)
    """The messages or items of the request."""

    tags: frozenset[str] = field(default=frozenset(), repr=False)
    """What the collection says of it."""

    @property
    def is_stream(self) -> bool:
        return isinstance(self.body, str) and self.body.lstrip().startswith(("data:", "event:"))

    @property
    def is_error(self) -> bool:
        return self.status >= 400

    @property
    def entry(self) -> dict[str, Any]:
        """The reply as an entry of the server's script."""
        return {"status": self.status, "headers": self.headers, "body": self.body}

    @property
    def usage(self) -> Usage:
        told: dict[str, Any] = next((each["usage"] for each in reversed(self._parts()) if each.get("usage")), {})
        read = told.get("prompt_tokens_details") or told.get("input_tokens_details") or {}
        made = told.get("completion_tokens_details") or told.get("output_tokens_details") or {}
        return Usage(
            told.get("prompt_tokens", told.get("input_tokens")),
            read.get("cached_tokens"),
            told.get("completion_tokens", told.get("output_tokens")),
            made.get("reasoning_tokens"),
        )

    @property
    def model(self) -> str:
        """The model that says it answered."""
        return str(next(each["model"] for each in reversed(self._parts()) if each.get("model")))

    @property
    def text(self) -> str:
        if self.api == "chat":
            return "".join(said.get("content") or "" for said in self._said())
        items = [item for item in self._parts()[-1]["output"] if item["type"] == "message"]
        return "".join(block.get("text", "") for item in items for block in item["content"])

    @property
    def calls(self) -> list[tuple[str, Any]]:
        """The tool calls, by name and arguments."""
        if self.api == "responses":
            items = [item for item in self._parts()[-1]["output"] if item["type"] == "function_call"]
            return [(item["name"], json.loads(item["arguments"])) for item in items]
        names: dict[int, str] = {}
        arguments: dict[int, str] = {}
        for said in self._said():
            for place, call in enumerate(said.get("tool_calls") or ()):
                at = call.get("index", place)
                names[at] = names.get(at, "") + (call["function"].get("name") or "")
                arguments[at] = arguments.get(at, "") + (call["function"].get("arguments") or "")
        return [(names[at], json.loads(arguments[at])) for at in sorted(names)]

    @property
    def other_items(self) -> list[str]:
        """The kinds of what a response holds besides words, reasoning and calls, such as a web search."""
        output = self._parts()[-1]["output"] if self.api == "responses" else ()
        return [item["type"] for item in output if item["type"] not in {"message", "reasoning", "function_call"}]

    def _parts(self) -> list[dict[str, Any]]:
        """Return the completion or response: one object, or the events that carry a state of it."""
        if not self.is_stream:
            return [self.body] if isinstance(self.body, dict) else []
        lines = [line.removeprefix("data:").strip() for line in self.body.splitlines() if line.startswith("data:")]
        events = [json.loads(line) for line in lines if line != "[DONE]"]
        return events if self.api == "chat" else [event["response"] for event in events if "response" in event]

    def _said(self) -> list[dict[str, Any]]:
        """Return the first choice's message, or its pieces."""
        choices = [choice for part in self._parts() for choice in part.get("choices") or () if choice["index"] == 0]
        return [choice.get("message") or choice.get("delta") or {} for choice in choices]


def recordings() -> list[Recording]:
    """Return the recorded exchanges; none where they are absent."""
    return [
        Recording(row["id"], row["api"], row["status"], row["response_headers"], row["response_body"], *_asked(row))
        for row in _rows("recordings.jsonl")
    ]


def violations() -> list[Recording]:
    """Return the exchanges whose tool call breaks its declared schema; of these no headers were kept."""
    return [
        Recording(f"violation{place:02}", "chat", row["status"], {}, row["response_body"], *_asked(row))
        for place, row in enumerate(_rows("schema_violations.jsonl"))
    ]


def error_bodies() -> dict[str, Recording]:
    """Return the error bodies quoted in public reports, by their code; their headers were never published."""
    rows = _rows("error_shapes_no_headers.jsonl")
    return {
        row["error"]["code"]: Recording(row["error"]["code"], "chat", row["status"], {}, {"error": row["error"]})
        for row in rows
    }


def _asked(row: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]], frozenset[str]]:
    """Return the tools, the messages and the tags; a few requests were kept as text, or not at all."""
    asked = row["request_body"] if isinstance(row["request_body"], dict) else {}
    before = asked.get("messages") or asked.get("input")
    return asked.get("tools") or [], before if isinstance(before, list) else [], frozenset(row.get("tags", ()))


def _rows(name: str) -> list[dict[str, Any]]:
    if not (WIRE / name).exists():
        return []
    return [json.loads(line) for line in (WIRE / name).read_text(encoding="utf-8").splitlines()]
