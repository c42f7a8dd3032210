"""Judged results: the verdict of our own rule, kept with what was read, and grown by further looks."""

from __future__ import annotations

import hashlib
import json
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.__main__ import main
from core.answer.check import Outcome
from core.answer.checks.registry import checks_of
from core.answer.design import level_text
from core.answer.lines import headline
from core.cli.as_json import as_json
from core.cli.judge import judged_as_json
from core.errors import JudgeError, NoteError
from core.judge.reading import Reading
from core.judge.results import gather, results_of
from core.judge.sources import Given, given
from core.lab import Lab
from core.rule.candidate import Rule
from core.rule.claims import p_text
from core.rule.spending import level_of
from core.settings import Settings
from core.store.record import Experiment
from core.study.arms import difference_tables
from core.study.report.answer import bases_of, place_of
from core.study.report.html import report_file, report_html
from core.study.report.judged import REPORTED, JudgedEvidence, carried, judged_evidence, judged_report, keep_results
from core.study.report.results_export import results_files
from core.tracking.tracking import tracker_of
from tests.judge.samples import METHODS, RATES, asked, csv_of, judged, judged_files, read, rows_of, verdict_of, written
from tests.trained_home import TrainedHome

SHARED = ("seeds", "looks", "outliers", "trivial")
"""Checks that need nothing but the table."""


def keys_that_differ(own: dict[str, Any], judged: dict[str, Any]) -> list[str]:
    """Keys of two verdicts whose values differ; of checks those that both can make have to agree."""
    both = [{check["name"]: check["value"] for check in found["checks"]} for found in (own, judged)]
    assert all(one == both[1][name] for name, one in both[0].items() if name in SHARED and name in both[1])
    return [key for key in own if own[key] != judged[key] and key not in ("checks", "reason")]


def arms_of(found: dict[str, Any]) -> list[tuple[object, ...]]:
    measure = found["objective"]["measure"]
    names = (measure, f"validation_{measure}")
    return [(arm["label"], arm["chosen"], *(arm["measures"][name] for name in names)) for arm in found["arms"]]


EXPERIMENTS = ("plain", "tuned", "sweep", "split", "by_loss", "by_macro_f1", "one_seed", "scratch", "direct")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_that_is_exported_and_judged_has_the_verdict_of_compare_to_the_last_digit(
    trained_home: TrainedHome, tmp_path: Path, name: str
) -> None:
    with closing(Lab(Settings(trained_home.copy(tmp_path / "home")))) as lab:
        experiment: Experiment = getattr(trained_home, name)
        members = lab.store.members(experiment)
        own = as_json(lab, experiment, lab.store.runs_of(bases_of(members)), members)
        files = written(tmp_path, results_files(lab, experiment, "results"))
        theirs = judged_as_json(judged_files(lab, given(files)))
        differing = keys_that_differ(own["verdict"], theirs["verdict"])
        # What is proposed where no verdict is given: nobody can train longer here what others report.
        assert differing == []
        assert own.keys() <= theirs.keys()
        assert arms_of(own) == arms_of(theirs)


def test_an_experiment_that_mlflow_was_told_of_has_the_verdict_of_compare(
    trained_home: TrainedHome, tmp_path: Path
) -> None:
    pytest.importorskip("mlflow")
    with closing(Lab(Settings(trained_home.copy(tmp_path / "home")))) as lab:
        experiment = trained_home.plain
        members = lab.store.members(experiment)
        own = as_json(lab, experiment, lab.store.runs_of(bases_of(members)), members)
        tracker = tracker_of(f"mlflow:sqlite:///{tmp_path}/mlflow.db")
        lab.tracking.experiment(experiment, tracker, partial(report_file, lab))
        beside = written(tmp_path, results_files(lab, experiment, "results"))
        files = given([tmp_path / "mlflow.db", *(path for path in beside if path.name != "results.csv")])
        assert asked(gather(files, Reading())) == ["only"], "the runs of an experiment, and its base"
        theirs = judged_as_json(judged_files(lab, files, only=f"experiment={experiment.name}"))
        assert keys_that_differ(own["verdict"], theirs["verdict"]) == []


