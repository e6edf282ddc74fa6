"""A schema reaches a provider as the provider's own integration sends it, and no client judges the answer before us."""

from __future__ import annotations

import json
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import httpx2
import pytest
from fakes import LABEL, ScriptedModel, StreamingModel, say
from langchain.chat_models import init_chat_model
from langchain_core.caches import InMemoryCache
from langchain_core.messages import AIMessage
from langchain_core.messages.tool import tool_call
from langchain_core.runnables import RunnableLambda
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field, RootModel, WithJsonSchema
from pydantic.v1 import BaseModel as OldBaseModel
from typing_extensions import TypedDict
from unit.chat_model.fakes_chat_model import NAMES, Ways, outcomes, tiered

from langchain_tiered import Tier, TieredChatModel
from langchain_tiered.chat_model.binding import Structured
from langchain_tiered.errors import NoAnswerAcceptedError
from langchain_tiered.offline.server import OfflineServer

if TYPE_CHECKING:
    from collections.abc import Iterator


class Place(BaseModel):
    """A place."""

    city: str
    floor: int = 0


class Flat(BaseModel):
    """Nothing but fields."""

    count: int
    note: str


class Undescribed(BaseModel):
    count: int


class Nested(BaseModel):
    """A class in a class: bare, with words of its own, in a list and left out."""

    home: Place
    work: Place = Field(description="Where the work is.")
    more: list[Annotated[Place, Field(description="One more.")]] = []
    last: Annotated[Place, Field(description="The last one.")] | None = Field(None, description="If there is one.")


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(9, ge=0)


class Dog(BaseModel):
    kind: Literal["dog"]
    home: Place = Field(description="Where it sleeps.")


class Union(BaseModel):
    """One of two, told apart by a field."""

    pet: Annotated[Cat | Dog, Field(discriminator="kind")]


class Either(BaseModel):
    """One of two, told apart by nothing."""

    pet: Cat | Dog | str


class Recursive(BaseModel):
    """A tree."""

    value: int
    kids: list[Recursive] = []


class Bosses(BaseModel):
    """Two classes that have each other."""

    name: str
    teams: list[Team]


class Team(BaseModel):
    lead: Bosses | None = Field(None, description="Who leads it.")


class Mapped(BaseModel):
    """A dictionary of any keys."""

    amounts: dict[str, int]
    places: dict[str, Place] = {}


class Optionals(BaseModel):
    """What may be left out."""

    note: str | None = None
    count: int | None = Field(None, description="How many.")
    default: str = "none"


class Colour(str, Enum):  # noqa: UP042  (as people write it)
    """A colour."""

    RED = "red"
    BLUE = "blue"


class Chosen(BaseModel):
    """Values of a few."""

    label: Literal["bug", "praise"]
    colour: Colour
    ground: Colour = Field(Colour.RED, description="What it stands on.")


class Constrained(BaseModel):
    """Values within limits."""

    count: int = Field(ge=1, le=10, description="From 1 to 10.")
    code: str = Field(pattern="^[a-z]+$", max_length=5, alias="theCode")
    pair: tuple[int, str]


_OPEN = {"type": "object", "properties": {"city": {"type": "string", "default": None}}}


class ByHand(BaseModel):
    """Schemas that were written by hand."""

    one: Annotated[dict[str, str], WithJsonSchema({"description": "One.", "allOf": [_OPEN]})]
    both: Annotated[dict[str, str], WithJsonSchema({"allOf": [_OPEN, {"type": "object"}]})]


class Numbers(RootModel[list[int]]):
    """A list alone."""


class Other(RootModel[Place]):
    """Another class's fields."""


class Typed(TypedDict):
    """A dictionary with fields."""

    count: int


class Old(OldBaseModel):
    """A class of pydantic 1."""

    count: int


JSON_SCHEMA = {
    "title": "counted",
    "description": "A count.",
    "type": "object",
    "properties": {"count": {"type": "integer"}},
    "required": ["count"],
}


class Kind(NamedTuple):
    schema: Any
    right: Any
    wrong: Any


