"""Each way in which a provider breaks, alone, against both bodies of the engine, over real clients: as one table.

The models behind the server are right whenever nothing breaks, so that a wrong answer, a missing one, a call too many
and a tool that runs twice are of our own making. The graph and the middleware must agree in every column.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pytest
from fakes import LABEL, PROOF, REFUND, ask
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.messages.tool import tool_call
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from langchain_tiered import (
    EscalationMiddleware,
    Policy,
    Tier,
    TierRouterMiddleware,
    collect_ledger,
    create_tiered_agent,
)
from langchain_tiered.cascade.failures import failure_of
from langchain_tiered.errors import NoAnswerAcceptedError
from langchain_tiered.offline.faults import FAULTS, MODELS, Faults
from langchain_tiered.offline.server import OfflineServer
from langchain_tiered.testing import ScriptedChatModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from langchain_core.messages import BaseMessage

    from langchain_tiered.offline.faults import FaultKind
    from langchain_tiered.types import LedgerEntry

    Body = Literal["graph", "middleware"]

GROUPS = {
    "request": "rate_limit_bare too_large overflow",
    "outage": "server_error unavailable garbage timeout drop_before",
    "drop": "drop_in_body drop_in_stream",
    "cut off": "length length_empty",
    "refused": "refusal content_filter",
    "slip": "malformed_arguments wrong_types missing_fields invented_tool",
}
"""Faults that are met in the same way, but for where the table names one alone."""

TABLE = """
# once: the first call to the tier of the route; a slip is one of a tool call
rate_limit       | wait                  | 2 0 0 | nano failed accepted                              | right, nano
request          | >mini                 | 1 1 0 | nano failed, mini accepted                        | right, mini
outage           | >mini                 | 1 1 0 | nano failed, mini accepted                        | right, mini
drop             | >mini                 | 1 1 0 | nano failed, mini accepted                        | right, mini
truncated_stream | >mini                 | 1 1 0 | nano failed, mini accepted                        | right, mini
slow             | -                     | 1 0 0 | nano accepted                                     | right, nano
cut off          | >mini                 | 1 1 0 | nano !finished, mini accepted                     | right, mini
refused          | >mini                 | 1 1 0 | nano !not_refused, mini accepted                  | right, mini
slip             | repair                | 0 3 0 | mini !valid_tool_calls tool_turn accepted         | right, mini

# always: every call to the tier of the route
rate_limit       | wait >mini            | 2 1 0 | nano failed failed, mini accepted                 | right, mini
request          | >mini                 | 1 1 0 | nano failed, mini accepted                        | right, mini
outage           | >mini                 | 1 1 0 | nano failed, mini accepted                        | right, mini
drop             | >mini                 | 1 1 0 | nano failed, mini accepted                        | right, mini
truncated_stream | >mini                 | 1 1 0 | nano failed, mini accepted                        | right, mini
slow             | -                     | 1 0 0 | nano accepted                                     | right, nano
cut off          | >mini                 | 1 1 0 | nano !finished, mini accepted                     | right, mini
refused          | >mini                 | 1 1 0 | nano !not_refused, mini accepted                  | right, mini
slip             | repair >flagship      | 0 2 2 \
                              | mini !valid_tool_calls !valid_tool_calls, flagship tool_turn accepted | right, flagship

# in a loop: the call after the tool has run
rate_limit       | wait                  | 0 3 0 | mini tool_turn failed accepted                    | right, mini
request          | >flagship             | 0 2 1 | mini tool_turn failed, flagship accepted          | right, flagship
outage           | >flagship             | 0 2 1 | mini tool_turn failed, flagship accepted          | right, flagship
drop             | >flagship             | 0 2 1 | mini tool_turn failed, flagship accepted          | right, flagship
truncated_stream | >flagship             | 0 2 1 | mini tool_turn failed, flagship accepted          | right, flagship
slow             | -                     | 0 2 0 | mini tool_turn accepted                           | right, mini
cut off          | >flagship             | 0 2 1 | mini tool_turn !finished, flagship accepted       | right, flagship
refused          | >flagship             | 0 2 1 | mini tool_turn !not_refused, flagship accepted    | right, flagship
slip             | repair                | 0 3 0 | mini tool_turn !valid_tool_calls accepted         | right, mini

