"""The tiered agent in graphs that other people have made: as a node, as a tool, under a supervisor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NotRequired

import pytest
from fakes import LABEL, PROOF, REFUND, ask, call_then, model, say, tiers
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableBranch, RunnableConfig, RunnablePassthrough
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command
from typing_extensions import Annotated  # noqa: UP035  (read at run time by LangChain, beside `InjectedToolCallId`)

from langchain_tiered import (
    Budget,
    Ledger,
    Policy,
    Tier,
    TieredState,
    TierRouter,
    TierRouterMiddleware,
    collect_ledger,
    create_tiered_agent,
)
from langchain_tiered.errors import BudgetExceededError, NoAnswerAcceptedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_tiered import LedgerEntry

THREAD: Any = {"configurable": {"thread_id": "1"}}
NANO_USD = (1000 * 0.2 + 100 * 1.25) / 1e6
RISEN = [("nano", "rejected"), ("mini", "accepted")]


class Letter(TieredState):
    customer: NotRequired[str]


@tool
def refund(order: int) -> str:
    """Refund an order."""
    return f"Order {order} is refunded."


def booked(entries: Sequence[LedgerEntry] | Ledger) -> list[tuple[str | None, str]]:
    return [(entry["tier"], entry["outcome"]) for entry in entries]


def rising(**options: Any) -> Any:
    """Make an agent whose nano says nothing, so that each label goes up."""
    return create_tiered_agent(tiers(nano=say(""), mini=say("mini"), flagship=say("flagship")), **options)


def parent(agent: Any, schema: Any = MessagesState, **options: Any) -> Any:
    """Return a graph with the agent as one of its nodes, and one of its own behind it."""
    builder = StateGraph(schema, **options).add_node("support", agent)
    builder.add_node("thank", lambda _: {"messages": [AIMessage("Thanks.")]})
    return builder.add_edge(START, "support").add_edge("support", "thank").add_edge("thank", END)


# As a node


def test_a_parent_without_our_channels_gets_the_answer_and_the_block_the_ledger(run: Any) -> None:
    with collect_ledger() as ledger:
        result = run(parent(rising()).compile(), ask(LABEL))
    assert result.keys() == {"messages"}
    assert [message.text for message in result["messages"]] == [LABEL, "mini", "Thanks."]
    assert booked(ledger) == RISEN


def test_a_parent_with_a_ledger_has_each_call_of_two_agents_once(run: Any) -> None:
    builder = StateGraph(Letter).add_node("first", rising()).add_node("second", rising(checkpointer=True))
    graph = builder.add_edge(START, "first").add_edge("first", "second").compile(checkpointer=InMemorySaver())
    with collect_ledger() as ledger:
        run(graph, ask(LABEL), THREAD)
        result = run(graph, ask(PROOF), THREAD)
    assert sorted(map(str, result["ledger"])) == sorted(map(str, ledger))
    assert len(Ledger(result["ledger"]).by_run()) == 4, "two agents, two turns"


@pytest.mark.parametrize("mode", ["messages", "updates", "values", "custom"])
@pytest.mark.parametrize("subgraphs", [False, True])
def test_nothing_rejected_is_streamed_out_of_a_sub_graph(stream: Any, mode: str, subgraphs: bool) -> None:  # noqa: FBT001  (a parameter)
    scripted = tiers(nano=say("Rejected words", "length"), mini=say("mini"))
    agent = create_tiered_agent(scripted, checks=[lambda given: "Rejected" not in given.answer.text])
    parts = stream(parent(agent).compile(), ask(LABEL), stream_mode=mode, subgraphs=subgraphs)
    assert "Rejected" not in str(parts)
    if mode == "messages":
        texts = [(part[1] if subgraphs else part)[0].text for part in parts]
        assert "".join(texts) == "miniThanks."


@dataclass
class Own:
    pin: str = ""
    language: str = "en"


@pytest.mark.parametrize(
    ("schema", "context", "tier"),
    [
        (None, {"pin": "flagship"}, "flagship"),
        (Own, {"pin": "flagship"}, "flagship"),
        (Own, Own(pin="flagship"), "flagship"),
        (Own, Own(), "mini"),
        (None, None, "mini"),
    ],
)
def test_the_context_of_a_parent_reaches_the_agent(run: Any, schema: Any, context: Any, tier: str) -> None:
    graph = parent(rising(), **({"context_schema": schema} if schema else {})).compile()
    assert run(graph, ask(LABEL), context=context)["messages"][1].text == tier


@pytest.mark.parametrize("own_thread", [None, True])
def test_an_interrupt_in_a_tier_of_a_sub_graph_is_resumed_where_it_was(run: Any, own_thread: bool | None) -> None:  # noqa: FBT001  (a parameter)
    scripted = tiers(nano=say("n"), mini=call_then("refund", {"order": 7}, say("Refunded.")))
    human = HumanInTheLoopMiddleware(interrupt_on={"refund": True})
    agent = create_tiered_agent(scripted, tools=[refund], middleware=[human], checkpointer=own_thread)
    graph = parent(agent, Letter).compile(checkpointer=InMemorySaver())
    with collect_ledger() as ledger:
        assert run(graph, ask(REFUND), THREAD)["__interrupt__"]
        result = run(graph, Command(resume={"decisions": [{"type": "approve"}]}), THREAD)
    said = [message.text for message in result["messages"]]
    assert said == [REFUND, "", "Order 7 is refunded.", "Refunded.", "Thanks."]
    assert booked(result["ledger"]) == booked(ledger) == [("mini", "tool_turn"), ("mini", "accepted")]


def test_a_human_is_asked_about_the_last_answer_of_a_sub_graph(run: Any) -> None:
    scripted, policy = tiers(nano=say("perhaps")), Policy(on_no_answer="ask")
    agent = create_tiered_agent(scripted, policy=policy, checks=[lambda _: False], checkpointer=True)
    graph = parent(agent, Letter).compile(checkpointer=InMemorySaver())
    assert run(graph, ask(LABEL), THREAD)["__interrupt__"]
    result = run(graph, Command(resume={"decisions": [{"type": "approve"}]}), THREAD)
    assert [message.text for message in result["messages"]] == [LABEL, "perhaps", "Thanks."]
    assert booked(result["ledger"]) == [("nano", "accepted")]


def test_an_error_of_a_sub_graph_has_what_it_has_paid(run: Any) -> None:
    agent = create_tiered_agent(tiers(nano=say(""), mini=say("")))
    with pytest.raises(NoAnswerAcceptedError) as raised:
        run(parent(agent, Letter).compile(), ask(LABEL))
    assert booked(raised.value.ledger) == [("nano", "rejected"), ("mini", "rejected")]


@pytest.mark.parametrize("kept", [True, False])
def test_a_thread_limit_holds_in_a_sub_graph_that_keeps_its_thread(run: Any, kept: bool) -> None:  # noqa: FBT001  (a parameter)
    budget = Budget(thread_limit_usd=0.0012, exit_behavior="error")
    agent = create_tiered_agent(tiers(nano=say("n")), budget=budget, checkpointer=kept or None)
    graph = parent(agent, Letter).compile(checkpointer=InMemorySaver())
    spent = 0
    for _ in range(5):
        try:
            run(graph, ask(LABEL), THREAD)
        except BudgetExceededError:
            spent += 1
    assert bool(spent) is kept, "without a thread of its own, each visit of a sub-graph begins at nothing"


# Under a supervisor


def handing(to: str) -> Any:
    @tool
    def hand_over(order: int, call_id: Annotated[str, InjectedToolCallId]) -> Any:
        """Refund an order: another desk does that."""
        done = ToolMessage("Handed over.", tool_call_id=call_id)
        call = AIMessage("", tool_calls=[{"name": "hand_over", "args": {"order": order}, "id": call_id}])
        return Command(goto=to, graph=Command.PARENT, update={"messages": [call, done]})

    return hand_over


def desks(schema: Any, tool_tier: Any, router: TierRouter | None = None, middleware: Sequence[Any] = ()) -> Any:
    scripted = None if router else tiers(nano=say("n"), mini=tool_tier)
    first = create_tiered_agent(scripted, router=router, tools=[handing("second")], middleware=middleware)
    second = create_tiered_agent([Tier("writer", model("mini", say("Refunded.")), criteria="")])
    builder = StateGraph(schema)
    builder.add_node("supervisor", lambda _: Command(goto="first"), destinations=("first", "second"))
    builder.add_node("first", first, destinations=("second",)).add_node("second", second)
    return builder.add_edge(START, "supervisor").compile(checkpointer=InMemorySaver())


UNSURE = (
    "My neighbour saw the van on Monday morning. Nobody rang, although I was at home cooking until evening, with both "
    "windows open to the street. What happened to parcel 1043?"
)
CALLS = call_then("hand_over", {"order": 7}, say("x"))


def test_what_an_agent_has_paid_before_it_hands_over_joins_the_ledger_of_the_parent(run: Any) -> None:
    with collect_ledger() as ledger:
        result = run(desks(Letter, CALLS), ask(REFUND), THREAD)
    assert [message.text for message in result["messages"]][-2:] == ["Handed over.", "Refunded."]
    assert booked(result["ledger"]) == booked(ledger) == [("mini", "tool_turn"), ("writer", "accepted")]


def test_a_classifier_call_before_a_hand_over_is_in_the_ledger_too(run: Any) -> None:
    classifier = model("nano", say('{"tier": "mini", "task": "tools", "confidence": 0.9, "reason": "r"}'))
    router = TierRouter(tiers(nano=say("n"), mini=CALLS), classifier=classifier)
    with collect_ledger() as ledger:
        result = run(desks(Letter, CALLS, router=router), ask(UNSURE), THREAD)
    assert [entry["role"] for entry in ledger].count("classify") == classifier.calls > 0
    assert [entry["id"] for entry in result["ledger"]] == [entry["id"] for entry in ledger]


def test_what_was_paid_before_an_interrupt_and_a_hand_over_is_in_the_ledger_too(run: Any) -> None:
    graph = desks(Letter, CALLS, middleware=[HumanInTheLoopMiddleware(interrupt_on={"hand_over": True})])
    with collect_ledger() as ledger:
        assert run(graph, ask(REFUND), THREAD)["__interrupt__"]
        result = run(graph, Command(resume={"decisions": [{"type": "approve"}]}), THREAD)
    assert booked(result["ledger"]) == booked(ledger) == [("mini", "tool_turn"), ("writer", "accepted")]


def test_a_parent_without_a_ledger_is_handed_over_to_all_the_same(run: Any) -> None:
    result = run(desks(MessagesState, CALLS), ask(REFUND), THREAD)
    assert (result.keys(), result["messages"][-1].text) == ({"messages"}, "Refunded.")


# As a tool


@pytest.mark.parametrize("ours", [True, False])
def test_an_agent_as_a_tool_is_booked_by_the_block_and_by_a_tiered_agent_around_it(run: Any, ours: bool) -> None:  # noqa: FBT001  (a parameter)
    agent = rising()

    @tool
    def ask_the_desk(request: str, config: RunnableConfig) -> str:
        """Refund an order."""
        answer: AIMessage = agent.invoke(ask(request), config)["messages"][-1]
        return answer.text

    top = Tier("top", model("flagship", call_then("ask_the_desk", {"request": LABEL}, say("done"))), criteria="")
    around: Any
    if ours:
        around = create_tiered_agent([top], tools=[ask_the_desk], budget=Budget(run_limit_usd=1))
    else:
        around = create_agent(top.model, [ask_the_desk], middleware=[TierRouterMiddleware([top])])
    with collect_ledger() as ledger:
        result = run(around, ask(REFUND))
    everything = [("top", "tool_turn"), *RISEN, ("top", "accepted")]
    assert booked(ledger) == everything
    assert booked(result["ledger"]) == (everything if ours else [everything[0], everything[-1]])


def test_a_budget_around_an_agent_holds_for_the_agents_in_its_tools(run: Any) -> None:
    flagship = model("flagship", say("dear"))
    agent = create_tiered_agent([Tier("flagship", flagship, criteria="")])

    @tool
    def ask_the_desk(request: str) -> str:
        """Refund an order."""
        answer: AIMessage = agent.invoke(ask(request))["messages"][-1]
        return answer.text

    script = call_then("ask_the_desk", {"request": PROOF}, say("done"))
    cheap = Tier("nano", model("nano", script), criteria="")
    budget = Budget(run_limit_usd=0.004, exit_behavior="error")
    with pytest.raises(BudgetExceededError):
        run(create_tiered_agent([cheap], tools=[ask_the_desk], budget=budget), ask(REFUND))
    assert flagship.calls == 0, "the inner call would have passed the limit"


# In LCEL


def test_a_router_is_the_condition_of_a_branch(run: Any) -> None:
    routed = RunnablePassthrough.assign(route=(lambda given: given["text"]) | TierRouter(tiers(a=say(""), b=say(""))))
    branch = RunnableBranch((lambda given: given["route"]["tier"] == "a", lambda _: "cheap"), lambda _: "dear")
    assert [run(routed | branch, {"text": text}) for text in (LABEL, PROOF)] == ["cheap", "dear"]
