"""One call of a `TieredChatModel`: routed once, asked of a tier's model, judged, and booked, attempt by attempt.

A tier's model is called below its public methods, by `_generate` and `_stream`: those would tell every listener of a
second model call, with the same tokens and the same usage as ours. Only our own recorders are told of it, which in turn
book nothing for the call around it. So each paid call is in each ledger once, and whoever else counts or traces sees
one chat model that used what its answer says.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from langchain.agents.middleware import ModelResponse
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatResult
from langchain_core.utils.uuid import uuid7
from langgraph.runtime import Runtime

from langchain_tiered.accounting.collecting import recorders_around
from langchain_tiered.accounting.entries import HELD, NOTHING, TIERED, Said, call_metadata, role_of
from langchain_tiered.accounting.recorder import Recorder
from langchain_tiered.accounting.traces import mark, tier_tag
from langchain_tiered.cascade.checks import CheckInput
from langchain_tiered.cascade.verdicts import BUILT_IN
from langchain_tiered.chat_model.around import Around
from langchain_tiered.chat_model.binding import NOT_ACCEPTED, STRUCTURED, Ready, Structured, Tools, Whole, plain_schema
from langchain_tiered.chat_model.reading import asking, since, whole, worded
from langchain_tiered.errors import InvalidInputError
from langchain_tiered.nodes.calls import Turn, Weigh, carried, error_of, outcome_of, risen, settle
from langchain_tiered.nodes.ladder import priced
from langchain_tiered.routing.facts import NO_TOOLS, facts_of, tool_facts
from langchain_tiered.state import Run

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from uuid import UUID

    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import ChatGeneration, ChatGenerationChunk
    from langchain_core.runnables import RunnableConfig

    from langchain_tiered.cascade.steps import Action
    from langchain_tiered.chat_model.parts import Parts
    from langchain_tiered.nodes.calls import End
    from langchain_tiered.nodes.ladder import State
    from langchain_tiered.routing.facts import ToolFacts
    from langchain_tiered.types import Attempt, Facts, LedgerEntry, Route, Tier, TierFacts, Verdict

_OURS = frozenset(check.__name__ for check in BUILT_IN)

INSIDE: frozenset[Action] = frozenset({"wait", "repair", "fall_back", "escalate", "downgrade"})
"""A chat model carries all steps out itself."""


NOTHING_YET = ChatResult(generations=())
"""Stands for the result of a call that no model has answered."""


class Request:
    """One attempt's request, as `carried` hands it from who prepares it to who asks it."""

    runtime: ClassVar[Any] = Runtime(context=None)
    system_message: ClassVar[None] = None

    def __init__(self, tools: Sequence[Any], response_format: Any) -> None:
        self.tools, self.response_format = tools, response_format
        self.messages: list[BaseMessage] = []
        self.ready: Ready | None = None
        self.told: dict[str, Any] = {}
        self.held = False


