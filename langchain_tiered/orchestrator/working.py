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
from langchain_core.runnables.config import set_config_context
from langgraph.errors import GraphBubbleUp, GraphInterrupt
from langgraph.func import task as langgraph_task
from langgraph.graph import END
from langgraph.runtime import get_runtime
from langgraph.types import Command

from langchain_tiered.accounting.rates import import_prices
from langchain_tiered.accounting.recorder import Recorder
from langchain_tiered.cascade.schemas import import_validators
from langchain_tiered.nodes.events import stream_writer
from langchain_tiered.nodes.ladder import Node, State, accounted, metered_of
from langchain_tiered.orchestrator import events
from langchain_tiered.orchestrator.attempts import OUT_OF_BUDGET, Errand, TooLateError, Tries, skipped
from langchain_tiered.orchestrator.endings import delegated, out_of_budget, raises
from langchain_tiered.orchestrator.results import Lane
from langchain_tiered.orchestrator.schedule import Schedule
from langchain_tiered.orchestrator.workers import TieredWorker, in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

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
        """Do the tasks, and go to the review."""
        del config
        recorder = Recorder()
        work = _Round(self.crew, input, recorder)
        with accounted(input, input["course"]["id"], recorder):
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
        with accounted(input, input["course"]["id"], recorder):
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
        self._open = 0
        self._interrupts: list[Any] = []
        self._error: BaseException | None = None

    def done(self) -> None:
        """Do the tasks."""
        token = _ROUND.set(self)
        lanes: dict[Future[Lane], str] = {}
        try:
            while True:
                for name in self._due():
                    lanes[_HAND(name)] = name
                if not self._open:
                    break
                for lane in concurrent.futures.wait(lanes, return_when=concurrent.futures.FIRST_COMPLETED).done:
                    self._ended(lanes.pop(lane), lane.exception(), lane)
        finally:
            self._release()
            _ROUND.reset(token)
        concurrent.futures.wait(lanes)
        self._raise()

    async def adone(self) -> None:
        """Do what `done` does."""
        token = _ROUND.set(self)
        lanes: dict[asyncio.Future[Lane], str] = {}
        try:
            while True:
                for name in self._due():
                    lanes[_AHAND(name)] = name
                if not self._open:
                    break
                ended, _ = await asyncio.wait(lanes, return_when=asyncio.FIRST_COMPLETED)
                for lane in ended:
                    self._ended(lanes.pop(lane), lane.exception(), lane)
        finally:
            self._release()
            _ROUND.reset(token)
        await asyncio.gather(*lanes, return_exceptions=True)
        self._raise()

    def results(self) -> list[TaskResult]:
        """Return what came of all tasks, in the plan's order."""
        known = {**self.before, **self.schedule.results}
        touched = {task["id"] for task in self.schedule.order}
        why = OUT_OF_BUDGET if self.spent else "It was not begun."
        return [
            skipped(task, why, self.before.get(task["id"]))
            if task["id"] in touched and task["id"] not in self.schedule.results
            else known[task["id"]]
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
                self._open += 1
                self._gates[name].set_result(True)
        return new

    def _ended(self, name: str, error: BaseException | None, lane: Any) -> None:
        """Note how a task ended. An error that is none of its worker's ends the run, once all under way have ended."""
        self._open -= 1
        if isinstance(error, GraphInterrupt):
            self._interrupts += error.args[0]
            self.schedule.interrupted()
            return
        if error is not None:
            self._error = self._error or error
            self.schedule.closed = True
            return
        left: Lane = lane.result()
        self.recorder.book(left["ledger"])
        if self.metered is not None:
            self.metered.catch_up(left["ledger"])  # paid before a crash or an interrupt
        if left["spent"]:
            self.spent = self.schedule.closed = True
        self.schedule.ended(name, left["result"])
        if left["result"] is not None:
            self._writer(events.ended(left["result"]))

    def _release(self) -> None:
        """Let go who waits for a turn that does not come: `False` to end, `None` to wait for the human with the run."""
        for gate in self._gates.values():
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
        more = True
        while more:
            try:
                output = self._called(begun)
            except GraphBubbleUp:
                raise
            except Exception as error:  # noqa: BLE001  (whatever a worker raises; told apart there)
                more = self._failed(begun, error)
            else:
                more = begun.gave(output)
        stored, store = None, get_runtime().store
        if begun.is_long and store is not None:
            stored = self._place(name)
            store.put(tuple(stored[:-1]), stored[-1], {"output": begun.output}, index=False)
        return begun.lane(stored)

    async def alane(self, name: str) -> Lane:
        """Do what `lane` does."""
        begun = self._begun(name, await asyncio.wrap_future(self._gates[name]))
        if not isinstance(begun, Tries):
            return begun
        more = True
        while more:
            try:
                output = await self._acalled(begun)
            except GraphBubbleUp:
                raise
            except Exception as error:  # noqa: BLE001  (as in `lane`)
                more = self._failed(begun, error)
            else:
                more = begun.gave(output)
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

    def _called(self, tries: Tries) -> Any:
        """Call the worker; one that hangs is left behind in its thread."""
        payload, runnable = tries.payload(), self.crew.worker.runnable
        with set_config_context(tries.config) as context:
            if self.crew.timeout_s is None:
                return context.run(runnable.invoke, payload, tries.config)
            said: Future[Any] = context.run(in_thread, runnable.invoke, payload, tries.config)
        if not concurrent.futures.wait([said], self.crew.timeout_s).done:
            raise self._late()
        return said.result()

    async def _acalled(self, tries: Tries) -> Any:
        """Do what `_called` does."""
        payload, runnable = tries.payload(), self.crew.worker.runnable
        with set_config_context(tries.config) as context:
            said = asyncio.create_task(_awaited(runnable.ainvoke, payload, tries.config), context=context)
            try:
                ended, _ = await asyncio.wait({said}, timeout=self.crew.timeout_s)
            finally:
                said.cancel()
        if not ended:
            raise self._late()
        return said.result()

    def _failed(self, tries: Tries, error: Exception) -> bool:
        """Tell whether a task is tried again. A budget that is to raise does so."""
        try:
            more = tries.failed(error)
        except Exception:
            self.recorder.book(tries.recorder.entries)  # they stand on the error
            raise
        if not (tries.spent and raises(self.crew.budget)):
            return more
        self.recorder.book(tries.recorder.entries)
        raise error

    def _late(self) -> TooLateError:
        return TooLateError(f"It took longer than {self.crew.timeout_s:g} s.")

    def _place(self, name: str) -> list[str]:
        return ["orchestrator", self.state["course"]["id"], name]


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


async def _awaited(call: Callable[..., Any], payload: Any, config: Mapping[str, Any]) -> Any:
    return await call(payload, config)