_PLACE = {"city": "Lyon", "floor": 2}
_DOG = {"kind": "dog", "home": _PLACE}
KINDS = {
    "flat": Kind(Flat, {"count": 7, "note": "x"}, {"count": "many", "note": "x"}),
    "without words": Kind(Undescribed, {"count": 7}, {}),
    "nested": Kind(Nested, {"home": _PLACE, "work": _PLACE, "more": [_PLACE], "last": None}, {"home": _PLACE}),
    "union": Kind(Union, {"pet": _DOG}, {"pet": {"kind": "cow"}}),
    "union of anything": Kind(Either, {"pet": _DOG}, {"pet": 7}),
    "recursive": Kind(Recursive, {"value": 1, "kids": [{"value": 2, "kids": []}]}, {"value": 1, "kids": [7]}),
    "recursive in two": Kind(Bosses, {"name": "x", "teams": [{"lead": None}]}, {"name": "x", "teams": [{"lead": 7}]}),
    "dict": Kind(Mapped, {"amounts": {"x": 1}, "places": {"y": _PLACE}}, {"amounts": {"x": "many"}, "places": {}}),
    "optional": Kind(Optionals, {"note": None, "count": 7, "default": "x"}, {"count": "many"}),
    "literal and enum": Kind(
        Chosen,
        {"label": "bug", "colour": "red", "ground": "blue"},
        {"label": "rant", "colour": "red", "ground": "blue"},
    ),
    "constrained": Kind(
        Constrained, {"count": 7, "theCode": "abc", "pair": [1, "x"]}, {"count": 11, "theCode": "abc", "pair": [1, "x"]}
    ),
    "by hand": Kind(ByHand, {"one": {"city": "x"}, "both": {"city": "x"}}, {"one": {"city": "x"}}),
    "list alone": Kind(Numbers, [1, 2], ["many"]),
    "another class alone": Kind(Other, _PLACE, {"floor": 2}),
    "typed dict": Kind(Typed, {"count": 7}, {"count": "many"}),
    "pydantic 1": Kind(Old, {"count": 7}, {"count": "many"}),
    "json schema": Kind(JSON_SCHEMA, {"count": 7}, {"count": "many"}),
}
each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
CLASSES = [each for each in KINDS.values() if isinstance(each.schema, type) and issubclass(each.schema, BaseModel)]
each_class = pytest.mark.parametrize("kind", CLASSES, ids=[each.schema.__name__ for each in CLASSES])
each_api = pytest.mark.parametrize("api", ["chat", "responses"])
few_classes = pytest.mark.parametrize("kind", [KINDS[name] for name in ("flat", "union", "list alone")])
of_pydantic_1 = pytest.mark.filterwarnings("ignore:Received a Pydantic BaseModel V1 schema:UserWarning")


def said(kind: Kind, value: Any) -> AIMessage:
    """Return what a model says that gives a value: JSON, or a call where it was asked for one."""
    if kind.schema is Old:
        return AIMessage("", tool_calls=[tool_call(name="Old", args=value, id="call_1")])
    return AIMessage(json.dumps(value))


class Line:
    """A server with OpenAI's protocol, what its models say next, clients to it, and the bodies that they sent."""

    def __init__(self) -> None:
        self.says: dict[str, list[AIMessage]] = {}
        self.sent: list[dict[str, Any]] = []
        models = {f"gpt-5.4-{name}": self._served(name) for name in ("nano", "mini")}
        self.server = OfflineServer(models=models)
        self.client = httpx2.Client(event_hooks={"request": [self._note]})
        self.async_client = httpx2.AsyncClient(event_hooks={"request": [self._anote]})

    def _served(self, name: str) -> ScriptedModel:
        return ScriptedModel(model_name=name, script=lambda _: self.says[name].pop(0))

    def will(self, **says: list[AIMessage]) -> None:
        """Write down what each tier's model says next, and forget what was sent."""
        self.says = says
        self.sent.clear()

    def _note(self, request: httpx2.Request) -> None:
        self.sent.append(json.loads(request.content))

    async def _anote(self, request: httpx2.Request) -> None:
        self._note(request)

    def model(self, tier: str, api: str = "chat") -> ChatOpenAI:
        """Return a model of OpenAI's."""
        return ChatOpenAI(
            model=f"gpt-5.4-{tier}",
            base_url=self.server.url,
            api_key="offline",
            max_retries=0,
            use_responses_api=api == "responses",
            http_client=self.client,
            http_async_client=self.async_client,
        )

    def tiered(self, *names: str, api: str = "chat") -> TieredChatModel:
        """Return a model over tiers of these names."""
        return TieredChatModel([Tier(name, self.model(name, api), criteria=name) for name in names], classifier=None)


@pytest.fixture(scope="module")
def line() -> Iterator[Line]:
    made = Line()
    with made.server, made.client:
        yield made


def made_of(kind: Kind) -> Any:
    """Return the right value as it is given to who asked."""
    if kind in CLASSES:
        return kind.schema.model_validate(kind.right)
    return Old(**kind.right) if kind.schema is Old else kind.right


