"""Reviews in `create_tiered_agent`: tiers change, the loop's node runs again on resume, and nothing is paid twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fakes import LABEL, REFUND, StreamingModel, ask, in_turn, model, say, tiers
from langchain_core.messages import AIMessage
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import Command
from orders import booked, resumed
from reviews import (
    APPROVE,
    REJECT,
    THREAD,
    calls_for,
    edit,
    find,
    marks,
    models_of,
    results,
    reviewer,
    roles,
    strict_saver,
    verdicts,
)

from langchain_tiered import Budget, ReviewMiddleware, create_tiered_agent
from langchain_tiered.errors import InvalidDecisionError, NoAnswerAcceptedError

if TYPE_CHECKING:
    from pathlib import Path

    from langchain_core.tools import BaseTool

DONE = say("It is refunded.")
PAID = [("answer", "tool_turn"), ("review", "tool_turn"), ("answer", "accepted")]


def once() -> Any:
    return in_turn(calls_for(7), DONE)


def tiered(scripted: Any, refund: BaseTool, judge: Any, **more: Any) -> Any:
    given = {"risky_tools": ["refund"], "reviewer": judge, "checkpointer": strict_saver(), **more}
    return create_tiered_agent(scripted, tools=[refund, find], **given)


def rejecting(scripted: Any, refund: BaseTool, judge: Any) -> Any:
    review = ReviewMiddleware(judge, risky_tools=["refund"], on_doubt="reject")
    return create_tiered_agent(scripted, tools=[refund, find], middleware=[review], checkpointer=strict_saver())


def test_what_the_reviewer_approves_runs(run: Any, refund: BaseTool, refunds: list[int]) -> None:
    judge, scripted = reviewer(verdicts(True)), tiers(nano=say("n"), mini=once())
    result = run(tiered(scripted, refund, judge), ask(REFUND), THREAD)
    assert (result["messages"][-1].text, refunds, judge.calls, roles(result)) == ("It is refunded.", [7], 1, PAID)
    assert marks(result) == [{"decision": "approve", "by": "reviewer", "reason": "Reason 1."}]
    assert {entry["run_id"] for entry in result["ledger"]} != {None}


@pytest.mark.parametrize(
    ("decision", "ran"),
    [(APPROVE, [7]), (edit(8), [8]), (REJECT, [])],
    ids=["approve", "edit", "reject"],
)
def test_nothing_is_paid_again_when_the_tiers_node_runs_again(
    run: Any,
    refund: BaseTool,
    refunds: list[int],
    decision: Any,
    ran: Any,
) -> None:
    judge, scripted = reviewer(verdicts(False)), tiers(nano=say("n"), mini=once())
    made = tiered(scripted, refund, judge)
    first = run(made, ask(REFUND), THREAD)
    assert (len(first["__interrupt__"]), refunds) == (1, [])
    garbage: Any
    for garbage in ("yes", {"decisions": []}):
        with pytest.raises(InvalidDecisionError):
            run(made, Command(resume=garbage), THREAD)
    result = run(made, resumed(decision), THREAD)
    assert (refunds, judge.calls, models_of(scripted), roles(result)) == (ran, 1, [0, 2], PAID)
    assert [mark["by"] for mark in marks(result)] == ["human"]


def test_a_thread_goes_on_in_another_process(tmp_path: Path, refund: BaseTool, refunds: list[int]) -> None:
    judge, path = reviewer(verdicts(False)), str(tmp_path / "threads.sqlite")
    for given in (ask(REFUND), resumed(APPROVE)):
        with SqliteSaver.from_conn_string(path) as saver:
            scripted = tiers(nano=say("n"), mini=DONE if judge.calls else calls_for(7))
            result = tiered(scripted, refund, judge, checkpointer=saver).invoke(given, THREAD, durability="sync")
    assert (refunds, judge.calls, roles(result)) == ([7], 1, PAID)


def test_several_doubts_of_one_visit_are_asked_one_after_the_other(
    run: Any,
    refund: BaseTool,
    refunds: list[int],
) -> None:
    judge = reviewer(verdicts(False, False))
    scripted = tiers(nano=say("n"), mini=in_turn(calls_for(7), calls_for(8, 9), DONE))
    made = tiered(scripted, refund, judge)
    run(made, ask(REFUND), THREAD)
    second = run(made, resumed(APPROVE), THREAD)
    assert (refunds, len(second["__interrupt__"][0].value["action_requests"])) == ([7], 2)
    result = run(made, resumed(REJECT, APPROVE), THREAD)
    assert (refunds, judge.calls, models_of(scripted)) == ([7, 9], 2, [0, 3])
    assert len(result["ledger"]) == 5


def test_a_tier_that_insists_on_a_rejected_call_is_escalated_and_nobody_is_asked_again(
    run: Any,
    refund: BaseTool,
    refunds: list[int],
) -> None:
    judge = reviewer(verdicts(False))
    scripted = tiers(nano=say("n"), mini=in_turn(calls_for(7)), flagship=say("It was rejected, so I did not."))
    result = run(rejecting(scripted, refund, judge), ask(REFUND), THREAD)
    assert (refunds, judge.calls, models_of(scripted)) == ([], 1, [0, 2, 1])
    assert result["route"]["tier"] == "flagship"
    assert "refund was called again with the arguments that were rejected." in result["route"]["reason"]
    assert (result["messages"][-1].text, len(results(result))) == ("It was rejected, so I did not.", 1)


def test_the_next_tier_is_not_asked_about_a_call_that_was_rejected_below(
    run: Any,
    refund: BaseTool,
    refunds: list[int],
) -> None:
    judge = reviewer(verdicts(False))
    scripted = tiers(nano=say("n"), mini=in_turn(calls_for(7), say("")), flagship=in_turn(calls_for(7)))
    made = tiered(scripted, refund, judge)
    run(made, ask(REFUND), THREAD)
    with pytest.raises(NoAnswerAcceptedError, match="called again with the arguments that were rejected") as raised:
        run(made, resumed(REJECT), THREAD)
    assert (refunds, judge.calls, models_of(scripted)) == ([], 1, [0, 2, 1])
    assert [entry["role"] for entry in raised.value.ledger] == ["answer", "review", "answer", "answer"]


def test_many_calls_rejected_at_once_are_no_stall(run: Any, refund: BaseTool, refunds: list[int]) -> None:
    judge = reviewer(verdicts(*[False] * 5))
    scripted = tiers(nano=say("n"), mini=in_turn(calls_for(1, 2, 3, 4, 5), say("None was allowed.")))
    result = run(rejecting(scripted, refund, judge), ask(REFUND), THREAD)
    assert (refunds, result["messages"][-1].text, result["route"]["tier"]) == ([], "None was allowed.", "mini")


def test_an_attempt_that_is_escalated_after_a_review_leaves_no_call_to_act_on_again(
    run: Any,
    refund: BaseTool,
    refunds: list[int],
) -> None:
    judge = reviewer(verdicts(True))
    scripted = tiers(nano=say("n"), mini=in_turn(calls_for(7), say("")), flagship=say("Refunded, as you asked."))
    result = run(tiered(scripted, refund, judge), ask(REFUND), THREAD)
    assert (refunds, judge.calls, result["messages"][-1].text) == ([7], 1, "Refunded, as you asked.")
    assert booked(result) == [
        ("mini", "tool_turn"),
        (None, "tool_turn"),
        ("mini", "rejected"),
        ("flagship", "accepted"),
    ]


def test_a_call_that_was_cut_off_in_the_stream_is_neither_completed_nor_run(
    stream: Any,
    refund: BaseTool,
    refunds: list[int],
) -> None:
    """The review stands between the answer and what the recorder is asked about it."""

    class Cut(StreamingModel):
        def _stream(self, *given: Any, **more: Any) -> Any:
            for part in super()._stream(*given, **more):
                for chunk in part.message.tool_call_chunks:  # type: ignore[attr-defined]
                    chunk["args"] = '{"order": 7' if self.calls == 1 else chunk["args"]
                yield part

    judge = reviewer(verdicts(True))
    scripted = tiers(nano=say("n"), mini=say("m"))
    mini = model("mini", in_turn(calls_for(70), calls_for(70), DONE), Cut)
    object.__setattr__(scripted[1], "model", mini)
    stream(tiered(scripted, refund, judge), ask(REFUND), config=THREAD, stream_mode="messages", subgraphs=True)
    assert (refunds, mini.calls) == ([70], 3)


def test_decisions_are_heard_on_the_stream_of_the_agent_and_the_reviewer_is_not(stream: Any, refund: BaseTool) -> None:
    judge = reviewer(lambda _: AIMessage("Secret.", tool_calls=verdicts(False)(_).tool_calls))
    made = tiered(tiers(nano=say("n"), mini=once()), refund, judge)
    modes = ["custom", "messages"]
    parts = stream(made, ask(REFUND), config=THREAD, stream_mode=modes)
    parts += stream(made, resumed(APPROVE), config=THREAD, stream_mode=modes)
    events = [part for mode, part in parts if mode == "custom" and part["type"] == "tiered_review"]
    assert [(event["decision"], event["by"]) for event in events] == [("doubt", "reviewer"), ("approve", "human")]
    assert not any("Secret" in part[0].text for mode, part in parts if mode == "messages")


def test_a_tier_without_tools_has_no_review_and_stays_one_call(refund: BaseTool) -> None:
    judge = reviewer(verdicts(True))
    made = tiered(tiers(nano=say("bug"), mini=once()), refund, judge)
    result = made.invoke(ask(LABEL), THREAD)
    assert (result["messages"][-1].text, judge.calls, len(result["ledger"])) == ("bug", 0, 1)
    names = set(made.get_graph(xray=True).nodes)
    assert "mini:ReviewMiddleware.after_model" in names
    assert not any(name.startswith("nano:") for name in names)


def test_the_review_is_held_within_the_budget(run: Any, refund: BaseTool, refunds: list[int]) -> None:
    judge = reviewer(verdicts(True))
    scripted = tiers(nano=say("n"), mini=once())
    made = tiered(scripted, refund, judge, budget=Budget(run_limit_usd=0.008))
    first = run(made, ask(REFUND), THREAD)
    assert (refunds, judge.calls) == ([], 0)
    assert "budget" in first["__interrupt__"][0].value["action_requests"][0]["description"]
    result = run(made, resumed(APPROVE), THREAD)
    assert (refunds, roles(result)) == ([7], [PAID[0], PAID[2]])


def test_what_the_reviewer_cost_counts_in_the_budget(run: Any, refund: BaseTool) -> None:
    scripted = tiers(nano=say("n"), mini=once())
    made = tiered(scripted, refund, reviewer(verdicts(True)), budget=Budget(run_limit_usd=0.1))
    result = run(made, ask(REFUND), THREAD)
    assert sum(entry["cost_usd"] for entry in result["ledger"]) == pytest.approx(0.0012 * 2 + 0.004)
