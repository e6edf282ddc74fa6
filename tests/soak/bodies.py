"""The agents of a soak: each body over one set of clients and one shop, and what becomes of one request."""

from __future__ import annotations

import asyncio
import runpy
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_openai import ChatOpenAI
from openai import DefaultAsyncHttpxClient, DefaultHttpxClient
from soak.serving import ROOT
from soak.work import BODIES, FIRST, Fields

from langchain_tiered import (
    EscalationMiddleware,
    Policy,
    Tier,
    TieredChatModel,
    TierRouterMiddleware,
    collect_ledger,
    create_tiered_agent,
)
from langchain_tiered.cascade.circuit import Circuit
from langchain_tiered.nodes import ladder
from langchain_tiered.offline.faults import MODELS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from soak.work import Body, Work

    from langchain_tiered.types import LedgerEntry

TIMEOUT_S = 3.0
"""How long a client waits for the next byte: longer than any answer that no fault holds back."""

HANGS_S = 60.0
"""After this a request counts as hung."""

_SHOP = runpy.run_path(str(ROOT / "examples/shop.py"))


class CountingShop:
    """The examples' shop in a file, with an order for each request; it counts how often each refund is asked for."""

    def __init__(self, path: Path, requests: int) -> None:
        self.asked: list[int] = []
        self._shop = _SHOP["Shop"](str(path))
        self._refund = self._shop.refund
        self._shop.refund = self._counted
        orders = range(FIRST, FIRST + requests)
        with closing(sqlite3.connect(path)) as database, database:
            database.executemany("INSERT INTO orders VALUES (?, 1, '2026-03-01', 'delivered', NULL, NULL)", zip(orders))
            database.executemany("INSERT INTO items VALUES (?, 'Coat', 1, 8950)", zip(orders))

    @property
    def tools(self) -> list[Any]:
        """The tools of its support desk."""
        return list(_SHOP["tools"](self._shop))

    def refunds(self) -> list[tuple[int, int, str]]:
        """Return the rows: order, cents, reason."""
        return list(self._shop.refunds())

    def close(self) -> None:
        """Close the database."""
        self._shop.close()

    def _counted(self, order_id: int, reason: str, key: str | None = None) -> bool:
        self.asked.append(order_id)
        return bool(self._refund(order_id, reason, key))


class TimedOut:
    """Counts the calls that took too long, where the clients send them: some bodies tell callbacks of no attempt."""

    def __init__(self) -> None:
        self.count = 0

    def seen(self, error: Exception) -> None:
        """Count it, if that is what it is."""
        self.count += type(error).__name__.endswith("Timeout")


class _Client(DefaultHttpxClient):
    timed_out: TimedOut

    def send(self, *args: Any, **named: Any) -> Any:
        try:
            return super().send(*args, **named)
        except Exception as error:
            self.timed_out.seen(error)
            raise


class _AsyncClient(DefaultAsyncHttpxClient):
    timed_out: TimedOut

    async def send(self, *args: Any, **named: Any) -> Any:
        try:
            return await super().send(*args, **named)
        except Exception as error:
            self.timed_out.seen(error)
            raise


class Ended(NamedTuple):
    """What became of a request."""

    work: Work
    error: Exception | None
    state: dict[str, Any]
    """What the run left, where it did not raise."""
    shown: list[str]
    """The texts that were streamed, one for each message."""
    paid: list[LedgerEntry]
    """What was collected around the run."""

    @property
    def ledger(self) -> list[LedgerEntry]:
        """What the run itself says was paid.

        A chat model tells it of each call, on its message or its error; of a run that raises only the last one is left.
        """
        if self.work.body != "model":
            return list(self.state.get("ledger", ()) if self.error is None else self.last_ledger)
        if self.error is not None:
            return self.paid
        return [entry for message in self.state["messages"] for entry in message.response_metadata.get("ledger", ())]

    @property
    def last_ledger(self) -> list[LedgerEntry]:
        """What the error tells was paid."""
        return list(getattr(self.error, "ledger", ()))


