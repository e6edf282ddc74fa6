"""Written dialogues: earlier work of each kind, what the user says then, and the tier that it should go to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langchain_tiered.routing import NO_TOOLS, ToolFacts, tool_facts
from langchain_tiered.types import Route

if TYPE_CHECKING:
    from langchain_tiered.types import Task

IMAGE: dict[str, Any] = {"type": "image", "url": "https://example.org/a.png"}
DESK = tool_facts(
    [
        {"name": "find_order", "description": "Look up one order."},
        {"name": "refund_order", "description": "Refund an order, money back."},
    ]
)

WORK: dict[Task, tuple[Any, str]] = {
    "classify": ("Classify the ticket. Labels: delivery, billing, other.\nMy kettle never came.", "delivery"),
    "extract": ("Extract the names from this note: Ms Abara met Mr Lind on Tuesday.", "Abara, Lind"),
    "rank": ("Sort these by price, cheapest first:\n- lamp 39\n- chair 29\n- desk 140", "chair, lamp, desk"),
    "lookup": ("What is the capital of Peru?", "Lima."),
    "code": ("Fix this:\n```python\ndef total(rows):\n    return sum(rows\n```", "```python\nreturn sum(rows)\n```"),
    "terminal": ("What is wrong here?\n```bash\ntar -xf backup.zip\n```", "That is a zip archive: use unzip."),
    "tools": ("Refund order 1042, it came late.", "Order 1042 is refunded."),
    "search": ("Find the latest news on the dock strike.", "It ended on Monday."),
    "screen": ([{"type": "text", "text": "Click the save button."}, IMAGE], "Clicked."),
    "scan": ([{"type": "text", "text": "Read the total off this receipt."}, IMAGE], "14.20"),
    "write": ("Draft an e-mail to the landlord about the broken boiler.", "Dear Ms Koch, the boiler ..."),
    "reason": ("Prove that there are infinitely many primes.", "Suppose there were finitely many ..."),
    "review": ("Is our plan to move the warehouse in one weekend sound?", "No, for three reasons ..."),
    "long_document": (
        "The minutes of the year: " + "we met and spoke " * 36_000 + "\nWho left?",
        "Ms Abara left in May.",
    ),
}
"""A request of each kind, and an answer."""


@dataclass(frozen=True)
class Dialogue:
    """One dialogue of two turns."""

    task: Task
    """The kind of the earlier work."""

    tier: str
    """The tier that did it."""

    text: str
    """What the user says then."""

    thread: str
    """The tier wanted where a thread's route only rises."""

    turn: str
    """The tier wanted where each turn is routed anew."""

    asked: str | None = None
    """What the classifier says, or `None` where it must not be asked."""

    escalated_from: str | None = None
    """The tier first chosen, where the earlier work was escalated."""

    cached_tokens: int = 0
    """Input of the last answer that came out of the prompt cache."""

    answer: str | None = None
    """What the assistant said, where that is not the answer of `WORK`."""

    @property
    def id(self) -> str:
        """Name the dialogue."""
        raised = f" from {self.escalated_from}" if self.escalated_from else ""
        cached = " with a warm cache" if self.cached_tokens else ""
        return f"{self.task} at {self.tier}{raised}{cached}: {self.text}"

    @property
    def tools(self) -> ToolFacts:
        """The tools that are bound."""
        return DESK if self.task == "tools" else NO_TOOLS

    def messages(self) -> list[BaseMessage]:
        """Return the thread as the second turn begins."""
        asked, answer = WORK[self.task]
        route = Route(
            tier=self.tier, task=self.task, confidence=None, reason="Before.", decided_by="rules",
            escalated_from=self.escalated_from,
        )  # fmt: skip
        size = max(self.cached_tokens, 100)
        told = AIMessage(
            self.answer or answer,
            response_metadata={"route": route},
            usage_metadata={
                "input_tokens": size,
                "output_tokens": 20,
                "total_tokens": size + 20,
                "input_token_details": {"cache_read": self.cached_tokens},
            },
        )
        long = "word " * (4 * self.cached_tokens // 5)
        before = [HumanMessage(long), AIMessage("Noted.")] if long else []
        return [*before, HumanMessage(asked), told, HumanMessage(self.text)]


D = Dialogue
# fmt: off
DIALOGUES = (
    # A courtesy asks for nothing: the thread keeps its tier, a turn of its own goes to the cheapest.
    D("classify", "nano", "ok thanks", "nano", "nano"),
    D("code", "mini", "ok thanks", "mini", "nano"),
    D("tools", "mini", "thank you very much!", "mini", "nano"),
    D("write", "mini", "Great, thanks", "mini", "nano"),
    D("reason", "flagship", "ok thanks", "flagship", "nano"),
    D("review", "flagship", "Perfect.", "flagship", "nano"),
    D("screen", "mini", "thanks", "mini", "nano"),
    D("long_document", "flagship", "thanks", "flagship", "flagship"),  # the document is still to be read
    # It refers to the earlier work, and stays where that was done; nobody needs to be asked.
    D("classify", "nano", "why?", "nano", "nano"),
    D("classify", "nano", "and this one too please", "nano", "nano"),
    D("classify", "flagship", "Why is that?", "flagship", "flagship"),
    D("extract", "nano", "do the same for the next note", "nano", "nano"),
    D("extract", "nano", "as a table", "nano", "nano"),
    D("extract", "mini", "again, but in French", "mini", "mini"),
    D("rank", "nano", "the other way round", "nano", "nano"),
    D("rank", "nano", "and the second one?", "nano", "nano"),
    D("lookup", "nano", "are you sure?", "nano", "nano"),
    D("lookup", "nano", "and in French?", "nano", "nano"),
    D("code", "mini", "no, the other file", "mini", "mini"),
    D("code", "mini", "go on", "mini", "mini"),
    D("code", "mini", "try again", "mini", "mini"),
    D("code", "mini", "Can you do that for the others too?", "mini", "mini"),
    D("code", "flagship", "that's wrong", "flagship", "flagship"),
    D("terminal", "mini", "what do you mean?", "mini", "mini"),
    D("terminal", "mini", "ok, and then?", "mini", "mini"),
    D("tools", "mini", "do the same for order 7", "mini", "mini"),
    D("tools", "mini", "And order 1043 again", "mini", "mini"),
    D("tools", "mini", "what about order 1044?", "mini", "mini"),
    D("tools", "flagship", "do the same for order 7", "flagship", "flagship"),
    D("tools", "mini", "undo that", "mini", "mini"),
    D("search", "mini", "more", "mini", "mini"),
    D("search", "mini", "what else?", "mini", "mini"),
    D("search", "mini", "and before that?", "mini", "mini"),
    D("screen", "mini", "now the other one", "mini", "mini"),
    D("screen", "mini", "again", "mini", "mini"),
    D("scan", "nano", "and the next one?", "nano", "nano"),
    D("scan", "mini", "in English please", "mini", "mini"),
    D("write", "mini", "shorter please", "mini", "mini"),
    D("write", "mini", "a bit more formal", "mini", "mini"),
    D("write", "mini", "make it friendlier", "mini", "mini"),
    D("write", "mini", "now in Spanish", "mini", "mini"),
    D("write", "flagship", "even shorter", "flagship", "flagship"),
    D("reason", "flagship", "why?", "flagship", "flagship"),
    D("reason", "flagship", "Explain that again in simpler words", "flagship", "flagship"),
    D("reason", "mini", "how so?", "mini", "mini"),
    D("review", "flagship", "what about the second one?", "flagship", "flagship"),
    D("review", "flagship", "go on", "flagship", "flagship"),
    D("long_document", "flagship", "And who else?", "flagship", "flagship"),
    D("lookup", "nano", "?", "nano", "nano"),
    D("write", "mini", "\U0001f44d", "mini", "mini"),
    # An answer to the assistant's question goes on with the work, short as it is.
    D("tools", "mini", "ok", "mini", "mini", answer="Shall I refund order 1042?"),
    D("tools", "mini", "Yes, do it.", "mini", "mini", answer="Shall I refund order 1042?"),
    D("tools", "mini", "1042", "mini", "mini", answer="Which order is it?"),
    D("review", "flagship", "B", "flagship", "flagship", answer="A or B?"),
    D("tools", "mini", "no thanks", "mini", "nano", asked="nano", answer="Can I do anything else?"),
    # What asks for more goes up, from anywhere.
    D("classify", "nano", "now prove it", "flagship", "flagship"),
    D("lookup", "nano", "Now prove it.", "flagship", "flagship"),
    D("code", "mini", "ok, now prove it", "flagship", "flagship"),
    D("tools", "mini", "can you prove that?", "flagship", "flagship", asked="flagship"),
    D("write", "nano", "Prove that the sum of two odd numbers is even.", "flagship", "flagship"),
    D("classify", "nano", "Is that enforceable?", "flagship", "flagship", asked="flagship"),
    D("extract", "nano", "Should we sue them over it?", "flagship", "flagship", asked="flagship"),
    D("code", "mini", "Why would this deadlock?", "flagship", "flagship", asked="flagship"),
    D("lookup", "nano", "Fix this:\n```python\nx = (1\n```", "mini", "mini"),
    D("classify", "nano", "Refund order 1042.", "mini", "mini", asked="mini"),
    # A new request that stands on its own is routed anew, and the thread still only rises.
    D("reason", "flagship", "Classify the ticket. Labels: a, b, c. Ticket: it is late.", "flagship", "nano"),
    D("code", "mini", "Who painted the Sistine Chapel?", "mini", "nano"),
    D("write", "mini", "Sort these by date, oldest first:\n- May\n- March", "mini", "nano"),
    D("review", "flagship", "Write a function to reverse a list of numbers.", "flagship", "mini"),
    D("tools", "mini", "What is the weather in Lima?", "mini", "nano", asked="nano"),
    D("search", "mini", "How do I change my password?", "mini", "nano", asked="nano"),
    # Few words of another language are not guessed at: at least where the thread is, and the classifier may raise.
    D("write", "mini", "und auf Deutsch?", "mini", "mini", asked="nano"),
    D("write", "mini", "m\u00e1s corto, por favor", "mini", "mini", asked="nano"),
    D("tools", "mini", "mach dasselbe f\u00fcr Bestellung 7", "mini", "mini", asked="mini"),
    D("review", "flagship", "pourquoi ?", "flagship", "flagship"),
    D("reason", "flagship", "\u7ee7\u7eed", "flagship", "flagship"),
    D("code", "mini", "\u0438 \u0432\u0442\u043e\u0440\u043e\u0439?", "mini", "mini", asked="nano"),
    D("lookup", "nano", "gracias", "nano", "nano", asked="nano"),
    D("lookup", "nano", "jetzt beweise das bitte", "flagship", "flagship", asked="flagship"),
    D("scan", "mini", "\u0623\u0643\u0645\u0644", "mini", "mini", asked="nano"),
    # After an escalation the tier that did it stays for what goes on, and is left for what does not.
    D("classify", "mini", "why?", "mini", "mini", escalated_from="nano"),
    D("tools", "flagship", "do the same for order 7", "flagship", "flagship", escalated_from="mini"),
    D("extract", "mini", "ok thanks", "mini", "nano", escalated_from="nano"),
    D("extract", "flagship", "Classify the ticket. Labels: a, b, c. Ticket: late.", "flagship", "nano",
      escalated_from="nano"),
    D("code", "flagship", "go on", "flagship", "flagship", escalated_from="nano"),
    D("rank", "mini", "now prove it", "flagship", "flagship", escalated_from="nano"),
    # A warm cache at a tier is worth more than a cheaper one saves, and less than what is asked for.
    D("code", "mini", "ok thanks", "mini", "mini", cached_tokens=26_000),
    D("code", "mini", "why?", "mini", "mini", cached_tokens=26_000),
    D("write", "mini", "Classify the ticket. Labels: a, b, c. Ticket: late.", "mini", "mini", cached_tokens=26_000),
    D("tools", "mini", "now prove it", "flagship", "flagship", cached_tokens=26_000),
)
# fmt: on
