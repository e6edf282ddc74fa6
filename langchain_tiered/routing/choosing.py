"""The pieces of the policy's decision: a choice on its way to becoming the route, and what moves it. All are pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from langchain_tiered.types import place_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_tiered.types import Classification, DecidedBy, Facts, Rates, Task, TierFacts

_RISKS = {"money": "money moves", "deletion": "something is deleted", "message": "a message goes out"}


class Floor(NamedTuple):
    """The lowest place that a request may go to."""

    place: int
    why: str


class Choice(NamedTuple):
    """A tier on its way to becoming the route."""

    place: int
    decided_by: DecidedBy
    reason: str

    def moved(self, place: int, why: str, tiers: Sequence[TierFacts], decided_by: DecidedBy = "policy") -> Choice:
        """Return the choice at another place, with the reason told."""
        way = "Raised" if place > self.place else "Lowered"
        told = f"{self.reason} {way} from {tiers[self.place].name} to {tiers[place].name}: {why}."
        return Choice(place, decided_by, told)


def fitted(choice: Choice, allowed: list[int], facts: Facts, tiers: Sequence[TierFacts]) -> Choice:
    """Move a choice to the first tier at or above it that can take the request, else to the highest that can."""
    if choice.place in allowed:
        return choice
    place = next((place for place in allowed if place > choice.place), allowed[-1])
    unfit = tiers[choice.place]
    return choice.moved(place, f"{unfit.name} is ruled out by {'; '.join(unfit.misfits(facts))}", tiers)


def saves(facts: Facts, above: TierFacts, below: TierFacts) -> bool:
    """Tell whether a turn costs less at the tier below, where the prompt cache of the one above is lost.

    The last answer stands for what this one will read from the cache and say. Unknown prices keep nothing up.
    """
    if above.rates is None or below.rates is None:
        return True
    return _turn_usd(facts, below.rates, 0) < _turn_usd(facts, above.rates, min(facts.cached_tokens, facts.tokens))


def _turn_usd(facts: Facts, rates: Rates, cached_tokens: int) -> float:
    """Estimate what a turn costs, in millionths of a dollar."""
    cached_usd = rates.input_usd if rates.cached_input_usd is None else rates.cached_input_usd
    fresh_tokens = facts.tokens - cached_tokens
    return fresh_tokens * rates.input_usd + cached_tokens * cached_usd + facts.output_tokens * rates.output_usd


def news(facts: Facts, said: Classification | None, tiers: Sequence[TierFacts]) -> Classification | None:
    """Return what is said of a request that is news: of one that goes on with earlier work, what asks for more.

    What only stands in for rules and a classifier guesses by the words, and these say nothing of such a request.
    """
    if said is None or said["tier"] is None or facts.refers_back is False:
        return said
    if (place := previous_place(facts, tiers)) is None:
        return said
    if said["decided_by"] not in ("rules", "classifier"):
        return None
    return said if facts.refers_back is None or place_of(said["tier"], tiers) > place else None


def known_task(facts: Facts, tiers: Sequence[TierFacts]) -> Task | None:
    """Return the task of the work that a request goes on with."""
    goes_on = facts.refers_back is not False and previous_place(facts, tiers) is not None
    return facts.previous["task"] if goes_on and facts.previous else None


def previous_place(facts: Facts, tiers: Sequence[TierFacts]) -> int | None:
    """Return where the thread's tier stands; `None` when there is none, or it is no longer declared."""
    if facts.previous is None:
        return None
    name = facts.previous["tier"]
    return next((place for place, tier in enumerate(tiers) if tier.name == name), None)


def risk_told(facts: Facts) -> str:
    """Name the floor of a risky request by what is at stake."""
    return f"the floor where {' and '.join(_RISKS.get(each, each) for each in facts.risk)}"
