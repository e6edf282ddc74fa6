"""No key leaves the model that has it: not by logs, events, traces, states, ledgers, errors, or cassettes."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fakes import LABEL, REFUND, ask, fail, say, tiers
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from vcr.request import Request

from langchain_tiered import Ledger, Policy, Tier, TierRouter, collect_ledger, create_tiered_agent
from langchain_tiered.cascade.failures import failure_of
from langchain_tiered.errors import ConfigurationError, NoAnswerAcceptedError, TieredError
from langchain_tiered.models import Models
from langchain_tiered.offline.server import OfflineServer
from langchain_tiered.routing import create_classifier, facts_of, messages_of
from langchain_tiered.testing.cassettes import vcr_config

if TYPE_CHECKING:
    from collections.abc import Iterator

CASSETTES = Path(__file__).parents[2] / "cassettes"
MARK = "Zq7XkVb00Mark42"
KEY = f"sk-proj-{MARK}-{MARK}"
QUOTED = f"Incorrect API key provided: {KEY}. You can find your API key at https://example.org."
THREAD: Any = {"configurable": {"thread_id": "1"}}
SERVER_ERROR = {"status": 500, "body": {"error": {"message": QUOTED, "type": "server_error", "code": None}}}
LIMITED = {"status": 429, "body": {"error": {"message": QUOTED, "type": "requests", "code": "rate_limit_exceeded"}}}


@tool
def refund(order: int) -> str:
    """Refund an order."""
    return "done"


class Traced(BaseCallbackHandler):
    """Notes what a trace is told beside a node's own input and output, and beside what LangChain says of a model."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def on_chain_start(self, *_: Any, **more: Any) -> None:
        self.told.append(more)

    def on_chain_end(self, *_: Any, **more: Any) -> None:
        self.told.append(more)

    def on_chat_model_start(self, serialized: Any, messages: Any, **more: Any) -> None:
        self.told.append((messages, more))

    def on_llm_end(self, *given: Any, **more: Any) -> None:
        self.told.append((given, more))

    def on_custom_event(self, *given: Any, **more: Any) -> None:
        self.told.append((given, more))


def model_with_key(server: OfflineServer, name: str, **more: Any) -> ChatOpenAI:
    options: dict[str, Any] = {"api_key": KEY, "organization": f"org-{MARK}", "max_retries": 0, **more}
    return ChatOpenAI(model=name, base_url=server.url, default_headers={"x-api-key": KEY}, **options)


def with_keys(server: OfflineServer) -> tuple[Tier, ...]:
    names = {"nano": "gpt-5.4-nano", "mini": "gpt-5.4-mini", "flagship": "gpt-5.4"}
    return tuple(Tier(tier, model_with_key(server, name), criteria=tier) for tier, name in names.items())


