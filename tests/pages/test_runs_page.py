"""The Runs page: its list, details of one or several runs, and its buttons."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from core.answer.levels import level_words
from core.answer.lines import headline
from core.lab import Lab, close_lab, open_lab
from core.rule.withheld import SELECTED
from core.run_spec import RunSpec
from core.settings import Settings
from core.store.notes import MAX_NOTE, MAX_TAGS
from core.store.record import Run
from core.store.search import Query
from core.study.report.answer import place_of
from pages.shared.ui.literal import literal
from pages.shared.ui.primary import on_primary
from tests.conftest import DIGITS, finish, short, wait_until
from tests.pages.test_pages import draw, links, press, set_state, stop_all, texts, views
from tests.store.many import write_many
from tests.trained_home import TrainedHome

PRETRAIN = RunSpec.of(method="pretrain", task=DIGITS, optim=short(rate=0.001))
LONG = PRETRAIN.but(optim=short(epochs=200, rate=0.001, batch_size=8))
MARKED = "**bold** <b>html</b> $x$ :material/home: [link](http://example.com)"


@pytest.fixture
def many(opened: Lab) -> list[str]:
    return write_many(opened.store, 200)


@pytest.fixture
def trained(trained_home: TrainedHome, opened: Lab) -> list[Run]:
    """A base, and a full and a LoRA run from it."""
    return trained_home.bring(opened, str(trained_home.one_seed.base), *trained_home.one_seed.runs)


def listed(app: AppTest) -> list[str]:
    """Return the ids in the list, which is the first table of the page."""
    return list(app.dataframe[0].value["Run"])


def keys(app: AppTest) -> set[str]:
    return {button.key for button in app.button if button.key}


def test_the_list_is_what_the_filters_let_through_and_the_address_says_them(opened: Lab, many: list[str]) -> None:
    app = draw("runs")
    assert listed(app) == [entry.run.id for entry in opened.search.find(Query()).entries]
    assert "1 to 50 of 190 runs" in texts(app)
    app.pills(key="state").set_value(["stopped"]).run()
    app.pills(key="runs-method").set_value(["lora"]).run()
    app.pills(key="runs-dataset").set_value(["mnist"]).run()
    assert app.query_params["dataset"] in ("mnist", ["mnist"])
    app.selectbox(key="sort").set_value("oldest first").run()
    query = Query(states=("stopped",), methods=("lora",), datasets=("mnist",), sort="oldest first")
    assert listed(app) == [entry.run.id for entry in opened.search.find(query).entries]
    app.text_input(key="text").set_value("tag 9 rotated").run()
    app.segmented_control(key="archive").set_value("all").run()
    query = Query(("stopped",), ("lora",), ("mnist",), text="tag 9 rotated", archived=None, sort="oldest first")
    assert 0 < len(listed(app)) == opened.search.count(query)


def test_an_address_brings_its_filters_with_it(opened: Lab, many: list[str]) -> None:
    app = draw("runs", state="finished", tag="tag 2", archive="all", sort="oldest first")
    query = Query(states=("finished",), tags=("tag 2",), archived=None, sort="oldest first")
    assert listed(app) == [entry.run.id for entry in opened.search.find(query).entries]
    assert listed(app)
    assert app.pills(key="state").value == ["finished"]


def test_an_address_that_means_nothing_is_no_crash(opened: Lab, many: list[str]) -> None:
    for query in (
        {"state": "<script>", "method": "x", "archive": "no", "sort": "; DROP TABLE runs", "page": "x"},
        {"page": "-3"},
        {"page": "999999999999999999999999"},
        {"run": ",,r-00000001,r-none"},
        {"dataset": "none", "tag": "none", "text": "%" * 5000},
    ):
        assert draw("runs", **query).title[0].value == "Experiments", query


def test_every_page_can_be_reached_and_a_filter_begins_at_the_first(opened: Lab, many: list[str]) -> None:
    app = draw("runs", page="4")
    assert "151 to 190 of 190 runs" in texts(app)
    assert listed(app) == [entry.run.id for entry in opened.search.find(Query(), 4).entries]
    app.pills(key="runs-method").set_value(["lora"]).run()
    assert listed(app) == [entry.run.id for entry in opened.search.find(Query(methods=("lora",))).entries]
    app.pills(key="runs-method").set_value([]).run()
    assert "1 to 50 of 190 runs" in texts(app)


def test_a_filter_that_lets_nothing_through_leaves_the_filters_there(opened: Lab, many: list[str]) -> None:
    app = draw("runs")
    app.text_input(key="text").set_value("no such thing").run()
    assert listed(app) == []
    assert "0 runs" in texts(app)
    app.text_input(key="text").set_value("").run()
    assert len(listed(app)) == 50


def test_a_run_shows_its_own_settings_result_log_and_command(opened: Lab, trained: list[Run]) -> None:
    run = trained[2]
    app = draw("runs", run=run.id)
    settings = app.dataframe[1].value.set_index("Setting")["Value"]
    assert settings["Rank"] == "4"
    assert settings["Learning rate"] == "0.005"
    assert settings["Task: Classes kept"] == "0, 1, 2, 3, 4"
    assert f"{run.result.measures['accuracy']:.2f} %" in [metric.value for metric in app.metric]
    log = [line.value.split()[1] for line in app.markdown if line.value.startswith(":material/")]
    assert log == ["queued", "running", "finished"]
    assert f"python -m core run {run.id}.json" in [code.value for code in app.code]
    assert {"export-peft", "export-safetensors", "export-onnx"} <= keys(app)
    assert "One seed" in texts(app)
    assert "bit for bit" in texts(app) or "up to rounding" in texts(app)


def test_the_columns_are_those_that_the_person_chose_on_this_visit_and_the_next(opened: Lab, many: list[str]) -> None:
    app = draw("runs")
    usual = ["Rank", "Alpha", "Learning rate", "Steps", "Accuracy (%)", "Created"]
    assert [column for column in app.dataframe[0].proto.column_order if column in usual] == usual
    assert set(app.dataframe[0].proto.column_order) <= set(app.dataframe[0].value.columns)
    titles, chosen = ["State", "Macro-F1", "Run"], ["State", "Macro-F1 (%)", "Run"]
    app.pills(key="runs-columns").set_value(titles).run()
    assert list(app.dataframe[0].proto.column_order) == chosen
    assert app.query_params["columns"] == titles
    again = draw("runs", columns=titles)
    assert list(again.dataframe[0].proto.column_order) == chosen
    again.query_params.clear()  # as a link of the navigation does
    assert list(again.run().dataframe[0].proto.column_order) == chosen
    again.pills(key="runs-columns").set_value([]).run()
    assert set(usual) <= set(again.dataframe[0].proto.column_order)


def test_every_experiment_has_its_verdict_and_leads_to_its_runs(opened: Lab, trained_home: TrainedHome) -> None:
    brought = (trained_home.plain, trained_home.sweep, trained_home.stopped)
    bases = dict.fromkeys(str(experiment.base) for experiment in brought)
    trained_home.bring(opened, *bases, *(id for experiment in brought for id in experiment.runs))
    experiments = opened.store.experiments()
    answers = [place_of(opened, experiment) for experiment in experiments]
    app = draw("experiments")
    table = app.dataframe[0].value
    assert table["Experiment"].tolist() == [experiment.name for experiment in experiments]
    assert table["Verdict"].tolist() == [headline(answer) for answer in answers]
    levels = [level_words(answer) for answer in answers]
    assert table["Level"].tolist() == levels
    assert "Leaning" in app.dataframe[0].proto.columns, "the heading explains it"
    assert table["Runs"].tolist() == [len(experiment.runs) for experiment in experiments]
    states = dict(zip([experiment.id for experiment in experiments], table["State"], strict=True))
    assert states[trained_home.plain.id] == "finished"
    assert states[trained_home.stopped.id] == "0 of 2 finished, 2 stopped"

    app = draw("experiments", experiment=trained_home.plain.id)
    assert literal(trained_home.plain.name) in [heading.value for heading in app.subheader]
    (link,) = (each.proto for each in app.get("page_link") if each.proto.label == "Open")
    assert (link.page, link.query_string) == ("experiment", f"experiment={trained_home.plain.id}")
    press(app, "experiments-runs")
    assert set(listed(app)) == set(trained_home.plain.runs)
    app.selectbox(key="runs-experiment").set_value(None).run()
    assert "experiment" not in app.query_params
    assert len(listed(app)) > len(trained_home.plain.runs)
    press(app := draw("experiments", experiment=trained_home.plain.id), "experiments-delete")
    press(app, "runs-delete-sure")
    assert trained_home.plain.id not in {experiment.id for experiment in opened.store.experiments()}
    assert "There is no experiment" not in texts(app)


def test_experiments_are_listed_page_by_page(opened: Lab) -> None:
    write_many(opened.store, 21 * 50)
    app = draw("experiments", **{"experiments-page": "2"})
    assert app.dataframe[0].value["Experiment"].tolist() == [opened.store.experiments()[-1].name]


@pytest.mark.parametrize("level", ["Experiments", "Runs"])
def test_an_experiment_or_a_run_that_is_gone_is_said(opened: Lab, trained: list[Run], level: str) -> None:
    assert "There is no experiment 'e-gone'; it may have been deleted." in texts(
        draw("experiments", view=level, experiment="e-gone")
    ).replace("\\", "")


def test_a_note_and_tags_are_saved_at_once_and_never_drawn_as_markdown(opened: Lab, trained: list[Run]) -> None:
    run, other = trained[1:3]
    opened.notes.set_tags(other.id, ["paper", "*b* <i>"])  # AppTest can choose a tag, but not type a new one
    app = draw("runs", run=run.id)
    app.text_area(key=f"runs-note-{run.id}").set_value(MARKED).run()
    for tag in ("paper", "*b* <i>"):
        app.selectbox(key=f"runs-tags-{run.id}-new").set_value(tag).run()
    (entry,) = opened.search.entries([run.id])
    assert (entry.note, entry.tags) == (MARKED, ("*b* <i>", "paper"))
    assert "bold" not in texts(app)
    row = app.dataframe[0].value.set_index("Run").loc[run.id]
    assert (row["Note"], row["Tags"]) == (MARKED, "*b* <i>, paper")
    app.text_area(key=f"runs-note-{run.id}").set_value("").run()
    app.pills(key=f"runs-tags-{run.id}").set_value(["*b* <i>"]).run()
    (entry,) = opened.search.entries([run.id])
    assert (entry.note, entry.tags) == ("", ("*b* <i>",))


def test_names_that_look_like_markdown_are_filtered_by_and_stand_in_the_address_as_they_are(
    opened: Lab, trained: list[Run]
) -> None:
    opened.notes.add_tag([trained[1].id], "a_b *c*")
    app = draw("runs", tag="a_b *c*")
    assert listed(app) == [trained[1].id]
    app.pills(key="runs-tag").set_value([]).run()
    assert "tag" not in app.query_params
    assert len(listed(app)) == len(trained)
    app.pills(key="runs-tag").set_value(["a_b *c*"]).run()
    assert app.query_params["tag"] in ("a_b *c*", ["a_b *c*"])
    assert listed(app) == [trained[1].id]


def test_a_note_that_cannot_be_saved_says_why_and_stays_to_be_put_right(opened: Lab, trained: list[Run]) -> None:
    run, other = trained[1:3]
    many = [f"tag {number}" for number in range(MAX_TAGS)]
    opened.notes.set_tags(run.id, many)
    opened.notes.set_tags(other.id, ["one more"])
    app = draw("runs", run=run.id)
    bad = "kept\x07"
    app.text_area(key=f"runs-note-{run.id}").set_value(bad).run()
    assert "not text" in texts(app)
    assert app.text_area(key=f"runs-note-{run.id}").value == bad
    assert opened.search.entries([run.id])[0].note == ""
    app.selectbox(key=f"runs-tags-{run.id}-new").set_value("one more").run()
    assert f"at most {MAX_TAGS} tags" in texts(app)
    assert app.selectbox(key=f"runs-tags-{run.id}-new").value == "one more"
    assert opened.search.entries([run.id])[0].tags == tuple(sorted(many))
    assert app.text_area(key=f"runs-note-{run.id}").proto.max_chars == MAX_NOTE


def test_what_another_tab_has_saved_is_shown(opened: Lab, trained: list[Run]) -> None:
    run = trained[1]
    app = draw("runs", run=run.id)
    opened.notes.set_note(run.id, "from elsewhere")
    opened.notes.set_tags(run.id, ["theirs"])
    app.run()
    assert app.text_area(key=f"runs-note-{run.id}").value == "from elsewhere"
    assert app.pills(key=f"runs-tags-{run.id}").value == ["theirs"]


def test_a_note_that_is_being_typed_is_left_alone(opened: Lab, trained: list[Run]) -> None:
    run, other = trained[1:]
    opened.notes.set_note(run.id, "stored")
    app = draw("runs", run=run.id)
    field = f"runs-note-{run.id}"
    assert (app.text_area(key=field).value, app.text_area(key=field).proto.set_value) == ("stored", True)
    app.run()  # as when the last run in training ends
    assert (app.text_area(key=field).value, app.text_area(key=field).proto.set_value) == ("stored", False)
    for id in (other.id, run.id):
        app.query_params["run"] = id
        app.run()
    assert app.text_area(key=field).value == "stored"


def test_several_runs_show_what_differs_and_a_way_to_compare_them(opened: Lab, trained: list[Run]) -> None:
    base, full, tuned = trained
    app = draw("runs", run=f"{full.id},{tuned.id}")
    table = app.dataframe[1].value.set_index("Setting")
    assert table.loc["Method"].tolist() == ["Full fine-tuning", "LoRA"]
    assert "Batch size" not in table.index
    assert links(app)["Compare"]["runs"] == f"{full.id},{tuned.id}"
    compare = draw("experiment", runs=f"{full.id},{tuned.id}")
    assert "Showing 2 selected runs." in texts(compare)
    assert literal(SELECTED.text) in texts(compare)
    assert "Accuracy" in [tab.label for tab in compare.tabs]
    assert "Compare" not in links(draw("runs", run=f"{base.id},{tuned.id}"))
    assert not draw("experiment", runs="r-none,<b>").error


def test_archiving_takes_runs_out_of_the_list_and_back(opened: Lab, trained: list[Run]) -> None:
    base, full, tuned = trained
    app = draw("runs", run=f"{full.id},{tuned.id}")
    press(app, "runs-archive")
    assert listed(app) == [base.id]
    assert "runs-archive" not in keys(app)
    press(app, "runs-unarchive")
    assert len(listed(app)) == 3


def test_run_again_queues_the_same_specs(opened: Lab, trained: list[Run]) -> None:
    _, full, tuned = trained
    app = draw("runs", run=f"{full.id},{tuned.id}")
    press(app, "runs-repeat")
    new = [run for run in opened.store.runs() if run.id not in {run.id for run in trained}]
    assert {run.spec for run in new} == {full.spec, tuned.spec}
    finish(opened, *(run.id for run in new))


def test_stop_and_finish_take_those_of_the_selected_runs_that_they_can(opened: Lab) -> None:
    running, waiting, interrupted = (
        opened.launcher.launch(LONG.but(seed=seed, optim=optim)).id
        for seed, optim in enumerate((LONG.optim, short(epochs=199, batch_size=8), short(epochs=198, batch_size=8)))
    )
    wait_until(lambda: opened.store.run(running).step > 0)
    set_state(opened, "interrupted", interrupted)
    app = draw("runs", run=f"{running},{waiting},{interrupted}")
    labels = {button.key: button.label for button in app.button}
    assert labels["runs-stop"] == "Stop (2 of 3)"
    assert labels["runs-finish"].startswith(":violet[Finish: 1 run")
    press(app, "runs-stop")
    finish(opened, running, waiting)
    assert [opened.store.run(id).state for id in (running, waiting, interrupted)] == [
        "stopped",
        "stopped",
        "interrupted",
    ]
    app = draw("runs", run=interrupted)
    assert "Finish continues from its last checkpoint" in texts(app)
    press(app, "runs-finish")
    assert opened.store.run(interrupted).is_live
    app = draw("runs", run=f"{running},{waiting},{interrupted}")
    press(app, "runs-finish")
    assert all(opened.store.run(id).is_live for id in (running, waiting, interrupted))
    stop_all(opened)


def test_a_run_that_is_stopping_says_so_and_cannot_be_stopped_again(opened: Lab) -> None:
    first = opened.launcher.launch(LONG).id
    wait_until(lambda: opened.store.run(first).step > 0)
    id = opened.launcher.launch(
        LONG.but(optim=short(epochs=199, batch_size=8))
    ).id  # stays queued, so that no worker trains it
    set_state(opened, "running", id, step=5, steps=100)  # as if a worker were in a long step
    stop = f"runs-live-stop-{id}"
    app = draw("runs", run=id)
    app.session_state["runs-live-stop"] = True  # the popover is open
    app.run()
    assert not app.button(key=stop).disabled
    assert "stopping" not in texts(app)
    app = app.button(key=stop).click().run()
    assert app.button(key=stop).disabled
    assert "stopping" in texts(app)
    app.button(key="runs-live-stop-all").click().run()
    assert app.button(key="runs-live-stopping").disabled, "the first thing that is drawn says so"
    assert views(app)["runs-live-curves"]["words"].endswith("stopping …")
    set_state(opened, "stopped", id)
    finish(opened, first)  # which was stopped with it
    assert "stopping" not in texts(draw("runs", run=id))


def test_a_button_pressed_too_late_says_why_nothing_happened(opened: Lab, trained: list[Run]) -> None:
    run = trained[2]
    app, asked = draw("runs", run=run.id), press(draw("runs", run=run.id), "runs-delete")
    opened.notes.delete([run.id])  # in another tab
    press(app, "runs-repeat")
    assert f"There is no run '{run.id}'" in texts(app)
    assert "may have been deleted" in texts(app)
    assert "These runs have been deleted already." in texts(press(asked, "runs-delete-sure"))
    opened.notes.delete([other.id for other in trained[:2]])
    asked.run()  # where no run is left


def test_deleting_asks_first_and_then_takes_everything(opened: Lab, trained: list[Run]) -> None:
    base, full, tuned = trained
    app = draw("runs", run=f"{full.id},{tuned.id}")
    press(app, "runs-delete")
    assert len(opened.store.runs()) == 3
    assert "experiment “One seed” will have no runs left" in texts(app)
    assert "576" in texts(app) or "kB of files" in texts(app)
    app.run()
    assert "runs-delete-sure" in keys(app)  # the dialog stays open
    press(app, "runs-delete-cancel")
    assert "runs-delete-sure" not in keys(app)
    press(app, "runs-delete")
    press(app, "runs-delete-sure")
    assert [run.id for run in opened.store.runs()] == [base.id]
    assert opened.store.experiments() == []
    assert listed(app) == [base.id]
    assert "runs-delete-sure" not in keys(app)


def test_deleting_more_than_a_page_asks_for_the_number(opened: Lab, many: list[str]) -> None:
    chosen = [id for id in many if id not in {run.spec.base for run in opened.store.runs()}][:51]
    press(draw("runs", run=",".join(chosen[:50])), "runs-delete")
    app = draw("runs", run=",".join(chosen))
    press(app, "runs-delete")
    for typed in ("", "50"):
        app.text_input(key="runs-delete-number").set_value(typed).run()
        press(app, "runs-delete-sure")
        assert "These are 51 runs" in texts(app)
    assert len(opened.store.runs_of(chosen)) == 51
    app.text_input(key="runs-delete-number").set_value("51").run()
    press(app, "runs-delete-sure")
    assert opened.store.runs_of(chosen) == []


def test_a_base_takes_its_runs_along_or_stays(opened: Lab, trained: list[Run]) -> None:
    app = draw("runs", run=trained[0].id)
    press(app, "runs-delete")
    assert "2 other runs start from" in texts(app)
    assert app.button(key="runs-delete-sure").disabled
    app.toggle(key="runs-delete-dependents").set_value(True).run()
    press(app, "runs-delete-sure")
    assert opened.store.runs() == []
    assert "Every experiment is listed here" in texts(app)


def test_a_run_that_trains_is_stopped_before_it_is_deleted(opened: Lab) -> None:
    id = opened.launcher.launch(LONG).id
    wait_until(lambda: opened.store.run(id).step > 0)
    app = draw("runs", run=id)
    press(app, "runs-delete")
    assert "It is still training. Stop it first." in texts(app)
    assert app.button(key="runs-delete-sure").disabled
    press(app, "runs-delete-stop")
    finish(opened, id)
    app.run()
    press(app, "runs-delete-sure")
    assert opened.store.runs() == []


def test_the_experiment_of_selected_runs_can_be_trained_longer(opened: Lab, trained: list[Run]) -> None:
    base, full, tuned = trained
    key = f"longer-{full.experiment}"
    assert key not in {button.key for button in draw("runs", run=f"{base.id},{full.id}").button}
    app = draw("runs", run=f"{full.id},{tuned.id}")
    press(app, key)
    assert on_primary("Train 2 runs") in {button.label for button in app.button}


def test_what_is_stored_stands_on_the_page_and_advice_where_it_is_much(settings: Settings) -> None:
    lab = open_lab(Settings(home=settings.home, max_stored_bytes=2_000_000))
    try:
        finish(lab, lab.launcher.launch(PRETRAIN).id)
        app = draw("runs")
        assert "of 2.0 MB stored" in app.get("progress")[-1].proto.text
        assert "New runs are refused when the limit is reached" not in texts(app)
        (settings.home / "datasets").mkdir()
        (settings.home / "datasets" / "mine").write_bytes(b"x" * 1_000_000)
        app = draw("runs", run=lab.store.runs()[0].id)
        assert "New runs are refused when the limit is reached" in texts(app)
        press(app, "runs-repeat")
        assert "delete runs under Experiments" in texts(app)
        assert len(lab.store.runs()) == 1
    finally:
        close_lab()
