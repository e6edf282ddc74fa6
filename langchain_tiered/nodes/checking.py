"""The node that judges the last attempt and carries out the step that follows it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.messages import AIMessage, RemoveMessage, messages_from_dict
from langchain_core.runnables.config import ensure_config, set_config_context
from langgraph.graph import END
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import Command, Overwrite

from langchain_tiered.accounting.collecting import rebook
from langchain_tiered.accounting.entries import HELD, call_metadata
from langchain_tiered.accounting.recorder import Recorder, recording
from langchain_tiered.accounting.traces import JUDGE, REJECTED, mark
from langchain_tiered.cascade.checks import CheckInput
from langchain_tiered.cascade.schemas import import_validators, validators_imported
from langchain_tiered.cascade.steps import of_turn
from langchain_tiered.cascade.verdicts import averdict_of, built_in_verdict, need_no_model, verdict_of
from langchain_tiered.errors import ConfigurationError, NoAnswerAcceptedError
from langchain_tiered.nodes.asking import decided_by_human
from langchain_tiered.nodes.attempts import NOT_STALLED, Raised, up_to_last_tool_result
from langchain_tiered.nodes.events import announce
from langchain_tiered.nodes.ladder import Accounted, Ladder, Node, State, run_context, run_of
from langchain_tiered.nodes.states import arrived
from langchain_tiered.types import place_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage, SystemMessage
    from langchain_core.runnables import RunnableConfig

    from langchain_tiered.cascade.checks import Check
    from langchain_tiered.cascade.steps import Step
    from langchain_tiered.types import Attempt, LedgerEntry, Outcome, Route, Task, Tier, Verdict


SPENT = "The budget for this request is spent, so it was not answered."
"""The last message of a run that its budget has ended."""


class Asked(NamedTuple):
    """The checks of an answer."""

    checks: tuple[Check, ...]
    """In the order in which they are asked."""

    need_no_model: bool
    """Whether all are built in."""


class Judge:
    """Asks the checks of an answer; the models that a user's checks call are booked like any other."""

    def __init__(self, ladder: Ladder) -> None:
        """Take the tiers, and what is asked of their answers."""
        self.ladder = ladder
        self._known: dict[tuple[str, Task, bool], Asked] = {}

    def verdict(
        self,
        tier: Tier,
        state: State,
        given: CheckInput,
        recorder: Recorder,
        config: RunnableConfig | None,
        *,
        is_tool_turn: bool = False,
    ) -> Verdict:
        """Return what the checks say; of a message that calls tools only the built-in ones are asked."""
        asked, policy = self._asked(tier, state, is_tool_turn), self.ladder.policy
        if asked.need_no_model:
            return self._plainly(asked, given)
        with set_config_context(self._config(tier, state, recorder, config)) as context:
            return context.run(verdict_of, asked.checks, given, policy.thresholds, policy.max_check_s)

    async def averdict(
        self,
        tier: Tier,
        state: State,
        given: CheckInput,
        recorder: Recorder,
        config: RunnableConfig | None,
        *,
        is_tool_turn: bool = False,
    ) -> Verdict:
        """Do what `verdict` does."""
        if (given.answer.tool_calls or given.schema is not None) and not validators_imported():
            await import_validators()
        asked, policy = self._asked(tier, state, is_tool_turn), self.ladder.policy
        if asked.need_no_model:
            return self._plainly(asked, given)
        with set_config_context(self._config(tier, state, recorder, config)) as context:
            said = averdict_of(asked.checks, given, policy.thresholds, policy.max_check_s)
            return await asyncio.create_task(said, context=context)

    def _plainly(self, asked: Asked, given: CheckInput) -> Verdict:
        thresholds = self.ladder.policy.thresholds
        return verdict_of(asked.checks, given, thresholds) if thresholds else built_in_verdict(asked.checks, given)

    def _asked(self, tier: Tier, state: State, is_tool_turn: bool) -> Asked:  # noqa: FBT001  (ours alone)
        """Return what is asked of an answer: the same for every answer that a tier gives to a task."""
        key = (tier.name, state["route"]["task"], is_tool_turn)
        if (asked := self._known.get(key)) is None:
            of = self.ladder.checks.of_tool_turn if is_tool_turn else self.ladder.checks.of
            checks = of(tier, key[1])
            asked = self._known[key] = Asked(checks, need_no_model(checks))
        return asked

    def _config(self, tier: Tier, state: State, recorder: Recorder, config: RunnableConfig | None) -> RunnableConfig:
        nobodys = replace(tier, rates=None, price_factor=1.0)  # a check may ask any model, on its own terms
        told = call_metadata(role="judge", tier=nobodys, run_id=run_of(state)["id"])
        around = ensure_config(config)
        # What a check's models say of an answer may quote it: their tokens are no part of the user's stream.
        return recording({**around, "tags": [*(around.get("tags") or ()), HELD, JUDGE]}, recorder, told)


