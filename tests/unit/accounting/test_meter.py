"""A meter lets through what fits, books what was paid, and keeps a limit while many branches spend at once."""

from __future__ import annotations

import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_tiered.accounting.budget import Budget, BudgetEvent, Meter, Reservation, Scope
from langchain_tiered.errors import BudgetExceededError, InvalidBudgetError
from langchain_tiered.types import LedgerEntry

if TYPE_CHECKING:
    from collections.abc import Callable

BRANCHES = 64


def entry(cost_usd: float | None, run_id: str | None = "old", **more: Any) -> LedgerEntry:
    told: dict[str, Any] = {
        "id": str(len(more)) + str(cost_usd) + str(run_id),
        "run_id": run_id,
        "task_id": None,
        "role": "answer",
        "tier": "nano",
        "model": "gpt-5.4-nano",
        "input_tokens": None,
        "cached_tokens": None,
        "output_tokens": None,
        "reasoning_tokens": None,
        "cost_usd": cost_usd,
        "latency_s": None,
        "outcome": "accepted",
    }
    return LedgerEntry(**{**told, **more})  # type: ignore[typeddict-item]


def event(scope: Scope, share: float, spent_usd: float, limit_usd: float) -> BudgetEvent:
    return BudgetEvent(type="tiered_budget", scope=scope, share=share, spent_usd=spent_usd, limit_usd=limit_usd)


def try_to_reserve(meter: Meter, estimate_usd: float) -> Reservation | None:
    try:
        return meter.reserve(estimate_usd)
    except BudgetExceededError:
        return None


def test_what_is_reserved_is_held_until_it_is_settled_and_then_only_the_cost_counts() -> None:
    meter = Meter(Budget(run_limit_usd=1.0))
    first = meter.reserve(0.4)
    assert (meter.remaining_usd, meter.reserved_usd, meter.spent_usd) == (0.6, 0.4, 0.0)
    meter.settle(first, 0.1)
    assert (meter.remaining_usd, meter.reserved_usd, meter.spent_usd) == (0.9, 0.0, 0.1)


def test_an_estimate_that_just_fills_the_limit_fits_and_one_above_does_not() -> None:
    meter = Meter(Budget(run_limit_usd=0.3))
    for _ in range(3):
        meter.reserve(0.1)  # as binary numbers, they would add up to more than 0.3
    assert meter.remaining_usd == 0.0
    assert meter.fits(0.0)
    assert not meter.fits(1e-9)
    with pytest.raises(BudgetExceededError):
        meter.reserve(1e-9)


def test_a_refused_call_holds_nothing_and_its_error_has_the_figures() -> None:
    meter = Meter(Budget(run_limit_usd=1.0))
    meter.settle(meter.reserve(0.3), 0.25)
    meter.reserve(0.5)
    with pytest.raises(BudgetExceededError) as caught:
        meter.reserve(0.3)
    error = caught.value
    assert (error.scope, error.limit_usd, error.spent_usd, error.reserved_usd) == ("run", 1.0, 0.25, 0.5)
    assert (error.wanted_usd, error.overshoot_usd, error.attempts, error.ledger) == (0.3, 0.0, (), ())
    for words in ("run's budget of $1 ", "may cost $0.3", "$0.25 spent", "$0.5 held", "run_limit_usd=", "downgrade"):
        assert words in str(error)
    assert meter.reserved_usd == 0.5
    assert meter.fits(0.25)


def test_the_error_survives_another_process() -> None:
    error = BudgetExceededError("thread", limit_usd=1.0, spent_usd=1.5, ledger=[entry(1.5)])
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  (made in the line itself)
    assert (str(again), vars(again)) == (str(error), vars(error))
    assert again.overshoot_usd == 0.5
    assert "held" not in str(again)


def test_the_tighter_limit_holds_and_is_named() -> None:
    meter = Meter.begun(Budget(run_limit_usd=1.0, thread_limit_usd=5.0), [entry(4.5)], "new")
    assert meter.remaining_usd == 0.5
    with pytest.raises(BudgetExceededError) as caught:
        meter.reserve(0.6)
    assert (caught.value.scope, caught.value.spent_usd, caught.value.limit_usd) == ("thread", 4.5, 5.0)
    meter = Meter.begun(Budget(run_limit_usd=1.0, thread_limit_usd=5.0), [entry(0.5)], "new")
    with pytest.raises(BudgetExceededError) as caught:
        meter.reserve(1.5)
    assert (caught.value.scope, caught.value.spent_usd) == ("run", 0.0)


