"""Every page draws without an error: in an empty lab, in one with runs, and with invalid URL parameters."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Button

from core.answer.lines import headline
from core.data.task_spec import TaskSpec
from core.engine.jobs.run_files import ADAPTER, NETWORK
from core.lab import Lab
from core.networks.perceptron import PerceptronSpec
from core.run_spec import RunSpec
from core.store.record import Run
from core.study.report.answer import place_of
from pages.shared.experiment.live import WATCHED
from pages.shared.ui.download import OFFERS
from pages.shared.ui.links import ENTRIES, placed, script
from pages.shared.ui.primary import on_primary
from pages.shared.ui.tabs import VIEW
from tests.conftest import BOTH, DIGITS, HANG, compared, finish, short, wait_until
from tests.data.idx_files import MNIST, idx_files, put
from tests.data.uploaded import keep_noise
from tests.docs.examples import example
from tests.launching import fine_tune

SHELL = Path(__file__).parents[2] / "pages" / "shell.py"
PAGES = list(ENTRIES)


class Shell(AppTest):
    """What somebody has open: no run of a page's script, whatever makes it run, may end in an exception."""

    def __init__(self) -> None:
        super().__init__(SHELL, default_timeout=HANG)

    def _run(self, *values: Any, **more: Any) -> AppTest:
        super()._run(*values, **more)
        assert not self.exception, self.exception
        return self


@cache
def registered() -> dict[str, Any]:
    """The pages of the shell as ``AppTest`` knows them, once it has run the first one."""
    return dict(Shell().run()._registered_pages)


def draw(page: str, /, **query: str | list[str]) -> AppTest:
    """Open a page, or what stands within one, by its address, without drawing the first page before it."""
    app = Shell()
    app._registered_pages = registered()
    return visit(app, page, **query)


def visit(app: AppTest, page: str, /, **query: str | list[str]) -> AppTest:
    """Go from what is open to another page, or to what stands within one, by its address."""
    name, asked = placed(page, query)
    app.query_params.clear()
    app.query_params |= asked
    if VIEW in asked and VIEW in app.session_state:  # a browser takes it from the address, AppTest keeps the tab
        app.session_state[VIEW] = asked[VIEW]
    return app.switch_page(script(name)).run()


def draw_with_digits(page: str) -> AppTest:
    """Open Home or Pretrain, and choose the digits there, which are trained on in seconds."""
    return draw(page).selectbox(key=f"{page}-dataset").set_value("digits").run()


def button(app: AppTest, name: str) -> Button:
    """The only button with this key or label."""
    (found,) = [each for each in app.button if name in (each.key, each.label) or each.label == on_primary(name)]
    return found


def press(app: AppTest, name: str) -> AppTest:
    """Press the button with this key or label."""
    return button(app, name).click().run()


def choose(app: AppTest, action: str) -> AppTest:
    """Choose an action in the menu of the experiment that a page shows."""
    return app.menu_button[0].click(action).run()


def metrics(app: AppTest) -> dict[str, str]:
    """The value of each metric by label; the last one if labels repeat."""
    return {metric.label: metric.value for metric in app.metric}


def links(app: AppTest) -> dict[str, dict[str, str]]:
    """The parameters in the address of each link to a page, by label."""
    return {each.proto.label: dict(parse_qsl(each.proto.query_string)) for each in app.get("page_link")}


def texts(app: AppTest) -> str:
    everything = [*app.markdown, *app.caption, *app.info, *app.warning, *app.error, *app.success, *app.subheader]
    bars = [*(bar.proto.text for bar in app.get("progress")), *(view["words"] for view in views(app).values())]
    return "\n".join([*(str(element.value) for element in everything), *bars])


def views(app: AppTest) -> dict[str, dict[str, Any]]:
    """What the script drew in each live view, by its key."""
    found = [each for each in app.get("bidi_component") if each.proto.component_name.endswith("live_view")]
    return {each.key: json.loads(each.proto.json)["now"] for each in found}


def asked_anew(app: AppTest, key: str) -> dict[str, Any]:
    """What the server answers a live view that asks what it shows now, in a thread without a page."""
    offer = app.session_state[OFFERS].get(key)
    with ThreadPoolExecutor(1) as thread:
        found: dict[str, Any] = json.loads(thread.submit(offer.content).result())
    return found


def set_state(lab: Lab, state: str, *ids: str, **values: object) -> None:
    """Put runs into a state, and these values into other columns of theirs, as if a worker had."""
    columns = {"state": state, **values}
    changes = ", ".join(f"{name} = ?" for name in columns)
    with lab.store.transaction() as db:
        db.executemany(f"UPDATE runs SET {changes} WHERE id = ?", [(*columns.values(), id) for id in ids])


