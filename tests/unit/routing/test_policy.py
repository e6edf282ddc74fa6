"""The decision before the answer, as tables: no model, no clock."""

from __future__ import annotations

import copy
import json
import math
import pickle
from dataclasses import replace
from typing import Any

import pytest

from langchain_tiered.errors import (
    InvalidPolicyError,
    NoTierFitsError,
    UnknownTaskError,
    UnknownTierError,
)
from langchain_tiered.routing import Policy
from langchain_tiered.types import Classification, Facts, Route, Task, TierFacts

NANO, MINI, FLAGSHIP = (TierFacts(name) for name in ("nano", "mini", "flagship"))
THREE = (NANO, MINI, FLAGSHIP)
BLIND = (TierFacts("nano", images=False), MINI, FLAGSHIP)
SEEING_NANO = (NANO, TierFacts("mini", images=False), TierFacts("flagship", images=False))
SHORT = tuple(
    TierFacts(name, max_input_tokens=size) for name, size in (("nano", 10), ("mini", 100), ("flagship", 1000))
)
HELLO = Facts(text="Hello")


def said(
    tier: str | None, task: Task = "classify", confidence: float | None = None, by: Any = "rules"
) -> Classification:
    return Classification(tier=tier, task=task, confidence=confidence, reason="So it is.", decided_by=by)


def at(tier: str, *, in_turn: bool = False, escalated_from: str | None = None, **more: Any) -> Facts:
    previous = Route(
        tier=tier, task="code", confidence=0.9, reason="Before.", decided_by="rules", escalated_from=escalated_from
    )
    return Facts(text="And now?", turns=2, previous=previous, in_turn=in_turn, **more)


CASCADE, TURN = Policy("cascade"), Policy(reroute="turn")
NO_DOWN = said(None, "reason", by="classifier")
PICTURE, LONG = Facts(text="x", images=1), Facts(text="x", tokens=50)


def case(name: str, classification: Classification | None, tier: str, by: str, **more: Any) -> Any:
    """Write one row of the table; what is left out is a default."""
    told = {"policy": Policy(), "facts": HELLO, "tiers": THREE, "left": None, **more}
    return pytest.param(told["policy"], told["facts"], classification, told["tiers"], told["left"], tier, by, id=name)


