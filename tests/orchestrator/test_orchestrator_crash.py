"""Killed with SIGKILL in the middle of parallel work, a run goes on: finished tasks are not paid again, nor done again.

`make test` kills 8 times with SQLite; `CRASH_KILLS=50` kills that often with SQLite and with Postgres. `CRASH_SEED`
chooses other points.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Self

import pytest
from crash.campaign import Nursery
from crash.postgres import postgres_server, programs
from orchestrator.bench_of_tasks import NEEDS, WITH_TOOL, Office, wanted

from langchain_tiered.offline.server import OfflineServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONG = os.environ.get("CRASH_KILLS")
KILLS = int(LONG or 8)
SEED = int(os.environ.get("CRASH_SEED", "20260317"))
MOST_PARALLEL = 3
"""So many of the tasks can be under way at once."""
FURTHEST = {"asked": 9, "answered": 9, "writes": 20, "writes_done": 20, "put": 20, "put_done": 20, "effect": 2}
"""The points at which a life may die, and the farthest that it comes in one turn."""


class Siege:
    """A thread that is worked on by one life after the other, with one checkpointer and one server."""

    def __init__(self, folder: Path, nursery: Nursery, saver: str) -> None:
        self.folder, self.nursery, self.saver = folder, nursery, saver
        self.office, self.kills = Office(), Counter[str]()
        self.server = OfflineServer(models=self.office.models(), keep_alive=True)

    def __enter__(self) -> Self:
        self.server.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.__exit__(*error)  # type: ignore[arg-type]

    def live(self, turns: int, point: str | None = None, passes: int = 1, *, task: str = "any") -> bool:
        """Let one life work until it dies; tell whether it came to the end."""
        plan: dict[str, Any] = {
            "saver": self.saver,
            "server": self.server.url,
            "folder": str(self.folder),
            "turns": turns,
            "die_at": None if point in {None, "asked"} else (point, passes),
            "delay_s": None,
        }
        life = self.nursery.start(plan)
        self.office.victim = (life, task, passes) if point == "asked" else None
        code = self.nursery.ended()
        self.office.victim = None
        assert code in {0, -signal.SIGKILL}, self.nursery.errors.read_text()
        if code:
            self.kills[str(point)] += 1
        return code == 0

    def checked(self, turns: int) -> dict[str, Any]:
        """Check what must hold whatever was killed, and return the report."""
        report: dict[str, Any] = json.loads((self.folder / "report.json").read_text(encoding="utf-8"))
        said = [[kind, f"{text.format(turn)}"] for turn in range(turns) for kind, text in _TURN]
        assert report["messages"] == said
        assert report["results"] == wanted(turns - 1)
        assert report["verdict"] == "satisfied"
        by_run = Counter(entry[0] for entry in report["ledger"])
        assert len(by_run) == turns
        for run in by_run:
            tasks = Counter(str(entry[3]) for entry in report["ledger"] if entry[0] == run)
            assert tasks == {"None": 2, **{name: 1 + (name in WITH_TOOL) for name in NEEDS}}
        assert len({entry[1] for entry in report["ledger"]}) == len(report["ledger"])
        return report

    def tool_runs(self) -> Counter[str]:
        with closing(sqlite3.connect(self.folder / "books.sqlite")) as database:
            return Counter(part for (part,) in database.execute("SELECT part FROM runs"))


_TURN = (("human", "Do turn {}."), ("ai", "Turn {} is done."))


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with Nursery(tmp_path_factory.mktemp("nursery"), "tests/orchestrator/life.py") as nursery:
        yield nursery
    assert nursery.errors.read_text() == ""  # under strict msgpack a line for each object that was not read back


@pytest.fixture
def siege(tmp_path: Path, nursery: Nursery) -> Iterator[Siege]:
    with Siege(tmp_path, nursery, str(tmp_path / "checkpoints.sqlite")) as siege:
        yield siege


def test_without_a_kill_each_call_is_made_once(siege: Siege) -> None:
    assert siege.live(2)
    siege.checked(2)
    assert siege.office.repeats() == {}
    assert siege.tool_runs() == {f"{turn}-{name}": 1 for turn in range(2) for name in WITH_TOOL}


def test_finished_tasks_are_not_paid_again_while_others_were_under_way(siege: Siege) -> None:
    assert not siege.live(1, "asked", task="0-e")  # which begins when `b` and `c` are done
    assert {("mini", "0-b+tool"), ("mini", "0-c")} <= set(siege.office.asked)
    assert siege.live(1)
    siege.checked(1)
    repeats = siege.office.repeats()
    assert {("mini", "0-e")} <= repeats.keys() <= {("mini", "0-e"), ("mini", "0-d")}
    assert siege.tool_runs() == {"0-b": 1, "0-e": 1}


def test_a_worker_that_was_under_way_goes_on_behind_its_tool(siege: Siege) -> None:
    # The kill falls at the call behind the tool of `e`: its result stands, and the tool does not run again.
    assert not siege.live(1, "asked", task="0-e+tool")
    assert siege.live(1)
    siege.checked(1)
    assert siege.office.repeats() == {("mini", "0-e+tool"): 1}
    assert siege.tool_runs() == {"0-b": 1, "0-e": 1}


def test_killed_at_random_points_no_finished_task_is_paid_again(siege: Siege) -> None:
    _killed(siege, "SQLite")


def test_killed_with_postgres_no_finished_task_is_paid_again(tmp_path: Path, nursery: Nursery) -> None:
    if not LONG:
        pytest.skip("The long form, for SQLite and Postgres: CRASH_KILLS=50.")
    if find_spec("psycopg") is None or find_spec("langgraph.checkpoint.postgres") is None:
        pytest.skip("It needs: pip install langgraph-checkpoint-postgres 'psycopg[binary]'.")
    if (found := programs()) is None:
        pytest.skip("It needs a Postgres server, on Debian: apt-get install postgresql.")
    with postgres_server(found) as address, Siege(tmp_path, nursery, address) as siege:
        _killed(siege, "Postgres")


def _killed(siege: Siege, name: str) -> None:
    chance, turns, points = random.Random(SEED), 1, list(FURTHEST)  # noqa: S311  (a plan, no secret)
    while siege.kills.total() < KILLS:
        point = points[siege.kills.total() % len(points)]
        turns += siege.live(turns, point, chance.randint(1, FURTHEST[point]))
    assert siege.live(turns)
    report = siege.checked(turns)
    repeats, runs = siege.office.repeats(), siege.tool_runs()
    told = {"turns": turns, "kills": siege.kills.total(), "calls": len(siege.office.asked)}
    told |= {"ledger": len(report["ledger"]), "paid again": repeats.total(), "tool runs": runs.total()}
    sys.stdout.write(f"\n{name}, seed {SEED}: {told}\n  killed at: {dict(siege.kills)}\n")
    # Of each kill only calls under way are made again: at most one for each worker.
    assert repeats.total() <= MOST_PARALLEL * siege.kills.total()
    assert len(siege.office.asked) - len(report["ledger"]) == repeats.total()
    # A tool runs again only where the kill falls between its effect and its record.
    assert set(runs) == {f"{turn}-{part}" for turn in range(turns) for part in WITH_TOOL}
    assert runs.total() - len(runs) <= 2 * siege.kills.total()
