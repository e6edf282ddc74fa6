"""Runs a soak: all requests at 64 at once, then some more in threads, then some of them again alone."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from soak.audit import Note, Paid, compared, done_once, noted
from soak.bodies import Agents, CountingShop
from soak.serving import serving
from soak.work import work_of

from langchain_tiered.cascade import validity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from soak.bodies import Ended
    from soak.serving import Report, Served

AT_ONCE, THREADS, FIFTHS = 64, 16, 5
MOST_MB = 16.0
"""How much the process may grow from the second fifth to the last, in MB: what the allocator keeps of peaks."""

MOST_OBJECTS = 2_000
"""How many objects more there may be then: what a client makes when it first meets a rare event. One that is left for
each of the 2,700 requests of a long soak between the two is more than that."""


@dataclass(frozen=True)
class Plan:
    """How much is done, and what from."""

    requests: int = 5_000
    seed: int = 7
    faults: float = 0.2
    """The share of the calls that a fault hits."""
    again: int = 50
    """How many of the requests are made again, each alone; up to half of them did not end right."""
    in_threads: float = 0.1
    """The share of the requests that threads make, with circuits that open; the others have none."""


class Size(NamedTuple):
    """How big the process is, with nothing under way."""

    objects: int
    mb: float


@dataclass
class Outcome:
    """What a soak came to."""

    plan: Plan
    report: Report
    notes: list[Note]
    paid: Paid
    sizes: list[Size]
    seconds: float
    problems: list[str] = field(default_factory=list)
    """What should not be, by the number of its request where it is one's; empty when all holds."""

    @property
    def ends(self) -> Counter[str]:
        """How many requests ended how."""
        return Counter(note.end for note in self.notes)


