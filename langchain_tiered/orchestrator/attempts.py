"""One task: what its worker is called with, what is made of what it gives, and whether it is tried again."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

from langchain_core.messages import ToolMessage, messages_from_dict
from langgraph.config import get_config

from langchain_tiered.accounting.collecting import rebook
from langchain_tiered.accounting.entries import HELD, call_metadata
from langchain_tiered.accounting.ledger import Ledger, book
from langchain_tiered.accounting.recorder import Recorder, forget, recording
from langchain_tiered.cascade.failures import failure_of, is_callers_mistake, is_missing_recording
from langchain_tiered.cascade.schemas import finder, is_too_deep
from langchain_tiered.errors import (
    BudgetExceededError,
    ConfigurationError,
    InvalidDecisionError,
    ModelNotBuiltError,
    NoAnswerAcceptedError,
)
from langchain_tiered.nodes.attempts import NOT_RUN
from langchain_tiered.orchestrator.prompts import objected, work_prompt
from langchain_tiered.orchestrator.results import Lane, Objection, Outcome, TaskResult
from langchain_tiered.orchestrator.workers import Assignment, TieredWorker, given_by, json_in

if TYPE_CHECKING:
    from uuid import UUID

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


class SelfCancelledError(Exception):
    """A worker was cancelled from within: neither the run nor the task's time is up."""


class _Watch(Recorder):
    """Books the calls of one try, and notes which tools run: what they did is not to be done twice.

    Once closed, it lets nothing more begin. No thread can be ended from outside, so one that is left behind is stopped
    where LangChain asks its handlers next: before a model is called, and before a tool runs.
    """

    def __init__(self, metered: Metered | None, *, inside: bool) -> None:
        """Keep the calls within a budget; with `inside` the worker's own recorders do so, and only know it from here.

        Of two recorders that hold a call the outer one would raise first, and LangChain forget the inner one.
        """
        super().__init__(None if inside else metered)
        self.shared = metered if inside else None
        self.tools: list[str] = []
        self._closed, self._door = False, Lock()

    def close(self) -> None:
        """Let no model and no tool begin any more; those under way end, and what they cost is unknown."""
        with self._door:
            self._closed = self.raise_error = True
        logging.getLogger("langchain_core.callbacks.manager").addFilter(_is_unexpected)
        self.abandon()

    def began(self, run_id: UUID, *said: Any) -> None:
        """Book a call.

        Raises:
            TooLateError: If the try is over: the call is not made.
        """
        try:
            self._pass("model")
        except TooLateError:
            forget(run_id)  # others were told of it
            raise
        super().began(run_id, *said)

    def on_tool_start(self, serialized: dict[str, Any] | None, input_str: str, **more: Any) -> None:
        """Note a tool.

        Raises:
            TooLateError: If the try is over: the tool does not run.
        """
        del input_str
        self._pass("tool", str((serialized or {}).get("name") or more.get("name") or "tool"))

    def _pass(self, what: str, *tools: str) -> None:
        with self._door:  # whoever closes reads the tools next: none may slip in between
            if self._closed:
                raise TooLateError(f"The {what} was not called: the task's time is up.")
            self.tools += tools


