"""Asks a router for one decision, and keeps what was said on the way to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_tiered.accounting import Ledger, collect_ledger
from langchain_tiered.routing import classify_by_rules, facts_of, tool_facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tiered.routing import Classifier, TierRouter
    from langchain_tiered.types import Classification, Facts, Route, Tool


@dataclass(frozen=True)
class Decision:
    """A route, and what it rests on."""

    facts: Facts
    """What is plainly there in the request."""

    by_rules: Classification | None
    """What the rules say, or `None` when they are unsure."""

    by_classifier: Classification | None
    """What the classifier says, or `None` when it was not asked."""

    ledger: Ledger
    """What the decision cost."""

    route: Route
    """Where the request goes."""


class _Overheard:
    """A classifier whose last word is kept."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self.said: Classification | None = None

    def classify(self, facts: Facts, *args: Any, **more: Any) -> Classification:
        self.said = self.classifier.classify(facts, *args, **more)
        return self.said

    async def aclassify(self, facts: Facts, *args: Any, **more: Any) -> Classification:
        self.said = await self.classifier.aclassify(facts, *args, **more)
        return self.said


def decide(router: TierRouter, messages: Sequence[BaseMessage], tools: Sequence[Tool]) -> Decision:
    """Return the decision of `router`, which is used for this one alone.

    Raises:
        TieredError: As the router does.
    """
    facts, known = facts_of(messages, tool_facts(tools)), router.models.facts(router.tiers)
    overheard = _Overheard(router.classifier) if router.classifier is not None else None
    router.classifier = overheard
    with collect_ledger() as paid:
        route = router.route(facts, tiers=known)
    said = overheard.said if overheard is not None else None
    return Decision(facts, classify_by_rules(facts, known), said, Ledger(paid.entries), route)
