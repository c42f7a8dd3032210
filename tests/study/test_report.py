"""The decision report: complete, honest about its limits, and one file that needs nothing else."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from dataclasses import replace
from html import escape, unescape
from pathlib import Path

import numpy as np
import pytest

from core.__main__ import parser
from core.answer.check import WORST_FIRST, Outcome
from core.answer.checks.registry import checks_of
from core.answer.lines import headline
from core.cli.compare import launch
from core.errors import RunStateError
from core.lab import Lab
from core.methods.pretrain import PretrainSpec
from core.numbers import bytes_text, signed_text
from core.results.measures import EACH, digits_of
from core.results.row import rows_of
from core.rule.claims import p_text
from core.settings import Settings
from core.study.arms.difference_tables import finding_text, full_differences, interval_text
from core.study.arms.forgetting_notes import OWN_RATES
from core.study.arms.tables import comparison_table
from core.study.figures.curves import mean_epochs
from core.study.figures.tradeoffs import accuracy_against, learning_and_forgetting
from core.study.report.answer import place_of
from core.study.report.evidence import gather
from core.study.report.facts import facts_of
from core.study.report.forgetting import forgetting_section
from core.study.report.html import packed_plotly, report_html, write_report
from core.study.report.parts import Plot, Table
from core.study.report.report import report
from pages.shared.ui.pickers import base_facts
from tests.study.samples import SPREAD, decided_on, make_arm_runs, make_curve, make_run, tuned, within
from tests.study.shown import read
from tests.study.test_frontier import lab_notes

DIFFERENCES = "Differences in accuracy from full fine-tuning, paired by seed, in points"


@pytest.fixture(scope="session")
def evidence(studied):
    return gather(*studied)


@pytest.fixture(scope="session")
def found(evidence):
    return report(evidence)


@pytest.fixture(scope="session")
def decided(evidence):
    """Eight seeds and three rates: rank 1 is shown to be lower, of rank 4 that is seen, and rank 16 is as good."""
    noise = (SPREAD[:8] - SPREAD[:8].mean()) / SPREAD[:8].std(ddof=1)
    seen = 94 + 8**0.5 / 2.45 * noise  # the t test of eight seeds has p = 0.044
    runs = tuned("full", [95.0] * 8) + tuned("lora", list(91 + noise), rank=1)
    runs += tuned("lora", list(seen), rank=4) + tuned("lora", list(95 + noise), rank=16)
    return bare(evidence, within(runs, 2.0))


def sections_of(found):
    return {section.title: section for section in found.sections}


def tables_of(found):
    return {part.title: part for section in found.sections for part in section.parts if isinstance(part, Table)}


def test_a_report_says_which_bases_have_new_rows_and_which_were_stopped(evidence):
    new = PretrainSpec(new_rows=True)
    bases = tuple(replace(base, spec=base.spec.but(method=new)) for base in evidence.bases)
    plain, renewed = (dict(facts_of(each))["Bases"] for each in (evidence, replace(evidence, bases=bases)))
    assert "rows" not in plain
    assert "learning rate 0.001, new rows of the head for other classes; on their test part" in renewed
    early = tuple(replace(base, state="stopped", step=39, steps=100) for base in evidence.bases)
    stopped, whole = (base_facts(each[0]) for each in (early, evidence.bases))
    assert "stopped at 39 % of " in dict(facts_of(replace(evidence, bases=early)))["Bases"]
    assert stopped == whole.replace(f" · {evidence.bases[0].epochs_text}", f" · {early[0].epochs_text}") != whole


def test_the_intervals_of_the_verdict_hold_for_other_images_as_well(evidence):
    by_seed = {d.a: d for d in full_differences(evidence.named, "accuracy")}
    over_images = {candidate.arm.name: candidate.crossed for candidate in evidence.verdict.candidates}
    assert [each.examples for each in over_images.values()] == [360, 360]
    for difference in full_differences(evidence.named, "accuracy", evidence.verdict):
        over_seeds = by_seed[difference.a].interval
        assert difference.interval.mean == pytest.approx(over_seeds.mean)
        if difference.a in over_images:
            assert difference.interval.half_width == over_images[difference.a].interval().half_width
            assert difference.examples == 360
        else:
            assert (difference.interval, difference.examples) == (over_seeds, 0)


def test_it_has_everything_that_a_reader_asks_for(found):
    assert "digits, rotated 45°" in found.question
    assert "0.5 points" in found.question
    assert list(sections_of(found)) == [
        "Accuracy",
        "Differences",
        "By rank",
        "Rates",
        *("Curves", "Forgetting", "Cost"),
    ]
    facts = dict(found.facts)
    assert facts["Seeds"].startswith("0 to 2; the same ones chose the learning rates, on the validation part")
    assert facts["Bases"].startswith("one for each seed: digits, 1 epoch,")
    assert "PyTorch" in facts["Versions, now"]
    assert facts["Device"].startswith("cpu, ")
    assert facts["Runs"].startswith("36 finished")
    assert "Each seed has a base of its own." in [check.line for check in found.checks]
    assert [check.outcome for check in found.checks] == sorted(
        (check.outcome for check in found.checks), key=WORST_FIRST.index
    )


def test_the_answer_has_everything_that_a_reader_asks_for(decided):
    found = report(decided)
    assert "2 points" in found.question
    assert found.answer[0] == headline(decided.verdict)
    parameters = min(run.result.parameters for run in decided.members)
    about = f"multilayer perceptron {decided.network}, {parameters:,} parameters; digits, rotated 45°: "
    assert found.scope.startswith(f"This answer is about: {about}"), found.scope
    assert found.scope.endswith(f" images to train on, 142 to choose by, 360 to test with; {len(decided.seeds)} seeds.")
    assert report_html(found).index(escape(found.scope)) < report_html(found).index("<h2>The question")
    assert f'{escape(found.answer[0])}</strong> <span class="level">shown</span>' in report_html(found)
    assert found.answer[0].startswith("Use LoRA r=16: at most 2 points less accurate than full fine-tuning.")
    assert "times fewer parameters" in found.answer[1]
    outcomes = {name: check.outcome for name, check in checks_of(decided.verdict).items()}
    assert outcomes["budget"] is outcomes["seeds"] is outcomes["rates"] is Outcome.HOLDS
    assert outcomes["examples"] is Outcome.UNKNOWN, "over seeds alone"
    assert len(found.checks) == len(outcomes)


def test_where_the_best_rate_may_lie_beyond_nothing_is_shown_and_it_says_so(evidence, found):
    """The rates of the experiment are two, so the better one is at an end."""
    assert found.answer[0] == headline(evidence.verdict) == evidence.verdict.withheld
    assert not any("Use " in sentence for sentence in found.answer)
    assert found.answer[-1] == "Next: Find the learning rates."
    differences = tables_of(found)[DIFFERENCES].frame
    assert set(differences["Setting"]) == {"LoRA r=1", "LoRA r=4", "Head only", "Biases only", "From scratch"}
    assert all(text.startswith(("Not told apart with 3 seeds", "Seen: ")) for text in differences["Finding"])
    assert set(differences["p"]) == {"–"}


@pytest.mark.parametrize(
    ("above", "seeds", "is_told", "noise"),
    [
        (2.5, 8, True, 0.0),
        (1.5, 8, False, 0.0),
        (2.5, 7, True, 0.0),
        (2.5, 2, True, 0.0),
        (2.5, 1, False, 0.0),
        (2.5, 8, False, 100.0),
    ],
)
def test_a_setting_that_was_better_on_the_test_part_than_the_chosen_one_is_named_and_chooses_nothing(
    decided, above, seeds, is_told, noise
):
    """``above``: points by which full fine-tuning was better with fewer epochs, where the margin is 2."""
    others, spread = [], noise * (SPREAD[:seeds] - SPREAD[:seeds].mean())
    for rate, worse in ((0.0001, 0.0), (0.001, 1.0)):
        optim, values = {"learning_rate": rate, "epochs": 5}, list(95.0 + above - worse + spread)
        others += make_arm_runs("full", values, optim=optim, validation_accuracy=60.0 + worse)
    more = bare(decided, [*decided.members, *within(others, 2.0)])
    found, before = report(more), report(decided)
    assert found.answer[0] == before.answer[0]
    told = [check.line for check in found.checks if check.line.startswith("On the test part")]
    assert not [check for check in before.checks if check.line.startswith("On the test part")]
    assert told == ["On the test part full fine-tuning at 0.0001 for 5 epochs was 2.50 points better."] * is_told


def test_what_is_told_at_equal_accuracy_is_not_left_open_above_it(evidence):
    runs, curves = lab_notes()
    told = replace(bare(evidence, runs), curves=curves, remeasured=evidence.remeasured)
    table, equal = [part for part in forgetting_section(told.shown()).parts if isinstance(part, Table)]
    assert len(equal.frame) == 3
    assert table.note == OWN_RATES


def test_what_is_shown_what_was_seen_and_what_is_neither_are_told_apart(decided):
    found = report(decided)
    tables = tables_of(found)
    assert tables["Settings"].note == "In brackets: the 95 % interval over seeds."
    rows = tables[DIFFERENCES].frame.set_index("Setting")
    assert rows["Finding"].to_dict() == {
        "LoRA r=1": "Shown: lower",
        "LoRA r=4": "Seen: lower",
        "LoRA r=16": "Shown: within the margin",
    }
    words = " ".join(term for term, _ in found.words).lower()
    assert all(finding.split(":")[0].lower() in words for finding in rows["Finding"])
    tests = {candidate.arm.name: candidate.found for candidate in decided.verdict.candidates}
    assert rows["p"].to_dict() == {
        name: p_text(found.within if name == "LoRA r=16" else found.differs) for name, found in tests.items()
    }, "each finding has the p of its own test"
    within = tables["Settings"].frame.set_index("Setting")["Within 2 points"]
    assert within.to_dict() == {"Full": "–", "LoRA r=1": "no", "LoRA r=4": "not shown", "LoRA r=16": "shown"}


def test_forgetting_is_compared_at_equal_accuracy_too(found):
    parts, tables = sections_of(found)["Forgetting"].parts, tables_of(found)
    assert "frontier" in [part.key for part in parts if isinstance(part, Plot)]
    equal = tables["Forgetting at equal accuracy on the target, in points of the source"]
    for label in ("LoRA r=1", "LoRA r=4"):
        assert label in equal.note
    assert "compares rates" in tables["Forgetting of each setting at its learning rate, in points of the source"].note


def test_times_are_drawn_only_where_no_run_shares_its_time(evidence, decided):
    for each, drawn in ((evidence, ["storage", "parameters"]), (decided, ["storage", "parameters", "time"])):
        assert any(arm.shares_time for arm in each.named) is (each is evidence)
        cost = sections_of(report(each))["Cost"]
        *plots, table = cost.parts
        assert ([plot.key for plot in plots], table.title) == (drawn, "What each setting costs")
        stored = bytes_text(each.named[0].bytes_for(100))
        assert cost.lead.startswith(f"{EACH}, 100 customers take to store: Full {stored}")


def test_the_memory_of_every_setting_is_forecast_measured_and_counted(studied, evidence, found):
    costs, kept = tables_of(found)["What each setting costs"], studied[0].estimates.at_launch(studied[1].runs)
    forecast, measured = (costs.frame[f"Process, {name}"] for name in ("forecast", "measured"))
    for arm, expected, text in zip(evidence.named, forecast, measured, strict=True):
        assert text.startswith(bytes_text(max(run.result.peak_memory for run in arm.runs)))
        assert expected in {bytes_text(kept[run.id].memory) for run in arm.runs}
    assert "Banks differ in size" in costs.note
    counted = [arm.runs[0].result.memory for arm in evidence.named]
    assert list(costs.frame["Memory, counted"]) == [bytes_text(size) for size in counted]
    assert list(comparison_table(evidence.named)["Memory, counted (bytes)"]) == counted


def test_the_file_needs_nothing_from_anywhere_and_is_always_the_same(found, tmp_path):
    html = report_html(found)
    reader = read(html)
    for tag, attributes in reader.elements:
        assert not {"src", "href", "srcset", "action"} & set(attributes), tag
    assert "@import" not in html
    assert "url(" not in html.replace(packed_plotly(), "")
    policy = next(a["content"] for tag, a in reader.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert len(html) < 5e6
    text = " ".join(reader.text)
    assert text.index(found.answer[0]) < text.index(found.question), "the answer comes first"
    for sentence in (*found.answer, *(check.text for check in found.checks), found.question, found.command, found.file):
        assert sentence in text
    assert write_report(tmp_path / "a.html", found) == write_report(tmp_path / "b.html", found)


def test_its_file_and_command_give_the_runs_that_it_is_about(studied, evidence, found, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = [unescape(text) for text in re.findall("<pre>(.*?)</pre>", report_html(found), re.DOTALL)]
    file, command, search, _ = said
    assert shlex.split(search) == [*shlex.split(command)[:6], "--tune", *shlex.split(command)[6:]]
    Path(f"{evidence.experiment.id}.json").write_text(file)
    options = parser().parse_args(shlex.split(command)[3:])
    assert str(options.report) == "report.html"
    waiting = Lab(Settings(home=tmp_path / "home"))
    queued = waiting.store.members(launch(waiting, options))
    again, before = (
        {(run.spec.but(base="base"), lab.store.run(run.spec.base).spec) for run in runs}
        for lab, runs in ((waiting, queued), (studied[0], evidence.members))
    )
    assert again == before
    waiting.store.close()


def test_where_the_base_is_gone_no_file_is_made_up(evidence):
    html = report_html(report(replace(evidence, file=None)))
    assert "No file gives these runs again" in html
    assert "--config" not in html.replace(packed_plotly(), "")


def test_the_file_has_every_figure_with_its_words(found):
    html = report_html(found)
    plots = [part for section in found.sections for part in section.parts if isinstance(part, Plot)]
    assert len({plot.key for plot in plots}) == len(plots) >= 7
    for plot in plots:
        drawn = json.loads(re.search(rf'id="plot-{plot.key}-data">(.*?)</script>', html).group(1))
        assert drawn["data"], plot.key
        assert "template" not in drawn["layout"]
    labels = [a["aria-label"] for tag, a in read(html).elements if "aria-label" in a]
    assert labels == [plot.alt for plot in plots]


def test_what_people_wrote_is_text_and_nothing_else(evidence):
    evil = "<script>alert(1)</script>\"'&</title><img src=x onerror=alert(1)>"
    bases = (replace(evidence.bases[0], id=evil),)
    named = replace(evidence, experiment=replace(evidence.experiment, name=evil, id=evil), bases=bases)
    html = report_html(replace(report(named), answer=(evil,), file=evil, specs=(evil,)))
    reader = read(html)
    assert "alert(1)" in " ".join(reader.text)
    assert "<script>alert" not in html
    assert "img" not in {tag for tag, _ in reader.elements}
    assert sum(tag == "script" for tag, _ in reader.elements) == 2 + html.count('type="application/json"')


def test_there_is_no_report_without_a_result(evidence):
    with pytest.raises(RunStateError, match="nothing to report yet"):
        report(replace(evidence, members=()))


def bare(evidence, runs):
    """What was gathered of these runs alone, with nothing measured again."""
    return replace(
        evidence,
        members=tuple(runs),
        curves={run.id: make_curve([1.0, 0.5], source=False) for run in runs},
        remeasured=type(evidence.remeasured)(missing="The dataset is gone."),
        verdict=decided_on(rows_of(runs)),
    )


def test_a_report_is_about_the_seeds_that_have_finished(evidence):
    """Of eight planned seeds two: the others were stopped, and left out when the answer was asked for."""
    runs = [
        run
        if run.spec.seed < 2 or run.result is None
        else replace(run, state="interrupted", result=None, archived=True)
        for run in evidence.members
    ]
    found = report(bare(evidence, runs))
    assert found.scope.endswith("; 2 seeds.")
    assert dict(found.facts)["Seeds"].startswith("0 to 1") or dict(found.facts)["Seeds"].startswith("0 and 1")


def rates_table(found):
    """The table of learning rates of a report, by setting."""
    (table,) = (part for part in sections_of(found)["Rates"].parts if isinstance(part, Table))
    return table.frame.set_index("Setting").to_dict("index")


def test_a_plain_experiment_has_a_report_too(evidence):
    """One seed, not tuned, no source, nothing measured again."""
    found = report(bare(evidence, make_arm_runs("full", [90.0]) + make_arm_runs("lora", [91.0])))
    assert found.answer[0] == "No verdict yet: LoRA r=4 and full fine-tuning are not told apart."
    assert "A claim takes at least 7 seeds." in found.answer[1]
    assert "The dataset is gone." in " ".join(found.warnings)
    assert "nan" not in report_html(found).replace(packed_plotly(), "")


def test_where_one_rate_was_tried_it_is_not_inside_and_its_method_is_named(evidence):
    runs = [
        make_run(method, optim={"learning_rate": rate}, validation_accuracy=80 - abs(rate - 0.002))
        for method, rate in (("full", 0.001), ("full", 0.002), ("full", 0.003), ("lora", 0.005))
    ]
    found = report(bare(evidence, runs))
    assert {setting: row["Where"] for setting, row in rates_table(found).items()} == {"Full": "inside", "LoRA r=4": "–"}
    assert "LoRA r=4 had one given learning rate, not tuned." in [check.line for check in found.checks]


def test_where_nothing_ranks_the_rates_the_table_says_that_none_was_chosen(evidence):
    runs = [make_run(optim={"learning_rate": rate}, validation_accuracy=None) for rate in (0.001, 0.002)]
    assert rates_table(report(bare(evidence, runs))) == {
        "Full": {"Rates tried": "0.001, 0.002", "Chosen": "–", "Over that of full": "–", "Where": "–"}
    }


def test_the_plane_starts_at_the_base_and_ends_with_the_last_epoch(evidence):
    arms, start = evidence.named, evidence.remeasured.start
    colours = dict.fromkeys([arm.key for arm in arms], "#000000")
    figure = learning_and_forgetting(arms, evidence.curves, colours, False, start)
    lines = {trace.name: trace for trace in figure.data}
    assert set(lines) == {arm.label for arm in arms} | {"Base"}
    for arm in arms:
        last = [evidence.curves[run.id].epochs.iloc[-1] for run in arm.runs]
        assert lines[arm.label].y[-1] == pytest.approx(np.mean([row["validation_accuracy"] for row in last]))
        assert lines[arm.label].x[-1] == pytest.approx(np.mean([row["source_accuracy"] for row in last]))
        # A network from random weights does not start at the base.
        begins = (lines[arm.label].x[0], lines[arm.label].y[0]) == (start.source, start.target)
        assert begins == (arm.spec.kind != "scratch")


def test_a_mean_curve_goes_as_far_as_all_runs_do():
    short, long = make_curve([1.0] * 4, epochs=2), make_curve([1.0] * 6, epochs=3)
    assert list(mean_epochs([short, long])["epoch"]) == [1, 2]
    assert mean_epochs([short, make_curve([], epochs=0)]).empty
    assert mean_epochs([]).empty


@pytest.mark.parametrize("customers", [1, 1000])
def test_points_stand_where_their_costs_are(evidence, customers):
    arms = evidence.named
    figure = accuracy_against("storage", arms, dict.fromkeys([a.key for a in arms], "#000000"), customers)
    places = {trace.name: trace.x[0] for trace in figure.data}
    assert places["Full"] == pytest.approx(customers * arms[0].interval("checkpoint_bytes").mean)
    assert (places["LoRA r=1"] < places["Full"]) == (customers > 1)


@pytest.mark.slow
def test_the_reports_of_the_docs_are_made_by_one_command_that_uses_runs_again(tmp_path, capsys):
    path = Path(__file__).parents[2] / "docs" / "reports" / "make.py"
    spec = importlib.util.spec_from_file_location("make_reports", path)
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    (tmp_path / "README.md").write_text(f"# Ours\n\n{make.BEGIN}\nold\n{make.END}\n\nWords that stay.\n")
    options = "--source digits --epochs 1 --pretrain-epochs 1 --seeds 2 --rank 1 4 --tune 2"
    for _ in range(2):
        folders = ["--home", str(tmp_path / "home"), "--out", str(tmp_path)]
        assert make.main([*folders, "--options", options, "rotation-45", "split"]) == 0
    readme = (tmp_path / "README.md").read_text()
    assert readme.startswith("# Ours\n")
    assert readme.endswith("Words that stay.\n")
    assert "old" not in readme.split()
    assert "| LoRA r=4 |" in readme
    assert "Does LoRA forget less?" in readme
    assert {file.name for file in tmp_path.glob("*.html")} == {"rotation-45.html", "split.html"}
    lab = Lab(Settings(home=tmp_path / "home"))
    assert len(lab.store.experiments()) == 2
    for experiment in lab.store.experiments():
        found = place_of(lab, experiment)
        assert headline(found) in readme
        difference = found.told.difference
        mean = signed_text(difference.interval.mean, digits_of(difference.interval, difference.what))
        finding = finding_text(difference, found.told)
        cell = f" {mean} ({interval_text(difference.interval, difference.what)}), {finding[0].lower()}{finding[1:]} |"
        assert any(line.startswith(f"| {found.told.arm.spec.label} |") and cell in line for line in readme.splitlines())
    lab.store.close()
