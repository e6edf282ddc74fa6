"""Workers: any runnable, a graph with messages, a function, or the tiers themselves. Each is called in one way."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextvars import copy_context
from dataclasses import replace
from threading import Thread
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from langchain.agents import create_agent
from langchain_core.language_models import BaseLanguageModel
from langchain_core.messages import BaseMessage, convert_to_messages
from langchain_core.runnables import Runnable, RunnableSequence, RunnableWithFallbacks
from langchain_core.runnables.base import RunnableBindingBase
from langchain_core.runnables.configurable import DynamicRunnable
from langgraph.graph import END, START, StateGraph
from langgraph.pregel.protocol import PregelProtocol
from pydantic import BaseModel

from langchain_tiered.cascade.verdicts import Checks
from langchain_tiered.errors import ConfigurationError
from langchain_tiered.middleware.review import LoopReview
from langchain_tiered.models import Placeholder, setting
from langchain_tiered.nodes import route_by_tier
from langchain_tiered.nodes.answering import HAND_UP, AnswerNode, may_hand_up
from langchain_tiered.nodes.attempts import attempt_of
from langchain_tiered.nodes.checking import CheckNode, Judge, raised
from langchain_tiered.nodes.ladder import Ladder, bare, run_context
from langchain_tiered.nodes.loop import LoopNode, TierLoop, ToolTierLoop
from langchain_tiered.routing.facts import facts_of, tool_facts
from langchain_tiered.routing.rules import classify_by_rules
from langchain_tiered.state import LoopState, Run, TieredState
from langchain_tiered.types import Classification, Tier, Verdict, place_of
from langchain_tiered.workloads import home, workload_of

if TYPE_CHECKING:
    from langchain.agents.middleware import AgentMiddleware
    from langgraph.graph.state import CompiledStateGraph

    from langchain_tiered.accounting.budget import Budget
    from langchain_tiered.cascade.checks import ChecksLike
    from langchain_tiered.orchestrator.plans import PlannedTask
    from langchain_tiered.routing.facts import ToolFacts
    from langchain_tiered.routing.router import TierRouter
    from langchain_tiered.types import Tool

FELL_SHORT = Verdict(accepted=False, check="task", reason="The task was not done.", score=None)
"""What the engine is told of a tier whose task failed or was sent back."""

WorkerLike = Runnable[Any, Any] | Callable[..., Any] | Tier | str


class Assignment(NamedTuple):
    """What a worker is called for."""

    task: PlannedTask
    """The task."""

    messages: list[BaseMessage]
    """The task and its inputs, as a model reads them."""

    results: dict[str, str]
    """What the tasks have given that it depends on, by id."""

    above: str | None
    """The tier that was not enough, or `None` at first."""

    run_id: str
    """The invocation that pays."""

    remaining_usd: float | None
    """What is left of the budget, where a spent one is to lower routes."""


class Worker(Protocol):
    """Whoever does a task."""

    @property
    def runnable(self) -> Runnable[Any, Any]:
        """What is called."""
        ...

    def payload(self, given: Assignment) -> Any:
        """Return what it is called with."""
        ...


class Given(NamedTuple):
    """What a worker gave."""

    text: str
    """What it said; JSON where it gave a value."""

    value: Any
    """The value, or `None` where it gave words."""

    tier: str | None
    """The tier that answered, where it is made of tiers."""

    ledger: list[Any]
    """What its own state has booked: also what was paid before a crash."""

    spent: bool
    """Whether it says that a budget has ended it."""


def worker_of(worker: object) -> Worker:
    """Return whoever does the tasks, ready to be called.

    Raises:
        ConfigurationError: If it is nothing that could.
    """
    if isinstance(worker, Runnable):
        reads = reads_messages(worker)
        return _TaskWorker(worker) if reads is None else _MessagesWorker(worker, as_state=reads == "state")
    if callable(worker) and not isinstance(worker, type):
        return _TaskWorker(FunctionRunnable(worker))
    raise ConfigurationError(
        f"worker={worker!r} cannot work. Pass an agent, a chat model, any runnable, a function of the task, or None "
        "for the tiers."
    )


def reads_messages(runnable: Runnable[Any, Any]) -> Literal["list", "state"] | None:
    """Return in which form a model, or a graph, reads messages, whatever is wrapped around it; `None` for all else."""
    inner: Any = runnable
    while (within := _within(inner)) is not None:
        inner = within
    if isinstance(inner, PregelProtocol):
        return "state"
    # The model of `init_chat_model` that is configured in the run is none by its class.
    return "list" if isinstance(inner, BaseLanguageModel) or hasattr(type(inner), "bind_tools") else None


def _within(runnable: Any) -> Any:
    """Return what reads the input of a runnable that is wrapped around it; `None` where there is nothing inside."""
    if isinstance(runnable, RunnableBindingBase):
        return runnable.bound
    if isinstance(runnable, RunnableWithFallbacks):
        return runnable.runnable
    if isinstance(runnable, DynamicRunnable):
        return runnable.default
    return runnable.first if isinstance(runnable, RunnableSequence) else None


class _MessagesWorker:
    """A chat model or a graph: reads messages."""

    def __init__(self, runnable: Runnable[Any, Any], *, as_state: bool) -> None:
        self.runnable, self._as_state = runnable, as_state

    def payload(self, given: Assignment) -> Any:
        return {"messages": list(given.messages)} if self._as_state else list(given.messages)


class _TaskWorker:
    """Anything else: reads the task as a mapping, with the messages beside it."""

    def __init__(self, runnable: Runnable[Any, Any]) -> None:
        self.runnable = runnable

    def payload(self, given: Assignment) -> Any:
        return {**given.task, "results": dict(given.results), "messages": list(given.messages)}


class FunctionRunnable(Runnable[Any, Any]):
    """A function of the task, sync or async. In an async run a sync one has a thread of its own."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.name = function, getattr(function, "__name__", type(function).__name__)
        call = getattr(function, "__call__", None)  # noqa: B004  (an object whose call is async)
        self.is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)

    def invoke(self, input: Any, config: Any = None, **_: Any) -> Any:
        """Call the function."""
        del config
        if self.is_async:
            raise TypeError(f"The worker {self.name} is an async function. Call `ainvoke`, or pass a sync function.")
        return self.function(input)

    async def ainvoke(self, input: Any, config: Any = None, **_: Any) -> Any:
        """Do what `invoke` does."""
        del config
        return await (self.function(input) if self.is_async else asyncio.wrap_future(in_thread(self.function, input)))


