"""One model call of a loop, carried on by the engine's steps until an answer passes or the turn must leave it.

Written once, without calling anything: `carried` says what it wants done, and a sync and an async driver do it. Both
bodies that stand in a `create_agent` loop are made of it, and the chat model; they differ in how a request is prepared
and in which steps they carry out themselves.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from langchain.agents.structured_output import StructuredOutputError
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.config import get_config

from langchain_tiered.accounting.collecting import rebook
from langchain_tiered.accounting.traces import REJECTED, mark
from langchain_tiered.cascade.checks import CheckInput
from langchain_tiered.cascade.failures import failure_of
from langchain_tiered.cascade.stall import insists, stalled
from langchain_tiered.errors import NoAnswerAcceptedError
from langchain_tiered.nodes.attempts import (
    NOT_STALLED,
    answered,
    attempt_of,
    dicts_of,
    failed_attempt,
    hand_up_reason,
    said_in,
    told_of,
    turn_of,
    uncompleted,
)
from langchain_tiered.nodes.checking import raised
from langchain_tiered.nodes.events import announce
from langchain_tiered.nodes.ladder import run_of
from langchain_tiered.types import Verdict, place_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Generator, Iterable, Sequence

    from langchain.agents.middleware import ModelRequest, ModelResponse
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AnyMessage, BaseMessage
    from langchain_core.runnables import RunnableConfig
    from langgraph.types import StreamWriter

    from langchain_tiered.accounting.recorder import Recorder
    from langchain_tiered.cascade.steps import Action, Step
    from langchain_tiered.nodes.checking import Judge
    from langchain_tiered.nodes.ladder import Ladder, State
    from langchain_tiered.types import Attempt, LedgerEntry, Outcome, Route, Tier

NO_ANSWER = Verdict(accepted=False, check="not_empty", reason="The model said nothing.", score=None)
BROKEN_OFF = Verdict(accepted=False, check="finished", reason="The stream of the answer broke off.", score=None)


@dataclass(slots=True)
class Build:
    """Wanted: the model of a tier."""

    tier: Tier
    fallback: int


@dataclass(slots=True)
class Ask:
    """Wanted: a model's response."""

    request: ModelRequest[Any]


@dataclass(slots=True)
class Weigh:
    """Wanted: a verdict on an answer."""

    tier: Tier
    given: CheckInput
    is_tool_turn: bool


@dataclass(slots=True)
class Pause:
    """Wanted: some seconds' rest."""

    seconds: float


Wanted: TypeAlias = Build | Ask | Weigh | Pause


@dataclass
class End:
    """What a call came to."""

    tier: Tier
    """Whose model was tried last."""

    fallback: int
    """Which of its models."""

    response: ModelResponse[Any] | None = None
    """What the model gave last, if anything."""

    step: Step | None = None
    """The step that the call ends with, or `None` where it calls tools, and the loop goes on."""

    tried: list[Attempt] = field(default_factory=list)
    """What was tried, in order."""

    said: list[BaseMessage] = field(default_factory=list)
    """What the last attempt's model said; it is written down in the attempt where that was not accepted."""

    error: Exception | None = None
    """The provider's own error of the last attempt."""


class Body(Protocol):
    """What differs from body to body."""

    inside: frozenset[Action]
    """The steps that the body carries out itself, within the call."""

    def ready(self, tier: Tier, fallback: int) -> BaseChatModel | None:
        """Return the model of a tier where the body has it already; it is built else."""
        ...

    def prepared(
        self, model: BaseChatModel, tier: Tier, fallback: int, told: Sequence[AnyMessage], tried: Sequence[Attempt]
    ) -> ModelRequest[Any]:
        """Return the request with the model in place, and what it is told of its slip behind the messages."""
        ...