def last(ask: Ways, model: Any) -> Any:
    """Return the answer; of a stream the last part, since ChatOpenAI's are no parts to add up."""
    return ask.parts(model, LABEL)[-1] if "stream" in ask.name else ask(model, LABEL)


def ordered(told: Any) -> Any:
    """Return a body as it counts: the order of properties is the order in which a model writes them."""
    if isinstance(told, dict):
        parts = {name: ordered(value) for name, value in told.items()}
        return {name: list(value.items()) if name == "properties" else value for name, value in parts.items()}
    return [ordered(each) for each in told] if isinstance(told, list) else told


@of_pydantic_1
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")  # ChatOpenAI's own, over what it parsed
@each_api
@each_kind
def test_what_is_sent_for_a_schema_is_what_chat_openai_sends(ask: Ways, line: Line, kind: Kind, api: str) -> None:
    line.will(nano=[said(kind, kind.right)] * 2)
    # Of a class, ChatOpenAI streams another form by the Responses API than it invokes with, which loses parts of it.
    theirs = Ways("invoke") if api == "responses" and kind in CLASSES else ask
    expected = last(theirs, line.model("nano", api).with_structured_output(kind.schema, method="json_schema"))
    assert last(ask, line.tiered("nano", api=api).with_structured_output(kind.schema)) == expected
    plain, ours = line.sent
    if theirs is not ask:
        ours["stream"] = plain["stream"]
    assert ordered(ours) == ordered(plain)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("include_raw", [True, False])
def test_a_class_is_asked_for_strictly_whatever_is_said_as_chat_openai_does(
    line: Line, *, strict: bool, include_raw: bool
) -> None:
    kind = KINDS["nested"]
    line.will(nano=[said(kind, kind.right)] * 2)
    told: dict[str, Any] = {"method": "json_schema", "strict": strict, "include_raw": include_raw}
    for model in (line.model("nano"), line.tiered("nano")):
        model.with_structured_output(kind.schema, **told).invoke(LABEL)
    plain, ours = line.sent
    assert ours == plain
    assert ours["response_format"]["json_schema"]["strict"] is True


def test_tools_beside_a_class_are_strict_where_nothing_is_said_since_openai_s_client_takes_no_other(line: Line) -> None:
    def look(order: int) -> str:
        """Look."""
        return str(order)

    kind = KINDS["nested"]
    line.will(nano=[said(kind, kind.right)] * 2)
    line.model("nano").with_structured_output(kind.schema, tools=[look], strict=True).invoke(LABEL)
    line.tiered("nano").with_structured_output(kind.schema, tools=[look]).invoke(LABEL)
    plain, ours = line.sent
    assert ours == plain


@each_kind
@pytest.mark.parametrize("include_raw", [True, False])
def test_an_answer_that_breaks_a_schema_is_mended_and_then_escalated(
    ask: Ways, line: Line, kind: Kind, *, include_raw: bool
) -> None:
    line.will(nano=[said(kind, kind.wrong)] * 2, mini=[said(kind, kind.right)])
    structured = line.tiered("nano", "mini").with_structured_output(kind.schema, include_raw=include_raw)
    answer = ask(structured, LABEL)
    assert [body["model"] for body in line.sent] == ["gpt-5.4-nano", "gpt-5.4-nano", "gpt-5.4-mini"]
    if include_raw:
        assert answer["parsing_error"] is None
        assert outcomes(answer["raw"]) == [("nano", "rejected"), ("nano", "rejected"), ("mini", "accepted")]
        answer = answer["parsed"]
    assert answer == made_of(kind)


@each_api
@few_classes
@pytest.mark.parametrize("include_raw", [True, False])
def test_a_client_never_raises_over_an_answer_that_no_tier_mends(
    ask: Ways, line: Line, kind: Kind, api: str, *, include_raw: bool
) -> None:
    line.will(nano=[said(kind, kind.wrong), AIMessage('{"count": ')])
    structured = line.tiered("nano", api=api).with_structured_output(kind.schema, include_raw=include_raw)
    if include_raw:
        told = ask(structured, LABEL)
        assert told["parsed"] is None
        assert isinstance(told["parsing_error"], NoAnswerAcceptedError)
    else:
        with pytest.raises(NoAnswerAcceptedError, match="matches_schema"):
            ask(structured, LABEL)
    assert len(line.sent) == 2


class Chain(BaseModel):
    """A link, whose next one has words of its own, which may not stand beside a reference."""

    value: int
    next: Chain = Field(None, description="The next link.")  # type: ignore[assignment]


