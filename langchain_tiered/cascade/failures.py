"""Provider errors, told apart by what can be done about them. What is no provider's error is nobody's to swallow.

Errors are recognised by status, code and class name, so that no provider's SDK is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_tiered.types import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_tiered.types import FailureKind

_RATE_LIMITED, _FIRST_SERVER_ERROR = 429, 500
_BY_STATUS: dict[int, FailureKind] = {
    400: "invalid_request",
    401: "authentication",
    403: "authentication",
    404: "unknown_model",
    408: "timeout",
    413: "too_large",
    422: "invalid_request",
    _RATE_LIMITED: "rate_limit",
}
_BY_CODE: dict[str, FailureKind] = {
    "context_length_exceeded": "overflow",
    "model_not_found": "unknown_model",
    "invalid_api_key": "authentication",
    "insufficient_quota": "authentication",
}
_CALLERS_MISTAKES: frozenset[FailureKind] = frozenset({"authentication", "unknown_model", "invalid_request"})


def failure_of(error: BaseException) -> Failure | None:
    """Return what kind of provider error this is, or `None` when it is none: a bug, or a cassette miss.

    What is `None` must be raised again at once.
    """
    if is_missing_recording(error):
        return None
    kind = next((found for cause in _causes(error) if (found := _kind(cause)) is not None), None)
    return None if kind is None else Failure(kind=kind, message=_told(error), retry_after_s=_retry_after_s(error))


def is_missing_recording(error: BaseException) -> bool:
    """Tell whether a cassette had no answer: to the provider's client, which wraps the error, it looks like an outage."""
    return any(type(cause).__module__.partition(".")[0] == "vcr" for cause in _causes(error))


def is_callers_mistake(failure: Failure) -> bool:
    """Tell whether no other tier could do better: a bad key, an unknown model, an invalid request."""
    return failure["kind"] in _CALLERS_MISTAKES


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Walk from an error to what it was raised from, once around at most."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _kind(error: BaseException) -> FailureKind | None:
    code, status = getattr(error, "code", None), getattr(error, "status_code", None)
    if isinstance(code, str) and code in _BY_CODE:
        return _BY_CODE[code]
    names = {base.__name__ for base in type(error).__mro__}
    if "ContextOverflowError" in names:
        return "overflow"
    if isinstance(status, int):
        return _kind_of_status(status, str(error))
    if isinstance(error, TimeoutError) or any(name.endswith(("TimeoutError", "TimeoutException")) for name in names):
        return "timeout"
    if isinstance(error, ConnectionError) or names & {"APIConnectionError", "TransportError", "APIError"}:
        return "outage"
    return None


def _kind_of_status(status: int, message: str) -> FailureKind:
    if status == _RATE_LIMITED and "request too large" in message.lower():
        return "too_large"
    return _BY_STATUS.get(status) or ("outage" if status >= _FIRST_SERVER_ERROR else "invalid_request")


def _told(error: BaseException) -> str:
    """Tell an error in one line, without the request that a provider may quote in it."""
    line = (str(error).strip() or "no message").splitlines()[0]
    return f"{type(error).__name__}: {line[:200]}"


def _retry_after_s(error: BaseException) -> float | None:
    headers: Any = getattr(getattr(error, "response", None), "headers", None) or {}
    try:
        return float(headers["retry-after"])
    except (KeyError, TypeError, ValueError):
        return None
