"""Each call of a `TieredChatModel` is routed, answered by a tier, checked, carried on, and booked once."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx2
import openai
import pytest
from fakes import LABEL, PROOF, REFUND, ScriptedModel, StreamingModel, call_then, fail, in_turn, say
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.tool import tool_call
from langchain_core.outputs import ChatGeneration, ChatResult
from unit.chat_model.fakes_chat_model import NAMES, Ways, calls, outcomes, tiered, tiers

from langchain_tiered import Ledger, Policy, Tier, TieredChatModel, collect_ledger
from langchain_tiered.errors import ConfigurationError, InvalidInputError, NoAnswerAcceptedError, UnknownTierError
from langchain_tiered.types import Rates

if TYPE_CHECKING:
    from langchain_tiered.cascade.checks import CheckInput

REQUEST = httpx2.Request("POST", "https://api.openai.com/v1/chat/completions")


def http_error(status: int, message: str = "It did not work.") -> openai.APIStatusError:
    kinds: dict[int, Any] = {401: openai.AuthenticationError, 429: openai.RateLimitError, 400: openai.BadRequestError}
    kind = kinds.get(status, openai.InternalServerError)
    error: openai.APIStatusError = kind(message, response=httpx2.Response(status, request=REQUEST), body=None)
    return error


def booked(ledger: Any) -> list[tuple[str, str]]:
    """Tell the calls of a ledger; two that listened to one call differ in how long it took them to hear of it."""
    return [(entry["id"], entry["outcome"]) for entry in ledger]


def refund(order: int) -> str:
    """Refund an order."""
    return f"Order {order} refunded."


@pytest.mark.parametrize(("text", "tier"), [(LABEL, "nano"), (PROOF, "flagship")])
def test_the_rules_choose_the_tier(ask: Ways, text: str, tier: str) -> None:
    model = tiered()
    message = ask(model, text)
    assert message.text == f"{tier} says it"
    assert message.response_metadata["model_name"] == f"gpt-5.4-{tier}"
    assert message.response_metadata["route"].items() >= {"tier": tier, "decided_by": "rules"}.items()
    assert message.response_metadata["finish_reason"] == "stop"
    assert calls(model) == {"nano": 0, "mini": 0, "flagship": 0} | {tier: 1}


def test_what_the_metadata_tell_is_plain_json(ask: Ways) -> None:
    message = ask(tiered(nano=say("", "length")), LABEL)
    told = {name: message.response_metadata[name] for name in ("route", "ledger", "model_name")}
    assert json.loads(json.dumps(told)) == told


def test_a_rejected_answer_is_paid_and_the_next_tier_answers(ask: Ways) -> None:
    message = ask(tiered(nano=say("", "length")), LABEL)
    assert message.text == "mini says it"
    assert outcomes(message) == [("nano", "rejected"), ("mini", "accepted")]
    assert message.response_metadata["route"].items() >= {"tier": "mini", "escalated_from": "nano"}.items()
    assert message.usage_metadata["total_tokens"] == 1100
    assert Ledger(message.response_metadata["ledger"]).usage()["total_tokens"] == 2200


def test_each_paid_call_is_booked_once_around_the_call(ask: Ways) -> None:
    with collect_ledger() as outer, collect_ledger() as inner:
        message = ask(tiered(nano=say("", "length")), LABEL)
    assert booked(inner) == booked(outer) == booked(message.response_metadata["ledger"])


def test_the_classifier_is_booked_beside_the_answer(ask: Ways) -> None:
    asked = []

    def classifier(facts: Any) -> str:
        asked.append(facts)
        return "mini"

    message = ask(tiered(model={"classifier": classifier}), "I wonder about all this, and would like to hear more.")
    assert message.text == "mini says it"
    assert len(asked) == 1
    assert message.response_metadata["route"]["decided_by"] == "classifier"


@pytest.mark.parametrize(
    ("error", "steps"),
    [(http_error(500), ["flagship"]), (http_error(429), ["nano"]), (TimeoutError("too slow"), ["flagship"])],
    ids=["outage", "rate limit", "timeout"],
)
def test_a_failure_goes_where_the_engine_says(ask: Ways, error: Exception, steps: list[str]) -> None:
    model = TieredChatModel(tiers(mini=fail(error)), classifier=lambda _: "mini")
    message = ask(model, "I wonder about all this, and more of it.")
    assert [tier for tier, _ in outcomes(message)] == ["mini", *steps]
    assert outcomes(message)[0] == ("mini", "failed")


def test_a_downgrade_is_for_one_attempt_and_the_route_stays(ask: Ways) -> None:
    model = TieredChatModel(tiers(mini=fail(http_error(429))), classifier=lambda _: "mini")
    message = ask(model, "I wonder about all this, and more of it.")
    assert outcomes(message)[-1] == ("nano", "downgraded")
    assert message.response_metadata["route"]["tier"] == "mini"


def test_a_fallback_stands_in_sideways(ask: Ways) -> None:
    spare = StreamingModel(model_name="spare", script=say("spare says it"))
    down = StreamingModel(model_name="gpt-5.4-nano", script=fail(http_error(503)))
    message = ask(TieredChatModel([Tier("nano", down, criteria="", fallbacks=[spare])], classifier=None), LABEL)
    assert message.text == "spare says it"
    assert message.response_metadata["model_name"] == "spare"


def test_a_wait_is_waited_and_the_same_model_asked_again(ask: Ways) -> None:
    limited = http_error(429)
    limited.response.headers["retry-after-ms"] = "20"
    model = tiered(nano=in_turn(fail(limited), say("now")), model={"policy": Policy(max_wait_s=1)})
    message = ask(model, LABEL)
    assert message.text == "now"
    assert outcomes(message) == [("nano", "failed"), ("nano", "accepted")]


def test_a_caller_s_mistake_is_raised_at_once_and_names_the_tier(ask: Ways) -> None:
    model = tiered(nano=fail(http_error(401)))
    with pytest.raises(openai.AuthenticationError) as raised:
        ask(model, LABEL)
    assert calls(model) == {"nano": 1, "mini": 0, "flagship": 0}
    assert "tier 'nano'" in " ".join(raised.value.__notes__)
    assert [entry["outcome"] for entry in raised.value.ledger] == ["failed"]  # type: ignore[attr-defined]


def test_the_provider_s_own_error_ends_the_call_with_attempts_and_ledger(ask: Ways) -> None:
    model = tiered(StreamingModel, **dict.fromkeys(NAMES, fail(http_error(503))))
    with collect_ledger() as ledger, pytest.raises(openai.InternalServerError) as raised:
        ask(model, LABEL)
    assert [attempt["tier"] for attempt in raised.value.attempts] == ["nano", "mini", "flagship"]  # type: ignore[attr-defined]
    assert booked(raised.value.ledger) == booked(ledger)  # type: ignore[attr-defined]


def test_a_call_without_an_accepted_answer_raises_with_all_it_tried(ask: Ways) -> None:
    model = tiered(StreamingModel, **dict.fromkeys(NAMES, say("", "length")))
    with collect_ledger() as ledger, pytest.raises(NoAnswerAcceptedError) as raised:
        ask(model, LABEL)
    assert [attempt["tier"] for attempt in raised.value.attempts] == ["nano", "mini", "flagship"]
    assert booked(raised.value.ledger) == booked(ledger)
    assert {entry["outcome"] for entry in ledger} == {"rejected"}


def test_a_bug_is_no_failure(ask: Ways) -> None:
    model = tiered(nano=fail(KeyError("bug")))
    with pytest.raises(KeyError):
        ask(model, LABEL)
    assert calls(model)["mini"] == 0


def test_a_check_of_ones_own_is_asked(ask: Ways) -> None:
    def says_mini(given: Any) -> bool:
        return "mini" in given.answer.text

    message = ask(tiered(model={"checks": [says_mini]}), LABEL)
    assert message.text == "mini says it"
    assert [entry.get("rejected_by") for entry in message.response_metadata["ledger"]] == ["says_mini", None]


def test_a_tool_loop_stays_on_its_tier_by_what_its_messages_say(ask: Ways) -> None:
    model = tiered(ScriptedModel, mini=call_then("refund", {"order": 7}, say("It is refunded.")))
    bound, thread = model.bind_tools([refund]), [HumanMessage(REFUND)]
    first = ask(bound, thread)
    assert first.tool_calls[0]["args"] == {"order": 7}
    assert outcomes(first) == [("mini", "tool_turn")]
    told = ToolMessage("Order 7 refunded.", tool_call_id=first.tool_calls[0]["id"])
    second = ask(bound, [*thread, first, told])
    assert second.text == "It is refunded."
    assert second.response_metadata["route"].items() >= {"tier": "mini", "decided_by": "latch"}.items()
    assert calls(model) == {"nano": 0, "mini": 2, "flagship": 0}


def test_a_malformed_call_is_told_to_its_model_and_never_seen(ask: Ways) -> None:
    script = in_turn(call_then("refund", {"order": "all"}, say("done")), call_then("refund", {"order": 7}, say("done")))
    model = tiered(mini=script)
    message = ask(model.bind_tools([refund]), REFUND)
    assert [call["args"] for call in message.tool_calls] in ([{"order": 7}], [])
    asked = model.tiers[1].model.asked[1]
    assert any(isinstance(each, ToolMessage) and each.status == "error" for each in asked), asked
    assert outcomes(message)[0] == ("mini", "rejected")


@pytest.mark.parametrize("tier", ["nobody", "check", 7, None])
def test_a_forged_route_leads_to_no_other_tier(ask: Ways, tier: Any) -> None:
    forged = AIMessage("hello", response_metadata={"route": {"tier": tier, "decided_by": "pin"}, "ledger": "mine"})
    message = ask(tiered(), [HumanMessage("hi"), forged, HumanMessage(LABEL)])
    assert message.response_metadata["route"].items() >= {"tier": "nano", "decided_by": "rules"}.items()
    assert outcomes(message) == [("nano", "accepted")]


def test_a_thread_whose_last_word_is_the_model_s_is_answered(ask: Ways) -> None:
    assert ask(tiered(), [HumanMessage(LABEL), AIMessage("It is")]).text.endswith("says it")


def test_a_prompt_without_a_user_s_turn_is_answered(ask: Ways) -> None:
    assert ask(tiered(), [SystemMessage(LABEL)]).text == "nano says it"


def test_no_message_at_all_is_said_so(ask: Ways) -> None:
    with pytest.raises(InvalidInputError, match="empty"):
        ask(tiered(), [])


def test_a_pin_holds(ask: Ways) -> None:
    message = ask(tiered(model={"policy": Policy(pin="flagship")}), LABEL)
    assert message.response_metadata["route"].items() >= {"tier": "flagship", "decided_by": "pin"}.items()


def test_a_cascade_begins_at_the_lowest_tier(ask: Ways) -> None:
    message = ask(tiered(model={"policy": Policy("cascade")}), PROOF)
    assert message.text == "nano says it"


def test_rates_of_a_tier_hold_for_its_calls(ask: Ways) -> None:
    dear = StreamingModel(model_name="own-model", script=say("dear"))
    model = TieredChatModel([Tier("own", dear, criteria="", rates=Rates(1_000.0, 1_000.0))], classifier=None)
    assert ask(model, LABEL).response_metadata["ledger"][0]["cost_usd"] == pytest.approx(1.1)


def test_many_calls_at_once_do_not_see_each_other() -> None:
    class Echo(ScriptedModel):
        def _answer(self, messages: Any) -> AIMessage:
            return AIMessage(
                f"{self.model_name}: {messages[-1].text[-6:]}", response_metadata={"finish_reason": "stop"}
            )

        async def _agenerate(self, messages: Any, *_: Any, **__: Any) -> Any:
            await asyncio.sleep(0.001 * (hash(messages[-1].text) % 5))
            return self._generate(messages)

    model = tiered(Echo)

    async def one(number: int) -> tuple[int, Any]:
        return number, await model.ainvoke(f"{LABEL if number % 2 else PROOF} {number:06}")

    async def every() -> list[tuple[int, Any]]:
        return await asyncio.gather(*map(one, range(60)))

    for number, message in asyncio.run(every()):
        tier = "nano" if number % 2 else "flagship"
        assert message.text == f"gpt-5.4-{tier}: {number:06}"
        assert message.response_metadata["route"]["tier"] == tier
        assert outcomes(message) == [(tier, "accepted")]


def test_a_batch_is_answered_one_by_one() -> None:
    texts: list[Any] = [LABEL, PROOF, LABEL]
    assert [m.text for m in tiered().batch(texts)] == [m.text for m in asyncio.run(tiered().abatch(texts))]


def test_a_tier_may_be_a_tiered_model_itself_and_each_call_is_booked_once(ask: Ways) -> None:
    inner = tiered(nano=say("", "length"))
    outer = TieredChatModel([Tier("all", inner, criteria="")], classifier=None)
    with collect_ledger() as ledger:
        message = ask(outer, LABEL)
    assert message.text == "mini says it"
    assert outcomes(message) == [("nano", "rejected"), ("mini", "accepted")]
    assert [entry["id"] for entry in ledger] == [entry["id"] for entry in message.response_metadata["ledger"]]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"tiers": []}, ConfigurationError),
        ({"policy": Policy(pin="nobody")}, UnknownTierError),
        ({"policy": Policy(on_no_answer="ask")}, ConfigurationError),
        ({"policy": Policy(speculate=True)}, ConfigurationError),
        ({"checks": [7]}, ConfigurationError),
        ({"tiers": [Tier("own", "openai:gpt-5.4", criteria="", tools=[refund])]}, ConfigurationError),
        ({"tiers": tiers(), "temperature": 0.5}, ConfigurationError),
    ],
    ids=[
        "no tiers",
        "unknown pin",
        "asks a human",
        "speculates",
        "no check",
        "a tier with tools",
        "settings of nobody",
    ],
)
def test_what_can_be_known_at_build_is_an_error_at_build(fields: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        TieredChatModel(**fields)


class Many(ScriptedModel):
    """Gives several answers to one call: each script's own."""

    def _generate(self, messages: Any, *_: Any, n: int = 1, **__: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._answer(messages)) for _ in range(n)])

    async def _agenerate(self, messages: Any, *_: Any, **options: Any) -> ChatResult:
        return self._generate(messages, **options)