TABLE = [
    case("rules stand", said("nano"), "nano", "rules"),
    case("classifier stands", said("mini", "code", 0.9, "classifier"), "mini", "classifier"),
    case("no confidence is no doubt", said("nano", "rank"), "nano", "rules"),
    case("confidence at the limit stands", said("nano", "rank", 0.5), "nano", "rules"),
    case("low confidence raises by one", said("nano", "rank", 0.49), "mini", "policy"),
    case("low confidence at the top stands", said("flagship", "rank", 0.1), "flagship", "rules"),
    case("NaN is doubt", said("nano", "rank", math.nan), "mini", "policy"),
    case(
        "a min_confidence of 0 trusts all", said("nano", "rank", 0.0), "nano", "rules", policy=Policy(min_confidence=0)
    ),
    case("the task's own floor", said("nano", "screen"), "mini", "policy"),
    case("tools have a floor", said("nano", "tools"), "mini", "policy"),
    case("code has a habit and no floor", said("nano", "code"), "nano", "rules"),
    case("a policy's floor raises", said("nano"), "flagship", "policy", policy=Policy(floors={"classify": "flagship"})),
    case(
        "a policy's floor may lower ours",
        said("nano", "screen"),
        "nano",
        "rules",
        policy=Policy(floors={"screen": "nano"}),
    ),
    case("a floor of another task is nothing", said("nano"), "nano", "rules", policy=Policy(floors={"code": "mini"})),
    case(
        "confidence, then floor",
        said("nano", "rank", 0.1),
        "flagship",
        "policy",
        policy=Policy(floors={"rank": "flagship"}),
    ),
    case("a failed classifier goes to the top", NO_DOWN, "flagship", "policy"),
    case("or where the policy says", NO_DOWN, "mini", "policy", policy=Policy(on_classifier_error="mini")),
    case("nobody asked goes to the top", None, "flagship", "policy"),
    case("nobody asked, or where the policy says", None, "nano", "policy", policy=Policy(on_classifier_error="nano")),
    case("a cascade starts below", None, "nano", "policy", policy=CASCADE),
    case("a cascade keeps floors", said("mini", "tools"), "mini", "policy", policy=CASCADE),
    case("a cascade starts where it fits", None, "mini", "policy", policy=CASCADE, facts=PICTURE, tiers=BLIND),
    case("a cascade keeps the thread", None, "flagship", "latch", policy=CASCADE, facts=at("flagship")),
    case(
        "a cascade with a floor for the unknown",
        None,
        "mini",
        "policy",
        policy=Policy("cascade", floors={"reason": "mini"}),
    ),
    case("pictures need eyes", said("nano", "scan"), "mini", "policy", facts=PICTURE, tiers=BLIND),
    case("only below fits", said("flagship"), "nano", "policy", facts=PICTURE, tiers=SEEING_NANO),
    case("too long for the first", said("nano"), "mini", "policy", facts=LONG, tiers=SHORT),
    case("a pin", said("nano"), "mini", "pin", policy=Policy(pin="mini")),
    case("a pin without a classification", None, "nano", "pin", policy=Policy(pin="nano")),
    case(
        "a pin beats floors",
        said("mini", "code"),
        "nano",
        "pin",
        policy=Policy(pin="nano", floors={"code": "flagship"}),
    ),
    case("a pin beats the latch", None, "nano", "pin", policy=Policy(pin="nano"), facts=at("flagship", in_turn=True)),
    case("a pin beats the budget", None, "flagship", "pin", policy=Policy(pin="flagship"), left=0.0),
    case("the thread's latch", said("nano"), "mini", "latch", facts=at("mini")),
    case("the latch may be risen above", said("flagship", "reason"), "flagship", "rules", facts=at("mini")),
    case("the latch agrees", said("mini", "code"), "mini", "rules", facts=at("mini")),
    case("turn by turn there is no latch", said("nano"), "nano", "rules", policy=TURN, facts=at("flagship")),
    case("the top needs no classifier", None, "flagship", "latch", facts=at("flagship")),
    case(
        "a latch above a failed classifier",
        NO_DOWN,
        "mini",
        "latch",
        policy=Policy(on_classifier_error="nano"),
        facts=at("mini"),
    ),
    case("a latch on a tier that is gone", said("nano"), "nano", "rules", facts=at("micro")),
    case("in a turn the tier stays", said("flagship", "reason"), "nano", "latch", facts=at("nano", in_turn=True)),
    case("in a turn it stays turn by turn, too", None, "mini", "latch", policy=TURN, facts=at("mini", in_turn=True)),
    case(
        "in a turn it stays without a budget", None, "flagship", "latch", facts=at("flagship", in_turn=True), left=0.0
    ),
    case(
        "in a turn that has outgrown it",
        said("nano"),
        "mini",
        "policy",
        policy=TURN,
        facts=at("nano", in_turn=True, tokens=50),
        tiers=SHORT,
    ),
    case(
        "outgrown, it never falls",
        said("nano"),
        "flagship",
        "policy",
        policy=TURN,
        facts=at("mini", in_turn=True, images=1),
        tiers=(NANO, TierFacts("mini", images=False), FLAGSHIP),
    ),
    case("a spent budget", said("flagship", "reason"), "nano", "policy", left=0.0),
    case("an overdrawn budget", said("flagship", "reason"), "nano", "policy", left=-1.0),
    case("a spent budget keeps floors", said("flagship", "terminal"), "mini", "policy", left=0.0),
    case("a spent budget and nano", said("nano"), "nano", "rules", left=0.0),
    case("a budget with something left", said("flagship", "reason"), "flagship", "rules", left=0.01),
    case("a spent budget still needs eyes", said("flagship"), "mini", "policy", facts=PICTURE, tiers=BLIND, left=0.0),
    case("one tier", None, "nano", "policy", tiers=(NANO,)),
    case("one tier has no floor above it", said("nano", "screen"), "nano", "rules", tiers=(NANO,)),
    case("two tiers", said("nano", "tools"), "mini", "policy", tiers=THREE[:2]),
]


@pytest.mark.parametrize(
    ("policy", "facts", "classification", "tiers", "left", "tier", "by"),
    TABLE,
)
def test_route(
    policy: Policy,
    facts: Facts,
    classification: Classification | None,
    tiers: tuple[TierFacts, ...],
    left: float | None,
    tier: str,
    by: str,
) -> None:
    route = policy.decide(facts, classification, tiers, left)
    assert (route["tier"], route["decided_by"]) == (tier, by)
    assert route["reason"].endswith(".")


