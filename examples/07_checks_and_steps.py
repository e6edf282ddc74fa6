"""Check answers by a rule of your own and by a second model, and watch the steps that follow while they happen.

The models here are deterministic rules, no language models: what they agree on shows the mechanism, not their worth.
"""

import show

from langchain_tiered import Ledger, create_tiered_agent
from langchain_tiered.cascade import CheckInput, agreement, finished, not_refused
from langchain_tiered.offline import offline_tiers


def names_the_order(given: CheckInput) -> bool:
    """Accept an answer that names the order it is about."""
    return "1042" in given.answer.text


nano, mini, flagship = offline_tiers()
agent = create_tiered_agent(
    [nano, mini, flagship],
    checks={
        "classify": [not_refused, finished, agreement(mini)],  # a second cheap answer must come to the same label
        "*": [not_refused, finished, names_the_order],
    },
)

for request in (
    "Classify the ticket. Labels: refund, delivery, other. Ticket: when is the delivery of my parcel?",
    "Write one polite sentence to a customer whose parcel is late.",
):
    print(f"\n{request}")
    try:
        for kind, part in agent.stream({"messages": [("user", request)]}, stream_mode=["custom", "values"]):
            if kind == "custom":
                print(f"  {part['action']}: {part['tier']} -> {part['to']}. {part['reason']}")
            else:
                result = part
        print(f"  {result['route']['tier']}: {result['messages'][-1].text}")
        paid = [f"{entry['tier']} {entry['role']} {entry['outcome']}" for entry in result["ledger"]]
        print(f"  paid: {', '.join(paid)}")
    except RuntimeError as error:  # NoAnswerAcceptedError: nothing that a check rejects reaches the user
        print(f"  {type(error).__name__}: {error}")
        print(f"  paid all the same: ${Ledger(error.ledger).total_usd:.6f} for {len(error.ledger)} calls")
show.offline_note()
