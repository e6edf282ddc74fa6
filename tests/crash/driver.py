"""The process that is killed: it works through the threads of an agent, and goes on where its last life ended.

It imports once, then forks a life for each plan that it reads, one line of JSON: a restart without the seconds that
imports take. Nothing runs in the parent, so a life knows only what is stored. The life's process id is written when it
begins, and its exit code when it has ended.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import sqlite3
import sys
import time
import traceback
from collections import Counter
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crash.desk import FIRST_ORDER, MODELS, looks_up, turns_of
from langchain.tools import ToolRuntime  # noqa: TC002  (LangChain reads the types of a tool's parameters)
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from langchain_tiered import Tier, create_tiered_agent

try:
    from langgraph.checkpoint.postgres import PostgresSaver
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
except ImportError:  # the tests that need it are skipped
    PostgresSaver = AsyncPostgresSaver = None  # type: ignore[assignment,misc]

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

SHOP = importlib.import_module("shop")
"""The shop of the examples."""


LONGEST_S = 120
"""After which a life that hangs is ended; the test tells it from a kill."""


class Reaper:
    """Kills this process at a point that its plan names: the n-th time that it comes by."""

    def __init__(self) -> None:
        self.plan: tuple[str, int] | None = None
        self.passed: Counter[str] = Counter()

    def at(self, point: str) -> None:
        """Die here, if it is time."""
        self.passed[point] += 1
        if self.plan == (point, self.passed[point]):
            os.kill(os.getpid(), signal.SIGKILL)


REAPER = Reaper()
"""That of this life."""


class Answers(BaseCallbackHandler):
    """Dies when an answer has come, before anybody could write it down."""

    def on_llm_end(self, *_: Any, **__: Any) -> None:
        REAPER.at("answered")


class _Watched:
    """Dies before or after a write to the checkpointer."""

    def put(self, *args: Any, **named: Any) -> Any:
        REAPER.at("put")
        done = super().put(*args, **named)  # type: ignore[misc]
        REAPER.at("put_done")
        return done

    def put_writes(self, config: Any, writes: Sequence[Any], task_id: str, task_path: str = "") -> None:
        REAPER.at("writes")
        super().put_writes(config, writes, task_id, task_path)  # type: ignore[misc]
        REAPER.at("writes_done")

    async def aput(self, *args: Any, **named: Any) -> Any:
        REAPER.at("put")
        done = await super().aput(*args, **named)  # type: ignore[misc]
        REAPER.at("put_done")
        return done

    async def aput_writes(self, config: Any, writes: Sequence[Any], task_id: str, task_path: str = "") -> None:
        REAPER.at("writes")
        await super().aput_writes(config, writes, task_id, task_path)  # type: ignore[misc]
        REAPER.at("writes_done")


@contextmanager
def saver_at(address: str) -> Iterator[Any]:
    """Open the checkpointer: a file for SQLite, an address for Postgres."""
    kind: Any = PostgresSaver if address.startswith("postgresql:") else SqliteSaver
    with type("Watched", (_Watched, kind), {}).from_conn_string(address) as saver:  # type: ignore[attr-defined]
        saver.setup()
        yield saver


@asynccontextmanager
async def asaver_at(address: str) -> AsyncIterator[Any]:
    """Do the same for a checkpointer that does not block the event loop."""
    kind: Any = AsyncPostgresSaver if address.startswith("postgresql:") else AsyncSqliteSaver
    async with type("Watched", (_Watched, kind), {}).from_conn_string(address) as saver:  # type: ignore[attr-defined]
        await saver.setup()
        yield saver


class Books:
    """What the tools do to the world, and a note of each time that they run."""

    def __init__(self, folder: Path) -> None:
        self.shop = SHOP.Shop(str(folder / "shop.sqlite"))
        self.shop.refund = self._noted("refund_order", self.shop.refund)
        self._path = folder / "books.sqlite"
        self.write("CREATE TABLE IF NOT EXISTS runs (tool TEXT, order_id INTEGER, key TEXT)")
        self.write("CREATE TABLE IF NOT EXISTS credits (key TEXT PRIMARY KEY, order_id INTEGER, dollars INTEGER)")

    def write(self, statement: str, *values: object) -> None:
        """Write at once: nothing of it is lost when this process dies."""
        with closing(sqlite3.connect(self._path, timeout=30, isolation_level=None)) as database:
            database.execute(statement, values)

    def tools(self) -> list[Any]:
        """Return the tools of the tiers from mini up."""

        def credit(order_id: int, dollars: int, key: str) -> None:
            self.write("INSERT INTO credits VALUES (?, ?, ?) ON CONFLICT(key) DO NOTHING", key, order_id, dollars)

        noted = self._noted("give_credit", credit)

        @tool
        def give_credit(order_id: int, dollars: int, runtime: ToolRuntime[Any, Any]) -> str:
            """Give credit for an order."""
            noted(order_id, dollars, _key(runtime))
            return f"Gave {dollars} dollars for order {order_id}."

        return [next(each for each in SHOP.tools(self.shop) if each.name == "refund_order"), give_credit]

    def look_up(self) -> Any:
        """Return the tool of nano."""
        noted = self._noted("look_up", lambda order_id, _: f"Order {order_id}: held at the depot.")

        @tool
        def look_up(order_id: int, runtime: ToolRuntime[Any, Any]) -> str:
            """Look an order up."""
            return str(noted(order_id, _key(runtime)))

        return look_up

    def _noted(self, name: str, do: Callable[..., Any]) -> Callable[..., Any]:
        """Note a run of a tool, given its order first and its key last; die before or after what it does."""

        def done(order_id: int, *values: Any) -> Any:
            self.write("INSERT INTO runs VALUES (?, ?, ?)", name, order_id, values[-1])
            REAPER.at("tool")
            result = do(order_id, *values)
            REAPER.at("effect")
            REAPER.at(name)
            return result

        return done


def _key(runtime: ToolRuntime[Any, Any]) -> str:
    return f"{runtime.config['configurable']['thread_id']}:{runtime.tool_call_id}"


def agent_of(tools: Sequence[Any], own: Sequence[Any], saver: Any, server: str) -> Any:
    """Build the agent: nano is a loop where it has tools of its own, else one model call."""
    tiers = [
        Tier(
            name,
            ChatOpenAI(model=model, base_url=server, api_key="offline", max_retries=0, callbacks=[Answers()]),
            criteria=f"Work for {name}.",
            tools=own if name == "nano" else (),
        )
        for name, model in MODELS.items()
    ]
    return create_tiered_agent(tiers, tools=tools, checkpointer=saver)


class _Over(Exception):  # noqa: N818  (no error)
    """Says that a thread has come to its end."""


def wanted(state: Any, thread: int) -> Any:
    """Return the input of a thread's next run: `None` to resume the one that was broken off, else the next turn.

    Raises:
        _Over: If there is none.
    """
    turns, begun = turns_of(thread), sum(message.type == "human" for message in state.values.get("messages", ()))
    if state.tasks:  # not `next`, which leaves out a task whose writes are stored while its step is not
        return None
    if begun == len(turns):
        raise _Over
    return {"messages": [("user", turns[begun].request)]}


def carry_on(agent: Any, thread: int, durability: str) -> Any:
    """Bring a thread to its end."""
    config = {"configurable": {"thread_id": str(thread)}}
    while True:
        state = agent.get_state(config)
        try:
            given = wanted(state, thread)
        except _Over:
            return state.values
        agent.invoke(given, config, durability=durability)


async def acarry_on(agent: Any, thread: int, durability: str) -> Any:
    """Do the same in an event loop."""
    config = {"configurable": {"thread_id": str(thread)}}
    while True:
        state = await agent.aget_state(config)
        try:
            given = wanted(state, thread)
        except _Over:
            return state.values
        await agent.ainvoke(given, config, durability=durability)


def live(plan: dict[str, Any]) -> None:
    """Work through the threads, and report how each stands."""
    signal.alarm(LONGEST_S)
    REAPER.plan = tuple(plan["die_at"]) if plan["die_at"] else None
    books = Books(Path(plan["folder"]))
    stands = asyncio.run(aworked(plan, books)) if plan["is_async"] else worked(plan, books)
    report = {str(FIRST_ORDER + thread): _told(state) for thread, state in enumerate(stands)}
    Path(plan["report"]).write_text(json.dumps(report), encoding="utf-8")


def worked(plan: dict[str, Any], books: Books) -> list[Any]:
    """Bring all threads to their end, and return how each stands."""
    with saver_at(plan["saver"]) as saver:
        agents = agents_of(plan, books, saver)
        return [carry_on(agents[looks_up(n)], n, plan["durability"]) for n in range(plan["threads"])]


async def aworked(plan: dict[str, Any], books: Books) -> list[Any]:
    """Do the same in an event loop."""
    async with asaver_at(plan["saver"]) as saver:
        agents = agents_of(plan, books, saver)
        return [await acarry_on(agents[looks_up(n)], n, plan["durability"]) for n in range(plan["threads"])]


def agents_of(plan: dict[str, Any], books: Books, saver: Any) -> list[Any]:
    """Return the agent whose nano is one model call, and the one whose nano is a loop with a tool."""
    tools = books.tools()
    return [agent_of(tools, own, saver, plan["server"]) for own in ([], [books.look_up()])]


def _told(state: Any) -> dict[str, Any]:
    return {
        "messages": [(message.type, message.text) for message in state["messages"]],
        "ledger": [(each["run_id"], each["tier"], each["role"], each["outcome"]) for each in state["ledger"]],
    }


def reaped(life: int, delay_s: float | None) -> int:
    """Wait for a life's end, or kill it after a while, and return its exit code."""
    until = None if delay_s is None else time.monotonic() + delay_s
    while True:
        # Not yet waited for, its process id is nobody else's.
        ended, status = os.waitpid(life, 0 if until is None else os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if until is not None and time.monotonic() >= until:
            os.kill(life, signal.SIGKILL)
            until = None
        time.sleep(0.001)


def main() -> None:
    """Fork a life for each plan."""
    for line in sys.stdin:
        plan = json.loads(line)
        life = os.fork()
        if life == 0:
            try:
                live(plan)
            except BaseException:  # noqa: BLE001  (nothing may go on in the parent's place)
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _tell(life)
        _tell(reaped(life, plan["delay_s"]))


def _tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
