"""The example's shop keeps its books whoever calls it, and its requests are complete."""

from __future__ import annotations

import importlib.util
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage

from langchain_tiered.offline import OfflineChatModel

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[3] / "examples"
ROWS = [json.loads(line) for line in (EXAMPLES / "requests.jsonl").read_text(encoding="utf-8").splitlines()]


def _module() -> Any:
    spec = importlib.util.spec_from_file_location("shop", EXAMPLES / "shop.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SHOP = _module()


@pytest.fixture
def shop() -> Iterator[Any]:
    shop = SHOP.Shop()
    yield shop
    shop.close()


def _tool(shop: Any, name: str) -> Any:
    return next(tool for tool in SHOP.tools(shop) if tool.name == name)


def test_second_refund_of_an_order_is_refused_and_writes_nothing(shop: Any) -> None:
    refund = _tool(shop, "refund_order")
    assert refund.invoke({"order_id": 1042, "reason": "late"}) == "Refunded order 1042: $113.50."
    assert "refunded before" in refund.invoke({"order_id": 1042, "reason": "again"})
    assert shop.refunds() == [(1042, 11350, "late")]
    assert shop.order(1042)["refunded"] is True


def test_many_threads_refund_an_order_once(shop: Any) -> None:
    refund = _tool(shop, "refund_order")
    with ThreadPoolExecutor(16) as pool:
        said = list(pool.map(lambda _: refund.invoke({"order_id": 1047, "reason": "race"}), range(64)))
    assert sum(told.startswith("Refunded") for told in said) == 1
    assert len(shop.refunds()) == 1


@pytest.mark.parametrize("order", [1044, 1046, 9999])
def test_what_was_never_sent_is_not_refunded(shop: Any, order: int) -> None:
    _tool(shop, "refund_order").invoke({"order_id": order, "reason": "please"})
    assert shop.refunds() == []


def test_reading_tools_tell_what_stands_in_the_tables(shop: Any) -> None:
    assert _tool(shop, "find_order").invoke({"order_id": 1042})["total_usd"] == 113.5
    assert "no order 9999" in _tool(shop, "find_order").invoke({"order_id": 9999})
    assert "1042, 1043, 1048" in _tool(shop, "list_orders").invoke({"customer_email": "Priya.Raman@example.com"})
    assert "flood" in _tool(shop, "track_parcel").invoke({"order_id": 1042})


def test_address_is_changed_for_known_customers_alone(shop: Any) -> None:
    move = _tool(shop, "update_address")
    assert "now lives at" in move.invoke({"customer_email": "jonas.weiss@example.com", "address": "1 New Road"})
    assert "Nobody" in move.invoke({"customer_email": "nobody@example.com", "address": "1 New Road"})


def test_a_shop_on_disk_is_filled_once(tmp_path: Path) -> None:
    for _ in range(2):
        shop = SHOP.Shop(str(tmp_path / "shop.sqlite"))
        assert shop.orders_of("jonas.weiss@example.com") == [1044, 1047, 1051]
        shop.close()


def test_every_call_for_tools_opens_a_fresh_shop() -> None:
    refund, again = (next(t for t in SHOP.shop_tools() if t.name == "refund_order") for _ in range(2))
    assert refund.invoke({"order_id": 1042, "reason": "late"}).startswith("Refunded")
    assert again.invoke({"order_id": 1042, "reason": "late"}).startswith("Refunded")


def test_agent_refunds_and_explains_with_one_row_written(shop: Any) -> None:
    agent = create_agent(OfflineChatModel(), SHOP.tools(shop))
    result = agent.invoke({"messages": [HumanMessage("Refund order 1042 and tell me why it was late.")]})
    assert "$113.50" in result["messages"][-1].text
    assert "flood" in result["messages"][-1].text
    assert [row[:2] for row in shop.refunds()] == [(1042, 11350)]


@pytest.mark.parametrize("row", ROWS, ids=[row["id"] for row in ROWS])
def test_request_is_complete_and_its_files_are_there(row: dict[str, Any]) -> None:
    assert set(row) <= {"id", "text", "images", "document", "schema", "expect"}
    assert row["text"].strip()
    assert row["expect"] in ("nano", "mini", "flagship")
    assert row.get("schema", {"title": "x"})["title"]
    for image in row.get("images", ()):
        assert (EXAMPLES / image).read_bytes().startswith(b"\x89PNG")
        assert (EXAMPLES / image).stat().st_size < 30_000
    if "document" in row:
        assert 60_000 < (EXAMPLES / row["document"]).stat().st_size < 100_000


def test_request_ids_are_unique_and_each_tier_is_wanted() -> None:
    assert len({row["id"] for row in ROWS}) == len(ROWS)
    assert {row["expect"] for row in ROWS} == {"nano", "mini", "flagship"}
