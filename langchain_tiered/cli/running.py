"""Runs records through agents, some at a time, and hands on each result as it comes."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from langgraph.errors import GraphRecursionError

from langchain_tiered.accounting import Ledger
from langchain_tiered.agent import create_tiered_agent
from langchain_tiered.cascade.failures import failure_of
from langchain_tiered.errors import InvalidInputError, TieredError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langgraph.graph.state import CompiledStateGraph

    from langchain_tiered.cli.records import Record
    from langchain_tiered.routing import TierRouter
    from langchain_tiered.types import Attempt, Route, Tool


@dataclass(frozen=True)
class Result:
    """What became of a record."""

    record: Record
    """The record."""

    status: Literal["answered", "failed", "skipped"]
    """`failed`: the request raised. `skipped`: the record could not be read, so nothing was asked."""

    route: Route | None = None
    """Where it went, when it was answered."""

    answer: Any = None
    """The text, or the parsed value where the record has a schema; `None` without an answer."""

    error: str | None = None
    """The first line of what went wrong, or `None`."""

    ledger: Ledger = field(default_factory=Ledger)
    """What it cost, whatever became of it."""

    def line(self) -> str:
        """Return the result as a line of JSONL."""
        route: dict[str, Any] = {**self.route} if self.route else {}
        names = ("tier", "task", "reason", "decided_by", "escalated_from")
        told = {
            "id": self.record.id,
            **{name: route.get(name) for name in names},
            "cost_usd": self.ledger.total_usd,
            "answer": self.answer,
            "error": self.error,
        }
        return f"{json.dumps(told, ensure_ascii=False, default=str)}\n"


class Agents:
    """An agent for each schema, built when it is first needed, all over one router and its models."""

    def __init__(self, router: TierRouter, tools: Sequence[Tool]) -> None:
        self._router, self._tools = router, tools
        self._built: dict[str, CompiledStateGraph[Any, Any, Any, Any]] = {}

    def of(self, schema: dict[str, Any] | None) -> CompiledStateGraph[Any, Any, Any, Any]:
        """Return the agent whose answers fit `schema`.

        Raises:
            ConfigurationError: If the tools cannot be used.
        """
        key = json.dumps(schema, sort_keys=True)
        if key not in self._built:
            # Without a title LangChain makes one up, another one each time.
            wanted = None if schema is None else {"title": "Answer", **schema}
            self._built[key] = create_tiered_agent(router=self._router, tools=self._tools, response_format=wanted)
        return self._built[key]


async def run_all(
    records: Sequence[Record], agents: Agents, concurrency: int, on_result: Callable[[Result], None]
) -> None:
    """Run `records`, at most `concurrency` at a time.

    What the library or a provider raises fails its own record alone; any other error is a bug, and ends the run.
    """
    waiting = iter(records)

    async def work() -> None:
        for record in waiting:
            on_result(await result_of(record, agents))

    async with asyncio.TaskGroup() as group:
        for _ in range(min(concurrency, len(records))):
            group.create_task(work())


async def result_of(record: Record, agents: Agents) -> Result:
    """Run one record."""
    try:
        request = record.request()
    except InvalidInputError as error:
        return Result(record, "skipped", error=first_line(error))
    try:
        state = await agents.of(request.schema).ainvoke({"messages": request.messages})
    except Exception as error:
        if not is_expected(error):
            raise
        return Result(record, "failed", error=first_line(error), ledger=Ledger(getattr(error, "ledger", ())))
    answer = state["messages"][-1].text if request.schema is None else state.get("structured_response")
    return Result(record, "answered", state["route"], answer, ledger=Ledger(state["ledger"]).last_run())


def is_expected(error: Exception) -> bool:
    """Tell an error of the library or of a provider, or a loop that found no end, from a bug."""
    if isinstance(error, (TieredError, GraphRecursionError)) or failure_of(error) is not None:
        return True
    # An answer that nobody could read looks like a bug, unless it is what the last attempt failed by. Any other error
    # has attempts as well: those that were made before it.
    attempts: Sequence[Attempt] = getattr(error, "attempts", ())
    unread = failure_of(error, of_call=True)
    return unread is not None and bool(attempts) and attempts[-1]["failure"] == unread


def first_line(error: Exception) -> str:
    """Return the first line of what an error says; a provider's with its type."""
    if not isinstance(error, TieredError) and (failure := failure_of(error)) is not None:
        return failure["message"]
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
