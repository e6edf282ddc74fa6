"""Tiers of other vendors, over the vendors' own wires: nothing outside the default tiers is OpenAI's alone."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fakes import LABEL, ask
from langchain.agents import create_agent
from langchain.chat_models import init_chat_model
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel
from vendors.wires import CACHED, INPUT, OUTPUT, THOUGHT, WIRES, Broken, Said, VendorServer

from langchain_tiered import EscalationMiddleware, Ledger, Policy, Tier, TierRouterMiddleware, create_tiered_agent
from langchain_tiered.accounting.entries import may_be_charged
from langchain_tiered.cascade import CheckInput, failure_of, finished, not_refused
from langchain_tiered.types import Rates

if TYPE_CHECKING:
    from vendors.wires import Wire

VENDORS = pytest.mark.parametrize("vendor", WIRES)
OTHER = {"anthropic": "mistralai", "google_genai": "anthropic", "mistralai": "ollama", "ollama": "google_genai"}
"""The vendor of the tier above."""

USD_PER_MILLION = {"anthropic": (1.0, 0.1, 5.0), "google_genai": (0.1, 0.01, 0.4), "mistralai": (0.15, 0.15, 0.6)}
"""Input, cached input and output: what `genai-prices` has. Ollama's is nobody's to publish."""

LOCAL = Rates(input_usd=0.02, output_usd=0.05)


class Ticket(BaseModel):
    """A ticket."""

    kind: str
    urgent: bool


def tier(name: str, vendor: str, **more: Any) -> Tier:
    rates = LOCAL if vendor == "ollama" else None
    return Tier(name, WIRES[vendor].spec, criteria=f"Work for {name}.", rates=rates, **more)


def two(vendor: str, **more: Any) -> tuple[Tier, Tier]:
    return tier("nano", vendor, **more), tier("mini", OTHER[vendor])


def pinned(name: str = "nano") -> Policy:
    return Policy(pin=name)


def from_nano() -> Policy:
    return Policy(strategy="cascade", floors={})


def once(wire: Wire, **more: Any) -> Any:
    """Build a vendor's model that tries a call once."""
    retries: dict[str, Any] = {"anthropic": {"max_retries": 0}, "google_genai": {"max_retries": 1}}.get(wire.vendor, {})
    return init_chat_model(wire.spec, **retries, **more)


@VENDORS
def test_a_tier_of_a_string_answers_and_is_booked_at_its_published_price(
    run: Any, vendors: VendorServer, vendor: str
) -> None:
    vendors.will(vendor, Said("A bug.", thoughts=THOUGHT if vendor == "google_genai" else 0))
    agent = create_tiered_agent(two(vendor), policy=from_nano())
    result = run(agent, ask(LABEL))
    assert result["messages"][-1].text == "A bug."
    (entry,) = result["ledger"]
    cached = CACHED if vendor in {"anthropic", "google_genai"} else None
    thoughts = THOUGHT if vendor == "google_genai" else None
    assert (entry["tier"], entry["model"], entry["outcome"]) == ("nano", WIRES[vendor].model, "accepted")
    assert (entry["input_tokens"], entry["output_tokens"]) == (INPUT, OUTPUT)
    assert (entry["cached_tokens"], entry["reasoning_tokens"]) == (cached, thoughts)
    fresh_usd, cached_usd, output_usd = USD_PER_MILLION.get(vendor, (LOCAL.input_usd, 0.0, LOCAL.output_usd))
    read = cached or 0
    usd = ((INPUT - read) * fresh_usd + read * cached_usd + OUTPUT * output_usd) / 1e6
    assert entry["cost_usd"] == pytest.approx(usd)


@VENDORS
def test_tools_run_in_a_vendors_loop_and_the_answer_follows(run: Any, vendors: VendorServer, vendor: str) -> None:
    vendors.will(vendor, Said(calls=(("find_order", {"order": 1042}),)), Said("In Lyon."))
    find_order, ran = finding()
    agent = create_tiered_agent(two(vendor), tools=[find_order], policy=Policy(pin="nano", floors={"tools": "nano"}))
    result = run(agent, ask("Where is order 1042?"))
    assert (ran, result["messages"][-1].text) == ([1042], "In Lyon.")
    assert [entry["outcome"] for entry in result["ledger"]] == ["tool_turn", "accepted"]


@VENDORS
def test_a_schema_is_filled_in_the_vendors_own_way(run: Any, vendors: VendorServer, vendor: str) -> None:
    vendors.will(vendor, Said(value={"kind": "bug", "urgent": True}))
    agent = create_tiered_agent(two(vendor), response_format=Ticket, policy=pinned())
    assert run(agent, ask(LABEL))["structured_response"] == Ticket(kind="bug", urgent=True)
    assert vendors.calls(vendor) == 1


