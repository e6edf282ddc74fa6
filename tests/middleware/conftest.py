"""A refund tool that writes each refund down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from orders import refund_tool

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool


@pytest.fixture
def refunds() -> list[int]:
    return []


@pytest.fixture
def refund(refunds: list[int]) -> BaseTool:
    return refund_tool(refunds)
