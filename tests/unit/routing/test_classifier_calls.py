"""What a classification costs: one short call that does not reason, one more where it cannot be read, none if kept."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from fakes import ScriptedModel, call_then, model, say, tiers
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage
from langchain_openai import ChatOpenAI
from pydantic import Field

from langchain_tiered import Policy, Tier, TieredChatModel, TierRouter, collect_ledger
from langchain_tiered.errors import ConfigurationError, InvalidTierError, NoAnswerAcceptedError
from langchain_tiered.models import brief
from langchain_tiered.offline.server import OfflineServer
from langchain_tiered.routing import create_classifier, facts_of, messages_of
from langchain_tiered.routing.prompts import request_prompt
from langchain_tiered.testing import ScriptedChatModel
from langchain_tiered.types import Classification, Facts, Route

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_core.messages import BaseMessage

TIERS = tiers(nano=say("a"), mini=say("b"), flagship=say("c"))
GOOD = {"reason": "Code is asked for.", "task": "code", "tier": "mini", "confidence": 0.8}
BAD = {**GOOD, "tier": "micro"}
PIXEL = "data:image/png;base64,iVBORw0KGgo="
IMAGE_URL = {"type": "image_url", "image_url": {"url": PIXEL}}
IMAGE = {"type": "image", "base64": "iVBORw0KGgo=", "mime_type": "image/png"}


class Blind(ScriptedModel):
    """A model that takes no images."""

    profile: Any = Field(default_factory=lambda: {"image_inputs": False})


def saying(*answers: dict[str, Any], kind: type[ScriptedModel] = ScriptedModel) -> ScriptedModel:
    script = iter(answers)

    def reply(messages: Sequence[BaseMessage]) -> AIMessage:
        return call_then("Classification", next(script), say(""))(messages)

    return model("nano", reply, kind)


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Callable[..., Classification]:
    """Ask a classifier, in both ways."""

    def asked(classifier: Any, *args: Any, **more: Any) -> Classification:
        if request.param == "sync":
            said: Classification = classifier.classify(*args, **more)
            return said
        told: Classification = asyncio.run(classifier.aclassify(*args, **more))
        return told

    return asked


def facts(*content: Any) -> Facts:
    return facts_of([HumanMessage(list(content))])


# Asked once, and once more.


def test_answer_that_cannot_be_read_is_asked_for_once_more_and_both_calls_are_booked(ask: Any) -> None:
    asked = saying(BAD, GOOD)
    with collect_ledger() as ledger:
        assert ask(create_classifier(asked, TIERS), Facts(text="Hi"))["tier"] == "mini"
    assert len(asked.asked) == len(ledger) == 2
    assert asked.asked[0] == asked.asked[1]


def test_it_is_not_asked_a_third_time(ask: Any) -> None:
    asked = saying(BAD, BAD, GOOD)
    assert ask(create_classifier(asked, TIERS), Facts(text="Hi"))["tier"] is None
    assert len(asked.asked) == 2


# Kept.


def test_request_that_reads_the_same_is_classified_once_and_booked_as_free_after_that(ask: Any) -> None:
    asked = saying(GOOD)
    classifier = create_classifier(asked, TIERS, cache_size=2)
    with collect_ledger() as ledger:
        said = [ask(classifier, Facts(text="Hi"), run_id=f"run-{number}") for number in range(3)]
    assert said == [{**GOOD, "decided_by": "classifier"}] * 3
    assert len(asked.asked) == 1
    assert [(entry["role"], entry["run_id"]) for entry in ledger] == [("classify", f"run-{n}") for n in range(3)]
    kept = ledger.entries[1:]
    assert {(entry["cost_usd"], entry["input_tokens"], entry["output_tokens"]) for entry in kept} == {(0.0, 0, 0)}


def test_nothing_is_kept_unless_it_is_asked_for(ask: Any) -> None:
    asked = saying(GOOD, GOOD)
    classifier = create_classifier(asked, TIERS)
    assert [ask(classifier, Facts(text="Hi"))["tier"] for _ in range(2)] == ["mini"] * 2
    assert len(asked.asked) == 2


def test_request_of_another_context_or_with_another_picture_is_another_request(ask: Any) -> None:
    asked = saying(*[GOOD] * 5)
    classifier = create_classifier(asked, TIERS, cache_size=9)
    for each in (
        Facts(text="Hi"),
        Facts(text="Hi", tools=("refund",)),
        facts("Hi", IMAGE),
        facts("Hi", {**IMAGE, "base64": "AAAA"}),
        Facts(text="Hi", turns=2),
    ):
        ask(classifier, each)
    assert len(asked.asked) == 5


def test_the_least_recently_used_goes_first(ask: Any) -> None:
    asked = saying(*[GOOD] * 9)
    classifier = create_classifier(asked, TIERS, cache_size=2)
    for text in ("a", "b", "a", "c", "a", "b"):  # c takes the place of b, and then b that of c
        ask(classifier, Facts(text=text))
    assert [json.loads(messages[1].text[10:-11])["text"] for messages in asked.asked] == ["a", "b", "c", "b"]


def test_failure_is_not_kept(ask: Any) -> None:
    asked = saying(BAD, BAD, GOOD)
    classifier = create_classifier(asked, TIERS, cache_size=2)
    assert [ask(classifier, Facts(text="Hi"))["tier"] for _ in range(2)] == [None, "mini"]


def test_what_is_kept_cannot_be_changed_from_outside(ask: Any) -> None:
    classifier = create_classifier(saying(GOOD), TIERS, cache_size=2)
    for _ in range(3):
        said = ask(classifier, Facts(text="Hi"))
        assert said["tier"] == "mini"
        said["tier"] = "flagship"


@pytest.mark.parametrize("wrong", [-1, 1.5, True, "many", None])
def test_size_that_is_none_is_named(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="cache_size"):
        create_classifier(saying(GOOD), TIERS, cache_size=wrong)


def test_router_takes_a_classifier_as_it_is() -> None:
    classifier = create_classifier(saying(GOOD), TIERS, cache_size=2)
    router = TierRouter(TIERS, classifier=classifier)
    assert router.classifier is classifier
    assert [router.invoke("Why does it wait?")["tier"] for _ in range(2)] == ["mini", "mini"]


# What it sees.


@pytest.mark.parametrize("image", [IMAGE, IMAGE_URL], ids=["standard", "openai"])
def test_pictures_of_the_turn_are_shown_small_and_are_no_part_of_the_text(ask: Any, image: dict[str, Any]) -> None:
    asked = saying(GOOD)
    ask(create_classifier(asked, TIERS), facts("What is this?", image))
    content: Any = asked.asked[0][1].content
    text, shown = content
    assert "What is this?" in text["text"]
    assert "iVBOR" not in text["text"]
    assert {name: value for name, value in shown.items() if name != "image_url"} == {
        name: value for name, value in image.items() if name != "image_url"
    }
    assert shown.get("image_url", {"detail": "low"})["detail"] == "low"
    assert "detail" not in IMAGE_URL["image_url"]


def test_no_more_than_four_pictures_are_shown(ask: Any) -> None:
    asked = saying(GOOD)
    ask(create_classifier(asked, TIERS), facts("Which one?", *[IMAGE] * 9))
    assert len(asked.asked[0][1].content) == 1 + 4


def test_model_that_takes_no_images_is_told_their_number_alone(ask: Any) -> None:
    asked = saying(GOOD, kind=Blind)
    ask(create_classifier(asked, TIERS), facts("What is this?", IMAGE))
    assert isinstance(asked.asked[0][1].content, str)
    assert '"images": 1' in asked.asked[0][1].content


def test_earlier_pictures_are_not_shown_again(ask: Any) -> None:
    asked = saying(GOOD)
    said = [HumanMessage(["What is this?", IMAGE]), AIMessage("A cat."), HumanMessage("And its name?")]
    ask(create_classifier(asked, TIERS), facts_of(said))
    assert isinstance(asked.asked[0][1].content, str)


def test_facts_do_not_show_a_picture() -> None:
    given = facts("What is this?", IMAGE)
    assert given.pictures == (IMAGE,)
    assert "iVBOR" not in repr(given)
    assert given == facts("What is this?", {**IMAGE, "base64": "AAAA"})
    assert hash(given)


def test_previous_route_and_tools_under_way_are_told() -> None:
    route = Route(tier="mini", task="code", confidence=None, reason="", decided_by="rules", escalated_from=None)
    told = json.loads(request_prompt(Facts(text="And now?", previous=route, in_turn=True))[10:-11])
    assert told == {
        "text": "And now?",
        "turn": 1,
        "previous_tier": "mini",
        "previous_task": "code",
        "tools_under_way": True,
    }


# On the wire.


class Overhearing(BaseCallbackHandler):
    """Keeps what a call is made with."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []

    def on_chat_model_start(self, *_: Any, **more: Any) -> None:
        self.heard.append(more["invocation_params"])


