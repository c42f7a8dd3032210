"""The label of every field for files has its limit: the browser sends no larger file, and nobody could say it after."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.lab import Lab
from pages.shared.ui import upload_field
from tests.pages.test_pages import draw


@pytest.mark.parametrize("page", ["judge", "data", "networks"])
def test_a_field_for_files_says_what_it_takes_at_most(page: str, opened: Lab) -> None:
    fields = draw(page).file_uploader
    assert fields
    for field in fields:
        assert field.label.endswith(f", at most {field.proto.max_upload_size_mb} MB")


def test_no_page_draws_such_a_field_otherwise() -> None:
    root = Path(upload_field.__file__).parents[2]
    found = {str(path) for path in root.rglob("*.py") if "st.file_uploader(" in path.read_text()}
    assert found == {upload_field.__file__}
