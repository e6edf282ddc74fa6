"""Reviews beside routing, escalation, budgets and LangChain's own, in any order."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest
from fakes import LABEL, ask, call_then, in_turn, model, say, tiers
from langchain.agents.middleware import (
    AgentMiddleware,
    HumanInTheLoopMiddleware,
    ModelCallLimitMiddleware,
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    ToolRetryMiddleware,
)
from langchain_core.messages import AIMessage
from langchain_core.messages.tool import tool_call
from orders import agent, among, calls, refund_call, resumed, wrongly
from reviews import APPROVE, REJECT, THREAD, calls_for, edit, marks, results, reviewer, strict_saver, verdicts

from langchain_tiered import ReviewMiddleware, collect_ledger
from langchain_tiered.errors import NoAnswerAcceptedError
from langchain_tiered.middleware import BudgetMiddleware

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

DONE = say("It is refunded.")
GOOD = call_then("refund", {"order": 7}, DONE)
ALL = among("V")
CHECKED = among("V", ours=("E", "RE"))


def made_of(order: str, scripted: Any, refund: BaseTool, judge: Any, others: Any = None, **more: Any) -> Any:
    review = ReviewMiddleware(judge, risky_tools=["refund"], **more)
    return agent(order, scripted, {"V": review, **(others or {})}, tools=[refund], checkpointer=strict_saver())


def model_of(scripted: Any) -> Any:
    return scripted[0].model


def roles(result: Any) -> list[str]:
    return [entry["role"] for entry in result["ledger"]]


@pytest.mark.parametrize("order", ALL)
def test_each_call_is_booked_once_and_the_route_stands_on_the_answer(
    run: Any,
    order: str,
    refund: BaseTool,
    refunds: list[int],
) -> None:
    judge, scripted = reviewer(verdicts(True)), tiers(nano=GOOD, mini=GOOD)
    with collect_ledger() as ledger:
        result = run(made_of(order, scripted, refund, judge), ask(LABEL), THREAD)
    assert (refunds, judge.calls, calls(scripted), roles(result)) == ([7], 1, [2, 0], ["answer", "review", "answer"])
    assert sorted(entry["id"] for entry in ledger) == sorted(entry["id"] for entry in result["ledger"])
    assert result["messages"][-1].response_metadata["route"] == result["route"]
    assert len({entry["run_id"] for entry in result["ledger"]}) == 1


@pytest.mark.parametrize("order", ALL)
@pytest.mark.parametrize(("decision", "ran"), [(APPROVE, [7]), (edit(8), [8]), (REJECT, [])], ids=["yes", "edit", "no"])
def test_nothing_is_lost_or_paid_twice_across_the_interrupt(
    run: Any,
    order: str,
    refund: BaseTool,
    refunds: list[int],
    decision: Any,
    ran: Any,
) -> None:
    judge, scripted = reviewer(verdicts(False)), tiers(nano=GOOD, mini=GOOD)
    made = made_of(order, scripted, refund, judge)
    first = run(made, ask(LABEL), THREAD)
    assert (len(first["__interrupt__"]), refunds, roles(first)) == (1, [], ["answer", "review"])
    result = run(made, resumed(decision), THREAD)
    assert (refunds, judge.calls, calls(scripted)) == (ran, 1, [2, 0])
    assert (roles(result), result["route"]) == (["answer", "review", "answer"], first["route"])


@pytest.mark.parametrize("order", CHECKED)
def test_malformed_calls_are_mended_before_anybody_is_asked(
    run: Any,
    order: str,
    refund: BaseTool,
    refunds: list[int],
) -> None:
    judge, scripted = reviewer(verdicts(True)), tiers(nano=wrongly(7), mini=GOOD)
    run(made_of(order, scripted, refund, judge), ask(LABEL), THREAD)
    assert (refunds, judge.calls, calls(scripted)) == ([7], 1, [2, 2])


@pytest.mark.parametrize("order", CHECKED)
def test_a_model_that_insists_is_replaced_by_the_next_tier(
    run: Any,
    order: str,
    refund: BaseTool,
    refunds: list[int],
) -> None:
    judge = reviewer(verdicts(False))
    scripted = tiers(nano=in_turn(calls_for(7)), mini=say("I may not."))
    result = run(made_of(order, scripted, refund, judge, on_doubt="reject"), ask(LABEL), THREAD)
    assert (refunds, judge.calls, calls(scripted), result["messages"][-1].text) == ([], 1, [2, 1], "I may not.")
    stubborn = tiers(nano=in_turn(calls_for(7)), mini=in_turn(calls_for(7)))
    with pytest.raises(NoAnswerAcceptedError, match="that were rejected"):
        run(made_of(order, stubborn, refund, judge, on_doubt="reject"), ask(LABEL), THREAD)
    assert (refunds, judge.calls) == ([], 2)


@pytest.mark.parametrize("order", ["V", "RV", "VR"])
def test_without_escalation_the_turn_ends_with_the_route_on_the_answer(
    run: Any,
    order: str,
    refund: BaseTool,
    refunds: list[int],
) -> None:
    judge = reviewer(verdicts(False))
    scripted = tiers(nano=in_turn(calls_for(7)), mini=say("m"))
    made = made_of(order, scripted, refund, judge, on_doubt="reject")
    if order == "V":
        review = ReviewMiddleware(judge, risky_tools=["refund"], on_doubt="reject")
        made = agent(order, scripted, {"V": review}, own=model_of(scripted), tools=[refund])
    result = run(made, ask(LABEL), THREAD)
    assert (refunds, judge.calls) == ([], 1)
    assert result["messages"][-1].text.startswith("I did not run refund")
    assert result["messages"][-1].response_metadata.get("route") == result.get("route")


@pytest.mark.parametrize("order", ["".join(each) for each in permutations("VH")] + among("VH", ours=("RE",)))
@pytest.mark.parametrize(("decision", "ran"), [(APPROVE, [7]), (edit(8), [8]), (REJECT, [])], ids=["yes", "edit", "no"])
def test_a_human_in_the_loop_beside_a_reviewer_that_approves(
    run: Any,
    order: str,
    refund: BaseTool,
    refunds: list[int],
    decision: Any,
    ran: Any,
) -> None:
    judge, scripted = reviewer(verdicts(True)), tiers(nano=GOOD, mini=GOOD)
    human = HumanInTheLoopMiddleware(interrupt_on={"refund": True})
    given: Any = {"V": ReviewMiddleware(judge, risky_tools=["refund"]), "H": human}
    own: Any = scripted[0].model
    made = agent(order, scripted, given, own=None if "R" in order else own, tools=[refund], checkpointer=strict_saver())
    first = run(made, ask(LABEL), THREAD)
    assert (len(first["__interrupt__"]), refunds) == (1, [])
    run(made, resumed(decision), THREAD)
    assert (refunds, judge.calls) == (ran, 1)


def test_all_of_them_stand_together_in_many_orders(run: Any, refunds: list[int], refund: BaseTool) -> None:
    stack = "VREFYLTB"
    for turn in range(len(stack)):
        for order in (stack[turn:] + stack[:turn], (stack[turn:] + stack[:turn])[::-1]):
            refunds.clear()
            spare, judge, scripted = (
                model("spare", say("spare")),
                reviewer(verdicts(False)),
                tiers(nano=say(""), mini=GOOD),
            )
            others: Any = {
                "F": ModelFallbackMiddleware(spare),
                "Y": ModelRetryMiddleware(max_retries=1, initial_delay=0),
                "L": ModelCallLimitMiddleware(run_limit=2),
                "T": ToolRetryMiddleware(max_retries=1, initial_delay=0),
                "B": BudgetMiddleware(run_limit_usd=1.0),
            }
            made = made_of(order, scripted, refund, judge, others)
            assert "__interrupt__" in run(made, ask(LABEL), THREAD), order
            result = run(made, resumed(APPROVE), THREAD)
            assert (order, result["messages"][-1].text, refunds) == (order, "It is refunded.", [7])
            assert sorted(roles(result)) == ["answer", "answer", "answer", "review"], order
            assert (calls(scripted), spare.calls, judge.calls) == ([1, 2], 0, 1), order


class Puts(AgentMiddleware[Any, Any, Any]):
    """Puts another call in the place of the model's, after the model has spoken."""

    def __init__(self, order: int) -> None:
        super().__init__()
        self.order = order

    def after_model(self, state: Any, runtime: Any) -> Any:
        last = state["messages"][-1]
        if not (isinstance(last, AIMessage) and last.tool_calls):
            return None
        call = tool_call(name="refund", args={"order": self.order}, id=f"put-{last.tool_calls[0]['id']}")
        return {"messages": [last.model_copy(update={"tool_calls": [call]})]}


