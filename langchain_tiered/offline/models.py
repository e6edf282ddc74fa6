"""Chat models that need no key, no weights and no network: deterministic rules, and every answer says so.

They let the whole pipeline run for real: routes, tools, schemas, streams, usage and prices.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.language_models import BaseChatModel, ModelProfile
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call, tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool

from langchain_tiered.models import CRITERIA, RELIABLE_TOKENS
from langchain_tiered.offline.answers import SHORT, TEXT_WORK, TOP, Request, say, taken_apart
from langchain_tiered.offline.calls import key, needs_tools, plan
from langchain_tiered.offline.fields import fill
from langchain_tiered.offline.rules import alike
from langchain_tiered.types import Tier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from langchain_core.language_models import LanguageModelInput
    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import Runnable
    from langchain_core.tools import BaseTool

    from langchain_tiered.offline.fields import Schema

Call = tuple[str, dict[str, Any]]

HONEST = "Deterministic rules, no language model."
"""What `response_metadata["offline"]` says of every answer."""

_LEVELS = {"offline-nano": 0, "offline-mini": 1, "offline-flagship": TOP}
_WINDOWS = {"offline-nano": 400_000, "offline-mini": 400_000, "offline-flagship": 1_050_000}
_CHARACTERS_PER_TOKEN = 4
_IMAGE_TOKENS = 85  # what LangChain's own estimate counts for an image
_HEADER = 65_536  # characters of an image's base64 in which its size stands
_ANY = ("any", "required", True)
_MEDIA = ("images", "audio", "files")
_REQUEST_NAMES = ("text", "request", "message", "content")


class OfflineChatModel(BaseChatModel):
    """A chat model made of rules. The same messages always get the same answer.

    It picks labels by lexical likeness, fills schemas by pattern, chooses tools by their names and descriptions, quotes
    the sentences that fit best, and says that it knows nothing else. Tokens are counted as characters divided by four.

    ```python
    OfflineChatModel(model_name="offline-nano").invoke("Labels: billing, shipping. My parcel was not shipped.").text
    ```
    """

    model_name: Literal["offline-nano", "offline-mini", "offline-flagship"] = "offline-mini"
    """Which tier it stands in for: nano says least and makes one call at a time, the flagship structures its answer."""

    @property
    def _llm_type(self) -> str:
        return "langchain-tiered-offline"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model_name}

    def _resolve_model_profile(self) -> ModelProfile:
        return ModelProfile(
            name=self.model_name,
            max_input_tokens=_WINDOWS[self.model_name],
            text_inputs=True,
            image_inputs=True,
            tool_calling=True,
            tool_choice=True,
            structured_output=True,
            text_outputs=True,
        )

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: dict[str, Any] | str | bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind tools; those that only a provider can run, such as `{"type": "web_search"}`, are never called.

        Args:
            tools: What may be called, in any form that LangChain knows.
            tool_choice: A tool's name or OpenAI's form of it, `"any"`, `"required"` or `True` to force a call, `"none"`
                to forbid one.
            **kwargs: Further keyword arguments of each call, such as `response_format`.
        """
        return self.bind(tools=[_as_openai(tool) for tool in tools], tool_choice=tool_choice, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        del run_manager
        return ChatResult(generations=[ChatGeneration(message=self._answer(messages, stop, kwargs))])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        del run_manager  # the rules take less time than handing them to a thread
        return self._generate(messages, stop, **kwargs)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in _chunks(self._answer(messages, stop, kwargs)):
            if run_manager is not None:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in _chunks(self._answer(messages, stop, kwargs)):
            if run_manager is not None:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    def _answer(self, messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any]) -> AIMessage:
        """Answer by rule, and tell the usage and who answered."""
        text, calls = self._reply(_read(messages), options)
        for word in stop or ():
            text = text.partition(word)[0]
        thread = hashlib.sha256("\n".join(_written(message) for message in messages).encode("utf-8", "replace"))
        ids = [
            f"call_{hashlib.sha256(thread.digest() + bytes([place])).hexdigest()[:24]}" for place in range(len(calls))
        ]
        asked = sum(len(_written(message)) for message in messages) + (
            len(json.dumps(options["tools"])) if options.get("tools") else 0
        )
        images = sum(len(_images(message)) for message in messages)
        return AIMessage(
            content=text,
            tool_calls=[tool_call(name=name, args=args, id=id_) for (name, args), id_ in zip(calls, ids, strict=True)],
            usage_metadata=_usage(asked, len(text) + len(json.dumps(calls) if calls else ""), images),
            response_metadata={
                "model_name": self.model_name,
                "model_provider": "offline",
                "finish_reason": "tool_calls" if calls else "stop",
                "offline": HONEST,
            },
        )

    def _reply(self, request: Request, options: dict[str, Any]) -> tuple[str, list[Call]]:
        """Return the words, or the calls, that answer a request."""
        tools = [tool["function"] for tool in options.get("tools") or () if tool.get("type") == "function"]
        choice = options.get("tool_choice")
        level = _LEVELS[self.model_name]
        if choice != "none" and tools:
            calls, notes = _calls(request, tools, choice)
            if calls:
                return "", calls[: 1 if level == 0 or options.get("parallel_tool_calls") is False else None]
            if notes and not request.results:
                return "\n".join(notes), []
            request = replace(request, notes=notes)
        if schema := _wanted_schema(options.get("response_format")):
            return json.dumps(_fill(schema, request)), []
        return say(request, level), []


