"""`Explanation`: a decision from the facts to the route, as a table for the terminal and for notebooks."""

from __future__ import annotations

import re
import unicodedata
from copy import copy
from dataclasses import asdict, dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from langchain_tiered.accounting import Ledger, collect_ledger
from langchain_tiered.routing.rules import RULES, in_english, name_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_tiered.routing.classifier import Classifier
    from langchain_tiered.routing.policy import Policy
    from langchain_tiered.routing.router import TierRouter
    from langchain_tiered.routing.rules import Rule
    from langchain_tiered.types import Classification, Facts, Route, Task, TierFacts

_WIDTH = 13
_STEP = re.compile(r" (?=(?:Raised|Lowered) from )")


@dataclass(frozen=True)
class RuleSaid:
    """What one rule says of a request, asked alone."""

    name: str
    """The rule's name."""

    task: Task | None
    """The kind of work that it sees, or `None` when it is unsure."""

    reason: str | None
    """Why, or `None` when it is unsure."""

    decides: bool = False
    """Whether it is the first that speaks: what it says stands for the rules, and later ones are not asked."""


@dataclass(frozen=True)
class Explanation:
    """A route, and all that was said on the way to it.

    ```python
    print(TierRouter(classifier=None).explain("Classify the ticket. Labels: refund, other. Ticket: it is late."))
    ```

    It is shown as a table: plain by `str`, in colour by `rich.print`, as HTML in a notebook.
    """

    facts: Facts
    """What is plainly there in the request."""

    rules: tuple[RuleSaid, ...]
    """What each rule says, in the order in which they are asked."""

    lean: Classification | None
    """What stands in for a classifier says where the rules are unsure; `None` where it was not asked, or is silent."""

    classification: Classification | None
    """What the classifier says, or `None` when it was not asked."""

    ledger: Ledger
    """What the decision cost."""

    steps: tuple[str, ...]
    """What carried the decision, then each move of the policy, a sentence each; joined, they are the route's reason."""

    route: Route
    """Where the request goes."""

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain JSON: for a log, without the pictures of the request."""
        facts = asdict(self.facts)
        facts.pop("pictures", None)
        return {
            "facts": {name: sorted(fact) if isinstance(fact, frozenset) else fact for name, fact in facts.items()},
            "rules": [asdict(said) for said in self.rules],
            "lean": self.lean,
            "classification": self.classification,
            "cost_usd": self.ledger.total_usd,
            "steps": list(self.steps),
            "route": self.route,
        }

    def __str__(self) -> str:
        return "\n".join(f"{name:<{_WIDTH}}{told}" for name, told in self._rows())

    def __rich__(self) -> Any:
        from rich.table import Table  # noqa: PLC0415  (only who prints with rich needs it)
        from rich.text import Text  # noqa: PLC0415  (the same)

        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(style="dim", width=_WIDTH - 2)
        table.add_column(overflow="fold")
        for name, told in self._rows():
            table.add_row(name, Text(told, style="bold" if name == "tier" else ""))
        return table

    def _repr_html_(self) -> str:
        rows = (f"<tr><th>{escape(name)}</th><td>{escape(told)}</td></tr>" for name, told in self._rows())
        return f'<table style="text-align: left">{"".join(rows)}</table>'

    def _rows(self) -> Iterator[tuple[str, str]]:
        yield from _facts(self.facts)
        for said in self.rules:
            if said.task is not None:
                yield "rule", plain(f"{said.name}{', which decides' * said.decides}: {said.task}. {said.reason}")
        if unsure := [said.name for said in self.rules if said.task is None]:
            yield "unsure", plain(", ".join(unsure))
        if self.lean is not None:
            yield "lean", _said(self.lean)
        asked = self.classification
        cost = f" Cost: {usd(self.ledger.total_usd)}." if asked else ""
        yield "classifier", f"{_said(asked)}{cost}" if asked else "not asked"
        for step in self.steps[1:]:
            yield "policy", plain(step)
        confidence = self.route["confidence"]
        yield "tier", plain(self.route["tier"])
        yield "task", self.route["task"]
        yield "decided by", self.route["decided_by"]
        yield "confidence", "not reported" if confidence is None else f"{confidence:.2f}, self-reported"
        yield "reason", plain(self.route["reason"])


def explain(router: TierRouter, facts: Facts, context: object, remaining_usd: float | None) -> Explanation:
    """Return the route that `router` gives for `facts`, with all that is said on the way.

    Raises:
        TieredError: As the router does.
    """
    watched, heard = _watched(router)
    with collect_ledger() as paid:
        route = watched.route(facts, context=context, remaining_usd=remaining_usd)
    return _explanation(facts, route, heard, paid)


async def aexplain(router: TierRouter, facts: Facts, context: object, remaining_usd: float | None) -> Explanation:
    """Do what `explain` does, without blocking the event loop."""
    watched, heard = _watched(router)
    with collect_ledger() as paid:
        route = await watched.aroute(facts, context=context, remaining_usd=remaining_usd)
    return _explanation(facts, route, heard, paid)


def usd(value: float | None) -> str:
    """Return an amount with as many digits as say something; `unknown` for `None`, never `$0.00`."""
    if value is None:
        return "unknown"
    size, sign = abs(value), "-" if value < 0 else ""
    if size == 0:
        return "$0"
    if size < 0.0000005:  # noqa: PLR2004  (what six digits cannot show)
        return f"{sign}<$0.000001"
    return f"{sign}${size:,.{6 if size < 1 else 4 if size < 100 else 2}f}"  # noqa: PLR2004  (a dollar, a hundred)


def plain(text: str, *, lines: bool = False) -> str:
    """Return `text` without what could steer a terminal or break its encoding, in one line unless `lines`."""
    if not lines:
        text = " ".join(text.split())
    return "".join(sign for sign in text if sign in "\n\t" or unicodedata.category(sign)[0] != "C")


class _Heard:
    """What was said in one decision."""

    by_classifier: Classification | None = None
    """The classifier's word."""

    in_the_end: Classification | None = None
    """What the policy was told: by the rules, by the classifier, or by what stands in for it."""


