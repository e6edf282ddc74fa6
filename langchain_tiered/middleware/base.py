"""What routing and escalation share as middleware: they know one run together, and book what it pays."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from langchain.agents.middleware import AgentMiddleware, ExtendedModelResponse, ModelResponse
from langchain_core.messages import AIMessage
from langchain_core.runnables.config import var_child_runnable_config
from langgraph.config import get_config
from langgraph.errors import GraphBubbleUp
from langgraph.types import Command

from langchain_tiered.accounting.entries import HELD, call_metadata
from langchain_tiered.accounting.rates import import_prices
from langchain_tiered.accounting.recorder import recording
from langchain_tiered.accounting.traces import mark, tagged, tier_tag
from langchain_tiered.errors import ConfigurationError
from langchain_tiered.middleware.run import PLACED, Memory, Placed, RoutedState, begun, memory_of
from langchain_tiered.models import called
from langchain_tiered.nodes.checking import SPENT
from langchain_tiered.types import checked_tiers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from langchain.agents.middleware import ModelRequest
    from langchain_core.language_models import BaseChatModel
    from langchain_core.runnables import RunnableConfig
    from langgraph.runtime import Runtime

    from langchain_tiered.routing.policy import Policy
    from langchain_tiered.routing.router import TierRouter
    from langchain_tiered.types import Tier


class TierMiddleware(AgentMiddleware[Any, Any, Any]):
    """Keeps the run's memory and ledger around each model call. What is done in between is the subclass's."""

    state_schema: ClassVar[Any] = RoutedState  # type: ignore[misc]
    names: tuple[str, ...]
    router: TierRouter | None = None

    def before_agent(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any]:
        """Begin a run."""
        del runtime
        memory = begun(state, self.names, self.router)
        return {"tiered_run": memory, "tiered_turn": memory.turn}

    async def abefore_agent(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any]:
        """Do what `before_agent` does."""
        return self.before_agent(state, runtime)

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """Carry the call out; the outermost of ours writes down what it paid."""
        memory = self._entered(request)
        if memory.placed is not None:
            return self.called(memory, request, handler)
        try:
            response = self.called(memory, request, handler)
        except GraphBubbleUp:
            raise
        except Exception as error:
            if _ends_quietly(memory, error):
                return _left(memory, request, spent(memory))
            memory.tell(error, _state(request))
            raise
        return _left(memory, request, response)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """Do what `wrap_model_call` does."""
        await import_prices()
        memory = self._entered(request)
        if memory.placed is not None:
            return await self.acalled(memory, request, handler)
        try:
            response = await self.acalled(memory, request, handler)
        except GraphBubbleUp:
            raise
        except Exception as error:
            if _ends_quietly(memory, error):
                return _left(memory, request, spent(memory))
            memory.tell(error, _state(request))
            raise
        return _left(memory, request, response)

    def after_agent(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Write down what a command did not: none is left where a middleware outside makes an answer of an error."""
        del runtime
        memory: Memory | None = state.get("tiered_run")
        if memory is None:
            return None
        memory.recorder.abandon()
        update = memory.update(state)
        return update if update.get("ledger") else None

    async def aafter_agent(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Do what `after_agent` does."""
        return self.after_agent(state, runtime)

    def called(
        self,
        memory: Memory,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> ModelResponse[Any]:
        """Make the call, with the run's recorder. A subclass may know better how."""
        if memory.placed is not None:
            return handler(request)  # one of ours further out records the call
        with self._booked(memory):
            return handler(request)

    async def acalled(
        self,
        memory: Memory,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """Do what `called` does."""
        if memory.placed is not None:
            return await handler(request)
        with self._booked(memory):
            return await handler(request)

    def _booked(self, memory: Memory) -> Within:
        """Return a block whose call is booked, and of which nobody says whose model is called."""
        metadata = call_metadata(role="answer", tier=None, run_id=memory.turn["run_id"])
        return Within(recorded_config(memory, metadata), None)

    def _entered(self, request: ModelRequest[Any]) -> Memory:
        memory = memory_of(_state(request))
        if memory.own is None:
            memory.own = request.model
        memory.router = memory.router or self.router
        return memory


def _left(memory: Memory, request: ModelRequest[Any], response: ModelResponse[Any]) -> ExtendedModelResponse[Any]:
    config = get_config()
    passed, update = memory.passed(response, config), memory.update(_state(request))
    if (route := memory.route) is not None:
        mark(config, tier_tag(route["tier"]), tier=route["tier"], route=route, paid=update["ledger"])
    return ExtendedModelResponse(passed, Command(update=update))


def _state(request: ModelRequest[Any]) -> dict[str, Any]:
    """Return the agent's state; it has our channels beside those of `AgentState`."""
    return request.state  # type: ignore[return-value]


def _ends_quietly(memory: Memory, error: Exception) -> bool:
    """Tell whether a run whose budget is spent ends with a message instead of an error."""
    budget = memory.budget
    return budget is not None and budget.exit_behavior != "error" and memory.recorder.refused(error)


def spent(memory: Memory) -> ModelResponse[Any]:
    """Return the message that ends a run whose budget is spent."""
    memory.outcome = "accepted"
    return ModelResponse(result=[AIMessage(SPENT, response_metadata={"budget_exceeded": True})])


class Within:
    """Has what is called in the block run under a config, and tells ours further in whose model is called.

    The block stays in its task and its context, as if nobody stood there: what is called may set variables, too.
    """

    __slots__ = ("_config", "_placed", "_tokens")

    def __init__(self, config: RunnableConfig, placed: Placed | None) -> None:
        """Take the config, and what one of ours tells those further in."""
        self._config, self._placed = config, placed

    def __enter__(self) -> None:
        self._tokens = var_child_runnable_config.set(self._config), PLACED.set(self._placed)

    def __exit__(self, *_: object) -> None:
        config, placed = self._tokens
        # A coroutine may be closed in another context, whose variables are its own.
        with suppress(ValueError):
            PLACED.reset(placed)
        with suppress(ValueError):
            var_child_runnable_config.reset(config)


def recorded(
    memory: Memory,
    metadata: Mapping[str, Any],
    model: BaseChatModel | None = None,
    *,
    held: bool = False,
) -> Within:
    """Return the block in which a call is booked by the run's recorder.

    Tokens are held by a tag of the config, not of a copied model: a double that counts on itself keeps its count.

    Args:
        memory: The run.
        metadata: What the recorder is told of the call.
        model: The model that one of ours has put in; `None` where another middleware's was left alone.
        held: Whether the call's tokens are kept from the user's stream.
    """
    told = metadata if model is None else {**metadata, "tiered_put_in": called(model)}
    return Within(recorded_config(memory, told, held=held), Placed(memory, model))


def recorded_config(memory: Memory, metadata: Mapping[str, Any], *, held: bool = False) -> RunnableConfig:
    """Return the config of a call that the run's recorder sees; `held` keeps its tokens from the user's stream."""
    config = recording(var_child_runnable_config.get() or {}, memory.recorder, metadata)
    if (tier := metadata.get("tier")) is not None:
        others = [tag for tag in config.get("tags") or () if not tag.startswith(tier_tag(""))]
        config = tagged({**config, "tags": others}, tier_tag(tier))
    return {**config, "tags": [*(config.get("tags") or ()), HELD]} if held else config


def checked(tiers: Sequence[Tier], policy: Policy) -> tuple[Tier, ...]:
    """Return `tiers` as a tuple.

    Raises:
        InvalidTierError: If there is none, or something in the sequence is no `Tier`.
        UnknownTierError: If the policy names a tier that is not declared.
        ConfigurationError: If one has tools of its own: all tools are the agent's here. If the policy speculates.
    """
    found = checked_tiers(tiers)
    policy.validate([tier.name for tier in found])
    for tier in found:
        if tier.tools:
            raise ConfigurationError(
                f"Tier {tier.name!r} has tools of its own, and in create_agent all tools are the agent's. Give them to "
                "create_agent, or use create_tiered_agent."
            )
    if policy.speculate:
        raise ConfigurationError(
            "Policy(speculate=True) needs a tier that answers with one model call, and an agent's loop may run tools. "
            "Leave it False here, or use create_tiered_agent."
        )
    return found
