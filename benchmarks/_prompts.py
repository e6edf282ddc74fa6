"""The labelled requests of the benchmarks of routing: public ones, which are only read, and some of our own."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.messages import HumanMessage

from langchain_tiered.models import RELIABLE_TOKENS
from langchain_tiered.routing import classify_by_rules, facts_of, tool_facts
from langchain_tiered.types import TierFacts

if TYPE_CHECKING:
    from langchain_tiered.types import Facts

DATA = Path(__file__).parents[1] / "../shared/data"
OWN = Path(__file__).parent / "leaning_prompts.txt"
NAMES = ("nano", "mini", "flagship")
TIERS = tuple(map(TierFacts, NAMES))
IMAGE = {"type": "image", "url": "https://example.org/a.png"}
RETAIL = [
    "cancel_pending_order",
    "exchange_delivered_order_items",
    "find_user_id_by_email",
    "get_order_details",
    "get_product_details",
    "get_user_details",
    "list_all_product_types",
    "modify_pending_order_address",
    "modify_pending_order_items",
    "modify_user_address",
    "return_delivered_order_items",
    "transfer_to_human_agents",
]


class Prompt(NamedTuple):
    """One labelled request."""

    family: str
    """The source, without its templates: what is held out is the whole of it."""

    tier: str
    """The label, by the rule of thumb of who labelled it."""

    facts: Facts
    """What the rules and the lean are given."""


def rows_of(name: str) -> list[dict[str, Any]]:
    """Read a file of the public data."""
    with gzip.open(DATA / name, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def family_of(source: str) -> str:
    """Return the family of a source: one data set, whatever its templates and its crowd of writers."""
    name = source.removeprefix("p3:").split(":")[0]
    known = ("adversarial_qa", "amazon_polarity", "common_gen", "duorc", "paws", "wiki_hop")
    return next((family for family in known if name.startswith(family)), name)


def from_text() -> list[Prompt]:
    """Return the public prompts whose label can be told from a text: all but those that are long by a fact."""
    return [
        Prompt(family_of(row["source"]), row["tier"], asked(row["text"]))
        for row in rows_of("prompts_task.jsonl.gz")
        if row["tier"] is not None
    ]


def with_facts() -> list[Prompt]:
    """Return the prompts with their tools bound, their images there, and a long document before them.

    Of tau2 only the names of its tools are known here. The calls of bfcl are taken from the file that has their tools;
    its conversations of several turns are in none. The receipts are images, wanted in a schema.
    """
    retail = tool_facts([{"name": name} for name in RETAIL])
    prompts = [each for each in from_text() if each.family not in {"bfcl", "tau2"}]
    prompts += [
        Prompt("tau2", "mini", facts_of([HumanMessage(row["text"])], retail))
        for row in rows_of("prompts_task.jsonl.gz")
        if row["source"].startswith("tau2")
    ]
    for row in rows_of("tool_calls_bfcl_v4.jsonl.gz"):
        if row["expect_call"]:
            said = [HumanMessage(message["content"]) for message in row["messages"] if message["role"] == "user"]
            prompts.append(Prompt("bfcl", "mini", facts_of(said, tool_facts(row["tools"]))))
    for row in rows_of("prompts_long.jsonl.gz"):
        facts = replace(asked(row["text"]), tokens=RELIABLE_TOKENS + 1)
        prompts.append(Prompt("lost_in_the_middle", row["tier"], facts))
    shown = facts_of([HumanMessage([{"type": "text", "text": "Read it."}, IMAGE])], schema=True)
    return [*prompts, Prompt("receipts", "nano", shown)]


def of_our_own() -> list[Prompt]:
    """Return the requests that were written to fit the lean on."""
    prompts, family = [], ""
    for line in OWN.read_text("utf-8").splitlines():
        mark, _, text = line.partition(" ")
        if mark == "=":
            family = f"own: {text}"
        elif mark in {"n", "m", "f"}:
            tier = next(name for name in NAMES if name.startswith(mark))
            prompts.append(Prompt(family, tier, asked(text.replace("\\n", "\n"))))
    return prompts


def asked(text: str) -> Facts:
    """Return the facts of a text alone."""
    return facts_of([HumanMessage(text)])


def by_rules(prompt: Prompt) -> str | None:
    """Return the tier that our rules name."""
    said = classify_by_rules(prompt.facts, TIERS)
    return said["tier"] if said else None
