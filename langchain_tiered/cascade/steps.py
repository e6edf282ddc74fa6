"""Decide what follows an attempt. THE engine: the graph, the middleware and the chat model only carry its steps out.

Pure: no clock, no model, no framework. The attempts so far and the limits are all that counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from langchain_tiered.types import place_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from langchain_tiered.types import Attempt, Failure, Route, TierFacts, Verdict

Action = Literal["accept", "wait", "repair", "fall_back", "escalate", "downgrade", "ask", "stop"]

_DOWN = frozenset({"rate_limit", "outage", "timeout"})

REPAIRABLE = frozenset({"valid_tool_calls", "matches_schema"})
"""Checks whose rejection a model can mend when it is told what was wrong: a slip of form, not a lack of ability."""


@dataclass(frozen=True)
class Step:
    """What follows an attempt."""

    action: Action
    """`accept` the answer · `wait` and ask the same model again · `repair`: tell the same model what was wrong, once ·
    `fall_back` sideways to another model of the tier · `escalate` to a tier above · `downgrade` for one attempt below,
    the route stays · `ask` a human about the last answer · `stop` with an error."""

    tier: str
    """The tier that answers next, or the one whose answer is accepted or that the run stops at."""

    reason: str
    """A sentence for a person."""

    fallback: int = 0
    """`0` for the tier's own model, `n` for its n-th fallback."""

    wait_s: float = 0.0
    """How long to wait before, in seconds."""


@dataclass(frozen=True)
class Limits:
    """What bounds the steps of one turn."""

    max_escalations: int | None = None
    """How often a turn may go up, or `None` for as often as there are tiers."""

    max_wait_s: float = 0.0
    """The longest that a turn waits for a rate limit, in seconds; `0` waits never."""

    on_rate_limit: Literal["downgrade", "escalate"] = "downgrade"
    """Where a turn goes first when a tier's rate limit is hit and waiting does not help."""

    floor: str | None = None
    """The lowest tier that a downgrade may reach, or `None` for the cheapest."""

    unfit: frozenset[str] = frozenset()
    """Tiers that cannot take the request."""

    open_circuits: frozenset[tuple[str, int]] = frozenset()
    """Models, as tier and fallback, that have failed so often of late that they are left alone for a while."""

    remaining_usd: float | None = None
    """What is left of the budget, or `None` without one; once it is spent, no step that costs anything follows."""

    on_budget: Literal["stop", "downgrade"] = "stop"
    """What then, when the budget does not hold the next call: the end, or a cheaper tier."""

    on_no_answer: Literal["stop", "ask"] = "stop"
    """What then, when an answer was rejected and no other attempt is left: an error, or a human decides."""


def next_step(route: Route, attempts: Sequence[Attempt], tiers: Sequence[TierFacts], limits: Limits) -> Step:
    """Return what follows the last of `attempts`.

    Each step goes to a model that the turn has not tried, save one `wait` and one `repair` for each; so every turn
    ends. Where a body loses which fallback a step names, and asks the same model again, the step after leaves the tier.

    Args:
        route: The turn's route. A pinned route never leaves its tier.
        attempts: What was tried, in order; the last one has a verdict, a failure or a hand-up. Those of earlier turns
            do not count: see `of_turn`.
        tiers: The declared tiers, cheapest first.
        limits: What bounds the steps.

    Raises:
        ValueError: If there is no attempt, or the last one was neither judged nor failed.
        UnknownTierError: If an attempt names an undeclared tier.
    """
    if not attempts:
        raise ValueError("No attempt was made, so no step can follow. Call the route's tier first.")
    last = attempts[-1]
    turn = _Turn(route, of_turn(attempts), tiers, limits)
    if last["failure"] is not None:
        return turn.within_budget(turn.after_failure(last["failure"]))
    if last["hand_up"] is not None:
        return turn.within_budget(turn.up(f"{last['tier']} hands up: {last['hand_up']}"))
    verdict = last["verdict"]
    if verdict is None:
        raise ValueError(f"The attempt of {last['tier']!r} was neither judged nor failed. Run the checks first.")
    if verdict["accepted"]:
        return Step("accept", last["tier"], verdict["reason"], last["fallback"])
    if _stands(verdict, last):
        why = f"{verdict['reason']} Its tokens were shown, so it stands."
        return Step("accept", last["tier"], why, last["fallback"])
    return turn.within_budget(turn.after_rejection(verdict))


