"""The tools of a release: bounds, interpreters, contents."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
from release.contents import missing_from_sdist, unwanted_in_sdist, wrong_in_wheel
from release.lowest import NoLowerBoundError, lowest_versions, project, tools
from release.pythons import VERSIONS, interpreter

if TYPE_CHECKING:
    from pathlib import Path

WHEEL = ["langchain_tiered/__init__.py", "langchain_tiered/py.typed", "langchain_tiered-0.1.0.dist-info/METADATA"]


def _project(*dependencies: str) -> dict[str, Any]:
    extras = {"cli": ["typer>=0.26"], "server": [], "studio": ["langgraph-cli[inmem]>=0.4"], "testing": []}
    return {"dependencies": list(dependencies), "optional-dependencies": extras}


def test_the_lowest_version_of_each_requirement_and_user_extra_is_named() -> None:
    named = lowest_versions(_project("langchain>=1.4,<2", "jsonschema>=4.20"))
    assert named == ["jsonschema==4.20", "langchain==1.4", "langgraph-cli==0.4", "typer==0.26"]


@pytest.mark.parametrize("requirement", ["langchain", "langchain<2", "langchain~=1.4", "langchain>1.4"])
def test_a_requirement_without_a_lowest_version_is_named(requirement: str) -> None:
    with pytest.raises(NoLowerBoundError, match=requirement):
        lowest_versions(_project(requirement))


def test_each_of_our_own_requirements_has_a_lowest_version() -> None:
    ours = project()
    assert len(lowest_versions(ours)) > len(ours["dependencies"])


def test_the_environment_with_the_lowest_versions_has_what_the_tests_need_and_no_other_vendor() -> None:
    names = " ".join(tools(project()))
    assert "pytest-xdist" in names
    assert not any(vendor in names for vendor in ("anthropic", "google", "mistral", "ollama", "langchain-tiered"))


def test_the_versions_tried_are_those_that_the_project_admits() -> None:
    assert project()["requires-python"] == f">={VERSIONS[0]},<3.{int(VERSIONS[-1].partition('.')[2]) + 1}"


def test_a_shim_that_fails_is_passed_over_for_an_interpreter_of_pyenv(tmp_path: Path) -> None:
    version = "{}.{}".format(*sys.version_info)
    shim, real = tmp_path / "shims" / f"python{version}", tmp_path / f"versions/{version}.9/bin/python{version}"
    for path, script in ((shim, "exit 127"), (real, f'exec "{sys.executable}" "$@"')):
        path.parent.mkdir(parents=True)
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)
    environ = {"PATH": str(shim.parent), "PYENV_ROOT": str(tmp_path)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", os.devnull)
        assert interpreter(version, environ) == str(real)


def test_a_version_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert interpreter("3.99", {"PATH": str(tmp_path), "PYENV_ROOT": str(tmp_path)}) is None


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Make a checkout of a few files."""
    for name in ("langchain_tiered/__init__.py", "langchain_tiered/py.typed", "tests/test_it.py", "tests/.env"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_whole_wheel_is_right(checkout: Path) -> None:
    assert wrong_in_wheel(WHEEL, checkout) == []


@pytest.mark.parametrize("name", WHEEL[:2])
def test_a_file_that_the_wheel_lacks_is_named(checkout: Path, name: str) -> None:
    assert wrong_in_wheel([each for each in WHEEL if each != name], checkout) == [f"  lacks {name}"]


def test_a_test_in_the_wheel_is_named(checkout: Path) -> None:
    assert wrong_in_wheel([*WHEEL, "tests/test_it.py"], checkout) == ["  should not hold tests/test_it.py"]


def test_a_test_that_the_sdist_lacks_is_named(checkout: Path) -> None:
    assert "  lacks tests/test_it.py" in missing_from_sdist(WHEEL, checkout)


def test_a_secret_in_the_sdist_is_named(checkout: Path) -> None:
    assert unwanted_in_sdist([".env.example", "tests/.env"]) == ["  should not hold tests/.env"]
    assert not any(".env" in line for line in missing_from_sdist(WHEEL, checkout) if "example" not in line)
