"""One experiment has one verdict: on Home, Sweep, Compare and Report, and from the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pandas as pd
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest

from core.answer.check import Check
from core.answer.checks.registry import checks_of
from core.answer.levels import level_words
from core.answer.lines import headline, reason
from core.cli.as_json import as_json
from core.cli.comparison import print_comparison
from core.cli.judge import judged_as_json
from core.errors import StoreError
from core.judge.reading import Reading
from core.judge.results import gather
from core.judge.sources import Given
from core.lab import Lab, close_lab, open_lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.numbers import NOTHING, percent
from core.results.arm import all_arms, arms_of
from core.results.choice import chosen_arms
from core.results.row import rows_of
from core.rule.claims import Level, p_text
from core.rule.frontier import at_equal_accuracy, frontier_pairs, frontiers
from core.rule.place import Place
from core.rule.withheld import SELECTED
from core.settings import Settings
from core.store.looks import Looks
from core.store.record import Experiment, Run
from core.study.report import answer
from core.study.report.answer import READY, last_read, offered_adapter, place_of
from core.study.report.evidence import epochs_of
from core.study.report.expected import _design_of, expected_design, expected_sentences
from core.study.report.judged import judged_evidence, keep_results
from core.study.report.results_export import results_files
from core.web import predict
from core.web.predict import ADAPTERS
from pages.shared.ui.literal import literal
from tests.conftest import compared, finish, short, some_of
from tests.pages.test_pages import draw, links, set_state, texts, views
from tests.study.samples import decided_on, measured

SEEDS = 8
RATES = (0.000316, 0.001, 0.00316)
BEST = RATES[1]
METHODS = (FullSpec(), LoRASpec.of(rank=1), LoRASpec.of(rank=4))
SETTINGS = [(short(epochs=4, rate=rate), method) for method in METHODS for rate in RATES]
SETTINGS.append((short(epochs=4, rate=BEST), LoRASpec.of(rank=4, target_modules=("layers.0",))))
SPREAD = (0.3, -0.2, 0.1, -0.4, 0.2, 0.0, -0.1, 0.4)

Case = tuple[dict[str, float], int]
"""Points by which the accuracy of each label is above 90 %, and the number of seeds that have finished."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The process-wide lab that pages use, with one trained experiment."""
    yield open_lab(Settings(tmp_path_factory.mktemp("home"), max_waiting=200))
    close_lab()


@pytest.fixture(scope="module")
def experiment(lab: Lab) -> Experiment:
    found = compared(lab, "rotation-45", "digits", None, short(rate=0.001), SETTINGS, seeds=range(SEEDS))
    finish(lab, found.base, *found.runs)
    return found


def planted(run: Run, offsets: dict[str, float], seeds: int) -> tuple[str, str | None]:
    """State and result of a run whose accuracies are made up."""
    if run.spec.seed >= seeds or run.result is None:
        return "stopped", None
    noise = SPREAD[run.spec.seed] * (1 if run.spec.role != "adapter" else -1)
    accuracy = 90.0 + offsets[run.spec.label] + noise - (0 if run.spec.optim.learning_rate == BEST else 5)
    trends = {"validation_accuracy": 0.0}
    result = measured(run.result, accuracy=accuracy, validation_accuracy=accuracy - 1, trends=trends)
    return "finished", json.dumps(result.to_dict())


CASES: dict[str, Case | None] = {
    "trained": None,
    "full is better": ({"Full": 0, "LoRA r=1": -9, "LoRA r=4": -4}, 8),
    "LoRA is enough": ({"Full": 0, "LoRA r=1": 0.4, "LoRA r=4": 0.4}, 8),
    "LoRA is better": ({"Full": 0, "LoRA r=1": 3, "LoRA r=4": -9}, 8),
    "leaning": ({"Full": 0, "LoRA r=1": -9, "LoRA r=4": -4}, 3),
    "open": ({"Full": 0, "LoRA r=1": -1, "LoRA r=4": -0.6}, 2),
}


