"""What a call reads out of messages: those that it is given, and those that a tier's model gives."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage


def whole(result: ChatResult) -> ChatResult:
    """Return a result whose messages have all metadata, as LangChain puts them there; the given one may be cached."""
    output = (result.llm_output or {}) if len(result.generations) == 1 else {}
    generations = []
    for each in result.generations:
        metadata = {**output, **(each.generation_info or {}), **each.message.response_metadata}
        generation = copy(each)
        generation.message = each.message.model_copy(update={"response_metadata": metadata})
        generations.append(generation)
    return ChatResult(generations=generations, llm_output=result.llm_output)


def asking(messages: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
    """Return the messages as the router reads them: a prompt without a user's turn asks by its last message."""
    for message in reversed(messages):
        if isinstance(message, HumanMessage):
            return messages
    return [*messages[:-1], HumanMessage(messages[-1].content)] if messages else messages


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
