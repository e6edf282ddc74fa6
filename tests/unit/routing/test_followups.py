"""What goes on with earlier work stays where it was done; what stands on its own is routed for itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from fakes import LABEL, say, tiers
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from unit.routing.dialogues import DIALOGUES, IMAGE, WORK, Dialogue

from langchain_tiered import Policy, TierRouter, create_tiered_agent
from langchain_tiered.routing import facts_of
from langchain_tiered.routing.followups import LONGEST, refers_back
from langchain_tiered.types import TASKS, Facts, TierFacts

if TYPE_CHECKING:
    from langchain_tiered.routing import ClassifierFunction

TIERS = tiers(nano=say("a"), mini=say("b"), flagship=say("c"))


def says(tier: str | None) -> ClassifierFunction:
    def told(facts: Facts) -> str:
        if tier is None:
            raise AssertionError(f"Nobody was to be asked of {facts.text!r}.")
        return tier

    return told


def test_the_dialogues_are_of_every_kind_and_end_at_every_tier() -> None:
    assert len(DIALOGUES) == len({dialogue.id for dialogue in DIALOGUES}) >= 60
    assert {dialogue.task for dialogue in DIALOGUES} == set(TASKS) == set(WORK)
    for wanted in ("thread", "turn", "tier"):
        assert {getattr(dialogue, wanted) for dialogue in DIALOGUES} == {"nano", "mini", "flagship"}


@pytest.mark.parametrize("reroute", ["thread", "turn"])
@pytest.mark.parametrize("dialogue", DIALOGUES, ids=lambda dialogue: dialogue.id)
async def test_a_dialogue_goes_to_the_tier_that_its_last_turn_wants(dialogue: Dialogue, reroute: Any) -> None:
    router = TierRouter(TIERS, classifier=says(dialogue.asked), policy=Policy(reroute=reroute))
    route = router.invoke(dialogue.messages(), tools=dialogue.tools)
    assert (route["tier"], route["escalated_from"]) == (getattr(dialogue, reroute), None), route["reason"]
    assert await router.ainvoke(dialogue.messages(), tools=dialogue.tools) == route


@pytest.mark.parametrize("reroute", ["thread", "turn"])
def test_what_goes_on_keeps_the_task_and_its_floor(reroute: Any) -> None:
    dialogue = Dialogue("terminal", "mini", "why?", "mini", "mini")
    route = TierRouter(TIERS, classifier=None, policy=Policy(reroute=reroute)).invoke(dialogue.messages())
    assert (route["task"], route["decided_by"]) == ("terminal", "latch")
    assert route["reason"] == "The request refers back to earlier work, which mini did."
    raised = Policy(reroute=reroute, floors={"terminal": "flagship"})
    assert TierRouter(TIERS, classifier=None, policy=raised).invoke(dialogue.messages())["tier"] == "flagship"


@pytest.mark.parametrize(("text", "tier"), [("why?", "mini"), ("weiter bitte", "mini"), ("Why not hedge?", "flagship")])
def test_without_a_classifier_only_what_stands_on_its_own_is_in_doubt(text: str, tier: str) -> None:
    dialogue = Dialogue("code", "mini", text, "", "")
    policy = Policy(on_classifier_error="flagship")  # and nothing leans in its place
    assert TierRouter(TIERS, classifier=None, policy=policy).invoke(dialogue.messages())["tier"] == tier


@pytest.mark.parametrize("refers", [True, None])
@pytest.mark.parametrize("tier", ["nano", "flagship"])
def test_what_stands_in_for_an_answer_is_no_news_of_earlier_work(tier: str, refers: bool | None) -> None:  # noqa: FBT001  (a parameter)
    guess: Any = {"tier": tier, "task": "lookup", "confidence": 0.9, "reason": "A guess.", "decided_by": "policy"}
    facts = replace(facts_of(Dialogue("code", "mini", "why?", "", "").messages()), refers_back=refers)
    known = tuple(TierFacts(name) for name in ("nano", "mini", "flagship"))
    assert Policy(reroute="turn").decide(facts, guess, known)["tier"] == "mini"


def test_a_tier_that_is_gone_or_cannot_take_the_turn_is_not_kept() -> None:
    gone = Dialogue("code", "micro", "why?", "", "").messages()
    assert TierRouter(TIERS, classifier=says("nano")).invoke(gone)["tier"] == "nano"
    blind = {"nano_model": None, "mini_model": tiers(mini=say("x"))[0].model.model_copy(  # type: ignore[union-attr]
        update={"profile": {"image_inputs": False}}
    )}  # fmt: skip
    scan = Dialogue("scan", "mini", "again", "", "").messages()
    assert TierRouter(TIERS, classifier=None).invoke(scan, context=blind)["tier"] == "flagship"


def test_a_picture_with_it_may_be_other_work() -> None:
    messages = [*Dialogue("scan", "nano", "x", "", "").messages()[:-1], HumanMessage(["and this one?", IMAGE])]
    assert facts_of(messages).refers_back is None
    assert TierRouter(TIERS, classifier=says("mini")).invoke(messages)["tier"] == "mini"


def test_a_turn_under_way_is_latched_whatever_it_says() -> None:
    messages = Dialogue("code", "flagship", "why?", "", "").messages()
    route = {"tier": "mini", "task": "code"}
    loop = [AIMessage("", response_metadata={"route": route}), ToolMessage("x", tool_call_id="1")]
    taken = TierRouter(TIERS, classifier=says(None), policy=Policy(reroute="turn")).invoke([*messages, *loop])
    assert (taken["tier"], taken["decided_by"]) == ("mini", "latch")


@pytest.mark.parametrize(("reroute", "easy"), [("thread", "mini"), ("turn", "nano")])
def test_a_thread_that_was_escalated_stays_up_for_what_goes_on(run: Any, reroute: Any, easy: str) -> None:
    scripted = tiers(nano=say(""), mini=say("b"), flagship=say("c"))  # an empty answer is rejected
    agent = create_tiered_agent(scripted, policy=Policy(reroute=reroute), checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "1"}}
    first = run(agent, {"messages": [HumanMessage(LABEL)]}, thread)["route"]
    assert (first["tier"], first["escalated_from"]) == ("mini", "nano")
    on = run(agent, {"messages": [HumanMessage("do the same for ticket 7")]}, thread)
    assert (on["route"]["tier"], on["route"]["task"], on["route"]["escalated_from"]) == ("mini", "classify", None)
    assert [entry["tier"] for entry in on["ledger"]][-1:] == ["mini"]
    scripted[0].model.script = say("a")  # type: ignore[union-attr]
    assert run(agent, {"messages": [HumanMessage(LABEL)]}, thread)["route"]["tier"] == easy


@pytest.mark.parametrize(
    "text",
    [
        "Why does this deadlock?", "Is that enforceable?", "Explain TCP", "Why vaccines?", "Can I do that?",
        "Diagnose chest pain", "What is the capital of Peru?", "Where is #1042?", "Find the flaw in it", "hello",
        "Translate 'dog'", "would that hold in court?", "Capital of Peru?", "What should I do?", "Compare the two",
        "do the same\nLabels: a, b", "go on " * LONGEST,
    ],
)  # fmt: skip
def test_what_has_words_of_its_own_or_weighs_something_stands_alone(text: str) -> None:
    assert refers_back(text) is False


@pytest.mark.parametrize("text", ["Pourquoi ?", "и второй?", "还有第二个呢?", "danke", "what about warfarin?"])
def test_what_cannot_be_told_is_not_guessed(text: str) -> None:
    assert refers_back(text) is None


@pytest.mark.parametrize("answers", [False, True])
def test_assent_is_a_courtesy_unless_something_was_asked(answers: bool) -> None:  # noqa: FBT001  (a parameter)
    assert refers_back("ok", answers=answers) is answers
    assert refers_back("ok thanks", answers=answers) is False
