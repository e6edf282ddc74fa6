"""What the package promises as a whole: its names, what importing it costs, and which rooms stay pure."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import langchain_tiered

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(langchain_tiered.__file__).parent
MODULES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}
PURE = ("types", "errors", "routing.policy", "cascade.steps", "accounting.ledger")
FRAMEWORKS = ("langchain", "langgraph", "openai", "pydantic")
PROVIDERS = ("langchain_openai", "openai", "langchain_anthropic", "anthropic", "genai_prices", "tiktoken")


def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text())


def run_time_statements(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a module without what stands under `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            continue
        yield child
        yield from run_time_statements(child)


def imports_in(nodes: Iterator[ast.AST], package: str) -> Iterator[str]:
    """Yield each dotted name that is imported: `a.b` for `import a.b`, `a.b.c` for `from a.b import c`."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package.split(".")[: -node.level + 1 or None], base]).strip(".")
            yield from (f"{base}.{alias.name}" for alias in node.names)


def imported_at_run_time(module: str) -> set[str]:
    return set(imports_in(run_time_statements(tree_of(module)), module))


def own_module(name: str) -> str | None:
    """Return the module of ours that a dotted name is or lies in, or `None` for another library's."""
    while name.startswith(langchain_tiered.__name__):
        if name in MODULES:
            return name
        name = name.rpartition(".")[0]
    return None


def test_all_is_sorted_and_complete() -> None:
    public = {
        name
        for name, value in vars(langchain_tiered).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert langchain_tiered.__all__ == sorted(public)


@pytest.mark.parametrize("name", langchain_tiered.__all__)
def test_each_public_name_is_documented(name: str) -> None:
    assert inspect.getdoc(getattr(langchain_tiered, name))


def test_the_package_is_imports_and_names_and_nothing_else() -> None:
    kinds = {type(statement) for statement in tree_of("langchain_tiered").body[1:]}
    assert kinds == {ast.ImportFrom, ast.Assign}


@pytest.mark.parametrize("package", [name for name, path in MODULES.items() if path.name == "__init__.py"])
def test_each_name_in_an_all_is_there_once(package: str) -> None:
    module = importlib.import_module(package)
    names = getattr(module, "__all__", [])
    assert len(names) == len(set(names))
    assert [name for name in names if not hasattr(module, name)] == []


def test_the_package_is_typed() -> None:
    assert resources.files(langchain_tiered).joinpath("py.typed").is_file()


@pytest.mark.parametrize("module", MODULES)
def test_each_module_and_what_is_public_in_it_has_a_docstring(module: str) -> None:
    tree = tree_of(module)
    assert ast.get_docstring(tree)
    bare = [
        node.name
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert bare == []


@pytest.mark.parametrize("module", MODULES)
def test_no_module_reaches_into_another_librarys_private_parts(module: str) -> None:
    private = [
        name
        for name in imports_in(ast.walk(tree_of(module)), module)
        if own_module(name) is None and any(part.startswith("_") and part != "__future__" for part in name.split("."))
    ]
    assert private == []


@pytest.mark.parametrize("room", PURE)
def test_the_pure_rooms_import_no_framework_at_run_time_nor_does_what_they_import(room: str) -> None:
    left, seen, frameworks = [f"langchain_tiered.{room}"], set(), set()
    while left:
        seen.add(module := left.pop())
        names = imported_at_run_time(module)
        frameworks |= {(module, name) for name in names if name.startswith(FRAMEWORKS) and own_module(name) is None}
        left += {own for name in names if (own := own_module(name)) is not None} - seen
    assert frameworks == set()
    assert "langchain_tiered" not in seen


CLOCK_AND_WORLD = {"datetime", "os", "random", "socket", "subprocess", "time", "urllib", "uuid", "http", "pathlib"}


@pytest.mark.parametrize("room", PURE)
def test_the_pure_rooms_read_no_clock_environment_or_network(room: str) -> None:
    tops = {name.partition(".")[0] for name in imported_at_run_time(f"langchain_tiered.{room}")}
    assert tops & CLOCK_AND_WORLD == set()


@pytest.mark.parametrize("module", MODULES)
def test_the_package_imports_no_graph_example_or_test(module: str) -> None:
    tops = {name.partition(".")[0] for name in imports_in(ast.walk(tree_of(module)), module)}
    never = {"graphs", "examples", "tests", "fakes"}
    assert tops & (never if module.startswith("langchain_tiered.testing") else never | {"pytest", "vcr"}) == set()


def test_importing_the_package_loads_no_provider_and_no_prices() -> None:
    told = f"import json, sys, langchain_tiered; print(json.dumps([n for n in {PROVIDERS!r} if n in sys.modules]))"
    ran = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) == []
