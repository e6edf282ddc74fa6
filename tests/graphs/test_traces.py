"""Tracers show of a run, by their own means: tier, task, reason, who decided, where it came from, and what it cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fakes import LABEL, ScriptedModel, ask, call_then, fail, in_turn, model, say, tiers
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.messages.tool import tool_call
from langchain_core.tools import tool
from langchain_core.tracers import LangChainTracer
from langchain_core.tracers.base import BaseTracer
from langsmith import Client
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from langchain_tiered import EscalationMiddleware, Policy, TierRouter, TierRouterMiddleware, create_tiered_agent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_tiered.cascade import CheckInput

CASCADE = Policy(strategy="cascade", floors={"tools": "nano"})
ROUTE = ("tier", "task", "reason", "decided_by", "escalated_from")
UNSURE = "hm, well, the thing from before, do that again but differently"
CUT = say("It is a", "length")
WORD_USD = {"nano": (0.20, 1.25), "mini": (0.75, 4.50)}


class Collected(BaseTracer):
    """Keeps every run as it ends."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[Any] = []

    def _persist_run(self, run: Any) -> None:
        pass

    def _end_trace(self, run: Any) -> None:
        self.runs.append(run)
        super()._end_trace(run)

    def named(self, name: str) -> list[Any]:
        return [run for run in self.runs if run.name == name]

    def calls(self) -> list[Any]:
        """Return the runs of models, in the order in which they ended."""
        return [run for run in self.runs if run.run_type in {"llm", "chat_model"}]


def metadata(run: Any) -> dict[str, Any]:
    told: dict[str, Any] = run.extra["metadata"]
    return told


def told(run: Any) -> dict[str, Any]:
    return {name: metadata(run).get(name) for name in ROUTE}


def usd(tier: str) -> float:
    """Return the price of one scripted call."""
    fresh, output = WORD_USD[tier]
    return (1000 * fresh + 100 * output) / 1e6


@pytest.fixture
def traced() -> Collected:
    return Collected()


def config(tracer: Any, **more: Any) -> dict[str, Any]:
    return {"callbacks": [tracer], **more}


def test_a_tiers_run_and_its_call_carry_the_route_and_the_cost(run: Any, traced: Collected) -> None:
    agent = create_tiered_agent(tiers(nano=say("bug"), mini=say("m")))
    result = run(agent, ask(LABEL), config(traced))
    (node,) = traced.named("nano")
    (call,) = traced.calls()
    for each in (node, call):
        assert told(each) == {name: result["route"][name] for name in ROUTE}
        assert "tier:nano" in each.tags
    assert metadata(node)["cost_usd"] == pytest.approx(usd("nano"))
    assert metadata(traced.named("check")[0])["step"] == "accept"
    assert told(traced.named("classify")[0])["task"] == "classify"


def find_order(order: int) -> str:
    """Find an order."""
    return f"Order {order} is in Lyon."


@pytest.mark.parametrize("body", ["call", "loop"])
def test_an_escalated_run_tells_where_it_came_from_and_the_rejected_one_is_tagged(
    run: Any, traced: Collected, body: str
) -> None:
    tools = [tool(find_order)] if body == "loop" else []
    agent = create_tiered_agent(tiers(nano=CUT, mini=say("A bug.")), tools=tools, policy=CASCADE)
    run(agent, ask(LABEL), config(traced))
    (mini,) = traced.named("mini")
    assert (metadata(mini)["escalated_from"], metadata(mini)["decided_by"]) == ("nano", "escalation")
    assert "finished" in metadata(mini)["reason"]
    rejecting, accepting = traced.named("check")
    assert "tiered:rejected" in rejecting.tags
    assert (metadata(rejecting)["rejected_by"], metadata(rejecting)["step"]) == ("finished", "escalate")
    assert "tiered:rejected" not in accepting.tags
    calls = traced.calls()
    assert [told(call)["escalated_from"] for call in calls] == [None, "nano"]
    assert [metadata(node)["cost_usd"] for node in (traced.named("nano")[0], mini)] == [usd("nano"), usd("mini")]


def test_a_call_that_is_repaired_in_the_loop_tags_the_run_around_it(run: Any, traced: Collected) -> None:
    def wrong(_: Any) -> AIMessage:
        return AIMessage("", tool_calls=[tool_call(name="find_order", args={"order": "?"}, id="call_wrong")])

    nano = in_turn(wrong, call_then("find_order", {"order": 7}, say("In Lyon.")))
    agent = create_tiered_agent(tiers(nano=nano, mini=say("m")), tools=[tool(find_order)], policy=CASCADE)
    run(agent, ask("Where is order 7?"), config(traced))
    tagged = [each for each in traced.runs if "tiered:rejected" in (each.tags or ())]
    assert [metadata(each)["rejected_by"] for each in tagged] == ["valid_tool_calls"]


def test_a_failure_and_its_kind_stand_on_the_run_that_sees_it(run: Any, traced: Collected) -> None:
    agent = create_tiered_agent(tiers(nano=fail(ConnectionError("Gone.")), mini=say("m")), policy=CASCADE)
    run(agent, ask(LABEL), config(traced))
    assert metadata(traced.named("check")[0])["failure"] == "outage"


