"""Conversations in a file: lists of messages, as chat models are given them, or as ShareGPT has them.

The reader makes a cell of each: JSON, either a list of pairs ``[role, content]``, or a string that says what is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from core.data.uploads.limits import MAX_TEXT
from core.data.uploads.text_columns import Cell

ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "model", "chatgpt", "bot"), "assistant"),
}
"""Roles by the words for them, in lower case."""

KEYS = (("role", "content"), ("from", "value"))
"""Names of the role and the content of a message: those of chat models, and those of ShareGPT."""

NAMES = ("messages", "conversations", "conversation", "chat", "dialog", "dialogue")
"""Names of columns that may hold conversations as JSON in a text."""

MAX_MESSAGES = 1000
"""Messages of one conversation."""


class Conversation(str):
    """The cell of a conversation, as opposed to one of a text."""


def conversation_of(value: Sequence[Any]) -> Conversation:
    """A list of a file, as JSON or Parquet has it, as the cell of a conversation."""
    return Conversation(json.dumps(_messages(value), ensure_ascii=False))


def conversations_in(name: str, cells: Sequence[Cell]) -> list[str] | None:
    """The conversations of a column that has at least one, or is called so and has lists; None for another column.

    Args:
        name: of the column; one that is named like conversations may hold them as JSON in texts.
        cells: of the column.
    """
    is_named = name.strip().lower() in NAMES
    has_lists = any(isinstance(cell, Conversation) or (is_named and _is_list(cell)) for cell in cells)
    if not has_lists:
        return None
    found = [str(cell if isinstance(cell, Conversation) else _of_text(cell)) for cell in cells]
    return found if is_named or any(cell.startswith("[") for cell in found) else None


def messages_of(cell: str) -> tuple[tuple[str, str], ...] | str:
    """Role and content of each message of a cell that is not empty, or what is wrong with it."""
    found = json.loads(cell)
    return found if isinstance(found, str) else tuple((str(role), str(content)) for role, content in found)


def without_surrogates(text: str) -> str:
    """The same text with halves of characters, which JSON can hold and UTF-8 cannot, joined or replaced by �."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _is_list(text: Cell) -> bool:
    return text is not None and text.lstrip().startswith("[")


def _of_text(text: Cell) -> str:
    """The cell of a conversation that a text or something else is."""
    if text is None:
        return json.dumps("has an object in the place of a list of messages")
    if not text.strip():
        return ""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        if _is_list(text):
            return json.dumps("has messages that are not valid JSON: save the rows as JSON lines")
        value = None
    return conversation_of(value) if isinstance(value, list) else json.dumps("has a text in the place of messages")


def _messages(value: Sequence[Any]) -> list[tuple[str, str]] | str:
    """Role and content of each message in a list, or what is wrong with it."""
    if not value:
        return "has a conversation without messages"
    if len(value) > MAX_MESSAGES:
        return f"has a conversation of {len(value):,} messages: the limit is {MAX_MESSAGES:,}"
    found: list[tuple[str, str]] = []
    for number, message in enumerate(value, 1):
        keys = next((keys for keys in KEYS if isinstance(message, Mapping) and keys[0] in message), None)
        if keys is None:
            return f"has a message without a role, number {number}: each is an object with role and content"
        written = message[keys[0]]
        role = ROLES.get(written.strip().lower()) if isinstance(written, str) else None
        if role is None:
            shown = without_surrogates(str(written)[:30])
            return f"has a message of the role {shown!r}: roles are system, user and assistant"
        content = _content(message.get(keys[1]))
        if content is None:
            return f"has a message that is no text, number {number}: contents are texts"
        found.append((role, without_surrogates(content)))
    if not any(role == "assistant" and content.strip() for role, content in found):
        return "has a conversation in which the assistant says nothing: there is nothing to learn"
    if (length := sum(len(content) for _, content in found)) > MAX_TEXT:
        return f"has a conversation of {length:,} characters: the limit is {MAX_TEXT:,}"
    return found


def _content(value: Any) -> str | None:
    """The text of a message, which may be in pieces; None if it holds something else."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not value:
        return None
    pieces = [piece.get("text") if isinstance(piece, Mapping) else piece for piece in value]
    texts = [piece for piece in pieces if isinstance(piece, str)]
    return "".join(texts) if len(texts) == len(pieces) else None