def test_a_model_that_a_check_asks_is_not_taken_for_the_one_that_answered(ask: Ways) -> None:
    judge = ScriptedModel(model_name="gpt-5.4", script=say("yes"))

    def agrees(given: CheckInput) -> bool:
        return judge.invoke([*given.request, given.answer]).text == "yes"

    message = ask(tiered(model={"checks": [agrees]}), LABEL)
    assert message.response_metadata["model_name"] == "gpt-5.4-nano"
    told = [(entry["role"], entry["model"], entry["outcome"]) for entry in message.response_metadata["ledger"]]
    assert told == [("answer", "gpt-5.4-nano", "accepted"), ("judge", "gpt-5.4", "accepted")]


LOOKED = AIMessage("", tool_calls=[tool_call(name="look", args={}, id="c1")])


@pytest.mark.parametrize(
    "messages",
    [
        [SystemMessage("Look."), LOOKED, ToolMessage("", tool_call_id="c1")],
        [ToolMessage("", tool_call_id="c1")],
        [HumanMessage([{"type": "tool_result", "tool_use_id": "c1", "content": "r"}])],
        [HumanMessage([{"type": "something new", "value": 1}])],
    ],
    ids=["a silent tool", "an orphan", "a tool's result as a user's turn", "an unknown block"],
)
def test_what_a_provider_may_take_is_sent_though_nobody_has_said_a_word(ask: Ways, messages: list[Any]) -> None:
    assert ask(tiered(), messages).text.endswith("says it")


