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
from langchain_tiered.types import Classification, Facts, Task
from langchain_tiered.workloads import home, workload_of

if TYPE_CHECKING:
    from langchain_tiered.types import TierFacts

Said: TypeAlias = tuple[Task, str] | None
Rule: TypeAlias = Callable[[Facts], Said]

_HEAD, _TAIL = 900, 500  # characters that rules read of a long text: what is asked stands at its ends
_MATERIAL_CHARS, _MATERIAL_TOKENS = 200, 80  # from here on, a request brings something to read
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


def _words(pattern: str) -> re.Pattern[str]:
    """Compile a pattern over lower-case text; `re.IGNORECASE` takes twice the time."""
    return re.compile(pattern, re.MULTILINE)


_FENCE = _words(r"^ {0,3}```[ \t]*([\w+#-]*)")  # every other one opens: what stands behind a closing one is text
_SHELL = _words(r"^[\w.@:~/-]{0,60}\$ [a-z./]")
_TRACEBACK = _words(r"traceback \(most recent call last\)|^\s{0,40}at [\w.$<>]{1,200}\([\w.]{1,200}:\d")
_CODE_LINE = _words(
    r"^[ \t]{0,40}(?:def \w+\(|class \w+[^.]{0,80}[:{]$|import [\w.]+;?$|from [\w.]+ import|return\b.{0,80};?$"
    r"|#include\b|(?:const|let|var|public|private|static|func|fn) .{0,100}[;{=(]|.{0,120}[\w)\]\"'] ?[;{]$)"
)
_CHOICES = _words(r"^\W{0,3}options:\s{1,3}- ")
_IDENTIFIER = _words(r"#\w{0,20}\d|\d{4,}")
_SEARCHES = _words(r"https?://|\b(?:search|look up|find|latest|newest|current|currently|today|news|online|web)\b")
_SCREEN = _words(r"\b(?:screen ?shots?|screen|click|scroll|button|cursor|browser|window|menu|desktop|ui)\b")
_PAPER = _words(r"\b(?:receipts?|invoices?|scans?|scanned|documents?|forms?|bills?|statement|total|passport|ocr)\b")
_LABELS = _words(
    r"\b(?:labels?|categor(?:y|ies)|intents?|queues?|classes|tags|one of)\b[^\n:(?]{0,60}[:(?] ?[^\n,]{1,50},"
)
_LABEL_HINTS = ("label", "categor", "intent", "queue", "class", "tags", "one of")  # plain searches are much faster
_CHOOSES = _words(
    r"\b(?:classify|categori[sz]e|triage|route|label (?:this|the|each)|assign|exactly one|(?:reply|answer|respond) with"
    r"|which of these (?:labels|categories|classes|tags)|following (?:labels|categories|intents|classes|tags))\b"
)
_CLASSIFIES = _words(r"^\W{0,3}(?:classify|categori[sz]e|triage)\b[^\n:]{0,120}[\n:]")
_MOOD = _words(
    r"\b(?:review|sentiment|tone)\b[^.\n?]{0,40}\b(?:positive|negative)\b[^.\n?]{0,40}\?"
    r"|\b(?:positive|negative)\b[^.\n?]{0,40}\b(?:sentiment|tone)\b[^.\n?]{0,40}\?"
)
_TEXTS = _words(
    r"\b(?:reviews?|sentences?|messages?|texts?|e-?mails?|notes?|comments?|posts?|tweets?|passages?|paragraphs?"
    r"|tickets?|articles?|headlines?)\b"
)
_EITHER = _words(
    r"\b(?:contain|mention|name|include)s? [^?\n]{1,80}\?\W{1,3}(?:answer )?yes or no\b"
    r"|\byes or no\b[^?\n]{1,40}\b(?:contain|mention|name|include)\b"
    r"|\b(?:un|dis|non)?(\w{5,20}) or (?:an? )?(?:un|dis|non-?)?\1\b"
)
_SAME = _words(
    r"\b(?:is|are|do|does|if|whether)\b[^?\n]{0,120}\b(?:paraphras\w{1,4}|same meaning|mean the same|same thing)\b"
    r"|\bparaphrase or not\b"
)
_DEEP = (
    r"\b(?:why|prove|proof|explain|should|plan|design|decide|analy[sz]e|evaluate|assess|compare|recommend|justify)\b"
)
_ASKS_DEPTH = _words(_DEEP)
_DEPTH = _words(rf"{_DEEP}|^\W{{0,3}}(?:is|are|can|could|would|will|do|does|did|may|must|how)\b[^.?\n]{{0,200}}\?")
_FIELD = (
    r"(?:address(?:es)?|amounts?|compan(?:y|ies)|dates?|dose|keywords?|languages?|names?|numbers?|people|places?|prices?"
    r"|topics?|totals?)"
)
_EXTRACTS = _words(
    r"^\W{0,3}(?:please )?(?:(?:extract|pull out)\b|(?:list|find|copy|name|which|what (?:is|are|was))"
    rf" (?:(?:all|the|every) ){{0,2}}(?:\w{{1,20}} )?{_FIELD}\b[^.:?\n]{{0,60}} (?:in|of|out of|from) (?:the|this)"
    r" (?:text|note|sentence|paragraph|passage|message|e-?mail)\b)[^\n]{0,200}"
)
_SORTS = _words(
    r"^\W{0,3}(?:please )?(?:rank|sort|order) (?:these|this|the)\b[^\n]{0,80}"
    r"(?:est first|alphabet|ascending|descending|by (?:date|name|price|size|amount|age|length))"
)
_ASKED = _words(
    r"^\W{0,3}(?:my )?(?:question|q)\s?: ?\W{0,3}"
    r"(?:who|whom|when|where|what|which|in (?:what|which)|how (?:many|much|long)|find)\b[^\n]{0,200}"
)
_ASKS_FACT = (
    r"(?:who|when|where|how (?:many|much|long)|what (?:is|was) the (?:date|amount|name|total|number|price|address))"
)
_OPEN_QUESTION = _words(rf"(?:\A|\n)\W{{0,3}}(?!{_ASKS_FACT}\b)[^.!?\n]{{1,200}}\?\s{{0,9}}(?:\n|\Z)")
_ABOVE_TEXT = re.compile(rf"\A\W{{0,3}}{_ASKS_FACT}\b[^\n?]{{0,150}}\?[ \t]{{0,9}}\n\s{{0,9}}[^\n?]{{50}}")
_FOUND_IN = _words(r"\banswer (?:is|are|can be) (?:present|contained|found|stated|given)\b")
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
_LEANS = _words(r"\b(?:i|me|my|we|us|our|he|his|she|her|it|its|they|their|this|that|these|those|if)\b")
_PROOF = _words(r"^\W{0,3}prove\b|\bprove (?:that (?!i\b)|or disprove)\b|\A[^.?!:\n]{0,30}\bprove (?:it|this)\W{0,3}\Z")
_CODING = _words(
    r"\b(?:write|implement|create|fix|debug|refactor|optimi[sz]e|port)\b[^.\n]{0,40}\b(?:function|method|regex|script"
    r"|sql|query|unit tests?|python|javascript|typescript|java|rust|code|bug)\b"
)
_CODING_HINTS = ("write", "implement", "create", "fix", "debug", "refactor", "optimi", "port")
_WRITING = _words(
    r"\A\W{0,3}(?:(?:please|can you|could you)\W{1,2})?(?:draft|rewrite|rephrase|proofread|summari[sz]e|translate"
    r"|write (?:me )?(?:a|an|the)\b[^.\n]{0,30}\b(?:e-?mail|letter|reply|post|paragraph|story|poem|announcement))\b"
)
_QUOTED = _words(r"\"[^\"\n]{12,400}\"|^> .*")
_OPTION = _words(r"^\(?[a-h][).] \S")
_QUANTITY = _words(r"\bhow (?:many|much|long|far|old|fast)\b|\bwhat (?:is|was) the (?:total|average|probability)\b")
_NUMBER = _words(r"\d+|\b(?:two|three|four|five|six|seven|eight|nine|ten|twice|half|dozen)\b")
_COURTESY = _words(
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
    text = _ends(facts.text)
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
    text = _ends(facts.text)
    closed = " or " in text and _EITHER.search(text) and _TEXTS.search(text)
    same = ("same" in text or "paraphras" in text) and _SAME.search(text)
    asked = _unquoted(text)
    listed = any(map(text.__contains__, _LABEL_HINTS)) and _LABELS.search(text) and _CHOOSES.search(asked)
    moody = "tive" in text and _MOOD.search(text)
    if (
        not (listed or moody or closed or same or _CLASSIFIES.search(asked))
        or _OPTION.search(text)
        or _CHOICES.search(text)
    ):
        return None
    return "classify", "The request asks for a label."


def code(facts: Facts) -> Said:
    """Tell code and shells by their form: fences, prompts, tracebacks, lines that look like statements."""
    text = _ends(facts.text)
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
    words = content_words(_ends(facts.text))
    shared = sorted(words & facts.tool_words)
    record = _has(_IDENTIFIER, facts)
    if len(shared) >= max(1 if record else _SHARED_WORDS, _SHARED_PART * len(words)):
        return "tools", f"The request shares words with the bound tools: {', '.join(shared[:3])}."
    if record and len(facts.text) <= _LONGEST_REMARK:
        return "tools", "Tools are bound, and the request names a record by its number."
    return None


def schema(facts: Facts) -> Said:
    """Tell extraction: the answer must fit a schema, material is there, and nothing but plain facts is asked for."""
    if not facts.schema:
        return None
    text = _ends(facts.text).strip()
    material = facts.turn_files or len(text) >= _MATERIAL_CHARS or "\n" in text or ": " in text
    if not material or _DEPTH.search(text) or _OPEN_QUESTION.search(text):
        return None
    return "extract", "The answer must fit a schema, and the request brings the material."


def proof(facts: Facts) -> Said:
    """Tell a proof."""
    found = "prove" in _ends(facts.text) and _has(_PROOF, facts)
    return ("reason", "The request asks for a proof.") if found else None


def word_problem(facts: Facts) -> Said:
    """Tell a word problem: one paragraph with several numbers, several sentences, and a question for a quantity."""
    text = _ends(facts.text).strip()
    if "\n" in text or ". " not in text or not _QUANTITY.search(text) or len(_NUMBER.findall(text)) <= 1:
        return None
    return "reason", "The request is a word problem."


def options(facts: Facts) -> Said:
    """Tell an examination question: options stand below each other, lettered or under that word."""
    text = _ends(facts.text)
    found = "\n" in text and (len(_OPTION.findall(text)) > 1 or _CHOICES.search(text))
    return ("reason", "The request is a question with options.") if found else None


def ranking(facts: Facts) -> Said:
    """Tell a list that is to be put into a plain order: by size, by date, by the alphabet."""
    text = _ends(facts.text)
    found = ("rank" in text or "sort" in text or "order" in text) and _SORTS.search(_unquoted(text))
    return ("rank", "The request asks for a plain order.") if found else None


def extraction(facts: Facts) -> Said:
    """Tell a request that begins with the word, and asks for no judgement."""
    asked = _EXTRACTS.search(_unquoted(_ends(facts.text)))
    return ("extract", "The request asks to extract.") if asked and not _DEPTH.search(asked.group()) else None


def passage(facts: Facts) -> Said:
    """Tell a question for a fact that brings the passage which holds the answer."""
    text = _ends(facts.text)
    asked = _ASKED.search(text) if facts.turn_tokens >= _MATERIAL_TOKENS else None
    above = _ABOVE_TEXT.search(text)
    plain = [found for found in (asked, above) if found and not _ASKS_DEPTH.search(found.group())]
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
        text = _ends(facts.text)
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
        if not reads_english(facts.text):
            return None
        return next((said for rule in rules if (said := rule(facts)) is not None), None)

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


def ends_of(text: str) -> str:
    """Return the head and the tail of a text, so that the time of what reads it is bounded."""
    return text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]}\n{text[-_TAIL:]}"


def _is_english(text: str) -> bool:
    words = text.split()
    return sum(map(_ENGLISH.__contains__, words)) >= max(1, _ENGLISH_SHARE * len(words))


def _has(pattern: re.Pattern[str], facts: Facts) -> bool:
    return pattern.search(_ends(facts.text)) is not None


def _unquoted(text: str) -> str:
    """Return a text without what it quotes: whoever quotes a request asks for something else."""
    return _QUOTED.sub(" ", text) if '"' in text or "> " in text else text


def _ends(text: str) -> str:
    return ends_of(text).lower()
