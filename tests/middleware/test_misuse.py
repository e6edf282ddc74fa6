"""What can be known to be wrong is told when the middleware is built, and at the first call at the latest."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import LABEL, ask, model, say, tiers
from langchain.agents import create_agent
from orders import CHECKED, ROUTED, agent, calls, refund_tool

import langchain_tiered
from langchain_tiered import Policy, Tier, TierRouter
from langchain_tiered.errors import (
    ConfigurationError,
    DuplicateNameError,
    InvalidPolicyError,
    InvalidTierError,
    ModelNotBuiltError,
    UnknownTaskError,
    UnknownTierError,
)
from langchain_tiered.middleware import EscalationMiddleware, TierRouterMiddleware

both = pytest.mark.parametrize("kind", [TierRouterMiddleware, EscalationMiddleware])
every = pytest.mark.parametrize("order", ["R", *CHECKED])

NANO = Tier("nano", "openai:gpt-5.4-nano", criteria="")
ARMED = Tier("nano", "openai:gpt-5.4-nano", criteria="", tools=[refund_tool([])])


@both
@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ([], InvalidTierError, "empty"),
        (NANO, InvalidTierError, r"Write \[tier\]"),
        (["nano"], InvalidTierError, "'nano' is not a Tier"),
        ([NANO, NANO], DuplicateNameError, "'nano'"),
        ([ARMED], ConfigurationError, "'nano' has tools of its own"),
    ],
    ids=["none", "one", "a name", "twice", "with tools"],
)
def test_bad_tiers(kind: Any, given: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        kind(given)


@both
def test_bad_policies(kind: Any) -> None:
    with pytest.raises(ConfigurationError, match="speculate"):
        kind([NANO], policy=Policy(speculate=True))
    with pytest.raises(UnknownTierError, match="'mini'"):
        kind([NANO], policy=Policy(floors={"code": "mini"}))


def test_a_human_cannot_be_asked_about_an_answer_inside_a_model_call() -> None:
    with pytest.raises(ConfigurationError, match="pay again"):
        EscalationMiddleware([NANO], policy=Policy(on_no_answer="ask"))


def test_bad_checks() -> None:
    wrong: Any = {"labels": []}
    with pytest.raises(UnknownTaskError, match="'labels'"):
        EscalationMiddleware([NANO], checks=wrong)
    wrong = ["finished"]
    with pytest.raises(ConfigurationError, match="not callable"):
        EscalationMiddleware([NANO], checks=wrong)


def test_a_router_beside_tiers_or_a_policy() -> None:
    router = TierRouter([NANO])
    with pytest.raises(ConfigurationError, match="Give them to the router"):
        TierRouterMiddleware([NANO], router=router)
    with pytest.raises(ConfigurationError, match="Give them to the router"):
        TierRouterMiddleware(router=router, policy=Policy())
    with pytest.raises(ConfigurationError, match="speculate"):
        TierRouterMiddleware(router=TierRouter([NANO], policy=Policy(speculate=True)))
    with pytest.raises(ConfigurationError, match="tools of its own"):
        TierRouterMiddleware(router=TierRouter([ARMED]))


def test_a_router_of_ones_own_is_asked(run: Any) -> None:
    scripted = tiers(nano=say("n"), mini=say("m"))
    router = TierRouter(scripted, policy=Policy(pin="mini"))
    result = run(create_agent(model("own", say("own")), middleware=[TierRouterMiddleware(router=router)]), ask(LABEL))
    assert result["messages"][-1].text == "m"


@pytest.mark.parametrize("order", ["RE", "ER"])
def test_tiers_that_differ_are_told_before_anything_is_paid(run: Any, order: str) -> None:
    ones, others = tiers(nano=say("n"), mini=say("m")), tiers(low=say("l"), high=say("h"))
    parts: Any = {"R": TierRouterMiddleware(ones), "E": EscalationMiddleware(others)}
    made = create_agent(model("own", say("own")), middleware=[parts[letter] for letter in order])
    with pytest.raises(ConfigurationError, match=r"different tiers: .*nano, mini.*Give the same tiers"):
        run(made, ask(LABEL))
    assert calls(ones) + calls(others) == [0] * 4


@every
@pytest.mark.parametrize("context", ["nano", 7, ["pin"], object()], ids=["text", "number", "list", "object"])
def test_a_context_that_says_nothing_to_us_is_left_alone(run: Any, order: str, context: Any) -> None:
    result = run(agent(order, tiers(nano=say("n"), mini=say("m"))), ask(LABEL), context=context)
    assert result["messages"][-1].text == "n"


@every
def test_a_context_with_wrong_values_is_told(run: Any, order: str) -> None:
    made = agent(order, tiers(nano=say("n"), mini=say("m")))
    with pytest.raises(ModelNotBuiltError, match="7"):
        run(made, ask(LABEL), context={"nano_model": 7})
    with pytest.raises((UnknownTierError, InvalidPolicyError), match="7"):
        run(made, ask(LABEL), context={"pin": 7})


@pytest.mark.parametrize("order", ROUTED)
def test_a_request_without_a_user_is_told_by_the_router(run: Any, order: str) -> None:
    with pytest.raises(ValueError, match="The request is empty"):
        run(agent(order, tiers(nano=say("n"))), {"messages": []})


def test_the_default_tiers_need_no_key_to_be_built() -> None:
    made = create_agent(model("own", say("own")), middleware=[TierRouterMiddleware(), EscalationMiddleware()])
    assert "EscalationMiddleware.before_agent" in made.get_graph().nodes


def test_both_stand_at_the_packages_root() -> None:
    assert langchain_tiered.TierRouterMiddleware is TierRouterMiddleware
    assert langchain_tiered.EscalationMiddleware is EscalationMiddleware