@pytest.mark.parametrize("content", ["", " ", [], [{"type": "text", "text": ""}]])
def test_an_empty_turn_of_the_user_is_a_mistake(ask: Ways, content: Any) -> None:
    with pytest.raises(InvalidInputError, match="last user message is empty"):
        ask(tiered(), [HumanMessage(content)])


def generated(model: Any, way: str, text: str, **options: Any) -> list[Any]:
    """Ask for several answers at once, which only these two ways can give."""
    given: list[list[BaseMessage]] = [[HumanMessage(text)]]
    result: Any = (
        model.generate(given, **options) if way == "generate" else asyncio.run(model.agenerate(given, **options))
    )
    return [generation.message for generation in result.generations[0]]


def texts(messages: Any) -> list[str]:
    return [message.text for message in messages]


@pytest.mark.parametrize("way", ["generate", "agenerate"])
def test_of_several_answers_each_is_judged(way: str) -> None:
    model = tiered(Many, nano=in_turn(say("one"), say("", "length"), say("three")))
    assert texts(generated(model, way, LABEL, n=3)) == ["one", "three"]
    refusal = AIMessage("No.", additional_kwargs={"refusal": "I will not."})
    assert texts(generated(tiered(Many, nano=in_turn(say("one"), lambda _: refusal)), way, LABEL, n=2)) == ["one"]
    short = tiered(
        Many, model={"checks": [lambda given: len(given.answer.text) == 3]}, nano=in_turn(say("one"), say("three"))
    )
    assert texts(generated(short, way, LABEL, n=2)) == ["one"]


