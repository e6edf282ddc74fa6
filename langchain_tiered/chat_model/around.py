"""What a call of a `TieredChatModel` is called under: LangChain hands `_stream` neither a config nor a run manager."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar, cast

from langchain_core.callbacks import AsyncCallbackManager, AsyncCallbackManagerForLLMRun, CallbackManager
from langchain_core.runnables.config import ensure_config
from langchain_core.tracers import BaseTracer
from langchain_core.utils.uuid import uuid7

from langchain_tiered.accounting.recorder import Recorder
from langchain_tiered.accounting.traces import is_traced

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from langchain_core.runnables import RunnableConfig

_Part = TypeVar("_Part")

AROUND: ContextVar[Any] = ContextVar("langchain_tiered_around", default=None)
"""What the call under way is made under: a run manager, a `Streamed`, or the config of the tiered model around it."""


class Around:
    """Lets `_stream`, which is called in the block, know what it is called under; `None` leaves what is known already.

    A tiered model that is another one's tier is called without a run manager: it is called under what that one is.
    """

    __slots__ = ("_call", "_token")

    def __init__(self, call: Any) -> None:
        """Take what is to be known."""
        self._call = call

    def __enter__(self) -> None:
        self._token = AROUND.set(AROUND.get() if self._call is None else self._call)

    def __exit__(self, *_: object) -> None:
        AROUND.reset(self._token)


class Streamed:
    """A call of `stream`: its config, with the id of its run and with all who will listen to it.

    LangChain would choose both only behind our back. Known before, the run can be marked, and calls beneath hang there.
    """

    __slots__ = ("_parts", "config")

    def __init__(self, config: RunnableConfig | None, kind: type[CallbackManager | AsyncCallbackManager]) -> None:
        """Take the config as it was given, which stays as it is, and the kind of callbacks."""
        self.config = ensure_config(config)
        self.config["run_id"] = self.config.get("run_id") or uuid7()
        if is_traced():
            self.config["callbacks"] = kind.configure(self.config.get("callbacks"))  # LangSmith's tracer is added here
        self._parts: AsyncGenerator[Any, None] | None = None

    async def aclose(self) -> None:
        """Close what `_astream` has begun: LangChain leaves that to the garbage collector."""
        if self._parts is not None:
            await self._parts.aclose()

    def opened(self, parts: AsyncGenerator[Any, None]) -> None:
        """Remember what is to be closed."""
        self._parts = self._parts or parts


def opened(parts: AsyncGenerator[_Part, None]) -> AsyncGenerator[_Part, None]:
    """Have the parts of a stream closed with the call of `astream` around; return them."""
    around = AROUND.get()
    if isinstance(around, Streamed):
        around.opened(parts)
    return parts


def config_of(call: Any) -> RunnableConfig:
    """Return a config for what is called beneath: one for the children of a run.

    Whoever counts chat models shall count one: calls that classify and judge are for tracers and the ledger alone.
    """
    if call is None:
        return {}
    if isinstance(call, dict):
        return cast("RunnableConfig", call)
    if isinstance(call, Streamed):
        config: Any = call.config
        around, run_id, tags, metadata = (config.get(name) for name in ("callbacks", "run_id", "tags", "metadata"))
    else:
        around, run_id, tags, metadata = call, call.run_id, call.tags, call.metadata
    if isinstance(around, list):
        around = CallbackManager(handlers=[], inheritable_handlers=around) if around else None
    callbacks = _manager(around, run_id) if around is not None and around.inheritable_handlers else None
    return {"callbacks": callbacks, "tags": tags, "metadata": metadata}


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
