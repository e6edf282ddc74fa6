"""Tools of a real MCP server in a tiered agent: its answers, errors and images, and no call made twice."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fakes import ask, call_then, in_turn, say, tiers
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.messages.tool import tool_call
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools

from langchain_tiered import Policy, create_tiered_agent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fakes import Script

WHERE = "Where is order 1042?"
CASCADE = Policy(strategy="cascade", floors={"tools": "nano"})


async def asked(calls: Path, policy: Policy = CASCADE, **scripts: Script) -> dict[str, Any]:
    """Ask an agent that has the shop's tools."""
    connection = {"command": sys.executable, "args": [str(Path(__file__).with_name("mcp_shop.py")), str(calls)]}
    client = MultiServerMCPClient({"shop": {**connection, "transport": "stdio"}})  # type: ignore[dict-item]
    async with client.session("shop") as session:
        agent = create_tiered_agent(tiers(**scripts), tools=await load_mcp_tools(session), policy=policy)
        result: dict[str, Any] = await agent.ainvoke(ask(WHERE))
    return result


def told_by(result: dict[str, Any]) -> Sequence[ToolMessage]:
    return [message for message in result["messages"] if isinstance(message, ToolMessage)]


def ran(calls: Path) -> list[str]:
    return calls.read_text(encoding="utf-8").splitlines() if calls.exists() else []


async def test_a_tool_of_an_mcp_server_runs_in_a_tiers_loop(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    result = await asked(calls, nano=call_then("find_order", {"order": 1042}, say("In Lyon.")), mini=say("m"))
    assert ran(calls) == ["find_order 1042"]
    assert "Order 1042 is in Lyon." in str(told_by(result)[0].content)
    assert (result["messages"][-1].text, result["route"]["tier"]) == ("In Lyon.", "nano")


async def test_no_mcp_tool_runs_twice_where_the_answer_goes_up(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    nano = call_then("find_order", {"order": 1042}, say("In Ly", "length"))
    result = await asked(calls, nano=nano, mini=say("In Lyon."))
    assert ran(calls) == ["find_order 1042"]
    assert (result["messages"][-1].text, result["route"]["escalated_from"]) == ("In Lyon.", "nano")
    assert len(told_by(result)) == 1


async def test_no_mcp_tool_runs_on_arguments_that_its_schema_forbids(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    wrong = tool_call(name="find_order", args={"order": "the last one"}, id="call_wrong")

    def nano(_: Any) -> AIMessage:
        return AIMessage("", tool_calls=[wrong])

    mini = call_then("find_order", {"order": 1042}, say("In Lyon."))
    result = await asked(calls, nano=nano, mini=mini)
    assert ran(calls) == ["find_order 1042"]
    assert result["route"]["tier"] == "mini"


async def test_an_error_of_an_mcp_tool_is_told_to_the_model_and_raises_nothing(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    seen: list[str] = []

    def nano(messages: Any) -> AIMessage:
        seen.extend(str(message.content) for message in messages if isinstance(message, ToolMessage))
        return call_then("track_parcel", {"order": 1042}, say("There is no parcel."))(messages)

    result = await asked(calls, nano=nano, mini=say("m"))
    assert "No parcel belongs to order 1042." in seen[0]
    assert told_by(result)[0].status == "error"
    assert result["messages"][-1].text == "There is no parcel."
    assert ran(calls) == ["track_parcel 1042"]


async def test_an_image_of_an_mcp_tool_reaches_the_next_tier(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    seen: list[Any] = []

    def mini(messages: Any) -> AIMessage:
        seen.extend(message for message in messages if isinstance(message, ToolMessage))
        return say("A label.")(messages)

    nano = in_turn(call_then("show_label", {"order": 1042}, say("")), say("", "length"))
    result = await asked(calls, nano=nano, mini=mini)
    blocks = seen[0].content_blocks
    assert [block["type"] for block in blocks] == ["text", "image"]
    assert result["messages"][-1].text == "A label."
    assert ran(calls) == ["show_label 1042"]


@pytest.mark.parametrize("name", ["find_order", "show_label"])
async def test_a_tier_below_the_tools_hands_up_to_one_that_has_them(tmp_path: Path, name: str) -> None:
    calls = tmp_path / "calls"
    nano = call_then("hand_up", {"reason": "It needs the shop."}, say(""))
    mini = call_then(name, {"order": 1042}, say("Found."))
    policy = Policy(strategy="cascade", floors={"tools": "mini"})
    result = await asked(calls, policy, nano=nano, mini=mini)
    assert ran(calls) == [f"{name} 1042"]
    assert result["messages"][-1].text == "Found."
