"""The vocabulary: every task has its workload and home, and what a tier may be is checked where it is written."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, get_args

import pytest
from fakes import model, say

from langchain_tiered.errors import DuplicateNameError, InvalidTierError, UnknownTierError
from langchain_tiered.types import RESERVED_NAMES, TASKS, Facts, Rates, Task, Tier, TierFacts, checked_tiers, place_of
from langchain_tiered.workloads import WORKLOADS, home, workload_of

if TYPE_CHECKING:
    from collections.abc import Callable


def test_every_task_has_one_workload_with_a_reason_and_a_source() -> None:
    assert get_args(Task) == TASKS
    assert sorted(workload.task for workload in WORKLOADS) == sorted(TASKS)
    for workload in WORKLOADS:
        assert workload_of(workload.task) is workload
        assert workload.rung in (0, 1, 2)
        assert workload.reason
        assert workload.source


HOMES = {
    0: {"classify", "extract", "rank", "lookup", "scan"},
    1: {"write", "code", "terminal", "tools", "search", "screen"},
    2: {"reason", "review", "long_document"},
}


def test_each_task_stands_on_the_rung_that_the_published_scores_give_it() -> None:
    assert {rung: {load.task for load in WORKLOADS if load.rung == rung} for rung in HOMES} == HOMES
    assert {load.task for load in WORKLOADS if load.never_below} == {"terminal", "tools", "search", "screen"}


@pytest.mark.parametrize(
    ("count", "places"), [(1, [0, 0, 0]), (2, [0, 1, 1]), (3, [0, 1, 2]), (4, [0, 1, 3]), (9, [0, 1, 8])]
)
def test_a_rung_has_its_home_among_any_number_of_tiers(count: int, places: list[int]) -> None:
    assert [home(rung, count) for rung in (0, 1, 2)] == places


def tier(name: Any = "nano", spec: Any = "openai:gpt-5.4-nano", **more: Any) -> Tier:
    return Tier(name, spec, **{"criteria": "Simple work.", **more})


ONE = model("nano", say("Yes."))

EMPTY_NAME, RESERVED = (
    r"Tier name .* is empty\. Give each tier a short name",
    r"is reserved: graph and ledger use .* Choose",
)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"name": ""}, EMPTY_NAME),
        ({"name": "  "}, EMPTY_NAME),
        ({"name": None}, EMPTY_NAME),
        ({"name": 3}, EMPTY_NAME),
        *(({"name": name}, RESERVED) for name in ("classify", "check", "none", "__start__", "__end__", "a:b", "a|b")),
        ({"spec": ""}, r"Tier 'nano' has no model\. Give a chat model or a string like 'openai:gpt-5\.4-nano'"),
        ({"spec": None}, "has no model"),
        ({"fallbacks": "openai:gpt-5.4"}, r"Tier 'nano': fallbacks='openai:gpt-5\.4' is one string\. Write a list"),
        ({"fallbacks": ["openai:gpt-5.4-nano"]}, r"Tier 'nano': the fallback 'openai:gpt-5\.4-nano' is its own model"),
        ({"fallbacks": ["a:b", "c:d", "a:b"]}, r"the fallback 'a:b' is .* given twice: .* Give other models"),
        ({"spec": ONE, "fallbacks": [ONE]}, r"the fallback 'gpt-5\.4-nano' is its own model"),
        ({"fallbacks": [ONE, "a:b", ONE]}, r"the fallback 'gpt-5\.4-nano' is its own model, or given twice"),
        ({"max_input_tokens": 0}, r"Tier 'nano': max_input_tokens=0 must be at least 1, or None"),
        ({"max_input_tokens": -1}, "max_input_tokens=-1 must be at least 1"),
        ({"price_factor": 0}, r"Tier 'nano': price_factor=0 must be above 0; 1\.0 is the list price"),
        ({"price_factor": -1.0}, r"price_factor=-1\.0"),
        ({"price_factor": float("inf")}, "price_factor=inf"),
        ({"price_factor": float("nan")}, "price_factor=nan"),
        pytest.param({"max_input_tokens": "128k"}, "max_input_tokens='128k'"),
        pytest.param({"price_factor": "half"}, "price_factor='half'"),
        pytest.param({"checks": ["finished"]}, "'finished'"),
    ],
    ids=str,
)
def test_a_tier_that_cannot_be_used_is_an_error_with_the_mend(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidTierError, match=words):
        tier(**given)


def test_the_reserved_names_are_those_of_the_graph() -> None:
    assert frozenset({"classify", "check", "none", "__start__", "__end__"}) == RESERVED_NAMES


@pytest.mark.parametrize(
    "given",
    [
        {"name": "gpt 5.4 / mini"},
        {"name": "Klassifizieren"},
        {"spec": model("nano", say("Yes."))},
        {"criteria": ""},
        {"max_input_tokens": 1},
        {"price_factor": 0.5},
        {"rates": "openai:gpt-5.4"},
    ],
    ids=str,
)
def test_a_tier_that_can_be_used_is_kept_as_it_is(given: dict[str, Any]) -> None:
    made = tier(**given)
    named = {"name": made.name, "spec": made.model, **{key: getattr(made, key) for key in given.keys() - {"spec"}}}
    assert named.items() >= given.items()


def test_a_tier_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        tier().name = "mini"  # type: ignore[misc]


@pytest.mark.parametrize("name", ["input_usd", "output_usd", "cached_input_usd"])
@pytest.mark.parametrize("value", [-0.01, float("inf"), float("nan")])
def test_rates_out_of_range_are_an_error_that_names_them(name: str, value: float) -> None:
    given: dict[str, Any] = {"input_usd": 1.0, "output_usd": 2.0, name: value}
    with pytest.raises(InvalidTierError, match=rf"Rates\({name}={value!r}\): a rate is .* at least 0"):
        Rates(**given)


def test_free_rates_are_rates() -> None:
    assert Rates(0, 0).cached_input_usd is None


BLIND = TierFacts("nano", max_input_tokens=1_000, images=False, audio=False, files=False, tools=False)
ABLE = TierFacts("mini", max_input_tokens=1_000, images=True, audio=True, files=True, tools=True)
UNKNOWN = TierFacts("house")


@pytest.mark.parametrize(
    ("facts", "misfit"),
    [
        (Facts(), None),
        (Facts(tokens=1_000, turn_images=1, turn_files=1, schema=True), None),
        (Facts(images=2), "images (2), it takes none"),
        (Facts(audio=1), "audio (1), it takes none"),
        (Facts(files=3), "files (3), it takes none"),
        (Facts(tools=("refund",)), "tools (1), it takes none"),
        (Facts(provider_tools=("web_search",)), "tools (1), it takes none"),
        (Facts(tools=("a", "b"), provider_tools=("c",)), "tools (3), it takes none"),
    ],
    ids=str,
)
def test_a_fact_rules_out_the_tier_that_is_known_not_to_take_it(facts: Facts, misfit: str | None) -> None:
    assert BLIND.misfits(facts) == ((misfit,) if misfit else ())
    assert BLIND.fits(facts) == (misfit is None)
    assert ABLE.misfits(facts) == UNKNOWN.misfits(facts) == ()


def test_too_many_tokens_rule_out_a_tier_and_unknown_windows_may_be_tried() -> None:
    long = Facts(tokens=1_001, images=1)
    assert ABLE.misfits(long) == ("about 1,001 input tokens, it takes 1,000",)
    assert BLIND.misfits(long) == ("about 1,001 input tokens, it takes 1,000", "images (1), it takes none")
    assert UNKNOWN.fits(long)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (list, InvalidTierError, r"The tiers are empty\. Pass at least one Tier, cheapest first"),
        (lambda: ["openai:gpt-5.4"], InvalidTierError, r"'openai:gpt-5\.4' is not a Tier\. Write Tier\("),
        (lambda: [tier(), None], InvalidTierError, "None is not a Tier"),
        (lambda: [tier(), tier("mini"), tier()], DuplicateNameError, r"Two tiers are called 'nano' \(of nano, mini, n"),
        pytest.param(tier, InvalidTierError, "Tier"),
    ],
    ids=["none", "a string", "None", "one name twice", "a single tier"],
)
def test_tiers_that_cannot_be_used_are_an_error(given: Callable[[], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        checked_tiers(given())


def test_usable_tiers_come_back_as_a_tuple_in_order() -> None:
    several = [tier("b"), tier("a"), tier("c")]
    assert checked_tiers(iter(several)) == tuple(several)  # type: ignore[arg-type]


def test_a_tiers_place_is_found_by_name() -> None:
    ladder = (tier("nano"), tier("mini"))
    assert [place_of(name, ladder) for name in ("nano", "mini")] == [0, 1]
    with pytest.raises(UnknownTierError, match=r"Unknown tier 'Nano'\. Declared tiers, cheapest first: nano, mini\."):
        place_of("Nano", ladder)
