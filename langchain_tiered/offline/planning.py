"""How the offline models plan and review: by rules over the form of a request and of results, without judging either.

A list in the request becomes a task for each item; an item that begins with a word such as "then" needs those before
it. One that speaks of each file, or of several quoted words to search for, becomes a task for each of those. A review
accepts what has a result, and a risky call whose arguments the user has said without a doubt. It is enough to show an
orchestrator at work, and to test one.
"""

from __future__ import annotations

import json
import re
from typing import Any

_PLAN, _REVIEW = frozenset({"mode", "answer", "tasks"}), frozenset({"verdict", "reason", "revisions", "answer"})
_APPROVAL = frozenset({"verdicts"})
_ITEM = re.compile(r"(?m)^\s*(?:\d{1,2}[.)]|[-*•])\s+(\S.{0,2000})$")
_JOINS = re.compile(
    r"(?i)(?:then|finally|last(?:ly)?|after that|from (?:these|those|them|all)|with (?:these|those|all))\b"
)
_KINDS = (
    ("classify", r"label|classif|triage|sentiment|categor"),
    ("extract", r"extract|read out|which (?:date|amount|name|number)"),
    ("rank", r"rank|sort|filter"),
    ("search", r"search|find all|grep|look for"),
    ("terminal", r"terminal|shell|run the"),
    ("code", r"code|function|bug|fix|refactor|test"),
    ("reason", r"prove|why|weigh|decide|judge|argue"),
    ("tools", r"refund|cancel|order|book|send"),
    ("write", r"write|draft|summar|translate|merge|combine"),
)
_EACH = re.compile(r"(?i)\b(?:each|every) (file|document)\b(?: of more than (\d{1,6}) lines)?")
_FILE = re.compile(r"(?m)^[ \t]*([\w./-]{1,200}\.(\w{1,5}))(?:: (\d{1,7}) lines)?[ \t]*$")
_DOCUMENTS = frozenset({"md", "rst", "txt"})
_QUOTED = re.compile(r"(?<!\w)'([^'\n]{1,80})'(?!\w)")
_NAMES = re.compile(rf"{_QUOTED.pattern}|[\w-]{{1,100}}[/.]\w\S{{0,300}}")
_UNSURE = re.compile(
    r"(?i)\b(?:perhaps|maybe|possibly|probably|might|unsure|not (?:sure|certain)|whether|i (?:think|guess|suppose))\b"
)
_MOST_ITEMS = 40
_RULE = "By rule, no language model:"


def by_rule(schema: dict[str, Any], request: str) -> dict[str, Any] | None:
    """Return the plan, the review or the approval that a schema asks for; `None` where it asks for something else."""
    fields = (schema.get("properties") or {}).keys()
    if fields >= _PLAN:
        return planned(request)
    if fields >= _REVIEW:
        return reviewed(request)
    return approved(request) if fields == _APPROVAL and "<calls>" in request else None


def planned(request: str) -> dict[str, Any]:
    """Return a task for each item of a list; where there is none, one task that is the request itself."""
    items = _ITEM.findall(request)[:_MOST_ITEMS]
    if len(items) <= 1:
        only = _task("request", request.strip() or "Answer.", [])
        return {"mode": "delegate", "answer": "", "tasks": [only]}
    tasks: list[dict[str, Any]] = []
    for place, item in enumerate(items, 1):
        needs = [task["id"] for task in tasks] if _JOINS.match(item) else []
        parts = _parts(item.strip(), request)
        names = [f"step_{place}_{number}" for number in range(1, len(parts) + 1)] if parts[1:] else [f"step_{place}"]
        tasks += [_task(name, part, needs) for name, part in zip(names, parts, strict=True)]
    return {"mode": "plan", "answer": "", "tasks": tasks[:_MOST_ITEMS]}


def _parts(item: str, request: str) -> list[str]:
    """Return an item for each file that it means of those that the request lists, or for each word to search for."""
    if each := _EACH.search(item):
        of, least = each[1].lower(), int(each[2] or 0)
        named = [file for file in _FILE.finditer(request) if (file[2] in _DOCUMENTS) == (of == "document")]
        parts = [_EACH.sub(f"the {of} {file[1]}", item) for file in named if not each[2] or int(file[3] or 0) > least]
        return parts or [item]
    quoted = list(_QUOTED.finditer(item)) if _kind(item) == "search" else []
    return [f"{item[: quoted[0].start()]}{word[0]}{item[quoted[-1].end() :]}" for word in quoted] or [item]


def reviewed(told: str) -> dict[str, Any]:
    """Return a review of results in their fence: accepted where each is there, sent back where one failed."""
    results: list[dict[str, Any]] = _fenced_in(told, "results") or []
    failed = [result for result in results if result.get("outcome") == "failed"]
    if failed:
        against = [{"task": result["id"], "problem": result.get("reason") or "It failed."} for result in failed]
        return {"verdict": "needs_revision", "reason": f"{_RULE} a task failed.", "revisions": against, "answer": ""}
    lines = "\n".join(f"{result['id']}: {result['output']}" for result in results)
    return {"verdict": "satisfied", "reason": f"{_RULE} each task gave a result.", "revisions": [], "answer": lines}


def approved(told: str) -> dict[str, Any]:
    """Return a verdict on each risky call: approved where what is asked for last has all of it, and no doubt."""
    messages = (_fenced_in(told, "request") or {}).get("messages") or ()
    asked = {each["role"]: each.get("text", "") for each in messages if each.get("role") in {"user", "planner"}}
    user = asked.get("user", "")
    said = asked.get("planner", user)  # a planner asks for a part of what the user does
    words, unsure = _words(said) & _words(user), _UNSURE.search(said)
    verdicts = []
    for call in _fenced_in(told, "calls") or ():
        unsaid = [name for name, value in call["arguments"].items() if not _words(value) <= words]
        why = f"the user has not said the {' and the '.join(unsaid)}." if unsaid else "the user asks for it like this."
        why = f"the request is not sure, it says {unsure[0]!r}." if unsure else why
        verdicts.append({"call": call["number"], "reason": f"{_RULE} {why}", "approved": not (unsaid or unsure)})
    return {"verdicts": verdicts}


def _words(value: object) -> set[str]:
    return set(re.findall(r"\w+", str(value).lower()))


def _fenced_in(told: str, name: str) -> Any:
    found = re.search(rf"(?m)^<{name}>\n(.*)\n</{name}>$", told)
    return json.loads(found[1]) if found else None


def _task(name: str, instruction: str, needs: list[str]) -> dict[str, Any]:
    return {"id": name, "instruction": instruction, "inputs": "", "depends_on": needs, "kind": _kind(instruction)}


def _kind(instruction: str) -> str:
    """Return the kind of work that the words tell; what is quoted, and the names of files, are about something else."""
    words = _NAMES.sub(" ", instruction)
    return next((kind for kind, hints in _KINDS if re.search(rf"(?i)\b(?:{hints})", words)), "lookup")
