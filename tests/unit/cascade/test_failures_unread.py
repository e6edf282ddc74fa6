"""What the client raises over a reply of status 200 that is no answer, told apart where the model call raised it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from langchain_tiered.cascade.failures import failure_of

if TYPE_CHECKING:
    from collections.abc import Callable

    Answer = Callable[[httpx2.Request], httpx2.Response]

KEY = "sk-proj-0123456789abcdefghijklmnop"
TOO_LARGE = "Request too large for gpt-5.4 on tokens per min (TPM): Limit 30000, Requested 49685."
CassetteMiss = type("CannotOverwriteExistingRequestException", (Exception,), {"__module__": "vcr.errors"})


class Raised(BaseCallbackHandler):
    """Knows, as a recorder does, which errors a model call raised."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []

    def on_llm_error(self, error: BaseException, **_: Any) -> None:
        self.errors.append(error)


async def raised_over(
    answer: Answer, *, responses: bool, stream: bool = False, is_async: bool = False
) -> tuple[Exception, list[BaseException]]:
    """Return what a call raises over `answer`, and what the callbacks of the call were told."""
    seen, transport = Raised(), httpx2.MockTransport(answer)
    async with httpx2.AsyncClient(transport=transport) as later:
        with httpx2.Client(transport=transport) as now:
            made: dict[str, Any] = {"http_client": now, "http_async_client": later, "use_responses_api": responses}
            model = ChatOpenAI(model="gpt-5.4-nano", api_key=SecretStr(KEY), max_retries=0, **made)
            with pytest.raises(Exception) as raised:  # noqa: PT011  (which class it is, is the client's affair)
                await asked(model, {"callbacks": [seen]}, stream=stream, is_async=is_async)
    return raised.value, seen.errors


async def asked(model: ChatOpenAI, config: Any, *, stream: bool, is_async: bool) -> None:
    if stream and is_async:
        async for _ in model.astream("Hi.", config):
            pass
    elif stream:
        list(model.stream("Hi.", config))
    elif is_async:
        await model.ainvoke("Hi.", config)
    else:
        model.invoke("Hi.", config)


def kind_of(error: BaseException, *, of_call: bool) -> str | None:
    return failure["kind"] if (failure := failure_of(error, of_call=of_call)) else None


def told(message: str, code: str | None = None) -> dict[str, Any]:
    return {"message": message, "type": "error", "param": None, "code": code}


def body(content: object, kind: str = "application/json") -> Answer:
    """Answer with a status of 200 and a body that is no answer."""
    whole = content if isinstance(content, bytes) else json.dumps(content).encode()
    return lambda request: httpx2.Response(200, content=whole, headers={"content-type": kind}, request=request)


def response(**more: Any) -> dict[str, Any]:
    lists: dict[str, Any] = {"output": [], "tools": []}
    return {"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": "failed", **lists, **more}


def events(*given: dict[str, Any]) -> Answer:
    return body(b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in given), EVENTS)


def failed(error: dict[str, Any] | None) -> Answer:
    """End a stream of the Responses API as a response that failed."""
    begun = {"type": "response.created", "sequence_number": 0, "response": response(status="in_progress")}
    return events(begun, {"type": "response.failed", "sequence_number": 1, "response": response(error=error)})


EVENTS = "text/event-stream"
HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
NO_TEXT = b'{"choices": "\xff\xfe"}'
FILTERED = told("The response was filtered.", "content_filter")
BROKEN = told("The server had an error.", "server_error")
SLOW = {"type": "error", "sequence_number": 0, "message": "Slow down.", "param": None, "code": "rate_limit_exceeded"}

