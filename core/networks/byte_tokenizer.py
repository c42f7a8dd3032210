"""Bytes as tokens: the tokenizer of networks that are pretrained here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.data.tokenized import Tokenized

BEGIN, END, PADDING = 256, 257, 258
"""Tokens that begin a text, end it, and fill up shorter ones; each token below is the byte of its number."""

SIZE = 259
"""Number of tokens."""

NAMES = {BEGIN: "<s>", END: "</s>", PADDING: "<pad>"}


class ByteTokenizer:
    """Reads texts as the bytes of their UTF-8; see :class:`core.tasks.views.view.TextTokenizer`."""

    digest = "bytes"
    padding = PADDING
    prefix: tuple[int, ...] = (BEGIN,)
    end: int | None = END
    template = ""
    special: Mapping[str, str] = {}

    def encode(self, texts: Sequence[str], length: int | None = None) -> list[list[int]]:
        """Tokens of each text, between those that begin and end it. Args: length: maximum number; None for no limit."""
        read = ([BEGIN, *text.encode()] for text in texts)
        return [tokens[:length] if length and len(tokens) >= length else [*tokens, END] for tokens in read]

    def spans(self, texts: Sequence[str]) -> list[Tokenized]:
        """The tokens of each text alone, with the bytes that each stands for."""
        return [Tokenized.of_sizes(read, [1] * len(read)) for read in map(str.encode, texts)]

    def words(self, tokens: Sequence[int]) -> list[str]:
        """Each token as text: a printable character, or its number as in ``0xe2``."""
        return [NAMES.get(token) or (chr(token) if 32 <= token < 127 else f"0x{token:02x}") for token in tokens]
