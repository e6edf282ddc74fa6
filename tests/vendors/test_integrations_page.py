"""The code on the page about integrations runs as it stands there."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

import pytest
from vendors.wires import Said

if TYPE_CHECKING:
    from vendors.wires import VendorServer

PAGE = Path(__file__).parents[2] / "docs" / "integrations.md"
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE))
FIRST = "Tiers of other vendors"


def code_of(section: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", SECTIONS[section], re.DOTALL | re.MULTILINE)


async def ran(section: str, names: dict[str, Any]) -> None:
    for code in code_of(section):
        told = code.replace('"python"', repr(sys.executable)).replace('"shop_server.py"', "*shop_server")
        compiled: CodeType = compile(told, PAGE.name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        done = FunctionType(compiled, names)()
        if inspect.isawaitable(done):
            await done


@pytest.mark.filterwarnings("ignore:.*is in beta.*")
@pytest.mark.parametrize("section", [section for section in SECTIONS if code_of(section)])
async def test_the_code_of_a_section_runs(section: str, vendors: VendorServer, tmp_path: Path) -> None:
    if "LangChain 1.5" in section and find_spec("langchain_core.decisions") is None:
        pytest.skip("LangChain 1.5 is not installed here: make test-langchain-next")
    vendors.will("mistralai", Said("bug"))
    vendors.will("anthropic", Said(calls=(("find_order", {"order": 1042}),)), Said("In Lyon."))
    names: dict[str, Any] = {"shop_server": [str(Path(__file__).with_name("mcp_shop.py")), str(tmp_path / "calls")]}
    await ran(FIRST, names)
    assert names["result"]["ledger"][0]["cost_usd"] > 0
    if section != FIRST:
        await ran(section, names)
    if "MCP" in section:
        assert (tmp_path / "calls").read_text(encoding="utf-8") == "find_order 1042\n"
        assert names["result"]["messages"][-1].text == "In Lyon."
