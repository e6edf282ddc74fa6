"""What a planner writes: tasks that depend on each other. Read and checked here, without a model. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NotRequired

# Below Python 3.12 only this `TypedDict` reaches the JSON schemas that LangGraph Studio shows.
from typing_extensions import TypedDict

from langchain_tiered.cascade.schemas import is_too_deep
from langchain_tiered.types import TASKS, Task

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_PROBLEMS = 10
"""How many problems of a plan its planner is told of."""

LONGEST_ID = 64
"""How long a task's id may be, in characters."""

_INTEGERS = range(-(2**63), 2**64)
"""Those that a checkpointer can store."""

_OTHER_NAMES = {"depends_on": ("dependencies", "deps"), "instruction": ("description", "task")}
"""What models write for names of the schema that nothing has enforced."""


class PlannedTask(TypedDict):
    """One task of a plan."""

    id: str
    """Tells the task from the others of its plan."""

    instruction: str
    """What is to be done, complete in itself: a worker sees nothing of the thread."""

    inputs: str
    """What the worker needs of the request, quoted; empty where it needs nothing."""

    sees_request: bool
    """Whether the worker is given the user's last message whole, with its images and files."""

    depends_on: list[str]
    """The tasks whose results the worker is given, and must wait for."""

    kind: Task
    """The kind of work, by which the first tier is chosen."""

    output_schema: dict[str, Any] | None
    """The JSON schema that the result must fit, or `None` for words."""


class Plan(TypedDict):
    """What is to be done."""

    mode: Literal["answer", "delegate", "plan"]
    """`answer`: the planner has answered. `delegate`: one worker does it all, and nobody reviews it, as no plan is
    needed. `plan`: the tasks are worked on, and reviewed."""

    tasks: list[PlannedTask]
    """The tasks, in the planner's order; none where the planner has answered."""

    answer: NotRequired[str]
    """The planner's own answer; there only where the mode is `answer`."""


PLAN_SCHEMA: dict[str, Any] = {
    "title": "plan",
    "description": "Who does what: the answer itself, one worker, or a plan of tasks.",
    "type": "object",
    "properties": {
        "mode": {
            "type": "string",
            "enum": ["answer", "delegate", "plan"],
            "description": "answer: you answer at once. delegate: one task does it all. plan: several tasks.",
        },
        "answer": {"type": "string", "description": "With mode answer, the whole answer; else empty."},
        "tasks": {
            "type": "array",
            "description": "The tasks; none with mode answer, one with mode delegate.",
            "items": {
                "type": "object",
                "properties": {
                    "id": {"type": "string", "description": "A short name, such as 'read_invoice'."},
                    "instruction": {"type": "string", "description": "What to do, complete in itself."},
                    "inputs": {"type": "string", "description": "What the task needs of the request, quoted."},
                    "sees_request": {"type": "boolean", "description": "Whether it is given the request whole."},
                    "depends_on": {
                        "type": "array",
                        "items": {"type": "string"},
                        "description": "Ids of the tasks whose results it needs.",
                    },
                    "kind": {"type": "string", "enum": list(TASKS), "description": "The kind of work."},
                    "output_schema": {
                        "type": ["object", "null"],
                        "description": "A JSON schema that the result must fit, or null for words.",
                    },
                },
                "required": ["id", "instruction", "depends_on", "kind"],
            },
        },
    },
    "required": ["mode", "answer", "tasks"],
}
"""What a planner fills in. A provider need not enforce it: `read_plan` does."""


def read_plan(told: object, most_tasks: int) -> tuple[Plan | None, list[str]]:
    """Return the plan that `told` is, or what is wrong with it, in sentences that a planner can mend it by.

    Args:
        told: What the planner said, as plain values.
        most_tasks: How many tasks a plan may have.
    """
    if isinstance(told, list):
        told = {"mode": "plan", "tasks": told}
    if not isinstance(told, Mapping):
        return None, ["It is no JSON object of the plan's schema."]
    answer, listed = told.get("answer"), told.get("tasks") or []
    mode = told.get("mode") or ("answer" if answer and not listed else "plan")
    if mode not in {"answer", "delegate", "plan"}:
        return None, ["mode must be 'answer', 'delegate' or 'plan'."]
    if mode == "answer":
        said = isinstance(answer, str) and bool(answer.strip())
        return (_answer(answer), []) if said else (None, ["mode is 'answer', and there is no answer."])
    tasks, problems = _read_tasks(listed, most_tasks)
    problems += _broken_links(tasks) if not problems else []
    if problems:
        return None, problems[:MOST_PROBLEMS]
    return Plan(mode="delegate" if mode == "delegate" and len(tasks) == 1 else "plan", tasks=tasks), []


def in_order(tasks: Sequence[PlannedTask]) -> list[PlannedTask]:
    """Return tasks so that each stands behind all that it depends on, what can begin first coming first."""
    depths: dict[str, int] = {}
    left = list(tasks)
    known = {task["id"] for task in tasks}
    while left:
        ready = [t for t in left if all(need in depths for need in t["depends_on"] if need in known)]
        for task in ready:
            depths[task["id"]] = 1 + max((depths[need] for need in task["depends_on"] if need in known), default=-1)
        left = [task for task in left if task["id"] not in depths] if ready else []
    return sorted((task for task in tasks if task["id"] in depths), key=lambda task: depths[task["id"]])