def test_while_runs_wait_to_be_finished_nothing_is_exported(
    trained_home: TrainedHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(Lab(Settings(trained_home.copy(tmp_path / "home")))) as lab:
        assert place_of(lab, trained_home.stopped).unread
    home = str(tmp_path / "home")
    assert main(["export", trained_home.stopped.id, str(tmp_path / "x.csv"), "--home", home]) == 1
    assert "No verdict yet" in capsys.readouterr().err
    assert list(tmp_path.glob("x*")) == []
    assert main(["export", trained_home.plain.id, str(tmp_path / "x.csv"), "--home", home]) == 0
    assert {"x.csv", "x-examples.csv", "x-about.json"} <= {path.name for path in tmp_path.glob("x*")}


def test_the_verdict_of_a_table_is_that_of_the_rule_and_says_what_the_table_carries(idle: Lab) -> None:
    answer = judged(idle, csv_of(rows_of()))
    found = answer.verdict
    assert (str(found.level), str(found.rule)) == ("shown", "within")
    assert headline(found) == "At this budget, use LoRA r=4: at most 0.5 points less accurate than full fine-tuning."
    assert [claim.rule for candidate in found.candidates for claim in candidate.claims] == ["within", "lower"]
    said = carried(answer)
    assert said[0] == REPORTED
    assert checks_of(found)["budget"].outcome is Outcome.UNKNOWN, "no curves are reported"
    assert not [sentence for sentence in said if "validation" in sentence]


@pytest.mark.parametrize(("mean", "words"), [(90.6, "more accurate"), (90.1, "at most 0.5 points")])
def test_each_claim_quotes_the_p_of_its_own_rule_in_sentences_tables_and_json(
    mean: float, words: str, idle: Lab
) -> None:
    rows = rows_of(range(12), RATES[1:2], {("full", None): 90.0, ("lora", 4): mean})
    answer = judged(
        idle, csv_of({**row, "accuracy": float(row["accuracy"]) + place % 5 / 6} for place, row in enumerate(rows))
    )
    found, (told,) = answer.verdict, answer.verdict.candidates
    assert found.rule is Rule.WITHIN
    assert words in headline(found)
    is_within = words != "more accurate"
    p, level = (told.found.within, told.at / 2) if is_within else (told.found.differs, told.at)
    assert p_text(told.found.within) != p_text(told.found.differs)
    shown = "< 0.1 %" if p < 0.001 else f"= {level_text(p)}"
    assert checks_of(found)["seeds"].line == f"12 seeds: p {shown} (limit {level_text(level)})."
    differences = difference_tables.full_differences(answer.arms, "accuracy", found)
    table = difference_tables.differences_table(differences, difference_tables.tested_settings(answer.arms, found))
    assert table["Finding"].item() == ("Shown: within the margin" if is_within else "Shown: higher")
    assert table["p"].item() == p_text(p)
    printed = verdict_of(answer)
    assert (printed["p"], printed["p_within"]) == (told.found.differs, told.found.within)


def test_without_a_validation_part_nothing_is_chosen_and_the_page_says_why(idle: Lab) -> None:
    rows = [{**row, "validation": ""} for row in rows_of(rates=(0.001,))]
    answer = judged(idle, csv_of(rows))
    assert any("were not chosen by us" in sentence for sentence in carried(answer))
    assert {each.arm.setting.label: each.standing for each in answer.verdict.candidates} == {
        "LoRA r=4": Rule.WITHIN,
        "vera r=256": Rule.LOWER,
    }
    several = judged(idle, csv_of({**row, "validation": ""} for row in rows_of()))
    assert several.verdict.claim is None, "nobody chose among the rates"
    assert several.verdict.looks == ()


def test_two_seeds_can_claim_nothing_and_how_many_would_be_needed_is_said(idle: Lab) -> None:
    answer = judged(idle, csv_of(rows_of(seeds=range(2))))
    assert answer.verdict.claim is None
    (sentence,) = [each for each in carried(answer) if "nothing can be claimed" in each]
    assert sentence.startswith("2 seeds each: nothing can be claimed of methods, which takes at least 7 seeds.")
    assert "it takes about" in sentence or "is out of reach" in sentence


def test_rates_at_an_end_withhold_the_verdict(idle: Lab) -> None:
    answer = judged(idle, csv_of(rows_of(rates=(0.001, 0.01))))
    assert answer.verdict.withheld == "No verdict yet: all three best rates were the lowest tried."
    assert answer.verdict.more.endswith("Add results at such rates.")
    assert answer.verdict.looks == ()


def test_another_reference_and_a_loss(idle: Lab) -> None:
    rows = [{**row, "method": "mine" if row["method"] == "full" else row["method"]} for row in rows_of()]
    answer = judged(idle, csv_of(rows), reference="mine")
    assert "less accurate than mine" in headline(answer.verdict)
    assert "full fine-tuning" not in " ".join([headline(answer.verdict), *judged_report(answer).answer])
    losses = [
        {"method": r["method"], "seed": r["seed"], "loss": 100 - float(str(r["accuracy"]))} for r in rows_of()[8:16]
    ]
    losses += [{**row, "method": "lora", "loss": float(str(row["loss"])) - 5} for row in losses]
    better = judged(idle, csv_of(losses))
    assert "lower in loss" in headline(better.verdict)


def test_a_further_file_is_a_further_look_and_the_same_file_is_none(idle: Lab) -> None:
    first = judged(idle, csv_of(rows_of(seeds=range(8))))
    kept = first.judged
    assert [look.seeds for look in idle.looks.of(kept.id)] == [8]
    again = judged(idle, csv_of(rows_of(seeds=range(8))))
    assert again.judged.id == kept.id
    more = [Given("more.csv", csv_of(rows_of(seeds=range(8, 16))))]
    found = gather(more, Reading(), kept, idle.judged.measures(kept.id))
    grown = judged_evidence(idle, keep_results(idle, found, "", kept))
    assert grown.judged.id == kept.id
    assert [look.seeds for look in idle.looks.of(kept.id)] == [8, 16]
    assert grown.verdict.candidates[0].at == level_of(16, [8])
    assert len(results_of(grown.judged.content).rows) == 2 * len(first.results.rows)
    assert [file.name for file in grown.judged.files] == ["results-0.csv", "more.csv"]
    once_more = gather(more, Reading(), grown.judged, {})
    assert keep_results(idle, once_more, "", grown.judged) == grown.judged
    changed = [Given("other.csv", csv_of({**row, "accuracy": 1.0} for row in rows_of(seeds=range(2))))]
    assert asked(gather(changed, Reading(), grown.judged, {})) == ["repeated"]
    with pytest.raises(JudgeError, match="another measure"):
        gather([Given("x.csv", b"method,seed,loss\nfull,0,1\nlora,0,2\n")], Reading(measure="loss"), kept, {})


def test_a_look_that_an_earlier_version_exported_counts_and_is_taken_again_for_what_it_has_shown(idle: Lab) -> None:
    content = csv_of(rows_of())
    (look,) = judged(idle, content).verdict.looks
    old = {"epochs": 1, "family": list(look.family), "seeds": 8, "level": look.level}

    def told(claims: object) -> JudgedEvidence:
        looks = [old | {"claims": claims}]
        return judged(idle, content, json.dumps({"lora_lab_results": 1, "looks": looks}).encode(), within=0.5)

    shown, nothing = told({"lora 4": {"within": True}}), told({})
    assert (shown.verdict.looks, shown.verdict.claim is None) == ((look,), False)
    (kept,) = idle.looks.of(shown.judged.id)
    assert (kept.key, kept.claims) == (look.key, look.claims)
    assert (nothing.verdict.claim, [own.claims for own in nothing.verdict.looks]) == (None, [()])


@pytest.mark.parametrize(("rate", "stays"), [(0.001, True), (0.01, False)])
def test_a_claim_that_was_exported_is_about_the_settings_of_its_runs(idle: Lab, rate: float, stays: bool) -> None:
    rows = [row | {"run": f"{row['method']} {row['learning_rate']} {row['seed']}"} for row in rows_of()]
    of_run = [f"full {rate} 0", *(f"{name} 0" for name in ("lora 0.001", "full 0.000316", "full 0.00316"))]
    look: dict[str, object] = {"account": [["lora 4", 1], ["vera 256", 1]], "seeds": 8, "level": 0.03}
    look["claims"] = [{"rule": "within", "settings": of_run, "methods": True}]
    about = json.dumps({"lora_lab_results": 1, "looks": [look]}).encode()
    found = judged(idle, csv_of(rows), about).verdict
    assert [(claim.rule, claim.about_methods) for each in found.candidates for claim in each.claims] == (
        [("within", True)] if stays else []
    )


def test_what_is_kept_names_the_files_that_were_read_and_can_be_deleted(idle: Lab) -> None:
    content = csv_of(rows_of())
    kept = judged(idle, content).judged
    (file,) = kept.files
    assert file.sha256 == hashlib.sha256(content).hexdigest()
    idle.judged.rename(kept.id, "  Two   words ")
    idle.judged.set_note(kept.id, "from a friend")
    with pytest.raises(NoteError):
        idle.judged.rename(kept.id, " \n ")
    again = idle.judged.get(kept.id)
    assert (again.name, again.note) == ("Two words", "from a friend")
    assert idle.judged.list() == [again]
    assert "from a friend" in report_html(judged_report(judged_evidence(idle, again)))
    idle.judged.delete(kept.id)
    assert idle.judged.list() == []
    assert idle.looks.of(kept.id) == []
    with pytest.raises(JudgeError, match="they may have been deleted"):
        idle.judged.get(kept.id)


def test_examples_one_by_one_widen_the_interval_as_they_do_for_our_own(idle: Lab) -> None:
    methods = {name: mean for name, mean in METHODS.items() if name[0] != "vera"}
    rng = np.random.default_rng(0)
    rows, each, keyed = [], [], []
    for row in rows_of(rates=(0.001,), methods=methods):
        run = f"{row['method']}-{row['seed']}"
        right = rng.random(200) < 0.8
        rows.append({**row, "run": run, "accuracy": 100 * right.mean(), "validation": 100 * right.mean()})
        answers = [{"item": f"q{place}", "right": bool(value)} for place, value in enumerate(right)]
        each += [{"run": run} | answer for answer in answers]
        keyed += [{"method": row["method"], "seed": row["seed"]} | answer for answer in answers]
    alone, both = judged(idle, csv_of(rows)), judged(idle, csv_of(rows), csv_of(each))
    widths = [answer.verdict.candidates[0].difference.interval.half_width for answer in (alone, both)]
    assert widths[1] >= widths[0]
    assert both.verdict.candidates[0].difference.examples == 200
    assert verdict_of(judged(idle, csv_of(rows), csv_of(keyed))) == verdict_of(both)


def test_what_becomes_of_runs_does_not_touch_judged_results_and_a_lost_store_gets_them_back(
    trained_home: TrainedHome, tmp_path: Path
) -> None:
    with closing(Lab(Settings(trained_home.copy(tmp_path / "home")))) as lab:
        files = results_files(lab, trained_home.plain, "results")
        answer = judged_files(lab, [Given(name, content) for name, content in files.items()])
        looks = lab.looks.of(answer.judged.id)
        assert looks
        assert answer.measures
        lab.notes.delete(trained_home.plain.runs)
        assert lab.looks.of(answer.judged.id) == looks
        assert lab.judged.measures(answer.judged.id).keys() == answer.measures.keys()
        lab.start()
    settings = Settings(tmp_path / "home")
    assert list(settings.backups.iterdir())
    settings.store.unlink()
    with closing(Lab(settings)) as lab:
        assert lab.judged.list() == [answer.judged]
        assert verdict_of(judged_evidence(lab, answer.judged)) == verdict_of(answer)


HOSTILE = ("<b>bold</b>", "=HYPERLINK(1)", "**md** $x^2$ :smile:", "[a](http://x)", "<script>alert(1)</script>")


def test_names_with_html_markdown_and_formulas_are_text(idle: Lab) -> None:
    rows = [
        {"method": name, "seed": seed, "accuracy": 50 + place + seed}
        for place, name in enumerate(("full", *HOSTILE))
        for seed in range(3)
    ]
    answer = judged(idle, csv_of(rows))
    report = report_html(judged_report(answer))
    assert "<b>bold" not in report
    assert "<script>alert" not in report
    labels = {arm.label for arm in answer.arms}
    assert {"=HYPERLINK(1)", "**md** $x^2$ :smile:", "[a](http://x)", "‹b›bold‹/b›"} <= labels


def test_the_command_prints_what_compare_prints_and_the_report_needs_no_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results.csv").write_bytes(csv_of(rows_of()))
    common = ["judge", str(tmp_path / "results.csv"), "--home", str(tmp_path / "home")]
    assert main([*common, "--json", "--name", "Mine", "--note", "said"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"device", "base", "arms", "missing", "objective", "verdict", "reported"} == found.keys()
    assert (found["reported"]["name"], found["reported"]["note"]) == ("Mine", "said")
    assert found["reported"]["carries"][0] == REPORTED
    assert main([*common, "--report", str(tmp_path / "report.html")]) == 0
    out, err = capsys.readouterr()
    assert REPORTED in out
    assert found["verdict"]["sentence"] in out
    id = found["reported"]["id"]
    assert f"Kept as {id}." in err
    assert "These files were judged before, as Mine." in err
    assert main(["list", "--home", str(tmp_path / "home")]) == 0
    assert id in capsys.readouterr().out
    assert main(["report", id, str(tmp_path / "again.html"), "--home", str(tmp_path / "home")]) == 0
    assert found["verdict"]["sentence"] in (tmp_path / "again.html").read_text()
    report = (tmp_path / "report.html").read_text()
    assert "default-src 'none'" in report
    assert REPORTED in report
    (tmp_path / "more.csv").write_bytes(csv_of(rows_of(seeds=range(8, 16))))
    more = ["judge", str(tmp_path / "more.csv"), "--into", found["reported"]["id"], "--home", str(tmp_path / "home")]
    assert main([*more, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"]["earlier_looks"] == [8]


def test_what_a_newer_version_kept_is_said_to_be_that() -> None:
    with pytest.raises(JudgeError, match="newer LoRA Lab"):
        results_of('{"rows": 3}')


def test_a_reading_that_names_no_column_says_which_there_are() -> None:
    with pytest.raises(JudgeError, match="there is no column 'nothing'; the file has 'method'"):
        read(csv_of(rows_of()), measure="nothing")
