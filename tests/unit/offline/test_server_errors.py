"""The offline server refuses what OpenAI would refuse, with its statuses and bodies."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import pytest
from langchain_openai import ChatOpenAI

from langchain_tiered.cascade.failures import failure_of
from langchain_tiered.offline.server import OfflineServer

if TYPE_CHECKING:
    from collections.abc import Iterator

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
USER = {"role": "user", "content": "Hello"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "refund", "arguments": "{}"}}
LOOSE = {"type": "object", "properties": {"order": {"type": "integer"}}, "required": []}
OPEN = {**LOOSE, "required": ["order"]}


@pytest.fixture(scope="module")
def server() -> Iterator[OfflineServer]:
    with OfflineServer() as served:
        yield served


def send(server: OfflineServer, method: str, path: str, body: Any = None) -> tuple[int, dict[str, str], Any]:
    connection = HTTPConnection(server.url.removeprefix("http://").removesuffix("/v1"), timeout=10)
    try:
        connection.request(method, path, body if isinstance(body, (bytes, type(None))) else json.dumps(body))
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, json.load(response)
    finally:
        connection.close()


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "gpt-5.4-nano", "messages": [USER], **fields}


def asked(**fields: Any) -> dict[str, Any]:
    return {"model": "gpt-5.4-nano", "input": "Hello", **fields}


def function(**fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "refund", **fields}}


@pytest.mark.parametrize(
    ("path", "body", "param", "code", "told"),
    [
        (CHAT, b"{", None, None, "could not parse the JSON body"),
        (CHAT, b"\xff\xfe", None, None, "could not parse the JSON body"),
        (CHAT, [1], None, None, "could not parse the JSON body"),
        (CHAT, {"messages": [USER]}, None, None, "you must provide a model parameter"),
        (CHAT, {"model": "gpt-5.4"}, "messages", "missing_required_parameter", "'messages'"),
        (CHAT, chat(messages=[]), "messages", "empty_array", "empty array"),
        (CHAT, chat(messages="Hello"), "messages", "invalid_type", "expected an array of objects, but got a string"),
        (CHAT, chat(messages=[7]), "messages[0]", "invalid_type", "an object"),
        (CHAT, chat(messages=[{"content": "x"}]), "messages[0].role", "missing_required_parameter", "role"),
        (CHAT, chat(messages=[{**USER, "role": "boss"}]), "messages[0].role", "invalid_value", "'boss'"),
        (CHAT, chat(messages=[{"role": "user"}]), "messages[0].content", "invalid_type", "null"),
        (CHAT, chat(messages=[{**USER, "content": [{}]}]), "messages[0].content[0].type",
         "missing_required_parameter", "messages[0].content[0].type"),
        (CHAT, chat(messages=[{**USER, "content": [{"type": "image_url", "image_url": {"url": "cat.png"}}]}]),
         "messages[0].content[0].image_url.url", "invalid_value", "valid URL"),
        (CHAT, chat(messages=[USER, {"role": "assistant", "tool_calls": [CALL]}]), "messages", None, "call_1"),
        (CHAT, chat(messages=[USER, {"role": "tool", "content": "x", "tool_call_id": "call_1"}]), "messages", None,
         "must be a response to a preceding message"),
        (CHAT, chat(stream="yes"), "stream", "invalid_type", "expected a boolean, but got a string"),
        (CHAT, chat(max_completion_tokens=0), "max_completion_tokens", "integer_below_min_value", ">= 1"),
        (CHAT, chat(n=2), "n", "invalid_value", "one choice"),
        (CHAT, chat(tools=[{"function": {}}]), "tools[0].type", "missing_required_parameter", "tools[0].type"),
        (CHAT, chat(tools=[{"type": "function", "function": {}}]), "tools[0].function.name",
         "missing_required_parameter", "name"),
        (CHAT, chat(tools=[function(strict=True, parameters=OPEN)]), "tools[0].function.parameters",
         "invalid_function_parameters", "'additionalProperties' is required"),
        (CHAT, chat(tools=[function(strict=True, parameters={**LOOSE, "additionalProperties": False})]),
         "tools[0].function.parameters", "invalid_function_parameters", "Missing 'order'"),
        (CHAT, chat(tool_choice="required"), "tool_choice", None, "only allowed when 'tools' are specified"),
        (CHAT, chat(tools=[function()], tool_choice=function(name="pay")), "tool_choice", None, "'pay' not found"),
        (CHAT, chat(response_format={"type": "json_schema", "json_schema": {"name": "x"}}),
         "response_format.json_schema.schema", "missing_required_parameter", "schema"),
        (CHAT, chat(response_format={"type": "json_schema", "json_schema": {"name": "x", "strict": True,
                                                                          "schema": OPEN}}),
         "response_format", None, "additionalProperties"),
        (RESPONSES, {"model": "gpt-5.4"}, "input", "missing_required_parameter", "'input'"),
        (RESPONSES, asked(input=7), "input", "invalid_type", "expected a string or an array of objects"),
        (RESPONSES, asked(input=["x"]), "input[0]", "invalid_type", "an object"),
        (RESPONSES, asked(max_output_tokens=3), "max_output_tokens", "integer_below_min_value", ">= 16"),
        (RESPONSES, asked(previous_response_id="resp_1"), "previous_response_id", "previous_response_not_found",
         "resp_1"),
        (RESPONSES, asked(input=[{"type": "function_call", "call_id": "call_1", "name": "refund"}]), "input", None,
         "No tool output found for function call call_1"),
        (RESPONSES, asked(input=[{"type": "function_call_output", "call_id": "call_1", "output": "x"}]), "input", None,
         "No tool call found for function call output with call_id call_1"),
        (RESPONSES, asked(model="gpt-9"), "model", "model_not_found", "'gpt-9' does not exist"),
    ],
)  # fmt: skip
def test_bad_request_gets_400_in_openais_shape(
    server: OfflineServer, path: str, body: Any, param: str | None, code: str | None, told: str
) -> None:
    status, headers, answer = send(server, "POST", path, body)
    assert status == 400
    assert headers["content-type"] == "application/json"
    error = answer["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)
    assert told in error["message"]


def test_refused_requests_are_no_calls_and_cost_nothing() -> None:
    with OfflineServer() as server:
        send(server, "POST", CHAT, b"{")
        stats = server.stats
        assert (stats["calls"], stats["rejected"], stats["tokens"]["input_tokens"]) == (0, 1, 0)


@pytest.mark.parametrize("use_responses_api", [False, True])
def test_unknown_model_is_the_callers_mistake(server: OfflineServer, use_responses_api: Any) -> None:
    model = ChatOpenAI(
        model="gpt-9", base_url=server.url, api_key="x", max_retries=0, use_responses_api=use_responses_api
    )
    with pytest.raises(Exception, match="does not exist") as caught:
        model.invoke("Hello")
    failure = failure_of(caught.value)
    assert failure is not None
    assert failure["kind"] == "unknown_model"
    assert getattr(caught.value, "status_code", None) == (400 if use_responses_api else 404)


@pytest.mark.parametrize("use_responses_api", [False, True])
def test_input_beyond_the_window_overflows(server: OfflineServer, use_responses_api: Any) -> None:
    model = ChatOpenAI(
        model="gpt-5.4-nano", base_url=server.url, api_key="x", max_retries=0, use_responses_api=use_responses_api
    )
    with pytest.raises(Exception, match="context") as caught:
        model.invoke("word " * 330_000)
    failure = failure_of(caught.value)
    assert failure is not None
    assert failure["kind"] == "overflow"


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/embeddings"), ("GET", CHAT), ("GET", "/")])
def test_other_urls_are_404_in_openais_shape(server: OfflineServer, method: str, path: str) -> None:
    status, _, answer = send(server, method, path)
    assert status == 404
    assert answer["error"]["message"] == f"Invalid URL ({method} {path})"


def test_answer_carries_the_headers_of_the_real_api(server: OfflineServer) -> None:
    status, headers, _ = send(server, "POST", CHAT, chat())
    assert status == 200
    assert headers["x-request-id"].startswith("req_")
    assert int(headers["openai-processing-ms"]) >= 0
    limit, left = headers["x-ratelimit-limit-tokens"], headers["x-ratelimit-remaining-tokens"]
    assert int(left) == int(limit) - 2
    assert send(server, "POST", CHAT, chat())[1]["x-request-id"] != headers["x-request-id"]


def test_models_are_listed_counts_told_and_reset(server: OfflineServer) -> None:
    _, _, listed = send(server, "GET", "/v1/models")
    assert [model["id"] for model in listed["data"]] == ["gpt-5.4-nano", "gpt-5.4-mini", "gpt-5.4"]
    send(server, "POST", CHAT, chat())
    assert send(server, "GET", "/_stats")[2]["calls"] >= 1
    send(server, "POST", "/_reset")
    assert send(server, "GET", "/_stats")[2]["calls"] == 0


def test_lone_surrogate_and_deep_nesting_leave_the_server_alive(server: OfflineServer) -> None:
    assert send(server, "POST", CHAT, chat(messages=[{**USER, "content": "\ud800"}]))[0] == 200
    assert send(server, "POST", CHAT, b"[" * 100_000)[0] == 400
    assert send(server, "POST", CHAT, chat())[0] == 200
