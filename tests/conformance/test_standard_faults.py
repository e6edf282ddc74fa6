"""The same suite while one call in ten breaks: nothing fails, because the cascade goes on."""

from __future__ import annotations

from typing import Any

import pytest
from conformance.able import Able, wired_tiers
from langchain_tests.integration_tests import ChatModelIntegrationTests

from langchain_tiered import Policy, TieredChatModel

BREAKS = True

pytestmark = pytest.mark.filterwarnings("ignore:OpenAI may require a filename:UserWarning")


class TestTieredWithFaults(Able, ChatModelIntegrationTests):
    @property
    def chat_model_class(self) -> Any:
        return TieredChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"tiers": wired_tiers(), "policy": Policy(max_wait_s=0.1)}


def test_of_a_hundred_requests_one_in_ten_breaks_and_all_are_answered(served: Any) -> None:
    served.reset()
    model = TieredChatModel(wired_tiers(), policy=Policy(max_wait_s=0.1), classifier=None)
    asked = [f"Classify the ticket. Labels: bug, praise, other.\n\nIt crashed {number} times." for number in range(100)]
    answers = [model.invoke(each) for each in asked]
    assert all(answer.text for answer in answers)
    ledger = [entry for answer in answers for entry in answer.response_metadata["ledger"]]
    broken = sum(served.stats["faults"].values())
    assert broken >= 5, served.stats
    assert len(ledger) == served.stats["calls"] == 100 + broken
