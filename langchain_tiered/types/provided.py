"""Which providers run which of the tools that stand beside an app's own, such as a web search. Plain names alone."""

from __future__ import annotations

import re

_OPENAI = frozenset({"openai", "azure", "azure_openai", "azure_ai", "xai"})
_ANTHROPIC = frozenset({"anthropic", "anthropic_bedrock", "amazon_bedrock", "bedrock", "google_anthropic_vertex"})
_GOOGLE = frozenset({"google_genai", "google_vertexai"})
_OTHERS = frozenset({"mistral", "mistralai", "ollama"})

_KNOWN = _OPENAI | _ANTHROPIC | _GOOGLE | _OTHERS
"""Providers of which it is known what they run, by LangChain's names."""

_FORMS: tuple[tuple[re.Pattern[str], frozenset[str]], ...] = (
    (re.compile(r"\w+_20\d{6}"), _ANTHROPIC),  # `web_search_20250305`, `computer_20250124`
    (re.compile(r"google_\w+|url_context|retrieval|code_execution"), _GOOGLE),  # as the only key of a dict
    (
        re.compile(
            r"web_search(?:_preview\w*)?|file_search|code_interpreter|computer(?:_use_preview)?|image_generation|mcp"
            r"|local_shell|shell|apply_patch|tool_search"
        ),
        _OPENAI,
    ),
)
"""The forms of their tools (OpenAI, Anthropic and Google, tool guides, 2026)."""


def runs(provider: str | None, tool: str) -> bool:
    """Tell whether a provider may run a tool, by its type; what is unknown may be tried."""
    owners = next((owners for form, owners in _FORMS if form.fullmatch(tool)), None)
    return owners is None or provider is None or provider not in _KNOWN or provider in owners
