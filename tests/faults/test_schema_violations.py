"""Genuine tool calls, good and bad, against the schemas that their requests declared: what `valid_tool_calls` finds.

Each reply is served as it is to a real client, and what the client reads is judged with the recorded tools, as plain
dicts. The counts are asserted exactly: a check that finds less, or rejects more, is to be looked at.
"""

from __future__ import annotations

import json
import re
from functools import reduce
from itertools import chain
from operator import add
from typing import TYPE_CHECKING, Any

import pytest
from genuine import ABSENT, Recording, recordings, violations
from langchain_core.messages import AIMessage
from langchain_core.messages.tool import tool_call
from langchain_openai import ChatOpenAI

from langchain_tiered.cascade.checks import CheckInput
from langchain_tiered.cascade.validity import problems_of, valid_tool_calls
from langchain_tiered.offline.server import OfflineServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Read = Callable[[Recording], AIMessage]

BAD = violations()
RECORDED = {each.id: each for each in recordings()}
if not (BAD and RECORDED):
    pytest.skip(ABSENT, allow_module_level=True)

BREAKS = "ARGS_SCHEMA_VIOLATION"
TAGGED = {"rec005", "rec006", "rec028", "rec035"}
"""Recordings that the collection says break their schema."""

UNREAD = {
    "rec008": "the client mixes the calls of two choices into one that is no JSON",
    "rec057": "a call of a custom tool, on which the client raises",
}
"""Recordings whose calls the client does not hand on as they were made."""

GOOD = [
    each
    for each in RECORDED.values()
    if each.tools and "tool_calls" in each.tags and BREAKS not in each.tags and each.id not in UNREAD
]
ENTRIES = {**{each.id: each for each in BAD}, **RECORDED}


@pytest.fixture(scope="module")
def read() -> Iterator[Read]:
    """Read a recorded reply by a real client."""
    with OfflineServer(script={name: [each.entry] for name, each in ENTRIES.items()}) as server:
        first = ChatOpenAI(model="first", base_url=server.url, api_key="x", max_retries=0)

        def answer(recording: Recording) -> AIMessage:
            server.reset()
            model = first.model_copy(
                update={"model_name": recording.id, "use_responses_api": recording.api == "responses"}
            )
            if not recording.is_stream:
                return model.invoke("Go on.")
            return reduce(add, model.stream("Go on."))

        yield answer


def given(recording: Recording, answer: AIMessage) -> CheckInput:
    return CheckInput([], answer, tools=recording.tools)


def calls_with_a_result(recording: Recording) -> list[tuple[str, dict[str, Any]]]:
    """Return the calls in the request's history whose tool ran, as its result beside them shows."""
    results = {item.get("tool_call_id") or item.get("call_id") for item in recording.before if is_result(item)}
    nested = chain.from_iterable(message.get("tool_calls") or () for message in recording.before)
    calls = [(call["id"], call["function"]) for call in nested]
    calls += [(item["call_id"], item) for item in recording.before if item.get("type") == "function_call"]
    return [(call["name"], json.loads(call["arguments"])) for call_id, call in calls if call_id in results]


def is_result(item: dict[str, Any]) -> bool:
    return item.get("role") == "tool" or item.get("type") == "function_call_output"


def texts_in(value: Any) -> set[str]:
    """Return the long texts of arguments, which no sentence may hold."""
    if isinstance(value, dict):
        return set().union(*map(texts_in, value.values()))
    if isinstance(value, list):
        return set().union(*map(texts_in, value))
    return {value} if isinstance(value, str) and len(value) > 12 else set()


def test_the_collection_is_the_one_that_was_counted() -> None:
    assert len(BAD) == 73
    assert all(len(each.calls) == 1 and each.tools for each in BAD)
    assert {each.id for each in RECORDED.values() if BREAKS in each.tags} == TAGGED
    assert UNREAD.keys() <= RECORDED.keys()


