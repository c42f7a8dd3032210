"""``python -m core grow``: seeds and ranks are added to an experiment, and nothing is trained twice."""

from __future__ import annotations

import argparse
import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from core.__main__ import main
from core.answer.design import look_line
from core.cli.compare import _tell_of_unfinished
from core.cli.comparison import answer
from core.lab import Lab
from core.methods.lora import LoRASpec
from core.rule.claims import Level
from core.rule.spending import level_of
from core.settings import Settings
from core.study.report import answer as answers
from core.study.report.answer import place_of
from tests.conftest import BOTH, HANG, braked, compared, finish, sentence_of, short, wait_until
from tests.study.samples import measured

SMALL = ["--source", "digits", "--epochs", "1", "--pretrain-epochs", "1", "--rank", "2"]


def seeds_of(home: Path) -> dict[tuple[str, float], list[int]]:
    """Seeds that were trained, by label and learning rate."""
    with closing(Lab(Settings(home))) as lab:
        found: dict[tuple[str, float], list[int]] = {}
        for member in lab.store.members(lab.store.experiments()[0]):
            found.setdefault((member.spec.label, member.spec.optim.learning_rate), []).append(member.spec.seed)
    return found


def test_growing_trains_what_is_new_and_prints_the_whole_comparison(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def printed(*arguments: str) -> str:
        assert main([*arguments, "--home", str(tmp_path)]) == 0
        return capsys.readouterr().out

    first = json.loads(printed("compare", *SMALL, "--seeds", "2", "--tune", "2", "--json"))
    before = {tuple(arm["runs"]): arm for arm in first["arms"]}
    with closing(Lab(Settings(tmp_path))) as lab:
        (experiment,) = lab.store.experiments()
    assert experiment.name == "Digits → rotated 45° · r 2 · 2 rates · 2 seeds"

    found = json.loads(printed("grow", experiment.id, "--seeds", "1", "--rank", "1", "--json"))
    assert found.keys() == first.keys()
    arms = [(arm["rank"], len(arm["accuracy"])) for arm in found["arms"]]
    assert arms == [(rank, 3) for rank in (None, None, 1, 1, 2, 2)]
    for arm in found["arms"]:
        if arm["rank"] != 1:  # the first two runs are those of before
            assert arm["accuracy"][:2] == before[tuple(arm["runs"][:2])]["accuracy"]
    assert all(sorted(seeds) == [0, 1, 2] for seeds in seeds_of(tmp_path).values())
    assert "LoRA r=1" in printed("grow", experiment.id)
    assert all(sorted(seeds) == [0, 1, 2] for seeds in seeds_of(tmp_path).values())
    wider = json.loads(printed("grow", experiment.id, "--rates", "--json"))
    tried = {rank: {arm["learning_rate"] for arm in found["arms"] if arm["rank"] == rank} for rank in (None, 1, 2)}
    now = {rank: {arm["learning_rate"] for arm in wider["arms"] if arm["rank"] == rank} for rank in (None, 1, 2)}
    assert {arm["rate_at_end"] for arm in found["arms"] if arm["chosen"]} <= {"lowest", "highest"}, "of two rates"
    assert found["verdict"]["withheld"] == "No verdict yet: all three best rates were the highest tried."
    assert all(now[rank] > tried[rank] for rank in tried)
    assert len({frozenset(now[rank] - tried[rank]) for rank in (1, 2)}) == 1
    longer = json.loads(printed("grow", experiment.id, "--epochs", "--json"))
    assert longer["verdict"]["updates"] == 3 * found["verdict"]["updates"] > 0
    assert (longer["verdict"]["settled"], longer["verdict"]["rates"]) == (None, "tried")


def test_a_second_look_has_what_the_first_one_left_and_one_a_seed_later_takes_from_it(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = compared(lab, "rotation-45", "digits", None, short(), BOTH, range(8))
    rows = []
    for run in finish(lab, *experiment.runs):
        assert run.result is not None
        points = run.spec.seed % 2 if run.spec.kind == "lora" else 0.5  # LoRA is better with half of the seeds
        rows.append((json.dumps(measured(run.result, accuracy=80 + points).to_dict()), run.id))
    with lab.store.transaction() as db:
        db.executemany("UPDATE runs SET result = ? WHERE id = ?", rows)
    first = place_of(lab, experiment)
    assert ([look.level for look in first.looks], first.level, first.proposed) == ([level_of(8)], Level.OPEN, 16)
    lab.close()

    def grown(*options: str) -> tuple[str, str]:
        answers._answers.clear()  # as in a process of its own
        assert main(["grow", experiment.id, *options, "--home", str(lab.settings.home)]) == 0
        captured = capsys.readouterr()
        return captured.out, captured.err

    out, err = grown("--seeds", "1")
    assert f"Note: {look_line(9, [8])}" in err
    assert "(limit 0.2 %)" in out
    assert "(limit 0.2 %)" in grown()[0], "also when it is read again"
    verdict = json.loads(grown("--seeds", "7", "--json")[0])["verdict"]
    assert [(look["seeds"], look["level"]) for look in verdict["looks"]] == [(16, level_of(16, [8, 9]))]
    assert verdict["earlier_looks"] == [8, 9]
    with closing(Lab(lab.settings)) as after:
        assert [(look.seeds, look.level) for look in after.looks.of(experiment.id)] == [
            (8, level_of(8)),
            (9, level_of(9, [8])),
            (16, level_of(16, [8, 9])),
        ]
        # Of a version that kept no looks: they are those at the ends of its launches.
        kept = [look.key for look in after.looks.of(experiment.id)]
        with after.store.transaction() as db:
            db.execute("DELETE FROM looks")
            db.execute("UPDATE experiments SET keeps_looks = 0")
        answers._answers.clear()
        assert place_of(after, after.store.experiment(experiment.id)).before == (8, 9)
        assert [look.key for look in after.looks.of(experiment.id)] == kept


def test_a_stopped_experiment_gives_no_verdict_until_it_is_finished_or_somebody_says_so(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    long = short(epochs=8, batch_size=16)
    arms = [*BOTH, (long, LoRASpec.of(rank=2))]
    with braked():
        experiment = compared(lab, "rotation-45", "digits", None, short(), arms, range(3))
        last = [run.id for run in lab.store.members(experiment) if run.spec.optim == long]
        wait_until(lambda: any(lab.store.run(id).step > 20 for id in last))
        lab.stop(*experiment.runs)
        finish(lab, *experiment.runs)
    _tell_of_unfinished(lab, lab.launcher.plan(lab.experiments.configuration(lab.store.experiment(experiment.id))))
    assert f"grow {experiment.id} --finish would train them to their ends" in capsys.readouterr().err
    lab.close()

    def told(*options: str) -> tuple[int, str, str]:
        status = main(["grow", experiment.id, *options, "--home", str(lab.settings.home)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    assert "No verdict yet: " in told()[1]
    assert "Finish the experiment" in told()[1]
    assert "No verdict yet" not in told("--without-stopped")[1]
    status, out, err = told("--finish")
    assert (status, "was deleted" in err, "stopped" in out) == (0, False, False)
    with closing(Lab(lab.settings)) as after:
        runs = after.store.members(after.store.experiment(experiment.id))
        assert [(run.state, run.archived) for run in runs] == [("finished", False)] * 9
        after.notes.delete([last[0]])

    status, _, err = told("--finish")
    assert status == 0
    assert "LoRA r=2, seed 0, was deleted; --again trains it again." in err
    assert told("--finish", "--again")[0] == 0
    assert sorted(seed for seeds in seeds_of(lab.settings.home).values() for seed in seeds) == sorted([0, 1, 2] * 3)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["e-none"], "There is no experiment 'e-none'"),
        (["EXPERIMENT", "--seeds", "0"], "1 to 42"),
        (["EXPERIMENT", "--rank", "0"], "Rank must be at least 1"),
        (["EXPERIMENT", "--rank", "500"], "Rank 500 is above 128"),
        (["EXPERIMENT", "--seeds", "1", "--report", "no/such/folder/r.html"], "does not exist"),
    ],
)
def test_bad_options_get_one_sentence_and_leave_no_run(
    filled_home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    before = seeds_of(filled_home)
    with closing(Lab(Settings(filled_home))) as lab:
        words = [re.sub("EXPERIMENT", lab.store.experiments()[0].id, word) for word in arguments]
    assert main(["grow", *words, "--home", str(filled_home)]) == 1
    assert sentence in sentence_of(capsys)
    assert seeds_of(filled_home) == before


def test_what_waits_for_an_interrupted_base_is_not_waited_for(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    """As after a full disk: nothing goes on until a person resumes the base, and a command cannot ask for that."""
    with lab.workers._claiming:
        experiment = compared(lab, "rotation-45", "digits", None, short(), BOTH, [0])
        assert lab.store.is_busy()
        lab.store.interrupt(*lab.store.claim([lab.store.run(experiment.base)]), "The disk is full.")
    assert not lab.store.is_busy()
    options = argparse.Namespace(report=None, json=False)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(answer, lab, experiment, experiment.runs, options).result(HANG) == 1
    said = capsys.readouterr().err
    assert "The disk is full." in said
    assert said.count("It waits for its base, which was interrupted.") == 2
    assert len(lab.live()) == 2
    lab.launcher.finish([experiment.base])
    assert all(run.result for run in finish(lab, experiment.base, *experiment.runs))
