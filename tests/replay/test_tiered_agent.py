"""The agent with the default tiers, over the wire of the real API."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fakes import LABEL, PROOF, REFUND, ask
from langchain.agents.structured_output import ProviderStrategy
from langchain.chat_models import init_chat_model
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel

from langchain_tiered import Ledger, Policy, Tier, create_tiered_agent
from langchain_tiered.models import default_tiers

if TYPE_CHECKING:
    from collections.abc import Callable

VAGUE = "The shop has three suppliers who are all late in winter."
RECEIPT = Path(__file__).parents[2] / "examples" / "assets" / "receipt.png"


@tool
def refund(order_id: int) -> str:
    """Refund an order by its number."""
    return f"Refunded order {order_id}."


def paid(result: Any) -> list[tuple[str | None, str, str]]:
    return [(entry["tier"], entry["role"], entry["outcome"]) for entry in result["ledger"]]


def responses_tiers() -> list[Tier]:
    """The default tiers over the Responses API."""
    return [
        Tier(tier.name, init_chat_model(str(tier.model), use_responses_api=True), criteria=tier.criteria)
        for tier in default_tiers()
    ]


@pytest.mark.parametrize(
    ("case", "text"), [("nano", LABEL), ("mini", "Draft a letter to my landlord."), ("flagship", PROOF)]
)
def test_a_request_is_answered_and_priced_by_its_tier(wire: Any, run: Any, case: str, text: str) -> None:
    with wire():
        result = run(create_tiered_agent(), ask(text))
    assert result["route"]["tier"] == case
    assert paid(result) == [(case, "answer", "accepted")]
    (entry,) = result["ledger"]
    usage = result["messages"][-1].usage_metadata
    assert (entry["input_tokens"], entry["output_tokens"]) == (usage["input_tokens"], usage["output_tokens"])
    assert Ledger(result["ledger"]).total_usd is not None


def test_an_unsure_request_asks_the_classifier_first(wire: Any, run: Any) -> None:
    with wire():
        result = run(create_tiered_agent(), ask(VAGUE))
    assert result["route"]["decided_by"] in ("classifier", "policy")
    assert [role for _, role, _ in paid(result)] == ["classify", "answer"]


def test_a_tool_loop_runs_on_one_tier(wire: Any, run: Any) -> None:
    with wire():
        result = run(create_tiered_agent(tools=[refund]), ask(REFUND))
    assert [m.content for m in result["messages"] if isinstance(m, ToolMessage)] == ["Refunded order 1042."]
    assert paid(result)[0] == ("mini", "answer", "tool_turn")
    assert paid(result)[-1] == ("mini", "answer", "accepted")


class Ticket(BaseModel):
    """A ticket."""

    label: str
    order_id: int


def test_structured_output_by_the_provider(wire: Any, run: Any) -> None:
    with wire():
        agent = create_tiered_agent(response_format=ProviderStrategy(Ticket), policy=Policy(pin="nano"))
        result = run(agent, ask("Extract the ticket: label refund, order 1042."))
    assert isinstance(result["structured_response"], Ticket)
    assert paid(result) == [("nano", "answer", "accepted")]


def test_an_answer_streams_and_is_booked_whole(wire: Any, stream: Any) -> None:
    with wire():
        parts = stream(create_tiered_agent(), ask(PROOF), stream_mode=["messages", "values"])
    tokens = [part[0].text for kind, part in parts if kind == "messages" and part[0].type == "AIMessageChunk"]
    last = [part for kind, part in parts if kind == "values"][-1]
    assert len([token for token in tokens if token]) > 1
    assert "".join(tokens) == last["messages"][-1].text
    assert paid(last) == [("flagship", "answer", "accepted")]
    assert last["ledger"][0]["output_tokens"] == last["messages"][-1].usage_metadata["output_tokens"]


def test_a_cut_off_answer_escalates(wire: Any, run: Any) -> None:
    script = {"nano": [{"text": "bu", "finish_reason": "length"}], "mini": [{"text": "bug"}]}
    with wire(script=script):
        result = run(create_tiered_agent(), ask(LABEL))
    assert result["messages"][-1].text == "bug"
    assert paid(result) == [("nano", "answer", "rejected"), ("mini", "answer", "accepted")]
    assert (result["route"]["tier"], result["route"]["escalated_from"]) == ("mini", "nano")


REFUSAL = {"nano": [{"refusal": "I cannot help with that."}], "mini": [{"text": "bug"}]}


@pytest.mark.parametrize("case", ["chat", "responses"])
def test_a_refusal_escalates(wire: Any, run: Any, case: str) -> None:
    with wire(script=REFUSAL):
        tiers: Callable[[], Any] = {"chat": default_tiers, "responses": responses_tiers}[case]
        result = run(create_tiered_agent(tiers()), ask(LABEL))
    assert result["messages"][-1].text == "bug"
    assert paid(result) == [("nano", "answer", "rejected"), ("mini", "answer", "accepted")]


def test_responses_run_a_tool_loop(wire: Any, run: Any) -> None:
    with wire():
        result = run(create_tiered_agent(responses_tiers(), tools=[refund]), ask(REFUND))
    assert [m.content for m in result["messages"] if isinstance(m, ToolMessage)] == ["Refunded order 1042."]
    assert paid(result)[-1] == ("mini", "answer", "accepted")


def test_an_image_goes_over_the_wire(wire: Any, run: Any) -> None:
    image = {"type": "image", "mime_type": "image/png", "base64": b64encode(RECEIPT.read_bytes()).decode()}
    with wire() as cassette:
        given = HumanMessage([{"type": "text", "text": "What is the total on this receipt?"}, image])
        result = run(create_tiered_agent(), {"messages": [given]})
        assert b"data:image/png;base64," in cassette.requests[0].body
    assert result["ledger"][-1]["outcome"] == "accepted"
