"""What follows an attempt, as one table; and what no sequence of attempts can make the engine do."""

from __future__ import annotations

from copy import deepcopy
from itertools import cycle
from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_tiered.cascade.steps import REPAIRABLE, Limits, Step, next_step
from langchain_tiered.errors import UnknownTierError
from langchain_tiered.types import Attempt, Failure, FailureKind, Route, TierFacts, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

LADDER = (
    TierFacts("nano", max_input_tokens=128_000, fallbacks=2),
    TierFacts("mini", max_input_tokens=128_000),
    TierFacts("flagship", max_input_tokens=1_050_000, fallbacks=1),
    TierFacts("titan"),
)
JUDGED = {
    "accepted": "not_empty",
    "rejected": "not_empty",
    "cut_off": "finished",
    "cut_off_shown": "finished",
    "malformed": "valid_tool_calls",
    "misfit": "matches_schema",
    "stalled": "not_stalled",
}
FAILURES: tuple[FailureKind, ...] = get_args(FailureKind)


def route(tier: str = "nano", decided_by: Any = "rules") -> Route:
    return Route(tier=tier, task="write", confidence=None, reason="", decided_by=decided_by, escalated_from=None)


def attempt(tier: str, fallback: int = 0, outcome: str = "", retry_after_s: float | None = None) -> Attempt:
    """Write an attempt that ended in `outcome`: a verdict, a hand-up, or the kind of a failure."""
    check, kind = JUDGED.get(outcome), outcome if outcome in FAILURES else None
    said = None if check is None else Verdict(accepted=outcome == "accepted", check=check, reason="So.", score=None)
    failure: Any = kind and Failure(kind=kind, message="Down.", retry_after_s=retry_after_s)
    return Attempt(
        tier=tier,
        fallback=fallback,
        messages=[],
        rewrites=False,
        verdict=said,
        failure=failure,
        hand_up="Too hard." if outcome == "hand_up" else None,
        call_id=None,
        shown=outcome == "cut_off_shown",
    )


def read(line: str) -> list[Attempt]:
    """Read `nano rate_limit@2, nano/1 rejected`: tier, fallback, outcome, and the seconds that a provider asks for."""
    attempts = []
    for tried in line.split(", "):
        model, _, outcome = tried.partition(" ")
        (tier, _, fallback), (what, _, seconds) = model.partition("/"), outcome.partition("@")
        attempts.append(attempt(tier, int(fallback or 0), what, float(seconds) if seconds else None))
    return attempts


def model_of(tried: Attempt) -> tuple[str, int]:
    return tried["tier"], tried["fallback"]


def was_left_alone(tried: Attempt) -> bool:
    """Tell whether the model was left alone, rather than asked."""
    return tried["failure"] is not None and tried["failure"]["kind"] == "open_circuit"


def told(step: Step) -> str:
    return f"{step.action} {step.tier}" + f"/{step.fallback}" * bool(step.fallback)


