"""`BudgetMiddleware` in `create_agent`: alone, beside ours in any order, and beside LangChain's fallback."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest
from fakes import LABEL, PROOF, REFUND, ask, call_then, model, say, tiers
from langchain.agents import create_agent
from langchain.agents.middleware import ModelFallbackMiddleware
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from langchain_tiered import BudgetMiddleware, EscalationMiddleware, Ledger, TierRouterMiddleware
from langchain_tiered.errors import BudgetExceededError, InvalidBudgetError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_tiered import Tier

THREAD: Any = {"configurable": {"thread_id": "1"}}
MINI_USD = (1000 * 0.75 + 100 * 4.5) / 1e6
ran: list[int] = []


@tool
def refund(order_id: int) -> str:
    """Refund an order by its number."""
    ran.append(order_id)
    return f"Refunded {order_id}."


def calls(scripted: Sequence[Tier]) -> list[int]:
    models: list[Any] = [tier.model for tier in scripted]
    return [each.calls for each in models]


def is_spent(result: Any) -> bool:
    return bool(result["messages"][-1].response_metadata.get("budget_exceeded"))


def test_alone_it_books_the_run_and_lets_through_what_fits(run: Any) -> None:
    own = model("mini", say("hello"))
    agent = create_agent(own, middleware=[BudgetMiddleware(run_limit_usd=1)])
    result = run(agent, ask(LABEL))
    assert result["messages"][-1].text == "hello"
    assert Ledger(result["ledger"]).total_usd == pytest.approx(MINI_USD)


def test_alone_it_ends_a_loop_between_its_calls(run: Any) -> None:
    ran.clear()
    own = model("mini", call_then("refund", {"order_id": 7}, say("done")))
    agent = create_agent(own, [refund], middleware=[BudgetMiddleware(run_limit_usd=MINI_USD + 0.0022)])
    result = run(agent, ask(REFUND))
    assert (ran, own.calls) == ([7], 1)
    assert is_spent(result)


def test_an_error_has_the_figures_and_the_ledger(run: Any) -> None:
    own = model("mini", call_then("refund", {"order_id": 7}, say("done")))
    limited = BudgetMiddleware(run_limit_usd=MINI_USD + 0.0022, exit_behavior="error")
    with pytest.raises(BudgetExceededError) as told:
        run(create_agent(own, [refund], middleware=[limited]), ask(REFUND))
    assert told.value.spent_usd == pytest.approx(MINI_USD)
    assert [entry["outcome"] for entry in told.value.ledger] == ["tool_turn"]


ORDERS = ["".join(order) for order in permutations("BRE")]


def parts_of(scripted: Sequence[Tier], **limits: Any) -> dict[str, Any]:
    return {
        "B": BudgetMiddleware(**limits),
        "R": TierRouterMiddleware(scripted),
        "E": EscalationMiddleware(scripted),
        "F": ModelFallbackMiddleware(model("nano", say("from the fallback"))),
    }


@pytest.mark.parametrize("order", [*ORDERS, "BR", "RB", "BE", "EB"])
def test_in_any_order_no_call_is_made_that_does_not_fit(run: Any, order: str) -> None:
    scripted = tiers(nano=say("bug"), mini=say("x"), flagship=say("y"))
    own: Any = scripted[0].model
    parts = parts_of(scripted, run_limit_usd=1e-6)
    result = run(create_agent(own, middleware=[parts[letter] for letter in order]), ask(LABEL))
    assert is_spent(result)
    assert (calls(scripted), result.get("ledger") or []) == ([0, 0, 0], [])


@pytest.mark.parametrize("order", ORDERS)
def test_in_any_order_a_dear_tier_gives_way_to_a_cheaper_one(run: Any, order: str) -> None:
    scripted = tiers(nano=say("from nano"), mini=say("x"), flagship=say("y"))
    own: Any = scripted[2].model
    parts = parts_of(scripted, run_limit_usd=0.0015, exit_behavior="downgrade")
    result = run(create_agent(own, middleware=[parts[letter] for letter in order]), ask(PROOF))
    assert result["messages"][-1].text == "from nano"
    assert [(entry["tier"], entry["outcome"]) for entry in result["ledger"]] == [("nano", "downgraded")]


@pytest.mark.parametrize("order", ["BF", "FB"])
def test_a_fallback_that_fits_answers_where_the_agents_own_model_does_not(run: Any, order: str) -> None:
    own = model("flagship", say("never"))
    parts = parts_of(tiers(nano=say("x")), run_limit_usd=0.0015, exit_behavior="error")
    result = run(create_agent(own, middleware=[parts[letter] for letter in order]), ask(PROOF))
    assert result["messages"][-1].text == "from the fallback"
    assert own.calls == 0


def test_a_thread_has_a_limit_which_survives_a_restart(run: Any) -> None:
    saver, spent = InMemorySaver(), []
    for _ in range(4):
        agent = create_agent(
            model("mini", say("hello")), middleware=[BudgetMiddleware(thread_limit_usd=0.005)], checkpointer=saver
        )
        result = run(agent, ask(LABEL), THREAD)
        spent.append(is_spent(result))
    assert spent == [False, False, False, True]  # the fourth call might have cost more than is left


def test_a_model_of_unknown_price_is_named(run: Any) -> None:
    agent = create_agent(model("homemade", say("x")), middleware=[BudgetMiddleware(run_limit_usd=1)])
    with pytest.raises(InvalidBudgetError, match="the model 'homemade', whose price is unknown"):
        run(agent, ask(LABEL))


@pytest.mark.parametrize("limit", [0, -1, float("nan"), None])
def test_a_limit_that_is_none_is_refused_at_build(limit: Any) -> None:
    with pytest.raises(InvalidBudgetError):
        BudgetMiddleware(run_limit_usd=limit)


def test_each_share_of_a_limit_is_told_once(stream: Any) -> None:
    limited = BudgetMiddleware(run_limit_usd=0.004, exit_behavior="end")
    agent = create_agent(model("mini", call_then("refund", {"order_id": 7}, say("x"))), [refund], middleware=[limited])
    events = [part for part in stream(agent, ask(REFUND), stream_mode="custom") if part["type"] == "tiered_budget"]
    assert [(event["scope"], event["share"]) for event in events] == [("run", 0.5)]
