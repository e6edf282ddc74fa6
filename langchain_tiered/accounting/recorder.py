"""The callback handler that books each model call.

All that a recorder knows of a call it reads off the call's own metadata and response, so that two recorders book the
same entry under the same id.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from weakref import WeakValueDictionary

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage

from langchain_tiered.accounting.entries import (
    HELD,
    NOTHING,
    TIERED,
    Call,
    Said,
    entry_of,
    may_be_charged,
    role_of,
    unread_on,
)
from langchain_tiered.accounting.traces import with_metadata
from langchain_tiered.accounting.usage import Tokens, tokens_of
from langchain_tiered.cascade.failures import causes_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from uuid import UUID

    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import ChatGenerationChunk, GenerationChunk, LLMResult
    from langchain_core.runnables import RunnableConfig

    from langchain_tiered.accounting.metering import Metered
    from langchain_tiered.types import LedgerEntry, Outcome


_NONE: frozenset[str] = frozenset()

_TELLS_OF_WHOLE_ANSWERS = frozenset({"ollama"})
"""Providers whose integration names them beside whole answers alone: that a stream broke off could not be seen else."""

_ALL: WeakValueDictionary[int, Recorder] = WeakValueDictionary()
"""Each recorder in a config. LangChain tells those that were told of a call nothing when a later one refuses it."""


class Recorder(BaseCallbackHandler):
    """Books every model call that it sees, one entry each, whoever makes the call and whatever becomes of it.

    A recorder belongs to one run and may be shared by its threads. Put it into a config with `recording`.
    """

    run_inline = True
    is_block = False
    """Whether it is that of a `collect_ledger` block, and not of a run."""

    def __init__(self, metered: Metered | None = None) -> None:
        """Begin with no entry; `metered` keeps the calls within a budget."""
        self.metered: Metered | None = None
        self.shared: Metered | None = None
        """The meter that those inside keep to, where this recorder itself holds nothing."""
        if metered is not None:
            self.keep_within(metered)
        self._lock = Lock()
        self._calls: dict[UUID, Call] = {}
        self._booked: dict[str, LedgerEntry] = {}
        self._fresh: dict[str, LedgerEntry] = {}
        self._shown: set[str] = set()
        self._heard: dict[str, _Heard] = {}
        self._gave: dict[str, str] = {}
        self._errors: deque[BaseException] = deque(maxlen=4)  # an error keeps its frames alive
        self._depth = 0
        self._around: tuple[Recorder, ...] = ()

    def keep_within(self, metered: Metered) -> None:
        """Keep the calls within a budget: one that does not fit is not made."""
        self.metered = metered
        self.raise_error = True  # LangChain's callbacks swallow what a handler raises, unless it says so
        logging.getLogger("langchain_core.callbacks.manager").addFilter(_is_unexpected)

    @property
    def entries(self) -> list[LedgerEntry]:
        """All entries so far, in the order in which their calls ended."""
        with self._lock:
            return list(self._booked.values())

    def __len__(self) -> int:
        """Tell how many entries there are."""
        return len(self._booked)

    def __bool__(self) -> bool:
        """Be there, also without an entry."""
        return True

    @property
    def answered(self) -> LedgerEntry | None:
        """The newest entry of role `answer`, or `None`: after a call, what became of it."""
        return next((entry for entry in reversed(self.entries) if entry["role"] == "answer"), None)

    def answer_of(self, message: BaseMessage | None) -> LedgerEntry | None:
        """Return the entry of the call that gave a message; where that is not known, the newest answer's.

        Others may call models of their own behind the call, before its message comes back.
        """
        known = self._gave.get(message.id) if message is not None and message.id else None
        return self._booked.get(known) if known else self.answered

    def shown(self, entry_id: str) -> bool:
        """Tell whether words of a call were streamed to whoever listens. Those of a `nostream` model never are."""
        return entry_id in self._shown

    def bound(self, entry_id: str | None) -> Sequence[Any]:
        """Return the tools that the call of an entry was given, in its provider's form; of the last calls alone.

        A middleware may have added some that the agent around it knows nothing of.
        """
        return self._heard[entry_id].tools if entry_id in self._heard else ()

    def cut_calls(self, entry_id: str | None) -> frozenset[str]:
        """Return the ids of tool calls whose arguments were no JSON as they were streamed; of the last calls alone.

        LangChain completes them: half of `{"amount": 1000}` would be run as `{"amount": 10}`.
        """
        return self._heard[entry_id].cut if entry_id in self._heard else _NONE

    def raised(self, error: BaseException) -> bool:
        """Tell whether an error came out of a model call itself, not out of what stands around it."""
        return self.refused(error) or any(cause is each for cause in causes_of(error) for each in self._errors)

    def refused(self, error: BaseException) -> bool:
        """Tell whether a budget did not let a call through: ours, or one around us, and not one of an agent inside."""
        return any(each.metered is not None and each.metered.refused(error) for each in (self, *self._around))

    def drain(self) -> list[LedgerEntry]:
        """Return the entries booked, or booked again, since the last drain."""
        with self._lock:
            fresh, self._fresh = self._fresh, {}
        return list(fresh.values())

    def book(self, entries: Iterable[LedgerEntry]) -> None:
        """Add entries; one whose id is there already takes the old one's place."""
        with self._lock:
            for entry in entries:
                self._booked[entry["id"]] = self._fresh[entry["id"]] = entry

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """Remember when a call began and what its config says of it.

        Raises:
            BudgetExceededError: If a budget does not hold the call.
        """
        del serialized
        self.began(run_id, [each for turn in messages for each in turn], tags or (), metadata or {}, _params(more))

    def on_llm_start(
        self,
        serialized: dict[str, Any],
        prompts: list[str],
        *,
        run_id: UUID,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """Do the same for a model of plain text."""
        del serialized
        self.began(run_id, prompts, tags or (), metadata or {}, _params(more))

    def began(
        self,
        run_id: UUID,
        said: Sequence[Any],
        tags: Sequence[str],
        metadata: Mapping[str, Any],
        params: Mapping[str, Any],
    ) -> None:
        """Remember when a call began and what its config says of it: what both of the above come to.

        Raises:
            BudgetExceededError: If a budget does not hold the call.
        """
        is_tiered = metadata.get("ls_provider") == TIERED
        if self.metered is not None and not is_tiered:
            try:
                self.metered.hold(run_id, said, params, metadata)
            except Exception:
                forget(run_id)
                raise
        call = Call(metadata, role_of(metadata), perf_counter(), HELD in tags, tools=params.get("tools") or ())
        call.is_tiered = is_tiered
        self._calls[run_id] = call

    def drop(self, run_id: UUID) -> None:
        """Forget a call that is not made."""
        self._calls.pop(run_id, None)
        if self.metered is not None:
            self.metered.release(run_id)

    def on_llm_new_token(
        self, token: Any, *, chunk: GenerationChunk | ChatGenerationChunk | None = None, run_id: UUID, **_: Any
    ) -> None:
        """Remember that a call has streamed, and whether it streamed words."""
        if (call := self._calls.get(run_id)) is None:
            return
        call.streamed = True
        call.shown = call.shown or (not call.held and bool(token if chunk is None else chunk.text))
        for part in getattr(getattr(chunk, "message", None), "tool_call_chunks", ()):
            # Parts of one call have its number; one without a number is whole, as LangChain merges them.
            place = len(call.arguments) if part.get("index") is None else ("number", part["index"])
            known_id, args = call.arguments.get(place, (None, ""))
            call.arguments[place] = (part.get("id") or known_id, args + (part.get("args") or ""))

    def on_stream_event(self, event: Mapping[str, Any], *, run_id: UUID, **_: Any) -> None:
        """Do the same for a call that streams events instead of chunks."""
        if (call := self._calls.get(run_id)) is not None and not call.shown:
            call.streamed = True
            part: Any = event.get("delta") or event.get("content") or {}
            call.shown = not call.held and bool(part.get("text"))

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **_: Any) -> None:
        """Book a call that was answered; see `ended`."""
        self.ended(run_id, Said.of(response))

    def ended(self, run_id: UUID, said: Said) -> None:
        """Book a call that was answered: `tool_turn` if it calls tools, else `accepted`.

        A tier's answer is `rejected` until a check accepts it, so that a run which raises leaves it rightly booked.
        One out of LangChain's own cache used nothing and costs nothing.
        """
        call = self._calls.pop(run_id, None)
        # A tiered model's own answer has a ledger of its own, which is empty where a cache around it gave the answer.
        if call is None or (call.is_tiered and (said.metadata.get("ledger") or not said.is_replayed)):
            return
        if said.message is not None and call.metadata.get("ls_provider") in _TELLS_OF_WHOLE_ANSWERS:
            said.message.response_metadata.setdefault("model_provider", call.metadata["ls_provider"])
        calls = isinstance(said.message, AIMessage) and (said.message.tool_calls or said.message.invalid_tool_calls)
        outcome: Outcome = "tool_turn" if calls else "rejected" if call.role == "answer" else "accepted"
        replayed = said.is_replayed
        entry = entry_of(run_id, call, said, Tokens(0, 0, 0, 0) if replayed else said.tokens, outcome)
        if replayed:
            entry["cost_usd"] = 0.0
        self._end(run_id, call, entry)
        if said.message is not None and said.message.id:
            self._gave[said.message.id] = entry["id"]

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Book a call that failed; see `broke`."""
        self.broke(run_id, error, Said.of(kwargs.get("response")))

    def broke(self, run_id: UUID, error: BaseException, said: Said = NOTHING) -> None:
        """Book a call that failed, with what it cost.

        - The provider told the usage before it broke off, or on the error: the price of that.
        - Words had come, or the call was cancelled: unknown. The provider has worked and may charge for it.
        - The provider refused, with an error status or a code of its own: nothing; none charges for that.
        - An outage or a timeout: unknown. The request may have arrived, and only the answer got lost.
        - Anything else, such as a bug: unknown. It may have been raised before the request was sent, and just as well
          after a paid answer came that the integration could not read.
        """
        self._errors.append(error)
        call = self._calls.pop(run_id, None)
        if call is None or call.is_tiered:
            return
        tokens, unread = said.tokens, dict[str, Any]()
        if not tokens.output_tokens:  # some providers tell the input first and the output last
            unread = unread_on(error)
            tokens = tokens_of(unread.get("usage"))
        entry = entry_of(run_id, call, said, tokens, "failed", unread)
        if tokens == Tokens():
            entry["cost_usd"] = None if may_be_charged(error, streamed=call.streamed) else 0.0
        self._end(run_id, call, entry)

    def abandon(self) -> None:
        """Book the calls under way as failed, at an unknown cost: LangChain tells no handler of one cancelled."""
        for run_id, call in [each for each in self._calls.items() if not each[1].is_tiered]:
            self._end(run_id, call, entry_of(run_id, call, NOTHING, Tokens(), "failed"))

    def _end(self, run_id: UUID, call: Call, entry: LedgerEntry) -> None:
        cut = [call_id for call_id, args in call.arguments.values() if call_id and not _is_json(args)]
        if len(self._heard) >= _MOST_HEARD:
            self._heard.pop(next(iter(self._heard)), None)
        self._heard[entry["id"]] = _Heard(call.tools, frozenset(cut) if cut else _NONE)
        if self.metered is not None:
            self.metered.settle(run_id, entry)
        if call.shown:
            self._shown.add(entry["id"])
        self.book([entry])


class _Heard(NamedTuple):
    """What is known of a call beside its entry."""

    tools: Sequence[Any]
    """The tools that it was given."""

    cut: frozenset[str]
    """The ids of tool calls whose arguments were cut off."""


_MOST_HEARD = 8
"""Calls of which that is known: those that end beside the one that answers, or behind it."""


def known(recorder: Recorder) -> None:
    """Have a recorder hear of calls that are not made, as long as it is there."""
    _ALL[id(recorder)] = recorder


def forget(run_id: UUID) -> None:
    """Take a call that is not made from all that were told of its beginning: there is nothing to book or to hold."""
    for recorder in filter(None, (one() for one in _ALL.valuerefs())):
        recorder.drop(run_id)


def _is_unexpected(record: logging.LogRecord) -> bool:
    """Keep out of the log what LangChain tells of a call that a budget did not let through: the run tells it itself."""
    return "BudgetExceededError(" not in record.getMessage()


def recorder_in(config: RunnableConfig) -> Recorder | None:
    """Return the innermost recorder among a config's callbacks, or `None`; that of `collect_ledger` is not meant."""
    return max(recorders_in(config), key=lambda recorder: recorder._depth, default=None)  # noqa: SLF001  (our own)


