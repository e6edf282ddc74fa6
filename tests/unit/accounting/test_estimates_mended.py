"""What is held for a call whose limit nobody meant, or whose tools cannot be read; and what has no published price."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from fakes import ScriptedModel, ask, call_then, say
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool

from langchain_tiered import Budget, Policy, Tier, create_tiered_agent
from langchain_tiered.accounting.estimates import declared_tokens, expect_priced
from langchain_tiered.accounting.metering import Metered
from langchain_tiered.accounting.rates import price_usd, rates_of
from langchain_tiered.accounting.usage import Tokens, provider_calls
from langchain_tiered.errors import BudgetExceededError, InvalidBudgetError
from langchain_tiered.types import Rates

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HAIKU_OUTPUT_USD = 5e-6
INPUT_USD = 0.0005  # more than a question of one word costs at Haiku's price, its margin included
ROLE = {"tier": "nano", "tiered_role": "answer", "tiered_run_id": "run"}


def is_let_through(limit_usd: float, params: Mapping[str, Any], **metadata: Any) -> bool:
    """Tell whether a call of Claude Haiku 4.5 is made under a budget."""
    told = {**ROLE, "ls_provider": "anthropic", "ls_model_name": "claude-haiku-4-5", **metadata}
    try:
        Metered(Budget(run_limit_usd=limit_usd), [], "run").hold(uuid4(), [HumanMessage("Hi")], params, told)
    except BudgetExceededError:
        return False
    return True


def is_held_as(output_tokens: int, params: Mapping[str, Any], **metadata: Any) -> bool:
    """Tell whether just so much output is held for a call."""
    usd = output_tokens * HAIKU_OUTPUT_USD
    too_little = is_let_through(usd, params, **metadata)
    return is_let_through(usd + INPUT_USD, params, **metadata) and not too_little


@pytest.mark.parametrize("most", [32_000, 64_000, 128_000, 4_096, 8_192])
def test_a_limit_that_an_integration_sends_unasked_is_not_held(most: int) -> None:
    assert is_held_as(500, {"max_tokens": most})
    assert is_held_as(500, {}, ls_max_tokens=most)


@pytest.mark.parametrize("most", [1, 256, 4_000, 4_097, 16_000, 31_999])
def test_a_limit_that_the_user_has_set_is_held_to_the_token(most: int) -> None:
    assert is_held_as(most, {"max_tokens": most})
    assert is_held_as(most, {}, ls_max_tokens=most)


def test_the_limit_of_a_call_comes_before_that_of_its_model() -> None:
    assert is_held_as(100, {"max_tokens": 100}, ls_max_tokens=64_000)


@pytest.mark.parametrize(("most", "held"), [(4_096, 4_096), (8_192, 8_192), (128_000, 500)])
def test_what_anthropics_integration_sends_is_the_users_own_with_another(most: int, held: int) -> None:
    other = {"ls_provider": "openai", "tiered_rates": {"input_usd": 1.0, "output_usd": 5.0}}
    assert is_held_as(held, {"max_completion_tokens": most}, **other)


@pytest.mark.parametrize("none", [-1, -2, 0])
def test_no_limit_in_numbers_holds_the_usual_output(none: int) -> None:
    assert is_held_as(500, {"num_predict": none})


class Unreadable:
    """A tool of which nothing can be told."""

    def __repr__(self) -> str:
        raise RuntimeError("Look away.")


def circular() -> dict[str, Any]:
    told: dict[str, Any] = {"type": "function"}
    told["function"] = told
    return told


def nested() -> dict[str, Any]:
    told: dict[str, Any] = {}
    for _ in range(100_000):
        told = {"type": told}
    return told


ODD: dict[str, Any] = {
    "a name": "refund_order",
    "a number": 7,
    "a class of nothing": object,
    "unreadable": Unreadable(),
    "an unreadable value": {"name": Unreadable()},
    "a key that JSON has not": {("a", "b"): 1},
    "no dict, but a mapping": MappingProxyType({"type": "function", "name": "refund"}),
    "a type of its own": {"type": ["function"]},
    "circular": circular(),
    "a set": {"name": "refund", "required": {"order"}},
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_a_tool_that_cannot_be_read_stops_no_call(odd: Any) -> None:
    assert declared_tokens([odd]) >= 0
    assert is_let_through(1.0, {"tools": [odd]})


def test_a_tool_of_a_name_alone_counts_by_its_length() -> None:
    assert declared_tokens(["refund_order"]) == 3


def test_a_tool_nested_without_end_stops_no_call() -> None:
    told = nested()
    try:
        assert declared_tokens([told]) >= 0
    finally:
        while told:  # an interpreter may not survive to free it whole
            told = told.pop("type")


@pytest.mark.parametrize("tools", [7, "refund", {"name": "refund"}], ids=["a number", "a name", "a tool"])
def test_tools_in_no_list_stop_no_call(tools: Any) -> None:
    assert is_let_through(1.0, {"tools": tools})


def test_tools_that_can_be_read_but_once_are_left_to_their_model() -> None:
    tools = iter([{"name": "refund"}])
    assert is_let_through(1.0, {"tools": tools})
    assert list(tools) == [{"name": "refund"}]


@pytest.mark.parametrize(
    "said",
    ["plain words here", "créé à l'été où il a dîné", "退款订单", json.dumps({"orders": [{"id": 1, "ok": True}]})],
)
def test_a_tools_words_count_as_long_as_their_json(said: str) -> None:
    @tool(description=said * 50)
    def refund(order: int) -> str:
        return str(order)

    as_json = {"type": "function", "function": {"name": "refund", "description": said * 50}}
    assert declared_tokens([as_json]) == -(-len(json.dumps(as_json)) // 4)
    assert declared_tokens([refund]) > declared_tokens([as_json])


class ToldNames(ScriptedModel):
    """A test double that is given the names of its tools alone."""

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self.bind(tools=[each.name for each in tools], **kwargs)


def test_a_model_that_is_told_the_names_of_its_tools_runs_within_a_budget(run: Any) -> None:
    @tool
    def refund(order: int) -> str:
        """Refund an order."""
        return f"{order} is refunded."

    named = ToldNames(model_name="gpt-5.4-mini", script=call_then("refund", {"order": 1042}, say("Refunded.")))
    agent = create_tiered_agent(
        [Tier("nano", named, criteria="All.")],
        tools=[refund],
        budget=Budget(run_limit_usd=1),
        policy=Policy(pin="nano"),
    )
    assert run(agent, ask("Refund order 1042."))["messages"][-1].text == "Refunded."


LOCAL = ["deepseek-r1", "deepseek-r1:7b", "kimi-k2", "command-r", "command-r-plus", "mistral-nemo", "llama3.2"]


@pytest.mark.parametrize("name", LOCAL)
@pytest.mark.parametrize("provider", ["ollama", "llamacpp", "mlx"])
def test_a_model_of_ones_own_machine_costs_nobody_knows_what(name: str, provider: str) -> None:
    assert rates_of(name, provider=provider) is None
    assert rates_of(f"{provider}:{name}") is None
    with pytest.raises(InvalidBudgetError, match="no known price"):
        expect_priced([Tier("nano", f"{provider}:{name}", criteria="All.")])


def test_rates_of_ones_own_price_a_model_of_ones_own_machine() -> None:
    used = Tokens(input_tokens=1_000_000, output_tokens=0)
    assert price_usd("deepseek-r1", used, provider="ollama", rates=Rates(0.02, 0.05)) == 0.02
    assert price_usd("deepseek-r1", used, provider="ollama", rates=Rates(0.0, 0.0)) == 0.0
    assert price_usd("deepseek-r1", used, provider="ollama", rates="deepseek:deepseek-chat") == pytest.approx(0.135)
    expect_priced([Tier("nano", "ollama:deepseek-r1", criteria="All.", rates=Rates(0.0, 0.0))])


def test_the_same_name_has_its_price_with_others() -> None:
    assert rates_of("deepseek-r1") is not None
    assert rates_of("deepseek-r1", provider="a gateway of our own") is not None


def test_googles_own_form_of_a_name_has_its_price() -> None:
    plain = rates_of("gemini-2.5-flash", provider="google_genai")
    assert plain is not None
    assert rates_of("models/gemini-2.5-flash", provider="google_genai") == plain
    assert rates_of("google_genai:models/gemini-2.5-flash") == plain


@pytest.mark.parametrize("name", ["bash_code_execution", "text_editor_code_execution", "code_execution"])
def test_code_that_anthropic_runs_makes_the_cost_unknown(name: str) -> None:
    call = {"type": "server_tool_use", "id": "srvtoolu_1", "name": name, "input": {}}
    assert provider_calls(AIMessage([call, {"type": "text", "text": "Done."}])).unpriced == (name,)