ASK = {"on_no_answer": "ask"}
WAITS, SIDEWAYS_USED = {"max_wait_s": 5.0}, "nano rate_limit, nano/1 rate_limit, nano/2 rate_limit"
RISEN = "nano rejected, mini accepted"
STEPS: list[tuple[str, str, dict[str, Any], str]] = [
    # what it protects, attempts, limits (and the pin), the step
    ("an accepted answer ends the turn", "nano accepted", {}, "accept nano"),
    ("a fallback's answer is accepted as its own", "nano outage, nano/1 accepted", {}, "accept nano/1"),
    ("an answer after an escalation", "nano rejected, mini accepted", {}, "accept mini"),
    ("accepted though no escalation is left", "nano accepted", {"max_escalations": 0}, "accept nano"),
    ("a rejection goes one tier up", "nano rejected", {}, "escalate mini"),
    ("a rejection on a fallback goes up too", "nano outage, nano/1 rejected", {}, "escalate mini"),
    ("tier by tier", "nano rejected, mini rejected", {}, "escalate flagship"),
    ("up to the top", "nano rejected, mini rejected, flagship rejected", {}, "escalate titan"),
    ("a rejection at the top ends the turn", "titan rejected", {}, "stop titan"),
    ("a cut off answer that nobody saw goes up", "nano cut_off", {}, "escalate mini"),
    ("a cut off answer that was shown stands", "nano cut_off_shown", {}, "accept nano"),
    ("cut off, unseen, at the top", "titan cut_off", {}, "stop titan"),
    ("cut off, shown, on a fallback", "nano outage, nano/2 cut_off_shown", {}, "accept nano/2"),
    ("a hand-up is an escalation", "nano hand_up", {}, "escalate mini"),
    ("a hand-up at the top", "titan hand_up", {}, "stop titan"),
    ("a hand-up without escalations left", "nano hand_up", {"max_escalations": 0}, "stop nano"),
    ("an unfit tier is passed over", "nano rejected", {"unfit": {"mini"}}, "escalate flagship"),
    ("all tiers above unfit", "flagship rejected", {"unfit": {"titan"}}, "stop flagship"),
    ("no escalation allowed", "nano rejected", {"max_escalations": 0}, "stop nano"),
    ("the last escalation", "nano rejected", {"max_escalations": 1}, "escalate mini"),
    ("escalations used up", "nano rejected, mini rejected", {"max_escalations": 1}, "stop mini"),
    ("a downgrade is no escalation", "mini rate_limit, nano rejected", {"max_escalations": 1}, "escalate flagship"),
    ("a rate limit goes sideways first", "nano rate_limit", {}, "fall_back nano/1"),
    ("fallback by fallback", "nano rate_limit, nano/1 rate_limit", {}, "fall_back nano/2"),
    ("fallbacks used up, nothing below", SIDEWAYS_USED, {}, "escalate mini"),
    ("a rate limit without fallbacks goes down", "mini rate_limit", {}, "downgrade nano"),
    ("sideways before down", "flagship rate_limit", {}, "fall_back flagship/1"),
    ("then one down", "flagship rate_limit, flagship/1 rate_limit", {}, "downgrade mini"),
    ("or up, where the policy says so", "mini rate_limit", {"on_rate_limit": "escalate"}, "escalate flagship"),
    ("never below the floor", "mini rate_limit", {"floor": "mini"}, "escalate flagship"),
    ("down to the floor", "titan rate_limit", {"floor": "flagship"}, "downgrade flagship"),
    ("never down to an unfit tier", "flagship/1 rate_limit", {"unfit": {"mini"}}, "downgrade nano"),
    ("never down to a tier that was tried", "nano rejected, mini rate_limit", {}, "escalate flagship"),
    ("down twice", "titan rate_limit, flagship rate_limit, flagship/1 rate_limit", {}, "downgrade mini"),
    ("never up to a tier that was tried", "mini rate_limit, nano rejected", {}, "escalate flagship"),
    (
        "rate limits everywhere",
        "titan rate_limit, flagship/1 rate_limit, mini rate_limit, nano/2 outage",
        {},
        "stop nano/2",
    ),
    ("a short wait is waited for", "nano rate_limit@2", WAITS, "wait nano"),
    ("as long as the limit", "nano rate_limit@5", WAITS, "wait nano"),
    ("a long wait is not", "nano rate_limit@6", WAITS, "fall_back nano/1"),
    ("no wait by default", "nano rate_limit@2", {}, "fall_back nano/1"),
    ("no wait that nobody asked for", "nano rate_limit", WAITS, "fall_back nano/1"),
    ("one wait for a model", "nano rate_limit@2, nano rate_limit@2", WAITS, "fall_back nano/1"),
    ("a fallback waits on its own account", "nano rate_limit@2, nano outage, nano/1 outage@1", WAITS, "wait nano/1"),
    ("an outage goes sideways", "nano outage", {}, "fall_back nano/1"),
    ("an outage without fallbacks goes up", "mini outage", {}, "escalate flagship"),
    ("an outage never goes down", "titan outage", {}, "stop titan"),
    ("a timeout like an outage", "nano timeout", {}, "fall_back nano/1"),
    ("an outage waits where asked", "mini outage@1", WAITS, "wait mini"),
    ("a structured answer that did not come goes up", "nano no_answer", {}, "escalate mini"),
    ("an overflow goes to a wider tier", "nano overflow", {}, "escalate flagship"),
    ("an unknown window may be wider", "flagship overflow", {}, "escalate titan"),
    ("an overflow is not tried sideways", "flagship overflow", {"unfit": {"titan"}}, "stop flagship"),
    ("an overflow at the top", "titan overflow", {}, "stop titan"),
    ("too large is not waited for", "nano too_large@1", WAITS, "escalate flagship"),
    ("a malformed call is told once", "nano malformed", {}, "repair nano"),
    ("told on the fallback that made it", "nano outage, nano/1 malformed", {}, "repair nano/1"),
    ("told once, then one tier up", "nano malformed, nano malformed", {}, "escalate mini"),
    ("a broken schema is told once", "mini misfit", {}, "repair mini"),
    ("one telling for both slips", "mini malformed, mini misfit", {}, "escalate flagship"),
    ("told, then rejected for more than a slip", "nano malformed, nano rejected", {}, "escalate mini"),
    ("told, then accepted", "nano malformed, nano accepted", {}, "accept nano"),
    ("told, then down", "nano malformed, nano outage", {}, "fall_back nano/1"),
    ("a fallback is told on its own account", "nano malformed, nano outage, nano/1 malformed", {}, "repair nano/1"),
    ("the next tier is told on its own account", "nano malformed, nano malformed, mini malformed", {}, "repair mini"),
    ("no refusal is repaired", "nano rejected", {}, "escalate mini"),
    ("a repair is no escalation", "nano malformed", {"max_escalations": 0}, "repair nano"),
    ("told, escalations used up", "nano malformed, nano malformed", {"max_escalations": 0}, "stop nano"),
    ("told at the top, then the end", "titan malformed, titan malformed", {}, "stop titan"),
    ("told, then a short wait", "nano malformed, nano rate_limit@2", WAITS, "wait nano"),
    ("a pinned route is told", "mini malformed", {"pin": "mini"}, "repair mini"),
    ("a loop without progress goes up", "nano stalled", {}, "escalate mini"),
    ("a loop without progress at the top ends", "titan stalled", {}, "stop titan"),
    ("an open circuit is gone around sideways", "nano open_circuit", {}, "fall_back nano/1"),
    ("then up", "mini open_circuit", {}, "escalate flagship"),
    ("past fallbacks that are left alone", "nano outage", {"open": {"nano/1"}}, "fall_back nano/2"),
    ("past tiers that are left alone", "mini rejected", {"open": {"flagship", "flagship/1"}}, "escalate titan"),
    ("up to a fallback, its own model left alone", "mini rejected", {"open": {"flagship"}}, "escalate flagship/1"),
    ("down to a fallback, its own model left alone", "mini rate_limit", {"open": {"nano"}}, "downgrade nano/1"),
    ("down where all above is left alone", "flagship/1 open_circuit", {"open": {"titan"}}, "downgrade mini"),
    ("the only way left is asked all the same", "titan open_circuit", {"floor": "titan"}, "wait titan"),
    ("asked all the same, once", "titan open_circuit, titan open_circuit", {"floor": "titan"}, "stop titan"),
    ("asked all the same, and down", "titan open_circuit, titan outage", {"floor": "titan"}, "stop titan"),
    ("a pinned route is asked all the same", "mini open_circuit", {"pin": "mini"}, "wait mini"),
    ("money left", "nano rejected", {"remaining_usd": 0.01}, "escalate mini"),
    ("no money left to go up", "nano rejected", {"remaining_usd": 0.0}, "stop nano"),
    ("no money left to repair", "nano malformed", {"remaining_usd": -0.01}, "stop nano"),
    ("no money left to wait", "nano rate_limit@1", {"remaining_usd": 0.0, **WAITS}, "stop nano"),
    ("an accepted answer costs no more", "nano accepted", {"remaining_usd": 0.0}, "accept nano"),
    ("a human decides at the end", "titan rejected", ASK, "ask titan"),
    ("a human decides when the money is spent", "nano rejected", {"remaining_usd": 0.0, **ASK}, "ask nano"),
    ("a human decides on a pinned route", "mini rejected", {"pin": "mini", **ASK}, "ask mini"),
    ("no human while a tier is left", "nano rejected", ASK, "escalate mini"),
    ("no human without an answer", "titan outage", ASK, "stop titan"),
    ("no human for a bare hand-up", "titan hand_up", ASK, "stop titan"),
    ("a bad key ends the turn", "nano authentication", {}, "stop nano"),
    ("an unknown model ends the turn", "nano/1 unknown_model", {}, "stop nano/1"),
    ("a pinned route accepts", "mini accepted", {"pin": "mini"}, "accept mini"),
    ("a pinned route does not escalate", "mini rejected", {"pin": "mini"}, "stop mini"),
    ("a pinned route does not hand up", "mini hand_up", {"pin": "mini"}, "stop mini"),
    ("a pinned route does not downgrade", "mini rate_limit", {"pin": "mini"}, "stop mini"),
    ("a pinned route does not widen", "mini overflow", {"pin": "mini"}, "stop mini"),
    ("a pinned route goes sideways", "nano outage", {"pin": "nano"}, "fall_back nano/1"),
    ("a pinned route waits", "mini rate_limit@1", {"pin": "mini", **WAITS}, "wait mini"),
    ("an accepted answer ended an earlier turn", "nano rejected, mini accepted, nano rejected", {}, "escalate mini"),
    ("so did one that was shown", "nano outage, nano/1 cut_off_shown, nano outage", {}, "fall_back nano/1"),
    ("so did one whose check raised", "nano rejected, flagship , nano rejected", {}, "escalate mini"),
    ("each turn has its escalations", f"{RISEN}, nano rejected", {"max_escalations": 1}, "escalate mini"),
    ("each turn is told of its slips", "nano malformed, nano accepted, nano malformed", {}, "repair nano"),
    ("each turn waits", "nano rate_limit@2, nano accepted, nano rate_limit@2", WAITS, "wait nano"),
    ("only the last turn counts", f"{RISEN}, {RISEN}, nano rejected, mini rejected", {}, "escalate flagship"),
    ("a hand-up ends no turn", "nano hand_up, mini rejected", {}, "escalate flagship"),
    ("a step to a fallback that went astray", "nano outage, nano outage", {}, "escalate mini"),
    ("astray after a wait", ", ".join(["nano outage@2"] * 3), WAITS, "escalate mini"),
    ("astray after a rate limit", "flagship rate_limit, flagship rate_limit", {}, "downgrade mini"),
    ("astray around an open circuit", "nano open_circuit, nano open_circuit", {}, "escalate mini"),
    ("astray on a pinned route", "nano outage, nano outage", {"pin": "nano"}, "stop nano"),
    ("never sideways to a model that was tried", "nano/1 outage, nano outage", {}, "fall_back nano/2"),
]


