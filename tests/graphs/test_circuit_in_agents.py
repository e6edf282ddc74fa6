"""A model that keeps failing is left alone for a while: its calls are not made, and requests go elsewhere at once."""

from __future__ import annotations

import asyncio
from threading import Event, Thread
from typing import Any

import pytest
from fakes import LABEL, REFUND, ScriptedModel, StreamingModel, ask, fail, model, say
from langchain_core.messages import AIMessage
from langchain_core.tools import tool

from langchain_tiered import Policy, Tier, create_tiered_agent
from langchain_tiered.cascade.circuit import Circuit
from langchain_tiered.nodes import ladder

BODIES = pytest.mark.parametrize("body", ["one call", "loop"])
DOWN = fail(ConnectionError("reset by peer"))
UP = say("mini")


class Clock:
    """A clock that stands still until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Give the circuit of each agent that is made in the test a clock of the test's own."""
    clock = Clock()
    monkeypatch.setattr(ladder, "Circuit", lambda: Circuit(clock=clock))
    return clock


@tool
def refund(order: int) -> str:
    """Refund an order."""
    return f"Order {order} is refunded."


class Gated(StreamingModel):
    """Waits at a gate, where there is one, before it answers in an event loop."""

    gate: Any = None

    async def _agenerate(self, messages: Any, *_: Any, **__: Any) -> Any:
        if self.gate is not None:
            await self.gate()
        return self._generate(messages)


class Setup:
    """An agent whose first model is down, and its requests."""

    def __init__(self, body: str, *, spare: Any = None, mini: Any = UP, policy: Any = None) -> None:
        self.nano: Any = model("nano", DOWN, Gated)
        self.spare: ScriptedModel = model("spare", spare or say("spare"))
        tiers = [Tier("nano", self.nano, criteria="", fallbacks=[self.spare] if spare else [])]
        tiers += [Tier("mini", model("mini", mini), criteria="")] if mini else []
        policy = policy or Policy("cascade", floors={"tools": "nano"})
        tools = [refund] if body == "loop" else []
        self.agent: Any = create_tiered_agent(tiers, tools=tools, policy=policy)
        self.request = ask(REFUND if body == "loop" else LABEL)

    def answers(self, run: Any, times: int = 1, **options: Any) -> list[str]:
        return [run(self.agent, self.request, **options)["messages"][-1].text for _ in range(times)]


@BODIES
def test_three_outages_in_a_row_and_the_next_requests_go_up_at_once(run: Any, clock: Clock, body: str) -> None:
    setup = Setup(body)
    assert setup.answers(run, 3) == ["mini"] * 3
    assert setup.nano.calls == 3
    result = run(setup.agent, setup.request)
    assert (result["messages"][-1].text, setup.nano.calls) == ("mini", 3)
    assert [(entry["tier"], entry["outcome"]) for entry in result["ledger"]] == [("mini", "accepted")]
    route = result["route"]
    assert (route["tier"], route["escalated_from"]) == ("mini", "nano")
    assert "left alone" in route["reason"]
    assert setup.answers(run, 5) == ["mini"] * 5
    assert setup.nano.calls == 3


@BODIES
def test_they_go_sideways_where_the_tier_has_another_model(run: Any, clock: Clock, body: str) -> None:
    setup = Setup(body, spare=say("spare"))
    assert setup.answers(run, 5) == ["spare"] * 5
    assert (setup.nano.calls, setup.spare.calls) == (3, 5)
    assert run(setup.agent, setup.request)["route"]["tier"] == "nano"


@BODIES
def test_a_fallback_that_is_down_too_has_a_circuit_of_its_own(run: Any, clock: Clock, body: str) -> None:
    setup = Setup(body, spare=DOWN)
    assert setup.answers(run, 5) == ["mini"] * 5
    assert (setup.nano.calls, setup.spare.calls) == (3, 3)


@BODIES
def test_after_a_while_one_request_tries_it_and_a_failure_leaves_it_alone_again(
    run: Any, clock: Clock, body: str
) -> None:
    setup = Setup(body)
    setup.answers(run, 3)
    clock.now = 29.9
    setup.answers(run, 2)
    assert setup.nano.calls == 3
    clock.now = 30.0
    assert setup.answers(run, 3) == ["mini"] * 3
    assert setup.nano.calls == 4, "one of the three tries it"
    clock.now = 59.9
    setup.answers(run)
    assert setup.nano.calls == 4


@BODIES
def test_an_answer_closes_the_circuit(run: Any, clock: Clock, body: str) -> None:
    setup = Setup(body)
    setup.answers(run, 3)
    setup.nano.script, clock.now = say("back again"), 30.0
    assert setup.answers(run, 3) == ["back again"] * 3
    assert setup.nano.calls == 6
    setup.nano.script = DOWN
    setup.answers(run, 2)
    assert setup.nano.calls == 8, "its failures are counted anew"


