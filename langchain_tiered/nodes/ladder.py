"""What the bodies share: the tiers, what bounds and judges their answers, and what a run knows of itself."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import SystemMessage
from langchain_core.runnables import Runnable
from langgraph.config import get_config
from langgraph.errors import GraphBubbleUp
from langgraph.runtime import get_runtime

from langchain_tiered.accounting.ledger import book
from langchain_tiered.accounting.metering import Metered
from langchain_tiered.accounting.recorder import Recorder, recorder_in
from langchain_tiered.cascade.circuit import Circuit
from langchain_tiered.cascade.steps import REPAIRABLE, Limits, Step, next_step
from langchain_tiered.cascade.verdicts import Checks
from langchain_tiered.models import Models, field_of, setting
from langchain_tiered.nodes.attempts import attempt_of
from langchain_tiered.nodes.events import stream_writer
from langchain_tiered.routing.policy import Policy
from langchain_tiered.state import Run
from langchain_tiered.types import Attempt, Failure, Route, Tier, TierFacts, Verdict, place_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from langchain_tiered.accounting.budget import Budget
    from langchain_tiered.types import LedgerEntry, Task

State = dict[str, Any]

NOT_YET = Verdict(accepted=False, check="none", reason="Not answered yet.", score=None)
"""Stands for the answer that a tier is about to give, when the engine is asked what a rejection would lead to."""


class Node(Runnable[Any, Any]):
    """A node with a sync and an async form.

    A plain `Runnable` with two methods costs next to nothing in a graph; `RunnableLambda` brings a callback layer.
    """

    def __init__(self, name: str) -> None:
        self.name = name


class Ladder:
    """The tiers of one graph, with what bounds and judges their answers. Knows nothing of any request."""

    def __init__(
        self,
        tiers: Sequence[Tier],
        *,
        policy: Policy | None = None,
        checks: Checks | None = None,
        models: Models | None = None,
        circuit: Circuit | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.tiers = tuple(tiers)
        self.policy = policy or Policy()
        self.checks = checks or Checks()
        self.models = models or Models()
        self.circuit = circuit or Circuit()
        self.budget = budget
        self._kept_limits: dict[tuple[Task, tuple[str, ...], bool], Limits] = {}

    @cached_property
    def facts(self) -> tuple[TierFacts, ...]:
        """What the engine needs to know of the tiers; no model is built for it."""
        return tuple(
            TierFacts(tier.name, max_input_tokens=tier.max_input_tokens, fallbacks=len(tier.fallbacks))
            for tier in self.tiers
        )

    @cached_property
    def below_tools(self) -> frozenset[str]:
        """The tiers that the tools do not go to: those below the floor of tool work, save one that all is pinned to."""
        floor = place_of(self.policy.floor_of("tools", self.facts) or self.tiers[0].name, self.tiers)
        return frozenset(tier.name for tier in self.tiers[:floor] if tier.name != self.policy.pin)

    def step(self, state: Mapping[str, Any], attempts: Sequence[Attempt]) -> Step:
        """Ask the engine what follows the last of `attempts`."""
        route: Route = state["route"]
        budget: Budget | None = self.budget or state.get("budget")
        downgrades = budget is not None and budget.exit_behavior == "downgrade"
        limits = self._limits(route["task"], tuple(run_of(state)["unfit"]), downgrades)
        if opened := self.circuit.opened():
            limits = replace(limits, open_circuits=opened)
        return next_step(route, attempts, self.facts, limits)

    def _limits(self, task: Task, unfit: tuple[str, ...], downgrades: bool) -> Limits:  # noqa: FBT001  (ours alone)
        """Return what bounds the steps of a turn, made once for each kind of turn."""
        key = (task, unfit, downgrades)
        if (kept := self._kept_limits.get(key)) is None:
            kept = self._kept_limits[key] = Limits(
                max_escalations=self.policy.max_escalations,
                max_wait_s=self.policy.max_wait_s,
                on_rate_limit=self.policy.on_rate_limit,
                floor=self.policy.floor_of(task, self.facts),
                unfit=frozenset(unfit),
                on_no_answer="ask" if self.policy.on_no_answer == "ask" else "stop",
                on_budget="downgrade" if downgrades else "stop",
            )
        return kept

    def recorder(self, state: Mapping[str, Any]) -> Recorder:
        """Return a recorder for a node of the run; with a budget, it lets no call through that does not fit."""
        return Recorder(metered_of(self.budget, state, run_of(state)["id"]))

    def tier(self, name: str) -> Tier:
        """Return the tier of a name."""
        return self.tiers[place_of(name, self.tiers)]

    def left_alone(self, tier: Tier, fallback: int, attempts: Sequence[Attempt], context: object) -> Attempt | None:
        """Return the failed attempt that stands for a call of a model whose circuit is open; `None` where it is asked.

        A model that the engine sends the turn back to is asked all the same: nothing else was left. One that the
        context brings is nobody else's, and has no circuit.
        """
        if _is_overridden(tier, context) or not self.circuit.is_open((tier.name, fallback)):
            return None
        last = attempts[-1] if attempts else None
        if last is not None and (last["tier"], last["fallback"]) == (tier.name, fallback):
            return None
        failure = Failure(
            kind="open_circuit", message="It has failed repeatedly, and is left alone.", retry_after_s=None
        )
        return attempt_of(tier.name, fallback=fallback, failure=failure)

    def settle(self, tier: Tier, fallback: int, failure: Failure | None, context: object) -> None:
        """Tell the circuit what became of a call."""
        if _is_overridden(tier, context):
            return
        if failure is None:
            self.circuit.answered((tier.name, fallback))
        else:
            self.circuit.failed((tier.name, fallback), failure["kind"])

    def holds(
        self,
        state: Mapping[str, Any],
        tier: Tier,
        model: BaseChatModel,
        *,
        is_async: bool,
        schema: object = None,
        words_stand: bool = False,
    ) -> bool:
        """Tell whether the tokens of the answer that `tier` is about to give must be kept from the user.

        They are held only where a rejection would lead to another attempt, and a check must read the whole answer
        first, or the model does not stream: then its answer would be shown whole before anybody judged it. Where words
        once shown stand, an answer that its own model may be told to mend is held, too.
        """
        task: Task = state["route"]["task"]
        if streams(model, is_async=is_async) and not self.checks.read_whole_answer(tier, task, schema):
            return False
        verdicts = [NOT_YET, *([{**NOT_YET, "check": check} for check in REPAIRABLE] if words_stand else ())]
        rejected = (attempt_of(tier.name, verdict=verdict) for verdict in verdicts)
        return any(self.step(state, [*state.get("attempts", ()), each]).action != "stop" for each in rejected)

    def system_message(
        self, tier: Tier, context: object, default: str | SystemMessage | None, lacks: Sequence[str]
    ) -> SystemMessage | None:
        """Return what stands before the messages: the context's `<tier>_prompt`, else `default`, and what lacks."""
        prompt = setting(context, field_of(tier.name, "prompt")) or default
        message = SystemMessage(prompt) if isinstance(prompt, str) else prompt
        if not lacks:
            return message
        line = f"You do not have the tools {', '.join(lacks)}. If the request needs one, call hand_up and say why."
        if message is None:
            return SystemMessage(line)
        if isinstance(message.content, str):
            return SystemMessage(f"{message.content}\n\n{line}")
        return SystemMessage([*message.content, {"type": "text", "text": line}])


