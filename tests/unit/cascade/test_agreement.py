"""`agreement`: what two answers come to, and whether a second model is asked as it should be."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from fakes import LABEL, StreamingModel, ask, model, say, tiers
from hypothesis import given
from hypothesis import strategies as st
from langchain.agents.structured_output import AutoStrategy, ProviderStrategy, ToolStrategy
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.exceptions import OutputParserException
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.messages.tool import tool_call
from langchain_core.runnables.config import set_config_context
from pydantic import BaseModel

from langchain_tiered import Tier, collect_ledger, create_tiered_agent
from langchain_tiered.cascade.agreement import agreement, compare
from langchain_tiered.cascade.checks import CheckInput
from langchain_tiered.errors import ConfigurationError
from langchain_tiered.testing.models import ScriptedChatModel
from langchain_tiered.types import Rates

if TYPE_CHECKING:
    from langchain_tiered.types import Verdict

LONG = "We have to think about this in several steps, one after the other."
PROSE = "Dear customer, we are sorry that your parcel came late and will send another."
TWO_FENCES = "```json\n{}\n```\nor\n```json\n{}\n```\nwhichever of the two you may happen to like better"


def calls(name: str, **args: Any) -> AIMessage:
    return AIMessage("", tool_calls=[tool_call(name=name, args=args, id="call_1")])


def both_calls(order: int) -> AIMessage:
    made = [tool_call(name="refund", args={"order": number}, id=f"call_{number}") for number in (7, order)]
    return AIMessage("", tool_calls=made)


ALIKE: list[tuple[Any, Any]] = [
    ("42", "42"),
    ("42", "42.0"),
    ("42", "**42**"),
    ("42", "Answer: 42"),
    ("42", "The final answer is 42."),
    ("42", "**Answer:** 42"),
    ("42", f"{LONG} That is it: 6 * 7 = 42."),
    ("42", f"{LONG}\nHence\n42"),
    ("42", rf"{LONG} \boxed{{42}}"),
    ("42", rf"\boxed{{41}} is wrong. {LONG} It is \boxed{{42}}."),
    ("42", f"Answer: 41\nNo, {LONG}\nAnswer: 42"),
    ("42", f"Answer: 42\n\n{LONG}"),
    ("42", "$42"),
    ("42", "$42$"),
    ("42", r"\$42"),
    ("$42", "42$"),
    ("42%", "42 %"),
    ("1,234,567.50", "1234567.5"),
    ("1 234", "1'234"),
    ("-5", "\N{MINUS SIGN}5"),
    ("-$5", "$-5"),
    (".5", "0.5"),
    ("4.2e1", "42"),
    ("0.30000000000000004", "0.3"),
    ("refund", "Refund."),
    ("refund", "Label: refund"),
    ("refund", "**Category:** `Refund`"),
    ("refund", f"Final answer: refund\n\n{LONG}"),
    ("refund", '"refund"'),
    ("refund", "\N{LEFT DOUBLE QUOTATION MARK}REFUND\N{RIGHT DOUBLE QUOTATION MARK}!"),
    ("refund", "- refund"),
    ("refund", "```\nrefund\n```"),
    ("Stra\N{LATIN SMALL LETTER SHARP S}e", "STRASSE"),
    ("caf\N{LATIN SMALL LETTER E WITH ACUTE}", "cafe\N{COMBINING ACUTE ACCENT}"),
    ("\N{LATIN SMALL LIGATURE FI}ne", "fine"),
    ("B", "(B)"),
    ("B", "b)"),
    ("Yes", "yes, it is."),
    ("No.", "No, they don't."),
    ("billing  issue", "Billing issue"),
    ('{"a": 1, "b": ["x"]}', '```json\n{"b": ["X."], "a": 1.0}\n```'),
    ('{"a": 1}', 'Here it is:\n```\n{"a": 1}\n```\nAnything else?'),
    ('{"a": 1}', calls("Receipt", a=1)),
    ('{"a": null, "b": []}', '{"b": ""}'),
    ("[]", "[]"),
    (calls("refund", order=7), calls("refund", order=7)),
    (both_calls(8), both_calls(8)),
    (AIMessage([{"type": "text", "text": "42"}]), "42"),
]


@pytest.mark.parametrize(("first", "second"), ALIKE)
def test_answers_that_come_to_the_same_agree(first: Any, second: Any) -> None:
    assert compare(first, second)[0] == 1.0
    assert compare(second, first)[0] == 1.0


UNLIKE: list[tuple[Any, Any]] = [
    ("42", "41"),
    ("42", "-42"),
    ("42", "42.001"),
    ("42", "(42)"),  # an accountant's -42
    ("42", "forty-two"),
    ("42", "42 km"),
    ("102", "10\N{SUPERSCRIPT TWO}"),
    ("5", ".5"),
    ("7", "007"),
    ("$42", "€42"),
    ("42%", "$42"),
    ("1.234,5", "1,234.5"),
    ("12345678901234567890", "12345678901234567891"),
    ("1e999", "2e999"),
    ("x >= 42", "x <= 42"),
    ("x = 41, y = 42", "x = 40, y = 42"),
    ("bug\n5", "praise\n5"),
    ("bug\nConfidence = 0.9", "praise\nConfidence = 0.9"),
    ("refund", "not refund"),
    ("billing: refund", "shipping: refund"),
    ("C++", "C"),
    ("C#", "C"),
    ("A*", "A"),
    ("No, it's Melbourne.", "No, it's Canberra."),
    ("\N{THUMBS UP SIGN}", "\N{THUMBS DOWN SIGN}"),
    ("('', 'x')", "('x', '')"),
    ('"bug" or "praise"', 'bug" or "praise'),
    ("refund", '{"label": "refund"}'),
    ("{}", '{"a": 1}'),
    ('{"a": true}', '{"a": 1}'),
    ('{"a": "1"}', '{"a": 1}'),
    ('{"a": ".5"}', '{"a": "5"}'),
    ('{"a": "?"}', '{"a": "!"}'),
    (calls("refund", order=7), calls("cancel", order=7)),
]


@pytest.mark.parametrize(("first", "second"), UNLIKE)
def test_answers_that_come_to_something_else_do_not_agree(first: Any, second: Any) -> None:
    assert compare(first, second)[0] == 0.0
    assert compare(second, first)[0] == 0.0


@pytest.mark.parametrize(
    "prose",
    [
        *("", " \n", "?", PROSE, f"{LONG}\nYours,\nAlice", TWO_FENCES, "x" * 81, f"{LONG} So refund it."),
        *(f"Question: is it?\nAnswer: yes\n{LONG}\nAnswer: no\n{LONG}", f"{LONG} The result is good."),
        f"{LONG} It is a bug.\nConfidence = 0.9",
    ],
)
def test_free_text_cannot_be_compared_even_with_itself(prose: str) -> None:
    score, told = compare(prose, prose)
    assert score is None
    assert "is no label, number or JSON" in told
    assert compare("refund", prose)[1].startswith("The second answer is no label")


@pytest.mark.parametrize(
    ("first", "second", "share"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, 1 / 2),
        ({"a": 1}, {"a": 1, "b": 2}, 1 / 2),
        ({"a": {"b": [1, 2]}, "c": "x"}, {"a": {"b": [1, 3]}, "c": "X"}, 2 / 3),
        ([1, 2, 3, 4], [1, 2, 3], 3 / 4),
        ({"a": [], "c": 1}, {"a": [5], "c": 1}, 1 / 2),
        ({"a": None, "c": 1}, {"a": {"b": 5}, "c": 1}, 1 / 2),
        ({"a": None, "b": 1}, {"a": None, "b": 2}, 1 / 2),
        ({"a": None, "b": 1}, {"b": 2}, 0),
    ],
)
def test_json_scores_the_share_of_its_fields_that_agree(first: Any, second: Any, share: float) -> None:
    score, told = compare(json.dumps(first), json.dumps(second))
    assert score == pytest.approx(share)
    assert told.endswith("fields agree.")


@pytest.mark.parametrize(
    ("first", "second", "tolerance", "agree"),
    [
        ("100", "101", 0.01, True),
        ("100", "102", 0.01, False),
        ("-100", "-101", 0.01, True),
        ("-1", "1", 0.5, False),
        ("0", "0.001", 0.5, False),
        ("12345678901234567890", "12345678901234567891", 0.001, True),
        ('{"a": {"b": 100}}', '{"a": {"b": 101}}', 0.01, True),
        ('{"a": "100"}', '{"a": "101"}', 0.01, False),
        (f'{{"a": 1{"0" * 400}}}', '{"a": 1.5}', 0.01, False),
    ],
)
def test_tolerance_is_relative_and_for_numbers_alone(first: str, second: str, tolerance: float, agree: bool) -> None:  # noqa: FBT001  (a column of the table)
    assert compare(first, second, tolerance)[0] == float(agree)


@pytest.mark.parametrize("text", ["[" * 100_000, f'{{"a": {"1" * 5_000}}}', '{"a": NaN}', f"[{'[' * 900}{']' * 900}]"])
def test_json_that_python_cannot_read_is_no_error(text: str) -> None:
    assert compare(text, text)[0] in (None, 1.0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
LABELS = st.text(st.characters(categories=["Lu", "Ll", "Lo", "Nd"]), min_size=1, max_size=20)
NUMBERS = st.integers().map(str) | st.floats(allow_nan=False, allow_infinity=False).map(repr)
DOCUMENTS = (st.lists(JSON, max_size=3) | st.dictionaries(st.text(), JSON, max_size=3)).map(json.dumps)
ANSWERS = st.text() | LABELS | NUMBERS | DOCUMENTS


@given(ANSWERS, ANSWERS, st.floats(0, 1))
def test_compare_is_symmetric_and_total(first: str, second: str, tolerance: float) -> None:
    score, _ = compare(first, second, tolerance)
    assert score == compare(second, first, tolerance)[0]
    assert score is None or 0 <= score <= 1


@given(LABELS | NUMBERS | DOCUMENTS, st.floats(0, 1))
def test_labels_numbers_and_json_agree_with_themselves(answer: str, tolerance: float) -> None:
    assert compare(answer, answer, tolerance)[0] == 1.0


@given(st.integers(), st.integers())
def test_whole_numbers_agree_only_when_equal(first: int, second: int) -> None:
    assert compare(f"{first:,}", str(second))[0] == float(first == second)


@given(LABELS, LABELS)
def test_the_sentence_quotes_neither_answer(first: str, second: str) -> None:
    told = {
        "The two answers come to the same label.",
        "The two answers come to different labels.",
        "The two answers come to the same number.",
        "The two answers come to different numbers.",
        "One answer is a label, the other a number.",
        "One answer is a number, the other a label.",
    }
    assert compare(first, second)[1] in told


QUESTION = [HumanMessage("What is 6 * 7?")]


@pytest.fixture(params=["sync", "async"])
def checked(request: pytest.FixtureRequest) -> Any:
    """Ask a check, in both ways."""

    def asked(check: Any, answer: str | AIMessage, **more: Any) -> Verdict:
        message = answer if isinstance(answer, AIMessage) else AIMessage(answer)
        given = CheckInput(**{"request": QUESTION, "answer": message, **more})
        verdict: Verdict = check(given) if request.param == "sync" else asyncio.run(check.acheck(given))
        return verdict

    return asked


def test_an_answer_is_accepted_when_the_second_model_comes_to_the_same(checked: Any) -> None:
    second = ScriptedChatModel(script="Answer: 42")
    told = checked(agreement(second), "42")
    assert told == {
        "accepted": True,
        "check": "agreement",
        "reason": "The two answers come to the same number.",
        "score": 1.0,
    }
    assert second.asked == [QUESTION]


def test_an_answer_is_rejected_when_the_second_model_comes_to_another(checked: Any) -> None:
    told = checked(agreement(ScriptedChatModel(script="41")), "42")
    assert (told["accepted"], told["score"]) == (False, 0.0)
    assert told["reason"] == "The two answers come to different numbers."


def test_free_text_is_rejected_before_a_second_answer_is_paid(checked: Any) -> None:
    second = ScriptedChatModel(script="42")
    told = checked(agreement(second), PROSE)
    assert (told["accepted"], told["score"], second.calls) == (False, None, 0)
    assert told["reason"] == "The answer is no label, number or JSON, so nothing can be compared: use `judge` there."


def test_least_is_the_share_of_fields_that_must_agree(checked: Any) -> None:
    second = ScriptedChatModel(script='{"a": 1, "b": 2, "c": 3, "d": 5}')
    answer = '{"a": 1, "b": 2, "c": 3, "d": 4}'
    assert checked(agreement(second, least=0.75), answer)["accepted"]
    told = checked(agreement(second, least=0.8), answer)
    assert (told["accepted"], told["score"]) == (False, 0.75)
    assert told["reason"] == "3 of 4 fields agree. At least 80% must."


def test_the_tolerance_holds_for_the_comparison(checked: Any) -> None:
    assert checked(agreement(ScriptedChatModel(script="101"), tolerance=0.01), "100")["accepted"]


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (AIMessage("42", response_metadata={"finish_reason": "length"}), "The second answer is not finished."),
        (AIMessage("42", additional_kwargs={"refusal": "No."}), "The second model refused to answer."),
        (AIMessage("42", response_metadata={"finish_reason": "content_filter"}), "The second model refused to answer."),
        (
            OutputParserException("Bad: 42"),
            "The second answer was refused, cut off, or does not fit the schema.",
        ),
        (
            type("LengthFinishReasonError", (Exception,), {})(),
            "The second answer was refused, cut off, or does not fit the schema.",
        ),
        (PROSE, "The second answer is no label, number or JSON, so nothing can be compared: use `judge` there."),
    ],
)
def test_a_second_answer_that_is_none_rejects_and_says_so(checked: Any, second: Any, reason: str) -> None:
    told = checked(agreement(ScriptedChatModel(script=second)), "42")
    assert (told["accepted"], told["reason"]) == (False, reason)


def test_a_providers_error_is_not_swallowed(checked: Any) -> None:
    with pytest.raises(TimeoutError, match="too slow"):
        checked(agreement(ScriptedChatModel(script=TimeoutError("too slow"))), "42")


def test_the_whole_request_is_sent_with_its_images_and_tool_results(checked: Any) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    request = [
        HumanMessage([{"type": "text", "text": "What does it cost?"}, image]),
        calls("price", item="pen"),
        ToolMessage("42", tool_call_id="call_1"),
    ]
    second = ScriptedChatModel(script="42")
    assert checked(agreement(second), "42", request=request)["accepted"]
    assert second.asked == [request]
    assert second.bound == []


class Receipt(BaseModel):
    total: float
    currency: str = "EUR"


PLAIN = {"type": "object", "properties": {"total": {"type": "number"}}}


@pytest.mark.parametrize("schema", [Receipt, ToolStrategy(Receipt), ProviderStrategy(Receipt), AutoStrategy(Receipt)])
def test_the_second_model_is_asked_for_the_schema_and_compared_by_field(checked: Any, schema: Any) -> None:
    second = ScriptedChatModel(script=calls("Receipt", total=12.5, currency="eur"))
    told = checked(agreement(second), '{"total": 12.5, "currency": "EUR"}', schema=schema)
    assert (told["accepted"], told["reason"]) == (True, "2 of 2 fields agree.")
    assert second.bound == [[Receipt]]
    assert not checked(agreement(second), calls("Receipt", total=12), schema=schema)["accepted"]


def test_a_schema_without_a_title_is_compared_whatever_its_tool_is_called(checked: Any) -> None:
    second = ScriptedChatModel(script=calls("answer", total=12.5))
    told = checked(agreement(second), calls("response_format_1a2b", total=12.5), schema=ToolStrategy(PLAIN))
    assert told["accepted"]
    assert second.bound == [[{"title": "answer", **PLAIN}]]


@pytest.mark.parametrize("schema", [Receipt | None, ToolStrategy(Receipt | Rates), {"oneOf": [PLAIN, PLAIN]}])
def test_a_schema_that_the_second_model_cannot_be_asked_for_is_left_out(checked: Any, schema: Any) -> None:
    second = ScriptedChatModel(script='{"total": 12.5}')
    assert checked(agreement(second), '{"total": 12.5}', schema=schema)["accepted"]


class _Picky(ScriptedChatModel):
    def with_structured_output(self, *_: Any, **__: Any) -> Any:
        raise KeyError("parameters")  # as ChatOpenAI does for a schema without properties


@pytest.mark.parametrize(
    "second", [FakeListChatModel(responses=['{"total": 12.5}']), _Picky(script='{"total": 12.5}')], ids=type
)
def test_a_model_that_takes_no_schema_is_asked_plainly(checked: Any, second: Any) -> None:
    assert checked(agreement(second), '{"total": 12.5}', schema=Receipt)["accepted"]


@pytest.mark.parametrize("wrong", [None, 3, "", agreement])
def test_what_is_no_model_is_an_error_at_build(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="whom to ask"):
        agreement(wrong)


@pytest.mark.parametrize(
    "wrong",
    [{"least": 0}, {"least": 1.1}, {"least": True}, {"tolerance": -0.1}, {"tolerance": float("nan")}],
)
def test_a_number_out_of_range_is_an_error_at_build(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"above 0|from 0 to 1"):
        agreement("openai:gpt-5.4-nano", **wrong)


def test_no_key_is_needed_before_the_first_answer() -> None:
    check: Any = agreement("openai:gpt-5.4-nano")
    assert check.__name__ == "agreement"


def test_in_an_agent_the_second_call_is_booked_as_a_judge_of_the_run(run: Any) -> None:
    second = model("mini", say("bug"))
    agent = create_tiered_agent(tiers(nano=say("Bug."), mini=say("m")), checks=[agreement(second)])
    result = run(agent, ask(LABEL))
    answer, judged = result["ledger"]
    assert result["messages"][-1].text == "Bug."
    assert (answer["role"], answer["outcome"]) == ("answer", "accepted")
    assert (judged["role"], judged["tier"], judged["model"]) == ("judge", None, "gpt-5.4-mini")
    assert judged["run_id"] == answer["run_id"]
    assert judged["cost_usd"] == pytest.approx(1000 * 0.75e-6 + 100 * 4.5e-6)


def test_in_an_agent_a_disagreement_escalates(run: Any) -> None:
    agent = create_tiered_agent(tiers(nano=say("bug"), mini=say("other")), checks=[agreement(model("x", say("other")))])
    result = run(agent, ask(LABEL))
    assert result["messages"][-1].text == "other"
    assert "The two answers come to different labels." in result["route"]["reason"]


def test_in_an_agent_with_a_schema_the_structured_answer_is_compared(run: Any) -> None:
    def structured(_: Any) -> AIMessage:
        return calls("Receipt", total=12.5, currency="EUR")

    second = ScriptedChatModel(script=structured)
    scripted = (Tier("nano", ScriptedChatModel(script=structured), criteria=""), *tiers(mini=say("m")))
    agent = create_tiered_agent(scripted, checks=[agreement(second)], response_format=ToolStrategy(Receipt))
    result = run(agent, ask(LABEL))
    assert result["structured_response"] == Receipt(total=12.5)
    assert second.calls == 1
    assert result["route"]["tier"] == "nano"


class _Seen(BaseCallbackHandler):
    def __init__(self) -> None:
        self.metadata: list[dict[str, Any]] = []

    def on_chat_model_start(self, *_: Any, metadata: Any = None, **__: Any) -> None:
        self.metadata.append(metadata)


def test_a_tier_as_second_model_is_booked_by_its_name_and_brings_its_terms(run: Any) -> None:
    rates = Rates(1.0, 2.0)
    (second,) = tiers(cousin=say("bug"))
    check = agreement(replace(second, rates=rates, price_factor=0.5))
    seen = _Seen()
    result = run(
        create_tiered_agent(tiers(nano=say("bug"), mini=say("m")), checks=[check]), ask(LABEL), {"callbacks": [seen]}
    )
    assert [entry["tier"] for entry in result["ledger"]] == ["nano", "cousin"]
    told = seen.metadata[-1]
    assert (told["tiered_role"], told["tiered_price_factor"]) == ("judge", 0.5)
    assert told["tiered_rates"]["input_usd"] == 1.0


def test_outside_an_agent_the_call_is_booked_as_a_judge_of_no_run(checked: Any) -> None:
    with collect_ledger() as ledger:
        checked(agreement(model("mini", say("42"))), "42")
    assert [(entry["role"], entry["run_id"]) for entry in ledger.entries] == [("judge", None)]


def test_what_the_config_around_says_is_kept() -> None:
    around: Any = {"metadata": {"tiered_run_id": "run-1", "tiered_task_id": "task-1"}}
    check = agreement(model("mini", say("42")))
    with collect_ledger() as ledger, set_config_context(around) as context:
        context.run(check, CheckInput(QUESTION, AIMessage("42")))
    assert [(entry["run_id"], entry["task_id"]) for entry in ledger.entries] == [("run-1", "task-1")]


@pytest.mark.parametrize("subgraphs", [False, True])
@pytest.mark.parametrize("mode", ["messages", "updates", "values"])
def test_the_second_answer_is_in_no_stream(stream: Any, mode: Any, subgraphs: bool) -> None:  # noqa: FBT001  (a parameter)
    second = model("mini", say("Answer: bug"), StreamingModel)
    agent = create_tiered_agent(tiers(nano=say("bug"), mini=say("m")), checks=[agreement(second)])
    parts = stream(agent, ask(LABEL), stream_mode=mode, subgraphs=subgraphs)
    assert second.calls == 1
    assert "Answer:" not in str(parts)


async def test_requests_at_the_same_time_do_not_mix() -> None:
    second = ScriptedChatModel(script=lambda messages: AIMessage(messages[-1].text))
    check: Any = agreement(second)
    answers = [CheckInput([HumanMessage(str(number))], AIMessage(str(number))) for number in range(20)]
    verdicts = await asyncio.gather(*(check.acheck(each) for each in answers))
    assert all(verdict["accepted"] for verdict in verdicts)
