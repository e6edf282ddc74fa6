"""Around a run with routing and escalation: streams, checks, the context, prices, storage, runs at once."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from fakes import LABEL, PROOF, ScriptedModel, ask, call_then, model, say, tiers
from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from orders import CHECKED, ROUTED, agent, booked, calls

from langchain_tiered import Ledger, Tier
from langchain_tiered.errors import NoAnswerAcceptedError, UnknownTierError
from langchain_tiered.middleware import EscalationMiddleware
from langchain_tiered.types import Rates

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

THREAD: Any = {"configurable": {"thread_id": "1"}}
UNSURE = "Hmm, what of my garden?"
REFUSAL = AIMessage("", additional_kwargs={"refusal": "I cannot help with that."})
SECRET = "quokka"  # one word, so that a chunk holds it whole
WRITE = {"reason": "It wants prose.", "task": "write", "tier": "mini", "confidence": 0.9}
MODES = ["messages", "updates", "values", "custom"]
GOOD = call_then("refund", {"order": 7}, say("It is refunded."))

checked = pytest.mark.parametrize("order", CHECKED)
routed = pytest.mark.parametrize("order", ROUTED)
every = pytest.mark.parametrize("order", ["R", *CHECKED])


# What a user sees


@checked
@pytest.mark.parametrize("kind", [None, ScriptedModel], ids=["streaming", "whole"])
def test_a_held_answer_that_is_rejected_is_in_no_stream(stream: Any, order: str, kind: Any, refund: BaseTool) -> None:
    def no_secret(given: Any) -> bool:
        return SECRET not in given.answer.text

    scripts = {"nano": say(f"a {SECRET}"), "mini": GOOD}
    scripted = (
        [Tier(name, model(name, script, kind), criteria="") for name, script in scripts.items()]
        if kind
        else tiers(**scripts)
    )
    made = agent(order, scripted, checks=[no_secret], tools=[refund])
    for mode in (*MODES, MODES):
        assert SECRET not in str(stream(made, ask(LABEL), stream_mode=mode))
    parts = stream(made, ask(LABEL), stream_mode="messages")
    assert "refunded" in str([chunk.text for chunk, _ in parts if chunk.type.startswith(("ai", "AI"))])


@checked
def test_tokens_are_shown_as_they_come_where_no_check_reads_the_whole_answer(stream: Any, order: str) -> None:
    parts = stream(agent(order, tiers(nano=say("it is a bug"), mini=say("mini"))), ask(LABEL), stream_mode="messages")
    assert [chunk.text for chunk, _ in parts if chunk.text] == ["it ", "is ", "a ", "bug"]


@checked
def test_an_accepted_held_answer_comes_as_one_message(stream: Any, order: str) -> None:
    made = agent(order, tiers(nano=say("it is a bug"), mini=say("mini")), checks=[lambda _: True])
    parts = stream(made, ask(LABEL), stream_mode="messages")
    assert [chunk.text for chunk, _ in parts if chunk.text] == ["it is a bug"]


@checked
def test_steps_are_told_on_the_custom_stream_without_the_answers_words(stream: Any, order: str) -> None:
    scripted = tiers(nano=say(SECRET, "length"), mini=say("mini"))
    (event,) = stream(agent(order, scripted), ask(LABEL), stream_mode="custom")
    assert (event["type"], event["action"], event["tier"], event["to"]) == ("tiered_step", "escalate", "nano", "mini")
    assert event["check"] == "finished"


# Checks, context, prices


@checked
def test_a_model_that_a_check_asks_is_booked_as_a_judge(run: Any, order: str) -> None:
    judging = model("mini", say("fine"))

    def check(_: Any) -> bool:
        return judging.invoke("Is it?").text == "fine"

    result = run(agent(order, tiers(nano=say("a bug"), mini=say("m")), checks=[check]), ask(LABEL))
    assert [entry["role"] for entry in result["ledger"]] == ["answer", "judge"]
    assert result["ledger"][0]["outcome"] == "accepted"


def test_an_agent_that_a_check_runs_keeps_its_own_route(run: Any) -> None:
    inner = agent("RE", tiers(nano=say("yes"), mini=say("m")))

    def check(_: Any) -> bool:
        said: dict[str, Any] = inner.invoke(ask(LABEL))
        return bool(said["messages"][-1].text == "yes" and said["route"]["tier"] == "nano")

    result = run(agent("RE", tiers(low=say(""), high=say("a proof")), checks=[check]), ask(PROOF))
    assert (result["messages"][-1].text, result["route"]["tier"]) == ("a proof", "high")


@checked
def test_the_context_pins_a_tier_for_one_run(run: Any, order: str) -> None:
    scripted = tiers(nano=say("nano"), mini=say(""), flagship=say("f"))
    made = agent(order, scripted)
    with pytest.raises(NoAnswerAcceptedError, match="pinned to mini"):
        run(made, ask(LABEL), context={"pin": "mini"})
    assert calls(scripted) == [0, 1, 0]
    assert run(made, ask(LABEL), context={"pin": "flagship"})["route"]["decided_by"] == "pin"
    assert run(made, ask(LABEL))["messages"][-1].text == "nano"
    with pytest.raises(UnknownTierError, match="'huge'"):
        run(made, ask(LABEL), context={"pin": "huge"})


def test_the_router_alone_obeys_a_pin(run: Any) -> None:
    result = run(agent("R", tiers(nano=say("n"), mini=say("m"))), ask(LABEL), context={"pin": "mini"})
    assert (result["messages"][-1].text, result["route"]["decided_by"]) == ("m", "pin")


@every
def test_the_context_changes_a_tiers_model_and_prompt_for_one_run(run: Any, order: str) -> None:
    @dataclass
    class Mine:
        nano_model: Any = None
        nano_prompt: str | None = None

    other = model("other", say("other"))
    scripted = tiers(nano=say("nano"), mini=say("mini"))
    made = agent(order, scripted, system_prompt="Be brief.", context_schema=Mine)
    assert run(made, ask(LABEL), context=Mine(nano_model=other))["messages"][-1].text == "other"
    assert run(made, ask(LABEL), context=Mine(nano_prompt="Be long."))["messages"][-1].text == "nano"
    assert run(made, ask(LABEL))["messages"][-1].text == "nano"
    nano: Any = scripted[0].model
    assert [asked[0].text for asked in nano.asked] == ["Be long." if "E" in order else "Be brief.", "Be brief."]


@every
def test_a_tiers_own_rates_price_its_own_model_only(run: Any, order: str) -> None:
    dear = Rates(input_usd=1000, output_usd=1000)
    spare = model("gpt-5.4-mini", say("spare"))
    scripted = [Tier("nano", model("nano", say("nano")), criteria="", rates=dear), *tiers(mini=say("m"))]
    made = agent(order, scripted)
    assert Ledger(run(made, ask(LABEL))["ledger"]).total_usd == pytest.approx(1.1)
    assert run(made, ask(LABEL), context={"nano_model": spare})["ledger"][0]["cost_usd"] == pytest.approx(0.0012)


def test_a_model_of_ones_own_stands_in_for_the_first_tier_at_its_own_price(run: Any) -> None:
    dear = Rates(input_usd=1000, output_usd=1000)
    first = Tier("nano", model("nano", say("nano")), criteria="", rates=dear, price_factor=2)
    scripted = [first, *tiers(mini=say("m"))]
    own = model("gpt-5.4", say("own"))
    result = run(agent("E", scripted, own=own), ask(LABEL))
    assert (result["messages"][-1].text, result["route"]["tier"], calls(scripted)) == ("own", "nano", [0, 0])
    assert Ledger(result["ledger"]).total_usd == pytest.approx(0.004)


def test_escalation_alone_begins_at_the_tier_whose_model_is_the_agents_own(run: Any) -> None:
    scripted = tiers(nano=say("nano"), mini=say(""), flagship=say("f"))
    result = run(agent("E", scripted, own=scripted[1].model), ask(LABEL))  # type: ignore[arg-type]
    assert booked(result) == [("mini", "rejected"), ("flagship", "accepted")]
    named = [Tier("nano", "openai:no-such", criteria=""), Tier("mini", "openai:gpt-5.4-mini", criteria="")]
    result = run(agent("E", named, own=model("mini", say("mini"))), ask(LABEL))
    assert booked(result) == [("mini", "accepted")]


@pytest.mark.parametrize("order", ["E"])
def test_a_double_that_counts_on_itself_keeps_its_count(run: Any, order: str) -> None:
    own = FakeMessagesListChatModel(responses=[AIMessage("one"), AIMessage("two"), AIMessage("three")])
    made = create_agent(own, middleware=[EscalationMiddleware(tiers(nano=say("n"), mini=say("m")))])
    assert [run(made, ask(LABEL))["messages"][-1].text for _ in range(3)] == ["one", "two", "three"]


def test_escalation_alone_does_without_a_word_of_a_user(run: Any) -> None:
    made = agent("E", tiers(nano=say(""), mini=say("hello")), system_prompt="Say hello.")
    assert run(made, {"messages": []})["messages"][-1].text == "hello"


# Storage and concurrency


@every
def test_what_is_stored_is_plain_under_strict_msgpack(run: Any, order: str, refund: BaseTool) -> None:
    saver = InMemorySaver(serde=JsonPlusSerializer(allowed_msgpack_modules=None))
    cut = call_then("refund", {"order": 7}, say("cut", "length"))
    made = agent(order, tiers(nano=cut, mini=say("mini")), tools=[refund], checkpointer=saver)
    for _ in range(2):
        result = run(made, ask(LABEL), THREAD)
    stored = saver.get_tuple(THREAD)
    assert stored is not None
    values = stored.checkpoint["channel_values"]
    assert values["ledger"] == result["ledger"]
    assert "tiered_run" not in values
    assert values["tiered_turn"]["run_id"] == result["ledger"][-1]["run_id"]


@every
def test_two_hundred_threads_at_once_never_see_each_other(order: str) -> None:
    def echo(name: str) -> Any:
        return lambda messages: AIMessage(f"{name}: {messages[-1].text}")

    scripted = tiers(nano=lambda messages: echo("nano")(messages) if "odd" in messages[-1].text else AIMessage(""))
    scripted = (*scripted, *tiers(mini=echo("mini"), flagship=echo("flagship")))
    made = agent(order, scripted, checkpointer=InMemorySaver())
    texts = [f"{LABEL} {'odd' if i % 2 else 'even'} {i}" for i in range(200)]

    def config(i: int) -> Any:
        return {"configurable": {"thread_id": str(i)}}

    async def at_once() -> list[dict[str, Any]]:
        return list(await asyncio.gather(*(made.ainvoke(ask(text), config(i)) for i, text in enumerate(texts))))

    with ThreadPoolExecutor(8) as pool:
        in_threads = list(pool.map(lambda i: made.invoke(ask(texts[i]), config(1000 + i)), range(200)))
    for results in (asyncio.run(at_once()), in_threads):
        for text, result in zip(texts, results, strict=True):
            stays = "odd" in text or order == "R"
            tier = "nano" if stays else "mini"
            assert result["messages"][-1].text == (f"{tier}: {text}" if "odd" in text or order != "R" else "")
            assert result["route"]["tier"] == tier
            assert len(result["ledger"]) == (1 if stays else 2)
