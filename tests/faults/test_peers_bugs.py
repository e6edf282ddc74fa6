"""Bugs of the closest peer that must never be ours, each by its name, on the graph and on the middleware."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from fakes import LABEL, PROOF, REFUND, ask, call_then, fail, model, say, tiers
from genai_prices import Usage, calc_price
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.messages.tool import tool_call
from langchain_core.tools import tool
from pydantic import BaseModel

from langchain_tiered import (
    EscalationMiddleware,
    Ledger,
    Policy,
    Tier,
    TierRouterMiddleware,
    collect_ledger,
    create_tiered_agent,
)
from langchain_tiered.cascade import judge
from langchain_tiered.errors import NoAnswerAcceptedError
from langchain_tiered.testing import ScriptedChatModel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_tiered.cascade import CheckInput

    Agent = Callable[..., Any]

SHORT = ["bug", "No.", "5", "7", "ok", "true"]
REPLACED = model("replaced", say("The agent's own model has answered."))


@pytest.fixture(params=["graph", "middleware"])
def agent_of(request: pytest.FixtureRequest) -> Agent:
    """Make an agent of tiers: ours, or LangChain's with our middleware, and the same checks and policy."""

    def graph(given: Sequence[Tier], **options: Any) -> Any:
        return create_tiered_agent(given, **options)

    def middleware(
        given: Sequence[Tier], *, checks: Any = None, policy: Policy | None = None, tools: Any = (), **options: Any
    ) -> Any:
        ours = [TierRouterMiddleware(given, policy=policy), EscalationMiddleware(given, checks=checks, policy=policy)]
        return create_agent(REPLACED, tools, middleware=ours, **options)

    return graph if request.param == "graph" else middleware


class ProviderError(Exception):
    """Looks like a provider's: recognised by its status and its code."""

    def __init__(self, status_code: int, code: str | None = None) -> None:
        super().__init__(f"status {status_code}")
        self.status_code, self.code = status_code, code


def answer(result: dict[str, Any]) -> str:
    text: str = result["messages"][-1].text
    return text


def booked(result: dict[str, Any]) -> list[tuple[str | None, str]]:
    return [(entry["tier"], entry["outcome"]) for entry in result["ledger"]]


def has_image(message: BaseMessage) -> bool:
    return any(isinstance(block, dict) and block["type"] == "image" for block in message.content)


# An answer is judged without its question


def test_an_answer_is_judged_with_its_question(agent_of: Agent, run: Any) -> None:
    seen: list[CheckInput] = []

    def sees(given: CheckInput) -> bool:
        seen.append(given)
        return True

    run(agent_of(tiers(nano=say("a bug"), mini=say("mini")), checks=[sees]), ask(LABEL))
    assert [(given.request[-1].text, given.answer.text) for given in seen] == [(LABEL, "a bug")]


def pleased() -> ScriptedChatModel:
    score = tool_call(name="Judgement", args={"reason": "Right.", "score": 5}, id="call_1")
    return ScriptedChatModel(script=AIMessage("", tool_calls=[score]), model_name="gpt-5.4")


def test_a_judge_is_told_the_question(agent_of: Agent, run: Any) -> None:
    asked = pleased()
    run(agent_of(tiers(nano=say("a bug"), mini=say("mini")), checks=[judge(asked)]), ask(LABEL))
    assert asked.calls == 1
    told = "".join(message.text for message in asked.asked[0])
    assert "The app crashes at start." in told
    assert "a bug" in told


# Length counts as quality, and every short answer is bought twice


@pytest.mark.parametrize("short", SHORT)
def test_a_short_answer_is_bought_once(agent_of: Agent, run: Any, short: str) -> None:
    result = run(agent_of(tiers(nano=say(short), mini=say("a long answer " * 200))), ask(LABEL))
    assert (answer(result), booked(result)) == (short, [("nano", "accepted")])


@pytest.mark.parametrize(
    "poor",
    [say("very long " * 500, finish_reason="length"), say("", additional_kwargs={"refusal": "I must not. " * 500})],
    ids=["cut off", "refused"],
)
def test_no_length_makes_up_for_an_answer_that_is_cut_off_or_refused(agent_of: Agent, run: Any, poor: Any) -> None:
    result = run(agent_of(tiers(nano=poor, mini=say("bug"))), ask(LABEL))
    assert (answer(result), booked(result)) == ("bug", [("nano", "rejected"), ("mini", "accepted")])


# A rejected draft is streamed, and the final answer after it