@VENDORS
def test_a_schema_that_is_not_kept_goes_to_the_next_vendor(run: Any, vendors: VendorServer, vendor: str) -> None:
    vendors.will(vendor, Said(value={"kind": "bug", "urgent": "perhaps"}))
    vendors.will(OTHER[vendor], Said(value={"kind": "bug", "urgent": False}))
    agent = create_tiered_agent(two(vendor), response_format=Ticket, policy=from_nano())
    result = run(agent, ask(LABEL))
    assert result["structured_response"] == Ticket(kind="bug", urgent=False)
    assert result["route"]["escalated_from"] == "nano"


@VENDORS
def test_words_are_streamed_and_the_usage_is_whole(stream: Any, vendors: VendorServer, vendor: str) -> None:
    vendors.will(vendor, Said("One two three."))
    agent = create_tiered_agent(two(vendor), policy=pinned())
    parts = stream(agent, ask(LABEL), stream_mode=["messages", "values"])
    words = [told[0].text for mode, told in parts if mode == "messages" and isinstance(told[0], AIMessageChunk)]
    assert [word for word in words if word] == ["One ", "two ", "three."]
    (entry,) = parts[-1][1]["ledger"]
    assert (entry["input_tokens"], entry["output_tokens"]) == (INPUT, OUTPUT)
    assert parts[-1][1]["messages"][-1].text == "One two three."


@VENDORS
@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_that_was_cut_off_is_seen(vendors: VendorServer, vendor: str, *, streamed: bool) -> None:
    vendors.will(vendor, Said("The first of", stop=WIRES[vendor].cut))
    assert not finished(CheckInput([], answer_of(vendor, streamed=streamed)))["accepted"]
    vendors.will(vendor, Said("All of it."))
    assert finished(CheckInput([], answer_of(vendor, streamed=streamed)))["accepted"]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("vendor", "kind"), [("anthropic", "refusal"), ("google_genai", "refusal"), ("google_genai", "blocked")]
)
def test_a_refusal_and_a_blocked_request_are_seen(
    vendors: VendorServer, vendor: str, kind: str, *, streamed: bool
) -> None:
    vendors.will(vendor, WIRES[vendor].error(kind))
    verdict = not_refused(CheckInput([], answer_of(vendor, streamed=streamed)))
    assert not verdict["accepted"]
    assert "(" in verdict["reason"]  # it names the provider's own word


def answer_of(vendor: str, *, streamed: bool) -> AIMessage:
    model = once(WIRES[vendor])
    if not streamed:
        answer: AIMessage = model.invoke("Hi")
        return answer
    whole: Any = None
    for part in model.stream("Hi"):
        whole = part if whole is None else whole + part
    return whole  # type: ignore[no-any-return]


KINDS = {
    "rate_limit": "rate_limit",
    "overloaded": "outage",
    "overflow": "overflow",
    "too_large": "too_large",
    "bad_key": "authentication",
    "unpaid": "authentication",
    "no_model": "unknown_model",
    "invalid": "invalid_request",
}


def broken(vendor: str, kind: str) -> Any:
    try:
        return WIRES[vendor].error(kind)
    except KeyError:
        return None


BROKEN = [(vendor, kind) for vendor in WIRES for kind in KINDS if broken(vendor, kind) is not None]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("vendor", "kind"), BROKEN)
def test_a_vendors_error_is_told_apart_and_nothing_is_charged_for_it(
    vendors: VendorServer, vendor: str, kind: str, *, streamed: bool
) -> None:
    answer = WIRES[vendor].error(kind)
    assert isinstance(answer, Broken)
    vendors.will(vendor, answer)
    with pytest.raises(Exception) as raised:  # noqa: PT011  (each vendor has its own)
        answer_of(vendor, streamed=streamed)
    failure = failure_of(raised.value, of_call=True)
    assert failure is not None
    assert failure["kind"] == KINDS[kind]
    assert failure["retry_after_s"] == (float(answer.headers["retry-after"]) if answer.headers else None)
    assert may_be_charged(raised.value) is False


def test_the_same_error_out_of_a_tool_is_none_of_a_providers() -> None:
    request = httpx.Request("GET", "https://example.org")
    error = httpx.HTTPStatusError("Gone.", request=request, response=httpx.Response(503, request=request))
    assert failure_of(error) is None
    told = failure_of(error, of_call=True)
    assert told is not None
    assert told["kind"] == "outage"


