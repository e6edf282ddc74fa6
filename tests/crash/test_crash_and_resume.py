"""A process is killed at random points of its threads, and each thread ends right, paid once, its tools run once.

`make test` kills 9 times with SQLite. `make crash` (`CRASH_KILLS=50`) kills that often with SQLite and with Postgres.
`CRASH_SEED` chooses other points.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
from crash.campaign import FURTHEST, Campaign, Counts, Nursery
from crash.desk import FIRST_ORDER
from crash.postgres import postgres_server, programs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONG = os.environ.get("CRASH_KILLS")
KILLS = int(LONG or len(FURTHEST) + 1)
SEED = int(os.environ.get("CRASH_SEED", "20260317"))


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with Nursery(tmp_path_factory.mktemp("nursery")) as nursery:
        yield nursery
    # Warnings and log lines go there too: under strict msgpack, one for each object that was not read back.
    assert nursery.errors.read_text() == ""


@pytest.fixture(params=["sync", "async"])
def campaign(tmp_path: Path, nursery: Nursery, request: pytest.FixtureRequest) -> Iterator[Campaign]:
    saver = str(tmp_path / "checkpoints.sqlite")
    with Campaign(tmp_path, nursery, saver, is_async=request.param == "async") as campaign:
        yield campaign


def test_killed_at_random_points_each_thread_ends_right_and_is_paid_once(campaign: Campaign) -> None:
    _killed(campaign, "SQLite")


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_killed_with_postgres_each_thread_ends_right_and_is_paid_once(
    tmp_path: Path, nursery: Nursery, *, is_async: bool
) -> None:
    if not LONG:
        pytest.skip("The long form, for SQLite and Postgres: make crash, or CRASH_KILLS=50.")
    if find_spec("psycopg") is None or find_spec("langgraph.checkpoint.postgres") is None:
        pytest.skip("It needs: pip install langgraph-checkpoint-postgres 'psycopg[binary]'.")
    if (found := programs()) is None:
        pytest.skip("It needs a Postgres server, on Debian: apt-get install postgresql.")
    with postgres_server(found) as address, Campaign(tmp_path, nursery, address, is_async=is_async) as campaign:
        _killed(campaign, "Postgres")


def _killed(campaign: Campaign, name: str) -> None:
    threads = campaign.kill(KILLS, SEED)
    counts, kills = campaign.checked(threads), campaign.kills
    name = f"{name}, async" if campaign.is_async else name
    sys.stdout.write(f"\n{name}, seed {SEED}: {counts}\n  killed at: {dict(kills)}\n")
    assert counts.kills >= KILLS
    # The ledger has each call whose answer was written down, once. Of each kill it can lack the call under way.
    assert counts.server_calls - counts.ledger_calls == counts.repeated_calls
    lost, in_tools = kills["asked"] + kills["answered"], kills["tool"] + kills["effect"]
    assert lost <= counts.repeated_calls <= counts.kills - in_tools
    # A tool runs again where the crash falls between its side effect and its record: those of one message at most.
    assert in_tools <= counts.repeated_runs <= 2 * (counts.kills - lost)


@pytest.mark.parametrize(
    ("point", "passes", "calls", "runs"),
    [
        ("asked", 1, 1, {0}),  # paid, and the answer reached nobody
        ("answered", 4, 1, {0}),  # paid, and the answer was not written down
        ("writes", 1, 0, {0}),  # the input stands: nothing was paid yet
        ("tool", 1, 0, {1, 2}),  # both calls of one message run side by side
        ("effect", 1, 0, {1, 2}),
        ("refund_order", 1, 0, {1, 2}),  # the refund stands, and its tool must not say that it was made before
    ],
)
def test_what_one_crash_repeats(campaign: Campaign, point: str, passes: int, calls: int, runs: set[int]) -> None:
    assert not campaign.live(1, point, passes)
    assert campaign.live(1)
    counts = campaign.checked(1)
    assert (counts.kills, counts.repeated_calls) == (1, calls)
    assert counts.repeated_runs in runs


def test_only_durability_sync_keeps_a_tool_calls_key(tmp_path: Path, nursery: Nursery) -> None:
    saver = str(tmp_path / "checkpoints.sqlite")
    with Campaign(tmp_path, nursery, saver, durability="exit") as campaign:
        assert not campaign.live(1, "effect", 2)  # when both tools of the message have done their work
        assert campaign.live(1)
        assert campaign.credits() == [FIRST_ORDER, FIRST_ORDER]


def test_a_campaign_without_a_kill_repeats_nothing(campaign: Campaign) -> None:
    assert campaign.live(2)
    assert campaign.checked(2) == Counts(2, 0, 15, 15, 0, 5, 0)
