"""What is wrong with a value, by tool, class and JSON schema: who is asked, and sentences that quote nothing."""

from __future__ import annotations

import socket
from datetime import date
from typing import Annotated, Any, Literal

import pydantic.v1
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.tools import BaseTool, Tool, ToolException, tool
from pydantic import BaseModel, Field, ValidationError, create_model, field_validator, model_validator
from refunds import (
    GOOD,
    NUMBER,
    SENTINEL,
    Cat,
    OldRefund,
    Refund,
    call,
    checked,
    of_schema,
    ping,
    refund_order,
    rules,
    says,
    spec,
)

from langchain_tiered.cascade.checks import CheckInput
from langchain_tiered.cascade.validity import matches_schema


class Meeting(BaseModel):
    """A meeting, whose validators write into what they are given."""

    day: date
    people: list[str] = Field(max_length=2)

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, said: Any) -> Any:
        if isinstance(said, dict):
            said["people"] = said.pop("persons", said.get("people"))
        return said


class Breaks(BaseModel):
    """A class whose validator has a bug."""

    order_id: str

    @field_validator("order_id")
    @classmethod
    def _bug(cls, _: str) -> str:
        raise RuntimeError(SENTINEL)


DRAFT_4 = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "type": "object",
    "properties": {"amount": {"type": "number", "minimum": 0, "exclusiveMinimum": True}},
}


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param({"type": "objekt"}, id="no such type"),
        pytest.param({"type": "object", "required": "order_id"}, id="required is no list"),
        pytest.param({"$schema": ["draft"], "type": "object"}, id="nonsense as $schema"),
        pytest.param({"$ref": "#/$defs/Missing"}, id="reference to nothing"),
        pytest.param({"$ref": "#"}, id="reference to itself"),
        pytest.param({"properties": {"a": {"pattern": "("}}}, id="pattern that is none"),
        pytest.param({"required": ["b"], "properties": {"a": {"$ref": "https://example.com/s.json"}}}, id="network"),
        pytest.param(Breaks, id="validator with a bug"),
    ],
)
def test_a_broken_schema_neither_crashes_nor_rejects_nor_fetches(schema: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def connects(*_: Any, **__: Any) -> None:
        pytest.fail("A reference was fetched.")

    monkeypatch.setattr(socket, "create_connection", connects)
    monkeypatch.setattr(socket, "getaddrinfo", connects)
    declared = spec(schema) if isinstance(schema, dict) else of_schema(schema)
    assert checked([declared], call("refund", {"a": "x", "order_id": "x"}))[0]
    wanted = CheckInput([], says(content='{"a": "x", "order_id": "x"}'), schema=schema)
    assert matches_schema(wanted)["accepted"]


LAX: dict[str, tuple[Any, dict[str, Any]]] = {
    "number in a text": (of_schema(Refund), {"order_id": "1", "amount": "12.50"}),
    "day in a text": (of_schema(Meeting), {"day": "2026-03-17", "people": []}),
    "validator that rewrites": (of_schema(Meeting), {"day": "2026-03-17", "persons": ["Ann"]}),
    "too many people": (of_schema(Meeting), {"day": "2026-03-17", "people": ["a", "b", "c"]}),
    "field too many": (tool(refund_order), {**GOOD, "note": "x"}),
    "field too many, forbidden": (of_schema(Refund), {**GOOD, "note": "x"}),
    "rule of a field": (of_schema(Refund), {"order_id": "1", "amount": -1}),
    "value that is not allowed": (of_schema(Refund), {**GOOD, "why": "lost"}),
    "number where a text is wanted": (of_schema(Refund), {"order_id": 1042, "amount": 1}),
    "validator of a field": (of_schema(Refund), {"order_id": "no 7", "amount": 1}),
    "old class, number in a text": (of_schema(OldRefund), {"order_id": 1, "amount": "1"}),
    "old class": (of_schema(OldRefund), {"order_id": 1, "amount": "x"}),
    "one argument": (Tool("look", print, "Look up."), {"query": "x"}),
    "one argument, given two": (Tool("look", print, "Look up."), {"query": "x", "limit": 3}),
    "no argument": (ping, {"query": "x"}),
    "any JSON for a JSON schema": (of_schema({"type": "object"}), {"query": "x"}),
}


@pytest.mark.parametrize(("declared", "args"), LAX.values(), ids=LAX)
def test_a_tool_that_validates_itself_is_asked_as_it_asks_itself(declared: BaseTool, args: dict[str, Any]) -> None:
    before = repr(args)
    accepted, _ = checked([declared], call(declared.name, args))
    assert repr(args) == before
    assert accepted is runs(declared, args)


def runs(declared: BaseTool, args: dict[str, Any]) -> bool:
    """Tell whether a tool runs with the arguments, without what it does then."""
    tool: Any = declared.model_copy(update={"func": lambda *_, **__: "ran"})
    try:
        return bool(tool.invoke(args) == "ran")
    except (ValidationError, pydantic.v1.ValidationError, ToolException):
        return False


PET = {
    "oneOf": [
        rules(kind={"const": "cat"}, lives={"type": "integer"}) | {"required": ["kind", "lives"]},
        rules(kind={"const": "dog"}, name={"type": "string"}) | {"required": ["kind", "name"]},
    ]
}
SENTENCES: dict[str, tuple[Any, Any, str]] = {
    "type": (rules(a={"type": "number"}), {"a": SENTINEL}, "'a' must be of type number"),
    "types": (rules(a={"type": ["number", "null"]}), {"a": SENTINEL}, "'a' must be of type number or null"),
    "required": ({"required": ["a", "b"]}, {}, "'a' is required; 'b' is required"),
    "enum": (rules(a={"enum": ["x", 1]}), {"a": SENTINEL}, "'a' must be one of \"x\", 1"),
    "const": (rules(a={"const": "x"}), {"a": SENTINEL}, "'a' must be \"x\""),
    "minimum": (rules(a={"minimum": 3}), {"a": -NUMBER}, "'a' must be at least 3"),
    "exclusiveMaximum": (rules(a={"exclusiveMaximum": 3}), {"a": NUMBER}, "'a' must be less than 3"),
    "maxLength": (rules(a={"maxLength": 3}), {"a": SENTINEL}, "'a' must have at most 3 characters"),
    "pattern": (rules(a={"pattern": "^[a-z]+$"}), {"a": SENTINEL}, "'a' must match the pattern \"^[a-z]+$\""),
    "uniqueItems": (rules(a={"uniqueItems": True}), {"a": [SENTINEL] * 2}, "'a' must have no item twice"),
    "nested": (
        rules(a={"items": rules(b={"type": "string"})}), {"a": [{"b": "x"}, {"b": NUMBER}]},
        "'a[1].b' must be of type string",
    ),
    "other fields": (
        {**rules(a={}, b={}), "additionalProperties": False}, {SENTINEL: 1},
        "it must have no other fields than a, b",
    ),
    "free keys": (
        rules(a={"additionalProperties": {"type": "string"}}), {"a": {SENTINEL: NUMBER}},
        "'a.*' must be of type string",
    ),
    "any of simple types": (
        rules(a={"anyOf": [{"type": "string"}, {"type": "null"}]}), {"a": NUMBER}, "'a' must be of type string or null",
    ),
    "any of, the one that is meant": (
        rules(a={"anyOf": [{"type": "null"}, rules(b={"type": "string"})]}), {"a": {"b": NUMBER}},
        "'a.b' must be of type string",
    ),
    "any of, the mark tells": (rules(pet=PET), {"pet": {"kind": "dog"}}, "'pet.name' is required"),
    "any of, no such mark": (
        rules(pet=PET), {"pet": {"kind": SENTINEL, "lives": 1, "name": "x"}}, "'pet.kind' must be \"cat\" or \"dog\"",
    ),
    "any of, of all kinds": (
        rules(a={"anyOf": [{"type": "string"}, rules(k={"const": 1})]}), {"a": {"k": NUMBER}},
        "'a' must fit one of its 2 forms",
    ),
    "one of, and both fit": (
        rules(a={"oneOf": [{}, {}]}), {"a": SENTINEL}, "'a' breaks the rule 'oneOf' of its schema",
    ),
    "false": (rules(a=False), {"a": SENTINEL}, "it holds what must not be given"),
    "rare rules": (rules(a={"not": {}}), {"a": SENTINEL}, "'a' breaks the rule 'not' of its schema"),
    "references": (
        {"$defs": {"A": rules(b={"type": "string"})}, **rules(a={"$ref": "#/$defs/A"})}, {"a": {"b": NUMBER}},
        "'a.b' must be of type string",
    ),
    "its own draft": (DRAFT_4, {"amount": 0}, "'amount' must be at least 0"),
    "many": (
        {"required": [*"abcde"]}, {}, "'a' is required; 'b' is required; 'c' is required; and 2 more",
    ),
    "long lists": (rules(a={"enum": ["x" * 300]}), {"a": 1}, f"'a' must be one of \"{'x' * 199}..."),
    "class: missing and wrong": (
        Refund, {"amount": SENTINEL}, "'order_id' is required; 'amount' must be a valid number",
    ),
    "values that JSON has no form for": (
        rules(a={"enum": [date(2026, 3, 17)]}), {"a": 1}, "'a' must be one of \"2026-03-17\"",
    ),
    "class: rule": (Refund, {"order_id": "1", "amount": -NUMBER}, "'amount' must be greater than 0"),
    "class: allowed values": (Refund, {**GOOD, "why": SENTINEL}, "'why' must be 'late' or 'broken'"),
    "class: other fields": (
        Refund, {**GOOD, SENTINEL: 1}, "it must have no other fields than those of its schema",
    ),
    "class: a validator's words": (Refund, {"order_id": "", "amount": 1}, "'order_id': an order has a number"),
    "class: a validator that quotes": (Refund, {"order_id": f"no {SENTINEL}", "amount": 1}, "'order_id' is not valid"),
    "class: a parser that quotes": (Meeting, {"day": SENTINEL, "people": []}, "'day' must be a valid date or datetime"),
    "class: too long": (
        Meeting, {"day": "2026-03-17", "people": [SENTINEL] * 3}, "'people' must have at most 2 items",
    ),
    "old class": (OldRefund, {"amount": SENTINEL}, "'order_id' is required; 'amount': value is not a valid float"),
}  # fmt: skip


@pytest.mark.parametrize(("schema", "args", "told"), SENTENCES.values(), ids=SENTENCES)
def test_a_sentence_says_where_and_what_and_quotes_nothing(schema: Any, args: dict[str, Any], told: str) -> None:
    declared = spec(schema) if isinstance(schema, dict) else of_schema(schema)
    accepted, why = checked([declared], call("refund", args))
    assert (accepted, why) == (False, f"refund: {told}.")
    assert SENTINEL not in why
    assert str(NUMBER) not in why


class Dog(BaseModel):
    kind: Literal["dog"]
    names: dict[str, int | list[bool]]


class Zoo(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    other: Cat | None = None
    many: int | list[int] = 0


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ({"pet": {"kind": SENTINEL}}, "'pet' must have one of 'cat', 'dog' as its 'kind'"),
        ({"pet": {"kind": "cat"}}, "'pet.lives' is required"),
        ({"pet": {"kind": "cat", "lives": SENTINEL}}, "'pet.lives' must be a valid integer"),
        ({"pet": {"kind": "dog", "names": {SENTINEL: "x"}}}, "'pet.names.*' must be a valid integer or a valid list"),
        ({"pet": {"kind": "cat", "lives": 9}, "many": {"a": 1}}, "'many' must be a valid integer or a valid list"),
    ],
)
def test_the_members_of_unions_and_free_keys_are_no_part_of_a_place(args: dict[str, Any], told: str) -> None:
    _, why = checked([of_schema(Zoo, "zoo")], call("zoo", args))
    assert why == f"zoo: {told}."
    assert SENTINEL not in why


