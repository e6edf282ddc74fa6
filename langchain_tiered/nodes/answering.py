"""The node of a tier that answers with one model call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.runnables.config import ensure_config
from langgraph.types import Overwrite

from langchain_tiered.accounting.entries import call_metadata
from langchain_tiered.accounting.recorder import Recorder, recording
from langchain_tiered.accounting.traces import mark, tagged, tier_tag
from langchain_tiered.cascade.failures import failure_of
from langchain_tiered.cascade.validity import valid_tool_calls
from langchain_tiered.nodes.attempts import (
    Raised,
    answered,
    attempt_of,
    dicts_of,
    failed_attempt,
    hand_up_reason,
    slip_of,
    told_of,
    turn_of,
    unbound_call,
)
from langchain_tiered.nodes.ladder import (
    Accounted,
    Ladder,
    Node,
    State,
    priced,
    run_context,
    run_of,
    unstreamed,
)
from langchain_tiered.nodes.states import arrived, in_turn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, BaseMessage, SystemMessage
    from langchain_core.runnables import Runnable, RunnableConfig

    from langchain_tiered.types import Tier

HAND_UP = {
    "type": "function",
    "function": {
        "name": "hand_up",
        "description": "Hand the request up to a more capable assistant, if it is beyond you or needs tools you lack.",
        "parameters": {
            "type": "object",
            "properties": {"reason": {"type": "string", "description": "What is missing here, in one sentence."}},
            "required": ["reason"],
        },
    },
}
"""The tool of a tier that lacks the agent's tools, or has this one among its own: a cheap model may ask for more."""


def may_hand_up(tier: Tier, lacks: Sequence[str] = ()) -> bool:
    """Tell whether a tier is given `hand_up`."""
    return bool(lacks) or any(tool is HAND_UP for tool in tier.tools)


