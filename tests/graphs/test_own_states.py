"""The nodes over states of one's own: LangGraph's three kinds, what one lacks, and turns that somebody else routes."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import Annotated, Any, NotRequired

import pytest
from fakes import LABEL, ask, fail, in_turn, model, say, tiers
from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.messages.tool import tool_call
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph, add_messages
from langgraph.types import Command
from pydantic import BaseModel
from typing_extensions import TypedDict

from langchain_tiered import LedgerEntry, Policy, Route, Tier, TieredState, TierRouter, collect_ledger, nodes
from langchain_tiered.errors import ConfigurationError, NoAnswerAcceptedError
from langchain_tiered.nodes import route_by_tier
from langchain_tiered.state import Run  # noqa: TC001  (read at run time by LangGraph)
from langchain_tiered.types import Attempt

THREAD: Any = {"configurable": {"thread_id": "1"}}
Thread = Annotated[list[AnyMessage], add_messages]
Attempts = Annotated[list[Attempt], operator.add]


class ByHand(TypedDict):
    messages: Thread
    route: NotRequired[Route]
    attempts: NotRequired[Attempts]
    run: NotRequired[Run]


@dataclass
class AsDataclass:
    messages: Thread = field(default_factory=list)
    route: Route | None = None
    attempts: Attempts = field(default_factory=list)
    ledger: Annotated[list[LedgerEntry], operator.add] = field(default_factory=list)
    run: Run | None = None


@dataclass(slots=True, kw_only=True)
class WithSlots:
    messages: Thread
    route: Route | None = None
    attempts: Attempts = field(default_factory=list)
    run: Run | None = None
    customer: str = ""


class AsModel(BaseModel):
    messages: Thread = []
    route: Route | None = None
    attempts: Attempts = []
    ledger: Annotated[list[LedgerEntry], operator.add] = []
    run: Run | None = None


class OfNothing(BaseModel):
    messages: Thread
    route: dict[str, Any] | None = None
    attempts: Annotated[list[dict[str, Any]] | None, operator.add] = None
    ledger: Annotated[list[dict[str, Any]] | None, operator.add] = None
    run: dict[str, Any] | None = None


KINDS = [TieredState, AsDataclass, WithSlots, AsModel, OfNothing]
NANO = Route(tier="nano", task="classify", confidence=None, reason="So.", decided_by="rules", escalated_from=None)


def graph_of(schema: Any, scripted: tuple[Tier, ...], first: Any = None, **options: Any) -> Any:
    """Compile a graph over a state of one's own, that `first` routes instead of `classify` where it is given."""
    names = [tier.name for tier in scripted]
    builder = StateGraph(schema)
    builder.add_node("first", first or nodes.classify(TierRouter(scripted, classifier=None)))
    builder.add_conditional_edges("first", route_by_tier, names)
    for tier in scripted:
        builder.add_node(tier.name, nodes.answer(tier, tiers=scripted))
        builder.add_edge(tier.name, "check")
    builder.add_node("check", nodes.check(scripted, **options), destinations=(*names, END))
    return builder.add_edge(START, "first").compile(checkpointer=InMemorySaver())


def to_nano(_: Any) -> dict[str, Any]:
    return {"route": NANO}


def texts(result: Any) -> list[str]:
    return [message.text for message in result["messages"] if message.type == "ai"]


def with_spare(nano: Any, spare: Any, mini: Any) -> tuple[Tier, ...]:
    own, more = model("nano", nano), model("spare", spare)
    return (Tier("nano", own, criteria="", fallbacks=(more,)), Tier("mini", model("mini", mini), criteria=""))


def calls_of(scripted: tuple[Tier, ...]) -> list[int]:
    return [each.calls for tier in scripted for each in (tier.model, *tier.fallbacks)]  # type: ignore[union-attr]


# LangGraph's kinds of state


@pytest.mark.parametrize(
    ("schema", "first"), [*((kind, first) for kind in KINDS for first in (None, to_nano)), (ByHand, None)]
)
def test_each_kind_of_state_carries_every_step_over_two_turns(run: Any, schema: Any, first: Any) -> None:
    scripted = with_spare(fail(ConnectionError("down")), in_turn(say(""), say("spare")), say("mini"))
    graph = graph_of(schema, scripted, first)
    first_turn, second_turn = run(graph, ask(LABEL), THREAD), run(graph, ask(LABEL), THREAD)
    assert (texts(first_turn), first_turn["route"]["tier"]) == (["mini"], "mini")
    assert texts(second_turn) == ["mini", "spare"] if first else ["mini", "mini"]


