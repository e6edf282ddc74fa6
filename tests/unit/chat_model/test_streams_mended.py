"""A stream is the same call as a whole answer: for tracers, for the ledger, for the engine, and in its form."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, closing
from contextvars import copy_context
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock
from uuid import uuid4

import pytest
from fakes import LABEL, REFUND, ScriptedModel, StreamingModel, in_turn, model, say
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.messages.tool import tool_call
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers import BaseTracer
from langchain_core.tracers.context import tracing_v2_enabled
from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph
from langsmith import Client
from unit.chat_model.fakes_chat_model import Ways, outcomes, tiered, tiers, whole

from langchain_tiered import Policy, Tier, TieredChatModel, collect_ledger, create_tiered_agent
from langchain_tiered.cascade import judge
from langchain_tiered.errors import InvalidPolicyError, InvalidTierError
from langchain_tiered.offline.server import OfflineServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


class Traced(BaseTracer):
    """Keeps each run, and finds its children by their parents' ids."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[Any] = []

    def _persist_run(self, run: Any) -> None:
        pass

    def _end_trace(self, run: Any) -> None:
        self.runs.append(run)
        super()._end_trace(run)

    @property
    def ours(self) -> list[Any]:
        """The runs of tiered models."""
        return [run for run in self.runs if run.name == "TieredChatModel"]


