"""The process that is killed while its workers work. As `crash/driver.py`: it imports once, and forks a life a plan."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import traceback
from contextlib import closing
from pathlib import Path
from typing import Any

from crash.driver import LONGEST_S, REAPER, Answers, reaped, saver_at
from langchain.tools import ToolRuntime  # noqa: TC002  (LangChain reads the types of a tool's parameters)
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from orchestrator.bench_of_tasks import MODELS

from langchain_tiered import Tier, create_orchestrator


def orchestrator_of(folder: Path, saver: Any, server: str) -> Any:
    """Build the orchestrator: the tiers are its workers, and have a tool that notes each time that it runs."""
    books = folder / "books.sqlite"

    def write(statement: str, *values: object) -> None:
        with closing(sqlite3.connect(books, timeout=30, isolation_level=None)) as database:
            database.execute(statement, values)

    write("CREATE TABLE IF NOT EXISTS runs (part TEXT, key TEXT)")

    @tool
    def note(part: str, runtime: ToolRuntime[Any, Any]) -> str:
        """Note a part."""
        REAPER.at("tool")
        write("INSERT INTO runs VALUES (?, ?)", part, runtime.tool_call_id)
        REAPER.at("effect")
        return f"{part} is noted."

    tiers = [
        Tier(
            name,
            ChatOpenAI(model=model, base_url=server, api_key="offline", max_retries=0, callbacks=[Answers()]),
            criteria=f"Work for {name}.",
        )
        for name, model in MODELS.items()
    ]
    return create_orchestrator(tiers=tiers, tools=[note], checkpointer=saver, task_timeout_s=60)


def carry_on(graph: Any, turns: int) -> Any:
    """Bring the thread to its end: resume the run that was broken off, if any, and begin the turns that are left."""
    config = {"configurable": {"thread_id": "ann"}}
    while True:
        state = graph.get_state(config)
        begun = sum(message.type == "human" for message in state.values.get("messages", ()))
        if state.tasks:
            graph.invoke(None, config, durability="sync")
        elif begun < turns:
            graph.invoke({"messages": [("user", f"Do turn {begun}.")]}, config, durability="sync")
        else:
            return state.values


def live(plan: dict[str, Any]) -> None:
    """Work through the turns, and report how the thread stands."""
    signal.alarm(LONGEST_S)
    REAPER.plan = tuple(plan["die_at"]) if plan["die_at"] else None
    folder = Path(plan["folder"])
    with saver_at(plan["saver"]) as saver:
        stands = carry_on(orchestrator_of(folder, saver, plan["server"]), plan["turns"])
    report = {
        "messages": [(message.type, message.text) for message in stands["messages"]],
        "results": {each["id"]: each["output"] for each in stands["results"]},
        "verdict": stands["verdict"],
        "ledger": [(each["run_id"], each["id"], each["role"], each["task_id"]) for each in stands["ledger"]],
    }
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")


def main() -> None:
    """Fork a life for each plan."""
    for line in sys.stdin:
        plan = json.loads(line)
        life = os.fork()
        if life == 0:
            try:
                live(plan)
            except BaseException:  # noqa: BLE001  (nothing may go on in the parent's place)
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(1)
            os._exit(0)
        _tell(life)
        _tell(reaped(life, plan["delay_s"]))


def _tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
