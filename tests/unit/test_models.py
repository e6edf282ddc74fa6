"""The tiers' models: built late and once, overridden by the run's context, and read for what they can take."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from fakes import model, say

from langchain_tiered import models as models_module
from langchain_tiered.errors import ModelNotBuiltError
from langchain_tiered.models import CRITERIA, RELIABLE_TOKENS, Models, Placeholder, default_tiers, field_of, setting
from langchain_tiered.types import Tier, TierFacts

if TYPE_CHECKING:
    from collections.abc import Callable

    from langchain_core.language_models import BaseChatModel

NANO = "openai:gpt-5.4-nano"
OWN, OTHER, SPARE = (model(name, say("Yes.")) for name in ("own", "other", "spare"))


def tier(spec: Any = NANO, name: str = "nano", **more: Any) -> Tier:
    return Tier(name, spec, criteria="Simple work.", **more)


@pytest.fixture
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-no-key-at-all")


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand in for building a model; return the list of what was built."""
    specs: list[str] = []

    def initialised(spec: str, _: str) -> BaseChatModel:
        time.sleep(0.02)  # long enough for every other thread to ask meanwhile
        specs.append(spec)
        return model(spec, say("Yes."))

    monkeypatch.setattr(models_module, "_initialised", initialised)
    return specs


async def both_ways(models: Models, *given: Any) -> BaseChatModel:
    """Ask sync and async; they must say the same."""
    said = models.of(*given)
    assert await models.aof(*given) is said
    return said


# --- Built late, and once ---


def test_nothing_is_built_until_a_model_is_asked_for(built: list[str]) -> None:
    models, nano = Models(), tier()
    assert built == []
    assert models.of(nano) is models.of(nano)
    assert built == [NANO]


def test_a_model_is_built_once_under_many_threads(built: list[str]) -> None:
    models, start, said = Models(), threading.Barrier(8), []

    def ask() -> None:
        start.wait()
        said.append(models.of(tier()))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert built == [NANO]
    assert len(said) == 8
    assert len({id(one) for one in said}) == 1


def test_two_agents_do_not_share_their_models(built: list[str]) -> None:
    assert Models().of(tier()) is not Models().of(tier())
    assert built == [NANO, NANO]


async def test_a_model_is_built_off_the_event_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []

    def initialised(spec: str, _: str) -> BaseChatModel:
        threads.append(threading.current_thread())
        return model(spec, say("Yes."))

    monkeypatch.setattr(models_module, "_initialised", initialised)
    models = Models()
    facts = await models.afacts([tier()])
    assert facts == models.facts([tier()])
    assert await models.aof(tier()) is models.of(tier())
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


# --- What cannot be built ---

PROVIDER_MEND = "Write it as 'provider:model', such as 'openai:gpt-5.4-nano'."


@pytest.mark.usefixtures("no_key")
@pytest.mark.parametrize(
    ("spec", "mend"),
    [
        pytest.param(NANO, "Set OPENAI_API_KEY, or pass tiers whose models you have", id="no key"),
        pytest.param(
            "gpt-5.4-nano",
            "Set OPENAI_API_KEY,",
            id="no key, provider inferred",
        ),
        pytest.param("groq:llama-4-scout", "Install the provider's package.", id="no package"),
        pytest.param("gibberish", PROVIDER_MEND, id="gibberish"),
        pytest.param("nosuch:model", "Name a provider that LangChain knows", id="no such provider"),
        pytest.param(5, PROVIDER_MEND, id="no string"),
    ],
)
async def test_a_model_that_cannot_be_built_is_an_error_with_tier_model_and_mend(spec: Any, mend: str) -> None:
    models = Models()
    with pytest.raises(ModelNotBuiltError) as told:
        models.of(tier(spec))
    with pytest.raises(ModelNotBuiltError) as told_async:
        await models.aof(tier(spec))
    assert str(told.value) == str(told_async.value)
    assert str(told.value).startswith(f"Tier 'nano' needs the model {spec!r}, which could not be built: ")
    assert mend in str(told.value)
    assert (told.value.tier, told.value.model) == ("Tier 'nano'", spec)
    assert told.value.__cause__ is not None


@pytest.mark.usefixtures("no_key")
def test_the_message_ends_each_sentence_once() -> None:
    with pytest.raises(ModelNotBuiltError, match=r"[^.]\. Install the provider's package\.$"):
        Models().of(tier("groq:llama-4-scout"))


@pytest.mark.usefixtures("no_key")
def test_a_model_can_be_built_once_its_key_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    models = Models()
    with pytest.raises(ModelNotBuiltError):
        models.of(tier())
    assert models.facts([tier()]) == (TierFacts("nano", provider="openai"),)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-no-key-at-all")
    assert models.of(tier()) is models.of(tier())
    assert models.facts([tier()])[0].images is True


async def test_a_placeholder_is_never_called_in_earnest() -> None:
    assert Placeholder().bind_tools([]) is not None
    with pytest.raises(NotImplementedError, match="was not put in the placeholder's place"):
        Placeholder().invoke("Hi.")


# --- Which model a run calls ---


