"""What comes of the tasks of a plan, as plain values, and the states of the graph."""

from typing import Annotated, Any, Literal, NotRequired, Required

from langchain.agents.middleware.types import OmitFromInput
from langchain_core.messages import AnyMessage
from langgraph.channels import UntrackedValue
from typing_extensions import TypedDict

from langchain_tiered.accounting.ledger import book
from langchain_tiered.orchestrator.plans import Plan
from langchain_tiered.state import add_turn
from langchain_tiered.types import LedgerEntry

Outcome = Literal["done", "failed", "skipped"]
OrchestratorVerdict = Literal["satisfied", "needs_revision", "failed", "revisions_exhausted", "budget_exhausted"]


class TaskResult(TypedDict):
    """What came of one task."""

    id: str
    """The task."""

    outcome: Outcome
    """`done`, `failed` after its attempts, or `skipped`: what it depends on failed, or the budget was spent."""

    output: str
    """What the worker said; JSON where the task has a schema. Cut, with a note that says so, where it is too long."""

    verdict: Literal["unreviewed", "accepted", "rejected"]
    """What the reviewer says of it."""

    reason: str
    """A sentence for a person: why it failed, was skipped or rejected; else empty."""

    tier: str | None
    """The tier that answered last, or `None` for a worker that is not made of tiers."""

    cost_usd: float | None
    """What all its attempts cost, in all rounds; `None` where that is unknown."""

    attempts: int
    """How often it was tried, in all rounds."""

    tools: list[str]
    """The tools that it has run, in order: what they did stands, whatever became of the task."""

    stored: list[str] | None
    """Namespace and key of the whole output in the graph's store, where it was cut and there is a store."""


class Objection(TypedDict):
    """What a reviewer has against a result."""

    task: str
    """The task that is to be done again."""

    problem: str
    """What is wrong with its result."""


class Course(TypedDict):
    """What the nodes of one run hand on to each other."""

    id: str
    """The run's id, on each of its ledger entries."""

    revision: int
    """How often the reviewer has sent tasks back."""

    objections: list[Objection]
    """What the reviewer said last; the tasks named are done again."""

    spent: bool
    """Whether the budget has held a call back."""


class OrchestratorInput(TypedDict):
    """What a caller gives: new messages."""

    messages: Required[Annotated[list[AnyMessage], add_turn]]
    """The thread, or what is new in it."""


class OrchestratorOutput(TypedDict):
    """What a caller gets."""

    messages: Required[Annotated[list[AnyMessage], add_turn]]
    """The thread, with the answer last."""

    plan: NotRequired[Plan | None]
    """What was planned."""

    results: NotRequired[list[TaskResult]]
    """What came of each task, in the plan's order."""

    ledger: NotRequired[Annotated[list[LedgerEntry], OmitFromInput, book]]
    """Each paid call of the thread, once."""

    verdict: NotRequired[OrchestratorVerdict | None]
    """How it ended. `needs_revision` only while tasks are done again."""


class OrchestratorState(OrchestratorOutput):
    """The state of an orchestrator."""

    course: NotRequired[Course]
    """What the nodes of the current run hand on to each other."""

    meter: NotRequired[Annotated[Any, UntrackedValue]]
    """What all workers of the run have spent and hold. Never stored: it is made again from the ledger."""


class Lane(TypedDict):
    """What one task leaves behind when it ends: LangGraph stores it at once, and gives it back after a crash."""

    result: TaskResult | None
    """What came of it, or `None` where the task was not begun, or its inputs are those of last time."""

    ledger: list[LedgerEntry]
    """What it has paid."""

    spent: bool
    """Whether the budget has held one of its calls back."""
