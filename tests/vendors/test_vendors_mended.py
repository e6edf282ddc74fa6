"""What vendors do wrong, and how each says it: streams that break off, errors in their words, keys that are missing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from fakes import LABEL, ask, say
from fakes import model as scripted
from langchain.agents import create_agent
from langchain.chat_models import init_chat_model
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessage
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_mistralai import ChatMistralAI
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI
from vendors.wires import WIRES, Broken, Said, VendorServer

from langchain_tiered import (
    Budget,
    BudgetMiddleware,
    EscalationMiddleware,
    Policy,
    Tier,
    TieredChatModel,
    TierRouterMiddleware,
    create_tiered_agent,
)
from langchain_tiered.accounting.entries import may_be_charged
from langchain_tiered.cascade import CheckInput, failure_of, finished, not_refused
from langchain_tiered.errors import ModelNotBuiltError
from langchain_tiered.models import Models, brief
from langchain_tiered.types import Rates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OTHER = {"anthropic": "mistralai", "google_genai": "anthropic", "mistralai": "ollama", "ollama": "google_genai"}
"""The vendor of the tier above."""

FREE = Rates(0.0, 0.0)


def two(vendor: str) -> tuple[Tier, Tier]:
    def tier(name: str, of: str) -> Tier:
        return Tier(name, WIRES[of].spec, criteria=f"Work for {name}.", rates=FREE if of == "ollama" else None)

    return tier("nano", vendor), tier("mini", OTHER[vendor])


def from_nano() -> Policy:
    return Policy(strategy="cascade", floors={}, max_wait_s=0)


# Three bodies, each streamed: what was answered, by which tier, what was booked, and whether it is marked.


def by_agent(vendor: str) -> tuple[AIMessage, list[str]]:
    agent: Any = create_tiered_agent(two(vendor), policy=from_nano())
    *_, (_, result) = agent.stream(ask(LABEL), stream_mode=["messages", "values"])
    return result["messages"][-1], [entry["outcome"] for entry in result["ledger"]]


def by_middleware(vendor: str) -> tuple[AIMessage, list[str]]:
    pair, policy = two(vendor), from_nano()
    ours: Any = [TierRouterMiddleware(pair, policy=policy), EscalationMiddleware(pair, policy=policy)]
    agent: Any = create_agent(init_chat_model(WIRES[vendor].spec), middleware=ours)
    *_, (_, result) = agent.stream(ask(LABEL), stream_mode=["messages", "values"])
    return result["messages"][-1], [entry["outcome"] for entry in result["ledger"]]


def by_chat_model(vendor: str) -> tuple[AIMessage, list[str]]:
    whole: Any = None
    for part in TieredChatModel(two(vendor), policy=from_nano(), classifier=None).stream(LABEL):
        whole = part if whole is None else whole + part
    return whole, [entry["outcome"] for entry in whole.response_metadata["ledger"]]


BODIES: tuple[Callable[[str], tuple[AIMessage, list[str]]], ...] = (by_agent, by_middleware, by_chat_model)
BODY = pytest.mark.parametrize("body", BODIES)


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have a vendor send other parts than those of a whole answer."""

    def send(vendor: str, *, first: int | None = None, then: str = "") -> None:
        wire = type(WIRES[vendor])
        whole = wire.parts

        def parts(self: Any, said: Said) -> Iterator[str]:
            yield from list(whole(self, said))[:first]
            if then:
                yield then

        monkeypatch.setattr(wire, "parts", parts)

    return send


BROKEN_AFTER = {"anthropic": 4, "google_genai": 1, "mistralai": 2, "ollama": 2}
"""So many parts of a stream have words, and no reason why it ends."""


@BODY
@pytest.mark.parametrize("vendor", BROKEN_AFTER)
def test_words_that_were_shown_before_a_stream_broke_off_are_marked(
    vendors: VendorServer, streams: Any, vendor: str, body: Any
) -> None:
    vendors.will(vendor, Said("One two three."))
    streams(vendor, first=BROKEN_AFTER[vendor])
    answer, outcomes = body(vendor)
    assert answer.text in {"One ", "One two "}
    assert outcomes == ["truncated"]
    assert answer.response_metadata["truncated"] is True


