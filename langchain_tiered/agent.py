"""The tiered agent: `classify`, one node for each tier, and `check`, compiled into one graph."""

from __future__ import annotations

from dataclasses import field, fields, is_dataclass, make_dataclass
from typing import TYPE_CHECKING, Any, Literal, NotRequired, Required, get_args, get_origin, get_type_hints

from langchain.agents import AgentState, create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain.agents.middleware.types import OmitFromSchema, PrivateStateAttr
from langgraph.channels import BinaryOperatorAggregate
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from langchain_tiered.accounting.budget import Budget
from langchain_tiered.accounting.estimates import expect_priced
from langchain_tiered.cascade.verdicts import Checks
from langchain_tiered.errors import ConfigurationError, DuplicateNameError
from langchain_tiered.middleware.in_tiers import expect_known, reviewers, reviewing
from langchain_tiered.middleware.review import LoopReview
from langchain_tiered.models import Placeholder, default_tiers, field_of
from langchain_tiered.nodes import route_by_tier
from langchain_tiered.nodes.answering import HAND_UP, AnswerNode, may_hand_up
from langchain_tiered.nodes.checking import CheckNode, Judge
from langchain_tiered.nodes.classifying import ClassifyNode
from langchain_tiered.nodes.ladder import Ladder
from langchain_tiered.nodes.loop import LoopNode, TierLoop, ToolTierLoop
from langchain_tiered.routing.facts import tool_facts
from langchain_tiered.routing.policy import Policy
from langchain_tiered.routing.router import TierRouter
from langchain_tiered.state import LoopState, TieredInput, TieredOutput, TieredState
from langchain_tiered.types.provided import runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import SystemMessage
    from langchain_core.runnables import Runnable
    from langgraph.graph.state import CompiledStateGraph
    from langgraph.store.base import BaseStore
    from langgraph.types import Checkpointer

    from langchain_tiered.cascade.checks import ChecksLike
    from langchain_tiered.middleware.approval import RiskyTools
    from langchain_tiered.types import Tier, Tool


