"""Structured values against the schema that is wanted, in every form that `create_agent` takes one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from langchain.agents.structured_output import AutoStrategy, OutputToolBinding, ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage
from langchain_core.messages.tool import invalid_tool_call
from refunds import GOOD, SCHEMA, SENTINEL, Cat, Refund, TypedRefund, call, checked, says

from langchain_tiered.cascade import validity
from langchain_tiered.cascade.checks import CheckInput
from langchain_tiered.cascade.validity import matches_schema

UNTITLED = SCHEMA
TITLED = {"title": "Refund", **SCHEMA}
ONE_OF = {"oneOf": [{"title": "Refund", **SCHEMA}, {"title": "Cat", "required": ["lives"]}]}


@dataclass
class RefundData:
    order_id: str
    amount: float


SCHEMAS: dict[str, tuple[Any, str]] = {
    "pydantic class": (Refund, "Refund"),
    "dataclass": (RefundData, "RefundData"),
    "TypedDict": (TypedRefund, "TypedRefund"),
    "JSON schema": (TITLED, "Refund"),
    "JSON schema without a title": (UNTITLED, "response_format_0a1b"),
    "union": (Refund | Cat, "Refund"),
    "one of": (ONE_OF, "Refund"),
}


STRATEGIES: dict[str, Any] = {
    "bare": lambda schema: schema,
    "auto": AutoStrategy,
    "provider": ProviderStrategy,
    "tool": ToolStrategy,
}


@pytest.mark.parametrize(
    ("schema", "name", "wrapped"),
    [
        pytest.param(*row, wrapped, id=f"{form}, {way}")
        for form, row in SCHEMAS.items()
        for way, wrapped in STRATEGIES.items()
        if (form, way) != ("union", "provider")  # a provider's own way takes none
    ],
)
def test_a_structured_value_is_held_to_every_form_of_a_schema(schema: Any, name: str, wrapped: Any) -> None:
    wanted = wrapped(schema)
    if wrapped is ToolStrategy:
        name = wanted.schema_specs[0].name
    wrong = {"order_id": SENTINEL}
    for good in (
        says(call(name, GOOD)),
        says(content='{"order_id": "1", "amount": 2}'),
        says(content='Here:\n```json\n{"order_id": "1", "amount": 2}\n```\nDone.'),
        says(content=[{"type": "text", "text": '{"order_id": "1", "amount": 2}'}]),
        says(parsed=GOOD),
        says(parsed=Refund(order_id="1", amount=2)),
    ):
        verdict = matches_schema(CheckInput([], good, schema=wanted))
        assert (verdict["accepted"], verdict["reason"]) == (True, "The answer fits the schema.")
    for bad in (says(call(name, wrong)), says(content=f'{{"order_id": "{SENTINEL}"}}'), says(parsed=wrong)):
        verdict = matches_schema(CheckInput([], bad, schema=wanted))
        assert (verdict["accepted"], verdict["check"]) == (False, "matches_schema")
        assert "is required" in verdict["reason"]
        assert SENTINEL not in verdict["reason"]


@pytest.mark.parametrize(
    "content",
    ["", "The amount is 12.", '{"order_id": "1", "amount": 2', "```json\n{}\n``` or ```json\n{}\n```", "```\n{}\n```"],
)
def test_prose_instead_of_json_is_rejected(content: str) -> None:
    verdict = matches_schema(CheckInput([], says(content=content), schema=Refund))
    assert (verdict["accepted"], verdict["reason"]) == (False, "The answer is no JSON.")


def test_json_of_another_shape_is_told_by_the_schemas_name() -> None:
    verdict = matches_schema(CheckInput([], says(content=f'["{SENTINEL}"]'), schema=TITLED))
    assert (verdict["accepted"], verdict["reason"]) == (False, "Refund: it must be of type object.")
    untitled = matches_schema(CheckInput([], says(content=f'["{SENTINEL}"]'), schema=UNTITLED))
    assert untitled["reason"] == "The answer: it must be of type object."


def test_of_a_union_the_nearest_member_is_told() -> None:
    verdict = matches_schema(CheckInput([], says(content='{"kind": "cat"}'), schema=Refund | Cat))
    assert verdict["reason"] == "Cat: 'lives' is required."
    assert matches_schema(CheckInput([], says(content='{"kind": "cat", "lives": 9}'), schema=Refund | Cat))["accepted"]


def test_a_tool_turn_is_no_structured_answer() -> None:
    verdict = matches_schema(CheckInput([], says(call("refund_order", GOOD)), schema=Refund))
    assert (verdict["accepted"], verdict["reason"]) == (True, "It calls tools.")
    broken = invalid_tool_call(name="refund_order", args="{", id="1", error=None)
    assert matches_schema(CheckInput([], says(broken=[broken]), schema=Refund))["reason"] == "It calls tools."
    own = invalid_tool_call(name="Refund", args="{", id="1", error=None)
    assert matches_schema(CheckInput([], says(broken=[own]), schema=Refund))["reason"] == "The answer is no JSON."


def test_two_structured_answers_are_one_too_many() -> None:
    verdict = matches_schema(CheckInput([], says(call("Refund", GOOD), call("Refund", GOOD)), schema=Refund))
    assert (verdict["accepted"], verdict["reason"]) == (False, "It gives 2 structured answers; one is wanted.")


def test_without_a_schema_nothing_is_wanted() -> None:
    verdict = matches_schema(CheckInput([], says(content="Yes.")))
    assert (verdict["accepted"], verdict["reason"]) == (True, "No schema is wanted.")


@pytest.mark.parametrize("schema", [Refund, RefundData, TypedRefund, TITLED, UNTITLED, Refund | Cat, ONE_OF])
def test_the_tool_of_create_agents_structured_answer_is_known_by_its_name(schema: Any) -> None:
    bound = [OutputToolBinding.from_schema_spec(spec).tool.name for spec in ToolStrategy(schema).schema_specs]
    for name in bound:  # its arguments are another check's
        assert checked((), call(name, {}), schema=schema)[0]
        assert checked((), call(name, {}), schema=AutoStrategy(schema))[0]
    tool_way = ToolStrategy(schema)
    assert checked((), call(tool_way.schema_specs[-1].name, {}), schema=tool_way)[0]
    assert not checked((), call("refund_now", {}), schema=schema)[0]


def test_a_providers_own_structured_answer_is_no_tool() -> None:
    assert checked((), call("Refund", GOOD), schema=ProviderStrategy(Refund)) == (
        False, "It called 'Refund', but it was given no tools.",
    )  # fmt: skip


def test_schema_that_is_made_anew_for_each_call_is_compiled_once() -> None:
    validity._wholes.cache_clear()
    route: Any = {"task": "extract"}

    def accepted(kind: str) -> bool:
        schema = {"title": "ticket", "type": "object", "properties": {"number": {"type": kind}}}
        return matches_schema(CheckInput([], AIMessage('{"number": 1}'), route, [], schema))["accepted"]

    assert all(accepted("integer") for _ in range(9))
    assert validity._wholes.cache_info().currsize == 1
    assert not accepted("string")