def test_a_call_that_is_put_in_before_the_review_decides_is_doubted(
    run: Any,
    refund: BaseTool,
    refunds: list[int],
) -> None:
    judge, scripted = reviewer(verdicts(True)), tiers(nano=GOOD)
    made = agent(
        "VP",
        scripted,
        {"V": ReviewMiddleware(judge, risky_tools=["refund"]), "P": Puts(666)},
        own=model_of(scripted),
        tools=[refund],
        checkpointer=strict_saver(),
    )
    first = run(made, ask(LABEL), THREAD)
    (asked,) = first["__interrupt__"][0].value["action_requests"]
    assert (refunds, asked["args"]) == ([], {"order": 666})
    assert "after the review" in asked["description"]


def test_a_call_that_is_put_in_after_the_review_has_decided_does_not_run(
    run: Any,
    refund: BaseTool,
    refunds: list[int],
) -> None:
    judge = reviewer(verdicts(True))
    scripted = tiers(nano=in_turn(refund_call(7, "1"), say("It did not run.")))
    made = agent(
        "PV",
        scripted,
        {"V": ReviewMiddleware(judge, risky_tools=["refund"]), "P": Puts(666)},
        own=model_of(scripted),
        tools=[refund],
        checkpointer=strict_saver(),
    )
    result = run(made, ask(LABEL), THREAD)
    assert (refunds, results(result)) == ([], [("error", "Nobody has reviewed this call, so it was not executed.")])
    assert marks(result)[0]["by"] == "rules"
