"""The tokens of real recorded OpenAI traffic, read through LangChain's own integration and a replaying transport.

The recordings lie outside the repository; without them there is nothing to test here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from langchain_tiered.accounting import collect_ledger

RECORDINGS = Path(__file__).parents[3] / "../shared/wire/recordings.jsonl"
UNREADABLE = {"rec057": "a custom tool call, for which LangChain raises AttributeError after the answer came"}
ODD_HEADERS = {"content-encoding", "content-length", "transfer-encoding"}

if not RECORDINGS.exists():
    pytest.skip("The recordings are not here.", allow_module_level=True)


def _usages(body: Any) -> list[dict[str, Any]]:
    """Return the usages that a body tells, a stream's in order."""
    if isinstance(body, dict):
        return [body["usage"]] if body.get("usage") else []
    lines = [line.removeprefix("data: ") for line in body.splitlines() if line.startswith("data: {")]
    events = [json.loads(line) for line in lines]
    return [usage for event in events if (usage := event.get("usage") or (event.get("response") or {}).get("usage"))]


def _answered() -> list[dict[str, Any]]:
    recordings = map(json.loads, RECORDINGS.read_text(encoding="utf-8").splitlines())
    return [one for one in recordings if one["status"] == 200 and _usages(one["response_body"])]


def _recording(recording_id: str) -> dict[str, Any]:
    return next(one for one in _answered() if one["id"] == recording_id)


def _replay(recording: dict[str, Any]) -> Any:
    httpx2 = pytest.importorskip("httpx2")
    openai = pytest.importorskip("langchain_openai")
    body = recording["response_body"]
    headers = {k: v for k, v in recording["response_headers"].items() if k.lower() not in ODD_HEADERS}
    content = body if isinstance(body, str) else json.dumps(body)
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, content=content))
    return openai.ChatOpenAI(
        model=recording["model"],
        api_key="none",
        max_retries=0,
        http_client=httpx2.Client(transport=transport),
        use_responses_api=recording["api"] == "responses",
        streaming=isinstance(body, str),
        stream_usage=True,
    )


READABLE = [one for one in _answered() if one["id"] not in UNREADABLE]


@pytest.mark.parametrize("recording", READABLE, ids=lambda one: one["id"])
def test_ledger_has_the_tokens_that_the_provider_reported(recording: dict[str, Any]) -> None:
    with collect_ledger() as ledger:
        _replay(recording).invoke("hi")
    (entry,) = ledger
    usage = _usages(recording["response_body"])[-1]
    read = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    made = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
    expected = {
        "input_tokens": usage.get("prompt_tokens", usage.get("input_tokens")),
        "cached_tokens": read.get("cached_tokens"),
        "output_tokens": usage.get("completion_tokens", usage.get("output_tokens")),
        "reasoning_tokens": made.get("reasoning_tokens"),
    }
    assert {name: entry[name] for name in expected} == expected  # type: ignore[literal-required]
    assert entry["cost_usd"] is None or entry["cost_usd"] > 0


@pytest.mark.parametrize(
    ("recording_id", "per_million"),
    [("rec068", (0.025, 0.2)), ("rec117", (2.5, 20.0)), ("rec072", (0.75, 4.5)), ("rec137", (2.5, 15.0))],
    ids=["gpt-5-nano flex", "gpt-5 priority", "gpt-5.4-mini", "gpt-5.4"],
)
def test_recorded_call_has_the_price_of_its_service_tier(recording_id: str, per_million: tuple[float, float]) -> None:
    with collect_ledger() as ledger:
        _replay(_recording(recording_id)).invoke("hi")
    (entry,) = ledger
    input_usd, output_usd = per_million
    expected = ((entry["input_tokens"] or 0) * input_usd + (entry["output_tokens"] or 0) * output_usd) / 1_000_000
    assert entry["cost_usd"] == pytest.approx(expected)


@pytest.mark.parametrize("recording_id", UNREADABLE)
def test_paid_answer_that_langchain_cannot_read_is_not_booked_as_free(recording_id: str) -> None:
    with collect_ledger() as ledger, pytest.raises(AttributeError):
        _replay(_recording(recording_id)).invoke("hi")
    assert [(entry["outcome"], entry["cost_usd"]) for entry in ledger] == [("failed", None)]


def test_answer_too_short_for_its_schema_is_booked_with_the_usage_on_the_error() -> None:
    schema = {"title": "answer", "type": "object", "properties": {"word": {"type": "string"}}}
    structured = _replay(_recording("rec045")).with_structured_output(schema, method="json_schema")
    with collect_ledger() as ledger, pytest.raises(Exception, match="length limit"):
        structured.invoke("hi")
    (entry,) = ledger
    assert (entry["outcome"], entry["input_tokens"], entry["output_tokens"]) == ("failed", 14, 15)
    assert entry["cost_usd"] == pytest.approx(14 * 0.15e-6 + 15 * 0.60e-6)
