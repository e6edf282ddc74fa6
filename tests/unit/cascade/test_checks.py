"""The checks: what each provider's form of an answer means, which checks hold where, and how they are asked."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.messages.tool import invalid_tool_call, tool_call
from langgraph.errors import GraphInterrupt

from langchain_tiered.cascade.checks import Check, CheckInput, finished, not_empty, not_refused
from langchain_tiered.cascade.verdicts import BUILT_IN, Checks, averdict_of, verdict_of
from langchain_tiered.errors import ConfigurationError, UnknownTaskError
from langchain_tiered.types import Tier, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from langchain_tiered.types import Task

    Judge = Callable[[Sequence[Check], CheckInput, Mapping[str, float]], Verdict]


def says(content: Any = "Yes.", /, **metadata: Any) -> AIMessage:
    return AIMessage(content, response_metadata=metadata)


def incomplete(**details: Any) -> AIMessage:
    return says(status="incomplete", incomplete_details=details)


CALL = tool_call(name="refund", args={"order": 1042}, id="call_1")
BROKEN_CALL = invalid_tool_call(name="refund", args='{"order": 10', id="call_1", error="cut off")
REFUSAL = {"type": "refusal", "refusal": "I can't help with that."}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
TOOL_USE = {"type": "tool_use", "id": "call_1", "name": "refund", "input": {}}
CUT, REFUSED, EMPTY = "finished", "not_refused", "not_empty"

# Each form, and the built-in checks that reject it.
FORMS: dict[str, tuple[AIMessage, set[str]]] = {
    "chat stop": (says(finish_reason="stop"), set()),
    "chat tool calls": (AIMessage("", tool_calls=[CALL], response_metadata={"finish_reason": "tool_calls"}), set()),
    "chat length": (says(finish_reason="length"), {CUT}),
    "chat length, all spent on reasoning": (says("", finish_reason="length"), {CUT, EMPTY}),
    "chat refusal": (AIMessage("", additional_kwargs={"refusal": "No."}), {REFUSED, EMPTY}),
    "chat refusal null": (AIMessage("Yes.", additional_kwargs={"refusal": None}), set()),
    "chat content filter": (says("Half an", finish_reason="content_filter"), {REFUSED}),
    "chat audio only": (AIMessage("", additional_kwargs={"audio": {"id": "audio_1"}}), set()),
    "responses completed": (says([{"type": "text", "text": "Yes."}], status="completed"), set()),
    "responses cut off": (incomplete(reason="max_output_tokens"), {CUT}),
    "responses cut off, not told why": (incomplete(), {CUT}),
    "responses cut off, without details": (says(status="incomplete", incomplete_details=None), {CUT}),
    "responses content filter": (incomplete(reason="content_filter"), {REFUSED}),
    "responses refusal": (says([REFUSAL], status="completed"), {REFUSED, EMPTY}),
    "responses refusal after text": (says([{"type": "text", "text": "Well."}, REFUSAL]), {REFUSED}),
    "responses reasoning only": (says([{"type": "reasoning", "summary": []}], status="completed"), {EMPTY}),
    "responses malformed call only": (says([{"type": "function_call", "arguments": "{"}]), {EMPTY}),
    "responses image generated": (says([{"type": "image_generation_call", "result": "AA=="}]), set()),
    "anthropic end_turn": (says(stop_reason="end_turn"), set()),
    "anthropic max_tokens": (says(stop_reason="max_tokens"), {CUT}),
    "anthropic refusal": (says("", stop_reason="refusal"), {REFUSED, EMPTY}),
    "anthropic thinking only": (says([{"type": "thinking", "thinking": "Hm."}]), {EMPTY}),
    "anthropic redacted thinking only": (says([{"type": "redacted_thinking", "data": "AA=="}]), {EMPTY}),
    "gemini STOP": (says(finish_reason="STOP"), set()),
    "gemini MAX_TOKENS": (says(finish_reason="MAX_TOKENS"), {CUT}),
    "gemini SAFETY": (says("", finish_reason="SAFETY"), {REFUSED, EMPTY}),
    "gemini PROHIBITED_CONTENT": (says(finish_reason="PROHIBITED_CONTENT"), {REFUSED}),
    "mistral model_length": (says(finish_reason="model_length"), {CUT}),
    "ollama length": (says(done_reason="length"), {CUT}),
    "one character": (says("7"), set()),
    "nothing": (says(""), {EMPTY}),
    "no blocks": (says([]), {EMPTY}),
    "whitespace": (says(" \n\t "), {EMPTY}),
    "whitespace block": (says([{"type": "text", "text": " \n"}]), {EMPTY}),
    "plain strings as blocks": (says(["Yes."]), set()),
    "image only": (says([IMAGE]), set()),
    "sounds like a refusal, is an answer": (says("I'm sorry, I can't find order 7."), set()),
    "malformed calls only": (AIMessage("", invalid_tool_calls=[BROKEN_CALL]), {EMPTY}),
}
RARER_FORMS: dict[str, tuple[AIMessage, set[str]]] = {
    "v1 refusal": (says([{"type": "non_standard", "value": REFUSAL}]), {REFUSED, EMPTY}),
    "v1 malformed call only": (says([{**BROKEN_CALL}]), {EMPTY}),
    "anthropic malformed call only": (AIMessage([TOOL_USE], invalid_tool_calls=[BROKEN_CALL]), {EMPTY}),
    "responses cut off, reason null": (incomplete(reason=None), {CUT}),
    "openai stream cut off": (says(model_provider="openai"), {CUT}),
    "openai stream cut off, in blocks": (says([{"type": "text", "text": "1, 2"}], model_provider="openai"), {CUT}),
    "anthropic window exceeded": (says(stop_reason="model_context_window_exceeded"), {CUT}),
    "bedrock max_tokens": (says(stopReason="max_tokens"), {CUT}),
    "bedrock guardrail": (says(stopReason="guardrail_intervened"), {REFUSED}),
    "bedrock filter": (says(stopReason="content_filtered"), {REFUSED}),
    **{f"gemini {why}": (says(finish_reason=why), {REFUSED}) for why in ("BLOCKLIST", "SPII", "RECITATION")},
}


@pytest.mark.parametrize(
    ("answer", "rejecting"),
    [pytest.param(*row, id=name) for name, row in FORMS.items()]
    + [pytest.param(*row, id=name) for name, row in RARER_FORMS.items()],
)
def test_each_providers_form_of_an_answer_is_read(answer: AIMessage, rejecting: set[str]) -> None:
    said: list[Any] = [check(CheckInput([], answer)) for check in (not_refused, finished, not_empty)]
    assert {verdict["check"] for verdict in said if not verdict["accepted"]} == rejecting
    assert [verdict["check"] for verdict in said] == [REFUSED, CUT, EMPTY]
    assert all(verdict["reason"].endswith(".") and verdict["score"] is None for verdict in said)


def mine(_: CheckInput) -> bool:
    return True


def other(_: CheckInput) -> bool:
    return True


TIER = Tier("nano", "openai:gpt-5.4-nano", criteria="Simple work.")
STRICT_TIER = Tier("mini", "openai:gpt-5.4-mini", criteria="Harder work.", checks=[other])


DECLARED: dict[str, tuple[Any, Tier, Task, tuple[Check, ...]]] = {
    "built-ins by default": (None, TIER, "write", BUILT_IN),
    "none": ((), TIER, "write", ()),
    "a list stands instead of the built-ins": ([mine], TIER, "write", (mine,)),
    "per task": ({"extract": [mine]}, TIER, "extract", (mine,)),
    "other tasks keep the built-ins": ({"extract": [mine]}, TIER, "write", BUILT_IN),
    "star for other tasks": ({"extract": [mine], "*": [other]}, TIER, "write", (other,)),
    "none for one task": ({"extract": (), "*": [other]}, TIER, "extract", ()),
    "an empty mapping says nothing": ({}, TIER, "write", BUILT_IN),
    "a tier's own come last": (None, STRICT_TIER, "write", (*BUILT_IN, other)),
    "a tier's own alone": ((), STRICT_TIER, "write", (other,)),
    "per task and tier": ({"extract": [mine]}, STRICT_TIER, "extract", (mine, other)),
}


@pytest.mark.parametrize(("declared", "tier", "task", "expected"), DECLARED.values(), ids=DECLARED)
def test_declared_checks_hold_for_their_task_and_tier(
    declared: Any, tier: Tier, task: Task, expected: tuple[Check, ...]
) -> None:
    declares = Checks(declared)
    assert declares.of(tier, task) == expected
    assert declares.read_whole_answer(tier, task) == any(check in (mine, other) for check in expected)


def test_an_unknown_task_is_an_error_that_lists_the_tasks() -> None:
    with pytest.raises(UnknownTaskError, match=r"Unknown task 'extrakt' in checks\. Tasks: classify, .*, \*\.") as told:
        Checks({"extrakt": [mine]})
    assert told.value.task == "extrakt"


@pytest.mark.parametrize(
    "declared",
    [
        *(["finished"], {"write": [None]}, [finished, 3], "finished"),
        *(pytest.param(bare) for bare in (mine, {"write": None})),
    ],
)
def test_what_is_no_sequence_of_functions_is_an_error_when_declared(declared: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"is not callable\. A check is a function of a CheckInput"):
        Checks(declared)


def test_checks_given_by_a_generator_are_kept() -> None:
    given: Any = (check for check in [mine])
    assert Checks(given).of(TIER, "write") == (mine,)


GIVEN = CheckInput([HumanMessage("Is it?")], AIMessage("Yes."))


def by_averdict_of(checks: Sequence[Check], given: CheckInput, thresholds: Mapping[str, float]) -> Verdict:
    return asyncio.run(averdict_of(checks, given, thresholds))


both = pytest.mark.parametrize("asked", [pytest.param(verdict_of, id="sync"), pytest.param(by_averdict_of, id="async")])


def returns(said: Any, name: str = "quality") -> Check:
    def check(_: CheckInput) -> Any:
        if isinstance(said, BaseException):
            raise said
        return said

    check.__name__ = name
    return check


def scored(score: Any, **more: Any) -> dict[str, Any]:
    return {"accepted": True, "check": "quality", "reason": "Fine.", "score": score, **more}


@both
@pytest.mark.parametrize(
    ("said", "accepted", "words"),
    [
        pytest.param(True, True, "quality accepts the answer.", id="True"),
        pytest.param(False, False, "quality rejects the answer.", id="False"),
        pytest.param(scored(0.8), True, "Fine.", id="at the threshold"),
        pytest.param(scored(0.79), False, "Its score 0.79 is below the threshold 0.80.", id="below the threshold"),
        pytest.param(scored(None), True, "Fine.", id="no score, no threshold"),
        pytest.param(scored(0.9, accepted=False), False, "Fine.", id="a score mends no rejection"),
        pytest.param(scored(0.1, check="style"), True, "Fine.", id="another check's threshold"),
        pytest.param({"accepted": True}, True, "quality accepts the answer.", id="a verdict in short"),
        pytest.param(None, False, "quality returned a NoneType, neither a Verdict nor a bool.", id="None"),
        pytest.param("yes", False, "quality returned a str, neither", id="text"),
        pytest.param(1, False, "quality returned a int, neither", id="a truthy number"),
        pytest.param({"accepted": "no"}, False, "neither a Verdict nor a bool", id="a mapping that is no verdict"),
        pytest.param(KeyError("total"), False, "quality raised KeyError.", id="raises"),
        pytest.param(scored("high"), False, "", id="score is no number"),
        pytest.param(scored(float("nan")), False, "", id="score is NaN"),
    ],
)
def test_what_a_check_says_becomes_a_verdict(asked: Judge, said: Any, accepted: bool, words: str) -> None:  # noqa: FBT001  (a column of the table)
    verdict = asked([returns(said)], GIVEN, {"quality": 0.8})
    assert (verdict["accepted"], words in verdict["reason"]) == (accepted, True)


@both
def test_checks_are_asked_in_order_until_one_rejects(asked: Judge) -> None:
    first, second, third = returns(True, "first"), returns(False, "second"), returns(KeyboardInterrupt(), "third")
    assert asked([first, second, third], GIVEN, {})["check"] == "second"
    assert asked([lambda given: given is GIVEN], GIVEN, {})["accepted"]
    assert asked([first, returns(True, "last")], GIVEN, {})["check"] == "last"
    assert asked([], GIVEN, {}) == Verdict(accepted=True, check="none", reason="No check was declared.", score=None)


@both
def test_a_refusal_is_named_before_its_emptiness_without_its_words(asked: Judge) -> None:
    said = asked(BUILT_IN, CheckInput([], says([{**REFUSAL, "refusal": "No. " * 500}])), {})
    assert said["check"] == REFUSED
    assert said["reason"] == "The model refused."  # a reason is public, and quotes no answer


async def later(_: CheckInput) -> bool:
    return False


class Later:
    async def __call__(self, _: CheckInput) -> bool:
        return False


ASYNC = {"later": later, "partial": partial(later), "Later": Later()}


@pytest.mark.parametrize(("name", "check"), ASYNC.items(), ids=ASYNC)
def test_an_async_check_in_a_sync_run_is_an_error_with_the_mend_and_no_coroutine_left(name: str, check: Check) -> None:
    with warnings.catch_warnings(record=True, action="always") as caught:
        with pytest.raises(ConfigurationError, match=rf"Check '{name}' is async\. Run the agent by `ainvoke`"):
            verdict_of([check], GIVEN, {})
        gc.collect()
    assert [str(warning.message) for warning in caught] == []


@pytest.mark.parametrize(("name", "check"), ASYNC.items(), ids=ASYNC)
async def test_an_async_check_is_awaited_and_can_reject(name: str, check: Check) -> None:
    verdict = await averdict_of([check], GIVEN, {})
    assert (verdict["accepted"], verdict["check"]) == (False, name)


async def test_an_async_check_that_raises_rejects() -> None:
    async def fails(_: CheckInput) -> bool:
        raise LookupError("no judge")

    assert (await averdict_of([fails], GIVEN, {}))["reason"] == "The check fails raised LookupError."


async def test_a_users_sync_check_does_not_block_the_event_loop() -> None:
    loop_ran = threading.Event()

    def waits(_: CheckInput) -> bool:
        return loop_ran.wait(timeout=10)

    asyncio.get_running_loop().call_later(0.01, loop_ran.set)
    assert (await averdict_of([waits], GIVEN, {}))["accepted"]


CassetteMiss = type("CannotOverwriteExistingRequestException", (Exception,), {"__module__": "vcr.errors"})


@both
@pytest.mark.parametrize(
    "passes", [KeyboardInterrupt(), asyncio.CancelledError(), GraphInterrupt(), CassetteMiss("no match")], ids=type
)
def test_what_stops_the_run_a_cassette_miss_too_is_no_rejection(asked: Judge, passes: BaseException) -> None:
    with pytest.raises(type(passes)):
        asked([returns(passes)], GIVEN, {})
