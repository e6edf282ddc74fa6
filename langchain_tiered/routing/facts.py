"""Messages, tools and schema become `Facts`: what is plainly there in a request, read in linear time by no model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, get_args

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    MessageLikeRepresentation,
    ToolMessage,
    convert_to_messages,
)
from langchain_core.prompt_values import PromptValue

from langchain_tiered.accounting.usage import Tokens, tokens_of
from langchain_tiered.errors import InvalidInputError
from langchain_tiered.routing.followups import LONGEST, refers_back
from langchain_tiered.routing.risks import RISKS, asked_risks, tool_risks
from langchain_tiered.types import TASKS, DecidedBy, Facts, Route

if TYPE_CHECKING:
    from collections.abc import Iterable

    from langchain_tiered.types import Tool

RequestInput: TypeAlias = str | PromptValue | Sequence[MessageLikeRepresentation] | Mapping[str, Any]
"""What a router reads a request from. Known at run time too: LangChain makes the schema of a chain's input of it."""

_Named: TypeAlias = tuple[
    str, str, bool
]  # a tool's name and description, or its type, and whether the provider runs it
IMAGE_TOKENS = 765
"""Estimate for an image: 85 + 4 x 170 for 1024 x 1024 pixels at high detail (OpenAI, images and vision guide, 2025)."""

MEDIA_TOKENS = 1_000
"""Estimate for a file or an audio part. A rough guess: the size of its base64 says nothing about its tokens."""

MESSAGE_TOKENS = 4
"""Estimate for what frames a message: its role and its separators."""

KNOWN_ROLES = "user (human), assistant (ai), system, developer, tool"

_IMAGES = frozenset({"image", "image_url", "input_image"})
_AUDIO = frozenset({"audio", "input_audio"})
_FILES = frozenset({"file", "input_file", "document", "media", "video"})
_DOCUMENT = "text-plain"  # LangChain's block for a document of plain text
_SAID = frozenset({"", "text", "input_text", "output_text"})  # what is in any other block, nobody has typed
_WORDS_OF_A_BLOCK = ("text", "reasoning", "thinking", "content", "refusal")
_MOST_COUNTED, _SLICE = 1_000_000, 1_000  # characters
_LINE = 120  # characters of a value that an error quotes
_ENDS = 1_000  # characters at each end of a text that are read for what it asks for
_UNKNOWN = Tokens()
_CLIENT_TOOLS = frozenset({"function", "custom"})
_WORD = re.compile(r"[^\W\d_]{4,}")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
# fmt: off
_EVERY_TOOLS_WORDS = frozenset({
    "tool", "tools", "call", "calls", "called", "function", "return", "returns", "returned", "value", "values", "given",
    "name", "names", "list", "string", "number", "with", "from", "that", "this", "what", "when", "which", "will",
    "your", "have", "into", "using", "used", "uses", "whether", "true", "false", "none", "default", "optional",
    "parameter", "parameters", "argument", "arguments", "specified", "provided", "based", "type", "about", "their",
    "them", "they", "only", "also", "other", "such",
})
# fmt: on


@dataclass(frozen=True)
class ToolFacts:
    """What is known of an agent's tools; they are constant, so it is computed once and passed in."""

    names: tuple[str, ...] = ()
    """Names of the tools that the app runs itself."""

    words: frozenset[str] = frozenset()
    """Content words of their names and descriptions, lower case."""

    provider: tuple[str, ...] = ()
    """Types of the tools that the provider runs, such as `web_search`."""

    risks: tuple[str, ...] = ()
    """What they can do that cannot be taken back; see `Facts.risk`."""


NO_TOOLS = ToolFacts()


def tool_facts(tools: Iterable[Tool] | ToolFacts) -> ToolFacts:
    """Return what is known of `tools`: tool objects, callables, or dicts in a provider's form.

    A dict whose `type` is neither `function` nor `custom` names a tool that the provider runs. What is known already is
    returned as it is.

    Raises:
        InvalidInputError: If something is no tool.
    """
    return tools if isinstance(tools, ToolFacts) else _facts_of_tools(tuple(map(_named, tools)))


