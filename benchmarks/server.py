"""Measure how many requests a second the offline server answers, with one client process on kept connections.

```shell
python benchmarks/server.py          # a minute on two cores; writes results/server.md
python benchmarks/server.py --quick  # ten seconds, rougher, writes nothing
```

The server runs in a process of its own, as `langchain-tiered serve-offline` starts it. The client speaks HTTP over
plain asyncio streams, so that the server and not the client is what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

if TYPE_CHECKING:
    from collections.abc import Iterator

RESULTS = Path(__file__).parent / "results" / "server.md"
GOAL = 2_000
CONNECTIONS = 16
HELLO = "What is the capital of France?"
PARAMETERS = {"type": "object", "properties": {"order": {"type": "integer"}}, "required": ["order"]}
TOOL = {"name": "refund", "description": "Refund an order.", "parameters": PARAMETERS}
COMMAND = [sys.executable, "-c", "from langchain_tiered.cli import main; main()", "serve-offline", "--port", "0"]


@dataclass(frozen=True)
class Case:
    """A kind of request."""

    told: str
    """What the table calls it."""

    path: str
    """The endpoint."""

    body: dict[str, Any]
    """What is sent."""

    goal: int | None = None
    """Requests a second at least, or `None`."""


def cases() -> list[Case]:
    """Return the requests that are measured."""
    chat: dict[str, Any] = {"model": "gpt-5.4-nano", "messages": [{"role": "user", "content": HELLO}]}
    refund = {"role": "user", "content": "Refund order 1042."}
    responses: dict[str, Any] = {"model": "gpt-5.4-nano", "input": HELLO}
    streamed = {"stream": True, "stream_options": {"include_usage": True}}
    tools = [{"type": "function", "function": TOOL}]
    return [
        Case("Chat Completions, a short question", "/v1/chat/completions", chat, GOAL),
        Case("the same as a stream", "/v1/chat/completions", {**chat, **streamed}),
        Case("Chat Completions, a tool call", "/v1/chat/completions", {**chat, "messages": [refund], "tools": tools}),
        Case("Responses, a short question", "/v1/responses", responses),
        Case("the same as a stream", "/v1/responses", {**responses, "stream": True}),
    ]


@contextmanager
def server() -> Iterator[int]:
    """Start the server, give its port, and stop it after the block."""
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  (our own command)
        assert process.stdout is not None
        try:
            found = re.search(r"http://127\.0\.0\.1:(\d+)", process.stdout.readline())
            assert found is not None
            yield int(found[1])
        finally:
            process.terminate()


async def burst(port: int, case: Case, seconds: float) -> tuple[float, list[float]]:
    """Keep all connections busy for a while; return the requests a second and their latencies, in seconds."""
    body = json.dumps(case.body).encode()
    head = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    request = head % (case.path.encode(), len(body)) + body
    began, latencies = perf_counter(), list[float]()
    await asyncio.gather(*(_client(port, request, began + seconds, latencies) for _ in range(CONNECTIONS)))
    return len(latencies) / (perf_counter() - began), latencies


async def _client(port: int, request: bytes, until: float, latencies: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while (sent := perf_counter()) < until:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        if found := re.search(rb"content-length: (\d+)", head):
            await reader.readexactly(int(found[1]))
        else:
            await reader.readuntil(b"\r\n0\r\n\r\n")
        latencies.append(perf_counter() - sent)
    writer.close()
    await writer.wait_closed()


def measure(rounds: int, seconds: float) -> str:
    """Let all cases take turns, and return the table."""
    taken: list[tuple[list[float], list[float]]] = [([], []) for _ in cases()]
    with server() as port:
        for turn in range(rounds + 1):
            for case, (rates, latencies) in zip(cases(), taken, strict=True):
                rate, times = asyncio.run(burst(port, case, seconds))
                if turn:  # the first round warms up
                    rates.append(rate)
                    latencies.extend(times)
        with urlopen(f"http://127.0.0.1:{port}/_stats") as told:
            calls = json.load(told)["calls"]
    lines = [_line(case, *each) for case, each in zip(cases(), taken, strict=True)]
    head = ["| request | per second | goal | met | median | p99 |", "| --- | --- | --- | --- | --- | --- |"]
    return "\n".join([*head, *lines, "", f"The server counted {calls:,} calls."])


def _line(case: Case, rates: list[float], latencies: list[float]) -> str:
    rate, last = median(rates), quantiles(latencies, n=100)[98]
    goal, met = (f"≥ {case.goal:,}", "yes" if rate >= case.goal else "NO") if case.goal else ("", "")
    spread = f"{rate:,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"
    return f"| {case.told} | {spread} | {goal} | {met} | {median(latencies) * 1e3:.1f} ms | {last * 1e3:.1f} ms |"


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"without {package}"


def main() -> None:
    """Print the table, and write it where it was measured in full."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter rounds, nothing written")
    quick = parser.parse_args().quick
    packages = ", ".join(_version(name) for name in ("starlette", "uvicorn", "httptools", "langchain-core"))
    machine = f"Python {platform.python_version()}, {os.cpu_count()} CPUs; {packages}."
    setting = f"One client process, {CONNECTIONS} kept connections; medians of the rounds, with their range."
    table = measure(*((2, 0.7) if quick else (9, 1.2)))
    text = f"# The offline server\n\n{machine}\n{setting}\n\n{table}\n"
    print(text)
    if not quick:
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