class AnswerNode(Node):
    """Calls the tier's model once and writes its answer to `attempts`, never to `messages`."""

    def __init__(
        self,
        tier: Tier,
        ladder: Ladder,
        *,
        system_prompt: str | SystemMessage | None = None,
        lacks: Sequence[str] = (),
    ) -> None:
        """Take the tier, and what surrounds it.

        Args:
            tier: Whose model answers.
            ladder: The tiers of the graph.
            system_prompt: What stands before the messages.
            lacks: Names of tools that tiers above have; if there are any, the model is given `hand_up`.
        """
        super().__init__(tier.name)
        self.tier, self.ladder, self.prompt, self.lacks = tier, ladder, system_prompt, tuple(lacks)
        self._bound: tuple[tuple[int, bool, bool], BaseChatModel, Runnable[Any, Any]] | None = None

    def invoke(self, input: State, config: RunnableConfig | None = None, **_: Any) -> State:
        """Make an attempt, unless it was made ahead; a provider's error becomes a failed one where another may help."""
        state = arrived(input)
        turn = in_turn(state)
        update = _made_ahead(turn) or self._marked(turn, config, self.attempted(turn, config))
        return update if turn is state else _begun(state, turn, update)

    async def ainvoke(self, input: State, config: RunnableConfig | None = None, **_: Any) -> State:
        """Do what `invoke` does."""
        state = arrived(input)
        turn = in_turn(state)
        update = _made_ahead(turn) or self._marked(turn, config, await self.aattempted(turn, config))
        return update if turn is state else _begun(state, turn, update)

    def attempted(self, state: State, config: RunnableConfig | None, *, ahead: bool = False) -> State:
        """Make an attempt; one made ahead is kept from the user until the route is known."""
        recorder, context, run = self.ladder.recorder(state), run_context(), run_of(state)
        with Accounted(state, run["id"], recorder):
            if (skipped := self._skipped(state, context)) is not None:
                return skipped
            model = self.ladder.models.of(self.tier, context, run["fallback"])
            call = self._bind(state, model, held=ahead or self.ladder.holds(state, self.tier, model, is_async=False))
            try:
                answer = call.invoke(self._messages(state, context), self._config(config, recorder, context, state))
            except Exception as error:  # noqa: BLE001  (told apart: what is no provider's error is raised again)
                return self._failed(state, error, recorder, context)
        return self._answered(state, answer, recorder, context)

    async def aattempted(self, state: State, config: RunnableConfig | None, *, ahead: bool = False) -> State:
        """Do what `attempted` does."""
        recorder, context, run = self.ladder.recorder(state), run_context(), run_of(state)
        with Accounted(state, run["id"], recorder):
            if (skipped := self._skipped(state, context)) is not None:
                return skipped
            model = await self.ladder.models.aof(self.tier, context, run["fallback"])
            call = self._bind(state, model, held=ahead or self.ladder.holds(state, self.tier, model, is_async=True))
            try:
                answer = await call.ainvoke(
                    self._messages(state, context), self._config(config, recorder, context, state)
                )
            except Exception as error:  # noqa: BLE001  (as in `attempted`)
                return self._failed(state, error, recorder, context)
        return self._answered(state, answer, recorder, context)

    def _bind(self, state: State, model: BaseChatModel, *, held: bool) -> Runnable[Any, Any]:
        """Return the model as this call needs it; the last one is kept, since binding converts tools anew."""
        offered = may_hand_up(self.tier, self.lacks) and not _is_pinned(state)
        key, kept = (id(model), held, offered), self._bound
        if kept is not None and kept[0] == key:
            return kept[2]
        call: Runnable[Any, Any] = unstreamed(model) if held else model
        if offered:
            call = call.bind_tools([HAND_UP])  # type: ignore[attr-defined]
        self._bound = (key, model, call)  # the model is kept too, so that its id stays its own
        return call

    def _lacking(self, state: State) -> tuple[str, ...]:
        return () if _is_pinned(state) else self.lacks

    def _skipped(self, state: State, context: object) -> State | None:
        """Return what is written where no call is made, because the model is left alone for a while."""
        attempts, fallback = state.get("attempts", ()), run_of(state)["fallback"]
        alone = self.ladder.left_alone(self.tier, fallback, attempts, context)
        if alone is None:
            return None
        return {"attempts": [{**alone, "messages": dicts_of(turn_of(state["messages"]))}]}

    def _messages(self, state: State, context: object) -> list[BaseMessage]:
        system = self.ladder.system_message(self.tier, context, self.prompt, self._lacking(state))
        slip = slip_of(state.get("attempts", ()), self.tier.name, run_of(state)["fallback"])
        told = told_of(slip) if slip else []
        return [*([system] if system else []), *state["messages"], *told]

    def _marked(self, state: State, config: RunnableConfig | None, update: State) -> State:
        """Return what is written, and tell tracers what the attempt cost."""
        paid = update.get("ledger", ())
        mark(config, tier_tag(self.tier.name), tier=self.tier.name, route=state["route"], paid=paid)
        return update

    def _config(
        self, config: RunnableConfig | None, recorder: Recorder, context: object, state: State
    ) -> RunnableConfig:
        run = run_of(state)
        tier = priced(self.tier, context, run["fallback"])
        told = call_metadata(role="answer", tier=tier, run_id=run["id"], route=state["route"])
        return tagged(recording(config or ensure_config(), recorder, told), tier_tag(tier.name))

    def _answered(self, state: State, answer: AIMessage, recorder: Recorder, context: object) -> State:
        fallback = run_of(state)["fallback"]
        self.ladder.settle(self.tier, fallback, None, context)
        attempt = attempt_of(
            self.tier.name,
            fallback=fallback,
            messages=dicts_of([*turn_of(state["messages"]), answer]),
            hand_up=None if _is_pinned(state) else self._hand_up(state, answer),
            **answered(recorder, answer),
        )
        return {"attempts": [attempt], "ledger": recorder.drain()}

    def _hand_up(self, state: State, answer: AIMessage) -> str | None:
        """Return why the model asks for more: in so many words, or by calling a tool that tiers above have.

        A call of any other tool is a slip, which the checks tell it of; nobody would run it.
        """
        is_checked = valid_tool_calls in self.ladder.checks.of(self.tier, state["route"]["task"])
        return hand_up_reason(answer) or unbound_call(answer, self.lacks if is_checked else None)

    def _failed(self, state: State, error: Exception, recorder: Recorder, context: object) -> State:
        fallback = run_of(state)["fallback"]
        self.ladder.settle(self.tier, fallback, failure_of(error, of_call=recorder.raised(error)), context)
        messages = dicts_of(turn_of(state["messages"]))
        attempt = failed_attempt(self.tier.name, error, recorder, fallback=fallback, messages=messages)
        return {"attempts": [attempt], "ledger": recorder.drain(), "error": Raised(error)}


def _made_ahead(state: State) -> State | None:
    """Return what is written where the tier has answered already, while the classifier decided; `None` elsewhere."""
    run = run_of(state)
    return {"run": {**run, "ahead": False}} if run.get("ahead") else None


def _begun(state: State, turn: State, update: State) -> State:
    """Return what is written where the attempt is the first of its turn, and no `classify` has begun it."""
    attempts = Overwrite(update["attempts"]) if state["attempts"] and not turn["attempts"] else update["attempts"]
    return {**update, "attempts": attempts, "run": turn["run"]}


def _is_pinned(state: State) -> bool:
    """Tell whether the route is pinned: then it cannot be handed up."""
    decided_by: str = state["route"]["decided_by"]
    return decided_by == "pin"
