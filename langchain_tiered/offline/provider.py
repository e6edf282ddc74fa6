"""What stands behind the wire: models or a script, the plan of faults, and the counts. It makes replies, sends none."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, get_args

from langchain_tiered.offline.faults import MODELS, Faults, fingerprint
from langchain_tiered.offline.models import ModelName, OfflineChatModel
from langchain_tiered.offline.reading import CHARACTERS_PER_TOKEN, read
from langchain_tiered.offline.replies import SPOILING, Reply, broken, instead, overflow, refused, reply_to, spoilt
from langchain_tiered.offline.script import Script, scripted
from langchain_tiered.offline.wire import Answer, Call, Usage, WireError, added

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage

    from langchain_tiered.offline.faults import Fault
    from langchain_tiered.offline.reading import Asked
    from langchain_tiered.offline.wire import Api

    Entry = Mapping[str, Any]
    Entries = Sequence[Entry] | Mapping[str, Sequence[Entry]]

ENDPOINTS: dict[Api, str] = {"chat": "/v1/chat/completions", "responses": "/v1/responses"}
"""Where each protocol is spoken."""


def offline_models() -> dict[str, BaseChatModel]:
    """Return the offline models by the names of the models that they stand in for."""
    names = zip(MODELS.values(), get_args(ModelName), strict=True)
    return {served: OfflineChatModel(model_name=name) for served, name in names}


class Provider:
    """Answers requests as OpenAI would, and counts them.

    With a script, its answers come first; where `models` is not given either, a model without an answer left is an
    error that no client repeats.
    """

    def __init__(
        self,
        *,
        models: Mapping[str, BaseChatModel] | None = None,
        script: Entries | None = None,
        faults: Faults | None = None,
    ) -> None:
        self._script = Script(script or ())
        self._models = dict(models or {}) if models is not None or script is not None else offline_models()
        self._faults = faults or Faults()
        self.reset()

    @property
    def models(self) -> list[str]:
        """The names of the models that are served."""
        return [*self._models]

    def reset(self) -> None:
        """Count from nothing again, and begin the script and the plan of faults anew."""
        self._script.reset()
        self._rejected = 0
        self._by_model: Counter[str] = Counter()
        self._by_endpoint: Counter[str] = Counter()
        self._requests: Counter[str] = Counter()
        self._served: Counter[str] = Counter()
        self._without_effect: Counter[str] = Counter()
        self._tokens: dict[str, int] = {}
        self._untold: dict[str, int] = {}
        for total in (self._tokens, self._untold):
            added(total, Usage())

    def stats(self) -> dict[str, Any]:
        """Return the counts.

        `calls` are the requests that could be read, `rejected` those that OpenAI would refuse. `tokens` is what a
        provider would bill, and `untold_tokens` the part of it whose usage no client was told: a ledger has the
        difference. `faults` were carried out; those `faults_without_effect` found nothing to break in the answer.
        """
        return {
            "calls": self._by_model.total(),
            "rejected": self._rejected,
            "by_model": dict(self._by_model),
            "by_endpoint": dict(self._by_endpoint),
            "tokens": dict(self._tokens),
            "untold_tokens": dict(self._untold),
            "faults": dict(self._served),
            "faults_without_effect": dict(self._without_effect),
            "script_left": self._script.left,
        }

    async def reply(self, api: Api, raw: bytes) -> Reply:
        """Return what goes out for a request; its tokens count whether or not the client stays to read them."""
        try:
            asked = self._read(api, raw)
            self._by_model[asked.model] += 1
            self._by_endpoint[ENDPOINTS[api]] += 1
            calls, overall = self._by_model[asked.model], self._by_model.total()
            fault = self._faults.decide(asked.model, calls, overall, self._request(raw))
            reply = await self._reply(asked, fault)
        except WireError as error:
            self._rejected += 1
            return refused(error)
        if reply.usage is not None:
            added(self._tokens, reply.usage)
            added(self._untold, Usage() if reply.told else reply.usage)
        return reply

    def _request(self, raw: bytes) -> str:
        """Name a request, and the number of times that it has come, where the draws of faults hang on that."""
        if self._faults.by == "call":
            return ""
        name = fingerprint(raw)
        self._requests[name] += 1
        return f"{name}:{self._requests[name]}"

    def _read(self, api: Api, raw: bytes) -> Asked:
        asked = read(api, raw)
        if asked.model in self._models or self._script.knows(asked.model):
            return asked
        if api == "responses":
            told = f"The requested model '{asked.body['model']}' does not exist."
            raise WireError(400, told, "model", "model_not_found")
        told = f"The model `{asked.body['model']}` does not exist or you do not have access to it."
        raise WireError(404, told, None, "model_not_found")

    async def _reply(self, asked: Asked, fault: Fault | None) -> Reply:
        if fault is not None and (reply := instead(fault, asked)) is not None:
            self._served[fault.kind] += 1
            return reply
        made = await self._made(asked)
        if fault is None:
            return reply_to(asked, made) if isinstance(made, Answer) else made
        if fault.kind not in SPOILING:
            self._served[fault.kind] += 1
            return broken(fault, reply_to(asked, made) if isinstance(made, Answer) else made)
        worse = spoilt(fault, asked, made) if isinstance(made, Answer) else None
        (self._served if worse else self._without_effect)[fault.kind] += 1
        made = worse or made
        return reply_to(asked, made) if isinstance(made, Answer) else made

    async def _made(self, asked: Asked) -> Answer | Reply:
        """Take the next answer of the script, or ask the model."""
        if (entry := self._script.take(asked.model)) is not None:
            return scripted(entry, asked)
        if (model := self._models.get(asked.model)) is None:
            told = f"The script of the offline server has no answer left for '{asked.model}'. Add one to it."
            raise WireError(400, told, "model", "script_exhausted")
        window = (model.profile or {}).get("max_input_tokens")
        if window is not None and (tokens := asked.tokens()) > window:
            raise overflow(asked.api, tokens, window)
        return await _answer(model, asked)


async def _answer(model: BaseChatModel, asked: Asked) -> Answer:
    """Ask a model.

    It is asked directly: callbacks, caches and traces of the app under test, which may run in this very process, must
    not see the model behind the wire beside the client in front of it.
    """
    options: dict[str, Any] = {}
    if asked.tools:
        parallel = asked.body.get("parallel_tool_calls")
        choice: Any = asked.tool_choice  # most models take a dict, too
        bound: Any = model.bind_tools(asked.tools, tool_choice=choice, parallel_tool_calls=parallel)
        options |= bound.kwargs
    if asked.schema is not None:
        options["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": asked.schema}}
    result = await model._agenerate(asked.conversation(), asked.stop, **options)  # noqa: SLF001  (see above)
    return _plain(result.generations[0].message, asked)  # type: ignore[arg-type]


def _plain(message: AIMessage, asked: Asked) -> Answer:
    given: Any = message.usage_metadata or {}
    usage = Usage(
        given.get("input_tokens", 0),
        given.get("input_token_details", {}).get("cache_read", 0),
        given.get("output_tokens", 0),
        given.get("output_token_details", {}).get("reasoning", 0),
    )
    calls = tuple(Call(call["id"] or "", call["name"], json.dumps(call["args"])) for call in message.tool_calls)
    most = asked.max_tokens
    if most is not None and usage.output_tokens > most and not calls:
        cut = Usage(usage.input_tokens, usage.cached_tokens, most, min(usage.reasoning_tokens, most))
        return Answer(message.text[: most * CHARACTERS_PER_TOKEN], finish="length", usage=cut)
    return Answer(message.text, calls, "tool_calls" if calls else "stop", usage=usage)
