"""What can be done to text without a language model: likeness of words, patterns of values, sentences worth quoting.

Every function is pure, deterministic and takes at most `n log n` steps in the length of its text.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_STOP = frozenset(
    re.findall(
        r"\w+",
        """a an the of to in on at by for from and or but not with as is are was were be been it its this that these
        those i me my we our you your he she they them his her their do does did have has had can could would will may
        please there here what which who whom how all any some if so than then into about just also us one each such
        no off""",
    )
)
_HINTS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.MULTILINE), words)
    for pattern, words in (
        (
            r"(?:^|[.?!] )why\b|\b(prove|proof|show that|should|trade-?offs?|strategy|versus|implications?|justify)\b",
            "open-ended reasoning depth planning trade-offs",
        ),
        # a case, told in sentences, and then a question
        (
            r"[^.!?\n]{20}[.!] [^.!?\n]{3,160}\?\s*$",
            "open-ended reasoning diagnosis planning depth",
        ),
        (r"\b(review|critique|final decision|sign off|approve)\b", "final judgement review"),
        (
            r"```|\bdef |\bfunction\b|\bpython\b|\bregex\b|\bsql\b|\bbug\b|\bunit tests?\b|Traceback",
            "code writing fixing",
        ),
        (r"\b(bash|shell|terminal|command line|ssh|grep|systemctl|cron)\b", "terminal commands"),
        (r"\b(labels?|categor\w+|classif\w+|sentiment|tag|triage|spam)\b", "classification triage labels"),
        (r"\b(extract|pull out|fields?|json|parse)\b", "extraction schema"),
        (r"\b(rank|sort|order (?:them|these)|top \d|cheapest first|filter)\b", "ranking filtering"),
        (r"\b(latest|today|current(?:ly)?|news|search the web|look up online)\b", "web search"),
        (r"\b(screenshot|screen|click|button|dialog)\b", "screenshots screen computer use"),
        (r"\b(receipt|scan|scanned|invoice image)\b", "reading receipts scans"),
        (r"\b(?:refund|cancel|track|update|send|book|order)\b[^?!\n]{0,60}\d{3}", "calling tools"),
        (r"\b(write|draft|rewrite|rephrase|translate|email|poem|letter)\b", "drafting rewriting text write"),
        (
            r"^(?:who|what|when|where|which|how (?:many|much|long|old|far))\b[^?]{0,90}\?\s*$",
            "lookup one question",
        ),
        (r"\b(love|great|excellent|perfect|happy|thanks|wonderful|delighted)\b", "positive"),
        (r"\b(hate|terrible|awful|broken|angry|worst|disappoint\w*|useless|rude)\b", "negative"),
        (r"\b(urgent|asap|immediately|right away|emergency|outage|is down)\b", "urgent high critical"),
    )
)
_ENOUGH = 20_000  # characters that tell what a text is like; the rest of a book tells the same again
_WORD = re.compile(r"[^\W_]+")
NUMBER = re.compile(
    r"(?<![\w.])([$€£]\s?|(?:USD|EUR|GBP)\s)?(-?\d{1,15}(?:,\d{3}){0,4}(?:\.\d{1,9})?)(?!\w)(\s?(?:%|USD|EUR|GBP))?"
)
"""A number: what stands before it as a currency, its digits, what stands behind it as a unit."""
_LABELS = re.compile(
    r"\b(?:(?:options|topics|tags|one of|choose from)\b[^:\n?]{0,80}:"
    r"|(?:labels?|[ck]ategor\w{1,4}|queues?|intents?|classes)\b[^:\n?(]{0,80}[:?(])\s*([^\n)]{3,2000})",
    re.IGNORECASE,
)
_EITHER = re.compile(
    r"\b((?:\w{1,30}, ){1,40}\w{1,30},? or \w{1,30})"
    r"|\b(?:as|into|one of|either|is it)\s+([^.:;?\n]{3,300}?\s(?:or|and)\s[\w -]{2,40})",
    re.IGNORECASE,
)
_SORTING = re.compile(r"\b(?:classif|label|categor|sentiment|tone|mood|tag|triage|mark|sort|count)\w*", re.IGNORECASE)
_LONGEST_LABEL = 60  # characters; what is longer is prose
_ITEM = re.compile(r"^[ \t]*(?:[-*•]|\(?\w{1,2}[.)])[ \t]+(\S.*)$", re.MULTILINE)


def stems(text: str) -> list[str]:
    """Return the content words of `text`, lower case, cut to what their inflections share, in order."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    return [_stem(word) for word in _WORD.findall(apart.lower()) if word not in _STOP]


def _stem(word: str) -> str:
    for ending in ("ing", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) > 2 and not word.endswith("ss"):  # noqa: PLR2004  (a stem)
            word = word[: -len(ending)]
            if ending in ("ing", "ed") and word[-1] == word[-2]:
                word = word[:-1]
            break
    return word[:7]


def hinted(text: str) -> str:
    """Return `text` with the words for the kind of work that its form tells of."""
    return " ".join([text, *(words for pattern, words in _HINTS if pattern.search(text))])