def offline_tiers() -> tuple[Tier, ...]:
    """Return three tiers of rules that need no key, priced as if the GPT-5.4 models had used the same tokens.

    ```python
    nano, mini, flagship = offline_tiers()
    ```
    """
    return (
        Tier(
            "nano",
            OfflineChatModel(model_name="offline-nano"),
            criteria=CRITERIA["nano"],
            max_input_tokens=RELIABLE_TOKENS,
            rates="openai:gpt-5.4-nano",
        ),
        Tier(
            "mini",
            OfflineChatModel(model_name="offline-mini"),
            criteria=CRITERIA["mini"],
            max_input_tokens=RELIABLE_TOKENS,
            rates="openai:gpt-5.4-mini",
        ),
        Tier(
            "flagship",
            OfflineChatModel(model_name="offline-flagship"),
            criteria=CRITERIA["flagship"],
            max_input_tokens=_WINDOWS["offline-flagship"],
            rates="openai:gpt-5.4",
        ),
    )


def _calls(request: Request, tools: list[Schema], choice: object) -> tuple[list[Call], tuple[str, ...]]:
    """Return the calls that are still to be made this turn, and what stands in the way of others."""
    made = {call.partition(" ")[0] for call in request.called}
    forced = _forced(choice, tools)
    hand_up = next((tool for tool in tools if tool["name"] == "hand_up"), None)
    named = bool(forced) and choice not in _ANY
    usable = [] if named else [tool for tool in tools if tool is not hand_up and tool not in forced]
    about_a_text = bool(TEXT_WORK.search(request.ask)) or len(request.body) > SHORT
    nearby = request.earlier if about_a_text else f"{request.text}\n{request.earlier}"
    planned = plan(request.ask, nearby, usable, request.called, by_order=about_a_text)
    calls = [(name, args) for name, args in planned.calls if key(name, args) not in request.called]
    notes = (
        *planned.missing,
        *(f"Not done, as the offline rules judge no conditions: {part}" for part in planned.left_out),
    )
    if not calls and forced:
        best = max(forced, key=lambda tool: _like(request, forced, tool["name"]))
        calls = [] if best["name"] in made else [(best["name"], _fill(best.get("parameters", {}), request))]
    elif not planned.calls and hand_up and needs_tools(request.ask) and not about_a_text:
        calls = [("hand_up", {"reason": f"This needs tools: {request.ask[:200]}"})]
    return [call for call in calls if key(*call) not in request.called], notes


def _forced(choice: object, tools: list[Schema]) -> list[Schema]:
    """Return the tools of which one must be called when nothing else is: the one named, or those of a schema.

    LangChain forces a structured answer with `"any"`, and puts the schema's tools, named like classes, behind the rest.
    """
    if choice in _ANY:
        return [tool for tool in tools if tool["name"][:1].isupper()] or tools[-1:]
    name = choice.get("function", choice).get("name") if isinstance(choice, dict) else choice
    return [tool for tool in tools if tool["name"] == name]


def _like(request: Request, tools: list[Schema], name: str) -> float:
    ranks = alike(request.material, {tool["name"]: json.dumps(tool) for tool in tools})
    return next(rank.score for rank in ranks if rank.option == name)


def _fill(schema: Schema, request: Request) -> Any:
    return fill(schema, request.material, ask=request.ask, meanings=request.system)


def _wanted_schema(response_format: object) -> Schema | None:
    """Return the JSON schema of OpenAI's `response_format`, where there is one."""
    if not isinstance(response_format, dict) or response_format.get("type") != "json_schema":
        return None
    schema: Schema = response_format.get("json_schema", {}).get("schema", {})
    return schema


