"""LangChain's standard suite over the wire: the tiered model, and `ChatOpenAI` beside it, which sets the measure."""

from __future__ import annotations

from typing import Any

import pytest
from conformance.able import Able, openai_params, wired_tiers
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests

from langchain_tiered import TieredChatModel

pytestmark = pytest.mark.filterwarnings("ignore:OpenAI may require a filename:UserWarning")


class TestTiered(Able, ChatModelIntegrationTests):
    @property
    def chat_model_class(self) -> Any:
        return TieredChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"tiers": wired_tiers()}


@pytest.mark.filterwarnings(
    "ignore:Received a Pydantic BaseModel V1:UserWarning", "ignore:Pydantic serializer:UserWarning"
)
class TestOpenAI(Able, ChatModelIntegrationTests):
    @property
    def chat_model_class(self) -> Any:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return openai_params()
