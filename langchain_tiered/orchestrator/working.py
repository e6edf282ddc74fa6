"""The node `work`: the tasks of a plan, as many at once as may be, each stored by LangGraph as soon as it has ended.

Each task is a LangGraph task of its own, with its own place in the checkpoint: after a crash or an interrupt the node
runs again, is given back what was done, and a worker that was under way goes on where its own graph stood. `Send` would
begin no task before all of the last step have ended.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_core.messages import HumanMessage
from langchain_core.runnables.config import ensure_config
from langgraph.config import get_config
from langgraph.errors import GraphBubbleUp, GraphInterrupt
from langgraph.func import task as langgraph_task
from langgraph.graph import END
from langgraph.runtime import get_runtime
from langgraph.types import Command

from langchain_tiered.accounting.rates import import_prices
from langchain_tiered.accounting.recorder import Recorder
from langchain_tiered.cascade.schemas import import_validators
from langchain_tiered.errors import ConfigurationError
from langchain_tiered.nodes.events import stream_writer
from langchain_tiered.nodes.ladder import Accounted, Node, State, metered_of
from langchain_tiered.orchestrator import events
from langchain_tiered.orchestrator.attempts import (
    OUT_OF_BUDGET,
    Errand,
    Tries,
    skipped,
)
from langchain_tiered.orchestrator.calling import acalled, called, is_async
from langchain_tiered.orchestrator.endings import delegated, out_of_budget, raises
from langchain_tiered.orchestrator.plans import dependants
from langchain_tiered.orchestrator.results import Lane
from langchain_tiered.orchestrator.schedule import Schedule
from langchain_tiered.orchestrator.workers import TieredWorker

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from langchain_core.runnables import RunnableConfig

    from langchain_tiered.accounting.budget import Budget
    from langchain_tiered.orchestrator.plans import PlannedTask
    from langchain_tiered.orchestrator.results import Objection, TaskResult
    from langchain_tiered.orchestrator.workers import Worker


@dataclass(frozen=True)
class Crew:
    """Who works, and within what bounds."""

    worker: Worker
    """Who does the tasks."""

    max_parallel: int
    """How many tasks may be under way at once."""

    timeout_s: float | None
    """How long one try at a task may take."""

    most_chars: int
    """How much of an output is kept."""

    budget: Budget | None
    """What a run and a thread may cost."""


class WorkNode(Node):
    """Does the tasks that are to be done now."""

    def __init__(self, crew: Crew) -> None:
        super().__init__("work")
        self.crew = crew

    def invoke(self, input: State, config: RunnableConfig | None = None, **_: Any) -> Command[str]:
        """Do the tasks, and go to the review.

        Raises:
            ConfigurationError: If the worker is an async function, which only `ainvoke` can call.
        """
        del config
        recorder = Recorder()
        work = _Round(self.crew, input, recorder)
        with Accounted(input, input["course"]["id"], recorder):
            if is_async(self.crew.worker.runnable):
                told = (
                    "The worker is an async function, which a sync run cannot call. Call `ainvoke`, or pass a sync one."
                )
                raise ConfigurationError(told)
            work.done()
            return self._command(input, work)

    async def ainvoke(self, input: State, config: RunnableConfig | None = None, **_: Any) -> Command[str]:
        """Do what `invoke` does."""
        del config
        await asyncio.gather(import_prices(), import_validators())
        if isinstance(self.crew.worker, TieredWorker):
            await self.crew.worker.ready()
        recorder = Recorder()
        work = _Round(self.crew, input, recorder)
        with Accounted(input, input["course"]["id"], recorder):
            await work.adone()
            return self._command(input, work)

    def _command(self, state: State, work: _Round) -> Command[str]:
        results, plan = work.results(), state["plan"]
        course = {**state["course"], "objections": [], "spent": work.spent}
        update: State = {"results": results, "ledger": work.recorder.entries, "course": course}
        if work.spent:
            return Command(goto=END, update={**update, **out_of_budget(results)})
        if plan["mode"] == "delegate":
            return Command(goto=END, update={**update, **delegated(results)})
        return Command(goto="review", update=update)


class _Round:
    """One visit to `work`."""

    def __init__(self, crew: Crew, state: State, recorder: Recorder) -> None:
        self.crew, self.state, self.recorder = crew, state, recorder
        self.tasks: list[PlannedTask] = state["plan"]["tasks"]
        self.before: dict[str, TaskResult] = {result["id"]: result for result in state.get("results") or ()}
        self.objections: dict[str, Objection] = {each["task"]: each for each in state["course"]["objections"]}
        again = set(self.objections) or {task["id"] for task in self.tasks if task["id"] not in self.before}
        self.schedule = Schedule(self.tasks, again, self.before, crew.max_parallel)
        self.metered = metered_of(crew.budget, state, state["course"]["id"])
        self.request = next(m for m in reversed(state["messages"]) if isinstance(m, HumanMessage))
        self.spent = False
        self._writer = stream_writer()
        self._gates: dict[str, Future[bool | None]] = {}
        self._open: set[str] = set()
        self._waiting: set[str] = set()
        self._parked: set[str] = set()
        self._interrupts: list[Any] = []
        self._error: BaseException | None = None

    def done(self) -> None:
        """Do the tasks."""
        token = _ROUND.set(self)
        lanes: dict[str, Future[Lane]] = {}
        try:
            for name in self._stored():
                lanes[name] = _HAND(name)
            self._read(lanes)
            while True:
                for name in self._due():
                    lanes[name] = _HAND(name)
                if not self._open:
                    break
                under_way = {lanes[name]: name for name in self._open}
                for lane in concurrent.futures.wait(under_way, return_when=concurrent.futures.FIRST_COMPLETED).done:
                    self._ended(under_way[lane], lane.exception(), lane)
        except BaseException as error:
            self._error = self._error or error
            raise
        finally:
            self._release(self._gates)
            _ROUND.reset(token)
        concurrent.futures.wait(lanes.values())
        self._raise()

    async def adone(self) -> None:
        """Do what `done` does."""
        token = _ROUND.set(self)
        lanes: dict[str, asyncio.Future[Lane]] = {}
        try:
            for name in self._stored():
                lanes[name] = _AHAND(name)
            await self._arrived(lanes)
            self._read(lanes)
            while True:
                for name in self._due():
                    lanes[name] = _AHAND(name)
                if not self._open:
                    break
                under_way = {lanes[name]: name for name in self._open}
                ended, _ = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                for lane in ended:
                    self._ended(under_way[lane], lane.exception(), lane)
        except BaseException as error:
            self._error = self._error or error
            raise
        finally:
            self._release(self._gates)
            _ROUND.reset(token)
        await asyncio.gather(*lanes.values(), return_exceptions=True)
        self._raise()

    def _stored(self) -> Iterable[str]:
        """Return what is handed over at once: in a run that is resumed all tasks, since any may have ended before.

        They wait. What was paid must be known before one of them begins, or the budget would count it too late.
        """
        if not get_config().get("configurable", {}).get(_RESUMING):
            return []
        self._gates = {task["id"]: Future() for task in self.schedule.order}
        self.schedule.all_handed()
        return list(self._gates)

    async def _arrived(self, lanes: Mapping[str, asyncio.Future[Lane]]) -> None:
        """Let LangGraph bring what is stored. Those that wait at their gates are told apart from it by having begun."""
        for _ in range(_TURNS):
            if all(lane.done() or name in self._waiting for name, lane in lanes.items()):
                return
            await asyncio.sleep(0)

    def _read(self, lanes: Mapping[str, Any]) -> None:
        """Take what had ended before the run was broken off: first what it paid, then what came of it."""
        done = {name: lane for name, lane in lanes.items() if lane.done() and lane.exception() is None}
        for lane in done.values():
            self._pay(lane.result())
        for name, lane in done.items():
            if self.schedule.takes(name):
                self._ended(name, None, lane)

    def results(self) -> list[TaskResult]:
        """Return what came of all tasks, in the plan's order."""
        known = {**self.before, **self.schedule.results}
        touched = {task["id"] for task in self.schedule.order}
        left = touched - self.schedule.results.keys()
        left -= self.before.keys() - self.schedule.again  # nobody has anything against those
        why = OUT_OF_BUDGET if self.spent else "It was not begun."
        return [
            skipped(task, why, self.before.get(task["id"])) if task["id"] in left else known[task["id"]]
            for task in self.tasks
        ]

    def _due(self) -> Iterable[str]:
        """Open what begins now; return what is to be handed to LangGraph, in order."""
        new = []
        for start in self.schedule.due():
            name = start.task["id"]
            if name not in self._gates:
                self._gates[name] = Future()
                new.append(name)
            if start.opens:
                self._open.add(name)
                self._gates[name].set_result(True)
        self._release(self._parked.intersection(new))
        return new

    def _ended(self, name: str, error: BaseException | None, lane: Any) -> None:
        """Note how a task ended. An error that is none of its worker's ends the run, once all under way have ended."""
        self._open.discard(name)
        if isinstance(error, GraphInterrupt):
            self._interrupts += error.args[0]
            self.schedule.interrupted()
            self._parked |= dependants(self.tasks, {name})
            self._release(self._parked)
            return
        if error is not None:
            self._error = self._error or error
            self.schedule.closed = True
            self._release(self._gates)
            return
        left: Lane = lane.result()
        self._pay(left)
        if left["spent"]:
            self.spent = self.schedule.closed = True
            self._release(self._gates)
        self.schedule.ended(name, left["result"])
        if left["result"] is not None:
            self._writer(events.ended(left["result"]))

    def _pay(self, left: Lane) -> None:
        self.recorder.book(left["ledger"])
        if self.metered is not None:
            self.metered.catch_up(left["ledger"])  # paid before a crash or an interrupt

    def _release(self, names: Iterable[str]) -> None:
        """Let go who waits for a turn that does not come: `False` to end, `None` to wait for the human with the run.

        At once, and not when all others have ended: where the caller has set `max_concurrency`, each that waits takes a
        place that one under way may need.
        """
        for gate in [self._gates[name] for name in names if name in self._gates]:
            if not gate.done():
                gate.set_result(None if self._interrupts or self._error is not None else False)

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error
        if self._interrupts:
            raise GraphInterrupt(tuple(self._interrupts))

    def lane(self, name: str) -> Lane:
        """Do one task; LangGraph stores what is returned."""
        begun = self._begun(name, self._gates[name].result())
        if not isinstance(begun, Tries):
            return begun
        more, runnable = True, self.crew.worker.runnable
        while more:
            try:
                more = begun.gave(called(runnable, begun, self.crew.timeout_s))
            except GraphBubbleUp:
                raise
            except Exception as error:  # noqa: BLE001  (whatever a worker raises; told apart there)
                more = self._failed(begun, error)
        stored, store = None, get_runtime().store
        if begun.is_long and store is not None:
            stored = self._place(name)
            store.put(tuple(stored[:-1]), stored[-1], {"output": begun.output}, index=False)
        return begun.lane(stored)

    async def alane(self, name: str) -> Lane:
        """Do what `lane` does."""
        self._waiting.add(name)
        begun = self._begun(name, await asyncio.wrap_future(self._gates[name]))
        if not isinstance(begun, Tries):
            return begun
        more, runnable = True, self.crew.worker.runnable
        while more:
            try:
                more = begun.gave(await acalled(runnable, begun, self.crew.timeout_s))
            except GraphBubbleUp:
                raise
            except Exception as error:  # noqa: BLE001  (as in `lane`)
                more = self._failed(begun, error)
        stored, store = None, get_runtime().store
        if begun.is_long and store is not None:
            stored = self._place(name)
            await store.aput(tuple(stored[:-1]), stored[-1], {"output": begun.output}, index=False)
        return begun.lane(stored)

    def _begun(self, name: str, opened: bool | None) -> Tries | Lane:  # noqa: FBT001  (the gate's word)
        """Return the tries at a task, or what it leaves behind where it needs none."""
        if opened is None:
            raise GraphInterrupt([])  # nothing is stored: it is handed over again
        task = self.schedule.task(name)
        if not opened or not self.schedule.has_changed(task):
            return Lane(result=None, ledger=[], spent=False)
        results = self.schedule.results
        if broken := [need for need in task["depends_on"] if results[need]["outcome"] != "done"]:
            why = f"It depends on {', '.join(broken)}, which gave nothing."
            return Lane(result=skipped(task, why, self.before.get(name)), ledger=[], spent=False)
        self._writer(events.begun(task))
        crew, course = self.crew, self.state["course"]
        return Tries(
            Errand(
                task=task,
                worker=crew.worker,
                results=results,
                before=self.before.get(name),
                objection=self.objections.get(name),
                request=self.request,
                run_id=course["id"],
                metered=self.metered,
                timeout_s=crew.timeout_s,
                most_chars=crew.most_chars,
            )
        )

    def _failed(self, tries: Tries, error: Exception) -> bool:
        """Tell whether a task is tried again. A budget that is to raise does so."""
        try:
            more = tries.failed(error)
        except Exception:
            self.recorder.book(tries.entries)  # they stand on the error
            raise
        if not (tries.spent and raises(self.crew.budget)):
            return more
        self.recorder.book(tries.entries)
        raise error

    def _place(self, name: str) -> list[str]:
        # An orchestrator in a task of another one has the same run: the outer task tells them apart.
        outer = str(ensure_config()["metadata"].get("tiered_task_id") or "")
        return ["orchestrator", self.state["course"]["id"], *([outer] if outer else []), name]


_ROUND: ContextVar[_Round] = ContextVar("langchain_tiered_round")
"""The round that a task belongs to. LangGraph runs its tasks in copies of the context that hands them over."""


def _lane(name: str) -> Lane:
    return _ROUND.get().lane(name)


async def _alane(name: str) -> Lane:
    return await _ROUND.get().alane(name)


# Functions of the module, because LangGraph looks each new one over, which takes longer than all the rest.
_MAKE: Any = langgraph_task
_HAND, _AHAND = _MAKE(_lane, name="task"), _MAKE(_alane, name="task")
"""Hand a task to LangGraph, which runs it, and stores what it leaves behind."""


_RESUMING = "__pregel_resuming"
"""Where LangGraph says that a run goes on behind a checkpoint, as it says it to the graphs within."""

_TURNS = 200
"""How many turns of the event loop what is stored is waited for; LangGraph needs fewer than ten."""
