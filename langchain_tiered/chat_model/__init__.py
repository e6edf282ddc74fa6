"""`TieredChatModel`, a drop-in for one chat model: the third body of the one engine, beside the graph and middleware.

- `model.py` is the model as LangChain knows it
- `parts.py` has what it is made of: router, ladder and judge, and what its tiers can do together
- `structuring.py` makes what answers in a schema
- `binding.py` keeps the tools and the schema that are bound, and binds them on the tier that answers
- `calling.py` makes one call: it routes, asks, and books
- `reading.py` reads out of messages what a call needs
- `around.py` knows what the call is called under
- `streaming.py` does so token by token, and says what is held
"""

from langchain_tiered.chat_model.model import TieredChatModel

__all__ = ["TieredChatModel"]
