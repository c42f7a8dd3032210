"""Bytes as tokens: the tokenizer of networks that are pretrained here, and its files for transformers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

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
        """Tokens of each text, behind that which begins it. Args: length: maximum number; None for no limit."""
        return [[BEGIN, *text.encode()][:length] for text in texts]

    def spans(self, texts: Sequence[str]) -> list[Tokenized]:
        """The tokens of each text alone, with the bytes that each stands for."""
        return [Tokenized.of_sizes(read, [1] * len(read)) for read in map(str.encode, texts)]

    def words(self, tokens: Sequence[int]) -> list[str]:
        """Each token as text: a printable character, or its number as in ``0xe2``."""
        return [NAMES.get(token) or (chr(token) if 32 <= token < 127 else f"0x{token:02x}") for token in tokens]

    def files(self, length: int | None = None) -> dict[str, bytes]:
        """Files that ``AutoTokenizer`` reads, by name; it makes the same tokens. Args: length: after which it cuts."""
        limit = {} if length is None else {"model_max_length": length}
        return {"tokenizer.json": _form(), "tokenizer_config.json": json.dumps(SETTINGS | limit, indent=2).encode()}


SETTINGS = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": NAMES[BEGIN],
    "eos_token": NAMES[END],
    "pad_token": NAMES[PADDING],
    "padding_side": "right",
    "truncation_side": "right",
    "clean_up_tokenization_spaces": False,
}
"""What ``tokenizer_config.json`` says, whatever the length."""


@cache
def _form() -> bytes:
    """The tokenizer in the format of the tokenizers library."""
    own = Tokenizer(models.BPE({_letter(byte): byte for byte in range(256)}, []))
    own.add_special_tokens([AddedToken(name, special=True) for name in NAMES.values()])
    own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    own.decoder = decoders.ByteLevel()
    own.post_processor = processors.TemplateProcessing(f"{NAMES[BEGIN]} $A", special_tokens=[(NAMES[BEGIN], BEGIN)])
    return own.to_str(pretty=True).encode()


def _letter(byte: int) -> str:
    """The letter that stands for a byte in byte-level tokenizers: printable ones stand for themselves, the others for
    those from 256 on, in their order (Radford et al., GPT-2's ``bytes_to_unicode``).
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return chr(byte if byte in printable else 256 + byte - sum(other < byte for other in printable))
