"""`TierRouter`: facts, rules, classifier, policy, as one Runnable."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import Runnable
from langchain_core.runnables.config import ensure_config
from langchain_core.tracers.context import run_collector_var

from langchain_tiered.accounting.recorder import recording
from langchain_tiered.accounting.traces import is_traced
from langchain_tiered.models import Models, default_tiers, setting
from langchain_tiered.routing import explaining
from langchain_tiered.routing.classifier import Classifier, ClassifierFunction, create_classifier
from langchain_tiered.routing.facts import RequestInput, ToolFacts, facts_of, messages_of, tool_facts
from langchain_tiered.routing.leaning import lean
from langchain_tiered.routing.policy import Policy
from langchain_tiered.routing.rules import classify_by_rules
from langchain_tiered.types import Route, checked_tiers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.language_models import BaseChatModel
    from langchain_core.runnables import RunnableConfig

    from langchain_tiered.accounting.recorder import Recorder
    from langchain_tiered.routing.deciding import DecisionModel
    from langchain_tiered.routing.explaining import Explanation
    from langchain_tiered.types import Classification, Facts, Tier, TierFacts, Tool


class TierRouter(Runnable[RequestInput, Route]):
    """Says which tier a request goes to, and why. It answers nothing and keeps nothing of a request.

    ```python
    router = TierRouter(classifier=None)
    router.invoke("Classify the ticket. Labels: refund, delivery, other. Ticket: where is my parcel?")["task"]
    # 'classify'
    ```

    Rules come first; where they are unsure, the classifier is asked once; the policy decides. Without a classifier the
    request goes where it leans by its form. A classifier that fails loses no request: `Policy.on_classifier_error` says
    where it goes; where that is set, doubt goes there, too, when there is no classifier. The route of a thread under
    way is read off `response_metadata["route"]` of its AI messages. `collect_ledger` books the classifier's calls.

    Args:
        tiers: The tiers, cheapest first, or `None` for `default_tiers()`.
        classifier: `"cheapest"` for the first tier's model, a chat model, a `provider:model` string, a function that
            tells of `Facts` a classification or a tier's name, one of LangChain's decision models, what
            `create_classifier` gives, or `None` for rules alone.
        policy: What is wanted of the routing, or `None` for `Policy()`.

    Raises:
        InvalidTierError: If the tiers are empty, or something among them is no tier.
        UnknownTierError: If the policy names a tier that is not declared.
        ConfigurationError: If `classifier` is none of these.
    """

    def __init__(
        self,
        tiers: Sequence[Tier] | None = None,
        *,
        classifier: BaseChatModel | str | ClassifierFunction | Classifier | DecisionModel | None = "cheapest",
        policy: Policy | None = None,
    ) -> None:
        self.tiers = checked_tiers(default_tiers() if tiers is None else tiers)
        self.policy = policy or Policy()
        self.policy.validate([tier.name for tier in self.tiers])
        self.models = Models(priced=self.policy.reroute == "turn")
        asked = self.tiers[0] if isinstance(classifier, str) and classifier == "cheapest" else classifier
        self.classifier = None if asked is None else create_classifier(asked, self.tiers, models=self.models)

    def invoke(
        self,
        input: RequestInput,
        config: RunnableConfig | None = None,
        *,
        tools: Sequence[Tool] | ToolFacts = (),
        schema: bool = False,
        context: object = None,
        remaining_usd: float | None = None,
        run_id: str | None = None,
        **_: Any,
    ) -> Route:
        """Return the route for a request.

        Args:
            input: A text, messages, a prompt value, or a mapping with `messages`.
            config: The run's config, handed to the classifier's model.
            tools: The tools that the answering model is given, or what `tool_facts` says of them.
            schema: Whether the answer must fit a schema.
            context: The run's context: `pin` and `<tier>_model` come before the policy's and the tiers' own.
            remaining_usd: What is left of the budget, or `None` without one.
            run_id: The invocation that the classifier's call is booked on.

        Raises:
            InvalidInputError: If the request cannot be read, or has no user message.
            NoTierFitsError: If no tier can take the request; says which fact rules out which tier.
            UnknownTierError: If the context pins a tier that is not declared.
            ModelNotBuiltError: If the classifier is needed and its model cannot be made.
        """

        def routed(given: RequestInput, config: RunnableConfig | None) -> Route:
            facts = facts_of(messages_of(given), tool_facts(tools), schema=schema)
            return self.route(facts, config, context=context, remaining_usd=remaining_usd, run_id=run_id)

        if _is_followed(config):
            return self._call_with_config(routed, input, config)  # type: ignore[arg-type]  # it gives `config` by name
        return routed(input, config)

    async def ainvoke(
        self,
        input: RequestInput,
        config: RunnableConfig | None = None,
        *,
        tools: Sequence[Tool] | ToolFacts = (),
        schema: bool = False,
        context: object = None,
        remaining_usd: float | None = None,
        run_id: str | None = None,
        **_: Any,
    ) -> Route:
        """Do what `invoke` does, without blocking the event loop."""

        async def routed(given: RequestInput, config: RunnableConfig | None) -> Route:
            facts = facts_of(messages_of(given), tool_facts(tools), schema=schema)
            return await self.aroute(facts, config, context=context, remaining_usd=remaining_usd, run_id=run_id)

        if _is_followed(config):
            return await self._acall_with_config(routed, input, config)  # type: ignore[arg-type]  # as above
        return await routed(input, config)

    def explain(
        self,
        request: RequestInput,
        *,
        tools: Sequence[Tool] | ToolFacts = (),
        schema: bool = False,
        context: object = None,
        remaining_usd: float | None = None,
    ) -> Explanation:
        """Return the route for a request with all that led to it: facts, rules, classification, policy.

        It is decided as `invoke` decides it, and costs a classifier's call where `invoke` does. The settings, and the
        errors, are those of `invoke`.
        """
        facts = facts_of(messages_of(request), tool_facts(tools), schema=schema)
        return explaining.explain(self, facts, context, remaining_usd)

    async def aexplain(
        self,
        request: RequestInput,
        *,
        tools: Sequence[Tool] | ToolFacts = (),
        schema: bool = False,
        context: object = None,
        remaining_usd: float | None = None,
    ) -> Explanation:
        """Do what `explain` does, without blocking the event loop."""
        facts = facts_of(messages_of(request), tool_facts(tools), schema=schema)
        return await explaining.aexplain(self, facts, context, remaining_usd)

    def route(
        self,
        facts: Facts,
        config: RunnableConfig | None = None,
        *,
        context: object = None,
        tiers: Sequence[TierFacts] | None = None,
        remaining_usd: float | None = None,
        run_id: str | None = None,
        recorder: Recorder | None = None,
    ) -> Route:
        """Return the route for ready-made facts.

        Args:
            facts: What is plainly there in the request.
            config: The run's config, as for `invoke`.
            context: The run's context, as for `invoke`.
            tiers: What is known of the tiers, where the caller knows better.
            remaining_usd: What is left of the budget, as for `invoke`.
            run_id: The invocation that the classifier's call is booked on.
            recorder: Books that call, beside those that are in the config already.

        Raises:
            NoTierFitsError: If no tier can take the request.
            UnknownTierError: If the context pins a tier that is not declared.
            ModelNotBuiltError: If the classifier is needed and its model cannot be made.
        """
        known = self.models.facts(self.tiers, context) if tiers is None else tiers
        policy, said = self._policy(context), classify_by_rules(facts, known)
        if policy.wants_classifier(facts, said, known):
            if self.classifier is None:
                said = _leaning(facts, policy, known)
            else:
                around = _heard(config, recorder)
                said = self.classifier.classify(facts, around, context=context, run_id=run_id)
        return policy.decide(facts, said, known, remaining_usd)

    def unfit(self, facts: Facts, context: object, tiers: Sequence[TierFacts]) -> list[str]:
        """Name the tiers that no step of the turn may lead to."""
        return self._policy(context).unfit(facts, tiers)

    def asks(self, facts: Facts, context: object = None, tiers: Sequence[TierFacts] | None = None) -> bool:
        """Tell whether a route for these facts costs a classifier's call."""
        known = self.models.facts(self.tiers, context) if tiers is None else tiers
        return self.classifier is not None and self._policy(context).wants_classifier(
            facts, classify_by_rules(facts, known), known
        )

    async def aroute(
        self,
        facts: Facts,
        config: RunnableConfig | None = None,
        *,
        context: object = None,
        tiers: Sequence[TierFacts] | None = None,
        remaining_usd: float | None = None,
        run_id: str | None = None,
        recorder: Recorder | None = None,
    ) -> Route:
        """Do what `route` does, without blocking the event loop."""
        known = await self.models.afacts(self.tiers, context) if tiers is None else tiers
        policy, said = self._policy(context), classify_by_rules(facts, known)
        if policy.wants_classifier(facts, said, known):
            if self.classifier is None:
                said = _leaning(facts, policy, known)
            else:
                around = _heard(config, recorder)
                said = await self.classifier.aclassify(facts, around, context=context, run_id=run_id)
        return policy.decide(facts, said, known, remaining_usd)

    def _policy(self, context: object) -> Policy:
        pin = setting(context, "pin") or None
        return self.policy if pin is None else replace(self.policy, pin=pin)


def _leaning(facts: Facts, policy: Policy, known: Sequence[TierFacts]) -> Classification | None:
    """Return what stands in for a classifier; `None` where the policy names a tier, or earlier work may go on."""
    return None if policy.on_classifier_error is not None or facts.refers_back is None else lean(facts, known)


def _is_followed(config: RunnableConfig | None) -> bool:
    """Tell whether callbacks, listeners or a tracer want to hear of a run. To open one for nobody takes 0.1 ms."""
    callbacks: Any = ensure_config(config).get("callbacks")
    if callbacks and (isinstance(callbacks, list) or callbacks.handlers):
        return True
    return run_collector_var.get() is not None or is_traced()


def _heard(config: RunnableConfig | None, recorder: Recorder | None) -> RunnableConfig | None:
    return config if recorder is None else recording(ensure_config(config), recorder, {})