@BODY
@pytest.mark.parametrize("vendor", BROKEN_AFTER)
def test_a_whole_stream_is_not_marked(vendors: VendorServer, vendor: str, body: Any) -> None:
    vendors.will(vendor, Said("One two three."))
    answer, outcomes = body(vendor)
    assert (answer.text, outcomes) == ("One two three.", ["accepted"])
    assert "truncated" not in answer.response_metadata


def streamed(vendor: str, **settings: Any) -> AIMessage:
    whole: Any = None
    for part in init_chat_model(WIRES[vendor].spec, **settings).stream("Hi"):
        whole = part if whole is None else whole + part
    return whole  # type: ignore[no-any-return]


def is_finished(answer: AIMessage) -> bool:
    return finished(CheckInput([], answer))["accepted"]


def test_anthropic_that_tells_no_usage_tells_no_reason_and_is_believed(vendors: VendorServer) -> None:
    vendors.will("anthropic", Said("One two three."))
    assert is_finished(streamed("anthropic", stream_usage=False))


@pytest.mark.parametrize("provider", ["google_vertexai", "groq", "deepseek", "xai", "ollama", "bedrock_converse"])
def test_what_others_must_tell_is_missed_and_what_they_tell_is_read(provider: str) -> None:
    half = AIMessage("One", response_metadata={"model_provider": provider})
    assert not is_finished(half)
    told = {"model_provider": provider, "bedrock_converse": provider}
    reason = {"ollama": "done_reason", "bedrock_converse": "stopReason"}.get(provider, "finish_reason")
    assert is_finished(AIMessage("One", response_metadata={**told, reason: "stop"}))


@pytest.mark.parametrize(
    "told", [{}, {"model_provider": "offline"}, {"model_provider": "bedrock"}, {"model_provider": None}]
)
def test_who_need_not_tell_a_reason_is_believed(told: dict[str, Any]) -> None:
    assert is_finished(AIMessage("One", response_metadata=told))


def test_a_request_that_google_blocked_did_not_break_off(vendors: VendorServer) -> None:
    vendors.will("google_genai", WIRES["google_genai"].error("blocked"))
    answer: Any = init_chat_model(WIRES["google_genai"].spec).invoke("Hi")
    assert is_finished(answer)
    assert not not_refused(CheckInput([], answer))["accepted"]


def test_what_vertex_tells_with_each_part_is_no_reason() -> None:
    part = {"model_provider": "google_vertexai", "finish_reason": "FINISH_REASON_UNSPECIFIED" * 2}
    assert not is_finished(AIMessage("One", response_metadata=part))
    whole = {**part, "finish_reason": "FINISH_REASON_UNSPECIFIEDSTOP"}
    assert is_finished(AIMessage("One", response_metadata=whole))


def test_a_turn_that_anthropic_pauses_goes_to_the_next_tier(run: Any, vendors: VendorServer) -> None:
    vendors.will("anthropic", Said("I will look that up.", stop="pause_turn"))
    vendors.will("mistralai", Said("From above."))
    result = run(create_tiered_agent(two("anthropic"), policy=from_nano()), ask(LABEL))
    assert result["messages"][-1].text == "From above."
    assert [entry.get("rejected_by") for entry in result["ledger"]] == ["finished", None]


@BODY
def test_an_error_in_ollamas_stream_is_an_outage(vendors: VendorServer, streams: Any, body: Any) -> None:
    vendors.will("ollama", Said("One two three."))
    vendors.will("google_genai", Said("From above."))
    streams("ollama", first=0, then=f"{json.dumps({'error': 'an error was encountered: unexpected EOF'})}\n")
    answer, outcomes = body("ollama")
    assert (answer.text, outcomes) == ("From above.", ["failed", "accepted"])


def anthropic(status: int, kind: str, words: str) -> Broken:
    return Broken(status, {"type": "error", "error": {"type": kind, "message": words}, "request_id": "req_1"})


def google(code: int, status: str, words: str) -> Broken:
    return Broken(code, {"error": {"code": code, "message": words, "status": status}})


