"""What tells plain work from more: a label, a field or an order, and no judgement and no second piece of work.

The rules that name the cheapest tier ask here. A verb alone tells little: groups are classified and assumptions are
extracted, too. So there must be something plain to be done, and nothing in the line that asks for it may go beyond.
"""

from __future__ import annotations

import re


def words_of(pattern: str) -> re.Pattern[str]:
    """Compile a pattern over lower-case text; `re.IGNORECASE` takes twice the time."""
    return re.compile(pattern, re.MULTILINE)


_STEM = 5  # letters of a word that stay when its ending changes
_ASK_CHARS = 200  # what is asked stands within so many characters of what a rule found
TEXT = (
    r"(?:reviews?|sentences?|messages?|texts?|e-?mails?|notes?|comments?|posts?|tweets?|passages?|paragraphs?|tickets?"
    r"|articles?|headlines?)"
)
ASKS_FACT = (  # nothing that has to be found out: "who may", "how long must"
    r"(?![^\n?]{0,100}\b(?:may|can|could|must|should|shall|will|would)\b)"
    r"(?:who|when|where|how (?:many|much|long)|what (?:is|was) the (?:date|amount|name|total|number|price|address))"
)
_DEEP = (  # verbs that ask for more than a label, a field or an order
    r"(?:prove|disprove|refute|explain|plan|design|decide|analy[sz]e|evaluate|assess|compare|recommend|justify|solve"
    r"|resolve|(?:re)?draft|rewrite|redline|argue|show (?!the label)|derive|propose|suggest|estimate|advise|diagnose"
    r"|debug|fix|repair|mitigate|weigh(?:ing)?|hedge|defend|criti\w{2,6}|predict|simulate|interpret|reconcile"
    r"|(?:opti|mini|maxi)mi[sz]e)"
)
BEYOND = words_of(  # and what tells of a judgement wherever it stands in what is asked
    rf"\b(?:{_DEEP}|why|should|proofs?|arguments?|reasons?|reasoning|rationale|advice|trade-?offs?|so that|such that"
    r"|step by step|how (?:to|we|you|it|they|each|i)|what (?:to|we|follows|happens|it means)|causes?|causal|hidden"
    r"|under [^.?\n]{0,40}\b(?:law|act|statute|code|rules?|gdpr)|in law|legal(?:ly)?|lawful\w*|enforceab\w+|breach\w*"
    r"|(?:in)?valid\w*|void|liable|fault|fair|exposure|entitled|negligen\w+|to blame|risks?|riski\w+|flaws?|fallac\w+"
    r"|weak\w*|gaps?|assum\w+|premises?|impl(?:ied|icit|ication)\w*|isomorphi\w+|singular\w*|derivation"
    r"|theorem(?! numbers|,)|conjecture|contradict\w+|severity|plausib\w+|likel\w+|probab\w+|expected|optim\w+|best"
    r"|worst|correct\w*|considering|basis|in (?:the )?light of|if so|given the)\b"
    r"|\b(?:and|then) (?:find|work out|compute|calculate|say|tell|choose|determine"
    r"|(?!return|reply|answer|respond|give|write|output|print|put|list|sort|format|convert)\w{3,15}"
    r" (?:it|them|each|their|its|the|an?|our|your|my|next|whether|who|which|what))\b"
)
_ALSO_ASKS = words_of(  # a second piece of work, said behind the material
    rf"[.;!?,:\n]\s{{0,3}}(?:(?:and|then|also|now|next|finally|for each)\W{{1,2}}){{1,3}}{_DEEP}\b"
    rf"|\n\W{{0,3}}(?:please )?{_DEEP}\b[^\n]{{0,200}}\Z"
)
_FIELD = (
    r"(?:address(?:es)?|amounts?|compan(?:y|ies)|dates?|dose|keywords?|languages?|names?|numbers?|people|places?"
    r"|prices?|topics?|totals?)"
)
_FIELDS = (
    rf"(?:{_FIELD}|answers?|authors?|birthday|born|cit(?:y|ies)|codes?|concepts?|contacts?|countr(?:y|ies)"
    r"|currenc(?:y|ies)|customers?|deadlines?|details|drugs?|due|e-?mails?|entit(?:y|ies)|fields?|ids?|information"
    r"|invoice|ingredients?|items?|locations?|medications?|order|organi[sz]ations?|part(?:y|ies)|persons?|phones?"
    r"|products?|quantit(?:y|ies)|recipients?|references?|roles?|senders?|skills?|subtotal|tax|titles?|urls?"
    r"|vendors?|age)"
)
_WORD = r"[\w'-]{1,20}"
_EXTRACTS = words_of(  # one field or several, from somewhere, and there the sentence ends
    rf"^\W{{0,3}}(?:task: )?(?:please )?(?:(?:extract|pull out|transcribe) (?:{_WORD} ){{0,3}}{_FIELDS}"
    rf"(?: {_WORD})?(?:(?:,? and |, |/)(?:{_WORD} ){{0,2}}{_WORD}){{0,8}}"
    r"(?: (?:to|of|from|in|into|out of|for|below|as)\b(?:(?! that | which | who | and )[^\n.,;:]){0,80})?\s?(?:$|[.:;])"
    r"|(?:read|put|parse|turn) (?:this|the|it)\b[^.?\n]{0,60} into (?:the |these |its )?(?:fields|form|schema|record)\b"
    r"|(?:list|find|copy|name|which|what (?:is|are|was))"
    rf" (?:(?:all|the|every) ){{0,2}}(?:\w{{1,20}} )?{_FIELD}\b[^.:?\n]{{0,60}} (?:in|of|out of|from) (?:the|this)"
    r" (?:text|note|sentence|paragraph|passage|message|e-?mail)\b)"
)
_LIGHT = words_of(  # how a sentence begins that only says how to answer, or is what the answer is about
    r"\W*(?:(?:please |and |or |always |only |just )*(?:return|reply|answer|respond|output|yes|no|if"
    r"|(?:give|print|write) (?:only|just|the (?:answer|category|label|name|queue))|one|do not|don't|only|labels?|json"
    r"|keep|leave|skip|the|possible|here|note|i|it|my|we|he|she|they|this|\w+ #?\d+)\b|\Z)"
)
_QUOTED = words_of(r"\"[^\"\n]{12,400}\"|^> .*")
_SENTENCE_END = re.compile(r"[.;?!]\s")
_ABOUT = words_of(rf"\b(?:{TEXT}|title|clause|context|plot): ")  # from here on, a line is no longer the asker's
_RECORD = words_of(rf"^[\s\"]{{0,9}}(?:[\w-]{{1,15}}[ _]){{0,2}}{_FIELDS}\"?[ \t]?: ?\S|[{{,] ?\"{_FIELDS}\"\s?:")
_WRAPS = words_of(r"\b(?:questions?|answers?|tasks?|problems?|instructions?|below|input)\b")
PRESENTS = words_of(r"\W*(?:(?:please )?(?:read|parse|see|here|attached|this is|transcribe)\b[^?\n]{0,40})?")
_NAMES_FIELD = words_of(rf"\b{_FIELDS}\b")
_LONGER = re.compile(
    r"\b(?!(?:who|how|was|are|the|did|has|for|and|its|when|where|what|does|much|many|long|have|this|that"
    r"|there|text|below|with)\b)[a-z]{3,}"
)
_FACT_LINE = words_of(rf"^\W{{0,3}}{ASKS_FACT}\b[^\n?,]{{0,100}}\?$")
NUMBER = words_of(r"\d+|\b(?:two|three|four|five|six|seven|eight|nine|ten|twice|half|dozen)\b")


