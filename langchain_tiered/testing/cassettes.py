"""Cassettes: real exchanges with a provider, recorded once, replayed without key or network, and never by mistake.

A request that was not recorded fails the test, whoever swallows the error; the message says how it differs from the
nearest recording. A recording that nobody asked for fails the test as well. vcrpy alone can read the files, too.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import contextmanager
from difflib import SequenceMatcher, unified_diff
from functools import cache
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from langchain_tiered.errors import MissingExtraError, TieredError
from langchain_tiered.testing.files import files_under, readable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vcr.cassette import Cassette
    from vcr.request import Request

RECORD_MODE = "VCR_RECORD_MODE"
"""The environment variable that says whether to replay (`none`, the default) or to record (`all`)."""

MATCH_ON = ("method", "host", "path", "body")
"""Without the body, a request to the cheap tier would play the dear one's recording."""

_KEPT_OF_REQUEST = frozenset({"accept", "content-type"})  # without its type, a body is not compared as JSON
_DROPPED_OF_RESPONSE = frozenset(
    {"alt-svc", "cf-cache-status", "cf-ray", "connection", "content-length", "date", "nel", "openai-organization"}
    | {"openai-processing-ms", "openai-project", "openai-version", "report-to", "server", "set-cookie"}
    | {"strict-transport-security", "transfer-encoding", "x-content-type-options", "x-envoy-upstream-service-time"}
)
_SECRETS = (
    (re.compile(rb"\bsk-[\w*-]{8,}"), b"sk-scrubbed"),
    (re.compile(rb"\borg-[\w-]{4,}"), b"org-scrubbed"),
    (re.compile(rb"\bproj_[\w-]{4,}"), b"proj_scrubbed"),
    (re.compile(rb"\b(gsk_|xai-|pplx-|hf_|r8_|ghp_|AIza|AKIA)[\w-]{16,}"), rb"\1scrubbed"),
    (re.compile(rb"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}"), b"jwt-scrubbed"),
    (re.compile(rb"(?i)\b(bearer +)(?=[\w.~+/-]*\d)[\w.~+/-]{16,}"), rb"\1scrubbed"),
)
_SECRET_IN_ADDRESS = re.compile(
    r"(?i)(?<=://)[^/@]+@|(?<=[?&])((?:[a-z-]+[_-])?(?:key|token|sig|signature|secret|password)=)[^&#]+"
)
_DATE = re.compile(rb'("(?:created|created_at|completed_at)":\s*)\d{9,11}\b')
_ID = re.compile(rb"\b(chatcmpl-|resp_|msg_|rs_|fc_|call_|req_)([A-Za-z0-9]{20,}(?:_\d+)?)(?![A-Za-z0-9_])")
_LINES, _LINE = 40, 160


class MissingRecordingError(TieredError, AssertionError):
    """A request went out that the cassette has no recording of; the message tells how it differs from the nearest.

    It is raised from vcrpy's own error, by which our fallbacks know it and let it pass. Other people's may take it for
    an outage, as the provider's client does; hence it is raised once more at the end of `use_cassette`.
    """


class UnplayedRecordingError(TieredError, AssertionError):
    """A cassette holds recordings that nobody asked for."""


def vcr_config(record_mode: str | None = None) -> dict[str, Any]:
    """Return the options for `vcr.VCR(...)`, or for the `vcr_config` fixture of pytest-recording.

    Requests match by method, host, path and body. Of their headers only the content type is kept; keys, also those in
    an address, the ids of organizations and projects, and cookies are scrubbed out of both sides.

    Args:
        record_mode: vcrpy's own; `None` for the environment variable `VCR_RECORD_MODE`, else `none`.
    """
    return {
        "record_mode": record_mode or os.environ.get(RECORD_MODE) or "none",
        "match_on": MATCH_ON,
        "decode_compressed_response": True,
        "before_record_request": _request_scrubbed,
        "before_record_response": _response_scrubbed,
    }


@contextmanager
def use_cassette(
    path: Path | str,
    *,
    record_mode: str | None = None,
    note: str = "",
    needs_usage: bool = True,
) -> Iterator[Cassette]:
    """Replay the recordings of a file in a block, or record them.

    ```python
    with use_cassette("cassettes/refund.yaml"):
        result = agent.invoke({"messages": [("user", "Refund order 1042.")]})
    ```

    While it records, ids and dates that the provider makes up are numbered, so that two recordings differ in nothing
    but what was said.

    Args:
        path: The file, in YAML.
        record_mode: As for `vcr_config`.
        note: What the head of a new file says of how it was recorded.
        needs_usage: Whether every answer must tell its usage, so that ledgers can be checked.

    Raises:
        CassetteError: If the file is missing, cut off or of another format; or an answer tells no usage.
        MissingRecordingError: In the call that was not recorded, and once more at the end, whatever became of it.
        UnplayedRecordingError: If the block ends without error and has not asked for every recording.
    """
    config = vcr_config(record_mode)
    if config["record_mode"] != "none":
        config = _with_plain_ids(config) | {"drop_unused_requests": True}
    recorder = _vcr().VCR(**config, serializer="yaml")
    recorder.register_persister(files_under(note, must_exist=config["record_mode"] == "none", needs_usage=needs_usage))
    with _cassette_class().use(**recorder.get_merged_config(path=str(path))) as cassette:
        try:
            yield cassette
        except BaseException as error:
            if cassette.misses:
                raise MissingRecordingError(str(cassette.misses[0])) from error
            raise
    if cassette.misses:
        raise MissingRecordingError(str(cassette.misses[0])) from cassette.misses[0]
    if config["record_mode"] == "none":
        assert_all_played(cassette)


