"""The notice on Home and Runs that a lost store came back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.lab import Lab, close_lab, open_lab
from core.settings import Settings
from tests.pages.test_pages import draw
from tests.store.harm import lose
from tests.trained_home import TrainedHome


@pytest.fixture
def lost(trained_home: TrainedHome, settings: Settings) -> Iterator[tuple[Lab, list[str]]]:
    """Open a lab whose store was deleted; yield it with the ids of its runs."""
    lab = open_lab(settings)
    ids = [run.id for run in trained_home.bring(lab, str(trained_home.plain.base), str(trained_home.split.base))]
    close_lab()
    lose(settings)
    yield open_lab(settings), ids
    close_lab()


@pytest.mark.parametrize("page", ["home", "runs"])
def test_that_a_lost_store_came_back_is_said_until_somebody_has_read_it(lost: tuple[Lab, list[str]], page: str) -> None:
    lab, ids = lost
    assert {run.id for run in lab.store.runs()} == set(ids)
    assert "lab.sqlite3 was missing or empty, and was restored from the backup" in draw(page).warning[0].value
    app = draw(page)
    app.button(key="noticed").click().run()
    assert list(app.warning) == []
    assert list(draw(page).warning) == []


def test_every_page_says_in_one_sentence_that_the_store_is_gone(opened: Lab, settings: Settings) -> None:
    lose(settings)
    app = draw("experiment")
    assert len(app.error) == 1
    assert "was removed or replaced while LoRA Lab had it open" in app.error[0].value
