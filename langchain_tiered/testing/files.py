"""The files of cassettes: a head that says where they come from, readable bodies, and an end that shows a cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_tiered.errors import TieredError

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1
"""The version of the format: vcrpy's own."""

_MEND = "Record it anew with VCR_RECORD_MODE=all."
_HEAD = "# A cassette of langchain-tiered, format {version}. {note}\n"
_END = "...\n"
_ANSWERS = ("/chat/completions", "/responses")
_FIRST_ERROR = 400


class CassetteError(TieredError, ValueError):
    """A cassette's file cannot be used."""


def files_under(note: str, *, must_exist: bool, needs_usage: bool) -> Any:
    """Return what vcrpy reads and writes its files by.

    Args:
        note: What the head of a new file says of how it was recorded.
        must_exist: Whether a missing file is an error, since it is only replayed.
        needs_usage: Whether every recorded answer must tell its usage.
    """
    from vcr.persisters.filesystem import CassetteNotFoundError  # noqa: PLC0415  (optional)
    from vcr.serialize import deserialize, serialize  # noqa: PLC0415  (optional)

    class Files:
        @staticmethod
        def load_cassette(cassette_path: str, serializer: Any) -> Any:
            path = Path(cassette_path)
            if not must_exist:
                raise CassetteNotFoundError  # what was recorded before goes
            told = _text(path)
            check(path, told, needs_usage=needs_usage)
            return deserialize(told, serializer)

        @staticmethod
        def save_cassette(cassette_path: str, cassette_dict: dict[str, Any], serializer: Any) -> None:
            del serializer
            path = Path(cassette_path)
            path.parent.mkdir(parents=True, exist_ok=True)
            head = _HEAD.format(version=FORMAT, note=note).replace(" \n", "\n")
            path.write_text(head + serialize(cassette_dict, _Readable), encoding="utf-8")

    return Files


def readable(body: bytes | str) -> str:
    """Return a body as text, JSON with a line for each value."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text


def check(path: Path, told: str, *, needs_usage: bool) -> None:
    """Check a cassette's text before anything is replayed of it.

    Raises:
        CassetteError: If it is cut off, of another format, or an answer tells no usage.
    """
    import yaml  # noqa: PLC0415  (comes with vcrpy, which is optional)

    if told.startswith(_HEAD[:12]) and not told.endswith(f"\n{_END}"):
        raise CassetteError(f"Cassette {path} is cut off: its end is missing. {_MEND}")
    try:
        given = yaml.safe_load(told)
    except yaml.YAMLError as error:
        raise CassetteError(f"Cassette {path} is no YAML, perhaps it is cut off: {error}. {_MEND}") from error
    version = given.get("version") if isinstance(given, dict) else None
    if version != FORMAT:
        raise CassetteError(f"Cassette {path} has format version {version!r}, expected {FORMAT}. {_MEND}")
    for place, exchange in enumerate(given.get("interactions") or (), start=1):
        if not (isinstance(exchange, dict) and {"request", "response"} <= exchange.keys()):
            raise CassetteError(f"Cassette {path}: recording {place} has no request or no response. {_MEND}")
        if needs_usage and _is_answer(exchange) and not _tells_usage(exchange["response"]):
            raise CassetteError(
                f"Cassette {path}: recording {place} tells no usage, so that no ledger can be checked against it. "
                "Record it with stream_usage=True, or pass needs_usage=False where that is meant."
            )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CassetteError(f"There is no cassette {path}. Record it with VCR_RECORD_MODE=all.") from None
    except UnicodeDecodeError as error:
        raise CassetteError(f"Cassette {path} is no UTF-8 text. {_MEND}") from error


def _is_answer(exchange: Mapping[str, Any]) -> bool:
    path = str(exchange["request"].get("uri")).partition("?")[0]
    return path.endswith(_ANSWERS) and exchange["response"].get("status", {}).get("code", 0) < _FIRST_ERROR


def _tells_usage(response: Mapping[str, Any]) -> bool:
    body = response.get("body", {}).get("string") or ""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    return any(f"{name}_tokens" in text for name in ("prompt", "input"))


class _Readable:
    """Writes YAML with bodies as blocks of lines, JSON laid out."""

    @staticmethod
    def serialize(cassette: dict[str, Any]) -> str:
        import yaml  # noqa: PLC0415  (comes with vcrpy, which is optional)

        class Dumper(yaml.SafeDumper):  # type: ignore[misc]  # PyYAML has no types here
            """Writes a text of several lines as a block, which quotes nothing."""

        def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
            style = "|" if "\n" in value else None
            return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

        Dumper.add_representer(str, text)
        for exchange in cassette["interactions"]:
            exchange["request"]["body"] = _laid_out(exchange["request"]["body"])
            exchange["response"]["body"] = {"string": _laid_out(exchange["response"]["body"]["string"])}
        options = {"sort_keys": False, "allow_unicode": True, "width": 100_000, "explicit_end": True}
        return str(yaml.dump(cassette, Dumper=Dumper, **options))


def _laid_out(body: bytes | str | None) -> bytes | str | None:
    """Return a body as lines of text; what is no text stays as it is."""
    try:
        return readable(body.decode() if isinstance(body, bytes) else body) if body else body
    except UnicodeDecodeError:
        return body