class CheckNode(Node):
    """Moves an accepted answer to `messages`, and goes where the engine says after any other attempt."""

    def __init__(
        self,
        ladder: Ladder,
        *,
        on_accepted: str = END,
        schema: Any = None,
        system_prompt: str | SystemMessage | None = None,
    ) -> None:
        super().__init__("check")
        self.ladder, self.on_accepted, self.schema, self.prompt = ladder, on_accepted, schema, system_prompt
        self.judge = Judge(ladder)

    def invoke(self, input: State, config: RunnableConfig | None = None, **_: Any) -> Command[str]:
        """Judge the last attempt where that was not done yet, and carry out the step that follows."""
        state = arrived(input)
        recorder = self.ladder.recorder(state)
        with Accounted(state, run_of(state)["id"], recorder):
            attempt = _last(state)
            if (answer := _unjudged(attempt)) is not None:
                tier = self.ladder.tier(attempt["tier"])
                given = self._given(tier, state, answer)
                attempt = {**attempt, "verdict": self.judge.verdict(tier, state, given, recorder, config)}
            step, command = self._carried_out(state, attempt, recorder, ensure_config(config))
            if step.wait_s:
                time.sleep(step.wait_s)
        return command

    async def ainvoke(self, input: State, config: RunnableConfig | None = None, **_: Any) -> Command[str]:
        """Do what `invoke` does."""
        state = arrived(input)
        recorder = self.ladder.recorder(state)
        with Accounted(state, run_of(state)["id"], recorder):
            attempt = _last(state)
            if (answer := _unjudged(attempt)) is not None:
                tier = self.ladder.tier(attempt["tier"])
                given = self._given(tier, state, answer)
                attempt = {**attempt, "verdict": await self.judge.averdict(tier, state, given, recorder, config)}
            step, command = self._carried_out(state, attempt, recorder, ensure_config(config))
            if step.wait_s:
                await asyncio.sleep(step.wait_s)
        return command

    def _given(self, tier: Tier, state: State, answer: AIMessage) -> CheckInput:
        """Return what the checks see: a tier that answers with one call has no tools that anybody would run."""
        system = self.ladder.system_message(tier, run_context(), self.prompt, ())
        asked = [*([system] if system else []), *state["messages"]]
        return CheckInput(asked, answer, state["route"], schema=self.schema)

    def _carried_out(
        self, state: State, attempt: Attempt, recorder: Recorder, config: RunnableConfig
    ) -> tuple[Step, Command[str]]:
        """Return the step that follows the attempt, and the command that carries it out."""
        attempts = [*of_turn(state["attempts"])[:-1], attempt]
        step = self.ladder.step(state, attempts)
        if step.action == "ask":
            run = run_of(state)
            if not run.get("asked"):
                # An interrupted node runs again from its start: what the checks have cost is written down first.
                announce(attempt, step)
                update = {"attempts": Overwrite(attempts), "ledger": recorder.drain(), "run": {**run, "asked": True}}
                return step, Command(goto=config["metadata"]["langgraph_node"], update=update)
            decided = decided_by_human(attempt, step)
            if decided is None:
                raise NoAnswerAcceptedError(attempts, f"{step.reason} A human rejected it, too.")
            attempt, attempts = decided, [*attempts[:-1], decided]
            step = self.ladder.step(state, attempts)
        _mark(config, state["route"], attempt, step, recorder.entries)
        corrected = self._corrected(state, attempt, step)
        recorder.book(corrected)
        rebook(corrected, config)
        if step.action == "stop":
            announce(attempt, step)
            if self._ends_quietly(attempt):
                return step, self._spent(state, attempts, recorder)
            raise _error(state, attempts, step)
        return step, self._command(state, attempts, step, recorder)

    def _command(self, state: State, attempts: list[Attempt], step: Step, recorder: Recorder) -> Command[str]:
        attempt, route = attempts[-1], state["route"]
        update: State = {"attempts": Overwrite(attempts), "ledger": recorder.drain()}
        if step.action == "accept":
            run = run_of(state)
            if run["fallback"] or run.get("asked"):  # the turn is over, and the next one begins at a tier's own model
                update["run"] = {**run, "fallback": 0, "asked": False}
            return Command(goto=self.on_accepted, update=update | {"messages": _accepted(route, attempt)})
        announce(attempt, step)
        update["run"] = {**run_of(state), "fallback": step.fallback}
        if carried := _continued(attempt):
            update["messages"] = carried
        if step.action == "escalate":
            update["route"] = raised(route, step.tier, step.reason)
        return Command(goto=step.tier, update=update)

    def _ends_quietly(self, attempt: Attempt) -> bool:
        """Tell whether a run whose budget is spent ends with a message instead of an error."""
        budget, failure = self.ladder.budget, attempt["failure"]
        return (
            budget is not None
            and budget.exit_behavior != "error"
            and failure is not None
            and failure["kind"] == "budget"
        )

    def _spent(self, state: State, attempts: list[Attempt], recorder: Recorder) -> Command[str]:
        """End the run with what tools have given, and a message that says why there is no answer."""
        answer = AIMessage(SPENT, response_metadata={"route": dict(state["route"]), "budget_exceeded": True})
        update = {"attempts": Overwrite(attempts), "ledger": recorder.drain()}
        return Command(goto=self.on_accepted, update={**update, "messages": [*_continued(attempts[-1]), answer]})

    def _corrected(self, state: State, attempt: Attempt, step: Step) -> list[LedgerEntry]:
        """Return the entry of the attempt's answer, if more is known of its outcome than when it was booked."""
        outcome = self._outcome(state["route"], attempt, step)
        entry = next((entry for entry in reversed(state.get("ledger", ())) if entry["id"] == attempt["call_id"]), None)
        if entry is None or entry["outcome"] == outcome == "accepted":
            return []
        corrected = entry.copy()
        corrected["outcome"] = outcome
        if outcome == "rejected" and attempt["verdict"] is not None:
            corrected["rejected_by"] = attempt["verdict"]["check"]
        return [corrected]

    def _outcome(self, route: Route, attempt: Attempt, step: Step) -> Outcome:
        if step.action != "accept":
            return "rejected"
        if attempt["verdict"] is not None and not attempt["verdict"]["accepted"]:
            return "truncated"
        tiers = self.ladder.tiers
        return "downgraded" if place_of(attempt["tier"], tiers) < place_of(route["tier"], tiers) else "accepted"


