"""One task: what its worker is called with, what is made of what it gives, and whether it is tried again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langgraph.config import get_config

from langchain_tiered.accounting.entries import HELD, call_metadata
from langchain_tiered.accounting.ledger import Ledger, book
from langchain_tiered.accounting.recorder import Recorder, rebook, recording
from langchain_tiered.cascade.failures import failure_of, is_callers_mistake, is_missing_recording
from langchain_tiered.cascade.schemas import finder, is_too_deep
from langchain_tiered.errors import (
    BudgetExceededError,
    ConfigurationError,
    InvalidDecisionError,
    ModelNotBuiltError,
    NoAnswerAcceptedError,
)
from langchain_tiered.orchestrator.prompts import objected, work_prompt
from langchain_tiered.orchestrator.results import Lane, Objection, Outcome, TaskResult
from langchain_tiered.orchestrator.workers import Assignment, TieredWorker, given_by, json_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.messages import HumanMessage
    from langchain_core.runnables import RunnableConfig

    from langchain_tiered.accounting.metering import Metered
    from langchain_tiered.orchestrator.plans import PlannedTask
    from langchain_tiered.orchestrator.workers import Worker
    from langchain_tiered.types import LedgerEntry

MOST_TRIES = 2
"""How often a task is tried in one round: at its tier, and once more one tier up."""

OUT_OF_BUDGET = "The budget is spent."


class TooLateError(Exception):
    """A worker took longer than its task may."""


class _Watch(Recorder):
    """Books the calls of one task, and notes which tools run: what they did is not to be done twice."""

    def __init__(self, metered: Metered | None, *, inside: bool) -> None:
        """Keep the calls within a budget; with `inside` the worker's own recorders do so, and only know it from here.

        Of two recorders that hold a call the outer one would raise first, and LangChain forget the inner one.
        """
        super().__init__(None if inside else metered)
        self.shared = metered if inside else None
        self.tools: list[str] = []

    def on_tool_start(self, serialized: dict[str, Any] | None, input_str: str, **more: Any) -> None:
        """Note a tool."""
        del input_str
        self.tools.append(str((serialized or {}).get("name") or more.get("name") or "tool"))


@dataclass(frozen=True)
class Errand:
    """What a task is begun with."""

    task: PlannedTask
    """The task."""

    worker: Worker
    """Who does it."""

    results: Mapping[str, TaskResult]
    """What came of the tasks that it depends on."""

    before: TaskResult | None
    """What came of it in an earlier round."""

    objection: Objection | None
    """What the reviewer had against that."""

    request: HumanMessage
    """The user's last message."""

    run_id: str
    """The invocation that pays."""

    metered: Metered | None
    """The meter that all workers of the run share."""

    timeout_s: float | None
    """How long one try may take, or `None` for as long as it likes."""

    most_chars: int
    """How much of an output is kept."""


