"""A head that is trained whole: by every method, resumed to the last bit, in PEFT, and only where classes are new."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from core.adapter import apply_adapter, read_adapter
from core.adapter.verify import read_with_peft
from core.data.sources.catalog import Catalog
from core.data.task_spec import TaskSpec
from core.engine.jobs.choice import stepper_for
from core.engine.jobs.job import Commands, Dependencies, Job, Member, network_of
from core.engine.jobs.messages import Ended
from core.engine.jobs.run_files import ADAPTER, NETWORK
from core.engine.jobs.run_job import run_job
from core.errors import LoRAError, SpecError
from core.forecast.forecast import plan
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.head import HeadSpec
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec, Role
from core.methods.registry import METHODS
from core.networks.file import read_network
from core.networks.perceptron import PerceptronSpec
from core.plan.axes import matched
from core.plan.configuration import Configuration, preset_configuration
from core.plan.experiment import head_for
from core.rule.tuning import extended
from core.run_spec import RunSpec, default_optim
from core.settings import Settings
from core.tasks.presets import PRESETS
from core.tasks.tasks import Tasks
from core.training.bank.bank import Bank
from core.training.sharing import bank_key
from tests.conftest import DIGITS, short
from tests.engine.test_renewed_bases import HALF, OTHER, RENEWED
from tests.engine.test_run_job import ends_of, left, trained

TUNED = [method for method in METHODS if method.role is not Role.BASE]
HEAD = PerceptronSpec.head_rate


def tuned(method: type[MethodSpec], epochs: int = 3, **fields: object) -> RunSpec:
    optim = default_optim(method, PerceptronSpec.of(whole_head=True)).but(epochs=epochs)
    spec = RunSpec.of(method=method.of(), task=OTHER, source=HALF, base="r-base", head="whole", optim=optim)
    return spec.but(**fields)


@pytest.fixture(scope="module")
def dependencies(tmp_path_factory: pytest.TempPathFactory) -> Dependencies:
    """A base that has learned half of the digits, and data."""
    folder = tmp_path_factory.mktemp("jobs")
    found = Dependencies(Tasks(Catalog(Settings(folder / "home"))), base=lambda run: folder / run)
    (folder / "r-base").write_bytes(trained(found, RENEWED)[0].files[NETWORK])
    return found


def state_of(end: Ended, dependencies: Dependencies, folder: Path) -> dict[str, Tensor]:
    name = NETWORK if NETWORK in end.files else ADAPTER
    (folder / name).write_bytes(end.files[name])
    if name == NETWORK:
        return read_network(folder / name).state_dict()
    adapted = apply_adapter(read_network(dependencies.base("r-base")), read_adapter(folder / name))
    return {name.replace(".linear.", "."): tensor for name, tensor in adapted.state_dict().items()}


@pytest.mark.parametrize("method", TUNED)
def test_every_method_trains_the_head_and_adapters_carry_it(
    dependencies: Dependencies, tmp_path: Path, method: type[MethodSpec]
) -> None:
    (end,) = trained(dependencies, spec := tuned(method))
    base, found = read_network(dependencies.base("r-base")), state_of(end, dependencies, tmp_path)
    for name in ("layers.4.weight", "layers.4.bias"):
        assert not torch.equal(found[name], base.state_dict()[name])
    sizes = plan(spec.trained_network, spec.method)
    assert (end.result.parameters, end.result.trainable_parameters) == (sizes.parameters, sizes.trainable_parameters)
    if method.role is not Role.ADAPTER:
        return
    adapter = read_adapter(tmp_path / ADAPTER)
    assert adapter.config.modules_to_save == ("layers.4",)
    assert set(adapter.layers) == {"layers.0", "layers.2"}
    assert adapter.parameters == end.result.trainable_parameters == adapter.certificate.parameters
    assert all(torch.equal(found[name], tensor) for name, tensor in base.state_dict().items() if "layers.4" not in name)
    x = dependencies.tasks.get(OTHER).test.all_pixels()
    with torch.no_grad():
        own = apply_adapter(base, adapter)(x)
        theirs = read_with_peft(tmp_path / ADAPTER, base)[0](x)
    assert torch.allclose(own, theirs, atol=1e-5)
    assert float((own.argmax(1) == dependencies.tasks.get(OTHER).test.labels).float().mean()) * 100 == pytest.approx(
        end.result.measures["accuracy"], abs=1e-4
    )


def test_a_head_has_the_rate_of_the_head_and_the_rest_that_of_the_method(
    dependencies: Dependencies, tmp_path: Path
) -> None:
    """At almost no rate of one of the two, only the other one moves."""
    base = read_network(dependencies.base("r-base")).state_dict()
    for method in ("full", "lora"):
        for rate, head in ((1e-12, 0.01), (0.01, 1e-12)):
            spec = tuned(FullSpec).but(method=method, optim=short(rate=rate, head_rate=head))
            state = state_of(trained(dependencies, spec)[0], dependencies, tmp_path)
            moved = float((state["layers.4.weight"] - base["layers.4.weight"]).abs().max()) > 1e-6
            assert moved is (head > rate)
            changed = (
                state["layers.0.lora.B"] if method == "lora" else state["layers.0.weight"] - base["layers.0.weight"]
            )
            assert (float(changed.abs().max()) > 1e-6) is (rate > head)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("kind", ["full", "lora"])
def test_a_run_that_was_left_goes_on_to_the_last_bit_alone_and_in_a_bank(
    dependencies: Dependencies, kind: str, count: int
) -> None:
    first = tuned(LoRASpec, epochs=4).but(method=kind)
    specs = [first.but(seed=seed) for seed in range(count)]
    assert len({bank_key(spec) for spec in specs}) == 1
    networks = [network_of(spec, read_network(dependencies.base("r-base"))) for spec in specs]
    assert isinstance(stepper_for(networks, specs, dependencies.tasks.get(OTHER), None), Bank)
    whole, saved = trained(dependencies, *specs), left(dependencies, specs)
    members = tuple(Member(f"r-{k}", spec, start=saved[k].content) for k, spec in enumerate(specs))
    ends = ends_of(list(run_job(Job(members, threads=1), dependencies, Commands())))
    resumed = [ends[k] for k in range(count)]
    for one, other in zip(whole, resumed, strict=True):
        assert one.result.measures == other.result.measures
        names = one.files.keys() - {ADAPTER}
        assert all(one.files[name] == other.files[name] for name in names)
        if ADAPTER in one.files:
            digests = [read_adapter(end.files[ADAPTER]).tensors_sha256 for end in (one, other)]
            assert digests[0] == digests[1]


@pytest.mark.parametrize("preset", PRESETS)
def test_only_new_classes_have_a_head_that_is_trained_whole(idle: Lab, preset: str) -> None:
    methods = [method.of() for method in TUNED]
    arms = [(default_optim(method), method) for method in methods]
    target = "mnist-16k" if PRESETS[preset].other_dataset else None
    asked = preset_configuration(idle.catalog, preset, "digits", target, short(), arms, [0])
    wanted = "whole" if preset in ("split", "transfer") else None
    assert asked.head == wanted
    for spec in idle.launcher.plan(asked).runs:
        assert spec.head == wanted
        assert spec.optim.head_rate == (None if spec.method.only_head or not wanted else HEAD)
        assert spec.trained_network.head_paths == (("layers.4",) if wanted else ())
        assert RunSpec.from_json(spec.to_json()) == spec
        assert ('"head":' in spec.to_json()) is bool(wanted)
    plain = asked.but(head=None, arms=tuple(arm.but(optim=arm.optim.but(head_rate=None)) for arm in asked.arms))
    anew, same = ([spec.but(base="r-base") for spec in idle.launcher.plan(each).runs] for each in (plain, asked))
    assert anew == same, "what is asked anew gets today's rule"
    if wanted:
        assert default_optim(HeadSpec, asked.trained_network).learning_rate == HEAD


def test_classes_that_a_base_knows_are_not_new() -> None:
    def head(source: TaskSpec, target: TaskSpec) -> str | None:
        return head_for(PerceptronSpec.of(), source, target, RENEWED.objective)

    assert head(HALF, HALF.but(rotation=90.0)) is head(DIGITS, HALF) is head(DIGITS.but(shots=3), DIGITS) is None
    assert head(HALF, HALF.but(classes=(0, 1))) is head(DIGITS.but(classes=tuple(range(10))), DIGITS) is None
    assert head(HALF, DIGITS) == head(HALF, OTHER) == head(HALF, HALF.but(classes=(4, 5))) == "whole"
    assert head(DIGITS, DIGITS.but(dataset="mnist-16k")) == "whole"


def test_experiments_of_earlier_versions_grow_as_they_were(idle: Lab) -> None:
    base = idle.launcher.launch(RENEWED)
    old = tuned(LoRASpec).but(base=base.id, head=None, optim=short())
    runs = idle.launcher.repeat(idle.launcher.launch(old).id)
    assert idle.store.runs_of(runs)[0].spec == old
    asked = Configuration.on(base.spec, OTHER, [(short(), "full"), (short(), LoRASpec.of(rank=2))], [0])
    planned = idle.launcher.plan(asked, base)
    frozen = [spec.but(head=None, optim=spec.optim.but(head_rate=None)) for spec in planned.runs]
    experiment = idle.experiments.start(replace(planned, runs=tuple(frozen)))
    idle.experiments.grow(experiment, idle.experiments.settings(experiment), [0, 1])
    assert {run.spec.head for run in idle.store.members(idle.store.experiment(experiment.id))} == {None}
    assert idle.experiments.configuration(experiment).head is None
    new = idle.experiments.start(planned)
    idle.experiments.grow(new, [*idle.experiments.settings(new), (short(), LoRASpec.of(rank=4))], [0, 1])
    members = idle.store.members(idle.store.experiment(new.id))
    assert {(run.spec.head, run.spec.optim.head_rate) for run in members} == {("whole", HEAD)}
    assert len(members) == 6


def test_rates_are_found_anew_by_todays_rule_and_controls_are_added_at_the_rate_of_the_head(idle: Lab) -> None:
    base = idle.launcher.launch(RENEWED)
    arms = [(short(), "full"), (short(), LoRASpec.of(rank=2)), (default_optim(HeadSpec), HeadSpec())]
    planned = idle.launcher.plan(Configuration.on(base.spec, OTHER, arms, [0]), base)
    frozen = [spec.but(head=None, optim=spec.optim.but(head_rate=None)) for spec in planned.runs]
    old = idle.experiments.start(replace(planned, runs=tuple(frozen)))
    found = idle.experiments.rate_search(old).runs
    assert {spec.head for spec in found} == {"whole"}
    assert HEAD in {spec.optim.learning_rate for spec in found if spec.method.only_head}
    network = planned.runs[0].trained_network
    added = extended([(planned.runs[0].optim, planned.runs[0].method)], kinds=["head"], network=network)
    assert [optim.learning_rate for optim, method in added if method.only_head] == [HEAD]


def test_what_contradicts_a_whole_head_is_refused_in_a_sentence() -> None:
    spec = tuned(LoRASpec)
    for changes, words in (
        ({"optim": short()}, "has a learning rate of its own: choose one"),
        ({"head": None}, "no head that is trained whole: leave the learning rate"),
        ({"network": PerceptronSpec.of(whole_head=True)}, "does head say"),
        ({"method": "pretrain", "base": None, "source": None}, "does head say"),
    ):
        with pytest.raises(SpecError, match=words):
            spec.but(**changes)
    network = spec.trained_network.build(0)
    with pytest.raises(LoRAError, match=r"layers\.4 belongs to the head"):
        LoRASpec.of(target_modules=("layers.4",)).prepare(network)


def test_adapters_elsewhere_have_as_many_parameters_beside_the_head() -> None:
    network = PerceptronSpec.of(whole_head=True)
    everywhere = plan(network, LoRASpec.of(rank=4)).trainable_parameters
    moved = matched(LoRASpec.of(rank=4), ("layers.2",), network)
    assert plan(network, moved).trainable_parameters == pytest.approx(everywhere, rel=0.05)