def test_a_cost_above_the_estimate_overshoots_by_that_and_then_nothing_fits() -> None:
    meter = Meter(Budget(run_limit_usd=1.0))
    meter.settle(meter.reserve(0.9), 1.2)
    assert meter.remaining_usd == pytest.approx(-0.2)
    with pytest.raises(BudgetExceededError) as caught:
        meter.reserve(0.0)
    assert caught.value.overshoot_usd == pytest.approx(0.2)


def test_a_call_of_unknown_cost_counts_as_what_was_reserved_and_is_named() -> None:
    meter = Meter(Budget(run_limit_usd=1.0))
    meter.settle(meter.reserve(0.3, "gpt-5.4"), None)
    meter.settle(meter.reserve(0.1), None)
    meter.settle(meter.reserve(0.2, "gpt-5.4-mini"), 0.2)
    assert (meter.spent_usd, meter.assumed_usd, meter.unknown) == (0.6, 0.4, ("gpt-5.4", "unknown"))


def test_a_call_of_known_zero_cost_is_free() -> None:
    meter = Meter(Budget(run_limit_usd=1.0))
    meter.settle(meter.reserve(0.3, "gpt-5.4"), 0.0)
    assert (meter.spent_usd, meter.assumed_usd, meter.unknown) == (0.0, 0.0, ())


def test_settling_twice_counts_once() -> None:
    meter = Meter(Budget(run_limit_usd=1.0))
    reservation = meter.reserve(0.6)
    assert meter.settle(reservation, 0.5) == [event("run", 0.5, 0.5, 1.0)]
    assert meter.settle(reservation, 0.5) == []
    assert (meter.spent_usd, meter.reserved_usd) == (0.5, 0.0)


def test_releasing_gives_back_once_and_never_what_was_settled() -> None:
    meter = Meter(Budget(run_limit_usd=1.0))
    given_up, made = meter.reserve(0.6), meter.reserve(0.3)
    meter.release(given_up)
    meter.release(given_up)
    meter.settle(made, 0.3)
    meter.release(made)
    assert (meter.spent_usd, meter.reserved_usd, meter.remaining_usd) == (0.3, 0.0, 0.7)


def test_a_call_that_ends_after_it_was_released_counts_all_the_same() -> None:
    meter = Meter(Budget(run_limit_usd=1.0))
    cancelled = meter.reserve(0.6)
    meter.release(cancelled)
    meter.settle(cancelled, 0.4)
    assert (meter.spent_usd, meter.reserved_usd) == (0.4, 0.0)


def test_a_call_that_nobody_reserved_for_counts_too() -> None:
    meter = Meter(Budget(run_limit_usd=1.0))
    assert meter.spend(0.6) == [event("run", 0.5, 0.6, 1.0)]
    assert meter.spend(None, "gpt-5.4") == [event("run", 0.8, 1.2, 1.0), event("run", 1.0, 1.2, 1.0)]
    assert (meter.assumed_usd, meter.unknown) == (0.6, ("gpt-5.4",))


def test_each_share_of_each_limit_is_told_of_once_when_it_is_reached() -> None:
    meter = Meter.begun(Budget(run_limit_usd=1.0, thread_limit_usd=2.0), [entry(0.75)], "new")
    told = [meter.settle(meter.reserve(cost_usd), cost_usd) for cost_usd in (0.25, 0.125, 0.125, 0.25, 0.125, 0.125)]
    assert told == [
        [event("thread", 0.5, 1.0, 2.0)],
        [],
        [event("run", 0.5, 0.5, 1.0)],
        [],
        [event("run", 0.8, 0.875, 1.0), event("thread", 0.8, 1.625, 2.0)],
        [event("run", 1.0, 1.0, 1.0)],
    ]


