"""The review inside the tiers of `create_tiered_agent`: what its factory must know of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_tiered.errors import ConfigurationError
from langchain_tiered.middleware.approval import rules_of
from langchain_tiered.middleware.cases import Review
from langchain_tiered.middleware.review import LoopReview, ReviewMiddleware
from langchain_tiered.routing.facts import tool_facts
from langchain_tiered.types import Tier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain.agents.middleware import AgentMiddleware
    from langchain_core.language_models import BaseChatModel

    from langchain_tiered.middleware.approval import RiskyTools
    from langchain_tiered.types import Tool


def reviewing(
    middleware: Sequence[AgentMiddleware[Any, Any, Any]],
    risky_tools: RiskyTools | None,
    reviewer: BaseChatModel | str | Tier | None,
    *,
    interrupts: bool,
) -> list[AgentMiddleware[Any, Any, Any]]:
    """Return the middleware of each tier's loop, with the review outermost: it sees what the others have made of calls.

    Args:
        middleware: The user's own, where a `ReviewMiddleware` may stand.
        risky_tools: What the agent's own review is about, or `None`.
        reviewer: Who judges, or `None`.
        interrupts: Whether a run can be interrupted.

    Raises:
        ConfigurationError: If there is a reviewer with nothing to review, two reviews, or no checkpointer for them.
    """
    inner = [LoopReview(each.review) if isinstance(each, ReviewMiddleware) else each for each in middleware]
    if risky_tools is None and reviewer is not None:
        raise ConfigurationError("A reviewer was given, and nothing to review. Name the tools: risky_tools=['refund'].")
    if risky_tools is not None:
        inner = [LoopReview(Review(reviewer, risky_tools, "interrupt")), *inner]
    reviews = _reviews(inner)
    if len(reviews) > 1:
        raise ConfigurationError("Two reviews were given. Put all tools into one: risky_tools, or a ReviewMiddleware.")
    if not interrupts and any(review.on_doubt == "interrupt" for review in reviews):
        raise ConfigurationError(
            "A review interrupts the run where a human must decide, and only a checkpointer keeps such a run. Pass "
            "one, like InMemorySaver(), or True where a parent graph or the LangGraph server brings it; or let "
            "ReviewMiddleware(..., on_doubt='reject') tell the model.",
        )
    return inner


def expect_known(
    risky_tools: RiskyTools | None,
    tools: Sequence[Tool],
    middleware: Sequence[AgentMiddleware[Any, Any, Any]],
) -> None:
    """Refuse a risky tool that nobody has: a name that is misspelt would guard nothing.

    Raises:
        ConfigurationError: If there is one, or one that the provider runs, which no review can hold up.
    """
    if risky_tools is None:
        return
    known = tool_facts([*tools, *(tool for each in middleware for tool in getattr(each, "tools", ()))])
    for name in rules_of(risky_tools):
        if name in known.provider:
            raise ConfigurationError(
                f"risky_tools has {name!r}, which the provider runs: it cannot be reviewed before.",
            )
        if name not in known.names:
            told = ", ".join(known.names) or "none"
            raise ConfigurationError(f"risky_tools has {name!r}, which no tier has. Tools: {told}.")


def reviewers(middleware: Sequence[AgentMiddleware[Any, Any, Any]]) -> list[Tier]:
    """Return the models that review, as tiers: what they cost must be known where there is a budget."""
    models = [review.model for review in _reviews(middleware) if review.model is not None]
    return [model if isinstance(model, Tier) else Tier("reviewer", model, criteria="") for model in models]


def _reviews(middleware: Sequence[AgentMiddleware[Any, Any, Any]]) -> list[Review]:
    return [each.review for each in middleware if isinstance(each, LoopReview)]
