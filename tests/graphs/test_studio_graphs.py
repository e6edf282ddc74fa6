"""The graphs of Studio: what is drawn, short entries, and no key and no checkpointer of their own."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
GRAPHS = json.loads((ROOT / "langgraph.json").read_text(encoding="utf-8"))["graphs"]


@pytest.fixture(params=sorted(GRAPHS))
def entry(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Path, Any]:
    """Load a graph as the server does, without a key."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.syspath_prepend(ROOT)
    path, _, name = GRAPHS[request.param]["path"].partition(":")
    spec = importlib.util.spec_from_file_location(request.param, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return request.param, ROOT / path, getattr(module, name)


def test_a_graph_is_drawn_as_the_docs_show_it(entry: tuple[str, Path, Any], snapshot: Any) -> None:
    name, _, graph = entry
    snapshot(f"studio_{name}.mmd", graph.get_graph().draw_mermaid())


def test_a_graph_is_a_short_file_and_brings_no_checkpointer(entry: tuple[str, Path, Any]) -> None:
    name, path, graph = entry
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 40
    assert graph.checkpointer in (None, True)
    assert graph.name in (name, "tiered_agent")


def test_every_graph_has_an_entry() -> None:
    assert {f"./graphs/{path.name}:graph" for path in (ROOT / "graphs").glob("*.py")} == {
        each["path"] for each in GRAPHS.values()
    }
