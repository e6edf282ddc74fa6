"""Cassettes as files: recorded without secrets, the same twice, and refused in plain words where they are broken."""

from __future__ import annotations

import json
import socket
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import vcr

from langchain_tiered.testing import CassetteError, NetworkBlockedError, block_network, use_cassette, vcr_config
from langchain_tiered.testing.cassettes import MissingRecordingError, UnplayedRecordingError, assert_all_played

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SENT = {"authorization": "Bearer sk-verysecretkey", "openai-organization": "org-secret", "cookie": "session=secret"}
ASKED = {"model": "gpt-5.4-nano", "messages": [{"role": "user", "content": "Grüße\nan sk-verysecretkey"}]}


class Provider(BaseHTTPRequestHandler):
    """Answers each request with new ids and all the secrets that a provider may send."""

    made = 0
    usage: Any = MappingProxyType({"prompt_tokens": 3, "completion_tokens": 1})

    def do_POST(self) -> None:
        Provider.made += 1
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        told = {
            "id": f"chatcmpl-{Provider.made:030d}",
            "created": 1_790_000_000 + Provider.made,
            "text": "Süß",
            "organization": "org-secret",
            "seen": asked.get("previous"),
            **({"usage": dict(self.usage)} if self.usage else {}),
        }
        body = json.dumps(told, ensure_ascii=False).encode()
        self.send_response(200)
        for name, value in (
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("set-cookie", "session=secret"),
            ("openai-organization", "org-secret"),
            ("openai-project", "proj_secret"),
            ("x-ratelimit-remaining-tokens", "99"),
            ("x-request-id", f"req_{Provider.made:030d}"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Provider) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/chat/completions"
        server.shutdown()


def two_calls(url: str) -> list[Any]:
    first = httpx2.post(url, json=ASKED, headers=SENT).json()
    return [first, httpx2.post(url, json={**ASKED, "previous": first["id"]}, headers=SENT).json()]


@contextmanager
def recorded(path: Path, text: str) -> Iterator[None]:
    """Replay a file with `text` in the place of what it was."""
    path.write_text(text, encoding="utf-8")
    with use_cassette(path):
        yield


@pytest.fixture
def path(tmp_path: Path, url: str) -> Path:
    """A cassette of two calls, the second of which sends back an id of the first."""
    path = tmp_path / "some" / "calls.yaml"
    with use_cassette(path, record_mode="all", note="Recorded over a test's own server."):
        two_calls(url)
    return path


def test_a_recording_is_replayed_without_its_server(path: Path, url: str) -> None:
    made = Provider.made
    with use_cassette(path):
        first, second = two_calls(url)
    assert Provider.made == made
    assert (first["text"], second["seen"]) == ("Süß", first["id"])


def test_a_recording_is_the_same_twice(path: Path, url: str) -> None:
    before = path.read_bytes()
    with use_cassette(path, record_mode="all", note="Recorded over a test's own server."):
        two_calls(url)
    assert path.read_bytes() == before


def test_a_recording_holds_no_secret_and_is_readable(path: Path) -> None:
    told = path.read_text(encoding="utf-8")
    for secret in ("verysecret", "org-secret", "proj_secret", "session=secret", "Bearer", "set-cookie"):
        assert secret not in told
    head = "# A cassette of langchain-tiered, format 1. Recorded over a test's own server.\n"
    assert told.startswith(head)
    assert "Süß" in told
    assert "x-ratelimit-remaining-tokens" in told


def test_plain_vcrpy_reads_our_files(path: Path, url: str) -> None:
    with vcr.VCR(**vcr_config("none")).use_cassette(str(path)) as cassette:
        assert two_calls(url)[0]["text"] == "Süß"
    assert_all_played(cassette)


def test_an_unplayed_recording_is_an_error_that_names_it(path: Path, url: str) -> None:
    def one_call() -> None:
        with use_cassette(path):
            httpx2.post(url, json=ASKED)

    with pytest.raises(UnplayedRecordingError, match=r"1 of 2 recordings in .*\(2: POST .* for gpt-5\.4-nano\)"):
        one_call()


def test_an_error_of_the_test_itself_comes_before_unplayed_recordings(path: Path) -> None:
    with pytest.raises(KeyError, match="mine"), use_cassette(path):
        raise KeyError("mine")


def test_a_miss_names_the_nearest_of_several_recordings(path: Path, url: str) -> None:
    asked = {**ASKED, "previous": "chatcmpl-9999"}
    with pytest.raises(MissingRecordingError, match="The nearest is recording 2") as raised, use_cassette(path):
        httpx2.post(url, json=asked)
    assert '-  "previous": "chatcmpl-0002"' in str(raised.value)
    assert '+  "previous": "chatcmpl-9999"' in str(raised.value)


@pytest.mark.parametrize("mode", ["none", "all"])
def test_the_environment_says_whether_to_record(
    path: Path, url: str, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setenv("VCR_RECORD_MODE", mode)
    made = Provider.made
    with use_cassette(path):
        two_calls(url)
    assert (Provider.made > made) is (mode == "all")


def test_a_missing_file_says_how_to_record_it(tmp_path: Path) -> None:
    with pytest.raises(CassetteError, match=r"no cassette .*none\.yaml\. Record it with VCR_RECORD_MODE=all"):
        use_cassette(tmp_path / "none.yaml").__enter__()


def test_a_file_of_another_format_is_refused(path: Path) -> None:
    told = path.read_text(encoding="utf-8").replace("\nversion: 1\n", "\nversion: 7\n")
    with pytest.raises(CassetteError, match="format version 7, expected 1"), recorded(path, told):
        pass


def test_a_file_that_is_cut_anywhere_is_refused(path: Path) -> None:
    told = path.read_text(encoding="utf-8")
    for end in range(60, len(told) - 1, 97):
        with pytest.raises(CassetteError, match="cut off"), recorded(path, told[:end]):
            pass


@pytest.mark.parametrize(
    ("told", "error"),
    [
        ("", "format version None"),
        ("[1, 2", "no YAML, perhaps it is cut off"),
        ("version: 1\ninteractions:\n- request: {}\n", "recording 1 has no request or no response"),
    ],
)
def test_a_file_of_other_tools_that_is_broken_is_refused(path: Path, told: str, error: str) -> None:
    with pytest.raises(CassetteError, match=error), recorded(path, told):
        pass


def test_a_recording_without_usage_is_refused_unless_it_is_meant(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Provider, "usage", None)
    path = tmp_path / "calls.yaml"
    with use_cassette(path, record_mode="all"):
        two_calls(url)
    with pytest.raises(CassetteError, match="recording 1 tells no usage"):
        use_cassette(path).__enter__()
    with use_cassette(path, needs_usage=False):
        two_calls(url)


@pytest.mark.parametrize("address", [("192.0.2.1", 443), ("2001:db8::1", 443)], ids=["v4", "v6"])
@pytest.mark.parametrize("how", ["connect", "connect_ex"])
def test_a_blocked_network_lets_nothing_out(address: tuple[str, int], how: str) -> None:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family) as out, pytest.raises(NetworkBlockedError, match=address[0]), block_network():
        getattr(out, how)(address)


def test_a_blocked_network_lets_this_machine_through(url: str) -> None:
    with block_network():
        assert httpx2.post(url, json=ASKED).status_code == 200
        socket.getaddrinfo("localhost", 80)


def test_a_swallowed_attempt_to_leave_is_raised_at_the_end() -> None:
    def careless() -> None:
        with block_network():
            try:
                socket.create_connection(("example.com", 443))
            except RuntimeError:
                return

    with pytest.raises(NetworkBlockedError, match=r"example\.com"):
        careless()
