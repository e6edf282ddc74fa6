"""A model that is down is left alone and tried again by one caller, whatever the order of events and threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, get_args

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from langchain_tiered.cascade.circuit import Circuit
from langchain_tiered.errors import ConfigurationError
from langchain_tiered.types import FailureKind

NANO, SPARE = ("nano", 0), ("nano", 1)
KINDS: tuple[FailureKind, ...] = get_args(FailureKind)
COUNTED = ("outage", "timeout")


class Clock:
    """A clock that goes when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def circuit(clock: Clock) -> Circuit:
    return Circuit(clock=clock)


def broken(circuit: Circuit, times: int = 3, kind: FailureKind = "outage", model: Any = NANO) -> None:
    for _ in range(times):
        circuit.failed(model, kind)


def test_it_opens_at_the_third_failure_in_a_row_and_for_that_model_alone(circuit: Circuit) -> None:
    broken(circuit, 2)
    assert not circuit.is_open(NANO)
    circuit.failed(NANO, "timeout")
    assert circuit.is_open(NANO)
    assert not circuit.is_open(SPARE)
    assert circuit.opened() == {NANO}


def test_an_answer_breaks_the_row_and_closes_it(circuit: Circuit) -> None:
    broken(circuit, 2)
    circuit.answered(NANO)
    broken(circuit, 2)
    assert not circuit.is_open(NANO)
    broken(circuit, 1)
    circuit.answered(NANO)
    assert not circuit.is_open(NANO)
    assert circuit.opened() == frozenset()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in COUNTED])
def test_another_failure_neither_opens_it_nor_breaks_the_row(circuit: Circuit, kind: FailureKind) -> None:
    broken(circuit, 9, kind)
    assert not circuit.is_open(NANO)
    broken(circuit, 2)
    broken(circuit, 1, kind)
    broken(circuit, 1)
    assert circuit.is_open(NANO)


def test_one_caller_tries_it_when_the_time_is_over(circuit: Circuit, clock: Clock) -> None:
    broken(circuit)
    clock.now += 29.9
    assert circuit.is_open(NANO)
    clock.now += 0.1
    assert circuit.opened() == frozenset()  # whoever asks next may try it, and asking for the list takes nothing away
    assert [circuit.is_open(NANO) for _ in range(3)] == [False, True, True]
    assert circuit.opened() == {NANO}


def test_a_failed_try_opens_it_again_for_the_whole_time(circuit: Circuit, clock: Clock) -> None:
    broken(circuit)
    clock.now += 30
    assert not circuit.is_open(NANO)
    clock.now += 20
    circuit.failed(NANO, "timeout")
    clock.now += 29
    assert circuit.is_open(NANO)
    clock.now += 1
    assert not circuit.is_open(NANO)


def test_a_try_that_is_answered_closes_it_for_all(circuit: Circuit, clock: Clock) -> None:
    broken(circuit)
    clock.now += 30
    assert not circuit.is_open(NANO)
    circuit.answered(NANO)
    assert [circuit.is_open(NANO) for _ in range(3)] == [False] * 3
    broken(circuit, 2)
    assert not circuit.is_open(NANO)


def test_a_try_that_nobody_settles_makes_room_for_another(circuit: Circuit, clock: Clock) -> None:
    broken(circuit)
    clock.now += 30
    assert not circuit.is_open(NANO)
    circuit.failed(NANO, "rate_limit")
    clock.now += 29.9
    assert circuit.is_open(NANO)
    clock.now += 0.1
    assert [circuit.is_open(NANO) for _ in range(2)] == [False, True]


def test_what_is_remembered_is_bounded_by_the_models_and_forgotten_with_an_answer(circuit: Circuit) -> None:
    for _ in range(1000):
        for model in (NANO, SPARE):
            circuit.failed(model, "outage")
            circuit.is_open(model)
            circuit.is_open(("asked only", 0))
    assert set(circuit._troubles) == {NANO, SPARE}
    circuit.answered(NANO)
    circuit.answered(SPARE)
    assert not circuit._troubles


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"failures": 0}, "failures=0"),
        ({"failures": 1.5}, "failures=1.5"),
        ({"failures": True}, "failures=True"),
        ({"failures": "3"}, "failures='3'"),
        ({"open_s": 0}, "open_s=0"),
        ({"open_s": -1.0}, "open_s=-1.0"),
        ({"open_s": float("inf")}, "open_s=inf"),
        ({"open_s": float("nan")}, "open_s=nan"),
        ({"open_s": True}, "open_s=True"),
        ({"open_s": "30"}, "open_s='30'"),
    ],
    ids=str,
)
def test_wrong_limits_are_told_at_once(given: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        Circuit(**given)


class AgainstAPlainModel(RuleBasedStateMachine):
    """Holds the circuit against its own history, read anew at each question."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.circuit = Circuit(failures=2, open_s=10.0, clock=self.clock)
        self.history: list[tuple[float, str, str]] = []

    models = st.sampled_from(["nano", "mini"])

    @rule(model=models, kind=st.sampled_from([*COUNTED, "rate_limit", "overflow", "open_circuit"]))
    def fail(self, model: str, kind: Any) -> None:
        self.circuit.failed(model, kind)
        if kind in COUNTED:
            self.history.append((self.clock.now, model, "failed"))

    @rule(model=models)
    def answer(self, model: str) -> None:
        self.circuit.answered(model)
        self.history.append((self.clock.now, model, "answered"))

    @rule(model=models)
    def ask(self, model: str) -> None:
        state = self.state(model)
        assert self.circuit.is_open(model) is (state == "open")
        if state == "half open":
            self.history.append((self.clock.now, model, "tried"))
            assert self.circuit.is_open(model)

    @rule(seconds=st.sampled_from([1.0, 5.0, 9.0, 10.0, 25.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def open_ones_are_listed(self) -> None:
        assert self.circuit.opened() == {model for model in ("nano", "mini") if self.state(model) == "open"}

    def state(self, model: str) -> str:
        """Tell the state from what happened since the last answer."""
        since: list[tuple[float, str]] = []
        for at, who, what in self.history:
            if who == model:
                since = [] if what == "answered" else [*since, (at, what)]
        if sum(what == "failed" for _, what in since) < 2:
            return "closed"
        return "open" if self.clock.now - since[-1][0] < 10.0 else "half open"


TestAgainstAPlainModel = AgainstAPlainModel.TestCase


@pytest.mark.parametrize("attempt", range(20))
def test_exactly_one_of_many_threads_tries_it(attempt: int, circuit: Circuit, clock: Clock) -> None:
    broken(circuit)
    clock.now += 30
    ready = Barrier(16)

    def ask(_: int) -> bool:
        ready.wait()
        return circuit.is_open(NANO)

    with ThreadPoolExecutor(16) as threads:
        assert sorted(threads.map(ask, range(16))) == [False, *[True] * 15]


def test_no_failure_of_a_thread_is_lost(clock: Clock) -> None:
    circuit, ready = Circuit(failures=8 * 500, clock=clock), Barrier(8)

    def fail(last: int) -> None:
        ready.wait()
        broken(circuit, last)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(fail, [500] * 7 + [499]))
    assert not circuit.is_open(NANO)
    broken(circuit, 1)
    assert circuit.is_open(NANO)


def test_it_goes_by_the_real_clock_unless_told_otherwise() -> None:
    circuit = Circuit(failures=1, open_s=3600)
    circuit.failed(NANO, "outage")
    assert circuit.is_open(NANO)
