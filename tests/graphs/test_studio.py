"""LangGraph Studio's server, started for real: offline, without a key, and asked as Studio asks it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("langgraph_api", reason="Studio's server is not installed: pip install 'langchain-tiered[studio]'")
from langgraph_sdk import get_sync_client

ROOT = Path(__file__).parents[2]
START_S = 60


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Start `langgraph dev` on a free port and give a client of it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("studio") / "log"
    quiet = {"LANGGRAPH_CLI_NO_ANALYTICS": "1", "LANGGRAPH_NO_VERSION_CHECK": "true", "LANGSMITH_TRACING": "false"}
    environment = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"} | quiet
    command = [str(Path(sys.executable).with_name("langgraph")), "dev", "--no-browser", "--no-reload"]
    with (
        log.open("w") as output,
        subprocess.Popen(
            [*command, "--port", str(port)], cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT
        ) as server,
    ):
        client = get_sync_client(url=f"http://127.0.0.1:{port}")
        try:
            _wait(client, server, log)
            yield client
        finally:
            client.http.client.close()
            server.terminate()
    assert "Blocking call" not in log.read_text(), "an async node has blocked the server's event loop"


def _wait(client: Any, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            client.assistants.search()
        except Exception:  # noqa: BLE001  (whatever a client raises while nobody listens yet)
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"the server did not start:\n{log.read_text()[-2000:]}")


def test_the_graph_has_readable_nodes_and_tiers_that_open(studio: Any) -> None:
    drawn = studio.assistants.get_graph("tiered", xray=True)
    names = {node["id"] for node in drawn["nodes"]}
    assert {"classify", "nano", "check"} <= names
    assert any(name.startswith("mini") and name.endswith("tools") for name in names), names


def test_models_and_prompts_can_be_edited_on_their_nodes(studio: Any) -> None:
    (assistant,) = studio.assistants.search(graph_id="tiered")
    schemas = studio.assistants.get_schemas(assistant["assistant_id"])
    fields = schemas["context_schema"]["properties"]
    assert fields["mini_prompt"]["langgraph_nodes"] == ["mini"]
    assert (fields["mini_prompt"]["langgraph_type"], fields["mini_model"]["langgraph_type"]) == ("prompt", "model")
    assert set(schemas["input_schema"]["properties"]) == {"messages"}
    assert set(schemas["output_schema"]["properties"]) == {"messages", "route", "ledger"}


@pytest.mark.parametrize(
    ("text", "context", "tier"),
    [
        ("Where is order 1041? Please find the order.", None, "mini"),
        ("Label it. Labels: bug, praise.\n\nIt crashes.", None, "nano"),
        ("Label it. Labels: bug, praise.\n\nIt crashes.", {"pin": "flagship"}, "flagship"),
    ],
)
def test_a_request_is_answered_over_the_server(studio: Any, text: str, context: Any, tier: str) -> None:
    given = {"messages": [{"role": "user", "content": text}]}
    result = studio.runs.wait(None, "tiered", input=given, context=context)
    assert result["route"]["tier"] == tier
    assert result["messages"][-1]["content"]
    assert all(entry["tier"] for entry in result["ledger"])


def test_a_thread_is_kept_and_streamed(studio: Any) -> None:
    thread = studio.threads.create()
    given = {"messages": [{"role": "user", "content": "Where is order 1042? Please find the order."}]}
    parts = list(
        studio.runs.stream(thread["thread_id"], "tiered", input=given, stream_mode=["messages-tuple", "values"])
    )
    assert {"values", "messages"} <= {part.event for part in parts}
    assert len(studio.threads.get_state(thread["thread_id"])["values"]["ledger"]) >= 2


REVIEW = """Review the code:
1. Search the folder langchain_tiered/routing for 'def decide('.
2. Measure the functions of the file langchain_tiered/routing/policy.py.
3. Read the file ../outside.md."""


def test_a_code_review_reads_this_project_and_nothing_beside_it(studio: Any) -> None:
    given = {"messages": [{"role": "user", "content": REVIEW}]}
    result = studio.runs.wait(None, "code_review", input=given)
    told = {each["id"]: each["output"] for each in result["results"]}
    assert "langchain_tiered/routing/policy.py:" in told["step_1"]
    assert "functions, the longest" in told["step_2"]
    assert "There is no '../outside.md' here" in told["step_3"]
    assert (result["verdict"], result["results"][0]["tier"]) == ("satisfied", "mini")


def test_a_doubted_refund_waits_in_studio_and_is_made_once_when_it_is_approved(studio: Any) -> None:
    thread = studio.threads.create()["thread_id"]
    given = {
        "messages": [{"role": "user", "content": "Do both:\n1. Refund order 1047.\n2. Perhaps refund order 1043."}]
    }
    studio.runs.wait(thread, "support_desk", input=given)
    (waiting,) = (each for task in studio.threads.get_state(thread)["tasks"] for each in task["interrupts"])
    assert "'Perhaps'" in waiting["value"]["action_requests"][0]["description"]
    answer = {"resume": {"decisions": [{"type": "approve"}]}}
    result = studio.runs.wait(thread, "support_desk", command=answer)
    assert [each["output"] for each in result["results"]] == [
        "Refunded order 1047: $34.00.",
        "Refunded order 1043: $47.00.",
    ]
