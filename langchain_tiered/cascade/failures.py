"""Provider errors, told apart by what can be done about them. What is no provider's error is nobody's to swallow.

Errors are recognised by status, code and class name, so that no provider's SDK is imported.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_tiered.types import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_tiered.types import FailureKind

_OK, _INVALID, _RATE_LIMITED, _FIRST_SERVER_ERROR = 200, 400, 429, 500
_ERRORS = range(_INVALID, 600)
_BY_STATUS: dict[int, FailureKind] = {
    401: "authentication",
    403: "authentication",
    404: "unknown_model",
    408: "timeout",
    413: "too_large",
    _RATE_LIMITED: "rate_limit",
    504: "timeout",
}
_BY_CODE: dict[str, FailureKind] = {
    "context_length_exceeded": "overflow",
    "model_not_found": "unknown_model",
    "invalid_api_key": "authentication",
    "insufficient_quota": "authentication",  # no model of the account answers until somebody pays
    "content_filter": "no_answer",
    "bio_policy": "no_answer",
    "misalignment_policy_violation": "no_answer",
    "image_content_policy_violation": "no_answer",
}
"""Codes that tell more than the status beside them. What a policy forbids one model, another may answer."""

_STATUS_BY_CODE = {
    "rate_limit": _RATE_LIMITED,
    "server_error": _FIRST_SERVER_ERROR,
    "invalid_": _INVALID,
    "unsupported_": _INVALID,
    "missing_": _INVALID,
    "image_": _INVALID,
    "empty_image_": _INVALID,
    "failed_to_download_": _INVALID,
    "data_residency_": _INVALID,
}
"""The status that an error would have had if it had not come after one of 200, by how its code begins."""

_BY_CLASS: dict[str, FailureKind] = {
    "BudgetExceededError": "budget",
    "NoAnswerAcceptedError": "no_answer",
    "ModelAuthenticationError": "authentication",
    "ModelPermissionDeniedError": "authentication",
    "ModelInvalidRequestError": "invalid_request",
    "ModelNotFoundError": "unknown_model",
    "ModelRateLimitError": "rate_limit",
    "LengthFinishReasonError": "no_answer",
    "ContentFilterFinishReasonError": "no_answer",
    "TimeoutError": "timeout",
    "APITimeoutError": "timeout",
    "ModelTimeoutError": "timeout",
    "TimeoutException": "timeout",
    "ConnectionError": "outage",
    "ModelConnectionError": "outage",
    "ModelAPIError": "outage",
    "APIConnectionError": "outage",
    "TransportError": "outage",
    "APIError": "outage",
}
"""LangChain's own classes, and those of the clients and their transports; the first in a class's order counts."""

_OURS = frozenset({"BudgetExceededError", "NoAnswerAcceptedError"})
"""Our own, which a call raises that a budget does not hold, or that a tiered model answers. Of an agent in a tool, say,
they are nobody's failure."""

_BY_WORDS: dict[FailureKind, re.Pattern[str]] = {
    "overflow": re.compile(
        r"maximum context|exceed(?:s|ed)? (?:the |available |model's |max )*context (?:length|window|size|limit)"
        r"|context (?:length|window) exceeded|prompt (?:is )?too long|exceeds the maximum number of tokens",
        re.IGNORECASE,
    ),
    "too_large": re.compile(r"payload size exceeds", re.IGNORECASE),
    "no_answer": re.compile(r"output blocked by content filter", re.IGNORECASE),
    "authentication": re.compile(r"api key not valid|api key expired|credit balance is too low", re.IGNORECASE),
    "unknown_model": re.compile(r"\binvalid model\b", re.IGNORECASE),
}
"""What an invalid request really is, where a provider says it in words alone: Mistral, Google, Ollama, Anthropic."""

_CALLERS_MISTAKES: frozenset[FailureKind] = frozenset({"authentication", "unknown_model", "invalid_request"})
_UNREADABLE = frozenset({"JSONDecodeError", "UnicodeDecodeError"})
_UNREADABLE_WORDS = (
    "Unexpected response type from OpenAI-compatible endpoint",
    "No generation chunks were returned",
    "No generations found in stream",
    "v2 stream finished without producing a message",
)
"""How `langchain_openai` begins where a body is no JSON object, and `langchain_core` where a stream is empty: one that
was asked for, one that a whole answer was to be made of, and one of events."""

