"""Chat models that need no key, no weights and no network: deterministic rules, and every answer says so.

One measure carries them: how many words a text shares with an option, each counting more the fewer options have it. It
chooses labels, tools and tiers, and the sentences to quote. Values are found by pattern and by the words before them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from dataclasses import replace
from email.utils import parsedate
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from langchain_core.language_models import BaseChatModel, ModelProfile
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.outputs import ChatGenerationChunk as Chunk
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_core.utils.json_schema import dereference_refs

from langchain_tiered.models import default_tiers
from langchain_tiered.offline.planning import by_rule

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from langchain_core.runnables import Runnable

    from langchain_tiered.types import Tier

    Schema = dict[str, Any]
    Call = tuple[str, dict[str, Any]]

ModelName = Literal["offline-nano", "offline-mini", "offline-flagship"]

_HONEST = {"model_provider": "offline", "offline": "Deterministic rules, no language model."}
_DETAILS: Any = {"input_token_details": {"cache_read": 0}, "output_token_details": {"reasoning": 0}}
_UNKNOWN = "The offline rules hold no knowledge; a language model would have to answer this."
_UNSEEN = "The offline rules cannot see images; a language model would have to answer this."
_ASK, _LOOK, _MANY, _BEFORE = 600, 20_000, 1_000, 60  # characters of an instruction, of a look; values; before one
_STOP = re.compile(
    r"an?|of|to|in|on|at|by|for|from|and|or|but|not?|with|as|is|are|was|were|be|been|its?|th(?:e[nmy]?|eir|ere|[ai]n|is|at)"
    r"|th[eo]se|i|m[ey]|we|us|our|your?|s?he|his|her|do|does|did|ha(?:ve|s|d)|can|could|would|will|may|please|here|how"
    r"|wh(?:at|ere|ich|o)|all|any|some|if|so|into|just|also|one|each|such|about|up|out|get"
)
_CUES = (
    (r"(?i)\b(?:why|prove|show that|should|justify|weigh|strategy|probably)\b", "reasoning trade-offs"),
    (r"[^\n]{40}[.!] [^.!?\n]{3,160}\?\s*$", "reasoning diagnosis"),  # a case is told, and then a question put
    (r"(?i)^[^.?\n]{0,60}\b(?:who|what|when|where|which|how (?:many|much|long|far))\b[^.?\n]{0,110}\?\s*$", "question"),
    (r"(?i)\bwhere is\b", "track locate"),
    (r"(?i)\b(?:show me|tell me (?:about|if)|status|check|details)\b", "find look"),
    (r"(?i)\b(?:love|great|excellent|perfect|happy|wonderful|delight\w*)\b", "positive"),
    (r"(?i)\b(?:hate|terrible|awful|broken|angry|worst|disappoint\w*|useless)\b", "negative"),
)
_TEXT_WORK = re.compile(
    r"(?i)\b(?:summar|classif|label|[ck]atego|senti|tone|triage|extract|read|review|write|draft|rank)"
)
_LABELS = re.compile(
    r"(?i)\b(?:labels?|[ck]ategor\w{1,4}|queues?|topics|one of)\b[^:\n?(]{0,80}[:?(]\s*([^\n)]{3,900})"
    r"|\b((?:\w+, ){1,40}\w+,? or \w+)|\b(\w+ or \w+)\?|\b(?:as|into|is it)\s([^.:;?\n]{3,300}?\sor\s[\w -]{2,40})"
)
_GAP = re.compile(r"(?i)(?:[.;?!]\s+|,?\s+(?:and|then)\s+(?:then\s+|also\s+)?|,\s+)(?!#?[A-Z]{0,5}-?\d)")
_LISTED = re.compile(r"\d{2,12}(?:(?:\s*,\s*|\s+)(?:and\s+|or\s+)?(?:[a-z]+\s+)?#?\d{2,12}\b)+")
_RECORD = re.compile(r"(?i)#\d|\b(?!(?:19|20)\d\d\b)\d{4,}|\S@\S|\bmy (?:order|parcel|account)\b|\bsearch the web\b")
_NUMBER = re.compile(r"(?<![\w.])([$€£]\s?)?(-?\d{1,15}(?:,\d{3}){0,4}(?:\.\d{1,9})?)(?!\w)(\s?(?:%|USD|EUR|GBP))?")
_SHAPES = (
    ("path file folder", re.compile(r"(?<![\w/.:])(?:\.{0,2}/)*(?:[\w-]+[\w.-]*(?:/[\w.-]*\w)+|\w+\.[a-z]{2,5}\b)")),
    ("words phrase", re.compile(r"(?<=')(?<!\w')[^'\n]{1,80}(?='(?!\w))")),
    ("email mail", re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}")),
    ("url uri link website", re.compile(r"https?://[^\s<>\")\]]+")),
    ("phone telephone mobile", re.compile(r"(?<![\w.])\+?\d[\d ()-]{6,18}\d(?!\w)")),
    ("address street", re.compile(r"\b\d{1,5}(?:,? [A-Z][\w'-]{1,30}){1,8}")),
    ("date day", re.compile(r"\b(?:\d{4}-\d\d?-\d\d?|\d\d? [A-Z][a-z]{2,8} \d{4}|[A-Z][a-z]{2,8} \d\d?, \d{4})\b")),
    ("currency", re.compile(r"\b(?:USD|EUR|GBP|JPY|CHF)\b|[$€£]")),
    ("amount total price cost fee tax", _NUMBER),
    ("id number reference code", re.compile(r"\b(?:[A-Z]{1,5}-)?\d{3,12}(?:-\d+)*\b")),
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")


class OfflineChatModel(BaseChatModel):
    """A chat model made of rules: it labels, fills schemas, calls tools, quotes, and says what it cannot do."""

    model_name: ModelName = "offline-mini"
    """Which tier it stands in for: nano quotes one sentence and makes one call at a time, the others do more."""

    @property
    def _llm_type(self) -> str:
        return "langchain-tiered-offline"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model_name}

    def _resolve_model_profile(self) -> ModelProfile:
        window = 1_050_000 if self.model_name == "offline-flagship" else 400_000
        able = ModelProfile(image_inputs=True, tool_calling=True, tool_choice=True, structured_output=True)
        return {**able, "name": self.model_name, "max_input_tokens": window}

    def bind_tools(self, tools: Sequence[Any], *, tool_choice: Any = None, **kwargs: Any) -> Runnable[Any, AIMessage]:
        """Bind tools; those that only a provider can run, such as `{"type": "web_search"}`, are never called."""
        own = [t for t in tools if not isinstance(t, dict) or t.get("type", "object") in ("object", "function")]
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in own], tool_choice=tool_choice, **kwargs)

    def _generate(self, messages: list[BaseMessage], stop: Any = None, *_: Any, **options: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._answer(messages, stop, options))])

    async def _agenerate(self, messages: list[BaseMessage], stop: Any = None, *_: Any, **options: Any) -> ChatResult:
        return self._generate(messages, stop, **options)  # takes less time than handing it to a thread

    def _stream(self, messages: list[BaseMessage], stop: Any = None, *_: Any, **options: Any) -> Iterator[Chunk]:
        whole = self._answer(messages, stop, options)
        for word in re.findall(r"\s*\S+|\s+", whole.text):
            yield Chunk(message=AIMessageChunk(content=word))
        last = {**whole.model_dump(exclude={"type", "id"}), "content": "", "chunk_position": "last"}
        yield Chunk(message=AIMessageChunk.model_validate(last))

    async def _astream(self, messages: list[Any], stop: Any = None, *_: Any, **options: Any) -> AsyncIterator[Chunk]:
        for chunk in self._stream(messages, stop, **options):
            yield chunk

    def _answer(self, messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any]) -> AIMessage:
        """Answer by rule, with calls or words; tokens are counted as characters divided by four, rounded up."""
        request, level = _Request(messages), get_args(ModelName).index(self.model_name)
        tools = {tool["function"]["name"]: tool["function"] for tool in options.get("tools") or ()}
        calls, missing = request.calls(tools, options.get("tool_choice"))
        calls = calls[: 1 if level == 0 or options.get("parallel_tool_calls") is False else None]
        form = (options.get("response_format") or {}).get("json_schema")
        text = json.dumps(request.filled(form["schema"])) if form else request.said(1 + level, missing)
        text = re.split("|".join(map(re.escape, stop or ["\0"])), "" if calls else text, maxsplit=1)[0]
        thread = "".join(f"{message.text}{getattr(message, 'tool_calls', None) or ''}" for message in messages)
        paid = -(-len(thread + json.dumps(options.get("tools") or [])[2:]) // 4)
        given = -(-len(text + json.dumps(calls)[2:]) // 4)
        digest = hashlib.sha256(thread.encode("utf-8", "replace")).hexdigest()[:20]
        done = "tool_calls" if calls else "stop"
        return AIMessage(
            text,
            tool_calls=[{"name": n, "args": args, "id": f"call_{digest}_{at}"} for at, (n, args) in enumerate(calls)],
            usage_metadata={"input_tokens": paid, "output_tokens": given, "total_tokens": paid + given, **_DETAILS},
            response_metadata={"model_name": self.model_name, "finish_reason": done, **_HONEST},
        )


def offline_tiers() -> tuple[Tier, ...]:
    """Return the default tiers with rules for models, priced as if the GPT-5.4 models had used the same tokens.

    ```python
    nano, mini, flagship = offline_tiers()
    ```
    """
    named = zip(default_tiers(), get_args(ModelName), strict=True)
    return tuple(replace(tier, model=OfflineChatModel(model_name=name), rates=str(tier.model)) for tier, name in named)


class _Request:
    """What the messages ask: the last human turn, the instructions before it, and what its tools have returned."""

    def __init__(self, messages: Sequence[BaseMessage]) -> None:
        humans = [place for place, message in enumerate(messages) if isinstance(message, HumanMessage)]
        asks = [_parted(messages[place].text) for place in humans[-1:] + humans[:-1]] or [("", "")]
        (self.ask, self.body), self.whole = asks[0], messages[humans[-1]].text if humans else ""
        self.asked = "\n".join(ask for ask, _ in asks)
        if not self.ask and (told := re.match(r'\{"text": "((?:[^"\\]|\\.)*)', self.body)):
            self.body = _parted(told[1].replace("\\n", "\n"))[0]  # the classifier's prompt: the instruction is judged
        turn = messages[humans[-1] if humans else 0 :]
        self.image = any(block["type"] == "image" for message in turn[:1] for block in message.content_blocks)
        self.results = [message.text for message in turn if isinstance(message, ToolMessage)]
        self.made = [(call["name"], call["args"]) for m in turn if isinstance(m, AIMessage) for call in m.tool_calls]
        self.system = "\n".join(message.text for message in messages if isinstance(message, SystemMessage))
        self.material = "\n".join([*self.results, self.body or self.ask * (not self.image)])

    def filled(self, schema: Schema) -> Any:
        """Return what fits a schema, from the tools' results and the document, or the request where there is none."""
        if (ruled := by_rule(schema, self.whole)) is not None:
            return ruled
        return _Filler(self.system).fill(dereference_refs(schema), self.material)

    def said(self, count: int, missing: list[str]) -> str:
        """Return what is missing, what tools returned, a label, fields, or `count` sentences of the document."""
        ask, body = self.ask, self.body
        told = [r[1:-1].replace('"', "") if r[:1] + r[-1:] == "{}" else r for r in self.results]
        if told or missing or self.image:
            return "\n".join([*(told or [_UNSEEN] * self.image), *missing])
        listed = (_LABELS.search(ask) if _TEXT_WORK.search(ask) else None) or _LABELS.search(self.system)
        line = re.split(r"\.(?:\s|$)", next(filter(None, listed.groups())))[0] if listed else ""
        if len(_parts(line)) > 1:
            return _choice(body or ask.replace(line, ""), dict.fromkeys(_parts(line), "")).option
        if body and (fields := re.search(r"(?i)\bextract\s([^.:;\n]{3,200}?)(?:\sfrom\b|[.:;\n]|$)", ask)):
            filled = {name: _Filler().find({"type": "string"}, body, name) for name in _parts(fields[1])}
            return "\n".join(f"{name}: {value or 'not found'}" for name, value in filled.items())
        parts = dict.fromkeys(filter(None, _SENTENCE.split(body or ask)), "")
        gist = re.search(r"(?i)\b(?:summar|tl;?dr|key points|gist\b)", ask)
        about = next((part for part in parts if part.endswith(".")), ask) if gist else ask
        count = 1 if re.search(r"\bone (?:sentence|line)\b", ask) else count
        best = _likeness(about, parts)[:count] if gist or (body and "?" in ask) else []
        return " ".join(like.option for like in best if like.score > best[0].score / 2) or _UNKNOWN

    def calls(self, tools: dict[str, Schema], choice: object) -> tuple[list[Call], list[str]]:
        """Return the next clause's calls, none made twice in a turn, and a question for what is missing."""
        name = choice.get("function", choice).get("name") if isinstance(choice, dict) else choice
        classes = [tool for tool in tools if tool[0].isupper()] or [*tools][-1:]  # how LangChain has a schema filled
        forced = classes if name in ("any", "required", True) else [tool for tool in tools if tool == name]
        missing, about_a_text = [], _TEXT_WORK.search(self.ask)
        free = name != "none" and name not in tools and not (self.body and about_a_text)
        about = {n: tool.get("description", "") for n, tool in tools.items() if free and n not in [*forced, "hand_up"]}
        for clause, tool in _clauses(self.ask, about):
            calls, lacking = _filled_calls(clause, self.asked, tools[tool.option])
            if fresh := [call for call in calls if call not in self.made and not lacking]:
                return fresh, []
            named = "?" not in self.ask and _words(tool.option).keys() <= _words(clause).keys()
            if lacking and (named or re.search(r"(?i)\bmy\b", clause)):
                missing.append(f"Which {' and '.join(lacking)} should {tool.option} take? The request does not say.")
        if free and "hand_up" in tools and not self.made and not about_a_text and _RECORD.search(self.ask):
            return [("hand_up", {"reason": f"This needs tools: {self.ask[:200]}"})], []
        if forced:  # a call that lacked what its tool requires was told so, and is made anew
            needs = {name: tool.get("parameters", {}).get("required", ()) for name, tool in tools.items()}
            done = {name for name, args in self.made if {*needs.get(name, ())} <= args.keys()}
            best = _choice(self.material, {tool: json.dumps(tools[tool]) for tool in forced}).option
            return [(best, self.filled(tools[best].get("parameters", {})))] * (best not in done), []
        return [], missing


