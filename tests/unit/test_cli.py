"""The command line from the outside: what it prints, writes, and exits with."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fakes import fail, in_turn, model, say, tiers
from typer.testing import CliRunner

from langchain_tiered import Tier
from langchain_tiered.cli.commands import app
from langchain_tiered.cli.setup import Serving

if TYPE_CHECKING:
    from typer.testing import Result

ROOT = Path(__file__).parents[2]
EASY = "Classify the ticket. Labels: bug, praise, other.\n\nA bug: it crashes."
TOOLS = '''
from langchain_core.tools import tool

@tool
def refund_order(order_id: int) -> str:
    """Refund an order."""
    return f"Refunded order {order_id}."

def shop():
    return [refund_order]

def closed():
    raise OSError("closed today")

LIST, NUMBER, ONE = [refund_order], 5, refund_order
'''


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_API_BASE", "OPENAI_BASE_URL", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "path", [*sys.path])


@pytest.fixture
def tools_file(tmp_path: Path) -> Path:
    path = tmp_path / "shop_of_test.py"
    path.write_text(TOOLS)
    return path


def invoke(*args: object, given: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args], input=given)


def flat(text: str) -> str:
    """Return what was printed as one line, without colours, frames and wrapping."""
    return " ".join(re.sub(r"\x1b\[[\d;]*m|[│╭╮╰╯─]", " ", text).split())


def file_of(folder: Path, *records: dict[str, Any] | str) -> Path:
    path = folder / "in.jsonl"
    path.write_text("\n".join(each if isinstance(each, str) else json.dumps(each) for each in records))
    return path


def written(path: Path) -> dict[Any, dict[str, Any]]:
    return {told["id"]: told for told in map(json.loads, path.read_text().splitlines())}


def serve(monkeypatch: pytest.MonkeyPatch, served: tuple[Tier, ...]) -> None:
    monkeypatch.setattr("langchain_tiered.cli.commands.serving", lambda online: Serving(served))


def test_run_answers_a_text_and_shows_route_cost_and_saving(monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, tiers(nano=say("bug"), mini=say("no"), flagship=say("no")))
    result = invoke("run", EASY)
    assert result.exit_code == 0
    told = flat(result.stdout)
    assert told.startswith("bug tier nano, decided by rules why classify: The request asks for a label.")
    assert "cost $0.000325 in 1 call baseline $0.004000 for the same tokens at openai:gpt-5.4, an estimate" in told
    assert "saved $0.003675 (92 %)" in told


def test_without_a_key_the_offline_tiers_serve_and_every_output_says_so(tmp_path: Path) -> None:
    for args in (("run", EASY), ("route", EASY), ("run", "--file", file_of(tmp_path, {"text": EASY}))):
        told = flat(invoke(*args).stdout)
        assert told.startswith("No OPENAI_API_KEY was found, so the offline tiers answer: deterministic rules")
        assert "no language model. Costs: the same tokens at GPT-5.4 prices." in told
    assert told.endswith(
        "Offline tiers: deterministic rules, no language model. Costs: the same tokens at GPT-5.4 prices."
    )


def test_with_a_key_offline_is_kept_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "unused")
    assert flat(invoke("run", EASY, "--offline").stdout).startswith("The offline tiers answer, as asked:")


@pytest.mark.parametrize("name", ["shop", "LIST"])
def test_tools_come_from_a_path(tools_file: Path, name: str) -> None:
    result = invoke("run", "Refund order 1042.", "--tools", f"{tools_file}:{name}")
    assert "Refunded order 1042." in result.stdout
    assert "mini, decided by rules" in result.stdout


def test_tools_come_from_a_module_in_the_working_folder(tools_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tools_file.parent)
    monkeypatch.delitem(sys.modules, "shop_of_test", raising=False)
    assert "Refunded order 1042." in invoke("run", "Refund order 1042.", "--tools", "shop_of_test:shop").stdout


def test_a_tools_file_called_like_a_module_does_not_take_its_place(tools_file: Path) -> None:
    path = tools_file.rename(tools_file.with_name("json.py"))
    assert "Refunded order 1042." in invoke("run", "Refund order 1042.", "--tools", f"{path}:shop").stdout
    assert sys.modules["json"] is json


def test_run_of_a_file_shows_rows_shares_and_sums_that_agree_with_what_it_writes(tmp_path: Path) -> None:
    records = [{"id": "easy", "text": EASY, "label": "bug"}, {"text": "What should we do next, and why?"}]
    out = tmp_path / "out.jsonl"
    result = invoke("run", "--file", file_of(tmp_path, *records), "--out", out)
    assert result.exit_code == 0
    told, lines = flat(result.stdout), written(out)
    assert set(lines) == {"easy", 2}
    assert lines["easy"] | {"cost_usd": 0} == {
        "id": "easy",
        "tier": "nano",
        "task": "classify",
        "reason": "The request asks for a label.",
        "decided_by": "rules",
        "escalated_from": None,
        "cost_usd": 0,
        "answer": "bug",
        "error": None,
    }
    assert "2 answered, 0 failed, 0 skipped" in told
    total = sum(line["cost_usd"] for line in lines.values())
    assert re.search(rf"total 2 3 \${total:.6f} ", told)
    assert re.search(r"nano 1 50 % ━+ 1 \$0\.0000\d\d", told)
    assert re.search(r"classifier 1 \$0\.000\d{3} total", told)


def test_each_bad_record_is_told_and_skipped_while_the_rest_runs(tmp_path: Path) -> None:
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    bad: dict[str, dict[str, Any] | str] = {
        "Line 1 is no JSON: ": '{"text": ',
        'Line 2 is no JSON object. Write one such as {"text": "Hello"}.': "[1]",
        "The record has no text.": {"id": 3},
        "The record has no text. ": {"id": 4, "text": " "},
        "The image 'none.png' cannot be read: No such file": {"id": 5, "text": "x", "images": ["none.png"]},
        "'note.md' is no image by its name.": {"id": 6, "text": "x", "images": ["note.md"]},
        "'images' is 'a.png', expected a list": {"id": 7, "text": "x", "images": "a.png"},
        "The document 'none.txt' cannot be read": {"id": 8, "text": "x", "document": "none.txt"},
        "The document 'binary.txt' is no text in UTF-8.": {"id": 9, "text": "x", "document": "binary.txt"},
        "'schema' is no JSON schema of an object.": {"id": 10, "text": "x", "schema": {"type": "array"}},
        "is no message. Known roles": {"id": 11, "messages": [{"role": "wizard", "content": "x"}]},
        "'messages' stands beside 'text'": {"id": 12, "text": "x", "messages": []},
        "'text' is 5, expected words in double quotes.": {"id": 13, "text": 5},
    }
    out = tmp_path / "out.jsonl"
    result = invoke("run", "--file", file_of(tmp_path, *bad.values(), "", {"id": "good", "text": EASY}), "--out", out)
    assert result.exit_code == 1
    lines = written(out)
    assert lines.pop("good")["answer"] == "bug"
    for line, (why, told) in enumerate(zip(bad, (lines[place] for place in range(1, 14)), strict=True), 1):
        assert why in told["error"], line
        assert told["tier"] is None
        assert told["cost_usd"] == 0
    assert "1 answered, 0 failed, 13 skipped" in flat(result.stdout)


def test_records_come_from_stdin_too(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert invoke("run", "--file", "-", "--out", out, given='{"id": "one", "text": "x", "images": 5}\n').exit_code == 1
    told = json.dumps({"id": "one", "text": EASY})
    assert invoke("run", "--file", "-", "--out", out, given=told).exit_code == 0
    assert written(out)["one"]["answer"] == "bug"


def test_fields_that_are_not_read_and_tiers_that_are_not_there_are_told(tmp_path: Path) -> None:
    good = {"id": 1, "text": EASY, "expect": "nano"}
    assert "not read" not in invoke("run", "--file", file_of(tmp_path, good)).stderr
    records = [good | {"documnet": "a.txt"}, good | {"documnet": "b.txt", "expect": "nan0"}, good | {"expect": 5}]
    told = flat(invoke("run", "--file", file_of(tmp_path, *records)).stderr)
    assert told == (
        "Fields that are not read: 'documnet' in 2 records. "
        "Known are text, images, document, messages, schema, expect, id. "
        "'expect' names no tier: 'nan0' in 1 record, '5' in 1 record. Tiers, cheapest first: nano, mini, flagship."
    )


def test_a_failed_request_is_a_row_and_what_it_had_cost_is_in_the_total(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class RefusedError(Exception):
        status_code = 401

    serve(monkeypatch, tiers(nano=in_turn(say("bug"), say("")), mini=fail(RefusedError("Bad key.\nhidden"))))
    out = tmp_path / "out.jsonl"
    records = [{"id": name, "text": EASY} for name in ("one", "two")]
    result = invoke("run", "--file", file_of(tmp_path, *records), "--concurrency", 1, "--out", out)
    assert result.exit_code == 1
    lines, told = written(out), flat(result.stdout)
    assert lines["one"]["answer"] == "bug"
    assert lines["two"]["error"] == "RefusedError: Bad key."
    assert lines["two"]["cost_usd"] == pytest.approx(0.000325)
    assert "failed RefusedError: Bad key. $0.000325" in told
    assert "1 answered, 1 failed, 0 skipped" in told
    assert "total 1 3 $0.000650" in told
    assert "hidden" not in result.output


def test_a_failed_text_tells_its_error_on_stderr_and_its_cost() -> None:
    result = invoke("run", "Read it. " * 700_000)
    assert result.exit_code == 1
    assert "No tier can take this request" in flat(result.stderr)
    assert "cost $0 in 0 calls" in flat(result.stdout)


def test_a_bug_raises_after_what_was_paid_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, tiers(nano=in_turn(say("bug"), fail(ZeroDivisionError("mine")))))
    result = invoke("run", "--file", file_of(tmp_path, {"text": EASY}, {"text": EASY}), "--concurrency", 1)
    assert isinstance(result.exception, ExceptionGroup)
    assert isinstance(result.exception.exceptions[0], ZeroDivisionError)
    assert "1 of 2 requests" in result.stdout
    assert "total 1 1 $0.000325" in flat(result.stdout)


def test_an_unknown_price_is_never_shown_as_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, (Tier("only", model("mystery-9", say("bug")), criteria="All."),))
    told = flat(invoke("run", EASY).stdout)
    assert "cost unknown in 1 call" in told
    assert "saved unknown" in told
    assert "unpriced 1 of mystery-9; the other calls cost $0" in told


def test_an_escalated_answer_names_the_tier_first_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, tiers(nano=say(""), mini=say("bug"), flagship=say("no")))
    told = flat(invoke("run", "--file", file_of(tmp_path, {"text": EASY})).stdout)
    assert re.search(r"mini classify: .* from nano", told)
    assert "Escalated: 1." in told
    assert "mini, decided by escalation, escalated from nano" in flat(invoke("run", EASY).stdout)


def test_pin_sends_everything_to_one_tier() -> None:
    assert "flagship, decided by pin" in invoke("run", EASY, "--pin", "flagship").stdout


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["run"], "Give one TEXT, or --file IN.jsonl."),
        (["run", " "], "TEXT is empty."),
        (["route", ""], "TEXT is empty."),
        (["run", "--file", "-"], "stdin has no records."),
        (["run", "x", "--file", "{in}"], "Give one TEXT, or --file IN.jsonl."),
        (["run", "--file", "none.jsonl"], "--file none.jsonl cannot be read: No such file"),
        (["run", "--file", "{folder}"], "cannot be read: Is a directory."),
        (["run", "--file", "{empty}"], "has no records"),
        (["run", "x", "--pin", "tiny"], "Unknown tier 'tiny'"),
        (["run", "x", "--concurrency", "0"], "Invalid value for '--concurrency'"),
        (["run", "x", "--online"], "OPENAI_API_KEY is not set."),
        (["run", "--file", "{in}", "--out", "{in}"], "is the file of requests itself"),
        (["run", "x", "--out", "no/such/folder"], "cannot be written: No such file"),
        (["run", "x", "--tools", "shop"], "'shop' names no tools."),
        (["run", "x", "--tools", "none.py:shop"], "There is no file 'none.py'."),
        (["run", "x", "--tools", "no_such_module:shop"], "There is no module 'no_such_module' here."),
        (["run", "x", "--tools", "{tools}:none"], "has no 'none'"),
        (
            ["run", "x", "--tools", "{broken}:LIST"],
            "cannot be loaded: ModuleNotFoundError: No module named 'no_such_shop'",
        ),
        (["run", "x", "--tools", "{broken}:LIST"], "(broken.py, line 2)"),
        (["run", "x", "--tools", "{unreadable}:LIST"], "cannot be loaded: SyntaxError: "),
        (
            ["run", "x", "--tools", "{tools}:closed"],
            "cannot be loaded: OSError: closed today (shop_of_test.py, line 13)",
        ),
        (["run", "x", "--tools", "{tools}:NUMBER"], "gives a int, expected a list of tools"),
        (["run", "x", "--tools", "{tools}:ONE"], "gives a StructuredTool, expected a list"),
        (["route", "x", "--image", "none.png"], "The image 'none.png' cannot be read"),
    ],
)
def test_a_wrong_use_exits_with_2_and_says_why(
    args: list[str], told: str, tmp_path: Path, tools_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    (tmp_path / "empty").write_text("\n\n")
    (tmp_path / "broken.py").write_text("\nimport no_such_shop\n")
    (tmp_path / "unreadable.py").write_text("LIST = [\n")
    paths = {name: tmp_path / f"{name}.py" for name in ("broken", "unreadable")}
    paths |= {
        "in": file_of(tmp_path, {"text": EASY}),
        "empty": tmp_path / "empty",
        "tools": tools_file,
        "folder": tmp_path,
    }
    result = invoke(*(arg.format(**paths) for arg in args))
    assert result.exit_code == 2
    assert told in flat(result.stderr)
    assert result.stdout == ""


def test_route_shows_the_decision_and_answers_nothing(tools_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = tiers(nano=say("no"), mini=say("no"))
    serve(monkeypatch, served)
    result = invoke("route", "Refund order 1042.", "--tools", f"{tools_file}:shop")
    assert result.exit_code == 0
    assert flat(result.stdout).startswith(
        "tokens about 9 tools refund_order risk money rule tools, which decides: tools. The request shares words"
    )
    assert "classifier not asked tier mini task tools decided by rules confidence not reported" in flat(result.stdout)
    assert [tier.model.calls for tier in served] == [0, 0]  # type: ignore[union-attr]


def test_route_shows_what_the_classifier_says_and_costs() -> None:
    told = flat(invoke("route", "What should we do next, and why?").stdout)
    assert re.search(r"unsure long_document, .* classifier flagship, reason: .*Cost: \$0\.000\d+\. tier flagship", told)
    assert "decided by classifier confidence" in told


def test_route_takes_images() -> None:
    told = flat(invoke("route", "What is the total?", "--image", ROOT / "examples/assets/receipt.png").stdout)
    assert "images 1" in told
    assert "rule pictures, which decides: scan. 1 image of a document" in told


def test_route_that_fails_exits_with_1() -> None:
    result = invoke("route", "Read it. " * 700_000)
    assert result.exit_code == 1
    assert "No tier can take this request" in flat(result.stderr)


def test_version_is_the_packages() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", invoke("--version").stdout)


@pytest.mark.parametrize("columns", [80, 120])
def test_the_examples_of_make_run_all_answer_and_fit_the_screen(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    examples = ROOT / "examples"
    result = invoke("run", "--file", examples / "requests.jsonl", "--tools", f"{examples / 'shop.py'}:shop_tools")
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= columns
    assert "\x1b" not in result.output


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}


def test_the_installed_command_runs() -> None:
    command = Path(sys.executable).with_name("langchain-tiered")
    done = subprocess.run([command, "run", EASY], env=environment(), capture_output=True, text=True, check=True)
    assert "\nbug\n" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_the_install_line_is_told(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from langchain_tiered.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "The command line needs an optional part: pip install 'langchain-tiered[cli]'\n"


def test_ctrl_c_shows_what_was_done_and_exits_with_130(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import asyncio\n"
        "async def refund_order(order_id: int) -> str:\n"
        '    "Refund an order."\n'
        "    await asyncio.sleep(60)\n"
        "TOOLS = [refund_order]\n"
    )
    source, out = file_of(tmp_path, {"text": EASY}, {"text": "Refund order 1042."}), tmp_path / "out.jsonl"
    args = ["run", "--file", source, "--out", out, "--tools", f"{tmp_path / 'slow.py'}:TOOLS"]
    # A process that a shell started in the background ignores Ctrl-C, and so do its children.
    heeds = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{heeds}; from langchain_tiered.cli import main; main()", *map(str, args)]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        deadline = time.monotonic() + 30
        while not (out.exists() and out.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        before = out.read_text()
        run.send_signal(signal.SIGINT)
        told, errors = run.communicate(timeout=30)
    assert json.loads(before)["answer"] == "bug"  # written while the other request was under way
    assert run.returncode == 130
    assert "1 of 2 requests" in told
    assert "Interrupted." in told
    assert errors == ""
