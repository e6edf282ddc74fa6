"""The node that writes the route of the turn."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from langchain_core.runnables.config import ensure_config, get_executor_for_config
from langgraph.types import Overwrite

from langchain_tiered.accounting.recorder import Recorder, recording
from langchain_tiered.accounting.traces import mark, payer
from langchain_tiered.nodes.ladder import Accounted, Node, State, bare, metered_of, run_context
from langchain_tiered.nodes.states import messages_in, plain
from langchain_tiered.routing.facts import NO_TOOLS, ToolFacts, facts_of
from langchain_tiered.routing.policy import UNKNOWN_TASK
from langchain_tiered.state import Run
from langchain_tiered.types import Route

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.runnables import RunnableConfig

    from langchain_tiered.accounting.budget import Budget
    from langchain_tiered.accounting.metering import Metered
    from langchain_tiered.nodes.answering import AnswerNode
    from langchain_tiered.routing.router import TierRouter
    from langchain_tiered.types import Facts, TierFacts


class ClassifyNode(Node):
    """Asks the router for the route of the turn that `messages` ends with."""

    def __init__(
        self,
        router: TierRouter,
        *,
        tools: ToolFacts = NO_TOOLS,
        schema: bool = False,
        without_tools: frozenset[str] = frozenset(),
        ahead: Sequence[AnswerNode] = (),
        budget: Budget | None = None,
    ) -> None:
        """Take the router, and what is bound beside the messages.

        Args:
            router: Decides.
            tools: What is known of the agent's tools.
            schema: Whether the answer must fit a schema.
            without_tools: Tiers that are not given the tools, and so need not be able to call them.
            ahead: Nodes of tiers that may answer while the classifier decides.
            budget: What the run and the thread may cost.
        """
        super().__init__("classify")
        self.router, self.tools, self.schema, self.without_tools = router, tools, schema, without_tools
        self.budget = budget
        self.ahead = {node.tier.name: node for node in ahead}

    def invoke(self, input: State, config: RunnableConfig | None = None, **_: Any) -> State:
        """Write `route`, and begin the turn's attempts."""
        state, run_id, context = plain(input), payer(config), run_context()
        metered = self._metered(state, run_id)
        recorder = Recorder(metered)
        with Accounted(state, run_id, recorder):
            facts = self._facts(state)
            tiers = bare(self.router.models.facts(self.router.tiers, context), self.without_tools)
            config = config or ensure_config()
            asked: Any = {"context": context, "tiers": tiers, "run_id": run_id, "recorder": recorder}
            asked |= _remaining(metered)
            ahead = self._ahead(facts, tiers, context)
            if ahead is None:
                route = self.router.route(facts, config, **asked)
                return self._update(state, route, facts, tiers, recorder, run_id, config)
            with get_executor_for_config(config) as executor:
                before = self._before(state, ahead, facts, tiers, run_id, metered)
                attempt = executor.submit(ahead.attempted, before, recording(config, recorder, {}), ahead=True)
                route = self.router.route(facts, config, **asked)
            tried = attempt.result()
        return self._update(state, route, facts, tiers, recorder, run_id, config, tried)

    async def ainvoke(self, input: State, config: RunnableConfig | None = None, **_: Any) -> State:
        """Do what `invoke` does."""
        state, run_id, context = plain(input), payer(config), run_context()
        metered = self._metered(state, run_id)
        recorder = Recorder(metered)
        with Accounted(state, run_id, recorder):
            facts = self._facts(state)
            tiers = bare(await self.router.models.afacts(self.router.tiers, context), self.without_tools)
            config = config or ensure_config()
            asked: Any = {"context": context, "tiers": tiers, "run_id": run_id, "recorder": recorder}
            asked |= _remaining(metered)
            ahead = self._ahead(facts, tiers, context)
            if ahead is None:
                route = await self.router.aroute(facts, config, **asked)
                return self._update(state, route, facts, tiers, recorder, run_id, config)
            before = self._before(state, ahead, facts, tiers, run_id, metered)
            attempt = asyncio.create_task(ahead.aattempted(before, recording(config, recorder, {}), ahead=True))
            try:
                route = await self.router.aroute(facts, config, **asked)
            except Exception:
                await asyncio.wait({attempt})  # it is paid for: what it cost is on the error too
                raise
            tried = await attempt
        return self._update(state, route, facts, tiers, recorder, run_id, config, tried)

    def _metered(self, state: State, run_id: str) -> Metered | None:
        """Return the meter of the run that begins here; that of the last one counted another run's limit."""
        return metered_of(self.budget, {**state, "meter": None}, run_id)

    def _ahead(self, facts: Facts, tiers: tuple[TierFacts, ...], context: object) -> AnswerNode | None:
        """Return the node of the lowest tier that fits, if it may answer while the classifier decides."""
        if not self.ahead or not self.router.asks(facts, context, tiers):
            return None
        unfit = self.router.unfit(facts, context, tiers)
        lowest = next((tier.name for tier in tiers if tier.name not in unfit), "")
        return self.ahead.get(lowest)

    def _before(
        self,
        state: State,
        ahead: AnswerNode,
        facts: Facts,
        tiers: tuple[TierFacts, ...],
        run_id: str,
        metered: Metered | None,
    ) -> State:
        """Return the state as a tier sees it that answers before the route is known."""
        guess = Route(
            tier=ahead.tier.name,
            task=UNKNOWN_TASK,
            confidence=None,
            reason="Not known yet.",
            decided_by="policy",
            escalated_from=None,
        )
        run = Run(id=run_id, unfit=self.router.unfit(facts, run_context(), tiers), fallback=0)
        return {**state, "route": guess, "run": run, "attempts": [], "meter": metered}

    def _facts(self, state: State) -> Facts:
        return facts_of(messages_in(state), self.tools, schema=self.schema)

    def _update(
        self,
        state: State,
        route: Route,
        facts: Facts,
        tiers: tuple[TierFacts, ...],
        recorder: Recorder,
        run_id: str,
        config: RunnableConfig,
        tried: State | None = None,
    ) -> State:
        mark(config, tier=route["tier"], route=route, paid=recorder.entries)
        run = Run(id=run_id, unfit=self.router.unfit(facts, run_context(), tiers), fallback=0)
        update: State = {"route": route, "run": run}
        if tried is not None and tried["attempts"][0]["tier"] == route["tier"]:
            update |= {**tried, "attempts": Overwrite(tried["attempts"]), "run": {**run, "ahead": True}}
        elif state.get("attempts") or "attempts" not in state:
            update["attempts"] = Overwrite([])  # a channel without a reducer keeps it as it is, and the tier sees that
        # Also where nothing was paid: the reducer makes the entries whole that an older version left in the thread.
        update["ledger"] = recorder.drain()
        if state.get("structured_response") is not None:
            update["structured_response"] = None  # the last turn's; this one may not give any
        return update


def _remaining(metered: Metered | None) -> dict[str, float]:
    """Return what the policy needs to know of the budget: nothing, unless a spent one is to lower the route."""
    return {"remaining_usd": metered.meter.remaining_usd} if metered is not None and metered.downgrades else {}
