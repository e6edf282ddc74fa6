"""Words stream as they come; what may have to be taken back is kept; what is told of the call stands there once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from fakes import LABEL, PROOF, REFUND, ScriptedModel, StreamingModel, call_then, in_turn, say
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.tool import tool_call, tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import BaseModel
from unit.chat_model.fakes_chat_model import Ways, outcomes, tiered, tiers, whole

from langchain_tiered import Policy, Tier, TieredChatModel, collect_ledger
from langchain_tiered.accounting.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Iterator


class Breaks(StreamingModel):
    """Its stream breaks off behind two words."""

    def _stream(self, messages: Any, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for place, part in enumerate(super()._stream(messages, *args, **kwargs)):
            if place == 2:
                raise ConnectionError("peer closed connection")
            yield part


class NamesFirst(ScriptedModel):
    """Tells its name and the input's tokens before it says anything, as Anthropic's models do."""

    def _stream(self, messages: Any, *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:
        whole = self._answer(messages)
        usage = {"input_tokens": 1000, "output_tokens": 0, "total_tokens": 1000}
        name = {"model_name": self.model_name}
        calls = [tool_call_chunk(name=c["name"], args=json.dumps(c["args"]), id=c["id"]) for c in whole.tool_calls]
        for told in (
            {"response_metadata": name, "usage_metadata": usage},
            {"content": whole.text},
            {"tool_call_chunks": calls},
            {"usage_metadata": {"input_tokens": 0, "output_tokens": 100, "total_tokens": 100}},
        ):
            yield ChatGenerationChunk(message=AIMessageChunk(**{"content": "", **told}))
        yield ChatGenerationChunk(message=AIMessageChunk(content=""), generation_info={"stop_reason": "end_turn"})

    async def _astream(self, messages: Any, *_: Any, **__: Any) -> Any:
        for part in self._stream(messages):
            yield part


class Thinks(StreamingModel):
    """Reasons in a block of its own before it says anything."""

    def _stream(self, messages: Any, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        yield ChatGenerationChunk(
            message=AIMessageChunk(content=[{"type": "reasoning", "reasoning": "Hm.", "index": 0}])
        )
        yield from super()._stream(messages, *args, **kwargs)


class Watched(BaseCallbackHandler):
    """Counts what a user's own handler is told."""

    run_inline = True

    def __init__(self) -> None:
        self.starts, self.tokens, self.ends = 0, list[Any](), 0

    def on_chat_model_start(self, *_: Any, **__: Any) -> None:
        self.starts += 1

    def on_llm_new_token(self, token: Any, **_: Any) -> None:
        self.tokens.append(token)

    def on_llm_end(self, *_: Any, **__: Any) -> None:
        self.ends += 1


def refund(order: int) -> str:
    """Refund an order."""
    return f"Order {order} refunded."


def texts(parts: Any) -> list[str]:
    return [part.text for part in parts if part.text]


def test_words_come_one_by_one_and_no_word_twice(streamed: Ways) -> None:
    parts = streamed.parts(tiered(), LABEL)
    assert texts(parts) == ["nano ", "says ", "it"]
    assert [part.chunk_position for part in parts] == [None, None, None, "last"]


def test_what_is_told_of_the_call_stands_there_once(streamed: Ways) -> None:
    message = whole(streamed.parts(tiered(nano=say("", "length")), LABEL))
    assert message.response_metadata["model_name"] == "gpt-5.4-mini"
    assert message.response_metadata["finish_reason"] == "stop"
    assert message.response_metadata["route"]["tier"] == "mini"
    assert outcomes(message) == [("nano", "rejected"), ("mini", "accepted")]
    assert message.usage_metadata["total_tokens"] == 1100


