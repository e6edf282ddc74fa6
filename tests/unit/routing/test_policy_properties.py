"""What holds of every decision, whatever the request, the tiers and the policy."""

from __future__ import annotations

import copy
from typing import TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from langchain_tiered.errors import NoTierFitsError
from langchain_tiered.routing import Policy
from langchain_tiered.types import TASKS, Classification, Facts, Route, TierFacts

Case: TypeAlias = tuple[Policy, Facts, Classification | None, tuple[TierFacts, ...], float | None]

names = st.sampled_from(["t0", "t1", "t2", "t3", "t4"])
maybe = st.sampled_from([None, True, False])
routes = st.builds(
    Route,
    tier=names | st.just("gone"),
    task=st.sampled_from(TASKS),
    confidence=st.none() | st.floats(0, 1),
    reason=st.text(max_size=5),
    decided_by=st.sampled_from(["rules", "latch"]),
    escalated_from=st.none() | names,
)
facts_ = st.builds(
    Facts,
    text=st.text(max_size=5),
    tokens=st.integers(0, 200),
    images=st.integers(0, 1),
    files=st.integers(0, 1),
    tools=st.sampled_from([(), ("a",)]),
    previous=st.none() | routes,
    in_turn=st.booleans(),
)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    tiers = tuple(
        TierFacts(
            f"t{place}", max_input_tokens=draw(st.none() | st.integers(1, 200)), images=draw(maybe), tools=draw(maybe)
        )
        for place in range(draw(st.integers(1, 5)))
    )
    declared = st.sampled_from([tier.name for tier in tiers])
    policy = Policy(
        draw(st.sampled_from(["classify", "cascade"])),
        min_confidence=draw(st.floats(0, 1)),
        floors=draw(st.dictionaries(st.sampled_from(TASKS), declared, max_size=4)),
        reroute=draw(st.sampled_from(["thread", "turn"])),
        on_classifier_error=draw(st.none() | declared),
        pin=draw(st.sampled_from([None, None, None, tiers[0].name])),
    )
    classified = st.builds(
        Classification,
        tier=st.none() | declared,
        task=st.sampled_from(TASKS),
        confidence=st.none() | st.floats(0, 1),
        reason=st.just("So."),
        decided_by=st.sampled_from(["rules", "classifier"]),
    )
    left = draw(st.none() | st.floats(-1, 1))
    return policy, draw(facts_), draw(st.none() | classified), tiers, left


@given(cases())
def test_decide_is_total_and_pure_and_keeps_fit_floor_and_latch(case: Case) -> None:
    policy, facts, classification, tiers, left = case
    places = {tier.name: place for place, tier in enumerate(tiers)}
    before = copy.deepcopy(case)
    try:
        route = policy.decide(facts, classification, tiers, left)
    except NoTierFitsError:
        floor = policy.floor_of(classification["task"] if classification else "reason", tiers)
        lowest = places[floor] if floor and not policy.pin else 0
        assert policy.pin or not any(tier.fits(facts) for tier in tiers[lowest:])
        return
    assert case == before
    assert policy.decide(facts, classification, tiers, left) == route
    assert tiers[places[route["tier"]]].fits(facts)
    if route["decided_by"] == "pin" or (route["decided_by"] == "latch" and facts.in_turn):
        return
    floor = policy.floor_of(route["task"], tiers)
    assert floor is None or places[route["tier"]] >= places[floor]
    thread = places.get(facts.previous["tier"]) if facts.previous and policy.reroute == "thread" else None
    if thread is not None and (left is None or left > 0) and any(tier.fits(facts) for tier in tiers[thread:]):
        assert places[route["tier"]] >= thread