@pytest.mark.parametrize(("line", "limits", "expected"), [row[1:] for row in STEPS], ids=[row[0] for row in STEPS])
def test_each_attempt_has_its_step(line: str, limits: dict[str, Any], expected: str) -> None:
    asked = dict(limits)
    attempts, pin = read(line), asked.pop("pin", None)
    asked["unfit"] = frozenset(asked.get("unfit", ()))
    asked["open_circuits"] = frozenset(model_of(read(f"{name} outage")[0]) for name in asked.pop("open", ()))
    its_route = route(pin or attempts[0]["tier"], "pin" if pin else "rules")
    step = next_step(its_route, attempts, LADDER, Limits(**asked))
    assert told(step) == expected
    failure = attempts[-1]["failure"]
    assert step.wait_s == ((failure["retry_after_s"] or 0) if failure and step.action == "wait" else 0)
    assert step.reason


@pytest.mark.parametrize(
    ("line", "limits", "expected"),
    [
        pytest.param("nano rate_limit@0", {}, "fall_back nano/1", id="no wait of 0 s"),
        pytest.param(
            "titan rate_limit",
            {"on_rate_limit": "escalate"},
            "downgrade flagship",
            id="nothing above a rate limit",
        ),
        pytest.param(
            "mini overflow, flagship/1 rate_limit",
            {},
            "escalate titan",
            id="no way down to a window that is too small",
        ),
    ],
)
def test_each_rarer_attempt_has_its_step(line: str, limits: dict[str, Any], expected: str) -> None:
    attempts = read(line)
    assert told(next_step(route(attempts[0]["tier"]), attempts, LADDER, Limits(**limits))) == expected


