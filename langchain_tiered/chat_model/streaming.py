"""The tokens of a call: shown as they come, save where they may have to be taken back.

- Words are shown at once, unless a check that reads the whole answer stands behind the tier and another attempt may
  follow. What has no words (a refusal, an empty answer, reasoning before it) waits for the first of them.
- A call of tools is kept until it is judged: one that is malformed is told to its model, and never seen.
- Words that were shown stand. When the stream breaks off behind them, the answer ends there and is marked truncated.
- The last part tells what is known of the answer, once: its metadata and its usage, the route and the ledger. LangChain
  adds up what stands in several parts, and those of an attempt that was mended would stand there twice.
"""

from __future__ import annotations

import json
from contextlib import aclosing, nullcontext
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.messages.utils import message_chunk_to_message
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from langchain_tiered.chat_model.binding import Whole
from langchain_tiered.chat_model.calling import ready_of
from langchain_tiered.nodes.calls import Ask, adone, done

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from langchain_tiered.chat_model.calling import Call, Request
    from langchain_tiered.nodes.calls import End


def streamed(call: Call) -> Iterator[ChatGenerationChunk]:
    """Make the call, and give its answer part by part.

    Raises:
        NoAnswerAcceptedError: If every attempt was rejected. A provider's error is raised as it is.
    """
    steps, shown = call.steps(), _Shown(call)
    try:
        wanted = next(steps)
        while True:
            try:
                if isinstance(wanted, Ask):
                    yield from _parts(call, shown, wanted.request)  # type: ignore[arg-type]
                    given = shown.response
                else:
                    given = done(wanted, call.turn)
            except Exception as error:  # noqa: BLE001  (handed to whoever wanted it)
                wanted = steps.throw(error)
            else:
                wanted = steps.send(given)
    except StopIteration as ended:
        end: End = ended.value
    yield from shown.rest(end)


async def astreamed(call: Call) -> AsyncGenerator[ChatGenerationChunk, None]:
    """Do what `streamed` does, without blocking the event loop."""
    steps, shown = call.steps(), _Shown(call)
    try:
        wanted = next(steps)
        while True:
            try:
                if isinstance(wanted, Ask):
                    async with aclosing(_aparts(call, shown, wanted.request)) as parts:  # type: ignore[arg-type]
                        async for part in parts:
                            yield part
                    given = shown.response
                else:
                    given = await adone(wanted, call.turn)
            except Exception as error:  # noqa: BLE001  (handed to whoever wanted it)
                wanted = steps.throw(error)
            else:
                wanted = steps.send(given)
    except StopIteration as ended:
        end: End = ended.value
    for part in shown.rest(end):
        yield part


def _parts(call: Call, shown: _Shown, request: Request) -> Iterator[ChatGenerationChunk]:
    """Ask the model of an attempt, and give what may be shown of its answer."""
    shown.begin(request)
    model: Any
    model, options = ready_of(request)
    if _comes_whole(call, model) or not model._should_stream(async_api=False, **{**options, "stream": True}):  # noqa: SLF001  (LangChain asks it of the model itself)
        shown.response = call.ask(request)
        return
    begun, spoken = call.begin(request), _form_of(model)
    try:
        if model.rate_limiter:
            model.rate_limiter.acquire(blocking=True)
        for each in model._stream(request.messages, stop=call.stop, **options):  # noqa: SLF001  (see `calling`)
            part = each if spoken is None else spoken(each)
            call.token(begun, part)
            yield from shown.passed(part)
        result = shown.result()
    except BaseException as error:
        call.broke(begun, request, error, shown.merged())
        raise
    shown.response = call.ended(begun, result)


async def _aparts(call: Call, shown: _Shown, request: Request) -> AsyncGenerator[ChatGenerationChunk, None]:
    """Do what `_parts` does, without blocking the event loop."""
    shown.begin(request)
    model: Any
    model, options = ready_of(request)
    if _comes_whole(call, model) or not model._should_stream(async_api=True, **{**options, "stream": True}):  # noqa: SLF001  (as above)
        shown.response = await call.aask(request)
        return
    begun, spoken = call.begin(request), _form_of(model)
    try:
        if model.rate_limiter:
            await model.rate_limiter.aacquire(blocking=True)
        said = model._astream(request.messages, stop=call.stop, **options)  # noqa: SLF001  (as above)
        async with aclosing(said) if hasattr(said, "aclose") else nullcontext():  # any iterator will do for LangChain
            async for each in said:
                part = each if spoken is None else spoken(each)
                call.token(begun, part)
                for may_be_seen in shown.passed(part):
                    yield may_be_seen
        result = shown.result()
    except BaseException as error:
        call.broke(begun, request, error, shown.merged())
        raise
    shown.response = call.ended(begun, result)


def _comes_whole(call: Call, model: Any) -> bool:
    """Tell whether a model is asked for whole answers alone."""
    return isinstance(model, Whole) or call.is_tiered(model)


_FORM = frozenset({"model_provider", "output_version"})
"""What tells the form of a message's content. It stands on each part: LangChain keeps it once where all are alike."""


def _form_told(message: Any) -> dict[str, Any]:
    metadata = message.response_metadata
    return {name: metadata[name] for name in _FORM if name in metadata} if metadata else {}


