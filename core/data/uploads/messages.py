"""Conversations in a file: lists of messages, as chat models are given them, or as ShareGPT has them.

The reader makes a cell of each: JSON, either a list of pairs ``[role, content]``, or a string that says what is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from core.data.uploads.limits import MAX_TEXT
from core.data.uploads.text_table import Cell, Cells, without_surrogates

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

Messages = tuple[tuple[str, str], ...]
"""Role and content of each message, in their order."""


def conversation_cell(value: Sequence[Any]) -> str:
    """A list of a file as the cell of a conversation. Args: value: the list, as JSON or Parquet has it."""
    found = _messages(value)
    return json.dumps(found if isinstance(found, str) else [list(message) for message in found], ensure_ascii=False)


def conversations_in(columns: Mapping[str, Sequence[Cell]], cells: Mapping[str, Sequence[str]]) -> dict[str, Cells]:
    """Columns with at least one conversation, and those that are called so and have lists.

    Args:
        columns: all columns of the table; one that is named like conversations may hold them as JSON in texts.
        cells: of the columns with lists; those at the end may be missing.
    """
    found: dict[str, Cells] = {}
    for name, values in columns.items():
        given = [*cells.get(name, ())]
        given += [""] * (len(values) - len(given))
        is_named = name.strip().lower() in NAMES
        if not any(given) and not is_named:
            continue
        whole = [cell or _of_text(text) for cell, text in zip(given, values, strict=True)]
        is_list = is_named and (any(given) or any((text or "").lstrip().startswith("[") for text in values))
        if is_list or any(cell.startswith("[") for cell in whole):
            found[name] = Cells.of(whole)
    return found


def messages_of(cell: str) -> Messages | str:
    """The messages of a cell, or what is wrong with it. Args: cell: see :func:`conversation_cell`; not empty."""
    found = json.loads(cell)
    return found if isinstance(found, str) else tuple((str(role), str(content)) for role, content in found)


def _of_text(text: Cell) -> str:
    """The cell of a conversation that a text or something else is."""
    if text is None:
        return json.dumps("has an object in the place of a list of messages")
    if not text.strip():
        return ""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        if text.lstrip().startswith("["):
            return json.dumps("has messages that are not valid JSON: save the rows as JSON lines")
        value = None
    if not isinstance(value, list):
        return json.dumps("has a text in the place of a list of messages")
    return conversation_cell(value)


def _messages(value: Sequence[Any]) -> Messages | str:
    """The messages in a list, or what is wrong with it."""
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
            return f"has a message of the role {str(written)[:30]!r}: roles are system, user and assistant"
        content = _content(message.get(keys[1]))
        if content is None:
            return f"has a message that is no text, number {number}: contents are texts"
        found.append((role, without_surrogates(content)))
    if not any(role == "assistant" and content.strip() for role, content in found):
        return "has a conversation in which the assistant says nothing: there is nothing to learn"
    if (length := sum(len(content) for _, content in found)) > MAX_TEXT:
        return f"has a conversation of {length:,} characters: the limit is {MAX_TEXT:,}"
    return tuple(found)


def _content(value: Any) -> str | None:
    """The text of a message, which may be in pieces; None if it holds something else."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not value:
        return None
    pieces = [piece.get("text") if isinstance(piece, Mapping) else piece for piece in value]
    texts = [piece for piece in pieces if isinstance(piece, str)]
    return "".join(texts) if len(texts) == len(pieces) else None
