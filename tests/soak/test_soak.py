"""A short soak: `make soak` runs the long one."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from soak.audit import ERRORS
from soak.run import Outcome, Plan, soak
from soak.serving import ROOT
from soak.work import FIRST, TEXTS, said, work_of

REQUESTS = 150


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return soak(Plan(requests=REQUESTS, again=10))


def test_every_request_ends_rightly_or_in_one_typed_error_and_is_paid_once(outcome: Outcome) -> None:
    assert outcome.problems == []
    assert outcome.ends.keys() <= {"right", "half", *ERRORS}
    assert outcome.ends.total() == REQUESTS


def test_a_fifth_of_the_calls_broke(outcome: Outcome) -> None:
    stats = outcome.report.stats
    assert sum(stats["faults"].values()) / stats["calls"] == pytest.approx(0.2, abs=0.08)
    assert len(stats["faults"]) > 10
    assert 0.8 * REQUESTS < outcome.ends["right"] < REQUESTS