@pytest.mark.parametrize(
    ("policy", "facts", "classification", "tiers", "words"),
    [
        (Policy(), HELLO, said("nano", "screen"), THREE, "So it is. Raised from nano to mini: the floor for 'screen'."),
        (
            Policy(),
            PICTURE,
            said("nano"),
            BLIND,
            "Raised from nano to mini: nano is ruled out by images (1), it takes none.",
        ),
        (Policy(), HELLO, said("nano", "rank", 0.3), THREE, "its confidence of 0.30 is below 0.5"),
        (Policy(), HELLO, NO_DOWN, THREE, "So it is. Hence flagship."),
        (Policy(pin="mini"), HELLO, None, THREE, "Pinned to mini."),
        (Policy(), at("mini"), said("nano"), THREE, "the thread's route only rises"),
        (Policy(), PICTURE, None, SEEING_NANO, "Only nano can take this request."),
    ],
)
def test_the_reason_says_what_carried_the_decision(
    policy: Policy, facts: Facts, classification: Classification | None, tiers: tuple[TierFacts, ...], words: str
) -> None:
    assert words in policy.decide(facts, classification, tiers)["reason"]


def test_a_turn_under_way_keeps_its_whole_route() -> None:
    facts = at("mini", in_turn=True, escalated_from="nano")
    assert facts.previous is not None
    route = Policy().decide(facts, None, THREE)
    reason = "The turn is under way at mini, which finishes it."
    assert route == {**facts.previous, "decided_by": "latch", "reason": reason}


def test_no_tier_fits_says_which_fact_rules_out_which_tier() -> None:
    with pytest.raises(NoTierFitsError, match=r"nano: about 5,000.*takes 10; mini: .*; flagship: ") as raised:
        Policy().decide(Facts(text="x", tokens=5000), said("nano"), SHORT)
    assert set(raised.value.misfits) == {"nano", "mini", "flagship"}


def test_nothing_that_fits_is_below_a_floor() -> None:
    with pytest.raises(NoTierFitsError, match="at or above 'mini', the floor for 'screen'"):
        Policy().decide(PICTURE, said("mini", "screen"), SEEING_NANO)


def test_a_pin_that_cannot_take_the_request_is_named() -> None:
    with pytest.raises(NoTierFitsError, match="'nano', where it is pinned"):
        Policy(pin="nano").decide(PICTURE, None, BLIND)


@pytest.mark.parametrize(
    "policy", [Policy(pin="mniI"), Policy(floors={"code": "mniI"}), Policy(on_classifier_error="mniI")]
)
def test_a_misspelt_tier_in_the_policy_is_named_with_the_declared_ones(policy: Policy) -> None:
    with pytest.raises(UnknownTierError, match=r"'mniI' in Policy\..*nano, mini, flagship") as raised:
        policy.validate(["nano", "mini", "flagship"])
    assert raised.value.known == ("nano", "mini", "flagship")
    with pytest.raises(UnknownTierError):
        policy.decide(HELLO, said("nano"), THREE)


def test_a_classification_of_an_undeclared_tier_is_an_error() -> None:
    with pytest.raises(UnknownTierError, match="'micro'"):
        Policy().decide(HELLO, said("micro"), THREE)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"strategy": "guess"}, "strategy='guess'.*'classify' or 'cascade'"),
        ({"reroute": "never"}, "reroute"),
        ({"on_rate_limit": None}, "on_rate_limit"),
        ({"min_confidence": math.nan}, "min_confidence=nan"),
        ({"min_confidence": -0.1}, "min_confidence=-0.1"),
        ({"min_confidence": 1.1}, "min_confidence"),
        ({"min_confidence": True}, "min_confidence=True"),
        ({"min_confidence": "high"}, "min_confidence='high'"),
        ({"max_escalations": -1}, "max_escalations=-1"),
        ({"max_escalations": 1.5}, "max_escalations"),
        ({"max_wait_s": math.inf}, "max_wait_s=inf"),
        ({"max_wait_s": -1}, "max_wait_s"),
        ({"thresholds": {"judge": math.nan}}, "judge"),
        ({"thresholds": {"judge": -1}}, "judge"),
        ({"thresholds": {3: 0.5}}, "thresholds=3"),
        ({"floors": ["code"]}, "floors"),
        ({"floors": {"code": None}}, "floors"),
        ({"pin": ""}, "pin=''"),
        ({"on_classifier_error": 3}, "on_classifier_error=3"),
        ({"on_no_answer": "stop"}, "on_no_answer='stop': expected 'error' or 'ask'"),
        ({"max_repeats": 2}, "max_repeats=2: expected a whole number, at least 3, or None"),
        ({"max_check_s": 0}, "max_check_s=0: expected a number of seconds above 0"),
        ({"speculate": 1}, "speculate=1"),
    ],
)
def test_a_setting_out_of_range_is_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidPolicyError, match=named):
        Policy(**settings)


