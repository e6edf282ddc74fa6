"""What a call of a `TieredChatModel` is called under: LangChain hands `_stream` neither a config nor a run manager."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

from langchain_core.callbacks import AsyncCallbackManager, AsyncCallbackManagerForLLMRun, CallbackManager
from langchain_core.tracers import BaseTracer

from langchain_tiered.accounting.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_core.runnables import RunnableConfig

AROUND: ContextVar[Any] = ContextVar("langchain_tiered_around", default=None)
"""The config, or the run manager, of the call under way."""


class Around:
    """Lets `_stream`, which is called in the block, know what it is called under; `None` leaves what is known already.

    A tiered model that is another one's tier is called without a run manager: it is called under what that one is.
    """

    __slots__ = ("_call", "_token")

    def __init__(self, call: Any) -> None:
        """Take the config, or the run manager."""
        self._call = call

    def __enter__(self) -> None:
        self._token = AROUND.set(AROUND.get() if self._call is None else self._call)

    def __exit__(self, *_: object) -> None:
        AROUND.reset(self._token)


def config_of(call: Any) -> RunnableConfig:
    """Return a config for what is called beneath: that of `stream`, or one for the children of a run.

    Whoever counts chat models shall count one: calls that classify and judge are for tracers and the ledger alone.
    """
    if call is None:
        return {}
    if isinstance(call, dict):
        callbacks: Any = call.get("callbacks")
        if isinstance(callbacks, list):
            callbacks = _beneath(callbacks)
        elif callbacks is not None:
            callbacks = _manager(callbacks, callbacks.parent_run_id)
        own = {name: call.get(name) for name in ("tags", "metadata")}
        return cast("RunnableConfig", {**own, "callbacks": callbacks})
    callbacks = _manager(call, call.run_id) if call.inheritable_handlers else None
    return {"callbacks": callbacks, "tags": call.tags, "metadata": call.metadata}


def _manager(around: Any, parent: Any) -> Any:
    is_async = isinstance(around, (AsyncCallbackManager, AsyncCallbackManagerForLLMRun))
    handlers = _beneath(around.inheritable_handlers)
    return (AsyncCallbackManager if is_async else CallbackManager)(
        handlers=handlers,
        inheritable_handlers=handlers,
        parent_run_id=parent,
        inheritable_tags=around.inheritable_tags,
        inheritable_metadata=around.inheritable_metadata,
    )


def _beneath(handlers: Sequence[Any]) -> list[Any]:
    return [each for each in handlers if isinstance(each, (BaseTracer, Recorder))]
