"""A local server that speaks the native wire of four vendors, and says what a test has written down for it."""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import dataclass, field
from itertools import count
from threading import Thread
from typing import TYPE_CHECKING, Any, ClassVar, Self

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

_ids = count(100_000_000)
_CLOSE = {"connection": "close"}  # not every vendor's client closes what it has opened


@dataclass(frozen=True)
class Said:
    """What a model says, in no vendor's words."""

    text: str = ""
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    value: dict[str, Any] | None = None
    """A structured answer, given as the request asks for it: as JSON, or as a call of its tool."""
    stop: str | None = None
    """The vendor's own word for why it stopped, or `None` for the usual one."""
    thoughts: int = 0
    blocks: tuple[dict[str, Any], ...] = ()
    """Content of the vendor's own form, before the text."""
    usage: dict[str, Any] = field(default_factory=dict)
    """What the vendor's usage has besides."""
    beside: dict[str, Any] = field(default_factory=dict)
    """What stands beside the content, where a vendor has such a thing."""
    whole: dict[str, Any] | None = None
    """A body to send as it stands."""


@dataclass(frozen=True)
class Broken:
    """An error that the vendor answers with."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


INPUT, CACHED, OUTPUT, THOUGHT = 100, 40, 20, 8
"""Tokens of each answer: the input has the cached ones, the output the thoughts, whatever the vendor counts in."""


class Wire:
    """What one vendor's protocol is made of."""

    vendor: ClassVar[str]
    model: ClassVar[str]
    paths: ClassVar[tuple[str, ...]]
    media = "text/event-stream"
    cut: ClassVar[str]

    @property
    def spec(self) -> str:
        """The `provider:model` string."""
        return f"{self.vendor}:{self.model}"

    def environment(self, url: str) -> dict[str, str]:
        """Return the variables that send the vendor's client here."""
        raise NotImplementedError

    def schema_tool(self, body: dict[str, Any]) -> str | None:
        """Return the tool that gives the structured answer; `None` where the answer is JSON."""
        raise NotImplementedError

    def whole(self, said: Said) -> dict[str, Any]:
        """Return the body of an answer."""
        raise NotImplementedError

    def parts(self, said: Said) -> Iterator[str]:
        """Yield a streamed answer."""
        raise NotImplementedError

    def is_streamed(self, path: str, body: dict[str, Any]) -> bool:
        """Tell whether an answer is to be streamed."""
        del path
        return bool(body.get("stream"))

    def error(self, kind: str) -> Broken | Said:
        """Return what the vendor answers where something of this kind is wrong."""
        raise NotImplementedError


_EMPTY: dict[str, dict[str, Any]] = {"text": {"text": ""}, "tool_use": {"input": {}}}
"""What stands in a block as it begins; the rest comes in parts."""


