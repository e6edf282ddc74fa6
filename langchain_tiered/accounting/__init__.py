"""What it cost: the recorder that books each model call, the ledger that sums them, and the price of tokens."""

from langchain_tiered.accounting.collecting import collect_ledger, rebook
from langchain_tiered.accounting.entries import call_metadata
from langchain_tiered.accounting.ledger import Ledger, book
from langchain_tiered.accounting.rates import price_usd
from langchain_tiered.accounting.recorder import Recorder, recorder_in, recording
from langchain_tiered.accounting.usage import Tokens, tokens_of

__all__ = [
    "Ledger",
    "Recorder",
    "Tokens",
    "book",
    "call_metadata",
    "collect_ledger",
    "price_usd",
    "rebook",
    "recorder_in",
    "recording",
    "tokens_of",
]
