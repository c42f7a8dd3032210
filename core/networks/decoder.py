"""A small decoder that is pretrained here: Llama's architecture, with bytes as tokens."""

from __future__ import annotations

import json
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn

from core.methods.method import Role
from core.networks.causal import LanguageModelSpec
from core.networks.hugging_face import build_causal
from core.networks.network import Quick
from core.networks.tokenizer import BEGIN, END, PADDING, SIZE, ByteTokenizer

MAX_PARAMETERS = 1_000_000
"""Maximum number of weights: what a processor pretrains in minutes."""

POSITIONS = 1024
"""Maximum length of a text, in bytes."""


class DecoderSpec(LanguageModelSpec):
    """Sizes of a decoder. Its output layer is its embedding, as in most small language models."""

    kind: Literal["decoder"] = "decoder"
    title = "decoder"
    evaluation_batch = 64
    learning_rate = 0.003
    rate_factors = {Role.ADAPTER: 3.0}  # noqa: RUF012 (a constant)
    longer = 1
    quick = Quick(rank=8, seeds=3, times=0.8)
    training = {  # noqa: RUF012 (a constant)
        "batch_size": 32,
        "epochs": 5,
        "warmup": 0.1,
        "decay": "linear",
        "clip": 1.0,
    }

    reasons = {  # noqa: RUF012 (a constant)
        "learning_rate": "the best of three on the definitions, half a decade apart",
        Role.ADAPTER: "3 times that of full fine-tuning, the best of three on the definitions",
        "batch_size": "a text has many bytes to learn from",
        "epochs": "a base is pretrained in a minute; twice as many make it 0.16 bits per byte better",
        "warmup": "Adam's estimates come from few steps at first, when large steps do lasting damage",
        "decay": "the last steps are small, so that the result does not depend on the last batches",
        "clip": "one odd batch must not undo what was learned",
    }

    width: int = Field(96, ge=8, le=512, title="Width", description="Numbers that stand for a byte.")
    blocks: int = Field(3, ge=1, le=16, title="Blocks", description="Number of blocks, each with attention.")
    heads: int = Field(4, ge=1, le=16, title="Heads", description="Attention heads of a block; divides the width.")
    feed_forward: int = Field(
        256, ge=8, le=2048, title="Feed-forward", description="Width of the feed-forward part of a block."
    )

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.width % (2 * self.heads):
            raise ValueError("The width must be an even number for each head: choose a multiple of twice the heads.")
        if self.parameters > MAX_PARAMETERS:
            raise ValueError(
                f"A decoder has at most {MAX_PARAMETERS:,} weights and this one has {self.parameters:,}: choose a "
                "smaller width, or fewer blocks."
            )
        return self

    @property
    def parameters(self) -> int:
        """Number of weights: the embedding, per block attention, feed-forward part and two norms, and the last norm."""
        block = 4 * self.width**2 + 3 * self.width * self.feed_forward + 2 * self.width
        return SIZE * self.width + self.blocks * block + self.width

    @property
    def values(self) -> dict[str, Any]:
        """The fields of the config of transformers."""
        return {
            "model_type": "llama",
            "vocab_size": SIZE,
            "hidden_size": self.width,
            "intermediate_size": self.feed_forward,
            "num_hidden_layers": self.blocks,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.heads,
            "max_position_embeddings": POSITIONS,
            "tie_word_embeddings": True,
            "bos_token_id": BEGIN,
            "eos_token_id": END,
            "pad_token_id": PADDING,
        }

    def drawn(self, device: torch.device, seed: int | None = None) -> nn.Module:
        return build_causal(json.dumps(self.values), device, seed)

    @property
    def tokenizer(self) -> ByteTokenizer:
        return ByteTokenizer()

    @property
    def vocabulary(self) -> int:
        return SIZE

    @property
    def padding(self) -> int:
        return PADDING

    @property
    def longest_input(self) -> int:
        return POSITIONS

    @property
    def sizes(self) -> str:
        return f"{self.blocks}×{self.width}"

    @property
    def facts(self) -> dict[str, str]:
        return {"Architecture": f"llama, {self.blocks} layers of width {self.width}", "Tokens": "bytes"}

    @property
    def text(self) -> str:
        return f"{self.title} of {self.blocks} blocks of width {self.width}, with bytes as tokens"
