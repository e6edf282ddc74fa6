"""A task begins as soon as what it needs is done, and tasks are handed over in one order whatever ends first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st
from orchestrator.team import task

from langchain_tiered.orchestrator.attempts import skipped
from langchain_tiered.orchestrator.plans import read_plan
from langchain_tiered.orchestrator.schedule import Schedule

if TYPE_CHECKING:
    from langchain_tiered.orchestrator.plans import PlannedTask


def planned(*tasks: Any) -> list[PlannedTask]:
    plan, problems = read_plan({"mode": "plan", "tasks": list(tasks)}, 1000)
    assert plan is not None, problems
    return plan["tasks"]


def result(name: str, output: str = "x") -> Any:
    return {**skipped(planned(task(name))[0], ""), "outcome": "done", "output": output}


def opened(schedule: Schedule) -> list[str]:
    return [start.task["id"] for start in schedule.due() if start.opens]


def schedule(
    *tasks: Any, places: int = 8, before: dict[str, Any] | None = None, again: set[str] | None = None
) -> Schedule:
    given = planned(*tasks)
    return Schedule(given, again if again is not None else {each["id"] for each in given}, before or {}, places)


def test_a_dependant_begins_before_the_slowest_of_its_level_has_ended() -> None:
    work = schedule(task("slow"), task("fast"), task("next", "fast"))
    assert opened(work) == ["slow", "fast"]
    work.ended("fast", result("fast"))
    assert opened(work) == ["next"]


def test_no_more_than_its_places_begin() -> None:
    work = schedule(*[task(f"t{n}") for n in range(5)], places=2)
    assert opened(work) == ["t0", "t1"]
    work.ended("t1", result("t1"))
    assert opened(work) == ["t2"]


def test_what_is_ready_out_of_turn_takes_those_before_it_along_without_a_place() -> None:
    work = schedule(task("a"), task("b"), task("a2", "a"), task("b2", "b"), places=2)
    assert opened(work) == ["a", "b"]
    work.ended("b", result("b"))
    assert [(start.task["id"], start.opens) for start in work.due()] == [("a2", False), ("b2", True)]
    work.ended("a", result("a"))
    assert [(start.task["id"], start.opens) for start in work.due()] == [("a2", True)]


@given(st.data())
def test_tasks_are_handed_over_in_one_order_whatever_ends_first(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 12))
    tasks = [task(str(n), *{str(data.draw(st.integers(0, n - 1))) for _ in range(min(n, 2))}) for n in range(count)]
    work = schedule(*tasks, places=data.draw(st.integers(1, 4)))
    handed: list[str] = []
    running: list[str] = []
    while True:
        for start in work.due():
            if start.task["id"] not in handed:
                handed.append(start.task["id"])
            if start.opens:
                assert set(start.task["depends_on"]) <= work.results.keys()
                running.append(start.task["id"])
        if not running:
            break
        done = running.pop(data.draw(st.integers(0, len(running) - 1)))
        work.ended(done, result(done))
    assert handed == [each["id"] for each in work.order]
    assert work.results.keys() == set(handed)


def test_a_revision_looks_at_what_depends_on_it_and_does_that_again_only_where_its_inputs_changed() -> None:
    tasks = [task("a"), task("b", "a"), task("c")]
    before = {name: result(name) for name in "abc"}
    work = schedule(*tasks, before=before, again={"a"})
    assert opened(work) == ["a"]
    work.ended("a", result("a", "x"))
    assert opened(work) == ["b"]
    assert not work.has_changed(planned(*tasks)[1])
    changed = schedule(*tasks, before=before, again={"a"})
    changed.due()
    changed.ended("a", result("a", "other"))
    changed.due()
    assert changed.has_changed(planned(*tasks)[1])
    assert changed.results["c"] == before["c"]


def test_what_had_ended_before_takes_no_place_and_lets_its_dependants_begin() -> None:
    work = schedule(task("a"), task("b"), task("c", "b"), task("d", "c"), places=1)
    work.all_handed()
    assert not work.takes("c")  # what it depends on is not known
    assert work.takes("b")
    work.ended("b", result("b"))
    assert work.takes("c")
    work.ended("c", result("c"))
    assert not work.takes("c")
    starts = work.due()
    assert [(start.task["id"], start.opens) for start in starts] == [("a", True)]
    assert work.due() == []
    work.ended("a", result("a"))
    assert opened(work) == ["d"]
