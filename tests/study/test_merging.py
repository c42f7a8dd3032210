"""What the Learn page says of merging holds, and the program that it lists prints what is shown below it."""

from __future__ import annotations

import contextlib
import io

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import LoRAError
from core.study.learn.listings import ADD_LORA, printed
from core.study.learn.merging import merge_and_unmerge


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.integers(1, 128))
def test_merging_keeps_the_outputs_and_unmerging_the_weights(seed, rank):
    difference, is_restored = merge_and_unmerge(seed, rank)
    assert is_restored
    assert 0 < difference < 1e-4


def test_a_rank_that_the_layer_cannot_use_is_refused():
    with pytest.raises(LoRAError, match="smaller rank"):
        merge_and_unmerge(0, 129)


def test_the_listed_program_prints_what_the_page_shows():
    found = io.StringIO()
    with contextlib.redirect_stdout(found):
        exec(ADD_LORA, {})
    assert found.getvalue() == printed()
    assert "6,248 of 142,322 parameters train" in printed()


def test_the_page_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    merge_and_unmerge(1, 4)
    printed()
    assert torch.equal(before, torch.get_rng_state())
