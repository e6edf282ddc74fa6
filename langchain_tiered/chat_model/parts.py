"""What a `TieredChatModel` is made of. Knows nothing of any request."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import uuid4

from langchain_core.language_models import BaseChatModel

from langchain_tiered.cascade.verdicts import Checks
from langchain_tiered.errors import ConfigurationError, InvalidPolicyError, InvalidTierError
from langchain_tiered.nodes.checking import Judge
from langchain_tiered.nodes.ladder import Ladder
from langchain_tiered.routing.policy import Policy
from langchain_tiered.routing.router import TierRouter
from langchain_tiered.types import Rates, Tier

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_tiered.cascade.checks import ChecksLike
    from langchain_tiered.types import TierFacts

_Made = TypeVar("_Made")

_ROUTED = frozenset(
    {"tool_calling", "image_inputs", "audio_inputs", "pdf_inputs", "max_input_tokens", "max_output_tokens"}
)
"""What it is enough that one tier can: the router leads to it, and so does the cascade. Anything else all must."""


class Parts:
    """The router, the ladder and the judge."""

    def __init__(
        self,
        tiers: Sequence[Tier] | None,
        *,
        classifier: Any,
        policy: Policy | None,
        checks: ChecksLike,
        settings: Mapping[str, Any],
    ) -> None:
        """Put them together.

        Raises:
            ConfigurationError: What can be known at build: bad tiers, unknown names in the policy or checks, tiers
                with tools, a policy that only an agent can carry out, settings that no model is built with.
        """
        self.router = TierRouter(tiers_of(tiers), classifier=classifier, policy=policy_of(policy))
        self.tiers = self.router.tiers
        _expect_possible(self.tiers, self.router.policy, settings)
        self.router.models.settings = settings
        self.ladder = Ladder(self.tiers, policy=self.router.policy, checks=Checks(checks), models=self.router.models)
        self.judge = Judge(self.ladder)
        self.name = f"tiers:{'|'.join(tier.name for tier in self.tiers)}"
        """What tracers call the model, before one has answered."""
        shown = {name: value for name, value in settings.items() if name != "api_key"}
        self.told = {"tiers": {tier.name: _told(tier) for tier in self.tiers}, "policy": plain_policy(policy), **shown}
        """What tells the model from others, without secrets."""
        self.id = uuid4().hex
        """What a cache knows the model by, where what it is made of has no plain form."""
        has_checks = bool(checks) or any(tier.checks for tier in self.tiers)
        self.is_plain = not has_checks and _is_plain(classifier) and type(policy) in {Policy, type(None)}
        """Whether all of that can be told by plain values."""
        self._known: tuple[TierFacts, ...] | None = None
        self._named: dict[int, tuple[BaseChatModel, dict[str, Any]]] = {}

    def facts(self) -> tuple[TierFacts, ...]:
        """Return what is known of the tiers; their models' profiles are read once."""
        return self._known or self._read(self.router.models.facts(self.tiers))

    async def afacts(self) -> tuple[TierFacts, ...]:
        """Do what `facts` does, without blocking the event loop."""
        return self._known or self._read(await self.router.models.afacts(self.tiers))

    def _read(self, facts: tuple[TierFacts, ...]) -> tuple[TierFacts, ...]:
        if self.router.models.have(self.tiers):
            self._known = facts
        return facts

    def told_by(self, model: BaseChatModel) -> dict[str, Any]:
        """Return what a model's calls are booked by, asked once: its name, its provider, and its longest answer."""
        known = self._named.get(id(model))
        if known is None or known[0] is not model:
            told = model._get_ls_params()  # noqa: SLF001  (how LangChain itself tells of a call)
            wanted = {name: told.get(name) for name in ("ls_model_name", "ls_provider", "ls_max_tokens")}
            known = self._named[id(model)] = (model, wanted)
        return known[1]

    def profile(self) -> dict[str, Any]:
        """Return what the tiers can take together; their models are built for it, as far as that is possible."""
        found = [self.router.models.profile(tier) for tier in self.tiers]
        names = dict.fromkeys(name for profile in found for name in profile)
        return {name: value for name in names if (value := _together(name, found)) is not None}


def _is_plain(classifier: Any) -> bool:
    """Tell whether a classifier is known by its plain form: a name, or a model that LangChain can write down."""
    is_written = isinstance(classifier, BaseChatModel) and classifier.is_lc_serializable()
    return classifier is None or isinstance(classifier, str) or is_written


def _told(tier: Tier) -> str:
    model: Any = tier.model
    return model if isinstance(model, str) else f"{type(model).__name__} {model._identifying_params!r}"  # noqa: SLF001  (how LangChain tells models apart)


def _together(name: str, profiles: Sequence[Mapping[str, Any]]) -> Any:
    """Return one ability of all tiers; `None` where they do not agree on what cannot be counted."""
    values = [profile[name] for profile in profiles if profile.get(name) is not None]
    if not values or (len(values) < len(profiles) and name not in _ROUTED):
        return None
    if all(isinstance(value, (bool, int, float)) for value in values):
        return max(values) if name in _ROUTED else min(values)
    return values[0] if all(value == values[0] for value in values) else None


