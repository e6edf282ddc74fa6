"""What routing and escalation share as middleware: they know one run together, and book what it pays."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

from langchain.agents.middleware import AgentMiddleware, ExtendedModelResponse
from langchain_core.runnables.config import ensure_config, set_config_context
from langgraph.config import get_config
from langgraph.errors import GraphBubbleUp
from langgraph.types import Command

from langchain_tiered.accounting.recorder import recording
from langchain_tiered.errors import ConfigurationError
from langchain_tiered.middleware.run import Memory, RoutedState, begun, memory_of
from langchain_tiered.types import checked_tiers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from langchain.agents.middleware import ModelRequest, ModelResponse
    from langgraph.runtime import Runtime

    from langchain_tiered.routing.router import TierRouter
    from langchain_tiered.types import Tier


class TierMiddleware(AgentMiddleware[Any, Any, Any]):
    """Keeps the run's memory and ledger around each model call. What is done in between is the subclass's."""

    state_schema: ClassVar[Any] = RoutedState  # type: ignore[misc]
    router: TierRouter | None = None

    def before_agent(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any]:
        """Begin a run."""
        del runtime
        memory = begun(self.router, state)
        return {"tiered_run": memory, "tiered_turn": memory.turn}

    async def abefore_agent(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any]:
        """Do what `before_agent` does."""
        return self.before_agent(state, runtime)

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """Carry the call out, and write down what it paid."""
        memory = self._entered(request)
        try:
            response = self.called(memory, request, handler)
        except Exception as error:
            self._failed(memory, error)
            raise
        finally:
            memory.depth -= 1
        return self._left(memory, response)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """Do what `wrap_model_call` does."""
        memory = self._entered(request)
        try:
            response = await self.acalled(memory, request, handler)
        except Exception as error:
            self._failed(memory, error)
            raise
        finally:
            memory.depth -= 1
        return self._left(memory, response)

    def after_model(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Write down what a command did not: one is lost where a middleware outside calls the model again."""
        del runtime
        memory: Memory | None = state.get("tiered_run")
        fresh = memory.recorder.drain() if memory is not None else []
        return memory.update(fresh) if memory is not None and fresh else None

    async def aafter_model(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Do what `after_model` does."""
        return self.after_model(state, runtime)

    def called(
        self,
        memory: Memory,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> ModelResponse[Any]:
        """Make the call. The subclass says how."""
        raise NotImplementedError

    async def acalled(
        self,
        memory: Memory,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """Do what `called` does."""
        raise NotImplementedError

    def _entered(self, request: ModelRequest[Any]) -> Memory:
        state: Any = request.state
        memory = memory_of(state)
        if memory.own is None:
            memory.own = request.model
        memory.router = memory.router or self.router
        memory.depth += 1
        return memory

    def _left(self, memory: Memory, response: ModelResponse[Any]) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        if memory.depth:
            return response  # the outermost of ours writes everything down
        return ExtendedModelResponse(response, Command(update=memory.passed(response, get_config())))

    def _failed(self, memory: Memory, error: Exception) -> None:
        if memory.depth == 1 and not isinstance(error, GraphBubbleUp):
            memory.given = None
            memory.tell(error)


def recorded(
    memory: Memory,
    metadata: Mapping[str, Any],
    handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    request: ModelRequest[Any],
) -> ModelResponse[Any]:
    """Call on, with the run's recorder in the config."""
    with set_config_context(recording(ensure_config(), memory.recorder, metadata)) as context:
        return context.run(handler, request)


async def arecorded(
    memory: Memory,
    metadata: Mapping[str, Any],
    handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    request: ModelRequest[Any],
) -> ModelResponse[Any]:
    """Do what `recorded` does."""
    with set_config_context(recording(ensure_config(), memory.recorder, metadata)) as context:
        return await asyncio.create_task(handler(request), context=context)  # type: ignore[arg-type]


def checked(tiers: Sequence[Tier]) -> tuple[Tier, ...]:
    """Return `tiers` as a tuple.

    Raises:
        InvalidTierError: If there is none, or something in the sequence is no `Tier`.
        ConfigurationError: If one has tools of its own: all tools are the agent's here.
    """
    found = checked_tiers(tiers)
    for tier in found:
        if tier.tools:
            raise ConfigurationError(
                f"Tier {tier.name!r} has tools of its own, and in create_agent all tools are the agent's. Give them to "
                "create_agent, or use create_tiered_agent."
            )
    return found
