"""Whatever breaks the classifier's answer, the request is not lost to it, and nobody is warned of anything."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import pytest
from fakes import ask
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, ValidationError

from langchain_tiered import Tier, collect_ledger, create_tiered_agent
from langchain_tiered.offline.faults import FAULTS, MODELS, Faults
from langchain_tiered.offline.server import OfflineServer
from langchain_tiered.testing import ScriptedChatModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tiered.offline.faults import FaultKind

CLASSIFIED = {"reason": "A parcel.", "task": "lookup", "tier": "mini", "confidence": 0.9}
VAGUE = (
    "My neighbour saw the van on Monday morning. Nobody rang, although I was at home cooking until evening, with both "
    "windows open to the street. What happened?"
)


def said(messages: Sequence[BaseMessage]) -> str:
    return json.dumps(CLASSIFIED) if "<request>" in messages[-1].text else "It is at the depot."


def served(faults: Faults) -> OfflineServer:
    models = {name: ScriptedChatModel(script=said, model_name=name) for name in MODELS.values()}
    return OfflineServer(models=models, faults=faults)


def agent(url: str) -> Any:
    return create_tiered_agent(
        [
            Tier(name, ChatOpenAI(model=model, base_url=url, api_key="x", max_retries=0, timeout=1), criteria=name)
            for name, model in MODELS.items()
        ]
    )


UNREAD = frozenset({"malformed_arguments", "wrong_types", "missing_fields", "invented_tool"})
"""Faults that break the form of an answer alone: the classifier is asked once more."""


async def _streamed(asked: Any) -> list[Any]:
    return [part async for part in asked.astream(ask(VAGUE), stream_mode=["messages", "values"])]


@pytest.mark.parametrize("streams", [False, True], ids=["asked", "streamed"])
@pytest.mark.parametrize("fault", FAULTS)
def test_request_is_not_lost_to_a_classifier_that_breaks(fault: FaultKind, *, streams: bool) -> None:
    plan = Faults.script([{"call": 1, "model": "nano", "fault": fault, "retry_after_s": 0, "seconds": 1.5}])
    with served(plan) as server:
        asked = agent(server.url)
        result = asyncio.run(_streamed(asked))[-1][1] if streams else asked.invoke(ask(VAGUE))
        assert server.stats["by_model"]["gpt-5.4-nano"] == (2 if fault in UNREAD else 1)
    is_classified = fault == "slow" or fault in UNREAD
    assert result["messages"][-1].text == "It is at the depot."
    assert result["route"]["tier"] == ("mini" if is_classified else "flagship")
    assert ("The classifier failed" in result["route"]["reason"]) != is_classified


@pytest.mark.parametrize("fault", sorted(UNREAD))
def test_classification_that_cannot_be_read_twice_is_not_asked_for_a_third_time(fault: FaultKind) -> None:
    plan = Faults.script([{"call": call, "model": "nano", "fault": fault} for call in (1, 2)])
    with served(plan) as server:
        result = agent(server.url).invoke(ask(VAGUE))
        assert server.stats["by_model"] == {"gpt-5.4-nano": 2, "gpt-5.4": 1}
    assert result["route"]["tier"] == "flagship"
    assert [entry["role"] for entry in result["ledger"]] == ["classify", "classify", "answer"]


async def test_classifier_is_not_streamed_to_whoever_streams_the_answer() -> None:
    with served(Faults()) as server:
        parts = await _streamed(agent(server.url))
    shown = "".join(part[0].text for mode, part in parts if mode == "messages")
    assert shown == "It is at the depot."


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_answer_that_breaks_its_schema_is_booked_with_what_it_used(method: Any, *, is_async: bool) -> None:
    class Answer(BaseModel):
        tier: Literal["nano", "mini"]

    with OfflineServer(models={"gpt-5.4-nano": ScriptedChatModel(script=["{}"], model_name="gpt-5.4-nano")}) as server:
        model = ChatOpenAI(model="gpt-5.4-nano", base_url=server.url, api_key="x", max_retries=0)
        asked = model.with_structured_output(Answer, method=method, include_raw=True)
        with collect_ledger() as ledger, suppress(ValidationError):
            asyncio.run(asked.ainvoke("hi")) if is_async else asked.invoke("hi")
        told = server.stats["tokens"]
    (entry,) = ledger
    assert (entry["input_tokens"], entry["output_tokens"]) == (told["input_tokens"], told["output_tokens"])
    assert entry["cost_usd"] == pytest.approx(told["input_tokens"] * 0.20e-6 + told["output_tokens"] * 1.25e-6)