class Empty(StreamingModel):
    """Its stream ends before it began."""

    streaming: bool = False

    def _stream(self, messages: Any, *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:
        self.asked.append(list(messages))
        yield from ()


class Open(StreamingModel):
    """Tells when its stream is closed."""

    closed: list[str] = []  # noqa: RUF012  (pydantic copies it)

    def _stream(self, messages: Any, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        try:
            yield from super()._stream(messages, *args, **kwargs)
        finally:
            self.closed.append("stream")

    async def _astream(self, messages: Any, *_: Any, **__: Any) -> AsyncIterator[ChatGenerationChunk]:
        try:
            for part in super()._stream(messages):
                yield part
        finally:
            self.closed.append("astream")


class Bare:
    """An async iterator, and no generator: it cannot be closed."""

    def __init__(self, parts: Iterator[Any]) -> None:
        self.parts = parts

    def __aiter__(self) -> Bare:
        return self

    async def __anext__(self) -> Any:
        for part in self.parts:
            return part
        raise StopAsyncIteration


def told(run: Any) -> tuple[Any, ...]:
    metadata = run.extra.get("metadata") or {}
    return run.tags, *(metadata.get(name) for name in ("tier", "task", "decided_by", "cost_usd"))


def refund(order: int) -> str:
    """Refund an order."""
    return f"Order {order} refunded."


def test_a_tracer_is_told_of_a_stream_what_it_is_told_of_a_whole_answer(ask: Ways) -> None:
    traced = Traced()
    ask(tiered(), LABEL, {"callbacks": [traced]})
    (run,) = traced.runs
    assert told(run) == (["tier:nano"], "nano", "classify", "rules", pytest.approx(0.000325))


def test_the_model_s_own_run_is_marked_and_not_the_chain_around_it(ask: Ways) -> None:
    traced = Traced()
    ask(RunnableLambda(lambda given: given) | tiered(), LABEL, {"callbacks": [traced], "run_name": "chain"})
    (ours,) = traced.ours
    assert told(ours)[0][-1:] == ["tier:nano"]
    assert told(ours)[1:] == ("nano", "classify", "rules", pytest.approx(0.000325))
    chain = next(run for run in traced.runs if run.name == "chain")
    assert told(chain) == ([], None, None, None, None)
    assert ours.parent_run_id == chain.id


def test_the_model_s_own_run_is_marked_in_a_node(streamed: Ways) -> None:
    traced = Traced()
    asked: Any = tiered()

    def node(state: Any) -> Any:
        return {"messages": [whole(list(asked.stream(state["messages"])))]}

    async def anode(state: Any) -> Any:
        return {"messages": [whole([part async for part in asked.astream(state["messages"])])]}

    graph: Any = StateGraph(MessagesState)
    graph.add_node("node", RunnableLambda(node, anode)).add_edge(START, "node")
    compiled, given = graph.compile(), {"messages": [("user", LABEL)]}
    if streamed.name == "stream":
        list(compiled.stream(given, {"callbacks": [traced]}))
    else:
        Ways("ainvoke")(compiled, given, {"callbacks": [traced]})
    assert [run.name for run in traced.runs if "tier:nano" in run.tags] == ["TieredChatModel"]
    assert told(traced.ours[0])[1:3] == ("nano", "classify")


def test_what_a_call_asks_hangs_below_its_own_run(ask: Ways) -> None:
    traced = Traced()
    args = {"reason": "x", "score": 5}
    judging = model("judge", say("", tool_calls=[tool_call(name="Judgement", args=args, id="call_1")]))
    ask(tiered(model={"checks": [judge(judging)]}), LABEL, {"callbacks": [traced]})
    (ours,) = traced.ours
    assert [run.name for run in traced.runs if run.run_type == "llm"] == ["StreamingModel", "TieredChatModel"]
    assert {run.trace_id for run in traced.runs} == {ours.id}
    assert [run.id for run in traced.runs if run.parent_run_id is None] == [ours.id]


def test_an_attempt_that_is_rejected_is_marked_on_the_model_s_own_run(ask: Ways) -> None:
    traced = Traced()
    ask(tiered(nano=say("")), LABEL, {"callbacks": [traced]})
    assert set(traced.runs[0].tags) == {"tiered:rejected", "tier:mini"}


def test_a_run_is_marked_for_a_tracer_that_no_config_names(ask: Ways) -> None:
    client = MagicMock(spec=Client)
    with tracing_v2_enabled(client=client) as tracer:
        ask(tiered(), LABEL)
        tracer.wait_for_futures()
    (ended,) = [call.kwargs for call in client.update_run.mock_calls]
    assert (ended["name"], ended["tags"]) == ("TieredChatModel", ["tier:nano"])
    assert ended["extra"]["metadata"]["tier"] == "nano"


def test_one_config_makes_a_run_for_each_stream_and_stays_as_it_is(streamed: Ways) -> None:
    traced = Traced()
    config = {"callbacks": [traced], "tags": ["mine"]}
    for _ in range(2):
        streamed(tiered(), LABEL, config)
    assert len({run.id for run in traced.runs}) == len(traced.runs) == 2
    assert config == {"callbacks": [traced], "tags": ["mine"]}


def test_a_run_id_that_is_given_is_the_run_s(streamed: Ways) -> None:
    traced, given = Traced(), uuid4()
    message = streamed(tiered().bind(stop=["x"]), LABEL, {"callbacks": [traced], "run_id": given})
    assert [run.id for run in traced.runs] == [given]
    assert told(traced.runs[0])[0] == ["tier:nano"]
    assert message.text == "nano says it"


def test_a_model_that_must_not_stream_is_marked_once(streamed: Ways) -> None:
    traced = Traced()
    streamed(tiered(model={"disable_streaming": True}), LABEL, {"callbacks": [traced]})
    assert [told(run)[:2] for run in traced.runs] == [(["tier:nano"], "nano")]


@pytest.mark.parametrize("inside", [False, True], ids=["model", "chain"])
async def test_events_are_of_one_run_that_is_marked(inside: bool) -> None:  # noqa: FBT001  (a case of the table)
    traced = Traced()
    asked: Any = RunnableLambda(lambda given: given) | tiered() if inside else tiered()
    events = [event async for event in asked.astream_events(LABEL, {"callbacks": [traced]}, version="v2")]
    of_model = [event for event in events if event["name"] == "TieredChatModel"]
    (ours,) = traced.ours
    assert {event["run_id"] for event in of_model} == {str(ours.id)}
    assert [event["event"] for event in of_model][:2] == ["on_chat_model_start", "on_chat_model_stream"]
    assert told(ours)[0][-1] == "tier:nano"


def test_several_streams_in_a_batch_of_threads_are_marked_one_by_one() -> None:
    traced = Traced()
    asked = tiered()
    chain = RunnableLambda(lambda given: whole(list(asked.stream(given))))
    chain.batch([LABEL] * 5, {"callbacks": [traced]})
    assert [told(run)[:2] for run in traced.ours] == [(["tier:nano"], "nano")] * 5
    assert len({run.id for run in traced.ours}) == 5


def with_empty(*, all_tiers: bool = False, **settings: Any) -> TieredChatModel:
    empty = [Tier(t.name, Empty(model_name=t.model.model_name, script=t.model.script, **settings), criteria=t.name)  # type: ignore[union-attr]
             for t in tiers()]  # fmt: skip
    return TieredChatModel(empty if all_tiers else [empty[0], *tiers()[1:]], classifier=None)


def test_an_empty_stream_is_a_failure_that_the_next_tier_answers_for(ask: Ways) -> None:
    with collect_ledger() as ledger:
        message = ask(with_empty(streaming=True), LABEL)
    assert message.text == "mini says it"
    assert outcomes(message) == [("nano", "failed"), ("mini", "accepted")]
    assert [entry["outcome"] for entry in ledger.entries] == ["failed", "accepted"]


def test_empty_streams_alone_end_in_langchain_s_error_with_what_was_tried(ask: Ways) -> None:
    with collect_ledger() as ledger, pytest.raises(ValueError, match="No generation") as raised:
        ask(with_empty(all_tiers=True, streaming=True), LABEL)
    error: Any = raised.value
    assert [(entry["tier"], entry["outcome"]) for entry in error.ledger] == [
        ("nano", "failed"),
        ("mini", "failed"),
        ("flagship", "failed"),
    ]
    assert [attempt["failure"]["kind"] for attempt in error.attempts] == ["outage"] * 3
    assert [entry["id"] for entry in ledger.entries] == [entry["id"] for entry in error.ledger]


@pytest.mark.parametrize("version", ["messages", "v3"])
@pytest.mark.filterwarnings("ignore:The v3 streaming protocol")
def test_an_agent_escalates_over_an_empty_stream(version: str) -> None:
    agent: Any = create_tiered_agent(with_empty().tiers, router=None)
    given = {"messages": [("user", LABEL)]}
    if version == "v3":
        result = agent.stream_events(given, version="v3").output
    else:
        *_, (_, result) = agent.stream(given, stream_mode=["messages", "values"])
    assert result["messages"][-1].text == "mini says it"
    assert [(entry["tier"], entry["outcome"]) for entry in result["ledger"]] == [
        ("nano", "failed"),
        ("mini", "accepted"),
    ]


def opened(**fields: Any) -> tuple[TieredChatModel, list[str]]:
    first = tiers(Open)[0]
    return TieredChatModel([first, *tiers()[1:]], classifier=None, **fields), first.model.closed  # type: ignore[union-attr]


async def test_a_stream_that_is_closed_has_ended_its_call() -> None:
    asked, closed = opened()
    with collect_ledger() as ledger:
        parts: Any = asked.astream(LABEL)
        assert (await anext(parts)).text == "nano "
        await parts.aclose()
        assert closed == ["astream"]
        assert [(entry["tier"], entry["outcome"]) for entry in ledger.entries] == [("nano", "failed")]


async def test_a_stream_that_is_closed_behind_its_second_word_has_ended_its_call() -> None:
    asked, closed = opened()
    with collect_ledger() as ledger:
        async with aclosing(asked.astream(LABEL)) as parts:  # type: ignore[type-var]
            assert [(await anext(parts)).text, (await anext(parts)).text] == ["nano ", "says "]
        assert closed == ["astream"]
        assert [entry["outcome"] for entry in ledger.entries] == ["failed"]


async def test_a_stream_may_be_closed_by_another_task() -> None:
    asked, closed = opened()
    parts: Any = asked.astream(LABEL)
    await asyncio.create_task(anext(parts), context=copy_context())
    await asyncio.create_task(parts.aclose(), context=copy_context())
    assert closed == ["astream"]
    assert (await asked.ainvoke(LABEL)).text == "nano says it"


async def test_a_stream_that_was_not_begun_is_closed_without_a_call() -> None:
    asked, closed = opened()
    await asked.astream(LABEL).aclose()  # type: ignore[attr-defined]
    assert closed == []


async def test_a_handler_that_breaks_ends_the_call_at_once() -> None:
    class Breaks(BaseCallbackHandler):
        raise_error = True

        def on_llm_new_token(self, *_: Any, **__: Any) -> None:
            raise LookupError("full")

    asked, closed = opened()
    with collect_ledger() as ledger:
        with pytest.raises(LookupError):
            await anext(asked.astream(LABEL, {"callbacks": [Breaks()]}))
        assert closed == ["astream"]
        assert [entry["outcome"] for entry in ledger.entries] == ["failed"]


def test_a_sync_stream_that_is_closed_has_ended_its_call() -> None:
    asked, closed = opened()
    with collect_ledger() as ledger:
        with closing(asked.stream(LABEL)) as parts:  # type: ignore[type-var]
            next(parts)
        assert closed == ["stream"]
        assert [entry["outcome"] for entry in ledger.entries] == ["failed"]


async def test_a_stream_that_is_no_generator_is_taken() -> None:
    class Iterates(StreamingModel):
        def _astream(self, messages: Any, *_: Any, **__: Any) -> Any:
            return Bare(super()._stream(messages))

    asked = tiered(Iterates)
    assert "".join([part.text async for part in asked.astream(LABEL)]) == "nano says it"


def bare(value: Any) -> Any:
    """Return blocks without what each call makes anew."""
    if isinstance(value, dict):
        return {name: bare(each) for name, each in value.items() if name not in {"id", "call_id", "item_id"}}
    return [bare(each) for each in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with OfflineServer() as server:
        yield server.url


@pytest.mark.parametrize("responses", [False, True], ids=["chat", "responses"])
@pytest.mark.parametrize("whose", ["the tier's", "the model's", "both", "nobody's"])
@pytest.mark.parametrize("calls", [False, True], ids=["words", "a call"])
def test_a_stream_has_the_form_that_chat_openai_s_has(
    ask: Ways,
    url: str,
    whose: str,
    responses: bool,  # noqa: FBT001  (a column of the table)
    calls: bool,  # noqa: FBT001  (as above)
) -> None:
    form: dict[str, Any] = {"output_version": "v1"}
    inner, outer = whose in {"the tier's", "both"}, whose in {"the model's", "both"}

    def asked_of(given: Any) -> Any:
        bound, words = (given.bind_tools([refund]), REFUND) if calls else (given, LABEL)
        parts = ask.parts(bound, words) if ask.name.endswith("stream") else [ask(bound, words)]
        message = whole(parts)
        blocks = [bare(part.content_blocks) for part in parts if part.content_blocks]
        return bare(message.content), bare(message.content_blocks), blocks

    settings: Any = {"base_url": url, "api_key": "k", "use_responses_api": responses, "stream_usage": True}
    plain, tier = (
        ChatOpenAI(model="gpt-5.4-mini", **settings, **(form if is_form else {})) for is_form in (inner or outer, inner)
    )
    ours = TieredChatModel([Tier("mini", tier, criteria="All.")], classifier=None, **(form if outer else {}))
    assert asked_of(ours) == asked_of(plain)


def test_a_call_behind_words_is_a_block_of_its_own(streamed: Ways) -> None:
    bad = AIMessage("I will.", tool_calls=[tool_call(name="refund", args={"order": "x"}, id="call_1")])
    good = AIMessage("Now I will.", tool_calls=[tool_call(name="refund", args={"order": 1042}, id="call_2")])
    script = in_turn(lambda _: bad, lambda _: good)
    blocks = StreamingModel(model_name="gpt-5.4-nano", script=script, output_version="v1")
    asked: Any = TieredChatModel([Tier("nano", blocks, criteria="All.")], classifier=None).bind_tools([refund])
    message = whole(streamed.parts(asked, REFUND))
    assert outcomes(message) == [("nano", "rejected"), ("nano", "tool_turn")]
    assert [block["type"] for block in message.content] == ["text", "tool_call"]
    assert message.content == message.content_blocks
    assert message.content[-1]["args"] == message.tool_calls[0]["args"] == {"order": 1042}


def test_an_answer_that_was_held_is_in_blocks_too(ask: Ways) -> None:
    blocks = StreamingModel(model_name="gpt-5.4-nano", script=say("nano says it"), output_version="v1")
    checked: Any = {"classifier": None, "checks": [lambda given: bool(given.answer.text)]}
    message = ask(TieredChatModel([Tier("nano", blocks, criteria="All."), *tiers()[1:]], **checked), LABEL)
    assert [{"type": block["type"], "text": block["text"]} for block in message.content] == [
        {"type": "text", "text": "nano says it"}
    ]


class Spoken(StreamingModel):
    """Says of each part who made it."""

    def _stream(self, messages: Any, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for part in super()._stream(messages, *args, **kwargs):
            told = {"model_provider": "openai", **part.message.response_metadata}
            yield ChatGenerationChunk(message=part.message.model_copy(update={"response_metadata": told}))


def test_who_made_a_message_stands_there_once(ask: Ways) -> None:
    message = ask(tiered(Spoken, model={"streaming": True}), LABEL)
    assert message.response_metadata["model_provider"] == "openai"


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"tiers": 5}, InvalidTierError, r"tiers=5: expected a sequence of Tier"),
        (
            {"tiers": [{}]},
            InvalidTierError,
            r"dict with nothing.* missing .*'name' and 'model'.* Settings: name, model",
        ),
        ({"tiers": [{"name": "n", "model": "openai:x"}]}, InvalidTierError, "'name', 'model', .* missing .*'criteria'"),
        (
            {"tiers": [{"name": "n", "model": "openai:x", "criteria": "c", "rate": 1}]},
            InvalidTierError,
            r"no setting 'rate' \(did you mean 'rates'\?\). Settings: name",
        ),
        (
            {"tiers": [{"name": "n", "model": "openai:x", "criteria": "c", "rates": {"input": 1}}]},
            InvalidTierError,
            r"A Rates, .* no setting 'input' \(did you mean 'input_usd'\?\). Settings: input_usd, output_usd",
        ),
        ({"policy": "classify"}, InvalidPolicyError, "policy='classify': expected a Policy, a dict of its settings"),
        (
            {"policy": {"pinn": "nano"}},
            InvalidPolicyError,
            r"no setting 'pinn' \(did you mean 'pin'\?\). Settings: strategy",
        ),
        ({"policy": {1: 2}}, InvalidPolicyError, "no setting 1. Settings: strategy"),
    ],
)
def test_what_makes_no_model_is_named_with_the_mend(given: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        TieredChatModel(**{"tiers": tiers(), "classifier": None, **given})


def test_what_is_set_later_is_looked_at_too() -> None:
    for name, value, error in (("policy", "classify", InvalidPolicyError), ("tiers", 5, InvalidTierError)):
        asked = tiered()
        setattr(asked, name, value)
        with pytest.raises(error, match=f"{name}="):
            asked.invoke(LABEL)


def test_plain_values_make_a_model() -> None:
    given: Any = [{"name": "nano", "model": model("nano", say("yes")), "criteria": "All.", "rates": {"input_usd": 1, "output_usd": 2}}]  # fmt: skip  # noqa: E501  (a value)
    asked = TieredChatModel(given, classifier=None, policy={"pin": "nano"})  # type: ignore[arg-type]
    assert asked.policy == Policy(pin="nano")
    assert asked.invoke(LABEL).text == "yes"


class Ended(BaseCallbackHandler):
    """Keeps what stands beside the messages of a call."""

    run_inline = True

    def __init__(self) -> None:
        self.outputs: list[Any] = []

    def on_llm_end(self, response: Any, **_: Any) -> None:
        self.outputs.append(response.llm_output)


def generated(way: str, asked: Any, prompts: list[str], **more: Any) -> Any:
    given = [[HumanMessage(prompt)] for prompt in prompts]
    return asyncio.run(asked.agenerate(given, **more)) if way == "agenerate" else asked.generate(given, **more)


USED = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}