def _parted(text: str) -> tuple[str, str]:
    """Part a request into its instruction and the text that it is about, which is never obeyed."""
    fence = re.search(r"```|<(\w{1,30})[^<>\n]{0,200}>", text)
    closing = f"</{fence[1]}>" if fence and fence[1] else "```"
    if fence and (end := text.rfind(closing)) >= fence.end():
        ask, rest = _parted(text[: fence.start()])
        if rest:  # the fence stands inside of the text that is given
            return ask, f"{rest} {text[fence.start() :]}"
        return f"{ask} {text[end + len(closing) :]}".strip()[:_ASK], text[fence.end() : end].strip()
    heads = [text.partition(edge) for edge in ("\n\n", "\n", *([] if _LABELS.search(text[:_ASK]) else [": "]))]
    start, _, tail = text.rstrip().rpartition("\n")
    for part, rest in [*((head, rest) for head, _, rest in heads), (tail, start)]:
        if rest and len(part) < _ASK and (part.endswith(("?", ":")) or _TEXT_WORK.search(part)):
            return part, rest.strip()
    return text[:_ASK], text if len(text) > _ASK else ""


def _parts(line: str) -> list[str]:
    items = re.split(r",\s*(?:or |and )?|\s+(?:or|and)\s+|\s*[/|;]\s*", line)
    return [part for item in items if (part := re.sub(r"^(?:an?|the|all) ", "", item.strip(" \"'`*.?")))]


