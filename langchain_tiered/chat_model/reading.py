"""What a call reads out of messages: those that it is given, and those that a tier's model gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage


def whole(result: ChatResult) -> ChatResult:
    """Return a result with all metadata on its messages, as LangChain puts them there.

    All of it is new: a cache may keep what a model gave, and a fake may give it again.
    """
    output = (result.llm_output or {}) if len(result.generations) == 1 else {}
    generations = []
    for each in result.generations:
        metadata = {**output, **(each.generation_info or {}), **each.message.response_metadata}
        message = each.message.model_copy(update={"response_metadata": metadata})
        generations.append(each.model_copy(update={"message": message}))
    return ChatResult(generations=generations, llm_output=result.llm_output)


_USED = {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens", "total_tokens": "total_tokens"}
"""What `token_usage` calls what stands in the usage of a message."""


def with_output(result: ChatResult) -> ChatResult:
    """Return a result with its `model_name` and `token_usage` beside the messages too, whatever the provider tells."""
    output, message = result.llm_output or {}, result.generations[0].message
    name = message.response_metadata.get("model_name")
    if "token_usage" in output and output.get("model_name") == name:
        return result
    if "token_usage" not in output:
        usage: Any = getattr(message, "usage_metadata", None) or {}
        used = {} if usage.get("total_cost") == 0 else {_USED[name]: usage[name] for name in _USED if name in usage}
        output = {**output, "token_usage": used}  # LangChain marks by that cost what comes out of a cache
    result.llm_output = {**output, "model_name": name}
    return result


def added(left: Any, right: Any) -> Any:
    """Add up what was used, with its details."""
    if isinstance(left, dict) and isinstance(right, dict):
        return {name: added(left.get(name), right.get(name)) for name in {**left, **right}}
    return right if left is None else left if right is None else left + right


WORDLESS = "(no words)"
"""What a turn without a word asks: it moves no rule."""


def asking(messages: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
    """Return the messages as the router reads them: a prompt without a user's turn asks by the last words in it."""
    for message in reversed(messages):
        if isinstance(message, HumanMessage):
            return messages
    said = next((message.text for message in reversed(messages) if message.text.strip()), WORDLESS)
    return [*messages[:-1], HumanMessage(said)] if messages else messages


def worded(messages: Sequence[BaseMessage]) -> Sequence[BaseMessage] | None:
    """Return messages whose last user's turn, which holds a tool's result alone, says that it has no words.

    `None` where there is nothing in it: whoever sends that has made a mistake.
    """
    for place in range(len(messages) - 1, -1, -1):
        if isinstance(messages[place], HumanMessage):
            content = messages[place].content
            is_something = isinstance(content, list) and any(_is_block(block) for block in content)
            return [*messages[:place], HumanMessage(WORDLESS), *messages[place + 1 :]] if is_something else None
    return None


def _is_block(block: object) -> bool:
    return isinstance(block, dict) and block.get("type", "text") != "text"


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