@pytest.mark.parametrize("way", ["generate", "agenerate"])
def test_the_name_and_the_tokens_of_the_answering_call_stand_beside_the_messages(way: str) -> None:
    ended = Ended()
    result = generated(way, tiered(nano=say("")), [LABEL], callbacks=[ended])
    assert result.llm_output == {"model_name": "gpt-5.4-mini", "token_usage": USED}
    assert ended.outputs == [result.llm_output]
    message = result.generations[0][0].message
    assert message.usage_metadata == {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100}
    assert "token_usage" not in message.response_metadata


@pytest.mark.parametrize("way", ["generate", "agenerate"])
def test_the_tokens_of_several_prompts_are_added_up_with_their_details(way: str) -> None:
    class Tells(ScriptedModel):
        def _generate(self, messages: Any, *_: Any, **__: Any) -> ChatResult:
            details = {"reasoning_tokens": 3, "audio_tokens": None}
            used = {**USED, "completion_tokens_details": details}
            return ChatResult(
                generations=[ChatGeneration(message=self._answer(messages))],
                llm_output={"token_usage": used, "model_name": "gpt-5.4-nano"},
            )

        async def _agenerate(self, messages: Any, *_: Any, **__: Any) -> ChatResult:
            return self._generate(messages)

    result = generated(way, tiered(Tells), [LABEL, LABEL])
    assert result.llm_output == {
        "model_name": "gpt-5.4-nano",
        "token_usage": {
            "prompt_tokens": 2000,
            "completion_tokens": 200,
            "total_tokens": 2200,
            "completion_tokens_details": {"reasoning_tokens": 6, "audio_tokens": None},
        },
    }


@pytest.mark.parametrize("way", ["generate", "agenerate"])
def test_two_models_that_answered_have_no_one_name(way: str) -> None:
    output = generated(way, tiered(), [LABEL, "Prove that the square root of two is irrational."]).llm_output
    assert output["model_name"] is None
    assert output["token_usage"]["total_tokens"] == 2200


@pytest.mark.parametrize("way", ["generate", "agenerate"])
def test_what_a_cache_gives_has_used_nothing(way: str) -> None:
    asked = tiered(model={"cache": InMemoryCache()})
    generated(way, asked, [LABEL])
    assert generated(way, asked, [LABEL]).llm_output == {"model_name": "gpt-5.4-nano", "token_usage": {}}
