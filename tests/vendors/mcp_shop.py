"""A small MCP server on its standard streams. It writes down each call of a tool in the file it is given."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Any

from mcp.server.fastmcp import FastMCP, Image

shop = FastMCP("shop", log_level="ERROR")
CALLS = Path(sys.argv[1])
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def noted(name: str, order: int) -> None:
    """Write down that a tool ran."""
    with CALLS.open("a", encoding="utf-8") as calls:
        calls.write(f"{name} {order}\n")


@shop.tool()
def find_order(order: int) -> str:
    """Find an order by its number."""
    noted("find_order", order)
    return f"Order {order} is in Lyon."


@shop.tool()
def track_parcel(order: int) -> str:
    """Track the parcel of an order."""
    noted("track_parcel", order)
    raise ValueError(f"No parcel belongs to order {order}.")


@shop.tool(structured_output=False)
def show_label(order: int) -> list[Any]:
    """Show the label of the parcel of an order, as an image."""
    noted("show_label", order)
    return ["The label:", Image(data=PIXEL, format="png")]


if __name__ == "__main__":
    shop.run("stdio")
