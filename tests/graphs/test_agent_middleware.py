"""Other people's middleware, response formats and tools inside a tier's loop: each call booked once, nothing lost."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import LABEL, REFUND, ScriptedModel, ask, call_then, fail, in_turn, model, say, tiers
from langchain.agents.middleware import (
    HumanInTheLoopMiddleware,
    ModelCallLimitMiddleware,
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    PIIMiddleware,
    SummarizationMiddleware,
    TodoListMiddleware,
    after_model,
)
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.messages.tool import tool_call
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from pydantic import BaseModel

from langchain_tiered import Ledger, Tier, collect_ledger, create_tiered_agent
from langchain_tiered.errors import DuplicateNameError, NoAnswerAcceptedError

THREAD: Any = {"configurable": {"thread_id": "1"}}
RAN: list[int] = []


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    RAN.clear()


@tool
def refund(order: int) -> str:
    """Refund an order."""
    RAN.append(order)
    return f"Order {order} is refunded."


class Label(BaseModel):
    """A ticket's label."""

    label: str


def roles(result: dict[str, Any]) -> list[tuple[str, str]]:
    return [(entry["role"], entry["outcome"]) for entry in result["ledger"]]


def test_a_retry_inside_a_loop_is_booked_call_by_call(run: Any) -> None:
    flaky = in_turn(fail(ConnectionError("reset")), say("bug"))
    retry = ModelRetryMiddleware(max_retries=1, initial_delay=0, jitter=False)
    result = run(create_tiered_agent(tiers(nano=flaky, mini=say("m")), middleware=[retry]), ask(LABEL))
    assert result["messages"][-1].text == "bug"
    assert roles(result) == [("answer", "failed"), ("answer", "accepted")]


def test_a_fallback_middleware_is_left_alone_and_booked_under_its_own_model(run: Any) -> None:
    spare = model("gpt-5.4-mini", say("spare"))
    agent = create_tiered_agent(
        tiers(nano=fail(ConnectionError("down")), mini=say("m")), middleware=[ModelFallbackMiddleware(spare)]
    )
    result = run(agent, ask(LABEL))
    assert (result["messages"][-1].text, result["route"]["tier"]) == ("spare", "nano")
    assert [entry["model"] for entry in result["ledger"]] == ["gpt-5.4-nano", "gpt-5.4-mini"]


def test_history_that_a_middleware_rewrites_is_taken_over(run: Any) -> None:
    summarizer: ScriptedModel = model("gpt-5.4-nano", say("They talked of bugs."))
    middleware = SummarizationMiddleware(summarizer, trigger=("messages", 4), keep=("messages", 1))
    agent = create_tiered_agent(tiers(nano=say("bug")), middleware=[middleware], checkpointer=InMemorySaver())
    run(agent, ask(LABEL), THREAD)
    run(agent, ask(LABEL), THREAD)
    result = run(agent, ask(LABEL), THREAD)
    assert [message.text[:35] for message in result["messages"]] == [
        "Here is a summary of the conversati",
        LABEL[:35],
        "bug",
    ]
    assert roles(result) == [("answer", "accepted")] * 2 + [("summarize", "accepted"), ("answer", "accepted")]


def test_what_a_hook_changes_in_an_answer_reaches_the_user(run: Any) -> None:
    guard = PIIMiddleware("email", strategy="redact", apply_to_output=True, apply_to_input=True)
    agent = create_tiered_agent(tiers(nano=say("Write to ann@example.com.")), middleware=[guard])
    result = run(agent, ask(f"{LABEL} I am bob@example.com"))
    assert result["messages"][-1].text == "Write to [REDACTED_EMAIL]."
    assert result["messages"][0].text.endswith("I am [REDACTED_EMAIL]")
    assert len(result["messages"]) == 2


def test_a_loop_that_its_middleware_ends_gives_its_last_word(run: Any) -> None:
    agent = create_tiered_agent(
        tiers(nano=say("n"), mini=call_then("refund", {"order": 7}, say("never"))),
        tools=[refund],
        middleware=[ModelCallLimitMiddleware(run_limit=1, exit_behavior="end")],
    )
    result = run(agent, ask(REFUND))
    assert "limit" in result["messages"][-1].text.lower()
    assert roles(result) == [("answer", "tool_turn")]


