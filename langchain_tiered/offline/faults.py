"""When the offline server breaks, and how: by script ("the third call to mini") or by rate with a seed.

Nothing here breaks anything: a decision is a pure function of the plan, the model and the number of the call, or of
what was asked, so that a run can be repeated from its seed. `replies.py` and `server.py` carry it out.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from langchain_tiered.errors import ConfigurationError

if TYPE_CHECKING:
    from typing import NoReturn

FaultKind = Literal[
    "rate_limit",
    "rate_limit_bare",
    "too_large",
    "server_error",
    "unavailable",
    "overflow",
    "garbage",
    "timeout",
    "drop_before",
    "drop_in_body",
    "drop_in_stream",
    "truncated_stream",
    "slow",
    "length",
    "length_empty",
    "refusal",
    "content_filter",
    "malformed_arguments",
    "wrong_types",
    "missing_fields",
    "invented_tool",
]
FAULTS: tuple[FaultKind, ...] = get_args(FaultKind)

MODELS = {"nano": "gpt-5.4-nano", "mini": "gpt-5.4-mini", "flagship": "gpt-5.4"}
"""The models that the server stands in for, by the names of their tiers."""

DrawnBy = Literal["call", "request"]

_FILE_FIELDS = frozenset({"seed", "rates", "script", "by"})
_SECONDS = {"timeout": 60.0, "slow": 2.0}
_CALL_IDS = re.compile(rb'"(?:id|call_id|tool_call_id)":\s*"[^"]*"')


@dataclass(frozen=True)
class Fault:
    """One way of breaking."""

    kind: FaultKind
    """What goes wrong."""

    retry_after_s: float = 1.0
    """What a `rate_limit` asks the client to wait, in seconds."""

    seconds: float | None = None
    """How long a `timeout` says nothing at most (60 if not given), and how long a `slow` answer takes (2)."""

    @property
    def lasts_s(self) -> float:
        """How long it takes, in seconds."""
        return _SECONDS.get(self.kind, 0.0) if self.seconds is None else self.seconds


@dataclass(frozen=True)
class Planned:
    """A fault with the calls that it hits."""

    fault: Fault
    """What goes wrong."""

    model: str = "*"
    """The tier or model that it hits, or `*` for all."""

    call: int | None = None
    """The number of the call, from `1`: among those to the model, or among all calls for `*`. `None`: every call."""

    def hits(self, model: str, call: int, overall: int) -> bool:
        """Tell whether it hits this call."""
        if not named(self.model, model):
            return False
        return self.call is None or self.call == (overall if self.model == "*" else call)


def named(pattern: str, model: str) -> bool:
    """Tell whether `pattern` names a model: by its own name, by its tier's name, or as `*`."""
    return pattern in ("*", model) or MODELS.get(pattern) == model


def fingerprint(body: bytes) -> str:
    """Name a request by what it says. The ids of tool calls are left out: they are new in each run."""
    return hashlib.blake2b(_CALL_IDS.sub(b"", body), digest_size=8).hexdigest()


