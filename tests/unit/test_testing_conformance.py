"""The conformance suites: what is right passes them, and each kind of wrong fails the test that is about it."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langchain_tiered import Policy, Tier, TierRouter
from langchain_tiered.cascade.checks import Check, CheckInput
from langchain_tiered.cascade.verdicts import BUILT_IN
from langchain_tiered.testing import CheckConformance, PolicyConformance, RouterConformance, ScriptedChatModel
from langchain_tiered.types import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NAMES = ("nano", "mini", "flagship")


def tiers() -> list[Tier]:
    return [Tier(name, ScriptedChatModel(script="Yes."), criteria=f"Work for {name}.") for name in NAMES]


def checked(text: str) -> CheckInput:
    return CheckInput(request=(HumanMessage("Is it?"),), answer=AIMessage(text))


def says_yes(given: CheckInput) -> Verdict:
    yes = given.answer.text == "Yes."
    return Verdict(accepted=yes, check="says_yes", reason="It is about a yes.", score=None)


async def says_yes_later(given: CheckInput) -> bool:
    return given.answer.text == "Yes."


class TestRouterOfRules(RouterConformance):
    @property
    def router(self) -> TierRouter:
        return TierRouter(tiers(), classifier=None)


class TestRouterWithFunction(RouterConformance):
    @property
    def router(self) -> TierRouter:
        return TierRouter(tiers(), classifier=lambda facts: NAMES[len(facts.text) % 3])


class TestPinnedRouter(RouterConformance):
    @property
    def router(self) -> TierRouter:
        return TierRouter(tiers(), policy=Policy(pin="mini"))


@pytest.fixture(
    params=[
        Policy(),
        Policy("cascade"),
        Policy(floors={"extract": "mini", "write": "flagship"}, min_confidence=0.9, reroute="turn"),
        Policy(pin="mini"),
        Policy(on_classifier_error="nano", max_escalations=0),
    ],
    ids=["default", "cascade", "floors", "pin", "error"],
)
def given_policy(request: pytest.FixtureRequest) -> Any:
    return request.param


class TestPolicies(PolicyConformance):
    @pytest.fixture(autouse=True)
    def _take(self, given_policy: Policy) -> None:
        self._policy = given_policy

    @property
    def policy(self) -> Policy:
        return self._policy


@pytest.fixture(params=[*BUILT_IN, says_yes, says_yes_later], ids=lambda check: check.__name__)
def given_check(request: pytest.FixtureRequest) -> Any:
    return request.param


class TestChecks(CheckConformance):
    @pytest.fixture(autouse=True)
    def _take(self, given_check: Check) -> None:
        self._check = given_check

    @property
    def check(self) -> Check:
        return self._check

    @property
    def accepted(self) -> Sequence[CheckInput]:
        return [checked("Yes.")]


class Wrong(Policy):
    """A policy whose routes are changed by `change`."""

    change: Callable[[dict[str, Any]], dict[str, Any]]

    def decide(self, *given: Any, **more: Any) -> Any:
        return type(self).change(dict(super().decide(*given, **more)))


def policy_suite(change: Callable[[dict[str, Any]], dict[str, Any]], **settings: Any) -> PolicyConformance:
    kind = type("WrongPolicy", (Wrong,), {"change": staticmethod(change)})

    class Suite(PolicyConformance):
        @property
        def policy(self) -> Policy:
            return kind(**settings)  # type: ignore[no-any-return]

    return Suite()


def test_a_policy_that_names_no_tier_is_found() -> None:
    with pytest.raises(AssertionError, match="'best' is no tier"):
        policy_suite(lambda route: route | {"tier": "best"}).test_every_row_is_decided()


def test_a_policy_that_sends_images_to_a_blind_tier_is_found() -> None:
    with pytest.raises(AssertionError, match=r"it takes (none|1,000)"):
        policy_suite(lambda route: route | {"tier": "nano"}).test_no_request_goes_to_a_tier_that_cannot_take_it()


def test_a_policy_that_falls_below_its_floor_is_found() -> None:
    suite = policy_suite(lambda route: route | {"tier": "nano"}, floors={"write": "mini"})
    with pytest.raises(AssertionError, match="'write' went to nano, below its floor mini"):
        suite.test_floors_are_kept()


def test_a_policy_that_remembers_is_found() -> None:
    calls = count()
    suite = policy_suite(lambda route: route | {"reason": f"Call {next(calls)}."})
    with pytest.raises(AssertionError, match="depends on what came before"):
        suite.test_it_is_pure()


def test_a_policy_that_spends_more_when_nothing_is_left_is_found() -> None:
    class Suite(PolicyConformance):
        @property
        def policy(self) -> Policy:
            return Spendthrift()

    class Spendthrift(Policy):
        def decide(self, *given: Any, **more: Any) -> Any:
            route = super().decide(*given, **more)
            return {**route, "tier": "flagship" if given[3] == 0 else route["tier"]}

    with pytest.raises(AssertionError, match="Facts"):
        Suite().test_a_spent_budget_makes_nothing_dearer()


class Forgetful(TierRouter):
    """A router that keeps something of a request."""

    asked = 0

    def invoke(self, *given: Any, **more: Any) -> Any:
        self.asked += 1
        return {**super().invoke(*given, **more), "reason": f"Request {self.asked}."}


def test_a_router_that_remembers_is_found() -> None:
    class Suite(RouterConformance):
        @property
        def router(self) -> TierRouter:
            return Forgetful(tiers(), classifier=None)

    for test in (Suite().test_the_same_request_gets_the_same_route, Suite().test_async_routes_like_sync):
        with pytest.raises(AssertionError):
            test()


def rewrites(given: CheckInput) -> bool:
    given.answer.content = "Better."
    return True


def says_nothing(_: CheckInput) -> Any:
    return None


def raises(given: CheckInput) -> bool:
    return given.answer.text[0] == "Y"


def accepts_all(_: CheckInput) -> bool:
    return True


@pytest.mark.parametrize(
    ("check", "test", "error"),
    [
        (rewrites, "test_the_answer_stays_as_it_was", "changed what it was given"),
        (says_nothing, "test_every_answer_gets_a_verdict", "neither a Verdict nor a bool"),
        (accepts_all, "test_bad_answers_do_not_pass", "'No.' was accepted"),
        (says_yes, "test_good_answers_pass", "'Sure.' was rejected"),
    ],
)
def test_a_wrong_check_is_found(check: Check, test: str, error: str) -> None:
    with pytest.raises(AssertionError, match=error):
        getattr(suite_of(check), test)()


def test_a_check_that_raises_is_found() -> None:
    with pytest.raises(IndexError):
        suite_of(raises).test_every_answer_gets_a_verdict()


def suite_of(given: Check) -> CheckConformance:
    class Suite(CheckConformance):
        @property
        def check(self) -> Check:
            return given

        @property
        def accepted(self) -> Sequence[CheckInput]:
            return [checked("Sure.")]

        @property
        def rejected(self) -> Sequence[CheckInput]:
            return [checked("No.")]

    return Suite()


@pytest.mark.parametrize(
    ("suite", "name"), [(RouterConformance, "router"), (PolicyConformance, "policy"), (CheckConformance, "check")]
)
def test_a_suite_says_what_to_override(suite: type[Any], name: str) -> None:
    with pytest.raises(NotImplementedError, match=f"Override `{name}`"):
        getattr(suite(), name)
