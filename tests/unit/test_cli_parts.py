"""The parts of the command line: records, running, progress, tables."""

from __future__ import annotations

import asyncio
import json
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from fakes import LABEL, ask, fail, say, tiers
from langchain_core.messages import AIMessage, HumanMessage
from rich.console import Console

from langchain_tiered import create_tiered_agent
from langchain_tiered.accounting import Ledger
from langchain_tiered.cli import tables
from langchain_tiered.cli.progress import progress
from langchain_tiered.cli.records import Record, read_records, text_record
from langchain_tiered.cli.running import Agents, Result, is_expected, run_all
from langchain_tiered.cli.setup import serving
from langchain_tiered.models import default_tiers
from langchain_tiered.routing import TierRouter, facts_of
from langchain_tiered.routing.explaining import usd
from langchain_tiered.types import Route

if TYPE_CHECKING:
    from pathlib import Path

PNG = b"\x89PNG\r\n\x1a\n"


def read(folder: Path, **fields: Any) -> Record:
    path = folder / "in.jsonl"
    path.write_text(json.dumps(fields))
    (record,) = read_records(path)
    return record


def answered(line: int, tier: str = "nano", reason: str = "Because.", **fields: Any) -> Result:
    route = Route(tier=tier, task="lookup", confidence=None, reason=reason, decided_by="rules", escalated_from=None)
    return Result(Record(line, text_record("").folder, {"text": f"Request {line}", **fields}), "answered", route, "x")


def printed(part: Any, columns: int = 80) -> str:
    console = Console(file=StringIO(), width=columns, highlight=False)
    console.print(part)
    told: str = console.file.getvalue()  # type: ignore[attr-defined]
    return told


