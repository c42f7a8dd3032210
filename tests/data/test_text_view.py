"""Tasks of texts: what a network reads is what its own tokenizer gives, cut and padded as said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from core.data.dataset import TextDataset
from core.data.examples import TextExamples
from core.data.task_spec import TaskSpec
from core.errors import DatasetError
from core.networks.tokenizer import Tokenizer
from core.tasks.views.text import TextView, text_preview
from tests.networks.tiny import save_tiny

pytestmark = pytest.mark.usefixtures("read_here")

WORDS = ("cat", "dog", "sat", "mat", "very", "far", "red")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny") / "bert")


@pytest.fixture(scope="module")
def reader(folder: Path) -> Tokenizer:
    return Tokenizer("0" * 64, folder)


def dataset(texts: list[str]) -> TextDataset:
    labels = np.arange(len(texts), dtype=np.int64) % 2
    return TextDataset("texts", tuple(texts), labels, tuple(texts[:4]), labels[:4], ("even", "odd"))


@given(st.lists(st.lists(st.sampled_from(WORDS), max_size=20), min_size=1, max_size=5), st.integers(3, 12))
@settings(max_examples=60, deadline=None)
def test_tokens_are_those_of_transformers(folder: Path, reader: Tokenizer, words: list[list[str]], length: int) -> None:
    texts = [" ".join(text) for text in words]
    theirs = AutoTokenizer.from_pretrained(folder)
    assert reader.encode(texts) == theirs(texts)["input_ids"]
    assert reader.encode(texts, length) == theirs(texts, truncation=True, max_length=length)["input_ids"]


def test_a_batch_is_what_transformers_pads(folder: Path, reader: Tokenizer) -> None:
    texts = ["cat sat", "dog", "very very far red mat"]
    theirs = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    own = TextExamples.of(reader.encode(texts), torch.zeros(3, dtype=torch.int64), reader.padding)
    for rows in (slice(None), torch.arange(3)):
        batch = own.batch(rows)
        assert torch.equal(batch["input_ids"], theirs["input_ids"])
        assert torch.equal(batch["attention_mask"], theirs["attention_mask"])


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=300), st.integers(1, 16), st.integers(0, 5), st.integers(0, 99)
)
@settings(max_examples=80, deadline=None)
def test_an_epoch_has_every_text_once_and_little_padding(lengths: list[int], size: int, epoch: int, seed: int) -> None:
    texts = TextExamples.of([[1] * n for n in lengths], torch.zeros(len(lengths), dtype=torch.int64), 0)
    random = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(seed))
    order = texts.batched(random, size, epoch)
    assert sorted(order.tolist()) == list(range(len(lengths)))
    assert torch.equal(order, texts.batched(random, size, epoch))  # a resumed run sees the same batches

    def padded(rows: torch.Tensor) -> int:
        return sum(int(texts.lengths[part].max()) * len(part) for part in torch.split(rows, size))

    whole = len(lengths) // size * size
    if whole == len(lengths):
        assert padded(order) <= padded(random)


def test_texts_in_the_order_of_their_lengths_are_all_there() -> None:
    texts = TextExamples.of([[1] * n for n in (5, 1, 3)], torch.arange(3), 0)
    assert texts.by_length().tolist() == [1, 2, 0]


def test_a_preview_says_what_is_cut_and_how_much_the_network_does_not_know(reader: Tokenizer) -> None:
    texts = ["cat"] * 20 + ["very " * 20] * 20
    strange = text_preview(TaskSpec.of(dataset="texts"), dataset(["Katze"] * 20 + ["cat"] * 20), reader, batch=4)
    marks = len(reader.encode([""])[0])
    assert 1 / (2 + 2 * marks) == pytest.approx(strange.share_unknown, rel=0.1)
    assert text_preview(TaskSpec.of(dataset="texts"), dataset(texts), reader, batch=4).share_unknown == 0
    seen = text_preview(TaskSpec.of(dataset="texts", length=8), dataset(texts), reader, batch=4)
    assert len(seen.rows) == 4
    assert seen.cut == int((seen.lengths > 8).sum()) > 0
    assert seen.share_lost == pytest.approx(sum(max(n - 8, 0) for n in seen.lengths) / sum(seen.lengths))
    for tokens, padding, _ in seen.rows:
        assert len(tokens) + padding == max(len(others) for others, _, _ in seen.rows)


@pytest.mark.parametrize("changes", [{"rotation": 45.0}, {"invert": True}, {"permutation": 1}])
def test_what_only_images_have_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(DatasetError, match="consists of texts, which have no"):
        TextView().outline(TaskSpec.of(dataset="texts", **changes), dataset(["cat"] * 40))


def test_a_network_that_reads_no_texts_is_named() -> None:
    with pytest.raises(DatasetError, match="choose a network that reads texts"):
        TextView().task(TaskSpec.of(dataset="texts"), dataset(["cat"] * 40))