def test_how_long_google_asks_to_wait_is_read_off_its_body(vendors: VendorServer) -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "26.5s"}]
    body = {"error": {"code": 429, "message": "Quota.", "status": "RESOURCE_EXHAUSTED", "details": details}}
    vendors.will("google_genai", Broken(429, body))
    with pytest.raises(Exception, match="RESOURCE_EXHAUSTED") as raised:
        answer_of("google_genai", streamed=False)
    failure = failure_of(raised.value, of_call=True)
    assert failure is not None
    assert (failure["kind"], failure["retry_after_s"]) == ("rate_limit", 26.5)


@VENDORS
def test_a_rate_limit_of_one_vendor_falls_back_to_another(run: Any, vendors: VendorServer, vendor: str) -> None:
    vendors.will(vendor, WIRES[vendor].error("rate_limit"))
    vendors.will(OTHER[vendor], Said("From the other."))
    nano = Tier("nano", once(WIRES[vendor]), criteria="All.", fallbacks=(WIRES[OTHER[vendor]].spec,))
    result = run(create_tiered_agent([nano], policy=Policy(max_wait_s=0)), ask(LABEL))
    assert result["messages"][-1].text == "From the other."
    first, second = result["ledger"]
    assert (first["outcome"], first["cost_usd"], second["model"]) == ("failed", 0.0, WIRES[OTHER[vendor]].model)


def finding() -> tuple[Any, list[int]]:
    ran: list[int] = []

    @tool
    def find_order(order: int) -> str:
        """Find an order."""
        ran.append(order)
        return f"Order {order} is in Lyon."

    return find_order, ran


@pytest.mark.parametrize(("vendor", "above"), [pair for pair in product(WIRES, WIRES) if pair[0] != pair[1]])
def test_the_next_vendor_goes_on_from_the_tool_results_of_the_last(
    run: Any, vendors: VendorServer, vendor: str, above: str
) -> None:
    vendors.will(vendor, *asks_for_order(), Said("", stop=WIRES[vendor].cut))
    vendors.will(above, Said("In Lyon, all of it."))
    find_order, ran = finding()
    agent = create_tiered_agent(
        (tier("nano", vendor), tier("mini", above)),
        tools=[find_order],
        policy=Policy(strategy="cascade", floors={"tools": "nano"}),
        checkpointer=InMemorySaver(),
    )
    thread = {"configurable": {"thread_id": "1"}}
    result = run(agent, ask("Where is order 1042?"), thread)
    assert ran == [1042]
    assert result["messages"][-1].text == "In Lyon, all of it."
    (told,) = [message for message in result["messages"] if isinstance(message, ToolMessage)]
    assert "is in Lyon" in told.text
    assert "is in Lyon" in str(vendors.asked[-1][1])
    vendors.will(above, Said("Nothing else."))
    again = run(agent, ask("Thanks. Anything else?"), thread)
    assert again["messages"][-1].text == "Nothing else."


def asks_for_order() -> tuple[Said, ...]:
    return (Said("I will.", calls=(("find_order", {"order": 1042}),)),)


def test_a_request_that_one_vendor_blocks_is_answered_by_another(run: Any, vendors: VendorServer) -> None:
    vendors.will("google_genai", WIRES["google_genai"].error("blocked"))
    vendors.will("anthropic", Said("Here you are."))
    agent = create_tiered_agent(two("google_genai"), policy=from_nano(), checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "1"}}
    assert run(agent, ask(LABEL), thread)["messages"][-1].text == "Here you are."
    assert run(agent, ask("And now?"), thread)["route"]["tier"] == "mini"


@VENDORS
def test_the_middleware_route_and_escalate_across_vendors(run: Any, vendors: VendorServer, vendor: str) -> None:
    vendors.will(vendor, Said("", stop=WIRES[vendor].cut))
    vendors.will(OTHER[vendor], Said("From the tier above."))
    pair, policy = two(vendor), from_nano()
    ours = [TierRouterMiddleware(pair, policy=policy), EscalationMiddleware(pair, policy=policy)]
    result = run(create_agent(pair[0].model, middleware=ours), ask(LABEL))
    assert result["messages"][-1].text == "From the tier above."
    assert Ledger(result["ledger"]).total_usd is not None


@VENDORS
def test_an_agents_own_model_is_known_as_its_tiers(vendors: VendorServer, vendor: str) -> None:
    vendors.will(vendor, Said("Mine."))
    nano, mini = two(vendor)
    agent: Any = create_agent(init_chat_model(str(nano.model)), middleware=[EscalationMiddleware((mini, nano))])
    assert agent.invoke(ask(LABEL))["route"]["tier"] == "nano"
