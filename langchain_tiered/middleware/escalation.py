"""`EscalationMiddleware`: what a model gets wrong in an agent's loop is mended, or done by the next tier up."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage
from langgraph.config import get_config

from langchain_tiered.cascade.verdicts import Checks
from langchain_tiered.errors import ConfigurationError, InvalidInputError
from langchain_tiered.middleware.base import TierMiddleware, checked, recorded
from langchain_tiered.middleware.routing import aroute, route, told
from langchain_tiered.models import default_tiers, field_of, setting
from langchain_tiered.nodes.attempts import followed, said_in
from langchain_tiered.nodes.calls import Turn, adrive, carried, drive, error_of, outcome_of, risen
from langchain_tiered.nodes.checking import Judge, raised
from langchain_tiered.nodes.ladder import Ladder
from langchain_tiered.routing.facts import facts_of
from langchain_tiered.routing.policy import UNKNOWN_TASK, Policy
from langchain_tiered.routing.router import TierRouter
from langchain_tiered.state import Run
from langchain_tiered.types import Route, named, place_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Sequence

    from langchain.agents.middleware import ModelRequest, ModelResponse
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AnyMessage

    from langchain_tiered.cascade.checks import ChecksLike
    from langchain_tiered.cascade.steps import Action
    from langchain_tiered.middleware.run import Memory
    from langchain_tiered.nodes.calls import End
    from langchain_tiered.nodes.ladder import State
    from langchain_tiered.types import Attempt, DecidedBy, LedgerEntry, Tier

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
        found = checked(default_tiers() if tiers is None else tiers, policy)
        if policy.on_no_answer == "ask":
            raise ConfigurationError(
                "Policy(on_no_answer='ask') cannot be carried out in create_agent: the node that calls the model would "
                "run again after the interrupt, and pay again. Leave it 'error' here, or use create_tiered_agent."
            )
        self.names = tuple(tier.name for tier in found)
        self.ladder = Ladder(found, policy=policy, checks=Checks(checks))
        self.judge = Judge(self.ladder)
        self.rules = TierRouter(found, classifier=None, policy=policy)

    def called(
        self,
        memory: Memory,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> ModelResponse[Any]:
        """Follow the steps."""
        if not memory.knows(request.model):
            with recorded(memory, told(memory, None)):
                return handler(request)
        if memory.route is None and memory.turn["routed"]:
            route(memory, memory.router or self.rules, request)
        call = _Call(self, memory, request, is_async=False)

        def asked(prepared: ModelRequest[Any]) -> ModelResponse[Any]:
            with _Watched(memory), recorded(memory, call.told, prepared.model, held=call.held):
                response = handler(prepared)
            _expect_ours(memory, response)
            return response

        try:
            return call.ended(drive(call.steps(), call.turn, asked))
        except _AnothersModel as left:
            return left.response()

    async def acalled(
        self,
        memory: Memory,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """Do what `called` does."""
        if not memory.knows(request.model):
            with recorded(memory, told(memory, None)):
                return await handler(request)
        if memory.route is None and memory.turn["routed"]:
            await aroute(memory, memory.router or self.rules, request)
        call = _Call(self, memory, request, is_async=True)

        async def asked(prepared: ModelRequest[Any]) -> ModelResponse[Any]:
            with _Watched(memory), recorded(memory, call.told, prepared.model, held=call.held):
                response = await handler(prepared)
            _expect_ours(memory, response)
            return response

        try:
            return call.ended(await adrive(call.steps(), call.turn, asked))
        except _AnothersModel as left:
            return left.response()


class _AnothersModel(BaseException):
    """That a middleware further in has called a model of its own in the place of the tier's: it is left alone."""

    def __init__(self, given: ModelResponse[Any] | Exception) -> None:
        super().__init__()
        self.given = given

    def response(self) -> ModelResponse[Any]:
        """Return what that model gave.

        Raises:
            Exception: What it raised.
        """
        if isinstance(self.given, Exception):
            raise self.given
        return self.given


class _Watched:
    """A block whose errors leave the steps where the tier's model was not called, but another middleware's alone."""

    __slots__ = ("_before", "_recorder")

    def __init__(self, memory: Memory) -> None:
        self._recorder = memory.recorder

    def __enter__(self) -> None:
        self._before = len(self._recorder)

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if isinstance(error, Exception) and self._recorder.raised(error):
            made = [entry for entry in self._recorder.entries[self._before :] if entry["role"] == "answer"]
            if made and all(map(_is_anothers, made)):
                raise _AnothersModel(error)


def _expect_ours(memory: Memory, response: ModelResponse[Any]) -> None:
    if _is_anothers(memory.recorder.answer_of(said_in(response.result))):
        raise _AnothersModel(response)


def _is_anothers(entry: LedgerEntry | None) -> bool:
    """Tell whether a call was booked as no tier's."""
    return entry is not None and entry["tier"] is None


