"""Adapter files that get in nowhere, and what does no harm; ``tests/bad_files`` has what can be wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.adapter import read_adapter
from core.errors import AdapterError
from tests.adapter.samples import WHOLE, assert_same, zipped
from tests.bad_files.zips import unsafe


def test_a_file_on_the_disk_is_refused_with_the_sentence_for_its_bytes(tmp_path: Path) -> None:
    for make, _ in unsafe(zipped, 12).values():
        content, path = make(), tmp_path / "adapter.zip"
        path.write_bytes(content)
        said = []
        for source in (content, path):
            with pytest.raises(AdapterError) as caught:
                read_adapter(source)
            said.append(str(caught.value))
        assert said[0] == said[1]
        assert [each.name for each in tmp_path.iterdir()] == ["adapter.zip"]


def test_a_file_that_is_too_large_or_not_there_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "big.zip").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(AdapterError, match="larger than 2 GiB"):
        read_adapter(tmp_path / "big.zip")
    for path in (tmp_path / "none.zip", tmp_path, tmp_path / ("x" * 300)):
        with pytest.raises(AdapterError, match="cannot be read"):
            read_adapter(path)


def test_files_that_do_no_harm_are_passed_over() -> None:
    for extra in ((".gitattributes", b"*"), ("__MACOSX/._adapter_config.json", b"1"), ("empty/", b"")):
        assert_same(read_adapter(zipped(extra)), read_adapter(WHOLE))
