"""The lab: whole comparisons, bad input that changes nothing, stops, crashes, and valid files."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from core.adapter import apply_adapter, read_adapter
from core.artifacts.artifacts import MERGED
from core.data.task_spec import TaskSpec
from core.engine.jobs.run_files import ADAPTER, NETWORK
from core.errors import (
    DamagedFileError,
    DatasetError,
    LabError,
    LoRAError,
    QueueFullError,
    RunStateError,
    SpecError,
    UnknownRunError,
)
from core.files import sha256_of
from core.lab import Lab, close_lab, current, open_lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.networks.file import read_network, write_network
from core.networks.perceptron import PerceptronSpec
from core.plan.configuration import Configuration, preset_configuration
from core.run_spec import OptimSpec, RunSpec
from core.settings import Settings
from core.store.record import Run
from tests.conftest import BOTH, DIGITS, TURNED, compared, finish, short, training_lab, wait_until
from tests.engine.child import lab_process
from tests.launching import fine_tune

PRETRAIN = RunSpec.of(method="pretrain", task=DIGITS, optim=short(rate=0.001))
LONG = RunSpec.of(method="pretrain", task=DIGITS, optim=short(epochs=200, rate=0.001))


def test_one_epoch_on_the_part_of_mnist_is_enough_for_a_base_and_an_adapter(lab: Lab) -> None:
    experiment = compared(lab, "rotation-45", "mnist-16k", None, PRETRAIN.optim, BOTH[1:], seeds=[0])
    base, tuned = finish(lab, experiment.base, *experiment.runs)
    assert base.result is not None
    assert tuned.result is not None
    assert base.score > 85
    assert tuned.result.measures["source_accuracy_before"] == base.score
    assert tuned.score > 75


@pytest.fixture
def base(lab: Lab) -> Run:
    return finish(lab, lab.launcher.launch(PRETRAIN).id)[0]


@dataclass(frozen=True)
class Done:
    """A lab that trains nothing, and what has finished in it."""

    lab: Lab
    base: Run
    runs: list[Run]
    """In full and with LoRA, of two seeds."""

    def run(self, kind: str, seed: int = 0) -> Run:
        return next(run for run in self.runs if (run.spec.kind, run.spec.seed) == (kind, seed))


@pytest.fixture(scope="module")
def done(filled_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    home = Path(shutil.copytree(filled_home, tmp_path_factory.mktemp("done") / "home"))
    with closing(Lab(Settings(home, max_waiting=40))) as lab:
        (experiment,) = lab.store.experiments()
        yield Done(lab, lab.store.run(experiment.base), lab.store.members(experiment))


def test_the_whole_job_gives_results_and_files_that_hold(done: Done) -> None:
    lab = done.lab
    for run in (done.base, *done.runs):
        assert run.state == "finished"
        for name, sha256 in lab.store.files(run.id).items():
            assert sha256_of(lab.settings.runs / run.id / name) == sha256
        assert [state for _, state in lab.store.transitions(run.id)] == ["queued", "running", "finished"]
    trainable = [run.result and run.result.trainable_parameters for run in map(done.run, ("full", "lora"))]
    assert trainable == [136_074, 6_248]
    assert lab.artifacts.verify(done.run("lora").id).fingerprint_matches


def test_the_same_spec_gives_the_same_numbers_and_the_same_base_is_used_again(lab: Lab, base: Run, done: Done) -> None:
    again = finish(lab, lab.launcher.launch(PRETRAIN).id)[0]
    np.testing.assert_array_equal(lab.store.curve(base.id).loss, lab.store.curve(again.id).loss)
    assert lab.artifacts.read(base.id, NETWORK) == lab.artifacts.read(again.id, NETWORK)
    asked = preset_configuration(done.lab.catalog, "rotation-45", "digits", None, done.base.spec.optim, BOTH, seeds=[7])
    assert done.lab.launcher.plan(asked).bases == ()


def test_full_and_lora_of_one_seed_see_the_same_data_first(done: Done) -> None:
    full, tuned = (done.lab.store.curve(done.run(kind).id).loss for kind in ("full", "lora"))
    # B is zero and the full network equals the base, so the first loss is that of the base on the same batch.
    assert full[0] == pytest.approx(tuned[0], rel=1e-5)
    assert full[5] != tuned[5]


def test_the_merged_download_is_the_adapter_on_the_base(done: Done) -> None:
    lab, run = done.lab, done.run("lora")
    x = lab.tasks.get(TURNED).test.all_pixels()
    adapted = apply_adapter(read_network(lab.artifacts.base(run)), read_adapter(lab.artifacts.path(run.id, ADAPTER)))
    merged = read_network(lab.artifacts.path(run.id, MERGED))
    np.testing.assert_allclose(merged(x).detach(), adapted(x).detach(), atol=1e-4)
    accuracy = (merged(x).argmax(1) == lab.tasks.get(TURNED).test.labels).float().mean().item() * 100
    assert accuracy == pytest.approx(run.score, abs=0.3)


@pytest.mark.parametrize(
    ("arms", "seeds", "error", "sentence"),
    [
        ([(OptimSpec.of(), LoRASpec.of(rank=200))], [0], LoRAError, "Rank 200 is above 128"),
        ([], [0], SpecError, "at least one method and one seed"),
        ([(OptimSpec.of(), FullSpec())], [], SpecError, "at least one method and one seed"),
        ([(OptimSpec.of(), FullSpec())] * 2, [0], SpecError, "are the same"),
        ([(OptimSpec.of(), LoRASpec.of(target_modules=("layers.7",)))], [0], LoRAError, "No layer matches"),
        ([(OptimSpec.of(), FullSpec())], range(50), QueueFullError, "takes 40 waiting runs"),
    ],
)
def test_a_bad_experiment_gets_a_sentence_and_queues_nothing(
    done: Done, arms: list[tuple[OptimSpec, LoRASpec | None]], seeds: list[int], error: type, sentence: str
) -> None:
    before = done.lab.store.runs(), done.lab.store.experiments()
    with pytest.raises(error, match=sentence):
        fine_tune(done.lab, done.base, TURNED, arms, seeds, "x")
    with pytest.raises(error, match=sentence):
        compared(done.lab, "same", "digits", None, OptimSpec.of(epochs=3), arms, seeds)
    assert (done.lab.store.runs(), done.lab.store.experiments()) == before


@pytest.mark.parametrize(
    ("spec", "error", "sentence"),
    [
        (PRETRAIN.but(task=TaskSpec.of(dataset="no-such")), DatasetError, "no-such"),
        (PRETRAIN.but(task=TaskSpec.of(dataset="mnist")), DatasetError, "LORA_LAB_DATA"),
        (PRETRAIN.but(task=TaskSpec.of(dataset="digits", classes=(3, 12))), DatasetError, "class 12"),
        (PRETRAIN.but(task=TaskSpec.of(dataset="digits", shots=5000)), DatasetError, "5000"),
        (PRETRAIN.but(network=PerceptronSpec.of(num_features=100)), SpecError, "784 input features"),
        (PRETRAIN.but(network=PerceptronSpec.of(num_classes=5)), SpecError, "at least 10 classes"),
    ],
)
def test_a_bad_run_gets_a_sentence_and_is_not_queued(done: Done, spec: RunSpec, error: type, sentence: str) -> None:
    before = done.lab.store.runs()
    with pytest.raises(error, match=sentence):
        done.lab.launcher.launch(spec)
    assert done.lab.store.runs() == before


def test_stop_keeps_what_was_learnt_and_the_queue_goes_on(lab: Lab) -> None:
    first = lab.launcher.launch(LONG.but(seed=1)).id
    wait_until(lambda: lab.store.run(first).step > 0)
    second, third = (lab.launcher.launch(LONG.but(seed=seed)).id for seed in (2, 3))
    lab.stop(second)
    lab.stop(first)
    lab.stop(first)
    wait_until(lambda: lab.store.run(third).state == "running")
    stopped, unbegun = lab.store.run(first), lab.store.run(second)
    assert stopped.state == "stopped"
    assert stopped.result
    assert 0 < stopped.result.steps == stopped.step < stopped.steps
    assert read_network(lab.artifacts.path(first, NETWORK))
    assert unbegun.state == "stopped"
    assert unbegun.result is None
    with pytest.raises(RunStateError, match="has made no files"):
        lab.artifacts.path(second, NETWORK)
    lab.stop(third)
    finish(lab, third)


def test_waiting_runs_that_fit_together_are_trained_as_a_bank_to_the_numbers_they_have_alone(
    lab: Lab, base: Run
) -> None:
    arms = [(short(epochs=2), LoRASpec.of(rank=rank, alpha=alpha)) for rank, alpha in ((2, 4), (4, 8), (16, 1))]
    together = finish(lab, *fine_tune(lab, base, TURNED, arms, range(3), "x").runs)
    banks = [run.result.bank for run in together if run.result]
    assert max(banks) > 1
    for run in together[:3]:
        alone = finish(lab, lab.launcher.launch(run.spec).id)[0]
        assert alone.result
        assert alone.result.bank == 1
        np.testing.assert_allclose(lab.store.curve(alone.id).loss, lab.store.curve(run.id).loss, rtol=2e-3, atol=2e-4)


def test_a_diverged_run_fails_with_its_cause_and_the_next_one_trains(lab: Lab, base: Run) -> None:
    network = read_network(lab.artifacts.path(base.id, NETWORK))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter *= 1e15  # finite, but the product of three layers is not
    lab.store.add_file(base.id, NETWORK, write_network(lab.artifacts.path(base.id, NETWORK), network))
    diverging = fine_tune(lab, base, TURNED, [BOTH[1]], [0], "x").runs
    failed, finished = finish(lab, *diverging, lab.launcher.launch(PRETRAIN).id)
    assert (failed.state, finished.state) == ("failed", "finished")
    assert failed.cause
    assert failed.result is None
    curve = lab.store.curve(failed.id)
    first_bad = int(curve.step[~np.isfinite(curve.loss)][0])
    assert f"Diverged at step {first_bad}:" in failed.cause
    assert first_bad == failed.step < failed.steps


def test_a_damaged_base_is_refused_wherever_it_is_read(lab: Lab, base: Run) -> None:
    path = lab.artifacts.path(base.id, NETWORK)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1  # one bit of one weight: all numbers are still finite
    path.write_bytes(content)
    (run,) = finish(lab, *fine_tune(lab, base, TURNED, [BOTH[0]], [0], "x").runs)
    assert run.state == "failed"
    assert run.cause
    assert f"{base.id}/{NETWORK} is no longer what was written there" in run.cause
    for read in (lab.artifacts.path, lab.artifacts.read):
        with pytest.raises(DamagedFileError, match="train that run again"):
            read(base.id, NETWORK)
    assert lab.launcher.plan(Configuration.on(base.spec, TURNED, BOTH, [0])).bases
    assert lab.recipe(base.id).weights is None
    assert lab.recipe(run.id).base.weights is None


def test_a_damaged_adapter_or_merged_network_is_refused(done: Done) -> None:
    lab, run = done.lab, done.run("lora", 1)
    for name in (MERGED, ADAPTER):
        path = lab.artifacts.path(run.id, name)
        content = path.read_bytes()
        path.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
        with pytest.raises(DamagedFileError, match=f"{run.id}/{name} is no longer"):
            lab.artifacts.path(run.id, name)
    with pytest.raises(DamagedFileError):
        lab.artifacts.verify(run.id)
    assert lab.recipe(run.id).weights is None
    path.write_bytes(content)


def test_unknown_runs_and_files_get_a_sentence(done: Done) -> None:
    lab, base = done.lab, done.base
    with pytest.raises(UnknownRunError, match="no run"):
        lab.stop("r-none")
    with pytest.raises(UnknownRunError, match="makes no file"):
        lab.artifacts.path(base.id, "../../lab.sqlite3")
    assert lab.launcher.finish([base.id, "r-none"]) == 0
    assert lab.store.run(base.id) == base


def test_a_living_process_keeps_its_runs_and_hears_a_stop_from_another(lab: Lab) -> None:
    with lab_process(lab.settings.home, [LONG]) as (_, (running,)):
        wait_until(lambda: lab.store.run(running).step > 0)
        with training_lab(lab.settings):  # looks for runs of processes that are gone
            pass
        assert lab.store.run(running).state == "running"
        lab.stop(running)
        assert finish(lab, running)[0].state == "stopped"


def test_closing_interrupts_what_trains_and_the_next_start_goes_on_with_what_waits(settings: Settings) -> None:
    with training_lab(settings) as lab:
        trained, waiting = lab.launcher.launch(LONG).id, lab.launcher.launch(PRETRAIN).id
        wait_until(lambda: lab.store.run(trained).step > 0)
        lab.close(timeout=4)
    assert os.listdir(settings.home / "owners") == []
    with training_lab(settings) as again:
        assert again.store.run(trained).state == "interrupted"
        assert finish(again, waiting)[0].state == "finished"


def test_a_closed_lab_is_not_opened_again_by_a_page_that_is_still_drawn(settings: Settings) -> None:
    assert open_lab(settings) is current()
    close_lab()
    with pytest.raises(LabError, match="stopping"):
        current()


def test_a_home_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where a folder should be")
    with pytest.raises((LabError, OSError)):
        Lab(Settings(home=tmp_path / "home"))


def test_pages_and_commands_read_the_store_and_leave_its_writes_to_the_lab() -> None:
    root = Path(__file__).parents[1]
    files = [root / "app.py", *(root / "pages").rglob("*.py"), *(root / "core").rglob("*.py")]
    reading = "run|runs|runs_of|members|curve|log|transitions|experiment|experiments|experiment_rows"
    door = re.compile(rf"\b(lab|current\(\))\.(store\.(?!({reading})\b)|store\b(?!\.)|workers|_\w+)(?! import)")
    assert len(files) > 100
    assert [str(path) for path in files if door.search(path.read_text(encoding="utf-8"))] == []
