"""Input that is made to cost time: what is four times as large takes about four times as long, and nothing recurses."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from fakes import LABEL, REFUND, ask, say, tiers
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.messages.tool import tool_call
from langchain_core.tools import tool

from langchain_tiered import Ledger, TierRouter, create_tiered_agent
from langchain_tiered.cascade.agreement import compare
from langchain_tiered.cascade.checks import CheckInput, finished, not_empty, not_refused
from langchain_tiered.cascade.judge import judged_prompt
from langchain_tiered.cascade.stall import stalled
from langchain_tiered.cascade.validity import matches_schema, valid_tool_calls
from langchain_tiered.errors import InvalidInputError
from langchain_tiered.routing import classify_by_rules, facts_of, messages_of
from langchain_tiered.routing.prompts import request_prompt
from langchain_tiered.types import Facts, TierFacts

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.messages import BaseMessage

TIERS = tiers(nano=say("n"), mini=say("m"), flagship=say("f"))
ROUTER = TierRouter(TIERS, classifier=None)
TEN_MB = 10_000_000

# fmt: off
BOMBS = (
    "a", " ", "\n", "\t \t", "\n\t", "\\", "$ ", "@:~/-", "a$ ", "```", "```a\n", "``` ", "`", "#1 ", "1 ", "0.",
    "1,", "1e9", "=1 ", "(a) x\n", "((((", "label ", "label a, ", "labels:", "one of ", "review positive ",
    "tone negative ", "classify ", "classify\n", "why ", "is ", "\nis ", "how a ", "q: who ", "my q:", "please ",
    "please extract ", "write a ", "fix the ", "prove ", "ok ", "thanks, ", "hi hi", "how many 1. ", "at a.b(c.d:",
    "\n at a(", "return a", "class a", "def a(", "import a.", "const x ", "x;\n", '"); ', "answer: ",
    "so the answer is ", "the final ", "\\boxed{", "\\boxed{{a}", "{", "}{", "[", "[{", '{"a":', "- ", "**",
    '*_~`"\'', "\u00e9 ", "\u6f22", "\u0130", "\u00df", "\u0345", "\U0001f600", "\ud83d", "\u200b", "</request>",
)
# fmt: on
"""What a pattern may be tempted to try again and again, each to be repeated."""


def took_s(work: Callable[[], object], times: int = 3) -> float:
    best = float("inf")
    for _ in range(times):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best


def grows_linearly(work: Callable[[Any], object], make: Callable[[int], Any], size: int, floor_s: float = 0.01) -> None:
    """Check that four times the size costs less than eight times the time; below the floor a clock tells nothing."""
    for _ in range(3):  # other processes run on the same machine
        small, large = make(size), make(4 * size)
        one, four = took_s(partial(work, small)), took_s(partial(work, large))
        if four < 8 * max(one, floor_s):
            return
    raise AssertionError(f"{one * 1e3:.1f} ms became {four * 1e3:.1f} ms.")


def nested(depth: int, leaf: Any = "x", *, as_list: bool = False) -> Any:
    value = leaf
    for _ in range(depth):
        value = [value] if as_list else {"a": value}
    return value


@pytest.mark.parametrize("unit", ["a", "word ", "\n", "é", "漢", "😀", "\ud83d", "a" * 999 + "é"])
def test_ten_megabytes_are_routed_within_twenty_times_a_plain_copy(unit: str) -> None:
    text = unit * (TEN_MB // len(unit.encode("utf-8", "surrogatepass"))) + "x"
    written = text.encode("utf-8", "surrogatepass")
    for _ in range(4):  # other processes run on the same machine
        copied_s, routed_s = took_s(lambda: written[1:], 9), took_s(lambda: ROUTER.invoke(text), 5)
        if routed_s < 20 * copied_s:
            return
    raise AssertionError(f"A copy takes {copied_s * 1e3:.2f} ms, a route {routed_s * 1e3:.2f} ms.")


@pytest.mark.parametrize("form", ["message", "pair", "dict", "block", "with tools and a schema", "in an agent"])
def test_ten_megabytes_cost_little_in_every_form(form: str) -> None:
    text = "some words of a very long message. " * (TEN_MB // 35)
    forms: dict[str, Callable[[], object]] = {
        "message": lambda: ROUTER.invoke([HumanMessage(text)]),
        "pair": lambda: ROUTER.invoke([("user", text)]),
        "dict": lambda: ROUTER.invoke([{"role": "user", "content": text}]),
        "block": lambda: ROUTER.invoke([HumanMessage([{"type": "text", "text": text}])]),
        "with tools and a schema": lambda: ROUTER.invoke(text, tools=[{"name": "refund"}], schema=True),
        "in an agent": lambda: create_tiered_agent(TIERS).invoke(ask(text)),
    }
    assert took_s(forms[form]) < 0.5


@pytest.mark.parametrize("unit", BOMBS)
def test_no_text_is_a_bomb_for_the_rules_or_the_classifiers_prompt(unit: str) -> None:
    known = [TierFacts(tier.name) for tier in TIERS]

    def work(text: str) -> None:
        facts = facts_of([HumanMessage(f"what is the {text}")], schema=True)
        classify_by_rules(facts, known)
        request_prompt(facts)

    grows_linearly(work, lambda size: (unit * size)[:size], 300_000)
    assert took_s(lambda: work((unit * 300_000)[:300_000])) < 0.25


@pytest.mark.parametrize("unit", BOMBS)
def test_no_answer_is_a_bomb_for_the_checks(unit: str) -> None:
    schema = {"title": "Answer", "type": "object", "properties": {"label": {"type": "string"}}, "required": ["label"]}

    def work(text: str) -> None:
        given = CheckInput([HumanMessage("x")], AIMessage(text), schema=schema)
        for check in (finished, not_empty, not_refused, valid_tool_calls, matches_schema):
            check(given)
        compare(text, f"{text}x")
        judged_prompt(given)

    grows_linearly(work, lambda size: (unit * size)[:size], 10_000)


def conversation(size: int) -> list[BaseMessage]:
    pairs = [pair for _ in range(size // 2) for pair in (HumanMessage("question"), AIMessage("answer"))]
    return [*pairs, HumanMessage(LABEL)]


def tool_turns(size: int) -> list[BaseMessage]:
    calls = [tool_call(name="read", args={"page": place}, id=str(place)) for place in range(size // 2)]
    turns = [
        each for call in calls for each in (AIMessage("", tool_calls=[call]), ToolMessage("x", tool_call_id=call["id"]))
    ]
    return [HumanMessage(LABEL), *turns]


def latches(size: int) -> list[BaseMessage]:
    metadata = {"route": {"tier": "huge", "reason": "x" * 100}}
    return [HumanMessage("x"), *(AIMessage("x", response_metadata=metadata) for _ in range(size)), HumanMessage(LABEL)]


@pytest.mark.parametrize("make", [conversation, tool_turns, latches])
def test_many_messages_are_routed_in_linear_time(make: Callable[[int], list[BaseMessage]]) -> None:
    grows_linearly(ROUTER.invoke, make, 5_000)


def test_a_hundred_thousand_messages_are_routed_within_two_seconds() -> None:
    messages = conversation(100_000)
    assert took_s(lambda: ROUTER.invoke(messages)) < 2


def test_many_messages_are_answered_in_linear_time() -> None:
    agent = create_tiered_agent(TIERS, router=ROUTER)
    grows_linearly(lambda messages: agent.invoke({"messages": messages}), conversation, 2_500, floor_s=0.05)


def test_a_long_tool_loop_is_looked_at_for_a_stall_in_constant_time() -> None:
    again = AIMessage("", tool_calls=[tool_call(name="read", args={"page": -1}, id="again")])
    grows_linearly(lambda messages: stalled(messages, again), tool_turns, 10_000)


@pytest.mark.parametrize(
    "block",
    [
        {"type": "text", "text": "word"},
        {"type": "image", "url": "https://example.org/a.png"},
        {"type": "tool_result", "content": [{"type": "text", "text": "word"}] * 9},
        {"type": ["odd"], "text": {}},
        "word",
    ],
)
def test_many_blocks_are_read_in_linear_time(block: Any) -> None:
    grows_linearly(lambda content: facts_of([HumanMessage(["x", *content])]), lambda size: [block] * size, 3_000)


@pytest.mark.parametrize("depth", [1_000, 100_000])
@pytest.mark.parametrize("as_list", [False, True])
def test_arguments_however_deep_are_counted_without_recursion(depth: int, as_list: bool) -> None:  # noqa: FBT001  (a parameter)
    args = {"data": nested(depth, "word " * 400, as_list=as_list)}
    call = AIMessage("", tool_calls=[tool_call(name="save", args=args, id="1")])
    messages = [HumanMessage("x"), call, ToolMessage("x", tool_call_id="1"), HumanMessage(LABEL)]
    assert facts_of(messages).tokens > 500
    assert create_tiered_agent(TIERS).invoke({"messages": messages})["route"]["tier"] == "nano"


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_content_and_routes_however_deep_are_read_or_refused_without_recursion(depth: int) -> None:
    deep = nested(depth)
    blocks: list[Any] = [
        {"type": "tool_result", "content": nested(depth, as_list=True)},
        {"type": "x", "content": {"content": deep}},
    ]
    route = {"tier": "nano", "reason": deep, "task": deep, "confidence": deep, "decided_by": deep}
    forged = AIMessage("x", response_metadata={"route": route})
    assert ROUTER.invoke([HumanMessage(["x", *blocks]), forged, HumanMessage(LABEL)])["tier"] == "nano"
    nested_request = {"messages": LABEL}
    for _ in range(depth):
        nested_request = {"messages": nested_request}  # type: ignore[dict-item]
    assert ROUTER.invoke(nested_request)["tier"] == "nano"
    for wrong in (
        {"role": "user", "content": deep},
        {"role": deep, "content": "x"},
        deep,
        [deep],
        nested(depth, as_list=True),
    ):
        with pytest.raises(InvalidInputError):
            ROUTER.invoke(wrong)


def test_an_error_about_a_request_quotes_little_of_it() -> None:
    wrong: list[Any] = [
        {"role": "x" * TEN_MB, "content": "x"},
        [("nobody", "x" * TEN_MB)],
        [("user", " " * TEN_MB)],
        [("system", "x" * TEN_MB)],
        b"x" * TEN_MB,
        [b"x" * TEN_MB],
    ]
    for each in wrong:
        with pytest.raises(InvalidInputError) as caught:
            facts_of(messages_of(each))
        assert len(str(caught.value)) < 500


@tool
def save(data: dict[str, Any]) -> str:
    """Save the data of an order."""
    return f"{len(data)}"


SPEC = {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]}


@pytest.mark.parametrize("tool_", [save, {"type": "function", "function": {"name": "save", "parameters": SPEC}}])
def test_a_call_with_arguments_too_deep_to_be_checked_is_rejected_and_does_not_end_the_run(tool_: Any) -> None:
    args = {"data": nested(3_000)}

    def deep(_: Any) -> AIMessage:
        return AIMessage("", tool_calls=[tool_call(name="save", args=args, id="1")])

    verdict = valid_tool_calls(CheckInput([HumanMessage("x")], deep(None), tools=[tool_]))
    assert not verdict["accepted"]


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000, "```json\n" + "[" * 200_000 + "\n```"])
def test_an_answer_of_json_too_deep_to_be_read_is_rejected(text: str) -> None:
    schema = {"title": "Answer", "type": "object"}
    assert not matches_schema(CheckInput([HumanMessage("x")], AIMessage(text), schema=schema))["accepted"]
    assert compare(text, text)[0] is None


def test_a_long_ledger_is_summed_in_linear_time() -> None:
    entry: Any = {"run_id": "r", "role": "answer", "tier": "nano", "model": "gpt-5.4-nano", "cost_usd": 0.1}

    def work(entries: Any) -> None:
        ledger = Ledger(entries)
        assert ledger.total_usd
        assert ledger.by_run()
        assert ledger.last_run().unpriced == ()

    grows_linearly(work, lambda size: [{**entry, "id": str(place)} for place in range(size)], 5_000)


def test_a_request_that_names_a_tool_again_and_again_is_routed_in_linear_time() -> None:
    facts = [
        {"name": f"refund_order_{place}", "description": "Refund an order that came late. " * 40}
        for place in range(200)
    ]
    grows_linearly(lambda text: ROUTER.invoke(text, tools=facts), lambda size: REFUND * size, 1_000, floor_s=0.05)


def test_rules_read_no_more_of_a_text_than_its_ends() -> None:
    known = [TierFacts(tier.name) for tier in TIERS]
    middle = "```bash\n$ rm\n```\nProve that. Labels: a, b, c. classify\n" * 100
    assert classify_by_rules(Facts(text=f"{'x' * 1_000}{middle}{'x' * 1_000}"), known) is None
