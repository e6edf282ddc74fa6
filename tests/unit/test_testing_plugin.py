"""The pytest plugin, as a user has it: named in a `conftest.py`, in a project of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import langchain_tiered.testing as ours

if TYPE_CHECKING:
    from pathlib import Path

CONFTEST = 'pytest_plugins = ["langchain_tiered.testing"]\n'
TESTS = """
import urllib.error, urllib.request

import httpx2
import pytest

from langchain_tiered.testing import RouterConformance

def test_the_server_breaks_on_demand(offline_server):
    from langchain_tiered.offline.faults import Faults
    one, two = offline_server(), offline_server(faults=Faults.script([{"fault": "server_error"}]))
    asked = {"model": "gpt-5.4-nano", "messages": [{"role": "user", "content": "Hello."}]}
    told = [httpx2.post(f"{server.url}/chat/completions", json=asked).status_code for server in (one, two)]
    assert told == [200, 500]

def test_a_cassette_of_its_own(cassette):
    asked = {"model": "gpt-5.4-nano", "messages": []}
    assert httpx2.post("https://api.openai.com/v1/chat/completions", json=asked).json()["id"] == "chatcmpl-0001"

def test_a_cassette_that_is_not_played(cassette):
    pass

def test_the_network_is_blocked(blocked_network):
    with pytest.raises(RuntimeError, match="example.com"):
        httpx2.get("https://example.com")
"""
CASSETTE = """version: 1
interactions:
- request:
    method: POST
    uri: https://api.openai.com/v1/chat/completions
    body: '{"model": "gpt-5.4-nano", "messages": []}'
    headers:
      content-type: [application/json]
  response:
    status: {code: 200, message: OK}
    headers:
      content-type: [application/json]
    body:
      string: '{"id": "chatcmpl-0001", "usage": {"prompt_tokens": 1}}'
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (tmp_path / "test_app.py").write_text(TESTS, encoding="utf-8")
    folder = tmp_path / "cassettes" / "test_app"
    folder.mkdir(parents=True)
    for name in ("test_a_cassette_of_its_own", "test_a_cassette_that_is_not_played"):
        (folder / f"{name}.yaml").write_text(CASSETTE, encoding="utf-8")
    return tmp_path


def test_the_fixtures_work_in_a_project_of_ones_own(project: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "VCR"))}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", str(project)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=project, check=False)
    told = done.stdout
    assert "4 passed, 2 errors" in told, told + done.stderr
    assert "ERROR test_app.py::test_a_cassette_that_is_not_played" in told
    assert "1 of 1 recordings" in told
    assert "ERROR test_app.py::test_the_network_is_blocked" in told, "A swallowed attempt to leave went unnoticed."
    assert "warning" not in told, told


def test_every_name_is_documented_and_sorted() -> None:
    assert list(ours.__all__) == sorted(ours.__all__)
    for name in ours.__all__:
        assert getattr(ours, name).__doc__, name


def test_importing_it_imports_neither_vcrpy_nor_a_provider() -> None:
    code = "import sys, langchain_tiered.testing; print({'vcr', 'openai', 'uvicorn'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("missing", "code"),
    [
        ("pytest", "import langchain_tiered.testing"),
        ("vcr", "t = __import__('langchain_tiered.testing').testing\nt.use_cassette('a').__enter__()"),
    ],
)
def test_what_is_not_installed_is_named_with_its_extra(missing: str, code: str) -> None:
    code = f"import sys\nsys.modules[{missing!r}] = None\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'langchain-tiered[testing]'" in done.stderr