# at the top: every call to the last tier, where the route begins; after a downgrade the route stays
rate_limit       | wait <mini            | 0 1 2 | flagship failed failed, mini downgraded           | right, flagship
rate_limit_bare  | <mini                 | 0 1 1 | flagship failed, mini downgraded                  | right, flagship
too_large        | stop                  | 0 0 1 | flagship failed                                   | raises too_large
overflow         | stop                  | 0 0 1 | flagship failed                                   | raises overflow
server_error     | stop                  | 0 0 1 | flagship failed                                   | raises outage
unavailable      | stop                  | 0 0 1 | flagship failed                                   | raises outage
garbage          | stop                  | 0 0 1 | flagship failed                                   | raises outage
timeout          | stop                  | 0 0 1 | flagship failed                                   | raises timeout
drop_before      | stop                  | 0 0 1 | flagship failed                                   | raises outage
drop             | stop                  | 0 0 1 | flagship failed                                   | raises outage
truncated_stream | stop                  | 0 0 1 | flagship failed                                   | raises outage
slow             | -                     | 0 0 1 | flagship accepted                                 | right, flagship
cut off          | stop                  | 0 0 1 | flagship !finished                                | no answer
refused          | stop                  | 0 0 1 | flagship !not_refused                             | no answer
slip             | repair stop           | 0 0 2 | flagship !valid_tool_calls !valid_tool_calls      | no answer

# everywhere: every call to any model, for ever
rate_limit       | wait >mini wait >flagship wait stop | 2 2 2 \
                              | nano failed failed, mini failed failed, flagship failed failed | raises rate_limit
rate_limit_bare  | >mini >flagship stop  | 1 1 1 | nano failed, mini failed, flagship failed         | raises rate_limit
too_large        | >mini >flagship stop  | 1 1 1 | nano failed, mini failed, flagship failed         | raises too_large
overflow         | >mini >flagship stop  | 1 1 1 | nano failed, mini failed, flagship failed         | raises overflow
server_error     | >mini >flagship stop  | 1 1 1 | nano failed, mini failed, flagship failed         | raises outage
unavailable      | >mini >flagship stop  | 1 1 1 | nano failed, mini failed, flagship failed         | raises outage
garbage          | >mini >flagship stop  | 1 1 1 | nano failed, mini failed, flagship failed         | raises outage
timeout          | >mini >flagship stop  | 1 1 1 | nano failed, mini failed, flagship failed         | raises timeout
drop_before      | >mini >flagship stop  | 1 1 1 | nano failed, mini failed, flagship failed         | raises outage
drop             | >mini >flagship stop  | 1 1 1 | nano failed, mini failed, flagship failed         | raises outage
truncated_stream | >mini >flagship stop  | 1 1 1 | nano failed, mini failed, flagship failed         | raises outage
slow             | -                     | 1 0 0 | nano accepted                                     | right, nano
cut off          | >mini >flagship stop  | 1 1 1 | nano !finished, mini !finished, flagship !finished | no answer
refused          | >mini >flagship stop  | 1 1 1 \
                              | nano !not_refused, mini !not_refused, flagship !not_refused | no answer
slip             | repair >flagship repair stop | 0 2 2 \
                 | mini !valid_tool_calls !valid_tool_calls, flagship !valid_tool_calls !valid_tool_calls | no answer

# streamed: as once, and the tokens are shown as they come; what was cut off after some stands; the client says nothing
# of a refusal in a stream; behind a line that drops the next answer follows what was shown, as a message of its own
rate_limit       | wait                  | 2 0 0 | nano failed accepted                              | right, nano
request          | >mini                 | 1 1 0 | nano failed, mini accepted                        | right, mini
outage           | >mini                 | 1 1 0 | nano failed, mini accepted                        | right, mini
drop             | >mini                 | 1 1 0 | nano failed, mini accepted                        | half, right, mini
truncated_stream | -                     | 1 0 0 | nano truncated                                    | half, nano
slow             | -                     | 1 0 0 | nano accepted                                     | right, nano
length           | -                     | 1 0 0 | nano truncated                                    | half, nano
length_empty     | >mini                 | 1 1 0 | nano !finished, mini accepted                     | right, mini
refusal          | >mini                 | 1 1 0 | nano !not_empty, mini accepted                    | right, mini
content_filter   | >mini                 | 1 1 0 | nano !not_refused, mini accepted                  | right, mini
slip             | repair                | 0 3 0 | mini !valid_tool_calls tool_turn accepted         | right, mini
"""
"""Fault | steps, `>` up and `<` down | calls to nano, mini and flagship | ledger, `!finished` for `rejected` by that
check | what came and the tier of the route, or the failure that is raised with its attempts.

