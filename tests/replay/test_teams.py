"""The two teams of the examples, one full run of each over the wire: parallel calls replay in any order."""

from __future__ import annotations

import importlib
import os
import sys
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langgraph.types import Command

from langchain_tiered import Ledger, create_orchestrator, default_tiers

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[2] / "examples"
RECORDING = os.environ.get("VCR_RECORD_MODE", "none") != "none"
PARALLEL = 1 if RECORDING else 8  # recorded one by one, so that two recordings differ in nothing but what was said
SEEDS = pytest.mark.parametrize("seed", range(1 if RECORDING else 4))
LONG = "\n".join(["def long() -> None:", *(f"    print({number})" for number in range(50)), *["# TODO"] * 110])
GUIDE = "\n".join(["# Guide", "Read `code/long.py`, then `code/gone.py`.", *["And so on."] * 60])


@pytest.fixture(scope="module")
def examples() -> Iterator[Any]:
    """Import the examples as they import each other."""
    sys.path.insert(0, str(EXAMPLES))
    yield importlib.import_module
    sys.path.remove(str(EXAMPLES))


class Jitter(BaseCallbackHandler):
    """Holds each call up for a while of its own, so that the tasks overtake each other."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311  (an order, no secret)

    def on_chat_model_start(self, *_: Any, **__: Any) -> None:
        time.sleep(self.random.uniform(0, 0.03))


def config(seed: int) -> dict[str, Any]:
    return {"callbacks": [Jitter(seed)], "configurable": {"thread_id": "today"}}


def outputs(result: dict[str, Any]) -> dict[str, str]:
    return {each["id"]: each["output"] for each in result["results"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a repository that stays as it was recorded, whatever becomes of this one."""
    for name, text in {"code/long.py": LONG, "code/short.py": "ANSWER = 42\n", "docs/guide.md": GUIDE}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@SEEDS
def test_a_code_review_of_real_files(wire: Any, run: Any, examples: Any, folder: Path, seed: int) -> None:
    example, module = examples("13_code_review"), examples("repository")
    repository = module.Repository(folder)
    given = {"messages": [("user", example.request(repository, "code", "docs"))]}
    with wire():
        graph = create_orchestrator(tiers=example.team(default_tiers(), repository), max_parallel=PARALLEL)
        result = run(graph, given, config(seed))
    found, tiers = outputs(result), {each["id"]: each["tier"] for each in result["results"]}
    assert found["step_1_1"].startswith("code/long.py:52: # TODO")
    assert "longer than 40 lines: long (51 lines); public and no docstring: long (line 1)" in found["step_2"]
    assert found["step_3"] == "docs/guide.md: names 2 files; not there under that name: code/gone.py"
    assert tiers == dict.fromkeys(("step_1_1", "step_1_2", "step_1_3", "step_2"), "mini") | {"step_3": "nano"}
    assert {role: len(paid) for role, paid in Ledger(result["ledger"]).by_role().items()} == {
        "plan": 1,
        "answer": 10,
        "review": 1,
    }
    assert result["verdict"] == "satisfied"
    assert (Ledger(result["ledger"]).saved_usd("openai:gpt-5.4") or 0) > 0


@SEEDS
def test_a_support_desk_asks_a_human_and_refunds_once(wire: Any, run: Any, examples: Any, seed: int) -> None:
    example, shop = examples("14_support_desk"), examples("shop").Shop()
    with wire():
        graph = example.desk(default_tiers(), shop, PARALLEL)
        waiting = run(graph, {"messages": [("user", example.REQUEST)]}, config(seed))
        assert sorted(order for order, *_ in shop.refunds()) == [1041, 1042]
        result = run(graph, example.answers(waiting), config(seed))
    assert isinstance(example.answers(waiting), Command)
    assert [order for order, *_ in shop.refunds()] == [1041, 1042, 1045]
    assert outputs(result)["step_4"].count("Ask the customer first.") == 1
    reviews = [entry["task_id"] for entry in result["ledger"] if entry["role"] == "review"]
    assert sorted(map(str, reviews)) == ["None", "step_1", "step_3", "step_4"], "no review is paid again on resuming"
    assert [each["tools"] for each in result["results"]].count(["refund_order"]) == 2
    assert result["verdict"] == "satisfied"