def stop_all(lab: Lab) -> None:
    """Stop everything, and wait until it has ended."""
    live = [run.id for run in lab.live()]
    lab.stop(*live)
    finish(lab, *live)


EMPTY = {"report": "shows the decision report", "study": "starts from a pretrained network"}
"""What a page says that has nothing to show yet."""


@pytest.mark.parametrize("page", PAGES)
def test_a_page_of_an_empty_lab_draws(opened: Lab, page: str) -> None:
    app = draw(page)
    assert not app.error
    assert app.title
    assert EMPTY.get(page, "") in texts(app)


def test_home_and_pretrain_begin_with_the_part_of_mnist_and_with_all_of_it_where_it_is(opened: Lab) -> None:
    for page in ("home", "pretrain"):
        assert draw(page).selectbox(key=f"{page}-dataset").value == "mnist-16k"
    put(opened.settings.datasets / "MNIST" / "raw", idx_files(MNIST))
    for page in ("home", "pretrain"):
        assert draw(page).selectbox(key=f"{page}-dataset").value == "mnist"


def test_home_shows_what_runs_stops_all_of_it_and_keeps_the_curves_until_they_are_dismissed(opened: Lab) -> None:
    arms = [(optim.but(epochs=200), lora) for optim, lora in BOTH]
    experiment = compared(opened, "rotation-45", "digits", None, short(rate=0.001), arms, seeds=range(2))
    finish(opened, experiment.base)
    wait_until(lambda: any(run.step for run in opened.store.members(experiment)))
    app = draw("home")
    assert "Running now" in texts(app)
    assert "No setting has finished" not in texts(app)
    panel = f"home-{experiment.id}"
    assert "Training now" in app.button(key="below-running").label, "which a phone shows far below"
    assert "1 of 5 finished" in texts(app), "the base counts, as in the form, on the button that finishes and below"
    table = views(app)[f"{panel}-curves"]["table"]
    assert [row[table["titles"].index("Setting")] for row in table["rows"]] == ["Full", "LoRA r=4"]
    drawn = views(app)
    assert drawn.keys() == {f"{panel}-curves", "sidebar-activity"}
    for key, shown in drawn.items():
        asked = asked_anew(app, key)
        assert asked["version"] == shown["version"], "the page need not be drawn again for what the view fetches"
        assert asked["words"]
    app.session_state[f"{panel}-stop"] = True  # the popover is open
    app.run().button(key=f"{panel}-stop-all").click().run()
    finish(opened, *experiment.runs)
    assert all(asked_anew(app, key)["version"] != shown["version"] for key, shown in drawn.items())
    app.run()
    assert "Running now" not in texts(app)
    lines = {button.key: button.label for button in app.button if str(button.key).startswith("below-")}
    assert lines == {f"below-{experiment.id}": f"Shown below: {experiment.name}"}, "in the place of what has ended"
    assert "No verdict yet: 4 of 5 runs were stopped." in texts(app)
    # With the verdict, above the curves that stay, and where the same question would be asked again.
    assert texts(app).count("1 of 5 finished, 4 stopped") == 2
    assert app.button(key=f"{panel}-finish").label.startswith(":violet[Finish: 4 runs")
    assert not [button for button in app.button if button.key == f"{panel}-stop-all"]
    app.session_state[WATCHED] = {panel: experiment.runs[:1]}
    app.run()  # as if the others had been added while nobody looked
    assert texts(app).count("1 of 5 finished, 4 stopped") == 2
    app.button(key=f"{panel}-dismiss").click().run()
    assert texts(app).count("1 of 5 finished, 4 stopped") == 1
    assert not views(app)


@pytest.mark.parametrize("page", ["home", "experiment"])
def test_an_answer_without_what_was_stopped_is_given_when_somebody_asks_for_it(filled: Lab, page: str) -> None:
    experiment = filled.store.experiments()[0]
    last = next(run.id for run in filled.store.members(experiment) if run.spec.seed == 1 and run.spec.role != "adapter")
    set_state(filled, "stopped", last)
    app = draw(page, experiment=experiment.id)
    key = f"home-{experiment.id}" if page == "home" else page
    assert "No verdict yet: 1 of 4 runs was stopped." in texts(app)
    assert "Finish the experiment, or answer with the 1 seed that finished." in texts(app)
    app.button(key=f"{key}-answer").click().run()
    assert "No verdict yet: 1 of 4" not in texts(app)
    assert filled.store.run(last).archived
    app.button(key=f"{key}-finish").click().run()
    assert [run.state for run in finish(filled, last)] == ["finished"]


