"""The lean: where the rules are unsure and nobody can be asked, the tier that the shape of a request speaks for.

A request becomes some sixty numbers from `0` to `1`: its form, which holds in every language, and in English how its
sentences open and which small words it uses. Two weighed sums of them tell how likely it wants more than the cheapest
tier, and how likely the most capable one. benchmarks/fit_leaning.py fits the weights and says from what;
benchmarks/routing_quality.py says what they are worth on families that the fit never saw.

A lean is a guess, and says so. Too low costs more than too high, so that only what is clearly easy leans to the
cheapest tier. Words about tiers, models and routes are not read, so that no order moves a lean.
"""

from __future__ import annotations

import json
import re
from importlib.resources import files
from math import exp, log1p
from operator import mul
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_tiered.routing.rules import reads_english
from langchain_tiered.types import Classification
from langchain_tiered.types.facts import ends_of
from langchain_tiered.workloads import home

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_tiered.types import Facts, Task, TierFacts

_ASK_CHARS = 180  # what is asked stands within so many characters of either end; the rest of a text is material
_PLAIN_CHARS, _WIDE = 110, 2_000
_CARRIERS = 3
_SHORT_WORD, _FEW = 4, 2
_PLAINLY = 0.5  # from here on a reason may name a feature
_SPEAKS_FOR = ((-1, -1), (1, -1), (1, 1))  # how much of either sum speaks for a rung
_TASKS: tuple[Task, ...] = ("lookup", "write", "reason")

_SENTENCE = re.compile(
    r"(?:\A|[.?!:;\n\"]\s)\W{0,4}(?:(?:please|can you|could you|so|and|but|now|then|in|at|on|to|from|by) )?"
    r"([a-z']+)(?: ([a-z']+))?"
)
_NOT_WORDS = str.maketrans(dict.fromkeys('\n\t.,;:?!()[]{}<>"“”/\\|*#=+^_~`', " "))
_ROUTING_HINTS = ("nano", "mini", "flagship", "tier", "route", "decided_by", "model")
_ROUTING = re.compile(
    r"\b(?:nano|mini|flagship|tiers?|routers?|route[sd]? (?:this|it|me|to)|decided_by"
    r"|(?:cheapest|dearest|largest|smallest|biggest|strongest|weakest) models?)\b",
    re.IGNORECASE,
)
_ENDING = re.compile(r"(?<=[.!?])(?=\s)|(?<=\n)")
_BULLET = re.compile(r"^\s{0,4}(?:[-*•]|\d{1,2}[.)]) ", re.MULTILINE)
_PART = re.compile(r"^[A-Za-z][\w ]{1,24}:\s", re.MULTILINE)
_QUOTED = re.compile(r"[\"“«'](?=\w)[^\"”»\n]{12,200}[\"”»']")
_NAME = re.compile(r" [A-Z][a-z]")
_SENTENCE_NAME = re.compile(r"[.?!:] [A-Z][a-z]")
_MATH = "=^\\<>{}∑∫√≤≥"
_NOUNS = ("tion", "sion", "ity", "ism", "ance", "ence", "ment", "ness", "ency", "ancy")
_ABSTRACT = (*_NOUNS, *(f"{ending}s" for ending in _NOUNS))

SHAPES = (
    "is short",
    "is very short",
    "is long",
    "has several lines",
    "is a list",
    "has labelled parts",
    "ends with a question",
    "asks several things",
    "has material after its question",
    "has figures",
    "is dense with figures",
    "uses mathematical signs",
    "has several sentences",
    "has long sentences",
    "has long words",
    "quotes a text",
)
"""What is measured in every language."""

