"""Pages and the command line ask a method that only tests register for its own fields, and show it as the others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.__main__ import main
from core.adapter import verify_adapter
from core.lab import close_lab
from core.methods.full import FullSpec
from tests.conftest import finish
from tests.extended import PARTS, Done, check_drawn
from tests.methods.rescaled import RescaledSpec
from tests.pages.test_pages import draw, texts


@pytest.mark.parametrize(("page", "view"), PARTS)
def test_every_page_shows_it_without_having_been_told(done: Done, page: str, view: str | None) -> None:
    check_drawn(done, page, view)


@pytest.mark.parametrize("view", ["Spectrum", "Rank", "Alpha", "Subspaces"])
def test_every_part_of_the_weights_page_draws(done: Done, view: str) -> None:
    check_drawn(done, "weights", view, run=done.of("IA3 g=1").id)


def test_the_page_of_adapters_and_the_details_of_a_run_show_it(done: Done) -> None:
    run = done.of("IA3 g=16")
    app = draw("adapters", adapter=run.id)
    assert not app.error
    (checks,) = (frame.value for frame in app.dataframe if "Check" in frame.value)
    assert dict(zip(checks["Check"], checks["Result"], strict=True))["Layers"] == "layers.0 and layers.2"
    next(button for button in app.button if button.label == "Verify again").click().run()
    assert "The adapter is valid: on layers.0, layers.2" in texts(app).replace("\\", "")
    assert not draw("runs", run=run.id).error


def test_fine_tuning_asks_for_its_own_fields_and_trains_it(done: Done) -> None:
    app = draw("new", base=done.base.id)
    keys = {widget.key for widget in (*app.slider, *app.button_group)}
    assert not {"new-group", "new-spread"} & keys
    app.pills(key="new-methods").set_value(["full", "rescaled"]).run()
    keys = {widget.key for widget in (*app.slider, *app.select_slider, *app.button_group)}
    assert {"new-group", "new-spread", "new-layers", "new-rate-rescaled"} <= keys
    assert not {"new-rank", "new-alpha", "new-scaling"} & keys
    assert [fold.label for fold in app.expander if "layers" in fold.label] == ["Spread and layers"]
    app.pills(key="new-group").set_value([]).run()
    assert "Choose at least one group for IA3." in [error.value for error in app.error]
    app.pills(key="new-group").set_value([2, 8]).run()
    app.slider(key="new-spread").set_value(0.25).run()
    app.slider(key="new-seeds").set_value(1).run()
    app.slider(key="new-epochs").set_value(1).run()
    next(button for button in app.button if "Start the experiment" in button.label).click().run()
    assert not app.exception
    newest = done.lab.store.experiments()[0]
    runs = finish(done.lab, *newest.runs)
    found = {run.spec.method for run in runs} - {FullSpec()}
    assert found == {RescaledSpec.of(group=group, spread=0.25, target_modules=("all-linear",)) for group in (2, 8)}
    like = draw("new", like=newest.id, base=done.base.id)
    assert not like.warning
    assert like.pills(key="new-group").value == [2, 8]
    assert like.slider(key="new-spread").value == 0.25


def test_the_command_line_asks_for_its_own_fields(
    registered: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    close_lab()
    words = ["compare", "--home", str(tmp_path), "--source", "digits", "--epochs", "1", "--pretrain-epochs", "1"]
    words += ["--seeds", "1", "--json"]
    own = ["--adapters", "rescaled", "lora", "--group", "1", "4", "--spread", "0.1", "--rank", "2"]
    assert main([*words, *own]) == 0
    found = json.loads(capsys.readouterr().out)
    arms = found["arms"]
    assert [arm["label"] for arm in arms] == ["Full", "LoRA r=2", "IA3 g=1", "IA3 g=4"]
    assert [arm["rank"] for arm in arms] == [None, 2, None, None]
    assert verify_adapter(Path(arms[3]["adapter"]), Path(found["base"]["weights"])).certified
    assert main([*words, "--adapters", "lora", "--group", "4"]) == 1
    assert "--group is a setting of rescaled: add rescaled to --adapters, or leave it out." in capsys.readouterr().err
    assert main([*words, "--adapters", "rescaled", "--group", "65"]) == 1
    assert "Group must be at most 64, not 65." in capsys.readouterr().err
