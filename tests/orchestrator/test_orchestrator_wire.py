"""Over OpenAI's protocol: the schemas of plan and review are taken by a real client, and parallel calls by a server."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_openai import ChatOpenAI
from orchestrator.team import MODES, ask, outcomes, run

from langchain_tiered import Budget, Ledger, Tier, create_orchestrator
from langchain_tiered.offline import offline_tiers
from langchain_tiered.offline.server import OfflineServer

both = pytest.mark.parametrize("mode", MODES)
LIST = """Please do all of it:
1. Classify the text. Labels: bug, praise. Text: the app crashes.
2. Extract the amount from: the total is 15 USD.
3. Then write one line about these."""


def tiers(url: str, **more: Any) -> list[Tier]:
    models = {"nano": "gpt-5.4-nano", "mini": "gpt-5.4-mini", "flagship": "gpt-5.4"}
    made = {name: ChatOpenAI(model=model, base_url=url, api_key="offline", **more) for name, model in models.items()}
    return [Tier(name, model, criteria=f"Work for {name}.") for name, model in made.items()]


@both
@pytest.mark.parametrize("api", ["chat", "responses"])
def test_plan_work_and_review_over_the_wire(mode: str, api: str) -> None:
    with OfflineServer() as server:
        graph = create_orchestrator(tiers=tiers(server.url, use_responses_api=api == "responses"))
        result = run(graph, ask(LIST), mode)
    assert result["verdict"] == "satisfied"
    assert [each["depends_on"] for each in result["plan"]["tasks"]] == [[], [], ["step_1", "step_2"]]
    assert set(outcomes(result).values()) == {"done"}
    roles = [each["role"] for each in result["ledger"]]
    assert (roles[0], roles[-1], roles.count("answer")) == ("plan", "review", 3)
    assert Ledger(result["ledger"]).total_usd


@both
def test_the_offline_tiers_plan_and_review_by_rule_and_are_priced(mode: str) -> None:
    graph = create_orchestrator(tiers=offline_tiers(), budget=Budget(run_limit_usd=1))
    result = run(graph, ask(LIST), mode)
    assert (result["verdict"], [each["tier"] for each in result["results"]]) == ("satisfied", ["nano", "nano", "mini"])
    assert "15" in result["results"][1]["output"]
    assert Ledger(result["ledger"]).unpriced == ()
    alone = run(graph, ask("Extract the amount from: the total is 15 USD."), mode)
    assert alone["plan"]["mode"] == "delegate"
    assert len(alone["ledger"]) == 2