class Soak:
    """One soak while it runs."""

    def __init__(self, plan: Plan, served: Served, folder: Path, say: Callable[[str], None]) -> None:
        self.plan, self.served, self.folder, self.say = plan, served, folder, say
        self.problems: list[str] = []
        self._notes = (folder / "notes.jsonl").open("w+", encoding="utf-8")  # kept here, they would look like a leak
        self._started, self._done, self._failed = time.monotonic(), 0, 0

    def run(self) -> Outcome:
        """Run all of it."""
        before = _sockets()
        with self._notes:
            sizes, shop = asyncio.run(self._soaked())
            self._expect(_sockets() == before, f"{_sockets() - before} sockets are left open")
            seconds, report, notes = time.monotonic() - self._started, self.served.report(), self._read()
        self._expect(report.connections == 0, f"the server has {report.connections} connections open")
        asyncio.run(self._again(notes))
        paid, differences = compared(notes, report)
        lost = set(range(self.plan.requests)) ^ {note.number for note in notes}
        self._expect(not lost and len(notes) == self.plan.requests, f"lost, or answered twice: {sorted(lost)}")
        self.problems += [*differences, *done_once(notes, shop.asked, shop.refunds()), *self._leaks(sizes)]
        shop.close()
        return Outcome(self.plan, report, notes, paid, sizes, seconds, self.problems)

    async def _soaked(self) -> tuple[list[Size], CountingShop]:
        shop, sizes = CountingShop(self.folder / "shop.sqlite", self.plan.requests), []
        agents = Agents(self.served.url, shop, circuits=False)
        at_once = self.plan.requests - int(self.plan.requests * self.plan.in_threads)
        for fifth in range(FIFTHS):
            numbers = iter(range(at_once * fifth // FIFTHS, at_once * (fifth + 1) // FIFTHS))
            await asyncio.gather(*(self._worker(agents, numbers) for _ in range(AT_ONCE)))
            left = asyncio.all_tasks() - {asyncio.current_task()}
            self._expect(not left, f"tasks are left open: {left}")
            gc.collect()
            await asyncio.sleep(0.05)  # streams that broke are closed when they are collected, by tasks of the loop
            sizes.append(_size())
        await agents.aclose()
        timed_out = agents.timed_out.count
        agents = Agents(self.served.url, shop, circuits=True)
        await asyncio.to_thread(self._in_threads, agents, at_once)
        await agents.aclose()
        timed_out += agents.timed_out.count
        held = self.served.report().stats["faults"].get("timeout", 0)
        slow = "the machine was too busy, which says nothing of us: run it again"
        self._expect(timed_out == held, f"{timed_out} calls timed out, {held} of them by a fault: {slow}")
        return sizes, shop

    async def _worker(self, agents: Agents, numbers: Iterator[int]) -> None:
        for number in numbers:
            self._note(await agents.arun(work_of(number)))

    def _in_threads(self, agents: Agents, first: int) -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            for ended in pool.map(agents.run, map(work_of, range(first, self.plan.requests))):
                self._note(ended)

    def _note(self, ended: Ended) -> None:
        note = noted(ended)
        self._notes.write(f"{json.dumps(note)}\n")
        for problem in note.problems:
            self.problems.append(f"request {note.number}, seed {self.plan.seed}: {problem}")
        self._done, self._failed = self._done + 1, self._failed + (ended.error is not None)
        if self._done % max(self.plan.requests // 20, 25) == 0:
            per_s = self._done / (time.monotonic() - self._started)
            self.say(f"{self._done:,} of {self.plan.requests:,} requests, {per_s:.0f}/s, {self._failed} errors")

    def _read(self) -> list[Note]:
        self._notes.seek(0)
        return [Note(*json.loads(line)) for line in self._notes]

    async def _again(self, notes: list[Note]) -> None:
        """Make some of the requests again, each alone: with the same seed, the same must become of them."""
        by_number = {note.number: note for note in notes}
        at_once = self.plan.requests - int(self.plan.requests * self.plan.in_threads)
        failed = [note.number for note in sorted(notes) if note.number < at_once and note.end != "right"]
        chance, most = Random(self.plan.seed), self.plan.again // 2  # noqa: S311  (no secret)
        chosen = {*chance.sample(failed, min(most, len(failed))), *chance.sample(range(at_once), most)}
        shop = CountingShop(self.folder / "again.sqlite", self.plan.requests)
        agents = Agents(self.served.url, shop, circuits=False)
        self.served.reset()
        for number in chosen:
            first, alone = by_number[number], noted(await agents.arun(work_of(number)))
            self._expect(list(alone[1:3]) == list(first[1:3]), f"request {number}: {first}, and alone {alone}")
        await agents.aclose()
        shop.close()

    def _leaks(self, sizes: list[Size]) -> Iterator[str]:
        second, last = sizes[1], sizes[-1]
        if last.objects - second.objects > MOST_OBJECTS or last.mb - second.mb > MOST_MB:
            yield f"memory grows: {second} after the second fifth, {last} after the last"

    def _expect(self, holds: bool, problem: str) -> None:  # noqa: FBT001  (an assertion's condition)
        if not holds:
            self.problems.append(problem)


def soak(plan: Plan, say: Callable[[str], None] = lambda _: None) -> Outcome:
    """Run a soak with a server and a shop of its own."""
    with tempfile.TemporaryDirectory() as folder, serving(plan.faults, plan.seed) as served:
        return Soak(plan, served, Path(folder), say).run()


async def only(number: int, plan: Plan) -> tuple[Ended, Note]:
    """Make one request of a soak alone."""
    with tempfile.TemporaryDirectory() as folder, serving(plan.faults, plan.seed) as served:
        shop = CountingShop(Path(folder) / "shop.sqlite", number + 1)
        agents = Agents(served.url, shop, circuits=False)
        ended = await agents.arun(work_of(number))
        await agents.aclose()
        shop.close()
        return ended, noted(ended)


def _size() -> Size:
    """Measure, with the one cache of the library emptied that still fills: it keeps a fixed number of calls' tools."""
    validity._declared_by.cache_clear()
    gc.collect()
    statm = Path("/proc/self/statm")
    pages = int(statm.read_text().split()[1]) if statm.exists() else 0
    return Size(len(gc.get_objects()), round(pages * 4096 / 1e6, 1))


def _sockets() -> int:
    """Return how many sockets this process has open; `0` where the system does not tell."""
    gc.collect()
    if not sys.platform.startswith("linux"):
        return 0
    links: list[Any] = []
    for each in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(each.readlink()))
        except OSError:  # closed since it was listed
            continue
    return sum(link.startswith("socket:") for link in links)
