"""The offer on Home and Runs to restore runs that the store has lost."""

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
def test_what_the_store_has_lost_is_restored_by_one_button(lost: tuple[Lab, list[str]], page: str) -> None:
    lab, ids = lost
    app = draw(page)
    assert any("2 runs were trained here but are missing from the list." in text.value for text in app.markdown)
    app.button(key="restore").click().run()
    assert "2 runs were restored" in app.success[0].value
    assert {run.id for run in lab.store.runs()} == set(ids)
    app.run()
    assert list(app.success) == []  # shown only once
    assert "restore" not in {button.key for button in app.button}


def test_a_folder_that_says_nothing_is_kept_and_named(lost: tuple[Lab, list[str]], settings: Settings) -> None:
    _, (first, _) = lost
    (settings.runs / first / "run.safetensors").write_bytes(b"nothing")
    for path in settings.backups.glob("*"):
        path.unlink()
    app = draw("home")
    app.button(key="restore").click().run()
    assert "1 run was restored" in app.warning[0].value
    assert (settings.home / "strays" / first / "network.safetensors").exists()


def test_every_page_says_in_one_sentence_that_the_store_is_gone(opened: Lab, settings: Settings) -> None:
    lose(settings)
    app = draw("compare")
    assert len(app.error) == 1
    assert "was removed or replaced while LoRA Lab had it open" in app.error[0].value