def _mark(config: RunnableConfig, route: Route, attempt: Attempt, step: Step, paid: Sequence[LedgerEntry]) -> None:
    """Tell tracers what became of an attempt."""
    verdict, failure = attempt["verdict"], attempt["failure"]
    told: dict[str, str] = {"step": step.action}
    rejected = verdict is not None and not verdict["accepted"]
    if rejected and verdict is not None:
        told["rejected_by"] = verdict["check"]
    if failure is not None:
        told["failure"] = failure["kind"]
    mark(config, *([REJECTED] if rejected else ()), tier=attempt["tier"], route=route, paid=paid, **told)


def _last(state: State) -> Attempt:
    """Return the attempt that is to be judged."""
    if not state["attempts"]:
        raise ConfigurationError("No tier has answered yet. Lead to `check` from a node made by `nodes.answer`.")
    last: Attempt = state["attempts"][-1]
    return last


def _unjudged(attempt: Attempt) -> AIMessage | None:
    """Return the answer of an attempt that no check has seen, or `None`."""
    if attempt["verdict"] or attempt["failure"] or attempt["hand_up"]:
        return None
    last = messages_from_dict(attempt["messages"][-1:])[0]
    return last if isinstance(last, AIMessage) else None


def _accepted(route: Route, attempt: Attempt) -> list[BaseMessage]:
    """Return what joins the thread, the route on the answer: the latch that the next turn reads."""
    messages = messages_from_dict(attempt["messages"])
    answer = messages[-1]
    answer.response_metadata["route"] = dict(route)
    if attempt["verdict"] is not None and not attempt["verdict"]["accepted"]:
        answer.response_metadata["truncated"] = True
    return [RemoveMessage(REMOVE_ALL_MESSAGES), *messages] if attempt["rewrites"] else messages


def _continued(attempt: Attempt) -> list[BaseMessage]:
    """Return what the next tier continues from: what tools gave, and nothing of what was judged.

    Behind a rejected answer may stand a tool message of LangChain's own: of a slip, or of a value that it could read.
    """
    messages = messages_from_dict(attempt["messages"])
    verdict = attempt["verdict"]
    if attempt["hand_up"] is not None or (verdict is not None and verdict["check"] != NOT_STALLED):
        last = max((place for place, each in enumerate(messages) if isinstance(each, AIMessage)), default=0)
        messages = messages[:last]
    return up_to_last_tool_result(messages)


def raised(route: Route, tier: str, reason: str) -> Route:
    """Return the route after an escalation to a tier."""
    return {
        **route,
        "tier": tier,
        "reason": reason,
        "decided_by": "escalation",
        "escalated_from": route["escalated_from"] or route["tier"],
    }


def _error(state: State, attempts: list[Attempt], step: Step) -> Exception:
    """Return the provider's own error where one ended the turn, else one that lists the attempts."""
    raised_by_provider = state.get("error")
    error = raised_by_provider.error if isinstance(raised_by_provider, Raised) else None
    if attempts[-1]["failure"] is not None and error is not None:
        error.attempts = attempts  # type: ignore[attr-defined]
        return error
    return NoAnswerAcceptedError(attempts, step.reason)
