"""Up at once; down only on a new turn, only where the policy says so, and only where it pays for the lost cache."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_tiered.routing import Policy
from langchain_tiered.types import Classification, Facts, Rates, Route, TierFacts

NANO = TierFacts("nano", rates=Rates(input_usd=0.20, cached_input_usd=0.02, output_usd=1.25))
MINI = TierFacts("mini", rates=Rates(input_usd=0.75, cached_input_usd=0.075, output_usd=4.50))
FLAGSHIP = TierFacts("flagship", rates=Rates(input_usd=2.50, cached_input_usd=0.25, output_usd=15.00))
TIERS = (NANO, MINI, FLAGSHIP)
BY_TURN = Policy(reroute="turn")


def said(tier: str) -> Classification:
    return Classification(tier=tier, task="write", confidence=0.9, reason="So it is.", decided_by="rules")


def at(tier: str, tokens: int, cached: int, output: int, **more: Any) -> Facts:
    """Return the facts of a thread that stands at a tier, whose last answer read `cached` tokens from the cache."""
    before = Route(tier=tier, task="write", confidence=0.9, reason="Before.", decided_by="rules", escalated_from=None)
    given = {"text": "And now?", "turns": 2, "previous": before, **more}
    return Facts(tokens=tokens, cached_tokens=cached, output_tokens=output, **given)


@pytest.mark.parametrize(
    ("facts", "wanted", "taken"),
    [
        # Nothing is cached: 10,000 x 0.20 + 100 x 1.25 = 2,125 at nano, 7,950 at mini.
        pytest.param(at("mini", 10_000, 0, 100), "nano", "nano", id="no cache is lost"),
        # 10,000 x 0.075 + 100 x 4.50 = 1,200 at mini, 2,125 at nano.
        pytest.param(at("mini", 10_000, 10_000, 100), "nano", "mini", id="a warm cache is worth more"),
        # 10,000 x 0.075 + 1,000 x 4.50 = 5,250 at mini, 2,000 + 1,250 = 3,250 at nano.
        pytest.param(at("mini", 10_000, 10_000, 1_000), "nano", "nano", id="long answers save more than the cache"),
        # 26,000 x 0.075 + 1,000 x 4.50 = 6,450 = 26,000 x 0.20 + 1,000 x 1.25.
        pytest.param(at("mini", 26_000, 26_000, 1_000), "nano", "mini", id="nothing is saved where both cost the same"),
        pytest.param(at("mini", 26_000, 26_000, 1_001), "nano", "nano", id="a token more and it pays"),
        # 5,000 x 0.75 + 5,000 x 0.075 + 450 = 4,575 at mini, 2,125 at nano.
        pytest.param(at("mini", 10_000, 5_000, 100), "nano", "nano", id="half a cache is worth less"),
        # 1,000 x 2.50 + 99,000 x 0.25 + 1,500 = 28,750 at the flagship, 75,450 at mini, 20,125 at nano.
        pytest.param(
            at("flagship", 100_000, 99_000, 100), "mini", "flagship", id="mini is dearer than a warm flagship"
        ),
        pytest.param(at("flagship", 100_000, 99_000, 100), "nano", "nano", id="nano is cheaper than a warm flagship"),
        # More was cached than the thread now has, after a summary: 1,000 x 0.075 + 450 = 525 at mini, 325 at nano.
        pytest.param(at("mini", 1_000, 90_000, 100), "nano", "nano", id="a cache of what is gone is worth nothing"),
        pytest.param(at("nano", 100_000, 100_000, 100), "flagship", "flagship", id="up at once"),
        pytest.param(at("mini", 100_000, 100_000, 100), "mini", "mini", id="the same tier keeps its cache"),
    ],
)
def test_a_new_turn_goes_down_only_where_it_saves_more_than_the_cache(facts: Facts, wanted: str, taken: str) -> None:
    route = BY_TURN.decide(facts, said(wanted), TIERS)
    assert route["tier"] == taken
    assert ("prompt cache" in route["reason"]) == (taken != wanted)
    assert route["decided_by"] == ("rules" if taken == wanted else "latch")


@pytest.mark.parametrize("wanted", ["nano", "mini"])
def test_a_thread_never_goes_down_by_default_whatever_that_would_save(wanted: str) -> None:
    route = Policy().decide(at("flagship", 100_000, 0, 10_000), said(wanted), TIERS)
    assert (route["tier"], route["decided_by"]) == ("flagship", "latch")


@pytest.mark.parametrize("policy", [Policy(), BY_TURN], ids=["thread", "turn"])
def test_a_thread_goes_up_at_once_whatever_its_cache_is_worth(policy: Policy) -> None:
    assert policy.decide(at("nano", 200_000, 200_000, 1), said("flagship"), TIERS)["tier"] == "flagship"


@pytest.mark.parametrize("policy", [Policy(), BY_TURN], ids=["thread", "turn"])
@pytest.mark.parametrize("wanted", ["nano", "flagship"])
def test_a_turn_under_way_stays_where_it_is(policy: Policy, wanted: str) -> None:
    route = policy.decide(at("mini", 10_000, 0, 100, in_turn=True), said(wanted), TIERS)
    assert (route["tier"], route["decided_by"]) == ("mini", "latch")


@pytest.mark.parametrize("unknown", ["nano", "mini"])
def test_unknown_prices_keep_nothing_up(unknown: str) -> None:
    tiers = [TierFacts(tier.name) if tier.name == unknown else tier for tier in TIERS]
    assert BY_TURN.decide(at("mini", 10_000, 10_000, 100), said("nano"), tiers)["tier"] == "nano"


def test_a_cache_without_a_price_of_its_own_is_worth_nothing() -> None:
    plain = TierFacts("mini", rates=Rates(input_usd=0.75, output_usd=4.50))
    assert BY_TURN.decide(at("mini", 10_000, 10_000, 100), said("nano"), (NANO, plain, FLAGSHIP))["tier"] == "nano"


def test_a_thread_of_a_tier_that_is_gone_has_no_cache_to_lose() -> None:
    assert BY_TURN.decide(at("mini", 10_000, 10_000, 100), said("nano"), (NANO, FLAGSHIP))["tier"] == "nano"


def test_a_tier_that_no_longer_fits_is_left_although_its_cache_is_warm() -> None:
    blind = TierFacts("mini", rates=MINI.rates, images=False)
    facts = at("mini", 10_000, 10_000, 100, images=1)
    assert BY_TURN.decide(facts, said("nano"), (NANO, blind, FLAGSHIP))["tier"] == "nano"