# fmt: off
_OPENINGS: dict[str, tuple[str, ...]] = {
    "asks who, when or where": ("who", "when", "where", "whom", "whose"),
    "asks what": ("what", "what's"),
    "asks which": ("which",),
    "asks why": ("why",),
    "asks how": ("how",),
    "asks how many or how much": (
        "how many", "how much", "how long", "how tall", "how far", "how old", "how often", "what time", "what year",
    ),
    "asks how to do something": ("how do", "how can", "how to", "how could", "where do", "where can"),
    "asks what something is": (
        "what is", "what was", "what are", "what does", "what kind", "what's the", "what colour", "what language",
        "what country", "which country", "which language", "which year",
    ),
    "asks whether there is something": ("is there", "are there", "do you", "is the", "are the", "is it", "has my"),
    "asks yes or no": ("is", "are", "was", "were", "does", "do", "did", "has", "have", "am"),
    "asks what may be done": ("can", "may", "could", "must", "will", "would"),
    "asks what should be done": ("should", "shall"),
    "wants something picked out": (
        "classify", "extract", "list", "identify", "tag", "label", "name", "pick", "sort", "rank", "arrange", "match",
        "fill", "select", "choose", "decide", "filter", "answer", "mark", "read", "given", "put", "remove", "spell",
        "repeat", "copy", "pull",
    ),
    "wants something made": (
        "write", "create", "draft", "compose", "generate", "make", "give", "suggest", "describe", "explain", "rewrite",
        "translate", "summarize", "summarise", "implement", "turn", "shorten", "edit", "tell", "fix", "add",
    ),
    "wants something done": (
        "calculate", "compute", "convert", "get", "book", "set", "check", "show", "send", "play", "order", "reserve",
        "search", "find", "fetch", "look", "move", "update", "cancel", "post", "return", "estimate", "remind", "turn",
    ),
    "wants something thought through": (
        "prove", "evaluate", "solve", "determine", "derive", "design", "plan", "assess", "analyze", "analyse", "argue",
        "compare", "critique", "suppose", "let", "review", "justify", "interpret", "recommend", "weigh",
    ),
    "tells a story": ("he", "she", "they", "a", "an", "the", "it", "her", "his", "their", "two", "one"),
    "tells of us": ("we", "our", "us"),
    "tells of oneself": ("i", "my", "i'm", "i've", "i'd"),
    "tells of you": ("you", "you're", "your"),
}
_SMALL: dict[str, tuple[str, ...]] = {
    "is the asker's own matter": ("i", "my", "me", "mine", "i'm", "i've"),
    "is about an account or an order": (
        "account", "card", "order", "password", "parcel", "delivery", "refund", "subscription", "app", "pin", "invoice",
        "address", "login", "ticket", "appointment", "payment", "transfer", "voucher", "code", "copy", "form", "phone",
        "seat", "pass", "membership", "receipt", "website", "screen",
    ),
    "wants a service": (
        "change", "update", "reset", "upload", "download", "open", "close", "receive", "received", "arrived", "charged",
        "fee", "cost", "price", "store", "shop", "office", "hours", "link", "working", "declined", "lost", "need",
        "help", "cancel", "return", "renew", "resend", "send", "missing", "broken", "please",
    ),
    "is a matter of a group": ("we", "our", "us", "ours"),
    "somebody else has a part in it": (
        "wife", "husband", "son", "daughter", "mother", "father", "brother", "sister", "parents", "child", "partner",
        "friend", "boss", "employer", "landlord", "neighbour", "neighbor", "client", "clients", "colleague", "supplier",
        "patient", "team", "board", "people",
    ),
    "is about a third person": ("he", "she", "his", "her", "him", "they", "their", "them"),
    "says it or this": ("it", "this", "that", "these", "those", "its"),
    "says should, may or must": ("should", "may", "must", "might", "ought", "could", "would", "shall"),
    "sets a condition": ("if", "unless", "when", "while", "once", "until", "whether", "suppose", "assuming"),
    "sets one thing against another": (
        "but", "yet", "though", "although", "however", "than", "rather", "still", "instead", "only",
    ),
    "gives causes": ("because", "since", "so", "why", "hence", "therefore", "cause", "causes", "due"),
    "speaks of all or none": (
        "every", "all", "any", "some", "each", "none", "both", "always", "never", "no", "nobody", "nothing", "exactly",
    ),
    "says no": ("not", "without", "nor", "neither", "cannot", "isn't", "don't", "doesn't", "didn't"),
    "weighs one against another": (
        "or", "better", "best", "worse", "worst", "more", "less", "most", "least", "either",
    ),
    "speaks in numbers": (
        "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "half", "twice", "third", "quarter",
    ),
    "addresses somebody": ("you", "your", "you're"),
    "points at a text": (
        "text", "passage", "sentence", "sentences", "review", "following", "context", "paragraph", "title", "article",
        "question", "answer", "statement", "email", "message", "excerpt", "document", "below", "above", "label",
    ),
    "speaks of code": (
        "function", "python", "java", "javascript", "sql", "query", "table", "regex", "script", "array", "string",
        "class", "component", "server", "file", "files", "list", "program",
    ),
}
# fmt: on
_COMBINED = ("is a plain question for a fact", "is a plain matter of one's own account", "is a plain service matter")
_FORMS = (
    "has names",
    "has abstract nouns",
    "names things by letters",
    "has a superlative",
    "tells of the past",
    "has hardly a content word",
)
FEATURES = (*SHAPES, *_FORMS, *_OPENINGS, *_SMALL, *_COMBINED)
"""What is measured in English: each is told in a reason after "it"."""