class Tries:
    """The tries at one task in one round. Whoever calls the worker tells what came of each."""

    def __init__(self, errand: Errand) -> None:
        self.errand, self.task = errand, errand.task
        self.recorder = _Watch(errand.metered, inside=isinstance(errand.worker, TieredWorker))
        before = errand.before
        self._above = before["tier"] if before is not None and errand.objection is not None else None
        self._tries, self._tier, self._booked = 0, self._above, list[Any]()
        self._problem: str | None = None
        self.spent, self.output = False, ""
        self.config: RunnableConfig = {}

    def payload(self) -> Any:
        """Return what the worker is called with now, `config` beside it."""
        errand, task = self.errand, self.task
        self._tries += 1
        results = {need: errand.results[need]["output"] for need in task["depends_on"]}
        told = objected(errand.objection, errand.before) if errand.objection is not None else None
        if self._problem is not None:
            told = {**(told or {}), "problem": self._problem}
        request = errand.request if task["sees_request"] else None
        metadata = call_metadata(role="answer", tier=None, run_id=errand.run_id, task_id=task["id"])
        around = get_config()
        self.config = recording({**around, "tags": [*(around.get("tags") or ()), HELD]}, self.recorder, metadata)
        metered = errand.metered
        remaining = metered.meter.remaining_usd if metered is not None and metered.downgrades else None
        messages = work_prompt(task, results, request, told)
        payload = errand.worker.payload(Assignment(task, messages, results, self._above, errand.run_id, remaining))
        if isinstance(errand.worker, TieredWorker):
            self._tier = payload["route"]["tier"]
        return payload

    def gave(self, output: object) -> bool:
        """Read what the worker gave; tell whether it is tried again."""
        given = given_by(output)
        self._booked += given.ledger
        self._tier = given.tier or self._tier
        self.output = given.text
        if given.spent and self.errand.metered is not None:
            return self._ran_out()
        self._problem = self._wrong_with(given.text, given.value)
        return self._again()

    def failed(self, error: Exception) -> bool:
        """Note why the worker gave nothing; tell whether it is tried again.

        Raises:
            Exception: `error` itself, where no other try could help: a bad key, a missing recording, a wrong setting, a
                human's answer that is no decision.
        """
        if isinstance(error, TooLateError):
            self.recorder.abandon()  # its calls are under way, and may be charged for
        failure = failure_of(error, of_call=self.recorder.raised(error))
        hopeless = isinstance(error, (ConfigurationError, InvalidDecisionError, ModelNotBuiltError))
        hopeless = hopeless or is_missing_recording(error)
        if hopeless or (failure is not None and is_callers_mistake(failure)):
            raise error
        self._tier = _tier_of(error) or self._tier
        if self.errand.metered is not None and _is_out_of_budget(error):
            return self._ran_out()
        self.output = ""
        told = failure["message"] if failure is not None else f"{type(error).__name__}: {str(error)[:200]}"
        self._problem = f"The worker failed. {told}"
        return self._again()

    def lane(self, stored: list[str] | None) -> Lane:
        """Return what the task leaves behind."""
        outcome: Outcome = "done" if self._problem is None else "failed"
        run_id = self.errand.run_id
        entries = book([e for e in self._booked if e.get("run_id") == run_id], self.recorder.entries)
        if outcome == "done":
            entries = self._accepted(entries)
        before = self.errand.before
        costs = [Ledger(entries).total_usd, before["cost_usd"] if before is not None else 0.0]
        result = TaskResult(
            id=self.task["id"],
            outcome=outcome,
            output=self.output if stored is None and not self.is_long else self._cut(stored),
            verdict="unreviewed",
            reason=self._problem or "",
            tier=self._tier,
            cost_usd=None if None in costs else sum(cost for cost in costs if cost is not None),
            attempts=self._tries + (before["attempts"] if before is not None else 0),
            tools=[*(before["tools"] if before is not None else ()), *self.recorder.tools],
            stored=stored,
        )
        return Lane(result=result, ledger=entries, spent=self.spent)

    @property
    def is_long(self) -> bool:
        """Whether the output is too long to be handed on whole."""
        return len(self.output) > self.errand.most_chars

    def _cut(self, stored: list[str] | None) -> str:
        where = f"the whole is in the store under {'/'.join(stored)}" if stored else "there is no store, so it is lost"
        kept = self.errand.most_chars
        return f"{self.output[:kept]}\n[... cut: {kept:,} of {len(self.output):,} characters; {where} ...]"

    def _wrong_with(self, text: str, value: Any) -> str | None:
        if not text.strip():
            return "The worker said nothing."
        if (schema := self.task["output_schema"]) is None:
            return None
        found = json_in(text) if value is None else value
        if found is None or is_too_deep(found):
            return "The result is no JSON of the wanted schema."
        wrong = finder(schema)(found)
        return f"The result does not fit the wanted schema. {' '.join(wrong[:5])}" if wrong else None

    def _again(self) -> bool:
        worker = self.errand.worker
        if self._problem is None or self._tries >= MOST_TRIES:
            return False
        if self.recorder.tools:
            self._problem = f"{self._problem} It is not tried again, because its tools have run."
            return False
        self._above = self._tier
        return not (isinstance(worker, TieredWorker) and worker.is_last(self._tier))

    def _ran_out(self) -> bool:
        self.spent, self.output, self._problem = True, "", OUT_OF_BUDGET
        return False

    def _accepted(self, entries: list[LedgerEntry]) -> list[LedgerEntry]:
        """Book the answers of models again that no tier's check has judged: they led to a result."""
        judged = [e for e in entries if e["role"] == "answer" and e["tier"] is None and e["outcome"] == "rejected"]
        corrected: list[LedgerEntry] = [{**e, "outcome": "accepted"} for e in judged if "rejected_by" not in e]
        rebook(corrected, self.config)
        return book(entries, corrected)


def skipped(task: PlannedTask, why: str, before: TaskResult | None = None) -> TaskResult:
    """Return the result of a task that was not begun. What an earlier round gave is out of date, and left out."""
    return TaskResult(
        id=task["id"],
        outcome="skipped",
        output="",
        verdict="unreviewed",
        reason=why,
        tier=None,
        cost_usd=before["cost_usd"] if before is not None else 0.0,
        attempts=before["attempts"] if before is not None else 0,
        tools=list(before["tools"]) if before is not None else [],
        stored=None,
    )


def _is_out_of_budget(error: Exception) -> bool:
    if isinstance(error, NoAnswerAcceptedError) and error.attempts:
        failure = error.attempts[-1]["failure"]
        return failure is not None and failure["kind"] == "budget"
    return isinstance(error, BudgetExceededError)


def _tier_of(error: Exception) -> str | None:
    attempts: Any = getattr(error, "attempts", None)
    return attempts[-1]["tier"] if attempts else None
