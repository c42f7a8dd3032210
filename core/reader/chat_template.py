"""Chat templates that somebody else wrote: programs in Jinja's language, which are run in the reader."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from core.errors import LabError, NetworkFileError, printable
from core.reader.opening import in_reader
from core.reader.process import GROWTH, Limits

MAX_TEMPLATE = 2**18
"""Characters of a template; those of chat models have some ten thousand."""

MAX_RENDERED = 2**20
"""Characters that one conversation may become."""

TODAY = (
    "{% macro strftime_now(format) %}{{ {'%Y-%m-%d': '2024-07-26', '%d %B %Y': '26 July 2024'}"
    ".get(format, '26 Jul 2024') }}{% endmacro +%}"
)
"""Put before templates, which so are told always the same day, that of Llama 3: a text must not depend on the day on
which it is read."""

Conversation = tuple[tuple[str, str], ...]
"""Role and content of each message."""

Parts = tuple[tuple[str, bool], ...]
"""Texts in their order, and whether each is scored."""

_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
"""What marks in a template what the assistant says."""


@in_reader(
    NetworkFileError,
    "The chat template of this network",
    Limits(memory=2**30, cpu=60, wall=600, growth=GROWTH),
    imports=("transformers.utils.chat_template_utils",),
)
def rendered(
    template: str,
    conversations: tuple[tuple[Conversation, bool], ...],
    tokens: dict[str, str],
) -> tuple[Parts, ...]:
    """Render conversations as transformers does, and find what the assistant says in them.

    Where the template marks it, by ``{% generation %}``, that is scored. Else it is what an answer adds to the messages
    before it and the header of an answer; so the messages before must become the same text, whatever follows them.

    Args:
        template: in Jinja's language.
        conversations: messages of the roles system, user and assistant, and whether all of them are scored.
        tokens: special tokens by the names that templates know, such as ``bos_token``.

    Raises:
        NetworkFileError: the template is no program, refuses a conversation, or takes too long; or changes earlier
            messages when others follow.
    """
    import jinja2
    from transformers.utils import chat_template_utils

    if len(template) > MAX_TEMPLATE:
        raise NetworkFileError(f"The chat template of this network has more than {MAX_TEMPLATE:,} characters.")
    render: Callable[..., Any] = chat_template_utils.render_jinja_template
    marked = _GENERATION.search(template) is not None

    def text_of(messages: Conversation, asks: bool = False) -> tuple[str, list[tuple[int, int]]]:
        """The text of some messages, with the header of an answer behind it or not; and what is marked in it."""
        chat = [{"role": role, "content": content} for role, content in messages]
        options = {"return_assistant_tokens_mask": marked, "add_generation_prompt": asks}
        (text,), places = render([chat], chat_template=TODAY + template, **options, **tokens)
        if len(text) > MAX_RENDERED:
            raise NetworkFileError(
                f"The chat template of this network makes a text of more than {MAX_RENDERED:,} characters."
            )
        return text, places[0] if marked else []

    found = []
    for number, (conversation, all_scored) in enumerate(conversations, 1):
        try:
            text, places = text_of(conversation)
            if not marked and not all_scored:
                places = _answers(text, conversation, text_of)
        except (jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as problem:
            if isinstance(problem, LabError):
                raise
            cause = printable(str(problem), 120) or type(problem).__name__
            raise NetworkFileError(
                f"The chat template of this network cannot be used for conversation {number:,} ({cause}): choose "
                "another network, or change the conversation."
            ) from problem
        found.append(_parts(text, [(0, len(text))] if all_scored else places))
        if not any(scored for _, scored in found[-1]):
            raise NetworkFileError(
                f"The chat template of this network leaves nothing to learn of conversation {number:,}: choose another "
                "network."
            )
    return tuple(found)


def _answers(
    text: str, conversation: Conversation, text_of: Callable[..., tuple[str, list[tuple[int, int]]]]
) -> list[tuple[int, int]]:
    """Where the answers of the assistant are in the text of a conversation: start and end of each.

    Raises:
        NetworkFileError: the template writes messages in another way when others follow.
    """
    found = []
    for place, (role, _) in enumerate(conversation):
        if role != "assistant":
            continue
        before, _ = text_of(conversation[:place], asks=True) if place else ("", [])
        until, _ = text_of(conversation[: place + 1]) if place + 1 < len(conversation) else (text, [])
        if not until.startswith(before) or not text.startswith(until):
            raise NetworkFileError(
                "The chat template of this network writes earlier messages in another way when others follow, so it is "
                "not clear which tokens are the answers: choose another network, or conversations with one answer."
            )
        found.append((len(before), len(until)))
    return found


def _parts(text: str, places: Sequence[tuple[int, int]]) -> Parts:
    """A text in parts. Args: places: start and end of each scored part."""
    start = 0
    parts = []
    for begin, end in places:
        parts += [(text[start : max(begin, start)], False), (text[max(begin, start) : max(end, start)], True)]
        start = max(end, start)
    return tuple(part for part in (*parts, (text[start:], False)) if part[0])
