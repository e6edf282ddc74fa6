"""A missing recording and a bug come through whoever asks a model, and whatever fallback stands behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from orchestrator.team import ask, plan, review, task

from langchain_tiered import ReviewMiddleware, Tier, TieredChatModel, TierRouter, create_orchestrator
from langchain_tiered.testing import ScriptedChatModel

if TYPE_CHECKING:
    from collections.abc import Callable


class CannotOverwriteExistingCassetteError(Exception):
    """Stands for a missing recording; the real one lives in a module whose name starts with `vcr`."""


CannotOverwriteExistingCassetteError.__module__ = "vcr.errors"
SCHEMA = {"title": "answer", "type": "object", "properties": {}}


@tool
def refund(order: int) -> str:
    """Refund an order."""
    return f"Refunded {order}."


def says(*answers: Any) -> ScriptedChatModel:
    return ScriptedChatModel(script=list(answers), model_name="gpt-5.4")


def tiers(broken: Any, answer: str = "ok") -> list[Tier]:
    low = Tier("nano", broken, criteria="a", fallbacks=[says(*[answer] * 3)])
    return [low, Tier("top", says(*[answer] * 3), criteria="b")]


def model(broken: Any) -> TieredChatModel:
    return TieredChatModel(tiers(broken), classifier=lambda _: "nano")


def reviewed(broken: Any) -> Any:
    calls = AIMessage("", tool_calls=[{"name": "refund", "args": {"order": 1}, "id": "call_1"}])
    ours = ReviewMiddleware(broken, risky_tools=["refund"], on_doubt="reject")
    agent: Any = create_agent(says(calls, "ok"), [refund], middleware=[ours])
    return agent.invoke(ask())


def planned(planner: Any, reviewer: Any = None, worker: Any = None) -> Any:
    team = create_orchestrator(
        planner=planner, worker=worker or (lambda _: "done"), reviewer=reviewer or (lambda _: review())
    )
    return team.invoke(ask())


ASKED: dict[str, Callable[[Any], Any]] = {
    "chat model": lambda broken: model(broken).invoke("hi"),
    "stream": lambda broken: list(model(broken).stream("hi")),
    "raw": lambda broken: model(broken).with_structured_output(SCHEMA, include_raw=True).invoke("hi"),
    "classifier": lambda broken: TierRouter(tiers(says("x")), classifier=broken).invoke("Why does it wait?"),
    "reviewer of calls": reviewed,
    "planner": lambda broken: planned(tiers(broken, plan(task("a")))[0]),
    "reviewer of work": lambda broken: planned(lambda _: plan(task("a")), broken),
}


@pytest.mark.parametrize("kind", [CannotOverwriteExistingCassetteError, ZeroDivisionError])
@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_missing_recording_or_bug_is_raised(asked: Callable[[Any], Any], kind: type[Exception]) -> None:
    def broken(_: Any) -> Any:
        raise kind("It is not there.")

    with pytest.raises(kind):
        asked(ScriptedChatModel(script=broken, model_name="gpt-5.4-nano"))


def test_missing_recording_of_a_worker_is_no_failed_task() -> None:
    def broken(_: Any) -> Any:
        raise CannotOverwriteExistingCassetteError

    with pytest.raises(CannotOverwriteExistingCassetteError):
        planned(lambda _: plan(task("a")), worker=ScriptedChatModel(script=broken, model_name="gpt-5.4-nano"))
