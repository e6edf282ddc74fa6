"""What our middleware know of a run together: the route, what was tried, what was paid, and whose model is called."""

from __future__ import annotations

from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, NotRequired

from langchain.agents import AgentState
from langchain.agents.middleware.types import OmitFromInput, PrivateStateAttr
from langchain_core.messages import AIMessage
from langchain_core.runnables.config import var_child_runnable_config
from langgraph.channels import UntrackedValue
from typing_extensions import TypedDict

from langchain_tiered.accounting.collecting import recorders_around
from langchain_tiered.accounting.ledger import book
from langchain_tiered.accounting.recorder import Recorder
from langchain_tiered.accounting.traces import payer
from langchain_tiered.errors import ConfigurationError
from langchain_tiered.nodes.attempts import said_in
from langchain_tiered.nodes.calls import settle
from langchain_tiered.types import Attempt, LedgerEntry, Outcome, Route  # noqa: TC001  (the state's schema reads them)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain.agents.middleware import ModelResponse
    from langchain_core.language_models import BaseChatModel
    from langchain_core.runnables import RunnableConfig

    from langchain_tiered.accounting.budget import Budget
    from langchain_tiered.routing.router import TierRouter


class TurnSoFar(TypedDict):
    """What must outlive an interrupt: JSON-plain, and stored with the thread."""

    run_id: str
    """The id of the run, on each of its ledger entries."""

    route: Route | None
    """Where the turn goes, or `None` before its first model call. The channel `route` may still be the last turn's."""

    routed: bool
    """Whether a router stands in the agent."""

    attempts: list[Attempt]
    """What was tried in the turn and did not end it, without its messages."""

    unfit: list[str]
    """Names of the tiers that cannot take the request."""

    fallback: int
    """Which of the tier's models answers: `0` for its own, `n` for its n-th fallback."""

    since: int
    """How many messages the thread had when the tier began."""


