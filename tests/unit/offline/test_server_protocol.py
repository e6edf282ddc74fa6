"""The offline server speaks OpenAI's protocols so that `ChatOpenAI` reads everything, and counts what it tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from langchain_tiered.offline.server import OfflineServer

if TYPE_CHECKING:
    from collections.abc import Iterator

PIXEL = "data:image/png;base64,iVBORw0KGgo="
USAGE = {"input_tokens": 900, "cached_tokens": 512, "output_tokens": 70, "reasoning_tokens": 64}


@tool
def track_order(order: int) -> str:
    """Track an order: where it is."""
    return f"Order {order} is in Leeds."


class Mood(BaseModel):
    """What a message feels like."""

    mood: Literal["positive", "negative"]


@pytest.fixture
def server() -> Iterator[OfflineServer]:
    with OfflineServer() as served:
        yield served


@pytest.fixture(params=["chat", "responses"])
def api(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def client(server: OfflineServer, api: str = "chat", model: str = "gpt-5.4-nano", **options: Any) -> ChatOpenAI:
    options = {"max_retries": 0, "stream_usage": True, **options}
    return ChatOpenAI(model=model, base_url=server.url, use_responses_api=api == "responses", api_key="x", **options)


async def ask(model: Any, given: Any, way: str) -> AIMessage:
    if way == "invoke":
        return model.invoke(given)  # type: ignore[no-any-return]
    if way == "ainvoke":
        return await model.ainvoke(given)  # type: ignore[no-any-return]
    whole: AIMessageChunk | None = None
    chunks = model.stream(given) if way == "stream" else [chunk async for chunk in model.astream(given)]
    for chunk in chunks:
        whole = chunk if whole is None else whole + chunk
    assert whole is not None
    return whole


def told(message: AIMessage) -> dict[str, int]:
    usage: Any = message.usage_metadata
    return {
        "input_tokens": usage["input_tokens"],
        "cached_tokens": usage["input_token_details"]["cache_read"],
        "output_tokens": usage["output_tokens"],
        "reasoning_tokens": usage["output_token_details"]["reasoning"],
    }


WAYS = pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])


@WAYS
async def test_client_reads_text_model_and_usage_that_the_server_counted(
    server: OfflineServer, api: str, way: str
) -> None:
    answer = await ask(client(server, api), "Labels: bug, praise.\n\nThe app has a bug.", way)
    assert answer.text == "bug"
    assert answer.response_metadata["model_name"] == "gpt-5.4-nano-2026-03-17"
    assert server.stats["tokens"] == told(answer)
    assert server.stats["untold_tokens"]["input_tokens"] == 0
    assert server.stats["by_model"] == {"gpt-5.4-nano": 1}
    assert server.stats["by_endpoint"] == {f"/v1/{'chat/completions' if api == 'chat' else 'responses'}": 1}


@WAYS
async def test_cached_and_reasoning_tokens_reach_the_client(api: str, way: str) -> None:
    with OfflineServer(script=[{"text": "Yes.", "usage": USAGE}]) as server:
        answer = await ask(client(server, api), "Hello?", way)
        assert told(answer) == USAGE == server.stats["tokens"]


@WAYS
async def test_tool_loop_runs_to_its_end(server: OfflineServer, api: str, way: str) -> None:
    model = client(server, api, "gpt-5.4-mini").bind_tools([track_order])
    thread: list[Any] = [HumanMessage("Track orders 1042 and 1043.")]
    answer = await ask(model, thread, way)
    assert [call["args"] for call in answer.tool_calls] == [{"order": 1042}, {"order": 1043}]
    assert not answer.invalid_tool_calls
    thread += [answer, *(track_order.invoke(call) for call in answer.tool_calls)]
    last = await ask(model, thread, way)
    assert "Order 1042 is in Leeds." in last.text
    assert not last.tool_calls
    assert server.stats["rejected"] == 0


async def test_strict_tools_one_at_a_time_and_a_forced_choice(server: OfflineServer, api: str) -> None:
    strict = client(server, api, "gpt-5.4-mini").bind_tools([track_order], strict=True, parallel_tool_calls=False)
    assert len(strict.invoke("Track orders 1042 and 1043.").tool_calls) == 1
    forced = client(server, api).bind_tools([track_order], tool_choice="track_order")
    assert forced.invoke("Hello 7").tool_calls[0]["name"] == "track_order"
    never = client(server, api).bind_tools([track_order], tool_choice="none")
    assert not never.invoke("Track order 1042.").tool_calls


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output_fits_the_schema(server: OfflineServer, api: str, method: Any) -> None:
    structured = client(server, api).with_structured_output(Mood, method=method, strict=True)
    assert structured.invoke("I love it, thank you!") == Mood(mood="positive")


def test_image_reaches_the_model_in_both_forms(server: OfflineServer, api: str) -> None:
    content: Any = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    assert "cannot see images" in client(server, api).invoke([HumanMessage(content)]).text


@pytest.mark.parametrize("tier", ["flex", "priority"])
def test_service_tier_is_the_one_that_was_asked_for(server: OfflineServer, api: str, tier: str) -> None:
    answer = client(server, api, service_tier=tier).invoke("Hello")
    assert answer.response_metadata["service_tier"] == tier
    assert client(server, api).invoke("Hello").response_metadata["service_tier"] == "default"


def test_usage_of_a_stream_that_does_not_ask_for_it_counts_as_untold(server: OfflineServer) -> None:
    chunks = list(client(server, stream_usage=False).stream("Hello"))
    assert all(chunk.usage_metadata is None for chunk in chunks)
    assert server.stats["untold_tokens"] == server.stats["tokens"]
    assert server.stats["tokens"]["output_tokens"] > 0


def test_limit_on_output_cuts_the_answer_and_says_so(server: OfflineServer) -> None:
    answer = client(server, max_completion_tokens=3).invoke("Hello")
    assert answer.response_metadata["finish_reason"] == "length"
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == 3
    assert len(answer.text) == 12


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ("gpt-5.4-nano", "gpt-5.4-nano-2026-03-17"),
        ("gpt-5.4-mini-2026-03-17", "gpt-5.4-mini-2026-03-17"),
        ("gpt-5.4", "gpt-5.4-2026-03-05"),
    ],
)
def test_answer_names_the_dated_model(server: OfflineServer, model: str, named: str) -> None:
    assert client(server, model=model).invoke("Hello").response_metadata["model_name"] == named


@pytest.mark.parametrize("way", ["invoke", "stream"])
async def test_script_is_followed_by_model_and_in_order(api: str, way: str) -> None:
    call = {"name": "track_order", "args": {"order": 1}, "id": "call_1"}
    script: list[dict[str, Any]] = [
        {"model": "mini", "text": "Two."},
        {"text": "One."},
        {"tool_calls": [call]},
        {"refusal": "No."},
    ]
    with OfflineServer(script=script) as server:
        nano, mini = client(server, api), client(server, api, "gpt-5.4-mini")
        assert (await ask(nano, "Hello", way)).text == "One."
        assert (await ask(mini, "Hello", way)).text == "Two."
        answer = await ask(nano.bind_tools([track_order]), "Hello", way)
        assert [(each["id"], each["args"]) for each in answer.tool_calls] == [("call_1", {"order": 1})]
        assert server.stats["script_left"] == 1
        await ask(nano, "Hello", way)
        with pytest.raises(Exception, match=r"has no answer left for 'gpt-5\.4-nano'"):
            await ask(nano, "Hello", way)
        server.reset()
        assert server.stats["script_left"] == 4


def test_own_models_are_served_under_their_names() -> None:
    from langchain_core.language_models import GenericFakeChatModel  # noqa: PLC0415  (this test alone)

    own = GenericFakeChatModel(messages=iter([AIMessage("Mine.")]))
    with OfflineServer(models={"my-model": own}) as server:
        answer = client(server, model="my-model").invoke("Hello")
        assert (answer.text, answer.response_metadata["model_name"]) == ("Mine.", "my-model")
        assert server.models == ["my-model"]


def test_malformed_call_in_the_history_is_read(server: OfflineServer) -> None:
    broken = {"name": "track_order", "args": '{"order": 10', "id": "call_1", "error": None}
    said = AIMessage("", invalid_tool_calls=[{**broken, "type": "invalid_tool_call"}])
    thread = [HumanMessage("Track order 1042."), said, ToolMessage("The arguments are no JSON.", tool_call_id="call_1")]
    assert client(server).invoke(thread).text