@pytest.mark.parametrize("schema", KINDS)
def test_each_kind_of_state_leads_to_the_tier_of_its_route(schema: Any) -> None:
    state = {"messages": [], "route": NANO}
    assert route_by_tier.invoke(state if schema is TieredState else schema(**state)) == "nano"


# What a state lacks


class WithoutRun(TypedDict):
    messages: Thread
    route: NotRequired[Route]
    attempts: NotRequired[Attempts]


class WithoutAttempts(TypedDict):
    messages: Thread
    route: NotRequired[Route]
    run: NotRequired[Run]


class Unreduced(TypedDict):
    messages: Thread
    route: NotRequired[Route]
    attempts: NotRequired[list[Attempt]]
    run: NotRequired[Run]


class OtherName(TypedDict):
    chat: Thread
    route: NotRequired[Route]


@dataclass
class UnreducedDataclass:
    messages: Thread
    route: Route | None = None
    attempts: list[Attempt] = field(default_factory=list)
    run: Run | None = None


class UnreducedModel(BaseModel):
    messages: Thread
    route: Route | None = None
    attempts: Annotated[list[Attempt], operator.add, "of the turn"] = []
    run: Run | None = None


class ModelWithoutRun(BaseModel):
    messages: Thread
    route: Route | None = None
    attempts: Attempts = []


LACKING = [
    (MessagesState, r"no 'route'.*route: NotRequired\[Route\]"),
    (WithoutAttempts, r"no 'attempts'.*attempts: Annotated\[list\[Attempt\], operator.add\]"),
    (Unreduced, r"'attempts' .* has no reducer.*Annotated"),
    (UnreducedDataclass, "'attempts' .* has no reducer"),
    (UnreducedModel, "'attempts' .* has no reducer"),
]


@pytest.mark.parametrize(("schema", "words"), LACKING)
def test_a_channel_that_the_state_lacks_is_named_before_a_model_is_called(run: Any, schema: Any, words: str) -> None:
    scripted = with_spare(fail(ConnectionError("down")), say("spare"), say("mini"))
    with collect_ledger() as ledger, pytest.raises(ConfigurationError, match=words):
        run(graph_of(schema, scripted), ask(LABEL), THREAD)
    assert (calls_of(scripted), len(ledger)) == ([0, 0, 0], 0)


@pytest.mark.parametrize("first", [None, to_nano], ids=["classified", "by hand"])
@pytest.mark.parametrize("schema", [WithoutRun, ModelWithoutRun, ByHand])
def test_without_run_a_turn_goes_up_instead_of_asking_one_model_for_ever(run: Any, schema: Any, first: Any) -> None:
    scripted = with_spare(fail(ConnectionError("down")), fail(ConnectionError("down")), say("mini"))
    assert texts(run(graph_of(schema, scripted, first), ask(LABEL), THREAD)) == ["mini"]
    assert sum(calls_of(scripted)) == 3


@pytest.mark.parametrize(("schema", "words"), LACKING)
def test_it_is_named_too_where_somebody_else_routes(run: Any, schema: Any, words: str) -> None:
    scripted = with_spare(fail(ConnectionError("down")), say("spare"), say("mini"))
    words = "no 'attempts'" if schema is Unreduced else words  # without a value, which one lacks cannot be told
    with pytest.raises(ConfigurationError, match=words):
        run(graph_of(schema, scripted, to_nano), ask(LABEL), THREAD)
    assert calls_of(scripted) == [0, 0, 0]


@pytest.mark.parametrize(
    ("schema", "given", "words"),
    [(OtherName, {"chat": [("user", LABEL)]}, "no 'messages'"), (Thread, [("user", LABEL)], "is a list")],
)
def test_a_state_without_messages_is_named(run: Any, schema: Any, given: Any, words: str) -> None:
    builder = StateGraph(schema).add_node("first", nodes.classify(TierRouter(tiers(nano=say("n")), classifier=None)))
    with pytest.raises(ConfigurationError, match=words):
        run(builder.add_edge(START, "first").compile(), given)


class ModelOfRoute(BaseModel):
    tier: str = "nano"


class RouteAsModel(AsModel):
    route: ModelOfRoute | None = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("schema", "written", "words"),
    [
        (TieredState, {"tier": "nano", "task": "classify"}, "lacks confidence, decided_by, escalated_from, reason"),
        (TieredState, None, "no 'route'"),
        (AsModel, None, "no 'route'"),
        (RouteAsModel, {"tier": "nano"}, "holds a ModelOfRoute"),
    ],
)
def test_what_is_no_route_is_named_before_a_model_is_called(run: Any, schema: Any, written: Any, words: str) -> None:
    scripted = tiers(nano=say("n"), mini=say("m"))
    with pytest.raises(ConfigurationError, match=words):
        run(graph_of(schema, scripted, lambda _: {"route": written}), ask(LABEL), THREAD)
    assert calls_of(scripted) == [0, 0]


