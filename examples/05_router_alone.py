"""Use the router without the agent: in LCEL, to choose among chains that you have."""

import show
from langchain_core.runnables import RunnableLambda, RunnablePassthrough

from langchain_tiered import Policy, TierRouter
from langchain_tiered.offline import offline_tiers

tiers = offline_tiers()
router = TierRouter(tiers, policy=Policy(floors={"write": "flagship"}, min_confidence=0.4))
models = {tier.name: tier.model for tier in tiers}

chain = RunnablePassthrough.assign(route=lambda given: router.invoke(given["text"])) | RunnableLambda(
    lambda given: {"tier": given["route"]["tier"], "answer": models[given["route"]["tier"]].invoke(given["text"]).text}
)

for text in ("Is this review positive or negative?\nThe kettle is a delight.", "Draft a letter to my landlord."):
    print(router.invoke(text))
    print(chain.invoke({"text": text}))
show.offline_note()
