"""The pytest fixtures of `pytest_plugins = ["langchain_tiered.testing"]`."""

from __future__ import annotations

import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from langchain_tiered.testing.cassettes import use_cassette
from langchain_tiered.testing.network import block_network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vcr.cassette import Cassette

    from langchain_tiered.offline.server import OfflineServer


@pytest.fixture
def blocked_network() -> Iterator[None]:
    """Let the test reach this machine only: a call that goes out beside its cassette fails at once."""
    with block_network():
        yield


@pytest.fixture
def cassette(request: pytest.FixtureRequest) -> Iterator[Cassette]:
    """Replay `cassettes/<test file>/<test>.yaml` beside the test file; `VCR_RECORD_MODE=all` records it.

    Give a dummy `OPENAI_API_KEY` where you replay: the client wants one.
    """
    name = re.sub(r"[^\w.-]+", "-", request.node.name).strip("-")
    with use_cassette(request.path.parent / "cassettes" / request.path.stem / f"{name}.yaml") as played:
        yield played


@pytest.fixture
def offline_server() -> Iterator[Callable[..., OfflineServer]]:
    """Start servers that speak OpenAI's protocol, with the options of `OfflineServer`; stop them after the test.

    ```python
    def test_my_app_survives_an_outage(offline_server):
        server = offline_server(faults=Faults.script([{"call": 1, "fault": "server_error"}]))
        model = ChatOpenAI(model="gpt-5.4-nano", base_url=server.url, api_key="offline")
    ```
    """
    from langchain_tiered.offline.server import OfflineServer  # noqa: PLC0415  (an extra of its own)

    with ExitStack() as running:

        def start(**options: Any) -> OfflineServer:
            return running.enter_context(OfflineServer(**options))

        yield start