def test_a_check_that_no_tier_leads_to_says_so(run: Any) -> None:
    builder: Any = StateGraph(TieredState)
    builder.add_node("first", to_nano).add_edge(START, "first").add_edge("first", "check")
    builder.add_node("check", nodes.check(tiers(nano=say("n"))), destinations=(END,))
    with pytest.raises(ConfigurationError, match="No tier has answered yet"):
        run(builder.compile(), ask(LABEL))


# Turns that somebody else routes


def test_an_earlier_turn_does_not_count_where_somebody_else_routes(run: Any) -> None:
    scripted = tiers(nano=in_turn(say(""), say("fine"), say("")), mini=say("mini"), flagship=say("flagship"))
    graph = graph_of(TieredState, scripted, to_nano)
    results = [run(graph, ask(f"Question {turn}"), THREAD) for turn in range(5)]
    assert texts(results[-1]) == ["mini", "fine", "mini", "mini", "mini"]
    assert [len(result["attempts"]) for result in results] == [2, 1, 2, 2, 2]


def test_a_slip_of_an_earlier_turn_does_not_count_where_somebody_else_routes(run: Any) -> None:
    slip = AIMessage("", tool_calls=[tool_call(name="nothing", args={}, id="c1")])
    nano = in_turn(*(script for turn in range(3) for script in (lambda _: slip, say(f"mended {turn}"))))
    graph = graph_of(TieredState, tiers(nano=nano, mini=say("mini")), to_nano)
    results = [run(graph, ask(f"Question {turn}"), THREAD) for turn in range(3)]
    assert texts(results[-1]) == ["mended 0", "mended 1", "mended 2"]


def test_a_turn_that_failed_leaves_nothing_to_the_next_where_somebody_else_routes(run: Any) -> None:
    down = fail(ConnectionError("down"))
    scripted = with_spare(in_turn(down, say(""), say("nano")), in_turn(down, say("x")), in_turn(down, say("mini")))
    graph = graph_of(TieredState, scripted, to_nano)
    with pytest.raises(ConnectionError) as raised:
        run(graph, ask("Question 1"), THREAD)
    assert len(raised.value.attempts) == 3  # type: ignore[attr-defined]
    assert texts(run(graph, ask("Question 2"), THREAD)) == ["mini"], "from the tier's own model on, and up"
    assert texts(run(graph, ask("Question 3"), THREAD)) == ["mini", "nano"]
    assert calls_of(scripted) == [3, 1, 2]


def test_an_error_lists_the_attempts_of_its_own_turn(run: Any) -> None:
    scripted = tiers(nano=say(""), mini=in_turn(say("mini"), say("")))
    graph = graph_of(TieredState, scripted, to_nano)
    run(graph, ask("Question 1"), THREAD)
    with pytest.raises(NoAnswerAcceptedError, match="after 2 attempts") as raised:
        run(graph, ask("Question 2"), THREAD)
    assert [attempt["tier"] for attempt in raised.value.attempts] == ["nano", "mini"]


def test_a_turn_that_somebody_else_routes_begins_at_a_tiers_own_model_after_one_of_classify(run: Any) -> None:
    scripted = with_spare(in_turn(fail(ConnectionError("down")), say("nano")), say("spare"), say("mini"))
    by_rules = nodes.classify(TierRouter(scripted, classifier=None))
    graph = graph_of(TieredState, scripted, by_rules)
    saver = graph.checkpointer
    assert texts(run(graph, ask(LABEL), THREAD)) == ["spare"]
    graph = graph_of(TieredState, scripted, to_nano)
    graph.checkpointer = saver
    assert texts(run(graph, ask(LABEL), THREAD)) == ["spare", "nano"]


def test_a_human_is_asked_in_each_turn_that_somebody_else_routes(run: Any) -> None:
    policy = Policy(on_no_answer="ask")
    graph = graph_of(TieredState, tiers(nano=say("perhaps")), to_nano, checks=[lambda _: False], policy=policy)
    for turn in range(2):
        assert run(graph, ask(f"Question {turn}"), THREAD)["__interrupt__"]
        verdict = graph.get_state(THREAD).values["attempts"][-1]["verdict"]
        assert verdict["accepted"] is False, "written down before a human is asked, so that no check is paid twice"
        with pytest.raises(NoAnswerAcceptedError, match="human rejected it"):
            run(graph, Command(resume={"decisions": [{"type": "reject"}]}), THREAD)
