"""``python -m core run``: the JSON of a run reproduces its weights bit for bit in another home folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from core.__main__ import main
from core.artifacts.recipe import Recipe, weights_digest
from core.data.task_spec import TaskSpec
from core.engine.jobs.run_files import ADAPTER, NETWORK, PREDICTIONS
from core.errors import SpecError
from core.lab import Lab
from core.methods.lora import LoRASpec
from core.run_spec import RunSpec
from core.settings import Settings
from core.spec import MAX_CHARACTERS
from core.store.record import Run
from tests import forked
from tests.conftest import BOTH, DIGITS, TURNED, finish, short, wait_until
from tests.launching import fine_tune

PRETRAIN = RunSpec.of(method="pretrain", task=DIGITS, optim=short(epochs=2, rate=0.001))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A base and a fine-tune run of each method, each trained alone on two threads."""
    lab = Lab(Settings(home=tmp_path_factory.mktemp("home"), threads=2))
    lab.start()
    (base,) = finish(lab, lab.launcher.launch(PRETRAIN).id)
    for arm in BOTH:
        finish(lab, *fine_tune(lab, base, TURNED, [arm], [3], "x").runs)
    lab.close()
    return lab


def run_of(lab: Lab, method: str) -> Run:
    return lab.store.runs(methods=[method])[0]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, as on another machine."""
    monkeypatch.setenv("LORA_LAB_HOME", str(tmp_path / "other-home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_json_of_a_run_gives_its_very_weights_in_another_home_and_process(lab: Lab, elsewhere: Path) -> None:
    run = run_of(lab, "lora")
    (elsewhere / "spec.json").write_text(lab.recipe(run.id).to_json())
    environment = {**os.environ, "PYTHONPATH": str(forked.REPO), "LORA_LAB_HOME": str(elsewhere / "other-home")}
    done = forked.run(["-m", "core", "run", "spec.json", "--out", "again"], cwd=elsewhere, env=environment)
    assert done.returncode == 0, done.stderr
    assert "The weights are bit for bit those of the original run." in done.stdout
    again = elsewhere / "again"
    assert weights_digest(again) == weights_digest(lab.settings.runs / run.id)
    assert (again / "base" / NETWORK).read_bytes() == lab.artifacts.base(run).read_bytes()
    result = json.loads((again / "result.json").read_text())
    assert (result["accuracy"], result["threads"]) == (run.score, 2)
    assert not (elsewhere / "other-home" / "lab.sqlite3").exists()


@pytest.mark.parametrize("method", ["pretrain", "full"])
def test_so_it_does_for_every_method(lab: Lab, elsewhere: Path, method: str) -> None:
    run = run_of(lab, method)
    (elsewhere / "spec.json").write_text(lab.recipe(run.id).to_json())
    assert main(["run", "spec.json"]) == 0
    assert (elsewhere / run.id / NETWORK).read_bytes() == lab.artifacts.read(run.id, NETWORK)


def test_a_run_of_this_machine_is_named_by_its_id(
    lab: Lab, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(lab, "lora")
    arguments = ["run", "--run", run.id, "--home", str(lab.settings.home)]
    assert main([*arguments, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["same_weights"] is True
    assert said["files"] == [str(Path(run.id) / name) for name in (ADAPTER, PREDICTIONS)]
    assert main(arguments) == 1
    assert f"{run.id} exists already: name a new folder" in capsys.readouterr().err


def test_the_weights_of_the_base_can_be_given_and_must_be_its_own(
    lab: Lab, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(lab, "full")
    base, other = lab.artifacts.base(run), lab.artifacts.path(run.id, NETWORK)
    (elsewhere / "spec.json").write_text(lab.recipe(run.id).to_json())
    assert main(["run", "spec.json", "--base", str(other)]) == 1
    assert "is not the base that this run started from" in capsys.readouterr().err
    assert main(["run", "spec.json", "--base", str(base), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["same_weights"] is True
    assert not (elsewhere / run.id / "base").exists()


def test_the_spec_alone_is_enough_for_a_pretrain_run(
    lab: Lab, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (elsewhere / "spec.json").write_text(PRETRAIN.to_json())
    assert main(["run", "spec.json", "--out", "new", "--threads", "2", "--device", "cpu"]) == 0
    assert "no result to compare with" in capsys.readouterr().out
    assert weights_digest(elsewhere / "new") == weights_digest(lab.settings.runs / run_of(lab, "pretrain").id)


def test_a_banked_run_comes_out_the_same_to_rounding_and_the_command_says_why(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = Lab(Settings(home=elsewhere / "home", threads=1))
    lab.start()
    (base,) = finish(lab, lab.launcher.launch(PRETRAIN).id)
    arms = [(short(epochs=2), LoRASpec.of(rank=rank)) for rank in (2, 8)]
    runs = finish(lab, *fine_tune(lab, base, TURNED, arms, range(2), "x").runs)
    lab.close()
    run = next(run for run in runs if run.result and run.result.bank > 1)
    (elsewhere / "spec.json").write_text(lab.recipe(run.id).to_json())
    assert main(["run", "spec.json", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["result"]["accuracy"] == pytest.approx(run.score, abs=0.6)
    if not said["same_weights"]:
        assert main(["run", "spec.json", "--out", "again"]) == 0
        assert f"it was trained in a bank of {run.result.bank} runs" in capsys.readouterr().out


def test_a_base_that_was_stopped_must_be_given(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lab = Lab(Settings(home=elsewhere / "home", threads=1))
    lab.start()
    id = lab.launcher.launch(PRETRAIN.but(optim=short(epochs=200, rate=0.001))).id
    wait_until(lambda: lab.store.run(id).step > 0)
    lab.stop(id)
    (base,) = finish(lab, id)
    (run,) = finish(lab, *fine_tune(lab, base, TURNED, [BOTH[0]], [0], "x").runs)
    lab.close()
    (elsewhere / "spec.json").write_text(lab.recipe(run.id).to_json())
    assert main(["run", "spec.json"]) == 1
    assert f"The base {base.id} was stopped by hand" in capsys.readouterr().err
    assert not (elsewhere / run.id).exists()
    assert main(["run", "spec.json", "--base", str(lab.artifacts.base(run)), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["same_weights"] is True


@pytest.mark.parametrize(
    ("text", "arguments", "sentence"),
    [
        ("{", [], "not valid JSON"),
        ("[]", [], "schema version 2"),
        ('{"schema": 2, "run": "r-1"}', [], "Spec is missing"),
        (b"\xff\xfe\x00", [], "not text"),
        (" " * (MAX_CHARACTERS + 1), [], "at most 262,144"),
        (PRETRAIN.but(task=TaskSpec.of(dataset="no-such")).to_json(), [], "no-such"),
        (RunSpec.of(method="full", base="r-1", source=DIGITS).to_json(), [], "give the base's weights with --base"),
        (RunSpec.of(method="full", base="r-1", source=DIGITS).to_json(), ["--base", "none"], "There is no file none"),
        (PRETRAIN.to_json(), ["--base", "spec.json"], "leave --base out"),
        (PRETRAIN.to_json(), ["--threads", "0"], "threads must be 1 to 1024"),
        (PRETRAIN.to_json(), ["--out", "spec.json"], "exists already"),
        (PRETRAIN.to_json(), ["--device", "cuda"], "no cuda device"),
    ],
)
def test_a_bad_file_or_option_gets_one_sentence_and_leaves_nothing(
    elsewhere: Path, capsys: pytest.CaptureFixture[str], text: str | bytes, arguments: list[str], sentence: str
) -> None:
    (elsewhere / "spec.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    before = sorted(path.name for path in elsewhere.iterdir())
    assert main(["run", "spec.json", *arguments]) == 1
    captured = capsys.readouterr()
    error = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert len(error) == 1
    assert sentence in error[0]
    assert captured.out == ""
    assert sorted(path.name for path in elsewhere.iterdir()) == before


def test_an_unknown_run_and_a_missing_file_get_one_sentence(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "none.json"]) == 1
    assert "none.json cannot be read: No such file" in capsys.readouterr().err
    assert main(["run", "--run", "r-none", "--home", str(elsewhere / "empty")]) == 1
    assert "There is no run 'r-none'" in capsys.readouterr().err


def test_a_recipe_that_contradicts_itself_is_refused(lab: Lab) -> None:
    recipe = lab.recipe(run_of(lab, "lora").id)
    assert Recipe.from_json(recipe.to_json()) == recipe
    wrong = [
        ({"base": recipe}, "A base must be a pretrain run"),
        ({"spec": recipe.base.spec}, "takes no base"),
        ({"run": "../../etc"}, "Run must be"),
        ({"weights": "x" * 64}, "Weights must be"),
        ({"spec": recipe.spec.but(network=recipe.spec.network.but(num_hidden_1=64))}, "different sizes"),
    ]
    for change, sentence in wrong:
        with pytest.raises(SpecError, match=sentence):
            recipe.but(**change)
