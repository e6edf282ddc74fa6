"""The models of the tiers: asked of the run's context first, else built once, at first use.

Importing, compiling and drawing an agent need no key, because a `provider:model` string becomes a model only when a
request is about to need it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType, ref

from langchain_core.language_models import BaseChatModel
from pydantic import ValidationError

# As a module: it reads `cascade.failures`, and may be half imported when this is.
from langchain_tiered.accounting import entries
from langchain_tiered.accounting.rates import import_prices, prices_imported, rates_of
from langchain_tiered.errors import ModelNotBuiltError
from langchain_tiered.types import Tier, TierFacts, named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.callbacks import CallbackManagerForLLMRun
    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import ChatResult

    from langchain_tiered.types import Rates

    ModelLike = BaseChatModel | str


RELIABLE_TOKENS = 128_000
"""Input that the two small tiers keep in mind: MRCR v2 at 128K-256K tokens gives mini 33.6, gpt-5.4 79.3."""

CRITERIA = {
    "nano": (
        "Simple, bounded work with little to get wrong: classification, triage, labels, extraction into a schema, "
        "ranking, filtering, one well-defined question, reading receipts and scans."
    ),
    "mini": (
        "Everyday work of several steps: writing and fixing code, terminals, calling several tools, web and file "
        "search, screenshots and computer use, drafting and rewriting text."
    ),
    "flagship": (
        "Open-ended reasoning where depth decides: proofs, planning, trade-offs, diagnosis, law, medicine, finance, "
        "concurrency, final judgement and review, long documents."
    ),
}
"""What each default tier is for, as the classifier reads it; from the launch guidance for GPT-5.4 mini and nano."""


def default_tiers() -> tuple[Tier, ...]:
    """Return the three GPT-5.4 tiers, cheapest first. Their models are built, and a key needed, at first use.

    ```python
    nano, mini, flagship = default_tiers()
    ```

    Source: OpenAI's launch material for GPT-5.4 mini and nano, 17 March 2026. Windows and modalities are read off the
    models' own profiles, prices come from `genai-prices`.
    """
    return (
        Tier("nano", "openai:gpt-5.4-nano", criteria=CRITERIA["nano"], max_input_tokens=RELIABLE_TOKENS),
        Tier("mini", "openai:gpt-5.4-mini", criteria=CRITERIA["mini"], max_input_tokens=RELIABLE_TOKENS),
        Tier("flagship", "openai:gpt-5.4", criteria=CRITERIA["flagship"], max_input_tokens=1_050_000),
    )


def setting(context: object, name: str) -> Any:
    """Read `name` off a run's context, which may be a dataclass, a mapping or `None`; `None` where it is not set."""
    if context is None:
        return None
    return context.get(name) if isinstance(context, Mapping) else getattr(context, name, None)


@cache
def field_of(tier_name: str, what: str) -> str:
    """Name the context field of a tier's `model` or `prompt`: `nano_model`, or `gpt_mini_model` for `gpt-mini`."""
    plain = "".join(character if character.isalnum() else "_" for character in tier_name)
    return f"{plain}_{what}" if plain.isidentifier() else f"tier_{plain}_{what}"


_named: dict[int, tuple[ReferenceType[BaseChatModel], tuple[Any, Any], str | None]] = {}
_MOST_NAMED = 256


def called(model: BaseChatModel) -> str | None:
    """Return the name that a model's calls are booked by; asking the model anew for each takes longer than booking."""
    is_as = getattr(model, "model_name", None), getattr(model, "model", None)
    kept = _named.get(id(model))
    if kept is None or kept[0]() is not model or kept[1] != is_as:
        if len(_named) >= _MOST_NAMED:
            _named.clear()
        kept = _named[id(model)] = (ref(model), is_as, named(model)[0])
    return kept[2]


