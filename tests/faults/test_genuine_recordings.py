"""Genuine recorded replies, served as they are to a tier's real client: what reaches the user, the checks, the ledger.

No tool is declared here, so an answer that calls tools is the last one of its run: its calls reach the caller, who runs
them. What a client cannot read is in a table, with what becomes of it instead: nothing is lost without a word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import openai
import pytest
from fakes import LABEL, PROOF, ask
from genuine import ABSENT, Recording, Usage, error_bodies, recordings
from langchain_core.tools import StructuredTool
from langchain_openai import ChatOpenAI

from langchain_tiered import Policy, Tier, collect_ledger, create_tiered_agent
from langchain_tiered.cascade.checks import finished, not_empty, not_refused
from langchain_tiered.cascade.failures import failure_of
from langchain_tiered.errors import NoAnswerAcceptedError
from langchain_tiered.offline.server import OfflineServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langchain_core.messages import AIMessage

    from langchain_tiered.types import LedgerEntry

    Client = Callable[..., ChatOpenAI]

RECORDED = {recording.id: recording for recording in recordings()}
if not RECORDED:
    pytest.skip(ABSENT, allow_module_level=True)

SHAPES = error_bodies()

REJECTED = {
    "rec031": "not_refused",
    "rec101": "not_refused",
    "rec033": "not_empty",  # the client drops the refusal of a streamed chat completion: an empty answer is left
    "rec017": "finished",
    "rec045": "finished",
    "rec074": "finished",  # without content, all tokens spent on reasoning
    "rec112": "finished",
    "rec002": "not_empty",  # a call in the form that was there before tools, which the client does not read as a call
    "rec008": "not_empty",  # two choices in one stream, which the client mixes into one call that is no JSON
    "rec104": "not_empty",  # queued in the background: there is no answer yet
}
"""The check that rejects an answer, by recording."""

MENDED = {"rec008"}
"""Calls that are no JSON: their model is told so before anything else."""

STANDS = {"rec040", "rec103", "rec115"}
"""Streams cut off after their words were shown: they stand, and are marked."""

NO_ANSWERS = {
    "rec000": "no_answer",  # a content filter's error in the body
    "rec001": "outage",  # an empty body
}
"""Replies of status 200 that hold no answer, and what kind of failure they are."""

UNREADABLE = "rec057"
"""An answer on which the client raises a bug's error: it calls a custom tool, which has no JSON arguments."""

UNPRICED_TOOL = "rec163"
"""It ran the provider's code interpreter, whose price for a call nobody publishes."""

MIXED_MODEL = "rec008"
"""Where the client also writes the model's name twice, so that no price is found."""

REFUSALS_OF_THE_REQUEST: dict[int, tuple[type[Exception], str]] = {
    400: (openai.BadRequestError, "invalid_request"),
    401: (openai.AuthenticationError, "authentication"),
    404: (openai.NotFoundError, "unknown_model"),
}

ANSWERED = [each for each in RECORDED.values() if not each.is_error and each.id not in {*NO_ANSWERS, UNREADABLE}]
ACCEPTED = [each for each in ANSWERED if each.id not in REJECTED]
WITH_CALLS = [each for each in ACCEPTED if each.calls]
ERRORS = [each for each in RECORDED.values() if each.is_error]
NEXT = "The next tier answers."


class Seen(NamedTuple):
    """What a run leaves: its output, the words that were streamed, its error, and what was booked."""

    output: dict[str, Any]
    shown: str
    error: Exception | None
    entries: tuple[LedgerEntry, ...]

    @property
    def answer(self) -> AIMessage:
        return self.output["messages"][-1]  # type: ignore[no-any-return]


def table(rows: list[Recording], *, every_way: bool = False) -> pytest.MarkDecorator:
    """Parametrise by recording, and by the ways in which its body can be asked for."""
    streams, plain = ("stream", "astream"), ("invoke", "ainvoke")
    given = [
        pytest.param(row, way, id=f"{row.id}-{way}")
        for row in rows
        for way in (plain + streams if every_way else streams if row.is_stream else plain)
    ]
    return pytest.mark.parametrize(("recording", "way"), given)


def named(*ids: str) -> list[Recording]:
    return [RECORDED[each] for each in ids]


