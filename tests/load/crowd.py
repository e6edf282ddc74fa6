"""A crowd of conversations on one agent object, each of which can be told from all others by a number."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from fakes import LABEL, PROOF, ScriptedModel, ask, model
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.messages.tool import tool_call
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from langchain_tiered import (
    Budget,
    BudgetMiddleware,
    EscalationMiddleware,
    Tier,
    TierRouterMiddleware,
    create_tiered_agent,
)
from langchain_tiered.cascade import finished

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import ThreadPoolExecutor

    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import ChatResult

    from langchain_tiered.cascade import Check, CheckInput

Kind: TypeAlias = Literal["label", "refund", "proof", "pinned", "own model", "cut off"]
KINDS: tuple[Kind, ...] = get_args(Kind)
TURNS = 2
WORKERS = 24
SYNC_EVERY = 5
"""Of so many conversations, two are held by sync callers; so among a thousand 600 wait on the event loop at once."""

USD = {"nano": (0.20, 1.25), "mini": (0.75, 4.5), "flagship": (2.5, 15.0)}
"""What a million tokens cost, in and out."""

LIMIT_USD = 0.0118
"""A thread holds one call of the flagship and what is likely to be the next one's start, never two; all else fits."""

_NUMBER = re.compile(r"#(\d+)")


def number_of(messages: Sequence[BaseMessage]) -> int:
    """Return the number of the conversation, which the last word of the user has; all others must have the same."""
    found = {int(each) for message in messages for each in _NUMBER.findall(message.text)}
    assert len(found) == 1, f"words of several conversations in one: {sorted(found)}"
    return found.pop()


@dataclass
class Gate:
    """Lets nobody through before so many calls wait at once on the event loop."""

    expected: int
    waiting: int = 0
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def passed(self) -> None:
        """Wait for all others."""
        self.waiting += 1
        if self.waiting >= self.expected:
            self.opened.set()
        await asyncio.wait_for(self.opened.wait(), 60)


class CrowdModel(ScriptedModel):
    """Waits at the gate where it is awaited; uses as many tokens as tell whose call it was."""

    gates: Any = ()  # of no other type, or pydantic would copy the list, which grows

    def _answer(self, messages: Sequence[BaseMessage]) -> AIMessage:
        number = number_of(messages)
        answer = super()._answer(messages)
        used = {"input_tokens": 1000 + number, "output_tokens": 100, "total_tokens": 1100 + number}
        whose: AIMessage = answer.model_copy(update={"usage_metadata": used})
        return whose

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        if self.gates:
            await self.gates[-1].passed()
        await asyncio.sleep(0.001 * (number_of(messages) % 7))
        return self._generate(messages)


@tool
def refund(order: int) -> str:
    """Refund an order by its number."""
    return f"Refunded #{order}."


def same_number(given: CheckInput) -> bool:
    """Accept an answer with the number of its request."""
    return number_of(given.request) == number_of([given.answer])


def said_by(name: str) -> Any:
    """Return what a tier's model does: refunds where that is asked, is cut off where that is, and else echoes."""

    def script(messages: Sequence[BaseMessage]) -> AIMessage:
        number, last = number_of(messages), messages[-1]
        if isinstance(last, ToolMessage):
            return AIMessage(f"{name} was told: {last.text}")
        if "refund" in last.text:
            return AIMessage("", tool_calls=[tool_call(name="refund", args={"order": number}, id=f"call-{number}")])
        cut = "cut off" in last.text and name == "nano"
        return AIMessage(f"{name} to #{number}", response_metadata={"finish_reason": "length" if cut else "stop"})

    return script


