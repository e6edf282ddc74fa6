"""What can go wrong, as one tree. Every error names the value, what was expected, and the mend.

```text
TieredError
├── ConfigurationError (ValueError)        known when an agent, router or policy is built
│   ├── InvalidTierError                   an empty list, an empty or reserved name, a number out of range
│   ├── UnknownTierError                   a name that no declared tier has
│   ├── UnknownTaskError                   a task outside the vocabulary
│   ├── DuplicateNameError                 two tiers or two tools with one name
│   ├── InvalidPolicyError                 a policy setting out of range
│   └── InvalidBudgetError                 a budget without a limit or out of range, or over a model of unknown price
├── InvalidInputError (ValueError)         a request without words, without a human message, with an unknown role
│   └── InvalidDecisionError               an interrupt was answered with something that is no decision
├── InvalidPlanError (ValueError)          a planner's plan cannot be used, also when it was told why
├── NoTierFitsError (ValueError)           no tier can take the request; says which fact rules out which tier
├── ModelNotBuiltError (RuntimeError)      a tier's model cannot be made: a missing key, package or provider
├── NoAnswerAcceptedError (RuntimeError)   every attempt was rejected; has them all, and the ledger
├── BudgetExceededError (RuntimeError)     the next call does not fit into what a budget has left; has the figures
├── UnanswerableQuestionError (ValueError)  a decision model was asked something that it cannot decide
├── LangChainTooOldError (ImportError)     a part needs a later LangChain than the one installed
└── MissingExtraError (ImportError)        an optional part is not installed; has the install line
```

A provider's own error passes through with its own type. What a node raises out of an agent has what was paid until
then as `error.ledger`, and the attempts made as `error.attempts`. A recursion limit and a cancellation come from
outside the nodes: `collect_ledger` knows what was paid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_tiered.types import Attempt, Facts, LedgerEntry, TierFacts

_LONGEST_VALUE = 200

__all__ = [
    "BudgetExceededError",
    "ConfigurationError",
    "DuplicateNameError",
    "InvalidBudgetError",
    "InvalidDecisionError",
    "InvalidInputError",
    "InvalidPlanError",
    "InvalidPolicyError",
    "InvalidTierError",
    "LangChainTooOldError",
    "MissingExtraError",
    "ModelNotBuiltError",
    "NoAnswerAcceptedError",
    "NoTierFitsError",
    "TieredError",
    "UnanswerableQuestionError",
    "UnknownTaskError",
    "UnknownTierError",
]


class TieredError(Exception):
    """Root of all errors of this library."""

    ledger: Sequence[LedgerEntry] = ()
    """What had been paid in the run when the error was raised."""

    attempts: Sequence[Attempt] = ()
    """What had been tried in the turn when the error was raised."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), str(self), vars(self))


class ConfigurationError(TieredError, ValueError):
    """Something that can be known to be wrong before any request, or before it costs anything."""


class InvalidTierError(ConfigurationError):
    """A tier, or the list of tiers, cannot be used."""


class InvalidPolicyError(ConfigurationError):
    """A setting of the policy is out of range."""


class InvalidBudgetError(ConfigurationError):
    """A budget has no limit or a setting out of range, or it is in dollars over a model whose price is unknown."""


class UnknownTierError(ConfigurationError):
    """A name was used that no declared tier has."""

    def __init__(self, name: object, known: Sequence[str], where: str = "") -> None:
        self.name = name
        """The name that was used."""
        self.known = tuple(known)
        """The declared names, cheapest first."""
        at = f" in {where}" if where else ""
        super().__init__(f"Unknown tier {name!r}{at}. Declared tiers, cheapest first: {', '.join(known)}.")


class UnknownTaskError(ConfigurationError):
    """A task was used that the vocabulary does not have."""

    def __init__(self, task: object, known: Sequence[str], where: str) -> None:
        self.task = task
        """The task that was used."""
        self.known = tuple(known)
        """The vocabulary."""
        super().__init__(f"Unknown task {task!r} in {where}. Tasks: {', '.join(known)}.")


class DuplicateNameError(ConfigurationError):
    """Two things that are told apart by name share one."""

    def __init__(self, what: str, name: str, names: Sequence[str]) -> None:
        self.name = name
        """The shared name."""
        self.names = tuple(names)
        """All names, in order."""
        super().__init__(
            f"Two {what}s are called {name!r} (of {', '.join(names)}). Rename one: they are told apart by name."
        )


class InvalidInputError(TieredError, ValueError):
    """A request cannot be read; nothing has been paid for it."""


class InvalidDecisionError(InvalidInputError):
    """An interrupt was answered with something that is no decision; the thread can be resumed again with one."""

    def __init__(self, value: object, wrong: str, expected: str) -> None:
        self.value = value
        """What the run was resumed with."""
        self.expected = expected
        """What was expected."""
        told = repr(value)
        told = told if len(told) <= _LONGEST_VALUE else f"{told[: _LONGEST_VALUE - 3]}..."
        super().__init__(f"The run was resumed with {told}: {wrong} {expected} Resume it again; nothing has run.")


