"""Options as JSON, for a file or a review."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_tiered.errors import ConfigurationError


def options_of(kind: type[Any], text: str, error: type[ConfigurationError]) -> dict[str, Any]:
    """Return the settings that a JSON object gives to a dataclass of options.

    Raises:
        ConfigurationError: As `error`, if the text is no JSON object, or has an unknown key; names the known ones.
    """
    what, known = kind.__name__, [setting.name for setting in fields(kind)]
    try:
        told = json.loads(text)
    except ValueError as wrong:
        raise error(f"The {what.lower()} is no JSON: {wrong}. Write what {what}.to_json() returns.") from wrong
    if not isinstance(told, dict):
        raise error(f"The {what.lower()} is {told!r}, expected a JSON object with keys of: {', '.join(known)}.")
    for key in told:
        if key not in known:
            raise error(f"Unknown {what.lower()} setting {key!r}. Settings: {', '.join(known)}.")
    return told