def of_turn(attempts: Sequence[Attempt]) -> Sequence[Attempt]:
    """Return the attempts of the last one's turn, of which a state may hold more than one.

    A turn ends with an answer that is accepted. One that nobody has judged ended its turn, too, where others follow it:
    its check has raised an error, which is all that was left to do, and writes nothing.
    """
    for place in range(len(attempts) - 1, 0, -1):
        if _ended(attempts[place - 1]):
            return attempts[place:]
    return attempts


class _Turn:
    """One turn's attempts, seen by its limits."""

    def __init__(self, route: Route, attempts: Sequence[Attempt], tiers: Sequence[TierFacts], limits: Limits) -> None:
        self.attempts, self.tiers, self.limits = attempts, tiers, limits
        self.pinned = route["decided_by"] == "pin"
        self.places = [place_of(attempt["tier"], tiers) for attempt in attempts]
        self.last, self.here = attempts[-1], tiers[self.places[-1]]

    def after_failure(self, failure: Failure) -> Step:
        """Go sideways where another model may be up, else wait, down or up; a caller's mistake stops at once."""
        kind, why = failure["kind"], f"{self.last['tier']} failed: {failure['message']}"
        if kind == "open_circuit":
            return self.around_circuit(why)
        if kind in _DOWN:
            return self.wait(failure, why) or self.sideways(why) or self.away(why, is_limit=kind == "rate_limit")
        if kind in {"overflow", "too_large"}:
            return self.up(why, wider=True)
        if kind == "no_answer":
            return self.up(why)
        if kind == "budget" and self.limits.on_budget == "downgrade":
            return self.down(why) or self.stop(why)
        return self.stop(why)

    def after_rejection(self, verdict: Verdict) -> Step:
        """Tell the model once what was wrong where it can mend that, else go up."""
        by = "" if verdict["check"] in verdict["reason"] else f" by {verdict['check']}"
        why = f"{self.last['tier']} was rejected{by}: {verdict['reason']}"
        if verdict["check"] in REPAIRABLE and self._of_this_model(_is_slip) == 1:
            return Step("repair", self.last["tier"], why, self.last["fallback"])
        return self.up(why)

    def around_circuit(self, why: str) -> Step:
        """Leave a model alone whose circuit is open; where it is the only way left, ask it all the same."""
        step = self.sideways(why) or self.up(why)
        if step.action not in {"ask", "stop"}:
            return step
        if (below := self.down(why)) is not None:
            return below
        if self._of_this_model(_was_left_alone) > 1:
            return step
        return Step("wait", self.last["tier"], f"{why} Nothing else is left, so it is asked.", self.last["fallback"])

    def wait(self, failure: Failure, why: str) -> Step | None:
        """Wait as long as the provider asks, once for each model, where the limit allows it."""
        wait_s = failure["retry_after_s"] or 0.0
        if not self._may_wait(failure) or self._of_this_model(_was_down) > 1:
            return None
        return Step("wait", self.last["tier"], f"{why} Waiting {wait_s:g} s.", self.last["fallback"], wait_s)

    def sideways(self, why: str) -> Step | None:
        """Take the tier's next fallback model that is not left alone; none where the step to one went astray."""
        fallback = None if self._is_back() else self._model_of(self.here, self.last["fallback"] + 1)
        if fallback is None:
            return None
        return Step("fall_back", self.here.name, f"{why} Its fallback {fallback} stands in.", fallback)

    def away(self, why: str, *, is_limit: bool) -> Step:
        """Leave a tier that is down: up, and after a rate limit also down, first or last as the limits say."""
        if is_limit and self.limits.on_rate_limit == "downgrade":
            return self.down(why) or self.up(why)
        step = self.up(why)
        return (self.down(why) if is_limit and step.action == "stop" else None) or step

    def down(self, why: str) -> Step | None:
        """Take the nearest tier below that may take the request, above any whose answer or window did not do."""
        floor = 0 if self.limits.floor is None else place_of(self.limits.floor, self.tiers)
        too_low = [place for place, attempt in zip(self.places, self.attempts, strict=True) if _fell_short(attempt)]
        for place in range(self.places[-1] - 1, max([floor - 1, *too_low]), -1):
            tier = self.tiers[place]
            if place in self.places or tier.name in self.limits.unfit or self.pinned:
                continue
            if (fallback := self._model_of(tier)) is not None:
                return Step("downgrade", tier.name, why, fallback)
        return None

    def up(self, why: str, *, wider: bool = False) -> Step:
        """Take the nearest tier above all tried that can take the request; stop where there is none."""
        if self.pinned:
            return self.stop(f"{why} The route is pinned to {self.here.name}.")
        ups = sum(after > before for before, after in zip(self.places, self.places[1:], strict=False))
        if self.limits.max_escalations is not None and ups >= self.limits.max_escalations:
            return self.stop(f"{why} The turn has escalated {ups} times, its limit.")
        for tier in self.tiers[max(self.places) + 1 :]:
            if tier.name in self.limits.unfit or (wider and self._no_wider(tier)):
                continue
            if (fallback := self._model_of(tier)) is not None:
                return Step("escalate", tier.name, why, fallback)
        return self.stop(f"{why} No tier above can take the request.")

    def stop(self, why: str) -> Step:
        """End the turn: by a human's word where that is wanted and there is an answer to speak of, else by an error."""
        answered = self.last["failure"] is None and self.last["hand_up"] is None
        action: Action = "ask" if answered and self.limits.on_no_answer == "ask" else "stop"
        return Step(action, self.last["tier"], why, self.last["fallback"])

    def within_budget(self, step: Step) -> Step:
        """Return a step, unless it costs something and nothing is left to pay it with."""
        left = self.limits.remaining_usd
        if left is None or left > 0 or step.action in {"ask", "stop"}:
            return step
        return self.stop(f"{step.reason} The budget is spent.")

    def _model_of(self, tier: TierFacts, first: int = 0) -> int | None:
        """Return the first model of a tier, from the `first` on, that is neither tried nor left alone, if any is."""
        out = {(each["tier"], each["fallback"]) for each in self.attempts} | self.limits.open_circuits
        return next((model for model in range(first, tier.fallbacks + 1) if (tier.name, model) not in out), None)

    def _of_this_model(self, counts: Callable[[Attempt], bool]) -> int:
        """Count the attempts of the model that was tried last."""
        return sum(map(counts, self._its_attempts()))

    def _its_attempts(self) -> Iterator[Attempt]:
        model = (self.last["tier"], self.last["fallback"])
        return (each for each in self.attempts if (each["tier"], each["fallback"]) == model)

    def _may_wait(self, failure: Failure) -> bool:
        """Tell whether the provider asks for a wait that the limit allows."""
        wait_s, longest_s = failure["retry_after_s"], self.limits.max_wait_s
        return wait_s is not None and 0 < longest_s >= wait_s

    def _is_back(self) -> bool:
        """Tell whether the model was to be left, and was asked again: no step to another one of the tier gets there."""
        downs = [each["failure"] for each in self._its_attempts() if _was_down(each)]
        waited = bool(downs) and downs[0] is not None and self._may_wait(downs[0])
        return len(downs) > 1 + waited or self._of_this_model(_was_left_alone) > 1

    def _no_wider(self, tier: TierFacts) -> bool:
        """Tell whether a tier is known to take no more input than the one that overflowed."""
        mine, its = self.here.max_input_tokens, tier.max_input_tokens
        return mine is not None and its is not None and its <= mine


