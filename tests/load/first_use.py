"""What a fresh process does for the first time, on its event loop: each case is made before the loop is watched."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fakes import LABEL, REFUND, ask, call_then, say, tiers
from langchain_core.tools import StructuredTool

from langchain_tiered import Policy, Tier, create_tiered_agent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Case = Callable[[], Awaitable[Any]]

ORDER = {"type": "object", "properties": {"order": {"type": "integer"}}, "required": ["order"]}


def model_by_name() -> Case:
    """Build a provider's model, whose call then finds nobody at the other end."""
    agent = create_tiered_agent([Tier("nano", "openai:gpt-5.4-nano", criteria="")])

    async def case() -> None:
        with suppress(Exception):
            await agent.ainvoke(ask(LABEL))

    return case


def prices() -> Case:
    """Price a call."""
    agent = create_tiered_agent(tiers(nano=say("bug"), mini=say("x")))

    async def case() -> None:
        result = await agent.ainvoke(ask(LABEL))
        assert result["ledger"][0]["cost_usd"]

    return case


def prices_of_tiers() -> Case:
    """Price the tiers, for a policy that weighs what each would cost in this turn."""
    agent = create_tiered_agent(tiers(nano=say("bug"), mini=say("x")), policy=Policy(reroute="turn"))

    async def case() -> None:
        assert (await agent.ainvoke(ask(LABEL)))["messages"][-1].text == "bug"

    return case


def schema_of_a_tool() -> Case:
    """Hold a tool's arguments against a plain JSON schema, such as a tool of MCP has."""
    refund = StructuredTool.from_function(
        lambda order: f"Refunded {order}.", name="refund", description="Refund an order.", args_schema=ORDER
    )
    scripted = tiers(nano=say("x"), mini=call_then("refund", {"order": 7}, say("done")))
    agent = create_tiered_agent(scripted, tools=[refund])

    async def case() -> None:
        assert (await agent.ainvoke(ask(REFUND)))["messages"][-1].text == "done"

    return case


CASES: dict[str, Callable[[], Case]] = {
    "model by name": model_by_name,
    "prices": prices,
    "prices of tiers": prices_of_tiers,
    "JSON schema of a tool": schema_of_a_tool,
}
