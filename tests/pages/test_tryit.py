"""The Try it page: every network of an experiment answers what it is given, as its stored predictions say."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest
from starlette.applications import Starlette
from streamlit.testing.v1 import AppTest

from core.lab import Lab
from core.networks.forward import forward
from core.serving.inputs import own_image
from core.study.arms.answers_table import disputed
from core.study.report.answer import place_of
from core.study.weights.predicted import computed_labels, predictions, true_targets
from core.web import downloads
from core.wording.tasks import answers_text
from tests.data.uploaded import picture
from tests.pages.test_pages import draw, texts
from tests.trained_home import TrainedHome
from tests.web.asking import ask


def answers(app: AppTest) -> dict[str, dict[str, object]]:
    """The table of answers by network; empty if there is none."""
    return {
        row["network"]: {
            "Answer": row["answer"],
            "Probability": max(cell["share"] for cell in row["cells"]),
            "Right": row["right"],
        }
        for element in app.get("bidi_component")
        if element.proto.component_name.endswith("answers")
        for row in json.loads(element.proto.json)["rows"]
    }


def test_every_network_answers_a_test_example_as_it_was_measured(filled: Lab) -> None:
    experiment = filled.store.experiments()[0]
    runs = {run.spec.label: run for run in filled.store.members(experiment) if run.spec.seed == 0}
    truth = true_targets(filled, next(iter(runs.values())).spec)
    expected = {label: predictions(filled, run).predicted for label, run in runs.items()}
    expected["Base"] = computed_labels(filled, next(iter(runs.values())), of_base=True, on_source=False)
    app = draw("tryit")
    assert "bit for bit" in texts(app)
    for number in (1, 57):
        app.number_input(key="try-example").set_value(number).run()
        found = answers(app)
        told = {label: str(row["Answer"]) for label, row in found.items()}
        assert answers_text(told, str(truth[number - 1])) in texts(app)
        assert next(iter(found)) == "Base"
        assert found.keys() == expected.keys()
        for label, row in found.items():
            assert row["Answer"] == str(expected[label][number - 1]), label
            assert row["Right"] == (expected[label][number - 1] == truth[number - 1])


def test_the_table_of_disputes_leads_with_the_most_answers(filled: Lab) -> None:
    app = draw("tryit")
    table = next(frame.value for frame in app.dataframe if "Example" in frame.value)
    networks = [column for column in table if column not in ("Example", "Class", "Networks right")]
    # The base is shown, but that it alone differs is no dispute between methods.
    tuned = [name for name in networks if name != "Base"]
    assert len(tuned) < len(networks)
    different = [len(set(row)) for row in table[tuned].to_numpy().tolist()]
    assert different == sorted(different, reverse=True)
    assert min(different) > 1
    numbers = table["Example"].tolist()
    for number in numbers[:4]:
        assert app.number_input(key="try-example").value == number
        app.button(key="try-next").click().run()
    app.number_input(key="try-example").set_value(numbers[-1]).run()
    app.button(key="try-next").click().run()
    assert app.number_input(key="try-example").value == numbers[0]


@pytest.mark.parametrize("task", ["Target", "Source"])
def test_the_file_of_disputes_has_all_rows_where_the_table_is_cut_and_the_source_shows_what_was_forgotten(
    filled: Lab, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    on_source = task == "Source"
    experiment = filled.store.experiments()[0]
    runs = {run.spec.label: run for run in filled.store.members(experiment) if run.spec.seed == 0}
    first = next(iter(runs.values()))
    spec = first.spec.source if on_source else first.spec.task
    test = filled.tasks.get(spec).test
    networks = {"Base": filled.artifacts.base_network(first)}
    networks |= {label: filled.artifacts.trained(run) for label, run in runs.items()}
    expected = {
        label: forward(network.eval(), test.batch(slice(None))).argmax(1).numpy() for label, network in networks.items()
    }
    truth = true_targets(filled, first.spec, spec)
    compared = [labels for label, labels in expected.items() if on_source or label != "Base"]
    rows = disputed(compared).tolist()  # on the source with the base, which has learned these classes
    assert len(rows) > 3
    monkeypatch.setattr("pages.experiment.use.disputes.SHOWN", 3)
    app = draw("tryit", **{"try-task": task})
    assert not app.error
    table = next(frame.value for frame in app.dataframe if "Example" in frame.value)
    assert len(table) == 3
    assert "Only the first 3 are shown, and sorting sorts only these; the file has all." in texts(app)
    assert (f"The networks and their base differ on {len(rows)} of" in texts(app)) is on_source
    if on_source:
        assert app.number_input(key="try-example").value == rows[0] + 1
        assert {label: row["Answer"] for label, row in answers(app).items()} == {
            label: str(labels[rows[0]]) for label, labels in expected.items()
        }
    (link,) = [link for link in app.get("link_button") if link.proto.label == "Download these examples"]
    status, body, headers = ask(Starlette(routes=downloads.routes(lambda path: path)), link.proto.url)
    assert status == 200
    assert f"{experiment.id}-{'source-' if on_source else ''}disagreements.csv" in headers["content-disposition"]
    content = pd.read_csv(io.StringIO(body))
    assert list(content) == list(table) == ["Example", "Class", *expected, "Networks right"]
    assert content["Example"].tolist() == [row + 1 for row in rows]
    assert content["Class"].tolist() == truth[rows].tolist()
    for label, labels in expected.items():
        assert content[label].tolist() == labels[rows].tolist(), label
    right = sum((labels[rows] == truth[rows]).astype(int) for labels in expected.values())
    assert content["Networks right"].tolist() == right.tolist()


@pytest.mark.parametrize("task", ["Target", "Source"])
def test_a_picture_of_ones_own_is_answered_as_it_is_or_inverted(filled: Lab, task: str) -> None:
    experiment = filled.store.experiments()[0]
    runs = {run.spec.label: run for run in filled.store.members(experiment) if run.spec.seed == 0}
    spec = runs["Full"].spec.task if task == "Target" else runs["Full"].spec.source
    pixels = np.zeros((28, 28), np.uint8)
    pixels[4:24, 12:17] = 200  # a one
    networks = {"Base": filled.artifacts.base_network(runs["Full"]), "Full": filled.artifacts.network(runs["Full"].id)}

    app = draw("tryit")
    app.segmented_control(key="try-task").set_value(task).run()
    app.segmented_control(key="try-input").set_value("Picture").run()
    assert "as soon as there is an input" in texts(app)
    app.file_uploader(key="try-picture").upload("one.png", picture(pixels)).run()
    for inverted in (False, True):
        app.toggle(key="try-invert").set_value(inverted).run()
        assert not app.error
        found = answers(app)
        assert list(found) == ["Base", *runs]
        assert found["Base"]["Right"] is None  # nobody has said what it is
        batch = own_image(255 - pixels if inverted else pixels, spec).batch
        for label, network in networks.items():
            (expected,) = forward(network.eval(), batch).detach().double().softmax(1)
            assert found[label]["Answer"] == str(int(expected.argmax()))
            assert found[label]["Probability"] == pytest.approx(float(expected.max()), abs=1e-6)
    app.file_uploader(key="try-picture").upload("one.png", b"no picture").run()
    assert len(app.error) == 1
    assert not answers(app)


def test_alpha_of_nothing_leaves_the_base_and_merging_changes_nothing(filled: Lab) -> None:
    app = draw("tryit")
    (slider,) = [slider for slider in app.slider if slider.label.startswith("Alpha")]
    assert slider.help == "At 0 it is the base."
    app.toggle(key="try-merged").set_value(True).run()
    assert "Merged networks keep" not in texts(app)
    trained = answers(app)
    assert trained["LoRA r=4, merged"]["Probability"] == pytest.approx(trained["LoRA r=4"]["Probability"], abs=1e-5)
    app.slider(key=slider.key).set_value(0.0).run()
    found = answers(app)
    assert found["LoRA r=4"]["Probability"] == found["Base"]["Probability"]
    assert found["Full"] == trained["Full"]
    assert found["LoRA r=4, merged"] == trained["LoRA r=4, merged"]
    assert "Merged networks keep the alpha of their training." in texts(app)


def test_the_networks_of_the_answer_are_asked_at_first_and_the_rest_waits_in_one_menu(
    opened: Lab, trained_home: TrainedHome
) -> None:
    trained_home.bring(opened, str(trained_home.sweep.base), *trained_home.sweep.runs)
    answered = {arm.name for arm in place_of(opened, trained_home.sweep).compared}
    assert len(answered) == 2
    app = draw("tryit", experiment=trained_home.sweep.id)
    assert answers(app).keys() == {"Base", *answered}
    (menu,) = [menu for menu in app.pills if menu.label == "Networks"]
    assert len(menu.options) == len({run.spec.arm for run in opened.store.members(trained_home.sweep)}) > 2
    menu.set_value(list({run.spec.arm for run in opened.store.members(trained_home.sweep)})).run()
    assert len(answers(app)) == 1 + len(menu.options)


def test_a_choice_of_no_network_and_a_seed_that_is_missing(filled: Lab) -> None:
    app = draw("tryit", **{"try-task": "Nowhere"})
    assert app.segmented_control(key="try-task").value == "Target"
    (networks,) = [menu for menu in app.pills if menu.label == "Networks"]
    networks.set_value([]).run()
    assert not app.error
    assert "Choose at least one network" in texts(app)
