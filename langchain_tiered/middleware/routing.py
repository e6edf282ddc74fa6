"""`TierRouterMiddleware`: each run of an agent is answered by the tier that its request needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_tiered.accounting.entries import call_metadata
from langchain_tiered.errors import ConfigurationError
from langchain_tiered.middleware.base import TierMiddleware, checked, recorded
from langchain_tiered.models import default_tiers
from langchain_tiered.nodes.ladder import priced
from langchain_tiered.routing.facts import facts_of, tool_facts
from langchain_tiered.routing.router import TierRouter
from langchain_tiered.types import place_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from langchain.agents.middleware import ModelRequest, ModelResponse
    from langchain_core.language_models import BaseChatModel

    from langchain_tiered.middleware.run import Memory
    from langchain_tiered.routing.classifier import Classifier, ClassifierFunction
    from langchain_tiered.routing.deciding import DecisionModel
    from langchain_tiered.routing.policy import Policy
    from langchain_tiered.types import Facts, Route, Tier


class TierRouterMiddleware(TierMiddleware):
    """Puts the tier that a request needs in the place of the agent's own model, once for each run.

    ```python
    agent = create_agent("openai:gpt-5.4", tools, middleware=[TierRouterMiddleware(default_tiers())])
    result = agent.invoke({"messages": [("user", "Label this ticket: refund or delivery? ...")]})
    result["route"]["tier"], result["ledger"]
    ```

    Only the model that the agent was built with is replaced: one that a fallback, or another middleware, puts there
    later is left alone. A middleware that stands outside this one and overrides the model from the first call on is
    taken for the agent's own; put such a one inside.

    When the rules are sure, no model is called for the route. The route stands on each answer
    (`response_metadata["route"]`), where the thread's next run reads it. The ledger has the calls that pass through the
    middleware; `collect_ledger` sees those of tools too.

    Args:
        tiers: Cheapest first, or `None` for `default_tiers()`, or for those of `router`.
        policy: What is wanted of the routing.
        classifier: Asked where the rules are unsure: as for `TierRouter`.
        router: A router of your own instead of the three.

    Raises:
        ConfigurationError: What can be known at build: bad tiers, unknown names in the policy, tiers with tools of
            their own, a policy that speculates.
    """

    router: TierRouter

    def __init__(
        self,
        tiers: Sequence[Tier] | None = None,
        *,
        policy: Policy | None = None,
        classifier: BaseChatModel | str | ClassifierFunction | Classifier | DecisionModel | None = "cheapest",
        router: TierRouter | None = None,
    ) -> None:
        super().__init__()
        if router is not None and (tiers is not None or policy is not None):
            raise ConfigurationError("A router was given, and tiers or a policy beside it. Give them to the router.")
        if router is None:
            router = TierRouter(default_tiers() if tiers is None else tiers, classifier=classifier, policy=policy)
        self.names = tuple(tier.name for tier in checked(router.tiers, router.policy))
        self.router = router

    def called(
        self,
        memory: Memory,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> ModelResponse[Any]:
        """Put the route's model in."""
        if memory.placed and memory.knows(request.model):
            return handler(request)  # escalation stands outside, and has put a tier's model in
        if memory.route is None:
            route(memory, self.router, request)
        if not memory.knows(request.model):
            with recorded(memory, told(memory, None)):
                return handler(request)
        tier = self._tier(memory)
        model = self.router.models.of(tier, request.runtime.context, memory.turn["fallback"])
        with recorded(memory, told(memory, tier, request), model):
            return handler(request.override(model=model))

    async def acalled(
        self,
        memory: Memory,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """Do what `called` does."""
        if memory.placed and memory.knows(request.model):
            return await handler(request)
        if memory.route is None:
            await aroute(memory, self.router, request)
        if not memory.knows(request.model):
            with recorded(memory, told(memory, None)):
                return await handler(request)
        tier = self._tier(memory)
        model = await self.router.models.aof(tier, request.runtime.context, memory.turn["fallback"])
        with recorded(memory, told(memory, tier, request), model):
            return await handler(request.override(model=model))

    def _tier(self, memory: Memory) -> Tier:
        name = memory.route["tier"] if memory.route else self.names[-1]
        return self.router.tiers[place_of(name, self.router.tiers)]


def told(
    memory: Memory, tier: Tier | None, request: ModelRequest[Any] | None = None, route: Route | None = None
) -> dict[str, Any]:
    """Return what the recorder is told of a call; one of a model that is not ours belongs to no tier."""
    if tier is not None and request is not None:
        tier = priced(tier, request.runtime.context, memory.turn["fallback"])
    route = None if tier is None else route or memory.route
    return call_metadata(role="answer", tier=tier, run_id=memory.turn["run_id"], route=route)


def route(memory: Memory, router: TierRouter, request: ModelRequest[Any]) -> None:
    """Have the run routed, and remember where it goes."""
    context, facts = request.runtime.context, _facts(request)
    tiers = router.models.facts(router.tiers, context)
    said = router.route(facts, context=context, tiers=tiers, run_id=memory.turn["run_id"], recorder=memory.recorder)
    memory.note(route=said, unfit=router.unfit(facts, context, tiers))


async def aroute(memory: Memory, router: TierRouter, request: ModelRequest[Any]) -> None:
    """Do what `route` does."""
    context, facts = request.runtime.context, _facts(request)
    tiers = await router.models.afacts(router.tiers, context)
    said = await router.aroute(
        facts, context=context, tiers=tiers, run_id=memory.turn["run_id"], recorder=memory.recorder
    )
    memory.note(route=said, unfit=router.unfit(facts, context, tiers))


def _facts(request: ModelRequest[Any]) -> Facts:
    known = tool_facts(request.tools)
    return facts_of(request.state["messages"], known, schema=request.response_format is not None)
