"""Fills a JSON schema from a text by patterns: fields by their names, enumerations by likeness, the rest by default."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from langchain_tiered.offline.rules import NUMBER, Likeness, as_number, items_in, most_alike, stems, summary

if TYPE_CHECKING:
    from collections.abc import Sequence

Schema = dict[str, Any]

_NOTHING: dict[str, Any] = {"string": "", "boolean": False, "null": None}
_DEEPEST = 6
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = rf"(?:{'|'.join(_MONTHS)})[a-z]{{0,6}}\.?"
_DATE = re.compile(
    rf"\b(?:\d{{4}}-\d\d?-\d\d?|\d\d?[./]\d\d?[./]\d{{4}}|\d\d? {_MONTH},? \d{{4}}|{_MONTH} \d\d?,? \d{{4}})\b",
    re.IGNORECASE,
)
_SHAPES: tuple[tuple[frozenset[str], re.Pattern[str]], ...] = (
    (frozenset({"email", "mail"}), re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}")),
    (frozenset({"url", "uri", "link", "website"}), re.compile(r"https?://[^\s<>\")\]]+")),
    (frozenset({"phone", "telephone", "mobile"}), re.compile(r"(?<![\w.])\+?\d[\d ()-]{6,18}\d(?!\w)")),
    (
        frozenset({"address", "street"}),
        re.compile(r"\b\d{1,5} [A-Z][\w'-]{1,30}(?:,? [A-Z][\w'-]{1,30}){1,7}"),
    ),
    (frozenset({"date", "deadline", "due"}), _DATE),
    (frozenset({"time"}), re.compile(r"\b\d{1,2}:\d\d(?::\d\d)?\s?(?:am|pm)?\b", re.IGNORECASE)),
    (frozenset({"currency"}), re.compile(r"\b(?:USD|EUR|GBP|JPY|CHF)\b|[$€£]")),
    (frozenset({"id", "number", "reference", "code", "sku"}), re.compile(r"\b(?:[A-Z]{1,5}-?)?\d{3,12}(?:-\d+)*\b")),
)
_MONEY = frozenset({"amount", "total", "price", "cost", "sum", "fee", "tax", "subtotal", "balance", "vat", "paid"})
_IDS = frozenset({"id", "number", "reference", "code"})
_PEOPLE = frozenset(
    {"name", "customer", "person", "author", "company", "vendor", "merchant", "store", "city", "sender"}
)
_PROSE = frozenset(
    {"summary", "title", "description", "answer", "text", "subject", "message", "content", "body", "quote"}
)
_ASKED = frozenset({"query", "question", "search", "topic", "prompt", "request", "goal", "task", "instruction"})
_WHY = frozenset({"reason", "rationale", "explanation", "why", "justification", "reasoning"})
_SURE = frozenset({"confidence", "certainty", "probability", "score"})
_LONG_ID = 3  # digits


def fill(schema: Schema, text: str, *, ask: str = "", meanings: str = "") -> Any:
    """Return a value for a JSON schema, read off `text`; what is not found is its default, null or the type's nothing.

    Args:
        schema: The JSON schema, with its `$defs`.
        text: What to read.
        ask: What was asked for, for fields that want the question itself.
        meanings: Where a line `name: meaning` may tell what the options of an enumeration stand for.
    """
    filler = Filler(schema, ask or text, meanings)
    found = filler.find(schema, "", text)
    return filler.empty(schema) if found is None else found


class Filler:
    """Fills the fields of one schema; remembers its choices, for a `confidence`, and gives no number out twice."""

    def __init__(self, root: Schema, ask: str, meanings: str) -> None:
        self.root, self.ask, self.meanings = root, ask, meanings
        self.chosen: list[Likeness] = []
        self.given: set[tuple[int, int]] = set()

    def find(self, schema: Schema, name: str, text: str, depth: int = 0, *, must: bool = True) -> Any:  # noqa: PLR0911  (one for each kind of schema)
        """Return a value that the text holds, or `None`; unless it `must` be there, only one that is named."""
        schema = self.plain(schema)
        if depth > _DEEPEST:
            return None
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self.choice(schema["enum"], text)
        if branches := schema.get("anyOf") or schema.get("oneOf"):
            must = must and not any("null" in _kinds(self.plain(branch)) for branch in branches)
            found = (self.find(branch, name, text, depth + 1, must=must) for branch in branches)
            return next((value for value in found if value is not None), None)
        must = must and "default" not in schema and "null" not in _kinds(schema)
        match _kind(schema):
            case "object":
                return self.fields(schema, text, depth)
            case "array":
                return self.several(schema, name, text, depth)
            case "integer" | "number":
                return self.number(schema, name, text, must=must)
            case "boolean":
                return _told_so(name, text)
            case "string":
                said = self.string(schema, name, text, must=must)
                return said if said and len(said) >= schema.get("minLength", 1) else None
        return None

    def plain(self, schema: Schema) -> Schema:
        """Follow references inside the schema."""
        for _ in range(_DEEPEST):
            if "$ref" in schema:
                place: Any = self.root
                for step in schema["$ref"].lstrip("#/").split("/"):
                    place = place.get(step, {}) if isinstance(place, dict) else {}
            elif len(schema.get("allOf") or ()) == 1:
                place = schema["allOf"][0]
            else:
                break
            schema = {**place, **{key: value for key, value in schema.items() if key not in ("$ref", "allOf")}}
        return schema

    def empty(self, schema: Schema, depth: int = 0) -> Any:  # noqa: PLR0911  (the same)
        """Return what stands for "not found" and still fits: the default, null, or the type's nothing."""
        schema = self.plain(schema)
        branches = [self.plain(branch) for branch in schema.get("anyOf") or schema.get("oneOf") or ()]
        if "default" in schema:
            return schema["default"]
        if any("null" in _kinds(branch) for branch in [schema, *branches]):
            return None
        if branches or "enum" in schema:
            return schema["enum"][0] if "enum" in schema else self.empty(branches[0], depth + 1)
        match _kind(schema):
            case "integer" | "number":
                return _within(schema, 0)
            case "object":
                return self.fields(schema, "", depth) if depth <= 2 * _DEEPEST else {}
            case "array":
                return [self.empty(schema.get("items", {}), depth + 1) for _ in range(schema.get("minItems", 0))]
            case "string" if schema.get("minLength"):
                return "unknown".ljust(schema["minLength"], ".")
        return _NOTHING.get(_kind(schema))

    def fields(self, schema: Schema, text: str, depth: int) -> dict[str, Any]:
        """Fill an object's fields; those that tell how sure the rest is come last."""
        properties: dict[str, Schema] = schema.get("properties", {})
        required = schema.get("required", ())
        filled = {}
        for name in sorted(properties, key=lambda name: bool({*_names(name)} & (_SURE | _WHY))):
            part = properties[name]
            found = self.find(part, name, text, depth + 1, must=name in required) if text else None
            if found is not None or name in required:
                filled[name] = self.empty(part, depth + 1) if found is None else found
        return {name: filled[name] for name in properties if name in filled}

    def choice(self, options: Sequence[Any], text: str) -> Any:
        """Return the option most like the text, or the one that stands for "none" when nothing is alike."""
        told = {str(option): option for option in options if option is not None}
        if not told:
            return None
        best = most_alike(text, {option: self.meaning(option) for option in told})
        self.chosen.append(best)
        return told[best.option]

    def meaning(self, option: str) -> str:
        """Return what a line of the instructions says of an option, as in `- nano: simple, bounded work`."""
        told = re.search(rf"^\W*{re.escape(option)}\b\W{{0,6}}(?:is\b)?(.+)$", self.meanings, re.MULTILINE)
        return told[1] if told else ""

    def several(self, schema: Schema, name: str, text: str, depth: int) -> list[Any] | None:
        """Fill an array: one item for each option named, value of the right shape, or listed line."""
        item = self.plain(schema.get("items", {}))
        shape = _shape(_names(name), item)
        found: list[Any]
        if "enum" in item:
            bag = set(stems(text))
            found = [option for option in item["enum"] if bag & set(stems(str(option)))]
            found = found or [self.choice(item["enum"], text)] * bool(schema.get("minItems"))
        elif _kind(item) == "object" and "\n" not in text.strip():
            found = []
        elif _kind(item) == "object":
            lines = items_in(text) or [line for line in text.splitlines() if NUMBER.search(line)]
            found = [self.fields(item, line, depth + 1) for line in lines[:100]]
        elif _kind(item) in ("integer", "number"):
            numbers = [as_number(number[2]) for number in NUMBER.finditer(_without_dates(text))]
            found = [int(value) for value in numbers] if _kind(item) == "integer" else numbers
        else:
            found = [hit[0] for hit in shape.finditer(text)] if shape else items_in(text) or _listed(name, text)
            found = list(dict.fromkeys(found))
        return found[: schema.get("maxItems", 100)] if len(found) >= max(schema.get("minItems", 0), 1) else None

    def number(self, schema: Schema, name: str, text: str, *, must: bool) -> float | int | None:
        """Return the number nearest to the field's name."""
        names = {*_names(name)}
        if names & _SURE and self.chosen:
            return _within(schema, round(self.chosen[-1].score, 2))
        found = _money(text) if names & _MONEY else list(NUMBER.finditer(_without_dates(text)))
        if _kind(schema) == "integer":
            found = [hit for hit in found if "." not in hit[2]] or found
            found = [hit for hit in found if len(hit[2]) >= _LONG_ID] if names & _IDS else found
        fresh = [hit for hit in found if (len(text), hit.start()) not in self.given]
        best = _nearest(text, fresh, name, schema, must=must)
        if best is None:
            return None
        self.given.add((len(text), best.start()))
        value = _within(schema, as_number(best[2]))
        return int(value) if _kind(schema) == "integer" else value

    def string(self, schema: Schema, name: str, text: str, *, must: bool) -> str | None:  # noqa: PLR0911  (one for each rule)
        """Return the string that the field's shape, its label or the words of its name point to."""
        names = {*_names(name)}
        if shape := _shape(_names(name), schema):
            dateless = text if shape is _DATE else _without_dates(text)
            best = _nearest(dateless, list(shape.finditer(dateless)), name, schema, must=must)
            return None if best is None else _dated(best[0], schema) if shape is _DATE else best[0]
        if names & _WHY and self.chosen:
            best_like = self.chosen[-1]
            return f"Words shared with {best_like.option!r}: {', '.join(best_like.shared[:6]) or 'none'}."
        if listed := _listed(name, text):
            return ", ".join(listed)
        if names & _MONEY:
            money = _nearest(text, _money(text), name, schema, must=must)
            return money[0].strip() if money else None
        if names & _WHY:
            because = re.search(r"\b(?:because|since|due to|as it)\s+([^.;\n]{3,200})", text, re.IGNORECASE)
            return because[1].strip() if because else " ".join(self.ask.split())[:200]
        if names & _PEOPLE:
            proper = re.search(r"(?<![.!?\n] )(?<!^)(?<!\n)\b[A-Z][\w'-]{1,30}(?: [A-Z][\w'-]{1,30}){0,3}", text)
            return proper[0] if proper and must else None
        if names & _ASKED:
            return " ".join(self.ask.split())[:400]
        return summary(text, 1)[:400] or None if names & _PROSE else None