def quiet(model: BaseChatModel) -> BaseChatModel:
    """Return a copy that is asked for words which no user sees, and asked for them whole.

    The tag must stand on the copy: one put on by `with_config` is lost when a schema or tools are bound. A structured
    answer of OpenAI that is streamed makes pydantic warn; a model that its owner lets stream always may know no other
    way.
    """
    update: dict[str, Any] = {"tags": [*(model.tags or []), entries.HELD]}
    if not getattr(model, "streaming", False):
        update["disable_streaming"] = True
    return model.model_copy(update=update)


def brief(model: BaseChatModel, most_tokens: int) -> BaseChatModel:
    """Return a copy that is told not to reason, and to say no more than `most_tokens`.

    Only settings that its class has are made, and none that its owner made. A model that reasons all the same keeps
    its own limit, because what it thinks counts against it; one of several tiers leaves the settings to its tiers.
    """
    if hasattr(model, "tiers"):
        return model
    update = _unreasoning(model)
    if update is None:
        return model.model_copy()
    most = (model.profile or {}).get("max_output_tokens")  # Anthropic's integration fills it in
    limit = next((name for name in _LIMITS if hasattr(model, name) and getattr(model, name) in (None, most)), None)
    return model.model_copy(update=update if limit is None else {**update, limit: most_tokens})


_LIMITS = ("max_tokens", "max_output_tokens", "num_predict")
"""What integrations call the limit of an answer: most of them, Google's, Ollama's."""

_REASONING = ("reasoning", "reasoning_effort", "thinking", "thinking_budget", "thinking_config", "include_thoughts")
"""Settings by which an owner asks a model to reason."""

_NO_REASONING = (None, False, "none", {"type": "disabled"})
"""What such a setting has where it asks for none."""

_ONLY_WHEN_ASKED = re.compile(r"claude-(?:[1-3]|instant|[a-z]+-4)\b")
"""Claude's first four generations, which reason only where they are asked to."""


def _unreasoning(model: BaseChatModel) -> dict[str, Any] | None:
    """Return the settings that keep a model from reasoning; `None` where it may reason all the same."""
    asked = {name: getattr(model, name, None) for name in _REASONING} | (getattr(model, "model_kwargs", None) or {})
    if any(asked.get(name) not in _NO_REASONING for name in _REASONING):
        return None
    profile: Mapping[str, Any] = model.profile or {}
    (name, provider), reasons = named(model), bool(profile.get("reasoning_output"))
    if provider == "ollama":  # thinks unasked where its model can, of which gpt-oss cannot be kept from it
        return None if "gpt-oss" in str(name) else {"reasoning": False}
    if provider == "google_genai" and "gemini-2.5-flash" in str(name) and reasons:
        return {"thinking_budget": 0}  # Pro takes no 0, and later ones no budget
    if "none" in profile.get("reasoning_effort_levels", ()) and hasattr(model, "reasoning_effort"):
        return {"reasoning_effort": "none"}
    if provider == "mistral":
        reasons = "magistral" in str(name)
    elif provider == "anthropic":
        reasons = not (asked["thinking"] or _ONLY_WHEN_ASKED.match(str(name)))
    elif provider == "google_genai":
        reasons = reasons or not profile
    return None if reasons else {}


class Placeholder(BaseChatModel):
    """Stands where `create_agent` wants a model at build time; the tier's own replaces it before it is called."""

    @property
    def _llm_type(self) -> str:
        return "langchain-tiered-placeholder"

    def bind_tools(self, *_: Any, **__: Any) -> Any:
        """Return itself: whoever draws or inspects the agent needs no more."""
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        del messages, stop, run_manager, kwargs
        raise NotImplementedError("The tier's model was not put in the placeholder's place.")