@dataclass(frozen=True)
class Faults:
    """A plan of faults; what is scripted comes before what is drawn.

    ```python
    Faults.script([{"call": 3, "model": "mini", "fault": "rate_limit", "retry_after_s": 1}])
    Faults.rate({"rate_limit": 0.05, "drop_before": 0.01}, seed=7)
    ```
    """

    planned: tuple[Planned, ...] = ()
    """The scripted faults; of several that hit a call the first counts."""

    rates: Mapping[FaultKind, float] = field(default_factory=dict)
    """The share of the calls that each fault hits, from `0` to `1`; at most `1` together."""

    seed: int = 0
    """What the draws start from."""

    by: DrawnBy = "call"
    """What else a draw hangs on: the number of the `call` to its model, or the `request` itself and how often it came
    before. By `request`, calls made at once draw the same whatever their order, and one of them the same alone."""

    def __post_init__(self) -> None:
        if self.by not in get_args(DrawnBy):
            raise ConfigurationError(f"Faults: the draws are by {self.by!r}. Give 'call' or 'request'.")
        if not isinstance(self.rates, Mapping):
            raise ConfigurationError(f"Faults: the rates are {self.rates!r}. Give an object: fault to share.")
        for kind, rate in self.rates.items():
            _known(kind, "rates")
            if not isinstance(rate, (int, float)) or isinstance(rate, bool) or not 0 <= rate <= 1:
                raise ConfigurationError(f"Faults: the rate of {kind!r} is {rate!r}. Give a share from 0 to 1.")
        if sum(self.rates.values()) > 1 + 1e-9:
            raise ConfigurationError(f"Faults: the rates {dict(self.rates)!r} are more than 1 together.")
        if not isinstance(self.seed, int) or isinstance(self.seed, bool):
            raise ConfigurationError(f"Faults: the seed is {self.seed!r}. Give a whole number.")

    @classmethod
    def script(cls, entries: Sequence[Mapping[str, Any]]) -> Faults:
        """Plan faults by the numbers of calls.

        Args:
            entries: Each names a `fault`, and if it likes the `model` (a tier, a model or `*`), the `call` (its
                number, from 1; without it every call), and the fields of `Fault`.

        Raises:
            ConfigurationError: If an entry names an unknown fault or field, or a value is out of range.
        """
        return cls(_planned(entries))

    @classmethod
    def rate(cls, rates: Mapping[FaultKind, float], *, seed: int, by: DrawnBy = "call") -> Faults:
        """Plan faults by chance: each call draws its own, from the seed, the model, and its number or what it asks.

        Args:
            rates: The share of the calls that each fault hits, from `0` to `1`; at most `1` together.
            seed: What the draws start from.
            by: `call` for calls that are made one after the other, `request` for those that are made at once.

        Raises:
            ConfigurationError: If a fault is unknown or the rates are out of range.
        """
        return cls(rates=dict(rates), seed=seed, by=by)

    @classmethod
    def read(cls, path: Path | str) -> Faults:
        """Read a plan from a JSON file: `{"seed": 7, "rates": {...}, "by": "call", "script": [...]}`, each if wanted.

        Raises:
            ConfigurationError: If the file cannot be read, or something in it is wrong; names the line.
        """
        text = _text(Path(path))
        try:
            given = json.loads(text)
        except ValueError as error:
            raise ConfigurationError(f"Faults file {path} is not JSON: {error}.") from None
        if not isinstance(given, dict) or not given.keys() <= _FILE_FIELDS:
            raise ConfigurationError(f'Faults file {path}: expected {{"seed": 7, "rates": {{...}}, "script": [...]}}.')
        try:
            planned = _planned(given.get("script", []))
            return cls(planned, given.get("rates", {}), given.get("seed", 0), given.get("by", "call"))
        except _UnknownFaultError as error:
            where = f"Faults file {path}, line {_line(text, error.fault)}"
            raise ConfigurationError(f"{where}: {error}") from None
        except ConfigurationError as error:
            raise ConfigurationError(f"Faults file {path}: {error}") from None

    def decide(self, model: str, call: int, overall: int, request: str = "") -> Fault | None:
        """Return the fault of a call, or `None`.

        Args:
            model: The model's name without its date, such as `gpt-5.4-mini`.
            call: The number of this call among those to the model, from 1.
            overall: Its number among all calls, from 1.
            request: What it asks, and how often that was asked, in any form; for draws by `request`.
        """
        for planned in self.planned:
            if planned.hits(model, call, overall):
                return planned.fault
        return self._drawn(model, call if self.by == "call" else request) if self.rates else None

    def _drawn(self, model: str, by: int | str) -> Fault | None:
        digest = hashlib.blake2b(f"{self.seed}:{model}:{by}".encode(), digest_size=8).digest()
        left = int.from_bytes(digest, "big") / 2**64
        for kind in sorted(self.rates):
            if left < self.rates[kind]:
                return Fault(kind)
            left -= self.rates[kind]
        return None


class _UnknownFaultError(ConfigurationError):
    """A fault outside the vocabulary."""

    fault: object = None
    """The name that was used."""


def _known(kind: object, where: str) -> FaultKind:
    for known in FAULTS:
        if known == kind:
            return known
    error = _UnknownFaultError(f"Unknown fault {kind!r} in {where}. Faults: {', '.join(FAULTS)}.")
    error.fault = kind
    raise error


def _planned(entries: object) -> tuple[Planned, ...]:
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise ConfigurationError(f"Faults: the script is {entries!r}. Give a list of entries.")
    return tuple(_entry(entry, f"script[{at}]") for at, entry in enumerate(entries))


def _entry(entry: object, where: str) -> Planned:
    if not isinstance(entry, Mapping) or "fault" not in entry:
        _wrong(where, entry, 'Write {"call": 3, "model": "mini", "fault": "rate_limit"}.')
    known = {"fault", "model", "call"} | {each.name for each in fields(Fault)} - {"kind"}
    if unknown := sorted(map(str, entry.keys() - known)):
        _wrong(where, unknown[0], f"Fields: {', '.join(sorted(known))}.")
    call, model = entry.get("call"), entry.get("model", "*")
    if call is not None and (not isinstance(call, int) or isinstance(call, bool) or call < 1):
        _wrong(f"{where}, call", call, "Give the number of a call, from 1, or leave it out for every call.")
    if not isinstance(model, str):
        _wrong(f"{where}, model", model, "Give a tier, a model or '*'.")
    options = {name: entry[name] for name in ("retry_after_s", "seconds") if name in entry}
    for name, value in options.items():
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < float("inf"):
            _wrong(f"{where}, {name}", value, "Give seconds, at least 0.")
    return Planned(Fault(_known(entry["fault"], where), **options), model, call)


def _wrong(where: str, value: object, mend: str) -> NoReturn:
    raise ConfigurationError(f"Faults: {where} is {value!r}. {mend}")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigurationError(f"Faults file {path} is not UTF-8 text.") from None
    except OSError as error:
        raise ConfigurationError(f"Faults file {path} cannot be read: {error.strerror}.") from None


def _line(text: str, fault: object) -> int:
    """Return the line on which an unknown fault stands: as the value of `fault`, or as the name of a rate."""
    name = re.escape(json.dumps(fault, ensure_ascii=False))
    found = re.search(rf'"fault"\s*:\s*{name}|{name}\s*:\s*[\d.]', text)
    return text.count("\n", 0, found.end()) + 1 if found else 1
