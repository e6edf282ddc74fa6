"""The lowest versions that `pyproject.toml` admits, as constraints for pip."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
USER_EXTRAS = ("cli", "server", "studio", "testing")
"""What users install. The tools of development and the packages of other vendors are taken at today's versions."""

_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[[\w,]+\])?>=(?P<lowest>[\d.]+)(,<[\d.]+)?$")
_OURSELVES = "langchain-tiered["


class NoLowerBoundError(ValueError):
    """A requirement does not say which version is the lowest."""


def project() -> dict[str, Any]:
    """Return the table `project` of our `pyproject.toml`."""
    settings: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return settings


def lowest_versions(project: dict[str, Any]) -> list[str]:
    """Return `name==version` of all that a user may install with us, at its lowest.

    Raises:
        NoLowerBoundError: If a requirement is not of the form `name>=version` or `name>=version,<version`.
    """
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(each for name in USER_EXTRAS for each in extras[name])]
    return sorted({_lowest(requirement) for requirement in wanted})


def tools(project: dict[str, Any]) -> list[str]:
    """Return what our tests need besides what users install, at any version, without other vendors' packages."""
    return [each for each in project["optional-dependencies"]["dev"] if not each.startswith(_OURSELVES)]


def _lowest(requirement: str) -> str:
    found = _REQUIREMENT.match(requirement)
    if found is None:
        raise NoLowerBoundError(f"{requirement!r} says no lowest version. Write it as name>=1.2 or name>=1.2,<2.")
    return f"{found['name']}=={found['lowest']}"