def test_the_reason_tells_who_failed_and_why() -> None:
    reasons = [next_step(route(), read(line), LADDER, Limits()).reason for line in ("nano outage", "nano hand_up")]
    assert reasons == ["nano failed: Down. Its fallback 1 stands in.", "nano hands up: Too hard."]


@pytest.mark.parametrize(
    ("attempts", "limits", "error", "words"),
    [
        pytest.param([], Limits(), ValueError, "No attempt was made", id="no attempt"),
        pytest.param(read("nano "), Limits(), ValueError, "'nano' was neither judged nor failed", id="not judged"),
        pytest.param(read("nono rejected"), Limits(), UnknownTierError, "Unknown tier 'nono'", id="unknown tier"),
        pytest.param(read("nono rejected, nano accepted"), Limits(), UnknownTierError, "'nono'", id="unknown before"),
        pytest.param(read("mini rate_limit"), Limits(floor="mimi"), UnknownTierError, "'mimi'", id="unknown floor"),
    ],
)
def test_what_cannot_be_followed_is_an_error(
    attempts: Sequence[Attempt], limits: Limits, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        next_step(route(), attempts, LADDER, limits)


windows = st.none() | st.sampled_from([8_000, 128_000, 1_050_000])
outcomes = st.sampled_from([*JUDGED, "hand_up", *FAILURES]) | st.sampled_from(["rate_limit", "rejected", "malformed"])
seconds = st.none() | st.sampled_from([0.0, 1.0, 5.0, 60.0])


@st.composite
def turns(draw: st.DrawFn) -> tuple[Route, tuple[TierFacts, ...], Limits]:
    """Draw a ladder, a route into it and limits; the tier that the route starts at is fit."""
    count = draw(st.integers(1, 5))
    ladder = tuple(TierFacts(f"t{n}", draw(windows), fallbacks=draw(st.integers(0, 2))) for n in range(count))
    names = [tier.name for tier in ladder]
    start = draw(st.sampled_from(names))
    limits = Limits(
        max_escalations=draw(st.none() | st.integers(0, 3)),
        max_wait_s=draw(st.sampled_from([0.0, 5.0])),
        on_rate_limit=draw(st.sampled_from(["downgrade", "escalate"])),
        floor=draw(st.none() | st.sampled_from(names)),
        unfit=draw(st.frozensets(st.sampled_from(names))) - {start},
        open_circuits=draw(st.frozensets(st.tuples(st.sampled_from(names), st.integers(0, 2)))),
        remaining_usd=draw(st.none() | st.sampled_from([0.0, 1.0])),
        on_no_answer=draw(st.sampled_from(["stop", "ask"])),
    )
    return route(start, draw(st.sampled_from(["rules", "pin", "latch"]))), ladder, limits


@given(turns(), st.data())
def test_every_turn_ends_and_no_step_breaks_a_limit(
    turn: tuple[Route, tuple[TierFacts, ...], Limits], data: st.DataObject
) -> None:
    its_route, ladder, limits = turn
    names = [tier.name for tier in ladder]
    attempts: list[Attempt] = []
    steps: list[Step] = [Step("escalate", its_route["tier"], "the route")]
    most = 4 * sum(1 + tier.fallbacks for tier in ladder)
    while steps[-1].action not in {"accept", "ask", "stop"}:
        attempts.append(attempt(steps[-1].tier, steps[-1].fallback, data.draw(outcomes), data.draw(seconds)))
        assert len(attempts) <= most
        before = deepcopy((its_route, attempts))
        steps.append(next_step(its_route, attempts, ladder, limits))
        assert steps[-1] == next_step(its_route, attempts, ladder, limits)
        assert before == (its_route, attempts)
        holds(steps[-1], attempts, ladder, limits)
        if its_route["decided_by"] == "pin":
            assert steps[-1].tier == its_route["tier"]
    assert limits.max_escalations is None or [s.action for s in steps[1:]].count("escalate") <= limits.max_escalations
    assert {step.tier for step in steps} <= set(names) - limits.unfit


@given(turns(), st.lists(st.tuples(outcomes, seconds), min_size=1, max_size=3))
def test_every_turn_ends_though_the_state_loses_which_fallback_is_meant(
    turn: tuple[Route, tuple[TierFacts, ...], Limits], again_and_again: list[tuple[str, float | None]]
) -> None:
    its_route, ladder, limits = turn
    attempts: list[Attempt] = []
    step, comes = Step("escalate", its_route["tier"], "the route"), cycle(again_and_again)
    while step.action not in {"accept", "ask", "stop"}:
        attempts.append(attempt(step.tier, 0, *next(comes)))
        assert len(attempts) <= 6 * len(ladder)
        step = next_step(its_route, attempts, ladder, limits)


@given(turns(), st.lists(outcomes, max_size=4), st.data())
def test_an_earlier_turn_changes_no_step(
    turn: tuple[Route, tuple[TierFacts, ...], Limits], tried: list[str], data: st.DataObject
) -> None:
    its_route, ladder, limits = turn
    names = st.sampled_from([tier.name for tier in ladder])
    earlier = [attempt(data.draw(names), 0, outcome) for outcome in tried]
    ended = attempt(data.draw(names), 0, data.draw(st.sampled_from(["accepted", "cut_off_shown", ""])))
    attempts = [attempt(its_route["tier"], 0, data.draw(outcomes), data.draw(seconds))]
    expected = next_step(its_route, attempts, ladder, limits)
    assert next_step(its_route, [*earlier, ended, *attempts], ladder, limits) == expected


def holds(step: Step, attempts: list[Attempt], ladder: Sequence[TierFacts], limits: Limits) -> None:
    """Assert what must be true of any step after `attempts`."""
    names = [tier.name for tier in ladder]
    models, last = [(tried["tier"], tried["fallback"]) for tried in attempts], attempts[-1]
    place, before = names.index(step.tier), names.index(last["tier"])
    if step.action in {"accept", "ask", "stop", "wait", "repair"}:
        assert (step.tier, step.fallback) == models[-1]
    else:
        assert (step.tier, step.fallback) not in models
        assert (step.tier, step.fallback) not in limits.open_circuits
    if step.action not in {"accept", "ask", "stop"}:
        assert limits.remaining_usd is None or limits.remaining_usd > 0
    if step.action in {"accept", "ask", "repair"}:
        assert last["failure"] is None
    if step.action == "ask":
        assert limits.on_no_answer == "ask"
    if step.action == "wait":
        waited = [
            a
            for a in attempts
            if model_of(a) == models[-1] and a["failure"] and was_left_alone(a) == was_left_alone(last)
        ]
        assert len(waited) == 1
        assert 0 <= step.wait_s <= limits.max_wait_s
    if step.action == "repair":
        told = [a["verdict"]["check"] in REPAIRABLE for a in attempts if a["verdict"] and model_of(a) == models[-1]]
        assert told.count(True) == 1
    if step.action == "fall_back":
        assert place == before
        assert 0 < step.fallback <= ladder[place].fallbacks
    if step.action == "escalate":
        assert place > max(names.index(tried["tier"]) for tried in attempts)
    if step.action == "downgrade":
        assert last["failure"] is not None
        assert last["failure"]["kind"] in {"rate_limit", "open_circuit"}
        assert place < before
        assert limits.floor is None or place >= names.index(limits.floor)
