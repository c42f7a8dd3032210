"""Every field for files has a limit of its own, which Streamlit writes in it, and which its label does not repeat: the
browser sends no larger file, and nobody could say it after.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from core.lab import Lab
from tests.pages.test_pages import draw


@pytest.mark.parametrize("page", ["judge", "data", "networks"])
def test_a_field_for_files_has_a_limit_that_is_said_once(page: str, opened: Lab) -> None:
    fields = draw(page).file_uploader
    assert fields
    for field in fields:
        assert 0 < field.proto.max_upload_size_mb < 1000
        assert "MB" not in field.label


def test_no_page_draws_such_a_field_without_its_limit() -> None:
    texts = [path.read_text() for path in (Path(__file__).parents[2] / "pages").rglob("*.py")]
    calls = [call for text in texts for call in re.findall(r"st\.file_uploader\((.*?)key=", text, re.DOTALL)]
    assert calls
    assert all("max_upload_size=" in call for call in calls)
