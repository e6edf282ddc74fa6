"""What the offline models say: labels, fields, sentences that stand in the request, and else that they know nothing."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from langchain_tiered.offline.fields import fill
from langchain_tiered.offline.rules import items_in, labels_in, most_alike, passages, ranked, sentences, stems, summary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TEXT_WORK = re.compile(
    r"\b(?:summar\w+|tl;?dr|classif\w+|label|categor\w+|sentiment|triage|extract|pull out|translat\w+|rewrite|rephrase|"
    r"proofread|rank|sort|read|which of)\b",
    re.IGNORECASE,
)
_CODE = re.compile(
    r"```|Traceback|\b(?:function|python|javascript|typescript|rust|sql|regex|bash|shell|script|unit tests?|refactor|"
    r"debug|compile\w*|stack ?trace)\b",
    re.IGNORECASE,
)
_SHELL = re.compile(r"\b(?:bash|shell|terminal|command line)\b", re.IGNORECASE)
_WRITING = re.compile(r"\b(?:write|draft|compose|rewrite|rephrase|translate)\b", re.IGNORECASE)
_EXTRACT = re.compile(
    r"\b(?:extract|pull out|list|give me)\s+(?:the\s+)?([^.:;\n]{3,200}?)(?:\s+from\b|[.:;\n]|$)", re.IGNORECASE
)
_ERROR = re.compile(r"^\s*([A-Za-z_.]{3,80}(?:Error|Exception|Warning|Interrupt)\b.*)$", re.MULTILINE)
_FRAME = re.compile(r'File "([^"\n]{1,300})", line (\d+)')
TOP = 2
"""The level of the flagship: it structures what it says."""
SHORT = 600
"""Characters of an instruction: what is longer is a document."""
_EDGE = 3_000  # characters at either end of a request in which labels may be listed


@dataclass(frozen=True)
class Request:
    """What the messages ask, taken apart."""

    ask: str = ""
    """The instruction."""

    body: str = ""
    """The text that it is about, or `""`."""

    text: str = ""
    """Both, as they came."""

    system: str = ""
    """The system prompts."""

    earlier: str = ""
    """The user's turns before, the latest first."""

    images: tuple[str, ...] = ()
    """What the header of each image says."""

    results: tuple[str, ...] = ()
    """What the tools of this turn returned."""

    called: frozenset[str] = frozenset()
    """The calls of this turn, as `calls.key` writes them."""

    notes: tuple[str, ...] = ()
    """What could not be done, for the answer."""

    @property
    def material(self) -> str:
        """What values are read from: the tools' results, then the document, or the request where there is none."""
        return "\n".join([*self.results, self.body or ("" if self.images else self.text)])


def taken_apart(text: str) -> tuple[str, str]:
    """Part a request into its instruction, cut where it is long, and what it is about."""
    ask, body = _parted(text)
    return ask[: 2 * SHORT], body


def _parted(text: str) -> tuple[str, str]:  # noqa: PLR0911  (one for each form of a request)
    """Find what stands apart: what is marked, fenced, in paragraphs of its own or behind a colon."""
    tag = re.search(r"<([a-z_]{2,30})>", text)
    if tag and (end := text.rfind(f"</{tag[1]}>")) >= tag.end():
        return f"{text[: tag.start()]} {text[end + len(tag[1]) + 3 :]}".strip(), text[tag.end() : end].strip()
    if "```" in text:
        head, _, rest = text.partition("```")
        inside, _, tail = rest.rpartition("```")
        return f"{head.strip()} {tail.strip()}".strip()[:SHORT], inside or rest
    gap = next((gap for gap in ("\n\n", "\n") if gap in text), None)
    if gap:
        head, tail = text.partition(gap)[0], text.rpartition(gap)[2]
        if _asks(tail) and not _asks(head):
            return tail, text[: -len(tail)].strip()
        if _asks(head):
            return head, text[len(head) :].strip()
        return (text, "") if len(text) <= SHORT else (head[:SHORT], text)
    head, colon, rest = text.partition(":")
    if colon and len(head) < SHORT and TEXT_WORK.search(head):
        return head, rest.strip()
    if len(text) <= SHORT:
        return text, ""
    first, last = sentences(text[:SHORT])[:1], sentences(text[-SHORT:])[-1:]
    return " ".join(first if TEXT_WORK.search(text[:SHORT]) else first + last), text


def say(request: Request, level: int) -> str:
    """Return the answer in words. `level` is 0 for the least that answers, 2 for the most that the rules can tell."""
    rules: tuple[Callable[[Request, int], str], ...] = (
        _of_tools, _of_images, _of_labels, _of_ranking, _of_fields, _of_code, _of_summary, _of_document, _of_writing,
    )  # fmt: skip
    answer = next((said for rule in rules if (said := rule(request, level))), "") or _of_nothing(request, level)
    return "\n\n".join([answer, *request.notes])


