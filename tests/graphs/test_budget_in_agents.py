"""A budget in the agent: no call is made that it does not hold; then comes a message, an error or a cheaper tier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fakes import LABEL, PROOF, REFUND, ask, call_then, in_turn, model, say, tiers
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from langchain_tiered import Budget, Ledger, Policy, Tier, create_tiered_agent
from langchain_tiered.errors import BudgetExceededError, InvalidBudgetError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_tiered.cascade import CheckInput

THREAD: Any = {"configurable": {"thread_id": "1"}}
NANO_USD = (1000 * 0.20 + 100 * 1.25) / 1e6
"""A call of a scripted nano: 1,000 tokens in and 100 out, at the published price."""

ran: list[int] = []


@tool
def refund(order_id: int) -> str:
    """Refund an order by its number."""
    ran.append(order_id)
    return f"Refunded {order_id}."


def calls(scripted: Sequence[Tier]) -> list[int]:
    models: list[Any] = [tier.model for tier in scripted]
    return [each.calls for each in models]


def spent(result: Any) -> float:
    total = Ledger(result["ledger"]).last_run().total_usd
    assert total is not None
    return total


def test_a_budget_that_holds_changes_nothing(run: Any) -> None:
    scripted = tiers(nano=say("bug"), mini=say("x"))
    result = run(create_tiered_agent(scripted, budget=Budget(run_limit_usd=1)), ask(LABEL))
    assert result["messages"][-1].text == "bug"
    assert spent(result) == pytest.approx(NANO_USD)


@pytest.mark.parametrize("exit_behavior", ["end", "downgrade"])
def test_a_call_that_does_not_fit_is_not_made_and_the_run_ends_with_a_message(run: Any, exit_behavior: Any) -> None:
    scripted = tiers(nano=say("bug"), mini=say("x"))
    budget = Budget(run_limit_usd=1e-6, exit_behavior=exit_behavior)
    result = run(create_tiered_agent(scripted, budget=budget), ask(LABEL))
    assert result["messages"][-1].text == "The budget for this request is spent, so it was not answered."
    assert result["messages"][-1].response_metadata["budget_exceeded"] is True
    assert calls(scripted) == [0, 0]
    assert result["ledger"] == []


def test_an_error_has_the_figures_the_attempts_and_the_ledger(run: Any) -> None:
    scripted = tiers(nano=say("half", "length"), mini=say("x"))
    budget = Budget(run_limit_usd=2 * NANO_USD + 0.0005, exit_behavior="error")
    with pytest.raises(BudgetExceededError) as told:
        run(create_tiered_agent(scripted, budget=budget), ask(LABEL))
    error = told.value
    assert (error.scope, error.limit_usd) == ("run", budget.run_limit_usd)
    assert error.spent_usd == pytest.approx(NANO_USD)
    assert [attempt["tier"] for attempt in error.attempts] == ["nano", "mini"]
    assert [entry["outcome"] for entry in error.ledger] == ["rejected"]
    assert calls(scripted) == [1, 0]


def test_a_dear_tier_gives_way_to_one_that_the_budget_holds(run: Any) -> None:
    scripted = tiers(nano=say("from nano"), mini=say("x"), flagship=say("y"))
    agent = create_tiered_agent(scripted, budget=Budget(run_limit_usd=0.0015, exit_behavior="downgrade"))
    result = run(agent, ask(PROOF))
    assert result["messages"][-1].text == "from nano"
    assert [(entry["tier"], entry["outcome"]) for entry in result["ledger"]] == [("nano", "downgraded")]
    assert result["route"]["tier"] == "flagship"


def test_a_downgrade_never_goes_below_a_floor(run: Any) -> None:
    scripted = tiers(nano=say("from nano"), mini=say("x"), flagship=say("y"))
    policy = Policy(floors={"reason": "flagship"})
    budget = Budget(run_limit_usd=0.0015, exit_behavior="downgrade")
    result = run(create_tiered_agent(scripted, policy=policy, budget=budget), ask(PROOF))
    assert result["messages"][-1].response_metadata["budget_exceeded"] is True
    assert calls(scripted) == [0, 0, 0]


def test_a_thread_has_a_limit_of_its_own_which_survives_a_restart(run: Any) -> None:
    saver, budget = InMemorySaver(), Budget(thread_limit_usd=0.001)
    answers = []
    for _ in range(4):  # a new agent object each time, as after a restart
        agent = create_tiered_agent(tiers(nano=say("bug"), mini=say("x")), budget=budget, checkpointer=saver)
        result = run(agent, ask(LABEL), THREAD)
        answers.append(result["messages"][-1].text)
    assert answers[0] == "bug"
    assert answers[-1].startswith("The budget")
    total = Ledger(result["ledger"]).total_usd
    assert total is not None
    assert total <= 0.001


def test_a_loop_stops_between_its_calls_and_keeps_what_its_tools_gave(run: Any) -> None:
    ran.clear()
    scripted = tiers(nano=say("x"), mini=call_then("refund", {"order_id": 7}, say("done")))
    one_call = (1000 * 0.75 + 100 * 4.5) / 1e6
    agent = create_tiered_agent(scripted, tools=[refund], budget=Budget(run_limit_usd=one_call + 0.0022))
    result = run(agent, ask(REFUND))
    assert ran == [7]
    assert [message.type for message in result["messages"]] == ["human", "ai", "tool", "ai"]
    assert result["messages"][-1].response_metadata["budget_exceeded"] is True
    assert [entry["outcome"] for entry in result["ledger"]] == ["tool_turn"]


def test_what_a_check_asks_a_model_counts(run: Any) -> None:
    asked = model("flagship", say("fine"))

    def costly(given: CheckInput) -> bool:
        return asked.invoke(given.answer.text).text == "fine"

    scripted = tiers(nano=say("bug"), mini=say("x"))
    agent = create_tiered_agent(scripted, checks=[costly], budget=Budget(run_limit_usd=0.0015))
    result = run(agent, ask(LABEL))
    assert asked.calls == 0
    assert result["messages"][-1].response_metadata.get("budget_exceeded") is True


def test_each_share_of_a_limit_is_told_once(stream: Any) -> None:
    scripted = tiers(nano=in_turn(say("half", "length"), say("x")), mini=say("whole"))
    agent = create_tiered_agent(scripted, budget=Budget(run_limit_usd=0.005, warn_at=(0.05, 0.2, 1.0)))
    events = [part for part in stream(agent, ask(LABEL), stream_mode="custom") if part["type"] == "tiered_budget"]
    assert [(event["scope"], event["share"]) for event in events] == [("run", 0.05), ("run", 0.2)]
    assert events[0]["spent_usd"] == pytest.approx(NANO_USD)


def test_an_unpriced_model_is_refused_at_build() -> None:
    unknown = [Tier("own", model("homemade", say("x")), criteria="")]
    with pytest.raises(InvalidBudgetError, match=r"tier 'own', whose model 'homemade' has no known price: give Tier"):
        create_tiered_agent(unknown, budget=Budget(run_limit_usd=1))


def test_what_a_visit_paid_before_an_interrupt_counts_when_it_is_resumed(run: Any) -> None:
    @tool
    def approve(order_id: int) -> str:
        """Refund an order after a human has agreed."""
        return str(interrupt(order_id))

    scripted = tiers(nano=say("x"), mini=call_then("approve", {"order_id": 7}, say("done")))
    one_call = (1000 * 0.75 + 100 * 4.5) / 1e6
    budget = Budget(run_limit_usd=one_call + 0.0022)
    agent = create_tiered_agent(scripted, tools=[approve], budget=budget, checkpointer=InMemorySaver())
    run(agent, ask(REFUND), THREAD)
    result = run(agent, Command(resume="yes"), THREAD)
    assert result["messages"][-1].response_metadata["budget_exceeded"] is True
    assert calls(scripted) == [0, 1]


def test_nothing_is_logged_of_a_call_that_does_not_fit(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    run(create_tiered_agent(tiers(nano=say("bug"), mini=say("x")), budget=Budget(run_limit_usd=1e-6)), ask(LABEL))
    assert not caplog.records