def test_a_rejected_draft_is_not_streamed_before_the_final_answer(agent_of: Agent, stream: Any) -> None:
    agent = agent_of(
        tiers(nano=say("a draft of many words"), mini=say("the final answer")),
        checks=[lambda given: "final" in given.answer.text],
    )
    parts = stream(agent, ask(LABEL), stream_mode=["messages", "values", "updates", "custom"])
    shown = "".join(part[0].text for mode, part in parts if mode == "messages" and isinstance(part[0], AIMessage))
    assert shown == "the final answer"
    assert "draft" not in str([part for mode, part in parts if mode != "updates"])
    assert booked([part for mode, part in parts if mode == "values"][-1]) == [
        ("nano", "rejected"),
        ("mini", "accepted"),
    ]


# A response format crashes


class Label(BaseModel):
    """What the ticket is."""

    label: str


def labelled(strategy: Any, label: object) -> Any:
    if strategy is not ToolStrategy:
        return say(json.dumps({"label": label}))
    return lambda _: AIMessage("", tool_calls=[tool_call(name="Label", args={"label": label}, id="call_1")])


@pytest.mark.parametrize("strategy", [ToolStrategy, ProviderStrategy, None])
def test_a_response_format_gives_a_parsed_answer(agent_of: Agent, run: Any, strategy: Any) -> None:
    wanted = Label if strategy is None else strategy(Label)
    agent = agent_of(tiers(nano=labelled(strategy, "bug"), mini=say("mini")), response_format=wanted)
    result = run(agent, ask(LABEL))
    assert result["structured_response"] == Label(label="bug")
    assert [tier for tier, _ in booked(result)] == ["nano"]


@pytest.mark.parametrize("strategy", [ToolStrategy, ProviderStrategy])
def test_a_response_format_that_one_tier_misses_is_given_by_the_next(agent_of: Agent, run: Any, strategy: Any) -> None:
    given = tiers(nano=labelled(strategy, 7), mini=labelled(strategy, "bug"))
    result = run(agent_of(given, response_format=strategy(Label)), ask(LABEL))
    assert result["structured_response"] == Label(label="bug")
    assert [tier for tier, _ in booked(result)] == ["nano", "nano", "mini"]


def test_a_schema_that_is_called_like_a_tool_for_ever_does_not_run_away(agent_of: Agent, run: Any) -> None:
    lasting = model("nano", labelled(ToolStrategy, "bug"))  # LangChain asks this model for JSON, and gives it no tool
    agent = agent_of([Tier("nano", lasting, criteria="All.")], response_format=Label)
    with pytest.raises(NoAnswerAcceptedError) as caught:
        run(agent, ask(LABEL), {"recursion_limit": 50})
    assert [attempt["tier"] for attempt in caught.value.attempts] == ["nano", "nano"]
    assert lasting.calls == 2


# The direct route is booked at $0, an unknown model too, and two price tables differ


@pytest.mark.parametrize(("tier", "name"), [("flagship", "gpt-5.4"), ("nano", "gpt-5.4-nano")])
def test_every_route_is_booked_at_the_published_price(agent_of: Agent, run: Any, tier: str, name: str) -> None:
    asked = ask(PROOF if tier == "flagship" else LABEL)
    result = run(agent_of(tiers(nano=say("a bug"), flagship=say("a proof"))), asked)
    published = calc_price(Usage(input_tokens=1000, output_tokens=100), model_ref=name, provider_id="openai")
    ledger = Ledger(result["ledger"])
    assert booked(result) == [(tier, "accepted")]
    assert published.total_price > 0
    assert ledger.total_usd == pytest.approx(float(published.total_price))
    assert ledger.baseline_usd(f"openai:{name}") == ledger.total_usd  # the report has no prices of its own


def test_an_unknown_model_has_no_price_rather_than_none(agent_of: Agent, run: Any) -> None:
    own = ScriptedChatModel(script="a bug", model_name="my-own-7b", ls_provider="my-own")
    ledger = Ledger(run(agent_of([Tier("own", own, criteria="All.")]), ask(LABEL))["ledger"])
    assert [entry["cost_usd"] for entry in ledger] == [None]
    assert (ledger.total_usd, ledger.unpriced) == (None, ("my-own-7b",))


# The last result is kept on the instance


