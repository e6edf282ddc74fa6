"""Tool calls against the tools that were given: each form of a tool, and what is told of a call that cannot be run."""

from __future__ import annotations

import sys
from functools import partial
from subprocess import run
from threading import Thread
from typing import Annotated, Any

import pytest
from langchain.agents import AgentState  # noqa: TC002  (LangChain reads the hints of a tool)
from langchain.tools import InjectedState, InjectedToolCallId, ToolRuntime
from langchain_core.messages.tool import invalid_tool_call
from langchain_core.tools import BaseTool, tool
from langchain_openai import custom_tool
from refunds import (
    GOOD,
    SCHEMA,
    SENTINEL,
    OldRefund,
    Refund,
    TypedRefund,
    call,
    checked,
    of_schema,
    ping,
    refund_order,
    says,
    spec,
)

from langchain_tiered.cascade import validity
from langchain_tiered.cascade.schemas import finder
from langchain_tiered.cascade.validity import problems_of


def undocumented(order_id: str, amount: float) -> str:
    return f"{order_id} {amount}"


async def refund_later(order_id: str, amount: float) -> str:
    """Refund an order."""
    return f"{order_id} {amount}"


@tool
def refund_with_state(
    order_id: str,
    amount: float,
    state: Annotated[AgentState[Any], InjectedState],
    call_id: Annotated[str, InjectedToolCallId],
    runtime: ToolRuntime,
) -> str:
    """Refund an order."""
    return f"{order_id} {amount} {state} {call_id} {runtime}"


@custom_tool
def run_code(code: str) -> str:
    """Run code."""
    return code


class Bare(BaseTool):
    """A tool without a schema of its own."""

    name: str = "bare"
    description: str = "Refund an order."

    def _run(self, order_id: str, amount: float, run_manager: Any = None) -> str:
        return f"{order_id} {amount}"


TOOLS: dict[str, tuple[Any, str]] = {
    "pydantic schema": (of_schema(Refund), "refund"),
    "pydantic v1 schema": (of_schema(OldRefund), "refund"),
    "JSON schema as args_schema": (of_schema(SCHEMA), "refund"),
    "decorated function": (tool(refund_order), "refund_order"),
    "injected arguments": (refund_with_state, "refund_with_state"),
    "no schema of its own": (Bare(), "bare"),
    "plain function": (refund_order, "refund_order"),
    "plain function without docstring": (undocumented, "undocumented"),
    "plain coroutine function": (refund_later, "refund_later"),
    "pydantic class": (Refund, "Refund"),
    "pydantic v1 class": (OldRefund, "OldRefund"),
    "TypedDict": (TypedRefund, "TypedRefund"),
    "Chat Completions": (spec(SCHEMA), "refund"),
    "Responses": ({"type": "function", "name": "refund", "parameters": SCHEMA}, "refund"),
    "name and parameters": ({"name": "refund", "parameters": SCHEMA}, "refund"),
    "titled JSON schema": ({"title": "refund", **SCHEMA}, "refund"),
    "Anthropic": ({"name": "refund", "input_schema": SCHEMA}, "refund"),
    "Anthropic, told custom": ({"type": "custom", "name": "refund", "input_schema": SCHEMA}, "refund"),
    "Bedrock": ({"toolSpec": {"name": "refund", "inputSchema": {"json": SCHEMA}}}, "refund"),
    "namespace": ({"type": "namespace", "name": "shop", "tools": [{**spec(SCHEMA)["function"]}]}, "refund"),
}


@pytest.mark.parametrize(("declared", "name"), TOOLS.values(), ids=TOOLS)
def test_each_form_of_a_tool_is_held_to_its_schema(declared: Any, name: str) -> None:
    tools = (ping, declared)
    assert checked(tools, call(name, GOOD)) == (True, "Its tool calls are valid.")
    accepted, why = checked(tools, call(name, {"amount": [SENTINEL]}))
    assert not accepted
    assert why.startswith(f"{name}: ")
    assert "'order_id' is required" in why
    assert "'amount'" in why
    assert SENTINEL not in why


@pytest.mark.parametrize(
    ("declared", "name"),
    [
        pytest.param({"type": "web_search"}, "web_search", id="web search"),
        pytest.param({"type": "web_search_20250305", "name": "web_search"}, "web_search", id="named apart"),
        pytest.param({"type": "custom", "name": "math", "format": {"type": "text"}}, "math", id="custom, Responses"),
        pytest.param({"type": "custom", "custom": {"name": "math"}}, "math", id="custom, Chat Completions"),
        pytest.param({"google_search": {}}, "google_search", id="without a type"),
        pytest.param({"name": "ping"}, "ping", id="without parameters"),
        pytest.param(run_code, "run_code", id="custom tool"),
        pytest.param(partial(refund_order, "1042"), "partial", id="what LangChain cannot convert"),
        pytest.param(ping, "ping", id="takes nothing, and runs on anything"),
    ],
)
def test_arguments_that_nothing_validates_are_accepted_and_no_other_name(declared: Any, name: str) -> None:
    assert checked([declared], call(name, {"__arg1": SENTINEL}))[0]
    assert checked([declared], call("lookup", {})) == (
        False, f"It called 'lookup', which is no tool here; there are: {name}.",
    )  # fmt: skip


