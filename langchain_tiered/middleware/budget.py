"""`BudgetMiddleware`: what a run and a thread of an agent may cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from langchain_tiered.accounting.budget import Budget
from langchain_tiered.accounting.metering import Metered
from langchain_tiered.middleware.base import TierMiddleware
from langchain_tiered.nodes.events import stream_writer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from langchain.agents.middleware import ModelRequest, ModelResponse
    from langgraph.runtime import Runtime

    from langchain_tiered.middleware.run import Memory


class BudgetMiddleware(TierMiddleware):
    """Lets no model call through that the run's, or the thread's, budget does not hold.

    ```python
    agent = create_agent(model, tools, middleware=[BudgetMiddleware(run_limit_usd=0.05)])
    ```

    Before a call the most that it is likely to cost is held, counted by its input and `max_tokens`, and settled after
    it. Where a call does not fit it is not made. Shares of a limit that are reached are events on the custom stream.
    What counts is what passes through the middleware; calls that tools make by themselves are seen by `collect_ledger`.

    Args:
        run_limit_usd: What one invocation may cost, or `None`.
        thread_limit_usd: What a thread may cost over all its runs, or `None`; counted by its stored ledger.
        exit_behavior: `end` the run with a message, raise a `BudgetExceededError`, or `downgrade`: beside
            `EscalationMiddleware` to a cheaper tier, and end where none fits.

    Raises:
        InvalidBudgetError: If there is no limit, or a setting is out of range. In the run, if the price of the agent's
            model is unknown.
    """

    names: tuple[str, ...] = ()

    def __init__(
        self,
        run_limit_usd: float | None = None,
        thread_limit_usd: float | None = None,
        exit_behavior: Literal["end", "error", "downgrade"] = "end",
    ) -> None:
        super().__init__()
        self.budget = Budget(run_limit_usd, thread_limit_usd, exit_behavior)

    def before_agent(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any]:
        """Begin a run, and its meter."""
        update = super().before_agent(state, runtime)
        self._meter(update["tiered_run"], state)
        return update

    async def abefore_agent(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any]:
        """Do what `before_agent` does."""
        return self.before_agent(state, runtime)

    def called(
        self,
        memory: Memory,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> ModelResponse[Any]:
        """Call on, with the run's recorder and its meter."""
        self._meter(memory, request.state)
        return super().called(memory, request, handler)

    async def acalled(
        self,
        memory: Memory,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """Do what `called` does."""
        self._meter(memory, request.state)
        return await super().acalled(memory, request, handler)

    def _meter(self, memory: Memory, state: Mapping[str, Any]) -> None:
        """Give the run its meter, where it has none yet: at its start, and after an interrupt."""
        if memory.recorder.metered is None:
            memory.budget = self.budget
            entries = state.get("ledger") or ()
            memory.recorder.keep_within(Metered(self.budget, entries, memory.turn["run_id"], stream_writer()))
