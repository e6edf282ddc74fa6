"""What the tests share: three requests, and a scripted chat model that counts its calls."""

from __future__ import annotations

import json
from itertools import count
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.tool import tool_call, tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import Field

from langchain_tiered.types import Tier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Script = Callable[[Sequence[BaseMessage]], AIMessage]

LABEL = "Classify the ticket. Labels: bug, praise, other.\n\nThe app crashes at start."
"""A request that the rules send to the first tier."""

REFUND = "Please refund order 1042, it came late."
"""A request that the rules send to the tiers with tools, where the agent has a refund tool."""

PROOF = "Prove that the square root of two is irrational."
"""A request that the rules send to the last tier."""

_ids = count(1)


def ask(text: str) -> dict[str, Any]:
    """Return an input with one user message."""
    return {"messages": [("user", text)]}


def say(text: str, finish_reason: str = "stop", **more: Any) -> Script:
    """Answer every call with `text`."""
    return lambda _: AIMessage(text, response_metadata={"finish_reason": finish_reason}, **more)


def fail(error: Exception) -> Script:
    """Raise `error` at every call."""

    def script(_: Sequence[BaseMessage]) -> AIMessage:
        raise error

    return script


def call_then(tool: str, args: dict[str, Any], answer: Script) -> Script:
    """Call `tool` once in each turn, then give `answer`."""

    def script(messages: Sequence[BaseMessage]) -> AIMessage:
        turn = _since_last_human(messages)
        if any(isinstance(message, ToolMessage) for message in turn):
            return answer(messages)
        return AIMessage("", tool_calls=[tool_call(name=tool, args=args, id=f"call_{next(_ids)}")])

    return script


def in_turn(*scripts: Script) -> Script:
    """Follow one script after the other, a call each; the last one repeats."""
    calls = count()

    def script(messages: Sequence[BaseMessage]) -> AIMessage:
        return scripts[min(next(calls), len(scripts) - 1)](messages)

    return script


def _since_last_human(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    last = max((place for place, message in enumerate(messages) if isinstance(message, HumanMessage)), default=-1)
    return list(messages[last + 1 :])


class ScriptedModel(BaseChatModel):
    """Follows its script, a new message for each call; copies made by `model_copy` count along."""

    model_name: str
    script: Any
    asked: list[list[BaseMessage]] = Field(default_factory=list)
    bound: list[list[Any]] = Field(default_factory=list)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model_name!r})"  # the same in each process, as the id of a test must be

    @property
    def _llm_type(self) -> str:
        return "scripted"

    @property
    def calls(self) -> int:
        return len(self.asked)

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        return {
            **super()._get_ls_params(stop=stop, **kwargs),
            "ls_provider": "openai",
            "ls_model_name": self.model_name,
        }

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        self.bound.append(list(tools))
        return self.bind(tools=tools, **kwargs)

    def _answer(self, messages: Sequence[BaseMessage]) -> AIMessage:
        self.asked.append(list(messages))
        told = self.script(messages)
        metadata = {"finish_reason": "stop", "model_name": self.model_name, **told.response_metadata}
        usage = {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100}
        new = {"id": f"{self.model_name}-{next(_ids)}", "response_metadata": metadata, "usage_metadata": usage}
        answer: AIMessage = told.model_copy(update=new)
        return answer

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._answer(messages))])

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return self._generate(messages)


class StreamingModel(ScriptedModel):
    """Streams word by word; usage and finish reason come with the last word."""

    def _stream(self, messages: list[BaseMessage], *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:
        whole = self._answer(messages)
        *words, last = whole.text.split(" ")
        calls = [tool_call_chunk(name=c["name"], args=json.dumps(c["args"]), id=c["id"]) for c in whole.tool_calls]
        parts = [AIMessageChunk(content=f"{word} ", id=whole.id) for word in words]
        parts.append(
            AIMessageChunk(content=last, id=whole.id, tool_call_chunks=calls, usage_metadata=whole.usage_metadata)
        )
        parts[-1].response_metadata = whole.response_metadata
        parts[-1].additional_kwargs = whole.additional_kwargs
        yield from (ChatGenerationChunk(message=part) for part in parts)

    async def _astream(self, messages: list[BaseMessage], *_: Any, **__: Any) -> Any:
        for part in self._stream(messages):
            yield part


def model(name: str, script: Script, kind: type[ScriptedModel] = StreamingModel, **more: Any) -> ScriptedModel:
    """Make a scripted model that is priced like a GPT-5.4 one: `nano` as gpt-5.4-nano, and so on."""
    priced = {"nano": "gpt-5.4-nano", "mini": "gpt-5.4-mini", "flagship": "gpt-5.4"}.get(name, name)
    return kind(model_name=priced, script=script, **more)


def tiers(**scripts: Script) -> tuple[Tier, ...]:
    """Make a tier for each script, cheapest first."""
    return tuple(Tier(name, model(name, script), criteria=f"Work for {name}.") for name, script in scripts.items())
