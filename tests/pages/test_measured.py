"""Cached measurements: each is made once per function and runs, and errors are not cached."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import streamlit as st

from core.errors import LabError
from core.results.arm import arms_of
from core.results.row import rows_of
from pages.shared.experiment.measured import measured, measured_unseen
from tests.study.samples import make_arm_runs

CALLS: list[str] = []


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    CALLS.clear()
    st.cache_data.clear()
    yield
    st.cache_data.clear()


def one(lab: Any, *values: Any) -> int:
    CALLS.append("one")
    return len(CALLS)


def other(lab: Any, *values: Any) -> int:
    CALLS.append("other")
    return len(CALLS)


def failing(lab: Any) -> int:
    CALLS.append("failing")
    raise LabError("The file is gone.")


def test_runs_and_arms_are_recognized_by_run_id() -> None:
    runs = make_arm_runs("full", [95.0, 96.0])
    arms = arms_of(rows_of(runs))
    assert measured(one, None, arms, [1, 2]) == measured(one, None, arms_of(rows_of(runs)), [1, 2])
    measured(one, None, runs[0])
    measured(one, None, runs[0])
    assert len(CALLS) == 2
    measured(one, None, runs[1])
    measured(one, None, arms, [1, 3])
    measured(one, None, arms_of(rows_of(runs[:1])), [1, 2])
    assert len(CALLS) == 5


def test_two_functions_with_the_same_arguments_are_kept_apart() -> None:
    assert (measured(one, None, 1), measured(other, None, 1), measured(one, None, 1)) == (1, 2, 1)


def test_errors_are_not_cached() -> None:
    for _ in range(2):
        with pytest.raises(LabError, match="gone"):
            measured(failing, None)
    assert CALLS == ["failing", "failing"]


def test_a_thread_without_a_page_is_told_what_pages_have_measured_and_logs_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert measured(one, None, 1) == 1
    caplog.clear()
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(measured_unseen, one, None, 1).result() == 1
        assert threads.submit(measured_unseen, one, None, 2).result() == 2
    assert not [record for record in caplog.records if "ScriptRunContext" in record.message]
    assert measured(one, None, 2) == 2
