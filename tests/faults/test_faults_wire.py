"""What each fault does to a real client, as one table: an error of its class, or an answer of its form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import uvicorn.protocols.http.auto
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from uvicorn.protocols.http.h11_impl import H11Protocol

from langchain_tiered.cascade.failures import failure_of
from langchain_tiered.offline.faults import FAULTS, Fault, Faults, Planned
from langchain_tiered.offline.server import OfflineServer

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, AIMessageChunk

    from langchain_tiered.offline.faults import FaultKind

SHORT = {"timeout": 5.0, "slow": 0.2}
ASKED = "Refund order 1042 because it came late, why: it came late."
SAID = [{"text": "It came late, and I am sorry for that."}]
CALLED = [{"tool_calls": [{"name": "refund", "args": {"note": "x", "order": 1042}, "id": "call_1"}]}]


@tool
def refund(order: int, note: str = "") -> str:
    """Refund an order."""
    return f"Refunded {order}. {note}"


class Seen(NamedTuple):
    """What a client sees."""

    error: str | None
    """The kind of failure, the error's class where it is none of the provider's, or `None` for an answer."""

    end: object = None
    """The finish reason, or the status of a response."""

    text: str = ""
    calls: tuple[tuple[str, Any], ...] = ()
    broken_calls: int = 0
    refusal: bool = False
    output_tokens: int | None = None


def looked(message: AIMessage) -> Seen:
    meta, usage = message.response_metadata, message.usage_metadata
    blocks = message.content if isinstance(message.content, list) else []
    refused = any(isinstance(block, dict) and block.get("type") == "refusal" for block in blocks)
    incomplete = (meta.get("incomplete_details") or {}).get("reason")
    return Seen(
        None,
        incomplete or meta.get("finish_reason") or meta.get("status"),
        message.text,
        tuple((call["name"], call["args"]) for call in message.tool_calls),
        len(message.invalid_tool_calls),
        bool(message.additional_kwargs.get("refusal")) or refused,
        usage and usage["output_tokens"],
    )


def client(server: OfflineServer, *, responses: bool, **options: Any) -> Any:
    return ChatOpenAI(
        model="gpt-5.4-mini", base_url=server.url, api_key="x", max_retries=0, stream_usage=True,
        use_responses_api=responses, **options,
    )  # fmt: skip


async def see(model: Any, *, streamed: bool, sync: bool = True) -> Seen:
    try:
        if not streamed:
            return looked(model.invoke(ASKED) if sync else await model.ainvoke(ASKED))
        whole: AIMessageChunk | None = None
        for chunk in model.stream(ASKED) if sync else [each async for each in model.astream(ASKED)]:
            whole = chunk if whole is None else whole + chunk
        assert whole is not None
        return looked(whole)
    except Exception as error:  # noqa: BLE001  (whatever the client raises is what is looked at)
        failure = failure_of(error, of_call=True)
        return Seen(failure["kind"] if failure else type(error).__name__)


def plan(kind: FaultKind) -> Faults:
    return Faults((Planned(Fault(kind, seconds=SHORT.get(kind))),))


ERRORS: dict[FaultKind, str] = {
    "rate_limit": "rate_limit",
    "rate_limit_bare": "rate_limit",
    "too_large": "too_large",
    "server_error": "outage",
    "unavailable": "outage",
    "overflow": "overflow",
    "garbage": "outage",
    "timeout": "timeout",
    "drop_before": "outage",
    "drop_in_body": "outage",
    "drop_in_stream": "outage",
}
"""What kind of failure the client raises, in every protocol and form."""

WHOLE = SAID[0]["text"]
ANSWERS: dict[FaultKind, tuple[Seen, Seen]] = {
    "slow": (Seen(None, "stop", WHOLE), Seen(None, "completed", WHOLE)),
    "length": (Seen(None, "length", WHOLE[:19]), Seen(None, "max_output_tokens", WHOLE[:19])),
    "length_empty": (Seen(None, "length"), Seen(None, "max_output_tokens")),
    "refusal": (Seen(None, "stop", refusal=True), Seen(None, "completed", refusal=True)),
    "content_filter": (Seen(None, "content_filter"), Seen(None, "content_filter")),
}
"""What the client reads where the model says something, in Chat Completions and in Responses."""

WRONG = {"note": ["x"], "order": "not of this type"}
CALLS: dict[FaultKind, tuple[tuple[str, Any], ...]] = {
    "wrong_types": (("refund", WRONG),),
    "missing_fields": (("refund", {"note": "x"}),),
    "invented_tool": (("search_everything", {"query": "offline"}),),
}
"""What the client reads where the model calls a tool."""

RESPONSES = pytest.mark.parametrize("responses", [False, True], ids=["chat", "responses"])
STREAMED = pytest.mark.parametrize("streamed", [False, True], ids=["json", "sse"])
SYNC = pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])


def test_table_has_every_fault() -> None:
    assert {*ERRORS, *ANSWERS, *CALLS, "malformed_arguments", "truncated_stream"} == {*FAULTS}


@RESPONSES
@STREAMED
@SYNC
@pytest.mark.parametrize("kind", ERRORS)
async def test_fault_raises_its_error(kind: FaultKind, *, responses: bool, streamed: bool, sync: bool) -> None:
    with OfflineServer(script=SAID, faults=plan(kind)) as server:
        wait = 0.2 if kind == "timeout" else 10
        seen = await see(client(server, responses=responses, timeout=wait), streamed=streamed, sync=sync)
        assert seen == Seen(ERRORS[kind])
        assert server.stats["faults"] == {kind: 1}
        assert server.stats["tokens"] == server.stats["untold_tokens"]


@RESPONSES
@STREAMED
@pytest.mark.parametrize("kind", ANSWERS)
async def test_fault_gives_an_answer_of_its_form(kind: FaultKind, *, responses: bool, streamed: bool) -> None:
    with OfflineServer(script=SAID, faults=plan(kind)) as server:
        seen = await see(client(server, responses=responses), streamed=streamed)
        wanted = ANSWERS[kind][responses]
        if streamed and not responses:
            wanted = wanted._replace(refusal=False)  # `ChatOpenAI` drops it from the chunks: nothing is left to read
        assert seen._replace(output_tokens=None) == wanted
        assert seen.output_tokens == server.stats["tokens"]["output_tokens"] > 0
        assert server.stats["faults"] == {kind: 1}


@RESPONSES
@STREAMED
@pytest.mark.parametrize("kind", CALLS)
async def test_fault_spoils_the_tool_call(kind: FaultKind, *, responses: bool, streamed: bool) -> None:
    with OfflineServer(script=CALLED, faults=plan(kind)) as server:
        seen = await see(client(server, responses=responses).bind_tools([refund]), streamed=streamed)
        assert (seen.calls, seen.broken_calls) == (CALLS[kind], 0)


@RESPONSES
@STREAMED
async def test_malformed_arguments_are_cut_json(*, responses: bool, streamed: bool) -> None:
    with OfflineServer(script=CALLED, faults=plan("malformed_arguments")) as server:
        seen = await see(client(server, responses=responses).bind_tools([refund]), streamed=streamed)
    if streamed:  # LangChain completes what is cut off in a stream: the call looks well, and lacks a field
        assert seen.calls == (("refund", {"note": "x"}),)
    else:
        assert (seen.calls, seen.broken_calls) == ((), 1)


@RESPONSES
@SYNC
async def test_truncated_stream_ends_without_reason_and_usage(*, responses: bool, sync: bool) -> None:
    with OfflineServer(script=SAID, faults=plan("truncated_stream")) as server:
        seen = await see(client(server, responses=responses), streamed=True, sync=sync)
        assert seen.error is seen.end is seen.output_tokens is None
        assert WHOLE.startswith(seen.text)
        assert WHOLE != seen.text != ""
        assert server.stats["untold_tokens"] == server.stats["tokens"]


@pytest.mark.parametrize("kind", ["wrong_types", "missing_fields", "malformed_arguments"])
def test_json_of_a_structured_answer_is_spoilt_too(kind: FaultKind) -> None:
    schema = {"title": "Order", "type": "object", "properties": {"order": {"type": "integer"}}, "required": ["order"]}
    with OfflineServer(faults=plan(kind)) as server:
        bound = client(server, responses=False).bind(
            response_format={"type": "json_schema", "json_schema": {"name": "Order", "schema": schema}}
        )
        given = bound.invoke("order: 1042").text
    wanted = {"wrong_types": '{"order": "not of this type"}', "missing_fields": "{}", "malformed_arguments": '{"order"'}
    assert given.startswith(wanted[kind].rstrip('"'))
    assert given != '{"order": 1042}'


@pytest.mark.parametrize("kind", ["wrong_types", "missing_fields", "malformed_arguments"])
def test_fault_that_finds_nothing_to_spoil_says_so(kind: FaultKind) -> None:
    with OfflineServer(script=SAID, faults=plan(kind)) as server:
        assert client(server, responses=False).invoke("Hello").text == WHOLE
        assert (server.stats["faults"], server.stats["faults_without_effect"]) == ({}, {kind: 1})


async def test_rate_limit_tells_how_long_to_wait_and_the_bare_one_does_not() -> None:
    waits = {}
    for kind in ("rate_limit", "rate_limit_bare"):
        with OfflineServer(faults=Faults.script([{"fault": kind, "retry_after_s": 2.5}])) as server:
            with pytest.raises(Exception, match="429") as caught:
                client(server, responses=False).invoke("Hello")
            failure, headers = failure_of(caught.value), caught.value.response.headers  # type: ignore[attr-defined]
            assert failure is not None
            waits[kind] = (failure["retry_after_s"], "x-ratelimit-remaining-tokens" in headers)
    assert waits == {"rate_limit": (2.5, True), "rate_limit_bare": (None, False)}


@STREAMED
@pytest.mark.parametrize("kind", ["drop_before", "drop_in_body", "drop_in_stream"])
async def test_connection_drops_without_a_word_under_either_parser(
    kind: FaultKind, *, streamed: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(uvicorn.protocols.http.auto, "AutoHTTPProtocol", H11Protocol)
    with OfflineServer(script=[*SAID, *SAID], faults=Faults.script([{"call": 1, "fault": kind}])) as server:
        model = client(server, responses=False)
        assert (await see(model, streamed=streamed)).error == "outage"
        assert (await see(model, streamed=streamed)).error is None or kind == "drop_before"
    assert not caplog.records


def test_failed_call_leaves_the_script_for_the_next_one() -> None:
    with OfflineServer(script=SAID, faults=Faults.script([{"call": 1, "fault": "unavailable"}])) as server:
        model = client(server, responses=False)
        with pytest.raises(Exception, match="503"):
            model.invoke("Hello")
        assert model.invoke("Hello").text == WHOLE
        assert (server.stats["calls"], server.stats["script_left"]) == (2, 0)


async def test_run_repeats_from_its_seed() -> None:
    rates: Any = {"rate_limit": 0.2, "drop_in_stream": 0.2, "length": 0.2, "garbage": 0.1}

    async def run(seed: int) -> list[Seen]:
        with OfflineServer(faults=Faults.rate(rates, seed=seed)) as server:
            return [await see(client(server, responses=False), streamed=True) for _ in range(40)]

    first, again, other = await run(7), await run(7), await run(8)
    assert first == again != other
    assert {seen.error for seen in first} == {None, "rate_limit", "outage"}
