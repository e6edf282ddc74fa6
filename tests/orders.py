"""What the tests of the middleware share: agents with ours, and with LangChain's, in any order."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Any

from fakes import ScriptedModel, in_turn, model, say
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.messages.tool import tool_call
from langchain_core.tools import BaseTool, tool
from langgraph.types import Command

from langchain_tiered.middleware import EscalationMiddleware, TierRouterMiddleware

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from langchain.agents.middleware import AgentMiddleware

    from langchain_tiered import Policy, Tier

CHECKED = ("E", "RE", "ER")
"""Escalation alone, and with the router inside and outside of it."""

ROUTED = ("R", "RE", "ER")
"""The router alone, and with escalation inside and outside of it."""


class RateLimitError(Exception):
    """Looks like a provider's: recognised by its status."""

    status_code = 429


class AuthenticationError(Exception):
    """Looks like a provider's: a caller's mistake."""

    status_code = 401


def among(others: str, ours: Iterable[str] = ("R", "E", "RE")) -> list[str]:
    """Return all orders of LangChain's middleware, a letter each, with the router, with escalation, and with both."""
    return ["".join(order) for parts in ours for order in permutations(parts + others)]


def agent(
    order: str,
    scripted: Sequence[Tier],
    others: dict[str, AgentMiddleware[Any, Any]] | None = None,
    *,
    checks: Any = None,
    policy: Policy | None = None,
    own: ScriptedModel | None = None,
    **options: Any,
) -> Any:
    """Make an agent with middleware in an order: `R` routes, `E` escalates, the other letters are in `others`.

    Its own model is that of the first tier where escalation stands alone, else one that must not be asked.
    """
    ours = {
        "R": TierRouterMiddleware(scripted, policy=policy),
        "E": EscalationMiddleware(scripted, checks=checks, policy=policy),
    }
    if own is None:
        own = model("own", say("own")) if "R" in order else scripted[0].model  # type: ignore[assignment]
    stack: Any = [{**ours, **(others or {})}[letter] for letter in order]
    return create_agent(own, middleware=stack, **options)  # type: ignore[arg-type]


def booked(result: dict[str, Any] | Sequence[Any]) -> list[tuple[str | None, str]]:
    """Return tier and outcome of each ledger entry."""
    entries = result["ledger"] if isinstance(result, dict) else result
    return [(entry["tier"], entry["outcome"]) for entry in entries]


def calls(scripted: Sequence[Tier]) -> list[int]:
    """Return how often each tier's model was called."""
    return [tier.model.calls for tier in scripted]  # type: ignore[union-attr]


def refund_tool(refunds: list[int]) -> BaseTool:
    """Return a tool that writes each refund down."""

    @tool
    def refund(order: int) -> str:
        """Refund an order."""
        refunds.append(order)
        return f"Order {order} is refunded."

    return refund


def down(_: Any) -> AIMessage:
    raise ConnectionError("down")


@tool
def look(order: int) -> str:
    """Look an order up."""
    return "late"


def refund_call(order: Any, call_id: str) -> Any:
    return lambda _: AIMessage("", tool_calls=[tool_call(name="refund", args={"order": order}, id=call_id)])


def wrongly(order: int) -> Any:
    """Call the tool wrongly twice, then rightly."""
    return in_turn(refund_call("x", "1"), refund_call("y", "2"), refund_call(order, "3"), say("It is refunded."))


def models(result: Any) -> list[str]:
    return [f"{entry['model']} {entry['outcome']}" for entry in result["ledger"]]


def is_inside(order: str, letter: str, of: str) -> bool:
    return of in order and order.index(letter) > order.index(of)


def resumed(*decisions: Any) -> Any:
    return Command(resume={"decisions": list(decisions)})
