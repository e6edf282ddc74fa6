"""What LangChain's own machinery does with a chat model, it does with the tiered one."""

from __future__ import annotations

import copy
import json
import pickle
from importlib import import_module
from typing import Any

import pytest
from fakes import LABEL, PROOF, ScriptedModel, StreamingModel, fail, in_turn, say
from langchain_core.caches import InMemoryCache
from langchain_core.load import dumpd, dumps
from langchain_core.messages import HumanMessage
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.runnables import ConfigurableField
from langchain_core.tracers import BaseTracer
from unit.chat_model.fakes_chat_model import NAMES, Ways, calls, tiered, tiers

from langchain_tiered import Policy, Tier, TieredChatModel, collect_ledger, default_tiers
from langchain_tiered.cascade.checks import not_empty
from langchain_tiered.errors import ConfigurationError
from langchain_tiered.types import Rates

load: Any = import_module("langchain_core.load.load").load


def refund(order: int) -> str:
    """Refund an order."""
    return f"Order {order} refunded."


def test_it_is_made_and_told_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    model = TieredChatModel()
    assert model.tiers == default_tiers()
    assert model.bind_tools([refund]) is not None
    assert "nano" in str(model.asdict())


@pytest.mark.filterwarnings("ignore:The function `load` is in beta")
def test_it_is_written_down_without_its_secrets_and_read_again() -> None:
    rates = Rates(1.0, 2.0)
    model = TieredChatModel(
        [Tier("one", "openai:gpt-5.4", criteria="all", rates=rates, fallbacks=["openai:gpt-5.4-mini"])],
        policy=Policy("cascade", max_escalations=1),
        temperature=0.5,
        api_key="sk-secret-secret",
    )
    told = dumpd(model)
    assert "sk-secret" not in json.dumps(told) + repr(model) + dumps(model) + str(model.asdict())
    again = load(
        told,
        allowed_objects=[TieredChatModel],
        valid_namespaces=["langchain_tiered"],
        secrets_map={"OPENAI_API_KEY": "sk-other"},
    )
    assert (again.tiers, again.policy, again.temperature) == (model.tiers, model.policy, 0.5)
    assert again.api_key.get_secret_value() == "sk-other"


def test_it_can_be_pickled_with_what_is_bound() -> None:
    model = TieredChatModel(temperature=0)
    assert pickle.loads(pickle.dumps(model)).tiers == model.tiers  # noqa: S301  (our own)
    bound: Any = pickle.loads(pickle.dumps(model.bind_tools([{"type": "web_search"}])))  # noqa: S301  (the same)
    assert bound.kwargs["tools"] == [{"type": "web_search"}]


def test_settings_reach_the_models_that_are_built_and_secrets_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    model = TieredChatModel(timeout=2.5, max_tokens=77, api_key="sk-mine-mine")
    built: Any = model._parts.router.models.of(model.tiers[0])
    assert (built.request_timeout, built.max_tokens) == (2.5, 77)
    assert built.openai_api_key.get_secret_value() == "sk-mine-mine"


def test_the_profile_is_what_the_tiers_can_take_together() -> None:
    profiles: list[Any] = [
        {"max_input_tokens": 1000, "image_inputs": False, "structured_output": True, "max_output_tokens": 10},
        {"max_input_tokens": 9000, "image_inputs": True, "structured_output": False, "tool_calling": True},
    ]
    models = [ScriptedModel(model_name=f"m{at}", script=say(""), profile=each) for at, each in enumerate(profiles)]
    model = TieredChatModel([Tier(each.model_name, each, criteria="") for each in models])
    assert model.profile == {
        "max_input_tokens": 9000,
        "image_inputs": True,
        "structured_output": False,
        "max_output_tokens": 10,
        "tool_calling": True,
    }
    assert TieredChatModel(model.tiers, profile={"max_input_tokens": 5}).profile == {"max_input_tokens": 5}


def test_tokens_are_estimated_without_a_model() -> None:
    model = TieredChatModel()
    assert model.get_num_tokens("four") == 1
    plain = model.get_num_tokens_from_messages([HumanMessage("hello")])
    assert plain > 0
    assert model.get_num_tokens_from_messages([HumanMessage("hello")], [refund]) > plain


def test_a_cache_answers_the_second_time_and_nothing_is_paid_for_it() -> None:
    model = tiered(ScriptedModel, model={"cache": InMemoryCache()})
    first = model.invoke(LABEL)
    with collect_ledger() as ledger:
        second = model.invoke(LABEL)
    assert second.text == first.text
    assert calls(model)["nano"] == 1
    assert second.response_metadata["ledger"] == []
    assert second.response_metadata["route"] == first.response_metadata["route"]
    assert [entry["cost_usd"] for entry in ledger] == [0.0]
    assert first.response_metadata["ledger"]