class _WatchedClassifier:
    """A classifier whose word is kept."""

    def __init__(self, classifier: Classifier, heard: _Heard) -> None:
        self._classifier, self._heard = classifier, heard

    def classify(self, facts: Facts, *args: Any, **more: Any) -> Classification:
        self._heard.by_classifier = self._classifier.classify(facts, *args, **more)
        return self._heard.by_classifier

    async def aclassify(self, facts: Facts, *args: Any, **more: Any) -> Classification:
        self._heard.by_classifier = await self._classifier.aclassify(facts, *args, **more)
        return self._heard.by_classifier


class _WatchedPolicy:
    """A policy that keeps what it is told."""

    def __init__(self, policy: Policy, heard: _Heard) -> None:
        self._policy, self._heard = policy, heard

    def __getattr__(self, name: str) -> Any:
        return getattr(self._policy, name)

    def decide(self, facts: Facts, said: Classification | None, tiers: Sequence[TierFacts], *more: Any) -> Route:
        self._heard.in_the_end = said
        return self._policy.decide(facts, said, tiers, *more)


def _watched(router: TierRouter) -> tuple[TierRouter, _Heard]:
    """Return a copy of a router for one decision, and what will have been said in it: the router itself is shared."""
    watched, heard = copy(router), _Heard()
    if router.classifier is not None:
        watched.classifier = _WatchedClassifier(router.classifier, heard)
    vars(watched)["_policy"] = lambda context: _WatchedPolicy(router._policy(context), heard)  # noqa: SLF001  (a friend)
    return watched, heard


def _explanation(facts: Facts, route: Route, heard: _Heard, paid: Ledger) -> Explanation:
    rules = tuple(_asked(facts))
    by_rules = any(said.decides for said in rules)
    lean = None if by_rules or heard.by_classifier is not None else heard.in_the_end
    steps = tuple(_STEP.split(route["reason"]))
    return Explanation(facts, rules, lean, heard.by_classifier, Ledger(paid.entries), steps, route)


def _asked(facts: Facts) -> Iterator[RuleSaid]:
    """Ask each rule alone, those too that stand together in one."""
    decided = False
    for rule in RULES:
        for each in _parts(rule):
            said = each(facts)
            task, reason = said or (None, None)
            yield RuleSaid(name_of(each), task, reason, said is not None and not decided)
            decided = decided or said is not None


def _parts(rule: Rule) -> Sequence[Rule]:
    parts: Sequence[Rule] = vars(rule).get("rules", ())
    return [in_english(part) for part in parts] or [rule]


def _facts(facts: Facts) -> Iterator[tuple[str, str]]:
    """Tell the facts that say something."""
    yield "tokens", f"about {facts.tokens:,}"
    previous = facts.previous
    refers = {True: ", which the request refers back to", None: ", which the request may go on with", False: ""}
    for name, told in (
        ("images", str(facts.images or "")),
        ("audio", str(facts.audio or "")),
        ("files", str(facts.files or "")),
        ("tools", ", ".join([*facts.tools, *facts.provider_tools])),
        ("risk", ", ".join(facts.risk)),
        ("schema", "the answer must fit one" if facts.schema else ""),
        ("turn", f"{facts.turns}{', under way' * facts.in_turn}" if facts.turns > 1 or facts.in_turn else ""),
        ("before", f"{previous['task']} at {previous['tier']}{refers[facts.refers_back]}" if previous else ""),
    ):
        if told:
            yield name, plain(told)


def _said(said: Classification) -> str:
    tier = f"{said['tier']}, " if said["tier"] else ""
    return plain(f"{tier}{said['task']}: {said['reason']}")