def test_requests_at_the_same_time_do_not_see_each_other(agent_of: Agent) -> None:
    agent = agent_of(tiers(nano=say("a bug"), flagship=say("a proof")))
    requests = [LABEL, PROOF] * 16
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda text: agent.invoke(ask(text)), requests))
    results += asyncio.run(_at_once(agent, requests))
    wanted = {LABEL: ("a bug", "nano"), PROOF: ("a proof", "flagship")}
    for text, result in zip(requests * 2, results, strict=True):
        assert (answer(result), result["route"]["tier"]) == wanted[text]
        assert booked(result) == [(wanted[text][1], "accepted")]
    assert len({result["ledger"][0]["run_id"] for result in results}) == len(results)


async def _at_once(agent: Any, requests: Sequence[str]) -> list[Any]:
    return await asyncio.gather(*(agent.ainvoke(ask(text)) for text in requests))


# A 429 or an overflow on the cheap model reaches the caller; both providers down is an empty success with a cost


@pytest.mark.parametrize(
    "error",
    [ProviderError(429), ProviderError(400, "context_length_exceeded"), ProviderError(503), TimeoutError("too slow")],
    ids=["rate_limit", "overflow", "outage", "timeout"],
)
def test_an_error_of_the_cheap_model_does_not_reach_the_caller(agent_of: Agent, run: Any, error: Exception) -> None:
    result = run(agent_of(tiers(nano=fail(error), mini=say("a bug"))), ask(LABEL))
    assert (answer(result), booked(result)) == ("a bug", [("nano", "failed"), ("mini", "accepted")])


def test_both_providers_down_is_an_error_without_a_made_up_cost(agent_of: Agent, run: Any) -> None:
    down = [ConnectionError("nano is down"), ConnectionError("mini is down")]
    agent = agent_of(tiers(nano=fail(down[0]), mini=fail(down[1])))
    with collect_ledger() as ledger, pytest.raises(ConnectionError, match="mini is down") as caught:
        run(agent, ask(LABEL))
    attempts: Any = caught.value.attempts  # type: ignore[attr-defined]
    assert [(each["tier"], each["failure"]["kind"]) for each in attempts] == [("nano", "outage"), ("mini", "outage")]
    assert [(entry["outcome"], entry["cost_usd"]) for entry in ledger] == [("failed", None)] * 2
    assert ledger.total_usd is None


# "ok thanks" after a long history is rated expert


HISTORY = [("user", PROOF), ("assistant", "A long proof by contradiction, step by step. " * 400)] * 3


@pytest.mark.parametrize("thanks", ["ok thanks", "Thanks!", "Great, thank you."])
def test_thanks_after_a_hard_history_is_easy(agent_of: Agent, run: Any, thanks: str) -> None:
    agent = agent_of(tiers(nano=say("Welcome."), mini=say("mini"), flagship=say("flagship")))
    result = run(agent, {"messages": [*HISTORY, ("user", thanks)]})
    assert (answer(result), booked(result)) == ("Welcome.", [("nano", "accepted")])


# Images are dropped from the judgement and sent to the cheap tier


def test_an_image_goes_to_a_tier_that_sees_and_is_judged_with_its_answer(agent_of: Agent, run: Any) -> None:
    blind = model("nano", say("I see nothing."), profile={"image_inputs": False})
    sees = model("mini", say("a bug"), profile={"image_inputs": True})
    judging = pleased()
    agent = agent_of(
        [Tier("nano", blind, criteria="Labels."), Tier("mini", sees, criteria="Images.")], checks=[judge(judging)]
    )
    image = {"type": "image", "base64": "iVBORw0KGgo=", "mime_type": "image/png"}
    result = run(agent, {"messages": [HumanMessage([{"type": "text", "text": LABEL}, image])]})
    assert (result["route"]["tier"], blind.calls, sees.calls) == ("mini", 0, 1)
    assert has_image(sees.asked[0][-1])
    assert [has_image(judged[-1]) for judged in judging.asked] == [True]


# A tool's side effect is repeated


def test_a_tool_that_has_run_is_not_run_again_by_the_next_tier(agent_of: Agent, run: Any) -> None:
    refunds = []

    @tool
    def refund(order: int) -> str:
        """Refund an order."""
        refunds.append(order)
        return f"Order {order} is refunded."

    called = call_then("refund", {"order": 1042}, say("Half an ans", finish_reason="length"))
    given = tiers(nano=say("nano"), mini=called, flagship=call_then("refund", {"order": 1042}, say("Refunded.")))
    result = run(agent_of(given, tools=[refund]), ask(REFUND))
    assert (answer(result), refunds) == ("Refunded.", [1042])
    assert booked(result) == [("mini", "tool_turn"), ("mini", "rejected"), ("flagship", "accepted")]