def _kinds(schema: Schema) -> list[str]:
    kinds = schema.get("type", "object" if "properties" in schema else ())
    return [kinds] if isinstance(kinds, str) else list(kinds)


def _kind(schema: Schema) -> str:
    return next((kind for kind in _kinds(schema) if kind != "null"), "null")


def _names(name: str) -> list[str]:
    return re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())


def _shape(names: Sequence[str], schema: Schema) -> re.Pattern[str] | None:
    told = {*names, *(name.removesuffix("s") for name in names), *str(schema.get("format", "")).split("-")}
    return next((pattern for words, pattern in _SHAPES if words & told), None)


def _within(schema: Schema, value: float) -> float:
    """Move a number into the bounds of its schema."""
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if above is not None and value <= above:
        value = above + 1
    if below is not None and value >= below:
        value = below - 1
    low: float = schema.get("minimum", value)
    high: float = schema.get("maximum", float("inf"))
    return min(max(value, low), high)


def _without_dates(text: str) -> str:
    return _DATE.sub(lambda date: " " * len(date[0]), text)


def _money(text: str) -> list[re.Match[str]]:
    """Return the numbers that look like money, or all where none does."""
    found = list(NUMBER.finditer(_without_dates(text)))
    return [hit for hit in found if hit[1] or hit[3] or "." in hit[2]] or found


