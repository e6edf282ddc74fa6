"""What is read off messages and tools, and what is refused."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool

from langchain_tiered.errors import InvalidInputError, TieredError
from langchain_tiered.routing import facts_of, messages_of, tool_facts
from langchain_tiered.routing.facts import IMAGE_TOKENS, MEDIA_TOKENS, estimated_tokens

ROUTE = {
    "tier": "mini",
    "task": "code",
    "confidence": 0.8,
    "reason": "Code.",
    "decided_by": "rules",
    "escalated_from": None,
}


def answered(route: object, text: str = "Done.") -> AIMessage:
    return AIMessage(text, response_metadata={"route": route})


@pytest.mark.parametrize(
    ("block", "images", "audio", "files"),
    [
        ({"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}, 1, 0, 0),
        ({"type": "image", "base64": "AAAA" * 9_000, "mime_type": "image/png"}, 1, 0, 0),
        ({"type": "input_image", "image_url": "https://example.org/a.png"}, 1, 0, 0),
        ({"type": "audio", "base64": "AAAA" * 9_000, "mime_type": "audio/wav"}, 0, 1, 0),
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, 0, 1, 0),
        ({"type": "file", "base64": "AAAA" * 9_000, "mime_type": "application/pdf"}, 0, 0, 1),
        ({"type": "input_file", "file_id": "file-1"}, 0, 0, 1),
        ({"type": "media", "mime_type": "image/png", "data": "AAAA"}, 1, 0, 0),
        ({"type": "media", "mime_type": "audio/wav", "data": "AAAA"}, 0, 1, 0),
        ({"type": "text-plain", "text": "Some words.", "mime_type": "text/plain"}, 0, 0, 0),
    ],
)
def test_each_form_of_content_is_counted_and_base64_is_not_taken_for_words(
    block: dict[str, Any], images: int, audio: int, files: int
) -> None:
    facts = facts_of([HumanMessage(["Look:", block])])
    assert (facts.images, facts.audio, facts.files) == (images, audio, files)
    assert (facts.turn_images, facts.turn_files) == (images, files)
    assert facts.text.startswith("Look:")
    assert facts.tokens <= max(IMAGE_TOKENS, MEDIA_TOKENS) + 20


def test_only_the_last_user_turn_is_the_text() -> None:
    history = [HumanMessage("Prove the theorem. " * 99), answered(ROUTE), HumanMessage("ok thanks")]
    facts = facts_of(history)
    assert facts.text == "ok thanks"
    assert facts.turn_tokens < 10 < facts.tokens
    assert facts.turns == 2


def test_images_of_an_earlier_turn_are_counted_but_are_not_of_this_turn() -> None:
    image = {"type": "image", "url": "https://example.org/a.png"}
    facts = facts_of([HumanMessage([{"type": "text", "text": "Read it."}, image]), AIMessage("12"), HumanMessage("ok")])
    assert (facts.images, facts.turn_images) == (1, 0)


def test_arguments_of_tool_calls_are_counted() -> None:
    call = {"name": "save", "args": {"text": "word " * 400}, "id": "1"}
    with_call = facts_of([HumanMessage("Save."), AIMessage("", tool_calls=[call]), ToolMessage("ok", tool_call_id="1")])
    assert with_call.tokens > 450


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [("word " * 800, 900, 1_100), ("漢字" * 500, 900, 1_100), ("слово " * 200, 500, 800), ("", 0, 0), ("\ud83d", 1, 2)],
)
def test_tokens_are_estimated_by_characters_and_by_how_many_bytes_they_take(text: str, least: int, most: int) -> None:
    assert least <= estimated_tokens(text) <= most


@pytest.mark.parametrize(
    ("after", "in_turn"),
    [([], False), ([AIMessage("a")], True), ([AIMessage("a"), ToolMessage("b", tool_call_id="1")], True)],
)
def test_a_turn_is_under_way_once_somebody_has_answered(after: list[BaseMessage], in_turn: bool) -> None:  # noqa: FBT001  (a column of the table)
    assert facts_of([SystemMessage("Be kind."), HumanMessage("Hello"), *after]).in_turn is in_turn


@pytest.mark.parametrize("told", [None, "mini", {}, {"tier": 3}, {"tier": None, "task": "code"}, ["mini"]])
def test_a_malformed_latch_is_ignored(told: object) -> None:
    assert facts_of([HumanMessage("a"), answered(told), HumanMessage("b")]).previous is None


def test_the_newest_well_formed_latch_is_read() -> None:
    messages = [
        HumanMessage("a"),
        answered({**ROUTE, "tier": "nano"}),
        answered(ROUTE),
        answered("x"),
        HumanMessage("b"),
    ]
    assert facts_of(messages).previous == ROUTE


def test_a_latch_from_elsewhere_is_mended_where_only_its_tier_is_sound() -> None:
    told = {"tier": "mini", "task": "juggle", "confidence": "high", "decided_by": "them", "escalated_from": 3}
    previous = facts_of([HumanMessage("a"), answered(told), HumanMessage("b")]).previous
    assert previous is not None
    assert (previous["tier"], previous["task"], previous["confidence"]) == ("mini", "reason", None)
    assert (previous["decided_by"], previous["escalated_from"]) == ("policy", None)


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        ([], r"empty: \[\]"),
        ("", "''"),
        (" \n", "last user message is empty"),
        ([SystemMessage("Be kind."), AIMessage("Hello")], "only: system, ai"),
        ([HumanMessage("Hello"), AIMessage("Hi"), HumanMessage([])], "last user message is empty"),
        ([("wizard", "Hello")], "wizard.*Known roles: user"),
        ([{"role": "wizard", "content": "Hello"}], "wizard.*Known roles: user"),
        ([{"text": "Hello"}], "is no message"),
        ([3], "3 is no message"),
        (3, "3 is no request"),
        (None, "None is no request"),
        ({"message": "Hello"}, "is no message"),
    ],
)
def test_a_request_that_cannot_be_read_is_named_with_the_mend(request_: Any, named: str) -> None:
    with pytest.raises(InvalidInputError, match=named) as raised:
        facts_of(messages_of(request_))
    assert isinstance(raised.value, TieredError)
    assert isinstance(raised.value, ValueError)


@pytest.mark.parametrize(
    "request_",
    [
        "Hello",
        ["Hello"],
        [("user", "Hello")],
        ("user", "Hello"),
        [{"role": "user", "content": "Hello"}],
        {"role": "user", "content": "Hello"},
        HumanMessage("Hello"),
        (HumanMessage("Hello"),),
        {"messages": [("human", "Hello")]},
        {"messages": "Hello"},
        ChatPromptTemplate.from_messages([("system", "Be kind."), ("user", "{x}")]).invoke({"x": "Hello"}),
    ],
)
def test_every_form_of_a_request_is_read(request_: Any) -> None:
    assert facts_of(messages_of(request_)).text == "Hello"


def test_an_image_alone_is_a_request() -> None:
    image = {"type": "image", "url": "https://example.org/a.png"}
    assert facts_of([HumanMessage([image])]).turn_images == 1


def test_tools_of_all_forms_are_told_from_those_of_the_provider() -> None:
    @tool
    def refund_order(order: int) -> str:
        """Give the customer's money back."""
        return str(order)

    def ship(parcel: str) -> str:
        """Send a parcel."""
        return parcel

    function = {"name": "lookUpInvoice", "description": "Find a bill.", "parameters": {}}
    known = tool_facts(
        [
            refund_order,
            ship,
            {"type": "function", "function": function},
            {"type": "function", **function, "name": "flat"},
            {"name": "anthropic_form", "input_schema": {}},
            {"type": "web_search"},
            {"type": "web_search_20250305", "name": "web_search"},
            {"google_search": {}},
        ]
    )
    assert known.names == ("refund_order", "ship", "lookUpInvoice", "flat", "anthropic_form")
    assert known.provider == ("web_search", "web_search_20250305", "google_search")
    assert {"refund", "order", "parcel", "invoice", "money"} <= known.words


def test_what_is_no_tool_is_named() -> None:
    with pytest.raises(InvalidInputError, match="3 is no tool"):
        tool_facts([3])  # type: ignore[list-item]  # what a user may do


def test_facts_take_linear_time() -> None:
    def taken(words: int) -> float:
        messages = [HumanMessage("värld " * words)]
        start = perf_counter()
        facts_of(messages)
        return perf_counter() - start

    assert min(taken(1_000_000) for _ in range(3)) < 0.5
