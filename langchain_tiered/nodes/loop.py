"""A tier with tools, middleware or a response format: a real `create_agent` loop behind one node.

The loop's outermost middleware puts the tier's model in, judges what looks like an answer, and ends a rejected or
failed attempt before any of it becomes a message. The node around the loop books every model call of the visit,
those of other people's middleware and of tools too, and writes the attempt down.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from langchain.agents.middleware import AgentMiddleware, ExtendedModelResponse, ModelRequest, ModelResponse
from langchain.agents.structured_output import StructuredOutputError
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.config import ensure_config
from langgraph.config import get_config
from langgraph.errors import ParentCommand
from langgraph.types import Command, Overwrite

from langchain_tiered.accounting.recorder import Recorder, call_metadata, recorder_in, recording
from langchain_tiered.nodes.answering import HAND_UP
from langchain_tiered.nodes.ladder import (
    Ladder,
    State,
    accounted,
    answered,
    attempt_of,
    dicts_of,
    failed_attempt,
    hand_up_reason,
    priced,
    run_context,
    run_of,
    turn_of,
    unstreamed,
)
from langchain_tiered.types import Verdict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage, SystemMessage
    from langchain_core.runnables import Runnable, RunnableConfig

    from langchain_tiered.nodes.checking import Judge
    from langchain_tiered.types import Attempt, Tier

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
            lacks: Names of tools that tiers above have; if there are any, the loop has `hand_up`.
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
        recorder = _recorder()
        model = self.ladder.models.of(self.tier, request.runtime.context, run_of(request.state)["fallback"])
        try:
            response = handler(self._prepared(request, model, is_async=False))
        except Exception as error:  # noqa: BLE001  (told apart: what is no provider's error is raised again)
            return self._failed(request, error, recorder)
        if (answer := _answer(response)) is None:
            return self._turn(request, response, recorder)
        said = answered(recorder)  # before the checks, which may run agents of their own
        verdict = self.judge.verdict(self.tier, _state(request), answer, recorder, get_config())
        return self._judged(request, response, recorder, verdict=verdict, **said)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """Do what `wrap_model_call` does."""
        recorder = _recorder()
        model = await self.ladder.models.aof(self.tier, request.runtime.context, run_of(request.state)["fallback"])
        try:
            response = await handler(self._prepared(request, model, is_async=True))
        except Exception as error:  # noqa: BLE001  (as in `wrap_model_call`)
            return self._failed(request, error, recorder)
        if (answer := _answer(response)) is None:
            return self._turn(request, response, recorder)
        said = answered(recorder)
        verdict = await self.judge.averdict(self.tier, _state(request), answer, recorder, get_config())
        return self._judged(request, response, recorder, verdict=verdict, **said)

    def _prepared(self, request: ModelRequest[Any], model: BaseChatModel, *, is_async: bool) -> ModelRequest[Any]:
        state = _state(request)
        held = self.ladder.holds(state, self.tier, model, is_async=is_async)
        pinned = state["route"]["decided_by"] == "pin"  # a pinned route cannot be handed up
        lacks = () if pinned else self.lacks
        return request.override(
            model=unstreamed(model) if held else model,
            system_message=self.ladder.system_message(self.tier, request.runtime.context, self.prompt, lacks),
            tools=[tool for tool in request.tools if not (pinned and tool is HAND_UP)],
        )

    def _turn(
        self, request: ModelRequest[Any], response: ModelResponse[Any], recorder: Recorder
    ) -> ExtendedModelResponse[Any]:
        """Let a turn with tool calls pass, unless it hands up: then the visit ends here."""
        said = response.result[-1] if response.result else None
        reason = hand_up_reason(said) if isinstance(said, AIMessage) else None
        if reason is not None:
            return self._ended(self._attempt(request, recorder, response.result, hand_up=reason), recorder)
        if _broke_the_schema_twice(request, response):
            why = f"Its answer broke the response format twice: {response.result[-1].text[:200]}"
            verdict = Verdict(accepted=False, check="matches_schema", reason=why, score=None)
            return self._ended(self._attempt(request, recorder, [], verdict=verdict), recorder)
        return ExtendedModelResponse(response, Command(update={"ledger": recorder.drain()}))

    def _judged(
        self, request: ModelRequest[Any], response: ModelResponse[Any], recorder: Recorder, **said: Any
    ) -> ExtendedModelResponse[Any]:
        """Let an answer pass that the engine accepts; its messages are written down when no hook can change them."""
        passed = self._attempt(request, recorder, None, **said)
        state = _state(request)
        if self.ladder.step(state, [*state.get("attempts", ()), passed]).action == "accept":
            return ExtendedModelResponse(response, Command(update={"attempts": [passed], "ledger": recorder.drain()}))
        return self._ended(self._attempt(request, recorder, response.result, **said), recorder)

    def _failed(self, request: ModelRequest[Any], error: Exception, recorder: Recorder) -> ExtendedModelResponse[Any]:
        if isinstance(error, StructuredOutputError):
            verdict = Verdict(accepted=False, check="matches_schema", reason=str(error), score=None)
            return self._ended(self._attempt(request, recorder, [error.ai_message], verdict=verdict), recorder)
        said = dicts_of(turn_of(request.state["messages"]))
        fallback = run_of(request.state)["fallback"]
        attempt = failed_attempt(self.tier.name, error, messages=said, fallback=fallback)
        return self._ended(attempt, recorder, error=error)

    def _attempt(
        self, request: ModelRequest[Any], recorder: Recorder, result: Sequence[BaseMessage] | None, **said: Any
    ) -> Attempt:
        messages = [] if result is None else dicts_of([*turn_of(request.state["messages"]), *result])
        fallback = run_of(request.state)["fallback"]
        return attempt_of(self.tier.name, fallback=fallback, messages=messages, **{**answered(recorder), **said})

    def _ended(self, attempt: Attempt, recorder: Recorder, **more: Any) -> ExtendedModelResponse[Any]:
        """End the visit without a word of what was said."""
        update = {"attempts": [attempt], "ledger": recorder.drain(), "jump_to": "end", **more}
        result: list[BaseMessage] = [AIMessage("")] if self.leaves_message else []
        return ExtendedModelResponse(ModelResponse(result=result), Command(update=update))


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
        recorder = Recorder()
        with accounted(input, run_of(input)["id"], recorder), _handed_on(config):
            visit = self.loop.invoke(self._payload(input), self._config(input, config, recorder))
        return self._written(input, visit, recorder)

    async def ainvoke(self, input: State, config: RunnableConfig | None = None, **_: Any) -> State:
        """Do what `invoke` does."""
        recorder = Recorder()
        with accounted(input, run_of(input)["id"], recorder), _handed_on(config):
            visit = await self.loop.ainvoke(self._payload(input), self._config(input, config, recorder))
        return self._written(input, visit, recorder)

    def _payload(self, state: State) -> State:
        shared = ("messages", "route", "run", "attempts", *self.fields)
        return {name: state[name] for name in shared if name in state}

    def _config(self, state: State, config: RunnableConfig | None, recorder: Recorder) -> RunnableConfig:
        run = run_of(state)
        tier = priced(self.tier, run_context(), run["fallback"])
        told = call_metadata(role="answer", tier=tier, run_id=run["id"], loop=True)
        return recording(config or ensure_config(), recorder, told)

    def _written(self, state: State, visit: State, recorder: Recorder) -> State:
        """Return the attempt, what it cost, and what the visit changed in the user's own channels."""
        tried = visit.get("attempts", ())[len(state.get("attempts", ())) :]
        attempt = tried[-1] if tried else attempt_of(self.tier.name, fallback=run_of(state)["fallback"])
        update: State = {"ledger": [*visit.get("ledger", ()), *recorder.drain()]}
        if not (attempt["messages"] or attempt["failure"]):
            attempt = _passed(attempt, state["messages"], visit["messages"])
            if visit.get("structured_response") is not None:
                update["structured_response"] = visit["structured_response"]
        for name, has_reducer in self.fields.items():
            if name in visit and not _same(visit[name], state.get(name)):
                update[name] = Overwrite(visit[name]) if has_reducer else visit[name]
        if visit.get("error") is not None:
            update["error"] = visit["error"]
        return update | {"attempts": [attempt]}


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
def _handed_on(config: RunnableConfig | None) -> Iterator[None]:
    """Send a tool's `Command(graph=Command.PARENT)` to the graph around the agent; the agent's own is no parent."""
    try:
        yield
    except ParentCommand as handed:
        command: Command[Any] = handed.args[0]
        if command.graph == (config or {}).get("configurable", {}).get("checkpoint_ns"):
            command = replace(command, graph=Command.PARENT)
        raise ParentCommand(command) from None


def _same(old: Any, new: Any) -> bool:
    return old is new or bool(old == new)


def _answer(response: ModelResponse[Any]) -> AIMessage | None:
    """Return the message that ends the loop, or `None` where tools are called or nothing was said."""
    said = next((message for message in reversed(response.result) if isinstance(message, AIMessage)), None)
    if said is None or (said.tool_calls and response.structured_response is None):
        return None
    return said


def _broke_the_schema_twice(request: ModelRequest[Any], response: ModelResponse[Any]) -> bool:
    """Tell whether the model has been told once what was wrong with its structured answer, and broke it again.

    Only a structured answer that could not be read comes with a tool message of its own.
    """
    told = response.result[-1] if response.result else None
    if not isinstance(told, ToolMessage):
        return False
    before = [message for message in turn_of(request.state["messages"]) if isinstance(message, ToolMessage)]
    return bool(before) and before[-1].name == told.name


def _state(request: ModelRequest[Any]) -> State:
    """Return the loop's state; it has our channels beside those of `AgentState`."""
    return request.state  # type: ignore[return-value]


def _recorder() -> Recorder:
    """Return the visit's recorder, which the node around the loop put into its config."""
    return recorder_in(get_config()) or Recorder()
