"""What a table of results leaves open, and so is asked of a person."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from core.errors import JudgeError, printable

MAX_SHOWN = 160
"""Maximum number of characters of an answer to choose."""


@dataclass(frozen=True)
class Question:
    """A question about a table, which a field of the reading answers."""

    field: str
    """Name of the field of :class:`core.judge.reading.Reading`."""
    text: str
    """One sentence: what does not fit, and what has to be said."""
    options: tuple[str, ...] = ()
    """Answers to choose from; empty for a free text."""

    @property
    def option(self) -> str:
        """The option of the command line that answers it."""
        return f"--{self.field.replace('_', '-')}"

    @property
    def sentence(self) -> str:
        """The question for a terminal."""
        choose = f" with one of {', '.join(repr(printable(each, MAX_SHOWN)) for each in self.options)}" * bool(
            self.options
        )
        return f"{self.text} Say {self.option}{choose}."


@dataclass
class Open:
    """What a table leaves open, and what was assumed or left out of it."""

    questions: list[Question] = field(default_factory=list)
    """Nothing is judged while there are any."""
    notes: list[str] = field(default_factory=list)
    """A sentence each."""

    def ask(self, name: str, text: str, options: Iterable[str] = ()) -> None:
        """Add a question; of one field only the first."""
        if all(question.field != name for question in self.questions):
            self.questions.append(Question(name, text, tuple(options)))


def check_answered(questions: Iterable[Question]) -> None:
    """Check that nothing is open. Raises: JudgeError: something is; it names the first question."""
    for question in questions:
        raise JudgeError(question.sentence)
