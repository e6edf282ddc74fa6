"""A small shop in SQLite, and the tools of its support desk.

The rows are always the same, so that a run can be repeated; each call of `shop_tools` opens a fresh shop in memory.

```bash
langchain-tiered run "Refund order 1042 and tell me why it was late." --tools examples/shop.py:shop_tools
```
"""

from __future__ import annotations

import sqlite3
from threading import Lock
from typing import TYPE_CHECKING, Annotated, Any
from weakref import finalize

from langchain.tools import ToolRuntime  # noqa: TC002  (LangChain reads the types of a tool's parameters)
from langchain_core.tools import InjectedToolArg, tool

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

_TABLES = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL UNIQUE, address TEXT NOT NULL);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers, ordered_on TEXT NOT NULL,
    status TEXT NOT NULL, carrier TEXT, parcel TEXT
);
CREATE TABLE items (
    order_id INTEGER NOT NULL REFERENCES orders, name TEXT NOT NULL, quantity INTEGER NOT NULL, cents INTEGER NOT NULL
);
CREATE TABLE refunds (
    order_id INTEGER PRIMARY KEY REFERENCES orders, cents INTEGER NOT NULL, reason TEXT NOT NULL, key TEXT UNIQUE
);
"""
_CUSTOMERS = (
    (1, "Mara Lindqvist", "mara.lindqvist@example.com", "14 Harbour Row, Northport"),
    (2, "Tomas Okafor", "tomas.okafor@example.com", "3 Mill Lane, Eastvale"),
    (3, "Priya Raman", "priya.raman@example.com", "77 Station Road, Westbury Green"),
    (4, "Jonas Weiss", "jonas.weiss@example.com", "9 Orchard Close, Southmere"),
)
_LATE = "Held at the depot in Eastvale for two days after a flood closed the road; delivered 4 days late."
_ORDERS = (
    (1040, 1, "2026-02-20", "delivered", "Swiftpost", "Delivered on 2026-02-24 to the front door."),
    (1041, 2, "2026-02-22", "delivered", "Swiftpost", "Delivered on 2026-02-26, signed for by a neighbour."),
    (1042, 3, "2026-02-23", "delivered", "Bluevan", _LATE),
    (1043, 3, "2026-02-27", "shipped", "Bluevan", "Out for delivery; expected on 2026-03-06."),
    (1044, 4, "2026-02-28", "cancelled", None, None),
    (1045, 1, "2026-03-01", "shipped", "Swiftpost", "Left the sorting centre on 2026-03-03; expected on 2026-03-06."),
    (1046, 2, "2026-03-01", "processing", None, None),
    (1047, 4, "2026-03-02", "delivered", "Swiftpost", "Delivered on 2026-03-05 to a parcel locker."),
    (1048, 3, "2026-03-02", "shipped", "Bluevan", "Delayed at customs; a new date follows."),
    (1049, 1, "2026-03-03", "processing", None, None),
    (1050, 2, "2026-03-03", "delivered", "Swiftpost", "Delivered on 2026-03-05 to the front door."),
    (1051, 4, "2026-03-04", "processing", None, None),
)
_ITEMS = (
    (1040, "Desk lamp", 1, 3900),
    (1041, "Notebook, ruled", 5, 450),
    (1042, "Rain jacket", 1, 8950),
    (1042, "Wool socks", 2, 1200),
    (1043, "Tea kettle", 1, 4700),
    (1044, "Garden chair", 4, 2900),
    (1045, "Monitor arm", 1, 11900),
    (1046, "Ink cartridge", 3, 1850),
    (1047, "Board game", 1, 3400),
    (1048, "Running shoes", 1, 12900),
    (1049, "Keyboard", 1, 7900),
    (1050, "Water bottle", 2, 1600),
    (1051, "Bread knife", 1, 2450),
)
_REFUNDABLE = frozenset({"delivered", "shipped"})


class Shop:
    """The shop's database. Threads may share one shop: a lock lets one of them at a time in."""

    def __init__(self, path: str = ":memory:") -> None:
        self._lock = Lock()
        self._database = sqlite3.connect(path, check_same_thread=False)
        self._database.row_factory = sqlite3.Row
        self._closing = finalize(self, self._database.close)  # a shop that nobody closes is closed when it is dropped
        if not self._rows("SELECT name FROM sqlite_master WHERE name = 'orders'"):
            self._fill()

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._closing()

    def order(self, order_id: int) -> dict[str, Any] | None:
        """Return an order with its items, its total in USD and whether it was refunded, or `None`."""
        found = self._rows(
            "SELECT orders.*, customers.name AS customer, refunds.order_id IS NOT NULL AS refunded FROM orders "
            "JOIN customers ON customers.id = customer_id LEFT JOIN refunds ON refunds.order_id = orders.id "
            "WHERE orders.id = ?",
            order_id,
        )
        if not found:
            return None
        items = self._rows("SELECT name, quantity, cents FROM items WHERE order_id = ?", order_id)
        return {
            "order_id": order_id,
            "customer": found[0]["customer"],
            "ordered_on": found[0]["ordered_on"],
            "status": found[0]["status"],
            "items": ", ".join(f"{item['quantity']} x {item['name']}" for item in items),
            "total_usd": sum(item["quantity"] * item["cents"] for item in items) / 100,
            "refunded": bool(found[0]["refunded"]),
        }

    def orders_of(self, customer_email: str) -> list[int]:
        """Return the numbers of a customer's orders, oldest first."""
        found = self._rows(
            "SELECT orders.id FROM orders JOIN customers ON customers.id = customer_id WHERE email = ? ORDER BY 1",
            customer_email.lower(),
        )
        return [row["id"] for row in found]

    def parcel(self, order_id: int) -> str | None:
        """Return what the carrier says of an order's parcel, or `None` where there is none."""
        found = self._rows("SELECT carrier, parcel FROM orders WHERE id = ? AND parcel IS NOT NULL", order_id)
        return f"{found[0]['carrier']}: {found[0]['parcel']}" if found else None

    def refund(self, order_id: int, reason: str, key: str | None = None) -> bool:
        """Write one refund of the whole order; `False` when one stands already that another key wrote, or none."""
        with self._lock, self._database:
            written = self._database.execute(
                "INSERT OR IGNORE INTO refunds SELECT order_id, SUM(quantity * cents), ?, ? FROM items "
                "WHERE order_id = ? GROUP BY order_id",
                (reason, key, order_id),
            )
            own = self._database.execute("SELECT 1 FROM refunds WHERE order_id = ? AND key = ?", (order_id, key))
            return written.rowcount == 1 or own.fetchone() is not None

    def move(self, customer_email: str, address: str) -> bool:
        """Change a customer's address; `False` when nobody has this e-mail address."""
        with self._lock, self._database:
            changed = self._database.execute(
                "UPDATE customers SET address = ? WHERE email = ?", (address, customer_email.lower())
            )
            return changed.rowcount == 1

    def refunds(self) -> list[tuple[int, int, str]]:
        """Return all refunds: order, cents, reason."""
        return [tuple(row) for row in self._rows("SELECT order_id, cents, reason FROM refunds ORDER BY order_id")]

    def _rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        with self._lock:
            return self._database.execute(query, values).fetchall()

    def _fill(self) -> None:
        with self._lock, self._database:
            self._database.executescript(_TABLES)
            for table, rows in (("customers", _CUSTOMERS), ("orders", _ORDERS), ("items", _ITEMS)):
                marks = ", ".join("?" * len(rows[0]))
                self._database.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608  (own names)


