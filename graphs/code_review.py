"""A code review for LangGraph Studio: the flagship plans and judges, nano and mini read this project's files.

Starts without a key, on the offline tiers where there is none. Try a list: "1. Search the folder langchain_tiered for
'except Exception'.", "2. Measure the functions of the file langchain_tiered/routing/policy.py."
"""

import os
from dataclasses import replace
from pathlib import Path

from examples.inspection import inspection_tools
from examples.repository import Repository, tools
from langchain_tiered import create_orchestrator, default_tiers
from langchain_tiered.offline import offline_tiers

repository = Repository(Path(__file__).parents[1])
reading = [*tools(repository), *inspection_tools(repository)]
*workers, flagship = default_tiers() if os.environ.get("OPENAI_API_KEY") else offline_tiers()

graph = create_orchestrator(tiers=[*(replace(tier, tools=reading) for tier in workers), flagship], name="code_review")
"""The tools read the files of this project alone; the flagship has none."""
