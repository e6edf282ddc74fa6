"""What a recorder books of a call, and what it knows of it afterwards."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from fakes import ScriptedModel, call_then, model, say
from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.caches import InMemoryCache
from langchain_core.language_models.fake import FakeListLLM
from langchain_core.messages import AIMessage
from langchain_core.outputs import Generation, LLMResult
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from unit.accounting.fakes_accounting import ASK, MINI_USD, USAGE, answer, booked, loop_metadata, mini, under

from langchain_tiered.accounting import (
    Ledger,
    Recorder,
    call_metadata,
    collect_ledger,
    recorder_in,
    recording,
)
from langchain_tiered.types import Rates, Tier

if TYPE_CHECKING:
    from collections.abc import Iterable

    from langchain_core.runnables import RunnableConfig

    from langchain_tiered.types import LedgerEntry


def test_call_becomes_one_entry_with_all_that_is_known() -> None:
    recorder = Recorder()
    tier = Tier("mini", "openai:gpt-5.4-mini", criteria="x")
    metadata = call_metadata(role="answer", tier=tier, run_id="run", task_id="task")
    mini().invoke("hi", under(recorder, **metadata))
    (entry,) = recorder.entries
    latency_s = entry["latency_s"]
    assert latency_s is not None
    assert 0 < latency_s < 5
    assert entry == {
        "id": entry["id"],
        "run_id": "run",
        "task_id": "task",
        "role": "answer",
        "tier": "mini",
        "model": "gpt-5.4-mini",
        "input_tokens": 1_000,
        "cached_tokens": None,
        "output_tokens": 100,
        "reasoning_tokens": None,
        "cost_usd": pytest.approx(MINI_USD),
        "latency_s": latency_s,
        "outcome": "rejected",
    }
    assert json.loads(json.dumps(entry)) == entry


def test_call_outside_our_graphs_has_no_tier_and_no_run() -> None:
    entry = booked(ends_with=answer(AIMessage("x")), tier="gold customer")
    assert (entry["role"], entry["tier"], entry["run_id"]) == ("other", None, None)


def _nested(kind: str) -> tuple[Any, ScriptedModel]:
    if kind == "lambda":
        paid = mini()

        def call(_: object) -> AIMessage:
            return paid.invoke("hi")

        return RunnableLambda(lambda asked: RunnableLambda(call).invoke(asked)), paid
    if kind == "graph":
        paid = mini()
        inner = StateGraph(MessagesState).add_node("m", lambda s: {"messages": [paid.invoke(s["messages"])]})
        outer = StateGraph(MessagesState).add_node("sub", inner.add_edge(START, "m").compile())
        return outer.add_edge(START, "sub").compile(), paid

    @tool
    def look(place: str) -> str:
        """Look a place up."""
        return place

    paid = mini(call_then("look", {"place": "France"}, say("Paris.")))
    return create_agent(paid, tools=[look]), paid


@pytest.mark.parametrize("kind", ["lambda", "graph", "agent"])
@pytest.mark.parametrize("is_async", [False, True])
async def test_each_call_is_booked_once_when_nested(kind: str, *, is_async: bool) -> None:
    runnable, paid = _nested(kind)
    recorder = Recorder()
    with collect_ledger() as ledger:
        if is_async:
            await runnable.ainvoke(ASK, under(recorder))
        else:
            runnable.invoke(ASK, under(recorder))
    assert paid.calls == len(recorder.entries) == len(ledger) > 0
    assert ledger.total_usd == pytest.approx(paid.calls * MINI_USD)


def test_two_recorders_book_the_same_entries_under_the_same_ids() -> None:
    one, two = Recorder(), Recorder()
    mini().invoke("hi", recording(under(one), two, {"tiered_role": "answer", "tiered_run_id": "r"}))
    ((first,), (second,)) = one.entries, two.entries
    assert {**first, "latency_s": 0} == {**second, "latency_s": 0}


def test_recorder_put_in_twice_books_once() -> None:
    recorder = Recorder()
    mini().invoke("hi", {"callbacks": [recorder, recorder]})
    assert [entry["model"] for entry in recorder.entries] == ["gpt-5.4-mini"]
    assert recording(under(recorder), recorder, {})["callbacks"] == [recorder]


def test_answer_that_calls_tools_is_a_tool_turn() -> None:
    good = AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "1"}])
    bad = AIMessage(
        "", invalid_tool_calls=[{"name": "f", "args": "{", "id": "1", "error": None, "type": "invalid_tool_call"}]
    )
    for message in (good, bad):
        assert booked(ends_with=answer(message))["outcome"] == "tool_turn"


def test_several_choices_are_counted_once() -> None:
    usage: Any = {"input_tokens": 1_000, "output_tokens": 100, "total_tokens": 1_100}
    entry = booked(ends_with=answer(*(AIMessage(text, usage_metadata=usage) for text in "abc")))
    assert (entry["input_tokens"], entry["output_tokens"]) == (1_000, 100)


@pytest.mark.parametrize("place", ["llm_output", "response_metadata"])
def test_usage_is_found_where_the_message_has_none(place: str) -> None:
    usage = {"prompt_tokens": 1_000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 7}}
    told = {"token_usage": usage, "model_name": "gpt-5.4-mini"}
    result = (
        answer(AIMessage("x"), llm_output=told)
        if place == "llm_output"
        else answer(AIMessage("x", response_metadata=told))
    )
    entry = booked(ends_with=result, ls_provider="openai")
    assert (entry["model"], entry["input_tokens"], entry["cached_tokens"]) == ("gpt-5.4-mini", 1_000, 7)
    assert entry["cost_usd"] == pytest.approx(MINI_USD - 7 * 0.675e-6)


def test_unreported_usage_and_unknown_model_are_unknown_and_not_free() -> None:
    silent = booked(ends_with=answer(AIMessage("x")), ls_model_name="gpt-5.4-mini")
    strange = booked(ends_with=answer(AIMessage("x", usage_metadata=USAGE)), ls_model_name="house-model")
    assert (silent["model"], silent["input_tokens"], silent["cost_usd"]) == ("gpt-5.4-mini", None, None)
    assert (strange["model"], strange["input_tokens"], strange["cost_usd"]) == ("house-model", 1_000, None)


def test_plain_text_model_is_booked() -> None:
    recorder = Recorder()
    FakeListLLM(responses=["x"]).invoke("hi", under(recorder))
    (entry,) = recorder.entries
    assert (entry["outcome"], entry["cost_usd"]) == ("accepted", None)
    usage = {"token_usage": {"prompt_tokens": 1_000, "completion_tokens": 100}, "model_name": "gpt-5.4-mini"}
    plain = LLMResult(generations=[[Generation(text="x")]], llm_output=usage)
    assert booked(ends_with=plain)["cost_usd"] == pytest.approx(MINI_USD)


def test_answer_from_langchains_cache_is_free() -> None:
    recorder, paid = Recorder(), mini(cache=InMemoryCache())
    for _ in range(2):
        paid.invoke("hi", under(recorder))
    assert paid.calls == 1
    first, second = recorder.entries
    assert first["cost_usd"] == pytest.approx(MINI_USD)
    assert (second["cost_usd"], second["input_tokens"], second["output_tokens"]) == (0.0, 0, 0)
    assert Ledger(recorder.entries).baseline_usd("openai:gpt-5.4-mini") == pytest.approx(MINI_USD)


def test_unpriced_answer_from_langchains_cache_is_free_too() -> None:
    replayed = AIMessage("x").model_copy(update={"usage_metadata": {"total_cost": 0}})
    assert booked(ends_with=answer(replayed))["cost_usd"] == 0.0


# What a call was for, and on whose terms.


NANO_LOOP = {"langgraph_node": "model", "langgraph_checkpoint_ns": "nano:1|model:2"}


@pytest.mark.parametrize(
    ("metadata", "role"),
    [
        ({}, "other"),
        ({"lc_source": "summarization"}, "summarize"),
        ({**loop_metadata(), **NANO_LOOP, "lc_source": "summarization"}, "summarize"),
        ({**loop_metadata(), **NANO_LOOP, "lc_source": "tool_selection"}, "other"),
        ({**loop_metadata(), **NANO_LOOP}, "answer"),
        ({**loop_metadata(), "langgraph_node": "model", "langgraph_checkpoint_ns": "nano:1|1|model:2"}, "answer"),
        ({**loop_metadata(), "langgraph_node": "model", "langgraph_checkpoint_ns": "model:2"}, "answer"),
        ({**loop_metadata(), "langgraph_node": "tools", "langgraph_checkpoint_ns": "nano:1|tools:2"}, "other"),
        ({**loop_metadata(), "langgraph_node": "model", "langgraph_checkpoint_ns": "nano:1|tools:2|model:3"}, "other"),
        ({**call_metadata(role="judge", tier=None, run_id="r"), "langgraph_node": "check"}, "judge"),
    ],
)
def test_role_is_read_off_the_calls_metadata(metadata: dict[str, Any], role: str) -> None:
    assert booked(ends_with=answer(AIMessage("x")), **metadata)["role"] == role


def test_tool_and_sub_agent_of_a_loop_are_no_answers_of_its_tier() -> None:
    helper: Any = create_agent(model("flagship", say("Helped.")))
    direct = model("flagship", say("Looked."))

    @tool
    def look(place: str) -> str:
        """Look a place up."""
        helper.invoke({"messages": [("user", place)]})
        return direct.invoke(place).text

    loop: Any = create_agent(mini(call_then("look", {"place": "France"}, say("Paris."))), tools=[look])
    recorder = Recorder()

    def nano(state: MessagesState, config: RunnableConfig) -> Any:
        told = loop_metadata(price_factor=0.5)
        return [loop.invoke(state, recording(config, recorder, told)) for _ in range(2)][-1]

    graph: Any = StateGraph(MessagesState).add_node("nano", nano).add_edge(START, "nano").compile()
    graph.invoke(ASK)
    visit: Any = [("answer", MINI_USD / 2), ("other", 0.004), ("other", 0.004), ("answer", MINI_USD / 2)]
    assert [(entry["role"], pytest.approx(entry["cost_usd"])) for entry in recorder.entries] == visit * 2
    assert {entry["tier"] for entry in recorder.entries} == {"nano"}


def test_langchains_summaries_are_booked_as_such_and_not_on_the_tiers_terms() -> None:
    summaries = SummarizationMiddleware(
        model("flagship", say("A summary.")), trigger=("messages", 3), keep=("messages", 1)
    )
    loop: Any = create_agent(mini(), middleware=[summaries])
    recorder = Recorder()
    long = {"messages": [("user", "one"), ("ai", "two"), ("user", "three"), ("ai", "four"), ("user", "five")]}
    loop.invoke(long, recording({}, recorder, loop_metadata(price_factor=0.5)))
    assert [(entry["role"], entry["model"]) for entry in recorder.entries] == [
        ("summarize", "gpt-5.4"),
        ("answer", "gpt-5.4-mini"),
    ]
    assert [entry["cost_usd"] for entry in recorder.entries] == pytest.approx([0.004, MINI_USD / 2])


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({"price_factor": 1.1}, MINI_USD * 1.1),
        ({"rates": Rates(1, 10)}, 0.002),
        ({"rates": Rates(1, 10), "price_factor": 0.5}, 0.001),
        ({"rates": "openai:gpt-5.4"}, 0.004),
    ],
    ids=str,
)
def test_tiers_terms_hold_for_its_own_calls_alone(terms: dict[str, Any], expected: float) -> None:
    told: dict[str, Any] = json.loads(json.dumps(loop_metadata(**terms)))  # what travels in metadata is plain
    result = answer(AIMessage("x", usage_metadata=USAGE, response_metadata={"model_name": "gpt-5.4-mini"}))
    assert booked(ends_with=result, **{**told, **NANO_LOOP})["cost_usd"] == pytest.approx(expected)
    assert booked(ends_with=result, **told, langgraph_node="tools")["cost_usd"] == pytest.approx(MINI_USD)
    for role in ("judge", "plan", "review"):
        assert booked(ends_with=result, **{**told, "tiered_role": role})["cost_usd"] == pytest.approx(expected)
    assert booked(ends_with=result, **{**told, "tiered_role": "summarize"})["cost_usd"] == pytest.approx(MINI_USD)


def test_inner_agent_does_not_inherit_the_outer_tiers_terms_but_does_its_task() -> None:
    outer = call_metadata(
        role="answer", tier=Tier("a", "x", criteria="", rates=Rates(9, 9)), run_id="1", task_id="t", loop=True
    )
    inner = call_metadata(role="answer", tier=Tier("b", "x", criteria=""), run_id="2")
    result = answer(AIMessage("x", usage_metadata=USAGE, response_metadata={"model_name": "gpt-5.4-mini"}))
    entry = booked(ends_with=result, **{**outer, **inner}, langgraph_node="b")
    assert (entry["role"], entry["tier"], entry["run_id"], entry["task_id"]) == ("answer", "b", "2", "t")
    assert entry["cost_usd"] == pytest.approx(MINI_USD)


# The recorder's own.


def test_drain_returns_each_entry_once_and_again_when_booked_again() -> None:
    recorder = Recorder()
    mini().invoke("hi", under(recorder))
    (entry,) = recorder.drain()
    assert recorder.drain() == []
    mini().invoke("hi", under(recorder))
    recorder.book([{**entry, "outcome": "rejected"}])
    assert [one["outcome"] for one in recorder.drain()] == ["accepted", "rejected"]
    assert [one["outcome"] for one in recorder.entries] == ["rejected", "accepted"]


def test_drain_returns_the_newest_form_of_an_entry_booked_twice_before_it() -> None:
    recorder = Recorder()
    mini().invoke("hi", under(recorder))
    recorder.book([{**recorder.entries[0], "outcome": "rejected"}])
    assert [one["outcome"] for one in recorder.drain()] == ["rejected"]


async def test_async_call_is_booked_in_the_loops_own_thread() -> None:
    threads: list[int] = []

    class _Watched(Recorder):
        def book(self, entries: Iterable[LedgerEntry]) -> None:
            threads.append(threading.get_ident())
            super().book(entries)

    await mini().ainvoke("hi", under(_Watched()))
    assert threads == [threading.get_ident()]


def test_answered_is_the_newest_answer_whatever_came_after_it() -> None:
    recorder = Recorder()
    assert recorder.answered is None
    for role in ("answer", "judge"):
        mini().invoke("hi", under(recorder, tiered_role=role))
    assert recorder.answered == recorder.entries[0]


def test_draining_threads_lose_and_double_nothing() -> None:
    recorder, drained = Recorder(), []
    runs = [
        threading.Thread(target=lambda: [mini().invoke("hi", under(recorder)) for _ in range(25)]) for _ in range(4)
    ]
    for run in runs:
        run.start()
    while any(run.is_alive() for run in runs):
        drained += recorder.drain()
    drained += recorder.drain()
    assert len(drained) == len({entry["id"] for entry in drained}) == 100


def test_recording_keeps_the_config_and_leaves_the_given_one_alone() -> None:
    seen: list[RunnableConfig] = []
    outer, inner = Recorder(), Recorder()

    def node(state: MessagesState, config: RunnableConfig) -> Any:
        before = {**config, "metadata": dict(config["metadata"])}
        seen.extend([config, recording(config, inner, {"tier": "nano"})])
        assert {**config, "metadata": dict(config["metadata"])} == before

    graph: Any = StateGraph(MessagesState).add_node("node", node).add_edge(START, "node").compile()
    with collect_ledger():
        graph.invoke(ASK, under(outer, mine=1))
        given, made = seen
        assert (recorder_in(given), recorder_in(made), recorder_in({})) == (outer, inner, None)
    assert made["metadata"] == {**given["metadata"], "tier": "nano"}
    others = given.keys() - {"metadata", "callbacks"}
    assert {key: made[key] for key in others} == {key: given[key] for key in others}  # type: ignore[literal-required]
    assert "__pregel_send" in made["configurable"]
