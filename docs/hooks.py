"""What the build of the pages needs beside its settings: the README in the place of the index, and public values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from griffe import Attribute, Extension

SOURCE = "https://github.com/langchain-tiered/langchain-tiered/blob/main/"
_INSIDE = re.compile(r"(?<!\w)_[A-Za-z]")  # a private name
_RELATIVE = re.compile(r"(?<=\]\()(?![a-z]+:|#)(?P<docs>docs/)?(?P<path>[^)\s]+)(?=\))")


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Put the README in the place of the index; its links lead to the pages, or else to the source."""
    if page.file.src_uri != "index.md":
        return markdown
    readme = Path(config.config_file_path).with_name("README.md").read_text(encoding="utf-8")
    return _RELATIVE.sub(lambda link: link["path"] if link["docs"] else SOURCE + link["path"], readme)


class PublicValues(Extension):
    """Shows a value where it says something to a reader: a default or a constant, not what `__init__` assigns."""

    def on_attribute_instance(self, *, attr: Attribute, **_: Any) -> None:
        """Leave out the value of an attribute that is no field of its class, or that is made of private names."""
        is_assigned = "instance-attribute" in attr.labels and "class-attribute" not in attr.labels
        if is_assigned or _INSIDE.search(str(attr.value)):
            attr.value = None
