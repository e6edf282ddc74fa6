"""The node that judges the last attempt and carries out the step that follows it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, RemoveMessage, messages_from_dict
from langchain_core.runnables.config import ensure_config, set_config_context
from langgraph.graph import END
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import Command, Overwrite

from langchain_tiered.accounting.recorder import Recorder, call_metadata, rebook, recording
from langchain_tiered.cascade.checks import BUILT_IN, CheckInput, ajudge, judge
from langchain_tiered.errors import NoAnswerAcceptedError
from langchain_tiered.nodes.ladder import Ladder, Node, State, accounted, run_of, up_to_last_tool_result
from langchain_tiered.types import place_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage
    from langchain_core.runnables import RunnableConfig

    from langchain_tiered.cascade.checks import Check
    from langchain_tiered.cascade.steps import Step
    from langchain_tiered.types import Attempt, LedgerEntry, Outcome, Route, Tier, Verdict


class Judge:
    """Asks the checks of an answer; the models that a user's checks call are booked like any other."""

    def __init__(self, ladder: Ladder, *, tools: Sequence[Any] = (), schema: Any = None) -> None:
        """Take what the checks are told of besides the answer."""
        self.ladder, self.tools, self.schema = ladder, tuple(tools), schema

    def verdict(
        self, tier: Tier, state: State, answer: AIMessage, recorder: Recorder, config: RunnableConfig | None
    ) -> Verdict:
        """Return what the checks say."""
        checks, given = self._asked(tier, state, answer)
        thresholds = self.ladder.policy.thresholds
        if _need_no_model(checks):
            return judge(checks, given, thresholds)
        with set_config_context(self._config(tier, state, recorder, config)) as context:
            return context.run(judge, checks, given, thresholds)

    async def averdict(
        self, tier: Tier, state: State, answer: AIMessage, recorder: Recorder, config: RunnableConfig | None
    ) -> Verdict:
        """Do what `verdict` does."""
        checks, given = self._asked(tier, state, answer)
        thresholds = self.ladder.policy.thresholds
        if _need_no_model(checks):
            return judge(checks, given, thresholds)
        with set_config_context(self._config(tier, state, recorder, config)) as context:
            return await asyncio.create_task(ajudge(checks, given, thresholds), context=context)

    def _asked(self, tier: Tier, state: State, answer: AIMessage) -> tuple[tuple[Check, ...], CheckInput]:
        route: Route = state["route"]
        given = CheckInput(state["messages"], answer, route, self.tools, self.schema)
        return self.ladder.checks.of(tier, route["task"]), given

    def _config(self, tier: Tier, state: State, recorder: Recorder, config: RunnableConfig | None) -> RunnableConfig:
        told = call_metadata(role="judge", tier=tier, run_id=run_of(state)["id"])
        return recording(ensure_config(config), recorder, told)


def _need_no_model(checks: Sequence[Check]) -> bool:
    return all(check in BUILT_IN for check in checks)


