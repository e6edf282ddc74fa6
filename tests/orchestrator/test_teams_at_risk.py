"""What a team of the examples must never do: read beside its folder, refund unreviewed, or do anything twice."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.messages.tool import tool_call
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from orchestrator.team import MODES, THREAD, Team, ask, outputs, paid, plan, review, run, task

from langchain_tiered import Budget, ReviewMiddleware, create_orchestrator
from langchain_tiered.errors import ConfigurationError, InvalidDecisionError
from langchain_tiered.offline import offline_tiers

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[2] / "examples"
SECRET = "secret-outside-42"
both = pytest.mark.parametrize("mode", MODES)


@pytest.fixture(scope="module")
def examples() -> Iterator[Any]:
    sys.path.insert(0, str(EXAMPLES))
    yield importlib.import_module
    sys.path.remove(str(EXAMPLES))


class Watch(BaseCallbackHandler):
    """Notes what models are asked, and which tools run."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.ran: list[str] = []

    def on_chat_model_start(self, serialized: Any, messages: Any, **_: Any) -> None:
        self.asked += messages

    def on_tool_start(self, serialized: Any, input_str: str, **more: Any) -> None:
        self.ran.append(f"{serialized['name']} {(more.get('inputs') or {}).get('order_id')}")

    def told(self, words: str) -> list[Any]:
        """Return the tool messages with these words, each of a model's call once."""
        found = {message.tool_call_id for messages in self.asked for message in messages if _says(message, words)}
        return sorted(found)


def _says(message: Any, words: str) -> bool:
    return isinstance(message, ToolMessage) and words in message.text


@both
@pytest.mark.parametrize("path", ["../outside.md", "link.md", ".env", "/etc/hosts"])
def test_a_path_outside_the_repository_is_told_to_the_model_and_nothing_leaks(
    examples: Any, tmp_path: Path, mode: str, path: str
) -> None:
    root = tmp_path / "repository"
    root.mkdir()
    for secret in (tmp_path / "outside.md", root / ".env"):
        secret.write_text(SECRET, encoding="utf-8")
    (root / "link.md").symlink_to(tmp_path / "outside.md")
    tools = examples("repository").tools(examples("repository").Repository(root))
    reads = tool_call(name="read_file", args={"path": path}, id="call_1")
    said: list[str] = []

    def mini(messages: Any) -> AIMessage:
        if not isinstance(messages[-1], ToolMessage):
            return AIMessage("", tool_calls=[reads])
        said.append(messages[-1].text)
        return AIMessage("It cannot be read.")

    team = Team(plan({**task("a"), "kind": "search", "instruction": "Read it."}), review(), mini=mini)
    watch = Watch()
    result = run(create_orchestrator(tiers=team.tiers, tools=tools), ask(), mode, {"callbacks": [watch]})
    assert (outputs(result), len(said)) == ({"a": "It cannot be read."}, 1)
    assert any(words in said[0] for words in ("lies outside the repository", "There is no", "is hidden"))
    assert SECRET not in f"{result}{watch.asked}"
    assert str(tmp_path) not in f"{result}{watch.asked}"


@both
def test_a_refund_is_made_once_and_a_rejection_told_once(examples: Any, mode: str) -> None:
    desk, shop = examples("14_support_desk"), examples("shop").Shop()
    graph, watch = desk.desk(offline_tiers(), shop), Watch()
    config = {**THREAD, "callbacks": [watch]}
    waiting = run(graph, {"messages": [("user", desk.REQUEST)]}, mode, config)
    assert sorted(watch.ran) == [
        "refund_order 1041", "refund_order 1042", "track_parcel 1042", "track_parcel 1043",
    ]  # fmt: skip
    with pytest.raises(InvalidDecisionError):
        run(graph, Command(resume={each.id: "garbage" for each in waiting["__interrupt__"]}), mode, config)
    result = run(graph, desk.answers(waiting), mode, config)
    assert sorted(watch.ran)[:3] == ["refund_order 1041", "refund_order 1042", "refund_order 1045"]
    assert len([each for each in watch.ran if each.startswith("refund_order")]) == 3
    assert [order for order, *_ in shop.refunds()] == [1041, 1042, 1045]
    assert len(watch.told("Ask the customer first.")) == 1
    assert len([messages for messages in watch.asked if any(_says(m, "Ask the") for m in messages)]) == 1
    assert [name for role, name in paid(result) if role == "review"] == ["step_1", "step_3", "step_4", None]


@both
def test_a_doubted_call_waits_where_no_human_is_there_and_is_told_where_it_is_rejected(
    examples: Any, mode: str
) -> None:
    shop = examples("shop")
    store = shop.Shop()
    rejecting = ReviewMiddleware(offline_tiers()[-1], risky_tools=["refund_order"], on_doubt="reject")
    graph = create_orchestrator(tiers=offline_tiers(), tools=shop.tools(store), middleware=[rejecting])
    result = run(graph, ask("Do both:\n1. Perhaps refund order 1047.\n2. Refund order 1043."), mode)
    assert [order for order, *_ in store.refunds()] == [1043]
    assert "not sure, it says 'Perhaps'" in outputs(result)["step_1"]


def test_what_cannot_review_is_an_error_at_build(examples: Any) -> None:
    tools, tiers = examples("shop").shop_tools(), offline_tiers()
    risky: Any = {"tiers": tiers, "tools": tools, "risky_tools": ["refund_order"]}
    kept = {**risky, "checkpointer": InMemorySaver()}
    unpriced = [replace(tiers[0], rates=None)]
    for words, given in (
        ("only a checkpointer", risky),
        ("'refnd', which no tier has", {**kept, "risky_tools": ["refnd"]}),
        ("cannot judge calls", {**kept, "reviewer": lambda _: {}}),
        ("are for the tiers", {"tiers": tiers, "worker": lambda _: "", "risky_tools": ["refund_order"]}),
        ("Two reviews", {**kept, "middleware": [ReviewMiddleware(risky_tools=["refund_order"])]}),
        ("no known price", {**kept, "reviewer": unpriced[0], "budget": Budget(run_limit_usd=1)}),
    ):
        with pytest.raises(ConfigurationError, match=words):
            create_orchestrator(**given)


def test_tools_of_a_tier_are_told_to_the_planner(examples: Any) -> None:
    team = Team(plan(mode="answer", answer="No work."))
    tiers = [replace(team.tiers[0], tools=examples("shop").shop_tools()), *team.tiers[1:]]
    run(create_orchestrator(tiers=tiers), ask())
    assert "- refund_order: Refund an order in full" in team.flagship.asked[0][0].text