def _named(tool: Any) -> _Named:
    """Read a tool, as it is now: plain words, so that nothing of the tool itself is kept."""
    if isinstance(tool, dict):
        told_as = tool.get("function")
        inner: dict[str, Any] = told_as if isinstance(told_as, dict) else tool
        if "name" not in inner or tool.get("type", "function") not in _CLIENT_TOOLS:
            return str(tool.get("type") or next(iter(tool), "unknown")), "", True
        return str(inner["name"]), str(inner.get("description") or ""), False
    if callable(tool) or hasattr(tool, "name"):
        name = str(getattr(tool, "name", None) or getattr(tool, "__name__", type(tool).__name__))
        return name, str(getattr(tool, "description", None) or getattr(tool, "__doc__", None) or ""), False
    raise InvalidInputError(f"{tool!r} is no tool. Pass a tool object, a callable, or a dict such as a schema.")


@lru_cache(maxsize=32)
def _facts_of_tools(tools: tuple[_Named, ...]) -> ToolFacts:
    """Do the work of `tool_facts`: the same tools come with every call of an agent."""
    names, words, provider, risks = [], set[str](), [], set[str]()
    for name, told, is_provider in tools:
        if is_provider:
            provider.append(name)
            risks |= tool_risks(name.lower())
            continue
        names.append(name)
        apart, lowered = _HUMP.sub(" ", name).lower(), _HUMP.sub(" ", told).lower()
        words |= content_words(f"{apart} {lowered}")
        risks |= tool_risks(apart, lowered)
    able = tuple(risk for risk in RISKS if risk in risks)
    return ToolFacts(tuple(names), frozenset(words), tuple(provider), able)


def content_words(text: str) -> set[str]:
    """Return the words of a lower-case text that may tell what it is about, without a plural `s`."""
    words = set(_WORD.findall(text)) - _EVERY_TOOLS_WORDS
    return {word if word.endswith(("ss", "us", "is")) else word.removesuffix("s") for word in words}


def messages_of(input: RequestInput | BaseMessage) -> list[BaseMessage]:
    """Return the messages of a request.

    Args:
        input: A text, messages in any form that LangChain takes, a prompt value, or a mapping with `messages`.

    Raises:
        InvalidInputError: If a role or a shape is unknown; names the value and the known roles.
    """
    given: Any = input
    while isinstance(given, Mapping) and "messages" in given:
        given = given["messages"]
    if isinstance(given, str):
        return [HumanMessage(given)]
    if isinstance(given, PromptValue):
        return given.to_messages()
    if isinstance(given, (BaseMessage, Mapping)) or _is_role_and_text(given):
        return [_message_of(given)]
    if isinstance(given, Sequence):
        return [item if isinstance(item, BaseMessage) else _message_of(item) for item in given]
    raise InvalidInputError(
        f"{_short(given)} is no request. Pass a text, a list of messages, a prompt value, or a mapping with 'messages'."
    )


def facts_of(messages: Sequence[BaseMessage], tools: ToolFacts = NO_TOOLS, *, schema: bool = False) -> Facts:
    """Return what is plainly there in a request.

    Only what the user says in the last human message is read as text, and may move a rule. Of documents, files, tool
    results and earlier messages the size and the kind count, since a tier must be able to take them, never the words.

    Args:
        messages: The thread, the last human message being the request.
        tools: What is known of the tools that the answering model is given.
        schema: Whether the answer must fit a schema.

    Raises:
        InvalidInputError: If there is no message, no human message, or nothing in the last human one.
    """
    last = _last_human(messages)
    turn = _parts(messages[last].content)
    if not turn.text.strip() and not (turn.images or turn.audio or turn.files or turn.documents):
        raise InvalidInputError(
            f"The last user message is empty: {_short(messages[last].content)}. Give it a text, an image or a file."
        )
    answer = _last_answer(messages)
    used = tokens_of(answer.usage_metadata) if answer is not None else _UNKNOWN
    previous = None if answer is None else _route(answer.response_metadata.get("route"))
    tokens = images = audio = files = turns = 0
    for place, message in enumerate(messages):
        parts = turn if place == last else _parts(message.content)
        tokens += _tokens_of(message, parts)
        images, audio, files = images + parts.images, audio + parts.audio, files + parts.files
        turns += isinstance(message, HumanMessage)
    return Facts(
        text=turn.text,
        tokens=tokens,
        turn_tokens=MESSAGE_TOKENS + turn.tokens,
        images=images,
        audio=audio,
        files=files,
        turn_images=turn.images,
        turn_files=turn.files,
        pictures=_pictures(messages[last].content) if turn.images else (),
        tools=tools.names,
        tool_words=tools.words,
        provider_tools=tools.provider,
        risk=asked_risks(_ends(turn.text), tools.risks) if tools.risks else (),
        schema=schema,
        turns=turns,
        previous=previous,
        in_turn=any(isinstance(message, (AIMessage, ToolMessage)) for message in messages[last + 1 :]),
        refers_back=previous is not None and _refers_back(turn, messages[:last]),
        cached_tokens=used.cached_tokens or 0,
        output_tokens=used.output_tokens or 0,
    )


