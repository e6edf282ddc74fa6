"""Keep a thread, pin a tier, change a prompt, and see every paid call of a block."""

import show
from langgraph.checkpoint.memory import InMemorySaver

from langchain_tiered import Ledger, collect_ledger, create_tiered_agent
from langchain_tiered.offline import offline_tiers

agent = create_tiered_agent(offline_tiers(), checkpointer=InMemorySaver())
thread = {"configurable": {"thread_id": "ann"}}
LABEL = "Classify the ticket. Labels: billing, delivery, praise.\n\nTicket: when is the delivery of my parcel?"
PROOF = "Prove that the sum of two even numbers is even."

with collect_ledger() as paid:
    for request, context in (
        (LABEL, None),
        (PROOF, None),
        (LABEL, None),  # the thread's route only rises: changing models throws the prompt cache away
        (LABEL, {"pin": "nano"}),
        (LABEL, {"nano_prompt": "Answer with one word."}),
    ):
        result = agent.invoke({"messages": [("user", request)]}, thread, context=context)
        route = result["route"]
        print(f"{route['tier']:>8}  by {route['decided_by']:<10} {route['reason']}")

ledger = Ledger(result["ledger"])
last, baseline = ledger.last_run().total_usd, ledger.baseline_usd("openai:gpt-5.4")
print(f"\nThe thread paid ${ledger.total_usd:.6f} in {len(ledger)} calls, the last run ${last:.6f}.")
print(f"The block saw {len(paid)} calls. All at the flagship: ${baseline:.6f}, an estimate.")
show.offline_note()
