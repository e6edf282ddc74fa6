"""How a run ends: the last message, and the verdict. What nobody has accepted is never told as if it were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_tiered.accounting.budget import Budget
    from langchain_tiered.orchestrator.results import OrchestratorVerdict, TaskResult


def ending(text: str, verdict: OrchestratorVerdict) -> dict[str, Any]:
    """Return what ends a run: its last message, marked with the verdict."""
    return {"messages": [AIMessage(text, response_metadata={"verdict": verdict})], "verdict": verdict}


def answered(text: str) -> dict[str, Any]:
    """Return the end of a run that the planner, or the reviewer, has answered."""
    return ending(text, "satisfied")


def delegated(results: Sequence[TaskResult]) -> dict[str, Any]:
    """Return the end of a run that needed no plan: what its one worker said."""
    (only,) = results
    if only["outcome"] == "done":
        return ending(only["output"], "satisfied")
    return ending(f"The request was not met. {only['reason']}", "failed")


def out_of_budget(results: Sequence[TaskResult]) -> dict[str, Any]:
    """Return the end of a run whose budget is spent: it says what is done, and that nobody has accepted it."""
    told = f"The budget for this request is spent before it was finished. {_told(results)}"
    end = ending(told, "budget_exhausted")
    end["messages"][-1].response_metadata["budget_exceeded"] = True
    return end


def raises(budget: Budget | None) -> bool:
    """Tell whether a run whose budget is spent ends with an error."""
    return budget is not None and budget.exit_behavior == "error"


def failed(reason: str, results: Sequence[TaskResult]) -> dict[str, Any]:
    """Return the end of a run that the reviewer holds to be hopeless, or whose review cannot be read."""
    return ending(f"The request was not met. {reason} {_told(results)}", "failed")


def exhausted(reason: str, results: Sequence[TaskResult]) -> dict[str, Any]:
    """Return the end of a run whose results were sent back as often as they may be."""
    told = f"The request was not met: its results were rejected again after all revisions. {reason} {_told(results)}"
    return ending(told, "revisions_exhausted")


def _told(results: Sequence[TaskResult]) -> str:
    """Name the tasks by what became of them; what they gave is in `results`."""
    done = [result["id"] for result in results if result["outcome"] == "done"]
    left = [result["id"] for result in results if result["outcome"] != "done"]
    parts = [f"Done, but not accepted: {', '.join(done)}."] if done else []
    return " ".join([*parts, *([f"Not done: {', '.join(left)}."] if left else [])])
