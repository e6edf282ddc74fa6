"""A tier with tools, middleware or a response format: a real `create_agent` loop behind one node.

The loop's outermost middleware puts the tier's model in, judges what looks like an answer, and ends a rejected or
failed attempt before any of it becomes a message. The node around the loop books every model call of the visit,
those of other people's middleware and of tools too, and writes the attempt down.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from langchain.agents.middleware import AgentMiddleware, ExtendedModelResponse, ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.config import ensure_config
from langgraph.config import get_config
from langgraph.errors import ParentCommand
from langgraph.types import Command, Overwrite

from langchain_tiered.accounting.entries import call_metadata
from langchain_tiered.accounting.ledger import book
from langchain_tiered.accounting.recorder import Recorder, recorder_in, recording
from langchain_tiered.accounting.traces import mark, tagged, tier_tag
from langchain_tiered.nodes.answering import HAND_UP
from langchain_tiered.nodes.attempts import Raised, attempt_of, dicts_of, followed
from langchain_tiered.nodes.calls import Turn, adrive, carried, drive
from langchain_tiered.nodes.events import stream_writer
from langchain_tiered.nodes.ladder import (
    Accounted,
    Ladder,
    State,
    metered_of,
    paid_in,
    priced,
    run_context,
    run_of,
    unstreamed,
)
from langchain_tiered.types import Verdict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence

    from langchain.agents.middleware.types import ToolCallRequest
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AnyMessage, BaseMessage, SystemMessage
    from langchain_core.runnables import Runnable, RunnableConfig

    from langchain_tiered.cascade.steps import Action
    from langchain_tiered.nodes.calls import End
    from langchain_tiered.nodes.checking import Judge
    from langchain_tiered.types import Attempt, LedgerEntry, Tier

INSIDE: frozenset[Action] = frozenset({"wait", "repair", "fall_back"})
"""The steps that stay in a tier's loop. All others leave it for `check`, so that the drawn graph tells the truth."""

DIRECT = Verdict(accepted=True, check="none", reason="A tool's result is the answer.", score=None)
"""The verdict of a visit that a tool with `return_direct` ended: no model said anything that could be judged."""


class TierLoop(AgentMiddleware[Any, Any, Any]):
    """Stands outermost in a tier's loop: gives the model, and lets no rejected answer out."""

    def __init__(
        self,
        tier: Tier,
        ladder: Ladder,
        judge: Judge,
        *,
        system_prompt: str | SystemMessage | None,
        lacks: Sequence[str],
        leaves_message: bool,
    ) -> None:
        """Take the tier, and what judges its answers.

        Args:
            tier: Whose model answers.
            ladder: The tiers of the graph.
            judge: Asks the checks.
            system_prompt: What stands before the messages.
            lacks: Names of tools that tiers above have; the loop has `hand_up` where there are any.
            leaves_message: Whether an ended attempt leaves an empty message: the `after_model` hooks of other people's
                middleware look for the last AI message, and would find an earlier one and act on its calls again.
        """
        super().__init__()
        self.tier, self.ladder, self.judge, self.leaves_message = tier, ladder, judge, leaves_message
        self.prompt, self.lacks = system_prompt, tuple(lacks)

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """Call the tier's model, and judge the answer if it is one."""
        turn = self._turn(request)
        return self._ended(turn, drive(self._calls(turn, is_async=False), turn, handler))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """Do what `wrap_model_call` does."""
        turn = self._turn(request)
        return self._ended(turn, await adrive(self._calls(turn, is_async=True), turn, handler))

    def _turn(self, request: ModelRequest[Any]) -> Turn:
        visit = _visit(self.ladder, _state(request))
        if visit.metered is not None:
            visit.metered.catch_up(_state(request).get("ledger") or ())  # paid before an interrupt, in this visit
        return Turn(self.ladder, self.judge, visit, request, _state(request), visit.writer)

    def _calls(self, turn: Turn, *, is_async: bool) -> Generator[Any, Any, End]:
        return carried(turn, _Prepared(self, turn, is_async), self.tier, run_of(turn.state)["fallback"])

    def _ended(self, turn: Turn, end: End) -> ExtendedModelResponse[Any]:
        """Let a tool turn and an accepted answer pass; end the visit without a word of any other."""
        update: State = {"ledger": turn.recorder.drain()}
        if end.step is None or end.step.action in INSIDE:
            update |= {"attempts": end.tried, "visit": None, "run": {**run_of(turn.state), "fallback": end.fallback}}
            return ExtendedModelResponse(_given(end), Command(update=update))
        *before, last = end.tried
        update |= {"attempts": before, "visit": last}
        if end.step.action == "accept":
            # Its messages are written down when no hook can change them any more.
            return ExtendedModelResponse(_given(end), Command(update={**update, "visit": {**last, "messages": []}}))
        if end.error is not None:
            update["error"] = Raised(end.error)
        result: list[BaseMessage] = [AIMessage("")] if self.leaves_message else []
        return ExtendedModelResponse(ModelResponse(result=result), Command(update={**update, "jump_to": "end"}))


