"""What you need to test an app that is built on tiers: a scripted model, cassettes, and conformance suites.

As a plugin, `pytest_plugins = ["langchain_tiered.testing"]` in your `conftest.py`, it gives the fixtures `cassette`,
`offline_server` and `blocked_network`. A test module may import this before it names it as a plugin, of which pytest
would warn without the word PYTEST_DONT_REWRITE; nothing in this file asserts.
"""

from __future__ import annotations

from importlib.util import find_spec

from langchain_tiered.errors import MissingExtraError

if find_spec("pytest") is None:
    raise MissingExtraError("testing", "langchain_tiered.testing")

from langchain_tiered.testing.cassettes import (
    MissingRecordingError,
    UnplayedRecordingError,
    assert_all_played,
    explain_miss,
    use_cassette,
    vcr_config,
)
from langchain_tiered.testing.conformance import CheckConformance, PolicyConformance, RouterConformance
from langchain_tiered.testing.files import CassetteError
from langchain_tiered.testing.fixtures import blocked_network, cassette, offline_server
from langchain_tiered.testing.models import ScriptedChatModel, ScriptExhaustedError
from langchain_tiered.testing.network import NetworkBlockedError, block_network

__all__ = [
    "CassetteError",
    "CheckConformance",
    "MissingRecordingError",
    "NetworkBlockedError",
    "PolicyConformance",
    "RouterConformance",
    "ScriptExhaustedError",
    "ScriptedChatModel",
    "UnplayedRecordingError",
    "assert_all_played",
    "block_network",
    "blocked_network",
    "cassette",
    "explain_miss",
    "offline_server",
    "use_cassette",
    "vcr_config",
]
