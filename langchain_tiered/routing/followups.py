"""Tells a request that goes on with earlier work from one that stands on its own.

"Why?", "do the same for order 7" and "in French?" say nothing of what they need: they need what the work did that they
refer to. English is read by its small words: a request that has hardly another word cannot stand alone. Few words of
another language are not guessed at, only noticed.
"""

from __future__ import annotations

import re

LONGEST = 80
"""Characters beyond which a request says what it is about."""

_MOST_WORDS, _MOST_FOREIGN, _MOST_NAMED = 12, 6, 3
# fmt: off
_POINTS = frozenset({  # at something said before
    "it", "its", "that", "this", "them", "those", "these", "one", "ones", "other", "others", "another", "both", "same",
    "first", "second", "third", "fourth", "fifth", "last", "next", "previous", "former", "latter", "rest", "again",
    "more", "less", "fewer", "instead", "too", "also", "above", "back",
})
_SMALL = _POINTS | frozenset({
    "a", "an", "the", "all", "any", "some", "each", "neither", "either", "none", "nothing", "everything", "something",
    "i", "me", "my", "you", "your", "we", "us", "our", "he", "him", "she", "her", "they", "there", "here", "no", "not",
    "yes", "yeah", "yep", "nope", "ok", "okay", "and", "but", "or", "so", "then", "now", "just", "only", "even", "much",
    "bit", "little", "few", "please", "thanks", "sorry", "well", "really", "exactly", "actually", "wait", "in", "on",
    "to", "for", "with", "without", "of", "from", "as", "at", "by", "about", "into", "than", "else", "if", "up", "over",
    "is", "are", "was", "be", "been", "do", "does", "did", "done", "don't", "didn't", "has", "have", "had", "go",
    "come", "make", "let", "let's", "get", "give", "show", "tell", "say", "said", "mean", "meant", "want", "wanted",
    "asked", "try", "repeat", "redo", "continue", "stop", "start", "carry", "keep", "ahead", "going", "proceed", "put",
    "use", "take", "explain", "translate", "rewrite", "rephrase", "shorten", "summarize", "expand", "elaborate",
    "simplify", "undo", "look", "see", "think", "know", "why", "how", "what", "which", "who", "when", "where", "that's",
    "it's", "what's", "i'm", "way", "thing", "things", "time", "number", "part", "right", "wrong", "sure", "true",
    "correct", "fine", "better", "different", "quite", "longer", "shorter", "simpler", "briefer", "clearer",
})
_OPENS_A_QUESTION = frozenset({
    "why", "how", "who", "when", "where", "which", "is", "are", "was", "were", "does", "did", "has", "have",
})
_WEIGHS = frozenset({  # these ask for judgement, whatever they point at
    "can", "could", "may", "might", "must", "shall", "should", "will", "would", "prove", "review", "analyze", "analyse",
    "evaluate", "assess", "critique", "compare", "decide", "recommend", "plan", "design", "justify", "diagnose",
})
_COURTESIES = frozenset({"thanks", "hi", "hello", "hey", "bye", "sorry"})
_ASSENTS = frozenset({"ok", "okay", "fine", "great", "perfect", "good", "right", "do", "it", "that", "so", "please"})
_ENGLISH = frozenset({  # words of hardly another language
    "the", "and", "of", "to", "are", "that", "with", "from", "what", "which", "how", "does", "my", "you", "it", "this",
    "who", "when", "where", "these", "not", "have", "why", "your", "please", "should",
})
_OF_OTHERS = frozenset({  # German, French, Spanish, Italian, Portuguese, Dutch
    "und", "auf", "bitte", "danke", "ist", "das", "der", "die", "ein", "warum", "wie", "nochmal", "weiter", "mach",
    "et", "en", "le", "la", "les", "de", "du", "merci", "pourquoi", "oui", "avec", "encore", "pour", "y", "el", "los",
    "por", "que", "con", "para", "gracias", "una", "un", "sigue", "ahora", "e", "il", "di", "per", "perche", "grazie",
    "ancora", "os", "obrigado", "porque", "mais", "em", "het", "waarom", "ook", "dank", "nog", "voor",
})
# fmt: on
_POLITE = re.compile(r"\b(?:can|could|would|will) you\b|\b(?:now|please|then) can i\b")
_LEAD = re.compile(
    r"\W*(?:(?:ok|okay|no|yes|well|but|so|now|then|thanks|great|sorry|wait|actually|please|just)\b\W*){0,4}"
)
_JOINS = re.compile(r"(?:and(?! (?:in|as|with|without)\b)|(?:what|how) about|for)\b")
_FORMS = re.compile(r"(?:(?:and )?(?:in|into|as|with|without|to)|too)\b")
_WORDLESS = re.compile(r"[\W\d_]*[^\W\d_]?[\W\d_]*")
_WORD = re.compile(r"[^\W\d_]+(?:'[a-z]+)?")
_NUMBERED = re.compile(r"[\w#.-]*\d[\w.-]*")


def refers_back(text: str, *, answers: bool = False) -> bool | None:
    """Tell whether a request refers to earlier work instead of saying what it is about; `None` when it cannot be told.

    Args:
        text: The last user turn, which has something before it.
        answers: Whether it follows a question that the assistant asked.
    """
    told = text.strip().lower().replace("\u2019", "'") if len(text) <= LONGEST else ""
    if not told or "\n" in told:
        return False
    if _WORDLESS.fullmatch(told):
        return True
    words = _WORD.findall(_NUMBERED.sub(" ", told))
    if answers and _ASSENTS.issuperset(words):
        return True
    if (told.isascii() and _OF_OTHERS.isdisjoint(words)) or not _ENGLISH.isdisjoint(words):
        return len(words) <= _MOST_WORDS and _points_back(told)
    return None if len(words) <= _MOST_FOREIGN else False


def _points_back(told: str) -> bool | None:
    """Tell of an English request how many words of its own it has, beside those that point at something said before."""
    asked = _POLITE.sub("please", told)
    asked = asked[found.end() :] if (found := _LEAD.match(asked)) else asked
    is_record = _NUMBERED.search(asked) is not None
    words = _WORD.findall(_NUMBERED.sub(" ", asked))
    own = [word for word in words if word not in _SMALL]
    if not words:  # "yes" does, "ok thanks" does not
        return is_record or (told.startswith(("yes", "no")) and "thank" not in told)
    opens_a_question = words[0] in _OPENS_A_QUESTION and (own or is_record)
    if opens_a_question or not _WEIGHS.isdisjoint(words) or _COURTESIES.issuperset(words):
        return False
    if len(own) > (_MOST_NAMED if "same" in words or "meant" in words else 1):
        return False
    if not own or not _POINTS.isdisjoint(words) or _FORMS.match(asked) or own[0].endswith("er"):
        return True
    return (True if is_record else None) if _JOINS.match(asked) else False
