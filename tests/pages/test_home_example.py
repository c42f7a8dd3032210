"""Home shows an example answer until there is an experiment."""

from __future__ import annotations

from core.lab import Lab
from core.study.arms.verdict_words import headline
from core.study.report.example import example, example_verdict
from pages.shared.ui.literal import literal
from tests.conftest import BOTH, compared, short
from tests.pages.test_pages import draw, texts


def test_the_first_visit_shows_an_example_and_says_that_it_is_one(opened: Lab) -> None:
    app = draw("home")
    assert f"**Example: {example().name}.**" in texts(app).replace("\\", "")
    assert literal(headline(example_verdict())) in texts(app)
    assert "The interval is over seeds and 4,000 test images." in texts(app)
    (chart,) = app.get("plotly_chart")
    assert "each setting minus that of full fine-tuning" in chart.proto.alt
    assert [each.proto.label for each in app.get("link_button")] == ["Download chart"]
    assert [button.key for button in app.button if not button.key.startswith("home-run")] == []


def test_the_example_goes_when_there_is_an_experiment(opened: Lab) -> None:
    compared(opened, "rotation-45", "digits", None, short(rate=0.001), BOTH, seeds=range(1))
    assert "Example:" not in texts(draw("home"))
