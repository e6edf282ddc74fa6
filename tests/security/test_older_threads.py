"""A thread that an older version stored: its ledger lacks what is told today, and is read all the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fakes import LABEL, PROOF, ask, fail, say, tiers
from hypothesis import given
from hypothesis import strategies as st
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver

from langchain_tiered import Ledger, Policy, TierRouterMiddleware, create_tiered_agent
from langchain_tiered.accounting import book
from langchain_tiered.errors import InvalidInputError
from langchain_tiered.types import LedgerEntry

THREAD: Any = {"configurable": {"thread_id": "1"}}
WHOLE: Any = LedgerEntry(
    id="a",
    run_id="r",
    task_id=None,
    role="answer",
    tier="nano",
    model="gpt-5.4-nano",
    input_tokens=1000,
    cached_tokens=0,
    output_tokens=100,
    reasoning_tokens=0,
    cost_usd=0.25,
    latency_s=1.0,
    outcome="accepted",
)
FIGURES = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "cost_usd", "latency_s")


def without(*keys: str) -> Any:
    return {key: value for key, value in WHOLE.items() if key not in keys}


OLDER: list[Any] = [without(key) for key in WHOLE] + [{}, {"cost_usd": 0.25}, {"id": "a"}, without(*FIGURES)]


def everything(ledger: Ledger) -> list[Any]:
    """Ask all that a ledger can say."""
    groups = [ledger.by_run(), ledger.by_tier(), ledger.by_role()]
    return [
        repr(ledger),
        ledger.total_usd,
        ledger.unpriced,
        ledger.malformed_rate,
        ledger.usage(),
        ledger.baseline_usd("openai:gpt-5.4"),
        ledger.saved_usd("openai:gpt-5.4"),
        [repr(each) for group in groups for each in group.values()],
        repr(ledger.last_run()),
        repr(ledger + ledger),
    ]


@pytest.mark.parametrize("older", OLDER)
def test_a_ledger_says_all_it_can_of_an_older_entry(older: Any) -> None:
    ledger = Ledger([older])
    assert everything(ledger)
    (entry,) = ledger.entries
    assert set(entry) == set(WHOLE)
    told: Any = entry
    assert {key: told[key] for key in older} == older


@pytest.mark.parametrize("figure", FIGURES)
def test_a_missing_figure_is_unknown_and_never_zero(figure: str) -> None:
    (entry,) = Ledger([without(figure)]).entries
    told: Any = entry
    assert told[figure] is None


def test_a_missing_cost_makes_the_sum_unknown_and_names_the_model() -> None:
    entries: list[Any] = [WHOLE, {**without("cost_usd"), "id": "b"}, {"id": "c"}]
    ledger = Ledger(entries)
    assert ledger.total_usd is None
    assert ledger.unpriced == ("gpt-5.4-nano", "unknown")
    assert ledger.saved_usd("openai:gpt-5.4") is None


def test_entries_without_an_id_are_all_kept_and_none_is_booked_twice() -> None:
    nameless: list[Any] = [{"cost_usd": 1.0}, {"cost_usd": 1.0}, {"cost_usd": 2.0}, {"cost_usd": 4.0}]
    once = book(nameless[:2], nameless[2:3])
    assert [entry["cost_usd"] for entry in once] == [1.0, 1.0, 2.0]
    assert book(once, once) == once
    assert Ledger(book(once, [WHOLE, nameless[3]])).total_usd == 8.25


SOME = st.lists(st.fixed_dictionaries({}, optional={key: st.just(value) for key, value in WHOLE.items()}), max_size=5)


@given(left=SOME, right=SOME)
def test_the_reducer_makes_whatever_is_stored_whole(left: list[Any], right: list[Any]) -> None:
    booked = book(left, right)
    assert all(set(entry) == set(WHOLE) for entry in booked)
    assert book(booked, []) == booked
    assert len({entry["id"] for entry in booked}) == len(booked)


@pytest.mark.parametrize("older", OLDER)
def test_an_agent_goes_on_with_a_thread_of_an_older_version(run: Any, older: Any) -> None:
    agent = create_tiered_agent(tiers(nano=say(""), mini=say("m")), checkpointer=InMemorySaver())
    agent.update_state(THREAD, {"messages": [("user", "hi"), ("ai", "hello")]})
    _store(agent, [older])
    result = run(agent, ask(LABEL), THREAD)
    assert result["messages"][-1].text == "m"
    assert [entry["outcome"] for entry in result["ledger"][1:]] == ["rejected", "accepted"]
    assert everything(Ledger(result["ledger"]))
    assert all({*WHOLE} <= {*entry} for entry in agent.get_state(THREAD).values["ledger"])


@pytest.mark.parametrize("older", OLDER)
def test_an_error_in_such_a_thread_is_the_errors_own_and_has_the_runs_ledger(run: Any, older: Any) -> None:
    agent = create_tiered_agent(tiers(nano=fail(ZeroDivisionError("a bug"))), checkpointer=InMemorySaver())
    agent.update_state(THREAD, {"messages": [("user", "hi"), ("ai", "hello")]})
    _store(agent, [older])
    with pytest.raises(ZeroDivisionError, match="a bug") as caught:
        run(agent, ask(LABEL), THREAD)
    told: Any = caught.value
    assert [entry["tier"] for entry in told.ledger] == ["nano"]


def test_a_request_that_is_refused_in_such_a_thread_is_told_as_what_it_is(run: Any) -> None:
    agent = create_tiered_agent(tiers(nano=say("n")), checkpointer=InMemorySaver())
    agent.update_state(THREAD, {"messages": [("user", "hi"), ("ai", "hello")]})
    _store(agent, [without("run_id")])
    with pytest.raises(InvalidInputError):
        run(agent, ask(""), THREAD)


@pytest.mark.parametrize("older", OLDER)
def test_an_agent_of_langchain_goes_on_with_such_a_thread(run: Any, older: Any) -> None:
    given_ = tiers(nano=say("n"), mini=say("m"))
    agent: Any = create_agent(
        given_[0].model, [], middleware=[TierRouterMiddleware(given_, classifier=None)], checkpointer=InMemorySaver()
    )
    agent.update_state(THREAD, {"messages": [("user", "hi"), ("ai", "hello")]}, as_node="model")
    _store(agent, [older])
    result = run(agent, ask(LABEL), THREAD)
    assert len(result["ledger"]) == 2
    assert everything(Ledger(result["ledger"]))


@pytest.mark.parametrize("route", [{"tier": "mini"}, {"tier": "mini", "task": None, "confidence": None}])
def test_a_route_of_an_older_version_on_a_message_is_a_latch_all_the_same(run: Any, route: Any) -> None:
    agent = create_tiered_agent(tiers(nano=say("n"), mini=say("m")))
    said = AIMessage("hello", response_metadata={"route": route})
    result = run(agent, {"messages": [HumanMessage("hi"), said, HumanMessage(LABEL)]})
    assert (result["route"]["tier"], result["route"]["decided_by"]) == ("mini", "latch")


def test_a_route_in_state_that_lacks_keys_does_not_reach_the_next_turn(run: Any) -> None:
    agent = create_tiered_agent(
        tiers(nano=say("n"), mini=say("m")), policy=Policy(reroute="turn"), checkpointer=InMemorySaver()
    )
    agent.update_state(THREAD, {"messages": [("user", "hi"), ("ai", "hello")], "route": {"tier": "gone"}})
    result = run(agent, ask(PROOF), THREAD)
    assert result["route"]["tier"] == "mini"
    assert json.dumps(result["route"])


def _store(agent: Any, ledger: list[Any]) -> None:
    """Put entries into the stored thread as they are, past today's reducer."""
    saver = agent.checkpointer
    stored = saver.get_tuple(THREAD)
    checkpoint = stored.checkpoint
    version = saver.get_next_version(None, None)
    checkpoint["channel_values"]["ledger"] = ledger
    checkpoint["channel_versions"]["ledger"] = version
    config = {"configurable": {**THREAD["configurable"], "checkpoint_ns": ""}}
    saver.put(config, checkpoint, stored.metadata, {"ledger": version})