def expect_fields(kind: type[BaseChatModel], given: Iterable[str]) -> None:
    """Check that a model has all fields that it is given.

    Raises:
        ConfigurationError: If it has not; names the nearest one.
    """
    fields = kind.model_fields
    known = {*fields, *(field.alias for field in fields.values() if field.alias)}
    if unknown := [name for name in given if name not in known]:
        told = _named(unknown, sorted(known))
        raise ConfigurationError(f"{kind.__name__} has no field {told}. Fields: {', '.join(sorted(known))}.")


def _named(unknown: Iterable[Any], known: Sequence[str]) -> str:
    """Name what is unknown, each with the nearest that is known."""
    near = [(name, get_close_matches(str(name), known, 1)) for name in unknown]
    return ", ".join(f"{name!r} (did you mean {found[0]!r}?)" if found else repr(name) for name, found in near)


def _expect_possible(tiers: Iterable[Tier], policy: Policy, settings: Mapping[str, Any]) -> None:
    for tier in tiers:
        if tier.tools:
            raise ConfigurationError(
                f"Tier {tier.name!r} has tools of its own, and a chat model runs none. Give them to bind_tools, or use "
                "create_tiered_agent."
            )
    if policy.on_no_answer == "ask" or policy.speculate:
        option = "speculate=True" if policy.speculate else "on_no_answer='ask'"
        raise ConfigurationError(f"Policy({option}) needs a graph. Leave it out, or use create_tiered_agent.")
    providers = providers_of(tiers)
    if settings and not providers:
        raise ConfigurationError(
            f"{', '.join(settings)}: settings of the models that are built from 'provider:model' strings, and every "
            "tier has a model of its own. Set it on those."
        )
    if (given := [name for name in _OF_ONE_PROVIDER if name in settings]) and len(providers) > 1:
        raise ConfigurationError(
            f"{', '.join(given)}: one provider's, and the tiers name models of several: {', '.join(providers)}. Leave "
            "it to the environment, or give the tiers models of their own."
        )


_OF_ONE_PROVIDER = ("api_key", "base_url")


def providers_of(tiers: Iterable[Tier]) -> list[str]:
    """Return whose models are built from strings, fallbacks included, sorted."""
    specs = (model for tier in tiers for model in (tier.model, *tier.fallbacks) if isinstance(model, str))
    return sorted({spec.partition(":")[0] if ":" in spec else "" for spec in specs})


_KEYS = {"google_genai": "GOOGLE_API_KEY", "mistralai": "MISTRAL_API_KEY", "azure_openai": "AZURE_OPENAI_API_KEY"}


def key_of(tiers: Iterable[Tier]) -> str:
    """Return the environment variable of the key that models built from strings are given."""
    provider = next(iter(providers_of(tiers)), "") or "openai"
    return _KEYS.get(provider, f"{provider.upper()}_API_KEY")


_LISTS = ("fallbacks", "checks")
_TIER_FIELDS = ("fallbacks", "max_input_tokens", "rates", "price_factor", "checks")


def plain_tier(tier: Tier) -> dict[str, Any]:
    """Return a tier as the arguments that make it; what stands at its default is left out."""
    told: dict[str, Any] = {"name": tier.name, "model": tier.model, "criteria": tier.criteria}
    for name in _TIER_FIELDS:
        value = getattr(tier, name)
        if value not in ((), None, 1.0):
            told[name] = asdict(value) if isinstance(value, Rates) else list(value) if name in _LISTS else value
    return told


def tiers_of(told: Any) -> Any:
    """Return tiers, each of which may be a dict of its settings; what is no tier stays, for whoever checks them.

    Raises:
        InvalidTierError: If that is no sequence, or a dict makes no tier.
    """
    if told is None or isinstance(told, (Tier, str)):
        return told
    if not isinstance(told, Iterable):
        raise InvalidTierError(f"tiers={told!r}: expected a sequence of Tier, cheapest first, or None for the default.")
    return [_tier_of(each) if isinstance(each, dict) else each for each in told]


def _tier_of(told: dict[str, Any]) -> Tier:
    rates = told.get("rates")
    if isinstance(rates, dict):
        told = {**told, "rates": _made(Rates, rates, InvalidTierError)}
    return _made(Tier, told, InvalidTierError)


def policy_of(told: Any) -> Policy | None:
    """Return a policy, which may be a dict of its settings.

    Raises:
        InvalidPolicyError: If it is neither, or has an unknown setting.
    """
    if told is None or isinstance(told, Policy):
        return told
    if isinstance(told, dict):
        return _made(Policy, told, InvalidPolicyError)
    raise InvalidPolicyError(f"policy={told!r}: expected a Policy, a dict of its settings, or None for the default.")


def _made(kind: type[_Made], told: dict[str, Any], error: type[ConfigurationError]) -> _Made:
    """Make a dataclass of its settings; an error says which are unknown, or missing."""
    known = [each.name for each in fields(cast("Any", kind))]
    what = f"A {kind.__name__}, given as a dict with {', '.join(map(repr, told)) or 'nothing'},"
    if unknown := [name for name in told if name not in known]:
        raise error(f"{what} has no setting {_named(unknown, known)}. Settings: {', '.join(known)}.")
    try:
        return kind(**told)
    except TypeError as wrong:
        raise error(f"{what} cannot be made: {wrong}. Settings: {', '.join(known)}.") from wrong


def plain_policy(policy: Policy | None) -> dict[str, Any] | None:
    """Return a policy as the arguments that make it."""
    return None if policy is None else asdict(policy)
