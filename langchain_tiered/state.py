"""The states of the graphs and their channels, in one place.

JSON-plain throughout, so that any checkpointer stores them and Studio shows them, with two named exceptions:
`structured_response` is what `create_agent` puts there, and `error` is held for one step and never stored.
"""

import operator
from typing import Annotated, Any, NotRequired, Required

from langchain.agents import AgentState
from langchain.agents.middleware.types import OmitFromInput
from langchain_core.messages import AnyMessage, BaseMessage
from langgraph.channels import UntrackedValue
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

from langchain_tiered.accounting.ledger import book
from langchain_tiered.routing.facts import messages_of
from langchain_tiered.types import Attempt, LedgerEntry, Route


def add_turn(left: list[BaseMessage], right: Any) -> list[BaseMessage]:
    """Add messages to a thread as LangGraph's `add_messages` does.

    Raises:
        InvalidInputError: If something is no message, or has an unknown role.
    """
    return add_messages(left, messages_of(right))  # type: ignore[arg-type,return-value]


class Run(TypedDict):
    """What the nodes of one run hand on to each other."""

    id: str | None
    """The run's id, on each of its ledger entries; `None` where something else than our `classify` began the run."""

    unfit: list[str]
    """Names of the tiers that cannot take the request."""

    fallback: int
    """Which model of the tier makes the next attempt: `0` for its own, `n` for its n-th fallback."""

    ahead: NotRequired[bool]
    """Whether the tier's attempt was made already, while the classifier decided."""

    asked: NotRequired[bool]
    """Whether a human is asked about the last answer: then its verdict is written down, and the step told."""

    since: NotRequired[int]
    """How many messages the thread had when the tier began: what came before is no sign of its getting nowhere."""

    asks: NotRequired[str | None]
    """The id of the human message that the turn answers, where something else than our `classify` began the run."""


def latest(_: Run, right: Run) -> Run:
    """Keep what was written last.

    A channel with a reducer has a value from the beginning. So a node can tell one that the state does not declare from
    one that nobody has written to yet.
    """
    return right


class TieredInput(TypedDict):
    """What a caller gives: new messages. A route, attempts or ledger entries cannot be put in from outside.

    That is so where it is the graph's input schema, as in `create_tiered_agent`. A graph of one's own whose callers are
    not trusted says so: `StateGraph(TieredState, input_schema=TieredInput)`. Messages are taken as they are: whoever
    may put in AI messages can write a route on one, which leads to a declared tier at or above the floor, no further.
    """

    messages: Required[Annotated[list[AnyMessage], add_turn]]
    """The thread, or what is new in it."""


class TieredState(TieredInput):
    """The state of a tiered graph. Subclass it for a graph of your own, with `TieredInput` as its `input_schema`."""

    route: NotRequired[Route]
    """Where the current turn goes, and why."""

    attempts: NotRequired[Annotated[list[Attempt], operator.add]]
    """What was tried in the current turn. Answers stand here until `check` moves an accepted one to `messages`."""

    ledger: NotRequired[Annotated[list[LedgerEntry], OmitFromInput, book]]
    """Each paid call of the thread, once. The reducer is last, or it is dropped; the mark keeps a sub-agent from
    booking its parent's entries again."""

    structured_response: NotRequired[Annotated[Any, OmitFromInput]]
    """The parsed answer, where a response format is wanted."""

    run: NotRequired[Annotated[Run, latest]]
    """What the nodes of the current run hand on to each other."""

    meter: NotRequired[Annotated[Any, UntrackedValue]]
    """What the branches of the run have spent and hold, where there is a budget. Never stored: it is made again from
    the ledger."""

    error: NotRequired[Annotated[Any, UntrackedValue]]
    """The provider's own error of the last attempt, raised as it is once the steps are used up. Never stored: a run
    that is resumed between a tier and its check raises one that lists the attempts instead."""


class TieredOutput(TypedDict):
    """What a caller gets, and all that is streamed: nothing rejected."""

    messages: Required[Annotated[list[AnyMessage], add_turn]]
    """The thread, with the accepted answer last."""

    route: NotRequired[Route]
    """Where the last turn went, and why."""

    ledger: NotRequired[Annotated[list[LedgerEntry], OmitFromInput, book]]
    """Each paid call of the thread, once."""


class LoopState(AgentState[Any]):
    """The state of one visit to a tier that is a `create_agent` loop; its schema wins over any middleware's."""

    route: NotRequired[Route]
    """Where the turn goes."""

    run: NotRequired[Run]
    """What the nodes of the run hand on to each other."""

    attempts: NotRequired[Annotated[list[Attempt], operator.add]]
    """What the turn has tried; the visit adds those of its own attempts that were mended in the loop."""

    visit: NotRequired[Annotated[Attempt | None, OmitFromInput]]
    """The attempt that the visit comes to, its messages empty where they are still those of the loop."""

    ledger: NotRequired[Annotated[list[LedgerEntry], OmitFromInput, book]]
    """What this visit paid, kept through an interrupt."""

    error: NotRequired[Annotated[Any, OmitFromInput, UntrackedValue]]
    """The provider's own error that ended the visit."""
