"""`collect_ledger` sees every call of its block."""

from __future__ import annotations

import asyncio
import threading
from contextvars import copy_context

import pytest
from langchain_core.runnables import RunnableLambda, RunnableParallel
from unit.accounting.fakes_accounting import mini

from langchain_tiered.accounting import (
    Ledger,
    collect_ledger,
    rebook,
)
from langchain_tiered.accounting.budget import Budget
from langchain_tiered.accounting.metering import Metered
from langchain_tiered.accounting.recorder import Recorder, recording
from langchain_tiered.errors import BudgetExceededError

# Collecting.


def test_collected_ledger_grows_while_the_block_runs() -> None:
    with collect_ledger() as ledger:
        sizes = [len(ledger)]
        for _ in range(2):
            mini().invoke("hi")
            sizes.append(len(ledger))
    mini().invoke("hi")
    assert sizes == [0, 1, 2]
    assert (len(ledger), list(ledger.by_role()), ledger.unpriced) == (2, ["other"], ())


def test_outer_block_sees_the_inner_ones_calls() -> None:
    def work(_: object) -> Ledger:
        with collect_ledger() as inner:
            mini().invoke("hi")
        return inner

    with collect_ledger() as outer:
        inner, nested = work(None), RunnableLambda(work).invoke("x")
        mini().invoke("hi")
    assert (len(inner), len(nested), len(outer)) == (1, 1, 3)


def test_a_call_that_a_budget_holds_back_is_no_call() -> None:
    outer = Recorder()
    with collect_ledger() as ledger:
        held = Recorder(Metered(Budget(run_limit_usd=1e-9), [], None))
        around = recording(recording({}, outer, {}), held, {})
        with pytest.raises(BudgetExceededError):
            mini().invoke("hi", around)
        mini().invoke("hi")
        outer.abandon()
    assert (len(ledger), ledger.total_usd is not None, outer.entries) == (1, True, [])


async def test_blocks_in_concurrent_tasks_do_not_mix() -> None:
    async def task(calls: int) -> Ledger:
        with collect_ledger() as ledger:
            for _ in range(calls):
                await asyncio.sleep(0)
                await mini().ainvoke("hi")
        return ledger

    with collect_ledger() as both:
        one, two = await asyncio.gather(task(1), task(3))
    assert (len(one), len(two), len(both)) == (1, 3, 4)


def test_threads_of_langchain_are_collected_and_own_ones_with_the_context() -> None:
    paid = mini()
    branches = RunnableParallel(dict.fromkeys("abcd", paid))
    with collect_ledger() as ledger:
        branches.invoke("hi")
        branches.batch(["hi", "there"])
        own = threading.Thread(target=copy_context().run, args=(paid.invoke, "hi"))
        own.start()
        own.join()
    assert len(ledger) == paid.calls == 13


def test_corrected_outcome_reaches_every_block_around() -> None:
    with collect_ledger() as outer, collect_ledger() as inner:
        mini().invoke("hi")
        (entry,) = inner
        rebook([{**entry, "outcome": "rejected"}], {})
    assert [one["outcome"] for one in [*inner, *outer]] == ["rejected", "rejected"]
    rebook([{**entry, "outcome": "failed"}], {})
    assert [one["outcome"] for one in outer] == ["rejected"]
