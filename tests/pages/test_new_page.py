"""The page of docs/extending.md works as it stands there."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

from core.lab import Lab
from core.store.record import Run
from tests.docs.examples import example


def test_the_page_of_the_example_lists_runs_by_the_size_of_their_files(opened: Lab, base: Run) -> None:
    app = AppTest.from_string(example("a page")).run()
    assert not app.exception
    assert app.title[0].value == "Largest"
    assert list(app.dataframe[0].value["Run"]) == [base.id]
