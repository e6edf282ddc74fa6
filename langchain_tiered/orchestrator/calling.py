"""How a worker is called: within its time, and so that what it raises about itself does not look like the run's end."""

from __future__ import annotations

import asyncio
import concurrent.futures
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.config import set_config_context

from langchain_tiered.orchestrator.attempts import SelfCancelledError, TooLateError
from langchain_tiered.orchestrator.workers import FunctionRunnable, in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    from langchain_core.runnables import Runnable

    from langchain_tiered.orchestrator.attempts import Tries

_SELF_CANCELLED = "It was cancelled, and not by the run."


def is_async(runnable: Runnable[Any, Any]) -> bool:
    """Tell whether only an async run can call a worker."""
    if isinstance(runnable, RunnableLambda):
        return not hasattr(runnable, "func")
    return isinstance(runnable, FunctionRunnable) and runnable.is_async


def called(runnable: Runnable[Any, Any], tries: Tries, timeout_s: float | None) -> Any:
    """Call the worker; one that hangs is left behind in its thread, and stopped at its next model or tool.

    Raises:
        TooLateError: If it takes longer than it may.
        SelfCancelledError: If it was cancelled from within.
    """
    payload = tries.payload()
    with set_config_context(tries.config) as context:
        if timeout_s is None:
            return context.run(_uncancelled, runnable.invoke, payload, tries.config)
        said: Future[Any] = context.run(in_thread, _uncancelled, runnable.invoke, payload, tries.config)
    if not concurrent.futures.wait([said], timeout_s).done:
        raise _late(timeout_s)
    return said.result()


async def acalled(runnable: Runnable[Any, Any], tries: Tries, timeout_s: float | None) -> Any:
    """Do what `called` does."""
    payload = tries.payload()
    with set_config_context(tries.config) as context:
        said = asyncio.create_task(_awaited(runnable.ainvoke, payload, tries.config), context=context)
        try:
            ended, _ = await asyncio.wait({said}, timeout=timeout_s)
        except BaseException:
            tries.close()  # a sync function goes on in its thread
            raise
        finally:
            said.cancel()
    if not ended:
        raise _late(timeout_s)
    if said.cancelled():
        raise SelfCancelledError(_SELF_CANCELLED)
    return said.result()


def _late(timeout_s: float | None) -> TooLateError:
    return TooLateError(f"It took longer than {timeout_s:g} s.")


def _uncancelled(call: Callable[..., Any], payload: Any, config: Mapping[str, Any]) -> Any:
    try:
        return call(payload, config)
    except asyncio.CancelledError as error:  # out of an event loop of the worker's own
        raise SelfCancelledError(_SELF_CANCELLED) from error


async def _awaited(call: Callable[..., Any], payload: Any, config: Mapping[str, Any]) -> Any:
    return await call(payload, config)
