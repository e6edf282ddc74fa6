"""What every router, policy and check must do, as test classes to inherit from.

```python
class TestMyPolicy(PolicyConformance):
    @property
    def policy(self):
        return Policy(floors={"extract": "mini"})
```

Override the properties; each test runs over tables that cover what requests and answers can be.
"""

from __future__ import annotations

import asyncio
import json
from copy import deepcopy
from inspect import isawaitable, iscoroutinefunction
from itertools import product
from typing import TYPE_CHECKING, Any, get_args

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from langchain_tiered.cascade.checks import Check, CheckInput
from langchain_tiered.cascade.verdicts import averdict_of, verdict_of
from langchain_tiered.errors import NoTierFitsError
from langchain_tiered.types import (
    TASKS,
    Classification,
    DecidedBy,
    Facts,
    Route,
    TierFacts,
    Verdict,
    place_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tiered.routing.policy import Policy
    from langchain_tiered.routing.router import TierRouter

_NANO = TierFacts("nano", max_input_tokens=1_000, images=False, audio=False, files=False, tools=True)
_TIERS = (
    _NANO,
    TierFacts("mini", max_input_tokens=10_000, images=True, audio=False, files=True, tools=True),
    TierFacts("flagship", max_input_tokens=100_000, images=True, audio=False, files=True, tools=True),
)
_VERDICT = Verdict.__annotations__.keys()


def _route(tier: str) -> Route:
    return Route(tier=tier, task="write", confidence=None, reason="Before.", decided_by="rules", escalated_from=None)


def _check_route(route: Any, names: Sequence[str]) -> None:
    assert route.keys() == Route.__annotations__.keys(), f"A route has other fields than Route: {route!r}"
    assert route["tier"] in names, f"{route['tier']!r} is no tier of {', '.join(names)}."
    assert route["task"] in TASKS, f"{route['task']!r} is no task."
    assert route["decided_by"] in get_args(DecidedBy), f"decided_by is {route['decided_by']!r}."
    assert route["reason"], "The reason is empty: say in a sentence what carried the decision."
    assert json.loads(json.dumps(route)) == route, f"A route that is no plain JSON cannot be checkpointed: {route!r}"


class RouterConformance:
    """What every router must do: name a declared tier, for every request, the same one each time, however asked."""

    @property
    def router(self) -> TierRouter:
        """The router under test, made anew at each access."""
        raise NotImplementedError("Override `router` to return the router under test.")

    @property
    def requests(self) -> Sequence[Any]:
        """What is asked: texts and message lists. Add your own to these."""
        return (
            "Classify the ticket. Labels: bug, praise, other.\n\nThe app crashes at start.",
            "Please refund order 1042, it came late.",
            "Prove that the square root of two is irrational.",
            "Grüße 👋 \N{ZERO WIDTH SPACE} 日本語",
            "x " * 2_000,
            [HumanMessage([{"type": "text", "text": "Read this."}, {"type": "image", "url": "https://example.com/a"}])],
            [HumanMessage("Draft a letter."), AIMessage("Dear ..."), HumanMessage("ok thanks")],
        )

    def test_every_request_gets_a_declared_tier(self) -> None:
        """A route has all fields, a declared tier, a known task and a reason, and is plain JSON."""
        router = self.router
        for asked in self.requests:
            _check_route(router.invoke(asked), [tier.name for tier in router.tiers])

    def test_the_same_request_gets_the_same_route(self) -> None:
        """Nothing about a request stays on the router."""
        router = self.router
        first = [router.invoke(asked) for asked in self.requests]
        again = [router.invoke(asked) for asked in reversed(self.requests)][::-1]
        assert first == again, "A route depends on what was asked before."

    def test_async_routes_like_sync(self) -> None:
        """`ainvoke` and `invoke` are one decision."""
        router = self.router

        async def routed() -> list[Route]:
            return [await router.ainvoke(asked) for asked in self.requests]

        assert asyncio.run(routed()) == [router.invoke(asked) for asked in self.requests]

    def test_parallel_requests_do_not_mix(self) -> None:
        """`batch` gives each request the route that it gets alone."""
        asked = [*self.requests] * 4
        assert self.router.batch(asked) == [self.router.invoke(each) for each in asked]

    def test_the_request_stays_as_it_was(self) -> None:
        """A router reads; it changes no message."""
        given = list(self.requests)
        before = deepcopy(given)
        for asked in given:
            self.router.invoke(asked)
        assert given == before, "A request was changed by its routing."

    def test_a_turn_under_way_stays_where_it_is(self) -> None:
        """Between a tool call and the answer the tier does not change, unless the policy pins one."""
        router = self.router
        last = router.policy.pin or router.tiers[-1].name
        call = {"name": "refund", "args": {}, "id": "call_1"}
        said = AIMessage("", tool_calls=[call], response_metadata={"route": _route(last)})
        given: list[BaseMessage] = [HumanMessage("ok thanks"), said, ToolMessage("Done.", tool_call_id="call_1")]
        assert router.invoke(given)["tier"] == last


class PolicyConformance:
    """What every policy must do: decide each row of the table, purely, and never for a tier that does not fit."""

    @property
    def policy(self) -> Policy:
        """The policy under test."""
        raise NotImplementedError("Override `policy` to return the policy under test.")

    @property
    def tiers(self) -> Sequence[TierFacts]:
        """The tiers that it decides among, cheapest first."""
        return _TIERS

    @property
    def facts(self) -> Sequence[Facts]:
        """What is known of the requests: sizes, images, tools, threads and turns under way."""
        middle = self.tiers[len(self.tiers) // 2].name
        return (
            Facts(text="Hello."),
            Facts(text="Hello.", tokens=5_000),
            Facts(text="Hello.", tokens=50_000),
            Facts(text="Hello.", tokens=10_000_000),
            Facts(text="Look.", images=2, turn_images=2),
            Facts(text="Listen.", audio=1),
            Facts(text="Refund it.", tools=("refund",)),
            Facts(text="Which?", schema=True, turns=3, previous=_route(middle)),
            Facts(text="Refund it.", tools=("refund",), previous=_route(middle), in_turn=True),
            Facts(text="Hello.", previous=_route("a tier of last year")),
        )

    @property
    def classifications(self) -> Sequence[Classification | None]:
        """What rules or a classifier may say: each task at each tier, sure, unsure, silent, failed, or nothing."""
        tiers = [tier.name for tier in self.tiers]
        said = [
            Classification(tier=tier, task=task, confidence=sure, reason="It seems so.", decided_by="classifier")
            for tier, task, sure in product([*tiers, None], TASKS, (None, 0.0, 1.0))
        ]
        return [None, *said]

    def test_every_row_is_decided(self) -> None:
        """A route names a declared tier, or `NoTierFitsError` says that none can take the request."""
        names = [tier.name for tier in self.tiers]
        for row in self._rows():
            if (route := self._decided(*row)) is not None:
                _check_route(route, names)

    def test_no_request_goes_to_a_tier_that_cannot_take_it(self) -> None:
        """Capability comes before everything else, the pin included."""
        for facts, said, left in self._rows():
            if (route := self._decided(facts, said, left)) is not None:
                misfits = self.tiers[place_of(route["tier"], self.tiers)].misfits(facts)
                assert not misfits, f"{route['tier']} was chosen for {facts}, though: {'; '.join(misfits)}."

    def test_a_request_is_refused_only_where_no_tier_may_take_it(self) -> None:
        """Without floor and pin, whatever fits some tier gets one."""
        policy = self.policy
        for facts, said, left in self._rows():
            if self._decided(facts, said, left) is None and policy.pin is None:
                floor = policy.floor_of(said["task"] if said else "reason", self.tiers)
                lowest = place_of(floor, self.tiers) if floor else 0
                assert not any(tier.fits(facts) for tier in self.tiers[lowest:]), f"{facts} fits, and was refused."

    def test_floors_are_kept(self) -> None:
        """No task falls below its floor, whatever was said of it and whatever is left of the budget."""
        policy = self.policy
        for facts, said, left in self._rows():
            route = self._decided(facts, said, left)
            floor = policy.floors.get(said["task"]) if said else None
            if route is None or floor is None or route["decided_by"] in ("pin", "latch"):
                continue
            kept = place_of(route["tier"], self.tiers) >= place_of(floor, self.tiers)
            assert kept, f"{route['task']!r} went to {route['tier']}, below its floor {floor}."

    def test_a_spent_budget_makes_nothing_dearer(self) -> None:
        """With nothing left, a request goes where it would have gone, or below."""
        for facts, said in product(self.facts, self.classifications):
            free, spent = self._decided(facts, said, None), self._decided(facts, said, 0.0)
            if free is not None and spent is not None:
                assert place_of(spent["tier"], self.tiers) <= place_of(free["tier"], self.tiers), f"{facts}, {said}"

    def test_it_is_pure(self) -> None:
        """The same row gives the same route, and nothing that was given is changed."""
        rows = list(self._rows())
        before = deepcopy(rows)
        first = [self._decided(*row) for row in rows]
        assert [self._decided(*row) for row in reversed(rows)][::-1] == first, "A route depends on what came before."
        assert rows == before, "What the policy was given was changed."

    def test_it_survives_json(self) -> None:
        """A policy that was written down and read again decides the same."""
        policy = self.policy
        assert type(policy).from_json(policy.to_json()) == policy

    def _rows(self) -> Any:
        return product(self.facts, self.classifications, (None, 0.01, 0.0))

    def _decided(self, facts: Facts, said: Classification | None, remaining_usd: float | None) -> Route | None:
        try:
            return self.policy.decide(facts, said, self.tiers, remaining_usd)
        except NoTierFitsError:
            return None


_ASKED = (HumanMessage("What is the capital of France?"),)
_ODD_ANSWERS = (
    AIMessage("Paris.", response_metadata={"finish_reason": "stop"}),
    AIMessage(""),
    AIMessage("The capital of", response_metadata={"finish_reason": "length"}),
    AIMessage("", additional_kwargs={"refusal": "I cannot help with that."}),
    AIMessage([{"type": "text", "text": "Paris."}, {"type": "reasoning", "summary": []}]),
    AIMessage([{"type": "refusal", "refusal": "I cannot help with that."}]),
    AIMessage("", tool_calls=[{"name": "search", "args": {"query": "capital"}, "id": "call_1"}]),
    AIMessage("", invalid_tool_calls=[{"name": "search", "args": "{", "id": "call_1", "error": None}]),
    AIMessage('{"capital": "Paris"'),
    AIMessage("日本語 👋 \N{ZERO WIDTH SPACE}" * 500),
)


class CheckConformance:
    """What every check must do: say of any answer whether it may pass, without changing it."""

    @property
    def check(self) -> Check:
        """The check under test."""
        raise NotImplementedError("Override `check` to return the check under test.")

    @property
    def accepted(self) -> Sequence[CheckInput]:
        """Answers that must pass."""
        return ()

    @property
    def rejected(self) -> Sequence[CheckInput]:
        """Answers that must not pass."""
        return ()

    @property
    def inputs(self) -> Sequence[CheckInput]:
        """Answers of every form that providers send, beside those above."""
        return [CheckInput(request=_ASKED, answer=answer, route=_route("nano")) for answer in deepcopy(_ODD_ANSWERS)]

    @property
    def deterministic(self) -> bool:
        """Whether the same answer must get the same verdict: not so for a check that asks a model."""
        return True

    @property
    def thresholds(self) -> Mapping[str, float]:
        """The policy's thresholds, by the check's name."""
        return {}

    def test_every_answer_gets_a_verdict(self) -> None:
        """A check raises nothing and returns a `Verdict` or a `bool`, whatever the answer."""
        for given in self._all():
            said = self._said(given)
            if isinstance(said, bool):
                continue
            assert isinstance(said, dict), f"The check returned {said!r}, neither a Verdict nor a bool."
            assert said.keys() == _VERDICT, f"A verdict has other fields than Verdict: {said!r}"
            assert isinstance(said["accepted"], bool), f"accepted is {said['accepted']!r}, no bool."
            assert said["check"], "The verdict does not name its check."
            assert said["reason"], "The reason is empty: say in a sentence what is wrong with the answer."

    def test_the_answer_stays_as_it_was(self) -> None:
        """A check reads; it changes neither answer nor request."""
        given = list(self._all())
        before = deepcopy(given)
        for each in given:
            self._said(each)
        assert given == before, "The check changed what it was given."

    def test_the_same_answer_gets_the_same_verdict(self) -> None:
        """A verdict does not depend on what was checked before."""
        if not self.deterministic:
            return
        given = list(self._all())
        assert [self._said(each) for each in given] == [self._said(each) for each in reversed(given)][::-1]

    def test_good_answers_pass(self) -> None:
        """What must pass passes, thresholds included."""
        for given in self.accepted:
            verdict = asyncio.run(averdict_of([self.check], given, self.thresholds))
            assert verdict["accepted"], f"{given.answer.content!r} was rejected: {verdict['reason']}"

    def test_bad_answers_do_not_pass(self) -> None:
        """What must not pass does not."""
        for given in self.rejected:
            verdict = asyncio.run(averdict_of([self.check], given, self.thresholds))
            assert not verdict["accepted"], f"{given.answer.content!r} was accepted: {verdict['reason']}"

    def test_async_agents_hear_the_same(self) -> None:
        """A sync check says the same under `ainvoke`."""
        if iscoroutinefunction(self.check) or not self.deterministic:
            return
        for given in self._all():
            heard = asyncio.run(averdict_of([self.check], given, self.thresholds))
            assert heard == verdict_of([self.check], given, self.thresholds)

    def _all(self) -> Sequence[CheckInput]:
        return [*self.inputs, *self.accepted, *self.rejected]

    def _said(self, given: CheckInput) -> Any:
        async def said() -> Any:
            told: Any = self.check(given)
            return await told if isawaitable(told) else told

        return asyncio.run(said())