@dataclass(frozen=True)
class Talk:
    """One conversation: what is asked, and what must come of it."""

    number: int
    is_async: bool

    @property
    def kind(self) -> Kind:
        """What is asked in it."""
        return KINDS[self.number % len(KINDS)]

    @property
    def config(self) -> Any:
        """The config of its runs."""
        return {"configurable": {"thread_id": f"thread {self.number}"}}

    @property
    def text(self) -> str:
        """What the user says in each turn."""
        if self.kind == "refund":
            return f"Please refund order #{self.number}, it came late."
        said = PROOF if self.kind == "proof" else LABEL
        return f"{said} {'It was cut off.' if self.kind == 'cut off' else ''} #{self.number}"

    def context(self, gates: list[Gate]) -> dict[str, Any] | None:
        """Return the context of its runs."""
        if self.kind == "pinned":
            return {"pin": "mini"}
        if self.kind == "own model":
            return {"nano_model": model("nano", said_by(f"own {self.number}"), CrowdModel, gates=gates)}
        return None

    @property
    def tier(self) -> str:
        """The tier that answers."""
        return {"label": "nano", "own model": "nano", "proof": "flagship"}.get(self.kind, "mini")

    @property
    def decided_by(self) -> set[str]:
        """Who sent the last turn there."""
        return {"pinned": {"pin"}, "cut off": {"latch"}}.get(self.kind, {"rules", "latch"})

    def is_spent(self, turn: int) -> bool:
        """Tell whether the thread's budget does not hold the turn."""
        return self.kind == "proof" and turn > 0

    def said(self, turn: int) -> list[tuple[str, str]]:
        """Return the type and text of each message of a turn."""
        asked, number = ("human", self.text), self.number
        if self.is_spent(turn):
            return [asked, ("ai", "The budget for this request is spent, so it was not answered.")]
        if self.kind == "refund":
            told = f"Refunded #{number}."
            return [asked, ("ai", ""), ("tool", told), ("ai", f"mini was told: {told}")]
        who = f"own {number}" if self.kind == "own model" else self.tier
        return [asked, ("ai", f"{who} to #{number}")]

    def booked(self, turn: int) -> list[tuple[str, str]]:
        """Return the tier and the outcome of each call that a turn pays."""
        if self.is_spent(turn):
            return []
        if self.kind == "refund":
            return [("mini", "tool_turn"), ("mini", "accepted")]
        before = [("nano", "rejected")] if self.kind == "cut off" and turn == 0 else []  # the thread stays up then
        return [*before, (self.tier, "accepted")]

    def cost_usd(self, tier: str) -> float:
        """Return what one call of a tier costs in this conversation, and in no other."""
        read, made = USD[tier]
        return ((1000 + self.number) * read + 100 * made) / 1e6


def crowd(size: int) -> list[Talk]:
    """Return so many conversations; kinds and callers are mixed."""
    return [Talk(number, is_async=number % SYNC_EVERY not in {1, 3}) for number in range(size)]


def agent_of(body: str, gates: list[Gate]) -> Any:
    """Return the one agent object that all share."""
    names: tuple[str, ...] = ("nano", "mini", "flagship")
    tiers = [Tier(name, model(name, said_by(name), CrowdModel, gates=gates), criteria=name) for name in names]
    checks: list[Check] = [finished, same_number]
    saver = InMemorySaver()
    if body == "create_tiered_agent":
        budget = Budget(thread_limit_usd=LIMIT_USD)
        return create_tiered_agent(tiers, tools=[refund], checks=checks, budget=budget, checkpointer=saver)
    ours: list[Any] = [
        TierRouterMiddleware(tiers),
        EscalationMiddleware(tiers, checks=checks),
        BudgetMiddleware(thread_limit_usd=LIMIT_USD),
    ]
    return create_agent(tiers[-1].model, [refund], middleware=ours, checkpointer=saver)


async def turn_of_all(agent: Any, talks: Sequence[Talk], gates: list[Gate], pool: ThreadPoolExecutor) -> list[Any]:
    """Run one turn of every conversation at once, and return what came of each."""
    loop = asyncio.get_running_loop()

    async def held(talk: Talk) -> Any:
        options = {"context": talk.context(gates)}
        if talk.is_async:
            return await agent.ainvoke(ask(talk.text), talk.config, **options)
        return await loop.run_in_executor(pool, lambda: agent.invoke(ask(talk.text), talk.config, **options))

    return list(await asyncio.gather(*map(held, talks)))


def turn_in(messages: Sequence[BaseMessage], turn: int) -> list[BaseMessage]:
    """Return the messages of one turn."""
    starts = [place for place, message in enumerate(messages) if isinstance(message, HumanMessage)]
    return list(messages[starts[turn] : [*starts, len(messages)][turn + 1]])