@pytest.mark.parametrize(
    ("settings", "effort", "most"),
    [({}, "none", 256), ({"reasoning_effort": "low"}, "low", None), ({"max_tokens": 900}, "none", 900)],
)
def test_one_short_call_that_does_not_reason(settings: dict[str, Any], effort: str, most: int | None) -> None:
    heard, scripted = Overhearing(), ScriptedChatModel(script=[json.dumps(GOOD)], model_name="gpt-5.4-nano")
    with OfflineServer(models={"gpt-5.4-nano": scripted}) as server:
        asked = ChatOpenAI(model="gpt-5.4-nano", base_url=server.url, api_key="x", max_retries=0, **settings)
        router = TierRouter([Tier(name, asked, criteria=name) for name in ("nano", "mini")])
        assert router.invoke("Why does it wait?", {"callbacks": [heard]})["tier"] == "mini"
    (request,) = heard.heard
    assert request["reasoning_effort"] == effort
    assert request.get("max_completion_tokens") == most
    assert asked.max_tokens == settings.get("max_tokens")


@pytest.mark.parametrize(("name", "limited"), [("gpt-4o-mini", True), ("o4-mini", False)])
def test_model_that_reasons_all_the_same_keeps_room_for_it(name: str, *, limited: bool) -> None:
    told = brief(ChatOpenAI(model=name, api_key="x"), 256)
    assert (told.max_tokens == 256) == limited  # type: ignore[attr-defined]
    assert told.reasoning_effort is None  # type: ignore[attr-defined]


