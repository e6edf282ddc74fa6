"""When a tool loop makes no progress, as a table; and what no loop that does make progress is ever told."""

from __future__ import annotations

import json
from itertools import count
from time import perf_counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.tool import tool_call

from langchain_tiered.cascade.stall import stalled
from langchain_tiered.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import BaseMessage

    Call = tuple[str, dict[str, Any]]

FIND: Call = ("find_order", {"number": 1042, "where": {"shop": "a", "year": 2026}})
FIND_TURNED: Call = ("find_order", {"where": {"year": 2026, "shop": "a"}, "number": 1042})
OTHER: Call = ("find_order", {"number": 1043, "where": {"shop": "a", "year": 2026}})
POLL: Call = ("job_status", {})
HUMAN = HumanMessage("Where is order 1042?")
FOUND, FAILED = ("Order 1042 is late.", "success"), ("Error: no such order.", "error")
SAME = "find_order was called 3 times with the same arguments and gave the same result."
BAD = "The last 3 tool calls failed."

_ids = count(1)


def asking(*calls: Call, ids: Sequence[str] = ()) -> AIMessage:
    names = ids or [f"call_{next(_ids)}" for _ in calls]
    made = [tool_call(name=name, args=args, id=each) for (name, args), each in zip(calls, names, strict=True)]
    return AIMessage("", tool_calls=made)


def turn(*made: tuple[Call, Any], ids: Sequence[str] = ()) -> list[BaseMessage]:
    """Write the message that makes some calls at once, and their results: words or blocks, and a status."""
    asked = asking(*(call for call, _ in made), ids=ids)
    told = [
        ToolMessage(words, tool_call_id=call["id"], name=call["name"], status=status)
        for call, (_, (words, status)) in zip(asked.tool_calls, made, strict=True)
    ]
    return [asked, *told]


def loop(*made: tuple[Call, Any]) -> list[BaseMessage]:
    """Write one turn for each call."""
    return [message for each in made for message in turn(each)]


def said(words: Any) -> tuple[Any, str]:
    return words, "success"


def numbered(start: int, many: int) -> list[tuple[Call, Any]]:
    return [(("find_order", {"number": number}), FOUND) for number in range(start, start + many)]


BLOCKS = said([{"type": "text", "text": "Late."}])
ROWS: dict[str, tuple[list[BaseMessage], AIMessage | None, str | None]] = {
    "nothing yet": ([], None, None),
    "a first call": ([HUMAN], asking(FIND), None),
    "a second equal call": ([HUMAN, *loop((FIND, FOUND))], asking(FIND), None),
    "a third equal call": ([HUMAN, *loop((FIND, FOUND), (FIND, FOUND))], asking(FIND), SAME),
    "keys in another order": (loop((FIND, FOUND), (FIND_TURNED, FOUND)), asking(FIND_TURNED), SAME),
    "results of equal blocks": (loop((FIND, BLOCKS), (FIND, BLOCKS)), asking(FIND), SAME),
    "one of several calls": (loop((FIND, FOUND), (FIND, FOUND)), asking(OTHER, FIND), SAME),
    "other calls between, made before": (
        loop((OTHER, FOUND), (FIND, FOUND), (OTHER, FOUND), (FIND, FOUND)),
        asking(FIND),
        SAME,
    ),
    "something new between": (loop((FIND, FOUND), (OTHER, FOUND), (FIND, FOUND)), asking(FIND), None),
    "parallel equal calls": (turn((FIND, FOUND), (FIND, FOUND)), asking(FIND), SAME),
    "equal calls that have no result yet": (loop((FIND, FOUND)), asking(FIND, FIND), None),
    "more than enough": (loop(*[(FIND, FOUND)] * 4), asking(FIND), SAME.replace("3", "5")),
    "before the model is asked": (loop(*[(FIND, FOUND)] * 4), None, None),
    "other arguments": (loop((FIND, FOUND), (FIND, FOUND)), asking(OTHER), None),
    "another tool": (loop((FIND, FOUND), (FIND, FOUND)), asking(("cancel", FIND[1])), None),
    "1 is not true": (loop(*[(("set", {"to": 1}), FOUND)] * 2), asking(("set", {"to": True})), None),
    "a poll that changes": (loop((POLL, said("10 %")), (POLL, said("40 %"))), asking(POLL), None),
    "a poll that came to a halt": (
        loop((POLL, said("10 %")), (POLL, said("40 %")), (POLL, said("40 %"))),
        asking(POLL),
        "job_status was called 3 times with the same arguments and gave the same result.",
    ),
    "the same words, once as an error": (loop((FIND, said("So.")), (FIND, ("So.", "error"))), asking(FIND), None),
    "an answer at last": (loop((FIND, FOUND), (FIND, FOUND)), AIMessage("It is late."), None),
    "an answer after failures": (loop(*[(OTHER, FAILED)] * 3), AIMessage("There is none."), None),
    "a new human message": ([*loop((FIND, FOUND), (FIND, FOUND)), HUMAN], asking(FIND), None),
    "a new human message after failures": ([*loop(*[(OTHER, FAILED)] * 3), HUMAN], None, None),
    "calls that got no result": ([asking(FIND), asking(FIND)], asking(FIND), None),
    "twelve calls ago": (
        loop((FIND, FOUND), (FIND, FOUND), *[(OTHER, FOUND)] * 10),
        asking(FIND),
        None,  # the other call was new when it was first made
    ),
    "round and round": (loop(*[(FIND, FOUND), (OTHER, FOUND)] * 3), asking(FIND), SAME),
    "longer ago": (loop((FIND, FOUND), (FIND, FOUND), *numbered(1, 11)), asking(FIND), None),
    "ids used again": (
        [*turn((POLL, said("10 %")), ids=["c"]), *turn((POLL, said("40 %")), ids=["c"])],
        asking(POLL),
        None,
    ),
    "other messages between": (
        [SystemMessage("So."), *loop((FIND, FOUND)), AIMessage("Hm."), *loop((FIND, FOUND))],
        asking(FIND),
        SAME,
    ),
    "two failures": (loop((FIND, FAILED), (OTHER, FAILED)), None, None),
    "three failures": (loop((FIND, FAILED), (OTHER, FAILED), (POLL, FAILED)), None, BAD),
    "three failures and one call more": (loop((FIND, FAILED), (OTHER, FAILED), (POLL, FAILED)), asking(FIND), BAD),
    "three failures at once": (turn((FIND, FAILED), (OTHER, FAILED), (POLL, FAILED)), None, BAD),
    "a success at last": (loop((FIND, FAILED), (OTHER, FAILED), (POLL, FAILED), (FIND, FOUND)), None, None),
    "words of failure alone": (loop(*[(call, said("Error: 0 failed.")) for call in (FIND, OTHER, POLL)]), None, None),
    "equal failures": (loop((FIND, FAILED), (FIND, FAILED)), asking(FIND), SAME),
}


