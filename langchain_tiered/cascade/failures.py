"""Provider errors, told apart by what can be done about them. What is no provider's error is nobody's to swallow.

Errors are recognised by status, code and class name, so that no provider's SDK is imported.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from langchain_tiered.types import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_tiered.types import FailureKind

_OK, _RATE_LIMITED, _FIRST_SERVER_ERROR = 200, 429, 500
_BY_STATUS: dict[int, FailureKind] = {
    401: "authentication",
    403: "authentication",
    404: "unknown_model",
    408: "timeout",
    413: "too_large",
    _RATE_LIMITED: "rate_limit",
}
_BY_CODE: dict[str, FailureKind] = {
    "context_length_exceeded": "overflow",
    "model_not_found": "unknown_model",
    "invalid_api_key": "authentication",
    "insufficient_quota": "authentication",
}
_BY_CLASS: dict[str, FailureKind] = {
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

_CALLERS_MISTAKES: frozenset[FailureKind] = frozenset({"authentication", "unknown_model", "invalid_request"})
_KEY = re.compile(r"\b(?:sk|pk|rk|gsk|xai|key)-[\w-]{8,}|(?<=key provided: )\S+", re.IGNORECASE)


def failure_of(error: BaseException) -> Failure | None:
    """Return what kind of provider error this is, or `None` when it is none: a bug, or a cassette miss.

    What is `None` must be raised again at once.
    """
    if is_missing_recording(error):
        return None
    for cause in _causes(error):
        if (kind := _kind(cause)) is not None:
            return Failure(kind=kind, message=_told(error), retry_after_s=_retry_after_s(cause))
    return None


def is_missing_recording(error: BaseException) -> bool:
    """Tell whether a cassette had no answer: to the provider's client, which wraps it, it looks like an outage."""
    return any(type(cause).__module__.partition(".")[0] == "vcr" for cause in _causes(error, handled=True))


def is_callers_mistake(failure: Failure) -> bool:
    """Tell whether no other tier could do better: a bad key, an unknown model, an invalid request."""
    return failure["kind"] in _CALLERS_MISTAKES


def _causes(error: BaseException, *, handled: bool = False) -> Iterator[BaseException]:
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
    names = [base.__name__ for base in type(error).__mro__]
    if "ContextOverflowError" in names:
        return "overflow"  # LangChain's, mixed into classes of the client that would be found first
    if isinstance(status, int):
        return _kind_of_status(status, str(error))
    if code == "rate_limit_exceeded":
        return "rate_limit"  # told in the middle of a stream, after a status of 200
    return next((_BY_CLASS[name] for name in names if name in _BY_CLASS), None)


def _kind_of_status(status: int, message: str) -> FailureKind:
    if status == _RATE_LIMITED and "request too large" in message.lower():
        return "too_large"
    if status == _OK or status >= _FIRST_SERVER_ERROR:
        return "outage"  # an answer that cannot be read is no answer
    return _BY_STATUS.get(status, "invalid_request")


def _told(error: BaseException) -> str:
    """Tell an error in one line; a provider that refuses a key quotes it."""
    line = (str(error).strip() or "no message").splitlines()[0]
    return f"{type(error).__name__}: {_KEY.sub('[key]', line)[:200]}"


def _retry_after_s(error: BaseException) -> float | None:
    headers: Any = getattr(getattr(error, "response", None), "headers", None) or {}
    try:
        seconds = float(headers["retry-after"])
    except (KeyError, TypeError, ValueError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
