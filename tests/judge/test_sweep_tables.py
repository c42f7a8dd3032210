"""Tables of sweeps as the Trainer and W&B write them: no column names the method, and one measure may be all."""

from __future__ import annotations

import pytest

from core.answer.lines import headline, reason
from core.errors import JudgeError
from core.judge.results import results_of
from core.lab import Lab
from core.rule.tuning import choice_sentence, rate_choices
from core.study.report.html import report_html
from core.study.report.judged import carried, judged_report
from tests.judge.samples import RATES, asked, csv_of, judged, read, rows_of
from tests.study.samples import said_of

METHODS = {("full", None): 90.0, ("lora", 8): 90.2, ("lora", 16): 88.0}


@pytest.fixture(autouse=True)
def here(read_here: None) -> None:
    """Read in this process: what is read is tested, and not who reads it."""
    return


def sweep(
    no_rank: object = "", rates: tuple[float, ...] = RATES, test: bool = False, seeds: int = 3
) -> list[dict[str, object]]:
    """Rows of the Trainer: the last epoch in each, and no method. Args: test: whether a test part was measured."""
    return [
        {
            "output_dir": f"out/run-{place}",
            "learning_rate": row["learning_rate"],
            "lora_r": row["rank"] or no_rank,
            "seed": row["seed"],
            "eval_accuracy": float(str(row["validation"])) / 100,
            **({"test_accuracy": float(str(row["accuracy"])) / 100} if test else {}),
            "train_runtime": 400.0 + place,
            "epoch": 3.0,
        }
        for place, row in enumerate(rows_of(range(seeds), rates, METHODS))
    ]


@pytest.mark.parametrize("no_rank", ["", 0, "0.0", "None", "nan", "null"])
def test_runs_without_a_rank_are_full_fine_tuning_and_nothing_is_asked(no_rank: object) -> None:
    found = read(csv_of(sweep(no_rank, test=True)))
    assert found.questions == []
    assert [(row.method, row.rank) for row in found.results.rows if row.seed == 0][:: len(RATES)] == [*METHODS]
    assert {row.epochs for row in found.results.rows} == {3}, "the last epoch of each run is no row among several"
    assert 88 < max(row.value for row in found.results.rows) < 100, "values up to 1 are fractions"
    assert found.results.notes == ("18 rows with a rank in 'lora_r' count as LoRA, and 9 without as full fine-tuning.",)


def test_names_that_say_another_method_than_ranks_are_asked_about() -> None:
    agree = [{**row, "run_name": f"{'lora' if row['lora_r'] else 'full'}-{row['seed']}"} for row in sweep(test=True)]
    assert asked(read(csv_of(agree))) == []
    differ = [{**row, "run_name": f"{'dora' if row['lora_r'] else 'full'}-{row['seed']}"} for row in agree]
    assert asked(read(csv_of(differ))) == ["in_names"]
    assert {row.method for row in read(csv_of(differ), in_names="read").results.rows} == {"full", "dora"}


def test_a_method_that_nothing_tells_is_asked_without_columns_that_are_none() -> None:
    rows = [{name: cell for name, cell in row.items() if name != "lora_r"} for row in sweep(test=True) if row["lora_r"]]
    rows = [{**row, "State": "finished", "tuner": "ab"[place % 2]} for place, row in enumerate(rows[: len(RATES) * 3])]
    (question,) = read(csv_of(rows)).questions
    assert (question.field, question.options) == ("method", ("tuner", "full", "lora"))
    found = read(csv_of(rows), method="lora")
    assert found.questions == []
    assert {row.method for row in found.results.rows} == {"lora"}


def test_columns_that_do_not_differ_are_no_reason_for_repeated_rows() -> None:
    rows = [{**row, "neftune": noise, "epoch": 3.0} for noise in (0.0, 0.1) for row in sweep(test=True)]
    rows = [{**row, "test_accuracy": 0.5 + place / 1000} for place, row in enumerate(rows)]
    for without in ({}, {"output_dir": "out"}):
        (question,) = read(csv_of({**row, **without} for row in rows)).questions
        assert question.field == "repeated"
        assert "They differ in 'neftune'." in question.text
        assert "epoch'" not in question.text
    assert asked(read(csv_of(rows), settings=("neftune",))) == []


@pytest.mark.parametrize(("part", "column"), [("test", "validation_accuracy"), ("validation", "test_accuracy")])
def test_one_measure_of_a_sweep_gets_a_table_and_the_column_that_would_make_it_a_verdict(
    part: str, column: str, idle: Lab
) -> None:
    content = csv_of(sweep())
    assert asked(read(content)) == ["evaluated"]
    answer = judged(idle, content, evaluated=part)
    assert headline(answer.verdict).startswith("No verdict: ")
    assert reason(answer.verdict) == f"A verdict takes a column {column}, and at least 7 seeds of each setting."
    many = judged(idle, csv_of(sweep(seeds=7)), evaluated=part)
    assert reason(many.verdict).endswith(f"A column {column} would make it one.")
    (seen,) = [sentence for sentence in carried(answer) if sentence.startswith("Best mean")]
    assert seen.index("LoRA r=8 at learning rate 0.001") < seen.index("full fine-tuning at learning rate 0.001")
    assert answer.verdict.looks == ()
    assert headline(answer.verdict).replace("'", "&#x27;") in report_html(judged_report(answer))


def test_what_is_of_the_validation_part_is_called_so_in_every_sentence(idle: Lab) -> None:
    tuned, given = (judged(idle, csv_of(sweep(rates=rates)), evaluated="validation") for rates in (RATES, RATES[1:2]))
    assert "test part" not in choice_sentence(rate_choices(tuned.verdict.rows))
    assert given.verdict.reason == "", "nothing was chosen, and the settings are compared"
    texts = [*said_of(given.verdict), report_html(judged_report(given))]
    assert [text for text in texts if "accuracy" in text.lower().replace("validation accuracy", "")] == []
    assert results_of(given.results.to_json()) == given.results


def test_one_column_is_not_taken_for_both_parts() -> None:
    with pytest.raises(JudgeError, match="name two different columns"):
        read(csv_of(sweep()), measure="eval_accuracy", validation="eval_accuracy", evaluated="test")
    with pytest.raises(JudgeError, match="name two different columns"):
        read(csv_of(sweep(test=True)), validation="eval_accuracy", measure="test_accuracy", evaluated="validation")


def test_runs_that_did_not_finish_do_not_count() -> None:
    states = {"crashed": "failed", "failed": "failed", "running": "stopped", "killed": "stopped"}
    rows = sweep(test=True)
    for row, state in zip(rows, states, strict=False):
        row |= {"State": state}
    found = read(csv_of(rows)).results
    assert [row.state for row in found.rows] == [*states.values(), *["finished"] * (len(rows) - len(states))]
    assert "Of 27 runs these did not finish: 2 failed and 2 stopped or still running." in found.notes


def test_full_fine_tuning_lacks_no_rank_in_names() -> None:
    rows = [
        {
            "Name": f"{row['method']}-lr{row['learning_rate']}-r{row['rank']}-s{row['seed']}".replace("-r-", "-"),
            "test/accuracy": row["accuracy"],
        }
        for row in rows_of(range(3), RATES, METHODS)
    ]
    (question,) = read(csv_of(rows)).questions
    assert question.field == "in_names"
    assert "has method lora, rank 8" in question.text
    assert "Rank is in" not in question.text