class ToolTierLoop(TierLoop):
    """The same for a loop with tools, whose own model calls are written down with their result.

    A loop without tools does not have it: `create_agent` would build a node for tools.
    """

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        """Run the tool, and write down what its model calls cost: a crash must not lose that and keep the result."""
        return _with_ledger(handler(request), request, _visit(self.ladder, request.state).drain())

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]
    ) -> ToolMessage | Command[Any]:
        """Do what `wrap_tool_call` does."""
        return _with_ledger(await handler(request), request, _visit(self.ladder, request.state).drain())


def _with_ledger(
    result: ToolMessage | Command[Any], request: ToolCallRequest, paid: list[LedgerEntry]
) -> ToolMessage | Command[Any]:
    if isinstance(result, ToolMessage):
        return Command(update={"messages": [result], "ledger": paid}) if paid else result
    if result.graph == Command.PARENT:  # the visit is left, and what it paid before an interrupt stands nowhere else
        paid = [*request.state.get("ledger", ()), *paid]
    return _booking(result, paid)


def _booking(command: Command[Any], paid: list[LedgerEntry]) -> Command[Any]:
    """Return a command that writes entries to the ledger, too."""
    if not paid:
        return command
    if command.update is None or isinstance(command.update, Mapping):
        update = dict(command.update or {})
        return replace(command, update={**update, "ledger": book(paid, update.get("ledger"))})
    return replace(command, update=[*command.update, ("ledger", paid)])


class _Prepared:
    """The requests of one call to a tier's model."""

    inside = INSIDE

    def __init__(self, loop: TierLoop, turn: Turn, is_async: bool) -> None:  # noqa: FBT001  (made in one place)
        self.loop, self.turn, self.is_async = loop, turn, is_async

    def ready(self, tier: Tier, fallback: int) -> BaseChatModel | None:
        del tier, fallback
        return None

    def prepared(
        self, model: BaseChatModel, tier: Tier, fallback: int, told: Sequence[AnyMessage], tried: Sequence[Attempt]
    ) -> ModelRequest[Any]:
        del fallback
        loop, request, state = self.loop, self.turn.request, self.turn.state
        state = {**state, "attempts": [*state.get("attempts", ()), *tried]}
        schema = request.response_format
        held = loop.ladder.holds(state, tier, model, is_async=self.is_async, schema=schema)
        pinned = state["route"]["decided_by"] == "pin"  # a pinned route cannot be handed up
        lacks = () if pinned else loop.lacks
        return request.override(
            model=unstreamed(model) if held else model,
            messages=followed(request.messages, told),
            system_message=loop.ladder.system_message(tier, self.turn.context, loop.prompt, lacks),
            tools=[tool for tool in request.tools if not (pinned and tool is HAND_UP)],
        )