class TieredWorker:
    """The tiers themselves: what the tiered agent is made of, without its classifier, since the planner says the kind.

    The rules come first, then the planner's word; the policy decides, and checks, repairs and escalations follow as in
    any tiered graph.
    """

    def __init__(
        self,
        router: TierRouter,
        tools: Sequence[Tool],
        middleware: Sequence[AgentMiddleware[Any, Any, Any]],
        checks: ChecksLike,
        budget: Budget | None,
    ) -> None:
        """Take the tiers with their policy, and what stands around each of their calls."""
        self.router = router
        self.ladder = Ladder(
            router.tiers, policy=router.policy, checks=Checks(checks), models=router.models, budget=budget
        )
        self.tools: ToolFacts = tool_facts(tools)
        self._graph = _tier_graph(self.ladder, tools, tuple(middleware), self.tools)

    @property
    def runnable(self) -> CompiledStateGraph[Any, Any, Any, Any]:
        """The graph of the tiers."""
        return self._graph

    async def ready(self) -> None:
        """Build the models, so that no task of an async run waits for that and holds all others up."""
        await self.router.models.afacts(self.router.tiers, run_context())

    def is_last(self, tier: str | None) -> bool:
        """Tell whether no tier is above."""
        return tier == self.router.tiers[-1].name

    def payload(self, given: Assignment) -> Any:
        """Return the route of a task, and its messages."""
        context = run_context()
        known = bare(self.router.models.facts(self.router.tiers, context), self.ladder.below_tools)
        # What is handed to a worker moves no route, and what it says of earlier work is about the plan.
        facts = replace(facts_of(given.messages, self.tools), text=given.task["instruction"], previous=None)
        kind = given.task["kind"]
        planned = Classification(
            tier=known[home(workload_of(kind).rung, len(known))].name,
            task=kind,
            confidence=None,
            reason=f"The planner calls it {kind}.",
            decided_by="classifier",
        )
        pin = setting(context, "pin") or None
        policy = self.router.policy if pin is None else replace(self.router.policy, pin=pin)
        route = policy.decide(facts, classify_by_rules(facts, known) or planned, known, given.remaining_usd)
        state = {"route": route, "run": Run(id=given.run_id, unfit=policy.unfit(facts, known), fallback=0)}
        if given.above is not None:
            step = self.ladder.step(state, [attempt_of(given.above, verdict=FELL_SHORT)])
            if step.action == "escalate" and place_of(step.tier, known) > place_of(route["tier"], known):
                state["route"] = raised(route, step.tier, step.reason)
        return {"messages": list(given.messages), **state}