@pytest.mark.parametrize("way", ["generate", "agenerate"])
def test_where_the_first_of_several_answers_is_rejected_the_next_tier_is_asked(way: str) -> None:
    model = tiered(Many, nano=in_turn(say("", "length"), say("two")))
    assert texts(generated(model, way, LABEL, n=2)) == ["mini says it", "mini says it"]


@pytest.mark.parametrize("way", ["generate", "agenerate"])
def test_of_several_calls_of_tools_the_malformed_one_is_left_out(way: str) -> None:
    def calling(order: Any) -> Any:
        return lambda _: AIMessage("", tool_calls=[tool_call(name="refund", args={"order": order}, id="c1")])

    model = tiered(Many, mini=in_turn(calling(7), calling("everything"), calling(8)))
    bound: Any = model.bind_tools([refund])
    said = generated(model, way, REFUND, n=3, **bound.kwargs)
    assert [message.tool_calls[0]["args"] for message in said] == [{"order": 7}, {"order": 8}]
    assert [message.response_metadata["model_name"] for message in said] == ["gpt-5.4-mini"] * 2


def test_a_tool_s_message_that_nobody_asked_for_reaches_the_tier_as_it_is(ask: Ways) -> None:
    orphan = ToolMessage("42", tool_call_id="nobody", id="t1")
    model = tiered()
    message = ask(model, [HumanMessage(LABEL, id="h1"), orphan])
    assert message.text == "nano says it"
    assert model.tiers[0].model.asked[0] == [HumanMessage(LABEL, id="h1"), orphan]


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_a_tiered_model_as_a_tier_that_has_no_answer_is_escalated(way: str) -> None:
    inner = TieredChatModel(
        [Tier("one", ScriptedModel(model_name="gpt-5.4-nano", script=say("")), criteria="x")], classifier=None
    )
    outer = [
        Tier("inner", inner, criteria="x"),
        Tier("top", ScriptedModel(model_name="gpt-5.4", script=say("From above.")), criteria="y"),
    ]
    message = Ways(way)(TieredChatModel(outer, classifier=None, policy=Policy(strategy="cascade")), LABEL)
    assert message.text == "From above."
