"""Many conversations at once on one agent object: each has its own messages, route, ledger, budget and context.

`LOAD_THREADS=1000` runs the full size; without it there are fewer, so that all tests together stay quick.
"""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from load.crowd import LIMIT_USD, TURNS, WORKERS, Gate, Talk, agent_of, crowd, turn_in, turn_of_all

from langchain_tiered import Ledger

if TYPE_CHECKING:
    from collections.abc import Sequence

THREADS = int(os.environ.get("LOAD_THREADS", "200"))


@pytest.mark.parametrize("body", ["create_tiered_agent", "create_agent"])
async def test_conversations_at_once_on_one_agent_never_see_each_other(body: str) -> None:
    talks, gates = crowd(THREADS), list[Gate]()
    agent = agent_of(body, gates)
    seen: list[Sequence[Any]] = []
    with ThreadPoolExecutor(WORKERS) as pool:
        for turn in range(TURNS):
            on_loop = [talk for talk in talks if talk.is_async and not talk.is_spent(turn)]
            gates.append(Gate(len(on_loop)))
            seen.append(await turn_of_all(agent, talks, gates, pool))
            assert gates[-1].opened.is_set(), "the calls were not under way together"
            assert len(on_loop) >= THREADS // 2
    for talk in talks:
        for turn, results in enumerate(seen):
            _expect_own(talk, results[talk.number], turn)
        _expect_stored(agent, talk, seen[-1][talk.number])
    _expect_distinct([result for results in seen[-1:] for result in results])


def _expect_own(talk: Talk, result: Any, turn: int) -> None:
    """Check what a caller got by what it asked."""
    told = [(message.type, message.text) for message in turn_in(result["messages"], turn)]
    assert told == talk.said(turn), talk
    assert len([each for each in result["messages"] if each.type == "human"]) == turn + 1
    assert result["route"]["tier"] == talk.tier, talk
    booked = [pair for before in range(turn + 1) for pair in talk.booked(before)]
    assert [(entry["tier"], entry["outcome"]) for entry in result["ledger"]] == booked, talk
    for entry in result["ledger"]:
        assert entry["input_tokens"] == 1000 + talk.number, f"an entry of another conversation is in {talk}"
        assert entry["cost_usd"] == pytest.approx(talk.cost_usd(str(entry["tier"])))
    total = Ledger(result["ledger"]).total_usd
    assert total is not None
    assert total <= LIMIT_USD
    runs = list(dict.fromkeys(entry["run_id"] for entry in result["ledger"]))
    assert len(runs) == len([before for before in range(turn + 1) if talk.booked(before)]), talk


def _expect_stored(agent: Any, talk: Talk, result: Any) -> None:
    """Check that the thread holds what its last caller got, and that its route came about as its own turns say."""
    stored = agent.get_state(talk.config).values
    assert stored["ledger"] == result["ledger"]
    assert stored["messages"] == result["messages"]
    assert stored["route"] == result["route"]
    assert result["route"]["decided_by"] in talk.decided_by, (talk, result["route"])


def _expect_distinct(results: Sequence[Any]) -> None:
    """Check that no run, call or message stands in two conversations."""
    for what, of in (("ledger", "id"), ("ledger", "run_id")):
        owners = Counter(name for result in results for name in {entry[of] for entry in result[what]})
        assert set(owners.values()) == {1}, f"one {of} in several conversations"
    owners = Counter(message.id for result in results for message in result["messages"])
    assert set(owners.values()) == {1}
