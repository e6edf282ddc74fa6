"""The nodes in graphs of one's own, and what an agent looks like from outside."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

import pytest
from fakes import LABEL, PROOF, ask, call_then, fail, model, say, tiers
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph

from langchain_tiered import Policy, Tier, TieredState, TierRouter, create_tiered_agent, default_tiers, nodes
from langchain_tiered.errors import (
    ConfigurationError,
    InvalidInputError,
    InvalidTierError,
    ModelNotBuiltError,
    NoTierFitsError,
    TieredError,
    UnknownTaskError,
    UnknownTierError,
)
from langchain_tiered.nodes import route_by_tier


@tool
def refund(order: int) -> str:
    """Refund an order."""
    return "done"


def own_graph(scripted: tuple[Tier, ...], **options: Any) -> Any:
    router = TierRouter(scripted, classifier=None)
    names = [tier.name for tier in scripted]
    builder = StateGraph(TieredState)
    builder.add_node("classify", nodes.classify(router))
    builder.add_conditional_edges("classify", route_by_tier, names)
    for tier in scripted:
        builder.add_node(tier.name, nodes.answer(tier, tiers=scripted))
        builder.add_edge(tier.name, "check")
    builder.add_node("check", nodes.check(scripted, **options), destinations=(*names, END))
    return builder.add_edge(START, "classify")


def test_the_nodes_make_a_graph_of_ones_own(run: Any) -> None:
    graph = own_graph(tiers(nano=say(""), mini=say("mini"), flagship=say("proof"))).compile()
    result = run(graph, ask(LABEL))
    assert (result["messages"][-1].text, result["route"]["escalated_from"]) == ("mini", "nano")
    assert [entry["outcome"] for entry in result["ledger"]] == ["rejected", "accepted"]
    assert run(graph, ask(PROOF))["messages"][-1].text == "proof"


def test_an_accepted_answer_may_lead_to_a_node_of_ones_own(run: Any) -> None:
    builder = own_graph(tiers(nano=say(""), mini=say("mini")), on_accepted="thank")
    builder.add_node("thank", lambda _: {"messages": [AIMessage("Thank you.")]})
    result = run(builder.compile(), ask(LABEL))
    assert [message.text for message in result["messages"][1:]] == ["mini", "Thank you."]


def test_a_provider_error_keeps_its_type_in_ones_own_graph(run: Any) -> None:
    graph = own_graph(tiers(nano=fail(ConnectionError("down")), mini=fail(TimeoutError("slow")))).compile()
    with pytest.raises(TimeoutError, match="slow") as raised:
        run(graph, ask(LABEL))
    assert len(raised.value.ledger) == 2  # type: ignore[attr-defined]


GOOD = tiers(nano=say("n"), mini=say("m"))
BLIND = (Tier("nano", model("nano", say("n"), profile={"image_inputs": False}), criteria=""),)
SMALL = (Tier("nano", model("nano", say("n")), criteria="", max_input_tokens=10),)
PICTURE: list[Any] = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]


@pytest.mark.parametrize(
    ("error", "words", "scripted", "given"),
    [
        (InvalidInputError, "empty", GOOD, {"messages": []}),
        (InvalidInputError, "empty", GOOD, ask("  ")),
        (InvalidInputError, "No user message", GOOD, {"messages": [SystemMessage("Be brief.")]}),
        (InvalidInputError, "user", GOOD, {"messages": [("wizard", "Hello")]}),
        (InvalidInputError, "message", GOOD, {"messages": [42]}),
        (NoTierFitsError, "nano: images \\(1\\), it takes none", BLIND, {"messages": [HumanMessage(PICTURE)]}),
        (NoTierFitsError, "input tokens, it takes 10", SMALL, ask("word " * 100)),
    ],
)
def test_bad_input_gets_a_typed_error_with_the_mend(
    run: Any, error: type[TieredError], words: str, scripted: Any, given: Any
) -> None:
    with pytest.raises(error, match=words) as raised:
        run(create_tiered_agent(scripted), given)
    assert list(raised.value.ledger) == []


@pytest.mark.parametrize(
    ("error", "words", "build"),
    [
        (InvalidTierError, "empty", lambda: create_tiered_agent([])),
        (ConfigurationError, "called 'nano'", lambda: create_tiered_agent([GOOD[0], GOOD[0]])),
        (InvalidTierError, "reserved", lambda: Tier("check", "openai:gpt-5.4", criteria="")),
        (UnknownTierError, "'x'.*nano, mini", lambda: create_tiered_agent(GOOD, policy=Policy(floors={"code": "x"}))),
        (UnknownTaskError, "'kode'", lambda: Policy(floors={"kode": "mini"})),  # type: ignore[dict-item]
        (UnknownTaskError, "'kode'", lambda: create_tiered_agent(GOOD, checks={"kode": []})),
        (UnknownTierError, "pin", lambda: create_tiered_agent(GOOD, policy=Policy(pin="huge"))),
        (ConfigurationError, "router", lambda: create_tiered_agent(GOOD, router=TierRouter(BLIND))),
        (ConfigurationError, "policy", lambda: create_tiered_agent(router=TierRouter(GOOD), policy=Policy(pin="nano"))),
    ],
)
def test_what_can_be_known_at_build_is_an_error_at_build(error: Any, words: str, build: Any) -> None:
    with pytest.raises(error, match=words):
        build()


def test_a_missing_key_is_named_with_the_mend_at_the_first_call(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    agent = create_tiered_agent(tools=[refund])
    assert "mini" in agent.get_graph(xray=True).draw_mermaid()
    with pytest.raises(ModelNotBuiltError, match=r"'nano'.*gpt-5\.4-nano.*OPENAI_API_KEY"):
        run(agent, ask(LABEL))


def test_building_and_drawing_import_no_provider() -> None:
    code = (
        "import sys; from langchain_tiered import create_tiered_agent; "
        "create_tiered_agent(tools=[{'type': 'web_search'}]).get_graph(xray=True).draw_mermaid(); "
        "print(sorted({'openai', 'langchain_openai', 'genai_prices'} & sys.modules.keys()))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "[]"


def test_the_drawn_graph_is_the_one_that_the_docs_show(snapshot: Any) -> None:
    agent = create_tiered_agent(tools=[refund])
    snapshot("tiered_agent.mmd", agent.get_graph().draw_mermaid())
    inside = agent.get_graph(xray=True).draw_mermaid()
    snapshot(
        "tiered_agent_xray.mmd", re.sub(r"<hr/>.*?</em></small>", "", inside)
    )  # not every LangChain lists the tools


@pytest.mark.parametrize("kind", ["input", "output", "context"])
def test_the_schemas_are_those_that_studio_shows(snapshot: Any, kind: str) -> None:
    agent = create_tiered_agent(default_tiers(), tools=[refund], system_prompt="Be brief.")
    schema = getattr(agent, f"get_{kind}_jsonschema")()
    for name in ("messages",):
        schema.get("properties", {}).get(name, {}).pop("items", None)  # LangChain's own, and long
    schema.pop("$defs", None)
    snapshot(f"tiered_agent_{kind}.json", schema)


def test_a_tool_call_of_an_earlier_turn_stays_in_its_turn(run: Any) -> None:
    scripted = tiers(nano=say("n"), mini=call_then("refund", {"order": 7}, say("done")))
    agent = create_tiered_agent(scripted, tools=[refund])
    first = run(agent, ask("Please refund order 1042, it came late."))
    second = run(agent, {"messages": [*first["messages"], ("user", "Please refund order 1043 too.")]})
    assert [message.type for message in second["messages"]] == ["human", "ai", "tool", "ai"] * 2