def as_told(value: object) -> str:
    return json.dumps(value, default=repr)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Hear every logger of the process, and all that it says."""
    with caplog.at_level(logging.DEBUG):
        yield caplog


@pytest.mark.parametrize(("request_", "broken"), [(LABEL, [SERVER_ERROR, LIMITED]), (REFUND, [SERVER_ERROR])])
def test_a_run_over_the_wire_tells_no_key_to_anybody(
    logged: pytest.LogCaptureFixture, request_: str, broken: list[Any]
) -> None:
    script = [*broken, {"text": "Done."}]
    traced = Traced()
    with OfflineServer(script=script) as server, collect_ledger() as collected:
        given = with_keys(server)
        router = TierRouter(given, classifier=None)
        agent = create_tiered_agent(given, router=router, tools=[refund], checkpointer=InMemorySaver())
        config: Any = {**THREAD, "callbacks": [traced], "tags": ["mine"]}
        modes: Any = ["values", "updates", "custom", "messages", "checkpoints"]
        parts = list(agent.stream(ask(request_), config, stream_mode=modes))
    state = agent.get_state(THREAD)
    assert any(mode == "custom" for mode, _ in parts)  # something went wrong, and was told
    assert traced.told
    for told in (parts, state.values, state.metadata, list(collected), repr(collected), traced.told):
        assert MARK not in as_told(told)
    assert MARK not in "\n".join(record.getMessage() for record in logged.records if "tiered" in record.name)
    assert MARK not in as_told([vars(record) for record in logged.records if record.name != "openai._base_client"])


def test_what_a_node_writes_tells_a_trace_no_key_that_a_provider_quotes() -> None:
    agent = create_tiered_agent(tiers(nano=fail(ConnectionError(QUOTED)), mini=say("m")))
    tasks = list(agent.stream(ask(LABEL), stream_mode="tasks"))
    assert MARK not in as_told(tasks)


def test_an_error_that_ends_a_run_lists_its_attempts_without_a_key(run: Any) -> None:
    error = ConnectionError(f"POST https://example.org failed: {QUOTED}")
    agent = create_tiered_agent(tiers(nano=fail(error), mini=say(""), flagship=say("")))
    with pytest.raises(NoAnswerAcceptedError) as caught:
        run(agent, ask(LABEL))
    for told in (str(caught.value), repr(caught.value), as_told(caught.value.attempts), as_told(caught.value.ledger)):
        assert MARK not in told
    assert "[key]" in str(caught.value)


def test_a_classifier_that_fails_puts_no_key_into_the_routes_reason(run: Any) -> None:
    given = tiers(nano=fail(ConnectionError(QUOTED)), mini=say("m"), flagship=say("f"))
    route = run(create_tiered_agent(given), ask("Why does this deadlock?"))["route"]
    assert "ConnectionError" in route["reason"]
    assert MARK not in as_told(route)


@pytest.mark.parametrize("said", [QUOTED, f"key {KEY} is wrong", f"Received API Key = {KEY}", f"{KEY}"])
def test_a_providers_words_are_kept_without_the_key_that_they_quote(said: str) -> None:
    failure = failure_of(ConnectionError(said))
    assert failure is not None
    assert MARK not in as_told(failure)


def test_no_object_of_ours_shows_a_key_when_it_is_printed() -> None:
    model = ChatOpenAI(model="gpt-5.4-nano", api_key=KEY)
    tier = Tier("nano", model, criteria="x", fallbacks=[ChatOpenAI(model="gpt-5.4-mini", api_key=KEY)])
    models = Models()
    models.facts([tier])
    router = TierRouter([tier], policy=Policy(pin="nano"))
    agent = create_tiered_agent([tier])
    things = [
        tier,
        models,
        router,
        router.policy,
        router.classifier,
        agent,
        agent.nodes,
        models.facts([tier]),
        Ledger(),
    ]
    for thing in (*things, facts_of(messages_of("hi")), agent.get_graph(), agent.get_context_jsonschema()):
        assert MARK not in repr(thing)
        assert MARK not in str(thing)


def test_a_tier_shows_no_header_that_its_model_sends_when_it_is_printed() -> None:
    model = ChatOpenAI(model="gpt-5.4-nano", api_key=KEY, default_headers={"Authorization": f"Bearer {KEY}"})
    assert MARK not in repr(Tier("nano", model, criteria="x"))


def test_an_error_about_something_that_is_no_classifier_does_not_quote_its_headers() -> None:
    model = ChatOpenAI(model="gpt-5.4-nano", api_key=KEY, default_headers={"Authorization": f"Bearer {KEY}"})
    with pytest.raises(ConfigurationError, match="no classifier") as caught:
        create_classifier(model.bind(stop=["x"]), tiers(nano=say("n")))
    assert MARK not in str(caught.value)


@pytest.mark.parametrize("wrong", ["gpt-5.4-nano:nobody", "nobody:model", "openai:gpt-5.4-nano"])
def test_a_model_that_cannot_be_built_is_told_without_the_environments_keys(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_ORG_ID", f"org-{MARK}")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    tier = replace(tiers(nano=say("n"))[0], model=wrong)
    with pytest.raises(TieredError) as caught:
        create_tiered_agent([tier]).invoke(ask(LABEL))
    assert MARK not in f"{caught.value!s} {caught.value!r} {vars(caught.value)!r}"


def scrubbed(uri: str, body: str = "") -> Request:
    headers = {"Authorization": f"Bearer {KEY}", "x-api-key": KEY, "OpenAI-Organization": MARK, "Cookie": KEY}
    request = Request("POST", uri, body, {**headers, "Content-Type": "application/json"})
    kept: Request = vcr_config("none")["before_record_request"](request)
    return kept


HIDDEN = "0123456789abcdefABCDEF"
KEYS = (
    KEY,
    f"sk-ant-api03-{HIDDEN}",
    f"gsk_{HIDDEN}",
    f"AIza{HIDDEN}",
    f"hf_{HIDDEN}",
    f"xai-{HIDDEN}",
    f"AKIA{HIDDEN}",
    f"ghp_{HIDDEN}",
    f"Bearer {HIDDEN}",
    f"eyJ{HIDDEN}.{HIDDEN}.{HIDDEN}",
    f"org-{HIDDEN}",
    f"proj_{HIDDEN}",
)


@pytest.mark.parametrize("key", KEYS)
def test_no_form_of_key_stays_in_a_recorded_body_or_header(key: str) -> None:
    said = json.dumps({"error": f"Not valid: {key}, sorry.", "model": "gpt-5.4-nano"})
    request = scrubbed("https://api.example.org/v1/chat/completions", said)
    response = {"headers": {"x-told": [key], "set-cookie": [key]}, "body": {"string": said.encode()}, "status": {}}
    kept = vcr_config("none")["before_record_response"](response)
    for told in (repr(request.headers), request.body.decode(), repr(kept)):
        assert HIDDEN not in told
        assert MARK not in told
    assert json.loads(request.body)["model"] == "gpt-5.4-nano"


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        (f"https://example.org/v1/a?key={HIDDEN}&alt=sse", "https://example.org/v1/a?key=scrubbed&alt=sse"),
        (f"https://example.org/v1/a?alt=sse&api-key={HIDDEN}", "https://example.org/v1/a?alt=sse&api-key=scrubbed"),
        (f"https://example.org/a?X-Amz-Signature={HIDDEN}#x", "https://example.org/a?X-Amz-Signature=scrubbed#x"),
        (f"https://example.org/a?access_token={HIDDEN}", "https://example.org/a?access_token=scrubbed"),
        (f"https://me:{HIDDEN}@example.org/a?b=c@d", "https://example.org/a?b=c@d"),
        ("https://example.org/a?monkey=1&keys=2", "https://example.org/a?monkey=1&keys=2"),
    ],
)
def test_no_key_stays_in_a_recorded_address(uri: str, told: str) -> None:
    assert scrubbed(uri).uri == told


def test_the_recordings_hold_nothing_like_a_key() -> None:
    key_like = re.compile(
        r"\b(?:sk|rk|pk)-(?!scrubbed)[\w-]{8,}|\bgsk_\w{16,}|\bAIza[\w-]{16,}|\bAKIA[A-Z0-9]{12,}|\bghp_\w{16,}"
        r"|\bhf_\w{16,}|\bxai-[\w-]{16,}|\beyJ[\w-]{8,}\.[\w-]{8,}|(?i:\bbearer +[\w.~+/-]{12,})"
        r"|\borg-(?!scrubbed)\w{8,}|\bproj_(?!scrubbed)\w{8,}|(?im:^\s*(?:authorization|x-api-key|api-key|set-cookie|cookie):)"
        r"|[?&](?:api[-_]?)?key=(?!scrubbed)|-----BEGIN"
    )
    files = sorted(CASSETTES.rglob("*.yaml"))
    assert files
    found = {f"{path.name}: {found[0][:24]}" for path in files for found in key_like.finditer(path.read_text("utf-8"))}
    assert not found
