"""An axis that only a test knows has a form, a file, a command line, a figure and a sentence, as any has."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from core.__main__ import main
from core.lab import Lab, close_lab, open_lab
from core.plan.axes import AXES, Axis, VarySpec
from core.plan.configuration_file import read_configuration, write_configuration
from core.settings import Settings
from core.store.record import Run
from core.study.arms.study_words import study_headline, study_table
from core.study.figures.intervals import study_figure
from core.study.report.answer import answer_of
from tests.pages.test_pages import draw, texts
from tests.registered import with_entry
from tests.studied_home import RotationAxis, study_asked

COMMAND = "compare --source digits --shots 20 --epochs 1 --pretrain-epochs 1 --seeds 3 --rank 2 --vary rotation=45,15"


@pytest.fixture(autouse=True)
def rotation() -> Iterator[Axis]:
    with with_entry(AXES, RotationAxis()) as axis:
        yield axis


def test_its_form_offers_its_usual_points(opened: Lab, base: Run) -> None:
    app = draw("new")
    app.pills(key="new-axis").set_value("rotation").run()
    assert "The rotation of every image, in degrees." in texts(app)
    assert app.multiselect(key="new-points-rotation").value == ["15", "45"]
    assert any(button.key == "new-run" for button in app.button)


def test_a_file_has_it(opened: Lab) -> None:
    asked = study_asked(opened, "rotation", (15, 45))
    assert read_configuration(write_configuration(asked), opened.catalog, opened.networks) == asked
    assert [part.task.rotation for part in asked.parts] == [15, 45]


def test_the_command_line_trains_it_and_the_page_draws_its_figure_and_sentence(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*COMMAND.split(), "--home", str(settings.home), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["study"]
    assert (told["axis"], told["points"]) == ("rotation", [15, 45])
    assert [at["point"] for at in told["at"]] == [15, 45]
    lab = open_lab(settings)
    try:
        (experiment,) = lab.store.experiments()
        assert lab.experiments.configuration(experiment).vary == VarySpec.of(name="rotation", points=(15, 45))
        found = answer_of(lab, experiment)
        assert {run.spec.task.rotation for run in lab.store.members(experiment)} == {15, 45}
        assert study_headline(found) == told["sentence"]
        assert list(study_table(found)["Rotation"]) == ["15", "15", "45", "45"]
        figure = study_figure(found)
        assert figure.layout.xaxis.title.text == "Rotation"
        assert list(figure.layout.xaxis.ticktext) == ["15", "45"]
        app = draw("experiment", experiment=experiment.id)
        assert "How far?" in texts(app)
        assert any("at every point" in line or "at any point" in line or "degrees" in line for line in [texts(app)])
    finally:
        close_lab()
