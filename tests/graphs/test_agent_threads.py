"""Threads, contexts and concurrency: what is kept, what is not, and what never mixes."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any, NotRequired

import pytest
from fakes import LABEL, PROOF, REFUND, ScriptedModel, ask, call_then, model, say, tiers
from langchain.agents import AgentState
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import InjectedState
from langgraph.runtime import get_runtime
from langgraph.types import Command

from langchain_tiered import Ledger, Policy, Tier, TieredState, create_tiered_agent
from langchain_tiered.errors import ConfigurationError, NoAnswerAcceptedError, UnknownTierError

THREAD: Any = {"configurable": {"thread_id": "1"}}


def test_the_ledger_is_the_threads_and_the_last_run_can_be_told(run: Any) -> None:
    agent = create_tiered_agent(tiers(nano=say("bug"), mini=say("m")), checkpointer=InMemorySaver())
    run(agent, ask(LABEL), THREAD)
    result = run(agent, ask(LABEL), THREAD)
    ledger = Ledger(result["ledger"])
    assert len(ledger) == 2
    assert len(ledger.by_run()) == 2
    assert ledger.last_run().total_usd == pytest.approx(0.000325)


def test_a_threads_route_only_rises(run: Any) -> None:
    agent = create_tiered_agent(tiers(nano=say("bug"), mini=say("m"), flagship=say("f")), checkpointer=InMemorySaver())
    tiers_taken = [run(agent, ask(text), THREAD)["route"]["tier"] for text in (LABEL, PROOF, LABEL)]
    assert tiers_taken == ["nano", "flagship", "flagship"]


def test_a_policy_may_route_each_turn_anew(run: Any) -> None:
    scripted = tiers(nano=say("bug"), mini=say("m"), flagship=say("f"))
    agent = create_tiered_agent(scripted, policy=Policy(reroute="turn"), checkpointer=InMemorySaver())
    assert [run(agent, ask(text), THREAD)["route"]["tier"] for text in (PROOF, LABEL)] == ["flagship", "nano"]


def test_an_escalated_thread_stays_up_by_the_latch_on_its_last_answer(run: Any) -> None:
    agent = create_tiered_agent(tiers(nano=say(""), mini=say("m"), flagship=say("f")), checkpointer=InMemorySaver())
    assert run(agent, ask(LABEL), THREAD)["route"]["decided_by"] == "escalation"
    route = run(agent, ask(LABEL), THREAD)["route"]
    assert (route["tier"], route["decided_by"]) == ("mini", "latch")


def test_attempts_of_the_last_turn_do_not_count_in_the_next(run: Any) -> None:
    scripted = tiers(nano=say(""), mini=say("m"), flagship=say("f"))
    agent = create_tiered_agent(scripted, policy=Policy(reroute="turn"), checkpointer=InMemorySaver())
    for _ in range(4):  # two escalations are the limit of a turn, not of a thread
        assert run(agent, ask(LABEL), THREAD)["messages"][-1].text == "m"


def test_a_run_that_raises_leaves_its_answers_booked_as_rejected_in_the_thread(run: Any) -> None:
    agent = create_tiered_agent(tiers(nano=say(""), mini=say("")), checkpointer=InMemorySaver())
    with pytest.raises(NoAnswerAcceptedError):
        run(agent, ask(LABEL), THREAD)
    stored = agent.get_state(THREAD).values["ledger"]
    assert [(entry["tier"], entry["outcome"]) for entry in stored] == [("nano", "rejected"), ("mini", "rejected")]


def test_what_is_stored_is_plain_under_strict_msgpack(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGGRAPH_STRICT_MSGPACK", "true")

    @tool
    def refund(order: int) -> str:
        """Refund an order."""
        return "done"

    saver = InMemorySaver(serde=JsonPlusSerializer(allowed_msgpack_modules=None))
    scripted = tiers(nano=say(""), mini=call_then("refund", {"order": 7}, say("cut", "length")), flagship=say("f"))
    agent = create_tiered_agent(scripted, tools=[refund], checkpointer=saver)
    run(agent, ask(REFUND), THREAD)
    stored = saver.get_tuple(THREAD)
    assert stored is not None
    values = stored.checkpoint["channel_values"]
    assert [attempt["tier"] for attempt in values["attempts"]] == ["mini", "flagship"]
    assert "error" not in values
    assert run(agent, ask(LABEL), THREAD)["messages"][-1].text == "f"


def test_two_hundred_threads_at_once_never_see_each_other() -> None:
    def echo(name: str) -> Any:
        return lambda messages: AIMessage(f"{name}: {messages[-1].text}")

    agent = create_tiered_agent(
        tiers(nano=echo("nano"), mini=echo("mini"), flagship=echo("flagship")), checkpointer=InMemorySaver()
    )
    texts = [f"{LABEL} {i}" if i % 2 else f"{PROOF} {i}" for i in range(200)]

    def config(i: int) -> Any:
        return {"configurable": {"thread_id": str(i)}}

    async def at_once() -> list[Any]:
        return list(await asyncio.gather(*(agent.ainvoke(ask(text), config(i)) for i, text in enumerate(texts))))

    with ThreadPoolExecutor(8) as pool:
        in_threads = pool.map(lambda i: agent.invoke(ask(texts[i]), config(1000 + i)), range(200))
        for results in (asyncio.run(at_once()), list(in_threads)):
            for text, result in zip(texts, results, strict=True):
                tier = "nano" if text.startswith(LABEL) else "flagship"
                assert result["messages"][-1].text == f"{tier}: {text}"
                assert result["route"]["tier"] == tier
                assert [entry["tier"] for entry in result["ledger"]] == [tier]


def test_the_context_changes_models_prompts_and_pin_for_one_run(run: Any) -> None:
    other: ScriptedModel = model("other", say("other"))
    scripted = tiers(nano=say("nano"), mini=say("mini"))
    agent = create_tiered_agent(scripted, system_prompt="Be brief.")
    assert run(agent, ask(LABEL), context={"nano_model": other})["messages"][-1].text == "other"
    assert run(agent, ask(LABEL), context={"pin": "mini"})["route"]["decided_by"] == "pin"
    run(agent, ask(LABEL), context={"nano_prompt": "Be long."})
    run(agent, ask(LABEL))
    nano: Any = scripted[0].model
    assert [asked[0].text for asked in nano.asked] == ["Be long.", "Be brief."]
    with pytest.raises(UnknownTierError, match="'huge'"):
        run(agent, ask(LABEL), context={"pin": "huge"})


def test_a_users_context_is_kept_and_a_clash_is_told_at_build(run: Any) -> None:
    @dataclass(frozen=True)
    class Mine:
        user: str = "nobody"

    @dataclass
    class Clash:
        pin: int = 0

    seen: list[str] = []

    def check(given: Any) -> bool:
        seen.append(get_runtime(Mine).context.user)
        return bool(given)

    agent = create_tiered_agent(tiers(nano=say("bug")), context_schema=Mine, checks=[check])
    schema: Any = agent.get_context_jsonschema()
    assert {"user", "pin", "nano_model", "nano_prompt"} == set(schema["properties"])
    assert run(agent, ask(LABEL), context={"user": "ann", "pin": "nano"})["route"]["decided_by"] == "pin"
    assert seen == ["ann"]
    for wrong in (Clash, dict):
        with pytest.raises(ConfigurationError, match=r"pin|dataclass"):
            create_tiered_agent(tiers(nano=say("bug")), context_schema=wrong)


def test_a_users_state_reaches_tools_and_comes_back_once(run: Any) -> None:
    class Mine(AgentState[Any]):
        customer: NotRequired[str]
        seen: NotRequired[Annotated[list[int], lambda left, right: left + right]]

    @tool
    def refund(order: int, state: Annotated[dict[str, Any], InjectedState]) -> Any:
        """Refund an order."""
        from langchain_core.messages import ToolMessage  # noqa: PLC0415  (keeps the tool whole)

        told = ToolMessage(f"refunded to {state['customer']}", tool_call_id=state["messages"][-1].tool_calls[0]["id"])
        return Command(update={"seen": [order], "messages": [told]})

    scripted = tiers(nano=say("n"), mini=call_then("refund", {"order": 7}, say("done")))
    agent = create_tiered_agent(scripted, tools=[refund], state_schema=Mine)
    result = run(agent, {**ask(REFUND), "customer": "ann", "seen": [1]})
    assert result["messages"][-2].text == "refunded to ann"
    assert (result["customer"], result["seen"]) == ("ann", [1, 7])


def test_a_state_that_clashes_with_the_agents_channels_is_told_at_build() -> None:
    class Clash(AgentState[Any]):
        ledger: list[str]

    with pytest.raises(ConfigurationError, match="ledger"):
        create_tiered_agent(tiers(nano=say("n")), state_schema=Clash)


@pytest.mark.parametrize("schema", [MessagesState, TieredState])
def test_as_a_sub_graph_it_books_its_own_calls_once(run: Any, schema: Any) -> None:
    agent = create_tiered_agent(tiers(nano=say("bug"), mini=say("m")))
    builder = StateGraph(schema).add_node("agent", agent).add_node("again", agent)
    graph = builder.add_edge(START, "agent").add_edge("agent", "again").compile(checkpointer=InMemorySaver())
    result = run(graph, ask(LABEL), THREAD)
    assert [message.text for message in result["messages"]] == [LABEL, "bug", "bug"]
    if schema is TieredState:
        assert len(result["ledger"]) == 2
        assert len(run(graph, ask(LABEL), THREAD)["ledger"]) == 4


def test_a_caller_cannot_put_a_route_attempts_or_entries_in(run: Any) -> None:
    agent = create_tiered_agent(tiers(nano=say("bug"), mini=say("m")))
    forged = {"route": {"tier": "mini"}, "ledger": [{"id": "x"}], "attempts": [{"tier": "mini"}], "run": {"id": "x"}}
    result = run(agent, {**ask(LABEL), **forged})
    assert (result["route"]["tier"], len(result["ledger"])) == ("nano", 1)


def test_a_tier_named_with_a_dash_has_a_context_field(run: Any) -> None:
    only = Tier("gpt-mini", model("mini", say("mini")), criteria="")
    agent = create_tiered_agent([only])
    other = model("other", say("other"))
    assert run(agent, ask(LABEL), context={"gpt_mini_model": other})["messages"][-1].text == "other"
    two = [only, Tier("gpt_mini", model("mini", say("mini")), criteria="")]
    with pytest.raises(ConfigurationError, match="one context field"):
        create_tiered_agent(two)
