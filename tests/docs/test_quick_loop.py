"""How long modules take is recorded for `make check`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import durations
from tests.durations import TESTS


def test_a_report_of_some_modules_is_recorded_and_modules_that_are_gone_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durations, "FILE", tmp_path / "durations.json")
    durations.FILE.write_text('{"docs/test_gone.py": 9, "docs/test_map.py": 7, "docs/test_quick_loop.py": 1}')
    cases = [f'<testcase classname="tests.docs.test_quick_loop" name="{name}" time="1.26"/>' for name in "ab"]
    (tmp_path / "report.xml").write_text(f"<testsuites><testsuite>{''.join(cases)}</testsuite></testsuites>")
    durations.record(tmp_path / "report.xml")
    known = durations.seconds_by_module()
    assert known == {"docs/test_map.py": 7, "docs/test_quick_loop.py": 2.5}
    assert [durations.seconds_of(TESTS / "docs" / name, known) for name in ("test_map.py", "test_new.py")] == [7, 0]


def test_no_two_modules_of_tests_have_one_name() -> None:
    # Forked processes and pickles find a module by its name, and would find the other one.
    names = [path.name for path in TESTS.rglob("test_*.py")]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []
