"""What the nodes read of a graph's state, of whichever of LangGraph's three kinds it is, as one dict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, get_type_hints

from langchain_core.messages import HumanMessage
from langgraph.channels.base import BaseChannel
from langgraph.types import Overwrite
from pydantic import BaseModel

from langchain_tiered.errors import ConfigurationError
from langchain_tiered.nodes.ladder import State, run_of
from langchain_tiered.types import Route

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from langchain_core.messages import BaseMessage

NEEDED = ("messages", "route", "attempts")
"""The channels that a graph cannot do without. All others may be left out, and what they would tell is told nowhere:
without `run`, a tier's fallbacks are not reached, and the turn goes up instead."""

_DECLARED = {
    "messages": "messages: Annotated[list[AnyMessage], add_messages]",
    "route": "route: NotRequired[Route]",
    "attempts": "attempts: Annotated[list[Attempt], operator.add]",
}
_FIELDS = {
    **{name: _DECLARED[name] for name in ("messages", "attempts")},
    "route": "route: Route | None = None",
}
_LISTS = frozenset({"messages", "attempts", "ledger"})
_OF_ROUTE = frozenset(Route.__annotations__)


def plain(state: Any) -> State:
    """Return a graph's state as a dict; that of a `TypedDict` is one already.

    Raises:
        ConfigurationError: If it is no such state, or a dataclass or a pydantic model without one of our channels.
    """
    return state if isinstance(state, dict) else _read(state)


def arrived(state: Any) -> State:
    """Return a graph's state as a dict that has what a tier and its check need.

    LangGraph drops without a word what is written to a channel that the state does not declare. Here it is missed,
    before a model is called.

    Raises:
        ConfigurationError: If something is missing or cannot be read; names the channels and their declarations.
    """
    told = plain(state)
    missing = [name for name in NEEDED if name not in told or (name == "route" and told[name] is None)]
    if missing:
        raise _missing(missing, _DECLARED if told is state else _FIELDS)
    if isinstance(told["attempts"], Overwrite):
        raise _unreduced(_DECLARED)
    routed(told)
    return told


def messages_in(state: State) -> Sequence[BaseMessage]:
    """Return the thread.

    Raises:
        ConfigurationError: If the state has no such channel.
    """
    if "messages" not in state:
        raise _missing(["messages"], _DECLARED)
    messages: Sequence[BaseMessage] = state["messages"]
    return messages


def routed(state: Any) -> Route:
    """Return the route in a graph's state.

    Raises:
        ConfigurationError: If there is none, or something else than a route.
    """
    told = plain(state)
    route: Any = told.get("route")
    if route is None:
        raise _missing(["route"], _DECLARED if told is state else _FIELDS)
    if not isinstance(route, Mapping):
        raise ConfigurationError(
            f"The channel 'route' of this graph's state holds a {type(route).__name__}. Routes are plain data: write "
            "Route(tier=..., ...), which is a dict."
        )
    if not route.keys() >= _OF_ROUTE:
        lacking = ", ".join(sorted(_OF_ROUTE - route.keys()))
        raise ConfigurationError(
            f"The route in this graph's state, {dict(route)!r}, lacks {lacking}. Write all that a Route has: "
            f"{', '.join(Route.__annotations__)}."
        )
    return route  # type: ignore[return-value]


def in_turn(state: State) -> State:
    """Return the state as its turn has it, where the graph routes without our `classify`, which begins each anew.

    A turn is what follows a human message. What an earlier one has tried, and which model of a tier it had come to, is
    put away. A run that `classify` began has an id, and its state is returned as it is.
    """
    run = run_of(state)
    if run["id"] is not None or run.get("asks", "") == (asks := _asks(state["messages"])):
        return state
    if "asks" not in run:
        return {**state, "run": {**run, "asks": asks}}
    return {**state, "attempts": [], "run": {**run, "asks": asks, "fallback": 0, "asked": False}}


def _asks(messages: Sequence[BaseMessage]) -> str | None:
    """Return the id of the last human message."""
    return next((message.id for message in reversed(messages) if isinstance(message, HumanMessage)), None)


def _read(state: Any) -> State:
    told: State
    if isinstance(state, BaseModel):
        told = dict(state)
    elif is_dataclass(state):
        told = {each.name: getattr(state, each.name) for each in fields(state)}
    elif isinstance(state, Mapping):
        return dict(state)
    else:
        raise ConfigurationError(
            f"The state of this graph is a {type(state).__name__}. Give it a schema with channels: TieredState, or a "
            "TypedDict, dataclass or pydantic model of your own."
        )
    if missing := [name for name in NEEDED if name not in told]:
        raise _missing(missing, _FIELDS)
    if not _is_reduced(type(state)):  # type: ignore[arg-type]  # a class is hashable
        raise _unreduced(_FIELDS)
    return {name: [] if value is None and name in _LISTS else value for name, value in told.items()}


@lru_cache(maxsize=64)
def _is_reduced(kind: type) -> bool:
    """Tell whether a schema declares `attempts` with a reducer, which is the last item of `Annotated`."""
    last = getattr(get_type_hints(kind, include_extras=True).get("attempts"), "__metadata__", (None,))[-1]
    return callable(last) or isinstance(last, BaseChannel)


def _missing(names: Collection[str], declared: Mapping[str, str]) -> ConfigurationError:
    told = ", ".join(map(repr, names))
    return ConfigurationError(
        f"The state of this graph has no {told}: its schema does not declare {'it' if len(names) == 1 else 'them'}, or "
        f"nothing was written there. Build the graph on TieredState, or {_told(names, declared)}"
    )


def _unreduced(declared: Mapping[str, str]) -> ConfigurationError:
    return ConfigurationError(
        "The channel 'attempts' of this graph's state has no reducer, so that each attempt would wipe out those before "
        f"it. Build the graph on TieredState, or {_told(['attempts'], declared)}"
    )


def _told(names: Collection[str], declared: Mapping[str, str]) -> str:
    lines = "; ".join(declared[name] for name in names)
    return f"declare in its schema: {lines} (see langchain_tiered.state, where TieredState does)."
