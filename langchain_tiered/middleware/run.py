"""What our middleware know of a run together: the route, what was tried, what was paid, and whose model is called."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, NotRequired
from uuid import uuid4

from langchain.agents import AgentState
from langchain.agents.middleware.types import OmitFromInput, PrivateStateAttr
from langchain_core.messages import AIMessage
from langgraph.channels import UntrackedValue
from typing_extensions import TypedDict

from langchain_tiered.accounting.ledger import book
from langchain_tiered.accounting.recorder import Recorder, rebook
from langchain_tiered.types import Attempt, LedgerEntry, Outcome, Route  # noqa: TC001  (the state's schema reads them)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain.agents.middleware import ModelResponse
    from langchain_core.language_models import BaseChatModel
    from langchain_core.runnables import RunnableConfig

    from langchain_tiered.routing.router import TierRouter


class TurnSoFar(TypedDict):
    """What must outlive an interrupt: JSON-plain, and stored with the thread."""

    run_id: str
    """The id of the run, on each of its ledger entries."""

    attempts: list[Attempt]
    """What was tried in the turn and did not end it."""

    unfit: list[str]
    """Names of the tiers that cannot take the request."""

    fallback: int
    """Which of the tier's models answers: `0` for its own, `n` for its n-th fallback."""

    since: int
    """How many messages the thread had when the tier began."""


@dataclass
class Memory:
    """One run, while it is under way in this process. Never stored; `TurnSoFar` is what is."""

    turn: TurnSoFar
    """What an interrupt must not lose."""

    route: Route | None = None
    """Where the turn goes, once that is known."""

    router: TierRouter | None = None
    """The router that stands in the same agent, if any does."""

    own: BaseChatModel | None = None
    """The model that the agent was built with: the first that was seen."""

    given: BaseChatModel | None = None
    """The model that one of ours has put in the call under way."""

    recorder: Recorder = field(default_factory=Recorder)
    """Books the calls of the run."""

    outcome: Outcome = "accepted"
    """What an answer that leaves the call under way is booked as."""

    depth: int = 0
    """How many of ours the call under way has entered."""

    def passed(self, response: ModelResponse[Any], config: RunnableConfig) -> dict[str, Any]:
        """Write the route on what leaves the outermost of ours, book its outcome, and return what is written down."""
        answer = next((each for each in reversed(response.result) if isinstance(each, AIMessage)), None)
        if answer is not None and self.route is not None:
            answer.response_metadata["route"] = dict(self.route)
            if self.outcome == "truncated":
                answer.response_metadata["truncated"] = True
        entry = self.recorder.answered
        if entry is not None and entry["outcome"] == "rejected" and "rejected_by" not in entry:
            settled = entry.copy()
            settled["outcome"] = self.outcome
            self.recorder.book([settled])
            rebook([settled], config)
        self.given, self.outcome = None, "accepted"
        return self.update(self.recorder.entries)

    def update(self, entries: Sequence[LedgerEntry]) -> dict[str, Any]:
        """Return the channels as the run knows them."""
        update: dict[str, Any] = {"ledger": list(entries), "tiered_turn": self.turn}
        return update if self.route is None else {**update, "route": self.route}

    def tell(self, error: Exception) -> None:
        """Put what was paid and tried on an error that ends the call."""
        with suppress(
            AttributeError, TypeError
        ):  # an error with slots cannot carry a ledger; it is raised all the same
            error.ledger = self.recorder.entries  # type: ignore[attr-defined]
            if not getattr(error, "attempts", ()):
                error.attempts = list(self.turn["attempts"])  # type: ignore[attr-defined]


def latest(_: Any, new: Any) -> Any:
    """Keep what was written last; several of ours may write in one step."""
    return new


class RoutedState(AgentState[Any]):
    """What our middleware add to an agent's state."""

    route: NotRequired[Annotated[Route, OmitFromInput, latest]]
    """Where the last turn went, and why."""

    ledger: NotRequired[Annotated[list[LedgerEntry], OmitFromInput, book]]
    """Each paid call of the thread that our middleware saw, once."""

    tiered_turn: NotRequired[Annotated[TurnSoFar, PrivateStateAttr, latest]]
    """The turn so far."""

    tiered_run: NotRequired[Annotated[Any, UntrackedValue, PrivateStateAttr]]
    """The `Memory` of the run."""


def begun(router: TierRouter | None, state: Mapping[str, Any]) -> Memory:
    """Return the memory of a run that begins; one of ours may have begun it already."""
    before: Memory | None = state.get("tiered_run")
    if before is not None and before.route is None:
        before.router = before.router or router
        return before
    turn = TurnSoFar(run_id=str(uuid4()), attempts=[], unfit=[], fallback=0, since=len(state["messages"]))
    return Memory(turn, router=router)


def memory_of(state: dict[str, Any]) -> Memory:
    """Return the memory of the run. One that was resumed remembers what was stored.

    It is put into the state that the node was given, where all of ours find it during one call.
    """
    memory: Memory | None = state.get("tiered_run")
    if memory is None:
        turn: TurnSoFar | None = state.get("tiered_turn")
        memory = begun(None, state) if turn is None else Memory(turn, route=state.get("route"))
        state["tiered_run"] = memory
    return memory
