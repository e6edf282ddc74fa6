"""The error tree is the one drawn in the docstring, and every message names the value, what is known and the mend."""

from __future__ import annotations

import builtins
import copy
import inspect
import pickle
import re
from typing import TYPE_CHECKING, Any

import pytest

from langchain_tiered import Policy, Tier, errors
from langchain_tiered.errors import (
    ConfigurationError,
    DuplicateNameError,
    InvalidInputError,
    InvalidPolicyError,
    InvalidTierError,
    MissingExtraError,
    ModelNotBuiltError,
    NoAnswerAcceptedError,
    NoTierFitsError,
    TieredError,
    UnknownTaskError,
    UnknownTierError,
)
from langchain_tiered.routing.facts import facts_of
from langchain_tiered.types import Attempt, Facts, Failure, TierFacts, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

DRAWN = re.compile(r"^(?P<branches>[│├└─ ]*)(?P<name>\w+Error)(?: \((?P<builtin>\w+)\))?(?: {2,}\S.*)?$")


def classes() -> dict[str, type[Exception]]:
    return {
        name: found
        for name, found in vars(errors).items()
        if inspect.isclass(found) and issubclass(found, Exception) and found.__module__ == errors.__name__
    }


def drawn_tree() -> dict[str, tuple[str | None, str | None]]:
    """Read the tree off the docstring: each class with its parent there and the builtin in brackets."""
    tree: dict[str, tuple[str | None, str | None]] = {}
    path: list[str] = []
    for line in str(errors.__doc__).partition("```text\n")[2].partition("```")[0].splitlines():
        found = DRAWN.match(line)
        assert found, line
        depth = len(found["branches"]) // 4
        path[depth:] = [found["name"]]
        tree[found["name"]] = (path[depth - 1] if depth else None, found["builtin"])
    return tree


def real_tree() -> dict[str, tuple[str | None, str | None]]:
    """Read the tree off the classes: each with its parent of ours and the builtin that stands beside it."""
    ours = classes()
    return {
        name: (
            next((base.__name__ for base in found.__bases__ if base in ours.values()), None),
            next((base.__name__ for base in found.__bases__ if base.__module__ == "builtins"), None)
            if found is not TieredError
            else None,
        )
        for name, found in ours.items()
    }


def test_the_tree_in_the_docstring_is_the_real_one() -> None:
    assert len(drawn_tree()) > 10
    assert drawn_tree() == real_tree()


def test_every_error_is_exported_documented_and_caught_by_the_root_and_a_builtin() -> None:
    assert sorted(errors.__all__) == errors.__all__ == sorted(classes())
    usual = {vars(builtins)[name] for name in ("ValueError", "RuntimeError", "ImportError")}
    for name, found in classes().items():
        assert found.__doc__, name
        assert issubclass(found, TieredError), name
        assert found is TieredError or any(issubclass(found, base) for base in usual), name


def attempt(
    tier: str, verdict: Verdict | None = None, failure: Failure | None = None, hand_up: str | None = None
) -> Attempt:
    return Attempt(
        tier=tier,
        fallback=0,
        messages=[],
        rewrites=False,
        verdict=verdict,
        failure=failure,
        hand_up=hand_up,
        call_id=None,
        shown=False,
    )


REFUSED = Verdict(accepted=False, check="not_refused", reason="The model refused: No.", score=None)
DOWN = Failure(kind="outage", message="APIError: Down.", retry_after_s=None)
TRIED = [attempt("nano", verdict=REFUSED), attempt("mini", failure=DOWN), attempt("big", hand_up="Too hard.")]
LONG, BLIND = Facts(tokens=2_000, images=1), (TierFacts("nano", 1_000), TierFacts("mini", images=False))