def test_a_human_approves_once_and_the_ledger_keeps_what_was_paid_before(run: Any) -> None:
    agent = create_tiered_agent(
        tiers(nano=say("n"), mini=call_then("refund", {"order": 7}, say("done"))),
        tools=[refund],
        middleware=[HumanInTheLoopMiddleware(interrupt_on={"refund": True})],
        checkpointer=InMemorySaver(),
    )
    with collect_ledger() as ledger:
        asked = run(agent, ask(REFUND), THREAD)
    assert asked["__interrupt__"][0].value["action_requests"][0]["name"] == "refund"
    assert (RAN, len(ledger)) == ([], 1)
    result = run(agent, Command(resume={"decisions": [{"type": "approve"}]}), THREAD)
    assert RAN == [7]
    assert result["messages"][-1].text == "done"
    assert roles(result) == [("answer", "tool_turn"), ("answer", "accepted")]
    assert len({entry["run_id"] for entry in result["ledger"]}) == 1


def test_a_rejected_answer_does_not_make_a_human_approve_the_same_call_again(run: Any) -> None:
    agent = create_tiered_agent(
        tiers(nano=say("n"), mini=call_then("refund", {"order": 7}, say("cut", "length")), flagship=say("done")),
        tools=[refund],
        middleware=[HumanInTheLoopMiddleware(interrupt_on={"refund": True})],
        checkpointer=InMemorySaver(),
    )
    run(agent, ask(REFUND), THREAD)
    result = run(agent, Command(resume={"decisions": [{"type": "approve"}]}), THREAD)
    assert "__interrupt__" not in result
    assert (RAN, result["messages"][-1].text) == ([7], "done")


def test_hooks_of_other_middleware_never_see_a_rejected_answer(run: Any) -> None:
    seen: list[str] = []

    @after_model
    def spy(state: Any, runtime: Any) -> None:
        seen.append(state["messages"][-1].text)

    agent = create_tiered_agent(tiers(nano=say("cut", "length"), mini=say("fine")), middleware=[spy])
    assert run(agent, ask(LABEL))["messages"][-1].text == "fine"
    assert seen == ["", "fine"]


@pytest.mark.parametrize("wrap", [ProviderStrategy, ToolStrategy, lambda schema: schema])
def test_a_response_format_is_parsed_whichever_way_the_model_gives_it(run: Any, wrap: Any) -> None:
    def answers(_: Any) -> AIMessage:
        if wrap is ToolStrategy or not isinstance(wrap, type):
            return AIMessage("", tool_calls=[tool_call(name="Label", args={"label": "bug"}, id="1")])
        return AIMessage('{"label": "bug"}')

    only = Tier("only", model("plain", answers), criteria="")
    agent = create_tiered_agent([only], response_format=wrap(Label), checkpointer=InMemorySaver())
    result = run(agent, ask(LABEL), THREAD)
    assert result["structured_response"] == Label(label="bug")
    assert set(result) == {"messages", "route", "ledger", "structured_response"}


def test_an_answer_that_breaks_the_response_format_is_told_once_then_escalates(run: Any) -> None:
    scripted = tiers(nano=say("prose"), mini=say('{"label": "bug"}'))
    agent = create_tiered_agent(scripted, response_format=ProviderStrategy(Label))
    result = run(agent, ask(LABEL))
    assert result["structured_response"] == Label(label="bug")
    assert [message.text for message in result["messages"]] == [LABEL, '{"label": "bug"}']
    assert roles(result) == [("answer", "rejected"), ("answer", "rejected"), ("answer", "accepted")]
    assert [entry.get("rejected_by") for entry in result["ledger"]] == ["matches_schema", "matches_schema", None]


def test_the_last_turns_structured_response_is_not_this_turns(run: Any) -> None:
    scripted = tiers(only=in_turn(say('{"label": "bug"}'), say("prose")))
    agent = create_tiered_agent(scripted, response_format=ProviderStrategy(Label), checkpointer=InMemorySaver())
    run(agent, ask(LABEL), THREAD)
    with pytest.raises(NoAnswerAcceptedError, match="only"):
        run(agent, ask(LABEL), THREAD)
    assert agent.get_state(THREAD).values.get("structured_response") is None