def tools(shop: Shop) -> list[BaseTool]:
    """Return the tools of the support desk over `shop`."""
    return [*_reading(shop), *_writing(shop)]


def shop_tools() -> list[BaseTool]:
    """Return the tools over a fresh shop in memory."""
    return tools(Shop())


def _reading(shop: Shop) -> list[BaseTool]:
    @tool
    def find_order(order_id: int) -> dict[str, Any] | str:
        """Look up one order: its status, items, price, total and whether it was refunded."""
        return shop.order(order_id) or f"There is no order {order_id}."

    @tool
    def list_orders(customer_email: str) -> str:
        """List all orders of a customer by e-mail address."""
        found = shop.orders_of(customer_email)
        return f"Orders of {customer_email}: {', '.join(map(str, found)) or 'none'}."

    @tool
    def track_parcel(order_id: int) -> str:
        """Track the parcel of an order: where it is, when it will arrive, why a delivery was late or delayed."""
        if shop.order(order_id) is None:
            return f"There is no order {order_id}."
        return f"Order {order_id}: {shop.parcel(order_id) or 'no parcel has left the warehouse yet.'}"

    return [find_order, list_orders, track_parcel]


def _key(runtime: ToolRuntime[Any, Any] | None) -> str | None:
    """Return what names a call for good, so that one made again after a crash is known; `None` outside a thread."""
    thread_id = runtime.config.get("configurable", {}).get("thread_id") if runtime else None
    return f"{thread_id}:{runtime.tool_call_id}" if runtime and thread_id else None


def _writing(shop: Shop) -> list[BaseTool]:
    @tool
    def refund_order(
        order_id: int, reason: str, runtime: Annotated[ToolRuntime[Any, Any] | None, InjectedToolArg] = None
    ) -> str:
        """Refund an order in full, money back. This moves money and is done once: a second refund is refused."""
        order = shop.order(order_id)
        if order is None:
            return f"There is no order {order_id}."
        if order["status"] not in _REFUNDABLE:
            return f"Order {order_id} is {order['status']}: only shipped and delivered orders can be refunded."
        if not shop.refund(order_id, reason, _key(runtime)):
            return f"Order {order_id} was refunded before. No second refund was made."
        return f"Refunded order {order_id}: ${order['total_usd']:.2f}."

    @tool
    def update_address(customer_email: str, address: str) -> str:
        """Update the delivery address of a customer, who moved or changed it."""
        moved = shop.move(customer_email, address)
        return f"{customer_email} now lives at {address}." if moved else f"Nobody is known by {customer_email}."

    return [refund_order, update_address]
