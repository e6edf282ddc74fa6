"""Where LangChain has no decision models, the bridge can be imported, and using it says what is missing."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest
from fakes import say, tiers

from langchain_tiered import TierRouter
from langchain_tiered.decisions import ChatDecisionModel, TierDecisionModel, classifier_of
from langchain_tiered.errors import LangChainTooOldError, TieredError, UnanswerableQuestionError
from langchain_tiered.routing import create_classifier

TIERS = tiers(nano=say("n"), mini=say("m"))
before_1_5 = pytest.mark.skipif(find_spec("langchain_core.decisions") is not None, reason="LangChain 1.5 is installed.")


class BaseDecisionModel:
    """Stands for LangChain's own: it is known by its name."""

    model = "decides-1"


@before_1_5
@pytest.mark.parametrize(
    "use",
    [
        lambda: TierDecisionModel(router=TierRouter(TIERS, classifier=None)),
        lambda: ChatDecisionModel(chat="openai:gpt-5.4-nano"),
        lambda: classifier_of(BaseDecisionModel(), TIERS),
        lambda: create_classifier(BaseDecisionModel(), TIERS),  # type: ignore[arg-type]
    ],
    ids=["router", "chat model", "classifier_of", "create_classifier"],
)
def test_use_without_langchain_1_5_says_what_to_install(use: Any) -> None:
    with pytest.raises(
        LangChainTooOldError, match=r"needs LangChain 1\.5 or later: pip install -U 'langchain>=1\.5'"
    ) as raised:
        use()
    assert isinstance(raised.value, (TieredError, ImportError))
    assert raised.value.needed == "1.5"


def test_only_a_decision_model_is_made_a_classifier_here() -> None:
    with pytest.raises(UnanswerableQuestionError, match="str is no decision model"):
        classifier_of("openai:gpt-5.4-nano", TIERS)
