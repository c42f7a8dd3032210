"""A page whose file waits for those of others says so, and shows the file when it has been read."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from streamlit.delta_generator import DeltaGenerator

from core.lab import Lab
from core.reader import opening
from pages.shared.ui.waiting import WAITING
from tests.judge.samples import csv_of, rows_of
from tests.pages.test_pages import draw, texts


def test_a_page_says_that_its_file_waits_for_others(opened: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    info = DeltaGenerator.info

    with ExitStack() as others:
        others.enter_context(opening._budget.taken(opening.MAX_TOGETHER, lambda is_waiting: None))

        def seen(place: DeltaGenerator, body: str, **options: str) -> DeltaGenerator:
            drawn.append(body)
            others.close()
            return info(place, body, **options)

        monkeypatch.setattr(DeltaGenerator, "info", seen)
        app = draw("judge")
        app.file_uploader[0].upload("results.csv", csv_of(rows_of()))
        app.run()
    assert drawn == [WAITING]
    assert "72 runs of 9 settings" in texts(app)
    app.run()  # from the cache, where nothing is drawn again
    assert (WAITING in texts(app), list(app.exception)) == (False, [])