class Models:
    """Builds the models that tiers name, each once, and keeps them for the life of one agent or router."""

    def __init__(self, *, priced: bool = False) -> None:
        """Begin with no model; with `priced`, the facts of tiers have their rates."""
        self._priced = priced
        self.settings: Mapping[str, Any] = {}
        """What models are built with, such as a `temperature`."""
        self._built: dict[str, BaseChatModel] = {}
        self._unknown: set[str] = set()
        self._kept: tuple[Sequence[Tier], tuple[int, int], tuple[TierFacts, ...]] | None = None
        self._lock = Lock()

    def of(self, tier: Tier, context: object = None, fallback: int = 0) -> BaseChatModel:
        """Return the model that `tier` calls in a run with `context`.

        Args:
            tier: The tier.
            context: The run's context, whose `<tier>_model` comes first.
            fallback: `0` for the tier's own model, `n` for its n-th fallback.

        Raises:
            ModelNotBuiltError: If a key, a package or the provider is missing.
        """
        wanted = self._wanted(tier, context, fallback)
        return wanted if isinstance(wanted, BaseChatModel) else self.build(wanted, f"Tier {tier.name!r}")

    async def aof(self, tier: Tier, context: object = None, fallback: int = 0) -> BaseChatModel:
        """Do what `of` does without blocking the event loop: building a model imports its provider.

        So does pricing its first call, for which the prices are imported here.
        """
        await import_prices()
        wanted = self._wanted(tier, context, fallback)
        if isinstance(wanted, BaseChatModel):
            return wanted
        if (built := self._built.get(wanted)) is not None:
            return built
        return await asyncio.to_thread(self.build, wanted, f"Tier {tier.name!r}")

    def build(self, spec: str, who: str) -> BaseChatModel:
        """Return the chat model for a `provider:model` string; `who` needs it, for the error.

        Raises:
            ModelNotBuiltError: If a key, a package or the provider is missing.
        """
        if (built := self._built.get(spec)) is not None:
            return built
        with self._lock:
            if spec not in self._built:
                self._built[spec] = _initialised(spec, who, **self.settings)
            return self._built[spec]

    def facts(self, tiers: Sequence[Tier], context: object = None) -> tuple[TierFacts, ...]:
        """Return what is known of the tiers in a run with `context`; a model that cannot be built yet is unknown."""
        if context is not None or self._priced or not isinstance(tiers, tuple):
            return tuple(self._facts(tier, context) for tier in tiers)
        kept = self._kept
        if kept is None or kept[0] is not tiers or kept[1] != (len(self._built), len(self._unknown)):
            found = tuple(self._facts(tier) for tier in tiers)  # may build models, and so comes before the counts
            kept = self._kept = (tiers, (len(self._built), len(self._unknown)), found)
        return kept[2]

    async def afacts(self, tiers: Sequence[Tier], context: object = None) -> tuple[TierFacts, ...]:
        """Do what `facts` does without blocking the event loop."""
        if self._priced:
            await import_prices()
        specs = [self._wanted(tier, context, 0) for tier in tiers]
        if all(isinstance(spec, BaseChatModel) or spec in self._built or spec in self._unknown for spec in specs):
            return self.facts(tiers, context)
        return await asyncio.to_thread(self.facts, tiers, context)

    def at_hand(self, tier: Tier, fallback: int = 0) -> BaseChatModel | None:
        """Return a tier's model where it need not be built, nor prices be imported; `None` where it must."""
        if not prices_imported():
            return None
        wanted = self._wanted(tier, None, fallback)
        return wanted if isinstance(wanted, BaseChatModel) else self._built.get(wanted)

    def have(self, tiers: Sequence[Tier]) -> bool:
        """Tell whether the models of tiers are there, so that what is known of them will not change."""
        return all(not isinstance(tier.model, str) or tier.model in self._built for tier in tiers)

    def profile(self, tier: Tier) -> Mapping[str, Any]:
        """Return what a tier's own model can take; nothing for one that cannot be built."""
        return self._profile(tier, None)

    def _wanted(self, tier: Tier, context: object, fallback: int) -> ModelLike:
        if fallback:
            return tier.fallbacks[fallback - 1]
        return setting(context, field_of(tier.name, "model")) or tier.model

    def _facts(self, tier: Tier, context: object = None) -> TierFacts:
        profile = self._profile(tier, context)
        window = profile.get("max_input_tokens")
        limits = [limit for limit in (window, tier.max_input_tokens) if limit is not None]
        return TierFacts(
            tier.name,
            max_input_tokens=min(limits, default=None),
            images=profile.get("image_inputs"),
            audio=profile.get("audio_inputs"),
            files=profile.get("pdf_inputs"),
            tools=profile.get("tool_calling"),
            provider=self.provider(tier, context),
            fallbacks=len(tier.fallbacks),
            rates=self._rates(tier, context) if self._priced else None,
        )

    def provider(self, tier: Tier, context: object = None) -> str | None:
        """Return who serves a tier's model, by LangChain's name; no model is built for it."""
        wanted = self._wanted(tier, context, 0)
        if isinstance(wanted, BaseChatModel):
            return named(wanted)[1]
        before, _, after = str(wanted).partition(":")
        return before if after else None

    def _rates(self, tier: Tier, context: object) -> Rates | None:
        wanted = self._wanted(tier, context, 0)
        own = tier.rates if wanted is tier.model or wanted == tier.model else None
        name, provider = named(wanted)
        return rates_of(name, provider=provider, rates=own, factor=tier.price_factor)

    def _profile(self, tier: Tier, context: object) -> Mapping[str, Any]:
        """Return what a model can take; nothing for one that cannot be built: its call will say what is missing."""
        wanted = self._wanted(tier, context, 0)
        if not isinstance(wanted, BaseChatModel) and wanted in self._unknown and wanted not in self._built:
            return {}  # asked once, since asking imports the provider; a call tries again, and a key may have come
        try:
            return self.of(tier, context).profile or {}
        except ModelNotBuiltError:
            self._unknown.add(str(wanted))
            return {}