def as_drawn(check: Check) -> str:
    """Its words as Markdown."""
    return literal(check.words).replace(" %", "\N{NO-BREAK SPACE}%")


@pytest.mark.parametrize("case", some_of(zip(CASES), lambda case: case in ("trained", "LoRA is enough", "open")))
def test_every_page_and_command_gives_one_verdict_and_looks_once(
    lab: Lab, experiment: Experiment, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with as_planted(lab, experiment, CASES[case]):
        found = place_of(lab, experiment)
        assert not found.reason
        said = literal(headline(found))
        assert found.full is not None
        told = {equal.level: equal.interval.mean for equal in found.at_equal}
        assert found.withheld or told == pytest.approx(equal_rows(lab, experiment, found)), "as in the report's table"
        checks = checks_of(found)
        if not found.withheld:
            assert ("at equal accuracy" in checks["forgetting"].line) is (bool(told) and found.seeds > 2)

        drawn = {}
        for page in ("home", "experiment"):
            answer._answers.clear()  # as in another process
            drawn[page] = draw(page, experiment=experiment.id)
            shown = texts(drawn[page]).replace("#### ", "")
            assert said in shown, page
            assert literal(reason(found)) in shown, page
            assert all(as_drawn(check) in shown for check in checks.values()), page
            has_badge = any(
                f"[{level_words(found)}]" in str(m.value) for m in drawn[page].markdown if level_words(found)
            )
            assert has_badge is (not found.withheld), page
        assert [(look.seeds, look.family) for look in lab.looks.of(experiment.id)] == [
            (look.seeds, look.family) for look in found.looks
        ]
        assert len(found.looks) == (0 if found.withheld else 1)

        # p-values in the table are those of the verdict.
        app = draw("experiment", experiment=experiment.id, view="Accuracy")
        drawn_table = next(frame for frame in app.dataframe if "Finding" in frame.value)
        table = drawn_table.value
        assert "Leaning" in drawn_table.proto.columns, "the heading explains it"
        rows = dict(zip(table["Setting"], table["p"], strict=True))
        tested = found.told.found
        own = table["Finding"][list(rows).index(found.told.arm.name)] == "Shown: within the margin"
        p = None if tested is None else tested.within if own else tested.differs
        assert rows[found.told.arm.name] == (NOTHING if p is None else p_text(p))
        check_commands(lab, experiment, found, capsys)
        check_offered(lab, experiment, found, drawn["home"])


def test_while_runs_wait_to_be_finished_nobody_shows_the_test_part(
    lab: Lab, experiment: Experiment, capsys: pytest.CaptureFixture[str]
) -> None:
    with as_planted(lab, experiment, CASES["LoRA is enough"]):
        set_state(lab, "stopped", experiment.runs[-1])
        members = lab.store.members(experiment)
        said = "No verdict yet: 1 of 81 runs was stopped."
        for page in ("home", "experiment"):
            app = draw(page, experiment=experiment.id)
            assert said in texts(app), page
            assert not app.warning, "what is missing is said once, and not by setting"
            columns = {column for frame in app.dataframe for column in frame.value.columns}
            assert not [column for column in columns if column.startswith(("Accuracy", "Test ", "Difference"))], page
        printed = as_json(lab, experiment, [], members)
        assert printed["verdict"]["sentence"].startswith(said)
        assert {value for arm in printed["arms"] for value in arm["accuracy"]} == {None}
        assert {name for arm in printed["arms"] for name in arm["measures"] if "validation" not in name} == set()
        print_comparison(lab, experiment, members)
        table, rest = capsys.readouterr().out.split("\n\n")
        assert rest.startswith(said)
        assert "Validation accuracy" in table
        assert "\nAccuracy" not in table
        assert lab.looks.of(experiment.id) == []


def test_a_run_that_is_far_from_the_others_of_its_setting_is_named_with_a_link(
    lab: Lab, experiment: Experiment
) -> None:
    with as_planted(lab, experiment, CASES["LoRA is enough"]):
        full = [run for run in lab.store.members(experiment) if run.spec.label == "Full"]
        run = next(run for run in full if run.spec.optim.learning_rate == BEST and run.result)
        set_state(lab, "finished", run.id, result=json.dumps(measured(run.result, accuracy=20.0).to_dict()))
        app = draw("experiment", experiment=experiment.id)
        assert f"Full, seed {run.spec.seed}, is far off with 20.00\N{NO-BREAK SPACE}%: look at it." in texts(app)
        assert links(app)[f"Full, seed {run.spec.seed}"] == {"view": "Runs", "run": run.id}


@pytest.mark.parametrize("failed", [None, "LoRA r=4"])
def test_judged_from_its_exported_tables_the_experiment_has_the_verdict_of_compare(
    lab: Lab, experiment: Experiment, failed: str | None
) -> None:
    """Several rates, 360 test images one by one, and with a run that failed."""
    with as_planted(lab, experiment, None):
        if failed is not None:
            lost = next(run.id for run in lab.store.members(experiment) if run.spec.label == failed)
            set_state(lab, "failed", lost, cause="It was lost.")
        own = as_json(lab, experiment, [], lab.store.members(experiment))
        files = results_files(lab, experiment, "results")
        found = gather([Given(name, content) for name, content in files.items()], Reading())
        judged = keep_results(lab, found, "Own")
        theirs = judged_as_json(judged_evidence(lab, judged))
        lab.judged.delete(judged.id)
        assert own["verdict"]["examples"] == 360
        assert len(own["missing"]) == (failed is not None)
        for key, value in own["verdict"].items():
            assert theirs["verdict"][key] == value or key in ("checks", "reason")
        # Settings that differ in their layers alone are in the order of their keys, which have the id of the base.
        assert sorted(arm["label"] for arm in theirs["arms"]) == sorted(arm["label"] for arm in own["arms"])
        assert theirs["missing"] == own["missing"]


def test_a_link_to_two_settings_changes_neither_what_is_said_nor_the_looks(lab: Lab, experiment: Experiment) -> None:
    """All six seeds of a setting are better, which leans where it is the only one and does not beside another."""
    with as_planted(lab, experiment, ({"Full": 0, "LoRA r=1": 0.61, "LoRA r=4": 0}, 6)):
        members = lab.store.members(experiment)
        two = [arm for arm in chosen_arms(rows_of(members)) if arm.spec.label in ("Full", "LoRA r=1")]
        found = place_of(lab, experiment)
        labels = {arm.spec.label for arm in two}
        assert (found.level, decided_on(rows_of(run for run in members if run.spec.label in labels)).level) == (
            Level.OPEN,
            Level.LEANING,
        )
        looks = lab.looks.of(experiment.id)
        assert [look.family for look in looks] == [("lora 1", "lora 4")]

        query = {"experiment": experiment.id, "arms": ",".join(arm.key for arm in two)}
        every, narrow = draw("experiment", experiment=experiment.id), draw("experiment", **query)
        assert "the verdict, its warnings and the tests are those of all" in texts(narrow)
        assert literal(headline(found)) in texts(narrow)
        assert "trained at one learning rate" not in texts(narrow)
        assert [warning.value for warning in narrow.warning] == [warning.value for warning in every.warning]
        tests = [[f.value for f in app.dataframe if "Finding" in f.value] for app in (every, narrow)]
        for left, right in zip(*tests, strict=True):
            pd.testing.assert_frame_equal(left, right)
        assert "chose one for each" in texts(draw("experiment", **query, view="Rates"))
        table = draw("experiment", **query, view="Accuracy").dataframe[0].value
        assert list(table["Setting"]) == ["Full", "LoRA r=1"]

        # A setting that validation did not choose is drawn where it is asked for, beside the one that it did.
        rates = [arm for arm in arms_of(rows_of(members)) if arm.spec.label == "Full"]
        query["arms"] = ",".join(arm.key for arm in rates)
        table = draw("experiment", **query, view="Accuracy").dataframe[0].value
        assert list(table["Setting"]) == [f"Full, lr {rate:g}" for rate in RATES]

        # Runs that somebody selected are said to be that.
        assert literal(SELECTED.text) in texts(
            draw("experiment", runs=",".join(run.id for arm in two for run in arm.runs))
        )
        assert literal(SELECTED.text) not in texts(every)
        assert lab.looks.of(experiment.id) == looks


def test_a_look_that_cannot_be_recorded_says_so_on_every_page_and_is_none(
    lab: Lab, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StoreError("The disk is full.")

    monkeypatch.setattr(Looks, "record", full)
    with as_planted(lab, experiment, ({"Full": 0, "LoRA r=1": -9, "LoRA r=4": -9}, 8)):
        for page in ("home", "experiment"):
            app = draw(page, experiment=experiment.id)
            assert "No verdict yet: this look cannot be recorded." in texts(app)
            assert "The disk is full." in texts(app)
        assert lab.looks.of(experiment.id) == []


def test_what_the_next_experiment_can_show_is_known_from_the_one_that_is_most_alike(
    lab: Lab, experiment: Experiment
) -> None:
    specs = [run.spec for run in lab.store.members(experiment)]
    later = compared(lab, "inversion", "digits", None, short(rate=0.001), SETTINGS[1::3], seeds=range(3))
    finish(lab, *later.runs)
    quick = [run.spec for run in lab.store.members(later)]
    with (
        as_planted(lab, experiment, ({"Full": 0, "LoRA r=1": -9, "LoRA r=4": -9}, 8)),
        as_planted(lab, later, ({"Full": 0, "LoRA r=1": -9, "LoRA r=4": -9}, 3)),
    ):
        found = [expected_design(lab, own) for own in (specs, quick)]
        assert [each and each.more for each in found] == [
            f"The spread is that of {experiment.name}.",
            f"The spread is that of {later.name}.",
        ], "the newest is of another task"
        lab.notes.delete(list(later.runs))
        assert expected_design(lab, quick) == found[0], "of the same dataset, with the same network"

    other = [spec.but(task=spec.task.but(dataset="mnist-16k")) for spec in specs]
    with as_planted(lab, experiment, ({"Full": 0, "LoRA r=1": -9, "LoRA r=4": -9}, 8)):
        own, example = expected_design(lab, specs), expected_design(lab, other)
        assert (own.like, own.more) == ("an earlier experiment", f"The spread is that of {experiment.name}.")
        assert (own.design.settings, own.design.examples) == (2, 360)
        assert (example.like, "that of the example (" in example.more) == ("the example", True)
        assert example.design.examples == 4000
        text = " ".join(expected_sentences(lab, specs))
        assert "would be shown by 8 seeds on 360 test images with 80 % probability" in text
        assert "out of reach with any number of seeds" in text, "also where answers to single examples are not known"
        assert f"The spread is that of {experiment.name}." in text
        (first,) = [each for each in draw("home").caption if "would be shown by" in each.value]
        assert "with 80 % probability if they differ as much as those of an earlier experiment. “Good" in first.value
        assert "out of reach with any number of seeds" in first.value, "and not only where somebody looks for it"
        assert "first experiment of this kind" not in first.help
        two = " ".join(expected_sentences(lab, [spec for spec in specs if spec.seed < 2]))
        assert two.startswith(
            "Fewer than 7 seeds can show nothing. “Good enough within 0.5 points” is out of reach with"
        )
        unknown = [spec.but(objective=spec.objective.but(measure="macro_f1")) for spec in specs]
        assert expected_design(lab, unknown) is None
        (few,) = expected_sentences(lab, unknown)
        assert few.startswith("“Good enough within 0.5 points” is out of reach with any number of seeds: it takes")
        assert expected_sentences(lab, [spec.but(task=other[0].task) for spec in unknown]) == []
        text = " ".join(expected_sentences(lab, other))
        assert "would be shown by 8 seeds on 4,000 test images with 80 % probability" in text
        assert "The spread is that of the example (" in text
        assert "): your first experiment of this kind takes its place, which needs an answer from" in text
    with as_planted(lab, experiment, CASES["open"]):
        text = " ".join(expected_sentences(lab, specs))
        assert "): none of your experiments of this kind can take its place, which needs an answer from" in text


def test_an_answer_that_was_read_stays_on_home_and_report_while_what_was_added_trains_and_is_no_further_look(
    lab: Lab, experiment: Experiment
) -> None:
    with as_planted(lab, experiment, CASES["LoRA is enough"]):
        said, design = (
            literal(headline(place_of(lab, experiment))),
            _design_of(lab, lab.store.experiment(experiment.id)),
        )
        looks = lab.looks.of(experiment.id)
        added = (short(epochs=4, rate=BEST), LoRASpec.of(rank=8))
        lab.workers.close(1.0)  # nothing takes runs from the queue, here and in later tests
        lab.experiments.grow(experiment, [*lab.experiments.settings(experiment), added], range(SEEDS))
        new = [run.id for run in lab.store.members(experiment) if run.is_live]
        try:
            assert _design_of(lab, lab.store.experiment(experiment.id)) == design, (
                "its spread is what tells what the next one can show"
            )
            for state in ("queued", "stopped"):
                set_state(lab, state, *new)
                for page in ("home", "experiment"):
                    app = draw(page, experiment=experiment.id)
                    assert said in texts(app), state
                    assert "The answer as it was before 8 runs were added." in texts(app), (page, state)
                assert not lab.looks.of(experiment.id)[len(looks) :], state
            search = lab.experiments.start(lab.experiments.rate_search(experiment))
            members = lab.store.members(search)
            new += [run.id for run in members if run.is_live]
            table = views(draw("home", experiment=search.id))[f"home-{search.id}-curves"]["table"]
            assert [row[0] for row in table["rows"]] == [arm.label for arm in all_arms(rows_of(members))], (
                "labels of one experiment, although most of its runs are of another one, too"
            )
            set_state(lab, "queued", *new)
            for page in ("home", "experiment"):
                app = draw(page, experiment=experiment.id)
                shown = texts(app)
                assert said in shown, page
                assert "It is over 8 seeds, whose test part was read then" in shown, page
                assert "Until then only the validation part is compared" not in shown, page
                assert _adapters_offered(app), page
            with lab.store.transaction() as db:
                db.execute("DELETE FROM looks")  # nobody has read it
            app = draw("experiment", experiment=experiment.id)
            assert "Until then only the validation part is compared" in texts(app)
            assert "Macro-F1" not in texts(app)
            assert not _adapters_offered(app)
            assert said not in texts(draw("home", experiment=experiment.id))
        finally:
            lab.notes.delete(new)


def _adapters_offered(app: AppTest) -> list[str]:
    labels = [link.proto.label for link in app.get("link_button")]
    return [label for label in labels if label.startswith(("Adapter LoRA", ":violet[Adapter"))]


def test_who_only_mentions_an_experiment_takes_no_look_and_says_that_it_is_ready(
    lab: Lab, experiment: Experiment
) -> None:
    with as_planted(lab, experiment, CASES["LoRA is enough"]):
        for page in ("runs", "experiments", "library"):
            draw(page, experiment=experiment.id)
        offered_adapter(lab)
        before = last_read(lab, experiment)
        assert (before.reason, before.unread, before.candidates) == (READY.text, True, ())
        assert literal(READY.text) in texts(draw("experiments", experiment=experiment.id))
        assert lab.looks.of(experiment.id) == []
        found = place_of(lab, experiment)
        assert [look.seeds for look in lab.looks.of(experiment.id)] == [8]
        answer._answers.clear()  # as in another process
        assert headline(last_read(lab, experiment)) == headline(found) != READY.text
        assert literal(headline(found)) in texts(draw("experiments", experiment=experiment.id))
        assert [look.seeds for look in lab.looks.of(experiment.id)] == [8]


@contextmanager
def as_planted(lab: Lab, experiment: Experiment, case: Case | None) -> Iterator[None]:
    """The experiment with made-up accuracies and without a look, until the block ends."""
    kept = [
        (run.state, json.dumps(run.result.to_dict()), run.id) for run in lab.store.members(experiment) if run.result
    ]
    if case is not None:
        rows = [(*planted(run, *case), run.id) for run in lab.store.members(experiment)]
        with lab.store.transaction() as db:
            db.executemany("UPDATE runs SET state = ?, result = coalesce(?, result) WHERE id = ?", rows)
            db.execute("UPDATE runs SET archived = 1 WHERE state = 'stopped'")  # so that no verdict waits for them
    answer._answers.clear()  # results change nowhere but here
    try:
        yield
    finally:
        with lab.store.transaction() as db:
            db.executemany("UPDATE runs SET state = ?, result = ?, archived = 0 WHERE id = ?", kept)
            db.execute("DELETE FROM looks")
        answer._answers.clear()


def equal_rows(lab: Lab, experiment: Experiment, found: Place) -> dict[float, float]:
    """Difference of forgetting of the setting that is told of at equal accuracy, by accuracy, as the report has it."""
    runs = lab.store.members(experiment)
    pairs = frontier_pairs(frontiers(rows_of(runs), epochs_of(lab, runs), 90.0))
    own = [pair for pair in pairs if pair[0].label == found.told.arm.spec.label]
    return {equal.level: equal.interval.mean for pair in own for equal in at_equal_accuracy(*pair)}


def check_offered(lab: Lab, experiment: Experiment, found: Place, home: AppTest) -> None:
    """Every page, the JSON and the API begin with one adapter, and Home says what was said of its setting."""
    run, told = found.offered.run, found.told
    (button,) = [
        each.proto for each in home.get("link_button") if each.proto.label.startswith(("Adapter", ":violet[A"))
    ]
    assert f"/{run.id}/" in button.url
    mean = told.arm.interval("accuracy").mean
    own = f"seed {run.spec.seed}: {run.score_text()}"
    assert f"Adapter {run.spec.label}, {own} (mean {percent(mean, 1)})" in button.label, (
        "of the file and of its setting"
    )
    bases = [link.proto.url for link in home.get("link_button") if link.proto.label == "Its base"]
    assert bases == [f"/download/{run.spec.base}/network.safetensors"]
    adapters = draw("adapters", experiment=experiment.id).selectbox(key="pick-adapter")
    assert adapters.value == run.id
    assert f"learning rate {run.spec.optim.learning_rate:g}, " in adapters.options[0]
    assert f", seed {run.spec.seed} · {run.score_text()}" in adapters.options[0]
    serve = draw("serve", experiment=experiment.id)
    assert run.id in serve.code[0].value
    assert serve.dataframe[-1].value["Adapter"].iloc[0] == run.id
    assert as_json(lab, experiment, [], lab.store.members(experiment))["verdict"]["adapter_run"] == run.id
    assert TestClient(Starlette(routes=predict.routes(str, offered_adapter))).get(ADAPTERS).json()["offered"] == run.id


def check_commands(lab: Lab, experiment: Experiment, found: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """What a command prints, as text and as JSON."""
    members = lab.store.members(experiment)
    print_comparison(lab, experiment, members)
    lines = capsys.readouterr().out.splitlines()
    assert lines.count(headline(found)) == 1
    assert {f"  {check.text}" for check in checks_of(found).values()} <= set(lines)
    printed = json.loads(json.dumps(as_json(lab, experiment, [lab.store.run(experiment.base)], members)))["verdict"]
    assert printed["sentence"] == headline(found)
    assert printed["level"] == found.level
    assert printed["choice"] == (found.choice.label if found.choice else None)
    assert printed["withheld"] == (found.withheld or None)
    assert [look["seeds"] for look in printed["looks"]] == [look.seeds for look in found.looks]
    assert printed["difference"] == found.told.difference.interval.mean
    assert printed["adapter_run"] == found.offered.id
    assert [setting["label"] for setting in printed["settings"]] == [each.arm.label for each in found.candidates]
    assert printed["earlier_looks"] == list(found.before) == [], "a look that is read again is no earlier one"