def test_one_call_may_reach_several_shares() -> None:
    meter = Meter(Budget(run_limit_usd=1.0, warn_at=(0.9, 0.1)))
    assert meter.settle(meter.reserve(1.0), 0.95) == [event("run", 0.1, 0.95, 1.0), event("run", 0.9, 0.95, 1.0)]


def test_without_shares_nothing_is_told() -> None:
    meter = Meter(Budget(run_limit_usd=1.0, warn_at=()))
    assert meter.settle(meter.reserve(1.0), 1.0) == []


def test_a_share_of_a_limit_is_reached_as_the_numbers_are_written() -> None:
    meter = Meter(Budget(run_limit_usd=0.3, warn_at=(1.0,)))
    assert [meter.spend(0.1) for _ in range(3)] == [[], [], [event("run", 1.0, 0.3, 0.3)]]


def test_the_threads_limit_survives_a_restart() -> None:
    budget, ledger = Budget(thread_limit_usd=1.0), list[LedgerEntry]()
    told = []
    for run in range(4):
        meter = Meter.begun(budget, ledger, f"run {run}")  # in another process, from what was stored
        if (reservation := try_to_reserve(meter, 0.3)) is not None:
            told += meter.settle(reservation, 0.3)
            ledger.append(entry(0.3, f"run {run}"))
    assert len(ledger) == 3
    assert [each["share"] for each in told] == [0.5, 0.8]


def test_a_run_that_goes_on_after_an_interrupt_has_spent_what_it_had() -> None:
    ledger = [entry(0.25, "old"), entry(0.5, "new"), entry(0.125, None)]
    meter = Meter.begun(Budget(run_limit_usd=1.0), ledger, "new")
    assert (meter.spent_usd, meter.thread_spent_usd, meter.remaining_usd) == (0.5, 0.875, 0.5)
    assert meter.spend(0.3) == [event("run", 0.8, 0.8, 1.0)]  # half of it was told of before


def test_entries_outside_our_graphs_are_no_part_of_a_run_without_an_id() -> None:
    meter = Meter.begun(Budget(run_limit_usd=1.0, thread_limit_usd=1.0), [entry(0.5, None)], None)
    assert (meter.spent_usd, meter.thread_spent_usd) == (0.0, 0.5)


def test_an_entry_that_arrives_twice_counts_once() -> None:
    twice = entry(0.5)
    assert Meter.begun(Budget(thread_limit_usd=1.0), [twice, twice], "new").thread_spent_usd == 0.5


@pytest.mark.parametrize(
    ("ledger", "spent_usd"),
    [
        ([entry(0.1), entry(None, reserved_usd=0.25)], 0.35),
        ([entry(None), entry(0.1), entry(0.2)], 0.5),
        ([entry(None)], 0.0),
    ],
    ids=["what was reserved", "the dearest", "nothing to go by"],
)
def test_a_stored_entry_of_unknown_cost_counts_as_the_most_that_is_known_of_it(
    ledger: list[LedgerEntry], spent_usd: float
) -> None:
    meter = Meter.begun(Budget(thread_limit_usd=1.0), ledger, "new")
    assert (meter.thread_spent_usd, meter.unknown) == (spent_usd, ("gpt-5.4-nano",))


@pytest.mark.parametrize("estimate", [-0.1, float("nan"), float("inf"), None], ids=str)
def test_an_estimate_that_is_none_is_an_error_and_holds_nothing(estimate: Any) -> None:
    meter = Meter(Budget(run_limit_usd=1.0))
    with pytest.raises(InvalidBudgetError, match=rf"{estimate!r}: expected .*Rates"):
        meter.reserve(estimate)
    assert meter.reserved_usd == 0.0


cents = st.integers(0, 300).map(lambda hundredths: hundredths / 100)
calls = st.lists(st.tuples(cents, st.none() | cents, st.sampled_from(["settle", "release", "late", "never"])))


