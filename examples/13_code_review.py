"""Review a real repository: the flagship plans and judges, nano and mini read it with tools that can do nothing else.

`python examples/13_code_review.py [FOLDER] [DOCUMENTS]` reviews a folder of this project, here its accounting. With
OPENAI_API_KEY set the default tiers do it. Without it rules do, no language model: they split the request by its form
and call the tools that it names, and what the tools find in the files is true.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path

import show
from inspection import inspection_tools
from langchain_core.tools import ToolException
from repository import Repository, tools

from langchain_tiered import Tier, create_orchestrator, default_tiers
from langchain_tiered.offline import offline_tiers

REQUEST = """Review the code in {folder} and the documents in {documents}. Say what should be mended first, and where.

- Search the folder {folder} for 'TODO', 'type: ignore' and 'except Exception'.
- Measure the functions of each file of more than 150 lines.
- Check each document of more than 50 lines for names of files that are not there.

The files:
{files}"""


def team(tiers: tuple[Tier, ...], repository: Repository) -> tuple[Tier, ...]:
    """Give the tools to all tiers but the last, which judges: one well-defined call is a cheap tier's work."""
    own = [*tools(repository), *inspection_tools(repository)]
    return (*(replace(tier, tools=own) for tier in tiers[:-1]), tiers[-1])


def request(repository: Repository, folder: str, documents: str) -> str:
    """Return what is asked, with a list of the files: the planner has no tools to look for itself."""
    found = [path for part in (folder, documents) for path in repository.files(part)]
    lines = [f"{repository.name(path)}: {len(path.read_bytes().splitlines())} lines" for path in found]
    return REQUEST.format(folder=folder, documents=documents, files="\n".join(lines))


if __name__ == "__main__":
    folder, documents = [*sys.argv[1:], *("langchain_tiered/accounting", "docs")[len(sys.argv) - 1 :]][:2]
    offline = not os.environ.get("OPENAI_API_KEY")
    repository = Repository(Path(__file__).parents[1])
    try:
        given = {"messages": [("user", request(repository, folder, documents))]}
    except ToolException as error:
        sys.exit(f"Give a folder of this project, and one of documents. {error}")
    graph = create_orchestrator(tiers=team(offline_tiers() if offline else default_tiers(), repository))
    result = show.run(graph, given)
    print(f"\n{result['verdict']}:\n{result['messages'][-1].text}")
    show.costs(result["ledger"], offline=offline)