def test_images_are_read_relative_to_the_file_and_counted_by_the_router(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/a.png").write_bytes(PNG)
    (message,) = (
        read(tmp_path, text="Read it.", images=["pictures/a.png", "https://example.com/b.jpg"]).request().messages
    )
    assert message.content == [
        {"type": "text", "text": "Read it."},
        {"type": "image", "base64": "iVBORw0KGgo=", "mime_type": "image/png"},
        {"type": "image", "url": "https://example.com/b.jpg"},
    ]
    assert facts_of([message]).turn_images == 2


def test_a_document_is_appended_under_its_name(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("Ünder 50 USD.", encoding="utf-8")
    (message,) = read(tmp_path, text="What is the limit?", document="note.txt").request().messages
    assert message.text == 'What is the limit?\n\n<document name="note.txt">\nÜnder 50 USD.\n</document>'


def test_messages_are_a_thread(tmp_path: Path) -> None:
    told = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Yes?"}, ["user", "Thanks"]]
    messages = read(tmp_path, messages=told).request().messages
    assert [type(message) for message in messages] == [HumanMessage, AIMessage, HumanMessage]


@pytest.mark.parametrize(
    ("fields", "title"),
    [
        ({"text": "Hello"}, "Hello"),
        ({"messages": [{"role": "user", "content": "Bye"}]}, "Bye"),
        ({"id": 7}, '{"id": 7}'),
    ],
)
def test_a_record_always_has_a_title(fields: dict[str, Any], title: str, tmp_path: Path) -> None:
    assert read(tmp_path, **fields).title == title


def test_only_newlines_part_records_and_a_byte_order_mark_is_no_part_of_one(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes('\ufeff{"text": "a\u2028b"}\r\n\n{"text": "c"}\n'.encode())
    assert [(record.line, record.title) for record in read_records(path)] == [(1, "a\u2028b"), (3, "c")]


@pytest.mark.parametrize("url", [None, "https://api.example.com/v1", "https://10.0.0.1/v1", "nonsense"])
def test_with_a_key_the_default_tiers_serve_without_a_note(url: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "unused")
    for name in ("OPENAI_API_BASE", "OPENAI_BASE_URL"):
        monkeypatch.setenv(name, url or "")
    for online in (None, True):
        served = serving(online=online)
        assert (served.tiers, served.note, served.closing) == (default_tiers(), None, None)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8800/v1", "http://localhost:8800/v1", "http://[::1]:8800/v1"])
@pytest.mark.parametrize("name", ["OPENAI_API_BASE", "OPENAI_BASE_URL"])
def test_a_server_of_this_machine_is_said_to_be_one_that_may_hold_rules(
    name: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in ("OPENAI_API_BASE", "OPENAI_BASE_URL"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "offline")
    monkeypatch.setenv(name, url)
    served = serving(online=None)
    assert served.tiers == default_tiers()
    assert (served.note or "").startswith(f"{name} is {url}, so a server on this machine answers. If that is serve-off")
    assert "no language model" in (served.closing or "")


def test_one_agent_is_built_for_each_schema() -> None:
    agents = Agents(TierRouter(tiers(nano=say("x"))), ())
    first = agents.of({"type": "object", "properties": {}})
    assert agents.of({"properties": {}, "type": "object"}) is first
    assert agents.of(None) is not first


async def test_no_more_requests_run_at_a_time_than_wanted() -> None:
    running, most, done = set[int](), 0, list[Result]()

    class Slow:
        async def ainvoke(self, _: Any) -> dict[str, Any]:
            nonlocal most
            running.add(id(asyncio.current_task()))
            most = max(most, len(running))
            await asyncio.sleep(0.005)
            running.discard(id(asyncio.current_task()))
            return {"messages": [AIMessage("x")], "route": answered(1).route, "ledger": []}

    class OfSlow(Agents):
        def of(self, schema: Any) -> Any:
            return Slow()

    records = [Record(line, text_record("").folder, {"text": "x"}) for line in range(1, 11)]
    await run_all(records, OfSlow(TierRouter(tiers(nano=say("x"))), ()), 3, done.append)
    assert most == 3
    assert sorted(result.record.line for result in done) == list(range(1, 11))


def test_a_lone_surrogate_is_neither_printed_nor_written_raw() -> None:
    result = answered(1, reason="bad \ud800 and \x1b[31m red")
    assert "\ud800" not in tables.answer_text("bad \ud800")
    assert "bad and [31m red" in " ".join(printed(tables.result_pairs(result)).split())
    written = result.line().encode("utf-8", "backslashreplace")
    assert json.loads(written)["reason"] == "bad \ud800 and \x1b[31m red"


@pytest.mark.parametrize(("total", "lines"), [(5, 0), (6, 2), (32, 7), (300, 10)])
def test_progress_off_a_terminal_is_sparse_and_ends_with_all_done(total: int, lines: int) -> None:
    console = Console(file=StringIO(), width=80)
    with progress(total, console) as advance:
        for _ in range(total):
            advance()
    told: str = console.file.getvalue()  # type: ignore[attr-defined]
    assert len(told.splitlines()) == lines
    assert lines == 0 or told.endswith(f"{total} of {total} done\n")
    assert "\x1b" not in told


def test_progress_on_a_terminal_is_a_bar_that_goes_away() -> None:
    console = Console(file=StringIO(), width=80, force_terminal=True)
    with progress(6, console) as advance:
        for _ in range(6):
            advance()
    told: str = console.file.getvalue()  # type: ignore[attr-defined]
    assert "6/6" in told
    assert told.endswith("\x1b[2K")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "unknown"),
        (0.0, "$0"),
        (0.000123, "$0.000123"),
        (0.0000001, "<$0.000001"),
        (-0.0005, "-$0.000500"),
        (1.5, "$1.5000"),
        (1234.567, "$1,234.57"),
    ],
)
def test_amounts_have_digits_enough(value: float | None, told: str) -> None:
    assert usd(value) == told


def test_of_many_results_the_first_are_shown_and_those_that_failed() -> None:
    results = [*(answered(line) for line in range(1, 100)), Result(text_record("Lost"), "failed", error="It broke.")]
    console = Console(file=StringIO(), width=80)
    told = printed(tables.results_table(results, console))
    assert [line.split()[0] for line in told.splitlines() if "Request " in line and "Cost" not in line] == [
        str(line) for line in range(1, 21)
    ]
    assert "It broke." in told
    assert tables.not_shown(results) == "79 more rows are not shown. --out FILE.jsonl writes every result."
    assert tables.not_shown(results[:50]) is None


@pytest.mark.parametrize("columns", [80, 120])
def test_a_long_reason_takes_two_lines_and_never_more_than_the_screen(columns: int) -> None:
    result = answered(1, reason="word " * 80)
    told = printed(tables.results_table([result], Console(file=StringIO(), width=columns)), columns).splitlines()
    assert len(told) == 4
    assert max(map(len, told)) <= columns
    assert "…" in told[-1]


def test_expectations_name_the_records_that_went_elsewhere() -> None:
    results = [answered(1, "nano", expect="nano"), answered(2, "nano", expect="mini"), answered(3)]
    assert tables.expectations(results) == (
        "Answered by the tier that the file expects: 1 of 2. Expected otherwise: #2 mini."
    )
    assert tables.expectations([answered(3)]) is None


def test_without_any_call_nothing_is_claimed_to_be_saved() -> None:
    assert " ".join(printed(tables.savings(Ledger())).split()) == "saved nothing: no call led to an answer"


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        pytest.param(ConnectionError("down, too"), True, id="an outage"),
        pytest.param(json.JSONDecodeError("no JSON", "", 0), True, id="an answer that nobody could read"),
        pytest.param(KeyError("total"), False, id="a bug"),
        pytest.param(
            type("MissError", (Exception,), {"__module__": "vcr.errors"})("miss"), False, id="a missing recording"
        ),
    ],
)
def test_a_bug_after_a_failed_attempt_is_still_a_bug(second: Exception, expected: bool) -> None:  # noqa: FBT001  (a row)
    agent = create_tiered_agent(tiers(nano=fail(ConnectionError("down")), mini=fail(second)))
    with pytest.raises(type(second)) as told:
        agent.invoke(ask(LABEL))
    assert told.value.attempts[0]["failure"]["kind"] == "outage"  # type: ignore[attr-defined]
    assert is_expected(told.value) is expected
