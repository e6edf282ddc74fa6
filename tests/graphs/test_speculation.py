"""`Policy(speculate=True)`: the lowest tier answers while the classifier decides."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from fakes import LABEL, ask, call_then, fail, say, tiers
from langchain_core.tools import tool

from langchain_tiered import Ledger, Policy, TierRouter, create_tiered_agent
from langchain_tiered.errors import ConfigurationError

if TYPE_CHECKING:
    from langchain_tiered.types import Facts

UNSURE = "What about the thing from the other day?"
"""A request that no rule speaks of."""

SPECULATING = Policy(speculate=True)


def agent_of(scripted: Any, says: str, policy: Policy = SPECULATING, **more: Any) -> Any:
    return create_tiered_agent(router=TierRouter(scripted, classifier=lambda _: says, policy=policy), **more)


def calls(scripted: Any) -> list[int]:
    return [tier.model.calls for tier in scripted]


def test_an_answer_made_ahead_is_used_if_the_route_says_so(run: Any) -> None:
    scripted = tiers(nano=say("from nano"), mini=say("from mini"))
    result = run(agent_of(scripted, "nano"), ask(UNSURE))
    assert result["messages"][-1].text == "from nano"
    assert calls(scripted) == [1, 0]
    assert [(entry["tier"], entry["outcome"]) for entry in result["ledger"]] == [("nano", "accepted")]
    assert result["route"]["decided_by"] == "classifier"


def test_a_wasted_answer_is_booked_as_rejected_and_seen_by_nobody(stream: Any) -> None:
    scripted = tiers(nano=say("wasted words"), mini=say("from mini"))
    parts = stream(agent_of(scripted, "mini"), ask(UNSURE), stream_mode=["messages", "updates", "values", "custom"])
    result = [part for kind, part in parts if kind == "values"][-1]
    assert result["messages"][-1].text == "from mini"
    assert "wasted" not in str(parts)
    assert [(e["tier"], e["outcome"]) for e in result["ledger"]] == [("nano", "rejected"), ("mini", "accepted")]
    assert Ledger(result["ledger"]).total_usd == pytest.approx(sum(e["cost_usd"] for e in result["ledger"]))


def test_the_answer_and_the_classifier_are_asked_at_once(run: Any) -> None:
    began: dict[str, float] = {}
    ended: dict[str, float] = {}

    def timed(name: str, said: Any) -> Any:
        def script(messages: Any) -> Any:
            began[name] = time.monotonic()
            time.sleep(0.1)
            ended[name] = time.monotonic()
            return said(messages) if callable(said) else said

        return script

    router = TierRouter(
        tiers(nano=timed("answer", say("from nano")), mini=say("x")),
        classifier=timed("classifier", "nano"),
        policy=SPECULATING,
    )
    agent = create_tiered_agent(router=router)
    if run.__name__ == "async_run":
        pytest.skip("A scripted model blocks the loop; the benchmark measures the async form over a real server.")
    assert run(agent, ask(UNSURE))["messages"][-1].text == "from nano"
    assert began["answer"] < ended["classifier"]
    assert began["classifier"] < ended["answer"]


def test_nobody_answers_ahead_where_the_rules_are_sure(run: Any) -> None:
    scripted = tiers(nano=say("from nano"), mini=say("from mini"))
    asked: list[Facts] = []
    router = TierRouter(scripted, classifier=lambda facts: asked.append(facts) or "mini", policy=SPECULATING)  # type: ignore[func-returns-value]
    assert run(create_tiered_agent(router=router), ask(LABEL))["messages"][-1].text == "from nano"
    assert (calls(scripted), asked) == ([1, 0], [])


def test_an_answer_made_ahead_is_checked_like_any_other(run: Any) -> None:
    scripted = tiers(nano=say("half a", "length"), mini=say("from mini"))
    result = run(agent_of(scripted, "nano"), ask(UNSURE))
    assert result["messages"][-1].text == "from mini"
    assert [(e["tier"], e["outcome"]) for e in result["ledger"]] == [("nano", "rejected"), ("mini", "accepted")]
    assert result["route"]["escalated_from"] == "nano"


def test_an_outage_of_the_tier_that_answers_ahead_is_an_attempt_like_any_other(run: Any) -> None:
    scripted = tiers(nano=fail(ConnectionError("down")), mini=say("from mini"))
    for says in ("nano", "mini"):
        assert run(agent_of(scripted, says), ask(UNSURE))["messages"][-1].text == "from mini"


def test_what_an_answer_made_ahead_cost_is_on_the_error_of_the_classifier(run: Any) -> None:
    def broken(_: Facts) -> str:
        time.sleep(0.05)
        raise KeyError("a bug")

    router = TierRouter(tiers(nano=say("paid"), mini=say("x")), classifier=broken, policy=SPECULATING)
    with pytest.raises(KeyError) as told:
        run(create_tiered_agent(router=router), ask(UNSURE))
    ledger: Any = told.value.ledger  # type: ignore[attr-defined]
    assert [(entry["tier"], entry["outcome"]) for entry in ledger] == [("nano", "rejected")]


@tool
def refund(order_id: int) -> str:
    """Refund an order by its number."""
    return f"Refunded {order_id}."


def test_a_tier_that_lacks_the_tools_answers_ahead_and_may_hand_up(run: Any) -> None:
    scripted = tiers(
        nano=call_then("hand_up", {"reason": "No tools here."}, say("never")),
        mini=call_then("refund", {"order_id": 7}, say("done")),
    )
    result = run(agent_of(scripted, "nano", tools=[refund]), ask(UNSURE))
    assert result["messages"][-1].text == "done"
    assert calls(scripted) == [1, 2]


def test_no_loop_may_run_ahead() -> None:
    with pytest.raises(ConfigurationError, match=r"speculate=True\) needs a tier that answers with one model call"):
        create_tiered_agent(tiers(only=say("x")), tools=[refund], policy=SPECULATING)


def test_the_model_that_answers_ahead_is_asked_once_in_each_turn(run: Any) -> None:
    scripted = tiers(nano=say("hello"), mini=say("x"))
    agent = agent_of(scripted, "nano")
    for turns in (1, 2):
        run(agent, ask(UNSURE))
        assert calls(scripted) == [turns, 0]