def _is_unexpected(record: logging.LogRecord) -> bool:
    """Keep out of the log what LangChain tells of a worker that was stopped: the task's result tells it."""
    return "TooLateError(" not in record.getMessage()


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
        self._watches: list[_Watch] = []
        self._told: list[str] = []
        before = errand.before
        self._above = before["tier"] if before is not None and errand.objection is not None else None
        self._tries, self._tier, self._booked = 0, self._above, list[Any]()
        self._problem: str | None = None
        self.spent, self.output = False, ""
        self.config: RunnableConfig = {}

    @property
    def entries(self) -> list[LedgerEntry]:
        """What the task has paid in this run: also, from the worker's own state, before an interrupt or a crash."""
        entries = [entry for entry in self._booked if entry.get("run_id") == self.errand.run_id]
        for watch in self._watches:
            entries = book(entries, watch.entries)
        return entries

    @property
    def tools(self) -> list[str]:
        """The tools that have run: those seen, and before them those that only the worker's own state tells of."""
        seen = [name for watch in self._watches for name in watch.tools]
        return [*(Counter(self._told) - Counter(seen)).elements(), *seen]

    def close(self) -> None:
        """End the try: whoever is left behind in it calls no model and no tool any more."""
        self._watches[-1].close()

    def payload(self) -> Any:
        """Return what the worker is called with now, `config` beside it."""
        errand, task = self.errand, self.task
        self._tries += 1
        results = {need: errand.results[need]["output"] for need in task["depends_on"]}
        told = objected(errand.objection, errand.before) if errand.objection is not None else None
        if self._problem is not None:
            told = {**(told or {}), "problem": self._problem}
        metadata = call_metadata(role="answer", tier=None, run_id=errand.run_id, task_id=task["id"])
        around = get_config()
        watch = _Watch(errand.metered, inside=isinstance(errand.worker, TieredWorker))
        self._watches.append(watch)
        self.config = recording({**around, "tags": [*(around.get("tags") or ()), HELD]}, watch, metadata)
        metered = errand.metered
        remaining = metered.meter.remaining_usd if metered is not None and metered.downgrades else None
        messages = work_prompt(task, results, errand.request, told)
        payload = errand.worker.payload(Assignment(task, messages, results, self._above, errand.run_id, remaining))
        if isinstance(errand.worker, TieredWorker):
            self._tier = payload["route"]["tier"]
        return payload

    def gave(self, output: object) -> bool:
        """Read what the worker gave; tell whether it is tried again.

        Raises:
            Exception: If it is nothing that JSON has a form for.
        """
        if isinstance(output, Mapping):
            self._told += _run_in(output.get("messages"))
        given = given_by(output)
        self._booked += _mappings(given.ledger)
        self._tier = given.tier or self._tier
        self.output = given.text
        if given.spent and self.errand.metered is not None and self.errand.metered.has_refused:
            return self._ran_out()
        self._problem = self._wrong_with(given.text, given.value)
        if given.spent:
            self.output, self._problem = "", "The worker's own budget is spent."
        return self._again()

    def failed(self, error: Exception) -> bool:
        """Note why the worker gave nothing; tell whether it is tried again.

        Raises:
            Exception: `error` itself, where no other try could help: a bad key, a missing recording, a wrong setting, a
                human's answer that is no decision.
        """
        watch = self._watches[-1]
        if isinstance(error, TooLateError | SelfCancelledError):
            watch.close()  # its calls are under way, and may be charged for
        self._booked += _mappings(getattr(error, "ledger", None))
        self._told += _run_in_attempts(getattr(error, "attempts", None))
        failure = failure_of(error, of_call=watch.raised(error))
        hopeless = isinstance(error, (ConfigurationError, InvalidDecisionError, ModelNotBuiltError))
        hopeless = hopeless or is_missing_recording(error)
        if hopeless or (failure is not None and is_callers_mistake(failure)):
            raise error
        self._tier = _tier_of(error) or self._tier
        if self.errand.metered is not None and self.errand.metered.has_refused and _is_out_of_budget(error):
            return self._ran_out()
        self.output = ""
        told = failure["message"] if failure is not None else f"{type(error).__name__}: {str(error)[:200]}"
        self._problem = f"The worker failed. {told}"
        return self._again()

    def lane(self, stored: list[str] | None) -> Lane:
        """Return what the task leaves behind."""
        outcome: Outcome = "done" if self._problem is None else "failed"
        entries = self.entries
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
            tools=[*(before["tools"] if before is not None else ()), *self.tools],
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
            return None if _is_plain(value) else "The result holds a number that JSON has no form for."
        found = json_in(text) if value is None else value
        if found is None or is_too_deep(found) or not _is_plain(found):
            return "The result is no JSON of the wanted schema."
        wrong = finder(schema)(found)
        return f"The result does not fit the wanted schema. {' '.join(wrong[:5])}" if wrong else None

    def _again(self) -> bool:
        worker = self.errand.worker
        if self._problem is None or self._tries >= MOST_TRIES:
            return False
        if self.tools:
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
    attempts = _mappings(getattr(error, "attempts", None))
    return attempts[-1].get("tier") if attempts else None


def _mappings(entries: object) -> list[Any]:
    """Return what can be ledger entries: a worker's state, and an error of somebody else's, may hold anything."""
    listed = entries if isinstance(entries, list | tuple) else ()
    return [entry for entry in listed if isinstance(entry, Mapping)]


def _run_in(messages: object) -> list[str]:
    """Return the names of the tools that messages tell of, each call once; one that was rejected has not run."""
    calls: dict[str, str] = {}
    for message in messages if isinstance(messages, list | tuple) else ():
        if isinstance(message, ToolMessage) and _has_run(message):
            calls[message.tool_call_id] = message.name or "tool"
    return list(calls.values())


def _has_run(message: ToolMessage) -> bool:
    told = message.response_metadata.get("review")
    rejected = isinstance(told, Mapping) and told.get("decision") == "reject"
    return not (rejected or message.name == "hand_up" or message.content == NOT_RUN)


def _run_in_attempts(attempts: object) -> list[str]:
    """Do the same for the attempts that stand on an error; those of somebody else's may be anything."""
    written = [each for attempt in _mappings(attempts) for each in _mappings(attempt.get("messages"))]
    with suppress(AttributeError, KeyError, TypeError, ValueError):
        return _run_in(messages_from_dict(written))
    return []


def _is_plain(value: object) -> bool:
    """Tell whether JSON has a form for each number in a value: not for `NaN` and `Infinity`."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True
