"""Whatever a provider sends instead of an answer: what the agent makes of it, and what the ledger says."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import LABEL, REFUND, ask
from langchain.chat_models import init_chat_model
from langchain_core.messages import ToolMessage
from langchain_core.tools import tool

from langchain_tiered import Policy, Tier, create_tiered_agent
from langchain_tiered.models import default_tiers
from langchain_tiered.offline.faults import Faults

POLICY = Policy(on_rate_limit="escalate")


@tool
def refund(order_id: int) -> str:
    """Refund an order by its number."""
    return f"Refunded order {order_id}."


def tiers(**options: Any) -> list[Tier]:
    """The default tiers, whose clients do not try again by themselves: each exchange is one recording."""
    return [
        Tier(tier.name, init_chat_model(str(tier.model), max_retries=0, **options), criteria=tier.criteria)
        for tier in default_tiers()
    ]


def first_call(model: str, fault: str, **options: Any) -> Faults:
    return Faults.script([{"call": 1, "model": model, "fault": fault, **options}])


def paid(result: Any) -> list[tuple[str | None, str]]:
    return [(entry["tier"], entry["outcome"]) for entry in result["ledger"]]


def tool_results(result: Any) -> list[Any]:
    return [message.content for message in result["messages"] if isinstance(message, ToolMessage)]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("rate_limit", "Rate limit reached"),
        ("rate_limit_bare", "Rate limit reached"),
        ("too_large", "Request too large"),
        ("server_error", "500"),
        ("unavailable", "503"),
        ("overflow", "maximum context length"),
    ],
)
def test_an_error_instead_of_an_answer_escalates(wire: Any, run: Any, fault: str, error: str) -> None:
    options = {"retry_after_s": 60} if fault == "rate_limit" else {}
    with wire(faults=first_call("nano", fault, **options)):
        result = run(create_tiered_agent(tiers(), policy=POLICY), ask(LABEL))
    assert paid(result) == [("nano", "failed"), ("mini", "accepted")]
    assert error in result["route"]["reason"]


def test_a_body_that_is_no_json_escalates_at_an_unknown_cost(wire: Any, run: Any) -> None:
    with wire(faults=first_call("nano", "garbage"), needs_usage=False):
        result = run(create_tiered_agent(tiers()), ask(LABEL))
    assert paid(result) == [("nano", "failed"), ("mini", "accepted")]
    assert "Expecting value" in result["route"]["reason"]
    assert [entry["cost_usd"] is None for entry in result["ledger"]] == [True, False]


@pytest.mark.parametrize(
    ("fault", "error"),
    [("length", "cut off"), ("length_empty", "cut off"), ("refusal", "refused"), ("content_filter", "content_filter")],
)
@pytest.mark.parametrize("case", ["chat", "responses"])
def test_an_answer_that_falls_short_is_paid_and_escalates(
    wire: Any, run: Any, fault: str, error: str, case: str
) -> None:
    with wire(faults=first_call("nano", fault)):
        agent = create_tiered_agent(tiers(use_responses_api=case == "responses"))
        result = run(agent, ask(LABEL))
    assert paid(result) == [("nano", "rejected"), ("mini", "accepted")]
    assert error in result["route"]["reason"]
    assert all(entry["cost_usd"] is not None for entry in result["ledger"])


SLIPS = ["malformed_arguments", "wrong_types", "missing_fields", "invented_tool"]


@pytest.mark.parametrize("fault", SLIPS)
def test_a_malformed_tool_call_is_told_once_and_its_tool_runs_once(wire: Any, run: Any, fault: str) -> None:
    with wire(faults=first_call("mini", fault)):
        result = run(create_tiered_agent(tiers(), tools=[refund]), ask(REFUND))
    assert paid(result) == [("mini", "rejected"), ("mini", "tool_turn"), ("mini", "accepted")]
    assert result["ledger"][0]["rejected_by"] == "valid_tool_calls"
    assert tool_results(result) == ["Refunded order 1042."]


@pytest.mark.parametrize("fault", SLIPS)
def test_a_call_malformed_twice_is_made_by_the_next_tier(wire: Any, run: Any, fault: str) -> None:
    with wire(faults=Faults.script([{"model": "mini", "fault": fault}])):
        result = run(create_tiered_agent(tiers(), tools=[refund]), ask(REFUND))
    assert paid(result) == [
        ("mini", "rejected"),
        ("mini", "rejected"),
        ("flagship", "tool_turn"),
        ("flagship", "accepted"),
    ]
    assert result["route"]["escalated_from"] == "mini"
    assert tool_results(result) == ["Refunded order 1042."]


def test_a_broken_off_stream_that_was_shown_stands_and_is_marked(wire: Any, stream: Any) -> None:
    with wire(faults=first_call("nano", "truncated_stream"), needs_usage=False):
        parts = stream(create_tiered_agent(tiers()), ask(LABEL), stream_mode=["messages", "values"])
    assert paid([part for kind, part in parts if kind == "values"][-1]) == [("nano", "truncated")]


def test_an_error_instead_of_a_stream_escalates(wire: Any, stream: Any) -> None:
    with wire(faults=first_call("nano", "rate_limit_bare")):
        parts = stream(create_tiered_agent(tiers(), policy=POLICY), ask(LABEL), stream_mode=["messages", "values"])
    result = [part for kind, part in parts if kind == "values"][-1]
    assert paid(result) == [("nano", "failed"), ("mini", "accepted")]


def test_the_client_tries_again_by_itself(wire: Any, run: Any) -> None:
    with wire(faults=first_call("nano", "rate_limit", retry_after_s=0.01)) as cassette:
        result = run(create_tiered_agent(), ask(LABEL))
    assert paid(result) == [("nano", "accepted")]
    assert [response["status"]["code"] for response in cassette.responses] == [429, 200]
