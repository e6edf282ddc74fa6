"""The node `plan`: what is to be done, mended once where it cannot be used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langgraph.graph import END
from langgraph.types import Command

from langchain_tiered.accounting.rates import import_prices
from langchain_tiered.accounting.recorder import Recorder
from langchain_tiered.accounting.traces import payer
from langchain_tiered.errors import BudgetExceededError, InvalidPlanError
from langchain_tiered.nodes.ladder import Accounted, Node, State, metered_of
from langchain_tiered.orchestrator.endings import answered, out_of_budget, raises
from langchain_tiered.orchestrator.plans import Plan, read_plan
from langchain_tiered.orchestrator.prompts import mended
from langchain_tiered.orchestrator.results import Course
from langchain_tiered.routing.facts import facts_of

if TYPE_CHECKING:
    from langchain_core.messages import SystemMessage
    from langchain_core.runnables import RunnableConfig

    from langchain_tiered.accounting.budget import Budget
    from langchain_tiered.accounting.metering import Metered
    from langchain_tiered.orchestrator.asking import Asked, Asking


class PlanNode(Node):
    """Asks the planner."""

    def __init__(self, planner: Asked, prompt: SystemMessage, most_tasks: int, budget: Budget | None) -> None:
        super().__init__("plan")
        self.planner, self.prompt, self.most_tasks, self.budget = planner, prompt, most_tasks, budget

    def invoke(self, input: State, config: RunnableConfig | None = None, **_: Any) -> Command[str]:
        """Write the plan, and go to work; or answer."""
        run_id, metered, recorder = self._begun(input, config)
        with Accounted(input, run_id, recorder):
            facts_of(input.get("messages", ()))
            try:
                plan = self.planner.run(self._planned(input), config, recorder, run_id)
            except BudgetExceededError:
                if raises(self.budget):
                    raise
                return self._spent(run_id, recorder)
        return self._command(plan, run_id, metered, recorder)

    async def ainvoke(self, input: State, config: RunnableConfig | None = None, **_: Any) -> Command[str]:
        """Do what `invoke` does."""
        await import_prices()
        run_id, metered, recorder = self._begun(input, config)
        with Accounted(input, run_id, recorder):
            facts_of(input.get("messages", ()))
            try:
                plan = await self.planner.arun(self._planned(input), config, recorder, run_id)
            except BudgetExceededError:
                if raises(self.budget):
                    raise
                return self._spent(run_id, recorder)
        return self._command(plan, run_id, metered, recorder)

    def _begun(self, state: State, config: RunnableConfig | None) -> tuple[str, Metered | None, Recorder]:
        run_id = payer(config)
        metered = metered_of(self.budget, {**state, "meter": None}, run_id)
        return run_id, metered, Recorder(metered)

    def _planned(self, state: State) -> Asking:
        """Ask for the plan, and once more where it cannot be used.

        Raises:
            InvalidPlanError: If the second one cannot be used either.
        """
        messages = [self.prompt, *state["messages"]]
        said = yield messages
        plan, problems = read_plan(said.value, self.most_tasks)
        if plan is None:
            said = yield mended(messages, said, problems)
            plan, problems = read_plan(said.value, self.most_tasks)
        if plan is None:
            raise InvalidPlanError(said.value, problems)
        return plan

    def _command(self, plan: Plan, run_id: str, metered: Metered | None, recorder: Recorder) -> Command[str]:
        update = {**_begun_with(plan, run_id), "meter": metered, "ledger": recorder.drain()}
        if plan["mode"] == "answer":
            return Command(goto=END, update={**update, **answered(plan["answer"])})
        return Command(goto="work", update=update)

    def _spent(self, run_id: str, recorder: Recorder) -> Command[str]:
        """Return the end of a run that cannot pay its planner."""
        return Command(goto=END, update={**_begun_with(None, run_id), **out_of_budget([]), "ledger": recorder.drain()})


def _begun_with(plan: Plan | None, run_id: str) -> State:
    """Return what a run begins with: nothing of the last one is left."""
    course = Course(id=run_id, revision=0, objections=[], spent=False)
    return {"plan": plan, "results": [], "verdict": None, "course": course}