def test_the_calls_of_classifier_and_judge_are_tagged(run: Any, traced: Collected) -> None:
    said = {"reason": "Words.", "task": "write", "tier": "nano", "confidence": 0.9}
    router = TierRouter(
        scripted := tiers(nano=say("bug"), mini=say("m")),
        classifier=model("nano", call_then("Classification", said, say("")), ScriptedModel),
    )
    grader = model("mini", say("good"), ScriptedModel)

    def graded(given: CheckInput) -> bool:
        return grader.invoke(given.answer.text).text == "good"

    agent = create_tiered_agent(scripted, router=router, checks=[graded])
    run(agent, ask(UNSURE), config(traced))
    tags = [[tag for tag in call.tags if tag.startswith("tier")] for call in traced.calls()]
    assert tags == [["tiered:classify"], ["tier:nano"], ["tiered:judge"]]
    assert metadata(traced.named("classify")[0])["cost_usd"] == pytest.approx(usd("nano"))


def test_the_users_own_words_stay_where_ours_say_nothing(run: Any, traced: Collected) -> None:
    said = {"reason": "Words.", "task": "write", "tier": "nano", "confidence": 0.9}
    classifier = model("nano", call_then("Classification", said, say("")), ScriptedModel)
    agent = create_tiered_agent(
        scripted := tiers(nano=say("n"), mini=say("m")), router=TierRouter(scripted, classifier=classifier)
    )
    run(agent, ask(UNSURE), config(traced, metadata={"task": "nightly", "customer": "c7"}, tags=["beta"]))
    classified, answered = traced.calls()
    assert metadata(classified)["task"] == "nightly"
    assert metadata(answered)["task"] == "write"
    assert all(metadata(call)["customer"] == "c7" and "beta" in call.tags for call in (classified, answered))


def test_an_agent_with_our_middleware_is_traced_alike(run: Any, traced: Collected) -> None:
    scripted = tiers(nano=CUT, mini=say("A bug."))
    ours = [TierRouterMiddleware(scripted, policy=CASCADE), EscalationMiddleware(scripted, policy=CASCADE)]
    run(create_agent(model("own", say("own")), middleware=ours), ask(LABEL), config(traced))
    first, second = traced.calls()
    assert (told(first)["tier"], told(first)["escalated_from"]) == ("nano", None)
    assert (told(second)["tier"], told(second)["escalated_from"]) == ("mini", "nano")
    assert ["tier:nano" in first.tags, "tier:mini" in second.tags] == [True, True]
    (node,) = traced.named("model")
    assert told(node)["tier"] == "mini"
    assert {"tiered:rejected", "tier:mini"} <= set(node.tags)
    assert metadata(node)["cost_usd"] == pytest.approx(usd("nano") + usd("mini"))


def test_an_unknown_cost_is_none_in_a_trace(run: Any, traced: Collected) -> None:
    agent = create_tiered_agent(tiers(unpriced=say("bug")))
    run(agent, ask(LABEL), config(traced))
    assert metadata(traced.named("unpriced")[0])["cost_usd"] is None


def test_runs_without_a_tracer_and_with_the_same_metadata_are_not_mixed_up(run: Any) -> None:
    mine = {"customer": "c7"}
    agent = create_tiered_agent(tiers(nano=CUT, mini=say("m")), policy=CASCADE)
    run(agent, ask(LABEL), {"metadata": mine})
    assert mine == {"customer": "c7"}


@pytest.fixture
def spans() -> Iterator[tuple[LangChainTracer, InMemorySpanExporter, Client]]:
    """Give LangChain's own OpenTelemetry export, into memory."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    client = Client(api_key="none", api_url="http://127.0.0.1:9", tracing_mode="otel", otel_tracer_provider=provider)
    yield LangChainTracer(client=client), exporter, client
    client.close()


def test_langchains_open_telemetry_export_shows_it_all(run: Any, spans: Any) -> None:
    tracer, exporter, client = spans
    agent = create_tiered_agent(tiers(nano=CUT, mini=say("A bug.")), policy=CASCADE)
    run(agent, ask(LABEL), config(tracer))
    tracer.wait_for_futures()
    client.flush()
    shown = [(span.name, dict(span.attributes or {})) for span in exporter.get_finished_spans()]
    ((_, mini),) = [each for each in shown if each[0] == "mini"]
    assert {
        name: mini.get(f"langsmith.metadata.{name}") for name in ("tier", "task", "decided_by", "escalated_from")
    } == {
        "tier": "mini",
        "task": "classify",
        "decided_by": "escalation",
        "escalated_from": "nano",
    }
    assert "finished" in mini["langsmith.metadata.reason"]
    assert float(mini["langsmith.metadata.cost_usd"]) == pytest.approx(usd("mini"))
    assert "tier:mini" in mini["langsmith.span.tags"]
    rejecting = [each for name, each in shown if name == "check" and "tiered:rejected" in each["langsmith.span.tags"]]
    assert [each["langsmith.metadata.rejected_by"] for each in rejecting] == ["finished"]
    called = [each for _, each in shown if each.get("langsmith.span.kind") == "llm"]
    assert sorted(each["langsmith.metadata.tier"] for each in called) == ["mini", "nano"]
