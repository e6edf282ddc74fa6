"""Serve an agent by FastAPI: its tokens as server-sent events, then the route and what it cost.

The offline tiers answer: deterministic rules, no language model. It needs `pip install fastapi httpx uvicorn` beside
this package. Run it as a script, and it asks itself. Or serve it, and ask it by `curl -N`:

```bash
uvicorn --app-dir examples 12_serve_with_fastapi:app
curl -N localhost:8000/threads/ann/messages -H 'content-type: application/json' -d '{"text": "Refund order 1042."}'
```
"""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import show
import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel
from shop import Shop, tools

from langchain_tiered import collect_ledger, create_tiered_agent
from langchain_tiered.offline import offline_tiers


@tool
async def phone_depot(order_id: int) -> str:
    """Phone the depot about an order: they take two minutes to pick up."""
    await asyncio.sleep(120)
    return f"The depot knows nothing of order {order_id}."


app = FastAPI()
agent = create_tiered_agent(offline_tiers(), tools=[*tools(Shop()), phone_depot], checkpointer=InMemorySaver())
left: list[str] = []
log = logging.getLogger(__name__)


class Message(BaseModel):
    """What a user says."""

    text: str


@app.post("/threads/{thread_id}/messages")
async def answer(thread_id: str, message: Message) -> StreamingResponse:
    """Answer in a thread. When the client leaves, the stream is cancelled, and the run with it."""
    return StreamingResponse(_events(thread_id, message.text), media_type="text/event-stream")


async def _events(thread_id: str, text: str) -> AsyncIterator[str]:
    given, thread, result = {"messages": [("user", text)]}, {"configurable": {"thread_id": thread_id}}, {}
    modes = ["messages", "custom", "values"]
    with collect_ledger() as paid:  # knows what a run has paid that is cancelled or fails
        try:
            async for namespace, kind, part in agent.astream(given, thread, stream_mode=modes, subgraphs=True):
                if kind == "messages" and part[0].type == "AIMessageChunk":
                    for call in part[0].tool_calls:
                        yield _event("tool", {"name": call["name"]})
                    if part[0].text:
                        yield _event("token", {"text": part[0].text})
                elif kind == "custom":  # a step, such as an escalation
                    yield _event("step", part)
                elif kind == "values" and not namespace:
                    result = part
            yield _event("end", {"route": result["route"], "calls": len(paid), "cost_usd": paid.total_usd})
        except Exception as error:  # ours, or a provider's with its own type: who asked is told of any, and the log why
            log.exception("The run of %s failed.", thread_id)
            yield _event("error", {"error": type(error).__name__, "cost_usd": paid.total_usd})
        except (asyncio.CancelledError, GeneratorExit):
            left.append(f"{thread_id} left; ${paid.total_usd:.6f} was paid for {len(paid)} calls, and no more will be")
            raise


def _event(name: str, data: Any) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


async def _ask(client: httpx.AsyncClient, thread_id: str, text: str, *, leave_at: str = "") -> None:
    """Ask the server, and print what it says; leave when it says that a tool of some name is called."""
    words, data = [], {}
    async with client.stream("POST", f"/threads/{thread_id}/messages", json={"text": text}) as response:
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                data = json.loads(line.removeprefix("data: "))
                words += [data["text"]] if "text" in data else []
                if leave_at and data.get("name") == leave_at:
                    break
    print(f"{thread_id}: {len(words)} tokens: {''.join(words)[:80]!r}")
    if "route" in data:
        print(
            f"  {data['route']['tier']}, ${data['cost_usd']:.6f} for {data['calls']} calls: {data['route']['reason']}"
        )


async def main() -> None:
    """Serve on a free port, ask, and stop."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=30) as client:
            await asyncio.gather(
                _ask(client, "ann", "Refund order 1042 and tell me why it was late."),
                _ask(client, "bob", "Prove that the square root of two is irrational."),
            )
            await _ask(client, "ann", "And where is the parcel of order 1043?")
            await _ask(client, "eve", "Phone the depot about order 1041.", leave_at="phone_depot")
        server.should_exit = True
        await serving
    print(*left, sep="\n")
    show.offline_note()


if __name__ == "__main__":
    asyncio.run(main())