def _stands(verdict: Verdict, attempt: Attempt) -> bool:
    """Tell whether a rejected answer is given all the same: it was cut off, and has been shown."""
    return verdict["check"] == "finished" and attempt["shown"]


def _ended(attempt: Attempt) -> bool:
    """Tell whether no other attempt of its turn can follow an attempt."""
    if attempt["failure"] is not None or attempt["hand_up"] is not None:
        return False
    verdict = attempt["verdict"]
    return verdict is None or verdict["accepted"] or _stands(verdict, attempt)


def _fell_short(attempt: Attempt) -> bool:
    """Tell whether an attempt showed that its tier is not enough, rather than that its model is down."""
    return attempt["failure"] is None or attempt["failure"]["kind"] == "overflow"


def _was_left_alone(attempt: Attempt) -> bool:
    """Tell whether the model was not even called, because its circuit is open."""
    return attempt["failure"] is not None and attempt["failure"]["kind"] == "open_circuit"


def _was_down(attempt: Attempt) -> bool:
    """Tell whether the model was called, and could not answer now."""
    return attempt["failure"] is not None and attempt["failure"]["kind"] in _DOWN


def _is_slip(attempt: Attempt) -> bool:
    """Tell whether an attempt was rejected for something that its model can mend."""
    verdict = attempt["verdict"]
    return verdict is not None and not verdict["accepted"] and verdict["check"] in REPAIRABLE