@pytest.mark.parametrize(("messages", "proposed", "told"), ROWS.values(), ids=ROWS.keys())
def test_a_loop_is_stalled_or_not(messages: list[BaseMessage], proposed: AIMessage | None, told: str | None) -> None:
    assert stalled(messages, proposed) == told


@pytest.mark.parametrize(("max_repeats", "window"), [(2, 12), (0, 12), (13, 12), (3, 2)])
def test_limits_that_make_no_sense_are_told(max_repeats: int, window: int) -> None:
    with pytest.raises(ConfigurationError, match=f"max_repeats={max_repeats}"):
        stalled([], None, max_repeats=max_repeats, window=window)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
arguments = st.dictionaries(st.text(max_size=5), values, max_size=3)


@given(
    st.lists(arguments, max_size=20, unique_by=lambda each: json.dumps(each, sort_keys=True)),
    st.integers(3, 6),
    st.sampled_from([loop, turn]),
)
def test_calls_of_which_no_two_are_equal_never_stall(given_args: Any, max_repeats: int, written: Any) -> None:
    made = [(("find", args), FOUND) for args in given_args[1:]]
    proposed = asking(("find", given_args[0])) if given_args else None
    assert stalled(written(*made), proposed, max_repeats=max_repeats) is None


@given(st.lists(st.text(), unique=True, max_size=20), st.integers(3, 6))
def test_a_poll_never_stalls_while_each_result_is_new(results: list[str], max_repeats: int) -> None:
    messages = loop(*((POLL, said(words)) for words in results))
    assert stalled(messages, asking(POLL), max_repeats=max_repeats) is None


@given(arguments, st.integers(3, 12), st.sampled_from([FOUND, FAILED]))
def test_a_loop_of_equal_calls_ends_at_the_limit_and_not_before(args: Any, max_repeats: int, result: Any) -> None:
    call = ("find", args)
    made = 0
    while stalled(loop(*[(call, result)] * made), asking(call), max_repeats=max_repeats) is None:
        made += 1
    assert made == max_repeats - 1


@given(st.lists(st.sampled_from(["success", "error"]), max_size=12), st.integers(3, 6))
def test_failures_stall_when_the_last_ones_all_failed(ends: list[str], max_repeats: int) -> None:
    messages = loop(*((("find", {"at": at}), (f"Error {at}", end)) for at, end in enumerate(ends)))
    ended = len(ends) >= max_repeats and "success" not in ends[-max_repeats:]
    assert stalled(messages, None, max_repeats=max_repeats) == (
        f"The last {max_repeats} tool calls failed." if ended else None
    )


@given(st.text(min_size=1), st.text(min_size=1))
def test_the_sentence_names_the_tool_and_quotes_neither_argument_nor_result(argument: str, result: str) -> None:
    told = stalled(
        loop(*[(("find_order", {"note": argument}), said(result))] * 2), asking(("find_order", {"note": argument}))
    )
    assert told == SAME


def test_a_long_visit_costs_no_more_than_its_window() -> None:
    def fastest_s(many: int) -> float:
        messages, proposed = loop(*numbered(1, many)), asking(("find_order", {"number": 0}))
        spent = []
        for _ in range(200):
            began = perf_counter()
            stalled(messages, proposed)
            spent.append(perf_counter() - began)
        return min(spent)

    assert fastest_s(5_000) < 20 * fastest_s(25)