UNREAD: list[tuple[str, bool, bool, Answer, str]] = [
    ("garbage", False, False, body(HTML), "outage"),
    ("garbage", False, True, body(b"data: %b\n\n" % HTML, EVENTS), "outage"),
    ("garbage", True, False, body(HTML), "outage"),
    ("garbage", True, True, body(b"data: %b\n\n" % HTML, EVENTS), "outage"),
    ("no UTF-8", False, False, body(NO_TEXT), "outage"),
    ("no UTF-8", False, True, body(b"data: %b\n\n" % NO_TEXT, EVENTS), "outage"),
    ("no UTF-8", True, False, body(NO_TEXT), "outage"),
    ("nothing", False, False, body(b""), "outage"),
    ("nothing", False, True, body(b""), "outage"),
    ("nothing", True, False, body(b""), "outage"),
    ("nothing", True, True, body(b""), "outage"),
    ("a page", False, False, body(HTML, "text/html"), "outage"),
    ("a page", False, True, body(HTML, "text/html"), "outage"),
    ("a list", False, False, body([]), "outage"),
    ("an error without a code", False, False, body({"error": {"message": "Overloaded."}}), "outage"),
    ("a server's error", False, False, body({"error": BROKEN}), "outage"),
    ("a server's error", True, False, body(response(error=BROKEN)), "outage"),
    ("a server's error", True, True, failed(BROKEN), "outage"),
    ("an unknown error", True, False, body(response(error=told("So.", "vector_store_timeout"))), "outage"),
    ("an unknown error", True, True, failed(told("So.", "vector_store_timeout")), "outage"),
    ("an error without a code", True, True, failed(told("So.")), "outage"),
    ("a failure without an error", True, True, failed(None), "outage"),
    ("a content filter", False, False, body({"error": FILTERED}), "no_answer"),
    ("a content filter", True, False, body(response(error=FILTERED)), "no_answer"),
    ("a content filter", True, True, failed(FILTERED), "no_answer"),
    ("a policy", True, False, body(response(error=told("So.", "bio_policy"))), "no_answer"),
    ("a rate limit", False, False, body({"error": told("Slow.", "rate_limit_exceeded")}), "rate_limit"),
    ("a rate limit", True, False, body(response(error=told("Slow.", "rate_limit_exceeded"))), "rate_limit"),
    ("a rate limit", True, True, failed(told("Slow.", "rate_limit_exceeded")), "rate_limit"),
    ("a rate limit's event", True, True, events(SLOW), "rate_limit"),
    ("a request too large", False, False, body({"error": told(TOO_LARGE, "rate_limit_exceeded")}), "too_large"),
    ("a router's 429", False, False, body({"error": {"message": "Slow.", "code": 429}}), "rate_limit"),
    ("a router's 503", False, False, body({"error": {"message": "Down.", "code": 503}}), "outage"),
    ("a router's 401", False, False, body({"error": {"message": "Who?", "code": 401}}), "authentication"),
    ("an overflow", False, False, body({"error": told("Too long.", "context_length_exceeded")}), "overflow"),
    ("an overflow", True, True, failed(told("Too long.", "context_length_exceeded")), "overflow"),
    ("a spent quota", False, False, body({"error": told("Pay.", "insufficient_quota")}), "authentication"),
    ("an invalid prompt", True, False, body(response(error=told("So.", "invalid_prompt"))), "invalid_request"),
    ("an invalid prompt", True, True, failed(told("So.", "invalid_prompt")), "invalid_request"),
    ("an image too large", True, True, failed(told("So.", "image_file_too_large")), "invalid_request"),
    (
        "a type alone",
        False,
        False,
        body({"error": {"message": "So.", "type": "invalid_request_error"}}),
        "invalid_request",
    ),
]


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(
    ("responses", "stream", "answer", "kind"),
    [
        pytest.param(
            *row[1:], id=f"{row[0]} {'responses' if row[1] else 'chat'} {'stream' if row[2] else 'whole'} {at}"
        )
        for at, row in enumerate(UNREAD)
    ],
)
async def test_a_reply_of_status_200_that_is_no_answer_is_told_apart_where_the_call_raised_it(
    *, responses: bool, stream: bool, answer: Answer, kind: str, is_async: bool
) -> None:
    error, seen = await raised_over(answer, responses=responses, stream=stream, is_async=is_async)
    assert seen == [error]
    assert kind_of(error, of_call=True) == kind
    assert kind_of(error, of_call=False) is None


@pytest.mark.parametrize(
    ("responses", "answer", "raised"),
    [
        pytest.param(False, body({}), TypeError, id="no choices"),
        pytest.param(True, body({}), TypeError, id="no output"),
        pytest.param(True, body(HTML, "text/html"), AttributeError, id="a page for a response"),
    ],
)
async def test_a_reply_over_which_the_client_has_a_bug_is_nobodys(
    answer: Answer, raised: type[Exception], *, responses: bool
) -> None:
    error, _ = await raised_over(answer, responses=responses)
    assert type(error) is raised
    assert kind_of(error, of_call=True) is None


class _OwnError(ValueError):
    """An error of the user's own."""


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        ValueError("Unknown tool_choice: 'refund'."),
        ValueError("server_error"),
        ValueError("order_not_found: 1042"),
        ValueError({"order": 1042}),
        ValueError({"code": "server_error"}, "Down."),
        _OwnError({"code": "server_error", "message": "Down."}),
        _OwnError("No generation chunks were returned"),
        TypeError({"code": "server_error", "message": "Down."}),
        KeyError("choices"),
        AttributeError("'str' object has no attribute 'error'"),
        SystemExit(429),
    ],
    ids=repr,
)
def test_a_bug_in_a_model_call_stays_a_bug(error: BaseException) -> None:
    assert kind_of(error, of_call=True) is None


def raised_from(cause: Exception | None, error: Exception, handling: Exception | None = None) -> Exception:
    error.__cause__, error.__context__, error.__suppress_context__ = cause, handling or cause, cause is not None
    return error


UNREADABLE = json.JSONDecodeError("Expecting value", "", 0)
MISSED = raised_from(None, json.JSONDecodeError("Expecting value", "", 0), CassetteMiss("no recording matches"))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        pytest.param(raised_from(UNREADABLE, RuntimeError("node")), "outage", id="raised from it"),
        pytest.param(raised_from(None, KeyError("x"), UNREADABLE), None, id="a bug while it was handled"),
        pytest.param(MISSED, None, id="a cassette miss beneath it"),
    ],
)
def test_an_unread_answer_is_known_by_what_was_raised_from_it(error: Exception, kind: str | None) -> None:
    assert kind_of(error, of_call=True) == kind


def test_an_error_in_a_body_is_told_in_the_providers_words_without_a_key() -> None:
    message = f"Overloaded by {KEY}.\nSee the docs."
    failure = failure_of(ValueError({"code": "server_error", "message": message}), of_call=True)
    assert failure == {"kind": "outage", "message": "ValueError: Overloaded by [key].", "retry_after_s": None}
    told_in_words = ValueError(f"ResponseError(code='server_error', message='{KEY}', param=None)")
    failure = failure_of(told_in_words, of_call=True)
    assert failure is not None
    assert KEY not in failure["message"]
