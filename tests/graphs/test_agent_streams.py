"""What a user sees while the agent works: tokens of accepted answers, nothing rejected."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import LABEL, REFUND, ScriptedModel, ask, call_then, model, say, tiers
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.tools import tool

from langchain_tiered import Tier, create_tiered_agent

MODES = ["messages", "updates", "values", "custom"]
SECRET = "rejected-words"  # one word, so that a chunk holds it whole


@tool
def refund(order: int) -> str:
    """Refund an order."""
    return f"Order {order} is refunded."


def reject_secret(given: Any) -> bool:
    return SECRET not in given.answer.text


def texts(parts: list[Any], node: str) -> list[str]:
    return [chunk.text for chunk, metadata in parts if metadata["langgraph_node"] == node and chunk.text]


def test_tokens_of_a_tier_are_shown_as_they_come_and_the_answer_once(stream: Any) -> None:
    agent = create_tiered_agent(tiers(nano=say("it is a bug"), mini=say("mini")))
    parts = stream(agent, ask(LABEL), stream_mode="messages")
    assert texts(parts, "nano") == ["it ", "is ", "a ", "bug"]
    assert texts(parts, "check") == []
    assert all(isinstance(chunk, AIMessageChunk) for chunk, _ in parts)


def test_tokens_of_a_tool_tier_are_shown_with_subgraphs_and_as_one_message_without(stream: Any) -> None:
    agent = create_tiered_agent(
        tiers(nano=say("n"), mini=call_then("refund", {"order": 7}, say("it is refunded"))), tools=[refund]
    )
    parts = [part for _, part in stream(agent, ask(REFUND), stream_mode="messages", subgraphs=True)]
    assert texts(parts, "model") == ["it ", "is ", "refunded"]
    assert texts(parts, "check") == []
    whole = stream(agent, ask(REFUND), stream_mode="messages")
    assert [chunk.text for chunk, _ in whole if isinstance(chunk, AIMessage) and chunk.text] == ["it is refunded"]


@pytest.mark.parametrize("subgraphs", [False, True])
@pytest.mark.parametrize("mode", [*MODES, MODES])
@pytest.mark.parametrize("tools", [(), (refund,)], ids=["one call", "loop"])
def test_a_held_answer_that_is_rejected_is_in_no_stream(stream: Any, mode: Any, subgraphs: bool, tools: Any) -> None:  # noqa: FBT001  (a parameter)
    scripts = {name: say(SECRET) for name in ("nano", "mini")} | {"flagship": say("accepted words")}
    agent = create_tiered_agent(tiers(**scripts), tools=tools, checks=[reject_secret])
    parts = stream(agent, ask(REFUND if tools else LABEL), stream_mode=mode, subgraphs=subgraphs)
    shown = [part for part in parts if not _is_attempts_of_a_loop(part)]
    assert SECRET not in str(shown)
    if "values" in mode:
        assert "accepted words" in str(shown)


def _is_attempts_of_a_loop(part: Any) -> bool:
    """With `subgraphs=True` a loop's own channels are shown, its attempts as plain data among them."""
    return isinstance(part, tuple) and isinstance(part[0], tuple) and bool(part[0]) and "'attempts'" in str(part)


@pytest.mark.parametrize("kind", [ScriptedModel], ids=["a model that does not stream"])
@pytest.mark.parametrize("finish_reason", ["length", "content_filter"])
def test_an_answer_that_comes_whole_is_judged_before_it_is_shown(stream: Any, kind: Any, finish_reason: str) -> None:
    first = Tier("nano", model("nano", say(SECRET, finish_reason), kind), criteria="")
    agent = create_tiered_agent([first, *tiers(mini=say("mini"))])
    for mode in ("messages", "updates", "values"):
        assert SECRET not in str(stream(agent, ask(LABEL), stream_mode=mode))


def test_an_answer_cut_off_after_its_tokens_were_shown_stands_and_is_marked(stream: Any, run: Any) -> None:
    scripted = tiers(nano=say("it is a", "length"), mini=say("mini"))
    agent = create_tiered_agent(scripted)
    *_, (_, final) = stream(agent, ask(LABEL), stream_mode=["messages", "values"])
    assert final["messages"][-1].text == "it is a"
    assert final["messages"][-1].response_metadata["truncated"] is True
    assert [entry["outcome"] for entry in final["ledger"]] == ["truncated"]
    assert run(agent, ask(LABEL))["messages"][-1].text == "mini", "nothing was shown, so it escalates"


def test_the_last_tier_is_not_held_because_no_attempt_could_follow(stream: Any) -> None:
    agent = create_tiered_agent(tiers(only=say("it is a bug")), checks=[reject_secret])
    parts = stream(agent, ask(LABEL), stream_mode="messages")
    assert texts(parts, "only") == ["it ", "is ", "a ", "bug"]


def test_an_accepted_held_answer_comes_as_one_message_from_check(stream: Any) -> None:
    agent = create_tiered_agent(tiers(nano=say("it is a bug"), mini=say("mini")), checks=[reject_secret])
    parts = stream(agent, ask(LABEL), stream_mode="messages")
    assert texts(parts, "nano") == []
    assert texts(parts, "check") == ["it is a bug"]


def test_the_classifiers_tokens_are_never_shown(stream: Any) -> None:
    def classifies(_: Any) -> AIMessage:
        said = '{"tier": "mini", "task": "write", "confidence": 0.9, "reason": "prose"}'
        return AIMessage(said)

    first = Tier("nano", model("nano", classifies), criteria="")
    agent = create_tiered_agent([first, *tiers(mini=say("Dear all"), flagship=say("flagship"))])
    for mode in ("messages", "updates", "values"):
        parts = stream(agent, ask("Hmm, what of my garden?"), stream_mode=mode)
        assert '"confidence"' not in str(parts)