def _dated(text: str, schema: Schema) -> str:
    """Write a date as `YYYY-MM-DD` where the schema wants that; the day stands first where all parts are numbers."""
    if schema.get("format") != "date" and not re.search(r"iso|yyyy-mm", schema.get("description", ""), re.IGNORECASE):
        return text
    parts = re.findall(r"\d+|[A-Za-z]+", text)
    values = [_MONTHS.index(part[:3].lower()) + 1 if part.isalpha() else int(part) for part in parts]
    if parts[0].isalpha():
        values = [values[2], values[0], values[1]]
    elif len(parts[0]) <= 2:  # noqa: PLR2004  (a day has two digits, a year has four)
        values.reverse()
    year, month, day = values if values[1] <= len(_MONTHS) else (values[0], values[2], values[1])
    return f"{year:04}-{month:02}-{day:02}"


def _told_so(name: str, text: str) -> bool | None:
    """Tell whether the text names the field, and does not deny it just before."""
    words = [re.escape(word) for word in stems(name)]
    said = re.search(rf"(\b(?:not?|never|without|isn't|wasn't) (?:\w+ )?)?\b(?:{'|'.join(words)})", text, re.IGNORECASE)
    return (not said[1]) if words and said else None


def _listed(name: str, text: str) -> list[str]:
    """Return what stands behind the field's label, as in `Name: Ada` or `the name is Ada`, parted at commas."""
    names = _names(name)
    for label in dict.fromkeys((r"[\s_-]?".join(map(re.escape, names)), re.escape(names[-1]) if names else "")):
        said = (
            re.search(rf"\b{label}s?(?: is| are|\s?[:=])\s*([^\n;]{{1,300}})", text, re.IGNORECASE) if label else None
        )
        if said:
            value = re.split(r"\.(?:\s|$)", said[1])[0]
            return [part.strip(" \"'") for part in value.split(",") if part.strip(" \"'")]
    return []


def _nearest(
    text: str, found: Sequence[re.Match[str]], name: str, schema: Schema, *, must: bool
) -> re.Match[str] | None:
    """Return the value closest behind a word of the field's name or, failing that, of its description."""
    for words in (stems(name), stems(schema.get("description", ""))):
        named = [re.escape(word) for word in words if word not in _IDS]
        anchors = [hit.end() for hit in re.finditer(rf"\b(?:{'|'.join(named)})", text, re.IGNORECASE)] if named else []
        if anchors:
            return min(found, key=lambda hit: _distance(hit, anchors, text), default=None)
    return found[0] if found and must else None


def _distance(hit: re.Match[str], anchors: Sequence[int], text: str) -> float:
    """Measure how far a value stands behind the label before it; a label after it, or a line break between, is far."""
    place = bisect_right(anchors, hit.start())
    near, line, behind_it = 200, 60, 40
    behind = hit.start() - anchors[place - 1] if place else len(text)
    if behind < near and "\n" in text[hit.start() - behind : hit.start()]:
        behind += line
    ahead = anchors[place] - hit.end() + behind_it if place < len(anchors) else len(text)
    return min(behind, ahead)