@dataclass
class Turn:
    """What a call must know of its turn."""

    ladder: Ladder
    judge: Judge
    recorder: Recorder
    request: ModelRequest[Any]
    state: State
    """Has `messages`, `route`, `attempts` and `run`."""
    writer: StreamWriter | None = None
    """Writes the steps of the call to the custom stream; `None` for the writer of the graph that makes it."""
    config: RunnableConfig | None = None
    """The config that the call is made under; `None` for that of the graph that makes it."""
    words_stand: bool = False
    """Whether the attempts of the call are one message to whoever reads its stream: words once shown stay in it."""

    @property
    def attempts(self) -> list[Attempt]:
        """What was tried in the turn before this call."""
        return list(self.state.get("attempts", ()))

    @property
    def context(self) -> object:
        """The run's context."""
        return self.request.runtime.context

    @property
    def around(self) -> RunnableConfig:
        """The config that the call is made under."""
        return get_config() if self.config is None else self.config


def carried(turn: Turn, body: Body, tier: Tier, fallback: int) -> Generator[Wanted, Any, End]:
    """Call a tier's model and follow the engine's steps; end where tools are called, or with a step not the body's."""
    end, told = End(tier, fallback), list[Any]()
    stuck = _stuck(turn, None)
    while True:
        end.response = end.error = end.step = None
        end.said = []
        attempt = stuck or turn.ladder.left_alone(end.tier, end.fallback, [*turn.attempts, *end.tried], turn.context)
        if attempt is None:
            attempt = yield from _asked(turn, body, end, told)
        if attempt is None:
            return end
        stuck = None
        attempt = {**attempt, "tier": end.tier.name, "fallback": end.fallback}
        end.tried.append(attempt)
        end.step = step = turn.ladder.step(turn.state, [*turn.attempts, *end.tried])
        if step.action == "accept":
            return end
        attempt["messages"] = attempt["messages"] or dicts_of([*turn_of(turn.state["messages"]), *end.said])
        if step.action not in body.inside:
            if step.action == "stop" and "escalate" in body.inside:
                announce(attempt, step, turn.writer)  # no `check` comes after such a body, to tell it
            return end
        announce(attempt, step, turn.writer)
        book_rejected(turn, attempt)
        if step.wait_s:
            yield Pause(step.wait_s)
        told = told_of(attempt, turn.request.tools, turn.request.response_format) if step.action == "repair" else []
        end.tier, end.fallback = turn.ladder.tier(step.tier), step.fallback


def _asked(turn: Turn, body: Body, end: End, told: Sequence[AnyMessage]) -> Generator[Wanted, Any, Attempt | None]:
    """Ask the model and have its answer judged; nothing is returned where it calls tools that may run."""
    model = body.ready(end.tier, end.fallback)
    if model is None:
        model = yield Build(end.tier, end.fallback)
    request = body.prepared(model, end.tier, end.fallback, told, end.tried)
    try:
        end.response = yield Ask(request)
    except Exception as error:  # noqa: BLE001  (told apart: what is no provider's error is raised again)
        turn.ladder.settle(end.tier, end.fallback, failure_of(error, of_call=turn.recorder.raised(error)), turn.context)
        end.error = error
        return _failed(turn, end.tier, error)
    turn.ladder.settle(end.tier, end.fallback, None, turn.context)
    return (yield from _weighed(turn, end, request, end.response))


def _failed(turn: Turn, tier: Tier, error: Exception) -> Attempt:
    so_far = turn_of(turn.state["messages"])
    if isinstance(error, StructuredOutputError):
        verdict = Verdict(accepted=False, check="matches_schema", reason=_schema_problem(error), score=None)
        messages = dicts_of([*so_far, error.ai_message])
        return attempt_of(tier.name, messages=messages, verdict=verdict, **answered(turn.recorder))
    is_failure = failure_of(error, of_call=turn.recorder.raised(error)) is not None
    if turn.words_stand and is_failure and (what := answered(turn.recorder)).get("shown"):
        return attempt_of(tier.name, verdict=BROKEN_OFF, **what)
    return failed_attempt(tier.name, error, turn.recorder, messages=dicts_of(so_far))