@pytest.fixture(scope="module")
def serving() -> Iterator[OfflineServer]:
    script: dict[str, Any] = {each.id: [each.entry, {"text": NEXT}] for each in (RECORDED | SHAPES).values()}
    with OfflineServer(script={**script, "next": [{"text": NEXT}]}) as server:
        yield server


@pytest.fixture
def server(serving: OfflineServer) -> OfflineServer:
    serving.reset()
    return serving


@pytest.fixture(scope="module")
def client(serving: OfflineServer) -> Client:
    """Make the real client of a model that answers with a recording; all share the connections of one."""
    first = ChatOpenAI(model="first", base_url=serving.url, api_key="x", max_retries=0, stream_usage=True)

    def make(name: str, api: str = "chat") -> ChatOpenAI:
        return first.model_copy(update={"model_name": name, "use_responses_api": api == "responses"})

    return make


@pytest.fixture(scope="module")
def pinned() -> Any:
    # Recorded calls of tools that this agent does not have are to be read, not judged.
    checks = [not_refused, finished, not_empty]
    return create_tiered_agent([Tier("nano", "openai:none", criteria="")], policy=Policy(pin="nano"), checks=checks)


@pytest.fixture(scope="module")
def ladder() -> Any:
    wide = [Tier("nano", "openai:none", criteria="", max_input_tokens=128_000)]
    return create_tiered_agent([*wide, Tier("mini", "openai:none", criteria="", max_input_tokens=1_000_000)])


async def run(agent: Any, way: str, asked: str = "Hello?", **context: Any) -> Seen:
    """Run an agent one way, and keep what it leaves."""
    given: Any = {"input": ask(asked), "context": context}
    parts: list[Any] = []
    error: Exception | None = None
    with collect_ledger() as ledger:
        try:
            if way == "invoke":
                parts.append(("values", agent.invoke(**given)))
            elif way == "ainvoke":
                parts.append(("values", await agent.ainvoke(**given)))
            elif way == "stream":
                parts.extend(agent.stream(**given, stream_mode=["messages", "values"]))
            else:
                async for part in agent.astream(**given, stream_mode=["messages", "values"]):
                    parts.append(part)  # noqa: PERF401  (what came before an error is kept)
        except Exception as raised:  # noqa: BLE001  (whatever is raised is what is looked at)
            error = raised
    outputs = [part for mode, part in parts if mode == "values"]
    shown = "".join(part[0].text for mode, part in parts if mode == "messages")
    return Seen(outputs[-1] if outputs else {}, shown, error, ledger.entries)


def blocks_of(message: AIMessage) -> list[dict[str, Any]]:
    content = message.content if isinstance(message.content, list) else []
    return [block for block in content if isinstance(block, dict)]


def usage_of(entry: LedgerEntry) -> Usage:
    return Usage(
        entry["input_tokens"], entry["cached_tokens"], entry["output_tokens"], entry["reasoning_tokens"]
    )  # fmt: skip


def test_tables_name_recordings_that_are_there() -> None:
    assert {*REJECTED, *STANDS, *NO_ANSWERS, UNREADABLE} <= RECORDED.keys()
    assert {each.status for each in ERRORS} == REFUSALS_OF_THE_REQUEST.keys()


@table(ANSWERED)
async def test_ledger_has_the_usage_that_the_body_states(
    recording: Recording, way: str, server: OfflineServer, client: Client, pinned: Any
) -> None:
    seen = await run(pinned, way, nano_model=client(recording.id, recording.api))
    assert server.stats["calls"] == 1
    (entry,) = seen.entries
    assert usage_of(entry) == recording.usage
    if recording.id in {MIXED_MODEL, UNPRICED_TOOL} or recording.usage == Usage():
        assert entry["cost_usd"] is None
    else:
        assert entry["model"] == recording.model
        assert entry["cost_usd"]


@table(ACCEPTED)
async def test_answer_reaches_the_user_as_the_body_says_it(
    recording: Recording, way: str, server: OfflineServer, client: Client, pinned: Any
) -> None:
    seen = await run(pinned, way, nano_model=client(recording.id, recording.api))
    assert seen.error is None
    assert seen.answer.text == recording.text
    assert [(call["name"], call["args"]) for call in seen.answer.tool_calls] == recording.calls
    assert not seen.answer.invalid_tool_calls
    assert recording.text or recording.calls or recording.other_items
    assert set(recording.other_items) <= {block.get("type") for block in blocks_of(seen.answer)}
    assert seen.shown == (recording.text if recording.is_stream else "")
    cut_off = recording.id in STANDS
    assert seen.answer.response_metadata.get("truncated", False) is cut_off
    assert [entry["outcome"] for entry in seen.entries] == ["truncated" if cut_off else "accepted"]