def test_injected_arguments_are_not_the_models_to_give() -> None:
    assert checked([refund_with_state], call("refund_with_state", GOOD))[0]
    forged = {**GOOD, "state": SENTINEL, "runtime": SENTINEL, "call_id": 3}
    assert checked([refund_with_state], call("refund_with_state", forged))[0]
    accepted, why = checked([refund_with_state], call("refund_with_state", {"order_id": "1", "amount": SENTINEL}))
    assert (accepted, why) == (False, "refund_with_state: 'amount' must be a valid number.")


def test_what_cannot_be_called_is_told_with_what_can() -> None:
    tools = [refund_order, {"type": "web_search"}]
    assert checked(tools, call("lookup", {})) == (
        False, "It called 'lookup', which is no tool here; there are: refund_order, web_search.",
    )  # fmt: skip
    assert checked((), call("lookup", {})) == (False, "It called 'lookup', but it was given no tools.")
    many = [spec({}, f"t{place}") for place in range(25)]
    _, why = checked(many, call("lookup" * 40, {}))
    assert "t19 and 5 more." in why
    assert len(why) < 300


def test_arguments_that_are_no_json_are_told_by_the_tools_name() -> None:
    def broken(name: str | None) -> Any:
        return invalid_tool_call(name=name, args=f'{{"a": "{SENTINEL}', id="call_1", error=SENTINEL)

    assert checked([refund_order], broken=[broken("refund_order")]) == (
        False, "refund_order: the arguments are no JSON.",
    )  # fmt: skip
    assert checked([refund_order], broken=[broken(None)]) == (False, "A call: the arguments are no JSON.")
    assert checked([refund_order], broken=[broken("lookup")])[1].startswith("It called 'lookup', which is no tool")
    assert checked((), broken=[broken("Refund")], schema=Refund)[1] == "Refund: the arguments are no JSON."


def test_an_answer_without_calls_is_no_matter_of_tools() -> None:
    assert checked([refund_order]) == (True, "It calls no tool.")
    assert checked(()) == (True, "It calls no tool.")


def test_one_wrong_call_among_good_ones_rejects_and_the_first_three_are_told() -> None:
    good, bad = call("refund_order", GOOD), call("refund_order", {"order_id": "1"})
    assert checked([refund_order], good, good) == (True, "Its tool calls are valid.")
    assert checked([refund_order], good, bad) == (False, "refund_order: 'amount' is required.")
    told = "refund_order: 'amount' is required. " * 3
    assert checked([refund_order], *[bad] * 5)[1] == f"{told}And 2 more calls."


def test_problems_come_by_call_in_order_and_those_of_the_structured_answer_too() -> None:
    answer = says(
        call("lookup", {}, "call_3"),
        call("refund_order", GOOD, "call_2"),
        call("refund_order", {}, None),
        call("Refund", {"order_id": "1"}, "call_1"),
        call("refund_order", {"order_id": "1"}, None),
        broken=[invalid_tool_call(name="refund_order", args="{", id="call_0", error=None)],
    )
    assert list(problems_of(answer, [refund_order], Refund).items()) == [
        ("call_3", "It called 'lookup', which is no tool here; there are: refund_order, Refund."),
        (None, "refund_order: 'order_id' is required; 'amount' is required. refund_order: 'amount' is required."),
        ("call_1", "Refund: 'amount' is required."),
        ("call_0", "refund_order: the arguments are no JSON."),
    ]
    assert problems_of(says(call("refund_order", GOOD)), [refund_order]) == {}
    twice = says(call("Refund", GOOD, "a"), call("Refund", GOOD, "b"))
    assert problems_of(twice, [], Refund) == dict.fromkeys(
        ("a", "b"), "Refund: it is one of 2 structured answers; one is wanted."
    )


def test_a_validator_is_built_once_and_serves_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Any] = []

    def counted(source: Any) -> Any:
        built.append(source)
        return finder(source)

    monkeypatch.setattr(validity, "finder", counted)
    tools, seen = [spec(SCHEMA, "other"), of_schema(Refund)], list[bool]()
    threads = [Thread(target=lambda: seen.append(checked(tools, call("refund", GOOD))[0])) for _ in range(8)]
    assert checked(tools, call("refund", GOOD))[0]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True] * 8
    assert built == [tools[1]], "built once, and of the called tool alone"


def test_a_tool_that_takes_a_dead_ones_place_in_memory_is_not_taken_for_it() -> None:
    for place in range(2_000):
        name = f"tool_{place}"
        assert checked([spec({"required": [name]}, name)], call(name, {}))[1] == f"{name}: '{name}' is required."


def test_jsonschema_is_imported_only_where_a_json_schema_stands() -> None:
    program = (
        "import sys, langchain_tiered.cascade.validity as v; from langchain_tiered.cascade.checks import CheckInput; "
        "from langchain_core.messages import AIMessage; v.valid_tool_calls(CheckInput([], AIMessage('Yes.'))); "
        "assert 'jsonschema' not in sys.modules"
    )
    run([sys.executable, "-c", program], check=True, timeout=60)