class CheckNode(Node):
    """Moves an accepted answer to `messages`, and goes where the engine says after any other attempt."""

    def __init__(
        self, ladder: Ladder, *, on_accepted: str = END, tools: Sequence[Any] = (), schema: Any = None
    ) -> None:
        super().__init__("check")
        self.ladder, self.on_accepted = ladder, on_accepted
        self.judge = Judge(ladder, tools=tools, schema=schema)

    def invoke(self, input: State, config: RunnableConfig | None = None, **_: Any) -> Command[str]:
        """Judge the last attempt where that was not done yet, and carry out the step that follows."""
        recorder = Recorder()
        with accounted(input, run_of(input)["id"], recorder):
            attempt: Attempt = input["attempts"][-1]
            if (answer := _unjudged(attempt)) is not None:
                verdict = self.judge.verdict(self._tier(attempt), input, answer, recorder, config)
                attempt = {**attempt, "verdict": verdict}
            step, update = self._carried_out(input, attempt, recorder, config)
            if step.wait_s:
                time.sleep(step.wait_s)
        return self._command(step, update)

    async def ainvoke(self, input: State, config: RunnableConfig | None = None, **_: Any) -> Command[str]:
        """Do what `invoke` does."""
        recorder = Recorder()
        with accounted(input, run_of(input)["id"], recorder):
            attempt: Attempt = input["attempts"][-1]
            if (answer := _unjudged(attempt)) is not None:
                verdict = await self.judge.averdict(self._tier(attempt), input, answer, recorder, config)
                attempt = {**attempt, "verdict": verdict}
            step, update = self._carried_out(input, attempt, recorder, config)
            if step.wait_s:
                await asyncio.sleep(step.wait_s)
        return self._command(step, update)

    def _tier(self, attempt: Attempt) -> Tier:
        return self.ladder.tiers[place_of(attempt["tier"], self.ladder.tiers)]

    def _carried_out(
        self, state: State, attempt: Attempt, recorder: Recorder, config: RunnableConfig | None
    ) -> tuple[Step, State]:
        """Return the step that follows the attempt, and what it changes in the state."""
        attempts = [*state["attempts"][:-1], attempt]
        step = self.ladder.step(state, attempts)
        corrected = self._corrected(state, attempt, step)
        recorder.book(corrected)
        rebook(corrected, ensure_config(config))
        if step.action == "stop":
            raise _error(state, attempts, step)
        update: State = {"attempts": Overwrite(attempts), "ledger": recorder.drain()}
        messages = messages_from_dict(attempt["messages"])
        if step.action == "accept":
            return step, update | {"messages": _accepted(state["route"], attempt, messages)}
        update["run"] = {**run_of(state), "fallback": step.fallback}
        if carried := up_to_last_tool_result(messages):
            update["messages"] = carried
        if step.action == "escalate":
            update["route"] = _raised(state["route"], step)
        return step, update

    def _command(self, step: Step, update: State) -> Command[str]:
        return Command(goto=self.on_accepted if step.action == "accept" else step.tier, update=update)

    def _corrected(self, state: State, attempt: Attempt, step: Step) -> list[LedgerEntry]:
        """Return the entry of the attempt's answer, if more is known of its outcome than when it was booked."""
        outcome = self._outcome(state["route"], attempt, step)
        entry = next((entry for entry in reversed(state.get("ledger", ())) if entry["id"] == attempt["call_id"]), None)
        if entry is None or entry["outcome"] == outcome:
            return []
        corrected = entry.copy()
        corrected["outcome"] = outcome
        return [corrected]

    def _outcome(self, route: Route, attempt: Attempt, step: Step) -> Outcome:
        if step.action != "accept":
            return "rejected"
        if attempt["verdict"] is not None and not attempt["verdict"]["accepted"]:
            return "truncated"
        tiers = self.ladder.tiers
        return "downgraded" if place_of(attempt["tier"], tiers) < place_of(route["tier"], tiers) else "accepted"


def _unjudged(attempt: Attempt) -> AIMessage | None:
    """Return the answer of an attempt that no check has seen, or `None`."""
    if attempt["verdict"] or attempt["failure"] or attempt["hand_up"]:
        return None
    last = messages_from_dict(attempt["messages"][-1:])[0]
    return last if isinstance(last, AIMessage) else None


def _accepted(route: Route, attempt: Attempt, messages: list[BaseMessage]) -> list[BaseMessage]:
    """Return what joins the thread, the route on the answer: the latch that the next turn reads."""
    answer = messages[-1]
    answer.response_metadata["route"] = dict(route)
    if attempt["verdict"] is not None and not attempt["verdict"]["accepted"]:
        answer.response_metadata["truncated"] = True
    return [RemoveMessage(REMOVE_ALL_MESSAGES), *messages] if attempt["rewrites"] else messages


def _raised(route: Route, step: Step) -> Route:
    return {
        **route,
        "tier": step.tier,
        "reason": step.reason,
        "decided_by": "escalation",
        "escalated_from": route["escalated_from"] or route["tier"],
    }


def _error(state: State, attempts: list[Attempt], step: Step) -> Exception:
    """Return the provider's own error where one ended the turn, else one that lists the attempts."""
    error = state.get("error")
    if attempts[-1]["failure"] is not None and isinstance(error, Exception):
        error.attempts = attempts  # type: ignore[attr-defined]
        return error
    return NoAnswerAcceptedError(attempts, step.reason)
