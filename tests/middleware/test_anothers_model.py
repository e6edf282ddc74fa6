"""A model that another middleware puts in further in is left alone: asked once, unchecked, and booked as no tier's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fakes import LABEL, ask, fail, in_turn, model, say, tiers
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ModelFallbackMiddleware
from langgraph.config import get_config

from langchain_tiered import EscalationMiddleware, TierRouterMiddleware

if TYPE_CHECKING:
    from fakes import ScriptedModel


class Overriding(AgentMiddleware[Any, Any, Any]):
    """Calls a model of its own, whatever the request's is."""

    def __init__(self, theirs: ScriptedModel) -> None:
        super().__init__()
        self.theirs = theirs

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        return handler(request.override(model=self.theirs))

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        return await handler(request.override(model=self.theirs))


def agent(order: str, theirs: AgentMiddleware[Any, Any, Any], **scripts: Any) -> Any:
    found = tiers(**{"nano": say("nano"), "mini": say("mini"), "flagship": say("flagship"), **scripts})
    known = {
        "R": TierRouterMiddleware(found, classifier=None),
        "E": EscalationMiddleware(found),
        "X": theirs,
    }
    return create_agent(model("own", say("own")), middleware=[known[name] for name in order])


def told(result: Any) -> list[tuple[str | None, str]]:
    return [(entry["tier"], entry["outcome"]) for entry in result["ledger"]]


@pytest.mark.parametrize("order", ["REX", "EX", "RX", "ERX"])
def test_it_is_asked_once_and_its_answer_is_not_checked(run: Any, order: str) -> None:
    theirs = model("theirs", say("cut off", "length"))
    result = run(agent(order, Overriding(theirs)), ask(LABEL))
    assert (result["messages"][-1].text, theirs.calls) == ("cut off", 1)
    assert told(result) == [(None, "accepted")]


@pytest.mark.parametrize("order", ["REX", "EX"])
def test_its_error_is_raised_as_it_is(run: Any, order: str) -> None:
    theirs = model("theirs", fail(ConnectionError("down")))
    with pytest.raises(ConnectionError, match="down") as raised:
        run(agent(order, Overriding(theirs)), ask(LABEL))
    assert theirs.calls == 1
    ledger: Any = raised.value.ledger  # type: ignore[attr-defined]
    assert [entry["tier"] for entry in ledger] == [None]


def test_where_it_only_stands_in_for_a_tier_that_is_down_the_steps_go_on_when_it_is_down_too(run: Any) -> None:
    theirs = ModelFallbackMiddleware(model("theirs", fail(ConnectionError("down"))))
    result = run(agent("REX", theirs, nano=in_turn(fail(ConnectionError("down")))), ask(LABEL))
    assert result["messages"][-1].text == "mini"
    assert [tier for tier, _ in told(result)] == ["nano", None, "mini"]


def test_a_run_has_the_tag_of_one_tier(run: Any) -> None:
    seen = []

    class Watching(AgentMiddleware[Any, Any, Any]):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            seen.append(tags())
            return handler(request)

        async def awrap_model_call(self, request: Any, handler: Any) -> Any:
            seen.append(tags())
            return await handler(request)

    run(agent("REX", Watching(), nano=say("", "length")), ask(LABEL))
    assert seen == [["tier:nano"], ["tier:mini"]]


def tags() -> list[str]:

    return [tag for tag in get_config().get("tags") or () if tag.startswith("tier:")]
