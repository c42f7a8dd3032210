"""A base with new rows: what it is made of, how it is measured, and that every method and PEFT start from it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from core.adapter import apply_adapter, read_adapter
from core.adapter.verify import read_with_peft
from core.data.sources.catalog import Catalog
from core.engine.jobs.job import Commands, Dependencies, Leave
from core.engine.jobs.messages import Ended, Saved
from core.engine.jobs.run_files import ADAPTER, NETWORK, PREDICTIONS, read_predictions
from core.engine.jobs.run_job import run_job
from core.files import sha256_of
from core.lab import Lab
from core.methods.lora import LoRASpec
from core.methods.method import Role
from core.methods.pretrain import PretrainSpec
from core.methods.registry import METHODS
from core.networks.file import read_network
from core.run_spec import RunSpec
from core.settings import Settings
from core.tasks.tasks import Tasks
from core.training.evaluation import evaluate
from core.training.sharing import bank_key
from tests.conftest import DIGITS, short
from tests.engine.test_run_job import job_of, trained
from tests.text_home import FIRST, LAST, import_tiny

HALF, OTHER = DIGITS.but(classes=(0, 1, 2, 3, 4)), DIGITS.but(classes=(5, 6, 7, 8, 9))
PLAIN = RunSpec.of(method="pretrain", task=HALF, optim=short(epochs=2, rate=0.001))
RENEWED = PLAIN.but(method=PretrainSpec(new_rows=True))
AUTOGRAD = {"clip": 1000.0}
"""A setting that only autograd trains with, and that changes nothing here."""


@pytest.fixture
def dependencies(tmp_path: Path) -> Dependencies:
    """Data, and a place for bases."""
    return Dependencies(Tasks(Catalog(Settings(tmp_path / "home"))), base=lambda run: tmp_path / run)


def network(end: Ended, folder: Path, name: str = "network") -> torch.nn.Module:
    (folder / name).write_bytes(end.files[NETWORK])
    return read_network(folder / name)


def test_specs_of_earlier_versions_are_what_they_were() -> None:
    """Without the field, in JSON and in the key of an arm, which these versions have stored."""
    assert "new_rows" not in PLAIN.to_json()
    assert PLAIN == PLAIN.but(method=PretrainSpec(new_rows=False)) == RunSpec.from_json(PLAIN.to_json())
    first = RunSpec.of(method="pretrain", task=HALF)
    assert (first.arm, bank_key(first)) == ("4b8fd5e84346", "6d22ec8c7957")
    assert RunSpec.from_json(RENEWED.to_json()) == RENEWED != PLAIN
    assert RENEWED.arm != PLAIN.arm


@pytest.mark.parametrize("more", [{}, AUTOGRAD], ids=["bank", "autograd"])
def test_known_rows_have_the_bits_of_training_and_all_others_those_that_were_drawn(
    dependencies: Dependencies, tmp_path: Path, more: dict[str, float]
) -> None:
    plain, renewed = (
        network(trained(dependencies, spec.but(optim=spec.optim.but(**more), seed=4))[0], tmp_path).state_dict()
        for spec in (PLAIN, RENEWED)
    )
    drawn = PLAIN.network.build(seed=4).state_dict()
    for name, tensor in renewed.items():
        known = 5 if name.startswith("layers.4.") else len(tensor)
        assert torch.equal(tensor[:known], plain[name][:known])
        assert torch.equal(tensor[known:], drawn[name][known:])
        assert known == len(tensor) or not torch.equal(tensor[known:], plain[name][known:])


def test_where_every_class_is_known_nothing_changes(dependencies: Dependencies) -> None:
    whole = [spec.but(task=DIGITS, optim=short()) for spec in (PLAIN, RENEWED)]
    plain, renewed = (trained(dependencies, spec)[0] for spec in whole)
    assert plain.files == renewed.files
    assert plain.result.measures == renewed.result.measures


@pytest.mark.parametrize("more", [{}, AUTOGRAD], ids=["bank", "autograd"])
def test_a_result_is_that_of_the_file(dependencies: Dependencies, tmp_path: Path, more: dict[str, float]) -> None:
    (end,) = trained(dependencies, RENEWED.but(optim=RENEWED.optim.but(**more)))
    task, own = dependencies.tasks.get(HALF), network(end, tmp_path)
    for part, prefix in ((task.test, ""), (task.validation, "validation_")):
        found = evaluate(own, part, task.classes).measures
        for name in ("accuracy", "loss"):
            assert end.result.measures[prefix + name] == pytest.approx(found[name], abs=1e-5)
    (tmp_path / PREDICTIONS).write_bytes(end.files[PREDICTIONS])
    stored = read_predictions(tmp_path / PREDICTIONS, sha256_of(tmp_path / PREDICTIONS))
    with torch.no_grad():
        answers = own(task.test.all_pixels()).argmax(1)
    assert torch.equal(torch.as_tensor(stored.predicted).long(), answers)


def test_bases_of_a_bank_are_those_of_single_runs(dependencies: Dependencies) -> None:
    """With and without new rows in one bank, and each with the rows of its own seed."""
    specs = [RENEWED, PLAIN, RENEWED.but(seed=1), PLAIN.but(seed=1)]
    together = trained(dependencies, *specs)
    for spec, end in zip(specs, together, strict=True):
        (alone,) = trained(dependencies, spec)
        assert end.files[NETWORK] == alone.files[NETWORK]
        assert end.result.measures == alone.result.measures


def test_a_base_that_was_left_and_goes_on_ends_like_any(dependencies: Dependencies) -> None:
    commands, kept = Commands(), b""
    for message in run_job(job_of([RENEWED]), dependencies, commands):
        if isinstance(message, Saved):
            kept = message.content
        else:
            commands.send(Leave())
    (resumed,) = trained(dependencies, RENEWED, start=kept)
    (through,) = trained(dependencies, RENEWED)
    assert resumed.files[NETWORK] == through.files[NETWORK]


def test_every_method_starts_from_the_new_rows_and_peft_reads_its_adapter(
    dependencies: Dependencies, tmp_path: Path
) -> None:
    """What one step at almost no rate leaves is the base, for all that start from it."""
    base = network(trained(dependencies, RENEWED)[0], tmp_path, "r-base")
    tuned = RunSpec.of(method="full", task=OTHER, source=HALF, base="r-base", optim=short(rate=1e-12))
    x = dependencies.tasks.get(OTHER).test.all_pixels()
    with torch.no_grad():
        expected = base(x)
    for method in METHODS:
        if method.role is Role.BASE or not method.starts_from_base:
            continue
        (end,) = trained(dependencies, tuned.but(method=method.of()))
        if method.role is not Role.ADAPTER:
            started = network(end, tmp_path)
        else:
            path = tmp_path / ADAPTER
            path.write_bytes(end.files[ADAPTER])
            started = apply_adapter(base, read_adapter(path))
        with torch.no_grad():
            assert torch.allclose(started(x), expected, atol=1e-4), method
    (end,) = trained(dependencies, tuned.but(method=LoRASpec.of(), optim=short(epochs=3, rate=0.01)))
    path.write_bytes(end.files[ADAPTER])
    with torch.no_grad():
        own = apply_adapter(base, read_adapter(path))(x)
        theirs = read_with_peft(path, read_network(tmp_path / "r-base"))[0](x)
    assert not torch.allclose(own, expected, atol=0.1)
    assert torch.allclose(own, theirs, atol=1e-5)


def test_a_transformer_has_the_rows_of_its_head_that_the_seed_drew(idle: Lab, tmp_path: Path) -> None:
    spec = import_tiny(idle, tmp_path / "tiny")
    dependencies = Dependencies(idle.tasks, idle.networks, base=lambda run: tmp_path / run)
    plain = RunSpec.of(method="pretrain", network=spec, task=FIRST, optim=short(batch_size=16), seed=2)
    before, after = (
        network(trained(dependencies, each)[0], tmp_path, "r-base").state_dict()
        for each in (plain, plain.but(method=PretrainSpec(new_rows=True)))
    )
    drawn = idle.networks.start(spec, 2).state_dict()
    for name, tensor in after.items():
        known = 2 if name.startswith("classifier.") else len(tensor)
        assert torch.equal(tensor[:known], before[name][:known])
        assert torch.equal(tensor[known:], drawn[name][known:])
    tuned = RunSpec.of(method=LoRASpec.of(rank=2), network=spec, task=LAST, source=FIRST, base="r-base", optim=short())
    (end,) = trained(dependencies, tuned)
    assert end.result.measures["source_accuracy_masked_before"] is not None
