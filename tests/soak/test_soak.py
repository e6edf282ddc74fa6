"""A short soak, and proof that its audit finds what it looks for; `make soak` runs the long one."""

from __future__ import annotations

import asyncio

import pytest
from soak.audit import ERRORS, TOKENS, Note, compared, done_once
from soak.run import Plan, only, soak
from soak.serving import Report
from soak.work import FIRST

USED = [1000, 400, 100, 30]
USD = (600 * 0.2 + 400 * 0.02 + 100 * 1.25) / 1e6
CALL = ["nano", "answer", "accepted", *USED, USD]
REPORT = Report(
    {
        "by_model": {"gpt-5.4-nano": 1},
        "tokens": dict(zip(TOKENS, USED, strict=True)),
        "untold_tokens": dict.fromkeys(TOKENS, 0),
    },
    [["gpt-5.4-nano", *USED, True]],
    0,
)
REFUND = 1
ROW = (FIRST + REFUND, 8950, "It came late.")


def test_short_soak_ends_each_request_rightly_or_in_a_typed_error_and_any_can_be_replayed_alone() -> None:
    plan = Plan(requests=150, again=10)
    outcome = soak(plan)
    assert outcome.problems == []
    assert outcome.ends.total() == plan.requests
    assert 0.8 * plan.requests < outcome.ends["right"] < plan.requests
    stats = outcome.report.stats
    assert sum(stats["faults"].values()) / stats["calls"] == pytest.approx(plan.faults, abs=0.08)
    assert len(stats["faults"]) > 10
    failed = next(note for note in sorted(outcome.notes) if note.end in ERRORS)
    _, alone = asyncio.run(only(failed.number, plan))
    assert alone == failed


def _differences(*calls: list[object]) -> list[str]:
    return compared([Note(0, "right", list(calls), [])], REPORT)[1]


def test_audit_passes_a_ledger_that_has_what_the_server_billed() -> None:
    assert _differences(CALL) == []


def test_audit_finds_a_call_that_is_booked_twice_not_at_all_for_another_model_or_with_other_tokens() -> None:
    assert _differences(CALL, CALL)
    assert _differences()
    assert _differences(["mini", *CALL[1:]])
    for place in range(3, 7):
        assert _differences([*CALL[:place], 1, *CALL[place + 1 :]])


def test_audit_finds_a_price_that_is_not_the_published_one_or_is_of_nothing() -> None:
    assert ["genai_prices" in each for each in _differences([*CALL[:7], 2 * USD])] == [True]
    assert any("have a price" in each for each in _differences(["nano", "answer", "failed", *[None] * 4, USD]))


@pytest.mark.parametrize(
    ("asked", "rows", "problems"),
    [
        ([ROW[0]], [ROW], 0),
        ([ROW[0], ROW[0]], [ROW], 1),
        ([], [], 1),
        ([ROW[0], 7], [ROW, (7, *ROW[1:])], 1),
        ([ROW[0]], [(ROW[0], 1, ROW[2])], 1),
    ],
    ids=["right", "twice", "only said", "for nobody", "wrong amount"],
)
def test_audit_finds_refunds_that_are_not_made_once(
    asked: list[int], rows: list[tuple[int, int, str]], problems: int
) -> None:
    assert len(list(done_once([Note(REFUND, "right", [], [])], asked, rows))) == problems
