"""What a call reads out of messages: those that it is given, and those that a tier's model gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import ChatGeneration, ChatResult


def whole(generation: ChatGeneration, result: ChatResult) -> ChatGeneration:
    """Return a generation whose message has all metadata, as LangChain puts them there; the given one may be cached."""
    output = (result.llm_output or {}) if len(result.generations) == 1 else {}
    message = generation.message
    metadata = {**output, **(generation.generation_info or {}), **message.response_metadata}
    copied = message.model_copy(update={"response_metadata": metadata})
    return generation.model_copy(update={"message": copied})


def asking(messages: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
    """Return the messages as the router reads them: a prompt without a user's turn asks by its last message."""
    if not messages or any(isinstance(message, HumanMessage) for message in messages):
        return messages
    return [*messages[:-1], HumanMessage(messages[-1].content)]


def since(messages: Sequence[BaseMessage], tier: str) -> int:
    """Return where the tier's work begins: behind the last user's turn, and behind what another tier has done in it."""
    place = len(messages)
    while place and isinstance(messages[place - 1], (AIMessage, ToolMessage)):
        message = messages[place - 1]
        route = message.response_metadata.get("route") if isinstance(message, AIMessage) else None
        if isinstance(route, dict) and route.get("tier") != tier:
            return place
        place -= 1
    return place
