"""Plans are read from anything that a planner may write; what cannot be carried out is named, to be mended."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator.team import task

from langchain_tiered.orchestrator.plans import dependants, in_order, last_tasks, read_plan


def told(*tasks: Any, mode: str = "plan") -> dict[str, Any]:
    return {"mode": mode, "answer": "", "tasks": list(tasks)}


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        (None, "no JSON object"),
        ("1. Read it. 2. Answer.", "no JSON object"),
        ([], "no tasks"),
        ({}, "no tasks"),
        (told(), "no tasks"),
        ({"mode": "plan", "tasks": "read it"}, "no tasks"),
        ({"mode": "later", "tasks": [task("a")]}, "mode must be"),
        ({"mode": "answer", "answer": " ", "tasks": []}, "there is no answer"),
        (told(*[task(f"t{n}") for n in range(500)]), "has 500 tasks, and may have 100"),
        (told("read it"), "Task 1: it is no object"),
        (told({**task("a"), "id": ""}), "Task 1: its id"),
        (told({**task("a"), "id": "x" * 65}), "Task 1: its id"),
        (told({**task("a"), "id": ["a"]}), "Task 1: its id"),
        (told({**task("a"), "id": True}), "Task 1: its id"),
        (told({**task("a"), "instruction": " "}), "no instruction"),
        (told({**task("a"), "depends_on": "b"}), "depends_on must be a list"),
        (told({**task("a"), "output_schema": "a list"}), "output_schema must be"),
        (told({**task("a"), "output_schema": {"anyOf": [{"maximum": 2**64}]}}), "a number that is too large"),
        (told(task("a"), task("a")), "Two tasks have the id 'a'"),
        (told(task("a", "a")), "'a' depends on itself"),
        (told(task("a", "b")), "'a' depends on 'b', which is no task"),
        (told(task("a", "b"), task("b", "c"), task("c", "a"), task("d")), "in a circle: 'a', 'b', 'c'"),
    ],
)
def test_what_cannot_be_carried_out_is_named(said: Any, wrong: str) -> None:
    plan, problems = read_plan(said, 100)
    assert plan is None
    assert wrong in " ".join(problems)


def test_a_plan_is_read_whole_with_defaults() -> None:
    plan, problems = read_plan({"tasks": [{"id": " a ", "instruction": "Do."}, task("b", "a", "a")]}, 100)
    assert problems == []
    assert plan is not None
    assert plan["mode"] == "plan"
    assert plan["tasks"][0] == {
        "id": "a",
        "instruction": "Do.",
        "inputs": "",
        "sees_request": False,
        "depends_on": [],
        "kind": "reason",
        "output_schema": None,
    }
    assert plan["tasks"][1]["depends_on"] == ["a"]


def test_a_plan_in_a_form_of_its_own_is_understood() -> None:
    plan, problems = read_plan(
        [
            {"id": 1, "description": "Read it.", "kind": "magic"},
            {"task": "Count it.", "dependencies": [1], "kind": ["reason"]},
            {"id": "c", "instruction": "Say it.", "task": "ignored", "deps": ["task_2"], "kind": "classify"},
        ],
        100,
    )
    assert (plan is not None, problems) == (True, [])
    read = [
        (each["id"], each["instruction"], each["depends_on"], each["kind"]) for each in (plan or {"tasks": []})["tasks"]
    ]
    assert read == [
        ("1", "Read it.", [], "reason"),
        ("task_2", "Count it.", ["1"], "reason"),
        ("c", "Say it.", ["task_2"], "classify"),
    ]


def test_a_planners_schema_keeps_no_regular_expression_and_all_else() -> None:
    endless = {"type": "string", "pattern": "^(a+)+$", "minLength": 2}
    schema = {
        "properties": {"pattern": {"type": "string"}, "a": endless},
        "patternProperties": {"^(a+)+$": {}},
        "anyOf": [{"items": endless}, {"$ref": "#/default"}],
        "default": endless,
    }
    plan, _ = read_plan(told({**task("a"), "output_schema": schema}), 100)
    tame = {"type": "string", "minLength": 2}
    assert plan is not None
    assert plan["tasks"][0]["output_schema"] == {
        "properties": {"pattern": {"type": "string"}, "a": tame},
        "anyOf": [{"items": tame}, {"$ref": "#/default"}],
        "default": tame,
    }


def test_several_tasks_are_never_delegated_unreviewed() -> None:
    plan, _ = read_plan(told(task("a"), task("b"), mode="delegate"), 100)
    assert plan is not None
    assert plan["mode"] == "plan"


def test_an_answer_without_tasks_is_an_answer() -> None:
    plan, problems = read_plan({"answer": "Four."}, 100)
    assert dict(plan or {}) == {"mode": "answer", "tasks": [], "answer": "Four."}
    assert problems == []


@given(st.integers(1, 30).flatmap(lambda n: st.lists(st.tuples(st.integers(0, n), st.integers(0, n)), max_size=60)))
def test_an_order_has_each_task_behind_what_it_needs_or_the_plan_goes_in_a_circle(edges: list[tuple[int, int]]) -> None:
    names = sorted({str(end) for edge in edges for end in edge})
    needs: dict[str, list[str]] = {name: [str(b) for a, b in edges if str(a) == name] for name in names}
    plan, problems = read_plan(told(*[task(name, *needs[name]) for name in names]), 1000)
    if plan is None:
        assert problems
        return
    seen: set[str] = set()
    for each in in_order(plan["tasks"]):
        assert set(each["depends_on"]) <= seen
        seen.add(each["id"])
    assert seen == set(names)


def test_dependants_and_last_tasks() -> None:
    plan, _ = read_plan(told(task("d", "b", "c"), task("a"), task("b", "a"), task("c"), task("e")), 100)
    assert plan is not None
    assert dependants(plan["tasks"], {"a"}) == {"a", "b", "d"}
    assert last_tasks(plan["tasks"]) == ["d", "e"]
