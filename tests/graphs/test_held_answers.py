"""What is rejected while it is held: in no stream but in `attempts`, whatever rejects it and whichever way it came."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from fakes import LABEL, REFUND, ScriptedModel, StreamingModel, ask, call_then, model, say, tiers
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage, message_to_dict
from langchain_core.messages.tool import invalid_tool_call, tool_call, tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, Overwrite
from pydantic import BaseModel

from langchain_tiered import Policy, Tier, create_tiered_agent
from langchain_tiered.cascade.agreement import agreement
from langchain_tiered.cascade.judge import judge
from langchain_tiered.errors import NoAnswerAcceptedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MODES = ["messages", "values", "updates", "custom"]
THREAD: Any = {"configurable": {"thread_id": "1"}}
SECRET = "quokka"  # one word, so that a chunk holds it whole
HIDDEN = {"attempts", "visit", "error"}
"""The channels that hold what is rejected: `visit` is the last attempt of a loop."""


@tool
def refund(order: int) -> str:
    """Refund an order."""
    return f"Order {order} is refunded."


@tool
def look(order: int) -> str:
    """Look an order up."""
    return "It came late."


class Count(BaseModel):
    """How many."""

    count: int


def calls(name: str, args: dict[str, Any], text: str = "") -> Any:
    return lambda messages: AIMessage(text, tool_calls=[tool_call(name=name, args=args, id=f"call_{len(messages)}")])


def words(message: AIMessage) -> Any:
    return lambda _: message


def accept(_: Any) -> bool:
    return True


def reject_secret(given: Any) -> bool:
    return SECRET not in given.answer.text


def goes_round(messages: Sequence[BaseMessage]) -> AIMessage:
    """Call the same tool again and again, the third time with a word before it."""
    made = sum(isinstance(message, ToolMessage) for message in messages)
    text = SECRET if made > 1 else ""
    return AIMessage(text, tool_calls=[tool_call(name="refund", args={"order": 7}, id=f"round_{made}")])


def scored(_: Any) -> AIMessage:
    args = {"reason": f"It says {SECRET}.", "score": 1}
    return AIMessage("", tool_calls=[tool_call(name="Judgement", args=args, id="j1")])


def ask_a_model(given: Any) -> bool:
    """Ask a model that quotes what it judges, as a check of one's own may."""
    return "no" not in model("flagship", say(f"no {given.answer.text}")).invoke("Is it right?").text


async def aask_a_model(given: Any) -> bool:
    said = await model("flagship", say(f"no {given.answer.text}")).ainvoke("Is it right?")
    return "no" not in said.text


