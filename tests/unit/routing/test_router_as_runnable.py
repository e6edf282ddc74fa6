"""The router as one Runnable among others: its schemas, the run that it opens, and what it keeps of a request."""

from __future__ import annotations

import gc
import weakref
from typing import Any
from uuid import uuid4

import pytest
from fakes import LABEL, PROOF, ScriptedModel, call_then, model, say, tiers
from langchain_core.callbacks import CallbackManager
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableBranch, RunnableLambda, RunnablePassthrough
from langchain_core.tools import StructuredTool
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.context import collect_runs, tracing_v2_callback_var
from langsmith import tracing_context

from langchain_tiered import TierRouter, collect_ledger
from langchain_tiered.errors import InvalidInputError
from langchain_tiered.routing import tool_facts

UNSURE = "My neighbour saw the van on Monday morning. Nobody rang, although I was at home. What happened to my parcel?"
TOOL_WORK = "Refund the parcel payment of order 1042 to the customer, please."
ROUTER = TierRouter(tiers(nano=say("n"), mini=say("m")), classifier=None)
PROMPT = ChatPromptTemplate.from_messages([("user", "{text}")])
TIER_OF = RunnableLambda(lambda route: route["tier"])


class Heard(BaseTracer):
    """Keeps the runs that it hears of."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[Any] = []

    def _persist_run(self, run: Any) -> None:
        """Keep nothing: each run is noted as it ends."""

    def _end_trace(self, run: Any) -> None:
        self.runs.append(run)
        super()._end_trace(run)

    @property
    def names(self) -> list[str]:
        return [run.name for run in self.runs]


# Schemas


@pytest.mark.parametrize(
    "chain",
    [ROUTER, ROUTER | TIER_OF, ROUTER.with_config(run_name="route"), ROUTER.with_retry(), ROUTER.map()],
    ids=["alone", "first of a sequence", "bound", "retried", "mapped"],
)
def test_the_input_of_a_chain_that_the_router_begins_has_a_schema(chain: Any) -> None:
    schema = chain.get_input_jsonschema()
    assert {"type": "string"} in (schema.get("anyOf") or schema["items"].get("anyOf") or _of_items(schema))


def _of_items(schema: dict[str, Any]) -> list[Any]:
    name = schema["items"]["$ref"].rpartition("/")[2]
    kinds: list[Any] = schema["$defs"][name]["anyOf"]
    return kinds


def test_the_output_of_a_chain_that_the_router_ends_has_the_schema_of_a_route() -> None:
    for chain in (ROUTER, PROMPT | ROUTER):
        schema = chain.get_output_jsonschema()
        assert {"tier", "reason", "decided_by"} <= schema["$defs"]["Route"]["properties"].keys()


def test_chains_with_the_router_inside_have_schemas() -> None:
    branch = RunnableBranch((lambda _: True, ROUTER), ROUTER)
    assert branch.get_input_jsonschema()
    assert "text" in RunnablePassthrough.assign(route=PROMPT | ROUTER).get_input_jsonschema()["properties"]


@pytest.mark.filterwarnings("ignore:This API is in beta")
def test_the_router_is_a_tool_once_its_argument_is_named() -> None:
    tool = (ROUTER | TIER_OF).as_tool(name="route", description="Name a tier.", arg_types={"messages": str})
    assert [tool.invoke({"messages": text}) for text in (LABEL, PROOF)] == ["nano", "mini"]


# The run


@pytest.mark.parametrize("callbacks", [list, CallbackManager])
def test_whoever_listens_hears_of_a_run_with_the_request_and_the_route(run: Any, callbacks: Any) -> None:
    heard = Heard()
    handlers = [heard] if callbacks is list else CallbackManager([heard])
    route = run(ROUTER, LABEL, {"callbacks": handlers, "run_name": "which tier", "tags": ["mine"]})
    (found,) = heard.runs
    assert (found.name, found.inputs, found.outputs) == ("which tier", {"input": LABEL}, route)
    assert (found.tags, found.error, route["tier"]) == (["mine"], None, "nano")


def test_it_takes_the_id_that_the_config_gives_it(run: Any) -> None:
    heard, wanted = Heard(), uuid4()
    run(ROUTER, LABEL, {"callbacks": [heard], "run_id": wanted})
    assert [found.id for found in heard.runs] == [wanted]


def test_a_request_that_cannot_be_read_ends_its_run_with_the_error(run: Any) -> None:
    heard = Heard()
    with pytest.raises(InvalidInputError):
        run(ROUTER, "  ", {"callbacks": [heard]})
    assert ["InvalidInputError" in found.error for found in heard.runs] == [True]


def test_it_stands_between_its_neighbours_in_a_trace(run: Any) -> None:
    heard = Heard()
    run(PROMPT | ROUTER, {"text": LABEL}, {"callbacks": [heard]})
    assert heard.names == ["ChatPromptTemplate", "TierRouter", "RunnableSequence"]


def test_the_call_of_its_classifier_stands_in_its_run(run: Any) -> None:
    said = {"tier": "mini", "task": "reason", "confidence": 0.9, "reason": "So."}
    classifier, heard = model("nano", call_then("Classification", said, say("")), ScriptedModel), Heard()
    router = TierRouter(tiers(nano=say("n"), mini=say("m")), classifier=classifier)
    with collect_ledger() as ledger:
        route = run(router, UNSURE, {"callbacks": [heard]})
    *inside, own = heard.runs
    assert (route["tier"], classifier.calls, len(ledger), own.name) == ("mini", 1, 1, "TierRouter")
    assert {found.trace_id for found in inside} == {own.id}


def test_listeners_are_called(run: Any) -> None:
    heard: list[Any] = []
    listened = ROUTER.with_listeners(
        on_start=lambda found: heard.append(f"start {found.name}"), on_end=lambda found: heard.append(found.outputs)
    )
    route = run(listened, LABEL)
    assert heard == ["start TierRouter", route]


async def test_events_show_it() -> None:
    events = [(each["event"], each["name"]) async for each in (PROMPT | ROUTER).astream_events({"text": LABEL})]
    assert [event for event, name in events if name == "TierRouter"] == ["on_chain_start", "on_chain_end"]


def test_it_opens_a_run_under_a_function_that_is_followed_and_hands_on_no_config() -> None:
    heard = Heard()
    around: Any = RunnableLambda(lambda text: [ROUTER.invoke(text)])
    around.invoke(LABEL, {"callbacks": [heard]})
    assert heard.names == ["TierRouter", "RunnableLambda"]


def test_the_tracer_of_a_block_gets_it() -> None:
    heard: Any = Heard()
    token = tracing_v2_callback_var.set(heard)
    try:
        ROUTER.invoke(LABEL)
    finally:
        tracing_v2_callback_var.reset(token)
    assert heard.names == ["TierRouter"]


def test_a_tracer_that_the_environment_asks_for_gets_it(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def opened(*_: Any) -> str:
        return "in a run"

    monkeypatch.setattr(TierRouter, "_call_with_config", lambda *_: "in a run")
    monkeypatch.setattr(TierRouter, "_acall_with_config", opened)
    with tracing_context(enabled=True):
        assert run(ROUTER, LABEL) == "in a run"


def test_those_who_collect_runs_get_it() -> None:
    with collect_runs() as collected:
        ROUTER.invoke(LABEL)
    assert [found.name for found in collected.traced_runs] == ["TierRouter"]


async def test_each_request_of_a_batch_has_its_run() -> None:
    heard: Any = Heard()
    for routes in (
        ROUTER.batch([LABEL, PROOF], {"callbacks": [heard]}),
        await ROUTER.abatch([LABEL, PROOF], {"callbacks": [heard]}),
    ):
        assert [route["tier"] for route in routes] == ["nano", "mini"]
    assert heard.names == ["TierRouter"] * 4


def test_where_nobody_listens_no_run_is_opened(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: Any, **__: Any) -> Any:
        raise AssertionError("A run was opened for nobody.")

    monkeypatch.setattr(TierRouter, "_call_with_config", opened)
    monkeypatch.setattr(TierRouter, "_acall_with_config", opened)
    assert run(ROUTER, LABEL, {"tags": ["mine"], "metadata": {"a": 1}, "callbacks": []})["tier"] == "nano"


# What it keeps


def ping_tool() -> dict[str, Any]:
    inside = {"name": "ping", "description": "Ping a host.", "parameters": {"type": "object", "properties": {}}}
    return {"type": "function", "function": inside}


def test_a_tool_that_has_changed_is_read_anew(run: Any) -> None:
    router, tool = TierRouter(tiers(a=say("x")), classifier=None), ping_tool()
    assert run(router, TOOL_WORK, tools=[tool])["decided_by"] != "rules"
    tool["function"] |= {"name": "refund", "description": "Refund the payment of a customer's order or parcel."}
    assert "customer, order, parcel" in run(router, TOOL_WORK, tools=[tool])["reason"]


def test_no_tool_is_kept_alive() -> None:
    def refund(order: int) -> str:
        """Refund an order."""
        return str(order)

    tool: Any = StructuredTool.from_function(refund)
    kept = [weakref.ref(tool), weakref.ref(refund)]
    ROUTER.invoke(LABEL, tools=[tool, refund])
    del tool, refund
    gc.collect()
    assert [each() for each in kept] == [None, None]


def test_a_request_changes_nothing_on_the_router() -> None:
    before = dict(vars(ROUTER))
    ROUTER.invoke(LABEL, tools=[ping_tool()])
    assert vars(ROUTER) == before


def test_what_is_known_of_tools_already_is_taken_as_it_is() -> None:
    known = tool_facts([ping_tool(), {"type": "web_search"}])
    assert tool_facts(known) is known
    assert (known.names, known.provider) == (("ping",), ("web_search",))


def test_tools_that_come_again_are_not_read_word_by_word_again() -> None:
    assert tool_facts([ping_tool()]) is tool_facts([ping_tool()])
