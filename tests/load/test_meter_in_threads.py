"""One meter that many threads hold and settle calls with at once, as the tools of one step do."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import pytest
from langchain_core.messages import HumanMessage

from langchain_tiered import Budget
from langchain_tiered.accounting.metering import Metered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_tiered.types import LedgerEntry

CALL: dict[str, Any] = {
    "ls_model_name": "gpt-5.4-nano",
    "ls_provider": "openai",
    "tier": "nano",
    "tiered_role": "answer",
}
USD = 0.000325


@pytest.fixture(autouse=True)
def _threads_take_turns_often() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def entry(call: Any) -> LedgerEntry:
    told = {
        "id": str(call),
        "run_id": "run",
        "task_id": None,
        "role": "answer",
        "tier": "nano",
        "model": "gpt-5.4-nano",
    }
    used = {"input_tokens": 1000, "cached_tokens": 0, "output_tokens": 100, "reasoning_tokens": 0}
    return cast("LedgerEntry", {**told, **used, "cost_usd": USD, "latency_s": 0.1, "outcome": "accepted"})


def test_calls_that_end_while_others_begin_are_all_counted_and_none_fails() -> None:
    metered = Metered(Budget(run_limit_usd=100), [entry(f"before {place}") for place in range(20)], "run")

    def calls(_: int) -> None:
        for _ in range(50):
            call = uuid4()
            metered.hold(call, [HumanMessage("Label this.")], {}, CALL)
            metered.settle(call, entry(call))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(calls, range(8)))
    assert metered.meter.spent_usd == pytest.approx(420 * USD)
    assert metered.meter.reserved_usd == 0
