"""Whether a tokenizer is one that cannot take long, or make much of a little text, whatever the text is.

A tokenizer's file is a program of a kind: it replaces, repeats and adds. What is checked here is its form as the
tokenizers library writes it (https://huggingface.co/docs/tokenizers/api/tokenizer), so that trying texts proves nothing
and is not needed. Its regular expressions must be those of published ones: nobody can tell most expressions from ones
that take hours for a page of text.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from core.errors import NetworkFileError

LINEAR = {
    # DeepSeek LLM; what transformers writes for SentencePiece of a network that it has no class for.
    **{r"\s+$": r"(?<!\s)\s+$", r"\A +| +\z": r"\A +|(?<! ) +\z"},
    # BigBird; SeamlessM4T.
    **{r" +\z": r"(?<! ) +\z", r" +▁": r"(?<! ) +▁"},
}
"""Published expressions whose time grows with the square, since a match is looked for from each space of many; and
those that are used in their place. These match the same, which always begins with the first space."""

EXPRESSIONS = (
    *LINEAR.values(),
    # What transformers writes for SentencePiece (T5, ALBERT, XLNet, mBART, NLLB, Pegasus, RemBERT, BigBird, Reformer).
    *(r" {2,}", r"\n", r"\A▁"),
    # Barthez and DeBERTa; SeamlessM4T.
    *(r"\s{2,}|[\n\r\t]", r"[\n\r\t]", r"^▁+$"),
    # CLIP.
    *(r"\s+", r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"),
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    # Nougat and Galactica.
    r"[\(\)\[\]\{\}]|([!\"#\$%\&'\*\+,\-\./:;<=>\?\\\^_`\|\~])\1*",
    # GPT-2, where it is written out.
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    # Llama 3, cl100k, Phi-4, OLMo 2, SmolLM3.
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+",
    # Qwen2, Qwen2.5, Qwen3, StableLM 2.
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    # Qwen3.5.
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+",
    # MiniCPM 5.
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    # Seed-Coder.
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+",
    # GPT-4 as it is written for matching fast; Ling.
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
    # o200k: GPT-4o, gpt-oss, Llama 4, Phi-4-mini.
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    # Mistral's tekken.
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|"
    r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    # DeepSeek Coder.
    *(r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-\u9fa5\u0800-一가-\ud7ff]+", r"\p{N}"),
    # DeepSeek V3.
    *(r"\p{N}{1,3}", "[一-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"),
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+",
    # BLOOM; Falcon; Jina's embeddings of Chinese; what the tokenizers library calls Whitespace, written out.
    *(r" ?[^(\s|[.,!?…。，、।۔،])]+", r"[0-9][0-9][0-9]", r"\S+", r"\w+|[^\w\s]+"),
)
"""Each matches at least one character."""


def is_known(expression: str) -> bool:
    """Whether an expression is one of these, with ends of lines as they are or as escapes."""
    return expression.replace("\r", r"\r").replace("\n", r"\n") in EXPRESSIONS


MAX_PARTS = 32
"""Maximum number of normalizers, of pre-tokenizers, and so on."""

MAX_GROWTH = 128
"""By how much normalizers and pre-tokenizers together may lengthen a text."""

MAX_ADDED = 256
"""Maximum number of tokens that are added to each text."""

MAX_TOKEN = 4096
"""Maximum characters of a token; the longest ones of published vocabularies are some hundred spaces."""

MAX_ADDED_BYTES = 2**20
"""Maximum bytes of the texts of all added tokens, of which a search tree is built in a second. Gemma 3 has the most of
networks that read texts, 6,400 tokens with some 80,000 bytes; those that speak have up to 720,000."""

MAX_PIECE = 256
"""Maximum characters of a token of Unigram, which at each character tries all tokens that begin there."""

MAX_PIECES = 2**23
"""Maximum characters of all tokens of Unigram, each a node of a tree: four times those of XLM-R and mT5."""

MAX_TOKENS = 2**20
"""Maximum number of tokens, four times those of the largest published vocabularies."""

MAX_WORD = 500
"""Maximum characters of a word that WordPiece divides, in a time that grows with their cube."""

MAX_AFFIX = 64
"""Maximum characters of what is put before or behind words."""

Part = Mapping[str, Any]
"""A normalizer, pre-tokenizer and so on, with its ``type``."""


def make_linear(form: Mapping[str, Any]) -> None:
    """Put other expressions in place of those that take a time that grows with the square of a text; see ``LINEAR``.

    Texts become the same tokens. Args and raises: as of :func:`check_form`.
    """
    for kinds, name in ((NORMALIZERS, "normalizer"), (PRE_TOKENIZERS, "pre_tokenizer")):
        for part in _parts(form.get(name), kinds, name):
            if "pattern" in part and (found := LINEAR.get(part["pattern"].get("Regex"))):
                part["pattern"]["Regex"] = found


def check_form(form: Mapping[str, Any]) -> None:
    """Check a tokenizer.

    Args:
        form: what its ``to_str`` gives, parsed.

    Raises:
        NetworkFileError: it is not of a form that is known to be harmless.
    """
    growth = 1.0
    for kinds, name in ((NORMALIZERS, "normalizer"), (PRE_TOKENIZERS, "pre_tokenizer")):
        for part in _parts(form.get(name), kinds, name):
            by = kinds[part["type"]]
            growth *= max(1.0, by(part) if callable(by) else by)
            if growth > MAX_GROWTH:
                raise _refused(f"may make texts more than {MAX_GROWTH} times as long")
    added = [_added(part) for part in _parts(form.get("post_processor"), POST_PROCESSORS, "post_processor")]
    if sum(added) > MAX_ADDED:
        raise _refused(f"adds more than {MAX_ADDED} tokens to each text")
    _check_model(form["model"])
    added_tokens = [token["content"] for token in form["added_tokens"]]
    if (longest := max(map(len, added_tokens), default=0)) > MAX_TOKEN:
        raise _refused(f"has an added token of {longest:,} characters")
    if (size := sum(len(text.encode()) for text in added_tokens)) > MAX_ADDED_BYTES:
        raise _refused(f"has added tokens of {size:,} bytes in all, more than {MAX_ADDED_BYTES:,}")


def _parts(part: Part | None, kinds: Collection[str], what: str) -> Iterator[Part]:
    """The parts of a sequence, and of those in it. Raises: NetworkFileError: there are too many, or one is unknown."""
    left, waiting = MAX_PARTS, [part] if part else []
    while waiting:
        found = waiting.pop()
        left -= 1
        if left < 0:
            raise _refused(f"has more than {MAX_PARTS} parts of the kind {what}")
        if found["type"] == "Sequence":
            waiting += next((each for each in found.values() if isinstance(each, list)), [])
        elif found["type"] in kinds:
            yield found
        else:
            raise _refused(f"has a {what} that LoRA Lab does not know, {found['type']!r:.40}")


def _prepended(part: Part) -> float:
    _check_affix(part["prepend"])
    return 1.0 + len(part["prepend"])  # before each piece between added tokens, which may be a character


def _replaced(part: Part) -> float:
    shortest = _shortest_match(part)
    return len(part["content"]) / shortest if shortest else math.inf


def _precompiled(part: Part) -> float:
    """The longest replacement of a table of SentencePiece: a length, a trie of that many bytes, and texts that end with
    a zero (https://github.com/google/sentencepiece/blob/master/src/normalizer.cc).
    """
    table = base64.b64decode(part["precompiled_charsmap"])
    texts = table[4 + int.from_bytes(table[:4], "little") :]
    return float(max((len(text.decode("utf-8", "replace")) for text in texts.split(b"\0")), default=1))


def _divided(part: Part) -> float:
    _shortest_match(part)
    return 1.0


def _shortest_match(part: Part) -> int:
    """Characters that a pattern matches at least. Raises: NetworkFileError: it is an expression that is not known."""
    pattern = part["pattern"]
    if "Regex" not in pattern:
        return len(pattern["String"])
    if not is_known(pattern["Regex"]):
        expression = f"{pattern['Regex']!r:.80}"
        raise _refused(f"has a {part['type']} with a regular expression that LoRA Lab does not know, {expression}")
    return 1


def _joined(part: Part) -> float:
    return 1.0 + len(part["replacement"])


Growth = float | Callable[[Part], float]

NORMALIZERS: Mapping[str, Growth] = {
    **dict.fromkeys(("NFC", "NFD", "NFKC", "NFKD", "Nmt", "Lowercase", "Strip", "StripAccents"), 1.0),
    "BertNormalizer": 3.0,  # spaces around Chinese characters
    "ByteLevel": 4.0,  # bytes of a character in UTF-8, each of which becomes one
    "Precompiled": _precompiled,
    "Prepend": _prepended,
    "Replace": _replaced,
}
"""Growth of a text by each kind; 1 by those that move or divide characters, or replace them as Unicode says."""

PRE_TOKENIZERS: Mapping[str, Growth] = {
    **dict.fromkeys(("BertPreTokenizer", "CharDelimiterSplit", "Digits", "FixedLength", "Punctuation"), 1.0),
    **dict.fromkeys(("UnicodeScripts", "Whitespace", "WhitespaceSplit"), 1.0),
    "ByteLevel": 4.0,
    "Metaspace": _joined,
    "Split": _divided,
}

POST_PROCESSORS = ("BertProcessing", "ByteLevel", "RobertaProcessing", "TemplateProcessing")


def _added(part: Part) -> int:
    """How many tokens a post-processor adds to a text."""
    if part["type"] != "TemplateProcessing":
        return 4
    sizes = {name: len(token["ids"]) for name, token in part["special_tokens"].items()}
    pieces = [name for piece in part["single"] for name in piece]
    if pieces.count("Sequence") > 1:
        raise _refused("repeats each text")
    return sum(sizes[piece["SpecialToken"]["id"]] for piece in part["single"] if "SpecialToken" in piece)


def _check_model(model: Part) -> None:
    vocabulary = model["vocab"]
    if len(vocabulary) > MAX_TOKENS:
        raise _refused(f"has more than {MAX_TOKENS:,} tokens")
    is_unigram = isinstance(vocabulary, list)
    lengths = [len(token[0] if is_unigram else token) for token in vocabulary]
    longest = max(lengths, default=0)
    if longest > (MAX_PIECE if is_unigram else MAX_TOKEN):
        raise _refused(f"has a token of {longest:,} characters")
    if is_unigram and sum(lengths) > MAX_PIECES:
        raise _refused(f"has tokens of {sum(lengths):,} characters in all, more than {MAX_PIECES:,}")
    if (model.get("max_input_chars_per_word") or 0) > MAX_WORD:
        raise _refused(f"divides words of more than {MAX_WORD} characters")
    for name in ("continuing_subword_prefix", "end_of_word_suffix"):
        _check_affix(model.get(name) or "")


def _check_affix(text: str) -> None:
    if len(text) > MAX_AFFIX:
        raise _refused(f"puts more than {MAX_AFFIX} characters before or behind words")


def _refused(why: str) -> NetworkFileError:
    return NetworkFileError(f"The tokenizer of this network {why}: choose another network.")