def create_tiered_agent(  # noqa: PLR0913  (the tail of `create_agent`, whose users expect it)
    tiers: Sequence[Tier] | None = None,
    *,
    tools: Sequence[Tool] = (),
    router: TierRouter | None = None,
    policy: Policy | None = None,
    checks: ChecksLike = None,
    budget: Budget | None = None,
    response_format: Any = None,
    risky_tools: RiskyTools | None = None,
    reviewer: BaseChatModel | str | Tier | None = None,
    system_prompt: str | SystemMessage | None = None,
    middleware: Sequence[AgentMiddleware[Any, Any, Any]] = (),
    state_schema: type[Any] | None = None,
    context_schema: type[Any] | None = None,
    checkpointer: Checkpointer = None,
    store: BaseStore | None = None,
    name: str = "tiered_agent",
) -> CompiledStateGraph[Any, Any, Any, Any]:
    """Create an agent that answers each request with the cheapest tier that can do it.

    ```python
    from langchain_tiered import Ledger, create_tiered_agent
    from langchain_tiered.offline import offline_tiers

    agent = create_tiered_agent(offline_tiers())
    result = agent.invoke({"messages": [("user", "Label as bug or praise: it crashes.")]})
    print(result["messages"][-1].text, result["route"]["tier"], Ledger(result["ledger"]).total_usd)
    ```

    The graph has the nodes `classify`, one for each tier, and `check`. A tier is a `create_agent` loop where it has
    tools, middleware or a response format, else one model call. A rejected answer stays in `attempts`, never streamed.

    Args:
        tiers: Cheapest first; `None` for `default_tiers()`, or for those of `router`.
        tools: For the tiers from the policy's floor of the task `tools` upward (default: the second tier). A tier
            below is given `hand_up` instead. Provider tools, such as `{"type": "web_search"}`, stand beside others.
        router: Decides the route; by default rules, then the first tier's model as classifier.
        policy: Bounds routes and steps; give it to the router instead where you pass one.
        checks: What is asked of each answer: `None` for the built-in checks, a sequence instead of them, or a mapping
            from task to sequence with `"*"` for the rest.
        budget: What a run and a thread may cost, in USD.
        response_format: As for `create_agent`; the parsed answer is in `structured_response`.
        risky_tools: Tools whose calls are judged before they run, as for `ReviewMiddleware`. What the reviewer doubts
            interrupts the run for a human.
        reviewer: Who judges them: a chat model, a `provider:model` string, or a tier; `None` for a human alone.
        system_prompt: For all tiers; the context's `<tier>_prompt` comes first.
        middleware: Runs inside each tier's loop, its private state living for one visit.
        state_schema: A subclass of `AgentState` with channels of your own.
        context_schema: A dataclass of your own, to which `<tier>_model`, `<tier>_prompt` and `pin` are added.
        checkpointer: Keeps threads.
        store: As for `create_agent`.
        name: The graph's name.

    Returns:
        A compiled graph: `{"messages": [...]}` to `messages`, `route` and `ledger`.

    Raises:
        ConfigurationError: What can be known at build: bad tiers, unknown names in the policy or checks, tools that
            share a name, fields that clash with ours, a policy or a review that interrupts without a checkpointer, a
            risky tool that no tier has, a budget over a model without a known price.
    """
    _expect_kinds(router=(router, TierRouter), policy=(policy, Policy), budget=(budget, Budget))
    router = _router(tiers, router, policy)
    tiers, policy = router.tiers, router.policy
    if policy.on_no_answer == "ask" and not checkpointer:
        raise ConfigurationError(
            "Policy(on_no_answer='ask') interrupts the run, and only a checkpointer keeps such a run. Pass one, like "
            "InMemorySaver(), or True where a parent graph or the LangGraph server brings it."
        )
    middleware = reviewing(middleware, risky_tools, reviewer, interrupts=bool(checkpointer))
    expect_known(risky_tools, [*tools, *(tool for tier in tiers for tool in tier.tools)], middleware)
    if budget is not None:
        expect_priced((*tiers, *reviewers(middleware)))
    ladder = Ladder(tiers, policy=policy, checks=Checks(checks), models=router.models, budget=budget)
    context = _context_schema(tiers, context_schema, system_prompt)
    own_fields = {**_public_fields(middleware), **_own_fields(state_schema)}
    _distinct([HAND_UP, *tools])
    known = tool_facts(tools)
    _expect_run(known.provider, ladder)
    makers = _Makers(ladder, middleware, response_format, system_prompt, own_fields, context)

    builder = _builder(own_fields, context, structured=response_format is not None)
    made, below = {}, ladder.below_tools
    for tier in tiers:
        given = [*(() if tier.name in below else tools), *tier.tools]
        made[tier.name] = makers.node(tier, given, known.names + known.provider if tier.name in below else ())
    ahead = makers.ahead() if policy.speculate else ()
    classify = ClassifyNode(
        router, tools=known, schema=response_format is not None, without_tools=below, ahead=ahead, budget=budget
    )
    check = CheckNode(ladder, schema=response_format, system_prompt=system_prompt)
    _connect(builder, classify, made, check, again=policy.on_no_answer == "ask")
    graph = builder.compile(checkpointer=checkpointer, store=store, name=name)
    graph.stream_channels = list(graph.output_channels)  # attempts, and what is in them, are not streamed
    return graph


def _expect_run(provided: Sequence[str], ladder: Ladder) -> None:
    """Check that each tool which a provider runs is run by that of a tier that is given the tools."""
    given = {tier.name: ladder.models.provider(tier) for tier in ladder.tiers if tier.name not in ladder.below_tools}
    for tool in provided:
        if not any(runs(provider, tool) for provider in given.values()):
            told = ", ".join(f"{name}: {provider}" for name, provider in given.items())
            raise ConfigurationError(
                f"The tool {tool!r} is run by none of the providers of the tiers that are given the tools ({told}). "
                "Give the form of one of these, or a tier of another provider."
            )


def _connect(
    builder: StateGraph[Any, Any, Any, Any],
    classify: ClassifyNode,
    made: dict[str, Runnable[Any, Any]],
    check: CheckNode,
    *,
    again: bool,
) -> None:
    """Draw the graph: `classify`, a node for each tier, and `check`, which comes `again` before it asks a human."""
    builder.add_node("classify", classify)
    for name, node in made.items():
        builder.add_node(name, node)
        builder.add_edge(name, "check")
    builder.add_node("check", check, destinations=(*made, *(["check"] if again else []), END))
    builder.add_edge(START, "classify")
    builder.add_conditional_edges("classify", route_by_tier, list(made))


