"""What a recorder books of calls that fail, and of calls that stream."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from fakes import StreamingModel, call_then, fail, say
from langchain.agents import create_agent
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk, LLMResult
from langchain_core.runnables import RunnableLambda
from unit.accounting.fakes_accounting import ASK, MINI_USD, USAGE, booked, mini, under

from langchain_tiered.accounting import (
    Recorder,
    collect_ledger,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.messages import BaseMessage

# Failures.


class _StatusError(Exception):
    status_code = 429


class _OverflowError(Exception):
    code = "context_length_exceeded"


class _LengthError(Exception):
    """Like the error of OpenAI's client about a completion that is too short to parse."""

    def __init__(self) -> None:
        told = {"model": "gpt-5.4-mini", "usage": {"prompt_tokens": 1_000, "completion_tokens": 100}}
        self.completion = SimpleNamespace(model_dump=lambda: told)


def partial(**more: Any) -> LLMResult:
    return LLMResult(generations=[[ChatGenerationChunk(message=AIMessageChunk(content="It", **more))], []])


@pytest.mark.parametrize(
    ("error", "response", "tokens", "cost_usd"),
    [
        (_StatusError(), None, None, 0.0),
        (_OverflowError(), None, None, 0.0),
        (ValueError("before the request, or after the answer"), None, None, None),
        (ConnectionError(), None, None, None),
        (TimeoutError(), None, None, None),
        (asyncio.CancelledError(), None, None, None),
        (ConnectionError(), partial(usage_metadata=USAGE), 1_000, MINI_USD),
        (ConnectionError(), partial(usage_metadata={**USAGE, "output_tokens": 0}), None, None),
        (_LengthError(), None, 1_000, MINI_USD),
    ],
    ids=lambda value: type(value).__name__,
)
def test_failed_call_is_booked_with_what_it_cost(
    error: BaseException, response: LLMResult | None, tokens: int | None, cost_usd: float | None
) -> None:
    entry = booked(ends_with=error, response=response, ls_model_name="gpt-5.4-mini")
    assert (entry["outcome"], entry["model"], entry["input_tokens"]) == ("failed", "gpt-5.4-mini", tokens)
    assert entry["cost_usd"] == (None if cost_usd is None else pytest.approx(cost_usd))


def test_error_after_the_first_words_has_an_unknown_cost() -> None:
    class _Cut(StreamingModel):
        def _stream(self, messages: list[BaseMessage], *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:
            yield ChatGenerationChunk(message=AIMessageChunk(content="It is "))
            raise _StatusError

    recorder = Recorder()
    with pytest.raises(_StatusError):
        list(mini(kind=_Cut).stream("hi", under(recorder)))
    (entry,) = recorder.entries
    assert (entry["outcome"], entry["cost_usd"]) == ("failed", None)


def test_stream_that_the_caller_leaves_is_booked() -> None:
    recorder = Recorder()
    stream = mini(kind=StreamingModel).stream("hi", under(recorder))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert [(entry["outcome"], entry["cost_usd"]) for entry in recorder.entries] == [("failed", None)]


def test_run_that_raises_is_collected() -> None:
    def broken(_: object) -> None:
        mini().invoke("hi")
        mini(fail(_StatusError())).invoke("hi")

    with collect_ledger() as ledger, pytest.raises(_StatusError):
        RunnableLambda(broken).invoke("x")
    assert [entry["outcome"] for entry in ledger] == ["accepted", "failed"]
    assert ledger.total_usd == pytest.approx(MINI_USD)


# Streaming.


@pytest.mark.parametrize("way", ["stream", "astream", "v3", "graph"])
async def test_streamed_call_is_booked_once_and_known_to_be_shown(way: str) -> None:
    recorder, paid = Recorder(), mini(kind=StreamingModel)
    if way == "stream":
        list(paid.stream("hi", under(recorder)))
    elif way == "astream":
        [chunk async for chunk in paid.astream("hi", under(recorder))]
    elif way == "v3":
        list(paid.stream_events("hi", version="v3", config=under(recorder)))
    else:
        list(create_agent(paid).stream(ASK, under(recorder), stream_mode="messages"))
    (entry,) = recorder.entries
    assert recorder.shown(entry["id"])
    assert entry["output_tokens"] == 100
    assert entry["cost_usd"] == pytest.approx(MINI_USD)


def test_held_words_and_words_never_streamed_are_not_shown() -> None:
    recorder = Recorder()
    held = mini(kind=StreamingModel, tags=["nostream"])
    list(create_agent(held).stream(ASK, under(recorder), stream_mode="messages"))
    mini().invoke("hi", under(recorder))
    assert [recorder.shown(entry["id"]) for entry in recorder.entries] == [False, False]
    assert held.calls == 1


def test_tool_call_that_streams_shows_no_words() -> None:
    recorder = Recorder()
    list(mini(call_then("look", {}, say("x")), StreamingModel).stream("hi", under(recorder)))
    (entry,) = recorder.entries
    assert (entry["outcome"], recorder.shown(entry["id"])) == ("tool_turn", False)
