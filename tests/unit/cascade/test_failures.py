"""Provider errors as they arrive from OpenAI's own client and through LangChain, over a transport without a network."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.exceptions import ContextOverflowError, ModelAPIError, ModelRateLimitError, ModelTimeoutError
from langchain_openai import ChatOpenAI, StreamChunkTimeoutError
from langchain_openai.chat_models import base
from openai.types.chat import ChatCompletion
from pydantic import SecretStr

from langchain_tiered.cascade.failures import failure_of, is_callers_mistake

if TYPE_CHECKING:
    from collections.abc import Callable

    Answer = Callable[[httpx2.Request], httpx2.Response]

KEY = "sk-proj-0123456789abcdefghijklmnop"
SHAPES = Path(__file__).parents[3] / "../shared/wire/error_shapes_no_headers.jsonl"
REQUEST = httpx2.Request("POST", "https://api.openai.com/v1/chat/completions")
CassetteMiss = type("CannotOverwriteExistingRequestException", (Exception,), {"__module__": "vcr.errors"})


def by_openai(answer: Answer) -> None:
    with httpx2.Client(transport=httpx2.MockTransport(answer)) as http:
        client = openai.OpenAI(api_key=KEY, max_retries=0, http_client=http)
        client.chat.completions.create(model="gpt-5.4-nano", messages=[{"role": "user", "content": "Hi."}])


def by_langchain(answer: Answer, *, responses: bool = False, stream: bool = False) -> None:
    with httpx2.Client(transport=httpx2.MockTransport(answer)) as http:
        made: dict[str, Any] = {"max_retries": 0, "http_client": http, "use_responses_api": responses}
        model = ChatOpenAI(model="gpt-5.4-nano", api_key=SecretStr(KEY), **made)
        list(model.stream("Hi.")) if stream else model.invoke("Hi.")


def by_langchain_responses(answer: Answer) -> None:
    by_langchain(answer, responses=True)


CLIENTS = (by_openai, by_langchain, by_langchain_responses)
by_each_client = pytest.mark.parametrize("ask", CLIENTS, ids=lambda ask: ask.__name__)


def error_of(ask: Callable[[Answer], None], answer: Answer) -> Exception:
    with pytest.raises(Exception) as raised:  # noqa: PT011  (which class it is, is the client's affair)
        ask(answer)
    return raised.value


def kind_of(error: Exception) -> str | None:
    return failure["kind"] if (failure := failure_of(error)) else None


def named(value: object) -> str:
    return type(value).__name__ if isinstance(value, Exception) else str(value)


def answering(status: int, error: dict[str, Any], **headers: str) -> Answer:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: httpx2.Response(status, json={"error": error}, headers=names, request=request)


def told(message: str, code: str | None = None) -> dict[str, Any]:
    return {"message": message, "type": "error", "param": None, "code": code}


TOO_LARGE = "Request too large for gpt-5.4 in organization org-x on tokens per min (TPM): Limit 30000, Requested 49685."
STATUSES: list[tuple[int, dict[str, Any], str]] = [
    (400, told("This model's maximum context length is 128000 tokens.", "context_length_exceeded"), "overflow"),
    (400, told("The requested model 'gpt-9' does not exist.", "model_not_found"), "unknown_model"),
    (
        404,
        told("The model `gpt-9` does not exist or you do not have access to it.", "model_not_found"),
        "unknown_model",
    ),
    (404, told("Resource not found"), "unknown_model"),
    (400, told("Unsupported parameter: 'stop'.", "unsupported_parameter"), "invalid_request"),
    (400, told("Invalid schema for function 'refund'.", "invalid_function_parameters"), "invalid_request"),
    (401, told("Incorrect API key provided.", "invalid_api_key"), "authentication"),
    (403, told("Country not supported.", "unsupported_country_region_territory"), "authentication"),
    (400, told("The prompt triggered the content management policy.", "content_filter"), "no_answer"),
    (429, told("You exceeded your current quota.", "insufficient_quota"), "authentication"),
    (429, told("Rate limit reached for gpt-5.4.", "rate_limit_exceeded"), "rate_limit"),
    (429, told("Slow down."), "rate_limit"),
    (429, told(TOO_LARGE, "rate_limit_exceeded"), "too_large"),
    (413, told("Payload too large."), "too_large"),
    (408, told("Request timed out."), "timeout"),
    (500, told("The server had an error."), "outage"),
    (502, told("Bad gateway."), "outage"),
    (503, told("Overloaded.", "server_overloaded"), "outage"),
    (529, told("Overloaded."), "outage"),
]
CALLERS = {"authentication", "unknown_model", "invalid_request"}


@by_each_client
@pytest.mark.parametrize(
    ("status", "error", "kind"), STATUSES, ids=[f"{row[0]} {row[1]['message'][:24]}" for row in STATUSES]
)
def test_each_status_and_code_is_told_apart(
    ask: Callable[[Answer], None], status: int, error: dict[str, Any], kind: str
) -> None:
    failure = failure_of(error_of(ask, answering(status, error)))
    assert failure is not None
    assert failure["kind"] == kind
    assert failure["retry_after_s"] is None
    assert error["message"][:40] in failure["message"]
    assert is_callers_mistake(failure) == (kind in CALLERS)


@pytest.mark.skipif(not SHAPES.exists(), reason="the recorded error bodies are not here")
@by_each_client
def test_recorded_error_bodies_are_told_apart(ask: Callable[[Answer], None]) -> None:
    rows = [json.loads(line) for line in SHAPES.read_text().splitlines()]
    assert {row["error"]["code"]: kind_of(error_of(ask, answering(row["status"], row["error"]))) for row in rows} == {
        "context_length_exceeded": "overflow",
        "rate_limit_exceeded": "rate_limit",
        "insufficient_quota": "authentication",
    }


def raising(error: Exception) -> Answer:
    def answer(_: httpx2.Request) -> httpx2.Response:
        raise error

    return answer


@by_each_client
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (httpx2.ReadTimeout("slow"), "timeout"),
        (httpx2.ConnectTimeout("slow"), "timeout"),
        (httpx2.ConnectError("refused"), "outage"),
        (httpx2.RemoteProtocolError("Server disconnected"), "outage"),
        (CassetteMiss("no recording matches"), None),
    ],
    ids=named,
)
def test_what_breaks_on_the_wire_is_told_apart_and_a_cassette_miss_is_no_outage(
    ask: Callable[[Answer], None], error: Exception, kind: str | None
) -> None:
    raised = error_of(ask, raising(error))
    assert isinstance(raised, openai.APIConnectionError if kind else type(error))
    assert kind_of(raised) == kind


def streaming(*events: str) -> Answer:
    body = "".join(f"data: {event}\n\n" for event in events)
    kind = {"content-type": "text/event-stream"}
    return lambda request: httpx2.Response(200, text=body, headers=kind, request=request)


CHUNK = json.dumps({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5.4-nano", "choices": []})


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        pytest.param(told("The server had an error."), "outage", id="server error"),
        pytest.param(told("Too long.", "context_length_exceeded"), "overflow", id="overflow"),
        pytest.param(told("Slow.", "rate_limit_exceeded"), "rate_limit", id="limit"),
        pytest.param(told(TOO_LARGE, "rate_limit_exceeded"), "too_large", id="too large"),
        pytest.param(told("Filtered.", "content_filter"), "no_answer", id="content filter"),
        pytest.param(told("No such image.", "invalid_image_url"), "invalid_request", id="invalid"),
        pytest.param({"message": "Bad gateway.", "code": 502}, "outage", id="a router's 502"),
        pytest.param({"message": "Slow down.", "code": 429}, "rate_limit", id="a router's 429"),
        pytest.param("Overloaded.", "outage", id="words"),
    ],
)
def test_an_error_in_mid_stream_is_told_apart(error: Any, kind: str) -> None:
    events = streaming(CHUNK, json.dumps({"error": error}))
    assert kind_of(error_of(lambda answer: by_langchain(answer, stream=True), events)) == kind


class _LimitedError(Exception):
    """An error of a client that nobody knows, with a code that everybody uses."""

    code = "rate_limit_exceeded"


NO_SCHEMA = openai.APIResponseValidationError(httpx2.Response(200, request=REQUEST), None)
OVERFLOWN = base.OpenAIContextOverflowError("too long", response=httpx2.Response(400, request=REQUEST), body=None)
OVERFLOWN_IN_STREAM = base.OpenAIAPIContextOverflowError("too long", request=REQUEST, body=None)
COMPLETION = ChatCompletion(id="c", choices=[], created=1, model="gpt-5.4-nano", object="chat.completion")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError(), "timeout"),
        (ConnectionRefusedError("refused"), "outage"),
        (httpx2.PoolTimeout("busy"), "timeout"),
        (httpx2.ConnectError("refused"), "outage"),
        (StreamChunkTimeoutError(30.0), "timeout"),
        (openai.APITimeoutError(REQUEST), "timeout"),
        (openai.APIConnectionError(request=REQUEST), "outage"),
        (ContextOverflowError("too long"), "overflow"),
        (ModelTimeoutError("slow"), "timeout"),
        pytest.param(OVERFLOWN, "overflow"),
        pytest.param(OVERFLOWN_IN_STREAM, "overflow"),
        (base.OpenAIRefusalError("No."), None),
        (openai.OpenAIError("Missing credentials."), None),
        (CassetteMiss("no recording matches"), None),
        (ValueError("400"), None),
        (KeyError("status_code"), None),
        (ExceptionGroup("two", [ValueError("a")]), None),
        pytest.param(ModelRateLimitError("slow down"), "rate_limit"),
        (_LimitedError("slow down"), "rate_limit"),
        pytest.param(ModelAPIError("overloaded"), "outage"),
        pytest.param(NO_SCHEMA, "outage"),
    ],
    ids=named,
)
def test_an_error_is_known_by_its_class_and_a_bug_is_nobodys(error: Exception, kind: str | None) -> None:
    assert kind_of(error) == kind


@pytest.mark.parametrize("error", [openai.LengthFinishReasonError, openai.ContentFilterFinishReasonError])
def test_a_structured_answer_that_did_not_come_is_the_providers_failure(error: Any) -> None:
    assert failure_of(error(completion=COMPLETION)) is not None


def after(cause: Exception, error: Exception, *, on_purpose: bool = False, unrelated: bool = False) -> Exception:
    """Chain `error` to `cause` as `raise error from cause`, `from None` or, by default, a bug in a handler does."""
    error.__context__ = cause
    if on_purpose or unrelated:
        error.__cause__ = cause if on_purpose else None  # also sets `__suppress_context__`
    return error


LIMITED = error_of(by_openai, answering(429, told("Slow down."), retry_after="7"))
MISSED = CassetteMiss("no recording matches")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        pytest.param(after(LIMITED, RuntimeError("node"), on_purpose=True), "rate_limit", id="raised from"),
        pytest.param(after(LIMITED, KeyError("x"), unrelated=True), None, id="raised from None"),
        pytest.param(
            after(MISSED, openai.APIConnectionError(request=REQUEST), on_purpose=True), None, id="a cassette miss"
        ),
        pytest.param(after(after(MISSED, OSError()), ConnectionError("Down.")), None, id="a cassette miss deep down"),
        pytest.param(after(LIMITED, KeyError("x")), None, id="a bug in a handler"),
    ],
)
def test_a_wrapped_error_is_known_by_what_it_was_raised_from(error: Exception, kind: str | None) -> None:
    assert kind_of(error) == kind


def test_a_circle_of_causes_ends() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert failure_of(first) is None


NOON, AFTER_NOON = "Wed, 21 Oct 2026 12:00:00 GMT", "Wed, 21 Oct 2026 12:00:07 GMT"


@by_each_client
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": "0.5"}, 0.5),
        ({"retry_after": "0"}, 0.0),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "inf"}, None),
        ({"retry_after": "-1"}, None),
        ({"retry_after": "nan"}, None),
        ({"retry_after_ms": "120"}, 0.12),
        ({"retry_after_ms": "1500", "retry_after": "2"}, 1.5),
        ({"retry_after_ms": "soon", "retry_after": "2"}, 2.0),
        ({"retry_after": AFTER_NOON, "date": NOON}, 7.0),
        ({"retry_after": NOON, "date": NOON}, 0.0),
        ({"retry_after": NOON, "date": AFTER_NOON}, None),
        ({"retry_after": "Wed, 21 Oct 2026 12:00:07 -0000", "date": NOON}, None),
        ({"retry_after": AFTER_NOON, "date": "now"}, None),
        ({"retry_after": AFTER_NOON}, None),
        ({"x_ratelimit_reset_requests": "120ms", "x_ratelimit_reset_tokens": "6m0s"}, None),
    ],
    ids=str,
)
def test_the_wait_is_read_off_the_headers(
    ask: Callable[[Answer], None], headers: dict[str, str], seconds: float | None
) -> None:
    failure = failure_of(error_of(ask, answering(429, told("Slow down."), **headers)))
    assert failure is not None
    assert failure["retry_after_s"] == seconds


@given(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("retry-after", "retry-after-ms", "date"), st.text() | st.sampled_from([NOON, "7"]))
    )
)
def test_no_header_is_so_odd_that_the_failure_is_lost(headers: dict[str, str]) -> None:
    error = ModelRateLimitError("slow down")
    error.response = SimpleNamespace(headers=headers)  # type: ignore[attr-defined]
    failure = failure_of(error)
    assert failure is not None
    wait_s = failure["retry_after_s"]
    assert wait_s is None or (wait_s >= 0 and math.isfinite(wait_s))


def test_the_wait_is_read_off_a_wrapped_error_too() -> None:
    failure = failure_of(after(LIMITED, RuntimeError("node"), on_purpose=True))
    assert failure is not None
    assert failure["retry_after_s"] == 7.0


@by_each_client
def test_the_message_holds_no_key(ask: Callable[[Answer], None]) -> None:
    failure = failure_of(error_of(ask, answering(401, told(f"Incorrect API key provided: {KEY}.", "invalid_api_key"))))
    assert failure is not None
    assert KEY not in failure["message"]


def test_the_message_is_one_short_line_with_the_class() -> None:
    failure = failure_of(openai.APIConnectionError(message="Down.\nRequest: ...", request=REQUEST))
    assert failure == {"kind": "outage", "message": "APIConnectionError: Down.", "retry_after_s": None}
    long = failure_of(TimeoutError("x" * 9_000))
    assert long is not None
    assert len(long["message"]) < 250
    assert failure_of(TimeoutError()) == {
        "kind": "timeout",
        "message": "TimeoutError: no message",
        "retry_after_s": None,
    }