@pytest.mark.parametrize("page", ["home", "experiment"])
def test_runs_that_were_deleted_are_named_and_trained_again_when_somebody_asks_for_it(filled: Lab, page: str) -> None:
    experiment = filled.store.experiments()[0]
    last = next(run for run in filled.store.members(experiment) if run.spec.seed == 1 and run.spec.role == "adapter")
    filled.notes.delete([last.id])
    app = draw(page, experiment=experiment.id)
    assert "Deleted: LoRA r=4, seed 1." in texts(app)
    assert len(filled.store.members(experiment)) == 3
    key = f"home-{experiment.id}" if page == "home" else page
    app.button(key=f"{key}-deleted").click().run()
    new = filled.store.members(experiment)
    assert last.spec in {run.spec for run in new}
    finish(filled, *(run.id for run in new))
    assert "Deleted" not in texts(draw(page, experiment=experiment.id))


def test_what_ended_early_or_waits_for_its_base_is_told_of_on_every_page_and_finished_together(filled: Lab) -> None:
    experiment = filled.store.experiments()[0]
    one, other, *waiting = experiment.runs
    for state, ids in ("interrupted", [experiment.base, other]), ("stopped", [one]), ("queued", waiting):
        set_state(filled, state, *ids, result=None)
    panels = {"home": "home-{}", "experiment": "experiment-{}", "runs": "runs-live"}
    for page, panel in panels.items():
        app = draw(page, experiment=experiment.id)
        assert "0 of 5 finished, 2 queued, 1 stopped, 2 interrupted" in texts(app), page
        assert app.button(key=f"{panel.format(experiment.id)}-finish")
    press(app, "runs-live-finish")
    assert {run.state for run in finish(filled, str(experiment.base), *experiment.runs)} == {"finished"}


def test_a_failed_run_shows_its_cause_and_its_traceback_only_on_demand(filled: Lab) -> None:
    base = filled.bases()[0]
    (filled.settings.runs / base.id / "network.safetensors").write_bytes(b"no tensors")
    (failed,) = finish(filled, *fine_tune(filled, base, DIGITS, [BOTH[0]], [0], "x").runs)
    app = draw("runs", run=failed.id)
    assert failed.cause in texts(app)
    assert not any("DamagedFileError" in code.value for code in app.code)
    app.toggle(key="runs-traceback").set_value(True).run()
    assert "DamagedFileError" in app.code[0].value


def test_stopped_runs_are_shown_and_make_no_choice_and_no_verdict(filled: Lab) -> None:
    experiment = filled.store.experiments()[0]
    set_state(filled, "stopped", *experiment.runs)
    for page in ("home", "experiment"):
        app = draw(page)
        assert "No verdict yet: 4 of 4 runs were stopped." in texts(app), page
        assert any("Finish: 4 runs" in button.label for button in app.button), page
    assert not draw("home").get("plotly_chart")
    assert not [link for link in draw("home").get("link_button") if "Adapter" in link.proto.label]
    app = draw("experiment", view="Curves")
    assert [tab.label for tab in app.tabs] == ["Validation", "Curves", "Weights", "Runs", "Use it"], "each has one rate"
    assert len(app.get("plotly_chart")) == 2
    compare, weights = draw("experiment"), draw("weights")
    assert not compare.warning, "the answer says that runs were stopped"
    assert r"Shown: Full \(stopped early\), LoRA r=4 \(stopped early\)" in texts(weights)
    assert filled.looks.of(experiment.id) == []


def test_compare_has_means_of_finished_runs_beside_a_stopped_one(filled: Lab) -> None:
    experiment = filled.store.experiments()[0]
    members = filled.store.members(experiment)
    last = next(run for run in reversed(members) if run.spec.role == "adapter")
    set_state(filled, "stopped", last.id)
    finished = [run for run in members if run.spec.role == "adapter" and run.id != last.id]
    app = draw("experiment")
    (validation,) = [frame.value for frame in app.dataframe]
    assert list(validation.columns) == ["Setting", "Learning rate", "Seeds", "Validation accuracy"]
    assert not app.get("plotly_chart"), "nothing of the test part is shown until all have ended"
    filled.notes.archive([last.id])  # as whoever asks for an answer without it
    (table,) = [f.value for f in draw("experiment").dataframe if "Macro-F1" in f.value.columns]
    for shown in (validation, table):
        assert shown.set_index("Setting").loc[last.spec.label, "Seeds"] == str(len(finished))
    assert any("stopped early" in str(chart.proto) for chart in draw("experiment").get("plotly_chart"))


def test_a_setting_that_a_failed_seed_rules_out_is_named_on_every_page(filled: Lab) -> None:
    experiment = filled.store.experiments()[0]
    lora = next(run for run in filled.store.members(experiment) if run.spec.role == "adapter")
    set_state(filled, "failed", lora.id, result=None, cause="Planted.")
    for page in ("home", "experiment", "weights"):
        sentence = f"Left out of the choice because a seed failed: LoRA r=4 (seed {lora.spec.seed})."
        assert sentence in texts(draw(page)).replace("\\", ""), page
    assert "No verdict yet" in texts(draw("experiment"))