def test_a_reference_that_has_no_end_written_out_stays_one(line: Line) -> None:
    line.will(nano=[AIMessage('{"value": 1, "next": {"value": 2}}')])
    answer = line.tiered("nano").with_structured_output(Chain).invoke(LABEL)
    assert answer.next.value == 2
    schema = line.sent[0]["response_format"]["json_schema"]["schema"]
    link = schema["$defs"]["Chain"]
    assert link["required"] == ["value", "next"]
    assert link["properties"]["next"]["properties"]["next"] == {"$ref": "#/$defs/Chain"}
    assert link["properties"]["next"]["description"] == "The next link."


VENDORS = [
    ("langchain_anthropic", "anthropic:claude-haiku-4-5"),
    ("langchain_google_genai", "google_genai:gemini-2.5-flash-lite"),
    ("langchain_ollama", "ollama:llama3.2"),
]


@each_class
@pytest.mark.parametrize(("package", "spec"), VENDORS)
def test_other_vendors_models_are_asked_as_they_ask_by_themselves(package: str, spec: str, kind: Kind) -> None:
    pytest.importorskip(package)
    key: dict[str, Any] = {} if package == "langchain_ollama" else {"api_key": "test"}
    model: Any = init_chat_model(spec, **key)
    ready = Structured(kind.schema, "json_schema", {}).ready(Tier("nano", model, criteria=""), model)
    plain = dict(model.with_structured_output(kind.schema, method="json_schema").first.kwargs)
    del plain["ls_structured_output_format"]
    assert ready.model is model
    assert ready.options == plain


@each_class
def test_who_writes_langchain_s_form_of_a_schema_gets_the_whole_of_it(line: Line, kind: Kind) -> None:
    pytest.importorskip("langchain_mistralai")
    model: Any = init_chat_model("mistralai:mistral-small-latest", api_key="test")
    ready = Structured(kind.schema, "json_schema", {}).ready(Tier("nano", model, criteria=""), model)
    told = ready.options["response_format"]["json_schema"]
    line.will(nano=[said(kind, kind.right)])
    line.model("nano").with_structured_output(kind.schema).invoke(LABEL)
    assert told["schema"] == line.sent[0]["response_format"]["json_schema"]["schema"]
    assert (told["name"], told["strict"]) == (kind.schema.__name__, True)


class Loose(StreamingModel):
    """Has OpenAI's form, and is not strict."""

    def with_structured_output(self, schema: Any, **_: Any) -> Any:
        form = {"type": "json_schema", "json_schema": {"name": "Any", "schema": {}}}
        return self.bind(response_format=form) | RunnableLambda(lambda given: given)


def test_who_is_not_strict_gets_the_schema_as_pydantic_writes_it() -> None:
    model = Loose(model_name="loose", script=say("{}"))
    ready = Structured(Recursive, "json_schema", {}).ready(Tier("nano", model, criteria=""), model)
    assert ready.options["response_format"]["json_schema"] == {"name": "Any", "schema": Recursive.model_json_schema()}


class Hidden(StreamingModel):
    """Asks with something that is no binding of it, by which a client might judge the answer."""

    def with_structured_output(self, schema: Any, **_: Any) -> Any:
        GIVEN.append(schema)
        return RunnableLambda(self._answer) | RunnableLambda(lambda given: given)


GIVEN: list[Any] = []


def test_what_asks_out_of_reach_is_given_no_class(ask: Ways) -> None:
    GIVEN.clear()
    model = tiered(Hidden, nano=say('{"count": "many"}'), mini=say('{"count": 7, "note": "x"}'))
    assert ask(model.with_structured_output(Flat), LABEL) == Flat(count=7, note="x")
    assert isinstance(GIVEN[-1], dict)
    assert GIVEN[-1]["properties"].keys() == {"count", "note"}


def trees() -> tuple[type[BaseModel], type[BaseModel]]:
    """Return two classes that LangChain's form of a schema does not tell apart."""

    class Tree(BaseModel):
        kids: list[Tree]

    strict = Tree

    class Tree(BaseModel):  # type: ignore[no-redef]
        kids: list[Any]

    strict.model_rebuild(_types_namespace={"Tree": strict})
    return strict, Tree


def test_a_cache_tells_classes_apart_by_all_that_they_say() -> None:
    strict, loose = trees()
    called = AIMessage("", tool_calls=[tool_call(name="Tree", args={"kids": [7]}, id="c1")])
    calling: dict[str, Any] = dict.fromkeys(NAMES, lambda _: called)
    model = tiered(model={"cache": InMemoryCache()}, **calling)
    assert model.with_structured_output(loose).invoke(LABEL).model_dump() == {"kids": [7]}
    with pytest.raises(NoAnswerAcceptedError):
        model.with_structured_output(strict).invoke(LABEL)
