"""`Policy`: the decision before the answer. Pure and total: plain values in, a `Route` out, no clock and no model."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, cast

from langchain_tiered.errors import InvalidPolicyError, NoTierFitsError, UnknownTaskError, UnknownTierError
from langchain_tiered.routing.choosing import Choice, Floor, fitted, known_task, news, previous_place, risk_told, saves
from langchain_tiered.types import TASKS, Route, place_of
from langchain_tiered.types.options import options_of
from langchain_tiered.workloads import home, workload_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_tiered.types import Classification, Facts, Task, TierFacts

UNKNOWN_TASK: Task = "reason"
"""The task of a request that nobody classified: what is not known to be easy is not held to be."""

_CHOICES = {
    "strategy": ("classify", "cascade"),
    "reroute": ("thread", "turn"),
    "on_rate_limit": ("downgrade", "escalate"),
    "on_no_answer": ("error", "ask"),
}


@dataclass(frozen=True)
class Policy:
    """What is wanted of the routing; every setting is checked when the policy is made.

    ```python
    Policy(floors={"extract": "mini"}, min_confidence=0.7).to_json()
    ```

    Two policies are equal when all their settings are. The dicts are copies of those given; do not change them.

    Raises:
        InvalidPolicyError: If a setting is out of range; says which and what was expected.
        UnknownTaskError: If a floor is for no known task.
    """

    strategy: Literal["classify", "cascade"] = "classify"
    """`classify`: rules, then the classifier where they are unsure. `cascade`: the lowest tier that fits, then up."""

    _: KW_ONLY

    min_confidence: float = 0.5
    """Below this self-reported confidence, from `0` to `1`, a classification is raised by one tier."""

    floors: Mapping[Task, str] = field(default_factory=dict, hash=False)
    """The lowest tier for a task, by name. It comes before the floor that published scores set; see `WORKLOADS`."""

    risk_floor: str | bool = True
    """The lowest tier for a request that asks a bound tool for what cannot be taken back; see `Facts.risk`. `True` for
    the floor of tools, which is the second unless `floors` names another; a tier's name; or `False` for none."""

    thresholds: Mapping[str, float] = field(default_factory=dict, hash=False)
    """The score below which a check rejects, by the check's name; best chosen by calibration."""

    pin: str | None = None
    """One tier for every request, or `None`."""

    reroute: Literal["thread", "turn"] = "thread"
    """`thread`: a new turn never falls below the thread's tier, whose prompt cache it keeps. `turn`: routed anew, and
    down only where that saves more than the prompt cache of the thread's tier is worth."""

    max_escalations: int | None = 2
    """How often one turn may go up, or `None` for as often as there are tiers."""

    max_wait_s: float = 5.0
    """The longest wait for a rate limit that a provider may ask for, in seconds; beyond it `on_rate_limit` holds."""

    on_rate_limit: Literal["downgrade", "escalate"] = "downgrade"
    """Which way a request goes when its tier's limit is hit and waiting is too long."""

    on_classifier_error: str | None = None
    """The tier for a request whose classifier failed, by name, or `None` for the most capable. Where it is set, doubt
    goes there without a classifier too, instead of where the request leans."""

    on_no_answer: Literal["error", "ask"] = "error"
    """What then, when an answer was rejected and no attempt is left: `error`, or `ask` a human by an interrupt."""

    speculate: bool = False
    """Let the lowest tier answer while the classifier decides: one round trip instead of two, and a wasted call, booked
    as rejected, where the route goes elsewhere. Only a tier that answers with one model call does it."""

    max_repeats: int | None = 3
    """How often a tier may make one tool call with the same result, or have calls fail in a row, before the turn goes
    up; `None` for as often as it likes."""

    max_check_s: float = 60.0
    """The longest that a check of one's own may take, in seconds; then it counts as a rejection."""

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            _expect(getattr(self, name) in allowed, name, getattr(self, name), " or ".join(map(repr, allowed)))
        _expect(_is_number(self.min_confidence, 1), "min_confidence", self.min_confidence, "a number from 0 to 1")
        _expect(_is_number(self.max_wait_s), "max_wait_s", self.max_wait_s, "a number of seconds, at least 0")
        above_zero = _is_number(self.max_check_s) and self.max_check_s > 0
        _expect(above_zero, "max_check_s", self.max_check_s, "a number of seconds above 0")
        for name, least in (("max_escalations", 0), ("max_repeats", 3)):
            wanted = f"a whole number, at least {least}, or None for no limit"
            _expect(_is_count(getattr(self, name), least), name, getattr(self, name), wanted)
        for name in ("pin", "on_classifier_error"):
            _expect(_is_name(getattr(self, name), none=True), name, getattr(self, name), "a tier's name, or None")
        known = isinstance(self.risk_floor, bool) or _is_name(self.risk_floor)
        _expect(known, "risk_floor", self.risk_floor, "True, False, or a tier's name")
        for name in ("floors", "thresholds"):
            _expect(isinstance(getattr(self, name), Mapping), name, getattr(self, name), "a mapping")
            object.__setattr__(self, name, dict(getattr(self, name)))
        for task, floor in self.floors.items():
            if task not in TASKS:
                raise UnknownTaskError(task, TASKS, "Policy.floors")
            _expect(_is_name(floor), f"floors[{task!r}]", floor, "a tier's name")
        for check, score in self.thresholds.items():
            _expect(_is_name(check), "thresholds", check, "names of checks as keys")
            _expect(_is_number(score), f"thresholds[{check!r}]", score, "a number, at least 0")
        _expect(isinstance(self.speculate, bool), "speculate", self.speculate, "True or False")

    def to_json(self) -> str:
        """Return the policy as a JSON object, for a file or a review."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Policy:
        """Return the policy that `to_json` wrote; settings left out have their defaults.

        Raises:
            InvalidPolicyError: If the text is no JSON object, has an unknown key, or a setting is out of range.
            UnknownTaskError: If a floor is for no known task.
        """
        return cls(**options_of(cls, text, InvalidPolicyError))

    def validate(self, names: Sequence[str]) -> None:
        """Check the tiers that the policy names against those that are declared.

        Raises:
            UnknownTierError: If a floor, the pin, `risk_floor` or `on_classifier_error` names another one.
        """
        for where, name in self._named.items():
            if name not in names:
                raise UnknownTierError(name, names, where)

    @cached_property
    def _named(self) -> dict[str, str]:
        """The tiers that the policy names, by where it does."""
        used = {f"Policy.floors[{task!r}]": floor for task, floor in self.floors.items()}
        single = {"pin": self.pin, "on_classifier_error": self.on_classifier_error, "risk_floor": self.risk_floor}
        return used | {f"Policy.{setting}": name for setting, name in single.items() if isinstance(name, str)}

    def floor_of(self, task: Task, tiers: Sequence[TierFacts]) -> str | None:
        """Return the lowest tier that may do `task`, or `None` when any may.

        It is the policy's own floor, else the rung below which published scores rule the tiers out.
        """
        workload = workload_of(task)
        if task in self.floors:
            return self.floors[task]
        return tiers[home(workload.rung, len(tiers))].name if workload.never_below and tiers else None

    def unfit(self, facts: Facts, tiers: Sequence[TierFacts]) -> list[str]:
        """Name the tiers that no step of the turn may lead to: what cannot take the request, or risks too much.

        A pin is the user's own word on the risk.
        """
        lowest = self._risk_place(facts, tiers) if self.pin is None else 0
        return [tier.name for place, tier in enumerate(tiers) if place < lowest or not tier.fits(facts)]

    def wants_classifier(self, facts: Facts, said: Classification | None, tiers: Sequence[TierFacts]) -> bool:
        """Tell whether a classifier's word could still change the route, so that it is worth its price."""
        if said is not None or self.pin is not None or self.strategy == "cascade":
            return False
        if sum(tier.fits(facts) for tier in tiers) <= 1 or self._latched(facts, said, tiers) is not None:
            return False
        if facts.refers_back and previous_place(facts, tiers) is not None:
            return False
        return self._thread_place(facts, tiers) != len(tiers) - 1

    def decide(
        self,
        facts: Facts,
        classification: Classification | None,
        tiers: Sequence[TierFacts],
        remaining_usd: float | None = None,
    ) -> Route:
        """Return the route for a request.

        What can take the request comes first, then the pin, the latch of a turn under way, the classification, its
        confidence, the floors of its task and its risk, the latch of the thread, and what is left of the budget. What
        refers back to earlier work stays where that was done, unless more is plainly asked for.

        Args:
            facts: What is plainly there.
            classification: What rules or a classifier say, or `None` when the rules are unsure and nobody was asked.
            tiers: The tiers, cheapest first.
            remaining_usd: What is left of the budget, or `None` without one.

        Raises:
            UnknownTierError: If the policy or the classification names no declared tier.
            NoTierFitsError: If no tier can take the request; says which fact rules out which tier.
        """
        if self._named:
            self.validate([tier.name for tier in tiers])
        heard = news(facts, classification, tiers)
        task = heard["task"] if heard else known_task(facts, tiers) or UNKNOWN_TASK
        confidence = heard["confidence"] if heard else None
        if self.pin is not None:
            return self._pinned(facts, tiers, task, confidence)
        if (latched := self._latched(facts, classification, tiers)) is not None:
            return latched
        fitting = [place for place, tier in enumerate(tiers) if tier.fits(facts)]
        floor = self._floor(task, facts, tiers)
        allowed = [place for place in fitting if place >= floor.place]
        if not allowed:
            note = f" at or above {tiers[floor.place].name!r}, {floor.why}" if fitting else ""
            raise NoTierFitsError(facts, tiers, note)
        said = self._said(facts, heard, tiers, fitting)
        choice = self._raised(said, facts, confidence, tiers, floor)
        if remaining_usd is not None and remaining_usd <= 0 and choice.place > floor.place:
            down_to = f", down to {floor.why}" if floor.place else ""
            choice = choice.moved(floor.place, f"the budget is spent{down_to}", tiers)
        choice = fitted(choice, allowed, facts, tiers)
        return Route(
            tier=tiers[choice.place].name,
            task=task,
            confidence=confidence,
            reason=choice.reason,
            decided_by=said.decided_by if choice.place == said.place else choice.decided_by,
            escalated_from=None,
        )

    def _risk_place(self, facts: Facts, tiers: Sequence[TierFacts]) -> int:
        """Return the place that a risky request must not fall below; `0` for any other."""
        if not facts.risk or self.risk_floor is False:
            return 0
        name = self.floor_of("tools", tiers) if self.risk_floor is True else self.risk_floor
        return 0 if name is None else place_of(name, tiers)

    def _floor(self, task: Task, facts: Facts, tiers: Sequence[TierFacts]) -> Floor:
        """Return the higher of the task's floor and that of the risk."""
        name, risk = self.floor_of(task, tiers), self._risk_place(facts, tiers)
        place = place_of(name, tiers) if name is not None else 0
        if place >= risk:
            return Floor(place, f"the floor for {task!r}")
        return Floor(risk, risk_told(facts))

    def _pinned(self, facts: Facts, tiers: Sequence[TierFacts], task: Task, confidence: float | None) -> Route:
        pin = cast("str", self.pin)
        if not tiers[place_of(pin, tiers)].fits(facts):
            raise NoTierFitsError(facts, tiers, f" at {pin!r}, where it is pinned")
        reason = f"Pinned to {pin}."
        return Route(tier=pin, task=task, confidence=confidence, reason=reason, decided_by="pin", escalated_from=None)

    def _latched(self, facts: Facts, classification: Classification | None, tiers: Sequence[TierFacts]) -> Route | None:
        """Return the route of the turn under way, where its tier still stands, fits, and is not below a floor.

        It stands on a message, which whoever calls the app may have written: what it says of the task is not the last
        word, and of its names only declared ones are taken over.
        """
        previous, place = facts.previous, previous_place(facts, tiers)
        if previous is None or place is None or not facts.in_turn or not tiers[place].fits(facts):
            return None
        tasks = [previous["task"], *([classification["task"]] if classification else ())]
        floors = [floor for task in tasks if (floor := self.floor_of(task, tiers)) is not None]
        if place < max([self._risk_place(facts, tiers), *(place_of(floor, tiers) for floor in floors)]):
            return None
        first = next((tier.name for tier in tiers if tier.name == previous["escalated_from"]), None)
        reason = f"The turn is under way at {previous['tier']}, which finishes it."
        return {**previous, "decided_by": "latch", "reason": reason, "escalated_from": first}

    def _thread_place(self, facts: Facts, tiers: Sequence[TierFacts]) -> int | None:
        """Return the place that a thread, a turn under way, or work that goes on must not fall below."""
        holds = self.reroute == "thread" or facts.in_turn or facts.refers_back is not False
        return previous_place(facts, tiers) if holds else None

    def _said(
        self, facts: Facts, classification: Classification | None, tiers: Sequence[TierFacts], fitting: list[int]
    ) -> Choice:
        """Return what the classification asks for, or what stands in for it."""
        last = len(tiers) - 1
        if self.strategy == "cascade":
            heard = f"{classification['reason']} " if classification else ""
            return Choice(0, "policy", f"{heard}A cascade starts at the lowest tier that may.")
        if classification is not None and classification["tier"] is not None:
            place = place_of(classification["tier"], tiers)
            return Choice(place, classification["decided_by"], classification["reason"])
        thread = self._thread_place(facts, tiers)
        if classification is None and thread is not None and facts.refers_back is not False:
            why = "refers back to" if facts.refers_back else "may go on with"
            return Choice(thread, "latch", f"The request {why} earlier work, which {tiers[thread].name} did.")
        if classification is None and thread == last:
            return Choice(last, "latch", f"The thread is at {tiers[last].name}, and its route only rises.")
        if classification is None and len(fitting) == 1:
            (only,) = fitting
            return Choice(only, "policy", f"Only {tiers[only].name} can take this request.")
        why = classification["reason"] if classification else "The rules are unsure, and no classifier was asked."
        place = last if self.on_classifier_error is None else place_of(self.on_classifier_error, tiers)
        return Choice(place, "policy", f"{why} Hence {tiers[place].name}.")

    def _raised(
        self,
        said: Choice,
        facts: Facts,
        confidence: float | None,
        tiers: Sequence[TierFacts],
        floor: Floor,
    ) -> Choice:
        """Raise a choice by its low confidence, by the floor, and by the thread's latch, in this order."""
        choice, last = said, len(tiers) - 1
        unsure = confidence is not None and not confidence >= self.min_confidence  # NaN is unsure, too
        if unsure and said.decided_by in ("rules", "classifier") and said.place < last:
            why = f"its confidence of {confidence:.2f} is below {self.min_confidence:g}"
            choice = choice.moved(said.place + 1, why, tiers)
        if choice.place < floor.place:
            choice = choice.moved(floor.place, floor.why, tiers)
        thread = self._thread_place(facts, tiers)
        if thread is not None and choice.place < thread:
            goes_on = self.reroute == "turn" and not facts.in_turn
            why = "the request may go on with earlier work" if goes_on else "the thread's route only rises"
            choice = choice.moved(thread, why, tiers, "latch")
        above = previous_place(facts, tiers)
        if above is None or choice.place >= above or not tiers[above].fits(facts):
            return choice
        if saves(facts, tiers[above], tiers[choice.place]):
            return choice
        return choice.moved(above, "its prompt cache is worth more than the cheaper tier saves", tiers, "latch")


def _expect(holds: bool, name: str, value: Any, expected: str) -> None:  # noqa: FBT001  (an assertion's condition)
    if not holds:
        raise InvalidPolicyError(f"Policy {name}={value!r}: expected {expected}.")


def _is_number(value: object, most: float = math.inf) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value) and 0 <= value <= most


def _is_count(value: object, least: int) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= least)


def _is_name(value: object, *, none: bool = False) -> bool:
    return (none and value is None) or (isinstance(value, str) and bool(value))
