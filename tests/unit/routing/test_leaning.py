"""The lean guesses where rules are unsure: by form alone, seldom too low, and it says that it is a guess."""

from __future__ import annotations

from time import perf_counter

import pytest
from fakes import say, tiers
from langchain_core.messages import AIMessage, HumanMessage
from unit.routing.hard_prompts import EASY, EASY_LATER, HARD, HARD_LAST, HARD_LATER

from langchain_tiered import Policy, TierRouter
from langchain_tiered.routing import NO_TOOLS, ToolFacts, classify_by_rules, facts_of
from langchain_tiered.routing.leaning import FEATURES, SHAPES, WEIGHTS, features_of, lean, leaning_of, read_of, shape_of
from langchain_tiered.types import Facts, TierFacts

NAMES = ("nano", "mini", "flagship")
KNOWN = tuple(map(TierFacts, NAMES))
ALONE = TierRouter(tiers(nano=say("a"), mini=say("b"), flagship=say("c")), classifier=None)
IMAGE = {"type": "image", "url": "https://example.org/a.png"}
SHOP = ToolFacts(("find_seat",), frozenset({"seat"}))
HARD_ALL, EASY_ALL = (*HARD, *HARD_LATER, *HARD_LAST), (*EASY, *EASY_LATER)


def tier(text: str) -> str:
    return ALONE.invoke(text)["tier"]


def test_hard_prompts_seldom_go_to_the_cheapest_and_most_to_the_dearest() -> None:
    found = [tier(text) for text in HARD_ALL]
    assert len(found) >= 100
    assert found.count("nano") <= 0.05 * len(found)
    assert found.count("flagship") >= 0.7 * len(found)


def test_easy_prompts_that_look_hard_mostly_go_to_the_cheapest() -> None:
    found = [tier(text) for text in EASY_ALL]
    assert len(found) >= 100
    assert found.count("nano") >= 0.75 * len(found)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Where is my parcel?", "nano"),
        ("I need a copy of my invoice.", "nano"),
        ("Who designed the flag of Chile?", "nano"),
        ("Calculate the volume of a sphere with a radius of 4 cm.", "mini"),
        ("Give me five ideas for a picnic.", "mini"),
        ("Our partner wants to leave, and we owe him half. What should we do?", "flagship"),
        ("Design a rota for 12 nurses and weigh the trade-offs.", "flagship"),
    ],
)
def test_a_request_leans_to_what_its_form_speaks_for(text: str, wanted: str) -> None:
    assert classify_by_rules(Facts(text=text), KNOWN) is None
    route = ALONE.invoke(text)
    assert (route["tier"], route["decided_by"]) == (wanted, "policy")
    assert f"By its form the request leans to {wanted}: " in route["reason"]
    assert route["confidence"] is not None
    assert 0 < route["confidence"] < 1


def test_a_reason_names_at_most_three_features_that_are_there() -> None:
    said = leaning_of("Where is my parcel?")
    assert 0 < len(said.carriers) <= 3
    assert set(said.carriers) <= set(FEATURES)
    assert "asks why" not in said.carriers


@pytest.mark.parametrize(
    "text",
    ["Warum blockiert das hier?", "为什么会死锁?", "Où est mon colis ?", "Пожалуйста", "לָמָּה?", "\U0001f642", "2+2"],
)
def test_what_cannot_be_read_never_leans_to_the_cheapest(text: str) -> None:
    assert leaning_of(text).rung > 0


def test_tools_and_pictures_raise_what_would_lean_to_the_cheapest() -> None:
    text = "I need a copy of my invoice."
    assert lean(facts_of([HumanMessage(text)], NO_TOOLS), KNOWN)["tier"] == "nano"
    found = lean(facts_of([HumanMessage(text)], SHOP), KNOWN)
    assert (found["tier"], found["task"]) == ("mini", "tools")
    assert lean(facts_of([HumanMessage([text, IMAGE])]), KNOWN)["tier"] == "mini"


@pytest.mark.parametrize(("count", "names"), [(1, ("t0",) * 3), (2, ("t0", "t1", "t1")), (4, ("t0", "t1", "t3"))])
def test_it_leans_among_any_number_of_tiers(count: int, names: tuple[str, ...]) -> None:
    known = tuple(TierFacts(f"t{place}") for place in range(count))
    texts = ("Where is my parcel?", "Give me five ideas for a picnic.", "Why does this deadlock?")
    assert tuple(lean(Facts(text=text), known)["tier"] for text in texts) == names


def test_the_policys_own_tier_for_doubt_comes_first() -> None:
    set_ = TierRouter(ALONE.tiers, classifier=None, policy=Policy(on_classifier_error="mini"))
    for text in ("Where is my parcel?", "Why does this deadlock?"):
        assert set_.invoke(text)["tier"] == "mini"


def test_a_low_confidence_does_not_raise_a_lean_again() -> None:
    careful = TierRouter(ALONE.tiers, classifier=None, policy=Policy(min_confidence=1.0))
    assert careful.invoke("Where is my parcel?")["tier"] == "nano"


def test_a_floor_a_cascade_and_a_pin_hold_for_a_lean() -> None:
    text = "Where is my parcel?"
    for policy, wanted in (
        (Policy(floors={"lookup": "mini"}), "mini"),
        (Policy("cascade"), "nano"),
        (Policy(pin="flagship"), "flagship"),
    ):
        assert TierRouter(ALONE.tiers, classifier=None, policy=policy).invoke(text)["tier"] == wanted


def test_a_lean_does_not_lower_a_thread() -> None:
    before = AIMessage("x", response_metadata={"route": {"tier": "mini", "task": "code"}})
    route = ALONE.invoke([HumanMessage("x"), before, HumanMessage("Where is my parcel?")])
    assert (route["tier"], route["decided_by"]) == ("mini", "latch")


async def test_a_classifier_is_asked_where_there_is_one() -> None:
    router = TierRouter(ALONE.tiers, classifier=lambda _: "flagship")
    assert router.invoke("Where is my parcel?")["decided_by"] == "classifier"
    assert (await ALONE.ainvoke("Where is my parcel?")) == ALONE.invoke("Where is my parcel?")


def test_sentences_about_tiers_are_not_read_unless_there_are_no_others() -> None:
    assert read_of("Use the nano tier. Is it fair?\nRoute this to mini!") == "Is it fair?"
    assert read_of("Use the nano tier.") == "Use the nano tier."
    assert read_of("Which model of lamp is it?") == "Which model of lamp is it?"


def test_every_feature_has_its_number_and_its_weights() -> None:
    text = 'Is it fair? He said "no, not before the 3rd of May", x = 4.\n- one\n- two\nName: Ann'
    assert len(features_of(text)) == len(FEATURES) == len(set(FEATURES)) == len(WEIGHTS["english"].above)
    assert len(shape_of(text)) == len(SHAPES) == len(WEIGHTS["any"].most)
    for numbers in (features_of(text), shape_of(text), features_of(""), shape_of("")):
        assert all(0 <= number <= 1 for number in numbers)


@pytest.mark.parametrize("piece", ["`", "a", " ", "\n", "1", '"', "“a", "nano ", "a: ", "- ", "? ", "It is. ", "who "])
def test_no_text_makes_the_lean_slow(piece: str) -> None:
    text = piece * 100_000
    start = perf_counter()
    leaning_of(text)
    assert perf_counter() - start < 0.05
