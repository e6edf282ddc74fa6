"""The cassettes themselves: all used, free of secrets, and loud when something was not recorded."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import vcr
from fakes import LABEL, REFUND, ask
from langchain.agents.middleware import ModelFallbackMiddleware, ModelRetryMiddleware
from langchain.chat_models import init_chat_model
from langchain_core.tools import tool

from langchain_tiered import Policy, Tier, create_tiered_agent
from langchain_tiered.cascade.failures import is_missing_recording
from langchain_tiered.models import default_tiers
from langchain_tiered.testing import MissingRecordingError, NetworkBlockedError, block_network, use_cassette, vcr_config

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(os.environ.get("VCR_RECORD_MODE", "none") != "none", reason="Replays only.")

CASSETTES = Path(__file__).parents[2] / "cassettes"
NANO = CASSETTES / "test_tiered_agent" / "a_request_is_answered_and_priced_by_its_tier-nano.yaml"
LOOP = CASSETTES / "test_tiered_agent" / "a_tool_loop_runs_on_one_tier.yaml"
VAGUE = "The shop has three suppliers who are all late in winter."
OTHER = LABEL.replace("crashes", "hangs")
FILES = sorted(CASSETTES.rglob("*.yaml"))
SECRETS = re.compile(
    r"(?i)\bsk-(?!scrubbed)|\borg-(?!scrubbed)|\bproj_(?!scrubbed)"
    r"|bearer |authorization|cookie|x-api-key|openai-(?:org|pro)"
)


@tool
def refund(order_id: int) -> str:
    """Refund an order by its number."""
    return f"Refunded order {order_id}."


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "replayed")


def tiers() -> list[Tier]:
    """The default tiers with fallbacks, whose clients do not try again by themselves."""
    models = [init_chat_model(str(tier.model), max_retries=0) for tier in default_tiers()]
    return [
        Tier(tier.name, model, criteria=tier.criteria, fallbacks=[each for each in models if each is not model])
        for tier, model in zip(default_tiers(), models, strict=True)
    ]


def plain_answer() -> tuple[Any, str]:
    return create_tiered_agent(tiers()), OTHER


def tool_loop() -> tuple[Any, str]:
    return create_tiered_agent(tiers(), tools=[refund]), REFUND.replace("1042", "1043")


def classifier() -> tuple[Any, str]:
    return create_tiered_agent(tiers()), VAGUE


def other_peoples_middleware() -> tuple[Any, str]:
    spare = init_chat_model("openai:gpt-5.4", max_retries=0)
    middleware: list[Any] = [ModelRetryMiddleware(max_retries=1, initial_delay=0.0), ModelFallbackMiddleware(spare)]
    return create_tiered_agent(tiers(), policy=Policy(pin="nano"), middleware=middleware), OTHER


OURS = pytest.mark.parametrize("place", [plain_answer, tool_loop, classifier])
EVERYWHERE = pytest.mark.parametrize("place", [plain_answer, tool_loop, classifier, other_peoples_middleware])


@EVERYWHERE
def test_a_miss_fails_the_test_with_the_diff(run: Any, place: Callable[[], tuple[Any, str]]) -> None:
    agent, text = place()
    path = LOOP if place is tool_loop else NANO
    with pytest.raises(MissingRecordingError, match="No recording answers POST") as raised, use_cassette(path):
        run(agent, ask(text))
    assert is_missing_recording(raised.value)
    assert "--- recorded\n+++ asked" in str(raised.value)
    assert text.splitlines()[-1][:20] in str(raised.value)


@OURS
def test_a_miss_passes_our_fallbacks_at_once(run: Any, place: Callable[[], tuple[Any, str]]) -> None:
    agent, text = place()
    path = LOOP if place is tool_loop else NANO
    with pytest.raises(MissingRecordingError), use_cassette(path) as cassette:
        run(agent, ask(text))
    assert len(cassette.misses) == 1, "Another model was asked."


@OURS
def test_a_miss_of_plain_vcrpy_passes_our_fallbacks(run: Any, place: Callable[[], tuple[Any, str]]) -> None:
    agent, text = place()
    path = LOOP if place is tool_loop else NANO
    recorder = vcr.VCR(**vcr_config("none"))
    with recorder.use_cassette(str(path)) as cassette, pytest.raises(Exception, match="record") as raised:
        run(agent, ask(text))
    assert is_missing_recording(raised.value)
    assert cassette.play_count == 0


def test_a_swallowed_miss_is_raised_at_the_end() -> None:
    agent = create_tiered_agent(tiers())

    def careless() -> None:
        with use_cassette(NANO):
            with suppress(Exception):
                agent.invoke(ask(OTHER))
            agent.invoke(ask(LABEL))

    with pytest.raises(MissingRecordingError, match="No recording answers POST"):
        careless()


def test_an_exchange_that_is_asked_twice_was_recorded_once(run: Any) -> None:
    agent, told = create_tiered_agent(tiers()), "Recording 1 is the same request and was played already"

    def twice() -> None:
        with use_cassette(NANO):
            run(agent, ask(LABEL))
            run(agent, ask(LABEL))

    with pytest.raises(MissingRecordingError, match=told):
        twice()


def test_the_cheap_tier_never_plays_the_dear_ones_recording() -> None:
    with pytest.raises(MissingRecordingError, match=r'"model": "gpt-5\.4-nano"'), use_cassette(NANO):
        create_tiered_agent(tiers(), policy=Policy(pin="flagship")).invoke(ask(LABEL))


def test_every_cassette_is_used_by_a_test(wanted_cassettes: dict[str, set[str]], pytestconfig: pytest.Config) -> None:
    if any("::" in given for given in pytestconfig.args):
        pytest.skip("Only part of the tests was collected.")
    for folder in CASSETTES.iterdir():
        assert (Path(__file__).parent / f"{folder.name}.py").exists(), f"No test module plays {folder}."
        unused = {path.stem for path in folder.iterdir()} - wanted_cassettes.get(folder.name, set())
        assert folder.name not in wanted_cassettes or not unused, f"No test plays {sorted(unused)} of {folder.name}."


def test_no_cassette_holds_a_secret() -> None:
    assert FILES
    for path in FILES:
        assert not (found := SECRETS.search(path.read_text(encoding="utf-8"))), f"{path.name} has {found}."


def test_every_cassette_says_where_it_comes_from_and_speaks_to_the_real_api() -> None:
    for path in FILES:
        told = path.read_text(encoding="utf-8")
        head = told.partition("\n")[0]
        assert re.match(
            r"# A cassette of langchain-tiered, format 1\. Recorded over the (offline server|real API)", head
        )
        assert set(re.findall(r"^ {4}uri: (https?://[^/]+/)", told, re.MULTILINE)) == {"https://api.openai.com/"}
        assert "127.0.0.1" not in told
        assert "!!binary" not in told, f"{path.name} cannot be read by people."


def test_a_call_outside_of_a_cassette_is_blocked(run: Any) -> None:
    with pytest.raises(NetworkBlockedError, match=r"api\.openai\.com"), block_network():
        run(create_tiered_agent(tiers()), ask(LABEL))


def test_a_client_that_the_cassette_does_not_see_is_blocked(run: Any) -> None:
    """Older versions of vcrpy do not know `httpx2`, which openai 3 speaks, and let its calls out without a word."""
    names: dict[Any, str] = {
        httpx2.HTTPTransport: "handle_request",
        httpx2.AsyncHTTPTransport: "handle_async_request",
    }
    unpatched = {kind: getattr(kind, name) for kind, name in names.items()}
    agent = create_tiered_agent(tiers())

    def beside_the_cassette() -> None:
        with block_network(), use_cassette(NANO), pytest.MonkeyPatch.context() as patch:
            for kind, name in names.items():
                patch.setattr(kind, name, unpatched[kind])
            run(agent, ask(LABEL))

    with pytest.raises(NetworkBlockedError, match=r"api\.openai\.com"):
        beside_the_cassette()