def test_every_call_that_breaks_its_schema_is_found(read: Read, capsys: pytest.CaptureFixture[str]) -> None:
    missed, quoted = [], []
    for recording in BAD:
        answer = read(recording)
        ((name, arguments),) = recording.calls
        assert [(call["name"], call["args"]) for call in answer.tool_calls] == recording.calls
        verdict = valid_tool_calls(given(recording, answer))
        if verdict["accepted"]:
            missed.append(recording.id)
            continue
        assert re.match(rf"{name}: .*('.+' (is required|must )).*\.$", verdict["reason"])
        assert problems_of(answer, recording.tools) == {answer.tool_calls[0]["id"]: verdict["reason"]}
        quoted += [recording.id for text in texts_in(arguments) if text in verdict["reason"]]
    with capsys.disabled():
        print(f"\n{len(BAD) - len(missed)} of {len(BAD)} calls that break their schema found")  # noqa: T201  (the count)
    assert not missed
    assert not quoted


@pytest.mark.parametrize("name", sorted(TAGGED))
def test_a_recording_that_is_tagged_as_breaking_its_schema_is_rejected(name: str, read: Read) -> None:
    recording = RECORDED[name]
    verdict = valid_tool_calls(given(recording, read(recording)))
    assert not verdict["accepted"]
    assert verdict["reason"].startswith(f"{recording.calls[0][0]}: ")


def test_good_calls_pass(read: Read, capsys: pytest.CaptureFixture[str]) -> None:
    rejected, count, streamed, responses = dict[str, str](), 0, 0, 0
    for recording in GOOD:
        answer = read(recording)
        assert [(call["name"], call["args"]) for call in answer.tool_calls] == recording.calls
        assert recording.calls
        count += len(recording.calls)
        streamed, responses = streamed + recording.is_stream, responses + (recording.api == "responses")
        verdict = valid_tool_calls(given(recording, answer))
        if not verdict["accepted"]:
            rejected[recording.id] = verdict["reason"]
    with capsys.disabled():
        print(f"\n{count} good calls in {len(GOOD)} answers, {len(rejected)} answers rejected")  # noqa: T201  (the count)
    assert (len(GOOD), count, streamed, responses) == (24, 37, 9, 11)
    assert not rejected


def test_calls_whose_tools_have_run_pass(capsys: pytest.CaptureFixture[str]) -> None:
    calls = [(each, call) for each in RECORDED.values() if each.tools for call in calls_with_a_result(each)]
    rejected = {}
    for recording, (name, arguments) in calls:
        answer = AIMessage("", tool_calls=[tool_call(name=name, args=arguments, id="call_1")])
        verdict = valid_tool_calls(given(recording, answer))
        if not verdict["accepted"]:
            rejected[recording.id] = verdict["reason"]
    with capsys.disabled():
        print(f"\n{len(calls)} calls in histories, {len(rejected)} rejected")  # noqa: T201  (the count)
    assert len(calls) == 10
    assert not rejected


def test_a_good_call_that_lacks_a_required_field_is_found() -> None:
    dropped = 0
    for recording in GOOD:
        functions = [each.get("function", each) for each in recording.tools]
        required = {each["name"]: each["parameters"].get("required", []) for each in functions}
        for name, arguments in recording.calls:
            for lost in required[name]:
                call = tool_call(name=name, args={key: arguments[key] for key in arguments if key != lost}, id="call_1")
                verdict = valid_tool_calls(given(recording, AIMessage("", tool_calls=[call])))
                assert (verdict["accepted"], verdict["reason"]) == (False, f"{name}: '{lost}' is required.")
                dropped += 1
    assert dropped == 33


def test_any_call_is_rejected_where_its_tool_is_not_given(read: Read) -> None:
    verdict = valid_tool_calls(CheckInput([], read(BAD[0])))
    assert verdict["reason"] == f"It called {BAD[0].calls[0][0]!r}, but it was given no tools."
