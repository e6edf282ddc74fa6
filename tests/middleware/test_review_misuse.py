"""What can be known to be wrong about a review is told when it is built."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import REFUND, ask, call_then, model, say, tiers
from langgraph.checkpoint.memory import InMemorySaver
from orders import refund_tool
from reviews import find, reviewer, verdicts

from langchain_tiered import Budget, ReviewMiddleware, Tier, create_tiered_agent
from langchain_tiered.errors import ConfigurationError, InvalidBudgetError

REFUNDED = refund_tool([])
ALLOWED = {"allowed_decisions": ["approve"]}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"risky_tools": "refund"}, r"Write \['refund'\]"),
        ({"risky_tools": 7}, "no list of names"),
        ({"risky_tools": []}, "names no tool"),
        ({"risky_tools": [REFUNDED]}, "which is no name"),
        ({"risky_tools": {"refund": "yes"}}, "write True, False, or"),
        ({"risky_tools": {"refund": {}}}, "allowed_decisions=None"),
        ({"risky_tools": {"refund": {"allowed_decisions": []}}}, r"allowed_decisions=\[\]"),
        ({"risky_tools": {"refund": {"allowed_decisions": ["accept"]}}}, "Name some of approve, edit, reject, respond"),
        ({"risky_tools": {"refund": {**ALLOWED, "wen": print}}}, "has wen. Known: allowed_decisions"),
        ({"risky_tools": {"refund": {**ALLOWED, "when": True}}}, "when=True is no function"),
        ({"risky_tools": {"refund": {**ALLOWED, "description": 3}}}, "description=3"),
        ({"risky_tools": ["refund"], "on_doubt": "ask"}, "on_doubt='ask'"),
        ({"risky_tools": ["refund"], "on_doubt": "reject"}, "without a reviewer"),
        ({"risky_tools": ["refund"], "reviewer": 3}, "whom to ask"),
        ({"risky_tools": ["refund"], "reviewer": ""}, "whom to ask"),
    ],
)
def test_a_review_that_cannot_be_carried_out(given: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        ReviewMiddleware(**given)


SCRIPTED = tiers(nano=say("n"), mini=say("m"))
SAVER = InMemorySaver()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"risky_tools": ["refund"]}, "only a checkpointer keeps"),
        ({"middleware": [ReviewMiddleware(risky_tools=["refund"])]}, "only a checkpointer keeps"),
        ({"reviewer": "openai:gpt-5.4"}, "nothing to review"),
        ({"risky_tools": ["refnd"], "checkpointer": SAVER}, "'refnd', which no tier has. Tools: refund"),
        ({"risky_tools": ["web_search"], "checkpointer": SAVER}, "which the provider runs"),
        (
            {
                "risky_tools": ["refund"],
                "middleware": [ReviewMiddleware(risky_tools=["refund"])],
                "checkpointer": SAVER,
            },
            "Two reviews",
        ),
        ({"risky_tools": "refund", "checkpointer": SAVER}, "no list of names"),
    ],
)
def test_a_review_that_cannot_stand_in_a_tiered_agent(given: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        create_tiered_agent(SCRIPTED, tools=[REFUNDED, {"type": "web_search"}], **given)


def test_a_checkpointer_that_comes_from_outside_will_do() -> None:
    create_tiered_agent(SCRIPTED, tools=[REFUNDED], risky_tools=["refund"], checkpointer=True)
    rejects = ReviewMiddleware(reviewer(verdicts(True)), risky_tools=["refund"], on_doubt="reject")
    create_tiered_agent(SCRIPTED, tools=[REFUNDED], middleware=[rejects])


def test_a_budget_needs_the_price_of_the_reviewer() -> None:
    given: Any = {"tools": [REFUNDED], "risky_tools": ["refund"], "checkpointer": SAVER, "budget": Budget(1.0)}
    for judge in (model("house", say("")), Tier("judge", model("house", say("")), criteria="")):
        with pytest.raises(InvalidBudgetError, match="no known price"):
            create_tiered_agent(SCRIPTED, reviewer=judge, **given)
    create_tiered_agent(SCRIPTED, reviewer="openai:gpt-5.4", **given)


def test_a_tool_of_one_tier_alone_may_be_risky() -> None:
    nano, mini = tiers(nano=say("n"), mini=call_then("refund", {"order": 7}, say("done")))
    own = Tier("mini", mini.model, criteria="", tools=[REFUNDED])
    made: Any = create_tiered_agent([nano, own], tools=[find], risky_tools=["refund"], checkpointer=InMemorySaver())
    assert "__interrupt__" in made.invoke(ask(REFUND), {"configurable": {"thread_id": "1"}})
