"""A risky call is judged before it runs, once, and a human decides where the reviewer doubts it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from fakes import REFUND, ask, fail, in_turn, model, say
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.messages.tool import tool_call
from langchain_core.runnables.config import set_config_context
from langchain_core.tools import tool
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import Command
from orders import AuthenticationError, RateLimitError, resumed
from reviews import (
    APPROVE,
    REJECT,
    RESPOND,
    THREAD,
    calls_for,
    edit,
    find,
    marks,
    part,
    results,
    review_of,
    reviewed,
    reviewer,
    roles,
    saying,
    strict_saver,
    verdicts,
)

from langchain_tiered import ReviewMiddleware, collect_ledger
from langchain_tiered.errors import InvalidDecisionError, ModelNotBuiltError
from langchain_tiered.middleware import BudgetMiddleware
from langchain_tiered.middleware.reviewer import review_prompt

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_core.tools import BaseTool

DONE = say("It is refunded.")
PAID_ONCE = [("answer", "tool_turn"), ("review", "tool_turn"), ("answer", "accepted")]


def resume(value: Any) -> Any:
    return Command(resume=value)


def once() -> Any:
    return in_turn(calls_for(7), DONE)


# Approval


def test_what_the_reviewer_approves_runs_and_is_booked_and_signed(
    run: Any,
    refund: BaseTool,
    refunds: list[int],
) -> None:
    judge = reviewer(verdicts(True))
    with collect_ledger() as ledger:
        result = run(reviewed(once(), refund, judge), ask(REFUND), THREAD)
    assert (result["messages"][-1].text, refunds, judge.calls) == ("It is refunded.", [7], 1)
    assert roles(result) == PAID_ONCE
    assert [entry["id"] for entry in ledger] == [entry["id"] for entry in result["ledger"]]
    assert result["ledger"][1]["cost_usd"] == pytest.approx(0.004)
    assert marks(result) == [{"decision": "approve", "by": "reviewer", "reason": "Reason 1."}]


def test_the_reviewer_sees_request_results_and_all_calls_of_the_turn_in_one_call(
    run: Any,
    refund: BaseTool,
    refunds: list[int],
) -> None:
    judge = reviewer(verdicts(True, True))
    both = saying(("refund", 7, "a"), ("find", 5, "b"), ("refund", 8, "c"))
    made = reviewed(in_turn(calls_for(3, name="find"), both, DONE), refund, judge, tools=[find])
    run(made, ask(REFUND), THREAD)
    assert (sorted(refunds), judge.calls) == ([7, 8], 1)
    shown = judge.asked[0]
    assert [message.type for message in shown] == ["system", "human"]
    told = part(shown, "request")["messages"]
    assert [(each["role"], each.get("text")) for each in told] == [
        ("user", REFUND),
        ("assistant", None),
        ("tool", "Order 3 came late."),
    ]
    assert [call["name"] for call in part(shown, "answer")["calls"]] == ["refund", "find", "refund"]
    assert [(call["number"], call["arguments"], call["tool"]) for call in part(shown, "calls")] == [
        (1, {"order": 7}, "Refund an order."),
        (2, {"order": 8}, "Refund an order."),
    ]


def test_the_reviewers_prompt_has_the_same_beginning_each_time(refund: BaseTool) -> None:
    judge = reviewer(verdicts(True))
    for text in ("Refund order 7.", "Please refund order 7 today."):
        reviewed(once(), refund, judge).invoke(ask(text), THREAD)
    assert judge.asked[0][0] == judge.asked[1][0]


def test_tools_that_are_not_risky_cost_no_review(run: Any, refund: BaseTool) -> None:
    judge = reviewer(verdicts(True))
    result = run(reviewed(in_turn(calls_for(3, name="find"), DONE), refund, judge, tools=[find]), ask(REFUND), THREAD)
    assert (judge.calls, marks(result)) == (0, [None])


@pytest.mark.parametrize("judged", [True, False])
def test_when_tells_which_calls_are_risky(run: Any, refund: BaseTool, refunds: list[int], judged: Any) -> None:
    seen: list[Any] = []

    def over_ten(request: Any) -> bool:
        seen.append((request.tool, request.runtime.tool_call_id, request.state["messages"][-1].type))
        return bool(request.tool_call["args"]["order"] > 10)

    config = {"refund": {"allowed_decisions": ["approve", "reject"], "when": over_ten}, "find": False}
    judge = reviewer(verdicts(True)) if judged else None
    made = reviewed(in_turn(calls_for(7), calls_for(11), DONE), refund, judge, risky_tools=config)
    result = run(made, ask(REFUND), THREAD)
    assert seen[0] == (None, "1-0", "ai")
    if judge is not None:
        assert (refunds, judge.calls, marks(result)[0]) == ([7, 11], 1, None)
    else:
        (asked,) = result["__interrupt__"]
        assert (refunds, asked.value["action_requests"][0]["args"]) == ([7], {"order": 11})


# Doubt: a human decides


def test_doubt_interrupts_in_langchains_own_form_with_the_reason(
    run: Any, refund: BaseTool, refunds: list[int]
) -> None:
    judge = reviewer(verdicts(False))
    made = reviewed(once(), refund, judge)
    first = run(made, ask(REFUND), THREAD)
    plain: Any = create_agent(
        model("nano", once()),
        [refund],
        middleware=[HumanInTheLoopMiddleware({"refund": True})],
        checkpointer=strict_saver(),
    )
    (ours,), (theirs,) = first["__interrupt__"], plain.invoke(ask(REFUND), THREAD)["__interrupt__"]
    (asked,), (wanted,) = ours.value["action_requests"], theirs.value["action_requests"]
    assert asked["description"] == f"{wanted['description']}\n\nThe reviewer's doubt: Reason 1."
    assert {**ours.value, "action_requests": [{**asked, "description": ""}]} == {
        **theirs.value,
        "action_requests": [{**wanted, "description": ""}],
    }
    assert (refunds, roles(first)) == ([], PAID_ONCE[:2])


@pytest.mark.parametrize(
    ("decision", "ran", "told", "mark"),
    [
        (APPROVE, [7], ("success", "Order 7 is refunded."), "approve"),
        (edit(8), [8], ("success", "to {'order': 8}.\nOrder 8 is refunded."), "edit"),
        (REJECT, [], ("error", "User rejected the tool call for `refund` with reason: Not this one."), "reject"),
        ({"type": "reject"}, [], ("error", "Do not retry"), "reject"),
        (RESPOND, [], ("success", "It was refunded by hand."), "respond"),
    ],
    ids=["approve", "edit", "reject with a message", "reject", "respond"],
)
@pytest.mark.parametrize("judged", [True, False], ids=["reviewer", "human alone"])
def test_what_a_human_decides_is_done_and_nothing_is_paid_again(
    run: Any,
    refund: BaseTool,
    refunds: list[int],
    judged: Any,
    decision: Any,
    ran: Any,
    told: Any,
    mark: str,
) -> None:
    judge = reviewer(verdicts(False)) if judged else None
    made = reviewed(once(), refund, judge)
    first = run(made, ask(REFUND), THREAD)
    result = run(made, resumed(decision), THREAD)
    ((status, text),) = results(result)
    assert (refunds, status, result["messages"][-1].text) == (ran, told[0], "It is refunded.")
    assert told[1] in text
    assert [(each["decision"], each["by"]) for each in marks(result)] == [(mark, "human")]
    assert (judge.calls if judge else 1) == 1
    assert roles(result) == (PAID_ONCE if judged else [PAID_ONCE[0], PAID_ONCE[2]])
    assert result["ledger"][: len(first["ledger"])] == first["ledger"]
    calls = [each.tool_calls for each in result["messages"] if each.type == "ai" and each.tool_calls]
    assert calls[0][0]["args"] == {"order": 7}, "the message keeps the model's own call"


def test_no_call_of_a_message_runs_before_all_are_decided_and_the_others_run_beside_a_rejected_one(
    run: Any,
    refund: BaseTool,
    refunds: list[int],
) -> None:
    ran: list[int] = []

    @tool
    def find(order: int) -> str:
        """Find an order."""
        ran.append(order)
        return "late"

    three = saying(("refund", 7, "a"), ("refund", 8, "b"), ("refund", 9, "c"), ("find", 5, "d"))
    made = reviewed(in_turn(three, DONE), refund, reviewer(verdicts(True, False, False)), tools=[find])
    first = run(made, ask(REFUND), THREAD)
    asked = first["__interrupt__"][0].value["action_requests"]
    assert ([each["args"] for each in asked], refunds, ran) == ([{"order": 8}, {"order": 9}], [], [])
    result = run(made, resumed(REJECT, APPROVE), THREAD)
    assert (sorted(refunds), ran) == ([7, 9], [5])
    assert sorted((each["decision"], each["by"]) for each in marks(result) if each) == [
        ("approve", "human"),
        ("approve", "reviewer"),
        ("reject", "human"),
    ]


def test_descriptions_of_the_users_own_are_shown_with_the_reason(refund: BaseTool) -> None:
    for description in ("Mind the money.", lambda call, state, runtime: f"Mind the money of {call['name']}."):
        config = {"refund": {"allowed_decisions": ["approve"], "description": description}}
        made = reviewed(once(), refund, reviewer(verdicts(False)), risky_tools=config)
        value = made.invoke(ask(REFUND), THREAD)["__interrupt__"][0].value
        assert value["action_requests"][0]["description"].startswith("Mind the money")
        assert value["action_requests"][0]["description"].endswith("The reviewer's doubt: Reason 1.")
        assert value["review_configs"] == [{"action_name": "refund", "allowed_decisions": ["approve"]}]


GARBAGE = {
    "a text": "yes",
    "no dict": ["approve"],
    "a number": 7,
    "no decisions": {"approve": True},
    "decisions that are no list": {"decisions": {"type": "approve"}},
    "too few": {"decisions": []},
    "too many": {"decisions": [APPROVE, APPROVE]},
    "a decision that is no dict": {"decisions": ["approve"]},
    "no type": {"decisions": [{}]},
    "an unknown type": {"decisions": [{"type": "accept"}]},
    "an unhashable type": {"decisions": [{"type": ["approve"]}]},
    "an edit without an action": {"decisions": [{"type": "edit"}]},
    "an edit without args": {"decisions": [{"type": "edit", "edited_action": {"name": "refund"}}]},
    "an edit of another tool": {"decisions": [{"type": "edit", "edited_action": {"name": "find", "args": {}}}]},
    "an edit that breaks the schema": {"decisions": [edit("seven")]},
    "an edit that lacks an argument": {"decisions": [{"type": "edit", "edited_action": {"args": {}}}]},
    "a response without words": {"decisions": [{"type": "respond"}]},
    "a reason that is no text": {"decisions": [{"type": "reject", "message": {"why": 1}}]},
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_an_interrupt_answered_with_garbage_is_a_typed_error_and_can_be_answered_again(
    run: Any,
    refund: BaseTool,
    refunds: list[int],
    garbage: Any,
) -> None:
    judge = reviewer(verdicts(False))
    made = reviewed(once(), refund, judge)
    run(made, ask(REFUND), THREAD)
    for _ in range(2):
        with pytest.raises(InvalidDecisionError, match=r"Expected: .*'decisions'.*Resume it again") as raised:
            run(made, resume(garbage), THREAD)
        assert raised.value.value == garbage
    assert len(made.get_state(THREAD).interrupts) == 1
    result = run(made, resumed(APPROVE), THREAD)
    assert (refunds, judge.calls, result["messages"][-1].text) == ([7], 1, "It is refunded.")


def test_a_decision_that_is_not_allowed_is_an_error(run: Any, refund: BaseTool, refunds: list[int]) -> None:
    config = {"refund": {"allowed_decisions": ["approve", "reject"]}}
    made = reviewed(once(), refund, None, risky_tools=config)
    run(made, ask(REFUND), THREAD)
    with pytest.raises(InvalidDecisionError, match="'edit'; allowed: approve, reject"):
        run(made, resumed(edit(8)), THREAD)
    run(made, resumed(APPROVE), THREAD)
    assert refunds == [7]


def test_an_answer_by_the_interrupts_id_counts_after_garbage_too(
    run: Any, refund: BaseTool, refunds: list[int]
) -> None:
    made = reviewed(once(), refund, None)
    (asked,) = run(made, ask(REFUND), THREAD)["__interrupt__"]
    with pytest.raises(InvalidDecisionError):
        run(made, resume({asked.id: "yes"}), THREAD)
    run(made, resume({asked.id: {"decisions": [APPROVE]}}), THREAD)
    assert refunds == [7]


def test_a_thread_goes_on_in_another_process_without_paying_again(
    tmp_path: Path, refund: BaseTool, refunds: list[int]
) -> None:
    judge, path = reviewer(verdicts(False)), str(tmp_path / "threads.sqlite")
    for given in (ask(REFUND), resume("garbage"), resumed(edit(9))):
        with SqliteSaver.from_conn_string(path) as saver:
            review = ReviewMiddleware(judge, risky_tools=["refund"])
            script = DONE if judge.calls else calls_for(7)
            made: Any = create_agent(model("nano", script), [refund], middleware=[review], checkpointer=saver)
            try:
                result = made.invoke(given, THREAD, durability="sync")
            except InvalidDecisionError:
                continue
    assert (refunds, judge.calls, result["messages"][-1].text, roles(result)) == ([9], 1, "It is refunded.", PAID_ONCE)


# Doubt: the model is told


def test_a_doubted_call_is_told_to_the_model_once_and_the_turn_ends_when_it_insists(
    run: Any,
    refund: BaseTool,
    refunds: list[int],
) -> None:
    judge = reviewer(verdicts(False))
    script = in_turn(calls_for(7))
    made = reviewed(script, refund, judge, on_doubt="reject")
    result = run(made, ask(REFUND), THREAD)
    assert (refunds, judge.calls) == ([], 1)
    told, last = results(result)
    assert told == (
        "error",
        "The reviewer rejected the tool call for `refund`: Reason 1. It was not run. Do not make the same call again.",
    )
    assert last[1].startswith("Not executed, and the turn ends")
    assert result["messages"][-1].text == "I did not run refund, because it was rejected. Reason 1."
    assert roles(result) == [("answer", "tool_turn"), ("review", "tool_turn"), ("answer", "tool_turn")]
    again = run(made, ask("Please try once more."), THREAD)
    assert (judge.calls, len(again["messages"])) == (2, 2 * len(result["messages"])), "a new turn is judged anew"


def test_a_model_that_varies_a_rejected_call_for_ever_is_stopped(
    run: Any, refund: BaseTool, refunds: list[int]
) -> None:
    judge = reviewer(verdicts(False, False))
    made = reviewed(lambda messages: calls_for(len(messages), -1)(messages), refund, judge, on_doubt="reject")
    result = run(made, ask(REFUND), THREAD)
    assert (refunds, judge.calls) == ([], 1), "the second call of the message is the same each time"
    varied = reviewed(lambda messages: calls_for(len(messages))(messages), refund, judge, on_doubt="reject")
    result = run(varied, ask(REFUND), {"configurable": {"thread_id": "2"}})
    assert (refunds, judge.calls) == ([], 1 + 3)
    assert result["messages"][-1].text.endswith("3 calls of it were rejected in this turn.")


def test_a_call_that_a_human_rejected_is_not_asked_about_again(run: Any, refund: BaseTool, refunds: list[int]) -> None:
    made = reviewed(in_turn(calls_for(7), calls_for(7)), refund, None)
    run(made, ask(REFUND), THREAD)
    result = run(made, resumed(REJECT), THREAD)
    assert ("__interrupt__" in result, refunds) == (False, [])
    assert result["messages"][-1].text == "I did not run refund, because it was rejected. Not this one."


def test_an_approval_is_for_one_run(run: Any, refund: BaseTool, refunds: list[int]) -> None:
    judge = reviewer(in_turn(verdicts(True), verdicts(False)))
    result = run(reviewed(in_turn(calls_for(7), calls_for(7), DONE), refund, judge), ask(REFUND), THREAD)
    assert (refunds, judge.calls, len(result["__interrupt__"])) == ([7], 2, 1)


# A reviewer that fails


UNSURE = {
    "an outage": fail(ConnectionError("down")),
    "a rate limit": fail(RateLimitError("slow down")),
    "a timeout": fail(TimeoutError("late")),
    "prose": say("Yes, approved!"),
    "nothing": say(""),
    "a refusal": say("", additional_kwargs={"refusal": "I will not."}),
    "no verdicts": lambda _: review_of([]),
    "verdicts that are none": lambda _: review_of("approved"),
    "another call's verdict": lambda _: review_of([{"call": 2, "reason": "", "approved": True}]),
    "two verdicts": lambda _: review_of([{"call": 1, "reason": "", "approved": True}] * 2),
    "a text for true": lambda _: review_of([{"call": 1, "reason": "", "approved": "true"}]),
    "one for true": lambda _: review_of([{"call": 1, "reason": "", "approved": 1}]),
    "true for the number": lambda _: review_of([{"call": True, "reason": "", "approved": True}]),
    "no approval": lambda _: review_of([{"call": 1, "reason": "Fine."}]),
    "another tool": lambda _: AIMessage("", tool_calls=[tool_call(name="approve", args={"call": 1}, id="1")]),
}


@pytest.mark.parametrize("said", UNSURE.values(), ids=UNSURE)
def test_a_reviewer_that_fails_has_doubts(run: Any, refund: BaseTool, refunds: list[int], said: Any) -> None:
    judge = reviewer(said)
    first = run(reviewed(once(), refund, judge), ask(REFUND), THREAD)
    assert (refunds, judge.calls, len(first["__interrupt__"])) == ([], 1, 1)
    assert "The reviewer" in first["__interrupt__"][0].value["action_requests"][0]["description"]
    assert [entry["role"] for entry in first["ledger"]] == ["answer", "review"]
    refused = run(reviewed(once(), refund, reviewer(said), on_doubt="reject"), ask(REFUND), THREAD)
    assert (refunds, [status for status, _ in results(refused)]) == ([], ["error"])


def test_a_reviewer_without_structured_output_may_write_its_json(
    run: Any, refund: BaseTool, refunds: list[int]
) -> None:
    told = json.dumps({"verdicts": [{"call": 1, "reason": "Fine.", "approved": True}]})
    run(reviewed(once(), refund, reviewer(say(told))), ask(REFUND), THREAD)
    assert refunds == [7]


@pytest.mark.parametrize("error", [AuthenticationError("bad key"), ZeroDivisionError("a bug")], ids=["key", "bug"])
def test_a_bad_key_and_a_bug_of_the_reviewer_are_raised_and_nothing_runs(
    run: Any,
    refund: BaseTool,
    refunds: list[int],
    error: Exception,
) -> None:
    with pytest.raises(type(error)) as raised:
        run(reviewed(once(), refund, reviewer(fail(error))), ask(REFUND), THREAD)
    assert (refunds, [entry["role"] for entry in raised.value.ledger]) == ([], ["answer", "review"])  # type: ignore[attr-defined]


def test_a_reviewers_model_that_cannot_be_built_is_told(run: Any, refund: BaseTool, refunds: list[int]) -> None:
    with pytest.raises(ModelNotBuiltError, match="nobody:knows"):
        run(reviewed(once(), refund, "nobody:knows"), ask(REFUND), THREAD)
    assert refunds == []


def test_a_long_reason_is_cut_and_stays_in_one_line(refund: BaseTool) -> None:
    judge = reviewer(lambda _: review_of([{"call": 1, "reason": "No.\n" * 500, "approved": False}]))
    value = reviewed(once(), refund, judge).invoke(ask(REFUND), THREAD)["__interrupt__"][0].value
    reason = value["action_requests"][0]["description"].partition("doubt: ")[2]
    assert (len(reason), "\n" in reason) == (300, False)


# What comes by another way


def test_a_malformed_call_is_told_to_the_model_and_nobody_is_asked(
    run: Any, refund: BaseTool, refunds: list[int]
) -> None:
    judge = reviewer(verdicts(True))
    result = run(reviewed(in_turn(calls_for("seven"), calls_for(7), DONE), refund, judge), ask(REFUND), THREAD)
    assert (refunds, judge.calls) == ([7], 1)
    assert results(result)[0][0] == "error"
    assert marks(result)[0]["by"] == "rules"


@pytest.mark.parametrize("judged", [True, False])
def test_calls_that_share_an_id_do_not_share_an_approval(
    run: Any,
    refund: BaseTool,
    refunds: list[int],
    judged: bool,  # noqa: FBT001  (a table)
) -> None:
    twins = saying(("refund", 7, "same"), ("refund", 8, "same"))
    judge = reviewer(verdicts(True, True)) if judged else None
    result = run(reviewed(in_turn(twins, DONE), refund, judge), ask(REFUND), THREAD)
    assert (refunds, judge.calls if judge else 0, "__interrupt__" in result) == ([], 0, False)


def test_a_call_whose_id_was_approved_in_an_earlier_message_is_reviewed(
    run: Any, refund: BaseTool, refunds: list[int]
) -> None:
    first, second = saying(("refund", 7, "call_0")), saying(("refund", 8, "call_0"))
    judge = reviewer(in_turn(verdicts(True), verdicts(False)))
    result = run(reviewed(in_turn(first, second, DONE), refund, judge), ask(REFUND), THREAD)
    assert (refunds, len(result["__interrupt__"])) == ([7], 1)


# What is seen, and paid


def test_nothing_of_the_reviewer_is_streamed_but_its_decisions_are_events(stream: Any, refund: BaseTool) -> None:
    judge = reviewer(lambda _: AIMessage("Secret thoughts.", tool_calls=verdicts(False)(_).tool_calls))
    made = reviewed(once(), refund, judge)
    parts = stream(made, ask(REFUND), config=THREAD, stream_mode=["messages", "custom"])
    parts += stream(made, resumed(REJECT), config=THREAD, stream_mode=["messages", "custom"])
    said = [part[0] for mode, part in parts if mode == "messages"]
    assert not any("Secret" in each.text or "Review" in str(getattr(each, "tool_calls", "")) for each in said)
    events = [event for mode, event in parts if mode == "custom"]
    assert [(event["tool"], event["decision"], event["by"], event["reason"]) for event in events] == [
        ("refund", "doubt", "reviewer", "Reason 1."),
        ("refund", "reject", "human", "Not this one."),
    ]
    assert all(event["type"] == "tiered_review" and event["call_id"] == "1-0" for event in events)


@pytest.mark.parametrize("outer", [True, False])
def test_a_budget_that_does_not_hold_the_review_leaves_the_call_to_a_human(
    run: Any,
    refund: BaseTool,
    refunds: list[int],
    outer: bool,  # noqa: FBT001  (a table)
) -> None:
    judge = reviewer(verdicts(True))
    stack: list[Any] = [BudgetMiddleware(run_limit_usd=0.004), ReviewMiddleware(judge, risky_tools=["refund"])]
    nano = model("nano", once())
    made = create_agent(nano, [refund], middleware=stack if outer else stack[::-1], checkpointer=strict_saver())
    first = run(made, ask(REFUND), THREAD)
    assert (refunds, judge.calls, roles(first)) == ([], 0, [("answer", "tool_turn")])
    assert "budget" in first["__interrupt__"][0].value["action_requests"][0]["description"]


# The mark of a planned task.

MARK: dict[str, Any] = {"request": "Refund 7.", "instruction": "Refund what it names.", "data": {"results": {"a": "7"}}}


def shown(message: HumanMessage, *later: Any) -> list[dict[str, Any]]:
    """Return the messages that a reviewer is shown."""
    prompt = review_prompt([message, *later], AIMessage("", tool_calls=[]), [])
    told: list[dict[str, Any]] = json.loads(prompt.split("<request>\n")[1].split("\n</request>")[0])["messages"]
    return told


@pytest.mark.parametrize("later", [[], [HumanMessage("Mend it.")]])
def test_a_planned_task_is_told_by_who_says_what_and_nothing_of_it_as_the_users(later: list[Any]) -> None:
    message = HumanMessage("Refund what it names. 7 and 999", additional_kwargs={"tiered_task": MARK})
    with set_config_context({"metadata": {"tiered_task_id": "pay"}}) as context:
        told = context.run(shown, message, *later)
    assert told[:2] == [
        {"role": "user", "text": "Refund 7."},
        {
            "role": "planner",
            "text": "Refund what it names.",
            "attached": [{"type": "results", "text": json.dumps({"a": "7"})}],
        },
    ]
    assert "999" not in str(told)


@pytest.mark.parametrize(
    ("mark", "metadata"),
    [
        (MARK, {}),
        ("Refund 7.", {"tiered_task_id": "pay"}),
        ({**MARK, "request": None}, {"tiered_task_id": "pay"}),
        ({"request": "Refund 7."}, {"tiered_task_id": "pay"}),
    ],
)
def test_a_mark_outside_of_a_task_or_a_broken_one_is_not_believed(mark: Any, metadata: dict[str, Any]) -> None:
    message = HumanMessage("What I say.", additional_kwargs={"tiered_task": mark})
    with set_config_context({"metadata": metadata}) as context:
        assert context.run(shown, message) == [{"role": "user", "text": "What I say."}]
