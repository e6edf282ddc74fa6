"""Count what agents make of a first model that breaks: ours, and LangChain's own with its fallback middleware.

```shell
python benchmarks/faults.py          # 200 requests each, some six minutes on two cores; writes results/faults.md
python benchmarks/faults.py --quick  # 20 requests each, a minute, writes nothing
```

Every call to the first model is hit, in the last row every call to any. The models behind the local server are right
whenever nothing breaks, the clients are real and do not try again by themselves, and each agent answers all requests
of a row, 16 at a time, as it would in a service: so it may learn that a model is down.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import re
from collections import Counter, defaultdict
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain.agents import create_agent
from langchain.agents.middleware import ModelFallbackMiddleware
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.messages.tool import tool_call
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from langchain_tiered import EscalationMiddleware, Tier, TierRouterMiddleware, create_tiered_agent
from langchain_tiered.offline.faults import MODELS, Faults
from langchain_tiered.offline.server import OfflineServer
from langchain_tiered.testing import ScriptedChatModel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages import BaseMessage

    Models = Mapping[str, ChatOpenAI]

RESULTS = Path(__file__).parent / "results" / "faults.md"
REQUESTS, QUICK, CONCURRENT = 200, 20, 16
TIMEOUT_S = 0.3
RECURSION_LIMIT = 50
"""Where an agent that runs away is stopped: about 25 model calls."""

LABEL = "Classify ticket {}. Labels: bug, praise, other.\n\nThe app crashes at start."
REFUND = "Please refund order {}, it came late."


class Breakage(NamedTuple):
    """A row of the table: what is wrong with the first model."""

    told: str
    fault: str
    request: str = LABEL
    everywhere: bool = False


BREAKAGES = (
    Breakage("429", "rate_limit_bare"),
    Breakage("429, retry after 20 ms", "rate_limit"),
    Breakage("connection dropped", "drop_before"),
    Breakage("slower than its timeout", "timeout"),
    Breakage("500", "server_error"),
    Breakage("context overflow", "overflow"),
    Breakage("length stop", "length"),
    Breakage("refusal", "refusal"),
    Breakage("malformed tool arguments", "malformed_arguments", REFUND),
    Breakage("tool arguments of wrong types", "wrong_types", REFUND),
    Breakage("invented tool, for ever", "invented_tool", REFUND),
    Breakage("invented tool, for ever, all models", "invented_tool", REFUND, everywhere=True),
)


class Tool:
    """A tool with a side effect, which counts."""

    def __init__(self) -> None:
        self.refunds: Counter[int] = Counter()

    def made(self) -> Any:
        """Return the tool."""

        @tool
        def refund(order: int) -> str:
            """Refund an order by its number."""
            self.refunds[order] += 1
            return f"Order {order} is refunded."

        return refund


def right(request: str) -> str:
    """Return the right answer to a request."""
    number = re.findall(r"\d+", request)[0]
    return f"Order {number} is refunded." if "refund" in request else f"Ticket {number}: bug"


def rightly(messages: Sequence[BaseMessage]) -> AIMessage:
    """Answer as a good model does: what the tool has not done is not said to be done."""
    asked = next(each.text for each in messages if isinstance(each, HumanMessage))
    wanted = right(asked)
    if "refund" in asked and not any(isinstance(each, ToolMessage) and each.text == wanted for each in messages):
        order = int(re.findall(r"\d+", asked)[0])
        return AIMessage("", tool_calls=[tool_call(name="refund", args={"order": order}, id=f"call_{order}")])
    return AIMessage(wanted)


def fallback_agent(models: Models, tools: Sequence[Any], first: str) -> Any:
    """Return LangChain's own agent, whose fallbacks are the models above the first one."""
    names = list(models)
    above = [models[name] for name in names[names.index(first) + 1 :]]
    return create_agent(models[first], tools, middleware=[ModelFallbackMiddleware(*above)])


def graph(models: Models, tools: Sequence[Any], _: str) -> Any:
    """Return our agent."""
    return create_tiered_agent(_tiers(models), tools=tools)


def middleware(models: Models, tools: Sequence[Any], _: str) -> Any:
    """Return LangChain's agent with our middleware."""
    tiers = _tiers(models)
    ours = [TierRouterMiddleware(tiers), EscalationMiddleware(tiers)]
    return create_agent(models["flagship"], tools, middleware=ours)


