"""`ReviewMiddleware`: no risky tool runs unreviewed; where a reviewer doubts a call, a human decides."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NotRequired

from langchain.agents import AgentState
from langchain.agents.middleware import AgentMiddleware, ExtendedModelResponse, hook_config
from langchain.agents.middleware.types import PrivateStateAttr
from langgraph.types import Command

from langchain_tiered.middleware.approval import Doubted, decided_by_human
from langchain_tiered.middleware.base import TierMiddleware
from langchain_tiered.middleware.cases import Case, Review
from langchain_tiered.middleware.outcomes import (  # the state's schema reads them
    Approvals,
    Noted,
    approval_of,
    carried_out,
    edited,
    ended,
    key_of,
    last_answer,
    signed,
    unreviewed,
    written,
)
from langchain_tiered.middleware.run import RoutedState, latest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from langchain.agents.middleware import ModelRequest, ModelResponse
    from langchain.agents.middleware.types import ToolCallRequest
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import ToolCall
    from langgraph.runtime import Runtime

    from langchain_tiered.middleware.approval import RiskyTools
    from langchain_tiered.middleware.outcomes import Result
    from langchain_tiered.types import Tier


class ReviewedState(AgentState[Any]):
    """What the review adds to an agent's state."""

    tiered_verdicts: NotRequired[Annotated[dict[str, Noted], PrivateStateAttr, latest]]
    """What the review says of the last message's risky calls, by the call's id."""

    tiered_approvals: NotRequired[Annotated[Approvals | None, PrivateStateAttr, latest]]
    """The risky calls that may run."""


class ReviewedRunState(RoutedState):
    """The same in an agent that has no tiers' graph around it."""

    tiered_verdicts: NotRequired[Annotated[dict[str, Noted], PrivateStateAttr, latest]]
    """As in `ReviewedState`."""

    tiered_approvals: NotRequired[Annotated[Approvals | None, PrivateStateAttr, latest]]
    """As in `ReviewedState`."""


class _Reviewing(AgentMiddleware[Any, Any, Any]):
    """The hooks: the review in the model's node, the interrupt in a later one, so that nothing is paid again."""

    review: Review

    def reviewed(self, request: ModelRequest[Any], response: ModelResponse[Any]) -> dict[str, Noted]:
        """Return what the review says of a response's calls."""
        case = Case(self.review, request, response)
        if case.judged and case.answer is not None and self.review.reviewer is not None:
            case.settle(self.review.reviewer.opinions(case.asked, case.answer, case.judged))
        return case.noted

    async def areviewed(self, request: ModelRequest[Any], response: ModelResponse[Any]) -> dict[str, Noted]:
        """Do what `reviewed` does."""
        case = Case(self.review, request, response)
        if case.judged and case.answer is not None and self.review.reviewer is not None:
            case.settle(await self.review.reviewer.aopinions(case.asked, case.answer, case.judged))
        return case.noted

    @hook_config(can_jump_to=["end"])
    def after_model(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Decide about the risky calls, all of them before any runs; a human is asked where that is needed."""
        message, done = last_answer(state["messages"])
        pending = [call for call in message.tool_calls if call["id"] not in done] if message else []
        calls = [call for call in pending if call["name"] in self.review.rules]
        if message is None or not calls:
            return None
        ids = Counter(str(call["id"]) for call in message.tool_calls)
        noted = [self._noted(call, state, runtime, ids) for call in calls]
        again = next((note for note in noted if note["decision"] == "again"), None)
        if again is not None:
            return ended(state, pending, again)
        decisions = self._decisions(calls, noted, state, runtime)
        results, approvals = carried_out(calls, noted, decisions)
        return {"messages": results, "tiered_approvals": Approvals(message=message.id, calls=approvals)}

    @hook_config(can_jump_to=["end"])
    async def aafter_model(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Do what `after_model` does."""
        return self.after_model(state, runtime)

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Result]) -> Result:
        """Run what is approved, and nothing risky that is not."""
        if request.tool_call["name"] not in self.review.rules:
            return handler(request)
        approval = approval_of(request)
        return (
            unreviewed(request.tool_call) if approval is None else signed(handler(edited(request, approval)), approval)
        )

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[Result]],
    ) -> Result:
        """Do what `wrap_tool_call` does."""
        if request.tool_call["name"] not in self.review.rules:
            return await handler(request)
        approval = approval_of(request)
        if approval is None:
            return unreviewed(request.tool_call)
        return signed(await handler(edited(request, approval)), approval)

    def _noted(self, call: ToolCall, state: Any, runtime: Runtime[Any], ids: Counter[str]) -> Noted:
        """Return what was noted of a call; of one that came, or was changed, after the review nothing was."""
        note: Noted | None = (state.get("tiered_verdicts") or {}).get(key_of(call))
        if note is not None and (note["name"], note["args"]) == (call["name"], written(call["args"])):
            return note
        fresh = self.review.noted(call, None, state, runtime, ids)
        is_doubted = fresh["decision"] == "doubt" and self.review.reviewer is not None
        return {**fresh, "reason": "It was made, or changed, after the review."} if is_doubted else fresh

    def _decisions(
        self,
        calls: Sequence[ToolCall],
        noted: Sequence[Noted],
        state: Any,
        runtime: Runtime[Any],
    ) -> dict[str, Mapping[str, Any]]:
        """Return what a human decides about the calls that are doubted, by id; nothing where no human is asked."""
        doubted = [
            Doubted(call=call, reason=note["reason"], schema=note["schema"])
            for call, note in zip(calls, noted, strict=True)
            if note["decision"] == "doubt"
        ]
        if not doubted or self.review.on_doubt == "reject":
            return {}
        decisions = decided_by_human(doubted, self.review.rules, state, runtime)
        return {key_of(each["call"]): said for each, said in zip(doubted, decisions, strict=True)}


