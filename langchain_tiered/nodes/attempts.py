"""How attempts are written down as plain data, and what the next attempt is told of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage, message_to_dict, messages_from_dict
from langchain_core.messages.tool import invalid_tool_call

from langchain_tiered.cascade.failures import failure_of, is_callers_mistake
from langchain_tiered.cascade.steps import REPAIRABLE
from langchain_tiered.cascade.validity import problems_of
from langchain_tiered.types import Attempt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.messages import AnyMessage, BaseMessage

    from langchain_tiered.accounting.recorder import Recorder

NOT_STALLED = "not_stalled"
"""Names the rejection of a loop that makes no progress: what its tools gave stands, the last results too."""

NOT_RUN = "Not run, because another call of the same message was malformed. Call again what is still needed."


_EMPTY = Attempt(
    tier="",
    fallback=0,
    messages=[],
    rewrites=False,
    verdict=None,
    failure=None,
    hand_up=None,
    call_id=None,
    shown=False,
)


class Raised:
    """A provider's error on its way to `check`; whoever prints a state sees its kind, not the key that it may quote."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __repr__(self) -> str:
        return f"<{type(self.error).__name__}>"


def attempt_of(tier: str, **said: Any) -> Attempt:
    """Write down an attempt of `tier`; what is not said is empty."""
    return {**_EMPTY, "tier": tier, "messages": [], **said}  # type: ignore[typeddict-item]


def failed_attempt(tier: str, error: Exception, recorder: Recorder, **said: Any) -> Attempt:
    """Write down an attempt that a provider's error ended; raise the error again if no other attempt could help."""
    failure = failure_of(error, of_call=recorder.raised(error))
    if failure is None or is_callers_mistake(failure):
        raise error
    return attempt_of(tier, failure=failure, **said)


def said_in(result: Sequence[BaseMessage]) -> AIMessage | None:
    """Return what a model said, of all that a call gave; other messages may stand behind it."""
    return next((message for message in reversed(result) if isinstance(message, AIMessage)), None)


def answered(recorder: Recorder, said: BaseMessage | None = None) -> dict[str, Any]:
    """Return what the recorder knows of the call that gave an answer: its ledger entry, and whether it was shown.

    Without what was `said`, it is the call that answered last.
    """
    entry = recorder.answer_of(said)
    return {"call_id": entry["id"], "shown": recorder.shown(entry["id"])} if entry else {}


def hand_up_reason(message: AIMessage) -> str | None:
    """Return why a tier asks for a more capable one, or `None` when it does not."""
    for call in message.tool_calls:
        if call["name"] == "hand_up":
            return str(call["args"].get("reason") or "It did not say why.")
    broken = any(call["name"] == "hand_up" for call in message.invalid_tool_calls)
    return "Its reason cannot be read." if broken else None


def uncompleted(message: AIMessage, cut: frozenset[str]) -> AIMessage:
    """Return a message whose calls with these ids cannot be run: a stream brought no whole arguments for them."""
    broken = [
        invalid_tool_call(name=call["name"], args=str(call["args"]), id=call["id"], error="The arguments are cut off.")
        for call in message.tool_calls
        if call["id"] in cut
    ]
    kept = [call for call in message.tool_calls if call["id"] not in cut]
    return message.model_copy(update={"tool_calls": kept, "invalid_tool_calls": [*message.invalid_tool_calls, *broken]})


def unbound_call(message: AIMessage, names: Sequence[str] | None = None) -> str | None:
    """Return what a model tried to call that it was not given, of `names` or whatever it is: a wish for more."""
    called = (call["name"] for call in message.tool_calls if names is None or call["name"] in names)
    return next((f"It called {name!r}, which it does not have." for name in called), None)


def told_of(attempt: Attempt, tools: Sequence[Any] = (), schema: Any = None) -> list[AnyMessage]:
    """Return what a model is told of its own slip: what it said, and what was wrong with it, for the next call only."""
    messages: list[Any] = messages_from_dict(attempt["messages"])
    place = max((place for place, each in enumerate(messages) if isinstance(each, AIMessage)), default=None)
    if place is None:
        return []
    said, told = messages[place], messages[place + 1 :]
    if told or not isinstance(said, AIMessage):
        return messages[place:]  # LangChain has said already what was wrong with a structured answer
    calls = [*said.tool_calls, *said.invalid_tool_calls]
    if calls and all(call["id"] for call in calls):
        problems = problems_of(said, tools, schema)
        return [said, *(_refused(call, problems.get(call["id"], NOT_RUN)) for call in calls)]
    why = attempt["verdict"]["reason"] if attempt["verdict"] else ""
    mend = HumanMessage(f"Your last answer cannot be used. {why} Answer again.")
    return [AIMessage(said.text), mend] if said.text else [mend]


def followed(messages: list[AnyMessage], told: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Return the messages of a request, and what the model is told of its slip behind them.

    The list itself where nothing is: what a middleware further in adds to it joins the thread, as without ours.
    """
    return [*messages, *told] if told else messages


def _refused(call: Any, problem: str) -> ToolMessage:
    return ToolMessage(problem, name=call["name"], tool_call_id=call["id"], status="error")


def slip_of(attempts: Sequence[Attempt], tier: str, fallback: int) -> Attempt | None:
    """Return the last attempt where it was this model's, and rejected for something that telling it can mend."""
    last = attempts[-1] if attempts else None
    if last is None or (last["tier"], last["fallback"]) != (tier, fallback) or last["verdict"] is None:
        return None
    return last if not last["verdict"]["accepted"] and last["verdict"]["check"] in REPAIRABLE else None


def turn_of(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return what was added since the last human message."""
    last = max((place for place, message in enumerate(messages) if isinstance(message, HumanMessage)), default=-1)
    return list(messages[last + 1 :])


def up_to_last_tool_result(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return what the next tier continues from: all up to the last tool result, nothing where no tool ran."""
    last = max((place for place, message in enumerate(messages, 1) if isinstance(message, ToolMessage)), default=0)
    return list(messages[:last])


def dicts_of(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """Return messages as plain data, as attempts hold them."""
    return [message_to_dict(message) for message in messages]