def _asks(text: str) -> bool:
    return len(text) < SHORT and (text.rstrip().endswith(("?", ":")) or bool(TEXT_WORK.search(text[:80])))


def _of_tools(request: Request, level: int) -> str:
    told = [_plainly(result) for result in request.results]
    told = [passages(request.ask, result, 1 + level) if len(result) > SHORT else result for result in told]
    return "\n".join(told) if level < TOP or not told else "\n".join(["What the tools returned:", *_bullets(told)])


def _of_images(request: Request, level: int) -> str:
    del level
    return f"{' '.join(request.images)} The offline rules cannot see what is in it." if request.images else ""


def _of_labels(request: Request, level: int) -> str:
    ends = request.text if len(request.text) <= 2 * _EDGE else f"{request.text[:_EDGE]}\n{request.text[-_EDGE:]}"
    labels, rest = labels_in(ends, request.ask)
    if not labels:
        labels, rest = labels_in(request.system, request.system)[0], request.body or request.text
    if not labels:
        return ""
    best = most_alike(rest, dict.fromkeys(labels, ""))
    only = level < TOP or re.search(r"\bonly\b|\bjust the\b", f"{request.ask} {request.system}", re.IGNORECASE)
    return best.option if only else f"{best.option}\n\nWords shared: {', '.join(best.shared) or 'none'}."


def _of_ranking(request: Request, level: int) -> str:
    del level
    items = items_in(request.body)
    if len(items) <= 1 or not re.search(r"\b(?:rank|sort|order|prioriti[sz]e|top)\b", request.ask, re.IGNORECASE):
        return ""
    return "\n".join(f"{place}. {item}" for place, item in enumerate(ranked(request.ask, items), 1))


def _of_fields(request: Request, level: int) -> str:
    del level
    wanted = _EXTRACT.search(request.ask)
    if wanted is None or not request.body:
        return ""
    names = [re.sub(r"^(?:the|a|an|all)\s+", "", part.strip()) for part in re.split(r",|\band\b", wanted[1])]
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in names if name}, "required": names}
    return "\n".join(f"{name}: {value or 'not found'}" for name, value in fill(schema, request.body).items())


def _of_code(request: Request, level: int) -> str:
    if not _CODE.search(request.text[:_EDGE]):
        return ""
    error, frames = _ERROR.findall(request.text), _FRAME.findall(request.text)
    if error:
        place = f" at line {frames[-1][1]} of {frames[-1][0]}" if frames else ""
        return (
            f"The traceback ends in `{error[-1]}`{place}. The offline rules read it and cannot reason about the code."
        )
    name = "_".join([word for word in stems(request.ask) if word.isidentifier()][1:4])
    ask = " ".join(request.ask.split())[:90]
    sketch = f'def {name or "sketch"}(*args):\n    """{ask}"""\n    raise NotImplementedError'
    told = f"```bash\n# {ask}\n```" if _SHELL.search(request.ask) else f"```python\n{sketch}\n```"
    note = "A sketch by the offline rules: they cannot write the body."
    return f"{told}\n{note}" if level else note


def _of_summary(request: Request, level: int) -> str:
    if not re.search(r"\b(?:summar\w+|tl;?dr|key points|main points|gist)\b", request.ask, re.IGNORECASE):
        return ""
    single = re.search(r"\b(?:one|a single) (?:sentence|line)\b", request.ask, re.IGNORECASE)
    return summary(request.body or request.text, 1 if single else 1 + 2 * level)


def _of_document(request: Request, level: int) -> str:
    return passages(request.ask, request.body, 1 + level) if len(request.body) > 2 * len(request.ask) else ""


def _of_writing(request: Request, level: int) -> str:
    if not _WRITING.search(request.ask):
        return ""
    points = sentences(request.body or request.ask)[: 1 + 2 * level]
    return "\n".join(["A template by the offline rules, to be written out by a language model:", *_bullets(points)])


def _of_nothing(request: Request, level: int) -> str:
    known = "The offline rules hold no knowledge; a language model would have to answer this."
    most = max(sentences(request.ask[:_EDGE]), key=lambda part: len(set(stems(part))), default="")
    told = f"{known} The request turns on: {most}" if most else known
    return told if level < TOP else f"{told}\n\nIts words: {', '.join(dict.fromkeys(stems(request.ask)[:12]))}."


def _bullets(parts: Sequence[str]) -> list[str]:
    return [f"- {part}" for part in parts]


def _plainly(result: str) -> str:
    """Tell a tool's JSON as `name: value` pairs, and everything else as it is."""
    try:
        value = json.loads(result) if result[:1] in ("{", "[") else result
    except ValueError:
        return result
    rows = value if isinstance(value, list) else [value]
    return "\n".join(
        ", ".join(f"{name}: {told}" for name, told in row.items()) if isinstance(row, dict) else str(row)
        for row in rows
    )