class Anthropic(Wire):
    """`POST /v1/messages`."""

    vendor, model, paths, cut = "anthropic", "claude-haiku-4-5", ("/anthropic/v1/messages",), "max_tokens"

    def environment(self, url: str) -> dict[str, str]:
        return {"ANTHROPIC_API_KEY": "sk-ant-test", "ANTHROPIC_BASE_URL": f"{url}/anthropic"}

    def schema_tool(self, body: dict[str, Any]) -> str | None:
        return None if "output_format" in body or "output_config" in body else body["tools"][-1]["name"]

    def whole(self, said: Said) -> dict[str, Any]:
        content = [*said.blocks, *([{"type": "text", "text": said.text}] if said.text else [])]
        content += [
            {"type": "tool_use", "id": f"toolu_{next(_ids)}", "name": name, "input": args} for name, args in said.calls
        ]
        return {
            "id": f"msg_{next(_ids)}",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": said.stop or ("tool_use" if said.calls else "end_turn"),
            "stop_sequence": None,
            "usage": {
                "input_tokens": INPUT - CACHED,
                "cache_read_input_tokens": CACHED,
                "cache_creation_input_tokens": 0,
                "output_tokens": OUTPUT,
                **said.usage,
            },
        }

    def parts(self, said: Said) -> Iterator[str]:
        whole = self.whole(said)
        usage = {**whole["usage"], "output_tokens": 1}
        start = {**whole, "content": [], "stop_reason": None, "usage": usage}
        events: list[dict[str, Any]] = [{"type": "message_start", "message": start}]
        for index, block in enumerate(whole["content"]):
            empty = _EMPTY.get(block["type"], {})
            events.append({"type": "content_block_start", "index": index, "content_block": {**block, **empty}})
            deltas: list[dict[str, Any]] = []
            if block["type"] == "text":
                deltas = [{"type": "text_delta", "text": part} for part in _words(block["text"])]
            elif block["type"] == "tool_use":
                deltas = [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]
            events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
            events.append({"type": "content_block_stop", "index": index})
        delta = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
        events.append({"type": "message_delta", "delta": delta, "usage": whole["usage"]})
        events.append({"type": "message_stop"})
        yield from (f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)

    def error(self, kind: str) -> Broken | Said:
        def body(name: str, message: str) -> dict[str, Any]:
            return {"type": "error", "error": {"type": name, "message": message}, "request_id": "req_1"}

        told: dict[str, Broken | Said] = {
            "rate_limit": Broken(429, body("rate_limit_error", "Too many requests."), {"retry-after": "3"}),
            "overloaded": Broken(529, body("overloaded_error", "Overloaded")),
            "overflow": Broken(
                400, body("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum")
            ),
            "too_large": Broken(413, body("request_too_large", "Request exceeds the maximum size")),
            "bad_key": Broken(401, body("authentication_error", "invalid x-api-key")),
            "no_model": Broken(404, body("not_found_error", "model: claude-haiku-4-5")),
            "invalid": Broken(400, body("invalid_request_error", "max_tokens: Field required")),
            "unpaid": Broken(400, body("invalid_request_error", "Your credit balance is too low to access the API.")),
            "refusal": Said("", stop="refusal"),
        }
        return told[kind]