_NAME_IT = "Name a provider that LangChain knows, as in 'openai:gpt-5.4-nano'."
_BUILD_IT = "Mend that, or pass tiers whose models you have built: offline_tiers() needs no key."


def _why(error: ValueError) -> str:
    """Tell in a line why a model could not be built: what pydantic raises has the reason behind its first one."""
    if not isinstance(error, ValidationError):
        return str(error).partition("\n")[0]
    wrong = error.errors(include_url=False, include_context=False, include_input=False)  # an input may be a key
    told = [(".".join(map(str, each["loc"])), each["msg"].removeprefix("Value error, ")) for each in wrong]
    return "; ".join(f"{place}: {why}" if place else why for place, why in told).rstrip(".") + "."


def _initialised(spec: str, who: str, **settings: Any) -> BaseChatModel:
    """Build the model of a `provider:model` string, importing its provider."""
    from langchain.chat_models import init_chat_model  # noqa: PLC0415  (half a second that a router of rules never needs)

    form = "Write it as 'provider:model', such as 'openai:gpt-5.4-nano'."
    if not isinstance(spec, str):
        raise ModelNotBuiltError(who, spec, "It is neither a chat model nor a string.", form) from TypeError(spec)
    try:
        made: BaseChatModel = init_chat_model(spec, **settings)
    except ImportError as error:
        raise ModelNotBuiltError(who, spec, f"{error}.", "Install the provider's package.") from error
    except ValueError as error:
        mend = form if ":" not in spec else _NAME_IT if "infer model provider" in str(error) else _BUILD_IT
        raise ModelNotBuiltError(who, spec, _why(error), mend) from error
    except Exception as error:
        if type(error).__module__.startswith("langchain"):
            raise
        provider = spec.partition(":")[0] if ":" in spec else type(error).__module__.partition(".")[0]
        mend = f"Set {provider.upper()}_API_KEY, or pass tiers whose models you have: offline_tiers() needs no key."
        raise ModelNotBuiltError(who, spec, str(error), mend) from error
    return made
