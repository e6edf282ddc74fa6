"""An explanation tells what was said on the way to a route, and decides nothing of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from io import StringIO
from typing import Any

import pytest
from fakes import LABEL, ScriptedModel, call_then, model, say, tiers
from langchain_core.messages import AIMessage, HumanMessage
from rich.console import Console

from langchain_tiered import Policy, TierRouter
from langchain_tiered.errors import InvalidInputError, NoTierFitsError, UnknownTierError
from langchain_tiered.routing import RULES, Explanation
from langchain_tiered.routing.rules import name_of
from langchain_tiered.types import Facts, Tier

TIERS = tiers(nano=say("a"), mini=say("b"), flagship=say("c"))
HARD = "Why does this deadlock?"
GOOD = {"reason": "Concurrency is hard.", "task": "reason", "tier": "mini", "confidence": 0.3}
REFUND = {"name": "refund_order", "description": "Refund an order of a customer."}
PREVIOUS = AIMessage("a", response_metadata={"route": {"tier": "mini", "task": "code"}})


def asking() -> ScriptedModel:
    return model("nano", call_then("Classification", GOOD, say("")), ScriptedModel)


@pytest.fixture(params=["sync", "async"])
def explain(request: pytest.FixtureRequest) -> Any:
    """Explain in both ways."""

    async def explained(router: TierRouter, request_: Any, **more: Any) -> Explanation:
        return router.explain(request_, **more) if request.param == "sync" else await router.aexplain(request_, **more)

    return explained


@pytest.mark.parametrize(
    ("request_", "more"),
    [
        (LABEL, {}),
        (HARD, {}),
        (HARD, {"remaining_usd": 0.0}),
        (HARD, {"context": {"pin": "nano"}}),
        ("Refund order 1042.", {"tools": [REFUND]}),
        ("Name: Ann\nAge: 30", {"schema": True}),
        ([HumanMessage("x"), PREVIOUS, HumanMessage("why?")], {}),
        ([HumanMessage("x"), PREVIOUS], {}),
        ({"messages": [("user", HARD)]}, {}),
    ],
)
@pytest.mark.parametrize("classifier", [None, "a function"])
async def test_the_route_is_the_one_that_invoke_gives(explain: Any, request_: Any, more: Any, classifier: Any) -> None:
    router = TierRouter(TIERS, classifier=classifier and (lambda facts: "mini" if facts.tokens > 5 else "nano"))
    explanation = await explain(router, request_, **more)
    assert explanation.route == router.invoke(request_, **more)
    assert " ".join(explanation.steps) == explanation.route["reason"]


async def test_every_rule_says_its_own_and_the_first_that_speaks_decides(explain: Any) -> None:
    both = f"{LABEL}\n```python\nprint(1)\n```"
    explanation = await explain(TierRouter(TIERS, classifier=None), both)
    told = {said.name: said for said in explanation.rules}
    assert len(told) == len(explanation.rules) > len(RULES)
    assert {"long_document", "labels", "code", "fact", "proof", "words of code", "words of write"} <= set(told)
    assert (told["labels"].task, told["labels"].decides) == ("classify", True)
    assert (told["code"].task, told["code"].decides) == ("code", False)
    assert (told["proof"].task, told["proof"].reason, told["proof"].decides) == (None, None, False)
    assert explanation.route["reason"] == told["labels"].reason


def test_each_rule_has_a_name() -> None:
    assert not [name_of(rule) for rule in RULES if "<" in name_of(rule) or name_of(rule) in {"english", "words"}]


async def test_what_the_classifier_says_and_costs_is_told_and_it_is_asked_once(explain: Any) -> None:
    asked = asking()
    router = TierRouter(TIERS, classifier=asked)
    explanation = await explain(router, HARD)
    assert asked.calls == 1
    assert explanation.classification == {**GOOD, "decided_by": "classifier"}
    assert [entry["role"] for entry in explanation.ledger] == ["classify"]
    assert explanation.ledger.total_usd == pytest.approx((1000 * 0.20 + 100 * 1.25) / 1e6)
    assert explanation.steps == (
        "Concurrency is hard.",
        "Raised from mini to flagship: its confidence of 0.30 is below 0.5.",
    )
    assert explanation.lean is None


async def test_a_classifier_that_is_not_needed_is_not_asked(explain: Any) -> None:
    asked = asking()
    explanation = await explain(TierRouter(TIERS, classifier=asked), LABEL)
    assert (explanation.classification, asked.calls, len(explanation.ledger)) == (None, 0, 0)
    assert "not asked" in str(explanation)


async def test_the_router_is_left_as_it_was(explain: Any) -> None:
    router = TierRouter(TIERS, classifier=lambda _: "mini")
    before = dict(vars(router))
    await explain(router, HARD, context={"pin": "nano"})
    assert vars(router) == before
    assert router.invoke(HARD)["tier"] == "mini"


async def test_a_router_of_ones_own_is_explained_by_its_own_route(explain: Any) -> None:
    class Own(TierRouter):
        def route(self, facts: Facts, *args: Any, **more: Any) -> Any:
            return {**super().route(facts, *args, **more), "tier": "flagship"}

        async def aroute(self, facts: Facts, *args: Any, **more: Any) -> Any:
            return {**await super().aroute(facts, *args, **more), "tier": "flagship"}

    assert (await explain(Own(TIERS, classifier=None), LABEL)).route["tier"] == "flagship"


async def test_what_stands_in_for_rules_and_classifier_is_told(explain: Any) -> None:
    guess: Any = {"tier": "mini", "task": "write", "confidence": None, "reason": "It leans.", "decided_by": "policy"}

    class Leaning(TierRouter):
        def route(self, facts: Facts, *_: Any, context: Any = None, **__: Any) -> Any:
            return self._policy(context).decide(facts, guess, self.models.facts(self.tiers, context))

        async def aroute(self, facts: Facts, *_: Any, context: Any = None, **__: Any) -> Any:
            return self.route(facts, context=context)

    explanation = await explain(Leaning(TIERS, classifier=None), HARD)
    assert explanation.lean == guess
    assert "lean         mini, write: It leans." in str(explanation)
    assert (await explain(Leaning(TIERS, classifier=None), LABEL)).lean is None


@pytest.mark.parametrize(
    ("request_", "more", "error"),
    [
        ("", {}, InvalidInputError),
        (HARD, {"context": {"pin": "mnii"}}, UnknownTierError),
        ("word " * 50, {}, NoTierFitsError),
    ],
)
async def test_its_errors_are_the_routers(explain: Any, request_: str, more: Any, error: type[Exception]) -> None:
    small = [Tier("nano", model("nano", say("a")), criteria="x", max_input_tokens=20)]
    with pytest.raises(error):
        await explain(TierRouter(small, classifier=None), request_, **more)


async def test_the_table_shows_facts_rules_policy_and_route(explain: Any) -> None:
    router = TierRouter(TIERS, classifier=lambda _: "nano", policy=Policy(floors={"tools": "nano"}))
    messages = [HumanMessage("x"), PREVIOUS, HumanMessage("Refund the order of this customer, please.")]
    rows = [line.split(maxsplit=1) for line in str(await explain(router, messages, tools=[REFUND])).splitlines()]
    shown = {name: told for name, told in rows if name != "decided"}
    assert shown["tools"] == "refund_order"
    assert shown["risk"] == "money"
    assert shown["turn"] == "2"
    assert shown["before"] == "code at mini"
    assert shown["rule"].startswith("tools, which decides: tools. The request shares words")
    assert "long_document, " in shown["unsure"]
    assert shown["tier"] == "mini"
    assert shown["reason"].endswith(".")


def test_it_is_a_table_in_the_terminal_and_in_a_notebook() -> None:
    shouting = TierRouter(TIERS, classifier=lambda _: {"tier": "mini", "reason": "<b>\x1b[31m & \u202eso"})  # type: ignore[arg-type,return-value]  # what a user may give
    explanation = shouting.explain(HARD)
    console = Console(file=StringIO(), width=60, highlight=False)
    console.print(explanation)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    html = explanation._repr_html_()
    for shown in (printed, str(explanation), html):
        assert "\x1b" not in shown
        assert "\u202e" not in shown
        assert "mini" in shown
    assert max(map(len, printed.splitlines())) <= 60
    assert "<b>" not in html
    assert html.count("<tr>") == len(str(explanation).splitlines())


def test_all_of_it_is_plain_json() -> None:
    image: Any = {"type": "image", "base64": "A" * 1000, "mime_type": "image/png"}
    told = TierRouter(TIERS, classifier=asking()).explain([HumanMessage(["Who painted this?", image])], tools=[REFUND])
    written = json.dumps(told.as_dict(), allow_nan=False)
    assert "AAAA" not in written
    back = json.loads(written)
    assert back["route"] == told.route
    assert back["facts"]["tools"] == ["refund_order"]
    assert back["cost_usd"] == told.ledger.total_usd
    assert len(back["rules"]) == len(told.rules)


def test_rich_is_needed_by_nobody_who_does_not_print_with_it() -> None:
    code = (
        "import sys; sys.modules['rich'] = None; from langchain_tiered import TierRouter; "
        "print(TierRouter(classifier=None).explain('Who painted the Sistine Chapel?'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "tier         nano" in done.stdout, done.stderr
