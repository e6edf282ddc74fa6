"""`EscalationMiddleware`: what a model gets wrong in an agent's loop is mended, or done by the next tier up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_tiered.cascade.verdicts import Checks
from langchain_tiered.errors import NoAnswerAcceptedError
from langchain_tiered.middleware.base import TierMiddleware, arecorded, checked, recorded
from langchain_tiered.middleware.routing import aroute, route, told
from langchain_tiered.models import default_tiers
from langchain_tiered.nodes.calls import Turn, adrive, carried, drive
from langchain_tiered.nodes.checking import Judge, raised
from langchain_tiered.nodes.ladder import Ladder, unstreamed
from langchain_tiered.routing.facts import facts_of
from langchain_tiered.routing.policy import UNKNOWN_TASK, Policy
from langchain_tiered.state import Run
from langchain_tiered.types import Route, place_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from langchain.agents.middleware import ModelRequest, ModelResponse
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AnyMessage

    from langchain_tiered.cascade.checks import ChecksLike
    from langchain_tiered.cascade.steps import Action
    from langchain_tiered.middleware.run import Memory
    from langchain_tiered.nodes.calls import End
    from langchain_tiered.types import Attempt, Tier

INSIDE: frozenset[Action] = frozenset({"wait", "repair", "fall_back", "escalate", "downgrade"})
"""All steps but the last are carried out inside the agent's loop."""