@dataclass
class Context:
    nano_model: Any = None


KINDS = [Context, dict, SimpleNamespace]


@pytest.mark.parametrize("kind", KINDS)
async def test_the_runs_context_comes_first(kind: Callable[..., Any]) -> None:
    assert await both_ways(Models(), tier(OWN), kind(nano_model=OTHER)) is OTHER


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("empty", ["", None])
async def test_an_empty_override_means_none(kind: Callable[..., Any], empty: str | None) -> None:
    assert await both_ways(Models(), tier(OWN), kind(nano_model=empty)) is OWN


@pytest.mark.parametrize("context", [None, {}, {"mini_model": OTHER}, Context(), SimpleNamespace(), "text"], ids=repr)
async def test_a_context_that_says_nothing_of_the_tier_changes_nothing(context: object) -> None:
    assert await both_ways(Models(), tier(OWN), context) is OWN


async def test_a_read_only_mapping_is_a_context_too() -> None:
    assert await both_ways(Models(), tier(OWN), MappingProxyType({"nano_model": OTHER})) is OTHER


async def test_an_override_by_string_is_built(built: list[str]) -> None:
    await both_ways(Models(), tier(OWN), {"nano_model": "anthropic:claude-haiku-4-5"})
    assert built == ["anthropic:claude-haiku-4-5"]


async def test_fallbacks_stand_in_by_number_and_are_not_overridden(built: list[str]) -> None:
    nano = tier(OWN, fallbacks=[SPARE, "openai:gpt-5.4"])
    context = {"nano_model": OTHER}
    assert await both_ways(Models(), nano, context, 0) is OTHER
    assert await both_ways(Models(), nano, context, 1) is SPARE
    assert (await both_ways(Models(), nano, context, 2)) is not OTHER
    assert built == ["openai:gpt-5.4"]


@pytest.mark.parametrize(
    ("name", "model_field"),
    [("nano", "nano_model"), ("gpt-mini", "gpt_mini_model"), ("gpt 5.4", "gpt_5_4_model"), ("größe", "größe_model")],
)
def test_a_tiers_context_field_is_an_identifier(name: str, model_field: str) -> None:
    assert field_of(name, "model") == model_field
    assert field_of(name, "model").isidentifier()
    assert setting({model_field: OTHER}, field_of(name, "model")) is OTHER


def test_a_tier_that_begins_with_a_digit_has_a_context_field_too() -> None:
    assert field_of("4o", "model").isidentifier()


# --- What is known of a tier ---

PROFILE = {
    "max_input_tokens": 400_000,
    "image_inputs": True,
    "audio_inputs": False,
    "pdf_inputs": True,
    "tool_calling": True,
}


@pytest.mark.parametrize(
    ("profile", "limit", "window"),
    [
        (PROFILE, None, 400_000),
        (PROFILE, 128_000, 128_000),
        (PROFILE, 1_000_000, 400_000),
        ({}, 128_000, 128_000),
        ({}, None, None),
        (None, 128_000, 128_000),
    ],
)
async def test_the_window_is_the_lesser_of_the_models_and_the_tiers(
    profile: Any, limit: int | None, window: int | None
) -> None:
    given = [tier(model("nano", say("Yes."), profile=profile), max_input_tokens=limit)]
    (facts,) = Models().facts(given)
    assert facts.max_input_tokens == window
    assert (await Models().afacts(given)) == (facts,)


def test_what_a_model_can_take_is_read_off_its_profile_and_unknown_is_none() -> None:
    nano = tier(model("nano", say("Yes."), profile=PROFILE), fallbacks=[SPARE])
    can: Any = {"images": True, "audio": False, "files": True, "tools": True}
    seeing = TierFacts("nano", 400_000, **can, provider="openai", fallbacks=1)
    unknown = tier(model("mini", say("Yes.")), name="mini")
    assert Models().facts([nano, unknown]) == (seeing, TierFacts("mini", provider="openai"))


def test_facts_are_those_of_the_model_that_the_context_names() -> None:
    (facts,) = Models().facts([tier(OWN)], {"nano_model": model("seeing", say("Yes."), profile=PROFILE)})
    assert facts.images is True


@pytest.mark.usefixtures("key")
async def test_the_default_tiers_are_what_their_profiles_and_the_published_scores_say() -> None:
    tiers, models = default_tiers(), Models()
    facts = models.facts(tiers)
    assert [(one.name, one.max_input_tokens, one.images, one.tools) for one in facts] == [
        ("nano", 128_000, True, True),
        ("mini", 128_000, True, True),
        ("flagship", 1_050_000, True, True),
    ]
    assert await models.afacts(tiers) == await Models().afacts(tiers) == facts
    assert [one.criteria for one in tiers] == list(CRITERIA.values())
    assert tiers[0].max_input_tokens == tiers[1].max_input_tokens == RELIABLE_TOKENS


@pytest.mark.usefixtures("no_key")
def test_the_default_tiers_need_no_key_before_a_request() -> None:
    assert [one.model for one in default_tiers()] == ["openai:gpt-5.4-nano", "openai:gpt-5.4-mini", "openai:gpt-5.4"]
