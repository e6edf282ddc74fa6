"""The offline server listens on the loopback alone, beside others, outlives rude clients, and can be left out."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from langchain_openai import ChatOpenAI
from typer.testing import CliRunner

from langchain_tiered import Ledger, create_tiered_agent
from langchain_tiered.cli.commands import app
from langchain_tiered.errors import ConfigurationError
from langchain_tiered.models import default_tiers
from langchain_tiered.offline.faults import Faults
from langchain_tiered.offline.server import OfflineServer, create_app

WIRE = Path(__file__).parents[3] / "../shared/wire/recordings.jsonl"
# A process that a shell started in the background ignores Ctrl-C, and so do its children.
HEEDS_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
CLI = [sys.executable, "-c", f"{HEEDS_CTRL_C}from langchain_tiered.cli import main; main()", "serve-offline"]


def client(server: OfflineServer, **options: Any) -> ChatOpenAI:
    options = {"model": "gpt-5.4-nano", "max_retries": 0, **options}
    return ChatOpenAI(base_url=server.url, api_key="x", **options)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.com", ""])  # noqa: S104  (refused)
def test_no_host_but_the_loopback_is_taken(host: str) -> None:
    with pytest.raises(ConfigurationError, match=f"not on {host!r}"):
        OfflineServer(host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_by_either_name_answers(host: str) -> None:
    with OfflineServer(host=host) as server:
        assert host in server.url
        assert client(server).invoke("Hello").text


def test_port_in_use_is_named_with_the_mend() -> None:
    with OfflineServer() as first:
        port = int(first.url.rsplit(":", 1)[1].removesuffix("/v1"))
        with (
            pytest.raises(ConfigurationError, match=rf"Port {port} is in use\. Choose another one"),
            OfflineServer(port=port),
        ):
            pass
        assert client(first).invoke("Hello").text
    with OfflineServer(port=port) as again:
        assert client(again).invoke("Hello").text


def test_two_servers_count_apart() -> None:
    with OfflineServer() as first, OfflineServer(script=[{"text": "Second."}]) as second:
        assert client(second).invoke("Hello").text == "Second."
        assert first.stats["calls"] == 0
        client(first).invoke("Hello")
        client(first).invoke("Hello")
        assert (first.stats["calls"], second.stats["calls"]) == (2, 1)


@pytest.mark.parametrize("sent", [b"", b"POST /v1/chat/comp", b"nonsense\r\n\r\n"])
def test_client_that_leaves_before_its_request_is_whole_leaves_the_server_alive(sent: bytes) -> None:
    with OfflineServer() as server:
        with socket.create_connection(("127.0.0.1", int(re.findall(r":(\d+)/", server.url)[0]))) as rude:
            rude.sendall(sent)
        assert client(server).invoke("Hello").text


@pytest.mark.parametrize("fault", ["slow", "timeout"])
def test_client_that_leaves_before_its_answer_is_whole_leaves_the_server_alive(
    fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    plan = Faults.script([{"call": 1, "fault": fault, "seconds": 30}])
    body = json.dumps({"model": "gpt-5.4", "stream": True, "messages": [{"role": "user", "content": "Hello"}]})
    began = time.monotonic()
    with OfflineServer(faults=plan) as server:
        with socket.create_connection(("127.0.0.1", int(re.findall(r":(\d+)/", server.url)[0]))) as rude:
            rude.sendall(
                f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
            )
            while server.stats["faults"].get(fault) is None:
                time.sleep(0.01)
        assert client(server).invoke("Hello").text
    assert time.monotonic() - began < 10
    assert not caplog.records


def test_stopping_does_not_wait_for_a_client_that_waits() -> None:
    plan = Faults.script([{"fault": "timeout", "seconds": 30}])
    body = '{"model":"gpt-5.4","messages":[{"role":"user","content":"Hello"}]}'
    with OfflineServer(faults=plan) as server:
        waiting = socket.create_connection(("127.0.0.1", int(re.findall(r":(\d+)/", server.url)[0])))
        waiting.sendall(
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
        )
        while not server.stats["faults"]:
            time.sleep(0.01)
        began = time.monotonic()
    assert time.monotonic() - began < 2
    assert waiting.recv(1) == b""
    waiting.close()


def test_server_can_be_entered_again_and_starts_fast() -> None:
    server = OfflineServer()
    began = time.monotonic()
    for _ in range(3):
        with server:
            client(server).invoke("Hello")
    assert server.stats["calls"] == 3
    assert time.monotonic() - began < 5


def test_client_is_shared_between_event_loops() -> None:
    with OfflineServer() as server:
        model = client(server)
        assert all(asyncio.run(model.ainvoke("Hello")).text for _ in range(3))


async def test_app_answers_under_any_asgi_server_where_a_drop_is_an_exception() -> None:
    body = b'{"model":"gpt-5.4","messages":[{"role":"user","content":"Hello"}]}'
    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": [], "query_string": b""}
    sent: list[Any] = []

    async def receive() -> Any:
        if sent:
            await asyncio.sleep(60)
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        sent.append(message)

    await create_app()({**scope}, receive, send)
    assert (sent[0]["status"], sent[-1].get("more_body")) == (200, False)
    sent.clear()
    with pytest.raises(ConnectionAbortedError):
        await create_app(faults=Faults.script([{"fault": "drop_in_body"}]))({**scope}, receive, send)


def test_recorded_body_is_served_as_it_is_and_its_usage_counted() -> None:
    recorded = {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Recorded."}}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11,
                  "prompt_tokens_details": {"cached_tokens": 4}},
    }  # fmt: skip
    headers = {"content-length": "1", "content-encoding": "gzip", "x-request-id": "req_recorded"}
    with OfflineServer(script=[{"status": 200, "headers": headers, "body": recorded}]) as server:
        answer = client(server, model="gpt-4o", include_response_headers=True).invoke("Hello")
        assert (answer.text, answer.response_metadata["model_name"]) == ("Recorded.", "gpt-4o-2024-08-06")
        assert answer.response_metadata["headers"]["x-request-id"] == "req_recorded"
        assert server.stats["tokens"] == {
            "input_tokens": 9, "cached_tokens": 4, "output_tokens": 2, "reasoning_tokens": 0,
        }  # fmt: skip


@pytest.mark.skipif(not WIRE.exists(), reason="The genuine recordings are not on this machine.")
@pytest.mark.parametrize("recording", ["rec072", "rec033", "rec052", "rec137", "rec140", "rec115", "rec101"])
def test_genuine_recordings_come_through_with_the_recorded_usage(recording: str) -> None:
    rows = {row["id"]: row for row in map(json.loads, WIRE.read_text(encoding="utf-8").splitlines())}
    row = rows[recording]
    entry = {"status": row["status"], "headers": row["response_headers"], "body": row["response_body"]}
    with OfflineServer(script=[entry]) as server:
        model = client(server, model=row["model"], use_responses_api=row["api"] == "responses", stream_usage=True)
        if isinstance(row["response_body"], str):
            told: Any = [chunk.usage_metadata for chunk in model.stream("Hello") if chunk.usage_metadata][-1]
        else:
            told = model.invoke("Hello").usage_metadata
        counted = server.stats["tokens"]
        assert (told["input_tokens"], told["output_tokens"]) == (counted["input_tokens"], counted["output_tokens"])
        assert counted["input_tokens"] > 0


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({}, "Write"),
        ({"model": "mini"}, "Write"),
        ({"txt": "x"}, "'txt'"),
        ({"body": "x", "text": "y"}, "'text'"),
        ({"text": "x", "finish_reason": "bored"}, "'bored'"),
        ({"text": "x", "usage": {"prompt_tokens": 1}}, "'prompt_tokens'"),
        ({"tool_calls": [{"arguments": {}}]}, "Write a call as"),
    ],
)
def test_script_that_cannot_be_read_is_told_at_build(entry: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        create_app(script=[entry])


def test_agent_on_the_default_tiers_books_what_the_server_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    with OfflineServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "offline")
        agent = create_tiered_agent(default_tiers())
        entries: list[Any] = []
        for text in ["Labels: bug, praise.\n\nIt crashes.", "Why does this deadlock, and how would you prove it?"]:
            entries += agent.invoke({"messages": [("user", text)]})["ledger"]
        ledger, stats = Ledger(entries), server.stats
    for name, count in stats["tokens"].items():
        assert sum(entry[name] or 0 for entry in entries) == count
    assert stats["calls"] == len(entries) >= 2
    assert stats["rejected"] == 0
    assert ledger.total_usd is not None


def test_agent_books_every_paid_call_under_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Faults.script([
        {"model": "nano", "fault": "length_empty"},
        {"call": 1, "model": "mini", "fault": "server_error"},
    ])  # fmt: skip
    with OfflineServer(faults=plan) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "offline")
        result = create_tiered_agent(default_tiers()).invoke({"messages": [("user", "Labels: a, b.\n\nAn a.")]})
        stats = server.stats
    assert result["messages"][-1].text
    for name, count in stats["tokens"].items():
        assert sum(entry[name] or 0 for entry in result["ledger"]) == count
    assert stats["faults"]["length_empty"] >= 1


def test_without_the_extra_the_install_line_is_told() -> None:
    code = (
        "import sys; sys.modules['starlette'] = None\n"
        "try:\n    import langchain_tiered.offline.server\n"
        "except ImportError as error:\n    print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == (
        "MissingExtraError The offline server needs an optional part: pip install 'langchain-tiered[server]'"
    )


def test_package_does_not_import_the_server() -> None:
    code = "import sys, langchain_tiered.offline, langchain_tiered.cli.commands; print('uvicorn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_command_serves_breaks_by_the_file_and_says_what_answers(tmp_path: Path) -> None:
    plan = tmp_path / "faults.json"
    plan.write_text('{"script": [{"call": 2, "model": "nano", "fault": "unavailable"}]}')
    command = [*CLI, "--port", "0", "--faults", str(plan)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "no language model" in line
        url = re.findall(r"http://127\.0\.0\.1:\d+/v1", line)[0]
        model = ChatOpenAI(model="gpt-5.4-nano", base_url=url, api_key="x", max_retries=0)
        assert model.invoke("Hello").text
        with pytest.raises(Exception, match="503"):
            model.invoke("Hello")
        with urlopen(f"{url.removesuffix('/v1')}/_stats") as told:  # noqa: S310  (our own server)
            assert json.load(told)["faults"] == {"unavailable": 1}
        process.send_signal(2)
        _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, "")


def test_command_names_the_port_in_use_and_the_line_of_a_wrong_fault(tmp_path: Path) -> None:
    plan = tmp_path / "faults.json"
    plan.write_text('{\n  "script": [\n    {"call": 1, "fault": "meteor"}\n  ]\n}')
    wrong = CliRunner().invoke(app, ["serve-offline", "--faults", str(plan)], env={"COLUMNS": "300"})
    assert wrong.exit_code == 2
    assert "line 3" in wrong.output
    assert "'meteor'" in wrong.output
    with OfflineServer() as server:
        port = re.findall(r":(\d+)/", server.url)[0]
        taken = CliRunner().invoke(app, ["serve-offline", "--port", port], env={"COLUMNS": "300"})
    assert taken.exit_code == 2
    assert f"Port {port} is in use" in taken.output