_KINDS = {word: place for place, words in enumerate(_SMALL.values(), 1) for word in words}  # from 1: 0 is no kind
_OPENERS = {
    word: tuple(place for place, words in enumerate(_OPENINGS.values()) if word in words)
    for word in {word for words in _OPENINGS.values() for word in words}
}
_OWN, _ACCOUNT, _SERVICE = range(3)
_DEEP = slice(3, 12)  # from "is a matter of a group" to "speaks of all or none": such a matter is not plain
_FACT = tuple(
    place
    for place, name in enumerate(_OPENINGS)
    if name in {"asks who, when or where", "asks what something is", "asks which", "asks how many or how much"}
)


class Weights(NamedTuple):
    """What the features of one language weigh."""

    bias: tuple[float, float]
    """Log-odds of a request without any feature: that it wants more than the cheapest tier, and the most capable."""

    above: tuple[float, ...]
    """What each feature, in the order of `FEATURES`, adds to the first."""

    most: tuple[float, ...]
    """What it adds to the second."""

    expected: float
    """Below this sum of the two probabilities, which is the rung to be expected, a request leans to the cheapest."""

    flagship: float
    """Above this probability a request leans to the most capable tier."""


class Leaning(NamedTuple):
    """What the form of a request speaks for."""

    above: float
    """Probability that it wants more than the cheapest tier, as the fit has it."""

    most: float
    """The same that it wants the most capable tier; never more than `above`."""

    rung: int
    """`0` for the cheapest tier, `1` for the second, `2` for the most capable."""

    carriers: tuple[str, ...]
    """Which features spoke most for that rung, the heaviest first."""


def weights_of(told: Mapping[str, Any]) -> Mapping[str, Weights]:
    """Return the weights for `english` and for `any` other language that a fit wrote down."""
    found = {}
    for language, names in (("english", FEATURES), ("any", SHAPES)):
        given = told[language]
        above, most = zip(*(given["pairs"].get(name, (0.0, 0.0)) for name in names), strict=True)
        found[language] = Weights(tuple(given["bias"]), above, most, given["expected"], given["flagship"])
    return found


WEIGHTS = weights_of(json.loads((files(__package__) / "leaning.json").read_text("utf-8")))
"""The weights that were fitted on all families."""


def lean(facts: Facts, tiers: Sequence[TierFacts], weights: Mapping[str, Weights] = WEIGHTS) -> Classification:
    """Return the tier that a request leans to, for who has nobody to ask.

    The policy decides by it, as by anything that stands in for an answer; nothing here is sure enough for a rule.

    Args:
        facts: What is plainly there in the request.
        tiers: The tiers, cheapest first.
        weights: Those of another fit.
    """
    said = leaning_of(facts.text, weights)
    rung, carriers = said.rung, said.carriers
    bound = bool(facts.tools or facts.provider_tools)
    if rung == 0 and (bound or facts.turn_images or facts.turn_files or facts.audio):
        rung, carriers = 1, ("may want its tools" if bound else "brings more than words",)
    tier = tiers[home(rung, len(tiers))].name
    told = f"it {', '.join(carriers)}" if carriers else "nothing in it stands out"
    sure = (1 - said.above, 1 - said.most, said.most)[rung]
    return Classification(
        tier=tier,
        task="tools" if rung == 1 and bound else _TASKS[rung],
        confidence=round(sure, 3),
        reason=f"No rule is sure. By its form the request leans to {tier}: {told}.",
        decided_by="policy",
    )


def leaning_of(text: str, weights: Mapping[str, Weights] = WEIGHTS) -> Leaning:
    """Return what the form of a text speaks for, by the weights for its language."""
    read = read_of(text)
    english = reads_english(read)
    told, numbers = (weights["english"], features_of(read)) if english else (weights["any"], shape_of(read))
    above = _probability(told.bias[0] + sum(map(mul, numbers, told.above)))
    most = min(above, _probability(told.bias[1] + sum(map(mul, numbers, told.most))))
    rung = 2 if most > told.flagship else int(above + most >= told.expected)
    return Leaning(above, most, rung, _carriers(numbers, told, rung))


