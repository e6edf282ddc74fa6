"""What the standard suites share: the offline server behind `ChatOpenAI`, whole and breaking."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from syrupy import snapshot

from langchain_tiered.offline.faults import Faults
from langchain_tiered.offline.server import OfflineServer

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["snapshot"]  # the suites mean syrupy's fixture by that name, not ours

SEED = 7
RATES: Any = {
    "rate_limit": 0.02,
    "server_error": 0.02,
    "drop_before": 0.01,
    "garbage": 0.02,
    "length_empty": 0.01,
    "refusal": 0.01,
    "malformed_arguments": 0.005,
    "invented_tool": 0.005,
}
"""One call in ten breaks. No stream breaks off behind words: those stand, and no other tier can help."""

PICTURE = Path(__file__).parents[2] / "examples/assets/receipt.png"
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj"


@pytest.fixture(scope="module", autouse=True)
def served(request: pytest.FixtureRequest) -> Iterator[OfflineServer]:
    """Serve the offline models where a real client looks for OpenAI; a module that says so gets faults."""
    faults = Faults.rate(RATES, seed=SEED, by="request") if getattr(request.module, "BREAKS", False) else None
    with OfflineServer(faults=faults) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_BASE_URL", server.url)
        patch.setenv("OPENAI_API_KEY", "offline")
        yield server


@pytest.fixture(autouse=True)
def _fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the suites a picture and a document of our own, for those that they would fetch from the web."""

    def get(url: str, **_: Any) -> Any:
        return SimpleNamespace(content=PDF if url.endswith(".pdf") else PICTURE.read_bytes())

    monkeypatch.setattr(httpx, "get", get)
