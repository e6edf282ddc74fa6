"""A thread keeps its tier for the sake of its prompt cache, by what the providers report and the published prices."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import LABEL, PROOF, StreamingModel, model, say
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver

from langchain_tiered import Policy, Tier, TierRouter, create_tiered_agent, default_tiers
from langchain_tiered.routing.facts import facts_of

THREAD: Any = {"configurable": {"thread_id": "1"}}
FIX = "Fix this Python function:\n```python\ndef f(x):\n    return x +\n```"
"""A request that the rules send to the second of three tiers."""

HISTORY: list[BaseMessage] = [HumanMessage("word " * 20_800), AIMessage("Noted.")]
"""26,000 tokens by our estimate of four characters each, and a few that frame them."""

USD = {"nano": (0.20, 0.02, 1.25), "mini": (0.75, 0.075, 4.50), "flagship": (2.50, 0.25, 15.00)}
"""Published prices per million tokens of input, cached input and output."""


def usd(tier: str, tokens: int, cached: int, output: int) -> float:
    fresh, warm, out = USD[tier]
    return ((tokens - cached) * fresh + cached * warm + output * out) / 1e6


class Cached(StreamingModel):
    """Reports a prompt cache."""

    cached: int = 0
    output: int = 100

    def _answer(self, messages: Any) -> AIMessage:
        answer = super()._answer(messages)
        tokens = facts_of(messages).tokens
        answer.usage_metadata = {
            "input_tokens": tokens,
            "output_tokens": self.output,
            "total_tokens": tokens + self.output,
            "input_token_details": {"cache_read": self.cached},
        }
        return answer


def agent_of(cached: int, output: int, reroute: Any = "turn") -> Any:
    tiers = [
        Tier(name, model(name, say(name), Cached, cached=cached, output=output), criteria=f"Work for {name}.")
        for name in USD
    ]
    return create_tiered_agent(tiers, policy=Policy(reroute=reroute), checkpointer=InMemorySaver())


def two_turns(run: Any, agent: Any, first: str, second: str) -> tuple[dict[str, Any], dict[str, Any]]:
    before = run(agent, {"messages": [*HISTORY, HumanMessage(first)]}, THREAD)
    return before, run(agent, {"messages": [HumanMessage(second)]}, THREAD)


@pytest.mark.parametrize(
    ("cached", "output", "tier"),
    [(26_000, 500, "mini"), (26_000, 5_000, "nano"), (0, 500, "nano"), (13_000, 100, "nano")],
    ids=["a warm cache", "long answers", "no cache", "half a cache"],
)
def test_a_new_turn_goes_down_where_it_saves_more_than_the_cache(run: Any, cached: int, output: int, tier: str) -> None:
    before, result = two_turns(run, agent_of(cached, output), FIX, LABEL)
    assert before["route"]["tier"] == "mini"
    tokens = facts_of(result["messages"][:-1]).tokens
    assert 26_000 < tokens < 26_100
    stays, goes = usd("mini", tokens, cached, output), usd("nano", tokens, 0, output)
    assert (goes < stays) == (tier == "nano"), "by hand"
    assert (result["route"]["tier"], result["messages"][-1].text) == (tier, tier)
    assert ("prompt cache" in result["route"]["reason"]) == (tier == "mini")
    entry = result["ledger"][0]
    assert entry["cached_tokens"] == cached
    assert entry["cost_usd"] == pytest.approx(usd("mini", entry["input_tokens"], cached, output))


@pytest.mark.parametrize(("second", "tier"), [(FIX, "flagship"), (LABEL, "nano")])
def test_a_warm_flagship_is_cheaper_than_a_cold_mini_and_dearer_than_a_cold_nano(
    run: Any, second: str, tier: str
) -> None:
    assert usd("nano", 26_000, 0, 100) < usd("flagship", 26_000, 26_000, 100) < usd("mini", 26_000, 0, 100)
    before, result = two_turns(run, agent_of(26_000, 100), PROOF, second)
    assert (before["route"]["tier"], result["route"]["tier"]) == ("flagship", tier)


@pytest.mark.parametrize("reroute", ["turn", "thread"])
def test_a_thread_goes_up_at_once(run: Any, reroute: str) -> None:
    before, result = two_turns(run, agent_of(26_000, 1, reroute), LABEL, PROOF)
    assert (before["route"]["tier"], result["route"]["tier"]) == ("nano", "flagship")


@pytest.mark.parametrize(("cached", "output"), [(26_000, 500), (26_000, 5_000), (0, 500)])
def test_by_default_a_thread_never_goes_down(run: Any, cached: int, output: int) -> None:
    _, result = two_turns(run, agent_of(cached, output, "thread"), FIX, LABEL)
    assert (result["route"]["tier"], result["route"]["decided_by"]) == ("mini", "latch")


@pytest.mark.parametrize(("cached", "tier"), [(26_000, "mini"), (0, "nano")])
def test_the_default_tiers_are_weighed_by_their_published_prices_without_a_key(
    monkeypatch: pytest.MonkeyPatch, cached: int, tier: str
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    before = TierRouter(default_tiers(), classifier=None).invoke([*HISTORY, HumanMessage(FIX)])
    usage = {"input_tokens": 26_020, "output_tokens": 500, "total_tokens": 26_520}
    answer = AIMessage("Dear Ann", usage_metadata={**usage, "input_token_details": {"cache_read": cached}})
    answer.response_metadata["route"] = before
    router = TierRouter(default_tiers(), classifier=None, policy=Policy(reroute="turn"))
    route = router.invoke([*HISTORY, HumanMessage(FIX), answer, HumanMessage(LABEL)])
    assert (before["tier"], route["tier"]) == ("mini", tier)