def counted_tokens(messages: Sequence[BaseMessage]) -> int:
    """Estimate the input of a call with these messages, in tokens."""
    return sum(_tokens_of(message, _parts(message.content)) for message in messages)


def estimated_tokens(text: str) -> int:
    """Estimate the tokens of a text: four ASCII characters each, and about one for a character of Chinese or Japanese.

    What UTF-8 needs beyond one byte for a character stands for how rare the character is in a vocabulary. Of a text of
    more than a million characters, which is a long document whatever they are, a sixteenth is looked at for it.
    """
    if text.isascii():
        return (len(text) + 3) // 4
    looked_at = text
    if len(text) > _MOST_COUNTED:
        looked_at = "".join(text[start : start + _SLICE] for start in range(0, len(text), 16 * _SLICE))
    extra = len(looked_at.encode("utf-8", "replace")) - len(looked_at)
    return (2 * len(text) + 3 * extra * len(text) // len(looked_at) + 7) // 8


def _refers_back(turn: _Parts, before: Sequence[BaseMessage]) -> bool | None:
    """Tell whether a turn refers to earlier work; what it brings with it may be other work."""
    if len(turn.text) > LONGEST:
        return False
    asked = bool(before) and isinstance(before[-1], AIMessage) and before[-1].text.rstrip().endswith("?")
    found = refers_back(turn.text, answers=asked)
    return None if found and (turn.images or turn.audio or turn.files or turn.documents) else found


def _ends(text: str) -> str:
    return (text if len(text) <= 2 * _ENDS else f"{text[:_ENDS]}\n{text[-_ENDS:]}").lower()


class _Parts(NamedTuple):
    """What the content of one message holds."""

    text: str
    tokens: int
    images: int = 0
    audio: int = 0
    files: int = 0
    documents: int = 0


def _parts(content: str | list[str | dict[str, Any]]) -> _Parts:
    if isinstance(content, str):
        return _Parts(content, estimated_tokens(content))
    texts: list[str] = []
    images = audio = files = documents = hidden = 0
    for block in content:
        if isinstance(block, str):
            texts.append(block)
        elif (kind := _medium(block)) is not None:
            images, audio, files = images + (kind == "image"), audio + (kind == "audio"), files + (kind == "file")
        elif _kind(block) in _SAID and isinstance(block.get("text"), str):
            texts.append(block["text"])
        else:
            documents += _kind(block) == _DOCUMENT
            hidden += _hidden_tokens(block)
    text = "\n".join(texts)
    tokens = estimated_tokens(text) + hidden + images * IMAGE_TOKENS + (audio + files) * MEDIA_TOKENS
    return _Parts(text, tokens, images, audio, files, documents)


def _pictures(content: str | list[str | dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    return tuple(block for block in content if isinstance(block, dict) and _medium(block) == "image")


def _kind(block: dict[str, Any]) -> str:
    kind = block.get("type")
    return kind if isinstance(kind, str) else ""


def _medium(block: dict[str, Any]) -> str | None:
    """Tell whether a block is an image, audio or a file; `None` when it is words or a tool's."""
    kind = _kind(block)
    if kind in _IMAGES:
        return "image"
    if kind in _AUDIO:
        return "audio"
    if kind not in _FILES:
        return None
    mime = str(block.get("mime_type") or "")
    return next((medium for medium in ("image", "audio") if mime.startswith(medium)), "file")


def _hidden_tokens(block: dict[str, Any]) -> int:
    """Estimate a block that is no part of what the user says: a document, reasoning, a nested tool result."""
    tokens, left = 0, list[Any]([block])
    while left:  # no recursion: a caller may nest as deeply as JSON goes
        each = left.pop()
        if isinstance(each, str):
            tokens += estimated_tokens(each)
        elif isinstance(each, list):
            left += each
        elif isinstance(each, dict) and (medium := _medium(each)) is not None:
            tokens += IMAGE_TOKENS if medium == "image" else MEDIA_TOKENS
        elif isinstance(each, dict):
            left += [next((each[key] for key in _WORDS_OF_A_BLOCK if each.get(key)), "")]
    return tokens


def _tokens_of(message: BaseMessage, parts: _Parts) -> int:
    tokens = MESSAGE_TOKENS + parts.tokens
    if isinstance(message, AIMessage):
        tokens += sum(_call_tokens([call["name"], call["args"]]) for call in message.tool_calls)
    return tokens


def _call_tokens(call: list[Any]) -> int:
    """Estimate a tool call by its name, the keys and the values of its arguments, however deep they stand."""
    tokens, left = 0, call
    while left:
        each = left.pop()
        if isinstance(each, dict):
            left += [*each, *each.values()]
        elif isinstance(each, list):
            left += each
        else:
            tokens += estimated_tokens(str(each))
    return tokens


def _last_human(messages: Sequence[BaseMessage]) -> int:
    if not messages:
        raise InvalidInputError("The request is empty: []. Pass a text, or messages with a user message among them.")
    for place in range(len(messages) - 1, -1, -1):
        if isinstance(messages[place], HumanMessage):
            return place
    roles = ", ".join(dict.fromkeys(message.type for message in messages))
    raise InvalidInputError(f"No user message in the request, only: {roles}. Add one: ('user', '...').")


def _last_answer(messages: Sequence[BaseMessage]) -> AIMessage | None:
    """Return the last AI message that carries a route."""
    for message in reversed(messages):
        if isinstance(message, AIMessage) and _route(message.response_metadata.get("route")) is not None:
            return message
    return None


def _route(told: object) -> Route | None:
    """Read a route off a message, which may come from anywhere: without a tier's name it is none."""
    if not isinstance(told, Mapping) or not isinstance(told.get("tier"), str):
        return None
    task, confidence, decided_by = told.get("task"), told.get("confidence"), told.get("decided_by")
    return Route(
        tier=told["tier"],
        task=next((known for known in TASKS if known == task), "reason"),
        confidence=float(confidence) if isinstance(confidence, (int, float)) and 0 <= confidence <= 1 else None,
        reason=told["reason"] if isinstance(told.get("reason"), str) else "",
        decided_by=next((known for known in get_args(DecidedBy) if known == decided_by), "policy"),
        escalated_from=told["escalated_from"] if isinstance(told.get("escalated_from"), str) else None,
    )


def _is_role_and_text(input: object) -> bool:
    """Tell `("user", "Hello")`, one message, from a sequence of messages."""
    return isinstance(input, tuple) and len(input) == 2 and all(isinstance(part, str) for part in input)  # noqa: PLR2004  (a role and a text)


def _message_of(item: Any) -> BaseMessage:
    try:
        (message,) = convert_to_messages([item])
    except (ValueError, TypeError, LookupError, AttributeError, NotImplementedError, RecursionError) as error:
        raise InvalidInputError(
            f"{_short(item)} is no message. Known roles: {KNOWN_ROLES}. Write ('user', 'text'), "
            "{'role': 'user', 'content': 'text'}, or a message object."
        ) from error
    return message


def _short(value: object) -> str:
    """Quote a value in a line of an error."""
    try:
        told = repr(value[:_LINE] if isinstance(value, (str, bytes)) else value)
    except RecursionError:  # nested more deeply than it can be written
        told = f"A {type(value).__name__}"
    return told if len(told) <= _LINE else f"{told[: _LINE - 3]}..."
