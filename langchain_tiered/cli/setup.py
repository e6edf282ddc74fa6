"""What a command works with: the tiers that serve, and the tools that a path or a module names."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from langchain_tiered.errors import ConfigurationError
from langchain_tiered.models import default_tiers
from langchain_tiered.offline import offline_tiers
from langchain_tiered.routing import tool_facts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from langchain_tiered.types import Tier, Tool

KEY = "OPENAI_API_KEY"
"""The environment variable whose key the default tiers need."""

OFFLINE = "deterministic rules, no language model. Costs: the same tokens at GPT-5.4 prices."
"""What every output says that rests on the offline tiers."""

_BASES = ("OPENAI_API_BASE", "OPENAI_BASE_URL")  # in the order in which LangChain's client heeds them


@dataclass(frozen=True)
class Serving:
    """The tiers that answer."""

    tiers: tuple[Tier, ...]
    """Cheapest first."""

    note: str | None = None
    """Why the offline tiers serve, or may, and what that means; `None` where language models do."""

    closing: str | None = None
    """The same in short, for the end of a long output."""


def serving(*, online: bool | None) -> Serving:
    """Return the tiers that answer: with a key the default ones, without it the offline ones.

    Args:
        online: `True` to insist on language models, `False` on the offline tiers, `None` to go by the key.

    Raises:
        ConfigurationError: If language models are asked for and there is no key.
    """
    has_key = bool(os.environ.get(KEY))
    if online and not has_key:
        raise ConfigurationError(f"{KEY} is not set. Set it, or leave --online out: the offline tiers need no key.")
    if has_key and online is not False:
        return Serving(default_tiers(), *_of_a_local_server())
    why = f"No {KEY} was found, so the offline tiers answer" if online is None else "The offline tiers answer, as asked"
    return Serving(offline_tiers(), f"{why}: {OFFLINE}", f"Offline tiers: {OFFLINE}")


def _of_a_local_server() -> tuple[str, str] | tuple[()]:
    """Return a note and its short form where the models' server is one of this machine, as `serve-offline` is."""
    name, url = next(((name, os.environ[name]) for name in _BASES if os.environ.get(name)), ("", ""))
    try:
        host = urlsplit(url).hostname or ""
        is_local = host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # a name, or no URL
        return ()
    if not is_local:
        return ()
    note = f"{name} is {url}, so a server on this machine answers. If that is serve-offline: {OFFLINE}"
    return note, f"The server on this machine, if it is serve-offline: {OFFLINE}"


def load_tools(target: str | None) -> Sequence[Tool]:
    """Return the tools that `PATH.py:NAME` or `module:NAME` names: a list, or a function that returns one.

    Raises:
        ConfigurationError: If there is no such file, module or name.
        InvalidInputError: If something in the list is no tool.
    """
    if target is None:
        return ()
    place, _, name = target.rpartition(":")
    if not place or not name:
        raise ConfigurationError(f"{target!r} names no tools. Write PATH.py:NAME or module:NAME.")
    module = _file(Path(place)) if place.endswith(".py") else _module(place)
    if not hasattr(module, name):
        raise ConfigurationError(f"{place} has no {name!r}. Name a list of tools, or a function that returns one.")
    found: Any = getattr(module, name)
    try:
        tools = found() if callable(found) and not hasattr(found, "args_schema") else found
    except Exception as error:
        raise _broken(target, error) from error
    if not isinstance(tools, (list, tuple)):
        got = type(tools).__name__
        raise ConfigurationError(f"{target} gives a {got}, expected a list of tools, or a function that returns one.")
    tool_facts(tools)
    return tools


def _file(path: Path) -> ModuleType:
    name = f"{__name__}.{path.stem}"  # a file may be called like a module that others need
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ConfigurationError(f"There is no file {str(path)!r}.")
    module = importlib.util.module_from_spec(spec)
    _importable(path.resolve().parent)
    sys.modules[name] = module  # where the hints of its functions are looked up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise _broken(str(path), error) from error
    return module


def _module(name: str) -> ModuleType:
    _importable(Path.cwd())
    try:
        return importlib.import_module(name)
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is None or not f"{name}.".startswith(f"{missing}."):
            raise _broken(name, error) from error  # the module is there, and something that it imports is not
        raise ConfigurationError(f"There is no module {name!r} here. Write PATH.py:NAME for a file.") from error


def _broken(place: str, error: Exception) -> ConfigurationError:
    """Tell in a line what a traceback tells in many, and where."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    at = "" if where.filename.startswith("<") else f" ({Path(where.filename).name}, line {where.lineno})"
    return ConfigurationError(f"{place} cannot be loaded: {type(error).__name__}: {error}{at}")


def _importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