class ReviewMiddleware(_Reviewing, TierMiddleware):
    """Has each call of a risky tool judged before it runs; a human decides where the reviewer doubts it.

    ```python
    from langchain.agents import create_agent
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.types import Command

    agent = create_agent(
        model,
        [find_order, refund],
        middleware=[ReviewMiddleware("openai:gpt-5.4", risky_tools=["refund"])],
        checkpointer=InMemorySaver(),
    )
    thread = {"configurable": {"thread_id": "ann"}}
    agent.invoke({"messages": [("user", "Refund order 1042.")]}, thread)
    agent.invoke(Command(resume={"decisions": [{"type": "approve"}]}), thread)  # where the reviewer doubted it
    ```

    The reviewer sees the request, what tools gave, and all calls of a message, in one call before any of them runs.
    What it approves runs. Whatever else it says, or fails to say, is doubt: then the run is interrupted in the form of
    `HumanInTheLoopMiddleware`, with the reviewer's reason, for all doubted calls at once. Other calls of the message
    run when the decisions are there.

    A rejected call is told to the model once. Made again in the same turn, it is not judged again: the next tier is
    asked where `EscalationMiddleware` stands beside, else the turn ends. What runs says who approved it in its
    message's `response_metadata["review"]`; each decision is an event on the custom stream.

    Args:
        reviewer: Who judges: a chat model, a `provider:model` string, or a tier; `None` for a plain human in the loop.
        risky_tools: Names of tools, or the form of `interrupt_on`: name to `True`, `False` or a config.
        on_doubt: `interrupt` for a human, which needs a checkpointer, or `reject`: the model is told why.

    Raises:
        ConfigurationError: What can be known at build: no tool, a config that is none, `reject` without a reviewer.
        InvalidDecisionError: In the run, if it is resumed with something that is no decision. Resume it again.
    """

    state_schema: ClassVar[Any] = ReviewedRunState  # type: ignore[misc]
    names: tuple[str, ...] = ()

    def __init__(
        self,
        reviewer: BaseChatModel | str | Tier | None = None,
        *,
        risky_tools: RiskyTools,
        on_doubt: Literal["interrupt", "reject"] = "interrupt",
    ) -> None:
        super().__init__()
        self.review = Review(reviewer, risky_tools, on_doubt)

    def wrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> ExtendedModelResponse[Any]:
        """Call on, and have the response's risky calls judged."""
        noted: dict[str, Noted] = {}

        def reviewing(given: ModelRequest[Any]) -> ModelResponse[Any]:
            response = handler(given)
            noted.update(self.reviewed(given, response))
            return response

        return _with_noted(super().wrap_model_call(request, reviewing), noted)

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ExtendedModelResponse[Any]:
        """Do what `wrap_model_call` does."""
        noted: dict[str, Noted] = {}

        async def reviewing(given: ModelRequest[Any]) -> ModelResponse[Any]:
            response = await handler(given)
            noted.update(await self.areviewed(given, response))
            return response

        return _with_noted(await super().awrap_model_call(request, reviewing), noted)


class LoopReview(_Reviewing):
    """The same in the loop of a tier, whose node books what is paid."""

    state_schema: ClassVar[Any] = ReviewedState  # type: ignore[misc]

    def __init__(self, review: Review) -> None:
        super().__init__()
        self.review = review

    @property
    def name(self) -> str:
        """What its node is called."""
        return ReviewMiddleware.__name__

    def wrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> ExtendedModelResponse[Any]:
        """Call on, and have the response's risky calls judged."""
        response = handler(request)
        return _with_noted(response, self.reviewed(request, response))

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ExtendedModelResponse[Any]:
        """Do what `wrap_model_call` does."""
        response = await handler(request)
        return _with_noted(response, await self.areviewed(request, response))


def _with_noted(
    response: ModelResponse[Any] | ExtendedModelResponse[Any],
    noted: dict[str, Noted],
) -> ExtendedModelResponse[Any]:
    """Return a response with what was noted of its calls, which takes the place of what was noted before."""
    update: dict[str, Any] = {"tiered_verdicts": noted}
    if not isinstance(response, ExtendedModelResponse):
        return ExtendedModelResponse(response, Command(update=update))
    before: Any = response.command.update if response.command else None
    return ExtendedModelResponse(response.model_response, Command(update={**(before or {}), **update}))
