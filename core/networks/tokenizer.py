"""The tokenizer of a transformer: texts to tokens, and tokens to what people can read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.errors import NetworkFileError
from core.networks.transformers_library import transformers

SETTINGS = "tokenizer_config.json"
SPECIAL = "special_tokens_map.json"
"""Special tokens again, in folders of earlier versions of transformers."""
FILES = ("tokenizer.json", SETTINGS, SPECIAL, "vocab.txt", "vocab.json", "merges.txt")
"""Names of the files that a tokenizer may consist of, all of them text."""


class Tokenizer:
    """Reads texts for one network; see :class:`core.data.views.view.TextReader`. Thread-safe."""

    def __init__(self, digest: str, folder: Path) -> None:
        """Args:
        digest: identifies the network's files.
        folder: with the tokenizer's files.

        Raises:
            NetworkFileError: there is no tokenizer, or it is damaged, or it needs code that only its authors have.
        """
        self.digest = digest
        auto = transformers().AutoTokenizer
        try:
            found: Any = auto.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except BaseException as error:  # tokenizers raise plain Exceptions, and panics of Rust, which are none
            panicked = type(error).__name__ == "PanicException"
            if isinstance(error, MemoryError) or not (panicked or isinstance(error, Exception)):
                raise
            raise NetworkFileError(
                "The tokenizer of this network cannot be read: bring a network with a tokenizer.json."
            ) from error
        if not found.is_fast:
            raise NetworkFileError("This network has no tokenizer.json: choose another network.")
        # Its own object, without the mutable settings of padding and truncation, which are not safe between threads.
        self._tokenizer = found.backend_tokenizer
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.padding = _padding(found)

    @property
    def kind(self) -> str:
        """Kind of the model that makes tokens, as in ``WordPiece``."""
        return type(self._tokenizer.model).__name__

    @property
    def size(self) -> int:
        """Number of tokens that it knows."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    @property
    def largest(self) -> int:
        """The largest id of a token, that of padding included."""
        ids: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        return max((self.padding, *ids.values()))

    def encode(self, texts: Sequence[str], length: int | None = None) -> list[list[int]]:
        """Token ids of each text, with the tokens that mark its beginning and end.

        Args:
            texts: what to read; a text without any token becomes one token of padding.
            length: maximum number of tokens, those marks included; None cuts nothing.
        """
        return [_cut(text, length) or [self.padding] for text in self._tokenizer.encode_batch(list(texts))]

    def words(self, tokens: Sequence[int]) -> list[str]:
        """Each token as text, as people can read it."""
        return [self.name_of(int(token)) or "?" for token in tokens]

    def name_of(self, token: int) -> str | None:
        """A token by its name in the tokenizer's files; None if it is not one of them."""
        name: str | None = self._tokenizer.id_to_token(token)
        return name


def _cut(text: Any, length: int | None) -> list[int]:
    """Token ids of a text, without those before its last marks that are too many."""
    ids: list[int] = text.ids
    if length is None or len(ids) <= length:
        return ids
    behind = next((i for i, mark in enumerate(reversed(text.special_tokens_mask)) if not mark), 0)
    return ids[: length - behind] + ids[len(ids) - behind :]


def _padding(tokenizer: Any) -> int:
    """The token that pads: its own, else the one that ends texts, else the first."""
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id):
        if token is not None:
            return int(token)
    return 0
