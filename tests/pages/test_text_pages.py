"""Every page of a lab with runs, and pages on runs of a transformer: fine-tuned directly, and after a source task."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

import pytest
from streamlit.testing.v1 import AppTest

from core.data.task_spec import TaskSpec
from core.engine.experiments import Experiments
from core.engine.jobs.run_files import ADAPTER
from core.engine.launcher import Planned
from core.errors import LabError
from core.forecast import memory
from core.forecast.estimates import Estimates
from core.forecast.memory import memory_of
from core.lab import Lab
from core.methods.lora import LoRASpec
from core.networks.transformer import TransformerSpec
from core.numbers import bytes_text
from core.plan.configuration import Configuration
from core.run_spec import RunSpec, default_optim
from core.study.arms.forgetting_notes import NO_SOURCE
from pages.shared.ui.links import script
from pages.shared.ui.literal import literal
from tests.pages.test_data import with_adapter
from tests.pages.test_pages import PAGES, Shell, draw, metrics, texts
from tests.pages.test_tryit import answers
from tests.text_home import HOSTILE, NAMES, NETWORK
from tests.trained_home import TrainedHome

TABS = ("Accuracy", "Rates", "Curves", "Forgetting", "Cost", "Examples", "Runs")

pytestmark = pytest.mark.usefixtures("everything")


@pytest.fixture(scope="module")
def seen(everything: Lab) -> Callable[..., AppTest]:
    """Draws a page once for all tests that only read it."""
    return cache(draw)


def test_pages_of_a_lab_with_runs_draw_one_after_another_in_one_session() -> None:
    app = Shell().run()
    for page in (*PAGES[1:], PAGES[0]):
        app.switch_page(script(page)).run()
        assert not app.error, page


@pytest.mark.parametrize("page", ["report", "weights", "tryit"])
@pytest.mark.parametrize("which", ["direct", "after_source"])
def test_every_page_of_an_experiment_draws(
    seen: Callable[..., AppTest], trained_home: TrainedHome, which: str, page: str
) -> None:
    app = seen(page, experiment=getattr(trained_home, which).id)
    for fold in app.expander if page == "report" else ():
        app.session_state[f"report-{fold.label}"] = True
    assert not app.run().error


def test_serve_calls_an_imported_base_by_its_name_and_says_what_rows_on_it_name(
    seen: Callable[..., AppTest], everything: Lab, trained_home: TrainedHome
) -> None:
    app = seen("serve")
    listed = {each.adapter: each for each in everything.predictor.adapters().adapters}
    shown = app.dataframe[0].value
    for adapter, base in zip(shown["Adapter"], shown["Base"], strict=True):
        key = listed[adapter].base
        assert base == (NETWORK if key.startswith(trained_home.digest) else key)
    assert NETWORK in set(shown["Base"])
    assert "On an imported network that does not continue texts, every row names an adapter" in texts(app)


@pytest.mark.parametrize("tab", TABS)
@pytest.mark.parametrize("which", ["direct", "after_source"])
def test_every_tab_of_compare_speaks_of_texts(
    seen: Callable[..., AppTest], trained_home: TrainedHome, which: str, tab: str
) -> None:
    app = seen("compare", experiment=getattr(trained_home, which).id, view=tab)
    assert not app.error
    found = texts(app)
    assert "images" not in found
    assert "None" not in found
    if tab == "Examples":
        assert "test texts" in found
    if tab == "Forgetting":
        assert (NO_SOURCE in found) == (which == "direct"), "it cannot be measured of a network as it was brought"


def test_texts_on_which_two_settings_differ_stand_in_a_table_as_they_are(
    everything: Lab, seen: Callable[..., AppTest], trained_home: TrainedHome
) -> None:
    app = seen("compare", experiment=trained_home.direct.id, view="Examples")
    table = next(frame.value for frame in app.dataframe if "Text" in frame.value)
    assert list(table.columns) == [
        "Text",
        "Class",
        "Full",
        "LoRA r=2",
        "Right with Full",
        "Right with LoRA r=2",
    ]
    assert set(table["Class"]) <= set(NAMES)
    whole = set(everything.catalog.load("pets").test_texts)
    assert HOSTILE in whole
    assert set(table["Text"]) <= whole
    (link,) = app.get("link_button")[-1:]
    assert link.proto.label == "Download these texts"


def test_a_run_shows_macro_f1_its_network_and_no_json_among_its_settings(
    everything: Lab, seen: Callable[..., AppTest], trained_home: TrainedHome
) -> None:
    app = seen("runs", run=trained_home.direct.runs[0])
    run = everything.store.run(trained_home.direct.runs[0])
    assert run.result.measures["macro_f1"] is not None
    assert metrics(app)["Macro-F1"] == f"{run.result.measures['macro_f1']:.2f} %"
    assert f"from {literal(NETWORK)}" in texts(app)
    settings = next(frame.value for frame in app.dataframe if "Value" in frame.value)
    assert settings["Value"].str.len().max() <= 64


def test_runs_can_be_filtered_by_their_network(seen: Callable[..., AppTest]) -> None:
    assert "11 runs" in texts(seen("runs", network=NETWORK))
    assert "0 runs" in texts(seen("runs", text="no-such-network"))


def test_an_adapter_on_a_brought_network_shows_how_peft_loads_it_and_its_certificate_each_rank_and_not_each_layer(
    everything: Lab, seen: Callable[..., AppTest], trained_home: TrainedHome
) -> None:
    lora = next(run for run in everything.store.runs_of(trained_home.direct.runs) if run.spec.role == "adapter")
    app = seen("adapters", adapter=lora.id)
    assert not app.error
    assert any("AutoModelForSequenceClassification" in code.value for code in app.code)
    assert all("None" not in code.value for code in app.code)
    ranks = list(everything.artifacts.certificate(lora.id)["layers"].values())
    (table,) = [frame.value for frame in app.dataframe if "Check" in frame.value]
    rows = table[table["Check"].str.startswith("Rank of")]
    assert list(rows["Result"]) == list(dict.fromkeys(map(str, ranks)))
    assert len(rows) < len(ranks)
    assert f"Rank of {len(ranks)} layers" in set(rows["Check"])


def test_an_adapter_is_not_compared_with_a_head_that_nothing_has_trained(
    everything: Lab, trained_home: TrainedHome
) -> None:
    for experiment, base in (trained_home.direct, trained_home.digest), (trained_home.after_source, None):
        run = next(run for run in everything.store.runs_of(experiment.runs) if run.spec.role == "adapter")
        content = everything.artifacts.read(run.id, ADAPTER)
        app = with_adapter(base or str(run.spec.base), content)
        app.toggle(key="adapter-more").set_value(True).run()
        app.selectbox(key="adapter-task-dataset").set_value("pets").run()
        columns = {name for frame in app.dataframe if "With the adapter" in frame.value for name in frame.value}
        assert ("Base, with an untrained head" in columns, "Base" in columns, "Difference" in columns) == (
            (True, False, False) if base else (False, True, True)
        )


def test_the_form_says_what_is_computed_once(trained_home: TrainedHome) -> None:
    app = draw("new", base=trained_home.digest)
    app.pills(key="new-controls").set_value(["head"]).run()
    captions = [caption.value for caption in app.caption if "without dropout" in caption.value]
    assert captions == [
        "Head only: No block of the network is trained, so the blocks run without dropout, once for each text."
    ]


def test_a_form_says_what_does_not_fit(
    everything: Lab, trained_home: TrainedHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In so small a network the code for parts of a batch takes more than they save.
    monkeypatch.setattr(memory, "kernel_bytes", lambda *_: 0)
    app = draw("new", base=trained_home.digest)
    app.pills(key="new-methods").set_value(["lora"]).run()
    app.pills(key="new-transformer-rank").set_value([LoRASpec.of().rank]).run()
    app.select_slider(key="new-transformer-batch").set_value(1024).run()
    assert not any("will not fit" in warning.value for warning in app.warning)
    network = everything.networks.spec(trained_home.digest)
    lora = default_optim(LoRASpec, network).but(batch_size=1024), LoRASpec.of()
    asked = Configuration.on(network, TaskSpec.of(dataset="pets", length=128), [lora], range(1), device="cpu")
    needed = memory_of(everything.launcher.plan(asked).runs[:1], everything.tasks)
    monkeypatch.setattr("core.forecast.estimates.free_bytes", lambda device: needed - 1)
    app.run()
    assert any(f"{LoRASpec.of().label} will not fit" in warning.value for warning in app.warning)


def test_home_tells_memory_and_what_does_not_fit_while_the_button_is_there(
    everything: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[RunSpec] = set()
    shortage = Estimates.shortage
    # So small a network takes more for its files, code and evaluations, which no setting changes, than for a step.
    monkeypatch.setattr(memory, "IMPORTED", memory.NetworkCopies(0, 0, 0, 0, 0))
    monkeypatch.setattr(memory, "kernel_bytes", lambda *_: 0)
    monkeypatch.setattr(TransformerSpec, "evaluation_batch", 1)
    monkeypatch.setattr(Estimates, "shortage", lambda own, specs: shortage(own, asked.update(specs) or specs))
    app = draw("home")
    app.selectbox(key="home-dataset").set_value("pets").run()
    assert not any("will not fit" in warning.value for warning in app.warning)
    amount = r"[^:]+, [\d.]+ [MG]B of memory\."
    assert any(re.fullmatch(f"Thorough: {amount} Quick: {amount}", caption.value) for caption in app.caption)
    needed = max(everything.estimates.alone([spec for spec in asked if spec.network.brought]))
    monkeypatch.setattr("core.forecast.estimates.free_bytes", lambda device: needed - 1)
    app.run()
    assert any("will not fit" in warning.value for warning in app.warning)
    assert app.button(key="home-run")


def test_home_offers_to_keep_only_the_networks_of_chosen_settings_where_all_take_much_space(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = draw("home")
    assert not [toggle for toggle in app.toggle if toggle.key == "home-trim"]
    monkeypatch.setattr("pages.shared.experiment.keep.MUCH_SPACE", 0)
    app.run()
    assert "Keep only the networks of chosen settings" in app.toggle(key="home-trim").label
    queued: list[bool] = []

    def start(
        experiments: Experiments, planned: Planned, name: str = "", trim: bool = False, anew: bool = False
    ) -> None:
        queued.append(trim)
        raise LabError("Nothing is queued in this test.")

    monkeypatch.setattr(Experiments, "start", start)
    app.toggle(key="home-trim").set_value(True).run()
    app.button(key="home-run").click().run()
    assert queued == [True]


def test_macro_f1_and_the_largest_class_stand_beside_accuracy_and_on_home_only_where_there_is_an_answer(
    everything: Lab, seen: Callable[..., AppTest], trained_home: TrainedHome
) -> None:
    app = seen("home", experiment=trained_home.direct.id)
    assert any("Accuracy misleads here" in warning.value for warning in app.warning)
    compare = texts(seen("compare", experiment=trained_home.direct.id, view="Accuracy"))
    assert "always naming one class" in compare
    assert "Accuracy misleads here: 60.0 % of the test texts are of one class" in compare
    for page in ("home", "compare"):
        assert "misleads" not in texts(seen(page, experiment=trained_home.after_source.id)), page


def test_compare_shows_the_memory_that_was_forecast_beside_what_was_measured(
    everything: Lab, seen: Callable[..., AppTest], trained_home: TrainedHome
) -> None:
    app = seen("compare", experiment=trained_home.direct.id, view="Cost")
    (table,) = [frame.value for frame in app.dataframe if "Process, measured" in frame.value]
    kept = everything.estimates.at_launch(trained_home.direct.runs)
    columns = ["Setting", "Process, forecast", "Process, measured"]
    for label, forecast, measured in table[columns].itertuples(index=False):
        runs = [
            run for run in everything.store.runs_of(trained_home.direct.runs) if run.spec.label == label and run.result
        ]
        (peak,) = {max(run.result.peak_memory or 0 for run in runs if run.result)}
        assert measured.startswith(bytes_text(peak))
        assert forecast in {bytes_text(kept[run.id].memory) for run in runs}
        assert ("bank of" in measured) == any(run.result.bank > 1 for run in runs if run.result)
    assert any("Runs of one bank share that product" in each.help for each in app.markdown)


@pytest.mark.parametrize("which", ["direct", "after_source"])
def test_a_text_that_somebody_types_is_answered(trained_home: TrainedHome, which: str) -> None:
    app = draw("tryit", experiment=getattr(trained_home, which).id)
    assert [error.value for error in app.error] == []
    app.segmented_control(key="try-input").set_value("Type").run()
    assert "as soon as there is an input" in texts(app)
    app.text_area(key="try-text").set_value("the big red dog sat").run()
    assert not app.error
    assert "7 tokens" in texts(app)
    found = answers(app)
    assert next(iter(found)) == ("Base, with an untrained head" if which == "direct" else "Base")
    assert {"Full", "LoRA r=2"} <= set(found)
    assert {row["Right"] for row in found.values()} == {None}
    assert {slider.help for slider in app.slider} == {"At 0 it is the base with the trained head."}
    # One network whose base has learned nothing is compared with none.
    assert "Where they disagree" in [heading.value for heading in app.subheader]
    menu = app.get("button_group")
    networks = next(each for each in menu if each.key.startswith("try-networks-"))
    networks.set_value(networks.value[:1]).run()
    assert not app.error
    assert ("Where they disagree" in [heading.value for heading in app.subheader]) == (which != "direct")