def recorders_in(config: RunnableConfig) -> list[Recorder]:
    """Return the recorders of runs among a config's callbacks; those of `collect_ledger` are not meant."""
    return [each for each in heard_by(config) if isinstance(each, Recorder) and not each.is_block]


def heard_by(config: RunnableConfig) -> Sequence[Any]:
    """Return all handlers of a config."""
    callbacks: Any = config.get("callbacks")
    return callbacks if isinstance(callbacks, list) else getattr(callbacks, "handlers", ())


def recording(config: RunnableConfig, recorder: Recorder, metadata: Mapping[str, Any]) -> RunnableConfig:
    """Return `config` with `recorder` among its callbacks and with `metadata`; all else stays as it is.

    LangChain's own `merge_configs` would mix in the config of the node around the caller, and is eight times as slow.
    """
    known(recorder)
    # Two managers are merged by way of a set: the order of handlers does not tell which recorder stands in which.
    around = tuple(each for each in recorders_in(config) if each is not recorder)
    recorder._depth = 1 + max((each._depth for each in around), default=0)  # noqa: SLF001  (our own)
    recorder._around = around  # noqa: SLF001  (our own)
    callbacks: Any = config.get("callbacks")
    if callbacks is None or isinstance(callbacks, list):
        callbacks = [*(handler for handler in callbacks or () if handler is not recorder), recorder]
    else:
        callbacks = callbacks.copy()
        callbacks.add_handler(recorder, inherit=True)
    merged = {**config, "callbacks": callbacks, "metadata": with_metadata(config.get("metadata"), metadata)}
    return cast("RunnableConfig", merged)


def _params(told: Mapping[str, Any]) -> Mapping[str, Any]:
    return told.get("invocation_params") or {}


def _is_json(args: str) -> bool:
    """Tell whether streamed arguments are whole; a call without any has an empty text."""
    try:
        json.loads(args or "{}", strict=False)
    except ValueError:
        return False
    return True