def test_model_without_such_settings_is_left_as_it_is() -> None:
    plain = saying(GOOD)
    assert brief(plain, 256).model_dump() == plain.model_dump()


def test_rules_that_are_sure_ask_nobody() -> None:
    asked = saying()
    router = TierRouter(TIERS, classifier=asked, policy=Policy())
    assert router.invoke(messages_of("ok thanks"))["decided_by"] == "rules"
    assert asked.asked == []


@pytest.mark.parametrize(
    ("criteria", "told"), [(("", "b"), "'nano'.*is empty"), (("Same. ", "same."), "the same criteria")]
)
def test_model_is_not_asked_to_choose_between_tiers_that_it_is_told_nothing_of(
    criteria: tuple[str, str], told: str
) -> None:
    asked = [Tier(name, saying(), criteria=each) for name, each in zip(("nano", "mini"), criteria, strict=True)]
    with pytest.raises(InvalidTierError, match=told):
        TierRouter(asked, classifier=saying(GOOD))
    TierRouter(asked, classifier=None)
    TierRouter(asked, classifier=lambda _: "mini")


@pytest.mark.parametrize("confidence", ["high", "0.9", 7, -1, float("nan"), True, [0.5]])
def test_confidence_that_is_no_share_is_unknown(ask: Any, confidence: Any) -> None:
    said: Any = {"tier": "mini", "confidence": confidence}
    assert ask(create_classifier(lambda _: said, TIERS), Facts(text="Hi"))["confidence"] is None
    route = TierRouter(TIERS, classifier=lambda _: said).invoke("Why does it wait?")
    assert (route["tier"], route["confidence"]) == ("mini", None)


class Own:
    """Somebody's own classifier."""

    def __init__(self, said: Any) -> None:
        self.said = said

    def classify(self, *_: Any, **__: Any) -> Any:
        if isinstance(self.said, Exception):
            raise self.said
        return self.said

    async def aclassify(self, *_: Any, **__: Any) -> Any:
        return self.classify()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"tier": "huge"}, "'huge', which is no tier"),
        ({}, "None, which is no tier"),
        (None, "None, which is no tier"),
        (TimeoutError("Too slow."), "TimeoutError"),
        (NoAnswerAcceptedError((), "None."), "NoAnswerAcceptedError"),
    ],
)
def test_request_is_not_lost_to_somebodys_own_classifier(ask: Any, said: Any, told: str) -> None:
    assert told in ask(create_classifier(Own(said), TIERS), Facts(text="Hi"))["reason"]
    route = TierRouter(TIERS, classifier=Own(said)).invoke("Why does it wait?")
    assert route["tier"] == "flagship"
    assert f"The classifier failed: {told}" in route["reason"] or told in route["reason"]


def test_classifier_that_was_made_for_other_tiers_loses_no_request() -> None:
    other = create_classifier(lambda _: "small", [Tier("small", saying(), criteria="s")])
    assert TierRouter(TIERS, classifier=other).invoke("Why does it wait?")["tier"] == "flagship"


def test_model_of_several_tiers_can_classify_and_be_the_cheapest_tier() -> None:
    nested = TieredChatModel([Tier("only", saying(GOOD, GOOD), criteria="all")], classifier=None)
    assert TierRouter(TIERS, classifier=nested).invoke("Why does it wait?")["tier"] == "mini"
    nested = TieredChatModel([Tier("only", saying(GOOD, GOOD), criteria="all")], classifier=None)
    tiers_ = [Tier("low", nested, criteria="a"), *TIERS[1:]]
    assert TierRouter(tiers_).invoke("Why does it wait?")["reason"] == GOOD["reason"]