_CODE_IN_WORDS = re.compile(
    rf"ResponseError\(code='?(\w+)|({'|'.join([*_BY_CODE, 'rate_limit_exceeded', 'server_error'])}): "
    r"|Response \S+ failed\.$"
)
"""What `langchain_openai` makes of an event that ends a stream of the Responses API: all in one string."""

_RETRY_DELAY = re.compile(r"retryDelay['\"]?: ?['\"]?(\d+(?:\.\d+)?)s")
"""How Google asks to wait: among the details of the body, which its client puts into the message."""

_KEY = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|hf|key)[-_][\w-]{8,}|\bAIza[\w-]{8,}|\bAKIA\w{12,}|(?<=bearer )\S+|(?<=key provided: )\S+"
    r"|(?<=[?&]key=)[^&\s]+|(?<=//)[^/@\s]+(?=@)",
    re.IGNORECASE,
)


class _ToldInBody(NamedTuple):
    """An error that came instead of an answer, after a status of 200."""

    code: str
    """Its code or its type; empty if it has none."""

    message: str
    """The provider's words."""


def failure_of(error: BaseException, *, of_call: bool = False) -> Failure | None:
    """Return what kind of provider error this is, or `None` when it is none: a bug, or a cassette miss.

    What is `None` must be raised again at once.

    Args:
        error: What was raised.
        of_call: Whether a model call raised it, and not a middleware or a tool around one. Only then is an answer that
            cannot be read the provider's failure: garbage instead of JSON, an empty stream, or an error in a body of
            status 200, which `langchain_openai` raises as a bare `ValueError`. Only then is a bare `HTTPStatusError`
            the provider's, too, which `langchain_mistralai` raises: a tool may make requests of its own.
    """
    if is_missing_recording(error):
        return None
    for cause in causes_of(error):
        if not of_call and not _OURS.isdisjoint(_names(cause)):
            return None
        kind = _kind(cause) or (_kind_of_unread(cause) if of_call else None)
        if kind is not None:
            asked = (_retry_after_s(each) for each in causes_of(error))
            retry_after_s = next((seconds for seconds in asked if seconds is not None), None)
            return Failure(kind=kind, message=_told(error), retry_after_s=retry_after_s)
    return None


def has_status(error: BaseException) -> bool:
    """Tell whether a provider answered with an error status: the request has arrived, and was refused."""
    return any(_status(cause) is not None for cause in causes_of(error))


def is_missing_recording(error: BaseException) -> bool:
    """Tell whether a cassette had no answer: to the provider's client, which wraps it, it looks like an outage."""
    return any(type(cause).__module__.partition(".")[0] == "vcr" for cause in causes_of(error, handled=True))


def is_callers_mistake(failure: Failure) -> bool:
    """Tell whether no other tier could do better: a bad key, an unknown model, an invalid request."""
    return failure["kind"] in _CALLERS_MISTAKES


