"""A budget says what it wants, an estimate errs upward, and what has no known price is named before any request."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

import pytest
from fakes import ScriptedModel, model, say
from langchain_core.messages import HumanMessage, convert_to_messages
from langchain_core.tools import tool
from pydantic import BaseModel

from langchain_tiered.accounting import tokens_of
from langchain_tiered.accounting.budget import Budget
from langchain_tiered.accounting.estimates import (
    INPUT_EXTRA_TOKENS,
    INPUT_FACTOR,
    USUAL_OUTPUT_TOKENS,
    declared_tokens,
    estimate_usd,
    expect_priced,
    likely_output_tokens,
    unpriced,
)
from langchain_tiered.errors import ConfigurationError, InvalidBudgetError
from langchain_tiered.models import default_tiers
from langchain_tiered.routing.facts import facts_of, tool_facts
from langchain_tiered.types import Facts, LedgerEntry, Rates, Tier

RECORDINGS = Path(__file__).parents[3] / "../shared/wire/recordings.jsonl"
M = 1_000_000

UNFORESEEN = {
    "rec047": "an image at gpt-4o-mini, where one of 512 x 512 pixels counts as 8,500 tokens",
    "rec158": "17 tokens in a mode whose own prompt has 1,532: no count of what was sent can know of it",
}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, ["run_limit_usd=None and thread_limit_usd=None", "Budget(run_limit_usd=0.05)", "budget=None"]),
        ({"run_limit_usd": 0}, ["run_limit_usd=0:", "above 0, or None"]),
        ({"run_limit_usd": -0.01}, ["run_limit_usd=-0.01:", "above 0, or None"]),
        ({"run_limit_usd": float("nan")}, ["run_limit_usd=nan:", "above 0, or None"]),
        ({"run_limit_usd": float("inf")}, ["run_limit_usd=inf:", "above 0, or None"]),
        ({"run_limit_usd": True}, ["run_limit_usd=True:", "above 0, or None"]),
        ({"run_limit_usd": "0.05"}, ["run_limit_usd='0.05':", "above 0, or None"]),
        ({"run_limit_usd": 1.0, "thread_limit_usd": 0.0}, ["thread_limit_usd=0.0:", "above 0, or None"]),
        ({"run_limit_usd": 1.0, "exit_behavior": "stop"}, ["exit_behavior='stop'", "'end' or 'error' or 'downgrade'"]),
        ({"run_limit_usd": 1.0, "exit_behavior": []}, ["exit_behavior=[]", "'end' or 'error' or 'downgrade'"]),
        ({"run_limit_usd": 1.0, "warn_at": (0.0,)}, ["warn_at=(0.0,)", "above 0 and up to 1", "(0.5, 0.8, 1.0)"]),
        ({"run_limit_usd": 1.0, "warn_at": (50, 80)}, ["warn_at=(50, 80)", "up to 1"]),
        ({"run_limit_usd": 1.0, "warn_at": (float("nan"),)}, ["warn_at=(nan,)", "up to 1"]),
        ({"run_limit_usd": 1.0, "warn_at": "0.5"}, ["warn_at='0.5'", "up to 1"]),
    ],
    ids=str,
)
def test_a_setting_out_of_range_is_an_error_that_names_value_and_mend(given: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(InvalidBudgetError) as caught:
        Budget(**given)
    assert isinstance(caught.value, ConfigurationError)
    for each in words:
        assert each in str(caught.value)


def test_a_budget_needs_one_limit_and_says_what_holds_else() -> None:
    budget = Budget(run_limit_usd=5)
    assert (budget.limit_usd("run"), budget.limit_usd("thread")) == (5, None)
    assert (budget.exit_behavior, budget.warn_at) == ("end", (0.5, 0.8, 1.0))
    assert Budget(thread_limit_usd=0.01).limit_usd("run") is None


def test_shares_are_kept_in_order_and_once() -> None:
    assert Budget(1, warn_at=(1, 0.25, 1.0)) == Budget(1, warn_at=(0.25, 1))


def test_a_budget_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Budget(1.0).run_limit_usd = 2.0  # type: ignore[misc]


EXITS: list[Literal["end", "error", "downgrade"]] = ["end", "error", "downgrade"]


@pytest.mark.parametrize("exit_behavior", EXITS)
def test_a_budget_goes_to_json_and_back(exit_behavior: Literal["end", "error", "downgrade"]) -> None:
    budget = Budget(0.05, None, exit_behavior=exit_behavior, warn_at=(0.25, 0.5))
    again = Budget.from_json(budget.to_json())
    assert (again, hash(again)) == (budget, hash(budget))


def test_settings_left_out_of_the_json_have_their_defaults() -> None:
    assert Budget.from_json('{"run_limit_usd": 0.5}') == Budget(run_limit_usd=0.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "no JSON"),
        ("[1]", r"\[1\], expected a JSON object with keys of: run_limit_usd, "),
        ('{"limit": 1}', "Unknown budget setting 'limit'. Settings: run_limit_usd, thread_limit_usd"),
        ('{"run_limit_usd": -1}', "run_limit_usd=-1"),
        ('{"run_limit_usd": NaN}', "run_limit_usd=nan"),
        ("{}", "no limit"),
    ],
)
def test_json_that_is_no_budget_is_an_error(text: str, words: str) -> None:
    with pytest.raises(InvalidBudgetError, match=words):
        Budget.from_json(text)


def held(counted: float) -> float:
    """Return the input for which a call of so many counted tokens is held."""
    return counted * INPUT_FACTOR + INPUT_EXTRA_TOKENS


@pytest.mark.parametrize(
    ("spec", "facts", "more", "expected"),
    [
        ("openai:gpt-5.4-nano", Facts(tokens=1_000), {}, held(1_000) * 0.20 + USUAL_OUTPUT_TOKENS * 1.25),
        ("openai:gpt-5.4", Facts(tokens=1_000), {"output_tokens": 4_000}, held(1_000) * 2.50 + 4_000 * 15.00),
        ("openai:gpt-5.4", Facts(tokens=1_000), {"output_tokens": 0, "declared_tokens": 500}, held(1_500) * 2.50),
        ("openai:gpt-5.4", Facts(tokens=1_000), {"output_tokens": 0, "factor": 1.1}, held(1_000) * 2.50 * 1.1),
        ("openai:gpt-5.4", Facts(tokens=0), {"service_tier": "priority"}, 128 * 5.00 + USUAL_OUTPUT_TOKENS * 30.00),
        # What was cached the last time is held at the full price, and a long request at the long one.
        ("openai:gpt-5.4", Facts(tokens=1_000, cached_tokens=900), {"output_tokens": 0}, held(1_000) * 2.50),
        ("openai:gpt-5.4", Facts(tokens=210_000), {"output_tokens": 100}, held(210_000) * 5.00 + 100 * 22.50),
        ("openai:gpt-5.4", Facts(provider_tools=("web_search",)), {"output_tokens": 0}, (128 + 8_500) * 2.50 + 10_000),
        (
            "openai:gpt-5.4",
            Facts(provider_tools=("file_search", "web_search_preview", "code_interpreter")),
            {"output_tokens": 0},
            (128 + 16_000 + 8_500 + 1_000) * 2.50 + 10_000 + 2_500,
        ),
        (None, Facts(tokens=1_000), {"rates": Rates(2.0, 0.0)}, held(1_000) * 2.0),
        ("x", Facts(tokens=1_000), {"rates": "openai:gpt-5.4-nano", "output_tokens": 0}, held(1_000) * 0.20),
    ],
)
def test_an_estimate_is_the_price_of_the_most_that_is_likely(
    spec: str | None, facts: Facts, more: dict[str, Any], expected: float
) -> None:
    assert estimate_usd(spec, facts, **more) == pytest.approx(expected / M, rel=1e-9)


@pytest.mark.parametrize("more", [{}, {"facts": Facts(provider_tools=("web_search",)), "rates": Rates(1.0, 1.0)}])
def test_without_a_known_price_there_is_no_estimate(more: dict[str, Any]) -> None:
    assert estimate_usd("openai:nobody-knows-it", **{"facts": Facts(tokens=10), **more}) is None


def entries(*output_tokens: int | None, **more: Any) -> list[LedgerEntry]:
    told: dict[str, Any] = {"run_id": None, "task_id": None, "model": None, "input_tokens": None, "latency_s": None}
    told |= {"cached_tokens": None, "reasoning_tokens": None, "cost_usd": None, "outcome": "accepted"}
    told |= {"role": "answer", "tier": "nano", **more}
    return [
        LedgerEntry(**told, id=f"{more}{place}", output_tokens=count)  # type: ignore[typeddict-item]
        for place, count in enumerate(output_tokens)
    ]


@pytest.mark.parametrize(
    ("ledger", "expected"),
    [
        ([], USUAL_OUTPUT_TOKENS),
        (entries(*[10] * 19), USUAL_OUTPUT_TOKENS),
        (entries(10, 7_000, None), 7_000),
        (entries(*[10] * 19, 7_000), 10),
        (entries(*range(1, 101)), 95),
        (entries(*[10] * 19, None), USUAL_OUTPUT_TOKENS),
        (entries(*[10] * 20) + entries(*[9_000] * 40, tier="mini"), 10),
        (entries(*[10] * 20) + entries(*[9_000] * 40, role="classify"), 10),
    ],
    ids=["nothing", "few", "few, one long", "enough", "a hundred", "unknown", "another tier", "another role"],
)
def test_a_tiers_usual_output_is_learned_from_its_own_calls(ledger: list[LedgerEntry], expected: int) -> None:
    assert likely_output_tokens(ledger, "nano") == expected


def test_the_models_own_limit_comes_before_what_was_learned() -> None:
    assert likely_output_tokens(entries(*[10] * 20), "nano", max_tokens=64) == 64


@tool
def refund(order: int, why: str) -> str:
    """Refund an order."""
    return f"{order}: {why}"


class Invoice(BaseModel):
    total: float


def test_tools_and_schemas_count_as_the_json_that_is_sent_of_them() -> None:
    as_json: dict[str, Any] = {"type": "function", "function": {"name": "refund"}}
    assert declared_tokens([]) == 0
    assert declared_tokens([as_json]) == -(-len(json.dumps(as_json)) // 4)
    assert 25 < declared_tokens([refund]) < 100
    assert declared_tokens([refund, Invoice]) == declared_tokens([refund]) + declared_tokens([Invoice])


def test_default_tiers_are_priced_before_their_models_are_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert unpriced(default_tiers()) == {}
    expect_priced(default_tiers())


NOBODYS = ScriptedModel(model_name="my-deployment", script=say("Yes."))


@pytest.mark.parametrize(
    ("spec", "more", "expected"),
    [
        ("openai:gpt-5.4", {}, ()),
        (model("gpt-5.4-mini", say("Yes.")), {}, ()),
        (NOBODYS, {"rates": Rates(1.0, 1.0)}, ()),
        (NOBODYS, {"rates": "openai:gpt-5.4"}, ()),
        ("openai:my-deployment", {}, ("openai:my-deployment",)),
        (NOBODYS, {}, ("my-deployment",)),
        (NOBODYS, {"rates": "openai:nobody-knows-it"}, ("my-deployment",)),
        ("openai:gpt-5.4", {"fallbacks": ["openai:gpt-5.4-mini", NOBODYS]}, ("my-deployment",)),
        (NOBODYS, {"rates": Rates(1.0, 1.0), "fallbacks": ["x:y"]}, ("x:y",)),  # they are the prices of its own model
    ],
    ids=repr,
)
def test_models_without_a_known_price_are_named(spec: Any, more: dict[str, Any], expected: tuple[str, ...]) -> None:
    tiers = [Tier("first", "openai:gpt-5.4-nano", criteria="x"), Tier("own", spec, criteria="x", **more)]
    assert unpriced(tiers) == ({"own": expected} if expected else {})


def test_a_budget_over_a_model_of_unknown_price_is_an_error_that_names_tier_model_and_mend() -> None:
    tiers = [Tier("x", "openai:y", criteria="x"), Tier("z", NOBODYS, criteria="x")]
    with pytest.raises(InvalidBudgetError) as caught:
        expect_priced(tiers)
    for words in ("dollars over tier 'x', whose model 'openai:y' has no known price", "'my-deployment'", "Rates(...)"):
        assert words in str(caught.value)


def messages_of(body: dict[str, Any]) -> list[Any]:
    """Return the messages of a recorded request; what is no message in it counts as the words that it is."""
    if "messages" in body:
        return [{"content": "", **message} for message in body["messages"]]
    given = body["input"] if isinstance(body["input"], list) else [{"role": "user", "content": body["input"]}]
    told = [item if "role" in item else {"role": "user", "content": json.dumps(item)} for item in given]
    return [*([{"role": "system", "content": body["instructions"]}] if body.get("instructions") else []), *told]


def recorded() -> list[tuple[str, Facts, int, int]]:
    """Return each recorded request: its facts, what its tools and schema add, and the input that was paid for."""
    found = []
    for line in RECORDINGS.read_text(encoding="utf-8").splitlines():
        one = json.loads(line)
        body, answer = one["request_body"], one["response_body"]
        if isinstance(answer, str):
            events = [json.loads(each[6:]) for each in answer.splitlines() if each.startswith("data: {")]
            usages = [each.get("usage") or (each.get("response") or {}).get("usage") for each in events]
            usage = next((each for each in reversed(usages) if each), None)
        else:
            usage = answer.get("usage")
        if not usage or "previous_response_id" in body:  # the latter has a history that was not sent
            continue
        tools = [*body.get("tools", ()), *body.get("functions", ())]
        schema = [each for each in (body.get("response_format"), (body.get("text") or {}).get("format")) if each]
        plain = [each for each in tools if each.get("type", "function") in {"function", "custom"}]
        messages = convert_to_messages(messages_of(body))
        if not any(isinstance(message, HumanMessage) for message in messages):
            continue
        facts = facts_of(messages, tool_facts(tools))
        found.append((one["id"], facts, declared_tokens([*plain, *schema]), tokens_of(usage).input_tokens or 0))
    return found


@pytest.mark.skipif(not RECORDINGS.exists(), reason="The recordings are not here.")
def test_recorded_requests_used_no_more_input_than_was_held_for_them() -> None:
    requests = recorded()
    priced = Rates(input_usd=1.0, output_usd=0.0)  # a dollar for a million tokens: the estimate tells the tokens
    too_little = [
        name
        for name, facts, declared, used in requests
        if used > round((estimate_usd(None, facts, declared_tokens=declared, rates=searchable(priced)) or 0) * M)
    ]
    assert len(requests) > 80
    assert set(too_little) == set(UNFORESEEN)


def searchable(rates: Rates) -> Rates:
    return dataclasses.replace(rates, web_search_usd=0.0, file_search_usd=0.0)