def _clauses(ask: str, about: Mapping[str, str]) -> list[tuple[str, _Like]]:
    """Return each clause that orders a tool, with what follows it and orders none, and the tool."""
    found: list[tuple[str, _Like]] = []
    for part in _GAP.split(ask) if about else ():
        best = _choice(part, about)
        if best.score >= 1:
            found.append((part, best))
        elif found:
            found[-1] = (f"{found[-1][0]}, {part}", found[-1][1])
    return [c for c in found if not re.search(r"(?i)\b(?:do not|don'?t|never|without|(?<!me )if|unless)\b", c[0])]


def _filled_calls(clause: str, asked: str, tool: Schema) -> tuple[list[Call], list[str]]:
    """Return the calls of one clause, one for each number of a list, and the required arguments that nothing fills."""
    filler, parameters, args = _Filler(), dereference_refs(tool.get("parameters", {})), {}
    required = parameters.get("required", ())
    for name, schema in parameters.get("properties", {}).items():
        found = (filler.find(schema, text, name, must=name in required) for text in (clause, asked))
        args[name] = next((value for value in found if value is not None), None)
    args = {name: value for name, value in args.items() if value is not None}
    numbers = re.findall(r"\d+", (_LISTED.search(clause) or [""])[0])
    slot = next((name for name, value in args.items() if str(value) in numbers), "")
    kind = int if isinstance(args.get(slot), int) else str
    every = [{**args, slot: kind(number)} for number in dict.fromkeys(numbers)] if slot else [args]
    return [(tool["name"], each) for each in every], [name for name in required if name not in args]