def test_the_first_word_is_there_before_the_last_is_made() -> None:
    made: list[str] = []

    class Noted(StreamingModel):
        def _stream(self, messages: Any, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
            for part in super()._stream(messages, *args, **kwargs):
                made.append(str(part.text))
                yield part

    parts = tiered(Noted).stream(LABEL)
    assert next(parts).text == "nano "
    assert made == ["nano "]


def test_a_handler_of_the_caller_s_sees_one_model_and_each_word_once(streamed: Ways) -> None:
    watched = Watched()
    streamed.parts(tiered(nano=say("", "length")), LABEL, {"callbacks": [watched]})
    assert (watched.starts, watched.ends) == (1, 1)
    assert [token for token in watched.tokens if token] == ["mini ", "says ", "it"]


def test_a_refusal_is_never_seen(streamed: Ways) -> None:
    refusal = AIMessage("", additional_kwargs={"refusal": "I will not."})
    parts = streamed.parts(tiered(nano=lambda _: refusal), LABEL)
    assert texts(parts) == ["mini ", "says ", "it"]
    assert "refusal" not in whole(parts).additional_kwargs


def test_words_that_were_shown_stand_and_are_marked(streamed: Ways) -> None:
    parts = streamed.parts(tiered(nano=say("It is a", "length")), LABEL)
    message = whole(parts)
    assert message.text == "It is a"
    assert message.response_metadata["truncated"] is True
    assert outcomes(message) == [("nano", "truncated")]


def test_a_stream_that_breaks_off_behind_words_stands_and_is_marked(streamed: Ways) -> None:
    model = TieredChatModel([*tiers(Breaks)[:1], *tiers()[1:]], classifier=None)
    with collect_ledger() as ledger:
        message = whole(streamed.parts(model, LABEL))
    assert message.text == "nano says "
    assert message.response_metadata["truncated"] is True
    assert outcomes(message) == [("nano", "truncated")]
    assert [(entry["outcome"], entry["cost_usd"]) for entry in ledger] == [("truncated", None)]


def test_a_call_that_breaks_off_before_any_word_goes_on(streamed: Ways) -> None:
    class Silent(Breaks):
        def _stream(self, messages: Any, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
            yield ChatGenerationChunk(message=AIMessageChunk(content=""))
            raise ConnectionError("peer closed connection")

    model = TieredChatModel([*tiers(Silent)[:1], *tiers()[1:]], classifier=None)
    message = whole(streamed.parts(model, LABEL))
    assert message.text == "mini says it"
    assert outcomes(message) == [("nano", "failed"), ("mini", "accepted")]


def test_reasoning_before_an_empty_answer_is_never_seen(streamed: Ways) -> None:
    model = TieredChatModel([*tiers(Thinks, nano=say("", "length"))[:1], *tiers()[1:]], classifier=None)
    parts = streamed.parts(model, LABEL)
    assert not any("Hm." in str(part.content) for part in parts)


def test_reasoning_before_words_is_shown_with_them(streamed: Ways) -> None:
    model = TieredChatModel(tiers(Thinks), classifier=None)
    assert "Hm." in str(streamed.parts(model, LABEL)[0].content)


def test_a_check_that_reads_the_whole_answer_holds_it(streamed: Ways) -> None:
    def says_mini(given: Any) -> bool:
        return "mini" in given.answer.text

    parts = streamed.parts(tiered(model={"checks": [says_mini]}), LABEL)
    assert "".join(texts(parts)) == "mini says it"


def test_nothing_is_held_where_no_other_attempt_can_follow(streamed: Ways) -> None:
    parts = streamed.parts(tiered(model={"checks": [lambda _: True]}), PROOF)
    assert texts(parts) == ["flagship ", "says ", "it"]


def test_a_tool_call_comes_once_it_is_judged_and_only_the_good_one(streamed: Ways) -> None:
    bad = call_then("refund", {"order": "everything"}, say("done"))
    good = lambda _: AIMessage("", tool_calls=[tool_call(name="refund", args={"order": 7}, id="c2")])  # noqa: E731  (a script)
    parts = streamed.parts(tiered(mini=in_turn(bad, good)).bind_tools([refund]), REFUND)
    message = whole(parts)
    assert [call["args"] for call in message.tool_calls] == [{"order": 7}]
    assert message.invalid_tool_calls == []
    assert "everything" not in str(parts)


def test_words_before_a_malformed_call_are_said_once(streamed: Ways) -> None:
    def calling(args: dict[str, Any]) -> Any:
        call = tool_call(name="refund", args=args, id=f"c{args}")
        return lambda _: AIMessage("I refund it. Now", tool_calls=[call])

    model = tiered(mini=in_turn(calling({"order": "everything"}), calling({"order": 7})))
    message = whole(streamed.parts(model.bind_tools([refund]), REFUND))
    assert message.text.count("I refund it.") == 1
    assert [call["args"] for call in message.tool_calls] == [{"order": 7}]


def calling(args: dict[str, Any]) -> Any:
    call = tool_call(name="refund", args=args, id=f"c{args}")
    return lambda _: AIMessage("I refund it.", tool_calls=[call])


@pytest.mark.parametrize("kind", [NamesFirst, StreamingModel], ids=["names first", "names last"])
def test_a_mended_call_tells_one_name_and_its_own_usage(streamed: Ways, kind: Any) -> None:
    model = tiered(kind, mini=in_turn(calling({"order": "everything"}), calling({"order": 7})))
    parts = streamed.parts(model.bind_tools([refund]), REFUND)
    message = whole(parts)
    assert message.text.count("I refund") == 1
    assert message.response_metadata["model_name"] == "gpt-5.4-mini"
    assert (message.usage_metadata["input_tokens"], message.usage_metadata["output_tokens"]) == (1000, 100)
    assert outcomes(message) == [("mini", "rejected"), ("mini", "tool_turn")]
    assert [bool(part.response_metadata or part.usage_metadata) for part in parts][:-1] == [False] * (len(parts) - 1)


def test_what_a_provider_tells_first_and_last_stands_there_once(streamed: Ways) -> None:
    message = whole(streamed.parts(tiered(NamesFirst), LABEL))
    assert message.response_metadata.items() >= {"model_name": "gpt-5.4-nano", "stop_reason": "end_turn"}.items()
    assert message.usage_metadata["total_tokens"] == 1100


def test_a_tiered_tier_is_heard_by_who_listens_after_words_too(streamed: Ways) -> None:
    outer = [*tiers(mini=calling({"order": "everything"}))[:2], Tier("in", tiered(), criteria="all")]
    model = TieredChatModel(outer, classifier=None).bind_tools([refund])
    heard = Recorder()
    message = whole(streamed.parts(model, REFUND, {"callbacks": [heard]}))
    assert [entry["id"] for entry in heard.entries] == [e["id"] for e in message.response_metadata["ledger"]]
    assert len(heard.entries) == 3


def test_a_call_that_is_cut_off_is_not_completed(streamed: Ways) -> None:
    class Cut(StreamingModel):
        def _stream(self, messages: Any, *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:
            self._answer(messages)
            chunk = tool_call_chunk(name="refund", args='{"order": 10', id="c1", index=0)
            told = {"finish_reason": "tool_calls", "model_name": self.model_name}
            part = AIMessageChunk(content="", tool_call_chunks=[chunk], response_metadata=told)
            yield ChatGenerationChunk(message=part)

    made = [tiers()[0], tiers(Cut)[1], tiers(flagship=call_then("refund", {"order": 1042}, say("done")))[2]]
    message = whole(streamed.parts(TieredChatModel(made, classifier=None).bind_tools([refund]), REFUND))
    assert [call["args"] for call in message.tool_calls] == [{"order": 1042}]


def test_a_tier_whose_model_cannot_stream_gives_its_answer_whole(streamed: Ways) -> None:
    parts = streamed.parts(tiered(ScriptedModel), LABEL)
    assert texts(parts) == ["nano says it"]
    assert outcomes(whole(parts)) == [("nano", "accepted")]


def test_what_a_tier_that_cannot_stream_is_rejected_for_is_never_seen(streamed: Ways) -> None:
    parts = streamed.parts(tiered(ScriptedModel, nano=say("half an ans", "length")), LABEL)
    assert texts(parts) == ["mini says it"]


def test_who_stops_listening_is_booked_as_failed_at_an_unknown_cost() -> None:
    with collect_ledger() as ledger:
        parts = tiered().stream(LABEL)
        next(parts)
        parts.close()  # type: ignore[attr-defined]
    assert [(entry["outcome"], entry["cost_usd"]) for entry in ledger] == [("failed", None)]


class Answer(BaseModel):
    count: int


def test_a_structured_answer_is_judged_before_it_is_seen(streamed: Ways) -> None:
    script = in_turn(say("seven"), say('{"count": 7}'))
    model = TieredChatModel([Tier("one", StreamingModel(model_name="gpt-5.4", script=script), criteria="")])
    form = {"type": "json_schema", "json_schema": {"schema": Answer.model_json_schema()}}
    structured = model.bind(response_format=form)
    assert whole(streamed.parts(structured, LABEL)).text == '{"count": 7}'


@pytest.mark.parametrize("kind", [StreamingModel, ScriptedModel], ids=["streams", "comes whole"])
def test_a_node_s_stream_has_each_word_once(kind: Any) -> None:
    model = tiered(kind, nano=say("", "length"))

    def node(state: MessagesState) -> Any:
        return {"messages": [model.invoke(state["messages"])]}

    graph = StateGraph(MessagesState).add_node("node", node).add_edge(START, "node").compile()
    given: Any = {"messages": [("user", LABEL)]}
    parts: list[Any] = [chunk for chunk, _ in graph.stream(given, stream_mode="messages")]
    assert "".join(part.text for part in parts) == "mini says it"


def test_events_tell_one_model_and_each_word_once() -> None:
    import asyncio  # noqa: PLC0415  (only here)

    async def events() -> list[Any]:
        return [event async for event in tiered(nano=say("", "length")).astream_events(LABEL, version="v2")]

    told = asyncio.run(events())
    assert sum(event["event"] == "on_chat_model_start" for event in told) == 1
    words = [event["data"]["chunk"].text for event in told if event["event"] == "on_chat_model_stream"]
    assert "".join(words) == "mini says it"


def test_the_policy_s_last_tier_streams_even_under_checks(streamed: Ways) -> None:
    model = tiered(model={"checks": [lambda _: True], "policy": Policy(pin="nano")})
    assert texts(streamed.parts(model, LABEL)) == ["nano ", "says ", "it"]
