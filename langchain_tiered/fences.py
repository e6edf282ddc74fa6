"""The fence around what is data for a model, and no instruction."""

from __future__ import annotations

import json

# A model may take more than two signs for angle brackets: what Unicode folds to them, what is drawn like them, and the
# invisible tags, which models read.
_LIKE_BRACKETS = (
    "\u226e\u226f\ufe64\ufe65\uff1c\uff1e\u2039\u203a\u2329\u232a\u27e8\u27e9"
    "\u3008\u3009\u276e\u276f\u1438\u1433\u02c2\u02c3"
)
_TAGS = map(chr, range(0xE0000, 0xE0080))
_ESCAPED = {ord("<"): "\\u003c", ord(">"): "\\u003e"}
_ESCAPED |= {ord(sign): json.dumps(sign)[1:-1] for sign in (*_LIKE_BRACKETS, *_TAGS)}


def fenced(name: str, told: object) -> str:
    """Return plain values as JSON between `<name>` and `</name>`; whatever they hold, the fence stays closed."""
    plain = json.dumps(told, ensure_ascii=False)
    sendable = plain.encode("utf-8", "replace").decode("utf-8")  # half an emoji cannot be sent
    return f"<{name}>\n{sendable.translate(_ESCAPED)}\n</{name}>"
