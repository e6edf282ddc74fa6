"""The router as people use it: one Runnable, sync and async, shared by threads."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import TYPE_CHECKING, Any

import pytest
from fakes import ScriptedModel, call_then, model, say, tiers
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableBranch, RunnableLambda

from langchain_tiered.errors import ConfigurationError, InvalidTierError, NoTierFitsError, UnknownTierError
from langchain_tiered.routing import Policy, TierRouter
from langchain_tiered.types import Classification, Facts, Route, Tier

if TYPE_CHECKING:
    from collections.abc import Sequence

TIERS = tiers(nano=say("a"), mini=say("b"), flagship=say("c"))
LABEL = "Classify the ticket into one of these labels: refund, other. Ticket: it is late."
HARD = "Why does this deadlock?"
IMAGE = {"type": "image", "url": "https://example.org/a.png"}


def by_length(facts: Facts) -> str:
    return "mini" if len(facts.text) > 10 else "nano"


def never(facts: Facts) -> str:
    raise AssertionError(facts)


def thread(route: Any, *more: Any, text: str = "ok then, go on") -> list[Any]:
    return [HumanMessage(HARD), AIMessage("a", response_metadata={"route": route}), *more, HumanMessage(text)]


def at(tier: str) -> Route:
    return Route(tier=tier, task="code", confidence=None, reason="x", decided_by="rules", escalated_from=None)


def test_sure_rules_ask_nobody() -> None:
    route = TierRouter(TIERS, classifier=never).invoke(LABEL)
    assert (route["tier"], route["task"], route["decided_by"]) == ("nano", "classify", "rules")


def test_unsure_rules_ask_the_classifier_once() -> None:
    good = {"reason": "Concurrency is hard.", "task": "reason", "tier": "flagship", "confidence": 0.9}
    asked = model("nano", call_then("Classification", good, say("")), ScriptedModel)
    route = TierRouter(TIERS, classifier=asked).invoke(HARD)
    assert route == {**good, "decided_by": "classifier", "escalated_from": None}
    assert asked.calls == 1


def test_the_cheapest_tier_is_the_classifier_where_none_is_named() -> None:
    good = {"reason": "So.", "task": "reason", "tier": "flagship", "confidence": 0.9}
    asked = tiers(nano=call_then("Classification", good, say("")), flagship=say("c"))
    assert TierRouter(asked).invoke(HARD)["decided_by"] == "classifier"


async def test_the_cheapest_classifier_follows_the_contexts_model() -> None:
    good = {"reason": "So.", "task": "reason", "tier": "mini", "confidence": 0.9}
    context = {"nano_model": model("nano", call_then("Classification", good, say("")))}
    router = TierRouter(TIERS)
    assert router.invoke(HARD, context=context)["tier"] == "mini"
    assert (await router.ainvoke(HARD, context=context))["tier"] == "mini"


def test_without_a_classifier_doubt_goes_where_the_policy_says() -> None:
    assert TierRouter(TIERS, classifier=None).invoke(HARD)["tier"] == "flagship"
    policy = Policy(on_classifier_error="mini")
    assert TierRouter(TIERS, classifier=None, policy=policy).invoke(HARD)["tier"] == "mini"


def test_a_failed_classifier_loses_no_request() -> None:
    route = TierRouter(TIERS, classifier=lambda _: "micro").invoke(HARD)
    assert (route["tier"], route["decided_by"]) == ("flagship", "policy")
    assert "The classifier failed: It named 'micro'" in route["reason"]


@pytest.mark.parametrize(
    ("request_", "more"),
    [
        (LABEL, {}),
        (HARD, {}),
        ("short", {}),
        (thread(at("mini")), {}),
        ("Where is #1042?", {"tools": [{"type": "function", "function": {"name": "track"}}]}),
        ("Name: Ann\nAge: 30", {"schema": True}),
        (HARD, {"context": {"pin": "nano"}}),
        (HARD, {"remaining_usd": 0.0}),
        ({"messages": [("user", HARD)]}, {}),
        (ChatPromptTemplate.from_messages([("user", HARD)]).invoke({}), {}),
    ],
)
async def test_sync_and_async_agree(request_: Any, more: dict[str, Any]) -> None:
    router = TierRouter(TIERS, classifier=by_length)
    assert router.invoke(request_, **more) == await router.ainvoke(request_, **more)


def test_tools_and_schema_are_regarded() -> None:
    router = TierRouter(TIERS, classifier=never)
    track = {"type": "function", "function": {"name": "track_parcel", "description": "Where a parcel is."}}
    assert router.invoke("Track parcel 10427", tools=[track])["tier"] == "mini"
    assert router.invoke("Name: Ann\nAge: 30", schema=True)["task"] == "extract"


def test_the_latch_is_read_off_the_messages() -> None:
    router = TierRouter(TIERS, classifier=by_length)
    assert router.invoke(thread(at("flagship")))["decided_by"] == "latch"
    assert router.invoke(thread(at("mini"), text="again"))["tier"] == "mini"
    under_way = [*thread(at("nano")), AIMessage("", response_metadata={"route": at("mini")})]
    assert router.invoke([*under_way, ToolMessage("ok", tool_call_id="1")])["tier"] == "mini"


def test_thanks_after_a_hard_history_are_not_judged_by_the_history() -> None:
    history = [HumanMessage("Prove the theorem. " * 500), AIMessage("Done."), HumanMessage("ok thanks")]
    route = TierRouter(TIERS, classifier=never).invoke(history)
    assert (route["tier"], route["task"]) == ("nano", "lookup")
    history[-1] = HumanMessage("ok thanks, and the other one?")
    judged = TierRouter(TIERS, classifier=lambda facts: "mini" if facts.text == history[-1].text else "nano")
    assert judged.invoke(history)["tier"] == "mini"


def test_the_contexts_pin_comes_before_the_policys() -> None:
    router = TierRouter(TIERS, classifier=never, policy=Policy(pin="mini"))
    assert router.invoke(HARD)["tier"] == "mini"
    assert router.invoke(HARD, context={"pin": "nano"})["tier"] == "nano"
    assert router.policy.pin == "mini"
    with pytest.raises(UnknownTierError, match=r"'micro' in Policy\.pin"):
        router.invoke(HARD, context={"pin": "micro"})


def test_the_contexts_model_changes_what_is_known_of_a_tier() -> None:
    router = TierRouter(TIERS, classifier=lambda _: "nano")
    blind = model("nano", say("a"), profile={"image_inputs": False})
    look = [HumanMessage(["Who painted this?", IMAGE])]
    assert router.invoke(look)["tier"] == "nano"
    assert router.invoke(look, context={"nano_model": blind})["tier"] == "mini"


def profiled(**profile: Any) -> list[Tier]:
    return [Tier(name, model(name, say("a"), profile=profile), criteria="x") for name in ("nano", "mini")]


def test_an_image_for_text_only_tiers_names_the_fact_per_tier_and_asks_no_classifier() -> None:
    router = TierRouter(profiled(image_inputs=False), classifier=never)
    with pytest.raises(NoTierFitsError, match=r"nano: images \(1\), it takes none; mini: images \(1\), it takes none"):
        router.invoke([HumanMessage(["Who painted this?", IMAGE])])


def test_an_input_beyond_every_window_is_named_and_asks_no_classifier() -> None:
    router = TierRouter(profiled(max_input_tokens=100), classifier=never)
    with pytest.raises(NoTierFitsError, match="it takes 100"):
        router.invoke("Why? " * 500)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"tiers": []}, InvalidTierError),
        ({"tiers": TIERS, "policy": Policy(floors={"code": "mnii"})}, UnknownTierError),
        ({"tiers": TIERS, "policy": Policy(pin="mnii")}, UnknownTierError),
        ({"tiers": TIERS, "policy": Policy(on_classifier_error="mnii")}, UnknownTierError),
        ({"tiers": TIERS, "classifier": 3}, ConfigurationError),
    ],
)
def test_what_can_be_known_at_build_is_an_error_at_build(settings: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        TierRouter(**settings)


def test_building_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert [tier.name for tier in TierRouter().tiers] == ["nano", "mini", "flagship"]


def test_the_docstrings_example_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    request = "Classify the ticket. Labels: refund, delivery, other. Ticket: where is my parcel?"
    assert TierRouter(classifier=None).invoke(request)["task"] == "classify"


async def test_batches_keep_their_order_and_hand_on_their_settings() -> None:
    router = TierRouter(TIERS, classifier=by_length)
    requests: Sequence[Any] = [LABEL, HARD, "short", [("user", HARD)]]
    expected = ["nano", "mini", "nano", "mini"]
    assert [route["tier"] for route in router.batch(list(requests))] == expected
    assert [route["tier"] for route in await router.abatch(list(requests))] == expected
    pinned = router.batch(list(requests), context={"pin": "flagship"})
    assert {route["tier"] for route in pinned} == {"flagship"}


async def test_it_stands_in_chains() -> None:
    router = TierRouter(TIERS, classifier=by_length)
    name = router | RunnableLambda(lambda route: route["tier"])
    assert name.invoke(LABEL) == "nano"
    assert await name.ainvoke(HARD) == "mini"
    prompted = ChatPromptTemplate.from_messages([("user", "{question}")]) | router
    assert prompted.invoke({"question": HARD})["tier"] == "mini"
    branch = router | RunnableBranch(
        (lambda route: route["tier"] == "nano", RunnableLambda(lambda _: "cheap")), RunnableLambda(lambda _: "dear")
    )
    assert (branch.invoke(LABEL), branch.invoke(HARD)) == ("cheap", "dear")
    assert [route["tier"] for route in router.stream(LABEL)] == ["nano"]


def test_threads_that_share_a_router_never_see_each_others_requests() -> None:
    def own(facts: Facts) -> Classification:
        return Classification(tier="mini", task="write", confidence=1.0, reason=facts.text, decided_by="classifier")

    router = TierRouter(TIERS, classifier=own)
    questions = [f"What about number {number} then" for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        routes = list(pool.map(router.invoke, questions))
    assert [route["reason"] for route in routes] == questions


async def test_a_sync_classifier_does_not_block_the_event_loop() -> None:
    from threading import Event  # noqa: PLC0415  (asyncio has one of the same name)

    released = Event()
    router = TierRouter(TIERS, classifier=lambda _: "mini" if released.wait(5) else "nano")
    task = asyncio.create_task(router.ainvoke(HARD))
    await asyncio.sleep(0.01)
    released.set()
    assert (await task)["tier"] == "mini"


@pytest.mark.parametrize(("words", "limit_ms"), [(100, 0.1), (700, 0.3)])
def test_routing_without_a_model_takes_next_to_no_time(words: int, limit_ms: float) -> None:
    router = TierRouter(TIERS, classifier=None)
    text = " ".join(["consider our contract and its terms when several parties disagree on payment"] * (words // 12))

    def taken_ms() -> float:
        start = perf_counter()
        router.invoke(text)
        return (perf_counter() - start) * 1000

    best = min(taken_ms() for _ in range(50))
    assert best < 5 * limit_ms  # a shared machine may be slow; the figures stand in the benchmarks
