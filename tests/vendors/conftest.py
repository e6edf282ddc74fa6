"""The vendors' server, and an environment that sends their clients there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from vendors.wires import WIRES, VendorServer

from langchain_tiered.testing.network import block_network

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def vendor_server() -> Iterator[VendorServer]:
    with VendorServer() as server:
        yield server


@pytest.fixture
def vendors(vendor_server: VendorServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[VendorServer]:
    """Give the server with nothing written down yet, and nothing else within reach."""
    vendor_server.script.clear()
    vendor_server.asked.clear()
    for wire in WIRES.values():
        for name, value in wire.environment(vendor_server.url).items():
            monkeypatch.setenv(name, value)
    with block_network():
        yield vendor_server
