"""`ScriptedChatModel`: says what its script says, and remembers what it was asked."""

from __future__ import annotations

import json
from collections.abc import Iterator  # noqa: TC003  (pydantic reads the fields' types)
from itertools import count
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import uuid4

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import Field, PrivateAttr

from langchain_tiered.errors import TieredError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
    from langchain_core.language_models import LangSmithParams
    from langchain_core.runnables import Runnable

Answer: TypeAlias = Any
"""A `str`, an `AIMessage`, an `Exception` to raise, or a function of the messages that returns one of these."""

USAGE = {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100}
"""What a call uses unless the model or the answer says otherwise: round figures that show in a ledger."""


class ScriptExhaustedError(TieredError, AssertionError):
    """A scripted model was called more often than its script has answers."""

    def __init__(self, model: str, answers: int) -> None:
        self.model = model
        """The model's name."""
        self.answers = answers
        """How many answers its script has."""
        super().__init__(
            f"{model!r} was called {answers + 1} times, and its script has {answers} answer{'s' * (answers != 1)}. "
            "Add one, or give a single answer instead of a list: it repeats."
        )


class ScriptedChatModel(BaseChatModel):
    """Says what its script says, a new message with a new id at each call, and remembers what it was asked.

    ```python
    model = ScriptedChatModel(script=[TimeoutError("too slow"), "Paris."], model_name="gpt-5.4-nano")
    ```

    Copies that are made of it, by `model_copy` or by binding, follow the one script and count together. It streams
    word by word.

    Raises:
        ScriptExhaustedError: At a call for which a list has no answer left. A call too many is a finding, so that no
            fallback takes it for an outage.
    """

    script: Any
    """A list of answers, one for each call, or one answer that repeats.

    An answer is a `str`, an `AIMessage`, an `Exception` to raise, or a function of the messages that returns one.
    """

    model_name: str = "scripted"
    """What the ledger names, and prices where `ls_provider` has such a model."""

    ls_provider: str = "openai"
    """The provider whose prices hold."""

    usage: dict[str, Any] | None = Field(default_factory=lambda: dict(USAGE))
    """The `usage_metadata` of answers that bring none, or `None` for a provider that reports none."""

    asked: list[list[BaseMessage]] = Field(default_factory=list)
    """The messages of each call, oldest first."""

    bound: list[list[Any]] = Field(default_factory=list)
    """The tools of each `bind_tools`."""

    _turns: Iterator[int] = PrivateAttr(default_factory=count)

    @property
    def calls(self) -> int:
        """How often it was called."""
        return len(self.asked)

    @property
    def _llm_type(self) -> str:
        return "langchain-tiered-scripted"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        told = super()._get_ls_params(stop=stop, **kwargs)
        return {**told, "ls_provider": self.ls_provider, "ls_model_name": self.model_name}

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[Any, AIMessage]:
        """Note the tools, and return a binding with them."""
        self.bound.append(list(tools))
        return self.bind(tools=tools, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        del stop, run_manager, kwargs
        return ChatResult(generations=[ChatGeneration(message=self._next(messages))])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        del stop, run_manager, kwargs
        return self._generate(messages)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        del stop, run_manager, kwargs
        yield from (ChatGenerationChunk(message=part) for part in _parts(self._next(messages)))

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        del stop, run_manager, kwargs
        for part in self._stream(messages):
            yield part

    def _next(self, messages: Sequence[BaseMessage]) -> AIMessage:
        turn = next(self._turns)
        self.asked.append(list(messages))
        answer = self._said(turn)
        while callable(answer):
            answer = answer(messages)
        if isinstance(answer, BaseException):
            raise answer
        said = answer if isinstance(answer, AIMessage) else AIMessage(answer)
        metadata = {"finish_reason": "stop", "model_name": self.model_name, **said.response_metadata}
        usage = said.usage_metadata or self.usage
        new = {"id": f"scripted-{uuid4()}", "response_metadata": metadata, "usage_metadata": usage}
        return said.model_copy(update=new, deep=True)

    def _said(self, turn: int) -> Answer:
        if not isinstance(self.script, (list, tuple)):
            return self.script
        if turn >= len(self.script):
            raise ScriptExhaustedError(self.model_name, len(self.script))
        return self.script[turn]


def _parts(whole: AIMessage) -> Iterator[AIMessageChunk]:
    """Cut a message into words; its calls, usage and metadata come with the last part."""
    *words, last = whole.content.split(" ") if isinstance(whole.content, str) else [whole.content]
    yield from (AIMessageChunk(content=f"{word} ", id=whole.id) for word in words)
    calls = [*whole.tool_calls, *whole.invalid_tool_calls]
    yield AIMessageChunk(
        content=last,
        id=whole.id,
        tool_call_chunks=[
            tool_call_chunk(name=call["name"], args=_written(call["args"]), id=call["id"], index=place)
            for place, call in enumerate(calls)
        ],
        usage_metadata=whole.usage_metadata,
        response_metadata=whole.response_metadata,
        additional_kwargs=whole.additional_kwargs,
        chunk_position="last",
    )


def _written(args: dict[str, Any] | str | None) -> str | None:
    return json.dumps(args) if isinstance(args, dict) else args
