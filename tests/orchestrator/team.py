"""What the tests of the orchestrator share: plans, reviews and the tiers that give them, each call counted."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from langchain_tiered import Tier
from langchain_tiered.testing import ScriptedChatModel

if TYPE_CHECKING:
    from collections.abc import Sequence

THREAD: Any = {"configurable": {"thread_id": "ann"}}
MODES = ("sync", "async")


def ask(text: str = "Do all of it.") -> dict[str, Any]:
    return {"messages": [("user", text)]}


def run(graph: Any, given: Any, mode: str = "sync", config: Any = None, **more: Any) -> dict[str, Any]:
    """Run a graph in one of the two ways."""
    if mode == "sync":
        result: dict[str, Any] = graph.invoke(given, config, **more)
        return result
    return asyncio.run(graph.ainvoke(given, config, **more))


def task(name: str, *needs: str, **more: Any) -> dict[str, Any]:
    """Return a planned task, as a planner writes it."""
    told = {"id": name, "instruction": f"Label part {name}. Labels: good, bad.", "depends_on": list(needs)}
    return {**told, "kind": "classify", **more}


def plan(*tasks: dict[str, Any], mode: str = "plan", answer: str = "") -> str:
    return json.dumps({"mode": mode, "answer": answer, "tasks": list(tasks)})


def review(verdict: str = "satisfied", answer: str = "All is done.", reason: str = "So it is.", **against: str) -> str:
    revisions = [{"task": name, "problem": problem} for name, problem in against.items()]
    told = answer if verdict == "satisfied" else ""
    return json.dumps({"verdict": verdict, "reason": reason, "revisions": revisions, "answer": told})


def sends_back(**against: str) -> str:
    return review("needs_revision", **against)


class Team:
    """Three tiers of which the last one plans and reviews."""

    def __init__(self, *flagship: Any, nano: Any = "good", mini: Any = "better") -> None:
        self.flagship = ScriptedChatModel(script=list(flagship), model_name="gpt-5.4")
        self.nano = ScriptedChatModel(script=nano, model_name="gpt-5.4-nano")
        self.mini = ScriptedChatModel(script=mini, model_name="gpt-5.4-mini")

    @property
    def tiers(self) -> list[Tier]:
        named = {"nano": self.nano, "mini": self.mini, "flagship": self.flagship}
        return [Tier(name, model, criteria=f"Work for {name}.") for name, model in named.items()]


def outputs(result: dict[str, Any]) -> dict[str, str]:
    return {each["id"]: each["output"] for each in result["results"]}


def outcomes(result: dict[str, Any]) -> dict[str, str]:
    return {each["id"]: each["outcome"] for each in result["results"]}


def paid(result: dict[str, Any]) -> list[tuple[str, str | None]]:
    """Return role and task of each paid call, sorted: workers end in any order."""
    return sorted(((each["role"], each["task_id"]) for each in result["ledger"]), key=str)


def texts(messages: Sequence[Any]) -> str:
    return "\n".join(message.text for message in messages)