class LoopNode(RunnableLambda[Any, Any]):
    """Runs a tier's loop for one visit and writes the attempt to `attempts`, none of its messages to `messages`.

    A `RunnableLambda` only so that LangGraph finds the loop among its `deps`, draws it and shows its state.
    """

    def __init__(self, tier: Tier, ladder: Ladder, loop: Runnable[Any, Any], fields: Mapping[str, bool]) -> None:
        """Take the loop, and what it shares with the graph around it.

        Args:
            tier: Whose loop it is.
            ladder: The tiers of the graph.
            loop: The compiled `create_agent`.
            fields: The user's own channels, by name, and whether each has a reducer.
        """
        super().__init__(self.invoke, self.ainvoke, name=tier.name)
        self.tier, self.ladder, self.loop, self.fields = tier, ladder, loop, dict(fields)

    @property
    def deps(self) -> list[Runnable[Any, Any]]:
        """The loop, for whoever draws the graph."""
        return [self.loop]

    def invoke(self, input: State, config: RunnableConfig | None = None, **_: Any) -> State:
        """Make an attempt: the loop ends with an accepted answer, or without a word."""
        recorder = _Visit(self.ladder, input)
        with Accounted(input, run_of(input)["id"], recorder), _handed_on(input, recorder, config):
            visit = self.loop.invoke(self._payload(input), self._config(input, config, recorder))
        return self._written(input, visit, recorder, config)

    async def ainvoke(self, input: State, config: RunnableConfig | None = None, **_: Any) -> State:
        """Do what `invoke` does."""
        recorder = _Visit(self.ladder, input)
        with Accounted(input, run_of(input)["id"], recorder), _handed_on(input, recorder, config):
            visit = await self.loop.ainvoke(self._payload(input), self._config(input, config, recorder))
        return self._written(input, visit, recorder, config)

    def _payload(self, state: State) -> State:
        shared = ("messages", "route", "attempts", *self.fields)
        run = {**run_of(state), "since": len(state["messages"])}
        return {name: state[name] for name in shared if name in state} | {"run": run}

    def _config(self, state: State, config: RunnableConfig | None, recorder: Recorder) -> RunnableConfig:
        run = run_of(state)
        tier = priced(self.tier, run_context(), run["fallback"])
        told = call_metadata(role="answer", tier=tier, run_id=run["id"], loop=True, route=state["route"])
        return tagged(recording(config or ensure_config(), recorder, told), tier_tag(tier.name))

    def _written(self, state: State, visit: State, recorder: Recorder, config: RunnableConfig | None) -> State:
        """Return the attempt, what it cost, and what the visit changed in the user's own channels."""
        tried = visit.get("attempts", ())[len(state.get("attempts", ())) :]
        fallback = visit.get("run", run_of(state))["fallback"]
        attempt = visit.get("visit") or attempt_of(self.tier.name, fallback=fallback)
        recorder.abandon()
        update: State = {"ledger": [*visit.get("ledger", ()), *recorder.drain()]}
        tier, route, paid = self.tier.name, state["route"], book(None, update["ledger"])
        mark(config, tier_tag(tier), tier=tier, route=route, paid=paid)
        if not (attempt["messages"] or attempt["failure"]):
            attempt = _passed(attempt, state["messages"], visit["messages"])
            if visit.get("structured_response") is not None:
                update["structured_response"] = visit["structured_response"]
        for name, has_reducer in self.fields.items():
            if name in visit and not _same(visit[name], state.get(name)):
                update[name] = Overwrite(visit[name]) if has_reducer else visit[name]
        if visit.get("error") is not None:
            update["error"] = visit["error"]
        return update | {"attempts": [*tried, attempt]}


def _passed(attempt: Attempt, before: Sequence[BaseMessage], after: Sequence[BaseMessage]) -> Attempt:
    """Complete an attempt that nothing ended by the messages that the visit left, as its hooks left them."""
    kept = len(after) >= len(before) and all(_same(old, new) for old, new in zip(before, after, strict=False))
    added = list(after[len(before) :]) if kept else list(after)
    verdict = attempt["verdict"]
    if not added:
        verdict = Verdict(accepted=False, check="not_empty", reason="The loop ended without an answer.", score=None)
    elif isinstance(added[-1], ToolMessage) and verdict is None:
        verdict = DIRECT
    return {**attempt, "messages": dicts_of(added), "rewrites": not kept, "verdict": verdict}


@contextmanager
def _handed_on(state: State, recorder: Recorder, config: RunnableConfig | None) -> Iterator[None]:
    """Send a tool's `Command(graph=Command.PARENT)` to the graph around the agent; the agent's own is no parent.

    The state of an agent that is left so is never written: the command takes along what the run has paid.
    """
    try:
        yield
    except ParentCommand as handed:
        command: Command[Any] = handed.args[0]
        if command.graph == (config or {}).get("configurable", {}).get("checkpoint_ns"):
            paid = paid_in(state, run_of(state)["id"], recorder)
            command = replace(_booking(command, paid), graph=Command.PARENT)
        raise ParentCommand(command) from None


def _same(old: Any, new: Any) -> bool:
    return old is new or bool(old == new)


def _given(end: End) -> ModelResponse[Any]:
    """Return what the model gave; a call that passes has always given something."""
    return end.response or ModelResponse(result=[])


def _state(request: ModelRequest[Any]) -> State:
    """Return the loop's state; it has our channels beside those of `AgentState`."""
    return request.state  # type: ignore[return-value]


class _Visit(Recorder):
    """Books the calls of one visit to a loop, and knows where its steps are told: on the stream of the agent."""

    def __init__(self, ladder: Ladder, state: State) -> None:
        super().__init__(metered_of(ladder.budget, state, run_of(state)["id"]))
        self.writer = stream_writer()


def _visit(ladder: Ladder, state: State) -> _Visit:
    """Return the visit under way, which the node around the loop put into its config."""
    recorder = recorder_in(get_config())
    return recorder if isinstance(recorder, _Visit) else _Visit(ladder, state)
