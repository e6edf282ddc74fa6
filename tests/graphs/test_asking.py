"""`Policy(on_no_answer="ask")`: a human decides about the last rejected answer, and nothing is paid twice for it."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import LABEL, REFUND, ScriptedModel, ask, call_then, fail, model, say, tiers
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage
from langchain_core.messages.tool import tool_call
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from pydantic import BaseModel

from langchain_tiered import Ledger, Policy, Tier, create_tiered_agent
from langchain_tiered.errors import ConfigurationError, NoAnswerAcceptedError

THREAD: Any = {"configurable": {"thread_id": "1"}}
ASKS = Policy("cascade", on_no_answer="ask", floors={"tools": "nano"})
BODIES = pytest.mark.parametrize("body", ["one call", "loop"])
WHY = "mini was rejected: graded rejects the answer. No tier above can take the request."
RAN: list[int] = []


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    RAN.clear()


@tool
def refund(order: int) -> str:
    """Refund an order."""
    RAN.append(order)
    return f"Order {order} is refunded."


def resume(*decisions: Any) -> Command[Any]:
    return Command(resume={"decisions": list(decisions)})


APPROVE, REJECT = {"type": "approve"}, {"type": "reject", "message": "Not like this."}
EDIT = {"type": "edit", "edited_action": {"name": "answer", "args": {"text": "It is a bug, we are sorry."}}}


class Asked:
    """An agent whose two tiers are rejected by a check that pays for a model's opinion."""

    def __init__(self, body: str, mini: Any = None, **more: Any) -> None:
        self.grader: ScriptedModel = model("flagship", say("bad"))
        self.tiers = tiers(nano=say("dunno"), mini=mini or say("a bug"))
        self.body, given = body, {"policy": ASKS, "checkpointer": InMemorySaver(), **more}
        tools = [refund] if body == "loop" else []
        self.agent: Any = create_tiered_agent(self.tiers, tools=tools, checks=[self.graded], **given)

    def graded(self, given: Any) -> bool:
        return self.grader.invoke(given.answer.text).text == "good"

    graded.__name__ = "graded"

    @property
    def request(self) -> Any:
        return ask(REFUND if self.body == "loop" else LABEL)

    @property
    def calls(self) -> list[int]:
        return [self.grader.calls, *(tier.model.calls for tier in self.tiers)]  # type: ignore[union-attr]


def booked(result: dict[str, Any]) -> list[tuple[str, str | None, str]]:
    return [(entry["role"], entry["tier"], entry["outcome"]) for entry in result["ledger"]]


PAID = [
    ("answer", "nano", "rejected"),
    ("judge", "nano", "accepted"),
    ("answer", "mini"),
    ("judge", "mini", "accepted"),
]


def paid(outcome: str) -> list[tuple[str, ...]]:
    return [entry if len(entry) > 2 else (*entry, outcome) for entry in PAID]


@BODIES
def test_the_question_has_the_form_of_langchains_human_in_the_loop(run: Any, body: str) -> None:
    asked = Asked(body)
    result = run(asked.agent, asked.request, THREAD)
    (interrupt,) = result["__interrupt__"]
    assert interrupt.value == {
        "action_requests": [{"name": "answer", "args": {"text": "a bug"}, "description": WHY}],
        "review_configs": [{"action_name": "answer", "allowed_decisions": ["approve", "edit", "reject"]}],
    }
    assert [message.type for message in result["messages"]] == ["human"]
    assert sorted(booked(result)) == sorted(paid("rejected"))


@BODIES
def test_an_approved_answer_joins_the_thread_and_nothing_is_paid_again(run: Any, body: str) -> None:
    asked = Asked(body)
    run(asked.agent, asked.request, THREAD)
    before = asked.calls
    result = run(asked.agent, resume(APPROVE), THREAD)
    assert [message.text for message in result["messages"][1:]] == ["a bug"]
    assert asked.calls == before == [2, 1, 1]
    assert sorted(booked(result)) == sorted(paid("accepted"))
    assert Ledger(result["ledger"]).total_usd == pytest.approx(2 * 0.004 + 0.000325 + 0.0012)
    assert len({entry["run_id"] for entry in result["ledger"]}) == 1
    assert result["route"]["tier"] == "mini"
    assert result["messages"][-1].response_metadata["route"] == result["route"]
    assert "truncated" not in result["messages"][-1].response_metadata


@BODIES
def test_an_edited_answer_takes_the_place_of_the_rejected_one(run: Any, body: str) -> None:
    asked = Asked(body)
    run(asked.agent, asked.request, THREAD)
    result = run(asked.agent, resume(EDIT), THREAD)
    assert [message.text for message in result["messages"][1:]] == ["It is a bug, we are sorry."]
    assert asked.calls == [2, 1, 1]
    assert sorted(booked(result)) == sorted(paid("accepted"))
    follow_up = run(asked.agent, asked.request, THREAD)
    assert follow_up["__interrupt__"], "the next turn is asked about anew"
    assert [message.text for message in follow_up["messages"][1:-1]] == ["It is a bug, we are sorry."]


@BODIES
def test_what_a_human_rejects_ends_as_without_one(run: Any, body: str) -> None:
    asked = Asked(body)
    run(asked.agent, asked.request, THREAD)
    with pytest.raises(NoAnswerAcceptedError, match="A human rejected it, too") as raised:
        run(asked.agent, resume(REJECT), THREAD)
    assert [attempt["tier"] for attempt in raised.value.attempts] == ["nano", "mini"]
    assert sorted(booked({"ledger": raised.value.ledger})) == sorted(paid("rejected"))
    assert asked.calls == [2, 1, 1]


