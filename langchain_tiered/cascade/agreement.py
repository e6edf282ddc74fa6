"""`agreement`: a second cheap answer to the same request comes to the same final answer.

`compare` is the pure part: it reads the final answers of two texts or messages, and says how far they agree.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from langchain_core.messages import AIMessage

from langchain_tiered.cascade.asked import AskedModel, share, unwrapped
from langchain_tiered.cascade.checks import finished, not_refused
from langchain_tiered.errors import ConfigurationError
from langchain_tiered.types import Verdict

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from langchain_tiered.cascade.asked import Said
    from langchain_tiered.cascade.checks import Check, CheckInput
    from langchain_tiered.types import Tier

_MOST_WORDS, _MOST_CHARS = 6, 80  # of a label; what is longer is prose
_LONGEST_FOLDED = 1_000  # one sign may fold into eighteen, and a text of them takes seconds
_LONGEST_NUMBER, _LONGEST_EQUATION = 60, 200
_EXACT = 1e-12
"""Relative difference that adding floats in another order makes; see `math.isclose`."""

_CURRENCIES = "$€£¥₹₩₽₺₪฿¢"
_SIGN = "[-+\N{MINUS SIGN}]?"
_APOSTROPHE = "\N{RIGHT SINGLE QUOTATION MARK}"
_NUMBER = re.compile(
    rf"(?P<sign>{_SIGN})(?P<before>[{_CURRENCIES}]?)\s?(?P<inner>{_SIGN})"
    rf"(?P<digits>(?:0|[1-9]\d{{0,2}}(?:(?P<mark>[,' _{_APOSTROPHE}])\d{{3}}(?:(?P=mark)\d{{3}})*)?|[1-9]\d*)"
    r"(?:\.\d+)?(?:[eE][-+]?\d{1,3})?|\.\d+)"
    rf"\s?(?P<after>[%{_CURRENCIES}]?)",
    re.ASCII,
)
_BOXED = re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}")
_CUE = re.compile(
    r"(?:(?:so|thus|therefore|hence),? )?(?:the |my )?(?:final |correct )?"
    r"(?:(?:answer|label|category|class)\s*(?:is\b\s*:?|[:=])"
    r"|(?:classification|intent|sentiment|result|verdict|decision|choice)\s*[:=])\s*(?P<said>.+)",
    re.IGNORECASE,
)
_EQUATION = re.compile(
    r"(?!.*\b(?:confidence|score|probability|certainty)\b)"
    r"(?!.*=.*(?:[,;]\s|\band\b).*=)"  # of several unknowns the last is not the answer
    r".*(?<![<>!])=([^=]+)",
    re.IGNORECASE,
)
_FENCE = re.compile(r"```[\w-]*[ \t]*\n(.*?)```", re.DOTALL)
_BULLET = re.compile(r"(?:#{1,6}|[-*\N{BULLET}])\s+(?=\D)")
_YES_OR_NO = re.compile(
    r"(yes|no)\W+(?:it|he|she|they|that|this|there|we|i|you)\s+"
    r"(?:is|are|was|were|am|do|does|did|can|could|has|have|had|will|would|should|may|must)"
    rf"(?:\s?not|n['{_APOSTROPHE}]t)?"
)
_ENDS = " \t\n.,;:!?"
_PAIRS = dict(zip("*_~`\"'\u2018\u201c\u00ab\u2039", "*_~`\"'\u2019\u201d\u00bb\u203a", strict=True))
_BRACKETED = re.compile(r"[(\[]?([^\W\d_]+)[)\]]")
_KEPT = ("<super>", "<sub>", "<fraction>")
_PROSE = "is no label, number or JSON, so nothing can be compared: use `judge` there."


def agreement(model: BaseChatModel | str | Tier, *, tolerance: float = 0.0, least: float = 1.0) -> Check:
    """Return a check that asks `model` the same, and accepts the answer if both come to the same final answer.

    ```python
    from dataclasses import replace

    from langchain_tiered import create_tiered_agent
    from langchain_tiered.cascade.agreement import agreement
    from langchain_tiered.offline import offline_tiers

    nano, mini, flagship = offline_tiers()
    agent = create_tiered_agent([replace(nano, checks=[agreement(mini)]), mini, flagship])
    result = agent.invoke({"messages": [("user", "Classify as bug, praise or other: the app crashes.")]})
    print(result["messages"][-1].text, result["route"]["tier"])
    ```

    Why it is worth a second call: two cheap models that agree on a final answer kept 98.5-100 % of the dear model's
    accuracy at 0.49-0.67 of its cost, untrained, measured on labels, numbers and JSON. It is no proof: 5-7 % of the
    accepted answers were wrong all the same, and more where one of the two is weak and the labels are few. A model that
    is asked twice repeats its own mistakes, and at temperature 0 agrees with itself. Measure it on your own outcomes.

    JSON is compared field by field, numbers by value, short texts as labels; see `compare`. Free text is rejected
    before anything is paid: let `judge` check it. The second model is sent the whole request with its images and tool
    results, but no tools, and is asked for the schema where there is one and it can. Its call is booked with the role
    `judge`.

    Args:
        model: Who is asked: a chat model, a `provider:model` string, or a tier, whose model and rates then hold.
        tolerance: How far two numbers may lie apart, as a share of the larger; `0` means equal to float precision.
        least: The share of JSON fields that must agree. Labels and numbers agree or do not.

    Raises:
        ConfigurationError: If `model` is no model, or a number is out of range.
    """
    if least == 0:
        raise ConfigurationError("agreement(least=0): that would accept everything. Give a share above 0.")
    share("agreement", "tolerance", tolerance)
    return _Agreement(AskedModel(model, "agreement"), tolerance, share("agreement", "least", least))


def compare(first: str | AIMessage, second: str | AIMessage, tolerance: float = 0.0) -> tuple[float | None, str]:
    r"""Return how far two answers agree, from 0 to 1, and a sentence that quotes neither; `None` if it cannot be told.

    A final answer is, the first that is there:

    - the arguments of a tool call, or JSON: the whole text, or its one fenced block. The score is the share of the
      fields that agree, nested ones too; a field that is missing is as good as an empty one;
    - what is marked: `\boxed{42}`, or the last line that says `Answer: 42`, `Label: refund` or the like;
    - a short text: a number, the right side of an equation, or else a label;
    - of a longer text, a number alone on its last line, or behind the last line's last `=`.

    Numbers may have thousands separators and a percent or currency sign; two different signs disagree. A number with
    leading zeros is a label. Labels are the same whatever their case, spaces, form in Unicode, and the markdown, quotes
    and punctuation around them: where these are the answer, as in the output of a program, do not compare them.
    """
    one, other = _final(first), _final(second)
    if one is None or other is None:
        return None, f"The {'first' if one is None else 'second'} answer {_PROSE}"
    if one.kind != other.kind:
        return 0.0, f"One answer is a {one.kind}, the other a {other.kind}."
    if one.kind == "JSON":
        return _fields_compared(one, other, tolerance)
    same = _same(one.value, other.value, tolerance) and _compatible(one.more, other.more)
    return float(same), f"The two answers come to {f'the same {one.kind}' if same else f'different {one.kind}s'}."


class _Agreement:
    """Asks a model the same, and compares."""

    def __init__(self, asked: AskedModel, tolerance: float, least: float) -> None:
        self.__name__ = "agreement"
        self._asked, self._tolerance, self._least = asked, tolerance, least

    def __call__(self, given: CheckInput) -> Verdict:
        if _final(given.answer) is None:
            return _rejected(f"The answer {_PROSE}")
        return self._verdict(given, self._asked.said(given.request, unwrapped(given.schema)))

    async def acheck(self, given: CheckInput) -> Verdict:
        """Do what a call does, without blocking the event loop."""
        if _final(given.answer) is None:
            return _rejected(f"The answer {_PROSE}")
        return self._verdict(given, await self._asked.asaid(given.request, unwrapped(given.schema)))

    def _verdict(self, given: CheckInput, said: Said) -> Verdict:
        if said.message is None:
            return _rejected("The second answer was refused, cut off, or does not fit the schema.")
        second = replace(given, answer=said.message)
        if not not_refused(second)["accepted"]:
            return _rejected("The second model refused to answer.")
        if not finished(second)["accepted"]:
            return _rejected("The second answer is not finished.")
        score, told = compare(given.answer, _named_alike(said.message, given.answer), self._tolerance)
        if score is None or score < self._least:
            needed = f" At least {self._least:.0%} must." if score else ""
            return _rejected(f"{told}{needed}", score)
        return Verdict(accepted=True, check="agreement", reason=told, score=score)


def _named_alike(second: AIMessage, first: AIMessage) -> AIMessage:
    """Name a structured call like the other one: each was the only tool there, and LangChain may make up its name."""
    if len(first.tool_calls) == len(second.tool_calls) == 1:
        call = {**second.tool_calls[0], "name": first.tool_calls[0]["name"]}
        return second.model_copy(update={"tool_calls": [call]})
    return second


def _rejected(reason: str, score: float | None = None) -> Verdict:
    return Verdict(accepted=False, check="agreement", reason=reason, score=score)


class _Final(NamedTuple):
    """What an answer comes to."""

    kind: Literal["JSON", "number", "label"]
    value: Any
    more: str | None = None
    """The sign beside a number, or the name of the tool whose arguments a JSON value is."""


def _final(answer: str | AIMessage) -> _Final | None:
    """Return what an answer comes to, or `None` where it is prose."""
    if isinstance(answer, AIMessage) and answer.tool_calls:
        calls = answer.tool_calls
        if len(calls) == 1:
            return _Final("JSON", calls[0]["args"], calls[0]["name"])
        return _Final("JSON", [{"name": call["name"], "args": call["args"]} for call in calls])
    text = (answer if isinstance(answer, str) else answer.text).strip()
    fenced = _FENCE.findall(text)
    if len(fenced) == 1 and (found := _json(fenced[0])):
        return found
    return _json(text) or _stated(_FENCE.sub(r"\1", text))


def _json(text: str) -> _Final | None:
    try:
        value = json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError):
        return None
    return _Final("JSON", value) if isinstance(value, (dict, list)) else None


def _refused(constant: str) -> None:
    raise ValueError(constant)  # NaN and infinity are no JSON, and equal nothing


def _stated(text: str) -> _Final | None:
    """Return the final answer that a text states."""
    if boxed := _BOXED.findall(text):
        return _number(boxed[-1]) or _label(boxed[-1])
    lines = [line for line in map(_unmarked, text.splitlines()) if line]
    if not lines:
        return None
    cued = [cue["said"] if (cue := _CUE.fullmatch(line)) else None for line in lines]
    said = [words for words in cued if words]
    if said:
        # A label marked in the middle of others may be one of many, as in a list of questions and answers.
        is_final = len(said) == 1 or cued[-1]
        if found := _number(said[-1]) or (_label(said[-1]) if is_final else None):
            return found
    if len(lines) == 1:
        return _number_at_end(lines[0]) or _label(lines[0])
    # A label may come with a number on a line of its own: then the number alone is not the answer.
    return _label(" ".join(lines)) or _number_at_end(lines[-1])


def _unmarked(line: str) -> str:
    """Return a line without markdown."""
    return _BULLET.sub("", line.replace("**", "").replace("__", "").replace("`", "").strip(), count=1)


def _number_at_end(line: str) -> _Final | None:
    equation = _EQUATION.fullmatch(line[-_LONGEST_EQUATION:])
    return _number(line) or (_number(equation[1]) if equation else None)


def _number(text: str) -> _Final | None:
    if len(text) > _LONGEST_FOLDED:
        return None
    text = _normal(text).replace("\\$", "$").replace("\\%", "%").replace("\\(", "").replace("\\)", "")
    text = _bare(text)
    if len(text) > _LONGEST_NUMBER:
        return None
    if text[:1] == text[-1:] == "$":
        text = text[1:-1]  # mathematics, not money
    found = _NUMBER.fullmatch(text)
    if not found or (found["sign"] and found["inner"]) or (found["before"] and found["after"]):
        return None
    digits = found["digits"].replace(found["mark"] or ",", "")
    value = int(digits) if digits.isdigit() else float(digits)
    negative = (found["sign"] or found["inner"]) in ("-", "\N{MINUS SIGN}")
    if not math.isfinite(value):
        return None
    return _Final("number", -value if negative else value, found["before"] or found["after"] or None)


def _label(text: str) -> _Final | None:
    if len(text) > _LONGEST_FOLDED:
        return None
    label = _folded(text)
    if not label or len(label) > _MOST_CHARS or len(label.split()) > _MOST_WORDS:
        return None
    said = _YES_OR_NO.fullmatch(label)
    return _Final("label", said[1] if said else label)


def _folded(text: str) -> str:
    """Return a label in the one form in which equal ones are equal."""
    label = _bare(" ".join(_normal(_normal(text).casefold()).split()))
    option = _BRACKETED.fullmatch(label)  # (b) or b); not (42), which accountants write for -42
    return option[1] if option else label


def _bare(text: str) -> str:
    """Strip a text of punctuation at its end, and of quotes or markdown around; a mark without its pair is its own."""
    while True:
        inner = text.rstrip(_ENDS).lstrip()
        ends = inner[:1], _PAIRS.get(inner[:1])
        if len(inner) > 1 and inner[-1] == ends[1] and not any(end in inner[1:-1] for end in ends if end):
            inner = inner[1:-1]
        if inner == text:
            return text
        text = inner


def _normal(text: str) -> str:
    """Return a text in one Unicode form. Raised and lowered digits stay: 10 to the 2nd is not 102."""
    if text.isascii():
        return text
    signs = [
        sign if unicodedata.decomposition(sign).startswith(_KEPT) else unicodedata.normalize("NFKC", sign)
        for sign in text
    ]
    return unicodedata.normalize("NFC", "".join(signs))


def _fields_compared(one: _Final, other: _Final, tolerance: float) -> tuple[float, str]:
    if not _compatible(one.more, other.more):
        return 0.0, "The two answers call different tools."
    ours, theirs = _leaves(one.value), _leaves(other.value)
    paths = [
        path
        for path in ours | theirs
        if not (ours.get(path) is None and theirs.get(path) is None) or (path in ours and path in theirs)
    ]
    agreeing = sum(_same(ours.get(path), theirs.get(path), tolerance) for path in paths)
    score = agreeing / len(paths) if paths else 1.0
    return score, f"{agreeing} of {len(paths)} fields agree."


def _leaves(value: Any) -> dict[tuple[str | int, ...], Any]:
    """Return the scalars of a JSON value by their paths; an empty text is nothing, like null."""
    leaves: dict[tuple[str | int, ...], Any] = {}
    left: list[tuple[tuple[str | int, ...], Any]] = [((), value)]
    while left:
        path, each = left.pop()
        if isinstance(each, dict):
            left += [((*path, key), inner) for key, inner in each.items()]
        elif isinstance(each, list):
            left += [((*path, place), inner) for place, inner in enumerate(each)]
        else:
            leaves[path] = None if isinstance(each, str) and not each.strip() else each
    return leaves


def _same(one: Any, other: Any, tolerance: float) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return (_folded(one) or one) == (_folded(other) or other)
    if _is_number(one) and _is_number(other):
        return _near(one, other, tolerance)
    return type(one) is type(other) and bool(one == other)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _near(one: float, other: float, tolerance: float) -> bool:
    if one == other:
        return True
    if isinstance(one, int) and isinstance(other, int) and not tolerance:
        return False  # such as two long order numbers, which floats would hold for one
    try:
        return math.isclose(one, other, rel_tol=max(tolerance, _EXACT))
    except OverflowError:
        return False


def _compatible(one: str | None, other: str | None) -> bool:
    return one is None or other is None or one == other
