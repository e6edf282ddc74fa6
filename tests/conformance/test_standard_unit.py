"""LangChain's standard suite without a network: the tiered model, and `ChatOpenAI` beside it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from conformance.able import Able
from langchain_openai import ChatOpenAI
from langchain_tests.unit_tests import ChatModelUnitTests

from langchain_tiered import TieredChatModel, default_tiers

load: Any = import_module("langchain_core.load.load")  # the package has a function of that name

pytestmark = [
    pytest.mark.filterwarnings("ignore:The function `load` is in beta"),
    pytest.mark.filterwarnings("ignore:The method `BaseChatModel.dict` was deprecated"),
]


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `allowed_objects="all"` mean our class, too: LangChain's list has those of its own packages alone.

    An app names it: `load(told, allowed_objects=[TieredChatModel], valid_namespaces=["langchain_tiered"])`.
    """
    path = tuple(TieredChatModel.lc_id())
    monkeypatch.setitem(load.ALL_SERIALIZABLE_MAPPINGS, path, path)
    monkeypatch.setattr(load, "_default_class_paths_cache", {})


KEY = {"OPENAI_API_KEY": "api_key", "OPENAI_API_BASE": "https://base.com"}


class TestTiered(Able, ChatModelUnitTests):
    @property
    def chat_model_class(self) -> Any:
        return TieredChatModel

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return KEY, {}, {"tiers": default_tiers()}


class TestOpenAI(Able, ChatModelUnitTests):
    @property
    def chat_model_class(self) -> Any:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "gpt-5.4-mini"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        return KEY, {}, {"openai_api_key": "api_key", "openai_api_base": "https://base.com"}
