"""What is stored of a thread needs no pickle and trusts no class: plain values, under the strictest serializer."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest
from fakes import LABEL, REFUND, ask, call_then, fail, say, tiers
from langchain_core.messages import BaseMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Command, Overwrite

from langchain_tiered import Budget, Policy, create_tiered_agent
from langchain_tiered.errors import NoAnswerAcceptedError

THREAD: Any = {"configurable": {"thread_id": "1"}}


class Watched(JsonPlusSerializer):
    """The strict serializer, which notes the form of all that it is given."""

    def __init__(self) -> None:
        super().__init__(pickle_fallback=False, allowed_msgpack_modules=None)
        self.forms: list[str] = []

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        form, data = super().dumps_typed(obj)
        self.forms.append(form)
        return form, data


@pytest.fixture
def serde(monkeypatch: pytest.MonkeyPatch) -> Watched:
    monkeypatch.setenv("LANGGRAPH_STRICT_MSGPACK", "true")
    return Watched()


@tool
def refund(order: int) -> str:
    """Refund an order."""
    return "done"


def plain(value: Any) -> None:
    """Check that a value is JSON, save for messages, which LangGraph itself knows."""
    if isinstance(value, list) and any(isinstance(each, BaseMessage) for each in value):
        assert all(isinstance(each, BaseMessage) for each in value)
        return
    assert json.loads(json.dumps(value)) == value


CASES: dict[str, Any] = {
    "an outage, an empty answer, then an answer": {
        "nano": fail(ConnectionError("down")),
        "mini": say(""),
        "flagship": say("f"),
    },
    "an answer that is cut off": {
        "nano": say("cut", "length"),
        "mini": say("m", "length"),
        "flagship": say("f", "length"),
    },
    "nothing that is accepted": {"nano": say(""), "mini": say(""), "flagship": say("")},
    "a bug": {"nano": fail(ZeroDivisionError("bug")), "mini": say("m"), "flagship": say("f")},
    "a tool loop": {"nano": say("n"), "mini": call_then("refund", {"order": 7}, say("m")), "flagship": say("f")},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("request_", [LABEL, REFUND])
@pytest.mark.parametrize("budget", [None, Budget(run_limit_usd=1.0)])
def test_all_that_is_stored_is_plain_whatever_becomes_of_a_run(
    run: Any, serde: Watched, case: str, request_: str, budget: Budget | None
) -> None:
    saver = InMemorySaver(serde=serde)
    agent = create_tiered_agent(tiers(**CASES[case]), tools=[refund], budget=budget, checkpointer=saver)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # LangGraph warns of what a later version will not read
        for _ in range(2):
            try:
                run(agent, ask(request_), THREAD)
            except (NoAnswerAcceptedError, ZeroDivisionError):
                continue
    _holds_plain_values(saver, serde)


def test_an_interrupted_run_is_stored_plainly_and_resumed_from_it(run: Any, serde: Watched) -> None:
    saver = InMemorySaver(serde=serde)
    policy = Policy(on_no_answer="ask")
    agent = create_tiered_agent(tiers(nano=say(""), mini=say("")), policy=policy, checkpointer=saver)
    assert "__interrupt__" in run(agent, ask(LABEL), THREAD)
    _holds_plain_values(saver, serde)
    edit = {"type": "edit", "edited_action": {"name": "answer", "args": {"text": "By hand."}}}
    assert run(agent, Command(resume={"decisions": [edit]}), THREAD)["messages"][-1].text == "By hand."
    _holds_plain_values(saver, serde)


def _holds_plain_values(saver: InMemorySaver, serde: Watched) -> None:
    assert set(serde.forms) <= {"msgpack", "null", "empty"}
    stored = list(saver.list(None))
    assert stored
    for each in stored:
        for name, value in each.checkpoint["channel_values"].items():
            assert name not in {"error", "meter"}
            if not name.startswith(("__", "branch:")):
                plain(value)
        for _, name, value in each.pending_writes or ():
            assert name not in {"error", "meter"}
            if not name.startswith(("__", "branch:")):
                plain(value.value if isinstance(value, Overwrite) else value)
