"""When a fault falls is decided by the plan alone, can be repeated from the seed, and a wrong plan is told."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_tiered.errors import ConfigurationError
from langchain_tiered.offline.faults import FAULTS, Fault, Faults, fingerprint

if TYPE_CHECKING:
    from pathlib import Path

NANO, MINI, FLAGSHIP = "gpt-5.4-nano", "gpt-5.4-mini", "gpt-5.4"
RATES: Any = {"rate_limit": 0.05, "drop_before": 0.1, "length": 0.02}


@pytest.mark.parametrize("model", ["mini", MINI])
def test_script_hits_the_third_call_to_mini_and_no_other(model: str) -> None:
    plan = Faults.script([{"call": 3, "model": model, "fault": "rate_limit", "retry_after_s": 2}])
    assert plan.decide(MINI, 3, 7) == Fault("rate_limit", retry_after_s=2)
    assert [plan.decide(*call) for call in [(MINI, 2, 3), (MINI, 4, 3), (NANO, 3, 3), (FLAGSHIP, 3, 3)]] == [None] * 4


def test_script_without_a_model_counts_all_calls_and_without_a_call_hits_every_one() -> None:
    plan = Faults.script([{"call": 3, "fault": "slow"}, {"model": "flagship", "fault": "unavailable"}])
    assert plan.decide(NANO, 1, 3) == Fault("slow")
    assert plan.decide(NANO, 3, 4) is None
    assert {plan.decide(FLAGSHIP, call, 9) for call in range(1, 50)} == {Fault("unavailable")}


@given(seed=st.integers(), call=st.integers(1, 10_000), overall=st.integers(1, 10_000))
def test_draw_depends_on_seed_model_and_call_alone(seed: int, call: int, overall: int) -> None:
    drawn = Faults.rate(RATES, seed=seed).decide(MINI, call, overall)
    again = Faults.rate(dict(reversed(RATES.items())), seed=seed).decide(MINI, call, overall + 5)
    assert drawn == again


def test_draws_keep_their_rates_and_change_with_the_seed_and_the_model() -> None:
    def drawn(seed: int, model: str) -> list[Fault | None]:
        return [Faults.rate(RATES, seed=seed).decide(model, call, call) for call in range(1, 10_001)]

    shares = Counter(fault.kind for fault in drawn(7, MINI) if fault)
    assert {kind: pytest.approx(count / 10_000, abs=0.01) for kind, count in shares.items()} == RATES
    assert drawn(7, MINI) == drawn(7, MINI)
    assert drawn(7, MINI) != drawn(8, MINI)
    assert drawn(7, MINI) != drawn(7, NANO)


def test_draws_are_the_same_in_every_process_and_version() -> None:
    plan = Faults.rate({"rate_limit": 0.5}, seed=7)
    assert [plan.decide(MINI, call, call) is not None for call in range(1, 13)] == [0, 1, 0, 0, 1, 1, 0, 1, 1, 0, 0, 1]


def test_draws_by_request_hang_on_what_is_asked_and_not_on_the_order_of_the_calls() -> None:
    plan = Faults.rate({"rate_limit": 0.5}, seed=7, by="request")
    asked = [f"{fingerprint(b'%d' % number)}:1" for number in range(1000)]
    drawn = [plan.decide(MINI, call, call, request) for call, request in enumerate(asked, 1)]
    late = [plan.decide(MINI, 1001 - call, call + 7, request) for call, request in enumerate(asked, 1)]
    assert drawn == late
    assert sum(fault is not None for fault in drawn) == pytest.approx(500, abs=60)
    assert drawn != [plan.decide(MINI, call, call, f"{request[:-1]}2") for call, request in enumerate(asked, 1)]
    assert drawn != [plan.decide(NANO, call, call, request) for call, request in enumerate(asked, 1)]


def test_requests_that_differ_in_the_ids_of_tool_calls_alone_are_one() -> None:
    said = b'{"messages": [{"tool_calls": [{"id": "%b"}]}, {"tool_call_id": "%b", "content": "%b"}]}'
    assert fingerprint(said % (b"call_1", b"call_1", b"x")) == fingerprint(said % (b"call_2", b"call_2", b"x"))
    assert fingerprint(said % (b"call_1", b"call_1", b"x")) != fingerprint(said % (b"call_1", b"call_1", b"y"))


def test_rates_of_nothing_and_of_everything() -> None:
    assert Faults.rate({"slow": 0.0}, seed=1).decide(MINI, 1, 1) is None
    assert Faults.rate({"slow": 1.0}, seed=1).decide(MINI, 1, 1) == Fault("slow")
    assert Faults().decide(MINI, 1, 1) is None


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"fault": "meteor"}, "Unknown fault 'meteor'.*rate_limit_bare"),
        ({"call": 1}, "Write"),
        ("slow", "Write"),
        ({"fault": "slow", "calls": 1}, "'calls'.*call, fault, model"),
        ({"fault": "slow", "call": 0}, "call is 0"),
        ({"fault": "slow", "call": True}, "call is True"),
        ({"fault": "slow", "model": 3}, "model is 3"),
        ({"fault": "slow", "seconds": -1}, "seconds is -1"),
        ({"fault": "rate_limit", "retry_after_s": "soon"}, "retry_after_s is 'soon'"),
    ],
)
def test_wrong_script_names_the_entry_and_the_mend(entry: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told) as caught:
        Faults.script([{"fault": "slow"}, entry])
    assert "script[1]" in str(caught.value)


@pytest.mark.parametrize(
    ("rates", "told"),
    [
        ({"meteor": 0.1}, "Unknown fault 'meteor'"),
        ({"slow": 1.1}, "1.1"),
        ({"slow": True}, "True"),
        ({"slow": float("nan")}, "nan"),
        ({"slow": 0.6, "length": 0.6}, "more than 1 together"),
    ],
)
def test_wrong_rates_are_told(rates: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        Faults.rate(rates, seed=1)


def test_file_gives_the_same_plan(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    path.write_text(
        '{"seed": 7, "rates": {"rate_limit": 0.5}, "script": [{"call": 1, "model": "nano", "fault": "slow"}]}'
    )
    plan = Faults.read(path)
    assert plan.decide(NANO, 1, 1) == Fault("slow")
    drawn = Faults.rate({"rate_limit": 0.5}, seed=7)
    assert [plan.decide(MINI, n, n) for n in range(1, 99)] == [drawn.decide(MINI, n, n) for n in range(1, 99)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            '{\n "rates": {\n  "slow": 0.1,\n  "meteor": 0.1\n }\n}',
            "line 4: Unknown fault 'meteor'.*Faults: rate_limit",
        ),
        ('{"script": [\n {"model": "meteor", "fault": "slow"},\n {"fault":\n "meteor"}]}', "line 4: Unknown fault"),
        ('{"script": [\n {"fault": 7}]}', "line 2: Unknown fault 7"),
        ('{\n "script": [', "not JSON: .*line 2"),
        ("[]", "expected"),
        ('{"script": [], "sead": 1}', "expected"),
        ('{"rates": [1]}', "rates are"),
        ('{"script": "slow"}', "script is 'slow'"),
        ('{"seed": "x"}', "seed is 'x'"),
        ('{"by": "chance"}', "by 'chance'.*'request'"),
    ],
)
def test_wrong_file_is_named_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "faults.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=told) as caught:
        Faults.read(path)
    assert str(path) in str(caught.value)


def test_file_that_is_not_there_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        Faults.read(tmp_path / "none.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        Faults.read(tmp_path / "binary.json")


def test_every_fault_can_be_planned() -> None:
    plan = Faults.script([{"call": at, "fault": kind} for at, kind in enumerate(FAULTS, 1)])
    assert [plan.decide(MINI, 1, at) for at in range(1, len(FAULTS) + 1)] == [Fault(kind) for kind in FAULTS]
