"""Reads a JSONL file into records, and a record into messages and a schema. A record that cannot be read says why."""

from __future__ import annotations

import base64
import json
import mimetypes
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.messages import HumanMessage

from langchain_tiered.errors import InvalidInputError
from langchain_tiered.routing import messages_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from langchain_core.messages import BaseMessage

FIELDS = ("text", "images", "document", "messages", "schema", "expect", "id")
"""What is read of a record."""

_STDIN = Path("-")
_URLS = ("http://", "https://", "data:")


@dataclass(frozen=True)
class Request:
    """What an agent is asked."""

    messages: Sequence[BaseMessage]
    """The thread, the request last."""

    schema: dict[str, Any] | None
    """The JSON schema that the answer must fit, or `None`."""


@dataclass(frozen=True)
class Record:
    """One line of a file of requests; images and documents are read when its turn comes."""

    line: int
    """The number of the line, from `1`."""

    folder: Path
    """Where relative paths start: the folder of the file."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    """What the line holds; empty when it is broken."""

    problem: str | None = None
    """Why the line is broken, or `None`."""

    raw: str = ""
    """The line as it stands."""

    @property
    def id(self) -> Any:
        """The record's own `id`, or else the number of its line."""
        return self.fields.get("id", self.line)

    @property
    def expected(self) -> str | None:
        """The tier that the record expects, by its field `expect`, or `None`."""
        told = self.fields.get("expect")
        return told if isinstance(told, str) else None

    @property
    def title(self) -> str:
        """What the record asks, for a table: its text, or the last of its messages."""
        if isinstance(text := self.fields.get("text"), str):
            return text
        messages = self.fields.get("messages")
        last = messages[-1] if isinstance(messages, list) and messages else None
        told = last.get("content") if isinstance(last, dict) else None
        return told if isinstance(told, str) else self.raw

    def request(self) -> Request:
        """Return the request, with what its images and its document hold.

        Raises:
            InvalidInputError: If the line is broken, has no text, or names a file that cannot be read.
        """
        if self.problem is not None:
            raise InvalidInputError(self.problem)
        schema = self.fields.get("schema")
        if schema is not None and not (isinstance(schema, dict) and schema.get("type") == "object"):
            raise InvalidInputError('\'schema\' is no JSON schema of an object. Begin it with {"type": "object"}.')
        return Request(self._messages(), schema)

    def _messages(self) -> list[BaseMessage]:
        images, document = self.fields.get("images") or [], self.fields.get("document")
        if "messages" in self.fields:
            if images or document or "text" in self.fields:
                raise InvalidInputError(
                    "'messages' stands beside 'text', 'images' or 'document'. Put all into messages."
                )
            return messages_of(self.fields["messages"])
        text = self.fields.get("text")
        if text is not None and not isinstance(text, str):
            raise InvalidInputError(f"'text' is {text!r}, expected words in double quotes.")
        if text is None or not text.strip():
            raise InvalidInputError("The record has no text. Give it 'text', or 'messages'.")
        if document:
            text = f"{text}\n\n{self._document(document)}"
        if not isinstance(images, list):
            raise InvalidInputError(f"'images' is {images!r}, expected a list of paths or URLs.")
        if not images:
            return [HumanMessage(text)]
        return [HumanMessage([{"type": "text", "text": text}, *(image_block(each, self.folder) for each in images)])]

    def _document(self, name: object) -> str:
        try:
            text = _path(name, self.folder, "document").read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise InvalidInputError(f"The document {name!r} is no text in UTF-8.") from error
        except OSError as error:
            raise _unreadable("document", name, error) from error
        return f'<document name="{Path(str(name)).name}">\n{text}\n</document>'


def read_records(path: Path) -> list[Record]:
    """Return the records of a JSONL file, or of stdin for `-`, broken ones too. Empty lines are no records.

    Raises:
        OSError: If the file cannot be read.
    """
    given = sys.stdin.buffer.read() if path == _STDIN else path.read_bytes()
    lines = given.splitlines()  # lines end with newlines only, not with what else Unicode calls an end
    return [_record(number, line, path.parent) for number, line in enumerate(lines, 1) if line.strip()]


def not_heeded(records: Sequence[Record], tiers: Sequence[str]) -> Iterator[str]:
    """Yield what records hold that changes nothing: fields that are not read, and tiers that are not there."""
    fields = Counter(name for record in records for name in record.fields if name not in FIELDS)
    if fields:
        yield f"Fields that are not read: {_counted(fields)}. Known are {', '.join(FIELDS)}."
    told = (record.fields["expect"] for record in records if record.fields.get("expect") is not None)
    unknown = Counter(str(tier) for tier in told if tier not in tiers)
    if unknown:
        yield f"'expect' names no tier: {_counted(unknown)}. Tiers, cheapest first: {', '.join(tiers)}."


def text_record(text: str) -> Record:
    """Return the record of one text."""
    return Record(1, Path(), {"text": text})


def image_block(image: object, folder: Path) -> dict[str, Any]:
    """Return an image as a content block: a URL as it stands, a file with what it holds.

    Raises:
        InvalidInputError: If it cannot be read, or is no image by its name.
    """
    if isinstance(image, str) and image.startswith(_URLS):
        return {"type": "image", "url": image}
    path = _path(image, folder, "image")
    kind = mimetypes.guess_type(path.name, strict=False)[0] or ""
    if not kind.startswith("image/"):
        raise InvalidInputError(
            f"{image!r} is no image by its name. Known are .png, .jpg, .gif and .webp, among others."
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable("image", image, error) from error
    return {"type": "image", "base64": base64.b64encode(data).decode("ascii"), "mime_type": kind}


def _record(number: int, line: bytes, folder: Path) -> Record:
    raw = line.decode("utf-8", "replace").strip()
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Record(number, folder, problem=f"Line {number} is no JSON: {error}.", raw=raw)
    if not isinstance(fields, dict):
        problem = f'Line {number} is no JSON object. Write one such as {{"text": "Hello"}}.'
        return Record(number, folder, problem=problem, raw=raw)
    return Record(number, folder, fields, raw=raw)


def _counted(names: Counter[str]) -> str:
    return ", ".join(f"{name!r} in {count} record{'s' * (count != 1)}" for name, count in names.items())


def _path(name: object, folder: Path, what: str) -> Path:
    if not isinstance(name, str) or not name:
        raise InvalidInputError(f"{name!r} is no {what}. Give its path, relative to the file of requests.")
    return folder / name


def _unreadable(what: str, name: object, error: OSError) -> InvalidInputError:
    return InvalidInputError(f"The {what} {name!r} cannot be read: {error.strerror or error}.")
