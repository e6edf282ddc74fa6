"""What can be said of a file without any model: tools that measure Python code, and hold documents against the files.

Like those of `repository.py` they only read, and only below one folder.
"""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, NamedTuple

from langchain_core.tools import ToolException, tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.tools import BaseTool
    from repository import Repository

LONG = 40
"""How many lines a function may have before it is told."""

_NAMED = re.compile(r"(?<![\w/.:-])(?:\.{1,2}/)*[\w-]+(?:/[\w.-]+)*\.(?:py|md|toml|json|jsonl|ya?ml)\b(?!/)")
_EVERYTHING = frozenset({"Exception", "BaseException"})
_MOST_NAMED = 8


class Function(NamedTuple):
    """A function or method."""

    name: str
    line: int
    lines: int
    has_docstring: bool


def inspection_tools(repository: Repository) -> list[BaseTool]:
    """Return the tools over `repository`."""

    @tool
    def measure_functions(path: str) -> str:
        """Review the functions of one Python file: the long ones, those that lack a docstring, broad excepts."""
        try:
            tree = ast.parse(repository.text(path))
        except SyntaxError as error:
            raise ToolException(f"{path!r} is no Python: line {error.lineno}.") from error
        return "; ".join([_measured(path, list(_functions(tree))), _broad(tree)])

    @tool
    def check_document(path: str) -> str:
        """Check a document: does it name files that are not in the repository."""
        named = list(dict.fromkeys(_NAMED.findall(repository.text(path))))
        missing = [name for name in named if not _is_there(repository, path, name)]
        told = f"{path}: names {len(named)} files"
        return f"{told}; not there under that name: {_listed(missing)}" if missing else f"{told}; all are there"

    own = [measure_functions, check_document]
    for each in own:
        each.handle_tool_error = True
    return own


def _functions(tree: ast.Module | ast.ClassDef) -> Iterator[Function]:
    """Give the functions of a module and the methods of its classes; what stands inside of them is part of them."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from _functions(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            yield Function(node.name, node.lineno, lines, ast.get_docstring(node) is not None)


def _measured(path: str, found: list[Function]) -> str:
    long = [f"{each.name} ({each.lines} lines)" for each in found if each.lines > LONG]
    bare = [f"{each.name} (line {each.line})" for each in found if not each.has_docstring and each.name[0] != "_"]
    longest = max(found, key=lambda each: each.lines, default=None)
    told = f"{path}: {len(found)} functions"
    told += f", the longest {longest.name} with {longest.lines} lines" if longest else ""
    return f"{told}; longer than {LONG} lines: {_listed(long)}; public and no docstring: {_listed(bare)}"


def _broad(tree: ast.Module) -> str:
    """Tell of handlers that catch everything, and raise nothing."""
    lines = [
        f"line {node.lineno}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id in _EVERYTHING))
        and not any(isinstance(each, ast.Raise) for each in ast.walk(node))
    ]
    return f"broad excepts that do not raise: {_listed(lines)}"


def _is_there(repository: Repository, path: str, name: str) -> bool:
    """Tell whether a document names a file of the repository: beside itself, from the root, or by its last part."""
    known = {repository.name(each) for each in repository.files()}
    beside = (repository.place(path).parent / name).resolve()
    if beside.is_relative_to(repository.root) and beside.is_file():
        return True
    return any(each == name or each.endswith(f"/{name}") for each in known)


def _listed(found: list[str]) -> str:
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    return ", ".join(found[:_MOST_NAMED]) + more or "none"
