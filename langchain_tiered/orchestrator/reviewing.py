"""The node `review`: the reviewer accepts, sends tasks back, or gives up; the machine counts how often."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from langgraph.graph import END
from langgraph.types import Command

from langchain_tiered.accounting.recorder import Recorder
from langchain_tiered.errors import BudgetExceededError
from langchain_tiered.nodes.ladder import Accounted, Node, State, metered_of
from langchain_tiered.orchestrator.endings import answered, exhausted, failed, out_of_budget, raises
from langchain_tiered.orchestrator.plans import last_tasks
from langchain_tiered.orchestrator.prompts import mended, review_prompt
from langchain_tiered.orchestrator.results import Objection, TaskResult
from langchain_tiered.routing.facts import facts_of

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

    from langchain_tiered.accounting.budget import Budget
    from langchain_tiered.orchestrator.asking import Asked, Asking


class Review(NamedTuple):
    """What the reviewer says."""

    verdict: Literal["satisfied", "needs_revision", "failed"]
    reason: str
    objections: list[Objection]
    answer: str


UNREADABLE = Review("failed", "The review could not be read, so nothing is accepted.", [], "")
"""What stands for a review that makes no sense, twice."""


EMPTY = Review("failed", "The reviewer accepted results that say nothing.", [], "")
"""What stands for a review that is satisfied with nothing."""


_NOT_GOOD = "It is not good enough."


class ReviewNode(Node):
    """Asks the reviewer."""

    def __init__(self, reviewer: Asked, max_revisions: int, budget: Budget | None) -> None:
        super().__init__("review")
        self.reviewer, self.max_revisions, self.budget = reviewer, max_revisions, budget

    def invoke(self, input: State, config: RunnableConfig | None = None, **_: Any) -> Command[str]:
        """Judge the results: answer, or send tasks back to `work`."""
        recorder, run_id = self._recorder(input), input["course"]["id"]
        with Accounted(input, run_id, recorder):
            try:
                review = self.reviewer.run(_reviewed(input), config, recorder, run_id)
            except BudgetExceededError:
                if raises(self.budget):
                    raise
                return self._spent(input, recorder)
        return self._command(input, review, recorder)

    async def ainvoke(self, input: State, config: RunnableConfig | None = None, **_: Any) -> Command[str]:
        """Do what `invoke` does."""
        recorder, run_id = self._recorder(input), input["course"]["id"]
        with Accounted(input, run_id, recorder):
            try:
                review = await self.reviewer.arun(_reviewed(input), config, recorder, run_id)
            except BudgetExceededError:
                if raises(self.budget):
                    raise
                return self._spent(input, recorder)
        return self._command(input, review, recorder)

    def _recorder(self, state: State) -> Recorder:
        return Recorder(metered_of(self.budget, state, state["course"]["id"]))

    def _command(self, state: State, review: Review, recorder: Recorder) -> Command[str]:
        text = (review.answer.strip() or _merged(state)) if review.verdict == "satisfied" else ""
        if review.verdict == "satisfied" and not text.strip():
            review = EMPTY
        update: State = {"ledger": recorder.drain(), "results": _judged(state["results"], review)}
        if review.verdict == "satisfied":
            return Command(goto=END, update={**update, **answered(text)})
        if review.verdict == "failed":
            return Command(goto=END, update={**update, **failed(review.reason, state["results"])})
        course = state["course"]
        if course["revision"] >= self.max_revisions:
            return Command(goto=END, update={**update, **exhausted(review.reason, state["results"])})
        course = {**course, "revision": course["revision"] + 1, "objections": review.objections}
        return Command(goto="work", update={**update, "course": course, "verdict": "needs_revision"})

    def _spent(self, state: State, recorder: Recorder) -> Command[str]:
        """Return the end of a run that cannot pay its reviewer."""
        return Command(goto=END, update={"ledger": recorder.drain(), **out_of_budget(state["results"])})


def _reviewed(state: State) -> Asking:
    """Ask for the review, and once more where it makes no sense."""
    messages = review_prompt(facts_of(state["messages"]).text, state["plan"], state["results"])
    ids = [task["id"] for task in state["plan"]["tasks"]]
    said = yield messages
    review, problems = read_review(said.value, ids)
    if review is None:
        said = yield mended(messages, said, problems)
        review, _ = read_review(said.value, ids)
    return review or _against_any(said.value, ids) or UNREADABLE


def read_review(told: object, ids: list[str]) -> tuple[Review | None, list[str]]:
    """Return the review that `told` is, or what is wrong with it. `ids` are those of the plan's tasks."""
    if not isinstance(told, Mapping):
        return None, ["It is no JSON object of the review's schema."]
    verdict, listed = told.get("verdict"), told.get("revisions") or []
    if verdict not in ("satisfied", "needs_revision", "failed"):
        return None, ["verdict must be 'satisfied', 'needs_revision' or 'failed'."]
    reason, answer = str(told.get("reason") or ""), told.get("answer")
    if verdict != "needs_revision":
        return Review(verdict, reason, [], answer if isinstance(answer, str) else ""), []
    objections, problems = _objections(listed, reason, ids)
    if not objections and not problems:
        problems.append("verdict is 'needs_revision', and revisions names no task.")
    return (None, problems) if problems else (Review(verdict, reason, objections, ""), [])


def _objections(listed: Any, reason: str, ids: list[str]) -> tuple[list[Objection], list[str]]:
    """Return what is to be done again, and what is wrong with how that is told."""
    if isinstance(listed, Mapping) and "task" not in listed:
        listed = [{"task": name, "problem": problem} for name, problem in listed.items()]
    objections, problems = [], []
    for each in listed if isinstance(listed, list) else [listed]:
        name = each.get("task") if isinstance(each, Mapping) else each
        if name not in ids:
            problems.append(f"revisions names {str(name)[:100]!r}, which is no task. Tasks: {', '.join(ids)}.")
            continue
        told_problem = each.get("problem") if isinstance(each, Mapping) else None
        objections.append(Objection(task=name, problem=str(told_problem or reason or _NOT_GOOD)))
    return objections, problems


def _against_any(told: object, ids: list[str]) -> Review | None:
    """Return what a second review comes to that does not say rightly what is to be done again; all, if it names none.

    `None` where it sends nothing back.
    """
    if not isinstance(told, Mapping) or told.get("verdict") != "needs_revision":
        return None
    reason = str(told.get("reason") or _NOT_GOOD)
    named, _ = _objections(told.get("revisions") or [], reason, ids)
    return Review("needs_revision", reason, named or [Objection(task=name, problem=reason) for name in ids], "")


def _judged(results: list[TaskResult], review: Review) -> list[TaskResult]:
    """Write what the reviewer says on each result."""
    against = {each["task"]: each["problem"] for each in review.objections}
    if review.verdict == "satisfied":
        return [
            {**result, "verdict": "accepted" if result["outcome"] == "done" else "unreviewed"} for result in results
        ]
    if review.verdict == "failed":
        return [{**result, "verdict": "rejected"} for result in results]
    return [
        {**result, "verdict": "rejected", "reason": against[result["id"]]} if result["id"] in against else result
        for result in results
    ]


def _merged(state: State) -> str:
    """Return what the plan leads to, in its order, where the reviewer was satisfied and wrote nothing."""
    last = last_tasks(state["plan"]["tasks"])
    return "\n\n".join(each["output"] for each in state["results"] if each["id"] in last and each["outcome"] == "done")
