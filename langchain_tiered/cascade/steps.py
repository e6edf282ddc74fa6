"""Decide what follows an attempt. THE engine: the graph, the middleware and the chat model only carry its steps out.

Pure: no clock, no model, no framework. The attempts so far and the limits are all that counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from langchain_tiered.types import place_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_tiered.types import Attempt, Failure, Route, TierFacts

Action = Literal["accept", "wait", "fall_back", "escalate", "downgrade", "stop"]


@dataclass(frozen=True)
class Step:
    """What follows an attempt."""

    action: Action
    """`accept` the answer · `wait` and ask the same model again · `fall_back` sideways to another model of the tier ·
    `escalate` to a tier above · `downgrade` for one attempt below, the route stays · `stop` with an error."""

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


def next_step(route: Route, attempts: Sequence[Attempt], tiers: Sequence[TierFacts], limits: Limits) -> Step:
    """Return what follows the last of `attempts`.

    Each step goes to a model that the turn has not tried, save one `wait` for each model; so every turn ends.

    Args:
        route: The turn's route. A pinned route never leaves its tier.
        attempts: What was tried in this turn, in order; the last one has a verdict, a failure or a hand-up.
        tiers: The declared tiers, cheapest first.
        limits: What bounds the steps.

    Raises:
        ValueError: If there is no attempt, or the last one was neither judged nor failed.
        UnknownTierError: If an attempt names an undeclared tier.
    """
    if not attempts:
        raise ValueError("No attempt was made, so no step can follow. Call the route's tier first.")
    last = attempts[-1]
    turn = _Turn(route, attempts, tiers, limits)
    if last["failure"] is not None:
        return turn.after_failure(last["failure"])
    if last["hand_up"] is not None:
        return turn.up(f"{last['tier']} hands up: {last['hand_up']}")
    verdict = last["verdict"]
    if verdict is None:
        raise ValueError(f"The attempt of {last['tier']!r} was neither judged nor failed. Run the checks first.")
    if verdict["accepted"]:
        return Step("accept", last["tier"], verdict["reason"], last["fallback"])
    if verdict["check"] == "finished" and last["shown"]:
        return Step(
            "accept", last["tier"], f"{verdict['reason']} Its tokens were shown, so it stands.", last["fallback"]
        )
    return turn.up(f"{last['tier']} was rejected: {verdict['reason']}")


class _Turn:
    """One turn's attempts, seen by its limits."""

    def __init__(self, route: Route, attempts: Sequence[Attempt], tiers: Sequence[TierFacts], limits: Limits) -> None:
        self.attempts, self.tiers, self.limits = attempts, tiers, limits
        self.pinned = route["decided_by"] == "pin"
        self.last = attempts[-1]
        self.here = tiers[place_of(self.last["tier"], tiers)]
        self.places = [place_of(attempt["tier"], tiers) for attempt in attempts]

    def after_failure(self, failure: Failure) -> Step:
        """Go sideways where another model may be up, else wait, down or up; a caller's mistake stops at once."""
        kind, why = failure["kind"], f"{self.last['tier']} failed: {failure['message']}"
        if kind in {"rate_limit", "outage", "timeout"}:
            return self.wait(failure, why) or self.sideways(why) or self.away(why, is_limit=kind == "rate_limit")
        if kind in {"overflow", "too_large"}:
            return self.up(why, wider=True)
        if kind == "no_answer":
            return self.up(why)
        return self.stop(why)

    def wait(self, failure: Failure, why: str) -> Step | None:
        """Wait as long as the provider asks, once for each model, where the limit allows it."""
        wait_s, model = failure["retry_after_s"], (self.last["tier"], self.last["fallback"])
        tried = [(attempt["tier"], attempt["fallback"]) for attempt in self.attempts]
        longest_s = self.limits.max_wait_s
        if wait_s is None or longest_s <= 0 or wait_s > longest_s or tried.count(model) > 1:
            return None
        return Step("wait", self.last["tier"], f"{why} Waiting {wait_s:g} s.", self.last["fallback"], wait_s)

    def sideways(self, why: str) -> Step | None:
        """Take the tier's next fallback model."""
        fallback = self.last["fallback"] + 1
        if fallback > self.here.fallbacks:
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
            if place not in self.places and self.tiers[place].name not in self.limits.unfit and not self.pinned:
                return Step("downgrade", self.tiers[place].name, why)
        return None

    def up(self, why: str, *, wider: bool = False) -> Step:
        """Take the nearest tier above all tried that can take the request; stop where there is none."""
        if self.pinned:
            return self.stop(f"{why} The route is pinned to {self.here.name}.")
        ups = sum(after > before for before, after in zip(self.places, self.places[1:], strict=False))
        if self.limits.max_escalations is not None and ups >= self.limits.max_escalations:
            return self.stop(f"{why} The turn has escalated {ups} times, its limit.")
        for tier in self.tiers[max(self.places) + 1 :]:
            if tier.name not in self.limits.unfit and not (wider and self._no_wider(tier)):
                return Step("escalate", tier.name, why)
        return self.stop(f"{why} No tier above can take the request.")

    def stop(self, why: str) -> Step:
        """End the turn with an error."""
        return Step("stop", self.last["tier"], why, self.last["fallback"])

    def _no_wider(self, tier: TierFacts) -> bool:
        """Tell whether a tier is known to take no more input than the one that overflowed."""
        mine, its = self.here.max_input_tokens, tier.max_input_tokens
        return mine is not None and its is not None and its <= mine


def _fell_short(attempt: Attempt) -> bool:
    """Tell whether an attempt showed that its tier is not enough, rather than that its model is down."""
    return attempt["failure"] is None or attempt["failure"]["kind"] == "overflow"
