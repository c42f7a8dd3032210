"""Tokenizers: texts to tokens, and tokens to what people can read. Networks that are pretrained here read bytes.

The files of an imported one are opened in the reader, by transformers. What comes back is a text in the format of the
tokenizers library, of a form that is known to be harmless; that is what reads texts here.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar

import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors

from core.data.passage import Tokenized
from core.errors import NetworkFileError
from core.networks.tokenizer_form import check_form, make_linear
from core.networks.transformers_library import transformers
from core.reader import Limits, in_reader

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
    unknown: int | None = None
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
        return {"tokenizer.json": _form(), "tokenizer_config.json": json.dumps(BYTES_READ | limit, indent=2).encode()}


BYTES_READ = {
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
    own = tokenizers.Tokenizer(models.BPE({_letter(byte): byte for byte in range(256)}, []))
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


T = TypeVar("T")

FORM, SETTINGS = "tokenizer.json", "tokenizer_config.json"
SPECIAL = "special_tokens_map.json"
"""Special tokens again, in folders of earlier versions of transformers."""
FILES = (FORM, SETTINGS, SPECIAL, "vocab.txt", "vocab.json", "merges.txt")
"""Names of the files that a tokenizer may consist of, all of them text."""


@dataclass(frozen=True)
class OpenedTokenizer:
    """What the files of a tokenizer turned out to be."""

    form: bytes
    """JSON in the format of the tokenizers library, without padding, truncation and dropout."""
    padding: int
    """The token that pads."""
    size: int
    """Number of tokens that it knows."""
    largest: int
    """The largest id of a token, that of padding included."""
    end: int | None = None
    """The token that ends texts, where there is one."""
    template: str = ""
    """The chat template, a program in Jinja's language; empty where there is none."""
    special: dict[str, str] = dataclasses.field(default_factory=dict)
    """Special tokens by the names that chat templates know them by, such as ``bos_token``."""
    dropout: float = 0.0
    """Share of merges that its files leave out at random each time a text is read, and that are not left out here."""


class Tokenizer:
    """Reads texts for one network; see :class:`core.tasks.views.view.TextTokenizer`. Thread-safe."""

    def __init__(self, digest: str, folder: Path, opened: OpenedTokenizer | None = None) -> None:
        """Args:
        digest: identifies the network's files.
        folder: with the tokenizer's files.
        opened: what :func:`opened_tokenizer` has made of them, if it was called already.

        Raises:
            NetworkFileError: there is no tokenizer, or it is damaged, needs code that only its authors have, or may
                take long or make much of a little text.
        """
        self.digest = digest
        opened = opened or opened_tokenizer(folder.absolute())
        self._tokenizer = _unless_it_panics(lambda: tokenizers.Tokenizer.from_str(opened.form.decode()), UNREADABLE)
        self.padding, self.size, self.largest, self.end = opened.padding, opened.size, opened.largest, opened.end
        self.template, self.special, self.dropout = opened.template, opened.special, opened.dropout

    @property
    def kind(self) -> str:
        """Kind of the model that makes tokens, as in ``WordPiece``, and what of it was left out."""
        kind = type(self._tokenizer.model).__name__
        return f"{kind} without its dropout of {self.dropout:g}" if self.dropout else kind

    @property
    def unknown(self) -> int | None:
        """The token in place of what no other token stands for; None if its model has none."""
        name = getattr(self._tokenizer.model, "unk_token", None)
        return None if name is None else self._tokenizer.token_to_id(name)

    def encode(self, texts: Sequence[str], length: int | None = None) -> list[list[int]]:
        """Token ids of each text, with the tokens that mark its beginning and end.

        Args:
            texts: what to read; a text without any token becomes one token of padding.
            length: maximum number of tokens, those marks included; None cuts nothing.

        Raises:
            NetworkFileError: it cannot read one of the texts.
        """
        read = _unless_it_panics(lambda: self._tokenizer.encode_batch(list(texts)), WITHOUT_TEXTS)
        return [_cut(text, length) or [self.padding] for text in read]

    @property
    def prefix(self) -> tuple[int, ...]:
        """The tokens that mark the beginning of a text."""
        read = self._tokenizer.encode("a")
        marks = takewhile(lambda each: each[1], zip(read.ids, read.special_tokens_mask, strict=True))
        return tuple(token for token, _ in marks)

    def spans(self, texts: Sequence[str]) -> list[Tokenized]:
        """The tokens of each text without marks of its beginning and end, with the bytes that each stands for.

        Raises:
            NetworkFileError: it cannot read one of the texts.
        """
        read = _unless_it_panics(
            lambda: self._tokenizer.encode_batch(list(texts), add_special_tokens=False), WITHOUT_TEXTS
        )
        return [self._tokenized(text, each) for text, each in zip(texts, read, strict=True)]

    def _tokenized(self, text: str, read: Any) -> Tokenized:
        """What was read of a text: by the bytes of each token where its letters are bytes, else by its characters."""
        if type(self._tokenizer.decoder).__name__ == "ByteLevel":
            sizes = [len(token) for token in read.tokens]
            if sum(sizes) == len(text.encode()):
                return Tokenized.of_sizes(read.ids, sizes)
        return Tokenized.of_offsets(text, read.ids, read.offsets)

    def words(self, tokens: Sequence[int]) -> list[str]:
        """Each token as text, as people can read it."""
        return [self.name_of(int(token)) or "?" for token in tokens]

    def name_of(self, token: int) -> str | None:
        """A token by its name in the tokenizer's files; None if it is not one of them."""
        name: str | None = self._tokenizer.id_to_token(token)
        return name


