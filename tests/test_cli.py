"""The command line: a whole comparison, and verification of an adapter."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
from contextlib import closing
from html import escape, unescape
from pathlib import Path

import pytest
import torch
from peft import PeftModel

from core.__main__ import main, parser
from core.adapter import apply_adapter, read_adapter
from core.cli.comparison import INCOMPLETE, answer
from core.cli.progress import LINE_SECONDS
from core.engine.jobs.run_files import ADAPTER
from core.lab import Lab
from core.networks.file import read_network, write_network
from core.objectives.registry import CLASSIFICATION
from core.plan.search import TuneSpec
from core.results.choice import chosen_arms
from core.results.row import rows_of
from core.settings import Settings
from tests import forked
from tests.adapter.samples import unzip
from tests.conftest import BOTH, compared, sentence_of, short, training_lab
from tests.study.samples import decided_on
from tests.trained_home import TrainedHome

COMPARE = ["compare", "--source", "digits", "--epochs", "1", "--pretrain-epochs", "1", "--seeds", "2"]
"""A comparison that is soon over."""


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return forked.run(["-m", "core", *map(str, arguments)])


def test_compare_prints_one_json_object_and_its_adapter_loads_in_peft(tmp_path: Path) -> None:
    options = shlex.split(
        "--source digits --preset rotation-45 --epochs 2 --pretrain-epochs 3 --seeds 2 --rank 4 --device cpu"
    )
    begun = time.monotonic()
    done = run("compare", *options, "--home", tmp_path / "home", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["device"] == "cpu"
    assert found["base"]["parameters"] == 136_074
    arms = {arm["method"]: arm for arm in found["arms"]}
    assert (arms["full"]["trainable_parameters"], arms["lora"]["trainable_parameters"]) == (136_074, 6_248)
    assert arms["full"]["adapter"] is None
    for arm in arms.values():
        assert len(arm["accuracy"]) == len(arm["source_accuracy"]) == 2
        assert all(0 <= value <= 100 for value in arm["accuracy"])
        assert arm["seconds"] > 0
    assert "\r" not in done.stderr  # no bar in a pipe
    told = re.findall(r"^\d+ of 5 runs, .*$", done.stderr, re.MULTILINE)  # the base and four runs
    assert told[-1].startswith("5 of 5 runs, ")
    assert told[-1].endswith(": done")
    assert 1 <= len(told) <= 2 + (time.monotonic() - begun) / LINE_SECONDS

    base = read_network(Path(found["base"]["weights"]))
    adapter = Path(arms["lora"]["adapter"])
    x = torch.rand(64, 784, generator=torch.Generator().manual_seed(0))
    ours = apply_adapter(base, read_adapter(adapter))(x)
    theirs = PeftModel.from_pretrained(base, unzip(adapter.read_bytes(), tmp_path / "adapter")).eval()(x)
    torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=1e-5)

    checked = run("verify", adapter, "--base", found["base"]["weights"])
    assert checked.returncode == 0, checked.stderr
    assert "6,248 parameters" in checked.stdout


def test_compare_tunes_all_alike_and_writes_a_report_beside_one_json_object(tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    options = shlex.split("--adapters lora dora --rank 1 4 --tune 2 --vary-bases --controls head scratch --within 3")
    done = run(*COMPARE, *options, "--home", tmp_path / "home", "--report", report, "--json")
    assert done.returncode == 0, done.stderr
    arms = json.loads(done.stdout)["arms"]
    kinds = [(arm["method"], arm["control"], arm["rank"]) for arm in arms]
    places = [
        ("full", None, None),
        ("lora", None, 1),
        ("lora", None, 4),
        ("dora", None, 1),
        ("dora", None, 4),
        ("full", "head", None),
        ("full", "scratch", None),
    ]
    assert kinds == [place for place in places for _ in range(2)]
    for place in places:
        tried = [arm for arm, kind in zip(arms, kinds, strict=True) if kind == place]
        means = [sum(arm["validation_accuracy"]) for arm in tried]
        assert [arm["chosen"] for arm in tried].count(True) == 1
        assert tried[means.index(max(means))]["chosen"] or means[0] == means[1]
    text = report.read_text()
    assert "Within 3 points" in text
    assert "at most 3 points of accuracy below" in text
    assert escape(json.loads(done.stdout)["verdict"]["sentence"]) in text
    assert '"own_bases": true' in unescape(text)
    again = tmp_path / "again.html"
    experiment = re.search(r"e-[0-9a-f]{8}", text)[0]
    done = run("report", experiment, again, "--home", tmp_path / "home")
    assert done.returncode == 0, done.stderr
    without_time = [re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "", file.read_text()) for file in (report, again)]
    assert without_time[0] == without_time[1]


def test_an_experiment_is_judged_by_the_measure_and_margin_that_it_began_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ["--home", str(tmp_path)]
    assert main([*COMPARE, "--rank", "2", "--tune", "2", "--measure", "macro_f1", "--within", "1", *home]) == 0
    with closing(Lab(Settings(tmp_path))) as lab:
        (experiment,) = lab.store.experiments()
        members = lab.store.members(experiment)
        assert {run.spec.objective for run in members} == {CLASSIFICATION.but(measure="macro_f1", within=1.0)}
        assert lab.store.run(experiment.base).spec.objective == CLASSIFICATION
        assert decided_on(rows_of(members)).margin == 1.0
        for chosen in chosen_arms(rows_of(members)):
            tried: dict[float, list[float]] = {}
            for run in members:
                if run.spec.method == chosen.spec.method:
                    assert run.result
                    value = run.result.measures["validation_macro_f1"]
                    tried.setdefault(run.spec.optim.learning_rate, []).append(value)
            assert sum(tried[chosen.learning_rate]) == max(map(sum, tried.values()))
    capsys.readouterr()
    assert main(["grow", experiment.id, "--seeds", "1", "--json", *home]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"]["seeds"] == 3
    with closing(Lab(Settings(tmp_path))) as lab:
        grown = [run.spec for run in lab.store.members(lab.store.experiment(experiment.id))]
    assert len(grown) == 12
    assert {spec.objective for spec in grown} == {members[0].spec.objective}
    assert main(["report", experiment.id, str(tmp_path / "r.html"), *home]) == 0
    text = (tmp_path / "r.html").read_text()
    assert "Within 1 point" in text
    assert '"measure": "macro_f1", "within": 1.0' in unescape(text)


@pytest.mark.parametrize("command", [["grow", "e-1"], ["report", "e-1", "r.html"]])
def test_the_margin_cannot_be_chosen_once_results_are_there(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*command, "--within", "3"])
    assert "unrecognized arguments: --within 3" in capsys.readouterr().err


def test_a_table_and_the_answer_are_printed_and_a_rate_that_diverges_is_a_finding_and_no_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = shlex.split("--source digits --epochs 2 --pretrain-epochs 1 --seeds 1 --lr-lora 1 --tune 9 --alpha 4096")
    status = main(["compare", *options, "--home", str(tmp_path)])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    for words in ("LoRA r=4", "136,074", "Each setting was trained at"):
        assert words in captured.out
    assert "Note: " in captured.out  # it warns that one seed is too few


@pytest.mark.parametrize("how", ["stopped", "interrupted"])
def test_a_run_that_ended_early_leaves_an_incomplete_answer_also_where_rates_are_tuned(
    settings: Settings, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    idle = Lab(settings)
    tuned = TuneSpec.of(rates=2)
    experiment = compared(idle, "rotation-45", "digits", None, short(), BOTH, [0], tune=tuned)
    first, *_ = runs = idle.store.members(experiment)
    if how == "stopped":
        idle.stop(first.id)
    else:
        (claimed,) = idle.store.claim([first])
        idle.store.interrupt(claimed, "The disk is full: free some space, then finish the run.")
    idle.close()
    options = parser().parse_args(["grow", experiment.id])
    with training_lab(settings) as lab:
        status = answer(lab, experiment, [run.id for run in runs], options)
        assert [run.state for run in lab.store.members(experiment)] == [how, "finished", "finished", "finished"]
    captured = capsys.readouterr()
    assert status == INCOMPLETE
    assert "LoRA r=4" in captured.out
    assert f"error: {first.spec.label}, seed 0: " in captured.err


def test_a_report_that_cannot_be_written_is_one_sentence_and_costs_nobody_the_answer(
    trained_home: TrainedHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, experiment = ["--home", str(trained_home.home)], trained_home.plain
    for command in (["report", experiment.id, str(tmp_path)], ["compare", "--report", str(tmp_path)]):
        assert main([*command, *home]) == 1
        assert capsys.readouterr().err == f"error: {tmp_path} is a folder: name a file in it.\n"
    name = tmp_path / f"{'long' * 64}.html"
    for command in (["report", experiment.id, str(name)], ["grow", experiment.id, "--report", str(name)]):
        assert main([*command, *home]) == 1
        captured = capsys.readouterr()
        assert captured.err.endswith(f"error: {name} cannot be written: File name too long. Name another file.\n")
        assert ("LoRA r=4" in captured.out) == (command[0] == "grow")
    assert list(tmp_path.glob("*.html")) == []


def test_a_report_of_nothing_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "e-00000000", "r.html", "--home", str(tmp_path)]) == 1
    assert sentence_of(capsys).startswith("error: There is no experiment")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--within", "-1"], "Margin must be at least 0, not -1"),
        (["--within", "nan"], "Margin must be a finite number"),
        (["--within", "11"], "Margin must be at most 10 for accuracy, not 11"),
        (["--measure", "loss", "--within", "1.5"], "Margin must be at most 1 for loss, not 1.5"),
        (["--tune", "1"], "Learning rates per method must be at least 2"),
        (["--report", "no/such/folder/r.html"], "does not exist"),
        (["--rank", "4", "4"], "are the same"),
        (["--rank", "0"], "Rank must be at least 1"),
        (["--rank", "500"], "Rank 500 is above 128"),
        (["--alpha", "nan"], "Alpha must be a finite number"),
        (["--source", "cats"], "cats"),
        (["--source", "mnist"], "LORA_LAB_DATA"),
        (["--seeds", "0"], "at least 1"),
        (["--epochs", "0"], "Epochs must be at least 1"),
        (["--preset", "transfer", "--target", "digits"], "other than its source digits"),
        (["--device", "cuda"], "no cuda device"),
    ],
)
def test_bad_options_get_one_sentence_and_leave_no_run(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    sentence: str,
) -> None:
    monkeypatch.delenv("LORA_LAB_DATA", raising=False)
    defaults = [] if "--source" in arguments else ["--source", "digits"]
    assert main(["compare", "--home", str(tmp_path), *defaults, *arguments]) == 1
    assert sentence in sentence_of(capsys)
    assert list((tmp_path / "runs").glob("*")) == []


def test_verify_gives_the_reason_and_exits_with_1(
    tmp_path: Path, filled_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(Lab(Settings(filled_home))) as lab:
        run = next(run for run in lab.store.runs() if run.spec.role == "adapter")
        adapter, base = lab.artifacts.path(run.id, ADAPTER), lab.artifacts.base(run)
    other = read_network(base)
    with torch.no_grad():
        other.layers[0].bias[0] += 1  # type: ignore[operator]
    write_network(tmp_path / "other.safetensors", other)
    cut = tmp_path / "cut.zip"
    cut.write_bytes(adapter.read_bytes()[:-200])
    for given, against, word in [
        (adapter, tmp_path / "other.safetensors", "base"),
        (cut, base, "zip"),
        (tmp_path / "none.zip", base, "none.zip"),
        (adapter, adapter, "safetensors"),
    ]:
        assert main(["verify", str(given), "--base", str(against)]) == 1
        assert word in sentence_of(capsys)


def test_time_prints_every_method_in_every_way_and_refuses_a_rank_that_does_not_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.forecast.step_time.SECONDS", 0.0)
    monkeypatch.setattr("core.forecast.step_time.ROUNDS", 3)
    home = ["--home", str(tmp_path)]
    assert main(["time", "--rank", "1", "4", "--bank", "2", *home]) == 0
    lines = capsys.readouterr().out.splitlines()
    for way in ("Plain PyTorch", "This engine, one run", "This engine, a bank, per run"):
        assert sum(line.startswith(f"{way} ") for line in lines) == 3
    assert main(["time", "--rank", "2000", *home]) == 1
    assert "2000" in capsys.readouterr().err