def assert_all_played(cassette: Cassette) -> None:
    """Check that every recording of a cassette was asked for.

    Raises:
        UnplayedRecordingError: If not; names those that were not.
    """
    left = [place for place in range(len(cassette)) if not cassette.play_counts[place]]
    if left:
        told = "; ".join(f"{place + 1}: {_told(cassette.requests[place])}" for place in left)
        raise UnplayedRecordingError(
            f"{len(left)} of {len(cassette)} recordings in {_path(cassette)} were not asked for ({told}). "
            f"Where that is meant, record it anew with {RECORD_MODE}=all."
        )


def explain_miss(cassette: Cassette, request: Request) -> str:
    """Tell why a cassette has no answer to a request: what differs from the nearest recording.

    Args:
        cassette: The cassette.
        request: The request, as vcrpy has it.
    """
    asked = cassette.filter_request(request)
    head = f"No recording answers {_told(asked)}: {_path(cassette).name} has {len(cassette)}, "
    head += f"of which {len(cassette.play_counts)} were played."
    mend = f"Where the change is meant, record it anew with {RECORD_MODE}=all."
    if not len(cassette):
        return f"{head} {mend}"
    place = max(range(len(cassette)), key=lambda place: _likeness(asked, cassette.requests[place]))
    diff = list(unified_diff(_lines(cassette.requests[place]), _lines(asked), "recorded", "asked", n=2, lineterm=""))
    if not diff:
        return f"{head} Recording {place + 1} is the same request and was played already: it is asked too often. {mend}"
    told = "\n".join(line[:_LINE] for line in islice(diff, _LINES))
    played = "played already" if cassette.play_counts[place] else "not played yet"
    return f"{head} The nearest is recording {place + 1}, {played}. {mend}\n{told}"


@cache
def _cassette_class() -> Any:
    """Return vcrpy's cassette, which tells of a miss at once and in full; made at first use, as vcrpy is optional."""
    from vcr.cassette import Cassette as Base  # noqa: PLC0415  (optional)
    from vcr.errors import CannotOverwriteExistingCassetteException as MissError  # noqa: PLC0415  (optional)

    class LoudCassette(Base):  # type: ignore[misc]  # vcrpy has no types
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.misses: list[MissingRecordingError] = []

        def can_play_response_for(self, request: Any) -> bool:
            playable = bool(super().can_play_response_for(request))
            if not playable and self.write_protected:
                self.misses.append(MissingRecordingError(explain_miss(self, request)))
                raise self.misses[-1] from MissError(cassette=self, failed_request=request)
            return playable

    return LoudCassette


def _vcr() -> Any:
    try:
        import vcr  # noqa: PLC0415  (optional)
    except ImportError as error:
        raise MissingExtraError("testing", "A cassette") from error
    return vcr


def _with_plain_ids(config: dict[str, Any]) -> dict[str, Any]:
    """Number the ids that a provider makes up, in order of appearance, the same way in answers and in what follows."""
    numbers: dict[bytes, bytes] = {}
    lock = Lock()  # of two parallel calls each gets a number of its own

    def plain(body: bytes) -> bytes:
        def number(found: re.Match[bytes]) -> bytes:
            with lock:
                return numbers.setdefault(found[0], b"%b%04d" % (found[1], len(numbers) + 1))

        return _ID.sub(number, _DATE.sub(rb"\g<1>1767225600", body))

    def request_plain(request: Request) -> Request:
        request = config["before_record_request"](request)
        if isinstance(request.body, bytes):
            request.body = plain(request.body)
        return request

    def response_plain(response: dict[str, Any]) -> dict[str, Any]:
        return _with_bodies(config["before_record_response"](response), plain)

    return config | {"before_record_request": request_plain, "before_record_response": response_plain}


def _request_scrubbed(request: Request) -> Request:
    request.headers = {name: value for name, value in request.headers.items() if name.lower() in _KEPT_OF_REQUEST}
    request.uri = _SECRET_IN_ADDRESS.sub(lambda found: f"{found[1]}scrubbed" if found[1] else "", request.uri)
    if isinstance(request.body, bytes):
        request.body = _scrubbed(request.body)
    return request


def _response_scrubbed(response: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in response["headers"].items() if name.lower() not in _DROPPED_OF_RESPONSE}
    return _with_bodies({**response, "headers": kept}, _scrubbed)


def _with_bodies(response: dict[str, Any], change: Callable[[bytes], bytes]) -> dict[str, Any]:
    headers = {
        name: [change(value.encode()).decode() for value in values] for name, values in response["headers"].items()
    }
    return {**response, "headers": headers, "body": {**response["body"], "string": change(response["body"]["string"])}}


def _scrubbed(body: bytes) -> bytes:
    for secret, instead in _SECRETS:
        body = secret.sub(instead, body)
    return body


def _path(cassette: Cassette) -> Path:
    return Path(vars(cassette)["_path"])  # public from vcrpy 9 on only


def _told(request: Request) -> str:
    try:
        model = json.loads(request.body)["model"]
    except (ValueError, TypeError, KeyError):
        return f"{request.method} {request.uri}"
    return f"{request.method} {request.uri} for {model}"


def _lines(request: Request) -> list[str]:
    return [f"{request.method} {request.uri}", *readable(request.body or b"").splitlines()]


def _likeness(one: Request, other: Request) -> tuple[bool, float]:
    same = (one.method, one.host, one.path) == (other.method, other.host, other.path)
    return same, SequenceMatcher(None, _lines(one), _lines(other), autojunk=False).ratio()