class _Blocks:
    """Gives the parts of an answer in content blocks, as LangChain's `stream` does: its `_stream` stands below that."""

    def __init__(self) -> None:
        self._place, self._kind = -1, ""

    def __call__(self, part: ChatGenerationChunk) -> ChatGenerationChunk:
        message: Any = _with_metadata(part).message
        blocks = message.content_blocks
        for block in blocks:
            if block["type"] != self._kind:
                self._place, self._kind = self._place + 1, block["type"]
            block.setdefault("index", self._place)
        metadata = {**message.response_metadata, "output_version": _BLOCKS}
        return ChatGenerationChunk(
            message=message.model_copy(update={"content": blocks, "response_metadata": metadata})
        )


_BLOCKS = "v1"
"""The `output_version` of a model that LangChain has answer in content blocks; other versions are the model's own."""


def _form_of(model: Any) -> _Blocks | None:
    """Return what puts the parts of a model's answer into their form; `None` where they have it."""
    return _Blocks() if model.output_version == _BLOCKS else None


class _Shown:
    """What of a call's answer was shown, and what is kept until it is judged."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.response: Any = None
        self.words = False
        """Whether words of any attempt were shown."""
        self.form: dict[str, Any] = {}
        """The form of what was shown."""
        self._anew()

    def begin(self, request: Request) -> None:
        """Begin an attempt, of which nothing is shown yet; words of an earlier one keep it from flowing."""
        self._anew()
        self.flows = not request.held and not self.words

    def _anew(self) -> None:
        self.response, self.flows, self.calls = None, False, False
        self.kept: list[ChatGenerationChunk] = []
        self.said: list[ChatGenerationChunk] = []

    def passed(self, part: ChatGenerationChunk) -> Iterator[ChatGenerationChunk]:
        """Give what may be shown now that a part came."""
        message = part.message
        # A part of its own for us: whoever is shown this one writes on it.
        self.said.append(ChatGenerationChunk.model_construct(message=message, generation_info=part.generation_info))
        self.kept.append(part)
        self.calls = self.calls or bool(getattr(message, "tool_call_chunks", None))
        if not self.flows or self.calls or not (part.text or (message.content and self.words)):
            return
        self.words = True
        yield from self._given()

    def _given(self) -> Iterator[ChatGenerationChunk]:
        kept, self.kept = self.kept, []
        for part in kept:
            message: Any = part.message
            form = _form_told(message)
            self.form.update(form)
            usage, position = getattr(message, "usage_metadata", None), getattr(message, "chunk_position", None)
            if usage or position or len(form) < len(message.response_metadata):
                told = {"response_metadata": form, "usage_metadata": None, "chunk_position": None}
                part.message = message.model_copy(update=told)
            part.generation_info = None
            yield part

    def merged(self) -> ChatGenerationChunk | None:
        """Return what the model has said so far, in one piece."""
        whole: ChatGenerationChunk | None = None
        if self.said:
            first, *more = [_with_metadata(part) for part in self.said]
            whole = first + more if more else first
        return whole

    def result(self) -> ChatResult:
        """Return the whole answer.

        Raises:
            ValueError: If there is none.
        """
        whole = self.merged()
        if whole is None:
            raise ValueError("No generation chunks were returned")  # LangChain's own words
        message = message_chunk_to_message(whole.message)
        return ChatResult(generations=[ChatGeneration(message=message)])

    def rest(self, end: End) -> Iterator[ChatGenerationChunk]:
        """Give what was kept of the answer that has passed, and the last part."""
        told, kept = self.call.settled(end), self.call.result.generations
        answer: ChatGeneration | None = kept[0] if end.response is not None and kept else None
        if answer is not None and self.said and (self.flows or not self.words):
            yield from self._given()
        elif answer is not None:
            yield self._behind(answer)
        message: Any = getattr(answer or self.merged(), "message", None)
        metadata = dict(getattr(message, "response_metadata", {}))
        for name in _FORM & metadata.keys() & self.form.keys():
            metadata[name] = self.form[name]  # LangChain would write another one behind it
        last = AIMessageChunk(
            content="",
            response_metadata={**metadata, "model_name": metadata.get("model_name") or self.call.model_name, **told},
            usage_metadata=getattr(message, "usage_metadata", None),
            chunk_position="last",
        )
        yield ChatGenerationChunk(message=last)

    def _behind(self, whole: ChatGeneration) -> ChatGenerationChunk:
        """Return an answer in one part, to stand behind words of an earlier attempt where such were shown."""
        message: Any = whole.message
        content = message.content
        if self.words and isinstance(message, AIMessage):  # said already, or to be told apart from what was
            content = "" if message.tool_calls else f"\n\n{message.text}"
            if self.form.get("output_version") == _BLOCKS:
                calls: list[Any] = [block for block in message.content_blocks if block["type"] == "tool_call"]
                content = calls or [{"type": "text", "text": content}]
        self.form = {**_form_told(message), **self.form}
        return ChatGenerationChunk(
            message=AIMessageChunk(
                content=content,
                id=message.id,
                tool_call_chunks=[
                    tool_call_chunk(name=call["name"], args=_written(call["args"]), id=call["id"], index=place)
                    for place, call in enumerate([*message.tool_calls, *message.invalid_tool_calls])
                ],
                additional_kwargs=message.additional_kwargs,
                response_metadata=dict(self.form),
            )
        )


def _with_metadata(part: ChatGenerationChunk) -> ChatGenerationChunk:
    """Return a part with its metadata on its message, where checks and ledger read them."""
    if not part.generation_info:
        return part
    metadata = {**part.generation_info, **part.message.response_metadata}
    return ChatGenerationChunk(message=part.message.model_copy(update={"response_metadata": metadata}))


def _written(args: Any) -> str | None:
    return json.dumps(args) if isinstance(args, dict) else args
