"""Examples: a batch is the same rows as of all pixels at once, and only images have pixels."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.data.examples import ImageExamples, TextExamples
from core.errors import DatasetError

IMAGES = ImageExamples(torch.rand(9, 784, generator=torch.Generator().manual_seed(0)), torch.arange(9) % 3)


@given(st.lists(st.integers(0, 8)))
def test_a_batch_has_the_chosen_rows_in_their_order(rows: list[int]) -> None:
    batch = IMAGES.batch(torch.tensor(rows, dtype=torch.int64))
    assert list(batch) == ["pixels"]
    assert batch["pixels"].shape == (len(rows), 784)
    for place, row in enumerate(rows):
        assert torch.equal(batch["pixels"][place], IMAGES.all_pixels()[row])


def test_slices_together_are_everything_and_cost_no_memory() -> None:
    parts = [IMAGES.batch(slice(start, start + 4))["pixels"] for start in range(0, len(IMAGES), 4)]
    assert torch.equal(torch.cat(parts), IMAGES.all_pixels())
    assert {part.untyped_storage().data_ptr() for part in parts} == {IMAGES.pixels.untyped_storage().data_ptr()}
    assert len(IMAGES) == 9


def test_the_first_ones_are_a_part_and_cost_no_memory() -> None:
    few = IMAGES.first(4)
    assert torch.equal(few.pixels, IMAGES.pixels[:4])
    assert torch.equal(few.labels, IMAGES.labels[:4])
    assert few.pixels.data_ptr() == IMAGES.pixels.data_ptr()
    assert len(IMAGES.first(100)) == 9


def test_other_examples_have_no_pixels_and_say_so() -> None:
    words = TextExamples.of([[1], [2], [3]], torch.arange(3), 0)
    assert len(words) == 3
    assert words.device.type == "cpu"
    with pytest.raises(DatasetError, match="not images"):
        words.all_pixels()