class Memory:
    """One run, while it is under way in this process. Never stored; `TurnSoFar` is what is.

    It stands in the agent's state, which streams and servers write out: so it is no dataclass, and tells nothing of
    itself but whose memory it is.
    """

    def __init__(
        self, turn: TurnSoFar, *, router: TierRouter | None = None, names: tuple[str, ...] = (), resumed: bool = False
    ) -> None:
        self.turn = turn
        """What an interrupt must not lose. Replaced, never changed: it may be on its way to a checkpoint."""
        self.router = router
        """The router that stands in the same agent, if any does."""
        self.names = names
        """The tiers' names, in which all of ours agree."""
        self.own: BaseChatModel | None = None
        """The model that the agent was built with: the first that was seen."""
        self.recorder = Recorder()
        """Books the calls of the run."""
        self.budget: Budget | None = None
        """What the run may cost, where a `BudgetMiddleware` stands in the same agent."""
        self.outcome: Outcome = "accepted"
        """What an answer that leaves the call under way is booked as."""
        self.attempts = list(turn["attempts"])
        """What was tried in the turn and did not end it, word for word where it was tried in this process."""
        self.tried = self.attempts
        """The same, with what the call under way has tried."""
        self.resumed = resumed
        """Whether the run was interrupted, so that no `before_agent` has put this memory into its channel."""

    def __repr__(self) -> str:
        return f"<Memory of run {self.turn['run_id']}>"

    @property
    def route(self) -> Route | None:
        """Where the turn goes, once that is known."""
        return self.turn["route"]

    @property
    def placed(self) -> Placed | None:
        """What one of ours further out says of the call under way; `None` in the outermost."""
        placed = PLACED.get()
        return placed if placed is not None and placed.memory is self else None

    def knows(self, model: BaseChatModel) -> bool:
        """Tell whether a model is the agent's own or one that ours have put there, and no other middleware's."""
        placed = self.placed
        return model is (self.own if placed is None else placed.model)

    def note(self, **changed: Any) -> None:
        """Write down what has changed in the turn."""
        self.turn = {**self.turn, **changed}  # type: ignore[typeddict-item]

    def keep(self, attempts: Sequence[Attempt]) -> None:
        """Remember attempts that did not end the turn; their words are not stored, where streams would show them."""
        self.attempts = list(attempts)
        self.note(attempts=[{**attempt, "messages": []} for attempt in attempts])

    def settle(self, response: ModelResponse[Any], config: RunnableConfig) -> None:
        """Book what became of an answer, which stands as rejected until it has passed."""
        said = said_in(response.result)
        around = [each for each in recorders_around(config) if each is not self.recorder]
        settle(self.recorder.answer_of(said), self.outcome, [self.recorder, *around])

    def passed(self, response: ModelResponse[Any], config: RunnableConfig) -> ModelResponse[Any]:
        """Return what leaves the outermost of ours, the route written on it."""
        self.settle(response, config)
        result = [self._routed(message) for message in response.result]
        self.outcome = "accepted"
        return replace(response, result=result)

    def update(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Return the channels as the run knows them, with the entries that the thread does not have yet."""
        booked = {entry["id"]: entry for entry in book(None, state.get("ledger"))}
        fresh = [entry for entry in self.recorder.entries if booked.get(entry["id"]) != entry]
        update: dict[str, Any] = {"ledger": fresh, "tiered_turn": self.turn}
        if self.route is not None:
            update["route"] = self.route
        return {**update, "tiered_run": self} if self.resumed else update

    def tell(self, error: Exception, state: Mapping[str, Any]) -> None:
        """Put what the run has paid and tried on an error that ends the call."""
        self.recorder.abandon()
        before = [entry for entry in book(None, state.get("ledger")) if entry["run_id"] == self.turn["run_id"]]
        with suppress(
            AttributeError, TypeError
        ):  # an error with slots cannot carry a ledger; it is raised all the same
            error.ledger = book(before, self.recorder.entries)  # type: ignore[attr-defined]
            if not getattr(error, "attempts", ()):
                error.attempts = list(self.tried)  # type: ignore[attr-defined]

    def _routed(self, message: Any) -> Any:
        """Return an answer with the route on it: a copy, for a cache may give the same message again."""
        if not isinstance(message, AIMessage) or self.route is None:
            return message
        told = {**message.response_metadata, "route": dict(self.route)}
        if self.outcome == "truncated":
            told["truncated"] = True
        return message.model_copy(update={"response_metadata": told})


@dataclass(frozen=True)
class Placed:
    """What one of ours tells those of ours further in, of one call."""

    memory: Memory
    """The run. A check may run an agent with middleware of ours, within the call of another."""

    model: BaseChatModel | None
    """The model that it has put in; `None` where another middleware's was left alone."""


PLACED: ContextVar[Placed | None] = ContextVar("langchain_tiered_placed", default=None)


def latest(_: Any, new: Any) -> Any:
    """Keep what was written last: a middleware outside may call twice at once, and all of it is written in one step."""
    return new


class RoutedState(AgentState[Any]):
    """What our middleware add to an agent's state."""

    route: NotRequired[Annotated[Route | None, OmitFromInput, latest]]
    """Where the last turn went, and why."""

    ledger: NotRequired[Annotated[list[LedgerEntry], OmitFromInput, book]]
    """Each paid call of the thread that our middleware saw, once."""

    tiered_turn: NotRequired[Annotated[TurnSoFar | None, PrivateStateAttr, latest]]
    """The turn so far."""

    tiered_run: NotRequired[Annotated[Any, UntrackedValue(Any, guard=False), PrivateStateAttr]]
    """The `Memory` of the run. After an interrupt several of ours may put it there in one step; it is the same one."""


def begun(state: Mapping[str, Any], names: Sequence[str], router: TierRouter | None) -> Memory:
    """Return the memory of a run that begins; another of ours may have begun it already.

    Raises:
        ConfigurationError: If that one has other tiers.
    """
    before: Memory | None = state.get("tiered_run")
    if before is None or before.route is not None:
        turn = TurnSoFar(
            run_id=payer(var_child_runnable_config.get()),
            route=None,
            routed=router is not None,
            attempts=[],
            unfit=[],
            fallback=0,
            since=len(state["messages"]),
        )
        return Memory(turn, router=router, names=tuple(names))
    before.names = before.names or tuple(names)
    if names and before.names != tuple(names):
        raise ConfigurationError(
            f"The middleware of this agent have different tiers: {', '.join(before.names)}, and {', '.join(names)}. "
            "Give the same tiers to TierRouterMiddleware and to EscalationMiddleware."
        )
    if router is not None:
        before.router = router
        before.note(routed=True)
    return before


def memory_of(state: dict[str, Any]) -> Memory:
    """Return the memory of the run. One that was resumed remembers what was stored.

    It is put into the state that the node was given, where all of ours find it during one call.
    """
    memory: Memory | None = state.get("tiered_run")
    if memory is None:
        turn: TurnSoFar | None = state.get("tiered_turn")
        memory = Memory(turn, resumed=True) if turn else begun(state, (), None)
        state["tiered_run"] = memory
    return memory