class Streams(StreamingModel):
    """Streams a refusal in a block, and a call that is no JSON, in one piece; all else word by word."""

    def _stream(self, messages: list[BaseMessage], *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:
        whole = self.script(messages)
        if isinstance(whole.content, str) and not whole.invalid_tool_calls:
            yield from super()._stream(messages)
            return
        whole = self._answer(messages)
        calls = [tool_call_chunk(name=c["name"], args=c["args"], id=c["id"]) for c in whole.invalid_tool_calls]
        chunk = AIMessageChunk(content=whole.content, id=whole.id, tool_call_chunks=calls)
        chunk.response_metadata = whole.response_metadata
        yield ChatGenerationChunk(message=chunk)


class Case:
    """A first tier whose answer is rejected, and why."""

    def __init__(
        self,
        why: str,
        script: Any,
        *,
        check: Any = None,
        last: Any = None,
        bodies: str = "one call, loop",
        **agent: Any,
    ) -> None:
        self.why, self.script, self.check, self.bodies, self.agent = why, script, check, bodies, agent
        self.last = last or say("accepted words")
        self.floor = "mini" if why == "hands up" else "nano"  # hand_up is for a tier that lacks tools

    def __repr__(self) -> str:
        return self.why


REFUSAL = AIMessage("", additional_kwargs={"refusal": f"I will not {SECRET}."})
REFUSAL_BLOCK = AIMessage([{"type": "refusal", "refusal": f"I will not {SECRET}."}])
BROKEN = AIMessage("", invalid_tool_calls=[invalid_tool_call(name="refund", args=f"{SECRET}!", id="b1", error=None)])
HAND_UP = calls("hand_up", {"reason": "too hard", "note": SECRET}, f"I think {SECRET}")
CASES = [
    Case("reject_secret", say(f"the answer is {SECRET}"), check=reject_secret),
    Case("ask_a_model", say(f"the answer is {SECRET}"), check=ask_a_model),
    Case("agreement", say(SECRET), check=agreement(model("mini", say(f"un{SECRET}")))),
    Case("judge", say(f"the answer is {SECRET}"), check=judge(model("flagship", scored))),
    Case(
        "matches_schema",
        say(f"{SECRET} prose"),
        last=say('{"count": 7}'),
        bodies="loop",
        response_format=ProviderStrategy(Count),
    ),
    Case(
        "matches_schema",
        calls("Count", {"count": SECRET}),
        last=calls("Count", {"count": 7}),
        bodies="loop",
        response_format=ToolStrategy(Count),
    ),
    Case("not_refused", words(REFUSAL)),
    Case("not_refused", words(REFUSAL_BLOCK)),
    Case("finished", say(f"half {SECRET}", "length")),
    Case("valid_tool_calls", calls("refund", {"order": SECRET}, f"I refund {SECRET}")),
    Case("valid_tool_calls", words(BROKEN)),
    Case("not_stalled", goes_round, bodies="loop"),
    Case("hands up", HAND_UP),
]
EVERY = [pytest.param(case, body, id=f"{case}-{body}") for case in CASES for body in case.bodies.split(", ")]
KINDS = pytest.mark.parametrize("kind", [Streams, ScriptedModel], ids=["streams", "comes whole"])


def agent_of(case: Case, body: str, kind: Any = Streams, **more: Any) -> Any:
    """Make an agent whose first tier is held, since a check of one's own stands behind it, and is then rejected."""
    nano = Tier("nano", model("nano", case.script, kind), criteria="", checks=[case.check or accept])
    mini = Tier("mini", model("mini", case.last, kind), criteria="", checks=[accept])
    if case.floor == "mini" and body == "loop":
        nano = replace(nano, tools=[look])
    given = {
        "tools": [refund] if body == "loop" or case.floor == "mini" else [],
        "policy": Policy("cascade", floors={"tools": case.floor}),
    }
    return create_tiered_agent([nano, mini, *tiers(flagship=say("flagship"))], **{**given, **case.agent, **more})


def request(case: Case, body: str) -> Any:
    return ask(REFUND if body == "loop" and case.floor == "nano" else LABEL)


def told(value: Any) -> str:
    """Write down all that a listener gets, save the channels that hold what is rejected."""
    inner = _inner(value)
    if isinstance(inner, dict):
        return " ".join(f"{key}: {told(each)}" for key, each in inner.items() if key not in HIDDEN)
    if isinstance(inner, (list, tuple)):
        return " ".join(map(told, inner))
    return str(inner)


def _inner(value: Any) -> Any:
    if isinstance(value, BaseMessage):
        return message_to_dict(value)
    if isinstance(value, Command):
        return value.update
    if isinstance(value, Overwrite):
        return value.value
    return value.model_dump() if isinstance(value, BaseModel) else value


@KINDS
@pytest.mark.parametrize("subgraphs", [False, True], ids=["alone", "subgraphs"])
@pytest.mark.parametrize(("case", "body"), EVERY)
def test_what_is_rejected_is_in_no_stream(stream: Any, case: Case, body: str, subgraphs: bool, kind: Any) -> None:  # noqa: FBT001  (a parameter)
    saver = InMemorySaver()
    agent = agent_of(case, body, kind, checkpointer=saver)
    parts = stream(agent, request(case, body), config=THREAD, stream_mode=MODES, subgraphs=subgraphs)
    assert SECRET not in told(parts)
    stored: Any = saver.get_tuple(THREAD)
    values = stored.checkpoint["channel_values"]
    assert SECRET in str(values["attempts"])
    assert SECRET not in told(values)
    assert case.why in values["route"]["reason"]
    assert values["route"]["tier"] == "mini"
    assert not any(message.text or message.additional_kwargs for message in values["messages"][1:-1] if _is_ai(message))


def _is_ai(message: BaseMessage) -> bool:
    return isinstance(message, AIMessage)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("body", ["one call", "loop"])
def test_each_stream_alone_is_as_silent(stream: Any, body: str, mode: str) -> None:
    case = CASES[0]
    for subgraphs in (False, True):
        parts = stream(agent_of(case, body), request(case, body), stream_mode=mode, subgraphs=subgraphs)
        assert SECRET not in told(parts)
        assert parts


@pytest.mark.parametrize("body", ["one call", "loop"])
async def test_a_model_that_an_async_check_asks_is_in_no_stream_either(body: str) -> None:
    case = Case("aask_a_model", say(f"the answer is {SECRET}"), check=aask_a_model)
    agent = agent_of(case, body)
    parts = [part async for part in agent.astream(request(case, body), stream_mode=MODES, subgraphs=True)]
    assert SECRET not in told(parts)
    assert "accepted words" in told(parts)


@KINDS
@pytest.mark.parametrize(("case", "body"), EVERY)
async def test_events_tell_it_only_of_what_is_tagged_nostream(case: Case, body: str, kind: Any) -> None:
    """A trace shows every call; whoever shows events to users leaves out those with LangGraph's own tag."""
    agent = agent_of(case, body, kind)
    events = [event async for event in agent.astream_events(request(case, body), version="v2")]
    shown = [event for event in events if "nostream" not in event.get("tags", ())]
    assert SECRET not in told(shown)
    assert {event["event"] for event in shown} >= {"on_chain_start", "on_chain_stream", "on_chain_end"}
    assert SECRET in told([event for event in events if event["event"] == "on_chat_model_end"])


@pytest.mark.parametrize(("case", "body"), EVERY)
def test_the_error_of_a_run_without_an_answer_does_not_quote_it(run: Any, case: Case, body: str) -> None:
    agent = agent_of(case, body, policy=Policy("cascade", floors={"tools": case.floor}, max_escalations=0))
    with pytest.raises(NoAnswerAcceptedError) as raised:
        run(agent, request(case, body))
    assert SECRET not in str(raised.value)
    assert SECRET in str(raised.value.attempts)


@KINDS
@pytest.mark.parametrize("subgraphs", [False, True], ids=["alone", "subgraphs"])
@pytest.mark.parametrize("body", ["one call", "loop"])
@pytest.mark.parametrize("rejected", [False, True], ids=["at once", "after an escalation"])
def test_an_accepted_held_answer_comes_once_as_one_message(
    stream: Any,
    rejected: bool,  # noqa: FBT001  (a parameter)
    body: str,
    subgraphs: bool,  # noqa: FBT001  (a parameter)
    kind: Any,
) -> None:
    first = say(f"it is {SECRET}") if rejected else call_then("refund", {"order": 7}, say("accepted words"))
    first = first if rejected or body == "loop" else say("accepted words")
    case = Case("reject_secret", first, check=reject_secret)
    parts = stream(agent_of(case, body, kind), request(case, body), stream_mode="messages", subgraphs=subgraphs)
    messages = [part[1][0] if subgraphs else part[0] for part in parts]
    assert [message.text for message in messages if message.text and message.type != "tool"] == ["accepted words"]
    (answer,) = (message for message in messages if message.text == "accepted words")
    assert not isinstance(answer, AIMessageChunk)


@pytest.mark.parametrize("body", ["one call", "loop"])
def test_a_tier_that_is_not_held_streams_its_tokens_after_one_that_was(stream: Any, body: str) -> None:
    nano = Tier("nano", model("nano", say(f"it is {SECRET}")), criteria="", checks=[reject_secret])
    agent = create_tiered_agent(
        [nano, *tiers(mini=say("these are accepted words"))],
        policy=Policy("cascade", floors={"tools": "nano"}),
        tools=[refund] if body == "loop" else [],
    )
    parts = stream(agent, ask(REFUND if body == "loop" else LABEL), stream_mode="messages", subgraphs=True)
    chunks = [chunk.text for _, (chunk, _) in parts if chunk.text]
    assert chunks == ["these ", "are ", "accepted ", "words"]


@pytest.mark.parametrize("wrap", [ProviderStrategy, ToolStrategy])
def test_a_value_of_the_schema_that_a_users_check_rejects_is_kept_back_too(
    stream: Any, wrap: Callable[[type[BaseModel]], Any]
) -> None:
    def small(given: Any) -> bool:
        return "4242" not in str(given.answer)

    def answer(count: int) -> Any:
        return say(f'{{"count": {count}}}') if wrap is ProviderStrategy else calls("Count", {"count": count})

    scripted = tiers(nano=answer(4242), mini=answer(7))
    agent = create_tiered_agent(
        [replace(scripted[0], checks=[small]), scripted[1]], policy=Policy("cascade"), response_format=wrap(Count)
    )
    parts = stream(agent, ask(LABEL), stream_mode=MODES, subgraphs=True)
    assert "4242" not in told(parts)
    final = parts[-1][2]
    assert final["structured_response"] == Count(count=7)
    assert [entry["outcome"] for entry in final["ledger"]] == ["rejected", "accepted"]
    assert sum(message.type == "ai" for message in final["messages"]) == 1
