"""A small dataset of texts and a tiny transformer, in a home folder that wants to fine-tune on texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from core.data.dataset import Labels, TextDataset
from core.data.task_spec import TaskSpec
from core.lab import Lab
from core.networks.decoder import DecoderSpec
from core.networks.transformer import TransformerSpec
from core.objectives.language import LanguageSpec
from core.run_spec import OptimSpec, RunSpec
from tests.networks.tiny import save_tiny

NAMES = ("cat", "**dog**", "<b>mat</b>", "far")
"""Names of the classes; people's own may contain anything."""

HEAVY = (60, 20, 10, 10)
"""Test texts of each class: 60 % are of the first one."""

HOSTILE = "=1+1 [a](javascript:b) <i>cat</i> $x$ **big** :red[cat]"
"""The first test text."""

NETWORK = "tiny-bert"
LENGTH = 16

PETS = TaskSpec.of(dataset="pets", length=LENGTH)
"""All classes."""

FIRST, LAST = PETS.but(classes=(0, 1)), PETS.but(classes=(2, 3))
"""A source task, and one to fine-tune on afterwards."""

DECODER = DecoderSpec.of(width=16, blocks=2, heads=2, feed_forward=24)
"""A tiny language model, which is pretrained on the same texts."""


def decoder_base(optim: OptimSpec, seed: int = 0) -> RunSpec:
    """A base that has learned to continue the texts of the source task."""
    return RunSpec.of(method="pretrain", network=DECODER, task=FIRST, optim=optim, seed=seed, objective=LanguageSpec())


def texts_of(counts: tuple[int, ...], seed: int) -> tuple[tuple[str, ...], Labels]:
    """Texts of some length that name what they are about, shuffled, with their labels."""
    draw = np.random.RandomState(seed)
    labels = draw.permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.int64)
    about = ("cat", "dog", "mat", "far")
    others = ("a", "the", "red", "blue", "big", "small", "and", "not", "very")
    return (
        tuple(" ".join([*draw.choice(others, draw.randint(1, 12)), about[label], "sat"]) for label in labels),
        labels,
    )


def pets() -> TextDataset:
    """A small unbalanced dataset of texts."""
    train, train_labels = texts_of((40, 40, 40, 40), 0)
    test, test_labels = texts_of(HEAVY, 1)
    return TextDataset("upload", train, train_labels, (HOSTILE, *test[1:]), test_labels, NAMES)


def import_tiny(lab: Lab, scratch: Path, **changes: Any) -> TransformerSpec:
    """Keep the dataset and import the network, which has dropout; returns its spec, for the classes of the dataset.

    Args:
        lab: where.
        scratch: a folder to make, for the network's files.
        changes: fields of its config.
    """
    lab.catalog.keep(pets(), "pets")
    card = lab.networks.import_folder(save_tiny(scratch, **{"max_position_embeddings": 128} | changes), NETWORK)
    return lab.networks.spec(card.digest, len(NAMES))
