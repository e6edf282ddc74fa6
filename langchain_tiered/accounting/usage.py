"""What calls used: tokens, and a provider's own tools, in every form in which LangChain tells them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from langchain_core.messages import BaseMessage

_SERVER_CALLS = frozenset({"server_tool_call", "server_tool_use"})
_PROCESSING = ("flex_", "priority_")
_UNPRICED_CALLS = frozenset(
    {"code_interpreter", "code_execution", "image_generation"}
    | {"bash_code_execution", "text_editor_code_execution"}  # Anthropic's, by the hour of their container
)


@dataclass(frozen=True)
class Tokens:
    """What one call used. A part is counted in its whole as well; `None` is what was not reported."""

    input_tokens: int | None = None
    """All input tokens, cached ones included."""

    output_tokens: int | None = None
    """All output tokens, reasoning included."""

    cached_tokens: int | None = None
    """The part of the input read from the provider's prompt cache."""

    reasoning_tokens: int | None = None
    """The part of the output spent on reasoning."""

    written_tokens: int | None = None
    """The part of the input written to the provider's prompt cache, for which some charge more."""

    written_1h_tokens: int | None = None
    """The part of `written_tokens` kept for an hour, for which Anthropic charges more still."""

    input_audio_tokens: int | None = None
    """The part of the input that is audio."""

    output_audio_tokens: int | None = None
    """The part of the output that is audio."""


@dataclass(frozen=True)
class ProviderCalls:
    """What a provider's own tools did in one call that it charges for beside the tokens."""

    web_searches: int = 0
    """Web searches. Pages opened and words looked up on them are charged as tokens alone."""

    file_searches: int = 0
    """Searches in stored files."""

    unpriced: tuple[str, ...] = ()
    """Tools whose charge no published price covers, sorted: what the call cost cannot be known."""


_NO_CALLS = ProviderCalls()


def provider_calls(message: BaseMessage | None) -> ProviderCalls:
    """Read off a message which of its provider's own tools were used, in every form in which LangChain tells it.

    OpenAI charges for each `search` of a `web_search_call` (OpenAI, web search guide, 2026). Anthropic tells the number
    of searches in its usage; where that is lost, in a stream, the calls are counted. Google tells its queries beside
    the answer, and charges for each of them from Gemini 3 on, before for each answer that rests on any (Google, Gemini
    API pricing, 2026).
    """
    if message is None:
        return _NO_CALLS
    metadata: dict[str, Any] = message.response_metadata
    tells = "usage" in metadata or "grounding_metadata" in metadata or "tool_outputs" in message.additional_kwargs
    if isinstance(message.content, str) and not tells:
        return _NO_CALLS  # almost every answer
    used, told = Counter(_used_tools(message)), metadata.get("usage") or {}
    searches = (told.get("server_tool_use") or {}).get("web_search_requests") if isinstance(told, dict) else None
    if searches is None and (queries := _google_queries(message)):
        searches = queries
    return ProviderCalls(
        web_searches=searches if isinstance(searches, int) else used["web_search"],
        file_searches=used["file_search"],
        unpriced=tuple(sorted(used.keys() & _UNPRICED_CALLS)),
    )


def _google_queries(message: BaseMessage | None) -> int:
    """Return how many searches of Google's an answer is charged for."""
    told: dict[str, Any] = getattr(message, "response_metadata", {})
    grounding = told.get("grounding_metadata")
    queries = grounding.get("web_search_queries") if isinstance(grounding, dict) else None
    is_by_answer = str(told.get("model_name")).removeprefix("models/").startswith(("gemini-1", "gemini-2"))
    return min(len(queries or ()), 1) if is_by_answer else len(queries or ())


def tokens_of(usage: Mapping[str, Any] | None) -> Tokens:
    """Read the tokens off a message's `usage_metadata`, or off the `token_usage` of a provider of OpenAI's kind.

    With flex or priority processing LangChain renames the details (`flex_reasoning`, `priority_cache_read`): they are
    read under either name. Every call has input, so a usage of zeros is one that nobody filled in: unknown.
    """
    usage = usage or {}
    read = _details(usage, "input_token_details", "prompt_tokens_details", "input_tokens_details")
    made = _details(usage, "output_token_details", "completion_tokens_details", "output_tokens_details")
    input_tokens = _count(usage, "input_tokens", "prompt_tokens")
    output_tokens = _count(usage, "output_tokens", "completion_tokens")
    if not input_tokens and not output_tokens:
        return Tokens()
    hour = _count(read, "ephemeral_1h_input_tokens")
    # Anthropic's integration tells either the sum or the parts, and leaves the sum at zero when it tells the parts.
    parts = (hour or 0) + (_count(read, "ephemeral_5m_input_tokens") or 0)
    return Tokens(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_tokens=_count(read, "cache_read", "cached_tokens"),
        reasoning_tokens=_count(made, "reasoning", "reasoning_tokens"),
        written_tokens=parts or _count(read, "cache_creation", "cache_write_tokens"),
        written_1h_tokens=hour,
        input_audio_tokens=_count(read, "audio", "audio_tokens"),
        output_audio_tokens=_count(made, "audio", "audio_tokens"),
    )


def _details(usage: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """Return the parts of a usage under the names that they have with standard processing."""
    for name in names:
        if parts := usage.get(name):
            break
    else:
        return {}
    for name in parts:
        if name.startswith(_PROCESSING):
            return {name.removeprefix("flex_").removeprefix("priority_"): count for name, count in parts.items()}
    found: Mapping[str, Any] = parts
    return found


def _count(counts: Mapping[str, Any], *names: str) -> int | None:
    """Return the first number of tokens found under one of `names`."""
    for name in names:
        if isinstance(count := counts.get(name), int):
            return count
    return None


def _used_tools(message: BaseMessage) -> Iterator[str]:
    """Yield the name of each provider tool that was called, as often as it was."""
    content = message.content if isinstance(message.content, list) else []
    for block in (*content, *message.additional_kwargs.get("tool_outputs", ())):  # the latter in LangChain's older form
        if not isinstance(block, dict):
            continue
        kind, action = str(block.get("type")), block.get("action") or block.get("args") or {}
        name = str(block.get("name")) if kind in _SERVER_CALLS else kind.removesuffix("_call")
        is_search = not isinstance(action, dict) or action.get("type", "search") == "search"
        if name != "web_search" or is_search:
            yield name