class _Like(NamedTuple):
    option: str
    score: float
    share: float
    words: list[str]


def _likeness(text: str, options: Mapping[str, str]) -> list[_Like]:
    """Rank options, each with a meaning or `""`, by the words that they share with `text`; equals keep their order.

    A shared word counts the more the fewer options have it, and twice in an option's name. The share is the part of all
    likeness, half a word added for each option: one word is no certainty, and three options without any have a third.
    """
    bag = _words(text)
    known = {option: _words(f"{option} {meaning}") for option, meaning in options.items()}
    spread = Counter(stem for words in known.values() for stem in words)
    found = []
    for option, words in known.items():
        named, shared = _words(option), [stem for stem in words if stem in bag]
        score = sum((1 + (stem in named)) / spread[stem] for stem in shared)
        found.append(_Like(option, score, score + 0.5, [words[stem] for stem in shared]))
    whole = sum(like.share for like in found)
    return sorted((like._replace(share=like.share / whole) for like in found), key=lambda like: -like.score)


def _choice(text: str, options: Mapping[str, str]) -> _Like:
    """Return the option most like a text and its form; where none is, the one that stands for "none", or the first."""
    cues = " ".join(words for pattern, words in _CUES if re.search(pattern, text[:_LOOK]))
    ranks = _likeness(f"{text[:_LOOK]} {cues}", options)
    nones = [like for like in ranks if like.option.lower() in ("other", "unknown", "none", "neutral")]
    return nones[0] if nones and not ranks[0].score else ranks[0]


