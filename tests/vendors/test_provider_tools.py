"""Tools that the provider runs go to the tiers with tools, nobody else runs or judges them, and they are priced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fakes import LABEL, ask, say, tiers
from langchain_core.messages import AIMessage, ToolMessage
from vendors.wires import CACHED, INPUT, OUTPUT, WIRES, Said, VendorServer

from langchain_tiered import Tier, create_tiered_agent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tiered.types import LedgerEntry

NEWS = "Search the web for the latest news about LangChain, and tell me about it."

SEARCHED = (
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "LangChain"}},
    {
        "type": "web_search_tool_result",
        "tool_use_id": "srvtoolu_1",
        "content": [
            {
                "type": "web_search_result",
                "url": "https://example.org",
                "title": "News",
                "encrypted_content": "x",
                "page_age": None,
            }
        ],
    },
)
"""What Anthropic sends of a search that it has run itself."""


def expect_untouched(result: dict[str, Any]) -> LedgerEntry:
    """Return the one call that was paid: nothing was run by us, and nothing repeated."""
    assert not any(isinstance(message, ToolMessage) for message in result["messages"])
    assert result["messages"][-1].text.startswith("It has")
    (entry,) = [entry for entry in result["ledger"] if entry["role"] == "answer"]
    assert entry["outcome"] == "accepted"
    assert entry["tier"] == "mini"
    return entry  # type: ignore[no-any-return]


def agent_over(vendor: str, tool: dict[str, Any]) -> Any:
    nano, mini = (Tier(name, WIRES[vendor].spec, criteria=f"Work for {name}.") for name in ("nano", "mini"))
    return create_tiered_agent([nano, mini], tools=[tool])


def test_anthropics_search_is_priced_by_the_number_that_it_tells(run: Any, vendors: VendorServer) -> None:
    vendors.will(
        "anthropic", Said("It has news.", blocks=SEARCHED, usage={"server_tool_use": {"web_search_requests": 2}})
    )
    agent = agent_over("anthropic", {"type": "web_search_20250305", "name": "web_search"})
    entry = expect_untouched(run(agent, ask(NEWS)))
    assert entry["tools_usd"] == pytest.approx(2 * 10 / 1000)
    tokens_usd = ((INPUT - CACHED) * 1.0 + CACHED * 0.1 + OUTPUT * 5.0) / 1e6
    assert entry["cost_usd"] == pytest.approx(tokens_usd + entry["tools_usd"])
    ((_, body),) = vendors.asked
    assert [tool["name"] for tool in body["tools"]] == ["web_search"]


def test_anthropics_search_is_priced_in_a_stream_too(stream: Any, vendors: VendorServer) -> None:
    vendors.will("anthropic", Said("It has news.", blocks=SEARCHED))
    agent = agent_over("anthropic", {"type": "web_search_20250305", "name": "web_search"})
    parts = stream(agent, ask(NEWS), stream_mode=["messages", "values"])
    entry = expect_untouched(parts[-1][1])
    assert entry["tools_usd"] == pytest.approx(10 / 1000)


def test_googles_search_is_priced_by_the_answer_that_rests_on_it(run: Any, vendors: VendorServer) -> None:
    grounding = {"groundingMetadata": {"webSearchQueries": ["langchain", "langchain news"]}}
    vendors.will("google_genai", Said("It has news.", beside=grounding))
    entry = expect_untouched(run(agent_over("google_genai", {"google_search": {}}), ask(NEWS)))
    assert entry["tools_usd"] == pytest.approx(35 / 1000)


def of_openai(*blocks: dict[str, Any]) -> Any:
    """Answer with blocks of the Responses API before the words."""

    def script(_: Sequence[BaseMessage]) -> AIMessage:
        return AIMessage([*blocks, {"type": "text", "text": "It has."}], response_metadata={"finish_reason": "stop"})

    return script


@pytest.mark.parametrize(
    ("tool", "block", "usd"),
    [
        (
            {"type": "web_search"},
            {
                "type": "web_search_call",
                "id": "ws_1",
                "status": "completed",
                "action": {"type": "search", "query": "x"},
            },
            10 / 1000,
        ),
        (
            {"type": "file_search", "vector_store_ids": ["vs_1"]},
            {"type": "file_search_call", "id": "fs_1", "status": "completed", "queries": ["x"]},
            2.5 / 1000,
        ),
        (
            {"type": "computer_use_preview", "display_width": 1, "display_height": 1, "environment": "browser"},
            {"type": "computer_call", "id": "cu_1", "call_id": "c", "action": {"type": "click", "x": 1, "y": 1}},
            None,
        ),
    ],
    ids=["web search", "file search", "computer use"],
)
def test_openais_tools_are_bound_to_the_tiers_with_tools_and_priced(
    run: Any, tool: dict[str, Any], block: dict[str, Any], usd: float | None
) -> None:
    scripted = tiers(nano=say("n"), mini=of_openai(block), flagship=say("f"))
    agent = create_tiered_agent(scripted, tools=[tool])
    request = "Click the Save button in the screenshot of the settings window." if usd is None else NEWS
    entry = expect_untouched(run(agent, ask(request)))
    assert entry.get("tools_usd") == (None if usd is None else pytest.approx(usd))
    nano, mini, _ = (each.model for each in scripted)
    assert mini.bound == [[tool]]  # type: ignore[union-attr]
    run(agent, ask(LABEL))
    assert str(tool["type"]) not in str(nano.bound)  # type: ignore[union-attr]