def _tier_graph(
    ladder: Ladder, tools: Sequence[Tool], middleware: tuple[AgentMiddleware[Any, Any, Any], ...], known: ToolFacts
) -> CompiledStateGraph[Any, Any, Any, Any]:
    """Return the tiers and their check, the route being known."""
    builder = StateGraph(TieredState)
    for tier in ladder.tiers:
        below = tier.name in ladder.below_tools
        given, lacks = [*(() if below else tools), *tier.tools], known.names + known.provider if below else ()
        builder.add_node(tier.name, _tier_node(ladder, tier, given, middleware, lacks))
        builder.add_edge(tier.name, "check")
    names = [tier.name for tier in ladder.tiers]
    builder.add_node("check", CheckNode(ladder), destinations=(*names, END))
    builder.add_conditional_edges(START, route_by_tier, names)
    return builder.compile(name="worker")


def _tier_node(
    ladder: Ladder,
    tier: Tier,
    tools: Sequence[Tool],
    middleware: tuple[AgentMiddleware[Any, Any, Any], ...],
    lacks: Sequence[str],
) -> Runnable[Any, Any]:
    offers = may_hand_up(tier, lacks)
    tools = [tool for tool in tools if tool is not HAND_UP]
    # Where there is no tool there is nothing to review, and a hook around tools would make a node for them.
    added = any(getattr(each, "tools", ()) for each in middleware)
    middleware = tuple(each for each in middleware if tools or added or not isinstance(each, LoopReview))
    if not (tools or middleware):
        return AnswerNode(tier, ladder, lacks=lacks)
    kind = ToolTierLoop if tools else TierLoop
    outermost = kind(tier, ladder, Judge(ladder), system_prompt=None, lacks=lacks, leaves_message=True)
    bound = [*tools, *([HAND_UP] if offers else [])]
    loop = create_agent(Placeholder(), bound, middleware=[outermost, *middleware], state_schema=LoopState)
    return LoopNode(tier, ladder, loop, {})


def given_by(output: object) -> Given:
    """Read what a worker gave, whatever its form, as plain values."""
    tier, ledger, value = None, [], None
    if isinstance(output, Mapping) and isinstance(output.get("messages"), Sequence) and output["messages"]:
        route = output.get("route")
        tier = route.get("tier") if isinstance(route, Mapping) else None
        ledger = list(output.get("ledger") or ())
        value = plain(output.get("structured_response"))
        output = _as_message(output["messages"][-1])
    elif isinstance(output, Mapping) and output.keys() == {"role", "content"}:
        output = _as_message(output)
    told = getattr(output, "response_metadata", None) or {}
    if tier is None and isinstance(told.get("route"), Mapping):
        tier = told["route"].get("tier")
    if isinstance(output, BaseMessage):
        text = str(output.text)
    elif isinstance(output, str):
        text = output
    else:
        value = plain(output)
        text = ""
    if value is not None:
        text = json.dumps(value, ensure_ascii=False)
    return Given(text, value, tier, ledger, bool(told.get("budget_exceeded")))


def _as_message(told: Any) -> Any:
    """Return a message in one of LangChain's short forms as one; all else stays what it is."""
    if isinstance(told, (BaseMessage, str)):
        return told
    try:
        (message,) = convert_to_messages([told])
    except (ValueError, NotImplementedError, TypeError, KeyError, AttributeError):
        return told
    return message


def plain(value: object) -> Any:
    """Return a value as JSON-plain values; what JSON has no form for becomes its words."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return None if value is None else json.loads(json.dumps(value, default=_plain, ensure_ascii=False))


def _plain(value: object) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)


def json_in(text: str) -> Any:
    """Return the JSON value in a text, also where words or a fence stand around it; `None` where there is none."""
    spans = sorted((text.find(begin), text.rfind(end)) for begin, end in ("{}", "[]"))
    for part in (text, *(text[begin : end + 1] for begin, end in spans if 0 <= begin < end)):
        try:
            return json.loads(part)
        except (ValueError, RecursionError):
            continue
    return None


def in_thread(function: Callable[..., Any], *args: Any) -> Future[Any]:
    """Call a function in a thread of its own: one that hangs is left behind, and keeps no interpreter from ending."""
    said: Future[Any] = Future()
    context = copy_context()

    def call() -> None:
        try:
            said.set_result(context.run(function, *args))
        except StopIteration as error:  # a future cannot hand it on: it would end whoever waits
            stopped = RuntimeError("The worker had no answer left.")
            stopped.__cause__ = error
            said.set_exception(stopped)
        except BaseException as error:  # noqa: BLE001  (handed to whoever waits)
            said.set_exception(error)

    said.set_running_or_notify_cancel()
    Thread(target=call, daemon=True, name="orchestrator worker").start()
    return said