def streams(model: BaseChatModel, *, is_async: bool) -> bool:
    """Tell whether a model gives its answer token by token when its tokens are asked for."""
    kind = type(model)
    if model.disable_streaming is True:
        return False
    overridden = kind._stream is not BaseChatModel._stream  # noqa: SLF001  (a provider's documented override points)
    return overridden or (is_async and kind._astream is not BaseChatModel._astream)  # noqa: SLF001  (as above)


def unstreamed(model: BaseChatModel) -> BaseChatModel:
    """Return a copy of `model` whose tokens no stream shows; `with_config` would lose the tag at `bind_tools`."""
    return model.model_copy(update={"tags": [*(model.tags or ()), "nostream"]})


def metered_of(budget: Budget | None, state: Mapping[str, Any], run_id: str | None) -> Metered | None:
    """Return what the run has spent and holds; after an interrupt it is made again from the ledger.

    In a worker of an orchestrator it is the one that all workers share, which the recorder around the worker knows.
    """
    if budget is None:
        return None
    meter: Metered | None = state.get("meter") or _shared()
    return meter or Metered(budget, state.get("ledger") or (), run_id, stream_writer())


def _shared() -> Metered | None:
    try:
        around = recorder_in(get_config())
    except RuntimeError:  # outside any run
        return None
    return around.shared if around is not None else None


def run_of(state: Mapping[str, Any]) -> Run:
    """Return what the nodes of the run hand on; a graph of one's own may route without our `classify`."""
    run: Run | None = state.get("run")
    return run or Run(id=None, unfit=[], fallback=0)


def priced(tier: Tier, context: object, fallback: int) -> Tier:
    """Return the tier as its call is priced: rates of its own are not those of a fallback or of the context's model."""
    if tier.rates is None:
        return tier
    return tier if not fallback and not _is_overridden(tier, context) else replace(tier, rates=None)


def _is_overridden(tier: Tier, context: object) -> bool:
    """Tell whether the run's context brings another model for the tier."""
    if context is None:
        return False
    wanted = setting(context, field_of(tier.name, "model")) or tier.model
    return not (wanted is tier.model or wanted == tier.model)


def run_context() -> object:
    """Return the context of the run that the caller is a node of, or `None` outside one."""
    try:
        return get_runtime().context
    except (RuntimeError, KeyError):
        return None


class Accounted:
    """Puts what the run has paid, and tried, on any error that leaves the block. An interrupt is no error."""

    __slots__ = ("_recorder", "_run_id", "_state")

    def __init__(self, state: Mapping[str, Any], run_id: str | None, recorder: Recorder) -> None:
        self._state, self._run_id, self._recorder = state, run_id, recorder

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if not isinstance(error, Exception) or isinstance(error, GraphBubbleUp):
            return
        self._recorder.abandon()
        told: Any = error
        with suppress(AttributeError, TypeError):  # an error with slots cannot carry a ledger
            told.ledger = paid_in(self._state, self._run_id, self._recorder)
            if not getattr(told, "attempts", ()):
                told.attempts = list(self._state.get("attempts", ()))


def bare(tiers: Sequence[TierFacts], names: Collection[str]) -> tuple[TierFacts, ...]:
    """Return what is known of tiers, of which those with these names are given no tools, and need not call any."""
    if not names:
        return tuple(tiers)
    return tuple(replace(tier, tools=None, provider=None) if tier.name in names else tier for tier in tiers)


def paid_in(state: Mapping[str, Any], run_id: str | None, recorder: Recorder) -> list[LedgerEntry]:
    """Return what a run has paid: what its state has of it, and what was paid since."""
    stored = book(None, state.get("ledger"))  # made whole, where an older version has written them
    return book([entry for entry in stored if entry["run_id"] == run_id], recorder.entries)
