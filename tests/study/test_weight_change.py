from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from core.engine.jobs.run_files import ADAPTER, NETWORK
from core.errors import BaseMismatchError, RunStateError, UnknownRunError
from core.files import write_atomically
from core.lab import Lab
from core.methods.lora import LoRASpec
from core.results.arm import arms_of
from core.results.row import rows_of
from core.settings import Settings
from core.store.record import Run
from core.study.weights.change import layer_shapes, main_arms, main_run, read_change, run_of_seed
from tests.conftest import TURNED, short
from tests.launching import fine_tune
from tests.study.changes import PATHS, lora_change, planted_change, spectra_of
from tests.study.samples import make_run, measured


def test_a_planted_delta_has_the_rank_and_the_norm_it_was_made_with():
    change = planted_change({"layers.0": 2, "layers.2": 5})
    assert [path for path in change.layers if change.delta(path).any()] == ["layers.0", "layers.2"]
    spectra = spectra_of(change)
    # float32 weights: what was planted is there but for their rounding.
    for path, rank in {"layers.0": 2, "layers.2": 5}.items():
        values = spectra[path].values
        assert values[rank:].max() < 1e-6 * values[0]
        assert spectra[path].rank_holding(0.999999) == rank
    assert spectra["layers.4"].rank == 0


def test_neither_network_is_changed_by_looking_at_it():
    change = lora_change(rank=2)
    before = {name: tensor.clone() for name, tensor in change.tuned.state_dict().items()}
    spectra_of(change), change.plain
    assert all(torch.equal(tensor, before[name]) for name, tensor in change.tuned.state_dict().items())


@pytest.fixture
def lab(filled_home: Path, tmp_path: Path) -> Iterator[Lab]:
    """A lab that trains nothing, with a base and runs in full and with LoRA."""
    lab = Lab(Settings(Path(shutil.copytree(filled_home, tmp_path / "home"))))
    yield lab
    lab.close()


def runs_of(lab: Lab) -> list[Run]:
    """The base, and a run of each kind that started from it."""
    return [lab.store.runs(methods=[kind])[0] for kind in ("pretrain", "full", "lora")]


def test_the_change_of_a_run_is_read_from_its_files(lab: Lab):
    base, full, lora = runs_of(lab)
    for run in (full, lora):
        change = read_change(lab, run)
        assert list(change.layers) == list(PATHS)
        assert {path: change.weight(path).shape for path in PATHS} == layer_shapes(run.spec.network)
    assert [found.rank for found in spectra_of(read_change(lab, lora)).values()] == [4, 4, 4]
    assert min(found.rank for found in spectra_of(read_change(lab, full)).values()) > 4
    with pytest.raises(UnknownRunError, match="started from no base"):
        read_change(lab, base)


def test_a_run_without_files_gives_a_sentence(lab: Lab):
    base, full, lora = runs_of(lab)
    other = lab.artifacts.read(full.id, NETWORK)
    (lab.settings.runs / full.id / NETWORK).unlink()
    with pytest.raises(UnknownRunError, match="is gone from"):
        read_change(lab, full)
    lab.store.add_file(base.id, NETWORK, write_atomically(lab.artifacts.base(lora), other))
    with pytest.raises(BaseMismatchError, match="another base"):
        read_change(lab, lora)
    assert (lab.settings.runs / lora.id / ADAPTER).exists()


def test_a_run_that_still_waits_has_no_change(lab: Lab):
    (id,) = fine_tune(lab, runs_of(lab)[0], TURNED, [(short(), LoRASpec.of())], [7], "waiting").runs
    with pytest.raises(RunStateError, match="it has made no files"):
        read_change(lab, lab.store.run(id))


def test_of_each_rank_the_best_arm_by_validation_is_shown_and_the_chosen_one():
    def run(rank: int | None, rate: float, validation: float, seed: int = 0):
        method = "lora" if rank else "full"
        return make_run(method, seed, rank=rank or 4, optim={"learning_rate": rate}, validation_accuracy=validation)

    runs = [run(None, 0.001, 90.0), run(None, 0.01, 95.0), run(1, 0.001, 80.0), run(1, 0.01, 70.0), run(4, 0.001, 85.0)]
    shown = main_arms(runs)
    assert [(arm.spec.kind, arm.learning_rate) for arm in shown] == [("full", 0.01), ("lora", 0.001), ("lora", 0.001)]
    worse = next(arm for arm in arms_of(rows_of(runs)) if arm.spec.kind == "lora" and arm.learning_rate == 0.01)
    assert worse.key in {arm.key for arm in main_arms(runs, always=worse.runs[0])}
    ended = run(1, 0.01, 70.0, seed=1)
    early = replace(ended, state="stopped")
    for other, counted in ((early, (early,)), (ended, (worse.runs[0], ended))):
        (found,) = [arm for arm in main_arms([*runs, other], always=other) if arm.key == worse.key]
        assert found.runs == counted, "a stopped run is in no mean with finished ones"
    assert main_run(runs) == runs[4]
    assert main_run(runs[:2]) == runs[1]
    unknown = [replace(run, result=measured(run.result, validation_accuracy=None)) for run in runs]
    assert len(main_arms(unknown)) == len(runs)
    assert main_run(unknown).spec.role == "adapter"
    assert (main_arms([]), main_run([])) == ([], None)


def test_another_arm_is_shown_with_the_same_seed_where_it_has_it():
    (arm,) = arms_of(rows_of([make_run("full", seed) for seed in (3, 5)]))
    assert run_of_seed(arm, 5).spec.seed == 5
    assert run_of_seed(arm, 9).spec.seed == 3