def test_a_model_that_a_tool_calls_is_booked_once_as_other(run: Any) -> None:
    inner: ScriptedModel = model("flagship", say("inner"))

    @tool
    def research(topic: str) -> str:
        """Research a refund topic."""
        return inner.invoke(topic).text

    agent = create_tiered_agent(
        tiers(nano=say("n"), mini=call_then("research", {"topic": "x"}, say("done"))), tools=[research]
    )
    with collect_ledger() as ledger:
        result = run(agent, ask("Research the refund topic for order 1042."))
    assert roles(result) == [("answer", "tool_turn"), ("other", "accepted"), ("answer", "accepted")]
    assert [entry["id"] for entry in ledger] == [entry["id"] for entry in result["ledger"]]
    assert Ledger(result["ledger"]).total_usd == pytest.approx(0.0012 * 2 + 0.004)


def test_a_tool_that_answers_directly_ends_the_turn(run: Any) -> None:
    @tool(return_direct=True)
    def refund(order: int) -> str:
        """Refund an order."""
        return "Refunded."

    agent = create_tiered_agent(tiers(nano=say("n"), mini=call_then("refund", {"order": 7}, say("x"))), tools=[refund])
    result = run(agent, ask(REFUND))
    assert [message.type for message in result["messages"]] == ["human", "ai", "tool"]
    assert roles(result) == [("answer", "tool_turn")]


def test_an_error_in_a_tool_is_raised_with_what_was_paid(run: Any) -> None:
    @tool
    def refund(order: int) -> str:
        """Refund an order."""
        raise RuntimeError("the shop is closed")

    agent = create_tiered_agent(tiers(nano=say("n"), mini=call_then("refund", {"order": 7}, say("x"))), tools=[refund])
    with pytest.raises(RuntimeError, match="closed") as raised:
        run(agent, ask(REFUND))
    assert [entry["outcome"] for entry in raised.value.ledger] == ["tool_turn"]  # type: ignore[attr-defined]


def test_provider_tools_go_to_the_tool_tiers_alone(run: Any) -> None:
    scripted = tiers(nano=say("n"), mini=say("found"), flagship=say("f"))
    agent = create_tiered_agent(scripted, tools=[{"type": "web_search"}])
    assert run(agent, ask("Search the web for the latest news."))["route"]["task"] == "search"
    assert scripted[1].model.bound == [[{"type": "web_search"}]]  # type: ignore[union-attr]
    assert run(agent, ask(LABEL))["messages"][-1].text == "n"
    assert "web_search" not in str([each["function"]["name"] for each in scripted[0].model.bound[0]])  # type: ignore[union-attr]


def test_a_tiers_own_tools_stand_beside_the_agents(run: Any) -> None:
    @tool
    def lookup(order: int) -> str:
        """Look an order up."""
        return "late"

    mini = Tier("mini", model("mini", call_then("lookup", {"order": 7}, say("late"))), criteria="", tools=[lookup])
    agent = create_tiered_agent([*tiers(nano=say("n")), mini], tools=[refund])
    assert run(agent, ask(REFUND))["messages"][-2].text == "late"
    with pytest.raises(DuplicateNameError, match="refund"):
        create_tiered_agent(tiers(nano=say("n")), tools=[refund, refund])
    with pytest.raises(DuplicateNameError, match="lookup"):
        create_tiered_agent([*tiers(nano=say("n")), mini], tools=[lookup])


def test_history_with_human_messages_only_is_not_rewritten(run: Any) -> None:
    agent = create_tiered_agent(tiers(nano=say("bug")), middleware=[ModelCallLimitMiddleware(run_limit=3)])
    given = {"messages": [HumanMessage("Hello", id="1"), HumanMessage(LABEL, id="2")]}
    assert [message.id for message in run(agent, given)["messages"]][:2] == ["1", "2"]


def test_a_schema_that_is_broken_twice_escalates(run: Any) -> None:
    class Count(BaseModel):
        """How many."""

        count: int

    def answers(count: Any) -> Any:
        return lambda _: AIMessage("", tool_calls=[tool_call(name="Count", args={"count": count}, id=f"c{count}")])

    scripted = tiers(nano=answers("many"), mini=answers(7))
    result = run(create_tiered_agent(scripted, response_format=ToolStrategy(Count)), ask(LABEL))
    assert result["structured_response"] == Count(count=7)
    assert scripted[0].model.calls == 2  # type: ignore[union-attr]


def test_public_channels_of_middleware_are_given_and_kept(run: Any) -> None:
    todos = {"todos": [{"content": "refund it", "status": "pending"}]}
    mini = call_then("write_todos", todos, say("done"))
    agent = create_tiered_agent(tiers(nano=mini), middleware=[TodoListMiddleware()], checkpointer=InMemorySaver())
    assert run(agent, ask(LABEL), THREAD)["todos"] == todos["todos"]
