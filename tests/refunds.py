"""What the tests of tool calls and structured values share: a refund, declared in several ways, and calls for it."""

from __future__ import annotations

from typing import Any, Literal

import pydantic.v1
from langchain_core.messages import AIMessage
from langchain_core.messages.tool import tool_call
from langchain_core.tools import BaseTool, StructuredTool, tool
from pydantic import BaseModel, ConfigDict, Field, field_validator
from typing_extensions import TypedDict

from langchain_tiered.cascade.checks import CheckInput
from langchain_tiered.cascade.validity import valid_tool_calls

SENTINEL = "Zq7xkVb"
"""What a model gives as an argument, and what no sentence may hold."""

NUMBER = 7_390_417
"""The same as a number."""


class Refund(BaseModel):
    """Refund an order."""

    model_config = ConfigDict(extra="forbid")

    order_id: str
    amount: float = Field(gt=0)
    why: Literal["late", "broken"] = "late"

    @field_validator("order_id")
    @classmethod
    def _known(cls, order_id: str) -> str:
        if order_id.startswith("no "):
            raise ValueError(f"there is no order {order_id[3:]}")
        if order_id == "":
            raise ValueError("an order has a number")
        return order_id


class OldRefund(pydantic.v1.BaseModel):
    """Refund an order."""

    order_id: str
    amount: float


class TypedRefund(TypedDict):
    """Refund an order."""

    order_id: str
    amount: float


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


SCHEMA = {
    "type": "object",
    "properties": {"order_id": {"type": "string"}, "amount": {"type": "number"}},
    "required": ["order_id", "amount"],
}


def refund_order(order_id: str, amount: float) -> str:
    """Refund an order."""
    return f"{order_id} {amount}"


@tool
def ping() -> str:
    """Ping."""
    return "pong"


def of_schema(schema: Any, name: str = "refund") -> BaseTool:
    return StructuredTool(name=name, description="Refund an order.", args_schema=schema, func=print)


def spec(parameters: Any, name: str = "refund") -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def call(name: str, args: dict[str, Any], call_id: str | None = "call_1") -> Any:
    return tool_call(name=name, args=args, id=call_id)


def says(*calls: Any, broken: Any = (), content: Any = "", **more: Any) -> AIMessage:
    return AIMessage(content, tool_calls=list(calls), invalid_tool_calls=list(broken), additional_kwargs=more)


def checked(tools: Any, *calls: Any, broken: Any = (), schema: Any = None) -> tuple[bool, str]:
    """Return what `valid_tool_calls` says, after a look at the form of its verdict."""
    verdict = valid_tool_calls(CheckInput([], says(*calls, broken=broken), tools=tools, schema=schema))
    assert verdict["check"] == "valid_tool_calls"
    assert verdict["score"] is None
    assert verdict["reason"].endswith(".")
    return verdict["accepted"], verdict["reason"]


GOOD = {"order_id": "1042", "amount": 12.5}


def rules(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields}