def causes_of(error: BaseException, *, handled: bool = False) -> Iterator[BaseException]:
    """Walk from an error to what it was raised from, each once; with `handled` also to what was being handled."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        context = cause.__context__ if handled and not cause.__suppress_context__ else None
        cause = cause.__cause__ or context


def _kind(error: BaseException) -> FailureKind | None:
    code, status = getattr(error, "code", None), getattr(error, "status_code", None)
    if isinstance(code, str) and code in _BY_CODE:
        return _BY_CODE[code]
    names = _names(error)
    if "ContextOverflowError" in names:
        return "overflow"  # LangChain's, mixed into classes of the client that would be found first
    if isinstance(status, int):
        return _kind_of_status(status, str(error))
    if code == "rate_limit_exceeded":
        return _kind_of_code(code, str(error))
    kind = next((_BY_CLASS[name] for name in names if name in _BY_CLASS), None)
    if kind == "invalid_request":
        return _kind_of_invalid(str(error))
    return _kind_of_code(str(code), str(error)) if kind == "outage" and code is not None else kind


def _names(error: BaseException) -> list[str]:
    return [base.__name__ for base in type(error).__mro__]


def _kind_of_status(status: int, message: str) -> FailureKind:
    if status == _RATE_LIMITED and "request too large" in message.lower():
        return "too_large"
    if (kind := _BY_STATUS.get(status)) is not None:
        return kind
    # An answer that cannot be read is no answer, and what is no error's status says nothing: Ollama's client has -1.
    return _kind_of_invalid(message) if _INVALID <= status < _FIRST_SERVER_ERROR else "outage"


def _kind_of_invalid(message: str) -> FailureKind:
    """Tell apart what providers call an invalid request."""
    return next((kind for kind, words in _BY_WORDS.items() if words.search(message)), "invalid_request")


def _status(error: BaseException) -> int | None:
    """Return the status that a provider answered with: OpenAI's name for it, Google's, or that of a bare response."""
    response = getattr(error, "response", None)
    told = (getattr(error, "status_code", None), getattr(error, "code", None), getattr(response, "status_code", None))
    return next((status for status in told if isinstance(status, int) and status in _ERRORS), None)


def _kind_of_code(code: str, message: str) -> FailureKind:
    """Tell apart an error that came after a status of 200, in the body or in the middle of a stream, by its code."""
    if code in _BY_CODE:
        return _BY_CODE[code]
    if re.fullmatch(r"[45]\d\d", code):  # routers of many providers put the status of the one behind them there
        return _kind_of_status(int(code), message)
    status = next((status for start, status in _STATUS_BY_CODE.items() if code.startswith(start)), _OK)
    return _kind_of_status(status, message)


def _kind_of_unread(error: BaseException) -> FailureKind | None:
    """Tell apart what a model call raises over an answer that it cannot read. A client's own bug is none of these."""
    if not _UNREADABLE.isdisjoint(_names(error)):
        return "outage"
    if "HTTPStatusError" in _names(error) and (status := _status(error)) is not None:
        return _kind_of_status(status, str(error))
    if (told := _told_in_body(error)) is not None:
        return _kind_of_code(told.code, told.message)
    is_bare = type(error) in {ValueError, RuntimeError}
    return "outage" if is_bare and str(error).startswith(_UNREADABLE_WORDS) else None


def _told_in_body(error: BaseException) -> _ToldInBody | None:
    """Read the error that a bare `ValueError` was made from: an object of a body, or an event of a stream."""
    if type(error) is not ValueError or len(error.args) != 1:
        return None
    (told,) = error.args
    if isinstance(told, str):
        found = _CODE_IN_WORDS.match(told)
        return _ToldInBody(found[1] or found[2] or "", told) if found else None
    parts = told if isinstance(told, Mapping) else {name: getattr(told, name, None) for name in ("code", "message")}
    code, message = parts.get("code") or parts.get("type") or "", parts.get("message")
    return _ToldInBody(str(code), message) if isinstance(message, str) else None


def _told(error: BaseException) -> str:
    """Tell an error in one line; a provider that refuses a key quotes it."""
    told = _told_in_body(error)
    line = ((told.message if told else str(error)).strip() or "no message").splitlines()[0]
    return f"{type(error).__name__}: {_KEY.sub('[key]', line)[:200]}"


def _retry_after_s(error: BaseException) -> float | None:
    """Read how long the provider asks to wait; a date is read against the reply's own, so that no clock is needed.

    `x-ratelimit-reset-*` is left alone. It tells when a whole quota is free again, longer than any one request must
    wait, and it stands for two quotas without a word on which of them was hit.
    """
    get: Any = getattr(getattr(getattr(error, "response", None), "headers", None), "get", None)
    if get is None:
        delay = _RETRY_DELAY.search(str(error))
        return float(delay[1]) if delay else None
    after = get("retry-after")
    told = (_seconds(get("retry-after-ms"), of=0.001), _seconds(after), _seconds_between(get("date"), after))
    return next((seconds for seconds in told if seconds is not None), None)


def _seconds(told: object, *, of: float = 1.0) -> float | None:
    try:
        seconds = float(str(told)) * of
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _seconds_between(now: object, then: object) -> float | None:
    try:
        seconds = (parsedate_to_datetime(str(then)) - parsedate_to_datetime(str(now))).total_seconds()
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if seconds >= 0 else None