class _Call:
    """One model call of the loop, and all attempts at it."""

    inside = INSIDE

    def __init__(
        self, middleware: EscalationMiddleware, memory: Memory, request: ModelRequest[Any], *, is_async: bool
    ) -> None:
        self.ladder, self.memory, self.request, self.is_async = middleware.ladder, memory, request, is_async
        self.told: dict[str, Any] = {}
        self.held = False
        self.alone = not memory.turn["routed"]
        self.route = memory.route or own_route(self.ladder, memory.own, request)
        messages = request.state["messages"]
        since = min(memory.turn["since"], len(messages))  # a summary may have taken the place of what was there
        memory.note(route=self.route, since=since)
        memory.outcome, memory.tried = "accepted", memory.attempts
        turn = memory.turn
        run = Run(id=turn["run_id"], unfit=turn["unfit"], fallback=turn["fallback"], since=since)
        state: State = {"messages": messages, "route": self.route, "run": run, "attempts": memory.attempts}
        state["budget"] = memory.budget
        self.turn = Turn(self.ladder, middleware.judge, memory.recorder, request, state)

    def steps(self) -> Generator[Any, Any, End]:
        """Return the steps of the call, to be driven."""
        return carried(self.turn, self, self.ladder.tier(self.route["tier"]), self.memory.turn["fallback"])

    def ready(self, tier: Tier, fallback: int) -> BaseChatModel | None:
        """Return the agent's own model where it stands for the tier; no other is built then."""
        if not self.alone or fallback or setting(self.turn.context, field_of(tier.name, "model")):
            return None
        return self.memory.own if tier is own_tier(self.ladder, self.memory.own) else None

    def prepared(
        self, model: BaseChatModel, tier: Tier, fallback: int, told_of: Sequence[AnyMessage], tried: Sequence[Attempt]
    ) -> ModelRequest[Any]:
        """Return the request for one attempt."""
        request, memory = self.request, self.memory
        memory.tried = [*self.turn.attempts, *tried]
        memory.note(fallback=fallback)
        state = {**self.turn.state, "attempts": memory.tried}
        self.held = self.ladder.holds(state, tier, model, is_async=self.is_async, schema=request.response_format)
        stands_in = self.alone and model is memory.own and not is_of(tier, model)
        route, there = self.route, place_of(tier.name, self.ladder.tiers)
        if there > place_of(route["tier"], self.ladder.tiers):
            route = raised(route, tier.name, self.ladder.step(self.turn.state, memory.tried).reason)
        self.told = told(memory, replace(tier, rates=None, price_factor=1.0) if stands_in else tier, request, route)
        system = self.ladder.system_message(tier, request.runtime.context, request.system_message, ())
        return request.override(model=model, messages=followed(request.messages, told_of), system_message=system)

    def ended(self, end: End) -> ModelResponse[Any]:
        """Return what passes, and remember what was tried; raise where nothing does.

        Raises:
            NoAnswerAcceptedError: If every attempt was rejected.
        """
        attempts = [*self.turn.attempts, *end.tried]
        if end.response is None or (end.step is not None and end.step.action == "stop"):
            raise error_of(self.turn, end)
        accepted = end.step is not None and end.step.action == "accept"
        self.memory.outcome = outcome_of(self.turn, end) if accepted else "accepted"
        self.memory.keep(attempts[:-1] if accepted else attempts)
        self._moved(end)
        self.memory.settle(end.response, get_config())
        return end.response

    def _moved(self, end: End) -> None:
        """Let the route rise with an escalation. A downgrade is for one attempt: the next call is the route's again."""
        route, tiers = risen(self.turn, end), self.ladder.tiers
        if route is not self.route:
            self.memory.note(route=route, since=len(self.turn.state["messages"]))
        elif place_of(end.tier.name, tiers) < place_of(route["tier"], tiers):
            self.memory.note(fallback=0)


def own_tier(ladder: Ladder, own: BaseChatModel | None) -> Tier:
    """Return the tier whose model is the agent's own, else the first."""
    return next((tier for tier in ladder.tiers if is_of(tier, own)), ladder.tiers[0])


def is_of(tier: Tier, model: BaseChatModel | None) -> bool:
    """Tell whether a model is the tier's own, which may be named as `provider:model`."""
    if model is None or not isinstance(tier.model, str):
        return tier.model is model
    name, provider = named(model)
    package, _, wanted = tier.model.partition(":")
    # LangChain calls some providers otherwise than their package: `mistral` is `mistralai`.
    return wanted == name and bool(provider) and (package.startswith(str(provider)) or str(provider) == package)


def own_route(ladder: Ladder, own: BaseChatModel | None, request: ModelRequest[Any]) -> Route:
    """Return where an agent without a router begins: at its pin, its own model, or where the thread has risen to."""
    pin = setting(request.runtime.context, "pin") or ladder.policy.pin
    if pin is not None:
        return _route(ladder.tier(pin), "pin", f"Pinned to {pin}.")
    tier, previous, messages = own_tier(ladder, own), None, request.state["messages"]
    if any(isinstance(message, AIMessage) for message in messages):
        with suppress(InvalidInputError):  # an agent may begin without a word of a user
            facts = facts_of(messages)
            previous = facts.previous if facts.in_turn or ladder.policy.reroute == "thread" else None
    above = [each.name for each in ladder.tiers[place_of(tier.name, ladder.tiers) + 1 :]]
    if previous is not None and previous["tier"] in above:
        return {**previous, "decided_by": "latch", "reason": "The thread's route only rises."}
    return _route(tier, "policy", "The agent's own model begins.")


def _route(tier: Tier, decided_by: DecidedBy, reason: str) -> Route:
    return Route(
        tier=tier.name, task=UNKNOWN_TASK, confidence=None, reason=reason, decided_by=decided_by, escalated_from=None
    )
