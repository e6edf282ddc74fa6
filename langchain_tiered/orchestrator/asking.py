"""How the planner and the reviewer are asked: a model by schema, or any runnable or function of the messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable
from langchain_core.runnables.config import ensure_config, set_config_context

from langchain_tiered.accounting.collecting import rebook
from langchain_tiered.accounting.entries import HELD, call_metadata
from langchain_tiered.accounting.recorder import recording
from langchain_tiered.cascade.asked import AskedModel, Said, with_schema
from langchain_tiered.errors import ConfigurationError
from langchain_tiered.orchestrator.workers import FunctionRunnable, given_by, json_in, reads_messages
from langchain_tiered.types import Tier

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from langchain_core.runnables import RunnableConfig

    from langchain_tiered.accounting.recorder import Recorder
    from langchain_tiered.types import LedgerEntry, Outcome, Role

AskedLike: TypeAlias = BaseChatModel | str | Tier | Runnable[Any, Any] | Callable[..., Any]
Asking: TypeAlias = "Generator[Sequence[BaseMessage], Said, Any]"
"""Yields what is to be asked, is sent what was said, and returns what was made of it."""


class Asked:
    """Whoever plans or reviews."""

    def __init__(self, who: AskedLike, role: Role, schema: Mapping[str, Any]) -> None:
        """Take whoever is asked, what for, and what is to be filled in.

        Raises:
            ConfigurationError: If nobody could be asked so.
        """
        self.role, self.schema, self.tier = role, schema, who if isinstance(who, Tier) else None
        self._model: AskedModel | None = None
        self._runnable: Runnable[Any, Any] | None = None
        if isinstance(who, (BaseChatModel, str, Tier)) and who:
            self._model = AskedModel(who, schema["title"], role=role)
            self.tier = self.tier or Tier(schema["title"], who, criteria="")  # type: ignore[arg-type]
        elif isinstance(who, Runnable):
            self._runnable = who
        elif callable(who) and not isinstance(who, type):
            self._runnable = FunctionRunnable(who)
        else:
            raise ConfigurationError(
                f"Nobody can {role} by {who!r}. Pass a chat model, a string like 'openai:gpt-5.4', a Tier, or a "
                "runnable or function of the messages."
            )

    def run(self, asking: Asking, config: RunnableConfig | None, recorder: Recorder, run_id: str) -> Any:
        """Ask what `asking` wants to know, and return what it comes to."""
        with set_config_context(self._config(config, recorder, run_id)) as context:
            return context.run(self._run, asking, recorder)

    async def arun(self, asking: Asking, config: RunnableConfig | None, recorder: Recorder, run_id: str) -> Any:
        """Do what `run` does."""
        with set_config_context(self._config(config, recorder, run_id)) as context:
            return await asyncio.create_task(self._arun(asking, recorder), context=context)

    def _run(self, asking: Asking, recorder: Recorder) -> Any:
        messages = next(asking)
        while True:
            before = len(recorder.entries)
            try:
                said = self._said(messages)
            except StopIteration as error:  # of a model that reads its answers off an iterator
                raise RuntimeError(self._no_answer_left) from error
            with self._booked(recorder, before) as ended:
                messages = asking.send(said)
            if ended:
                return ended[0]

    async def _arun(self, asking: Asking, recorder: Recorder) -> Any:
        messages = next(asking)
        while True:
            before = len(recorder.entries)
            try:
                said = await self._asaid(messages)
            except RuntimeError as error:  # which a coroutine makes of a StopIteration
                if not isinstance(error.__cause__, StopIteration):
                    raise
                raise RuntimeError(self._no_answer_left) from error
            with self._booked(recorder, before) as ended:
                messages = asking.send(said)
            if ended:
                return ended[0]

    @property
    def _no_answer_left(self) -> str:
        return f"Who is to {self.role} had no answer left."

    @contextmanager
    def _booked(self, recorder: Recorder, before: int) -> Iterator[list[Any]]:
        """Book a model's call as what became of what it said; the list is given what the asking comes to, at its end.

        A plan that came as the arguments of a tool call is no turn of a tool.
        """
        ended: list[Any] = []
        outcome: Outcome = "rejected"
        try:
            yield ended
        except StopIteration as end:
            outcome = "accepted"
            ended.append(end.value)
        finally:
            fresh = [entry for entry in recorder.entries[before:] if entry["role"] == self.role]
            told = [entry for entry in fresh if self._model is not None and entry["outcome"] != "failed"]
            corrected: list[LedgerEntry] = [{**entry, "outcome": outcome} for entry in told]
            rebook(corrected, ensure_config())

    def _said(self, messages: Sequence[BaseMessage]) -> Said:
        if self._runnable is not None:
            return _read(self._runnable.invoke(self._payload(messages), ensure_config()))
        return _whole(cast("AskedModel", self._model).said(messages, self.schema))

    async def _asaid(self, messages: Sequence[BaseMessage]) -> Said:
        if self._runnable is not None:
            return _read(await self._runnable.ainvoke(self._payload(messages), ensure_config()))
        return _whole(await cast("AskedModel", self._model).asaid(messages, self.schema))

    def _payload(self, messages: Sequence[BaseMessage]) -> Any:
        told = with_schema(messages, self.schema)
        as_state = self._runnable is not None and reads_messages(self._runnable) == "state"
        return {"messages": told} if as_state else told

    def _config(self, config: RunnableConfig | None, recorder: Recorder, run_id: str) -> RunnableConfig:
        around = ensure_config(config)
        told = call_metadata(role=self.role, tier=None, run_id=run_id)
        return recording({**around, "tags": [*(around.get("tags") or ()), HELD]}, recorder, told)


def _whole(said: Said) -> Said:
    """Return what was said with its value: also one that a model wrote as text, which has no way to fill a schema."""
    if isinstance(said.value, Mapping) or said.message is None:
        return said
    calls = said.message.tool_calls
    return Said(said.message, calls[0]["args"] if calls else json_in(said.message.text))


def _read(output: object) -> Said:
    """Read what a runnable or a function gave."""
    given = given_by(output)
    return Said(AIMessage(given.text), given.value if given.value is not None else json_in(given.text))
