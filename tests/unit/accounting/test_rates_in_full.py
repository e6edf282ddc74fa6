"""Each kind of price against one worked out by hand, from the prices published in the autumn of 2026.

USD per million tokens (OpenAI's and Anthropic's pricing pages, as genai-prices has them, October 2026):

```text
                    input   cached   output   written 5 min / 1 h   above
gpt-5.4              2.50    0.25    15.00                          272,000 input tokens: 5.00 / 0.50 / 22.50
gpt-5.4, flex        1.25    0.13     7.50
gpt-5.4, priority    5.00    0.50    30.00
gpt-5.4-mini         0.75    0.075    4.50
gpt-5.4-nano         0.20    0.02     1.25
claude-opus-4-5      5.00    0.50    25.00    6.25 / 10.00
claude-sonnet-4-5    3.00    0.30    15.00    3.75 /  6.00          200,000 input tokens: 6.00 / 0.60 / 22.50
gemini-2.5-flash     0.30    0.03     2.50
```

A thousand web searches cost 10.00 at OpenAI and Anthropic, 35.00 at Google; a thousand file searches 2.50 at OpenAI.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langchain_tiered.accounting import Ledger, Tokens, price_usd, tokens_of
from langchain_tiered.accounting.usage import ProviderCalls, provider_calls
from langchain_tiered.errors import InvalidTierError
from langchain_tiered.types import LedgerEntry, Rates

RECORDINGS = Path(__file__).parents[3] / "../shared/wire/recordings.jsonl"
M = 1_000_000


def usd(model: str, tokens: Tokens, **more: Any) -> float:
    price = price_usd(model, tokens, **more)
    assert price is not None
    return price


@pytest.mark.parametrize(
    ("model", "tokens", "expected"),
    [
        # The whole call is at the long price, not only what lies above the boundary; cached input counts towards it.
        ("gpt-5.4", Tokens(271_999, 100), (271_999 * 2.50 + 100 * 15.00) / M),
        ("gpt-5.4", Tokens(272_000, 100), (272_000 * 2.50 + 100 * 15.00) / M),
        ("gpt-5.4", Tokens(272_001, 100), (272_001 * 5.00 + 100 * 22.50) / M),
        ("gpt-5.4", Tokens(272_000, 100, cached_tokens=272_000), (272_000 * 0.25 + 100 * 15.00) / M),
        ("gpt-5.4", Tokens(272_001, 100, cached_tokens=272_000), (1 * 5.00 + 272_000 * 0.50 + 100 * 22.50) / M),
        ("claude-sonnet-4-5", Tokens(200_000, 100), (200_000 * 3.00 + 100 * 15.00) / M),
        ("claude-sonnet-4-5", Tokens(200_001, 100), (200_001 * 6.00 + 100 * 22.50) / M),
        ("gpt-5.4-mini", Tokens(399_000, 100), (399_000 * 0.75 + 100 * 4.50) / M),
    ],
    ids=str,
)
def test_context_tier_begins_one_token_above_its_boundary(model: str, tokens: Tokens, expected: float) -> None:
    assert usd(model, tokens) == pytest.approx(expected, rel=1e-12)


def test_cache_written_for_five_minutes_and_for_an_hour_has_two_prices() -> None:
    # 10,000 input: 2,000 read, 3,000 written for 5 minutes, 4,000 for an hour, 1,000 fresh; 500 output.
    usage = {
        "input_tokens": 10_000,
        "output_tokens": 500,
        "input_token_details": {
            "cache_read": 2_000,
            "cache_creation": 0,
            "ephemeral_5m_input_tokens": 3_000,
            "ephemeral_1h_input_tokens": 4_000,
        },
    }
    expected = (1_000 * 5.00 + 2_000 * 0.50 + 3_000 * 6.25 + 4_000 * 10.00 + 500 * 25.00) / M
    assert usd("anthropic:claude-opus-4-5", tokens_of(usage)) == pytest.approx(expected, rel=1e-12)


def test_reasoning_is_paid_as_output_and_within_it() -> None:
    usage = {"input_tokens": 1_000, "output_tokens": 900, "output_token_details": {"reasoning": 800}}
    expected = (1_000 * 2.50 + 900 * 15.00) / M  # not 900 + 800
    assert usd("gpt-5.4", tokens_of(usage)) == pytest.approx(expected, rel=1e-12)


CACHED = Tokens(10_000, 1_000, cached_tokens=2_000)


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({"service_tier": "default"}, (8_000 * 2.50 + 2_000 * 0.25 + 1_000 * 15.00) / M),
        ({"service_tier": "flex"}, (8_000 * 1.25 + 2_000 * 0.13 + 1_000 * 7.50) / M),
        ({"service_tier": "priority"}, (8_000 * 5.00 + 2_000 * 0.50 + 1_000 * 30.00) / M),
        ({"factor": 0.5}, (8_000 * 2.50 + 2_000 * 0.25 + 1_000 * 15.00) / M / 2),
        ({"factor": 1.1}, (8_000 * 2.50 + 2_000 * 0.25 + 1_000 * 15.00) / M * 1.1),
        ({"factor": 0.55}, (8_000 * 2.50 + 2_000 * 0.25 + 1_000 * 15.00) / M / 2 * 1.1),
        # A regional uplift is on top of what the response says; half the price is the same thing said twice.
        ({"factor": 1.1, "service_tier": "priority"}, (8_000 * 5.00 + 2_000 * 0.50 + 1_000 * 30.00) / M * 1.1),
        ({"factor": 1.1, "service_tier": "flex"}, (8_000 * 1.25 + 2_000 * 0.13 + 1_000 * 7.50) / M * 1.1),
        ({"factor": 0.5, "service_tier": "flex"}, (8_000 * 2.50 + 2_000 * 0.25 + 1_000 * 15.00) / M / 2),
    ],
    ids=str,
)
def test_batch_flex_priority_and_regional_processing(terms: dict[str, Any], expected: float) -> None:
    assert usd("openai:gpt-5.4", CACHED, **terms) == pytest.approx(expected, rel=1e-12)


SMALL = Tokens(1_000, 100)
NANO_USD = (1_000 * 0.20 + 100 * 1.25) / M


@pytest.mark.parametrize(
    ("searches", "expected"),
    [
        ({"web_searches": 1}, NANO_USD + 0.01),
        ({"web_searches": 3}, NANO_USD + 0.03),
        ({"file_searches": 2}, NANO_USD + 0.005),
        ({"web_searches": 1, "file_searches": 4}, NANO_USD + 0.01 + 0.01),
        ({"web_searches": 1, "factor": 0.5}, NANO_USD / 2 + 0.01),  # half price is for tokens
        ({"web_searches": 1, "rates": "openai:gpt-5.4-mini"}, (1_000 * 0.75 + 100 * 4.50) / M + 0.01),
    ],
    ids=str,
)
def test_searches_of_the_provider_are_priced_by_the_call(searches: dict[str, Any], expected: float) -> None:
    assert usd("openai:gpt-5.4-nano", SMALL, **searches) == pytest.approx(expected, rel=1e-12)


def test_a_web_search_costs_what_its_own_provider_asks() -> None:
    assert usd("google:gemini-2.5-flash", Tokens(0, 1), web_searches=1) == pytest.approx(2.5 / M + 0.035, rel=1e-12)
    assert usd("anthropic:claude-opus-4-5", Tokens(0, 1), web_searches=1) == pytest.approx(25 / M + 0.01, rel=1e-12)


@pytest.mark.parametrize(
    ("model", "more"),
    [
        ("anthropic:claude-opus-4-5", {"file_searches": 1}),
        ("mistral:mistral-small-latest", {"web_searches": 1}),
        ("my-deployment", {"web_searches": 1, "rates": Rates(1.0, 2.0)}),
    ],
)
def test_a_search_of_unknown_price_makes_the_call_unpriced(model: str, more: dict[str, Any]) -> None:
    assert price_usd(model, SMALL, **more) is None
    assert price_usd(model, SMALL, **{key: value for key, value in more.items() if key == "rates"}) is not None


FULL = Rates(
    1.0,
    4.0,
    cached_input_usd=0.1,
    cache_write_usd=1.25,
    cache_write_1h_usd=2.0,
    web_search_usd=8.0,
    file_search_usd=3.0,
    as_of="2026-03-17",
    source="the contract of March",
)
KEPT = Tokens(10_000, 1_000, cached_tokens=2_000, written_tokens=5_000, written_1h_tokens=4_000)


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        # 3,000 fresh, 2,000 read, 1,000 written for 5 minutes, 4,000 for an hour, 1,000 said.
        (FULL, (3_000 * 1.0 + 2_000 * 0.1 + 1_000 * 1.25 + 4_000 * 2.0 + 1_000 * 4.0) / M),
        (Rates(1.0, 4.0), (10_000 * 1.0 + 1_000 * 4.0) / M),
        (Rates(1.0, 4.0, cache_write_usd=1.25), (5_000 * 1.0 + 5_000 * 1.25 + 1_000 * 4.0) / M),
        (Rates(1.0, 4.0, cache_write_1h_usd=2.0), (6_000 * 1.0 + 4_000 * 2.0 + 1_000 * 4.0) / M),
    ],
    ids=["in full", "tokens alone", "one write", "the hour alone"],
)
def test_overrides_price_every_part_of_the_input(rates: Rates, expected: float) -> None:
    assert usd("gpt-5.4", KEPT, rates=rates) == pytest.approx(expected, rel=1e-12)
    assert usd("nobody-knows-it", KEPT, rates=rates, factor=0.5) == pytest.approx(expected / 2, rel=1e-12)


def test_overrides_of_searches_come_before_the_published_price_and_else_it_holds() -> None:
    tokens_usd = (1_000 * 1.0 + 100 * 4.0) / M
    searches = {"web_searches": 1, "file_searches": 1}
    assert usd("gpt-5.4", SMALL, rates=FULL, **searches) == pytest.approx(tokens_usd + 0.008 + 0.003, rel=1e-12)
    assert usd("gpt-5.4", SMALL, rates=Rates(1.0, 4.0), **searches) == pytest.approx(tokens_usd + 0.01 + 0.0025)


def test_overridden_usage_that_contradicts_itself_has_no_price() -> None:
    assert price_usd("gpt-5.4", Tokens(100, 1, cached_tokens=60, written_tokens=60), rates=Rates(1.0, 1.0)) is None


@pytest.mark.parametrize(
    "given",
    [
        {"web_search_usd": -1.0},
        {"file_search_usd": float("nan")},
        {"cache_write_usd": float("inf")},
        {"cache_write_1h_usd": "2"},
        {"input_usd": True},
        {"output_usd": None},
        {"as_of": "March 2026"},
        {"as_of": "20260317"},
        {"as_of": "2026-13-01"},
    ],
    ids=str,
)
def test_an_override_that_is_no_price_or_no_day_is_refused_by_name(given: dict[str, Any]) -> None:
    (name,) = given
    with pytest.raises(InvalidTierError, match=rf"Rates\({name}="):
        Rates(**{"input_usd": 1.0, "output_usd": 1.0, **given})


SEARCH = {"type": "search", "query": "tallest mountain"}
OPEN = {"type": "open_page", "url": "https://example.org"}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (None, ProviderCalls()),
        (AIMessage("It is Mount Columbia."), ProviderCalls()),
        (
            AIMessage(
                [
                    {"type": "web_search_call", "id": "ws_1", "action": SEARCH, "status": "completed"},
                    {"type": "web_search_call", "id": "ws_2", "action": OPEN, "status": "completed"},
                    {"type": "web_search_call", "id": "ws_3", "status": "completed"},
                    {"type": "file_search_call", "id": "fs_1", "queries": ["a", "b"]},
                    {"type": "text", "text": "It is Mount Columbia."},
                ]
            ),
            ProviderCalls(web_searches=2, file_searches=1),
        ),
        (
            AIMessage(
                [
                    {"type": "server_tool_call", "name": "web_search", "args": SEARCH, "id": "ws_1"},
                    {"type": "server_tool_result", "tool_call_id": "ws_1", "status": "success"},
                    {"type": "server_tool_call", "name": "web_search", "args": OPEN, "id": "ws_2"},
                    {"type": "server_tool_call", "name": "file_search", "args": {"queries": ["a"]}, "id": "fs_1"},
                ]
            ),
            ProviderCalls(web_searches=1, file_searches=1),
        ),
        (
            AIMessage("x", additional_kwargs={"tool_outputs": [{"type": "web_search_call", "action": SEARCH}]}),
            ProviderCalls(web_searches=1),
        ),
        (
            AIMessage(
                [{"type": "server_tool_use", "name": "web_search", "input": {"query": "a"}, "id": "srvtoolu_1"}] * 2,
                response_metadata={"usage": {"server_tool_use": {"web_search_requests": 1}}},
            ),
            ProviderCalls(web_searches=1),
        ),
        (
            AIMessage([{"type": "server_tool_use", "name": "web_search", "input": {}, "id": "srvtoolu_1"}]),
            ProviderCalls(web_searches=1),
        ),
        (
            AIMessage(
                [
                    {"type": "code_interpreter_call", "id": "ci_1"},
                    {"type": "image_generation_call", "id": "ig_1"},
                    {"type": "mcp_call", "id": "mcp_1"},
                    {"type": "tool_search_call", "id": "ts_1"},
                ]
            ),
            ProviderCalls(unpriced=("code_interpreter", "image_generation")),
        ),
        (HumanMessage([{"type": "text", "text": "web_search_call"}]), ProviderCalls()),
    ],
    ids=["none", "text", "responses", "v1", "v0", "Anthropic", "Anthropic, streamed", "unpriced", "words"],
)
def test_what_the_providers_tools_did_is_read_in_every_form(message: Any, expected: ProviderCalls) -> None:
    assert provider_calls(message) == expected


@pytest.mark.parametrize("output_version", ["v0", "responses/v1", "v1"])
@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.skipif(not RECORDINGS.exists(), reason="The recordings are not here.")
def test_a_recorded_web_search_is_counted_and_paid_once(output_version: str, *, streaming: bool) -> None:
    httpx2, openai = pytest.importorskip("httpx2"), pytest.importorskip("langchain_openai")
    lines = map(json.loads, RECORDINGS.read_text(encoding="utf-8").splitlines())
    body = next(one["response_body"] for one in lines if one["id"] == "rec132")
    content, kind = (_as_stream(body), "text/event-stream") if streaming else (json.dumps(body), "application/json")
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, headers={"content-type": kind}, content=content))
    model = openai.ChatOpenAI(
        model="gpt-5.2",
        api_key="none",
        max_retries=0,
        http_client=httpx2.Client(transport=transport),
        use_responses_api=True,
        streaming=streaming,
        output_version=output_version,
    )
    message = model.invoke("What is the tallest mountain in Alberta?")
    calls = provider_calls(message)
    assert calls == ProviderCalls(web_searches=1)
    # gpt-5.2: 1.75 / 14.00. 8,236 input tokens, 74 output tokens, one search.
    price = usd("openai:gpt-5.2", tokens_of(message.usage_metadata), web_searches=calls.web_searches)
    assert price == pytest.approx((8_236 * 1.75 + 74 * 14.00) / M + 0.01, rel=1e-12)


def _as_stream(body: dict[str, Any]) -> str:
    """Return the events that a stream of the recorded response would have had: its items, and the whole."""
    search, said = body["output"]
    text = said["content"][0]["text"]
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**body, "output": [], "status": "in_progress"}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**search, "status": "in_progress"}},
        {"type": "response.output_item.done", "output_index": 0, "item": search},
        {"type": "response.output_item.added", "output_index": 1, "item": {**said, "content": []}},
        {"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "item_id": said["id"]}
        | {"delta": text, "logprobs": []},
        {"type": "response.output_item.done", "output_index": 1, "item": said},
        {"type": "response.completed", "response": body},
    ]
    numbered = ({**event, "sequence_number": place} for place, event in enumerate(events))
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in numbered)


def entry(**more: Any) -> LedgerEntry:
    told: dict[str, Any] = {
        "id": str(id(more)),
        "run_id": "r",
        "task_id": None,
        "role": "answer",
        "tier": "nano",
        "model": "gpt-5.4-nano",
        "input_tokens": 10_000,
        "cached_tokens": 2_000,
        "output_tokens": 1_000,
        "reasoning_tokens": 100,
        "cost_usd": 0.00289,
        "latency_s": 1.0,
        "outcome": "accepted",
    }
    return LedgerEntry(**{**told, **more})  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("openai:gpt-5.4", (8_000 * 2.50 + 2_000 * 0.25 + 1_000 * 15.00) / M),
        ("openai:gpt-5.4-mini", (8_000 * 0.75 + 2_000 * 0.075 + 1_000 * 4.50) / M),
        ("anthropic:claude-opus-4-5", (8_000 * 5.00 + 2_000 * 0.50 + 1_000 * 25.00) / M),
        ("google:gemini-2.5-flash", (8_000 * 0.30 + 2_000 * 0.03 + 1_000 * 2.50) / M),
        ("openai:nobody-knows-it", None),
    ],
)
def test_baseline_is_the_price_of_any_one_model_for_the_same_tokens(model: str, expected: float | None) -> None:
    work = [
        entry(id="classify", role="classify", cost_usd=0.001),
        entry(id="rejected", outcome="rejected"),
        entry(id="answer"),
    ]
    assert Ledger(work).baseline_usd(model) == (None if expected is None else pytest.approx(expected, rel=1e-12))


def test_baseline_knows_the_price_of_long_context() -> None:
    work = [entry(id="short", input_tokens=272_000, cached_tokens=0), entry(id="long", input_tokens=272_001)]
    short, long = 272_000 * 2.50 + 1_000 * 15.00, 270_001 * 5.00 + 2_000 * 0.50 + 1_000 * 22.50
    assert Ledger(work).baseline_usd("gpt-5.4") == pytest.approx((short + long) / M, rel=1e-12)
