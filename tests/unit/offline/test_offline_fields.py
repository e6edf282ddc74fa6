"""Whatever the schema and whatever the text, the filled value fits the schema's types."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage, SystemMessage
from pydantic import BaseModel, Field, TypeAdapter

from langchain_tiered.offline import OfflineChatModel

TEXT = (
    "Customer: Ada Byron\nOrder ORD-4471, placed on 3 March 2026\nContact ada@example.com, +44 20 7946 0000\n"
    "- 2 lamps, 19.50 USD\n- 1 desk, 120.00 USD\nTotal 139.50 USD. It is urgent. See https://example.com/o/4471"
)


def fill(schema: dict[str, Any], text: str, *, meanings: str = "") -> Any:
    """Fill a schema as a provider's structured output does, with the text for a document."""
    form = {"type": "json_schema", "json_schema": {"name": "Form", "schema": schema}}
    thread = [SystemMessage(meanings), HumanMessage(f"<document>{text}</document>")]
    return json.loads(OfflineChatModel().bind(response_format=form).invoke(thread).text)


class Line(BaseModel):
    amount: float
    quantity: int = 1


class Order(BaseModel):
    customer: str
    order_id: str
    placed_date: str = Field(json_schema_extra={"format": "date"})
    email: str
    phone: str
    url: str
    total: float
    urgent: bool
    lines: list[Line]
    currency: Literal["USD", "EUR"]
    discount: float | None = None
    parent: Order | None = None


def test_fields_are_found_by_name_shape_and_label() -> None:
    found = Order.model_validate(fill(Order.model_json_schema(), TEXT))
    assert (found.customer, found.order_id, found.placed_date) == ("Ada Byron", "ORD-4471", "2026-03-03")
    assert (found.email, found.phone) == ("ada@example.com", "+44 20 7946 0000")
    assert found.url == "https://example.com/o/4471"
    assert found.total == 139.5
    assert found.urgent
    assert [line.amount for line in found.lines] == [19.5, 120.0]
    assert found.currency == "USD"
    assert found.discount is None


@pytest.mark.parametrize(
    ("said", "iso"),
    [
        ("2026-02-17", "2026-02-17"),
        ("February 17, 2026", "2026-02-17"),
        ("17 Feb 2026", "2026-02-17"),
    ],
)
def test_dates_are_written_as_the_schema_wants(said: str, iso: str) -> None:
    schema = {"type": "object", "properties": {"date": {"type": "string", "format": "date"}}, "required": ["date"]}
    assert fill(schema, f"It was sent on {said}.") == {"date": iso}


def test_options_are_chosen_by_what_the_instructions_say_of_them() -> None:
    schema = {"type": "object", "properties": {"team": {"enum": ["a", "b"]}}, "required": ["team"]}
    meanings = "Teams:\n- a: invoices and payments\n- b: parcels and couriers"
    assert fill(schema, "The courier lost two parcels.", meanings=meanings) == {"team": "b"}
    assert fill(schema, "The payments are missing.", meanings=meanings) == {"team": "a"}


class Everything(BaseModel):
    number: int
    share: float
    flag: bool
    kind: Literal["one", "two"]
    maybe: int | None
    names: list[str]
    numbers: list[int]
    inner: Line
    either: int | str
    reason: str
    summary: str
    query: str
    title: str
    children: list[Everything] = []


ADAPTER = TypeAdapter(Everything)


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.text(), st.text("0123456789,.-$%/ \n:abcJanuary"), st.sampled_from(["", TEXT, "NaN", "1e999", "-" * 50])
    )
)
def test_any_text_fills_a_schema_with_values_of_its_types(text: str) -> None:
    value: Any = fill(Everything.model_json_schema(), text)
    assert ADAPTER.validate_python(value)


class Email(BaseModel):
    kind: Literal["email"]
    email: str


class Payment(BaseModel):
    kind: Literal["payment"]
    total: float


class Case(BaseModel):
    cause: Email | Payment
    item: Payment | Email = Field(discriminator="kind")
    topics: list[Literal["billing", "delivery"]]
    owner: str | None
    either: int | str
    urgent: bool


def test_unions_enumerations_and_nullable_fields_validate() -> None:
    found = Case.model_validate(fill(Case.model_json_schema(), "The delivery for ada@example.com is not urgent."))
    assert isinstance(found.cause, Email)
    assert found.topics == ["delivery"]
    assert found.owner is None
    assert not found.urgent


def test_a_choice_is_explained_by_the_words_that_it_shares() -> None:
    ticket = {
        "type": "object",
        "properties": {
            "reason": {"type": "string"},
            "queue": {"enum": ["billing", "delivery", "account"]},
            "confidence": {"type": "number"},
        },
        "required": ["reason", "queue", "confidence"],
    }
    alike = fill(ticket, "The deliveries are late.", meanings="- delivery: parcels, couriers, late deliveries")
    assert alike["reason"] == "Reads most like 'delivery': deliveries, late."
    assert alike["confidence"] > 0.5
    nothing = fill(ticket, "Hm.")
    assert nothing == {
        "reason": "No word tells what it is, and 'billing' is a guess.",
        "queue": "billing",
        "confidence": 0.33,
    }