def _weighed(
    turn: Turn, end: End, request: ModelRequest[Any], response: ModelResponse[Any]
) -> Generator[Wanted, Any, Attempt | None]:
    """Return the attempt that a response makes; nothing where it calls tools that may run."""
    tier, result = end.tier, list(response.result)
    said = said_in(result)
    what = answered(turn.recorder, said)
    if said is not None and (cut := turn.recorder.cut_calls(what.get("call_id"))):
        whole = uncompleted(said, cut)
        result = [whole if message is said else message for message in result]
        said = whole
    end.said = result
    if said is None:
        return attempt_of(tier.name, verdict=NO_ANSWER, **what)
    if (reason := hand_up_reason(said)) is not None and not _is_pinned(turn):
        return attempt_of(tier.name, hand_up=reason, **what)
    if isinstance(result[-1], ToolMessage) and response.structured_response is None:
        reason = "Its structured answer does not fit the wanted schema."
        return attempt_of(
            tier.name, verdict=Verdict(accepted=False, check="matches_schema", reason=reason, score=None), **what
        )
    calls = bool(said.tool_calls or said.invalid_tool_calls) and response.structured_response is None
    tools = [*request.tools, *turn.recorder.bound(what.get("call_id"))]
    asked = [*([request.system_message] if request.system_message else []), *turn.state["messages"]]
    # A call for the structured answer that nobody has taken is one of no tool: the loop would ask for it for ever.
    schema = None if calls else request.response_format
    given = CheckInput(asked, said, turn.state["route"], tools, schema)
    verdict = yield Weigh(tier, given, is_tool_turn=calls)
    if not calls:
        return attempt_of(tier.name, verdict=verdict, **what)
    if not verdict["accepted"]:
        return attempt_of(tier.name, verdict=verdict, **{**what, "shown": False})  # words before a call are no answer
    return _stuck(turn, said, **what) if said.tool_calls else attempt_of(tier.name, verdict=verdict, **what)


def _stuck(turn: Turn, proposed: AIMessage | None, **what: Any) -> Attempt | None:
    """Return the attempt of a tier that makes no progress; `None` where it does. Other tiers' calls do not count."""
    repeats, messages = turn.ladder.policy.max_repeats, turn.state["messages"]
    if repeats is None or (messages and isinstance(messages[-1], HumanMessage)):  # nothing was called in the turn yet
        return None
    since = run_of(turn.state).get("since", 0)
    why = stalled(messages[since:], proposed, max_repeats=repeats) or insists(messages, proposed)
    if why is None:
        return None
    verdict = Verdict(accepted=False, check=NOT_STALLED, reason=why, score=None)
    return attempt_of("", verdict=verdict, **{**what, "shown": False})


def _schema_problem(error: StructuredOutputError) -> str:
    """Tell what was wrong with a structured answer, without its words: the error quotes them."""
    return f"Its structured answer could not be used ({type(error).__name__})."


def _is_pinned(turn: Turn) -> bool:
    decided_by: str = turn.state["route"]["decided_by"]
    return decided_by == "pin"


def book_rejected(turn: Turn, attempt: Attempt) -> None:
    """Book the call of an attempt again that was rejected inside the loop: nobody else will."""
    entry = next((entry for entry in turn.recorder.entries if entry["id"] == attempt["call_id"]), None)
    if entry is None or attempt["verdict"] is None:
        return
    corrected = entry.copy()
    corrected["outcome"], corrected["rejected_by"] = "rejected", attempt["verdict"]["check"]
    turn.recorder.book([corrected])
    rebook([corrected], turn.around)
    mark(turn.around, REJECTED, rejected_by=corrected["rejected_by"])


def settle(
    entry: LedgerEntry | None,
    outcome: Outcome,
    around: Iterable[Recorder],
    *,
    before: Collection[str] = ("rejected",),
) -> None:
    """Book what became of an answer that has passed; it stands as rejected, or as another of `before`, until then.

    Args:
        entry: What it is booked as, if at all.
        outcome: What became of it.
        around: Who has booked it.
        before: What it may stand as.
    """
    if entry is not None and entry["outcome"] in before and "rejected_by" not in entry:
        settled = entry.copy()
        settled["outcome"] = outcome
        for recorder in around:
            recorder.book([settled])


