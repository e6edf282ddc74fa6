"""Rules that need no model: structure first, then a few surface features, else honest doubt.

A rule is a function from `Facts` to a task and a sentence, or `None`. The first that speaks wins. What no rule speaks
of is left to the classifier, or, where there is none, to the lean: a hard question without tell-tale words ("Why does
this deadlock?") is never held to be easy. Rules about words hold for English text alone; those about structure hold for
every language.

Measured by benchmarks/routing_quality.py, which says what holds on families that moved no rule. Short plain questions
and customers' messages are left to them: rules that took them for easy by their form ("How do I get my
refund?", "Who was at fault in ...?") took most hard questions in the same form for easy, too. The public sources have
one or two templates each, so that the figures say little of anybody's own traffic; hence no rule gives a confidence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from langchain_tiered.models import RELIABLE_TOKENS
from langchain_tiered.routing.facts import content_words
from langchain_tiered.routing.plain import (
    ASKS_FACT,
    BEYOND,
    NUMBER,
    PRESENTS,
    TEXT,
    asks_fact_of_text,
    goes_beyond,
    is_record,
    opens,
    speaks_of,
    takes,
    unquoted,
    words_of,
)
from langchain_tiered.types import Classification, Facts, Task
from langchain_tiered.workloads import home, workload_of

if TYPE_CHECKING:
    from langchain_tiered.types import TierFacts

Said: TypeAlias = tuple[Task, str] | None
Rule: TypeAlias = Callable[[Facts], Said]

_MATERIAL_TOKENS = 80  # from here on, a request brings something to read
_SHARED_WORDS = 2  # with the bound tools, and a tenth of the request: tool_calls_bfcl_v4 has the figures in the tests
_SHARED_PART = 0.1
_CODE_LINES = 3
_LONGEST_REMARK, _LONGEST_QUESTION = 40, 100
# fmt: off
_ENGLISH = frozenset({
    "the", "and", "of", "to", "is", "are", "was", "that", "with", "for", "from", "what", "which", "how", "does", "my",
    "you", "it", "this", "on", "can", "who", "when", "where", "these", "not", "by", "or", "i", "do", "have",
})
# fmt: on
_ENGLISH_SHARE, _ENGLISH_CHARS = 1 / 12, 400
_SHELLS = frozenset({"bash", "sh", "shell", "zsh", "console", "terminal", "powershell"})
_NO_CODE = frozenset({"", "text", "txt", "json", "csv", "md", "markdown", "yaml", "xml"})

_FENCE = words_of(r"^ {0,3}```[ \t]*([\w+#-]*)")  # every other one opens: what stands behind a closing one is text
_SHELL = words_of(r"^[\w.@:~/-]{0,60}\$ [a-z./]")
_TRACEBACK = words_of(r"traceback \(most recent call last\)|^\s{0,40}at [\w.$<>]{1,200}\([\w.]{1,200}:\d")
_CODE_LINE = words_of(
    r"^[ \t]{0,40}(?:def \w+\(|class \w+[^.]{0,80}[:{]$|import [\w.]+;?$|from [\w.]+ import|return\b.{0,80};?$"
    r"|#include\b|(?:const|let|var|public|private|static|func|fn) .{0,100}[;{=(]|.{0,120}[\w)\]\"'] ?[;{]$)"
)
_CHOICES = words_of(r"^\W{0,3}options:\s{1,3}- ")
_IDENTIFIER = words_of(r"#\w{0,20}\d|\d{4,}")
_SEARCHES = words_of(r"https?://|\b(?:search|look up|find|latest|newest|current|currently|today|news|online|web)\b")
_SCREEN = words_of(r"\b(?:screen ?shots?|screen|click|scroll|button|cursor|browser|window|menu|desktop|ui)\b")
_PAPER = words_of(r"\b(?:receipts?|invoices?|scans?|scanned|documents?|forms?|bills?|statement|total|passport|ocr)\b")
_LABELS = words_of(
    r"\b(?:labels|label(?! (?:this|the|these|each|every|all)\b)|categor(?:y|ies)|intents?|queues?|classes|tags|one of)"
    r"\b[^\n:(?]{0,60}[:(?] ?[^\n,]{1,50},"
)
_LABEL_HINTS = ("label", "categor", "intent", "queue", "class", "tags", "one of")  # plain searches are much faster
_CLASSIFY_HINTS = ("classify", "categori", "triage")
_CHOOSES = words_of(
    r"\b(?:classify|categori[sz]e|triage|route|label (?:this|the|each)|assign|exactly one|(?:reply|answer|respond) with"
    r"|which of these (?:labels|categories|classes|tags)|following (?:labels|categories|intents|classes|tags))\b"
)
_TEXTS = words_of(rf"\b{TEXT}\b")
_NAMES = r"[\w-]{1,20}(?: [\w-]{1,20}){0,2}"
_KINDS = (
    rf"(?:{TEXT}|abstracts?|calls?|clauses?|expenses?|feedback|issues?|papers?|quer(?:y|ies)|requests?|transactions?)"
)
_CLASSIFIES = words_of(  # into listed labels, or a text and nothing else
    r"^\W{0,3}(?:please )?(?:classify|categori[sz]e|triage) (?:(?:this|the|these|each|following|all) ){1,2}"
    rf"(?:[\w-]{{1,20}} )?(?:{_KINDS}: ?{_NAMES}(?:(?:, ?| or |/)(?:or )?{_NAMES}){{1,8}}(?=[.:\n]\s{{0,4}}\S)"
    rf"|{_KINDS} (?:as|into)(?: one of)?:? {_NAMES}(?:,|/| or\b)|{TEXT}\s?[:\n])"
)
_MOOD = words_of(
    r"\b(?:review|sentiment|tone)\b[^.\n?]{0,40}\b(?:positive|negative)\b[^.\n?]{0,40}\?"
    r"|\b(?:positive|negative)\b[^.\n?]{0,40}\b(?:sentiment|tone)\b[^.\n?]{0,40}\?"
)
_EITHER = words_of(
    rf"\b(?:contain|mention|name|include)s? {_NAMES}\?\W{{1,3}}(?:answer )?yes or no\b"
    rf"|\byes or no\b[^?\n]{{1,40}}\b(?:contain|mention|name|include) {_NAMES}\?"
    r"|\b(?:un|dis)?(flattering|satisfied|happy|pleased|friendly|favou?rable|polite) or (?:an? )?(?:un|dis|im)?\1\b"
)
_SAME = words_of(
    r"\b(?:is|are|do|does|if|whether)\b[^?\n]{0,120}\bparaphras\w{1,4}\b(?! of (?:its|an?)\b)|\bparaphrase or not\b"
    r"|\b(?:do|does|have|has|if|whether) [^?\n]{0,60}\b(?:sentences?|statements?|texts?|questions?|phrases?|messages?)"
    r"(?: \w)? (?:\w{3,10} (?:exactly )?the )?same(?: meaning| thing)?(?=\W{0,3}(?:$|[?.:\n]|or not|yes))"
)
_SORTS = words_of(
    r"^\W{0,3}(?:please )?(?:rank|sort|order) (?:these|this|the)(?: [\w-]{1,20}){1,4}(?: ?, ?| )(?:alphabet\w{0,8}"
    r"|ascending|descending|in (?:alphabetical|ascending|descending) order|(?:(?:cheap|old|new|lat|earli|young|small"
    r"|larg|bigg|short|long|low|high|tall|heavi|light|near|clos)est) first|by (?:\w{1,15} )?(?:alphabet|dates?|names?"
    r"|titles?|prices?|costs?|size|amounts?|age|length|weight|height|dose|coupon|numbers?|year|rating|score|distance"
    r"|population|quantity|total))(?:,? \(?\w{3,12}est first\)?)?\s?(?:$|[.:(])"
)
_ASKED = words_of(
    r"^\W{0,3}(?:my )?(?:question|q)\s?: ?\W{0,3}"
    r"(?:who|whom|when|where|what|which|in (?:what|which)|how (?:many|much|long)|find)\b[^\n]{0,200}"
)
_ABOVE_TEXT = re.compile(rf"\A\W{{0,3}}({ASKS_FACT}\b[^\n?]{{0,150}}\?)[ \t]{{0,9}}\n\s{{0,9}}[^\n?]{{50}}")
_FOUND_IN = words_of(r"\banswer (?:is|are|can be) (?:present|contained|found|stated|given)\b")
_FACT = re.compile(
    r"\W{0,3}(?:(?:when|where|(?:in )?(?:which|what) year) (?:was|were|did) [^.?!;:,\n]{2,60}"
    r" (?:born|buried|built|die|discovered|founded|invented|published|signed)"
    r"|who (?:composed|discovered|founded|invented|painted|wrote)"
    r" (?:\w{2,30}|(?:[\w']{1,20} ){0,3}(?-i:[A-Z])[^.?!;:,\n]{2,60})"
    r"|how do you spell \S{2,30}|what does [A-Z]{2,9} stand for"
    r"|what is the (?:abbreviation|capital|chemical symbol|currency|plural|population|(?:boiling|melting) point)"
    r" (?:of|for) [\w -]{2,40})\?\s{0,9}",
    re.IGNORECASE,
)
_LEANS = words_of(r"\b(?:i|me|my|we|us|our|he|his|she|her|it|its|they|their|this|that|these|those|if)\b")
_PROOF = words_of(
    r"^\W{0,3}prove\b|\bprove (?:that (?!i\b)|or disprove)\b|\A[^.?!:\n]{0,30}\bprove (?:it|this)\W{0,3}\Z"
)
_CODING = words_of(
    r"\b(?:write|implement|create|fix|debug|refactor|optimi[sz]e|port)\b[^.\n]{0,40}\b(?:function|method|regex|script"
    r"|sql|query|unit tests?|python|javascript|typescript|java|rust|code|bug)\b"
)
_CODING_HINTS = ("write", "implement", "create", "fix", "debug", "refactor", "optimi", "port")
_WRITING = words_of(
    r"\A\W{0,3}(?:(?:please|can you|could you)\W{1,2})?(?:draft|rewrite|rephrase|proofread|summari[sz]e|translate"
    r"|write (?:me )?(?:a|an|the)\b[^.\n]{0,30}\b(?:e-?mail|letter|reply|post|paragraph|story|poem|announcement))\b"
)
_OPTION = words_of(r"^\(?[a-h][).] \S")
_QUANTITY = words_of(r"\bhow (?:many|much|long|far|old|fast)\b|\bwhat (?:is|was) the (?:total|average|probability)\b")
_COURTESY = words_of(
    r"\W*(?:(?:good (?:morning|afternoon|evening)|ok|okay|thanks|thank you|great|perfect|fine|hi|hello|hey|bye|got it"
    r"|so much|very much|a lot)\b\W*){1,4}"
)


def classify_by_rules(
    facts: Facts, tiers: Sequence[TierFacts], rules: Sequence[Rule] | None = None
) -> Classification | None:
    """Return what the first rule that speaks says, or `None` when all are unsure.

    Args:
        facts: What is plainly there in the request.
        tiers: The tiers, cheapest first.
        rules: The rules, in order; `None` for `RULES`.
    """
    for rule in RULES if rules is None else rules:
        if (said := rule(facts)) is not None:
            task, reason = said
            tier = tiers[home(workload_of(task).rung, len(tiers))].name
            return Classification(tier=tier, task=task, confidence=None, reason=reason, decided_by="rules")
    return None


def long_document(facts: Facts) -> Said:
    """Tell an input beyond what small models keep in mind (MRCR v2, 128K-256K tokens: gpt-5.4 79.3, mini 33.6)."""
    if facts.tokens <= RELIABLE_TOKENS:
        return None
    return "long_document", f"About {facts.tokens:,} tokens of input: the most capable tier alone keeps them in mind."


def pictures(facts: Facts) -> Said:
    """Tell work on a screen from scanned documents, by the words around the pictures; other pictures are left open."""
    text = facts.ends
    computer = any(tool.startswith("computer") for tool in facts.provider_tools)
    if (facts.turn_images or computer) and (_SCREEN.search(text) or (facts.turn_images and computer)):
        return "screen", "The request is about a screen, by its words and its images or its computer-use tool."
    if facts.turn_images and (facts.schema or _PAPER.search(text)):
        return "scan", f"{facts.turn_images} image{'s' * (facts.turn_images != 1)} of a document to be read."
    return None


def courtesy(facts: Facts) -> Said:
    """Tell a message that asks for nothing: thanks, a greeting, an acknowledgement, and no other word."""
    bare = len(facts.text) <= _LONGEST_REMARK and not (facts.turn_images or facts.turn_files or facts.audio)
    return ("lookup", "A courtesy that asks for nothing.") if bare and _COURTESY.fullmatch(facts.text.lower()) else None


def labels(facts: Facts) -> Said:
    """Tell a request for one of several labels, for one side of a closed question about a text, or to classify."""
    text = facts.ends
    asked = unquoted(text)
    found = (
        (any(map(text.__contains__, _LABEL_HINTS)) and _CHOOSES.search(asked) and _LABELS.search(text))
        or ("tive" in text and _MOOD.search(text))
        or (" or " in text and _TEXTS.search(text) and _EITHER.search(text))
        or (("same" in text or "paraphras" in text) and _SAME.search(text))
        or (any(map(text.__contains__, _CLASSIFY_HINTS)) and opens(_CLASSIFIES, asked))
    )
    if not found or goes_beyond(found) or _OPTION.search(text) or _has_choices(text):
        return None
    return "classify", "The request asks for a label."


def code(facts: Facts) -> Said:
    """Tell code and shells by their form: fences, prompts, tracebacks, lines that look like statements."""
    text = facts.ends
    if "\n" not in text:
        return None
    fences = set(_FENCE.findall(text)[::2])
    if fences & _SHELLS or _SHELL.search(text):
        return "terminal", "The request shows a shell."
    lines = len(_CODE_LINE.findall(text))
    if fences - _NO_CODE or _TRACEBACK.search(text) or (lines >= _CODE_LINES and 3 * lines >= text.count("\n")):
        return "code", "The request shows code or a traceback."
    return None


def search(facts: Facts) -> Said:
    """Tell what a bound web or file search is for: the request says search, find, latest, today, or has an address."""
    bound = any("search" in tool for tool in facts.provider_tools)
    return ("search", "The request asks for what the bound search finds.") if bound and _has(_SEARCHES, facts) else None


def tools(facts: Facts) -> Said:
    """Tell a request that the bound tools are for: a tenth of its words is theirs, or it hardly says but a number."""
    if not facts.tools:
        return None
    words = content_words(facts.ends)
    shared = sorted(words & facts.tool_words)
    record = _has(_IDENTIFIER, facts)
    if len(shared) >= max(1 if record else _SHARED_WORDS, _SHARED_PART * len(words)):
        return "tools", f"The request shares words with the bound tools: {', '.join(shared[:3])}."
    if record and len(facts.text) <= _LONGEST_REMARK:
        return "tools", "Tools are bound, and the request names a record by its number."
    return None


def schema(facts: Facts) -> Said:
    """Tell extraction: the answer must fit a schema, and the request shows that plain fields are to be taken."""
    if not facts.schema:
        return None
    text = facts.ends.strip()
    shown = (facts.turn_files and PRESENTS.fullmatch(text)) or is_record(text) or asks_fact_of_text(text)
    if not (shown and not BEYOND.search(text)) and not takes(text):
        return None
    return "extract", "The answer must fit a schema, and the request asks for plain fields."


def proof(facts: Facts) -> Said:
    """Tell a proof."""
    found = "prove" in facts.ends and _has(_PROOF, facts)
    return ("reason", "The request asks for a proof.") if found else None


def word_problem(facts: Facts) -> Said:
    """Tell a word problem: one paragraph with several numbers, several sentences, and a question for a quantity."""
    text = facts.ends.strip()
    if "\n" in text or ". " not in text or not _QUANTITY.search(text) or len(NUMBER.findall(text)) <= 1:
        return None
    return "reason", "The request is a word problem."


def options(facts: Facts) -> Said:
    """Tell an examination question: options stand below each other, lettered or under that word."""
    text = facts.ends
    found = "\n" in text and (len(_OPTION.findall(text)) > 1 or _has_choices(text))
    return ("reason", "The request is a question with options.") if found else None


def ranking(facts: Facts) -> Said:
    """Tell a list that is to be put into a plain order: by size, by date, by the alphabet."""
    text = facts.ends
    found = ("rank" in text or "sort" in text or "order" in text) and opens(_SORTS, unquoted(text))
    return (
        ("rank", "The request asks for a plain order.")
        if found and "?" not in text and not goes_beyond(found)
        else None
    )


def extraction(facts: Facts) -> Said:
    """Tell a request that begins with the word, and asks for no judgement."""
    return ("extract", "The request asks to extract.") if takes(facts.ends) else None


def passage(facts: Facts) -> Said:
    """Tell a question for a fact that brings the passage which holds the answer."""
    text = facts.ends
    asked = opens(_ASKED, text) if facts.turn_tokens >= _MATERIAL_TOKENS else None
    above = _ABOVE_TEXT.search(text)
    above = above if above and speaks_of(text[above.end(1) :], above.group(1)) else None
    plain = [found for found in (asked, above) if found and not BEYOND.search(found.group())]
    if not plain and not ("answer" in text and _FOUND_IN.search(text)):
        return None
    return "extract", "The request brings what the answer is to be taken from."


def fact(facts: Facts) -> Said:
    """Tell one short question for a fact of common knowledge."""
    found = len(facts.text) <= _LONGEST_QUESTION and _FACT.fullmatch(facts.text)
    return ("lookup", "One short question for a fact.") if found and not _LEANS.search(facts.text.lower()) else None


def matches(pattern: re.Pattern[str], task: Task, reason: str, hints: Sequence[str] = ("",)) -> Rule:
    """Return a rule that speaks where `pattern` is found; it is looked for where one of `hints` stands."""

    def words(facts: Facts) -> Said:
        text = facts.ends
        return (task, reason) if any(map(text.__contains__, hints)) and pattern.search(text) else None

    words.__name__ = f"words of {task}"
    return words


def without_tools(rule: Rule) -> Rule:
    """Return a rule that is unsure where tools are bound: a short question may be just what they are for."""

    def toolless(facts: Facts) -> Said:
        return None if facts.tools or facts.provider_tools else rule(facts)

    toolless.__name__ = name_of(rule)
    return toolless


def in_english(*rules: Rule) -> Rule:
    """Return one rule that asks `rules` in order where the text is English, and is unsure elsewhere."""

    def english(facts: Facts) -> Said:
        for rule in rules:
            if (said := rule(facts)) is not None:
                return said if reads_english(facts.text) else None  # asked last: mostly nobody speaks
        return None

    english.__name__ = ", ".join(map(name_of, rules))
    vars(english)["rules"] = rules  # so that each can be asked alone
    return english


def name_of(rule: Rule) -> str:
    """Return the name of a rule, by which an explanation calls it."""
    return getattr(rule, "__name__", type(rule).__name__)


RULES: tuple[Rule, ...] = (
    long_document,
    pictures,
    courtesy,
    in_english(labels, extraction),
    code,
    schema,
    search,
    tools,
    in_english(
        ranking,
        without_tools(fact),
        matches(_CODING, "code", "The request asks for code.", _CODING_HINTS),
        proof,
        options,
        word_problem,
        passage,
        matches(_WRITING, "write", "The request asks for prose."),
    ),
)
"""The rules, in the order in which they are asked."""


def reads_english(text: str) -> bool:
    """Tell whether the head of a text, or its first line, is in English."""
    head = text[:_ENGLISH_CHARS].lower().rstrip(" .!?\n")
    return _is_english(head) or _is_english(head.strip().partition("\n")[0])


def _has_choices(text: str) -> bool:
    return "options:" in text and _CHOICES.search(text) is not None


def _is_english(text: str) -> bool:
    words = text.split()
    return sum(map(_ENGLISH.__contains__, words)) >= max(1, _ENGLISH_SHARE * len(words))


def _has(pattern: re.Pattern[str], facts: Facts) -> bool:
    return pattern.search(facts.ends) is not None