@in_reader(
    NetworkFileError,
    "The tokenizer of this network",
    Limits(memory=2**31, cpu=60, wall=180),
    imports=("transformers.models.auto.tokenization_auto",),
)
def opened_tokenizer(folder: Path) -> OpenedTokenizer:
    """Open the files of a tokenizer, and check its form. Raises: see :class:`Tokenizer`."""
    load = transformers().AutoTokenizer.from_pretrained
    found = _unless_it_panics(lambda: load(folder, local_files_only=True, trust_remote_code=False), UNREADABLE)
    if not found.is_fast:
        raise NetworkFileError("This network has no tokenizer.json: choose another network.")
    backend = found.backend_tokenizer
    backend.no_padding()
    backend.no_truncation()
    form = json.loads(_unless_it_panics(backend.to_str, UNREADABLE))
    make_linear(form)
    check_form(form)
    dropout = form["model"].pop("dropout", None)
    if (form["decoder"] or {}).get("type") != "ByteLevel":  # nothing here decodes; that one says what letters stand for
        form["decoder"] = None
    ids, padding = backend.get_vocab(with_added_tokens=True).values(), _padding(found)
    largest, (template, special) = max(padding, *ids, 0), _chat(found)
    content = json.dumps(form, ensure_ascii=False).encode()
    return OpenedTokenizer(content, padding, len(ids), largest, found.eos_token_id, template, special, dropout or 0.0)


UNREADABLE = "The tokenizer of this network cannot be read: import a network with a tokenizer.json."
WITHOUT_TEXTS = "The tokenizer of this network cannot read this text: choose another network."


def _unless_it_panics(work: Callable[[], T], sentence: str) -> T:
    """What a tokenizer makes. Raises: NetworkFileError: the sentence, where the tokenizer fails in any way."""
    try:
        return work()
    except BaseException as error:  # tokenizers raise plain Exceptions, and panics of Rust, which are none
        panicked = type(error).__name__ == "PanicException"
        if isinstance(error, MemoryError) or not (panicked or isinstance(error, Exception)):
            raise
        raise NetworkFileError(sentence) from error


def _cut(text: Any, length: int | None) -> list[int]:
    """Token ids of a text, without those before its last marks that are too many."""
    ids: list[int] = text.ids
    if length is None or len(ids) <= length:
        return ids
    behind = next((i for i, mark in enumerate(reversed(text.special_tokens_mask)) if not mark), 0)
    return ids[: length - behind] + ids[len(ids) - behind :]


def _chat(tokenizer: Any) -> tuple[str, dict[str, str]]:
    """The chat template, of several the one for plain conversations, and the special tokens that it may use."""
    found = tokenizer.chat_template
    template = found.get("default") if isinstance(found, dict) else found
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
    return template if isinstance(template, str) else "", special


def _padding(tokenizer: Any) -> int:
    """The token that pads: its own, else the one that ends texts, else the first."""
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id):
        if token is not None:
            return int(token)
    return 0
