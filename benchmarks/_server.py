"""A Chat Completions server that answers at once, so that a benchmark measures its client alone.

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

USAGE = {
    "prompt_tokens": 60,
    "completion_tokens": 4,
    "total_tokens": 64,
    "prompt_tokens_details": {"cached_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0},
}


@contextmanager
def server() -> Iterator[str]:
    """Start the server, give its base URL, and stop it after the block."""
    command = [sys.executable, __file__]
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


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of one connection until it closes, or the server stops."""
    with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
            body = json.dumps(completion(json.loads(await reader.readexactly(length)))).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
            )
    writer.close()


async def _main() -> None:
    listening = await asyncio.start_server(_serve, "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{listening.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)  # ends when whoever started this process closes it, or dies
    listening.close()


if __name__ == "__main__":
    asyncio.run(_main())