class Agents:
    """The bodies, over clients of their own. Close them in the end."""

    def __init__(self, url: str, shop: CountingShop, *, circuits: bool) -> None:
        """Build them; without circuits what becomes of a request depends on that request alone."""
        self.timed_out = TimedOut()
        self._async, self._sync = _AsyncClient(), _Client()
        self._async.timed_out = self._sync.timed_out = self.timed_out
        models = {tier: self._model(name, url) for tier, name in MODELS.items()}
        tiers = [Tier(name, model, criteria=name) for name, model in models.items()]
        failures = Circuit()._failures if circuits else 10**9
        with patch.object(ladder, "Circuit", lambda: Circuit(failures=failures)):
            self._agents = {
                (body, wanted): _agent(body, tiers, [] if wanted else shop.tools, wanted)
                for body in BODIES
                for wanted in (None, Fields)
            }

    def _model(self, name: str, url: str) -> ChatOpenAI:
        return ChatOpenAI(
            model=name,
            base_url=url,
            api_key="offline",
            max_retries=0,
            timeout=TIMEOUT_S,
            stream_usage=True,
            http_socket_options=(),  # the clients are our own
            http_client=self._sync,
            http_async_client=self._async,
        )

    async def aclose(self) -> None:
        """Close the clients."""
        self._sync.close()
        await self._async.aclose()

    async def arun(self, work: Work) -> Ended:
        """Make a request and see what becomes of it."""
        parts: list[Any] = []
        with collect_ledger() as paid:
            try:
                async with asyncio.timeout(HANGS_S):
                    if not work.streams:
                        parts.append(("values", await self._agent(work).ainvoke(*self._given(work))))
                    else:
                        async for part in self._agent(work).astream(*self._given(work), stream_mode=STREAMED):
                            parts.append(part)  # noqa: PERF401  (what came before an error counts)
            except Exception as error:  # noqa: BLE001  (whatever is raised is what is looked at)
                return _ended(work, parts, paid, error)
        return _ended(work, parts, paid, None)

    def run(self, work: Work) -> Ended:
        """Do the same in a thread."""
        parts: list[Any] = []
        with collect_ledger() as paid:
            try:
                if work.streams:
                    parts += self._agent(work).stream(*self._given(work), stream_mode=STREAMED)
                else:
                    parts.append(("values", self._agent(work).invoke(*self._given(work))))
            except Exception as error:  # noqa: BLE001  (the same)
                return _ended(work, parts, paid, error)
        return _ended(work, parts, paid, None)

    def _agent(self, work: Work) -> Any:
        return self._agents[work.body, Fields if work.kind == "fields" else None]

    def _given(self, work: Work) -> tuple[Any, Any]:
        config = {"configurable": {"thread_id": str(work.number)}}
        return {"messages": [("user", work.text)]}, config


STREAMED = ["messages", "values"]


def _agent(body: Body, tiers: list[Tier], tools: list[Any], wanted: Any) -> Any:
    policy = Policy(max_wait_s=0.1)
    if body == "graph":
        return create_tiered_agent(tiers, tools=tools, response_format=wanted, policy=policy)
    if body == "model":
        return create_agent(TieredChatModel(tiers, policy=policy), tools, response_format=wanted)
    ours: Any = [TierRouterMiddleware(tiers, policy=policy), EscalationMiddleware(tiers, policy=policy)]
    return create_agent(tiers[0].model, tools, middleware=ours, response_format=wanted)


def _ended(work: Work, parts: Iterable[Any], paid: Iterable[LedgerEntry], error: Exception | None) -> Ended:
    state, shown = {}, dict[str | None, str]()
    for mode, part in parts:
        if mode == "values":
            state = part
        elif isinstance(part[0], AIMessage):
            shown[part[0].id] = shown.get(part[0].id, "") + part[0].text
    return Ended(work, error, state, [text for text in shown.values() if text], list(paid))
