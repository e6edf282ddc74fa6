"""Tools and schemas are bound on the model of the tier that answers, whatever that model makes of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fakes import LABEL, REFUND, ScriptedModel, StreamingModel, fail, in_turn, say
from langchain_core.caches import InMemoryCache
from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage
from langchain_core.messages.tool import tool_call
from langchain_core.runnables import RunnableBinding, RunnableLambda
from langchain_core.tools import tool
from pydantic import BaseModel
from typing_extensions import TypedDict
from unit.chat_model.fakes_chat_model import NAMES, Ways, outcomes, tiered

from langchain_tiered import Policy, Tier, TieredChatModel, collect_ledger
from langchain_tiered.errors import ConfigurationError, NoAnswerAcceptedError, NoTierFitsError


@tool
def refund(order: int) -> str:
    """Refund an order."""
    return f"Order {order} refunded."


def calling(name: str, **args: Any) -> Any:
    return lambda _: AIMessage("", tool_calls=[tool_call(name=name, args=args, id="c1")])


class Answer(BaseModel):
    """An answer."""

    count: int


class AnswerDict(TypedDict):
    """An answer."""

    count: int


class Noting(ScriptedModel):
    """Notes with which keywords it was called."""

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
        NOTED.append({"stop": stop, **kwargs})
        return super()._generate(messages)

    async def _agenerate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
        return self._generate(messages, stop, **kwargs)


NOTED: list[dict[str, Any]] = []


@pytest.fixture(autouse=True)
def _nothing_noted() -> None:
    NOTED.clear()


def test_the_tools_are_bound_on_the_tier_that_answers_as_they_were_given(ask: Ways) -> None:
    model = tiered(mini=calling("refund", order=7))
    message = ask(model.bind_tools([refund], tool_choice="any", strict=True), REFUND)
    assert message.tool_calls[0]["args"] == {"order": 7}
    assert [tier.model.bound for tier in model.tiers] == [[], [[refund]], []]


def test_the_binding_shows_the_tools_in_openai_s_form() -> None:
    bound = tiered().bind_tools([refund], tool_choice="any")
    assert isinstance(bound, RunnableBinding)
    assert bound.kwargs["tools"][0]["function"]["name"] == "refund"
    assert bound.kwargs["tool_choice"] == "any"


def test_the_options_reach_the_tier_s_own_binding() -> None:
    model = tiered(Noting, mini=calling("refund", order=7))
    model.bind_tools([refund], tool_choice="any", strict=True, parallel_tool_calls=False).invoke(REFUND)
    assert NOTED[0].items() >= {"tool_choice": "any", "strict": True, "parallel_tool_calls": False}.items()


def test_a_binding_is_made_once_for_each_model() -> None:
    model = tiered(ScriptedModel, mini=calling("refund", order=7))
    bound = model.bind_tools([refund])
    for _ in range(3):
        bound.invoke(REFUND)
    assert len(model.tiers[1].model.bound) == 1


def test_keywords_of_the_call_come_last() -> None:
    model = tiered(Noting, mini=calling("refund", order=7))
    model.bind_tools([refund], tool_choice="any").invoke(REFUND, tool_choice="auto", seed=3)
    assert NOTED[0].items() >= {"tool_choice": "auto", "seed": 3}.items()


def test_stop_and_other_keywords_reach_the_tier(ask: Ways) -> None:
    ask(tiered(Noting), LABEL, stop=["you"], seed=3)
    assert NOTED == [{"stop": ["you"], "seed": 3}]


def test_the_model_s_own_stop_holds_where_a_call_names_none() -> None:
    tiered(Noting, model={"stop": ["you"]}).invoke(LABEL)
    assert NOTED == [{"stop": ["you"]}]


@pytest.mark.parametrize("strange", ["a chain", "itself"])
def test_a_model_whose_bind_tools_gives_no_binding_is_asked_for_whole_answers(ask: Ways, strange: str) -> None:
    class Strange(StreamingModel):
        def bind_tools(self, tools: Any, **_: Any) -> Any:
            return self if strange == "itself" else RunnableLambda(lambda given: given) | self

    with collect_ledger() as ledger:
        message = ask(tiered(Strange, mini=calling("refund", order=7)).bind_tools([refund]), REFUND)
    assert message.tool_calls[0]["args"] == {"order": 7}
    assert outcomes(message) == [("mini", "tool_turn")]
    assert [entry["id"] for entry in ledger] == [entry["id"] for entry in message.response_metadata["ledger"]]


def test_a_tier_that_cannot_be_given_tools_is_named(ask: Ways) -> None:
    plain = FakeListChatModel(responses=["no"])
    model = TieredChatModel([Tier("plain", plain, criteria="")], classifier=None)
    with pytest.raises(ConfigurationError, match=r"Tier 'plain'.*FakeListChatModel.*tools"):
        ask(model.bind_tools([refund]), REFUND)


def test_no_tier_that_takes_tools_is_an_error_that_names_the_tiers(ask: Ways) -> None:
    models = [StreamingModel(model_name=name, script=say("x"), profile={"tool_calling": False}) for name in NAMES]
    model = TieredChatModel([Tier(each.model_name, each, criteria="") for each in models], classifier=None)
    with pytest.raises(NoTierFitsError, match="nano: tools"):
        ask(model.bind_tools([refund]), REFUND)


def test_a_tool_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="no tool"):
        tiered().bind_tools([7])  # type: ignore[list-item]


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
@pytest.mark.parametrize("schema", [Answer, AnswerDict, Answer.model_json_schema()], ids=["class", "dict", "json"])
def test_an_answer_in_a_schema_is_parsed_whatever_the_method(method: Any, schema: Any) -> None:
    model = tiered(ScriptedModel, **dict.fromkeys(NAMES, calling("Answer", count=7)))
    if schema is AnswerDict:
        model = tiered(ScriptedModel, **dict.fromkeys(NAMES, calling("AnswerDict", count=7)))
    structured = model.with_structured_output(schema, method=method)
    expected = Answer(count=7) if schema is Answer else {"count": 7}
    assert structured.invoke(LABEL) == expected
    assert [*structured.stream(LABEL)][-1] == expected


def test_json_in_words_is_parsed_too(ask: Ways) -> None:
    class ByWords(StreamingModel):
        def with_structured_output(self, schema: Any, **_: Any) -> Any:
            return self.bind(response_format=schema) | RunnableLambda(lambda given: given)

    model = tiered(ByWords, nano=say('{"count": 7}'))
    assert model.with_structured_output(Answer).invoke(LABEL) == Answer(count=7)


def test_a_structured_answer_that_does_not_fit_is_mended_and_then_escalated() -> None:
    model = tiered(
        ScriptedModel, nano=in_turn(calling("Answer", count="many"), calling("Answer", count="more")),
        mini=calling("Answer", count=7),
    )  # fmt: skip
    raw = model.with_structured_output(Answer, method="function_calling", include_raw=True).invoke(LABEL)
    assert raw["parsed"] == Answer(count=7)
    assert raw["parsing_error"] is None
    assert outcomes(raw["raw"]) == [("nano", "rejected"), ("nano", "rejected"), ("mini", "accepted")]


NEVER_FITS: dict[str, Any] = dict.fromkeys(NAMES, calling("Answer", count="many"))
REFUSES: dict[str, Any] = dict.fromkeys(NAMES, lambda _: AIMessage("", additional_kwargs={"refusal": "I will not."}))
SAYS: dict[str, Any] = dict.fromkeys(NAMES, say("seven"))


@pytest.mark.parametrize("scripts", [NEVER_FITS, REFUSES, SAYS], ids=["does not fit", "refuses", "calls nothing"])
@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_what_no_tier_mends_is_raw_beside_its_error(ask: Ways, scripts: Any, method: Any) -> None:
    model = tiered(StreamingModel, **scripts)
    with collect_ledger() as ledger:
        told = ask(model.with_structured_output(Answer, method=method, include_raw=True), LABEL)
    raw, error = told["raw"], told["parsing_error"]
    assert told["parsed"] is None
    assert isinstance(error, NoAnswerAcceptedError)
    assert {attempt["tier"] for attempt in error.attempts} == {"nano", "mini", "flagship"}
    assert {entry["outcome"] for entry in ledger} == {"rejected"}
    assert [entry["id"] for entry in error.ledger] == [entry["id"] for entry in ledger]
    assert outcomes(raw) == [(entry["tier"], "rejected") for entry in ledger]
    assert raw.response_metadata["model_name"] == "gpt-5.4-flagship"
    assert raw.response_metadata["route"]["tier"] == "flagship"
    json.dumps(raw.response_metadata)
    with pytest.raises(NoAnswerAcceptedError):
        ask(model.with_structured_output(Answer, method=method), LABEL)


def test_what_a_check_of_ones_own_rejects_is_never_seen_not_even_raw(ask: Ways) -> None:
    model = tiered(model={"checks": [lambda _: False]}, **dict.fromkeys(NAMES, calling("Answer", count=7)))
    with pytest.raises(NoAnswerAcceptedError):
        ask(model.with_structured_output(Answer, include_raw=True), LABEL)


def test_an_outage_is_raised_with_and_without_raw(ask: Ways) -> None:
    model = tiered(StreamingModel, **dict.fromkeys(NAMES, fail(ConnectionError("down"))))
    with pytest.raises(ConnectionError):
        ask(model.with_structured_output(Answer, include_raw=True), LABEL)


def test_a_cache_keeps_what_was_not_accepted_for_raw_alone() -> None:
    model = tiered(ScriptedModel, model={"cache": InMemoryCache()}, **NEVER_FITS)
    with_raw = model.with_structured_output(Answer, include_raw=True)
    for _ in range(2):
        assert isinstance(with_raw.invoke(LABEL)["parsing_error"], NoAnswerAcceptedError)
    with pytest.raises(NoAnswerAcceptedError):
        model.with_structured_output(Answer).invoke(LABEL)


def test_a_check_of_ones_own_sees_a_structured_answer() -> None:
    seen: list[Any] = []

    def look(given: Any) -> bool:
        seen.append(given.answer.tool_calls[0]["args"])
        return True

    model = tiered(ScriptedModel, model={"checks": [look]}, nano=calling("Answer", count=7))
    model.with_structured_output(Answer, method="function_calling").invoke(LABEL)
    assert seen == [{"count": 7}]


def test_without_checks_what_does_not_fit_is_a_parsing_error() -> None:
    model = tiered(ScriptedModel, model={"checks": ()}, nano=calling("Answer", count="many"))
    with pytest.raises(OutputParserException):
        model.with_structured_output(Answer).invoke(LABEL)
    raw = model.with_structured_output(Answer, include_raw=True).invoke(LABEL)
    assert raw["parsed"] is None
    assert isinstance(raw["parsing_error"], OutputParserException)
    assert raw["raw"].tool_calls


def test_the_format_for_tracing_stays_on_the_outer_binding() -> None:
    structured: Any = tiered().with_structured_output(Answer, strict=True)
    told = structured.first.kwargs["ls_structured_output_format"]
    assert told["kwargs"] == {"method": "json_schema", "strict": True}
    assert told["schema"] is Answer


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"schema": Answer, "method": "by_magic"}, "by_magic"),
        ({"schema": None}, "needs a schema"),
        ({"schema": Answer, "method": "json_mode", "strict": True}, "strict"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_at_once(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiered().with_structured_output(given.pop("schema"), **given)


def test_a_tier_that_gives_no_structured_output_is_named() -> None:
    plain = FakeListChatModel(responses=["no"])
    model = TieredChatModel([Tier("plain", plain, criteria="")], classifier=None)
    with pytest.raises(ConfigurationError, match="Tier 'plain'"):
        model.with_structured_output(Answer).invoke(LABEL)


def test_a_schema_asked_for_by_name_is_judged_as_it_was_bound() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "Answer", "schema": Answer.model_json_schema()}}
    model = tiered(nano=say("seven"), mini=say('{"count": 7}'))
    assert model.invoke(LABEL, response_format=form).text == '{"count": 7}'
    with pytest.raises(NoAnswerAcceptedError):
        tiered(nano=say("seven"), model={"policy": Policy(pin="nano")}).invoke(LABEL, response_format=form)
