"""The ledger's sums, and the reducer that fills it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_tiered.accounting import Ledger, book
from langchain_tiered.types import LedgerEntry, Outcome, Role

if TYPE_CHECKING:
    from collections.abc import Sequence


def entry(entry_id: str = "1", **more: Any) -> LedgerEntry:
    made: dict[str, Any] = {
        "id": entry_id,
        "run_id": "run",
        "task_id": None,
        "role": "answer",
        "tier": "nano",
        "model": "gpt-5.4-nano",
        "input_tokens": 1_000,
        "cached_tokens": 0,
        "output_tokens": 100,
        "reasoning_tokens": 0,
        "cost_usd": 0.000325,
        "latency_s": 0.1,
        "outcome": "accepted",
    }
    return LedgerEntry(**{**made, **more})  # type: ignore[typeddict-item]


counts = st.none() | st.integers(0, 10**6)
entries = st.builds(
    entry,
    st.integers(0, 9).map(str),
    run_id=st.sampled_from([None, "a", "b"]),
    role=st.sampled_from(get_args(Role)),
    tier=st.sampled_from([None, "nano", "mini"]),
    model=st.sampled_from([None, "gpt-5.4", "house-model"]),
    input_tokens=counts,
    output_tokens=counts,
    cached_tokens=counts,
    reasoning_tokens=counts,
    cost_usd=st.none() | st.floats(0, 10),
    outcome=st.sampled_from(get_args(Outcome)),
)
ledgers = st.lists(entries, max_size=12)


@given(ledgers, ledgers)
def test_booking_twice_is_booking_once(left: list[LedgerEntry], right: list[LedgerEntry]) -> None:
    once = book(left, right)
    assert book(once, right) == once
    assert book(once, []) == once == book(once, None) == book(None, once)


@given(ledgers, ledgers)
def test_booking_keeps_the_order_and_the_newest_entry_of_each_id(
    left: list[LedgerEntry], right: list[LedgerEntry]
) -> None:
    booked = book(left, right)
    assert [one["id"] for one in booked] == list(dict.fromkeys(one["id"] for one in [*left, *right]))
    newest = {one["id"]: one for one in [*left, *right]}
    assert booked == [newest[one["id"]] for one in booked]


@given(ledgers, ledgers, ledgers)
def test_booking_does_not_depend_on_how_updates_are_grouped(
    first: list[LedgerEntry], second: list[LedgerEntry], third: list[LedgerEntry]
) -> None:
    assert book(book(first, second), third) == book(first, book(second, third))


def test_booking_leaves_what_it_is_given_alone() -> None:
    left, right = [entry("1")], [entry("1", outcome="rejected"), entry("2")]
    assert [one["outcome"] for one in book(left, right)] == ["rejected", "accepted"]
    assert left == [entry("1")]


@given(ledgers)
def test_groups_hold_every_entry_once_and_sum_to_the_total(booked: list[LedgerEntry]) -> None:
    ledger = Ledger(booked)
    for groups in (ledger.by_run(), ledger.by_tier(), ledger.by_role()):
        assert sorted(one["id"] for group in groups.values() for one in group) == sorted(one["id"] for one in ledger)
        totals = [group.total_usd for group in groups.values()]
        if ledger.total_usd is None:
            assert None in totals
        else:
            assert sum(total or 0 for total in totals) == pytest.approx(ledger.total_usd)


@given(ledgers)
def test_total_is_unknown_exactly_when_a_model_is_unpriced(booked: list[LedgerEntry]) -> None:
    ledger = Ledger(booked)
    assert (ledger.total_usd is None) == bool(ledger.unpriced)


def _named(groups: dict[str, Ledger]) -> dict[str, list[str]]:
    return {name: [one["id"] for one in group] for name, group in groups.items()}


def test_groups_come_in_the_order_of_their_first_entry() -> None:
    ledger = Ledger(
        [
            entry("1", tier=None, role="summarize", run_id=None),
            entry("2", tier="mini", run_id="b"),
            entry("3", tier="nano", run_id="a"),
            entry("4", tier="mini", role="classify", run_id="b"),
        ]
    )
    assert _named(ledger.by_tier()) == {"none": ["1"], "mini": ["2", "4"], "nano": ["3"]}
    assert _named(ledger.by_role()) == {"summarize": ["1"], "answer": ["2", "3"], "classify": ["4"]}
    assert _named(ledger.by_run()) == {"none": ["1"], "b": ["2", "4"], "a": ["3"]}
    assert _named({"last": ledger.last_run()}) == {"last": ["2", "4"]}


def test_empty_ledger_costs_nothing() -> None:
    empty = Ledger()
    assert (empty.total_usd, empty.unpriced, len(empty), list(empty.last_run())) == (0.0, (), 0, [])
    assert empty.baseline_usd("openai:gpt-5.4") == 0.0


def test_unpriced_models_are_named_once_and_sorted() -> None:
    names = ["zeta", None, "alpha", "zeta"]
    ledger = Ledger(entry(str(place), model=name, cost_usd=None) for place, name in enumerate(names))
    assert ledger.unpriced == ("alpha", "unknown", "zeta")
    assert "unpriced: alpha, unknown, zeta" in repr(ledger)


def test_failed_call_that_cost_nothing_does_not_make_the_total_unknown() -> None:
    failed = entry("2", outcome="failed", input_tokens=None, output_tokens=None, cost_usd=0.0)
    assert Ledger([entry("1"), failed]).total_usd == pytest.approx(0.000325)


def test_usage_sums_what_was_reported() -> None:
    ledger = Ledger(
        [
            entry("1", input_tokens=100, cached_tokens=40, output_tokens=10, reasoning_tokens=5),
            entry("2", input_tokens=None, cached_tokens=None, output_tokens=None, reasoning_tokens=None),
            entry("3", input_tokens=1, cached_tokens=1, output_tokens=1, reasoning_tokens=1),
        ]
    )
    assert ledger.usage() == {
        "input_tokens": 101,
        "output_tokens": 11,
        "total_tokens": 112,
        "input_token_details": {"cache_read": 41},
        "output_token_details": {"reasoning": 6},
    }


def test_adding_ledgers_counts_a_shared_entry_once() -> None:
    both = Ledger([entry("1"), entry("2")]) + Ledger([entry("2"), entry("3")])
    assert [one["id"] for one in both] == ["1", "2", "3"]
    assert both.total_usd == pytest.approx(3 * 0.000325)


def _baseline(*booked: LedgerEntry) -> float | None:
    return Ledger(booked).baseline_usd("openai:gpt-5.4")


AT_FLAGSHIP = 0.0025 + 0.0015  # 1,000 input and 100 output tokens


def test_baseline_prices_the_answering_work_at_the_other_model() -> None:
    work: Sequence[Outcome] = ("accepted", "tool_turn", "truncated", "downgraded")
    booked = [entry(outcome, outcome=outcome) for outcome in work]
    assert _baseline(*booked) == pytest.approx(4 * AT_FLAGSHIP)
    cached = entry(cached_tokens=400)
    assert _baseline(cached) == pytest.approx(600 * 2.5e-6 + 400 * 0.25e-6 + 0.0015)


def test_baseline_has_no_classifier_no_judge_and_no_rejected_attempt() -> None:
    thrown = [
        entry("2", role="classify"),
        entry("3", role="judge", cost_usd=None),
        entry("4", outcome="rejected"),
        entry("5", outcome="failed", input_tokens=None, output_tokens=None, cost_usd=0.0),
    ]
    assert _baseline(entry(), *thrown) == pytest.approx(AT_FLAGSHIP)


@pytest.mark.parametrize("role", ["plan", "review", "summarize", "other"])
def test_baseline_keeps_what_the_tiers_do_not_decide_at_its_own_cost(role: Role) -> None:
    assert _baseline(entry(), entry("2", role=role, cost_usd=0.5)) == pytest.approx(AT_FLAGSHIP + 0.5)


def test_baseline_is_unknown_when_a_part_of_it_is() -> None:
    assert Ledger([entry()]).baseline_usd("house-model") is None
    assert _baseline(entry(input_tokens=None)) is None
    assert _baseline(entry(role="other", cost_usd=None)) is None


def test_savings_are_the_baseline_less_the_total() -> None:
    ledger = Ledger([entry("1"), entry("2", role="classify", cost_usd=0.0001)])
    assert ledger.saved_usd("openai:gpt-5.4") == pytest.approx(AT_FLAGSHIP - 0.000425)
    assert ledger.saved_usd("house-model") is None
    assert (Ledger([entry(cost_usd=None)])).saved_usd("openai:gpt-5.4") is None
    dear = Ledger([entry(tier="flagship", cost_usd=AT_FLAGSHIP)])
    saved = dear.saved_usd("openai:gpt-5.4-nano")
    assert saved is not None
    assert saved < 0


def test_malformed_rate_counts_calls_that_no_tool_could_run() -> None:
    told = [
        entry("1", tier="nano", role="answer", outcome="tool_turn"),
        entry("2", tier="nano", role="answer", outcome="rejected", rejected_by="valid_tool_calls"),
        entry("3", tier="nano", role="answer", outcome="rejected", rejected_by="finished"),
        entry("4", tier="mini", role="answer", outcome="tool_turn"),
        entry("5", tier="mini", role="answer", outcome="accepted"),
        entry("6", tier="flagship", role="answer", outcome="accepted"),
        entry("7", tier="flagship", role="judge", outcome="tool_turn"),
    ]
    ledger = Ledger(told)
    assert {name: each.malformed_rate for name, each in ledger.by_tier().items()} == {
        "nano": 0.5,
        "mini": 0.0,
        "flagship": None,
    }
    assert ledger.malformed_rate == pytest.approx(1 / 3)
