"""Notice a tool loop that goes round in circles. Pure: the messages of the visit are all that counts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice, takewhile
from typing import TYPE_CHECKING, NamedTuple

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from langchain_tiered.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_core.messages import BaseMessage, ToolCall


REVIEW = "review"
"""The key in a tool message's `response_metadata` under which a review says who decided about its call, and how."""

_FEWEST_REPEATS = 3
"""One equal call needs two results before it: a single one does not show that the next would be the same."""


class _Made(NamedTuple):
    """A call that was made, with what it gave."""

    call: ToolCall
    result: ToolMessage


def stalled(
    messages: Sequence[BaseMessage], proposed: AIMessage | None, *, max_repeats: int = 3, window: int = 12
) -> str | None:
    """Return why a tool loop makes no progress, in a sentence without any argument or result, or `None` if it does.

    It makes none when the model asks once more for what the same call has told it again and again, or when one call
    after the other fails. A poll whose result changes is progress, and so is a message that calls no tool: it ends the
    loop. What a tool's words say is no evidence of failure, only the status of its message is.

    Args:
        messages: What the visit has so far. Only what came after the last human message counts.
        proposed: What the model has just said, or `None` before it is asked.
        max_repeats: At how many equal calls, the proposed one included, or failed calls in a row the loop is stalled.
        window: How many of the newest calls are looked at.

    Raises:
        ConfigurationError: If `max_repeats` is below 3, or above `window`.
    """
    if not _FEWEST_REPEATS <= max_repeats <= window:
        raise ConfigurationError(f"max_repeats={max_repeats!r}: give a number from {_FEWEST_REPEATS} to {window!r}.")
    if proposed is not None and not proposed.tool_calls:
        return None
    made = list(islice(_newest_first(messages), window))
    for call in proposed.tool_calls if proposed is not None else ():
        if (equal := _equal(call, made)) >= max_repeats - 1:
            return f"{call['name']} was called {equal + 1} times with the same arguments and gave the same result."
    newest = made[:max_repeats]
    if len(newest) == max_repeats and all(_has_failed(each) for each in newest):
        return f"The last {max_repeats} tool calls failed."
    return None


def called_again(messages: Sequence[BaseMessage], call: ToolCall) -> str | None:
    """Return why a call was rejected, if a reviewer or a human has rejected the same call in this turn; else `None`."""
    for made in _newest_first(messages):
        if _mark(made).get("decision") == "reject" and _is_same(made.call, call):
            return str(_mark(made).get("reason") or "No reason was given.")
    return None


def insists(messages: Sequence[BaseMessage], proposed: AIMessage | None) -> str | None:
    """Return that a model makes a call again that was rejected in this turn, by whichever tier; `None` if it does not.

    Telling it once more would lead to the same call: that it was rejected, and why, stands in its messages.
    """
    for call in proposed.tool_calls if proposed is not None else ():
        if called_again(messages, call) is not None:
            return f"{call['name']} was called again with the arguments that were rejected."
    return None


def rejections(messages: Sequence[BaseMessage], name: str) -> int:
    """Count the messages of this turn with a call of a tool that was rejected without a human."""
    results = {
        made.result.tool_call_id
        for made in _newest_first(messages)
        if made.call["name"] == name and _mark(made).get("decision") == "reject" and _mark(made).get("by") != "human"
    }
    said = (message for message in messages if isinstance(message, AIMessage))
    return sum(any(call["id"] in results for call in message.tool_calls) for message in said)


def _has_failed(made: _Made) -> bool:
    """Tell whether a tool has failed; that of a rejected call has not run."""
    return made.result.status == "error" and _mark(made).get("decision") != "reject"


def _mark(made: _Made) -> Mapping[str, object]:
    """Return what a review has written on the result of a call; nothing where there was none."""
    mark = made.result.response_metadata.get(REVIEW)
    return mark if isinstance(mark, Mapping) else {}


def _newest_first(messages: Sequence[BaseMessage]) -> Iterator[_Made]:
    """Walk back to the last human message. A call without a result was not made: an interrupt or a hand-over came."""
    results: dict[str | None, ToolMessage] = {}
    for message in reversed(messages):
        if isinstance(message, HumanMessage):
            return
        if isinstance(message, ToolMessage):
            results[message.tool_call_id] = message
        elif isinstance(message, AIMessage):
            yield from (
                _Made(call, results[call["id"]]) for call in reversed(message.tool_calls) if call["id"] in results
            )


def _equal(call: ToolCall, made: Sequence[_Made]) -> int:
    """Count how often a call was made, back to where it gave another result, or where something new was done between.

    Tests that run again after an edit are no circle, though they fail as before: the edit was new.
    """
    known = takewhile(lambda place: _is_known(call, made, place), range(len(made)))
    results = (_said(made[place].result) for place in known if _is_same(made[place].call, call))
    newest = next(results, None)
    return 0 if newest is None else 1 + sum(1 for _ in takewhile(newest.__eq__, results))


def _is_known(call: ToolCall, made: Sequence[_Made], place: int) -> bool:
    """Tell whether what was called at a place is the call itself, or was called before."""
    there = made[place].call
    return _is_same(there, call) or any(_is_same(there, older.call) for older in made[place + 1 :])


def _is_same(one: ToolCall, other: ToolCall) -> bool:
    """Compare two calls as JSON, in which `1` is not `true`; the plain comparison before it is the cheap one."""
    return one["name"] == other["name"] and one["args"] == other["args"] and _json(one) == _json(other)


def _json(call: ToolCall) -> str:
    return json.dumps(call["args"], sort_keys=True, default=str)


def _said(result: ToolMessage) -> tuple[str, object]:
    return result.status, result.content
