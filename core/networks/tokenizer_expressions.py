r"""The regular expressions that tokenizers may have: those of published ones.

Nobody can tell most expressions from ones that take hours for a page of text. The time that these take grows with the
text and no faster, which tests/networks/test_tokenizer_expressions.py measures.
"""

from __future__ import annotations

LINEAR = {
    # DeepSeek LLM; what transformers writes for SentencePiece of a network that it has no class for; SeamlessM4T.
    **{r"\s+$": r"(?<!\s)\s+$", r"\A +| +\z": r"\A +|(?<! ) +\z", r" +▁": r"(?<! ) +▁"},
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
