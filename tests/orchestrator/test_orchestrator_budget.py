"""One meter over planner, workers and reviewer; its end is a result with what is done so far."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langgraph.checkpoint.memory import InMemorySaver
from orchestrator.team import MODES, THREAD, Team, ask, outcomes, plan, review, run, task

from langchain_tiered import Budget, Ledger, create_orchestrator, create_tiered_agent
from langchain_tiered.errors import BudgetExceededError
from langchain_tiered.testing import ScriptedChatModel

both = pytest.mark.parametrize("mode", MODES)
MANY = [task(f"t{n}") for n in range(20)]


def foreign_function(team: Team) -> Any:
    return lambda _: team.nano.invoke("Do it.").text


WORKERS: list[Any] = [
    lambda _: None,
    foreign_function,
    lambda team: team.nano,
    lambda team: create_agent(team.nano, []),
]


@both
@pytest.mark.parametrize("worker", WORKERS)
def test_twenty_workers_share_one_meter_and_what_is_done_is_kept(mode: str, worker: Any) -> None:
    team = Team(plan(*MANY), review())
    team.nano.usage = {"input_tokens": 100, "output_tokens": 500, "total_tokens": 600}
    budget = Budget(run_limit_usd=0.012)
    graph = create_orchestrator(tiers=team.tiers, worker=worker(team), budget=budget, max_parallel=20)
    result = run(graph, ask(), mode)
    assert result["verdict"] == "budget_exhausted"
    total = Ledger(result["ledger"]).total_usd
    assert total is not None
    assert total <= 0.012
    done = [name for name, outcome in outcomes(result).items() if outcome == "done"]
    assert 0 < len(done) < 20
    assert team.nano.calls == len(done)
    assert len(result["results"]) == 20
    assert result["messages"][-1].response_metadata["budget_exceeded"] is True
    assert done[0] in result["messages"][-1].text


def test_a_tiered_agent_of_ones_own_shares_the_meter_too() -> None:
    team = Team(plan(*MANY), review())
    team.nano.usage = {"input_tokens": 100, "output_tokens": 500, "total_tokens": 600}
    agent, budget = create_tiered_agent(team.tiers[:1]), Budget(run_limit_usd=0.012)
    result = create_orchestrator(tiers=team.tiers, worker=agent, budget=budget, max_parallel=20).invoke(ask())
    assert result["verdict"] == "budget_exhausted"
    assert (Ledger(result["ledger"]).total_usd or 1) <= 0.012


@both
@pytest.mark.parametrize(("limit", "roles"), [(0.000001, []), (0.012, ["plan", "answer"])])
def test_a_planner_or_a_reviewer_that_cannot_be_paid_ends_the_run(mode: str, limit: float, roles: list[str]) -> None:
    team = Team(plan(task("a")), review())
    result = run(create_orchestrator(tiers=team.tiers, budget=Budget(run_limit_usd=limit)), ask(), mode)
    assert result["verdict"] == "budget_exhausted"
    assert [each["role"] for each in result["ledger"]] == roles


@both
def test_a_budget_that_is_to_raise_does_with_all_that_was_paid(mode: str) -> None:
    team = Team(plan(*MANY), review())
    team.nano.usage = {"input_tokens": 100, "output_tokens": 500, "total_tokens": 600}
    budget = Budget(run_limit_usd=0.012, exit_behavior="error")
    with pytest.raises(BudgetExceededError) as raised:
        run(create_orchestrator(tiers=team.tiers, budget=budget, max_parallel=20), ask(), mode)
    roles = [each["role"] for each in raised.value.ledger]
    assert roles.count("plan") == 1
    assert roles.count("answer") == team.nano.calls


def test_a_threads_budget_counts_all_runs() -> None:
    team = Team(*[plan(mode="answer", answer="Four.")] * 9)
    budget = Budget(thread_limit_usd=0.02)
    graph = create_orchestrator(tiers=team.tiers, budget=budget, checkpointer=InMemorySaver())
    verdicts = [graph.invoke(ask(), THREAD)["verdict"] for _ in range(5)]
    assert verdicts[0] == "satisfied"
    assert verdicts[-1] == "budget_exhausted"


def test_the_ledger_of_a_wide_plan_has_each_call_once_under_its_task() -> None:
    team = Team(plan(*MANY), review())
    result = create_orchestrator(tiers=team.tiers, max_parallel=20).invoke(ask())
    tasks = [each["task_id"] for each in result["ledger"] if each["role"] == "answer"]
    assert sorted(tasks) == sorted(each["id"] for each in MANY)
    costs = [each["cost_usd"] for each in result["results"]]
    total = Ledger(result["ledger"]).total_usd
    rest = Ledger(each for each in result["ledger"] if each["task_id"] is None).total_usd
    assert total is not None
    assert rest is not None
    assert total == pytest.approx(sum(costs) + rest)


def test_a_model_that_reports_nothing_makes_the_cost_unknown_and_never_zero() -> None:
    silent = ScriptedChatModel(script="x", model_name="gpt-5.4-nano", usage=None)
    team = Team(plan(task("a")), review())
    result = create_orchestrator(tiers=team.tiers, worker=silent).invoke(ask())
    assert result["results"][0]["cost_usd"] is None
