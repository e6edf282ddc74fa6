"""The nodes that the agents are made of, for graphs of one's own: `classify`, `answer`, `check`, and `route_by_tier`.

```python
builder = StateGraph(TieredState)
builder.add_node("classify", nodes.classify(router))
builder.add_conditional_edges("classify", route_by_tier, [tier.name for tier in tiers])
for tier in tiers:
    builder.add_node(tier.name, nodes.answer(tier, tiers=tiers))
    builder.add_edge(tier.name, "check")
builder.add_node("check", nodes.check(tiers), destinations=(*(tier.name for tier in tiers), END))
builder.add_edge(START, "classify")
```

The state may also be a dataclass or a pydantic model. Whatever it is, it has the channels `messages`, `route` and
`attempts` as `TieredState` declares them; a node that misses one says so, before a model is called. A tier's fallbacks
need `run`, too.

A node decides nothing: it asks the router for the route and the engine for the step, and carries the answer out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.runnables import Runnable
from langgraph.graph import END

from langchain_tiered.cascade.verdicts import Checks
from langchain_tiered.nodes.answering import HAND_UP, AnswerNode
from langchain_tiered.nodes.checking import CheckNode
from langchain_tiered.nodes.classifying import ClassifyNode
from langchain_tiered.nodes.ladder import Ladder
from langchain_tiered.nodes.states import routed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.runnables import RunnableConfig

    from langchain_tiered.cascade.checks import ChecksLike
    from langchain_tiered.nodes.ladder import State
    from langchain_tiered.routing.policy import Policy
    from langchain_tiered.routing.router import TierRouter
    from langchain_tiered.types import Tier

__all__ = ["answer", "check", "classify", "hand_up", "route_by_tier"]

hand_up = HAND_UP
"""The tool by which a tier that knows its limits hands a request up: `Tier(..., tools=[hand_up])`.

A tier that lacks the agent's tools has it without a word. A route that is pinned cannot be handed up. The reason that
the model gives is public: it stands in the route. `create_tiered_agent` refuses it on the last tier.
"""


class _ByTier(Runnable[Any, str]):
    """The edge from `classify` to the tier of the route.

    A function would be sent to a thread for each request under `ainvoke`, and traced: a fifth of the agent's overhead.
    """

    name = "route_by_tier"

    def __call__(self, state: Any) -> str:
        tier: str = routed(state)["tier"]
        return tier

    def invoke(self, input: State, config: RunnableConfig | None = None, **_: Any) -> str:
        """Return the name of the node that the route leads to."""
        del config
        return self(input)

    async def ainvoke(self, input: State, config: RunnableConfig | None = None, **_: Any) -> str:
        """Do what `invoke` does."""
        return self.invoke(input, config)


route_by_tier = _ByTier()
"""Return the name of the node that the state's `route` leads to, for `add_conditional_edges`."""


def classify(router: TierRouter, *, ahead: Sequence[AnswerNode] = ()) -> ClassifyNode:
    """Make the node that writes the `route` of the turn that `messages` ends with.

    Args:
        router: Decides.
        ahead: Nodes of tiers, made by `answer`, of which the lowest one that fits answers while the classifier decides,
            as `Policy(speculate=True)` has it in `create_tiered_agent`.

    Raises:
        ConfigurationError: In the run, if the state has no `messages`.
        InvalidInputError: In the run, if there is no human message with something to route.
        NoTierFitsError: In the run, if no tier can take the request.
    """
    return ClassifyNode(router, ahead=ahead)


def answer(
    tier: Tier, *, tiers: Sequence[Tier] = (), checks: ChecksLike = None, system_prompt: str | None = None
) -> AnswerNode:
    """Make the node that lets a tier's model answer once, into `attempts`.

    A provider's error becomes a failed attempt, which `check` answers by the engine's step; a caller's mistake, such
    as a bad key, is raised at once.

    Args:
        tier: The tier.
        tiers: All tiers of the graph, so that the node knows whether a rejected answer could still be replaced: only
            then are tokens held back, and only for checks that must read the whole answer.
        checks: What the `check` node behind it asks.
        system_prompt: What stands before the messages; the context's `<tier>_prompt` comes first.

    Raises:
        ConfigurationError: In the run, if the state lacks a channel or a route; nothing is paid then.
    """
    return AnswerNode(tier, Ladder(tiers or (tier,), checks=Checks(checks)), system_prompt=system_prompt)


def check(
    tiers: Sequence[Tier], checks: ChecksLike = None, *, policy: Policy | None = None, on_accepted: str = END
) -> CheckNode:
    """Make the node that judges the last attempt, and moves it to `messages` or goes to the tier of the next step.

    Args:
        tiers: All tiers of the graph, cheapest first.
        checks: What is asked of an answer; `None` for the built-in checks.
        policy: What bounds the steps; give it that of the router, so that its floors hold here too.
        on_accepted: The node that follows an accepted answer.

    Raises:
        ConfigurationError: In the run, if the state lacks a channel, a route or an attempt.
        NoAnswerAcceptedError: In the run, if every attempt was rejected.
    """
    return CheckNode(Ladder(tiers, policy=policy, checks=Checks(checks)), on_accepted=on_accepted)
