"""What the tests of this room share: a model priced like gpt-5.4-mini, and ways to book a call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from fakes import ScriptedModel, model, say
from langchain_core.outputs import ChatGeneration, LLMResult

from langchain_tiered.accounting import (
    Recorder,
    call_metadata,
    recording,
)
from langchain_tiered.types import LedgerEntry, Tier

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage
    from langchain_core.runnables import RunnableConfig

ASK: Any = {"messages": [("user", "Capital of France?")]}
MINI_USD = 1_000 * 0.75e-6 + 100 * 4.5e-6
USAGE: Any = {"input_tokens": 1_000, "output_tokens": 100, "total_tokens": 1_100}


def mini(script: Any = None, kind: type[ScriptedModel] = ScriptedModel, **more: Any) -> ScriptedModel:
    return model("mini", script or say("It is Paris."), kind, **more)


def under(recorder: Recorder, **metadata: Any) -> RunnableConfig:
    return recording({}, recorder, metadata)


def booked(*, ends_with: LLMResult | BaseException, response: LLMResult | None = None, **metadata: Any) -> LedgerEntry:
    recorder, run_id = Recorder(), uuid4()
    recorder.on_chat_model_start({}, [[]], run_id=run_id, metadata=metadata)
    if isinstance(ends_with, LLMResult):
        recorder.on_llm_end(ends_with, run_id=run_id)
    else:
        recorder.on_llm_error(ends_with, run_id=run_id, response=response)
    (entry,) = recorder.entries
    return entry


def answer(*messages: AIMessage, **more: Any) -> LLMResult:
    return LLMResult(generations=[[ChatGeneration(message=message) for message in messages]], **more)


def loop_metadata(**more: Any) -> dict[str, Any]:
    tier = Tier("nano", "openai:gpt-5.4-mini", criteria="x", **more)
    return call_metadata(role="answer", tier=tier, run_id="r", loop=True)