def _tiers(models: Models) -> list[Tier]:
    return [Tier(name, model, criteria=name) for name, model in models.items()]


AGENTS = {"`ModelFallbackMiddleware`": fallback_agent, "`create_tiered_agent`": graph, "our middleware": middleware}


class Tally(NamedTuple):
    """What became of the requests of a row."""

    right: int
    """Right answers; a refund counts if it was made once."""

    wrong: int
    """Answers that are empty, cut off or wrong, and that no error tells of."""

    errors: Counter[str]
    """What was raised."""

    calls: float
    """Model calls for each request, as the server counts them."""

    twice: int
    """Refunds that were made more than once, or for another order."""

    slowest_s: float
    """How long the slowest request took."""

    def cells(self) -> list[str]:
        """Return the tally as cells of the table."""
        errors = ", ".join(f"{count} {name}" for name, count in self.errors.most_common()) or "0"
        return [
            str(self.right), str(self.wrong), errors, f"{self.calls:.2f}", str(self.twice), f"{self.slowest_s:.2f} s"
        ]  # fmt: skip


async def tallied(breakage: Breakage, make: Any, requests: int) -> Tally:
    """Let an agent answer the requests of a row."""
    first = "mini" if breakage.request is REFUND else "nano"
    hit = {"model": "*" if breakage.everywhere else first, "fault": breakage.fault, "retry_after_s": 0.02}
    slow = first if breakage.fault == "timeout" else None
    served = {name: ScriptedChatModel(script=rightly) for name in MODELS.values()}
    with OfflineServer(models=served, faults=Faults.script([hit])) as server:
        models = {
            tier: ChatOpenAI(
                model=name,
                base_url=server.url,
                api_key="none",
                max_retries=0,
                timeout=TIMEOUT_S if tier == slow else 60,
            )
            for tier, name in MODELS.items()
        }
        ran, seen = Tool(), defaultdict[str, list[Any]](list)
        agent = make(models, [ran.made()] if breakage.request is REFUND else [], first)
        left = iter(range(1, requests + 1))
        await asyncio.gather(*(_drain(agent, breakage.request, left, seen) for _ in range(CONCURRENT)))
        calls = server.stats["calls"] / requests
    twice = sum(count - 1 for count in ran.refunds.values()) + sum(order > requests for order in ran.refunds)
    return Tally(len(seen["right"]), len(seen["wrong"]), Counter(seen["errors"]), calls, twice, max(seen["seconds"]))


async def _drain(agent: Any, form: str, left: Any, seen: dict[str, list[Any]]) -> None:
    for number in left:
        request, before = form.format(number), perf_counter()
        try:
            result = await agent.ainvoke({"messages": [("user", request)]}, {"recursion_limit": RECURSION_LIMIT})
        except Exception as error:  # noqa: BLE001  (whatever is raised is what is counted)
            seen["errors"].append(type(error).__name__)
        else:
            seen["right" if result["messages"][-1].text == right(request) else "wrong"].append(number)
        seen["seconds"].append(perf_counter() - before)


def markdown(rows: Sequence[Sequence[str]], requests: int) -> str:
    """Return the table as Markdown, under a line that says what it was measured with."""
    packages = ("langchain", "langchain-core", "langchain-openai", "langgraph")
    told = ", ".join(f"{package} {version(package)}" for package in packages)
    head = f"Python {platform.python_version()}, {os.cpu_count()} CPUs; {told}. {requests} requests each."
    names = ("first model", "agent", "right", "silently wrong", "errors", "calls each", "wrong refunds", "slowest")
    lines = [names, ("---",) * len(names), *rows]
    return "\n".join(["# Faults", "", head, "", *(f"| {' | '.join(line)} |" for line in lines), ""])


async def main() -> None:
    """Count, show, and write down."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="20 requests each, writes nothing")
    requests = QUICK if parser.parse_args().quick else REQUESTS
    os.environ |= {"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false", "NO_PROXY": "127.0.0.1"}
    rows = [
        [breakage.told, name, *(await tallied(breakage, make, requests)).cells()]
        for breakage in BREAKAGES
        for name, make in AGENTS.items()
    ]
    table = markdown(rows, requests)
    print(table)
    if requests == REQUESTS:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(table, encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main())
