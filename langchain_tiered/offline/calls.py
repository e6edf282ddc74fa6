"""Chooses tools by the words of their names and descriptions, and fills them from the request alone.

What a document or a tool result says is never read as a request, so no instruction hidden there can start a tool.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from langchain_tiered.offline.fields import Filler
from langchain_tiered.offline.rules import stems

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langchain_tiered.offline.fields import Schema

_GAP = re.compile(
    r"(?:[.;?!:]\s+|,?\s+(?:and then|and also|and|then|after that)\s+|,\s+)(?!#?[A-Z]{0,5}-?\d)", re.IGNORECASE
)
_DENIED = re.compile(r"^\W*(?:\w+\s+){0,2}?(?:do not|don'?t|never|without|no need to|instead of)\b", re.IGNORECASE)
_CONDITION = re.compile(r"\b(?:if|unless|in case|only when)\b", re.IGNORECASE)
_LISTED = re.compile(
    r"#?[\w-]*\d{2,}\b(?:(?:\s*,\s*(?:and\s+|or\s+)?|\s+(?:and|or|&)\s+)(?:\w+\s+){0,2}#?[\w-]*\d{2,}\b)+"
)
_VALUE = re.compile(r"[A-Z]{0,5}-?\d{2,12}\b")
_POLITE = re.compile(
    r"^\W*(?:(?:please|can|could|would|will|you|kindly|i|we|want|need|to|like|i'd|let's|now)\b\W*)+", re.IGNORECASE
)
_NEEDS = re.compile(
    r"\b(?:refund|cancel|track|list|show|send|book|update|change|delete|remove|look up|find|check|"
    r"fetch|transfer|pay|reset|where is|status of|when will)\b"
    r"[^?!\n]{0,80}?(?:#?\b[\w-]{0,12}\d{3,}\b|\S@\S|\bmy (?:order|account|booking|parcel|invoice|refund)\b)"
    r"|\bsearch (?:the )?(?:web|internet|online)\b"
    r"|\b(?:latest|current|today'?s?)\b[^.?!]{0,40}\b(?:news|price|version|weather|rate)\b",
    re.IGNORECASE,
)
_NAMED = re.compile(r"\d\d|\S@\S|\b(?:it|its|that|them|they|these|those)\b", re.IGNORECASE)
_ENOUGH, _PLENTY = 1.0, 2.0  # a rare word of a description; one of a name, where the clause names no object
_THEN = re.compile(r"\b(?:then|after that)\s+$", re.IGNORECASE)
_TAIL = re.compile(r"[\s,;]*\b(?:and(?: then| also)?|then|after that)?[\s,;]*$", re.IGNORECASE)


@dataclass(frozen=True)
class Plan:
    """What a request asks of its tools."""

    calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    """Name and arguments of each call, in the order asked for."""

    missing: tuple[str, ...] = ()
    """A question for each tool that is asked for and cannot be filled."""

    left_out: tuple[str, ...] = ()
    """The parts of the request that hang on a condition: rules cannot judge one, so nothing is done."""


def plan(
    ask: str, text: str, tools: Sequence[Schema], called: frozenset[str] = frozenset(), *, by_order: bool = False
) -> Plan:
    """Plan the calls that a request needs; what stands behind a "then" waits for what stands before it.

    Args:
        ask: The instruction itself, clause by clause.
        text: Where else arguments may stand, the nearest first: the rest of the request, earlier turns.
        tools: The tools as functions in OpenAI's form.
        called: The calls made already, as `key` writes them.
        by_order: Whether a tool must be ordered by its verb: so where the request is work on a text.
    """
    calls: list[tuple[str, dict[str, Any]]] = []
    missing, left_out = [], []
    for clause, later, tool in _clauses(ask, tools, by_order=by_order):
        if later and any(key(*call) not in called for call in calls):
            break
        if _CONDITION.search(clause):
            left_out.append(clause)
        elif not _DENIED.search(clause):
            found, lacking = _filled(clause, f"{ask}\n{text}", tool)
            calls += [call for call in found if call not in calls]
            if lacking and _wanted(clause, tool) and len(set(stems(clause)) & set(stems(tool["name"]))) > 1:
                missing.append(f"Which {' and '.join(lacking)} should {tool['name']} take? The request does not say.")
    return Plan(tuple(calls), tuple(missing), tuple(left_out))


def needs_tools(ask: str) -> bool:
    """Tell whether a request wants an action, or data that stands in no prompt: about one order, account or day."""
    return bool(_NEEDS.search(ask))


def key(name: str, args: object) -> str:
    """Return what makes two calls the same."""
    return f"{name} {json.dumps(args, sort_keys=True, default=str)}"


def _clauses(ask: str, tools: Sequence[Schema], *, by_order: bool) -> Iterator[tuple[str, bool, Schema]]:
    """Part a request into clauses that each want a tool; a clause that wants none belongs to the one before."""
    names = [set(stems(tool["name"])) for tool in tools]
    about = [set(stems(tool.get("description", "")[:600])) | name for tool, name in zip(tools, names, strict=True)]
    rare = Counter(word for words in names for word in words), Counter(word for words in about for word in words)
    edges = [0, *(gap.end() for gap in _GAP.finditer(ask)), len(ask)]
    begun: list[tuple[int, Schema]] = []
    for start, end in pairwise(edges):
        words = set(stems(ask[start:end]))
        scores = [
            sum(2 / rare[0][word] if word in name else 1 / rare[1][word] for word in words & described)
            for name, described in zip(names, about, strict=True)
        ]
        best = max(range(len(scores)), key=scores.__getitem__, default=0)
        enough = _ENOUGH if _NAMED.search(ask[start:end]) else _PLENTY
        if scores and scores[best] >= enough and (not by_order or _wanted(ask[start:end], tools[best])):
            begun.append((start, tools[best]))
    ends = [*(start for start, _ in begun), len(ask)][1:] if begun else []
    for (start, tool), end in zip(begun, ends, strict=True):
        yield _TAIL.sub("", ask[start:end]), bool(_THEN.search(ask[max(start - 20, 0) : start])), tool


def _wanted(clause: str, tool: Schema) -> bool:
    """Tell whether a clause starts with a verb of the tool, after its courtesies, or speaks of "my" something."""
    verb = re.match(r"\W*(\w+)", _POLITE.sub("", clause))
    ordered = verb is not None and bool(set(stems(verb[1])) & set(stems(tool["name"])))
    return ordered or bool(re.search(r"\bmy\b", clause, re.IGNORECASE))


def _filled(clause: str, text: str, tool: Schema) -> tuple[list[tuple[str, dict[str, Any]]], list[str]]:
    """Return the calls of one clause, one for each listed value, and the required arguments that nothing fills."""
    parameters = tool.get("parameters", {})
    required, filler = parameters.get("required", ()), Filler(parameters, clause, "")
    args = {}
    for name, schema in parameters.get("properties", {}).items():
        found = filler.find(schema, name, clause, must=name in required)
        if found is None and name in required:
            found = filler.find(schema, name, text)
        if found is not None:
            args[name] = found
    if lacking := [name for name in required if name not in args]:
        return [], lacking
    listed = _LISTED.search(clause)
    values = _VALUE.findall(listed[0]) if listed else []
    slots = [name for name, value in args.items() if str(value) in values]
    if len(slots) != 1:
        return [(tool["name"], args)], []
    slot = type(args[slots[0]])
    return [(tool["name"], {**args, slots[0]: slot(value)}) for value in dict.fromkeys(values)], []