def _carriers(numbers: Sequence[float], told: Weights, rung: int) -> tuple[str, ...]:
    """Name the features that are plainly there and spoke most for a rung."""
    up, top = _SPEAKS_FOR[rung]
    pulls = [
        (number * (up * above + top * most), name)
        for number, above, most, name in zip(numbers, told.above, told.most, FEATURES, strict=False)
        if number >= _PLAINLY
    ]
    pulls.sort(reverse=True)
    return tuple(name for pull, name in pulls[:_CARRIERS] if pull > 0)


def read_of(text: str) -> str:
    """Return what is read of a text: its ends, without sentences about tiers and routes where there are others."""
    text = text.strip()
    ends = ends_of(text)
    low = ends.lower()
    if not any(map(low.__contains__, _ROUTING_HINTS)) or _ROUTING.search(ends) is None:  # the plain search first
        return ends
    wide = text if len(text) <= 2 * _WIDE else f"{text[:_WIDE]}\n{text[-_WIDE:]}"  # more than is read: some goes
    kept = "".join(each for each in _ENDING.split(wide) if _ROUTING.search(each) is None).strip()
    return ends_of(kept or text)


def features_of(text: str) -> list[float]:
    """Return the numbers of `FEATURES` for a text in English: all are from `0` to `1`."""
    asked = text if len(text) <= 2 * _ASK_CHARS else f"{text[:_ASK_CHARS]}\n{text[-_ASK_CHARS:]}"
    low = asked.lower()
    words = low.translate(_NOT_WORDS).split()
    small = [0] * len(_SMALL)
    for kind in filter(None, map(_KINDS.get, words)):
        small[kind - 1] += 1
    opened = [0.0] * len(_OPENINGS)
    for first, second in _SENTENCE.findall(low):
        for place in (*_OPENERS.get(first, ()), *_OPENERS.get(f"{first} {second}", ())):
            opened[place] = 1.0
    long = [word for word in words if len(word) > _SHORT_WORD]
    plain = len(asked) <= _PLAIN_CHARS and not any(small[_DEEP])
    own, service = small[_OWN] > 0, small[_ACCOUNT] + small[_SERVICE]
    names = len(_NAME.findall(asked)) - len(_SENTENCE_NAME.findall(asked))
    letters = len([word for word in words if len(word) == 1 and word not in "ai"])
    return [
        *shape_of(text),
        _share(names, 2),
        _share(len([word for word in long if word.endswith(_ABSTRACT)]), 3),
        _share(letters, 2),
        1.0 if "most" in words or "least" in words or any(word.endswith("est") for word in long) else 0.0,
        1.0 if any(word.endswith("ed") for word in long) or "was" in words or "were" in words else 0.0,
        1.0 if len(long) <= _FEW else 0.0,
        *opened,
        *[1.0 if count > 1 else count / 2 for count in small],
        1.0 if plain and not own and any(opened[place] for place in _FACT) else 0.0,
        1.0 if plain and own and service else 0.0,
        1.0 if plain and service > 1 else 0.0,
    ]


def shape_of(text: str) -> list[float]:
    """Return the numbers of `SHAPES` for a text."""
    size, lines = max(len(text), 1), text.count("\n")
    count, sentences = text.count(" ") + 1, text.count(". ") + text.count("? ") + text.count("! ") + 1
    digits = sum(map(text.count, "0123456789"))
    questions, first = text.count("?") + text.count("\uff1f"), text.find("?")
    signs = sum(map(text.count, _MATH)) + text.count(" + ") + text.count(" * ")
    return [
        max(0.0, 1 - size / 160),
        max(0.0, 1 - size / 50),
        min(1.0, log1p(size / 400) / 2),
        _share(lines, 3),
        _share(len(_BULLET.findall(text)), 3) if lines else 0.0,
        _share(len(_PART.findall(text)), 2) if lines else 0.0,
        1.0 if text.endswith(("?", "\uff1f", '?"', "?)")) else 0.0,
        _share(questions - 1, 2),
        1.0 if 0 <= first < _ASK_CHARS < size - first else 0.0,
        _share(digits, 4),
        min(1.0, 8 * digits / size),
        _share(signs, 3),
        _share(sentences - 1, 3),
        min(1.0, count / sentences / 25),
        min(1.0, max(0.0, size / count / 3 - 1.3)),
        1.0 if _QUOTED.search(text) else 0.0,
    ]


def _share(count: int, most: int) -> float:
    return 0.0 if count <= 0 else 1.0 if count >= most else count / most


def _probability(log_odds: float) -> float:
    return 1 / (1 + exp(-log_odds))
