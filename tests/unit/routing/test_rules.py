"""The rules speak where structure speaks, and doubt honestly elsewhere."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from pathlib import Path
from time import perf_counter

import pytest
from langchain_core.messages import HumanMessage
from unit.routing.hard_prompts import EASY, EASY_LATER, HARD, HARD_LAST, HARD_LATER

from langchain_tiered.routing import NO_TOOLS, ToolFacts, classify_by_rules, facts_of
from langchain_tiered.types import Classification, Facts, TierFacts

TIERS = tuple(TierFacts(name) for name in ("nano", "mini", "flagship"))
IMAGE = {"type": "image", "url": "https://example.org/a.png"}
ORDERS = ToolFacts(("refund_order",), frozenset({"refund", "order", "customer", "money"}))
WEB = ToolFacts(provider=("web_search",))
COMPUTER = ToolFacts(provider=("computer_use_preview",))
DATA = Path(__file__).parents[3] / "../shared/data/prompts_task.jsonl.gz"


def said(text: str, tools: ToolFacts = NO_TOOLS, *, schema: bool = False, images: int = 0) -> Classification | None:
    message = HumanMessage([{"type": "text", "text": text}, *[IMAGE] * images])
    return classify_by_rules(facts_of([message], tools, schema=schema), TIERS)


@pytest.mark.parametrize(
    ("text", "task", "tier"),
    [
        ("Classify the ticket into one of these labels: refund, delivery, other. It is late.", "classify", "nano"),
        (
            "Which of the following categories fits the text? (sport, politics, art) The match was won.",
            "classify",
            "nano",
        ),
        ("Is the tone of this review positive or negative?\nI love it.", "classify", "nano"),
        ("Extract the invoice number from this text: Invoice 4711 of 3 May.", "extract", "nano"),
        ("thanks!", "lookup", "nano"),
        ("ok thanks", "lookup", "nano"),
        ("What does it do?\n```python\nprint(1)\n```", "code", "mini"),
        ('It fails:\nTraceback (most recent call last):\n  File "a.py", line 3', "code", "mini"),
        ("def f(x):\n    y = g(x);\n    return y\nimport os", "code", "mini"),
        ("Write a function to reverse a list of numbers.", "code", "mini"),
        ("What is wrong?\n```bash\nls -la\n```", "terminal", "mini"),
        ("Why?\nroot@host:~$ systemctl restart nginx", "terminal", "mini"),
        ("Summarize the minutes of the meeting.", "write", "mini"),
        ("Prove that sqrt(2) is irrational", "reason", "flagship"),
        ("Tom has 3 apples and buys 5 of them. He gives 2 to Ann. How many are left with him?", "reason", "flagship"),
        ("Which is the odd one?\n(A) dog\n(B) cat\n(C) stone", "reason", "flagship"),
        ("word " * 110_000 + " and the rest of it. Is it right?", "long_document", "flagship"),
    ],
)
def test_rules_know_work_by_its_form(text: str, task: str, tier: str) -> None:
    found = said(text)
    assert found is not None
    assert (found["task"], found["tier"], found["decided_by"]) == (task, tier, "rules")
    assert found["reason"].endswith(".")


@pytest.mark.parametrize(
    ("text", "task"),
    [
        ("```json\n{}\n``` bash me if you can", None),
        ("```\nGroceries\n``` python is a snake", None),
        ("```\nGroceries\n```\n```python\nprint(1)\n``` thanks", "code"),
        ("```text\nGroceries\n```\n```bash\nls\n```", "terminal"),
    ],
)
def test_text_behind_a_closing_fence_is_no_language(text: str, task: str | None) -> None:
    found = said(text)
    assert (found["task"] if found else None) == task


@pytest.mark.parametrize("schema", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        "Why does this deadlock?",
        "Is this clause enforceable?",
        "Is this clause enforceable? Clause: the tenant waives all rights.",
        "Can the landlord evict me for this?",
        "What dose of warfarin is safe with amiodarone?",
        "One of my employees (who was fired, then hired again) sues us. Are we liable?",
        "Which of these queues fits our load best: RabbitMQ, Kafka, SQS? Explain your choice.",
        "Classify all finite simple groups of order less than 1000.",
        "Should we hedge the currency risk of the merger?",
        "Find the flaw in this argument.",
        "Is P equal to NP?",
        "Prove that sqrt(2) is irrational",
        "Question: why does the scheduler starve?\n" + "The scheduler holds the lock. " * 20,
        "Is the sum of the eigenvalues positive or negative?",
        "what is my card's PIN?",
        "Warum blockiert das hier?",
    ],
)
def test_hard_and_open_questions_never_go_to_the_cheapest_tier_by_rule(text: str, schema: bool) -> None:  # noqa: FBT001  (a column of the table)
    found = said(text, schema=schema)
    assert found is None or found["tier"] != "nano"


@pytest.mark.parametrize(
    "text",
    ["Schreibe einen Brief an die Bank.", "写一个函数来反转列表", "Classifica il messaggio: sono stanco", "Пожалуйста"],
)
def test_no_english_is_guessed_in_other_languages(text: str) -> None:
    assert said(text) is None


def test_structure_speaks_in_every_language() -> None:
    found = said("这是什么?\n```python\nprint(1)\n```")
    assert found is not None
    assert found["task"] == "code"


@pytest.mark.parametrize(
    ("prompts", "schema", "most"),
    [
        (HARD, False, 0.0),
        (HARD, True, 0.02),
        (HARD_LATER, False, 0.03),
        (HARD_LATER, True, 0.05),
        (HARD_LAST, False, 0.05),
        (HARD_LAST, True, 0.1),  # "find the weak point in the text" reads as extraction
    ],
)
def test_hard_prompts_without_telltale_words_are_not_held_for_easy(
    prompts: tuple[str, ...],
    schema: bool,  # noqa: FBT001  (a column of the table)
    most: float,
) -> None:
    found = [said(text, schema=schema) for text in prompts]
    cheap = [text for text, each in zip(prompts, found, strict=True) if each is not None and each["tier"] == "nano"]
    assert len(cheap) <= most * len(prompts), cheap


@pytest.mark.parametrize("prompts", [EASY, EASY_LATER], ids=["first", "later"])
def test_easy_prompts_that_look_hard_are_not_sent_up_by_rule(prompts: tuple[str, ...]) -> None:
    found = [said(text) for text in prompts]
    dear = [text for text, each in zip(prompts, found, strict=True) if each is not None and each["tier"] != "nano"]
    assert len(dear) <= 0.05 * len(prompts), dear
    assert sum(each is not None for each in found) >= 0.4 * len(prompts)


@pytest.mark.parametrize(
    "text",
    [
        "What is the boiling point of ethanol in degrees Celsius?",
        "Who painted the Sistine Chapel?",
        "Where was the Treaty of Westphalia signed?",
    ],
)
def test_a_plain_fact_is_a_lookup_only_where_no_tool_may_be_meant(text: str) -> None:
    found = said(text)
    assert found is not None
    assert (found["task"], found["tier"]) == ("lookup", "nano")
    assert said(text, ORDERS) is None


@pytest.mark.parametrize(
    ("text", "task"),
    [
        ("Rank these offers, cheapest first:\n- Bluevan 7.90 USD\n- Swiftpost 5.40 USD", "rank"),
        ("Do the two sentences mean the same? Yes or no.\n1: It rains.\n2: Rain falls.", "classify"),
        ("Does the message mention a refund? Yes or no.\n\nMy kettle came late.", "classify"),
        ("Was this note by a happy or an unhappy customer?\n\nThe kettle came late.", "classify"),
        ("What are the names in this note?\n\nMs Abara met Mr Lind.", "extract"),
        ("Who pays the fee?\n\nThe fee of the tribunal is paid by the party that brings the claim.", "extract"),
        ("Which is right?\nOptions:\n- the first\n- the second", "reason"),
    ],
)
def test_the_form_of_the_question_tells_what_is_wanted(text: str, task: str) -> None:
    found = said(text)
    assert found is not None
    assert found["task"] == task


@pytest.mark.parametrize(
    ("text", "tools", "images", "schema", "task"),
    [
        ("Refund the order of this customer.", ORDERS, 0, False, "tools"),
        ("Where is #1042?", ORDERS, 0, False, "tools"),
        ("Storniere 104299", ORDERS, 0, False, "tools"),
        ("Classify into one of these labels: refund, other. Reply with it. Order 1042.", ORDERS, 0, False, "classify"),
        ("ok thanks", ORDERS, 0, False, "lookup"),
        ("Is this clause enforceable?", ORDERS, 0, False, None),
        ("Find the latest news on the strike.", WEB, 0, False, "search"),
        ("Is this clause enforceable?", WEB, 0, False, None),
        ("Click the button.", COMPUTER, 0, False, "screen"),
        ("Next.", COMPUTER, 1, False, "screen"),
        ("Why does this deadlock?", COMPUTER, 0, False, None),
        ("What does this screenshot say?", NO_TOOLS, 1, False, "screen"),
        ("Read the receipt.", NO_TOOLS, 2, False, "scan"),
        ("Here.", NO_TOOLS, 1, True, "scan"),
        ("Who painted this?", NO_TOOLS, 1, False, None),
        ("Name: Ann Smith\nBorn: 3 May 1990", NO_TOOLS, 0, True, "extract"),
        ("Ann Smith, 3 May 1990.\nWhen was she born?", NO_TOOLS, 0, True, "extract"),
        ("Which of the drugs has to go?\n\nTramadol, linezolid.", NO_TOOLS, 0, True, None),
        ("Tramadol, linezolid.\n\nWhich has to go?", NO_TOOLS, 0, True, None),
        ("What follows?\nThe net has a limit.", NO_TOOLS, 0, True, None),
        ("Zwei Verkäufer, ein Haus.\nWem gehört es?", NO_TOOLS, 0, True, None),
    ],
)
def test_tools_pictures_and_schema_count_only_where_the_request_is_about_them(
    text: str,
    tools: ToolFacts,
    images: int,
    schema: bool,  # noqa: FBT001  (a column of the table)
    task: str | None,
) -> None:
    found = said(text, tools, schema=schema, images=images)
    assert (found["task"] if found else None) == task


@pytest.mark.parametrize(("count", "tier"), [(1, "t0"), (2, "t1"), (4, "t1"), (5, "t1")])
def test_a_task_finds_its_rung_among_any_number_of_tiers(count: int, tier: str) -> None:
    tiers = tuple(TierFacts(f"t{place}") for place in range(count))
    found = classify_by_rules(Facts(text="Fix this:\n```python\nx = 1\n```"), tiers)
    assert found is not None
    assert found["tier"] == tier


def test_own_rules_take_the_place_of_ours() -> None:
    found = classify_by_rules(Facts(text="thanks"), TIERS, [lambda facts: ("review", f"{facts.turns} turn.")])
    assert found is not None
    assert (found["task"], found["tier"], found["reason"]) == ("review", "flagship", "1 turn.")


@pytest.mark.parametrize(
    "piece",
    ["`", "a", " ", "\n", "\t", "1", "#", "one of ", "review ", "$ ", "question:", "(a, ", "def ", "a.b(", "\n\n$"],
)
def test_no_text_makes_the_rules_slow(piece: str) -> None:
    facts = Facts(text=piece * 100_000, tools=("a",))
    start = perf_counter()
    classify_by_rules(facts, TIERS)
    assert perf_counter() - start < 0.05


@pytest.mark.skipif(not DATA.exists(), reason="the public prompts are not on this machine")
def test_rules_are_right_on_public_prompts_where_they_speak() -> None:
    right, spoken, total = defaultdict[str, int](int), defaultdict[str, int](int), defaultdict[str, int](int)
    with gzip.open(DATA, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    for row in rows:
        if row["tier"] is None or row["needs_tools"]:
            continue  # their tools are not in the file
        found = said(row["text"])
        total[row["source"]] += 1
        spoken[row["source"]] += found is not None
        right[row["source"]] += found is not None and found["tier"] == row["tier"]
    assert min(right[source] / spoken[source] for source in spoken if spoken[source]) >= 0.98
    assert sum(spoken[source] / total[source] for source in total) / len(total) >= 0.6