class InvalidPlanError(TieredError, ValueError):
    """What a planner wrote is no plan that could be carried out, also when it was told what was wrong."""

    def __init__(self, plan: object, problems: Sequence[str]) -> None:
        self.plan = plan
        """What the planner wrote, as plain values; `None` where it wrote no JSON."""
        self.problems = tuple(problems)
        """What is wrong with it."""
        super().__init__(
            f"The planner gave no plan that can be carried out, twice. {' '.join(problems)} Choose a more capable "
            "planner, allow more tasks by max_tasks=..., or ask for less at once."
        )


class NoTierFitsError(TieredError, ValueError):
    """No tier can take the request."""

    def __init__(self, facts: Facts, tiers: Sequence[TierFacts], note: str = "") -> None:
        self.facts = facts
        """What the request needs."""
        self.misfits = {tier.name: tier.misfits(facts) for tier in tiers}
        """The facts that rule out each tier, by its name."""
        why = "; ".join(
            f"{name}: {', '.join(found) or 'fits, but is ruled out'}" for name, found in self.misfits.items()
        )
        mend = "Shorten the request, or add a tier whose model can take it."
        super().__init__(f"No tier can take this request{note}. {why}. {mend}")


class ModelNotBuiltError(TieredError, RuntimeError):
    """A tier's model could not be made."""

    def __init__(self, tier: str, model: object, why: str, mend: str) -> None:
        self.tier = tier
        """The tier, or the part, that needs the model."""
        self.model = model
        """The model that was asked for."""
        super().__init__(f"{tier} needs the model {model!r}, which could not be built: {why} {mend}")


class NoAnswerAcceptedError(TieredError, RuntimeError):
    """Every attempt at the turn was rejected, so there is no answer to give."""

    def __init__(self, attempts: Sequence[Attempt], why: str) -> None:
        self.attempts = tuple(attempts)
        """What was tried, in order, each with its verdict or failure."""
        super().__init__(f"No answer was accepted after {_tried(attempts)}. {why}")


class BudgetExceededError(TieredError, RuntimeError):
    """The next call may cost more than what a budget has left, so it was not made."""

    def __init__(
        self,
        scope: Literal["run", "thread"],
        *,
        limit_usd: float,
        spent_usd: float,
        reserved_usd: float = 0.0,
        wanted_usd: float = 0.0,
        attempts: Sequence[Attempt] = (),
        ledger: Sequence[LedgerEntry] = (),
    ) -> None:
        self.scope = scope
        """Whose limit it is: the `run`'s or the `thread`'s."""
        self.limit_usd = limit_usd
        """The limit, in USD."""
        self.spent_usd = spent_usd
        """What the run, or the thread, has spent."""
        self.reserved_usd = reserved_usd
        """What calls under way may still cost."""
        self.wanted_usd = wanted_usd
        """What the call that was not made might have cost."""
        self.overshoot_usd = max(0.0, spent_usd - limit_usd)
        """How far more was spent than the limit allows, because calls cost more than was estimated; mostly `0`."""
        self.attempts = tuple(attempts)
        """What had been tried in the turn, in order."""
        self.ledger = tuple(ledger)
        """What had been paid in the run."""
        held = f", ${reserved_usd:.6g} held for calls under way" if reserved_usd else ""
        super().__init__(
            f"The {scope}'s budget of ${limit_usd:.6g} does not hold the next call, which may cost ${wanted_usd:.6g}: "
            f"${spent_usd:.6g} spent{held}. Raise Budget({scope}_limit_usd=...), set max_tokens on the model, or let "
            "cheaper tiers answer: exit_behavior='downgrade'."
        )


class MissingExtraError(TieredError, ImportError):
    """An optional part of the library is not installed."""

    def __init__(self, extra: str, what: str) -> None:
        self.extra = extra
        """The name of the extra."""
        super().__init__(f"{what} needs an optional part: pip install 'langchain-tiered[{extra}]'")


class LangChainTooOldError(TieredError, ImportError):
    """A part of the library rests on something that the installed LangChain does not have yet."""

    def __init__(self, what: str, needed: str) -> None:
        self.needed = needed
        """The first version that will do."""
        super().__init__(f"{what} needs LangChain {needed} or later: pip install -U 'langchain>={needed}'")


class UnanswerableQuestionError(TieredError, ValueError):
    """A decision model was asked something that it cannot decide; nothing has been paid for it."""


def _restored(kind: type[TieredError], message: str, data: dict[str, Any]) -> TieredError:
    """Make an error again as it was, in another process: its message is not what it was made from."""
    error = kind.__new__(kind, message)
    error.args = (message,)
    vars(error).update(data)
    return error


def _tried(attempts: Sequence[Attempt]) -> str:
    """Tell the attempts in a line: `2 attempts (nano: cut off; mini: refused)`."""
    told = []
    for attempt in attempts:
        failure, verdict = attempt["failure"], attempt["verdict"]
        why = failure["message"] if failure else verdict["reason"] if verdict else attempt["hand_up"] or "no verdict"
        told.append(f"{attempt['tier']}: {why}")
    return f"{len(told)} attempt{'s' * (len(told) != 1)} ({'; '.join(told)})"
