"""What a run tells of its tasks while it runs: one event on the `custom` stream when one begins, one when it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from typing_extensions import TypedDict

if TYPE_CHECKING:
    from langchain_tiered.orchestrator.plans import PlannedTask
    from langchain_tiered.orchestrator.results import TaskResult


class TaskEvent(TypedDict):
    """What becomes of a task, as `stream_mode="custom"` gives it. It has no word of what a worker said."""

    type: Literal["tiered_task"]
    """Tells the event from those of the app."""

    task: str
    """The task."""

    state: Literal["begun", "done", "failed", "skipped"]
    """What became of it. One that was done before a crash is told again."""

    tier: str | None
    """The tier that answered, where the worker is made of tiers."""

    cost_usd: float | None
    """What it has cost so far, or `None` where that is unknown."""

    reason: str
    """Why it failed or was skipped; else empty."""


def begun(task: PlannedTask) -> TaskEvent:
    """Return the event of a task that begins."""
    return TaskEvent(type="tiered_task", task=task["id"], state="begun", tier=None, cost_usd=None, reason="")


def ended(result: TaskResult) -> TaskEvent:
    """Return the event of a task that has ended."""
    return TaskEvent(
        type="tiered_task",
        task=result["id"],
        state=result["outcome"],
        tier=result["tier"],
        cost_usd=result["cost_usd"],
        reason=result["reason"],
    )