# What hypothesis makes: objects for a schema, then the same with one thing broken.
FIELDS: dict[str, tuple[dict[str, Any], Any, st.SearchStrategy[Any]]] = {
    "text": ({"type": "string"}, str, st.text(max_size=8)),
    "count": ({"type": "integer"}, int, st.integers(-(10**9), 10**9)),
    "share": ({"type": "number"}, float, st.floats(allow_nan=False, allow_infinity=False)),
    "flag": ({"type": "boolean"}, bool, st.booleans()),
    "marks": ({"type": "array", "items": {"type": "integer"}}, list[int], st.lists(st.integers(0, 9), max_size=3)),
    "kind": ({"enum": ["a", "b"]}, Literal["a", "b"], st.sampled_from(["a", "b"])),
    "scores": (
        {"type": "object", "additionalProperties": {"type": "integer"}},
        dict[str, int],
        st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=2),
    ),
}
JSON_FORM = {**rules(**{name: schema for name, (schema, _, _) in FIELDS.items()}), "required": [*FIELDS]}
HINTS: dict[str, Any] = {name: (hint, ...) for name, (_, hint, _) in FIELDS.items()}
CLASS_FORM: Any = create_model("Form", **HINTS)
OBJECTS = st.fixed_dictionaries({name: values for name, (_, _, values) in FIELDS.items()})
BOTH_FORMS = [spec(JSON_FORM, "form"), of_schema(CLASS_FORM, "form")]
WRONG: dict[str, Any] = {
    "text": [SENTINEL],
    "count": SENTINEL,
    "share": {SENTINEL: NUMBER},
    "flag": SENTINEL,
    "marks": [1, SENTINEL],
    "kind": SENTINEL,
    "scores": {SENTINEL: SENTINEL},
}


@settings(max_examples=100, deadline=None)
@given(OBJECTS)
def test_a_valid_object_always_passes(value: dict[str, Any]) -> None:
    for declared, schema in zip(BOTH_FORMS, (JSON_FORM, CLASS_FORM), strict=True):
        assert checked([declared], call("form", value))[0]
        assert matches_schema(CheckInput([], says(parsed=value), schema=schema))["accepted"]


@settings(max_examples=100, deadline=None)
@given(OBJECTS, st.sampled_from([*FIELDS]), st.booleans())
def test_a_dropped_field_and_a_changed_type_always_fail_and_are_never_quoted(
    value: dict[str, Any], name: str, drop: Any
) -> None:
    broken = {field: each for field, each in value.items() if field != name}
    if not drop:
        broken[name] = WRONG[name]
    for declared, schema in zip(BOTH_FORMS, (JSON_FORM, CLASS_FORM), strict=True):
        accepted, why = checked([declared], call("form", broken))
        wanted = matches_schema(CheckInput([], says(parsed=broken), schema=schema))
        assert not accepted
        assert not wanted["accepted"]
        for told in (why, wanted["reason"]):
            assert f"'{name}" in told
            assert SENTINEL not in told
            assert str(NUMBER) not in told