def goes_beyond(found: re.Match[str]) -> bool:
    """Tell whether the line of what was found asks for a judgement, or any for a second piece of work."""
    text, (start, end) = found.string, found.span()
    lead = text[max(text.rfind("\n", 0, start) + 1, start - _ASK_CHARS) : start]
    stop = text.find("\n", end - text[start:end].endswith("\n"))
    stop = min(len(text) if stop < 0 else stop, end + _ASK_CHARS)
    asked = ("" if _asked_in(lead) != lead else lead) + _asked_in(text[start:stop])
    others = [] if text[end - 1] == ":" else _SENTENCE_END.split(_asked_in(text[end - 1 : stop]))[1:]
    return bool(BEYOND.search(asked) or _ALSO_ASKS.search(text) or not all(map(_LIGHT.match, others)))


def _asked_in(line: str) -> str:
    """Return what of a line is the asker's own."""
    return _ABOUT.split(line, 1)[0] if ": " in line else line


def opens(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    """Search for what opens a line; where there is but one line, that takes hardly any time."""
    return pattern.search(text) if "\n" in text else pattern.match(text)


def takes(text: str) -> bool:
    """Tell whether plain fields are to be taken out of a text."""
    asked = opens(_EXTRACTS, unquoted(text))
    return asked is not None and not goes_beyond(asked)


def is_record(text: str) -> bool:
    """Tell whether a text is nothing but named fields, or JSON of them."""
    lines = [line for line in text.splitlines() if line.strip(" \t{}[],")]
    whole = text[:1] in {"{", "["} or all(":" in line for line in lines)
    fields = len(_RECORD.findall(text))
    return whole and fields > 1 and 4 * fields >= 3 * len(lines) and not ("?" in text or _WRAPS.search(text))


def asks_fact_of_text(text: str) -> bool:
    """Tell whether one line asks for a fact, and the others bring figures or dates to take it from."""
    found = _FACT_LINE.search(text)
    if found is None:
        return False
    rest = text[: found.start()] + text[found.end() :]
    plain = NUMBER.search(rest) and not ("?" in rest or _WRAPS.search(rest))
    return bool(plain) and (_NAMES_FIELD.search(found.group()) is not None or speaks_of(rest, found.group()))


def speaks_of(text: str, question: str) -> bool:
    """Tell whether a text has a longer word of a question: where it has none, the answer is no mere finding."""
    return any(word[:_STEM] in text for word in _LONGER.findall(question))


def unquoted(text: str) -> str:
    """Return a text without what it quotes: whoever quotes a request asks for something else."""
    return _QUOTED.sub(" ", text) if '"' in text or "> " in text else text
