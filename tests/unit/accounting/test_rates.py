"""Prices computed by hand from the published rates of March 2026, in USD per million tokens.

gpt-5.4 2.50 / 0.25 / 15.00, gpt-5.4-mini 0.75 / 0.075 / 4.50, gpt-5.4-nano 0.20 / 0.02 / 1.25 (input, cached input,
output); gpt-5.4 above 272K input tokens: twice the input, 1.5 times the output.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from genai_prices import Usage
from genai_prices.data_snapshot import get_snapshot

from langchain_tiered.accounting import Tokens, price_usd, tokens_of
from langchain_tiered.types import Rates

CALL = Tokens(input_tokens=10_000, cached_tokens=2_000, output_tokens=1_000)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-5.4-nano", 0.001600 + 0.000040 + 0.001250),
        ("gpt-5.4-mini", 0.006000 + 0.000150 + 0.004500),
        ("gpt-5.4", 0.020000 + 0.000500 + 0.015000),
        ("gpt-5.4-mini-2026-03-17", 0.01065),
        ("gpt-5.4-2026-03-05", 0.0355),
        ("openai:gpt-5.4", 0.0355),
        ("azure_openai:gpt-5.4-mini", 0.01065),
    ],
)
def test_price_is_the_published_one(model: str, expected: float) -> None:
    assert price_usd(model, CALL) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (Tokens(272_000, 1_000), 0.680 + 0.015),
        (Tokens(272_001, 1_000), 1.360005 + 0.0225),
        (Tokens(300_000, 1_000, cached_tokens=100_000), 1.0 + 0.05 + 0.0225),
    ],
)
def test_long_context_costs_twice_the_input_and_half_more_output(tokens: Tokens, expected: float) -> None:
    assert price_usd("gpt-5.4", tokens) == pytest.approx(expected, rel=1e-12)


def test_small_models_have_no_long_context_price() -> None:
    assert price_usd("gpt-5.4-mini", Tokens(300_000, 0)) == pytest.approx(0.225, rel=1e-12)


@pytest.mark.parametrize("factor", [1.1, 0.5])
def test_factor_multiplies_the_standard_price(factor: float) -> None:
    assert price_usd("gpt-5.4", CALL, factor=factor) == pytest.approx(0.0355 * factor, rel=1e-12)


@pytest.mark.parametrize(("service_tier", "expected"), [("flex", 0.02), ("priority", 0.08), ("default", 0.04)])
def test_service_tier_has_a_price_of_its_own(service_tier: str, expected: float) -> None:
    tokens = Tokens(input_tokens=10_000, output_tokens=1_000)
    assert price_usd("gpt-5.4", tokens, provider="openai", service_tier=service_tier) == pytest.approx(expected)


def test_factor_is_not_applied_on_top_of_the_service_tier() -> None:
    tokens = Tokens(input_tokens=10_000, output_tokens=1_000)
    assert price_usd("gpt-5.4", tokens, factor=0.5, service_tier="flex") == pytest.approx(0.02, rel=1e-12)


def test_cached_input_and_reasoning_are_not_counted_twice() -> None:
    thinking = Tokens(input_tokens=10_000, cached_tokens=2_000, output_tokens=1_000, reasoning_tokens=900)
    assert price_usd("gpt-5.4", thinking) == price_usd("gpt-5.4", CALL)


def test_cache_writes_cost_more_where_the_provider_says_so() -> None:
    # Claude Haiku 4.5: input 1.00, read 0.10, written for five minutes 1.25 and for an hour 2.00, output 5.00.
    tokens = Tokens(input_tokens=1_000, cached_tokens=200, written_tokens=300, written_1h_tokens=100, output_tokens=10)
    expected = (500 * 1.00 + 200 * 0.10 + 200 * 1.25 + 100 * 2.00 + 10 * 5.00) / 1_000_000
    assert price_usd("claude-haiku-4-5", tokens, provider="anthropic") == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("model", "tokens", "more"),
    [
        ("gpt-5.4-unheard-of", CALL, {}),
        ("openai:gpt-5.4-unheard-of", CALL, {}),
        ("claude-haiku-4-5", CALL, {"provider": "openai"}),
        (None, CALL, {}),
        ("", CALL, {}),
        ("gpt-5.4", Tokens(input_tokens=10), {}),
        ("gpt-5.4", Tokens(output_tokens=10), {}),
        ("gpt-5.4", Tokens(), {"rates": Rates(1, 1)}),
        ("gpt-5.4", CALL, {"rates": "openai:gpt-5.4-unheard-of"}),
        ("gpt-5.4", Tokens(10, 10, cached_tokens=11), {}),
        ("gpt-5.4", Tokens(10, 10, cached_tokens=11), {"rates": Rates(1, 1)}),
        ("gpt-live-1", CALL, {}),
    ],
    ids=str,
)
def test_unknown_price_is_none_and_never_zero(model: str | None, tokens: Tokens, more: dict[str, Any]) -> None:
    assert price_usd(model, tokens, **more) is None


def test_provider_nobody_knows_is_ignored() -> None:
    assert price_usd("gpt-5.4", CALL, provider="scripted") == pytest.approx(0.0355)


def test_provider_decides_where_two_sell_a_model_at_different_prices() -> None:
    own = price_usd("claude-haiku-4-5", CALL, provider="anthropic")
    regional = price_usd("eu.anthropic.claude-haiku-4-5-20251001-v1:0", CALL, provider="amazon_bedrock")
    assert own is not None
    assert regional == pytest.approx(own * 1.1)


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        (Rates(1.0, 2.0), 0.010 + 0.002),
        (Rates(1.0, 2.0, cached_input_usd=0.5), 0.008 + 0.001 + 0.002),
        (Rates(0, 0), 0.0),
        ("openai:gpt-5.4-nano", 0.00289),
    ],
    ids=str,
)
def test_rates_replace_those_of_the_model(rates: Rates | str, expected: float) -> None:
    for model in ("gpt-5.4", "my-deployment", None):
        assert price_usd(model, CALL, provider="openai", rates=rates) == pytest.approx(expected, rel=1e-12)
        assert price_usd(model, CALL, rates=rates, factor=0.5) == pytest.approx(expected / 2, rel=1e-12)


@pytest.mark.parametrize(
    "usage",
    [
        {
            "input_tokens": 50,
            "output_tokens": 9,
            "input_token_details": {"audio": 1, "cache_read": 20, "cache_creation": 5},
            "output_token_details": {"audio": 2, "reasoning": 4},
        },
        {
            "input_tokens": 50,
            "output_tokens": 9,
            "input_token_details": {"audio": 1, "flex_cache_read": 20, "flex_cache_creation": 5, "flex": 30},
            "output_token_details": {"audio": 2, "flex_reasoning": 4, "flex": 5},
        },
        {
            "input_tokens": 50,
            "output_tokens": 9,
            "input_token_details": {"audio": 1, "priority_cache_read": 20, "priority_cache_creation": 5},
            "output_token_details": {"audio": 2, "priority_reasoning": 4, "priority": 5},
        },
        {
            "prompt_tokens": 50,
            "completion_tokens": 9,
            "prompt_tokens_details": {"audio_tokens": 1, "cached_tokens": 20, "cache_write_tokens": 5},
            "completion_tokens_details": {"audio_tokens": 2, "reasoning_tokens": 4},
        },
    ],
    ids=["standard", "flex", "priority", "provider"],
)
def test_tokens_are_read_in_every_form(usage: dict[str, Any]) -> None:
    assert tokens_of(usage) == Tokens(
        input_tokens=50,
        output_tokens=9,
        cached_tokens=20,
        reasoning_tokens=4,
        written_tokens=5,
        input_audio_tokens=1,
        output_audio_tokens=2,
    )


def test_anthropics_cache_writes_are_summed_from_their_parts() -> None:
    details = {"cache_creation": 0, "ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 12}
    tokens = tokens_of({"input_tokens": 50, "output_tokens": 9, "input_token_details": details})
    assert (tokens.written_tokens, tokens.written_1h_tokens) == (42, 12)


@pytest.mark.parametrize("usage", [None, {}, {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}], ids=str)
def test_usage_that_nobody_filled_in_is_unknown(usage: dict[str, Any] | None) -> None:
    assert tokens_of(usage) == Tokens()


def _run(code: str) -> str:
    # A process of its own: in this one the prices are imported already.
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_price_source_is_not_imported_before_a_call_is_priced() -> None:
    code = "import sys, langchain_tiered.accounting; print([m for m in sys.modules if m.startswith('genai_prices')])"
    assert _run(code) == "[]\n"


def test_first_price_does_not_read_files_on_the_event_loop() -> None:
    pytest.importorskip("blockbuster")
    code = """