class Gemini(Wire):
    """`POST /v1beta/models/{model}:generateContent`."""

    vendor, model, cut = "google_genai", "gemini-2.5-flash-lite", "MAX_TOKENS"
    paths = tuple(f"/gemini/v1beta/models/{{model}}:{verb}" for verb in ("generateContent", "streamGenerateContent"))

    def environment(self, url: str) -> dict[str, str]:
        return {"GOOGLE_API_KEY": "AIzaTest", "GOOGLE_GEMINI_BASE_URL": f"{url}/gemini"}

    def is_streamed(self, path: str, body: dict[str, Any]) -> bool:
        return path.endswith(":streamGenerateContent")

    def schema_tool(self, body: dict[str, Any]) -> str | None:
        if "application/json" in str(body.get("generationConfig", {}).get("responseMimeType")):
            return None
        name: str = body["tools"][-1]["functionDeclarations"][-1]["name"]
        return name

    def whole(self, said: Said) -> dict[str, Any]:
        return self._body([*said.blocks, *([{"text": said.text}] if said.text else [])], said, said.stop or "STOP")

    def parts(self, said: Said) -> Iterator[str]:
        *words, last = _words(said.text) or [""]
        for word in words:
            yield f"data: {json.dumps(self._body([{'text': word}], Said(), None))}\n\n"
        told = [*said.blocks, *([{"text": last}] if last else [])]
        yield f"data: {json.dumps(self._body(told, said, said.stop or 'STOP'))}\n\n"

    def _body(self, parts: list[dict[str, Any]], said: Said, stop: str | None) -> dict[str, Any]:
        if said.whole is not None:
            return said.whole
        parts += [{"functionCall": {"name": name, "args": args}} for name, args in said.calls]
        candidate: dict[str, Any] = {"index": 0, "content": {"role": "model", "parts": parts}, **said.beside}
        if stop is not None:
            candidate["finishReason"] = stop
        usage = {"promptTokenCount": INPUT, "cachedContentTokenCount": CACHED, "totalTokenCount": INPUT + OUTPUT}
        usage |= {"candidatesTokenCount": OUTPUT - said.thoughts, **said.usage}
        if said.thoughts:
            usage["thoughtsTokenCount"] = said.thoughts
        return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": self.model}

    def error(self, kind: str) -> Broken | Said:
        def body(code: int, status: str, message: str) -> Broken:
            return Broken(code, {"error": {"code": code, "message": message, "status": status}})

        usage = {"promptTokenCount": INPUT, "totalTokenCount": INPUT}
        blocked = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": usage}
        told: dict[str, Broken | Said] = {
            "rate_limit": body(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota."),
            "overloaded": body(503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
            "overflow": body(
                400, "INVALID_ARGUMENT", "The input token count (1200000) exceeds the maximum number of tokens allowed."
            ),
            "bad_key": body(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
            "no_model": body(404, "NOT_FOUND", "models/gemini-0 is not found for API version v1beta."),
            "invalid": body(400, "INVALID_ARGUMENT", "Invalid value at 'contents[0].parts'."),
            "refusal": Said("", stop="SAFETY"),
            "blocked": Said(whole={**blocked, "modelVersion": self.model}),
        }
        return told[kind]


class Mistral(Wire):
    """`POST /v1/chat/completions`."""

    vendor, model, paths, cut = "mistralai", "mistral-small-latest", ("/mistral/chat/completions",), "length"

    def environment(self, url: str) -> dict[str, str]:
        return {"MISTRAL_API_KEY": "test", "MISTRAL_BASE_URL": f"{url}/mistral"}

    def schema_tool(self, body: dict[str, Any]) -> str | None:
        return None if "response_format" in body else str(body["tools"][-1]["function"]["name"])

    def _usage(self, said: Said) -> dict[str, Any]:
        told = {"prompt_tokens": INPUT, "completion_tokens": OUTPUT, "total_tokens": INPUT + OUTPUT}
        return {**told, **said.usage}

    def _calls(self, said: Said) -> list[dict[str, Any]]:
        return [
            {"id": str(next(_ids)), "index": place, "function": {"name": name, "arguments": json.dumps(args)}}
            for place, (name, args) in enumerate(said.calls)
        ]

    def whole(self, said: Said) -> dict[str, Any]:
        stop = said.stop or ("tool_calls" if said.calls else "stop")
        message = {"role": "assistant", "content": said.text, "tool_calls": self._calls(said) or None}
        choice = {"index": 0, "message": message, "finish_reason": stop}
        body = {"id": f"cmpl-{next(_ids)}", "object": "chat.completion", "created": 1, "model": self.model}
        return {**body, "choices": [choice], "usage": self._usage(said)}

    def parts(self, said: Said) -> Iterator[str]:
        stop = said.stop or ("tool_calls" if said.calls else "stop")
        body = {"id": f"cmpl-{next(_ids)}", "object": "chat.completion.chunk", "created": 1, "model": self.model}
        deltas = [{"role": "assistant", "content": word} for word in _words(said.text)]
        for delta in deltas:
            yield _event({**body, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        last: dict[str, Any] = {"role": "assistant", "content": ""}
        if said.calls:
            last["tool_calls"] = self._calls(said)
        choice = {"index": 0, "delta": last, "finish_reason": stop}
        yield _event({**body, "choices": [choice], "usage": self._usage(said)})
        yield "data: [DONE]\n\n"

    def error(self, kind: str) -> Broken | Said:
        def body(name: str, message: str, code: str) -> dict[str, Any]:
            return {"object": "error", "message": message, "type": name, "param": None, "code": code}

        too_long = (
            "Prompt contains 140000 tokens and 0 draft tokens, too large for model with 131072 maximum context length"
        )
        return {
            "rate_limit": Broken(429, body("rate_limited", "Rate limit exceeded", "1300"), {"retry-after": "3"}),
            "overloaded": Broken(503, body("unreachable_backend", "Service unavailable.", "1100")),
            "overflow": Broken(400, body("invalid_request_prompt", too_long, "3051")),
            "bad_key": Broken(401, {"detail": "Unauthorized"}),
            "no_model": Broken(400, body("invalid_model", "Invalid model: mistral-none", "1500")),
            "invalid": Broken(422, {"detail": [{"loc": ["body", "messages"], "msg": "Field required"}]}),
        }[kind]


class Ollama(Wire):
    """`POST /api/chat`, streamed as lines of JSON whatever is asked for."""

    vendor, model, paths, cut = "ollama", "llama3.2", ("/api/chat",), "length"
    media = "application/x-ndjson"

    def environment(self, url: str) -> dict[str, str]:
        return {"OLLAMA_HOST": url}

    def schema_tool(self, body: dict[str, Any]) -> str | None:
        return None if body.get("format") else str(body["tools"][-1]["function"]["name"])

    def whole(self, said: Said) -> dict[str, Any]:
        calls = [{"function": {"name": name, "arguments": args}} for name, args in said.calls]
        message = {"role": "assistant", "content": said.text, **({"tool_calls": calls} if calls else {})}
        counts = {"total_duration": 10, "prompt_eval_count": INPUT, "eval_count": OUTPUT, **said.usage}
        at = {"model": self.model, "created_at": "2026-11-21T00:00:00Z"}
        return {**at, "message": message, "done": True, "done_reason": said.stop or "stop", **counts}

    def parts(self, said: Said) -> Iterator[str]:
        whole = self.whole(said)
        at = {"model": self.model, "created_at": whole["created_at"], "done": False}
        for word in _words(said.text):
            yield f"{json.dumps({**at, 'message': {'role': 'assistant', 'content': word}})}\n"
        if said.calls:
            yield f"{json.dumps({**at, 'message': {**whole['message'], 'content': ''}})}\n"
        yield f"{json.dumps({**whole, 'message': {'role': 'assistant', 'content': ''}})}\n"

    def is_streamed(self, path: str, body: dict[str, Any]) -> bool:
        return body.get("stream", True) is not False

    def error(self, kind: str) -> Broken | Said:
        return {
            "overloaded": Broken(503, {"error": "server busy, please try again.  maximum pending requests exceeded"}),
            "overflow": Broken(400, {"error": "input length exceeds the context length"}),
            "no_model": Broken(404, {"error": "model 'llama3.2' not found"}),
            "bad_key": Broken(401, {"error": "unauthorized"}),
            "rate_limit": Broken(429, {"error": "you have reached your hourly usage limit"}),
            "invalid": Broken(400, {"error": "llama3.2 does not support thinking"}),
        }[kind]


WIRES: dict[str, Wire] = {wire.vendor: wire for wire in (Anthropic(), Gemini(), Mistral(), Ollama())}


class VendorServer:
    """The four wires on one port of this machine, between `__enter__` and `__exit__`."""

    def __init__(self) -> None:
        self.script: dict[str, list[Said | Broken]] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def will(self, vendor: str, *said: Said | Broken) -> None:
        """Write down what a vendor says next, a call each; the last one repeats."""
        self.script[vendor] = list(said)

    def calls(self, vendor: str) -> int:
        """Tell how many calls a vendor has had."""
        return sum(name == vendor for name, _ in self.asked)

    def __enter__(self) -> Self:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        routes = [Route(path, self._endpoint(wire), methods=["POST"]) for wire in WIRES.values() for path in wire.paths]
        app = Starlette(routes=routes)
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        self._thread = Thread(target=lambda: asyncio.run(self._server.serve(sockets=[self._socket])), daemon=True)
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.005)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    def _endpoint(self, wire: Wire) -> Any:
        async def answer(request: Request) -> Response:
            body = await request.json()
            self.asked.append((wire.vendor, body))
            script = self.script[wire.vendor]
            said = script.pop(0) if len(script) > 1 else script[0]
            if isinstance(said, Broken):
                return JSONResponse(said.body, said.status, {**said.headers, **_CLOSE})
            if said.value is not None:
                tool = wire.schema_tool(body)
                said = Said(json.dumps(said.value)) if tool is None else Said(calls=((tool, said.value),))
            if wire.is_streamed(request.url.path, body):
                return StreamingResponse(_sent(wire.parts(said)), media_type=wire.media, headers=_CLOSE)
            return JSONResponse(said.whole or wire.whole(said), headers=_CLOSE)

        return answer


async def _sent(parts: Iterator[str]) -> Any:
    for part in parts:
        yield part


def _words(text: str) -> list[str]:
    *words, last = text.split(" ")
    return [f"{word} " for word in words] + ([last] if last else [])


def _event(told: dict[str, Any]) -> str:
    return f"data: {json.dumps(told)}\n\n"