class _Makers:
    """Makes the node of each tier from what all tiers share."""

    def __init__(
        self,
        ladder: Ladder,
        middleware: Sequence[AgentMiddleware[Any, Any, Any]],
        response_format: Any,
        system_prompt: str | SystemMessage | None,
        own_fields: dict[str, Any],
        context: type[Any],
    ) -> None:
        self.ladder, self.middleware, self.response_format = ladder, tuple(middleware), response_format
        self.prompt, self.own_fields, self.context = system_prompt, own_fields, context
        self.single: list[AnswerNode] = []

    def node(self, tier: Tier, tools: Sequence[Tool], lacks: Sequence[str]) -> Runnable[Any, Any]:
        """Return a loop where the tier has tools, middleware or a response format, else one model call."""
        offers = may_hand_up(tier, lacks)
        if offers and not lacks and tier is self.ladder.tiers[-1]:
            raise ConfigurationError(
                f"Tier {tier.name!r} has hand_up, and no tier is above it. Take it out of its tools."
            )
        tools = [tool for tool in tools if tool is not HAND_UP]
        added = [tool for each in self.middleware for tool in getattr(each, "tools", ())]
        _distinct([HAND_UP, *tools, *added])
        # Where there is no tool there is nothing to review, and a hook around tools would make a node for them.
        middleware = [each for each in self.middleware if tools or added or not isinstance(each, LoopReview)]
        if not (tools or middleware or self.response_format is not None):
            single = AnswerNode(tier, self.ladder, system_prompt=self.prompt, lacks=lacks)
            self.single.append(single)
            return single
        judge = Judge(self.ladder)
        outermost = (ToolTierLoop if tools else TierLoop)(
            tier,
            self.ladder,
            judge,
            system_prompt=self.prompt,
            lacks=lacks,
            leaves_message=any(_acts_after_model(each) for each in middleware),
        )
        loop = create_agent(
            Placeholder(),
            [*tools, *([HAND_UP] if offers else [])],
            middleware=[outermost, *middleware],
            response_format=self.response_format,
            state_schema=_schema("LoopState", {**self.own_fields, **_hints(LoopState)}),
            context_schema=self.context,
        )
        reduced = {name: isinstance(loop.channels[name], BinaryOperatorAggregate) for name in self.own_fields}
        return LoopNode(tier, self.ladder, loop, reduced)

    def ahead(self) -> list[AnswerNode]:
        """Return the nodes that may answer while the classifier decides.

        Raises:
            ConfigurationError: If there is none: a loop may run tools.
        """
        if not self.single:
            raise ConfigurationError(
                "Policy(speculate=True) needs a tier that answers with one model call, and with these tools, "
                "middleware or response format every tier is a loop, which may run tools. Leave it False."
            )
        return self.single


def _expect_kinds(**given: tuple[object, type[Any]]) -> None:
    """Refuse what is of another kind than its parameter.

    Raises:
        ConfigurationError: If something is; names the parameter.
    """
    for name, (value, kind) in given.items():
        if value is not None and not isinstance(value, kind):
            raise ConfigurationError(f"{name}={value!r} is no {kind.__name__}. Write {name}={kind.__name__}(...).")


def _router(tiers: Sequence[Tier] | None, router: TierRouter | None, policy: Policy | None) -> TierRouter:
    """Return the router to use, refusing two answers to one question."""
    if router is None:
        return TierRouter(default_tiers() if tiers is None else tiers, policy=policy)
    if policy is not None and policy != router.policy:
        raise ConfigurationError("A router was given, and a policy beside it. Give the policy to the router.")
    if tiers is not None and tuple(tiers) != router.tiers:
        raise ConfigurationError("The tiers differ from those of the router. Give the tiers to the router alone.")
    return router


def _builder(own_fields: dict[str, Any], context: type[Any], *, structured: bool) -> StateGraph[Any, Any, Any, Any]:
    """Return a graph without nodes, its input and output narrowed to what a caller may give and get."""
    answer = {"structured_response": _hints(TieredState)["structured_response"]} if structured else {}
    return StateGraph(
        _schema("State", {**own_fields, **_hints(TieredState)}),
        context_schema=context,
        input_schema=_schema("Input", {**_shown(own_fields, "input"), **_hints(TieredInput)}),
        output_schema=_schema("Output", {**_shown(own_fields, "output"), **_hints(TieredOutput), **answer}),
    )