TOO_LONG = "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000, decrease input length"
FILTERED = "Output blocked by content filtering policy"
TOO_LARGE = "Request payload size exceeds the limit: 20971520 bytes."
SAID: dict[str, tuple[str, Broken, str, bool]] = {
    "anthropic, with max_tokens": ("anthropic", anthropic(400, "invalid_request_error", TOO_LONG), "overflow", False),
    "anthropic, filtered": ("anthropic", anthropic(400, "invalid_request_error", FILTERED), "no_answer", True),
    "anthropic, late": ("anthropic", anthropic(504, "timeout_error", "Request timed out"), "timeout", True),
    "google, late": ("google_genai", google(504, "DEADLINE_EXCEEDED", "Deadline expired."), "timeout", True),
    "google, too large": ("google_genai", google(400, "INVALID_ARGUMENT", TOO_LARGE), "too_large", False),
    "google, invalid": ("google_genai", google(400, "INVALID_ARGUMENT", "Invalid value."), "invalid_request", False),
    "google, broken": ("google_genai", google(500, "INTERNAL", "An internal error has occurred."), "outage", False),
    "ollama, too long": (
        "ollama",
        Broken(400, {"error": "prompt too long; exceeded max context length"}),
        "overflow",
        False,
    ),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("vendor", "answer", "kind", "charged"), SAID.values(), ids=SAID)
def test_an_error_is_told_apart_by_its_vendors_words(
    vendors: VendorServer, vendor: str, answer: Broken, kind: str, *, charged: bool, stream: bool
) -> None:
    vendors.will(vendor, answer)
    once: dict[str, Any] = {"anthropic": {"max_retries": 0}, "google_genai": {"max_retries": 1}}.get(vendor, {})
    model = init_chat_model(WIRES[vendor].spec, **once)
    with pytest.raises(Exception) as raised:  # noqa: PT011  (each vendor has its own)
        list(model.stream("Hi")) if stream else model.invoke("Hi")
    failure = failure_of(raised.value, of_call=True)
    assert failure is not None
    assert failure["kind"] == kind
    assert may_be_charged(raised.value) is charged


def test_an_error_in_ollamas_stream_may_have_cost_something(vendors: VendorServer, streams: Any) -> None:
    vendors.will("ollama", Said("One"))
    streams("ollama", first=1, then=f"{json.dumps({'error': 'unexpected EOF'})}\n")
    with pytest.raises(Exception, match="unexpected EOF") as raised:
        streamed("ollama")
    failure = failure_of(raised.value, of_call=True)
    assert failure is not None
    assert failure["kind"] == "outage"
    assert may_be_charged(raised.value)


@pytest.mark.parametrize("vendor", WIRES)
@pytest.mark.parametrize("body", ["agent", "middleware"])
def test_a_small_budget_lets_a_small_call_of_any_vendor_through(
    run: Any, vendors: VendorServer, vendor: str, body: str
) -> None:
    vendors.will(vendor, Said("A bug."))
    nano, _ = two(vendor)
    agent: Any = create_tiered_agent([nano], budget=Budget(run_limit_usd=0.01))
    if body == "middleware":
        ours: Any = [TierRouterMiddleware([nano], classifier=None), BudgetMiddleware(run_limit_usd=0.01)]
        agent = create_agent(init_chat_model(WIRES[vendor].spec), middleware=ours)
    assert run(agent, ask(LABEL))["messages"][-1].text == "A bug."
    assert vendors.calls(vendor) == 1


@pytest.mark.parametrize("most", [3_000, 20_000])
def test_a_budget_still_holds_the_limit_that_a_user_has_set(vendors: VendorServer, most: int) -> None:
    vendors.will("anthropic", Said("A bug."))
    limited: Any = init_chat_model(WIRES["anthropic"].spec, max_tokens=most)
    agent: Any = create_tiered_agent([Tier("nano", limited, criteria="All.")], budget=Budget(run_limit_usd=0.01))
    assert "budget" in agent.invoke(ask(LABEL))["messages"][-1].text
    assert vendors.calls("anthropic") == 0