def test_a_cache_of_a_tier_s_model_is_asked_for_its_calls() -> None:
    nano = ScriptedModel(model_name="gpt-5.4-nano", script=say("cached"), cache=InMemoryCache())
    model = TieredChatModel([Tier("nano", nano, criteria="")], classifier=None)
    first, second = model.invoke(LABEL), model.invoke(LABEL)
    assert nano.calls == 1
    assert [m.response_metadata["ledger"][0]["cost_usd"] for m in (first, second)] == [0.000325, 0.0]


def test_tools_and_schemas_are_part_of_what_a_cache_is_asked_by() -> None:
    model = tiered(ScriptedModel, model={"cache": InMemoryCache()})
    for each in (model, model.bind_tools([refund]), model.bind_tools([refund])):
        each.invoke(PROOF)
    assert calls(model)["flagship"] == 2


def only(name: str) -> Any:
    """Make a check or classifier: a new function, which looks like any other."""
    return lambda given: name in given.answer.text if hasattr(given, "answer") else name


@pytest.mark.parametrize("field", ["checks", "classifier"])
def test_functions_are_part_of_what_a_cache_is_asked_by(field: str) -> None:
    cache, question = (
        InMemoryCache(),
        LABEL if field == "checks" else "Why does this deadlock when my two workers wait?",
    )

    def answered(name: str) -> str:
        value = [only(name)] if field == "checks" else only(name)
        return str(tiered(ScriptedModel, model={field: value, "cache": cache}).invoke(question).text)

    assert [answered(name) for name in NAMES] == [f"{name} says it" for name in NAMES]


def test_a_cache_is_asked_without_places_in_memory() -> None:
    def check(_: Any) -> bool:
        return True

    first, second = (tiered(model={"checks": [check]}) for _ in range(2))
    assert first._get_llm_string() == first.model_copy()._get_llm_string() != second._get_llm_string()
    plain = TieredChatModel(checks=None)._get_llm_string()
    assert plain == TieredChatModel()._get_llm_string()
    others: list[dict[str, Any]] = [{"policy": Policy(pin="mini")}, {"checks": ()}, {"classifier": None}]
    for fields in others:
        assert plain != TieredChatModel(**fields)._get_llm_string()
        assert TieredChatModel(**fields)._get_llm_string() == TieredChatModel(**fields)._get_llm_string()
    declared = TieredChatModel(checks=[not_empty])
    assert declared._get_llm_string() != TieredChatModel(checks=[not_empty])._get_llm_string()


def test_a_rate_limiter_is_asked_once_for_each_call(ask: Ways) -> None:
    class Counting(InMemoryRateLimiter):
        taken = 0

        def acquire(self, *, blocking: bool = True) -> bool:
            Counting.taken += 1
            return True

        async def aacquire(self, *, blocking: bool = True) -> bool:
            return self.acquire()

    ask(tiered(model={"rate_limiter": Counting()}, nano=say("", "length")), LABEL)
    assert Counting.taken == 1


def test_a_rate_limiter_of_a_tier_s_model_is_asked_too(ask: Ways) -> None:
    taken: list[int] = []

    class Counting(InMemoryRateLimiter):
        def acquire(self, *, blocking: bool = True) -> bool:
            taken.append(1)
            return True

        async def aacquire(self, *, blocking: bool = True) -> bool:
            return self.acquire()

    nano = StreamingModel(model_name="gpt-5.4-nano", script=say("x"), rate_limiter=Counting())
    ask(TieredChatModel([Tier("nano", nano, criteria="")], classifier=None), LABEL)
    assert taken == [1]


def test_a_field_is_configured_at_run_time() -> None:
    model: Any = tiered().configurable_fields(policy=ConfigurableField(id="policy"))
    pinned = {"configurable": {"policy": Policy(pin="mini")}}
    assert model.invoke(LABEL).text == "nano says it"
    assert model.invoke(LABEL, pinned).text == "mini says it"


def test_an_alternative_is_chosen_at_run_time() -> None:
    other = ScriptedModel(model_name="other", script=say("other"))
    model = tiered().configurable_alternatives(ConfigurableField(id="which"), default_key="tiers", other=other)
    assert model.with_config(configurable={"which": "other"}).invoke(LABEL).text == "other"