@BODIES
@pytest.mark.parametrize(
    "said",
    [
        "yes",
        7,
        {"decisions": []},
        {"decisions": [APPROVE, APPROVE]},
        {"decisions": ["approve"]},
        {"decisions": [{"type": "perhaps"}]},
        {"decisions": [{"type": "edit"}]},
        {"decisions": [{"type": "edit", "edited_action": {"name": "answer", "args": {}}}]},
        {"decisions": [{"type": "edit", "edited_action": {"name": "answer", "args": {"text": 7}}}]},
        {"decisions": [{"type": "edit", "edited_action": {"name": "answer", "args": {"text": " "}}}]},
    ],
)
def test_nonsense_is_asked_about_again_with_the_form_and_the_thread_goes_on(run: Any, body: str, said: Any) -> None:
    asked = Asked(body)
    run(asked.agent, asked.request, THREAD)
    again = run(asked.agent, Command(resume=said), THREAD)
    description = again["__interrupt__"][0].value["action_requests"][0]["description"]
    assert description.startswith(WHY)
    assert "Resume with {'decisions': [decision]}" in description
    assert asked.agent.get_state(THREAD).next == ("check",)
    assert [message.type for message in again["messages"]] == ["human"]
    result = run(asked.agent, resume(APPROVE), THREAD)
    assert result["messages"][-1].text == "a bug"
    assert asked.calls == [2, 1, 1]
    assert sorted(booked(result)) == sorted(paid("accepted"))


def test_tool_results_are_kept_and_no_tool_runs_again(run: Any) -> None:
    asked = Asked("loop", call_then("refund", {"order": 7}, say("Refunded.")))
    run(asked.agent, asked.request, THREAD)
    result = run(asked.agent, resume(EDIT), THREAD)
    assert [message.type for message in result["messages"]] == ["human", "ai", "tool", "ai"]
    assert RAN == [7]
    assert result["messages"][-1].text == EDIT["edited_action"]["args"]["text"]  # type: ignore[index]


def test_nobody_is_asked_about_an_answer_that_never_came(run: Any) -> None:
    agent = create_tiered_agent(
        tiers(nano=say(""), mini=fail(ConnectionError("reset"))), policy=ASKS, checkpointer=InMemorySaver()
    )
    with pytest.raises(ConnectionError, match="reset"):
        run(agent, ask(LABEL), THREAD)


def test_a_pinned_tiers_answer_is_asked_about_too(run: Any) -> None:
    asked = Asked("one call")
    result = run(asked.agent, asked.request, THREAD, context={"pin": "nano"})
    assert "pinned to nano" in result["__interrupt__"][0].value["action_requests"][0]["description"]
    assert run(asked.agent, resume(APPROVE), THREAD, context={"pin": "nano"})["messages"][-1].text == "dunno"


def test_the_words_of_the_question_are_the_answers_and_a_structured_one_is_asked_about_as_text(run: Any) -> None:
    class Count(BaseModel):
        """How many."""

        count: int

    agent = create_tiered_agent(
        tiers(only=say("seven")),
        policy=Policy(on_no_answer="ask"),
        response_format=ProviderStrategy(Count),
        checkpointer=InMemorySaver(),
    )
    asked = run(agent, ask(LABEL), THREAD)["__interrupt__"][0].value
    assert asked["action_requests"][0]["args"] == {"text": "seven"}
    result = run(agent, resume(APPROVE), THREAD)
    assert result["messages"][-1].text == "seven"
    assert "structured_response" not in result


def test_an_edit_of_a_structured_answer_leaves_no_call_without_its_result(run: Any) -> None:
    class Count(BaseModel):
        """How many."""

        count: int

    def answers(_: Any) -> AIMessage:
        return AIMessage("", tool_calls=[tool_call(name="Count", args={"count": 7}, id="c1")])

    asked = Asked("loop", answers, response_format=ToolStrategy(Count))
    asked.tiers[0].model.script = answers  # type: ignore[union-attr]
    run(asked.agent, asked.request, THREAD)
    result = run(asked.agent, resume(EDIT), THREAD)
    assert [message.type for message in result["messages"]] == ["human", "ai"]
    assert result["messages"][-1].tool_calls == []


def test_the_graph_is_drawn_with_the_way_back_to_check_only_where_a_human_is_asked() -> None:
    def loops(policy: Policy) -> bool:
        edges = create_tiered_agent(tiers(nano=say("x")), policy=policy, checkpointer=InMemorySaver()).get_graph().edges
        return any(edge.source == edge.target == "check" for edge in edges)

    assert loops(ASKS)
    assert not loops(Policy())


@pytest.mark.parametrize("checkpointer", [None, False])
def test_a_question_that_nobody_could_keep_is_an_error_at_build(checkpointer: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"on_no_answer='ask'.*checkpointer.*InMemorySaver"):
        create_tiered_agent(tiers(nano=say("x")), policy=ASKS, checkpointer=checkpointer)
    assert create_tiered_agent(tiers(nano=say("x")), policy=ASKS, checkpointer=True)


def test_a_human_accepts_an_answer_of_a_fallback_at_its_tier(run: Any) -> None:
    spare = model("spare", say("half", "length"), ScriptedModel)
    first = Tier("nano", model("nano", fail(ConnectionError("reset"))), criteria="", fallbacks=[spare])
    agent = create_tiered_agent([first], policy=ASKS, checkpointer=InMemorySaver())
    run(agent, ask(LABEL), THREAD)
    result = run(agent, resume(APPROVE), THREAD)
    assert booked(result) == [("answer", "nano", "failed"), ("answer", "nano", "accepted")]
    assert isinstance(result["messages"][-1], AIMessage)
