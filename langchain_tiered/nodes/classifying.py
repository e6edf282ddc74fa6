"""The node that writes the route of the turn."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from langchain_core.runnables.config import ensure_config
from langgraph.types import Overwrite

from langchain_tiered.accounting.recorder import Recorder, recording
from langchain_tiered.nodes.ladder import Node, State, accounted, run_context
from langchain_tiered.routing.facts import NO_TOOLS, ToolFacts, facts_of
from langchain_tiered.state import Run

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

    from langchain_tiered.routing.router import TierRouter
    from langchain_tiered.types import Facts, Route, TierFacts


class ClassifyNode(Node):
    """Asks the router for the route of the turn that `messages` ends with."""

    def __init__(
        self,
        router: TierRouter,
        *,
        tools: ToolFacts = NO_TOOLS,
        schema: bool = False,
        without_tools: frozenset[str] = frozenset(),
    ) -> None:
        """Take the router, and what is bound beside the messages.

        Args:
            router: Decides.
            tools: What is known of the agent's tools.
            schema: Whether the answer must fit a schema.
            without_tools: Tiers that are not given the tools, and so need not be able to call them.
        """
        super().__init__("classify")
        self.router, self.tools, self.schema, self.without_tools = router, tools, schema, without_tools

    def invoke(self, input: State, config: RunnableConfig | None = None, **_: Any) -> State:
        """Write `route`, and begin the turn's attempts."""
        recorder, run_id, context = Recorder(), _run_id(config), run_context()
        with accounted(input, run_id, recorder):
            facts = self._facts(input)
            tiers = self._given(self.router.models.facts(self.router.tiers, context))
            route = self.router.route(
                facts, recording(config or ensure_config(), recorder, {}), context=context, tiers=tiers, run_id=run_id
            )
        return self._update(input, route, facts, tiers, recorder, run_id)

    async def ainvoke(self, input: State, config: RunnableConfig | None = None, **_: Any) -> State:
        """Do what `invoke` does."""
        recorder, run_id, context = Recorder(), _run_id(config), run_context()
        with accounted(input, run_id, recorder):
            facts = self._facts(input)
            tiers = self._given(await self.router.models.afacts(self.router.tiers, context))
            route = await self.router.aroute(
                facts, recording(config or ensure_config(), recorder, {}), context=context, tiers=tiers, run_id=run_id
            )
        return self._update(input, route, facts, tiers, recorder, run_id)

    def _facts(self, state: State) -> Facts:
        return facts_of(state.get("messages", ()), self.tools, schema=self.schema)

    def _given(self, tiers: tuple[TierFacts, ...]) -> tuple[TierFacts, ...]:
        """Forget whether tiers that are given no tools could call them."""
        if not self.without_tools:
            return tiers
        return tuple(replace(tier, tools=None) if tier.name in self.without_tools else tier for tier in tiers)

    def _update(
        self,
        state: State,
        route: Route,
        facts: Facts,
        tiers: tuple[TierFacts, ...],
        recorder: Recorder,
        run_id: str,
    ) -> State:
        unfit = [tier.name for tier in tiers if not tier.fits(facts)]
        update: State = {"route": route, "run": Run(id=run_id, unfit=unfit, fallback=0)}
        if paid := recorder.drain():
            update["ledger"] = paid
        if state.get("attempts"):
            update["attempts"] = Overwrite([])
        if state.get("structured_response") is not None:
            update["structured_response"] = None  # the last turn's; this one may not give any
        return update


def _run_id(config: RunnableConfig | None) -> str:
    """Return the id of the run that pays: the one around, where an agent runs in a tool or a check of another one."""
    around = ((config or {}).get("metadata") or {}).get("tiered_run_id")
    return str(around or uuid4())