def test_another_try_and_another_model_are_langchain_s() -> None:
    down = fail(ConnectionError("down"))
    twice = tiered(StreamingModel, nano=down, mini=down, flagship=in_turn(down, say("up")))
    assert twice.with_retry(stop_after_attempt=3, wait_exponential_jitter=False).invoke(LABEL).text == "up"
    never = tiered(StreamingModel, **dict.fromkeys(NAMES, down))
    spare = ScriptedModel(model_name="spare", script=say("spare"))
    assert never.with_fallbacks([spare]).invoke(LABEL).text == "spare"


def test_a_copy_with_other_fields_follows_them_and_shares_what_was_built() -> None:
    model = tiered()
    copy = model.model_copy(update={"policy": Policy(pin="mini")})
    assert copy.invoke(LABEL).text == "mini says it"
    assert model.invoke(LABEL).text == "nano says it"
    tagged = model.model_copy(update={"tags": ["x"]})
    assert tagged._parts is model._parts


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: model.model_copy(deep=True)], ids=["copy", "model"])
def test_a_deep_copy_can_be_made_at_any_time_and_shares_nothing(copied: Any) -> None:
    model = tiered()
    model.invoke(LABEL)
    other = copied(model)
    assert other.invoke(LABEL).text == "nano says it"
    assert calls(model)["nano"] == calls(other)["nano"] - 1 == 1
    assert other._parts is not model._parts


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"chekcs": (), "budget": 3}, r"'chekcs' \(did you mean 'checks'\?\), 'budget'\. Fields: api_key, .*tiers"),
        ({"openai_api_key": "sk-x", "model": "gpt-5"}, r"'openai_api_key' \(did you mean 'api_key'\?\), 'model'"),
    ],
)
def test_a_field_that_there_is_not_is_named_with_the_nearest(given: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=f"TieredChatModel has no field {told}") as raised:
        TieredChatModel(**given)
    assert "sk-x" not in str(raised.value)


def test_all_fields_of_a_chat_model_are_taken() -> None:
    fields = dict.fromkeys(("cache", "callbacks", "tags", "metadata", "rate_limiter", "custom_get_token_ids"))
    given: Any = {**fields, "name": "x", "verbose": False, "disable_streaming": True, "output_version": "v1"}
    assert TieredChatModel(**given, profile={"max_input_tokens": 5}).name == "x"


def test_a_tier_s_settings_are_not_shared_by_two_models() -> None:
    assert TieredChatModel(tiers(), classifier=None)._parts is not TieredChatModel(tiers(), classifier=None)._parts


def test_a_tracer_sees_one_run_that_tells_its_tier_its_route_and_its_cost(ask: Ways) -> None:
    class Kept(BaseTracer):
        def _persist_run(self, run: Any) -> None:
            runs.append(run)

    runs: list[Any] = []
    ask(tiered(nano=say("", "length")), LABEL, {"callbacks": [Kept()]})
    assert [run.run_type for run in runs] == ["llm"]
    if ask.name.endswith("invoke"):
        told = runs[0].extra["metadata"]
        assert told["tier"] == "mini"
        assert told["escalated_from"] == "nano"
        assert told["cost_usd"] == pytest.approx(0.001525)


def strings(*specs: str) -> list[Tier]:
    return [Tier(name, spec, criteria=name) for name, spec in zip(NAMES, specs, strict=False)]


@pytest.mark.parametrize("setting", ["api_key", "base_url"])
def test_one_providers_key_and_address_are_told_to_no_other(setting: str) -> None:
    tiers = strings("openai:gpt-5.4-nano", "anthropic:claude-haiku-4-5")
    with pytest.raises(ConfigurationError, match=f"{setting}: one provider's.*anthropic, openai"):
        TieredChatModel(tiers, **{setting: "https://secret.example"})  # type: ignore[arg-type]
    mixed = [Tier("one", "openai:gpt-5.4", criteria="x", fallbacks=["mistralai:mistral-large"])]
    with pytest.raises(ConfigurationError, match="mistralai, openai"):
        TieredChatModel(mixed, **{setting: "https://secret.example"})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("openai:gpt-5.4", "OPENAI_API_KEY"),
        ("anthropic:claude-haiku-4-5", "ANTHROPIC_API_KEY"),
        ("google_genai:gemini-2.5-pro", "GOOGLE_API_KEY"),
        ("mistralai:mistral-large-latest", "MISTRAL_API_KEY"),
    ],
)
def test_a_key_is_written_down_as_its_own_providers_variable(spec: str, name: str) -> None:
    written = json.dumps(dumpd(TieredChatModel(strings(spec), classifier=None, api_key="sk-not-told")))
    assert name in written
    assert "sk-not-told" not in written