@dataclass(frozen=True)
class Likeness:
    """How like a text an option is."""

    option: str
    """The option."""

    score: float
    """Its share of all the likeness found, from `0` to `1`."""

    shared: tuple[str, ...]
    """The word stems that it shares with the text."""


def alike(text: str, options: Mapping[str, str]) -> list[Likeness]:
    """Rank options, each with a description or `""`, by likeness to `text`: rare shared words first, then letters."""
    text = text[:_ENOUGH]
    bag, letters = set(stems(hinted(text))), _trigrams(text)
    meanings = {name: set(stems(f"{name} {meaning}")) for name, meaning in options.items()}
    counts = Counter(word for meaning in meanings.values() for word in meaning)
    found = []
    for name, meaning in meanings.items():
        shared, grams = meaning & bag, _trigrams(name)
        score = sum(1 / counts[word] for word in shared) / max(len(meaning), 1) ** 0.5
        found.append((score + 0.3 * len(grams & letters) / max(len(grams), 1), name, tuple(sorted(shared))))
    whole = sum(score for score, _, _ in found) or 1.0
    return sorted(
        (Likeness(name, score / whole, shared) for score, name, shared in found), key=lambda like: -like.score
    )


def most_alike(text: str, options: Mapping[str, str]) -> Likeness:
    """Return the option most like `text`, or the one that stands for "none" where no word is shared."""
    ranks = alike(text, options)
    others = [rank for rank in ranks if rank.option.lower() in ("other", "unknown", "none", "neutral")]
    return others[0] if others and not ranks[0].shared else ranks[0]


def _trigrams(text: str) -> set[str]:
    plain = " ".join(_WORD.findall(text.lower()))
    return {plain[start : start + 3] for start in range(max(len(plain) - 2, 0))}


def labels_in(text: str, ask: str = "") -> tuple[tuple[str, ...], str]:
    """Return the labels that a request enumerates, or `()`, and the text without them.

    A list with a heading is found anywhere in `text`; one in a sentence, as in `is it spam or ham`, in `ask` alone.
    """
    listed = _LABELS.search(text) or (_EITHER.search(ask) if _SORTING.search(ask) else None)
    if listed is None:
        return (), text
    line = re.split(r"\.(?:\s|$)", listed[listed.lastindex or 0], maxsplit=1)[0]
    parts = [
        re.sub(r"^(?:an?|the) ", "", part.strip(" \"'`*()[].?"))
        for part in re.split(r",\s*(?:or\s+|and\s+)?|\s+or\s+|\s+and\s+|\s*[/|;]\s*", line)
    ]
    labels = tuple(dict.fromkeys(part for part in parts if 0 < len(part) <= _LONGEST_LABEL))
    return (labels, text.replace(line, "")) if len(labels) > 1 else ((), text)


def items_in(text: str) -> list[str]:
    """Return the bulleted or numbered lines of `text`."""
    return [item.strip() for item in _ITEM.findall(text)]


def ranked(ask: str, items: Sequence[str]) -> list[str]:
    """Order items by the number each holds, where all hold one, else by likeness to `ask`."""
    numbers = [NUMBER.search(item) for item in items]
    if items and all(numbers):
        rising = re.search(r"\b(cheap|low|small|short|few|old|early|earli|near|ascending|least)", ask, re.IGNORECASE)
        keyed = [(as_number(found[2]), item) for found, item in zip(numbers, items, strict=True) if found]
        return [item for _, item in sorted(keyed, key=lambda pair: pair[0], reverse=rising is None)]
    return [like.option for like in alike(ask, dict.fromkeys(items, ""))]


def sentences(text: str) -> list[str]:
    """Return the sentences of `text`."""
    return [part.strip() for part in re.split(r"(?<=[.!?])\s+|\n+", text) if part.strip()]


def summary(text: str, count: int) -> str:
    """Return the `count` sentences whose words are the most frequent, the first ones before others, in their order."""
    counts = Counter(stems(text))
    return _top(
        sentences(text),
        count,
        lambda words, place: sum(counts[word] for word in words) * (1 + 1 / (1 + place)) / (len(words) + 3),
    )


def passages(question: str, text: str, count: int) -> str:
    """Return the `count` sentences that share the most, and the rarest, words with `question`, in their order."""
    asked = set(stems(question))
    parts = sentences(text)
    spread = Counter(word for part in parts for word in set(stems(part)) & asked)
    return _top(parts, count, lambda words, _: sum(1 / spread[word] ** 0.5 for word in set(words) & asked))


def _top(parts: list[str], count: int, worth: Callable[[list[str], int], float]) -> str:
    scored = sorted(((worth(stems(part), place), -place) for place, part in enumerate(parts)), reverse=True)[:count]
    return " ".join(parts[-place] for _, place in sorted(scored, key=lambda pair: -pair[1]))


def as_number(digits: str) -> float | int:
    """Return the value of the digits that `NUMBER` found: `1,200` is an integer, `3.50` is none."""
    plain = digits.replace(",", "")
    return float(plain) if "." in plain else int(plain)