@table(named(*REJECTED))
async def test_what_is_no_answer_is_rejected_by_its_own_check(
    recording: Recording, way: str, server: OfflineServer, client: Client, pinned: Any
) -> None:
    seen = await run(pinned, way, nano_model=client(recording.id, recording.api))
    assert isinstance(seen.error, NoAnswerAcceptedError)
    (attempt,) = seen.error.attempts
    assert attempt["verdict"] is not None
    assert attempt["verdict"]["check"] == REJECTED[recording.id]
    assert not attempt["verdict"]["accepted"]
    assert [entry["outcome"] for entry in seen.entries] == ["rejected"]
    assert [entry["id"] for entry in seen.error.ledger] == [entry["id"] for entry in seen.entries]
    assert seen.shown == ""


@table(named(*(each for each in REJECTED if each not in MENDED)))
async def test_what_is_no_answer_escalates_and_stays_booked(
    recording: Recording, way: str, server: OfflineServer, client: Client, ladder: Any
) -> None:
    models = {"nano_model": client(recording.id, recording.api), "mini_model": client("next")}
    seen = await run(ladder, way, LABEL, **models)
    assert seen.answer.text == NEXT
    assert seen.output["route"]["escalated_from"] == "nano"
    assert [(entry["tier"], entry["outcome"]) for entry in seen.entries] == [("nano", "rejected"), ("mini", "accepted")]
    assert usage_of(seen.entries[0]) == recording.usage


@table(named(*NO_ANSWERS))
async def test_reply_that_holds_no_answer_escalates_at_an_unknown_cost(
    recording: Recording, way: str, server: OfflineServer, client: Client, ladder: Any, pinned: Any
) -> None:
    alone = await run(pinned, way, nano_model=client(recording.id, recording.api))
    (attempt,) = alone.error.attempts  # type: ignore[union-attr]
    assert attempt["failure"]["kind"] == NO_ANSWERS[recording.id]
    server.reset()
    models = {"nano_model": client(recording.id, recording.api), "mini_model": client("next")}
    seen = await run(ladder, way, LABEL, **models)
    assert seen.answer.text == NEXT
    assert [(entry["tier"], entry["outcome"]) for entry in seen.entries] == [("nano", "failed"), ("mini", "accepted")]
    assert seen.entries[0]["cost_usd"] is None
    assert server.stats["by_model"] == {recording.id: 1, "next": 1}


@table(named(*MENDED))
async def test_a_call_that_cannot_be_run_is_told_to_its_model_first(
    recording: Recording, way: str, server: OfflineServer, client: Client, ladder: Any
) -> None:
    seen = await run(ladder, way, LABEL, nano_model=client(recording.id, recording.api))
    assert [(entry["tier"], entry["outcome"]) for entry in seen.entries] == [("nano", "rejected"), ("nano", "accepted")]
    assert seen.entries[0]["rejected_by"] == "valid_tool_calls"
    assert usage_of(seen.entries[0]) == recording.usage


@table(named(UNREADABLE))
async def test_bug_of_the_client_over_an_answer_is_raised_at_once_at_an_unknown_cost(
    recording: Recording, way: str, server: OfflineServer, client: Client, ladder: Any
) -> None:
    models = {"nano_model": client(recording.id, recording.api), "mini_model": client("next")}
    seen = await run(ladder, way, LABEL, **models)
    assert type(seen.error) is AttributeError
    assert [(entry["outcome"], entry["cost_usd"]) for entry in seen.entries] == [("failed", None)]
    assert server.stats["by_model"] == {recording.id: 1}