What comes is `right`, a `half` that stands, marked, or what is right behind a half that was shown."""

RIGHT = {LABEL: "It is a bug.", REFUND: "Order 1042 is refunded.", PROOF: "Suppose that it were rational."}
REFUNDED = "Refunded 1042."
SLIPS = GROUPS["slip"].split()
SIGNS = {"escalate": ">{}", "downgrade": "<{}"}
TIMEOUT_S = 0.2


class Row(NamedTuple):
    """A line of the table."""

    steps: str
    calls: str
    ledger: str
    outcome: str


def rows() -> Iterator[tuple[str, str, Row]]:
    situation = ""
    for line in TABLE.strip().splitlines():
        if line.startswith("#"):
            situation = line[2:].partition(":")[0] if ":" in line else situation
        elif line:
            faults, *columns = (column.strip() for column in line.split("|"))
            yield from ((situation, fault, Row(*columns)) for fault in GROUPS.get(faults, faults).split())


CASES = {(situation, fault): row for situation, fault, row in rows()}
SITUATIONS = list(dict.fromkeys(situation for situation, _ in CASES))


def rightly(messages: Sequence[BaseMessage]) -> AIMessage:
    """Answer as a good model does: a refund is made by the tool, and is not said to be made before."""
    asked = next(each.text for each in messages if isinstance(each, HumanMessage))
    done = any(isinstance(each, ToolMessage) and each.text == REFUNDED for each in messages)
    if asked == REFUND and not done:
        return AIMessage("", tool_calls=[tool_call(name="refund", args={"order_id": 1042}, id="call_1")])
    return AIMessage(RIGHT[asked])


def usage(output_tokens: int) -> dict[str, int]:
    return {"input_tokens": 3 * output_tokens, "output_tokens": output_tokens, "total_tokens": 4 * output_tokens}


@pytest.fixture(scope="module")
def server() -> Iterator[OfflineServer]:
    """Start the models, each with a usage of its own: a sum of tokens tells whose they are."""
    models = {
        name: ScriptedChatModel(script=rightly, usage=usage(100**place)) for place, name in enumerate(MODELS.values())
    }
    with OfflineServer(models=models) as started:
        yield started


@lru_cache
def client(url: str, model: str, timeout_s: float) -> ChatOpenAI:
    return ChatOpenAI(model=model, base_url=url, api_key="x", max_retries=0, timeout=timeout_s, stream_usage=True)


class Case:
    """One fault in one situation, and the agents that meet it."""

    def __init__(self, server: OfflineServer, situation: str, fault: FaultKind) -> None:
        self.server, self.refunds = server, list[int]()
        is_loop = situation == "in a loop" or fault in SLIPS
        self.request = REFUND if is_loop else PROOF if situation == "at the top" else LABEL
        self.policy = Policy(floors={"tools": "flagship"} if situation == "at the top" else {})
        self.is_streamed = situation == "streamed"
        hit = {"everywhere": "*", "at the top": "flagship"}.get(situation, "mini" if is_loop else "nano")
        call = {"once": 1, "streamed": 1, "in a loop": 2}.get(situation)
        seconds = {"slow": 0.05, "timeout": 3 * TIMEOUT_S}.get(fault, 0)
        entry = {"fault": fault, "model": hit, "retry_after_s": 0.01, "seconds": seconds}
        server._provider._faults = Faults.script([entry | ({"call": call} if call else {})])
        server.reset()
        self.tiers = [
            Tier(name, client(server.url, model, self._timeout_s(fault, hit, name)), criteria=name)
            for name, model in MODELS.items()
        ]

    @staticmethod
    def _timeout_s(fault: str, hit: str, name: str) -> float:
        return TIMEOUT_S if fault == "timeout" and hit in ("*", name) else 10

    def agent(self, body: Body) -> Any:
        @tool
        def refund(order_id: int) -> str:
            """Refund an order by its number."""
            self.refunds.append(order_id)
            return REFUNDED

        tools = [refund] if self.request == REFUND else []
        if body == "graph":
            return create_tiered_agent(self.tiers, tools=tools, policy=self.policy)
        ours = [kind(self.tiers, policy=self.policy) for kind in (TierRouterMiddleware, EscalationMiddleware)]
        return create_agent(client(self.server.url, "replaced", 10), tools, middleware=ours)

    async def run(self, body: Body, *, sync: bool) -> Told:
        """Run an agent and keep what it streams; under way or at the end it may raise."""
        told = Told(self)
        modes = ["custom", "values", *(["messages"] if self.is_streamed else [])]
        options = {"stream_mode": modes, "subgraphs": self.is_streamed}
        with collect_ledger() as paid:
            try:
                async for part in _parts(self.agent(body), ask(self.request), options, sync=sync):
                    told.parts.append(part if self.is_streamed else ((), *part))
            except Exception as error:  # noqa: BLE001  (whatever is raised is what is looked at)
                told.error = error
        told.collected = list(paid)
        return told


async def _parts(agent: Any, given: Any, options: dict[str, Any], *, sync: bool) -> AsyncIterator[Any]:
    if sync:
        for part in agent.stream(given, **options):
            yield part
    else:
        async for part in agent.astream(given, **options):
            yield part


def _outcome(entry: LedgerEntry) -> str:
    return f"!{entry['rejected_by']}" if entry["outcome"] == "rejected" else entry["outcome"]


class Told:
    """What is seen of a run: its stream, its end, and what was paid."""

    def __init__(self, case: Case) -> None:
        self.case, self.parts = case, list[Any]()
        self.error: Any = None
        self.collected: list[LedgerEntry] = []

    @property
    def result(self) -> Any:
        return [part for space, mode, part in self.parts if mode == "values" and space == ()][-1]

    @property
    def ledger(self) -> list[LedgerEntry]:
        return list(self.result["ledger"] if self.error is None else self.error.ledger)

    @property
    def row(self) -> Row:
        by_model = self.case.server.stats["by_model"]
        return Row(
            " ".join(self._steps()) or "-",
            " ".join(str(by_model.get(model, 0)) for model in MODELS.values()),
            ", ".join(self._booked()),
            self._raised() if self.error is not None else f"{self._answer()}, {self.result['route']['tier']}",
        )

    def _steps(self) -> Iterator[str]:
        for event in (part for _, mode, part in self.parts if mode == "custom"):
            assert event["type"] == "tiered_step"
            yield SIGNS.get(event["action"], event["action"]).format(event["to"])

    def _booked(self) -> Iterator[str]:
        for tier, entries in groupby(self.ledger, key=lambda entry: entry["tier"]):
            yield " ".join([str(tier), *(_outcome(entry) for entry in entries)])

    def _raised(self) -> str:
        last = self.error.attempts[-1]
        if isinstance(self.error, NoAnswerAcceptedError):
            assert last["failure"] is None
            return "no answer"
        failure = failure_of(self.error, of_call=True)
        assert failure == last["failure"]
        return f"raises {last['failure']['kind']}"

    def _answer(self) -> str:
        answer, right = self.result["messages"][-1], RIGHT[self.case.request]
        is_half = bool(answer.response_metadata.get("truncated"))
        assert (right.startswith(answer.text) and answer.text != right) if is_half else answer.text == right
        shown_before = self.case.is_streamed and self._other_than(answer.text)
        return f"{'half, ' * shown_before}{'half' if is_half else 'right'}"

    def _other_than(self, answer: str) -> bool:
        """Tell whether something else than the answer was shown, too."""
        chunks = [part[0] for _, mode, part in self.parts if mode == "messages" and isinstance(part[0], AIMessage)]
        by_id = {key: "".join(each.text for each in chunks if each.id == key) for key in {each.id for each in chunks}}
        shown = [text for text in by_id.values() if text]
        assert answer in shown
        return shown != [answer]


def timeless(entries: Sequence[LedgerEntry]) -> dict[str, Any]:
    """Return entries by their ids, without their latency, which each recorder takes for itself."""
    return {entry["id"]: {**entry, "latency_s": None} for entry in entries}


def test_table_has_every_fault_in_every_situation() -> None:
    counts = Counter((situation, fault) for situation, fault, _ in rows())
    assert counts == Counter((situation, fault) for situation in SITUATIONS for fault in FAULTS)
    assert len(SITUATIONS) == 6


@pytest.mark.parametrize("sync", [True, False], ids=["sync", "async"])
@pytest.mark.parametrize("body", ["graph", "middleware"])
@pytest.mark.parametrize(("situation", "fault"), [pytest.param(*case, id="-".join(case)) for case in CASES])
async def test_fault(situation: str, fault: FaultKind, server: OfflineServer, body: Body, *, sync: bool) -> None:
    case, row = Case(server, situation, fault), CASES[situation, fault]
    told = await case.run(body, sync=sync)
    assert told.row == row
    stats, ledger = server.stats, told.ledger
    assert stats["faults"].keys() == {fault}
    assert not stats["faults_without_effect"]
    # The tool runs once, on good arguments, whatever happens around it; where nobody may call it rightly, never.
    assert case.refunds == ([1042] if case.request == REFUND and "right" in row.outcome else [])
    # The ledger has what the provider billed and told, once, and so has whoever collects around the run.
    assert len(ledger) == stats["calls"]
    for name in ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens"):
        told_by_provider = stats["tokens"][name] - stats["untold_tokens"][name]
        assert sum(entry[name] or 0 for entry in ledger) == told_by_provider
    assert timeless(told.collected) == timeless(ledger)
    if told.error is not None:
        tried = [entry["tier"] for entry in ledger if entry["outcome"] != "tool_turn"]
        assert [attempt["tier"] for attempt in told.error.attempts] == tried
    if situation == "everywhere":
        assert max(stats["by_model"].values()) <= 2