def outcome_of(turn: Turn, end: End) -> Outcome:
    """Return what an answer that has passed is booked as."""
    if end.tried and end.tried[-1]["verdict"] is not None and not end.tried[-1]["verdict"]["accepted"]:
        return "truncated"
    tiers = turn.ladder.tiers
    is_below = place_of(end.tier.name, tiers) < place_of(turn.state["route"]["tier"], tiers)
    return "downgraded" if is_below else "accepted"


def risen(turn: Turn, end: End) -> Route:
    """Return the turn's route, raised where the call escalated. A downgrade is for one attempt: the route stays."""
    tiers = turn.ladder.tiers
    route: Route = turn.state["route"]
    there = place_of(end.tier.name, tiers)
    if there <= place_of(route["tier"], tiers):
        return route
    below = [place_of(attempt["tier"], tiers) < there for attempt in end.tried]
    count = max(place for place, is_below in enumerate(below, 1) if is_below)
    step = turn.ladder.step(turn.state, [*turn.attempts, *end.tried[:count]])
    return raised(route, end.tier.name, step.reason)


def error_of(turn: Turn, end: End) -> Exception:
    """Return what ends a call that no attempt answered, with all attempts on it."""
    attempts = [*turn.attempts, *end.tried]
    book_rejected(turn, attempts[-1])
    error = end.error or NoAnswerAcceptedError(attempts, end.step.reason if end.step else "")
    error.attempts = attempts  # type: ignore[attr-defined]
    return error


def drive(calls: Generator[Wanted, Any, End], turn: Turn, handler: Callable[[Any], Any]) -> End:
    """Do what `carried` wants."""
    try:
        wanted = next(calls)
        while True:
            try:
                given = handler(wanted.request) if isinstance(wanted, Ask) else done(wanted, turn)
            except Exception as error:  # noqa: BLE001  (handed to whoever wanted it)
                wanted = calls.throw(error)
            else:
                wanted = calls.send(given)
    except StopIteration as ended:
        end: End = ended.value
        return end


async def adrive(calls: Generator[Wanted, Any, End], turn: Turn, handler: Callable[[Any], Awaitable[Any]]) -> End:
    """Do what `drive` does, without blocking the event loop."""
    try:
        wanted = next(calls)
        while True:
            try:
                given = await (handler(wanted.request) if isinstance(wanted, Ask) else adone(wanted, turn))
            except Exception as error:  # noqa: BLE001  (handed to whoever wanted it)
                wanted = calls.throw(error)
            else:
                wanted = calls.send(given)
    except StopIteration as ended:
        end: End = ended.value
        return end


def done(wanted: Build | Weigh | Pause, turn: Turn) -> Any:
    """Do what `carried` wants, save asking the model, which each body has its own way of."""
    if isinstance(wanted, Build):
        return turn.ladder.models.of(wanted.tier, turn.context, wanted.fallback)
    if isinstance(wanted, Weigh):
        return turn.judge.verdict(
            wanted.tier, turn.state, wanted.given, turn.recorder, turn.around, is_tool_turn=wanted.is_tool_turn
        )
    return time.sleep(wanted.seconds)


async def adone(wanted: Build | Weigh | Pause, turn: Turn) -> Any:
    """Do what `done` does, without blocking the event loop."""
    if isinstance(wanted, Build):
        return await turn.ladder.models.aof(wanted.tier, turn.context, wanted.fallback)
    if isinstance(wanted, Weigh):
        return await turn.judge.averdict(
            wanted.tier, turn.state, wanted.given, turn.recorder, turn.around, is_tool_turn=wanted.is_tool_turn
        )
    return await asyncio.sleep(wanted.seconds)
