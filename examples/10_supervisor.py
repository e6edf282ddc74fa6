"""Tiered agents under a supervisor, hand-written: it hands each request to the desk that it is for.

The supervisor is a node with one cheap call. The shop desk hands on what it cannot do by a tool of its own, which
leaves the agent, with what was done so far: `Command(graph=Command.PARENT)`.
"""

from typing import Annotated, Literal

import show
from langchain.tools import InjectedState
from langchain_core.messages import ToolMessage
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command
from shop import Shop, tools

from langchain_tiered import Ledger, TieredState, create_tiered_agent
from langchain_tiered.offline import offline_tiers

Desk = Literal["shop_desk", "writing_desk"]
tiers = offline_tiers()
nano = tiers[0].model
TEMPLATES = {
    "apology": "Dear customer, we are sorry that we kept you waiting.",
    "thanks": "Thank you for your work, it is seen.",
}


def supervisor(state: TieredState) -> Command[Desk]:
    """Hand the request to a desk."""
    asked = f"Classify the request. Labels: order, letter.\n\nRequest: {state['messages'][-1].text}"
    desk: Desk = "writing_desk" if nano.invoke(asked).text == "letter" else "shop_desk"
    print(f"  supervisor -> {desk}")
    return Command(goto=desk)


@tool
def hand_to_the_writing_desk(
    state: Annotated[dict, InjectedState], call_id: Annotated[str, InjectedToolCallId]
) -> Command:
    """Write an apology or a letter: the writing desk does that."""
    print("  shop_desk -> writing_desk")
    done = ToolMessage("The writing desk goes on.", tool_call_id=call_id)
    return Command(goto="writing_desk", graph=Command.PARENT, update={"messages": [*state["messages"], done]})


@tool
def letter(kind: Literal["apology", "thanks"]) -> str:
    """Write a letter of apology or of thanks, by the shop's templates."""
    return TEMPLATES[kind]


builder = StateGraph(TieredState)
builder.add_node("supervisor", supervisor)
builder.add_node("shop_desk", create_tiered_agent(tiers, tools=[*tools(Shop()), hand_to_the_writing_desk]))
builder.add_node("writing_desk", create_tiered_agent(tiers, tools=[letter]))
builder.add_edge(START, "supervisor")
graph = builder.compile(checkpointer=InMemorySaver())

thread = {"configurable": {"thread_id": "ann"}}
for request in (
    "Refund order 1042 and tell me why it was late.",
    "Draft a letter of thanks to the driver.",
    "Track order 1043, then write a letter of apology.",
):
    print(request)
    result = graph.invoke({"messages": [("user", request)]}, thread)
    print(f"  {result['route']['tier']}: {' '.join(result['messages'][-1].text.split())}")
print(f"The desks have paid ${Ledger(result['ledger']).total_usd:.6f}:")
for run in Ledger(result["ledger"]).by_run().values():
    print(f"  ${run.total_usd:.6f} {', '.join(run.by_tier())}")
show.offline_note()