@table(ERRORS, every_way=True)
async def test_refused_request_is_raised_at_once_in_its_own_class_and_costs_nothing(
    recording: Recording, way: str, server: OfflineServer, client: Client, ladder: Any
) -> None:
    models = {"nano_model": client(recording.id, recording.api), "mini_model": client("next")}
    seen = await run(ladder, way, LABEL, **models)
    expected, kind = REFUSALS_OF_THE_REQUEST[recording.status]
    assert isinstance(seen.error, expected)
    failure = failure_of(seen.error)
    assert failure is not None
    assert failure["kind"] == kind
    assert [(entry["outcome"], entry["cost_usd"]) for entry in seen.entries] == [("failed", 0.0)]
    assert server.stats["by_model"] == {recording.id: 1}


@table(WITH_CALLS)
async def test_declared_tools_run_on_the_recorded_calls(
    recording: Recording, way: str, server: OfflineServer, client: Client
) -> None:
    ran: list[tuple[str, Any]] = []

    def tool(name: str) -> StructuredTool:
        def do(**given: Any) -> str:
            ran.append((name, given))
            return "Done."

        schema = {"type": "object", "properties": {}, "title": name, "description": "Do it."}
        return StructuredTool(name=name, description="Do it.", args_schema=schema, func=do)

    tools = [tool(name) for name in sorted({name for name, _ in recording.calls})]
    nano = Tier("nano", client(recording.id, recording.api), criteria="", tools=tools)
    seen = await run(create_tiered_agent([nano], policy=Policy(pin="nano")), way)
    assert seen.error is None
    assert sorted(ran, key=str) == sorted(recording.calls, key=str)
    assert seen.answer.text == NEXT
    assert [entry["outcome"] for entry in seen.entries] == ["tool_turn", "accepted"]
    assert usage_of(seen.entries[0]) == recording.usage


WAYS = pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])


@WAYS
async def test_overflow_goes_to_a_wider_tier_only(
    way: str, server: OfflineServer, client: Client, ladder: Any, pinned: Any
) -> None:
    overflow = client("context_length_exceeded")
    seen = await run(ladder, way, LABEL, nano_model=overflow, mini_model=client("next"))
    assert seen.answer.text == NEXT
    assert [(entry["tier"], entry["outcome"]) for entry in seen.entries] == [("nano", "failed"), ("mini", "accepted")]
    assert seen.entries[0]["cost_usd"] == 0.0
    narrow = [Tier(name, client("next"), criteria="", max_input_tokens=128_000) for name in ("nano", "mini")]
    server.reset()
    stuck = await run(create_tiered_agent(narrow), way, LABEL, nano_model=overflow)
    assert _kind(stuck) == "overflow"
    assert server.stats["by_model"] == {"context_length_exceeded": 1}


@WAYS
@pytest.mark.parametrize(("asked", "hit", "other"), [(LABEL, "nano", "mini"), (PROOF, "mini", "nano")])
async def test_rate_limit_goes_down_or_else_up(
    asked: str, hit: str, other: str, way: str, server: OfflineServer, client: Client, ladder: Any
) -> None:
    models = {f"{hit}_model": client("rate_limit_exceeded"), f"{other}_model": client("next")}
    seen = await run(ladder, way, asked, **models)
    assert seen.answer.text == NEXT
    outcome = "accepted" if other == "mini" else "downgraded"
    assert [(entry["tier"], entry["outcome"]) for entry in seen.entries] == [(hit, "failed"), (other, outcome)]
    assert seen.entries[0]["cost_usd"] == 0.0


@WAYS
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("context_length_exceeded", "overflow"),
        ("rate_limit_exceeded", "rate_limit"),
        ("insufficient_quota", "authentication"),
    ],
)
async def test_error_bodies_are_told_apart(
    code: str, kind: str, way: str, server: OfflineServer, client: Client, pinned: Any
) -> None:
    assert _kind(await run(pinned, way, nano_model=client(code))) == kind


@WAYS
async def test_spent_quota_is_raised_at_once(way: str, server: OfflineServer, client: Client, ladder: Any) -> None:
    seen = await run(ladder, way, LABEL, nano_model=client("insufficient_quota"), mini_model=client("next"))
    assert isinstance(seen.error, openai.RateLimitError)
    assert server.stats["by_model"] == {"insufficient_quota": 1}
    assert [(entry["outcome"], entry["cost_usd"]) for entry in seen.entries] == [("failed", 0.0)]


def _kind(seen: Seen) -> str | None:
    failure = failure_of(seen.error) if seen.error else None
    return failure["kind"] if failure else None