def test_a_call_of_ones_own_machine_is_booked_at_an_unknown_cost(vendors: VendorServer) -> None:
    vendors.will("ollama", Said("A bug."))
    local: Any = ChatOllama(model="deepseek-r1")
    result = create_tiered_agent([Tier("nano", local, criteria="All.")], policy=from_nano()).invoke(ask(LABEL))
    assert [entry["cost_usd"] for entry in result["ledger"]] == [None]


# What is missing, when a model is built.


FORM = "Write it as 'provider:model'"


def test_a_key_of_googles_that_is_missing_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOOGLE_API_KEY", "GEMINI_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ModelNotBuiltError, match="API key required for Gemini") as raised:
        Models().build("google_genai:gemini-2.5-flash-lite", "Tier 'nano'")
    assert "GOOGLE_API_KEY" in str(raised.value)
    assert FORM not in str(raised.value)
    assert "validation error" not in str(raised.value)


def test_a_setting_that_is_wrong_is_named_without_its_value() -> None:
    models = Models()
    models.settings = {"max_retries": "sk-verysecret", "api_key": "sk-othersecret"}
    with pytest.raises(ModelNotBuiltError, match="max_retries: Input should be a valid integer") as raised:
        models.build("openai:gpt-5.4-nano", "Tier 'nano'")
    assert "secret" not in str(raised.value)
    assert FORM not in str(raised.value)


@pytest.mark.parametrize(("spec", "advised"), [("my-deployment", True), ("nobody:my-deployment", False)])
def test_the_form_is_advised_where_the_string_does_not_have_it(spec: str, *, advised: bool) -> None:
    with pytest.raises(ModelNotBuiltError, match=spec) as raised:
        Models().build(spec, "Tier 'nano'")
    assert (FORM in str(raised.value)) is advised


# What a classifier is told: not to reason, and to be brief.


KEY: Any = "x"
OPENAI = {"api_key": KEY, "model": "gpt-5.4-nano"}


def claude(name: str = "claude-haiku-4-5", **settings: Any) -> ChatAnthropic:
    return ChatAnthropic(model=name, api_key=KEY, **settings)


def gemini(name: str = "gemini-2.5-flash", **settings: Any) -> ChatGoogleGenerativeAI:
    return ChatGoogleGenerativeAI(model=name, api_key=KEY, **settings)


def mistral(name: str = "mistral-small-latest", **settings: Any) -> ChatMistralAI:
    return ChatMistralAI(model_name=name, api_key=KEY, **settings)


def ollama(name: str = "llama3.2", **settings: Any) -> ChatOllama:
    return ChatOllama(model=name, **settings)


LIMITED: dict[str, tuple[Any, dict[str, Any]]] = {
    "openai": (ChatOpenAI(**OPENAI), {"max_tokens": 200, "reasoning_effort": "none"}),
    "openai, told not to reason": (ChatOpenAI(**OPENAI, reasoning_effort="none"), {"max_tokens": 200}),
    "openai, told to reason": (ChatOpenAI(**OPENAI, reasoning_effort="low"), {"max_tokens": None}),
    "claude": (claude(), {"max_tokens": 200}),
    "claude, dated": (claude("claude-haiku-4-5-20251001"), {"max_tokens": 200}),
    "claude, limited": (claude(max_tokens=900), {"max_tokens": 900}),
    "claude, thinking": (claude(thinking={"type": "enabled", "budget_tokens": 2_000}), {"max_tokens": 64_000}),
    "claude, thinking unasked": (claude("claude-opus-5"), {"max_tokens": 128_000}),
    "claude, kept from it": (claude("claude-opus-5", thinking={"type": "disabled"}), {"max_tokens": 200}),
    "claude, unknown": (claude("claude-next"), {"max_tokens": 4_096}),
    "gemini": (gemini(), {"max_output_tokens": 200, "thinking_budget": 0}),
    "gemini lite": (gemini("models/gemini-2.5-flash-lite"), {"max_output_tokens": 200, "thinking_budget": 0}),
    "gemini, limited": (gemini(max_output_tokens=900), {"max_output_tokens": 900, "thinking_budget": 0}),
    "gemini, thinking": (gemini(thinking_budget=500), {"max_output_tokens": None, "thinking_budget": 500}),
    "gemini, showing it": (gemini(include_thoughts=True), {"max_output_tokens": None, "thinking_budget": None}),
    "gemini, thinking in full": (gemini(thinking_config={"thinking_budget": 9}), {"max_output_tokens": None}),
    "gemini pro": (gemini("gemini-2.5-pro"), {"max_output_tokens": None, "thinking_budget": None}),
    "gemini 3": (gemini("gemini-3-flash-preview"), {"max_output_tokens": None, "reasoning_effort": None}),
    "gemini, unknown": (gemini("gemini-next"), {"max_output_tokens": None, "thinking_budget": None}),
    "mistral": (mistral(), {"max_tokens": 200}),
    "mistral, limited": (mistral(max_tokens=900), {"max_tokens": 900}),
    "mistral, told to reason": (mistral(model_kwargs={"reasoning_effort": "high"}), {"max_tokens": None}),
    "magistral": (mistral("magistral-small-latest"), {"max_tokens": None}),
    "ollama": (ollama(), {"num_predict": 200, "reasoning": False}),
    "ollama, limited": (ollama(num_predict=900), {"num_predict": 900, "reasoning": False}),
    "ollama, told to reason": (ollama(reasoning=True), {"num_predict": None, "reasoning": True}),
    "ollama, reasons always": (ollama("gpt-oss:20b"), {"num_predict": None, "reasoning": None}),
}