@given(calls, cents.filter(bool), st.none() | cents.filter(bool), st.lists(cents), st.randoms(use_true_random=False))
def test_a_limit_is_passed_by_no_more_than_the_estimates_were_wrong(
    calls: list[tuple[float, float | None, str]],
    run_limit_usd: float,
    thread_limit_usd: float | None,
    stored: list[float],
    order: Any,
) -> None:
    ledger = [entry(cost_usd, id=str(place)) for place, cost_usd in enumerate(stored)]
    meter = Meter.begun(Budget(run_limit_usd, thread_limit_usd), ledger, "new")
    before = meter.thread_spent_usd
    under_way: list[Callable[[], object]] = []
    wrong_usd = paid_usd = 0.0
    for estimate_usd, cost_usd, what in calls:
        left_usd = meter.remaining_usd
        reservation = try_to_reserve(meter, estimate_usd)
        assert (reservation is not None) == (estimate_usd <= left_usd)
        if reservation is not None and what == "release":
            meter.release(reservation)
        elif reservation is not None and what != "never":
            counted = estimate_usd if cost_usd is None else cost_usd
            wrong_usd, paid_usd = wrong_usd + max(0.0, counted - estimate_usd), paid_usd + counted

            def settle(reservation: Reservation = reservation, cost_usd: float | None = cost_usd) -> object:
                return meter.settle(reservation, cost_usd)

            under_way.append(settle)
        order.shuffle(under_way)
        while under_way and order.random() < 0.5:
            under_way.pop()()
    for ended in under_way:
        ended()
    assert meter.spent_usd == pytest.approx(paid_usd)
    assert meter.thread_spent_usd == pytest.approx(before + paid_usd)
    assert meter.spent_usd <= run_limit_usd + wrong_usd + 1e-9
    if thread_limit_usd is not None and before <= thread_limit_usd:
        assert meter.thread_spent_usd <= thread_limit_usd + wrong_usd + 1e-9


def in_branches(work: Callable[[int], Any]) -> list[Any]:
    """Return what `work` gives in each of many threads that begin at the same moment."""
    gate = Barrier(BRANCHES)

    def branch(number: int) -> Any:
        gate.wait(timeout=60)
        return work(number)

    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # the interpreter changes threads within a method, not only between two
    try:
        with ThreadPoolExecutor(BRANCHES) as pool:
            return list(pool.map(branch, range(BRANCHES)))
    finally:
        sys.setswitchinterval(usual_s)


def test_branches_that_reserve_at_once_never_pass_the_limit() -> None:
    meter = Meter(Budget(run_limit_usd=5.0))

    def work(_: int) -> int:
        made = 0
        for _ in range(4):
            if (reservation := try_to_reserve(meter, 1.0)) is not None:
                made += 1
                meter.settle(reservation, 0.75)
                assert meter.spent_usd <= 5.0
        return made

    made = sum(in_branches(work))
    assert meter.spent_usd == made * 0.75
    assert made in {5, 6}  # a sixth fits once the first five are settled, if a branch is left to ask; a seventh never
    assert meter.reserved_usd == 0.0


def test_no_cent_is_lost_between_branches() -> None:
    meter = Meter(Budget(run_limit_usd=1_000.0))

    def work(number: int) -> None:
        for place in range(50):
            reservation = meter.reserve(0.2)
            if place % 5 == 0:
                meter.release(reservation)
            else:
                meter.settle(reservation, None if (number + place) % 7 == 0 else 0.1)
            meter.spend(0.01)

    in_branches(work)
    each = [(number, place) for number in range(BRANCHES) for place in range(50) if place % 5]
    unknown = sum((number + place) % 7 == 0 for number, place in each)
    expected = unknown * 0.2 + (len(each) - unknown) * 0.1 + BRANCHES * 50 * 0.01
    assert meter.spent_usd == pytest.approx(expected, abs=1e-9)
    assert meter.assumed_usd == pytest.approx(unknown * 0.2, abs=1e-9)
    assert meter.reserved_usd == 0.0


def test_every_share_is_told_of_in_one_branch_only() -> None:
    shares = tuple(share / 100 for share in range(1, 101))
    meter = Meter(Budget(run_limit_usd=1.0, thread_limit_usd=2.0, warn_at=shares))
    told = [each for found in in_branches(lambda _: [meter.spend(1 / 1_024) for _ in range(20)]) for each in found]
    events = [each for found in told for each in found]
    assert meter.spent_usd == 1.25
    assert sorted(each["share"] for each in events if each["scope"] == "run") == list(shares)
    assert sorted(each["share"] for each in events if each["scope"] == "thread") == list(shares[:62])
