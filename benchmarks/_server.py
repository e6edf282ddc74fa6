"""A Chat Completions server that answers at once, or after a while, so that a benchmark measures its client alone.

It runs in a process of its own, on a free port of the loopback interface, and stops when its standard input closes.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

TOOL_ARGUMENTS = {"order": 1042}
"""What every tool call is made with."""

CLASSIFIED = {"reason": "One short question.", "task": "lookup", "tier": "nano", "confidence": 0.9}
"""What is said where a structured answer is wanted."""

USAGE = {
    "prompt_tokens": 60,
    "completion_tokens": 4,
    "total_tokens": 64,
    "prompt_tokens_details": {"cached_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0},
}


@contextmanager
def server(latency_s: float = 0.0) -> Iterator[str]:
    """Start the server, give its base URL, and stop it after the block."""
    command = [sys.executable, __file__, str(latency_s)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  (this very file)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.stdin.close()


def completion(request: dict[str, Any]) -> dict[str, Any]:
    """Return what is answered: a call of the first tool to a user's message, else a text."""
    message: dict[str, Any] = {"role": "assistant", "content": "bug", "refusal": None}
    calls = bool(request.get("tools")) and request["messages"][-1]["role"] == "user"
    if "response_format" in request:
        message["content"] = json.dumps(CLASSIFIED)
    if calls:
        function = {"name": request["tools"][0]["function"]["name"], "arguments": json.dumps(TOOL_ARGUMENTS)}
        message |= {"content": None, "tool_calls": [{"id": "call_1", "type": "function", "function": function}]}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls" if calls else "stop"}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": request["model"],
        "choices": [choice],
        "usage": USAGE,
        "service_tier": "default",
    }


def stream(request: dict[str, Any]) -> bytes:
    """Return the answer as a stream of events, a word each."""
    whole = completion(request)
    told = {"id": whole["id"], "object": "chat.completion.chunk", "created": 1, "model": whole["model"]}
    words = ["It ", "is ", "a ", "bug."]
    deltas = [{"role": "assistant", "content": ""}, *({"content": word} for word in words), {}]
    chunks = [{**told, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks[-1]["choices"][0]["finish_reason"] = "stop"
    chunks.append({**told, "choices": [], "usage": USAGE})
    return b"".join(b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks) + b"data: [DONE]\n\n"


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of one connection until it closes, or the server stops."""
    latency_s = float(sys.argv[1])
    with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
            request = json.loads(await reader.readexactly(length))
            if latency_s:
                await asyncio.sleep(latency_s)
            streams = request.get("stream")
            body = stream(request) if streams else json.dumps(completion(request)).encode()
            kind = b"text/event-stream" if streams else b"application/json"
            head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (kind, len(body))
            writer.write(head + body)
    writer.close()


async def _main() -> None:
    listening = await asyncio.start_server(_serve, "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{listening.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)  # ends when whoever started this process closes it, or dies
    listening.close()


if __name__ == "__main__":
    asyncio.run(_main())
