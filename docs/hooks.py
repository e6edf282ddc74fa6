"""What the build of the pages needs beside its settings: the README is the first page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

SOURCE = "https://github.com/langchain-tiered/langchain-tiered/blob/main/"
_RELATIVE = re.compile(r"(?<=\]\()(?![a-z]+:|#)(?P<docs>docs/)?(?P<path>[^)\s]+)(?=\))")


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Put the README in the place of the index; its links lead to the pages, or else to the source."""
    if page.file.src_uri != "index.md":
        return markdown
    readme = Path(config.config_file_path).with_name("README.md").read_text(encoding="utf-8")
    return _RELATIVE.sub(lambda link: link["path"] if link["docs"] else SOURCE + link["path"], readme)
