"""Which task begins when: as soon as what it depends on is done, and a place is free. Pure, and in one thread."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from langchain_tiered.orchestrator.plans import dependants, in_order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_tiered.orchestrator.plans import PlannedTask
    from langchain_tiered.orchestrator.results import TaskResult


@dataclass(frozen=True)
class Start:
    """A step of the schedule."""

    task: PlannedTask
    """The task."""

    opens: bool
    """Whether it begins; else it is only handed to LangGraph, and waits, so that tasks are handed over in one order."""


class Schedule:
    """The tasks of one round of work.

    LangGraph knows a task again after a crash by the order in which it was handed over. So that order is fixed, and one
    that is ready before its turn takes those before it along: they wait, without a place of their own.
    """

    def __init__(
        self,
        tasks: Sequence[PlannedTask],
        again: set[str],
        results: Mapping[str, TaskResult],
        max_parallel: int,
    ) -> None:
        """Take the plan.

        Args:
            tasks: All tasks of the plan.
            again: Those that are to be done now; what depends on them is looked at, too.
            results: What came of tasks before, by id.
            max_parallel: How many may be under way at once.
        """
        touched = dependants(tasks, again)
        self.order = [task for task in in_order(tasks) if task["id"] in touched]
        self.again = again
        self.before = dict(results)
        self.results = {name: result for name, result in results.items() if name not in touched}
        self._places = max_parallel
        self._unready = {task["id"]: {n for n in task["depends_on"] if n in touched} for task in self.order}
        self._followers: dict[str, list[str]] = {}
        for task in self.order:
            for need in self._unready[task["id"]]:
                self._followers.setdefault(need, []).append(task["id"])
        self._place_of = {task["id"]: place for place, task in enumerate(self.order)}
        self._ready = [place for place, task in enumerate(self.order) if not self._unready[task["id"]]]
        self._handed = 0
        self.closed = False

    def due(self) -> list[Start]:
        """Return what begins now, and what is handed over before it, in order."""
        starts: list[Start] = []
        while self._ready and self._places and not self.closed:
            place = heappop(self._ready)
            starts += [Start(task, opens=False) for task in self.order[self._handed : place]]
            self._handed = max(self._handed, place + 1)
            self._places -= 1
            starts.append(Start(self.order[place], opens=True))
        return starts

    def all_handed(self) -> None:
        """Note that all tasks were handed over already."""
        self._handed = len(self.order)

    def takes(self, name: str) -> bool:
        """Take the turn of a task that has ended before; tell whether it is its turn: what it depends on is known."""
        place = self._place_of[name]
        if place not in self._ready:
            return False
        self._ready.remove(place)
        heapify(self._ready)
        self._places -= 1
        return True

    def ended(self, name: str, result: TaskResult | None) -> None:
        """Note what came of a task; `None` where it gives nothing new."""
        self._places += 1
        if result is None and name in self.before:
            result = self.before[name]
        if result is None:
            return
        self.results[name] = result
        for follower in self._followers.get(name, ()):
            self._unready[follower].discard(name)
            if not self._unready[follower]:
                heappush(self._ready, self._place_of[follower])

    def interrupted(self) -> None:
        """Note that a task waits for a human, and needs no place meanwhile."""
        self._places += 1

    def task(self, name: str) -> PlannedTask:
        """Return a task of this round."""
        return self.order[self._place_of[name]]

    def has_changed(self, task: PlannedTask) -> bool:
        """Tell whether a task must be done: it is asked for, has no result, or what it depends on says other things."""
        if task["id"] in self.again or task["id"] not in self.before:
            return True
        return any(
            need not in self.before or self.results[need]["output"] != self.before[need]["output"]
            for need in task["depends_on"]
        )
