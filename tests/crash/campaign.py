"""The side of a crash test that survives: starts lives, has them killed, and counts what was paid and done."""

from __future__ import annotations

import json
import os
import random
import runpy
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from crash.desk import FIRST_ORDER, Desk, looks_up, turns_of

from langchain_tiered.offline.server import OfflineServer

if TYPE_CHECKING:
    from types import TracebackType

ROOT = Path(__file__).parents[2]
FURTHEST = {
    "asked": 6,
    "answered": 6,
    "put": 24,
    "put_done": 24,
    "writes": 24,
    "writes_done": 24,
    "tool": 3,
    "effect": 3,
}
"""The points at which a life may die, and the farthest that it comes: a thread comes by a little more often.

`asked`: the server has the request. `answered`: the answer has come, and is not yet written down. `put` and `writes`:
before a checkpoint, or what a task gave, is written; `…_done`: after. `tool`: before what a tool does; `effect`: after.
"""
MOST_THREADS = 200
LONGEST_S = 1.5
"""The longest time after which a life is killed wherever it is."""


class Nursery:
    """Starts lives of the driver."""

    def __init__(self, folder: Path, driver: str = "tests/crash/driver.py") -> None:
        self.errors = folder / "stderr.txt"
        paths = (str(ROOT / "tests"), str(ROOT / "examples"), str(ROOT))
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("OPENAI", "LANGSMITH"))},
            "LANGGRAPH_STRICT_MSGPACK": "true",
            "PYTHONPATH": os.pathsep.join(paths),
        }
        command = [sys.executable, "-W", "error", str(ROOT / driver)]
        with self.errors.open("w") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=60)

    def start(self, plan: dict[str, Any]) -> int:
        """Start a life, and return its process id."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{json.dumps(plan)}\n")
        self._process.stdin.flush()
        return self._read()

    def ended(self) -> int:
        """Wait for the life's end, and return its exit code."""
        return self._read()

    def _read(self) -> int:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self.errors.read_text()
        return int(line)


class Counts(NamedTuple):
    """What a campaign came to."""

    threads: int
    kills: int
    server_calls: int
    ledger_calls: int
    repeated_calls: int
    tool_runs: int
    repeated_runs: int


class Campaign:
    """Threads that are worked on by one life after the other, with one shop, one checkpointer and one server."""

    def __init__(
        self, folder: Path, nursery: Nursery, saver: str, *, durability: str = "sync", is_async: bool = False
    ) -> None:
        self.folder, self.nursery, self.saver = folder, nursery, saver
        self.durability, self.is_async = durability, is_async
        self.desk, self.kills = Desk(), Counter[str]()
        stocked(folder / "shop.sqlite")
        self._server = OfflineServer(models=self.desk.models(), keep_alive=True)

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.__exit__(kind, error, trace)

    def live(self, threads: int, point: str | None = None, passes: int = 1, *, delay_s: float | None = None) -> bool:
        """Let one life work, until it dies at a point or after a while; tell whether it came to the end."""
        plan = {
            "saver": self.saver,
            "server": self._server.url,
            "folder": str(self.folder),
            "report": str(self.folder / "report.json"),
            "durability": self.durability,
            "is_async": self.is_async,
            "threads": threads,
            "die_at": None if point in {None, "asked"} else (point, passes),
            "delay_s": delay_s,
        }
        life = self.nursery.start(plan)
        self.desk.victim = (life, passes) if point == "asked" else None
        code = self.nursery.ended()
        self.desk.victim = None
        assert code in {0, -signal.SIGKILL}, self.nursery.errors.read_text()
        if code:
            self.kills["delay" if delay_s is not None else str(point)] += 1
        return code == 0

    def kill(self, times: int, seed: int) -> int:
        """Kill lives at random points, then let the last one end; return how many threads there were."""
        chance, threads, points = random.Random(seed), 1, [*FURTHEST, "delay"]  # noqa: S311  (a plan, no secret)
        while self.kills.total() < times:
            point = points[self.kills.total() % len(points)]  # each as often as the others
            if point == "delay":
                over = self.live(threads, delay_s=chance.uniform(0, LONGEST_S))
            else:
                over = self.live(threads, point, chance.randint(1, FURTHEST[point]))
            threads += over
        assert self.live(threads)
        return threads

    def checked(self, threads: int) -> Counts:
        """Check what must hold of every thread whatever was killed, and return what was counted."""
        report = json.loads((self.folder / "report.json").read_text(encoding="utf-8"))
        for thread in range(threads):
            stands, turns = report[str(FIRST_ORDER + thread)], turns_of(thread)
            assert stands["messages"] == [list(each) for turn in turns for each in turn.messages]
            assert [entry[1:] for entry in stands["ledger"]] == [list(each) for turn in turns for each in turn.ledger]
            assert len({entry[0] for entry in stands["ledger"]}) == len(turns)
        runs, orders = self._rows("SELECT tool, order_id, key FROM runs"), range(FIRST_ORDER, FIRST_ORDER + threads)
        assert self.credits() == list(orders)
        assert self._rows("SELECT order_id, cents FROM refunds ORDER BY 1", "shop.sqlite") == [
            (n, 8950) for n in orders
        ]
        wanted = {(name, order) for order in orders for name in ("refund_order", "give_credit")}
        wanted |= {("look_up", FIRST_ORDER + thread) for thread in range(threads) if looks_up(thread)}
        assert sorted((name, order) for name, order, _ in set(runs)) == sorted(wanted)  # one key for each, for good
        ledger_calls = sum(len(stands["ledger"]) for stands in report.values())
        return Counts(
            threads,
            self.kills.total(),
            len(self.desk.asked),
            ledger_calls,
            self.desk.repeats().total(),
            len(runs),
            len(runs) - len(set(runs)),
        )

    def credits(self) -> list[int]:
        """Return the orders that credit was given for, each as often as it was given."""
        return [order for (order,) in self._rows("SELECT order_id FROM credits ORDER BY 1")]

    def _rows(self, query: str, file: str = "books.sqlite") -> list[Any]:
        with closing(sqlite3.connect(self.folder / file)) as database:
            return database.execute(query).fetchall()


def stocked(path: Path) -> None:
    """Open the examples' shop, with an order for each thread that can be refunded."""
    shop = runpy.run_path(str(ROOT / "examples/shop.py"))["Shop"](str(path))
    shop.close()
    orders = range(FIRST_ORDER, FIRST_ORDER + MOST_THREADS)
    with closing(sqlite3.connect(path)) as database, database:
        database.executemany("INSERT INTO orders VALUES (?, 1, '2026-03-01', 'delivered', NULL, NULL)", zip(orders))
        database.executemany("INSERT INTO items VALUES (?, 'Rain jacket', 1, 8950)", zip(orders))