import asyncio, os
from blockbuster import blockbuster_ctx
from langchain_tiered.accounting import Tokens, price_usd
async def main():
    with blockbuster_ctx():
        print(price_usd("gpt-5.4", Tokens(1_000_000, 0)), flush=True)
asyncio.run(main())
os._exit(0)  # blockbuster alone can crash the interpreter's shutdown, in a process with few environment variables
"""
    assert _run(code) == "5.0\n"


@pytest.mark.parametrize(
    "tokens",
    [
        Tokens(input_tokens=1_000, output_tokens=100),
        Tokens(input_tokens=1_000, output_tokens=100, cached_tokens=400),
        Tokens(input_tokens=272_001, output_tokens=1, cached_tokens=272_001),
        Tokens(input_tokens=2_000_000, output_tokens=10_000, cached_tokens=3),
        Tokens(input_tokens=0, output_tokens=7),
        Tokens(input_tokens=5, output_tokens=7, cached_tokens=9),
    ],
    ids=lambda tokens: f"{tokens.input_tokens}, {tokens.cached_tokens} cached",
)
def test_every_models_price_is_the_one_that_genai_prices_gives(tokens: Tokens) -> None:
    usage = Usage(
        input_tokens=tokens.input_tokens, output_tokens=tokens.output_tokens, cache_read_tokens=tokens.cached_tokens
    )
    compared = 0
    for provider in get_snapshot().providers:
        for model in provider.models:
            try:
                seller, found = get_snapshot().find_provider_model(model.id, None, provider.id, None)
                price = found.calc_price(usage, seller)
                expected = None if price.model_price.input_mtok is None else float(price.total_price)
            except LookupError:
                continue  # listed, but not to be found under its own name
            except ValueError:
                expected = None
            assert price_usd(model.id, tokens, provider=provider.id) == expected, (provider.id, model.id)
            compared += 1
    assert compared > 1_000