@pytest.mark.parametrize(("model", "expected"), LIMITED.values(), ids=LIMITED)
def test_each_vendors_classifier_is_limited_by_its_own_name_for_it(model: Any, expected: dict[str, Any]) -> None:
    before = dict(model)
    told = brief(model, 200)
    assert {name: getattr(told, name) for name in expected} == expected
    assert dict(model) == before


def test_the_limit_is_what_each_vendor_is_sent(vendors: VendorServer) -> None:
    for vendor in WIRES:
        vendors.will(vendor, Said("Yes."))
        brief(init_chat_model(WIRES[vendor].spec), 200).invoke("Hi")
    sent = dict(vendors.asked)
    assert sent["anthropic"]["max_tokens"] == 200
    assert sent["google_genai"]["generationConfig"]["maxOutputTokens"] == 200
    assert set(sent["google_genai"]["generationConfig"]["thinkingConfig"].values()) == {0}
    assert sent["mistralai"]["max_tokens"] == 200
    assert (sent["ollama"]["options"]["num_predict"], sent["ollama"]["think"]) == (200, False)


@pytest.mark.filterwarnings("ignore:.*is in beta.*")
def test_a_copy_of_a_decision_model_asks_its_own_chat_model() -> None:
    pytest.importorskip("langchain_core.decisions", reason="LangChain 1.5 is not installed here")
    from langchain_core.decisions import Noul  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415

    from langchain_tiered.decisions import ChatDecisionModel  # noqa: PLC0415

    asked: Any = {"state": "It crashes.", "questions": {"bug": Noul(instructions="Is it a bug?")}}
    old, new = (scripted(name, say(json.dumps({"q1": {"probability_of_yes": 1.0}}))) for name in ("old", "new"))
    first = ChatDecisionModel(chat=old)
    copied = first.model_copy(update={"chat": new})
    assert (first.model, copied.model) == ("old", "new")
    assert ChatDecisionModel(chat=old, model="mine").model_copy(update={"chat": new}).model == "mine"
    with pytest.raises(Exception):  # noqa: B017, PT011  (what the double says is no structured answer)
        copied.invoke(asked)
    assert (old.calls, new.calls) == (0, 1)


def test_a_whole_answer_of_ollamas_whose_stream_broke_off_goes_to_the_next_tier(
    run: Any, vendors: VendorServer, streams: Any
) -> None:
    vendors.will("ollama", Said("One two three."))
    vendors.will("google_genai", Said("From above."))
    streams("ollama", first=2)
    answer = run(TieredChatModel(two("ollama"), policy=from_nano(), classifier=None), LABEL)
    assert answer.text == "From above."
    assert [entry["outcome"] for entry in answer.response_metadata["ledger"]] == ["rejected", "accepted"]