def test_compare_shows_examples_of_the_two_settings_that_are_chosen(filled: Lab) -> None:
    def only(app: AppTest) -> list[str]:
        return [line for line in texts(app).splitlines() if line.startswith("**Only ")]

    app = draw("experiment", view="Examples")
    assert "360 test images: one is worth 0.28 points." in texts(app)
    assert "There are only 360 test images." in texts(app)
    alts = [chart.proto.alt for chart in app.get("plotly_chart")]
    assert sum(alt.startswith("Confusion matrix of ") for alt in alts) == 2
    assert any(alt.startswith("Accuracy on each class.") for alt in alts)
    lines = only(app)
    assert [line.split(" is right")[0] for line in lines] == ["**Only Full", "**Only LoRA r=4"]
    experiment = filled.store.experiments()[0]
    for run in filled.store.members(experiment):  # the page needs neither networks nor adapters for it
        filled.artifacts.path(run.id, ADAPTER if run.spec.role == "adapter" else NETWORK).unlink()
    assert only(draw("experiment", view="Examples")) == lines
    lora = app.selectbox(key="examples-with").value
    app.selectbox(key="examples-compare").set_value(lora).run()
    assert only(app) == lines[::-1]


def test_the_dataset_of_finetune_is_that_of_the_base_until_somebody_chooses_one(filled: Lab) -> None:
    keep_noise(filled)
    digits = filled.bases()[0]
    spec = RunSpec.of(method="pretrain", network=PerceptronSpec(num_classes=3), task=TaskSpec.of(dataset="mine"))
    (mine,) = finish(filled, filled.launcher.launch(spec.but(optim=short())).id)
    app = draw("new", base=digits.id)
    chosen = []
    for base in (mine, digits, mine):
        app.selectbox(key="pick-base").set_value(base.id).run()
        chosen.append(app.selectbox(key="new-dataset").value)
    assert chosen == ["mine", "digits", "mine"]
    app.selectbox(key="new-dataset").set_value("mnist").run()
    app.selectbox(key="pick-base").set_value(digits.id).run()
    assert app.selectbox(key="new-dataset").value == "mnist"


def test_an_adapter_has_the_mean_of_its_setting_and_the_answer_of_its_experiment_beside_it(filled: Lab) -> None:
    experiment = filled.store.experiments()[0]
    found = place_of(filled, experiment)
    first, told = found.offered.run, found.told
    app = draw("adapters")
    assert app.query_params["adapter"] in (first.id, [first.id])
    values = metrics(app)
    assert values["Accuracy"] == first.score_text()
    assert values["Mean of 2 seeds"] == f"{told.arm.interval('accuracy').mean:.1f} %"
    assert headline(found) in texts(app).replace("\\", "")
    assert "comes first, because its seed is the nearest to the mean of its setting" in texts(app)
    assert "no adapter is offered above" not in texts(app)
    other = next(run for run in told.arm.runs if run.id != first.id)
    assert "comes first" not in texts(draw("adapters", adapter=other.id))
    set_state(filled, "stopped", other.id)  # a mean of the test part is not to be read before all have ended
    app = draw("adapters", adapter=first.id)
    assert "no adapter is offered above" in texts(app)
    assert "No verdict yet: 1 of 4 runs was stopped." in texts(app)
    assert not [metric.label for metric in app.metric if metric.label.startswith("Mean")]


def test_each_adapter_of_an_experiment_can_be_chosen_that_of_its_answer_first(filled: Lab) -> None:
    adapters = {run.id for run in filled.store.runs(methods=["lora"])}
    (answered,) = filled.store.experiments()
    offered = place_of(filled, answered).offered
    app = draw("adapters", experiment=answered.id)
    assert app.selectbox(key="pick-adapter").value == offered.id
    assert len(app.selectbox(key="pick-adapter").options) == len(adapters & set(answered.runs))
    for id in sorted(adapters):
        app.selectbox(key="pick-adapter").set_value(id).run()
        assert app.query_params["adapter"] in (id, [id])
        assert any(f"{id}-adapter.zip" in code.value for code in app.code)
        linked = draw("adapters", adapter=id)
        assert linked.selectbox(key="pick-adapter").value == id, "a link needs no experiment"


def test_the_page_of_the_example_lists_runs_by_the_size_of_their_files(opened: Lab, base: Run) -> None:
    app = AppTest.from_string(example("a page"), default_timeout=HANG).run()
    assert not app.exception
    assert app.title[0].value == "Largest"
    assert list(app.dataframe[0].value["Run"]) == [base.id]