@BODIES
def test_an_answer_between_two_outages_begins_the_row_anew(run: Any, clock: Clock, body: str) -> None:
    setup = Setup(body)
    for script in (DOWN, DOWN, say("up"), DOWN, DOWN, say("up")):
        setup.nano.script = script
        setup.answers(run)
    assert setup.nano.calls == 6


@BODIES
def test_what_is_no_outage_opens_no_circuit(run: Any, clock: Clock, body: str) -> None:
    class RateLimitError(Exception):
        status_code = 429

    setup = Setup(body)
    setup.nano.script = fail(RateLimitError("slow down"))
    assert setup.answers(run, 5) == ["mini"] * 5
    setup.nano.script = say("")
    assert setup.answers(run, 5) == ["mini"] * 5
    assert setup.nano.calls == 10


@BODIES
def test_the_only_model_is_asked_all_the_same(run: Any, clock: Clock, body: str) -> None:
    setup = Setup(body, mini=None)
    for calls in range(1, 6):
        with pytest.raises(ConnectionError, match="reset by peer"):
            run(setup.agent, setup.request)
        assert setup.nano.calls == calls, "once for each request"
    setup.nano.script = say("back again")
    assert setup.answers(run) == ["back again"]


@BODIES
def test_a_pinned_tier_is_asked_all_the_same(run: Any, clock: Clock, body: str) -> None:
    setup = Setup(body)
    setup.answers(run, 3)
    setup.nano.script = say("back again")
    assert setup.answers(run, context={"pin": "nano"}) == ["back again"]
    assert setup.answers(run) == ["back again"], "that closed it"


@BODIES
def test_a_model_that_the_context_brings_has_no_circuit(run: Any, clock: Clock, body: str) -> None:
    setup = Setup(body)
    other: ScriptedModel = model("other", DOWN)
    assert setup.answers(run, 5, context={"nano_model": other}) == ["mini"] * 5
    assert (other.calls, setup.nano.calls) == (5, 0)
    setup.answers(run, 4)
    assert setup.nano.calls == 3
    other.script = say("other")
    assert setup.answers(run, 1, context={"nano_model": other}) == ["other"]
    setup.answers(run)
    assert setup.nano.calls == 3, "another model's answer says nothing of the tier's own"


@BODIES
def test_two_agents_with_the_same_tiers_do_not_share_a_circuit(run: Any, clock: Clock, body: str) -> None:
    first, second = Setup(body), Setup(body)
    first.answers(run, 4)
    second.answers(run)
    assert (first.nano.calls, second.nano.calls) == (3, 1)


@BODIES
def test_no_step_leads_to_a_model_that_is_left_alone(run: Any, clock: Clock, body: str) -> None:
    third = Tier("flagship", model("flagship", say("flagship")), criteria="")
    mini: ScriptedModel = model("mini", DOWN)
    tiers = [Tier("nano", model("nano", say("")), criteria=""), Tier("mini", mini, criteria=""), third]
    tools = [refund] if body == "loop" else []
    agent = create_tiered_agent(tiers, tools=tools, policy=Policy("cascade", floors={"tools": "nano"}))
    request = ask(REFUND if body == "loop" else LABEL)
    reasons = [run(agent, request)["route"]["reason"] for _ in range(4)]
    assert mini.calls == 3
    assert "empty" in reasons[3], "it went from the first to the third tier in one step"


@BODIES
def test_while_one_request_tries_it_others_in_threads_do_not(clock: Clock, body: str) -> None:
    setup, trying, done = Setup(body), Event(), Event()
    for _ in range(3):
        setup.agent.invoke(setup.request)

    def slow(_: Any) -> AIMessage:
        trying.set()
        assert done.wait(10)
        return AIMessage("back again")

    setup.nano.script, clock.now = slow, 30.0
    said: list[str] = []
    probe = Thread(target=lambda: said.append(setup.agent.invoke(setup.request)["messages"][-1].text))
    probe.start()
    assert trying.wait(10)
    assert setup.agent.invoke(setup.request)["messages"][-1].text == "mini"
    done.set()
    probe.join(10)
    assert (said, setup.nano.calls) == (["back again"], 4)


@BODIES
async def test_while_one_request_tries_it_others_in_the_loop_do_not(clock: Clock, body: str) -> None:
    setup = Setup(body)
    for _ in range(3):
        await setup.agent.ainvoke(setup.request)
    trying, done = asyncio.Event(), asyncio.Event()

    async def gate() -> None:
        trying.set()
        await done.wait()

    setup.nano.script, setup.nano.gate, clock.now = say("back again"), gate, 30.0
    probe = asyncio.create_task(setup.agent.ainvoke(setup.request))
    await asyncio.wait_for(trying.wait(), 10)
    assert (await setup.agent.ainvoke(setup.request))["messages"][-1].text == "mini"
    done.set()
    assert (await probe)["messages"][-1].text == "back again"
    assert setup.nano.calls == 4
