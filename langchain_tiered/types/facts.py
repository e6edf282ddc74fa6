"""What is plainly there in a request, and what is known of a tier: all that the pure decisions see."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from langchain_tiered.types.provided import runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langchain_tiered.types.records import Route
    from langchain_tiered.types.tiers import Rates


_HEAD, _TAIL = 900, 500  # characters of a long text: what is asked stands at its ends


def ends_of(text: str) -> str:
    """Return the head and the tail of a text, so that the time of what reads it is bounded."""
    return text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]}\n{text[-_TAIL:]}"


@dataclass(frozen=True)
class Facts:
    """What is plainly there in a request, before anybody judges it."""

    text: str = ""
    """The last user turn. Earlier messages are never joined to it: "ok thanks" stays easy after a hard history."""

    tokens: int = 0
    """Estimated input of the next call: all messages, in tokens."""

    turn_tokens: int = 0
    """Estimated size of the last user turn, in tokens."""

    images: int = 0
    """Images anywhere in the messages: the model must be able to take them."""

    audio: int = 0
    """Audio parts anywhere in the messages."""

    files: int = 0
    """Files such as PDFs anywhere in the messages."""

    turn_images: int = 0
    """Images of the last user turn alone: what the request is about."""

    turn_files: int = 0
    """Files of the last user turn alone."""

    pictures: tuple[dict[str, Any], ...] = field(default=(), compare=False, repr=False)
    """The content blocks of those images, for a classifier that can look at them. No rule does."""

    tools: tuple[str, ...] = ()
    """Names of the tools that the app runs itself."""

    tool_words: frozenset[str] = frozenset()
    """Content words of the tools' names and descriptions, lower case."""

    provider_tools: tuple[str, ...] = ()
    """Types of the tools that the provider runs, such as `web_search`."""

    risk: tuple[str, ...] = ()
    """What cannot be taken back, that the last user turn asks for and a bound tool can do: `money` that moves,
    `deletion`, a `message` that goes out."""

    schema: bool = False
    """Whether the answer must fit a schema."""

    turns: int = 1
    """User turns so far, this one included."""

    previous: Route | None = None
    """The route of the last AI message that carries one: the latch."""

    in_turn: bool = False
    """Whether the turn is under way: an AI or tool message stands after the last human one."""

    refers_back: bool | None = False
    """Whether the last user turn refers to earlier work instead of saying what it is about, as "why?" does; `None` when
    that cannot be told: few words of a language that the rules do not read. Always `False` without `previous`."""

    cached_tokens: int = 0
    """Input of the thread's last answer that came out of the provider's prompt cache, in tokens; `0` when unknown."""

    output_tokens: int = 0
    """Output of the thread's last answer, in tokens; `0` when unknown."""

    @property
    def ends(self) -> str:
        """The ends of the last user turn in lower case, which is what rules read of it."""
        return ends_of(self.text).lower()

    @property
    def needs(self) -> Sequence[tuple[str, int]]:
        """What a tier must be able to take beside words, and how many of each: `images`, `audio`, `files`, `tools`."""
        if not (self.images or self.audio or self.files or self.tools or self.provider_tools):
            return ()
        tools = len(self.tools) + len(self.provider_tools)
        counts = (("images", self.images), ("audio", self.audio), ("files", self.files), ("tools", tools))
        return [each for each in counts if each[1]]


@dataclass(frozen=True)
class TierFacts:
    """What the pure decisions know of a tier: plain values, no model object."""

    name: str
    """The tier's name."""

    max_input_tokens: int | None = None
    """Input that it takes reliably, in tokens, or `None` when unknown."""

    images: bool | None = None
    """Whether it takes images; `None` when unknown, which means that it may be tried. So below."""

    audio: bool | None = None
    """Whether it takes audio."""

    files: bool | None = None
    """Whether it takes files."""

    tools: bool | None = None
    """Whether it can call tools, where it is to be given any."""

    provider: str | None = None
    """Who serves its model, by LangChain's name, where it is to be given tools that a provider runs."""

    fallbacks: int = 0
    """How many other models stand beside its own."""

    rates: Rates | None = None
    """Prices of its model, or `None` when they are unknown, or nobody needs them."""

    def misfits(self, facts: Facts) -> tuple[str, ...]:
        """Name each fact that rules this tier out; empty when it can take the request."""
        found = []
        if self.max_input_tokens is not None and facts.tokens > self.max_input_tokens:
            found.append(f"about {facts.tokens:,} input tokens, it takes {self.max_input_tokens:,}")
        for what, count in facts.needs:
            if getattr(self, what) is False:
                found.append(f"{what} ({count}), it takes none")
        foreign = [tool for tool in facts.provider_tools if not runs(self.provider, tool)]
        found += [f"the tool {tool!r}, which {self.provider} does not run" for tool in foreign]
        return tuple(found)

    def fits(self, facts: Facts) -> bool:
        """Tell whether nothing known rules this tier out for a request."""
        return not self.misfits(facts)
