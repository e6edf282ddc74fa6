"""Use the router in LCEL: as the condition of a `RunnableBranch`, and to choose among `configurable_alternatives`."""

import show
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField, RunnableBranch, RunnableLambda, RunnablePassthrough

from langchain_tiered import TierRouter, collect_ledger
from langchain_tiered.offline import offline_tiers

tiers = offline_tiers()
router = TierRouter(tiers)
models = {tier.name: tier.model for tier in tiers}
prompt = ChatPromptTemplate.from_messages([("system", "You answer customers."), ("user", "{text}")])
routed = RunnablePassthrough.assign(route=prompt | router)  # a router takes text, messages, or a prompt

# A branch for each kind of work: any chain may stand in it.
brief = prompt | models["nano"] | StrOutputParser()
thorough = prompt | models["flagship"] | StrOutputParser()
branch = routed | RunnableBranch(
    (lambda given: given["route"]["tier"] == "nano", brief),
    (lambda given: given["route"]["task"] == "write", RunnableLambda(lambda _: "A person writes our letters.")),
    thorough,
)

# One chain whose model is a setting: the route sets it, and whoever calls the chain alone may set it by hand.
model = models["nano"].configurable_alternatives(
    ConfigurableField(id="tier"), default_key="nano", mini=models["mini"], flagship=models["flagship"]
)
chain = prompt | model


def at_tier(given: dict) -> dict:
    """Answer with the model of the route."""
    tier = given["route"]["tier"]
    return {"tier": tier, "answer": chain.with_config(configurable={"tier": tier}).invoke(given).text}


LABEL = "Is this review positive or negative?\nThe kettle is a delight."
for text in (LABEL, "Draft a letter to my landlord.", "Prove that the square root of two is irrational."):
    with collect_ledger() as ledger:
        print(f"branch: {branch.invoke({'text': text})[:80]}")
        print(f"setting: {(routed | at_tier).invoke({'text': text})}")
    print(f"  {len(ledger)} calls, of {', '.join(sorted({str(entry['model']) for entry in ledger}))}")
answer = chain.invoke({"text": LABEL}, {"configurable": {"tier": "mini"}})
print(f"by hand: {answer.response_metadata['model_name']}")
show.offline_note()