def test_a_misspelt_task_is_named_with_the_vocabulary() -> None:
    with pytest.raises(UnknownTaskError, match=r"'coed' in Policy.floors. Tasks: classify"):
        Policy(floors={"coed": "mini"})  # type: ignore[dict-item]  # what a user may misspell


FULL = Policy(
    "cascade", min_confidence=0.7, floors={"code": "mini"}, thresholds={"judge": 0.6}, pin="mini", reroute="turn",
    max_escalations=None, max_wait_s=0, on_rate_limit="escalate", on_classifier_error="mini",
)  # fmt: skip


@pytest.mark.parametrize("policy", [Policy(), FULL])
def test_a_policy_survives_json_pickle_and_copies(policy: Policy) -> None:
    assert Policy.from_json(policy.to_json()) == policy
    assert pickle.loads(pickle.dumps(policy)) == copy.deepcopy(policy) == policy  # noqa: S301  (our own bytes)
    assert hash(replace(policy)) == hash(policy)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"min_confidnce": 0.5}', "'min_confidnce'. Settings: strategy, min_confidence"),
        ("[]", "expected a JSON object"),
        ("{", "no JSON"),
        ('{"min_confidence": 2}', "min_confidence=2"),
        ('{"min_confidence": NaN}', "min_confidence=nan"),
    ],
)
def test_json_that_is_no_policy_is_named(text: str, named: str) -> None:
    with pytest.raises(InvalidPolicyError, match=named):
        Policy.from_json(text)


def test_json_left_out_settings_have_their_defaults() -> None:
    assert Policy.from_json('{"pin": "mini"}') == Policy(pin="mini")
    assert json.loads(Policy().to_json())["max_escalations"] == 2


def test_the_policy_keeps_its_own_copy_of_the_floors() -> None:
    floors: dict[Task, str] = {"code": "mini"}
    policy = Policy(floors=floors)
    floors["code"] = "nano"
    assert policy.floors == {"code": "mini"}


@pytest.mark.parametrize(
    ("policy", "task", "tiers", "floor"),
    [
        (Policy(), "tools", THREE, "mini"),
        (Policy(), "tools", THREE[:1], "nano"),
        (Policy(floors={"tools": "flagship"}), "tools", THREE, "flagship"),
        (Policy(floors={"tools": "nano"}), "tools", THREE, "nano"),
        (Policy(), "classify", THREE, None),
    ],
)
def test_the_floor_of_a_task(policy: Policy, task: Task, tiers: tuple[TierFacts, ...], floor: str | None) -> None:
    assert policy.floor_of(task, tiers) == floor


@pytest.mark.parametrize(
    ("policy", "facts", "classification", "tiers", "wanted"),
    [
        (Policy(), HELLO, None, THREE, True),
        (Policy(), HELLO, said("nano"), THREE, False),
        (Policy(pin="mini"), HELLO, None, THREE, False),
        (CASCADE, HELLO, None, THREE, False),
        (Policy(), HELLO, None, THREE[:1], False),
        (Policy(), PICTURE, None, SEEING_NANO, False),
        (Policy(), Facts(text="x", tokens=9999), None, SHORT, False),
        (Policy(), at("mini"), None, THREE, True),
        (Policy(), at("flagship"), None, THREE, False),
        (TURN, at("flagship"), None, THREE, True),
        (Policy(), at("nano", in_turn=True), None, THREE, False),
        (Policy(), at("micro", in_turn=True), None, THREE, True),
        (Policy(), at("nano", in_turn=True, tokens=50), None, SHORT, True),
    ],
)
def test_the_classifier_is_asked_only_where_it_could_change_the_route(
    policy: Policy,
    facts: Facts,
    classification: Classification | None,
    tiers: tuple[TierFacts, ...],
    wanted: bool,  # noqa: FBT001  (a column of the table)
) -> None:
    assert policy.wants_classifier(facts, classification, tiers) is wanted