def _shown(own_fields: dict[str, Any], where: Literal["input", "output"]) -> dict[str, Any]:
    """Leave out the channels that the user marked to be omitted there, as `create_agent` does."""
    return {
        name: hint
        for name, hint in own_fields.items()
        if not any(isinstance(mark, OmitFromSchema) and getattr(mark, where) for mark in _marks(hint))
    }


def _marks(hint: Any) -> tuple[Any, ...]:
    """Return what a channel is annotated with."""
    inner = get_args(hint)[0] if get_origin(hint) in {Required, NotRequired} else hint
    return getattr(inner, "__metadata__", ())


def _schema(name: str, hints: dict[str, Any]) -> type[Any]:
    """Make a state schema whose channels are known only now."""
    make: Any = TypedDict
    schema: type[Any] = make(name, hints)
    return schema


def _hints(schema: type[Any]) -> dict[str, Any]:
    return get_type_hints(schema, include_extras=True)


def _own_fields(state_schema: type[Any] | None) -> dict[str, Any]:
    """Return the user's own channels, by name.

    Raises:
        ConfigurationError: If one has the name of a channel of ours.
    """
    if state_schema is None:
        return {}
    common = _hints(AgentState)
    own = {name: hint for name, hint in _hints(state_schema).items() if name not in common}
    if clash := sorted(own.keys() & _hints(TieredState).keys()):
        raise ConfigurationError(f"A state schema has {', '.join(clash)}: channels of the agent itself. Rename yours.")
    return own


def _public_fields(middleware: Sequence[AgentMiddleware[Any, Any, Any]]) -> dict[str, Any]:
    """Return the channels of other people's middleware that are not private: the caller gives and gets them."""
    return {
        name: hint
        for each in middleware
        for name, hint in _own_fields(each.state_schema).items()
        if PrivateStateAttr not in _marks(hint)
    }


def _context_schema(
    tiers: Sequence[Tier], own: type[Any] | None, system_prompt: str | SystemMessage | None
) -> type[Any]:
    """Return the user's dataclass with `<tier>_model`, `<tier>_prompt` and `pin` added; Studio edits them on the nodes.

    Raises:
        ConfigurationError: If it is no dataclass, or has such a field already.
    """
    if own is not None and not (isinstance(own, type) and is_dataclass(own)):
        raise ConfigurationError(f"context_schema={own!r} is no dataclass. Decorate it with @dataclass.")
    prompt = system_prompt if isinstance(system_prompt, str) else ""
    added = [
        ("pin", str, _studio("", "classify", None, "Name of the tier that answers; empty to let the router decide."))
    ]
    for tier in tiers:
        model = tier.model if isinstance(tier.model, str) else ""
        told = f"Model of the {tier.name} tier, as provider:model."
        added.append((field_of(tier.name, "model"), str, _studio(model, tier.name, "model", told)))
        told = f"System prompt of the {tier.name} tier."
        added.append((field_of(tier.name, "prompt"), str, _studio(prompt, tier.name, "prompt", told)))
    names = {name for name, _, _ in added}
    if clash := sorted(names & {each.name for each in (fields(own) if own else ())}):
        raise ConfigurationError(f"context_schema has {', '.join(clash)}: added by the agent itself. Rename yours.")
    if len(names) < len(added):
        raise ConfigurationError("Two tiers' names give one context field, such as 'a-b' and 'a_b'. Rename one.")
    frozen = own is None or own.__dataclass_params__.frozen  # type: ignore[attr-defined]
    return make_dataclass("Context", added, bases=(own,) if own else (), frozen=frozen, kw_only=True)


def _studio(default: str, node: str, kind: str | None, description: str) -> Any:
    """Return a context field with what LangGraph Studio needs to show it on its node."""
    told = {"langgraph_nodes": [node], **({"langgraph_type": kind} if kind else {})}
    return field(default=default, metadata={"description": description, "json_schema_extra": told})


def _distinct(tools: Sequence[Tool]) -> None:
    """Refuse two tools of one name.

    Raises:
        DuplicateNameError: If there are.
    """
    names = tool_facts(tools).names
    for name in names:
        if names.count(name) > 1:
            raise DuplicateNameError("tool", name, names)


def _acts_after_model(middleware: AgentMiddleware[Any, Any, Any]) -> bool:
    kind = type(middleware)
    return kind.after_model is not AgentMiddleware.after_model or kind.aafter_model is not AgentMiddleware.aafter_model