def _as_openai(tool: dict[str, Any] | type | Callable[..., Any] | BaseTool) -> dict[str, Any]:
    if isinstance(tool, dict) and tool.get("type", "function") not in ("function", "object") and "name" not in tool:
        return tool
    return convert_to_openai_tool(tool)


def _read(messages: Sequence[BaseMessage]) -> Request:
    """Take the messages apart: what the last human turn asks, and what its tools have returned so far."""
    last = max((place for place, message in enumerate(messages) if isinstance(message, HumanMessage)), default=-1)
    turn = messages[last + 1 :]
    text = messages[last].text if last >= 0 else ""
    ask, body = taken_apart(text)
    return Request(
        ask=ask,
        body=_flattened(body),
        text=text,
        system="\n".join(message.text for message in messages if isinstance(message, SystemMessage)),
        earlier="\n".join(m.text for m in reversed(messages[: max(last, 0)]) if isinstance(m, HumanMessage)),
        images=tuple(_described(image) for image in _images(messages[last])) if last >= 0 else (),
        results=tuple(message.text for message in turn if isinstance(message, ToolMessage)),
        called=frozenset(
            key(call["name"], call["args"]) for m in turn if isinstance(m, AIMessage) for call in m.tool_calls
        ),
    )


def _flattened(body: str) -> str:
    """Turn a request that comes as JSON into its text, or what that asks for, and the names of the facts that hold."""
    try:
        value = json.loads(body) if body[:1] == "{" else None
    except ValueError:
        return body
    if not isinstance(value, dict) or not any(isinstance(value.get(name), str) for name in _REQUEST_NAMES):
        return body
    text = next(value[name] for name in _REQUEST_NAMES if isinstance(value.get(name), str))
    ask, body = taken_apart(text)
    facts = [name for name, fact in value.items() if fact is True or (name in _MEDIA and fact)]
    return "\n".join([ask if len(body) > SHORT else text, " ".join(facts)])


def _images(message: BaseMessage) -> list[dict[str, Any]]:
    if isinstance(message.content, str):
        return []
    return [dict(block) for block in message.content_blocks if block["type"] == "image"]


def _described(image: dict[str, Any]) -> str:
    """Tell the format and size in an image's header."""
    if not (encoded := image.get("base64")):
        return "An image at a URL, which the offline rules do not fetch."
    try:
        data = base64.b64decode(encoded[:_HEADER])
        kind, width, height = _size(data)
    except (ValueError, struct.error, IndexError):
        return "An image whose header cannot be read."
    return f"An image of {width} x {height} pixels ({kind})."


def _size(data: bytes) -> tuple[str, int, int]:
    if data.startswith(b"\x89PNG"):
        return "PNG", *struct.unpack(">II", data[16:24])
    if data.startswith(b"GIF8"):
        return "GIF", *struct.unpack("<HH", data[6:10])
    frame = re.search(rb"\xff[\xc0-\xc3]..\x08(....)", data, re.DOTALL) if data.startswith(b"\xff\xd8") else None
    if frame is None:
        raise ValueError("unknown format")
    height, width = struct.unpack(">HH", frame[1])
    return "JPEG", width, height


def _written(message: BaseMessage) -> str:
    calls = json.dumps(message.tool_calls, default=str) if isinstance(message, AIMessage) and message.tool_calls else ""
    return f"{message.text}{calls}"


def _usage(asked: int, said: int, images: int) -> UsageMetadata:
    paid = -(-asked // _CHARACTERS_PER_TOKEN) + images * _IMAGE_TOKENS
    given = -(-said // _CHARACTERS_PER_TOKEN)
    return UsageMetadata(
        input_tokens=paid,
        output_tokens=given,
        total_tokens=paid + given,
        input_token_details={"cache_read": 0},
        output_token_details={"reasoning": 0},
    )


def _chunks(message: AIMessage) -> Iterator[ChatGenerationChunk]:
    """Yield an answer word by word, its usage and metadata with the last chunk."""
    for word in re.findall(r"\s*\S+\s*?|\s+", message.text):
        yield ChatGenerationChunk(message=AIMessageChunk(content=word))
    calls = [
        tool_call_chunk(name=call["name"], args=json.dumps(call["args"]), id=call["id"], index=place)
        for place, call in enumerate(message.tool_calls)
    ]
    yield ChatGenerationChunk(
        message=AIMessageChunk(
            content="",
            tool_call_chunks=calls,
            usage_metadata=message.usage_metadata,
            response_metadata=message.response_metadata,
            chunk_position="last",
        )
    )
