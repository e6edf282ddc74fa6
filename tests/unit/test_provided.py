"""Tools that a provider runs go to its own tiers; what is unknown may be tried."""

from __future__ import annotations

import pytest
from fakes import LABEL, ask, model, say

from langchain_tiered import Tier, TieredChatModel, TierRouter, create_tiered_agent
from langchain_tiered.errors import ConfigurationError, NoTierFitsError
from langchain_tiered.types.provided import runs

CLAUDE = {"type": "web_search_20250305", "name": "web_search"}
GEMINI: dict[str, object] = {"google_search": {}}
OPENAI = {"type": "web_search"}


@pytest.mark.parametrize(
    ("tool", "owners"),
    [
        ("web_search_20250305", {"anthropic", "amazon_bedrock"}),
        ("computer_20250124", {"anthropic"}),
        ("google_search", {"google_genai", "google_vertexai"}),
        ("url_context", {"google_genai"}),
        ("web_search", {"openai", "azure", "xai"}),
        ("web_search_preview_2025_03_11", {"openai"}),
        ("file_search", {"openai"}),
        ("computer_use_preview", {"openai"}),
        ("code_interpreter", {"openai"}),
    ],
)
def test_a_tool_runs_where_its_provider_is(tool: str, owners: set[str]) -> None:
    known = {"openai", "anthropic", "google_genai", "mistral", "ollama"} | owners
    assert {provider for provider in known if runs(provider, tool)} >= owners
    assert {provider for provider in ("anthropic", "google_genai", "openai") if runs(provider, tool)} <= owners
    assert not runs("ollama", tool)


@pytest.mark.parametrize(("provider", "tool"), [(None, "web_search"), ("somebody", "web_search"), ("openai", "newest")])
def test_what_is_unknown_may_be_tried(provider: str | None, tool: str) -> None:
    assert runs(provider, tool)


def three() -> list[Tier]:
    """Tiers of three vendors, none of which is called."""
    named = {"nano": "ollama:qwen3", "mini": "anthropic:claude-haiku-4-5", "flagship": "google_genai:gemini-2.5-pro"}
    return [Tier(name, spec, criteria=name) for name, spec in named.items()]


@pytest.mark.parametrize(("tool", "tier"), [(CLAUDE, "mini"), (GEMINI, "flagship")])
def test_a_request_with_such_a_tool_goes_where_it_runs(tool: dict[str, object], tier: str) -> None:
    router = TierRouter(three(), classifier=None)
    assert router.invoke("Search the web for the newest release.", tools=[tool])["tier"] == tier


def test_where_no_tier_runs_it_the_error_names_it_and_each_provider() -> None:
    router = TierRouter(three()[:2], classifier=None)
    with pytest.raises(NoTierFitsError, match="'google_search', which anthropic does not run"):
        router.invoke("Search the web for the newest release.", tools=[GEMINI])


def test_a_chat_model_binds_it_on_no_other_vendors_model() -> None:
    asked = TieredChatModel(three()[:1], classifier=None).bind_tools([CLAUDE])
    with pytest.raises(NoTierFitsError, match="which ollama does not run"):
        asked.invoke("Search the web for the newest release.")


def test_a_tier_that_is_given_no_tools_need_not_run_them() -> None:
    found = [Tier("nano", model("nano", say("A label.")), criteria="x"), *three()[1:]]
    agent = create_tiered_agent(found, tools=[CLAUDE])
    assert agent.invoke(ask(LABEL))["route"]["tier"] == "nano"


def test_a_tool_that_no_tier_runs_is_a_mistake_that_is_told_when_the_agent_is_made() -> None:
    with pytest.raises(ConfigurationError, match=r"'google_search'.*mini: anthropic"):
        create_tiered_agent(three()[:2], tools=[GEMINI])