def dependants(tasks: Sequence[PlannedTask], ids: set[str]) -> set[str]:
    """Return `ids` and all that depend on them, however far."""
    found = set(ids)
    for task in in_order(tasks):
        if found & set(task["depends_on"]):
            found.add(task["id"])
    return found


def last_tasks(tasks: Sequence[PlannedTask]) -> list[str]:
    """Return the tasks that no other one depends on: what the plan leads to."""
    needed = {need for task in tasks for need in task["depends_on"]}
    return [task["id"] for task in tasks if task["id"] not in needed]


def _answer(answer: Any) -> Plan:
    return Plan(mode="answer", tasks=[], answer=answer)


def _read_tasks(listed: Any, most_tasks: int) -> tuple[list[PlannedTask], list[str]]:
    if not isinstance(listed, list) or not listed:
        return [], ["The plan has no tasks. Give at least one, or mode 'answer' with the answer."]
    if len(listed) > most_tasks:
        return [], [f"The plan has {len(listed)} tasks, and may have {most_tasks}. Join some."]
    tasks, problems = [], []
    for place, each in enumerate(listed, 1):
        told = _with_our_names(each, place)
        found = _problems_of(told)
        problems += [f"Task {place}: {problem}" for problem in found]
        if not found:
            tasks.append(_task_of(told))
    return tasks, problems


def _with_our_names(told: Any, place: int) -> Any:
    """Return a task under the names and in the types of the schema, where it is plain what was meant."""
    if not isinstance(told, Mapping):
        return told
    task = dict(told)
    for name, others in _OTHER_NAMES.items():
        if task.get(name) is None:
            task[name] = next((task[other] for other in others if task.get(other) is not None), None)
    task["id"] = f"task_{place}" if task.get("id") is None else _as_id(task["id"])
    if isinstance(task["depends_on"], list):
        task["depends_on"] = [_as_id(need) for need in task["depends_on"]]
    if task.get("kind") not in TASKS:
        task["kind"] = "reason"
    return task


def _as_id(told: Any) -> Any:
    return str(told) if isinstance(told, int) and not isinstance(told, bool) else told


def _problems_of(told: Any) -> list[str]:
    if not isinstance(told, Mapping):
        return ["it is no object."]
    name, needs, schema = told.get("id"), told.get("depends_on"), told.get("output_schema")
    found = []
    if not (isinstance(name, str) and name.strip() and len(name.strip()) <= LONGEST_ID):
        found.append(f"its id must be a name of at most {LONGEST_ID} characters.")
    if not (isinstance(told.get("instruction"), str) and told["instruction"].strip()):
        found.append("it has no instruction.")
    if needs is not None and not (isinstance(needs, list) and all(isinstance(need, str) for need in needs)):
        found.append("depends_on must be a list of ids.")
    if schema is not None and (not isinstance(schema, Mapping) or is_too_deep(schema)):
        found.append("output_schema must be a JSON schema, or null.")
    elif _has_huge_number(schema):
        found.append("output_schema holds a number that is too large.")
    return found


def _has_huge_number(value: Any) -> bool:
    if isinstance(value, (Mapping, list)):
        return any(map(_has_huge_number, value.values() if isinstance(value, Mapping) else value))
    return isinstance(value, int) and value not in _INTEGERS


def _without_patterns(schema: Any) -> Any:
    """Return a planner's schema without its regular expressions: one that runs for ever would stop the whole process.

    They are dropped wherever they stand, as a reference may make a rule of any part.
    """
    if isinstance(schema, list):
        return [_without_patterns(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    kept = {name: each for name, each in schema.items() if name != "patternProperties"}
    return {name: _without_patterns(each) for name, each in kept.items() if not _is_pattern(name, each)}


def _is_pattern(name: str, value: Any) -> bool:
    return name == "pattern" and isinstance(value, str)  # else it is a field of that name


def _task_of(told: Mapping[str, Any]) -> PlannedTask:
    inputs = told.get("inputs") or ""
    return PlannedTask(
        id=told["id"].strip(),
        instruction=told["instruction"].strip(),
        inputs=inputs if isinstance(inputs, str) else str(inputs),
        sees_request=bool(told.get("sees_request")),
        depends_on=list(dict.fromkeys(need.strip() for need in told.get("depends_on") or ())),
        kind=told["kind"],
        output_schema=_without_patterns(told["output_schema"]) or None if told.get("output_schema") else None,
    )


def _broken_links(tasks: Sequence[PlannedTask]) -> list[str]:
    ids, found = [task["id"] for task in tasks], []
    found += [f"Two tasks have the id {name!r}." for name in dict.fromkeys(ids) if ids.count(name) > 1]
    for task in tasks:
        name = task["id"]
        if name in task["depends_on"]:
            found.append(f"Task {name!r} depends on itself.")
        unknown = [need for need in task["depends_on"] if need not in ids]
        found += [f"Task {name!r} depends on {need!r}, which is no task." for need in unknown]
    if not found and len(ordered := in_order(tasks)) < len(tasks):
        stuck = [name for name in ids if name not in {task["id"] for task in ordered}]
        found.append(f"Tasks depend on each other in a circle: {', '.join(map(repr, stuck[:MOST_PROBLEMS]))}.")
    return found
