"""What cannot be taken back: money that moves, things deleted, messages that go out.

A request carries a risk only where a bound tool can do such a thing and the user's own words ask for it. Words alone
move nothing: to classify "I want a refund" is as cheap as any label. What is found here only ever raises a route.
"""

from __future__ import annotations

import re

RISKS = ("money", "deletion", "message")
"""The risks: money moves, something is deleted or cancelled, a message goes to somebody outside."""

_READS = frozenset(
    {"check", "count", "describe", "fetch", "find", "get", "list", "look", "read", "retrieve", "search", "show"}
    | {"summarize", "track", "view"}
)
_RUNS_ANYTHING = frozenset({"bash", "browser", "command", "computer", "mcp", "shell", "sql", "terminal"})
_MONEY = "pay|refund|reimburse|charge|transfer|wire|withdraw|buy|purchase|donate"
_DELETION = "delete|remove|erase|wipe|purge|drop|cancel|terminate|revoke"
_MESSAGE = "send|e-?mail|mail|message|notify|post|publish|tweet|forward"
_DOES = {
    "money": re.compile(rf"(?:{_MONEY}|money|payment|payout|checkout)s?"),
    "deletion": re.compile(rf"(?:{_DELETION})s?"),
    "message": re.compile(rf"(?:{_MESSAGE}|sms|slack)s?"),
}
_TOKEN = re.compile(r"[a-z]+(?:-[a-z]+)?")
# A verb is asked for where something follows that it is to be done to, and no article makes a noun of it. What else the
# text says does not matter: no words beside it take a risk away.
_ASKED = {
    risk: re.compile(rf"\b(?:{verbs})\s{{1,9}}(?!(?:or|is|was|are|by|of)\b)[\w#$\u20ac\u00a3'\"]")
    for risk, verbs in (
        ("money", _MONEY),
        ("deletion", rf"{_DELETION}|get rid|close my"),
        ("message", rf"{_MESSAGE}|reply to"),
    )
}
_ARTICLES = (" the ", " a ", " my ", " your ", " this ", " that ")
_WANTED = re.compile(r"\b(?:refund|money back|payment|transfer|purchase)\b")
_WANTS = re.compile(r"\b(?:want|like|need|get|give|demand|request|issue|make|have)\b[^.?!\n]*\Z")
_WANTS_CHARS = 40
_HINTS = {  # a search for each plain word takes a hundredth of the time of a pattern, which mostly finds nothing
    "money": (*_MONEY.split("|"), "money", "payment"),
    "deletion": (*_DELETION.split("|"), "get rid", "close my"),
    "message": ("send", "mail", "message", "notify", "post", "publish", "tweet", "forward", "reply to"),
}
_TOOL_CHARS = 300  # of a description: its first sentence tells what the tool does


def tool_risks(name: str, description: str = "") -> set[str]:
    """Return what a tool can do that cannot be taken back, by its name and the first sentence of its description.

    A tool whose name begins with a verb of reading changes nothing; one that runs whatever it is told can do all.

    Args:
        name: Its name in lower case, its words apart.
        description: What it does, in lower case.
    """
    words = _TOKEN.findall(name.replace("_", " "))
    if words and words[0] in _READS:
        return set()
    if not _RUNS_ANYTHING.isdisjoint(words):
        return set(RISKS)
    words += _TOKEN.findall(re.split(r"\.\s|\n", description[:_TOOL_CHARS], maxsplit=1)[0])
    return {risk for risk, does in _DOES.items() if any(map(does.fullmatch, words))}


def asked_risks(text: str, can: tuple[str, ...]) -> tuple[str, ...]:
    """Return which of the things that tools `can` do a text asks for; it is in lower case, and of bounded length."""
    return tuple(risk for risk in can if any(hint in text for hint in _HINTS[risk]) and _asks(risk, text))


def _asks(risk: str, text: str) -> bool:
    for verb in _ASKED[risk].finditer(text):
        if not f" {text[max(0, verb.start() - 6) : verb.start()]}".endswith(_ARTICLES):
            return True
    nouns = _WANTED.finditer(text) if risk == "money" else ()
    return any(_WANTS.search(text[max(0, noun.start() - _WANTS_CHARS) : noun.start()]) for noun in nouns)