class Call:
    """A call, and all attempts at it."""

    inside = INSIDE

    def __init__(
        self,
        parts: Parts,
        messages: Sequence[BaseMessage],
        stop: list[str] | None,
        options: Mapping[str, Any],
        around: RunnableConfig,
        *,
        is_async: bool,
        streams: bool = False,
    ) -> None:
        """Take what is asked.

        Args:
            parts: What the model is made of.
            messages: The messages.
            stop: Words at which the answer ends, or `None`.
            options: The keywords of the call: those that were bound, and those that go to the provider.
            around: The config that the call is made under.
            is_async: Whether it is made on an event loop.
            streams: Whether its tokens are wanted one by one.
        """
        self.parts, self.messages, self.stop, self.around = parts, messages, stop, around
        self.is_async, self.streams = is_async, streams
        self.options = dict(options)
        self.structured: Structured | None = self.options.pop(STRUCTURED, None)
        if self.structured is not None:
            self.options.pop("tools", None)  # shown to tracers; each tier's model has its own form of them
        tools = self.options.get("tools")
        self.tools: Tools | None = tools if isinstance(tools, Tools) else None
        self.plain_tools: Sequence[Any] = tools or ()
        self.schema: Any = plain_schema(self.options) if self.structured is None else self.structured.checked
        self.metadata: Mapping[str, Any] = around.get("metadata") or {}
        self.run_id = str(self.metadata.get("tiered_run_id") or uuid7())
        self.recorder = _Recorder()  # of its own, since what others have heard is no part of this call
        self.listeners: list[Recorder] = [self.recorder, *recorders_around(around)]
        self.result = NOTHING_YET
        self.state: State = {"messages": messages, "attempts": []}

    def route(self) -> None:
        """Have the call routed."""
        known, router = self.parts.facts(), self.parts.router
        told: Any = {"tiers": known, "run_id": self.run_id, "recorder": self.recorder}
        self._begin(router.route(self._facts(), self.around, **told), known)

    async def aroute(self) -> None:
        """Do what `route` does, without blocking the event loop."""
        known, router = await self.parts.afacts(), self.parts.router
        told: Any = {"tiers": known, "run_id": self.run_id, "recorder": self.recorder}
        self._begin(await router.aroute(self._facts(), self.around, **told), known)

    def _facts(self) -> Facts:
        asked, tools, schema = asking(self.messages), self._tool_facts(), self.schema is not None
        try:
            self.facts = facts_of(asked, tools, schema=schema)
        except InvalidInputError:
            if (told := worded(asked)) is None:
                raise
            self.facts = facts_of(told, tools, schema=schema)
        return self.facts

    def _tool_facts(self) -> ToolFacts:
        if self.tools is not None:
            return self.tools.facts
        if self.structured is not None:
            return self.structured.facts
        return tool_facts(self.plain_tools) if self.plain_tools else NO_TOOLS

    def _begin(self, route: Route, known: Sequence[TierFacts]) -> None:
        unfit = self.parts.ladder.policy.unfit(self.facts, known)
        self.state["route"] = route
        self.state["run"] = Run(id=self.run_id, unfit=unfit, fallback=0, since=since(self.messages, route["tier"]))
        tools = self.tools.given if self.tools is not None else self.plain_tools
        if self.structured is not None:
            tools = self.structured.tools
        request: Any = Request(tools, self.schema)
        self.turn = Turn(
            self.parts.ladder,
            self.parts.judge,
            self.recorder,
            request,
            self.state,
            config=self.around,
            words_stand=self.streams,
        )

    def steps(self) -> Generator[Any, Any, End]:
        """Return the steps of the call, to be driven."""
        return carried(self.turn, self, self.parts.ladder.tier(self.state["route"]["tier"]), 0)

    def ready(self, tier: Tier, fallback: int) -> BaseChatModel | None:
        """Return a tier's model where it is built already."""
        return self.parts.router.models.at_hand(tier, fallback)

    def is_tiered(self, model: BaseChatModel) -> bool:
        """Tell whether a tier's model is a tiered one itself."""
        return bool(self.parts.told_by(model)["ls_provider"] == TIERED)

    def prepared(
        self, model: BaseChatModel, tier: Tier, fallback: int, told: Sequence[BaseMessage], tried: Sequence[Attempt]
    ) -> Any:
        """Return the request for one attempt."""
        request = Request(self.turn.request.tools, self.turn.request.response_format)
        request.messages = [*self.messages, *told] if told else list(self.messages)
        request.ready = ready = self._bound(tier, model)
        if self.streams and not isinstance(ready.model, Whole):
            state = {**self.state, "attempts": tried}
            schema = request.response_format
            request.held = self.parts.ladder.holds(
                state, tier, ready.model, is_async=self.is_async, schema=schema, words_stand=schema is not None
            )
        role = role_of(self.metadata) if "tiered_role" in self.metadata else "answer"
        terms = call_metadata(
            role=role, tier=priced(tier, None, fallback), run_id=self.run_id
        )  # recorders alone are told: the route is for tracers
        name = {"ls_model_name": self.options["model"]} if isinstance(self.options.get("model"), str) else {}
        request.told = {**self.metadata, **self.parts.told_by(model), **name, **terms, "tiered_own_terms": True}
        return request

    def _bound(self, tier: Tier, model: BaseChatModel) -> Ready:
        """Return the tier's model with what was bound on ours; the other options of the call come last."""
        rest = self.options
        if self.tools is not None:
            names = self.tools.options.keys()
            options = {name: rest[name] for name in names if name in rest}
            ready = self.tools.ready(tier, model, options)
            rest = {name: value for name, value in rest.items() if name != "tools" and name not in names}
        elif self.structured is not None:
            ready = self.structured.ready(tier, model)
        else:
            return Ready(model, rest)
        return Ready(ready.model, {**ready.options, **rest})

    def ask(self, request: Request) -> ModelResponse[Any]:
        """Ask the model of an attempt for a whole answer."""
        call, (model, options) = self.begin(request), ready_of(request)
        try:
            with Around(self.around):  # a tiered model is told nothing else of what it is called under
                if isinstance(model, Whole):
                    result = model.generate(request.messages, self._with_stop(options))
                elif _is_plain(model):
                    result = model._generate(request.messages, stop=self.stop, **options)  # noqa: SLF001  (see the head of this page)
                else:
                    result = model._generate_with_cache(request.messages, stop=self.stop, **options)  # noqa: SLF001  (the same)
        except BaseException as error:
            self.broke(call, request, error)
            raise
        return self.ended(call, result)

    async def aask(self, request: Request) -> ModelResponse[Any]:
        """Do what `ask` does, without blocking the event loop."""
        call, (model, options) = self.begin(request), ready_of(request)
        try:
            with Around(self.around):  # a tiered model is told nothing else of what it is called under
                if isinstance(model, Whole):
                    result = await model.agenerate(request.messages, self._with_stop(options))
                elif _is_plain(model):
                    result = await model._agenerate(request.messages, stop=self.stop, **options)  # noqa: SLF001  (as above)
                else:
                    result = await model._agenerate_with_cache(request.messages, stop=self.stop, **options)  # noqa: SLF001  (as above)
        except BaseException as error:
            self.broke(call, request, error)
            raise
        return self.ended(call, result)

    def _with_stop(self, options: dict[str, Any]) -> dict[str, Any]:
        return options if self.stop is None else {**options, "stop": self.stop}

    def begin(self, request: Request) -> UUID:
        """Tell the recorders that a model is about to be called; return the id of the call.

        Raises:
            BudgetExceededError: If a budget around does not hold the call.
        """
        call = uuid7()
        _, options = ready_of(request)
        tags = [*(self.around.get("tags") or ()), *([HELD] if request.held else ())]
        self.recorder.asked, self.recorder.latest = call, ""
        for place, listener in enumerate(self.listeners):
            try:
                listener.began(call, request.messages, tags, request.told, options)
            except Exception:
                for told in self.listeners[:place]:
                    told.drop(call)
                raise
        return call

    def token(self, call: UUID, chunk: ChatGenerationChunk) -> None:
        """Tell the recorders that a part of the answer came."""
        for listener in self.listeners:
            listener.on_llm_new_token(chunk.text, chunk=chunk, run_id=call)

    def broke(self, call: UUID, request: Request, error: BaseException, so_far: ChatGeneration | None = None) -> None:
        """Tell the recorders that the call failed, and whoever reads the error whose it is."""
        with suppress(AttributeError, TypeError):  # an error with slots takes no note
            error.add_note(f"Raised by the model of tier {request.told['tier']!r}.")
        said = Said(so_far.message) if so_far is not None else NOTHING
        for listener in self.listeners:
            listener.broke(call, error, said)
        self._take_over(call, getattr(error, "ledger", None))

    def ended(self, call: UUID, result: ChatResult) -> ModelResponse[Any]:
        """Tell the recorders of the answer, and return it as the checks read it."""
        self.result = whole(result)
        message = next((generation.message for generation in self.result.generations), None)
        said = Said(message, result.llm_output or {})
        for listener in self.listeners:
            listener.ended(call, said)
        if message is not None:
            self._take_over(call, message.response_metadata.get("ledger"))
        value = None
        if self.structured is not None and isinstance(message, AIMessage):
            value = self.structured.value_in(message)
        return ModelResponse(result=[message] if message is not None else [], structured_response=value)

    def _take_over(self, call: UUID, ledger: Any) -> None:
        """Take the entries of a tier that is a tiered model itself: it has booked its calls with everybody else."""
        if ledger and not any(entry["id"] == str(call) for entry in self.recorder.entries):
            self.recorder.book(ledger)
            self.recorder.latest = ledger[-1]["id"]

    def settled(self, end: End) -> dict[str, Any]:
        """Book what became of the call; return what its answer's metadata tell beside the provider's.

        Raises:
            NoAnswerAcceptedError: If every attempt was rejected. A provider's error is raised as it is.
        """
        told: dict[str, Any] = {}
        if _is_over(end) or (end.response is None and end.error is None):
            error = error_of(self.turn, end)
            if not self._is_raw(end):
                raise error
            told = {NOT_ACCEPTED: {"attempts": end.tried, "why": end.step.reason if end.step else ""}}
        elif end.step is not None:
            outcome = outcome_of(self.turn, end)
            settle(self.recorder.answered, outcome, self.listeners, before=("rejected", "tool_turn", "failed"))
            told = {"truncated": True} if outcome == "truncated" else {}
        route, paid = risen(self.turn, end), self.recorder.entries
        if self.around.get("callbacks"):
            mark(self.around, tier_tag(end.tier.name), tier=end.tier.name, route=route, paid=paid)
        return {**told, "route": dict(route), "ledger": [dict(entry) for entry in paid]}

    def _is_raw(self, end: End) -> bool:
        """Tell whether a message that was not accepted is wanted beside the error; never one for a user's check."""
        if self.structured is None or not self.structured.include_raw or end.error is not None or not end.tried:
            return False
        verdict = end.tried[-1]["verdict"]
        is_ours = verdict is not None and verdict["check"] in _OURS
        return is_ours and any(isinstance(message, AIMessage) for message in end.said)

    def others(self, end: End) -> list[Weigh]:
        """Return what is to be asked of the answers beside the one that has passed: a call may want several (`n=2`)."""
        if len(self.result.generations) < 2 or _is_over(end):  # noqa: PLR2004  (one is what was judged)
            return []
        return [self._weigh(end, generation.message) for generation in self.result.generations[1:]]

    def _weigh(self, end: End, said: Any) -> Weigh:
        is_value = self.structured is not None and self.structured.value_in(said) is not None
        calls = bool(said.tool_calls or said.invalid_tool_calls) and not is_value
        schema = None if calls else self.schema
        tools = [*self.turn.request.tools, *self.recorder.bound(self.recorder.latest)]
        given = CheckInput(list(self.messages), said, self.state["route"], tools, schema)
        return Weigh(end.tier, given, is_tool_turn=calls)

    def keep(self, verdicts: Sequence[Verdict]) -> None:
        """Keep the answer that has passed, and of the others those that have."""
        first, more = self.result.generations[:1], self.result.generations[1:]
        passed = [each for each, verdict in zip(more, verdicts, strict=False) if verdict["accepted"]]
        self.result.generations = [*first, *passed]

    def answer(self, end: End) -> ChatResult:
        """Return the result of the call, the metadata on its messages.

        Raises:
            NoAnswerAcceptedError: If every attempt was rejected. A provider's error is raised as it is.
        """
        told = self.settled(end)
        for generation in self.result.generations:
            metadata = generation.message.response_metadata
            metadata |= {"model_name": metadata.get("model_name") or self.model_name, **told}
        return self.result

    @property
    def model_name(self) -> str | None:
        """The name of the model that answered."""
        entry = self.recorder.answered
        return entry["model"] if entry else None


class _Recorder(Recorder):
    """Books the calls of one call; the answer is of the one that was made last, whatever the call itself is for."""

    asked: UUID | None = None
    """That call; a classifier's and a check's are booked here, too."""

    latest = ""
    """The id of its entry, once it is booked."""

    def _end(self, run_id: UUID, call: Any, entry: LedgerEntry) -> None:
        super()._end(run_id, call, entry)
        if run_id == self.asked:
            self.latest = entry["id"]

    @property
    def answered(self) -> LedgerEntry | None:
        with self._lock:
            return self._booked.get(self.latest)


def _is_over(end: End) -> bool:
    """Tell whether a call ends without an answer that has passed."""
    return end.step is not None and end.step.action == "stop"


def ready_of(request: Request) -> Ready:
    """Return the model that a request is for."""
    assert request.ready is not None  # noqa: S101  (`prepared` has put it there)
    return request.ready


def _is_plain(model: BaseChatModel) -> bool:
    """Tell whether nothing stands around a model's own `_generate`: no cache or limiter of its own, no other form.

    LangChain's global cache is asked for our call, so that it is not asked for the tier's once more.
    """
    return not (model.cache or model.rate_limiter or model.output_version or getattr(model, "streaming", False))
