"""Tables of texts whose columns or parts cannot be used, and what damage, repetition or size must not cost."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from core.data.uploads import limits, read_texts, read_upload
from core.errors import DatasetError
from tests import forked
from tests.bad_files.sentences import refusal
from tests.conftest import HANG
from tests.data.text_files import CSV, PARQUET, ROWS
from tests.data.uploaded import arrays, noise
from tests.soak.sizes import full_or_short


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"text": "body"}, "has no column 'body'; its columns are 'text', 'label'"),
        ({"label": "body"}, "has no column 'body'"),
        ({"part": "body"}, "has no column 'body'"),
        ({"text": "label", "label": "label"}, "'label' is chosen twice"),
        ({"part": "label"}, "chosen twice"),
        ({"text": "label", "label": "text"}, "has 1 text: each class"),
    ],
)
def test_a_column_that_cannot_be_used_is_a_sentence(columns: dict[str, str], sentence: str) -> None:
    assert sentence in refusal(DatasetError, read_texts, CSV, **columns)


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        (["train"] * 17 + ["soon"], "Row 19 has 'soon' in 'use': the parts are train, test and validation"),
        (["train"] * 17 + [""], "Row 19 has '' in 'use'"),
        (["train"] * 18, "says test of no row"),
        (["test"] * 18, "has 0 training texts"),
        (["train"] * 17 + ["test"], "'apple' has no texts in the test part"),
    ],
)
def test_parts_that_are_no_parts_are_a_sentence(parts: list[str], sentence: str) -> None:
    rows = "\n".join(f"{text},{label},{part}" for (text, label), part in zip(ROWS, parts, strict=True))
    assert sentence in refusal(DatasetError, read_texts, f"text,label,use\n{rows}".encode(), part="use")


def test_a_file_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    assert "a.csv cannot be read: No such file" in refusal(DatasetError, read_texts, tmp_path / "a.csv")
    assert "cannot be read" in refusal(DatasetError, read_texts, tmp_path)


def test_a_full_size_upload_of_images_comes_without_its_floats() -> None:
    """20,000 images of float32 are 63 MB, which the reader unpacks; this process gets their bytes, 16 MB."""
    x = np.repeat(noise(5, (200, 28, 28)), 100, axis=0).astype(np.float32)
    content = arrays(x_train=x, y_train=np.arange(20_000) % 10)
    assert len(content) <= limits.MAX_BYTES
    tracemalloc.start()
    try:
        assert sum(read_upload(content).train_counts) == 16_000
        assert tracemalloc.get_traced_memory()[1] < 72 * 2**20
    finally:
        tracemalloc.stop()


FLIPS = """
import sys
from pathlib import Path
from core.data.uploads import read_texts
from core.errors import DatasetError
content = Path(sys.argv[1]).read_bytes()
footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
for place in range(footer, len(content) - 8, int(sys.argv[2])):
    damaged = bytearray(content)
    damaged[place] ^= 1 << place % 2
    try:
        read_texts(bytes(damaged))
    except DatasetError:
        pass
print("survived")
"""


def test_no_damage_to_a_footer_ends_the_process(tmp_path: Path) -> None:
    """Arrow ends the process that reads some of them, which is the reader."""
    (tmp_path / "texts.parquet").write_bytes(PARQUET)
    every = full_or_short("1", "5")  # bytes of the footer
    done = forked.run(["-c", FLIPS, str(tmp_path / "texts.parquet"), every], timeout=HANG)
    assert (done.returncode, done.stdout.strip()) == (0, "survived"), done.stderr[-400:]
