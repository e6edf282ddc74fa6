"""The embedded default: tiers of deterministic rules, so that everything runs without a key, weights or a network."""

from __future__ import annotations

from langchain_tiered.offline.models import OfflineChatModel, offline_tiers

__all__ = ["OfflineChatModel", "offline_tiers"]