class EscalationMiddleware(TierMiddleware):
    """Checks each answer in an agent's loop, and follows the engine's steps until one is accepted.

    ```python
    agent = create_agent("openai:gpt-5.4-nano", tools, middleware=[EscalationMiddleware(default_tiers())])
    ```

    A malformed tool call is told to the model once, then made by the next tier; a refusal, an answer cut off, a loop
    that makes no progress go one tier up, a rate limit sideways or down, an outage sideways or up. No tool runs on
    arguments that its schema forbids. Beside `TierRouterMiddleware` the route is where it begins; alone it begins at
    the tier whose model is the agent's own, or at the first one, for which the agent's own model stands in.

    A model that another middleware has put there is left alone, unchecked.

    Args:
        tiers: Cheapest first, or `None` for `default_tiers()`. Their names must be those of the router.
        checks: What is asked of each answer, as for `create_tiered_agent`.
        policy: Bounds the steps; give it that of the router.

    Raises:
        ConfigurationError: What can be known at build: bad tiers or checks, tiers with tools of their own.
        NoAnswerAcceptedError: In the run, if every attempt was rejected. A provider's error that ends the last attempt
            is raised as it is. Both have the attempts and the ledger.
    """

    def __init__(
        self, tiers: Sequence[Tier] | None = None, *, checks: ChecksLike = None, policy: Policy | None = None
    ) -> None:
        super().__init__()
        policy = policy or Policy()
        found = checked(default_tiers() if tiers is None else tiers)
        policy.validate([tier.name for tier in found])
        self.ladder = Ladder(found, policy=policy, checks=Checks(checks))
        self.judge = Judge(self.ladder)

    def called(
        self,
        memory: Memory,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> ModelResponse[Any]:
        """Follow the steps."""
        if request.model is not memory.own and request.model is not memory.given:
            return recorded(memory, told(memory, None), handler, request)
        if memory.route is None and memory.router is not None:
            route(memory, memory.router, request)
        call = _Call(self, memory, request, is_async=False)

        def asked(prepared: ModelRequest[Any]) -> ModelResponse[Any]:
            return recorded(memory, call.told, handler, prepared)

        return call.ended(drive(call.steps(), call.turn, asked))

    async def acalled(
        self,
        memory: Memory,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """Do what `called` does."""
        if request.model is not memory.own and request.model is not memory.given:
            return await arecorded(memory, told(memory, None), handler, request)
        if memory.route is None and memory.router is not None:
            await aroute(memory, memory.router, request)
        call = _Call(self, memory, request, is_async=True)

        async def asked(prepared: ModelRequest[Any]) -> ModelResponse[Any]:
            return await arecorded(memory, call.told, handler, prepared)

        return call.ended(await adrive(call.steps(), call.turn, asked))


class _Call:
    """One model call of the loop, and all attempts at it."""

    inside = INSIDE

    def __init__(
        self, middleware: EscalationMiddleware, memory: Memory, request: ModelRequest[Any], *, is_async: bool
    ) -> None:
        self.ladder, self.memory, self.request, self.is_async = middleware.ladder, memory, request, is_async
        self.alone = memory.router is None
        self.told: dict[str, Any] = {}
        self.route = memory.route = memory.route or self._own_route()
        turn = memory.turn
        run = Run(id=turn["run_id"], unfit=turn["unfit"], fallback=turn["fallback"], since=turn["since"])
        messages = request.state["messages"]
        state = {"messages": messages, "route": self.route, "run": run, "attempts": memory.turn["attempts"]}
        self.turn = Turn(self.ladder, middleware.judge, memory.recorder, request, state)

    def steps(self) -> Any:
        """Return the steps of the call, to be driven."""
        return carried(self.turn, self, self.ladder.tier(self.route["tier"]), self.memory.turn["fallback"])

    def ready(self, tier: Tier, fallback: int) -> BaseChatModel | None:
        """Return the agent's own model where it stands for the tier; no other is built then."""
        own = self.alone and not fallback and tier is self._own_tier()
        return self.memory.own if own else None

    def prepared(
        self, model: BaseChatModel, tier: Tier, fallback: int, told_of: Sequence[AnyMessage], tried: Sequence[Attempt]
    ) -> ModelRequest[Any]:
        """Return the request for one attempt."""
        request, state = self.request, self.turn.state
        state = {**state, "attempts": [*state["attempts"], *tried]}
        held = self.ladder.holds(state, tier, model, is_async=self.is_async, schema=request.response_format)
        model = unstreamed(model) if held else model
        self.memory.given = model
        self.memory.turn = {**self.memory.turn, "fallback": fallback}
        self.told = told(self.memory, tier, request)
        system = self.ladder.system_message(tier, request.runtime.context, request.system_message, ())
        return request.override(model=model, messages=[*request.messages, *told_of], system_message=system)

    def ended(self, end: End) -> ModelResponse[Any]:
        """Return what passes, and remember what was tried; raise where nothing does.

        Raises:
            NoAnswerAcceptedError: If every attempt was rejected.
        """
        attempts = [*self.turn.attempts, *end.tried]
        if end.response is None or (end.step is not None and end.step.action == "stop"):
            why = end.step.reason if end.step else "The model gave nothing."
            error = end.error or NoAnswerAcceptedError(attempts, why)
            error.attempts = attempts  # type: ignore[attr-defined]
            raise error
        accepted = end.step is not None and end.step.action == "accept"
        before = [*self.turn.attempts, *(end.tried[:-1] if accepted else end.tried)]
        self.memory.turn = {**self.memory.turn, "attempts": before, "fallback": end.fallback}
        self._moved(end, before)
        if accepted and end.tried[-1]["verdict"] is not None and not end.tried[-1]["verdict"]["accepted"]:
            self.memory.outcome = "truncated"
        return end.response

    def _moved(self, end: End, before: Sequence[Attempt]) -> None:
        """Let the route rise with an escalation. A downgrade is for one attempt: the next call is the route's again."""
        tiers = self.ladder.tiers
        here, there = place_of(self.route["tier"], tiers), place_of(end.tier.name, tiers)
        if there > here:
            step = self.ladder.step(self.turn.state, before)  # the one that led up
            self.memory.route = raised(self.route, end.tier.name, step.reason)
            self.memory.turn = {**self.memory.turn, "since": len(self.turn.state["messages"])}
        elif there < here:
            self.memory.outcome = "downgraded"
            self.memory.turn = {**self.memory.turn, "fallback": 0}

    def _own_tier(self) -> Tier:
        """Return the tier whose model is the agent's own, else the first."""
        own, tiers = self.memory.own, self.ladder.tiers
        same = (tier for tier in tiers if tier.model is own or (own is not None and tier.model == _name_of(own)))
        return next(same, tiers[0])

    def _own_route(self) -> Route:
        """Return where an agent without a router begins: at its own model, or where the thread has risen to."""
        tier, tiers = self._own_tier(), self.ladder.tiers
        facts = facts_of(self.request.state["messages"])
        sticks = facts.in_turn or self.ladder.policy.reroute == "thread"
        names = [each.name for each in tiers]
        if sticks and facts.previous is not None and facts.previous["tier"] in names[place_of(tier.name, tiers) + 1 :]:
            return {**facts.previous, "decided_by": "latch", "reason": "The thread's route only rises."}
        return Route(
            tier=tier.name,
            task=UNKNOWN_TASK,
            confidence=None,
            reason="The agent's own model begins.",
            decided_by="policy",
            escalated_from=None,
        )


def _name_of(model: BaseChatModel) -> str:
    """Return a model as `provider:model`."""
    named = model._get_ls_params()  # noqa: SLF001  (how LangChain itself names a model's provider)
    return f"{named.get('ls_provider')}:{named.get('ls_model_name')}"