MADE: dict[str, tuple[TieredError, list[str]]] = {
    # the error, and in its message: the value, what is known, the mend
    "unknown tier": (
        UnknownTierError("nono", ["nano", "mini"], "floors"),
        ["Unknown tier 'nono' in floors", "Declared tiers, cheapest first: nano, mini."],
    ),
    "unknown tier, nowhere in particular": (UnknownTierError(3, ["nano"]), ["Unknown tier 3. Declared"]),
    "unknown task": (
        UnknownTaskError("cod", ["code", "write"], "floors"),
        ["Unknown task 'cod' in floors", "Tasks: code, write."],
    ),
    "duplicate name": (
        DuplicateNameError("tool", "refund", ["refund", "find", "refund"]),
        ["Two tools are called 'refund'", "(of refund, find, refund)", "Rename one"],
    ),
    "no tier fits": (
        NoTierFitsError(LONG, (*BLIND, TierFacts("open")), " at or above 'nano'"),
        [
            "No tier can take this request at or above 'nano'.",
            "nano: about 2,000 input tokens, it takes 1,000",
            "mini: images (1), it takes none",
            "open: fits, but is ruled out",
            "Shorten the request, or add a tier",
        ],
    ),
    "model not built": (
        ModelNotBuiltError("Tier 'nano'", "openai:gpt", "No key.", "Set OPENAI_API_KEY."),
        ["Tier 'nano' needs the model 'openai:gpt'", "No key.", "Set OPENAI_API_KEY."],
    ),
    "no answer accepted": (
        NoAnswerAcceptedError(TRIED, "No tier above can take the request."),
        [
            "No answer was accepted after 3 attempts",
            "nano: The model refused: No.; mini: APIError: Down.; big: Too hard.",
            "No tier above can take the request.",
        ],
    ),
    "one attempt": (NoAnswerAcceptedError([attempt("nano")], "Why."), ["after 1 attempt (nano: no verdict). Why."]),
    "missing extra": (MissingExtraError("cli", "The command line"), ["The command line", "'langchain-tiered[cli]'"]),
}


@pytest.mark.parametrize(("error", "words"), MADE.values(), ids=MADE)
def test_each_message_names_the_value_what_is_known_and_the_mend(error: TieredError, words: list[str]) -> None:
    assert [word for word in words if word not in str(error)] == []
    assert "  " not in str(error)


def policy(**settings: Any) -> Callable[[], Any]:
    return lambda: Policy(**settings)


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        (lambda: Tier("", "openai:gpt", criteria="x"), InvalidTierError, r"'' is empty\. Give each tier a short name"),
        (policy(min_confidence=2), InvalidPolicyError, r"min_confidence=2: expected "),
        (policy(strategy="clasify"), InvalidPolicyError, r"strategy='clasify': expected .*classify.*cascade"),
        (policy(floors={"cod": "mini"}), UnknownTaskError, r"Unknown task 'cod' in .*Tasks: classify, "),
        (lambda: facts_of([]), InvalidInputError, r"The request is empty: \[\]\. Pass a text, or messages"),
    ],
    ids=["tier", "policy number", "policy choice", "policy task", "input"],
)
def test_errors_with_free_words_name_the_value_and_the_mend_where_they_are_raised(
    wrong: Callable[[], Any], error: type[TieredError], words: str
) -> None:
    with pytest.raises(error, match=words):
        wrong()


def test_errors_carry_their_data() -> None:
    assert (UnknownTierError("x", ["a"]).name, UnknownTierError("x", ["a"]).known) == ("x", ("a",))
    assert (UnknownTaskError("x", ["a"], "y").task, UnknownTaskError("x", ["a"], "y").known) == ("x", ("a",))
    assert DuplicateNameError("tier", "a", ["a", "a"]).names == ("a", "a")
    assert NoTierFitsError(LONG, BLIND).misfits.keys() == {"nano", "mini"}
    assert NoTierFitsError(LONG, BLIND).facts is LONG
    assert ModelNotBuiltError("Tier 'nano'", "openai:gpt", "", "").model == "openai:gpt"
    assert NoAnswerAcceptedError(TRIED, "").attempts == tuple(TRIED)
    assert MissingExtraError("cli", "It").extra == "cli"


def test_what_was_paid_and_tried_is_on_every_error_and_on_no_class() -> None:
    error = ConfigurationError("no")
    assert (list(error.ledger), list(error.attempts)) == ([], [])
    error.ledger, error.attempts = [], TRIED
    assert list(TieredError.attempts) == list(ConfigurationError("no").attempts) == []


def pickled(error: TieredError) -> Any:
    return pickle.loads(pickle.dumps(error))  # noqa: S301  (bytes made here)


@pytest.mark.parametrize("made", ["unknown tier", "duplicate name", "model not built", "no answer accepted"])
@pytest.mark.parametrize("through", [copy.copy, pickled], ids=["copy", "pickle"])
def test_an_error_is_the_same_after_a_journey(made: str, through: Callable[[TieredError], TieredError]) -> None:
    error = MADE[made][0]
    arrived = through(error)
    assert (type(arrived), str(arrived), vars(arrived)) == (type(error), str(error), vars(error))