def _words(text: str) -> dict[str, str]:
    """Return the content words of `text` by their stems, in order."""
    apart = re.findall(r"[^\W_]+(?:-[^\W_]+)*", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower())
    return {_stem(word.replace("-", "")): word for word in apart if not _STOP.fullmatch(word)}


def _stem(word: str) -> str:
    word = word.removesuffix(next((end for end in ("ing", "ed", "es", "s", "e") if word[3:].endswith(end)), ""))
    return (word[:-1] if word[-2:-1] == word[-1] else word)[:6]


class _Filler:
    """Fills a JSON schema from text; remembers its last choice, for a reason and a confidence."""

    def __init__(self, instructions: str = "") -> None:
        self.meanings = dict(re.findall(r"(?m)^[ *-]*([\w-]+): (.+)$", instructions))
        self.chosen: _Like | None = None

    def fill(self, schema: Schema, text: str, name: str = "", *, must: bool = True) -> Any:
        """Return what `text` holds for a field, else its default, null, or the nothing of its type."""
        found, kinds = self.find(schema, text, name, must=must), _kinds(schema)
        if found is not None or not must or "default" in schema or "null" in kinds:
            return schema.get("default") if found is None else found
        return {"string": "", "boolean": False, "array": []}.get(kinds[0], schema.get("minimum", 0))

    def find(self, schema: Schema, text: str, name: str, *, must: bool = True) -> Any:
        """Return what `text` holds for a field, or `None`; unless it `must` be there, only what is named."""
        must = must and "default" not in schema and "null" not in _kinds(schema)
        if branches := schema.get("anyOf") or schema.get("oneOf"):
            return next((v for part in branches if (v := self.find(part, text, name, must=must)) is not None), None)
        if options := [schema["const"]] if "const" in schema else schema.get("enum"):
            self.chosen = _choice(text, {str(option): self.meanings.get(str(option), "") for option in options})
            return next(o for o in options if str(o) == self.chosen.option) if must or self.chosen.score else None
        kind, stems = _kinds(schema)[0], "|".join(_words(name))
        named = bool(stems and re.search(rf"(?i)(?<!not )(?<!no )\b(?:{stems})", text))
        if kind not in ("string", "integer", "number"):
            if kind in ("object", "array") and (must or named):
                return self.fields(schema, text) if kind == "object" else self.items(schema, text, name)
            return True if kind == "boolean" and named else None
        return self.value(schema, text, name, must=must)

    def fields(self, schema: Schema, text: str) -> dict[str, Any]:
        """Fill an object's fields; a reason and a confidence speak of the choice made last, and come last."""
        properties, required = schema.get("properties", {}), schema.get("required", ())
        order = sorted(properties, key=lambda name: name in ("reason", "confidence"))
        filled = {name: self.fill(properties[name], text, name, must=name in required) for name in order}
        return {name: filled[name] for name in properties if name in required or filled[name] is not None}

    def items(self, schema: Schema, text: str, name: str) -> list[Any]:
        """Fill an array: the options named, or one item for each row, or for each part of a list."""
        schema = schema.get("items", {})
        if "enum" in schema:
            return [option for option in schema["enum"] if _words(str(option)).keys() & _words(text).keys()]
        rows = re.findall(r"^[ \t]*[-*•][ \t]+(\S.*)$", text, re.MULTILINE)[:_MANY]
        parts = rows or _parts(self.value({"type": "string"}, text, name, must=False) or "")
        return [part if _kinds(schema)[0] == "string" else self.fill(schema, part) for part in parts if schema]

    def value(self, schema: Schema, text: str, name: str, *, must: bool) -> Any:
        """Return the number or string that the field's shape, its label, or the words before it point to."""
        if name in ("reason", "confidence") and (like := self.chosen):
            told = f"Reads most like {like.option!r}: {', '.join(like.words[:4])}."
            told = told if like.words else f"No word tells what it is, and {like.option!r} is a guess."
            return told if name == "reason" else round(like.share, 2)
        kind, dated = _kinds(schema)[0], schema.get("format") == "date" or "YYYY" in schema.get("description", "")
        stems = _words(f"{name} {schema.get('format', '')}").keys()
        shapes = (shape for names, shape in _SHAPES if _words(names).keys() & stems)
        if shape := _NUMBER if kind in ("integer", "number") else next(shapes, None):
            best = _best(shape, text, name, must=must or "@" in shape.pattern)
            if best and kind != "string":
                return (int if kind == "integer" else float)(float(best[2].replace(",", "")))
            day = parsedate(f"{best[0]} 00:00:00") if best and dated else None
            return f"{day[0]}-{day[1]:02}-{day[2]:02}" if day else best and best[0].strip()
        label = r"[\s_-]?".join(map(re.escape, re.findall(r"[^\W_]+", name)))
        if said := re.search(rf"(?i)\b{label}s?\s?(?: is |:|=)[ \t]*([^\n;]{{1,300}})", text) if label else None:
            return re.split(r"\.(?:\s|$)", said[1])[0].strip(" \"'")
        if stems & _words("reason summary title description answer text message content query question topic").keys():
            why = re.search(r"(?i)\b(?:because|since|due to)\s+([^.;\n]{3,200})", text) if name == "reason" else None
            return why[1].strip() if why else _SENTENCE.split(text.strip(), maxsplit=1)[0] or None
        quoted = r"(?i)\b(?:named|called)\s+['\"]([^'\"\n]{1,100})"
        proper = re.search(quoted, text) if stems & _words("name").keys() else None
        proper = proper or re.search(r"(?<![.!?\n] )(?<!^)(?<!\n)\b[A-Z][\w'-]{1,30}(?: [A-Z][\w'-]{1,30}){0,3}", text)
        return proper[proper.lastindex or 0] if proper and must else None


def _kinds(schema: Schema) -> list[str]:
    own = schema.get("type", "object" if "properties" in schema else ["string"] * bool({"enum", "const"} & {*schema}))
    branches = schema.get("anyOf") or schema.get("oneOf") or ()
    kinds = [*([own] if isinstance(own, str) else own), *(kind for part in branches for kind in _kinds(part))]
    return sorted(kinds, key="null".__eq__) or ["null"]


def _best(pattern: re.Pattern[str], text: str, name: str, *, must: bool) -> re.Match[str] | None:
    """Return the value whose words before it, on its line, are most like the field's name."""
    wanted, best, top, edge = _words(name).keys(), None, (0.0, False), 0
    for hit in islice(pattern.finditer(text), _MANY):
        before = _words(text[max(edge, hit.start() - _BEFORE) : hit.start()].rpartition("\n")[2]).keys()
        rank = (len(wanted & before) / (len(wanted | before) or 1), pattern is _NUMBER and bool(hit[1] or hit[3]))
        if best is None or rank > top:
            best, top = hit, rank
        edge = hit.end()
    return best if must or top[0] else None
