"""Test an app that is built on tiers: copy this file, and run it by `pytest` or as a script.

It needs `pip install 'langchain-tiered[testing,server]'`.
"""

import subprocess
import sys
from collections.abc import Sequence

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langchain_tiered import Ledger, Policy, Tier, create_tiered_agent
from langchain_tiered.cascade import CheckInput
from langchain_tiered.offline.faults import Faults
from langchain_tiered.testing import CheckConformance, PolicyConformance, ScriptedChatModel

pytest_plugins = ["langchain_tiered.testing"]

POLICY = Policy(floors={"tools": "mini"}, on_rate_limit="escalate")
TICKET = "Classify the ticket. Labels: bug, praise, other.\n\nThe app crashes at start."


def is_a_label(given: CheckInput) -> bool:
    """Accept an answer that is one of our labels."""
    return given.answer.text.strip(" .").lower() in {"bug", "praise", "other"}


def my_app(nano, mini):
    """Build the app as in production, around the models it is given."""
    tiers = [Tier("nano", nano, criteria="Labels."), Tier("mini", mini, criteria="Everything else.")]
    return create_tiered_agent(tiers, policy=POLICY, checks={"classify": [is_a_label]})


def test_a_label_costs_one_cheap_call():
    nano, mini = ScriptedChatModel(script=["bug"], model_name="gpt-5.4-nano"), ScriptedChatModel(script=[])
    result = my_app(nano, mini).invoke({"messages": [HumanMessage(TICKET)]})
    assert result["messages"][-1].text == "bug"
    assert (nano.calls, mini.calls) == (1, 0)
    assert Ledger(result["ledger"]).total_usd < 0.001


@pytest.mark.parametrize("bad", ["It might be a bug, or not.", AIMessage("", additional_kwargs={"refusal": "No."})])
def test_a_bad_label_goes_up_and_is_never_shown(bad):
    nano, mini = ScriptedChatModel(script=[bad]), ScriptedChatModel(script=["bug"])
    result = my_app(nano, mini).invoke({"messages": [HumanMessage(TICKET)]})
    assert [message.text for message in result["messages"]] == [TICKET, "bug"]
    assert mini.asked[0][-1].text == TICKET


def test_an_outage_of_the_cheap_model_loses_no_request(offline_server):
    openai = pytest.importorskip("langchain_openai")
    faults = Faults.script([{"model": "nano", "fault": "server_error"}])
    server = offline_server(faults=faults)
    nano, mini = (
        openai.ChatOpenAI(model=f"gpt-5.4-{name}", base_url=server.url, api_key="offline", max_retries=0)
        for name in ("nano", "mini")
    )
    result = my_app(nano, mini).invoke({"messages": [HumanMessage(TICKET)]})
    assert [(entry["tier"], entry["outcome"]) for entry in result["ledger"]] == [
        ("nano", "failed"),
        ("mini", "accepted"),
    ]


def test_nothing_leaves_this_machine(blocked_network):
    result = my_app(ScriptedChatModel(script="praise"), ScriptedChatModel(script=[])).invoke({"messages": [TICKET]})
    assert result["route"]["tier"] == "nano"


class TestMyPolicy(PolicyConformance):
    """Decides every request, and never for a tier that cannot take it."""

    @property
    def policy(self) -> Policy:
        """The policy of the app."""
        return POLICY


class TestMyCheck(CheckConformance):
    """Judges every answer a provider may send, and changes none."""

    @property
    def check(self):
        """The check of the app."""
        return is_a_label

    @property
    def accepted(self) -> Sequence[CheckInput]:
        """What must pass."""
        return [CheckInput(request=[HumanMessage(TICKET)], answer=AIMessage("Bug."))]

    @property
    def rejected(self) -> Sequence[CheckInput]:
        """What must not."""
        return [CheckInput(request=[HumanMessage(TICKET)], answer=AIMessage("I am not sure."))]


if __name__ == "__main__":
    sys.exit(subprocess.run([sys.executable, "-m", "pytest", "-q", __file__], check=False).returncode)
