"""What the models under test can do: the same for `ChatOpenAI` and for tiers of it."""

from __future__ import annotations

from typing import Any, Literal

from langchain_openai import ChatOpenAI

from langchain_tiered import Tier
from langchain_tiered.offline.faults import MODELS


class Able:
    """All that the GPT-5.4 models can, of what the suites ask about."""

    @property
    def has_tool_calling(self) -> bool:
        return True

    @property
    def has_tool_choice(self) -> bool:
        return True

    @property
    def has_structured_output(self) -> bool:
        return True

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_image_inputs(self) -> bool:
        return True

    @property
    def supports_image_urls(self) -> bool:
        return True

    @property
    def supports_pdf_inputs(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def supports_image_tool_message(self) -> bool:
        return False  # Chat Completions takes no image in a tool's result

    @property
    def supports_model_override(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "gpt-5.4"

    @property
    def returns_usage_metadata(self) -> bool:
        return True

    @property
    def supported_usage_metadata_details(self) -> dict[Literal["invoke", "stream"], list[Any]]:
        return {"invoke": [], "stream": []}


def openai_params() -> dict[str, Any]:
    """Return what `ChatOpenAI` is made with."""
    return {"model": "gpt-5.4-mini", "stream_usage": True, "max_retries": 0}


def wired_tiers() -> list[Tier]:
    """Return three tiers that speak over the wire, without the client's own retries; each has one fallback."""
    return [Tier(tier, _client(name), criteria=tier, fallbacks=[_client(name)]) for tier, name in MODELS.items()]


def _client(name: str) -> ChatOpenAI:
    return ChatOpenAI(**{**openai_params(), "model": name})
