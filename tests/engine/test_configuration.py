"""Configurations: a file says exactly what was asked for, by hand as little as is needed, and nothing that is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.task_spec import TaskSpec
from core.engine.launcher import Planned
from core.errors import LabError, SpecError
from core.lab import Lab
from core.methods.dora import DoRASpec
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.methods.method import Role
from core.methods.pretrain import PretrainSpec
from core.methods.registry import method_of, methods
from core.networks.network import NetworkSpec
from core.networks.perceptron import PerceptronSpec
from core.objectives.registry import CLASSIFICATION
from core.plan.configuration import MAX_RUNS, Configuration, preset_configuration, with_head
from core.plan.configuration_file import KNOWN, MAX_FILE, VERSION, read_configuration, write_configuration
from core.plan.search import TuneSpec
from core.reader import reading_here
from core.run_spec import OptimSpec, RunSpec, default_optim
from core.settings import Settings
from core.store.record import Experiment
from core.tasks.presets import PRESETS, preset_tasks
from tests.conftest import BOTH, DIGITS, PRETRAIN, TURNED, compared, short
from tests.launching import compare
from tests.test_spec import objectives
from tests.text_home import import_tiny

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab that does not train, with a tiny network that was imported and texts for it."""
    folder = tmp_path_factory.mktemp("configured")
    lab = Lab(Settings(home=folder / "home"))
    with reading_here():
        import_tiny(lab, folder / "tiny")
        yield lab
    lab.close()


def brought(lab: Lab, classes: int = 4) -> NetworkSpec:
    return lab.networks.spec(lab.networks.list()[0].digest, classes)


def read(lab: Lab, values: dict[str, Any] | str) -> Configuration:
    text = values if isinstance(values, str) else json.dumps(values)
    return read_configuration(text, lab.catalog, lab.networks)


def by_hand(**values: Any) -> dict[str, Any]:
    """The least that a file says, with these values."""
    least = {"format": "lora-lab-experiment", "version": VERSION, "preset": "rotation-45", "arms": [{"method": "full"}]}
    return least | {"base": {"task": {"dataset": "digits"}}} | values


rates = st.floats(1e-6, 1.0)
optims = st.builds(
    lambda batch, parts, **fields: OptimSpec.of(batch_size=batch, accumulation=min(batch, parts), **fields),
    batch=st.integers(1, 8192),
    parts=st.integers(1, 1024),
    learning_rate=rates,
    epochs=st.integers(1, 200),
    weight_decay=st.floats(0, 1),
    warmup=st.floats(0, 0.5),
    decay=st.sampled_from(["constant", "linear", "cosine"]),
    clip=st.floats(0, 1000),
    precision=st.sampled_from(["float32", "bfloat16"]),
    patience=st.integers(0, 200),
    keep=st.sampled_from(["last", "best"]),
)
tasks = st.builds(
    lambda **fields: TaskSpec.of(dataset="digits", **fields),
    classes=st.none() | st.lists(st.integers(0, 9), min_size=2, max_size=5, unique=True).map(tuple),
    rotation=st.floats(-180, 180),
    invert=st.booleans(),
    permutation=st.none() | st.integers(0, 2**31 - 1),
    shots=st.none() | st.integers(1, 10_000),
    validation=st.floats(0.02, 0.5),
)
adapters = st.builds(
    lambda kind, **fields: methods(Role.ADAPTER)[kind].of(**fields),
    kind=st.sampled_from(list(methods(Role.ADAPTER))),
    rank=st.integers(1, 512),
    alpha=st.floats(0.01, 4096),
    scaling=st.sampled_from(["alpha/r", "alpha", "alpha/sqrt(r)"]),
    start=st.sampled_from(["kaiming", "gaussian"]),
    target_modules=st.sampled_from([("all-linear",), ("layers.0", "layers.4"), ("attention",)]),
)
others = st.sampled_from([*methods(Role.REFERENCE), *methods(Role.CONTROL)]).map(method_of)
arms = st.lists(st.tuples(optims, adapters | others), min_size=1, max_size=6)
seeds = st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=6, unique=True)
tunes = (
    st.none()
    | st.integers(0, 3).map(lambda times: TuneSpec.of(longer=times))
    | st.integers(2, 9).map(lambda count: TuneSpec.of(rates=count))
)
networks = st.builds(PerceptronSpec, num_hidden_1=st.integers(1, 64), num_classes=st.integers(10, 20))


@settings(max_examples=20)
@given(st.data())
def test_any_experiment_that_can_be_asked_for_comes_back_equal(library: Lab, data: st.DataObject) -> None:
    """Fields, numbers to their last digit, and the order of arms and seeds."""
    device = data.draw(st.sampled_from(["auto", "cpu", "cuda"]))
    more = {"device": device, "trim": data.draw(st.booleans()), "tune": data.draw(tunes)}
    more["objective"] = data.draw(objectives)
    start: RunSpec | NetworkSpec = brought(library)
    if data.draw(st.booleans()):
        task, source = data.draw(tasks), data.draw(tasks)
        start = RunSpec.of(
            method=PretrainSpec(new_rows=data.draw(st.booleans())),
            network=data.draw(networks),
            task=source,
            optim=data.draw(optims),
            seed=data.draw(st.integers(0, 2**31 - 1)),
            device=data.draw(st.sampled_from([device, "cpu"])),
        )
        more["own_bases"] = data.draw(st.booleans())
    else:
        task = TaskSpec.of(dataset="pets", shots=data.draw(st.none() | st.integers(1, 9)))
    asked = with_head(Configuration.on(start, task, data.draw(arms), data.draw(seeds), **more))
    assert read(library, write_configuration(asked)) == asked


@pytest.mark.parametrize("preset", [name for name, preset in PRESETS.items() if not preset.other_dataset])
def test_a_file_by_hand_may_leave_out_what_forms_and_commands_take_by_default(library: Lab, preset: str) -> None:
    values = by_hand(preset=preset, arms=[{"method": "full"}, {"method": {"kind": "lora", "rank": 2}}])
    found = read(library, values | {"tune": None})
    arms = [(default_optim(method), method) for method in (FullSpec(), LoRASpec.of(rank=2))]
    asked = preset_configuration(library.catalog, preset, "digits", None, default_optim(PretrainSpec), arms, range(8))
    assert found == asked
    for task, own in zip((found.base.task, found.task), preset_tasks(preset, "digits", library.catalog), strict=True):
        assert task == own


@pytest.mark.parametrize("method", [{}, {"method": "pretrain"}, {"method": {"kind": "pretrain"}}])
def test_a_base_has_new_rows_where_classes_are_left_out(library: Lab, method: dict[str, Any]) -> None:
    for preset, expected in (("split", True), ("rotation-45", False)):
        values = by_hand(preset=preset)
        values["base"] |= method
        assert read(library, values).base.method == PretrainSpec(new_rows=expected)
    for rows in (True, False):
        values["base"]["method"] = {"kind": "pretrain", "new_rows": rows}
        assert read(library, values).base.method == PretrainSpec(new_rows=rows)
    few = by_hand(base={"task": {"dataset": "digits"}, "network": {"num_classes": 12}})
    assert read(library, few).base.method == PretrainSpec(new_rows=True), "outputs beyond the classes"


def test_presets_have_new_rows_exactly_where_they_leave_classes_out(library: Lab) -> None:
    optim, network = short(), brought(library)
    for preset, source, start in (("split", "digits", None), ("split", "pets", network), ("same", "pets", network)):
        found = preset_configuration(library.catalog, preset, source, None, optim, BOTH, [0], network=start)
        assert found.base.method == PretrainSpec(new_rows=preset == "split")
        assert not any("new_rows" in run.to_json() for run in library.launcher.plan(found).runs), (
            "a part of the base alone"
        )


def test_a_setting_in_the_file_goes_before_the_preset_and_that_of_an_arm_before_that_of_all(library: Lab) -> None:
    text = by_hand(
        preset="ten-shot",
        task={"shots": 3},
        optim={"epochs": 2, "batch_size": 32},
        arms=[{"method": "full", "optim": {"epochs": 5}}, {"method": "dora"}],
        tune={"rates": 3},
        seeds=[4, 9],
    )
    found = read(library, text)
    assert (found.task.rotation, found.task.shots, found.base.task.shots) == (45.0, 3, None)
    full, dora = (arm.optim for arm in found.arms)
    assert (full.epochs, full.batch_size, dora.epochs, dora.batch_size) == (5, 32, 2, 32)
    assert dora.learning_rate == default_optim(DoRASpec).learning_rate
    assert len(library.launcher.plan(found).runs) == 2 * 3 * 2


def test_a_file_has_measure_and_margin_where_they_are_not_the_default(library: Lab) -> None:
    objective = {"kind": "classification", "measure": "macro_f1", "within": 1.0}
    found = read(library, by_hand(objective=objective))
    assert (found.objective.primary.name, found.objective.margin) == ("macro_f1", 1.0)
    assert {run.objective for run in library.launcher.plan(found).runs} == {found.objective}
    assert json.loads(write_configuration(found))["objective"] == objective
    for written, effective in (
        ({"measure": "loss"}, {"measure": "loss", "within": 0.02}),
        ({"within": 2}, {"measure": "accuracy", "within": 2.0}),
    ):
        text = write_configuration(read(library, by_hand(objective=written)))
        assert json.loads(text)["objective"] == {"kind": "classification", **effective}
    plain = write_configuration(read(library, by_hand()))
    assert "objective" not in plain
    for default in ({}, {"measure": "accuracy"}, {"within": 0.5}, {"measure": "", "within": None}):
        assert write_configuration(read(library, by_hand(objective=default))) == plain


def test_a_network_is_found_by_its_digest_or_by_its_name(library: Lab) -> None:
    network = brought(library)
    values = by_hand(task={"dataset": "pets"})
    del values["base"], values["preset"]
    usual = default_optim(FullSpec, network)
    for how in ({"weights": network.brought}, {"model": "tiny-bert"}, {"weights": network.brought, "model": "x"}):
        found = read(library, values | {"network": {"kind": "transformer", **how}})
        assert found.network == network
        assert found.arms[0].optim == usual
    both = {"arms": [{"method": "full"}, {"method": "head"}], "optim": {"head_rate": 0.1}}
    found = read(library, values | {"network": values_of(network)} | both)
    assert [arm.optim.head_rate for arm in found.arms] == [0.1, None]
    after = read(library, by_hand(preset="split", base={"network": values_of(network), "task": {"dataset": "pets"}}))
    assert after.base.network == network
    assert after.task.classes == (2, 3)


def values_of(network: NetworkSpec) -> dict[str, Any]:
    return {"kind": "transformer", "weights": network.brought}


def based_on(**base: Any) -> dict[str, Any]:
    return by_hand(base={"task": {"dataset": "digits"}} | base)


def on_texts(**network: str) -> dict[str, Any]:
    return by_hand(base={"task": {"dataset": "definitions"}, "network": {"kind": "transformer"} | network})


def arm_of(method: Any = "full", **optim: Any) -> dict[str, Any]:
    return by_hand(arms=[{"method": method, "optim": optim}])


BAD = [
    ("", "This is not valid JSON, in line 1: look for a missing comma, quote or bracket."),
    ("[]", "This must be an object in braces, not []."),
    ("[" * 100_000, "This is nested too deeply."),
    ("{}", "This is not the file of an experiment"),
    (" " * (MAX_FILE + 1), "This file is larger than 1,048,576 bytes"),
    (
        '{"format": 1, "format": 2}',
        "This is not clear, since 'format' stands twice in one object: leave one of them out.",
    ),
    (by_hand(version=4), "This file has version 4, and this version of LoRA Lab reads version 3: update LoRA "),
    (by_hand(version=True), "This file has version True, and this version of LoRA Lab reads version 3: "),
    (by_hand(version=1.0), "This file has version 1.0, and this version of LoRA Lab reads version 3: "),
    (by_hand(seeds=[0, True]), "seeds[1]: This must be a number, not True."),
    (based_on(seed=True), "base.seed: This must be a number, not True."),
    (by_hand(optim={"epochs": True}), "arms[0].optim.epochs: This must be a number, not True."),
    (arm_of(learning_rate=True), "arms[0].optim.learning_rate: This must be a number, not True."),
    (arm_of({"kind": "lora", "rank": True}), "arms[0].method.rank: This must be a number, not "),
    (by_hand(task={"rotation": False}), "task.rotation: This must be a number, not False."),
    (by_hand(task={"classes": [True, False]}), "task.classes[0]: This must be a number, not True."),
    (by_hand(tune={"rates": True}), "tune.rates: Learning rates per method must be at least 2, not True."),
    (based_on(network={"num_classes": True}), "base.network.num_classes: Classes must be at least 2, not 1."),
    (by_hand(sedes=[1]), "sedes: sedes is not a setting; known here: format, version, preset, "),
    (by_hand(network={"kind": "transformer"}), "An experiment starts from a base, or from a network that was imported"),
    (by_hand(base=3), "base: This must be an object in braces, not 3."),
    (based_on(task={"dataset": "nope"}), "preset: There is no dataset 'nope'"),
    (by_hand(preset="nope"), "preset: There is no preset 'nope'; choose one of: same, "),
    (by_hand(preset=[]), "preset: A preset and datasets are given by their names."),
    (by_hand(preset=None), "task.dataset: A dataset is missing."),
    (by_hand(task={"rotation": 200}), "task.rotation: Rotation must be at most 180, not 200."),
    (by_hand(task={"colour": "red"}), "task.colour: colour is not a setting; known here: dataset, classes, "),
    (by_hand(task={"dataset": 3}), "preset: A preset and datasets are given by their names."),
    (by_hand(arms={}), "arms: Arms is invalid: input should be a valid "),
    (by_hand(arms=["full"]), "arms[0]: This must be an object in braces, not 'full'."),
    (by_hand(arms=[{}]), "arms[0].method: A method is missing."),
    (arm_of("nope"), "arms[0].method: There is no method 'nope'; choose one of: "),
    (arm_of({"kind": []}), "arms[0].method: Method must be a kind with its settings, not "),
    (arm_of({"kind": "lora", "rank": 0}), "arms[0].method: Rank must be at least 1, not 0."),
    (arm_of({"kind": "lora", "rnak": 1}), "arms[0].method: rnak is not a setting; known here: "),
    (
        by_hand(arms=[{"method": "full"}, {"method": "lora", "optim": {"lr": 0.1}}]),
        "arms[1].optim.lr: lr is not a setting; known here: learning_rate, batch_size, ",
    ),
    (arm_of(learning_rate=2), "arms[0].optim.learning_rate: Learning rate must be at most 1, not 2."),
    (by_hand(optim={"epochs": 0}), "arms[0].optim.epochs: Epochs must be at least 1, not 0."),
    (by_hand(optim={"lr": 1}), "arms[0].optim.lr: lr is not a setting; known here: "),
    (
        by_hand(optim={"accumulation": 9}, arms=[{"method": "full", "optim": {"batch_size": 8}}]),
        "arms[0].optim: A batch of 8 cannot be computed in 9 parts: choose fewer.",
    ),
    (by_hand(tune={"rates": 1}), "tune.rates: Learning rates per method must be at least 2, not 1."),
    (by_hand(seeds=[0, -1]), "seeds[1]: Seeds must be at least 0, not -1."),
    (by_hand(seeds=8), "seeds: Seeds is invalid"),
    (by_hand(objective=[]), "objective: Objective must be a kind with its settings, not []."),
    (by_hand(objective=None), "objective: Objective must be a kind with its settings, not None."),
    (
        by_hand(objective={"kind": "nope"}),
        "objective: There is no objective 'nope'; choose one of: classification, language.",
    ),
    (by_hand(objective={"kind": 3}), "objective: Objective must be a kind with its settings, not "),
    (by_hand(objective={"margin": 1}), "objective: margin is not a setting; known here: kind, measure, within."),
    (
        by_hand(objective={"measure": "auc"}),
        "objective: Classification has no measure 'auc'; choose one of: accuracy, macro_f1, loss.",
    ),
    (by_hand(objective={"measure": ["loss"]}), "objective: Primary measure is invalid"),
    (by_hand(objective={"within": -1}), "objective: Margin must be at least 0, not -1."),
    (by_hand(objective={"within": True}), "objective.within: This must be a number, not True."),
    (by_hand(objective={"within": "much"}), "objective: Margin is invalid"),
    (by_hand(objective={"within": 11}), "objective: Margin must be at most 10 for accuracy, not 11."),
    (by_hand(objective={"measure": "loss", "within": 2}), "objective: Margin must be at most 1 for loss, not 2."),
    (by_hand(seeds=list(range(MAX_RUNS + 1))), "An experiment takes at most 10,000 runs and this one has 10,001"),
    (by_hand(device="gpu"), "base.device: Device must be 'auto', 'cuda', 'mps' or 'cpu', not 'gpu'."),
    (by_hand(own_bases="maybe"), "own_bases: A base for each seed is invalid"),
    (based_on(seed=-1), "base.seed: Seed must be at least 0, not -1."),
    (based_on(network={"num_hidden_1": 0}), "base.network.num_hidden_1: First hidden layer must be at least 1, not 0."),
    (based_on(network={"num_classes": 1}), "base.network.num_classes: Classes must be at least 2, not 1."),
    (
        on_texts(weights="0" * 64),
        "base.network: The network '000000000000' is not in this library: import it on the Networks page.",
    ),
    (on_texts(model="a/b"), "base.network: The network 'a/b' is not in this library: import it on the Networks page."),
    (
        on_texts(config="{}"),
        "base.network.config: config is not a setting; known here: kind, weights, model, num_classes.",
    ),
    (by_hand(**{"\x1b[31m" + "x" * 500: 1}), "'\\x1b[31mxxx"),
    (arm_of({"kind": "pretrain"}), "arms[0].method: A base is trained by pretrain, and an arm by another method."),
]


@pytest.mark.parametrize(("values", "sentence"), BAD)
def test_a_bad_file_gets_one_sentence_that_names_the_place(
    library: Lab, values: dict[str, Any] | str, sentence: str
) -> None:
    with pytest.raises(SpecError) as caught:
        library.launcher.plan(read(library, values))
    message = str(caught.value)
    assert message.startswith(sentence)
    assert message.endswith(".")
    assert message.isprintable()
    assert len(message) < 400
    assert library.store.runs() == []


def test_a_byte_order_mark_as_windows_writes_it_is_not_part_of_the_file(library: Lab) -> None:
    text = json.dumps(by_hand())
    for content in (text.encode("utf-8-sig"), "\ufeff" + text):
        assert read_configuration(content, library.catalog, library.networks) == read(library, text)


OTHER = "This file is not in UTF-8: save it as UTF-8 in your editor."


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\x80", "This is not text in UTF-8: choose another file."),
        *((json.dumps(by_hand()).encode(encoding), OTHER) for encoding in ("utf-16", "utf-32")),
        (("\ufeff" + json.dumps(by_hand())).encode("utf-16-be"), OTHER),
    ],
)
def test_a_file_that_is_no_utf_8_gets_one_sentence(library: Lab, content: bytes, sentence: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(sentence)}$"):
        read_configuration(content, library.catalog, library.networks)


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.sampled_from(["digits", "lora"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["dataset", "kind", "method", "optim", "task", "network"]), inner, max_size=3)
    ),
)


@given(st.data())
def test_any_json_in_a_file_gives_a_configuration_or_one_sentence(library: Lab, data: st.DataObject) -> None:
    names = st.sampled_from([name for name in KNOWN if name not in ("format", "version")])
    values = by_hand() | data.draw(st.dictionaries(names, junk, max_size=4))
    try:
        found = read(library, values)
    except LabError as error:
        found = None
        sentence = str(error)
    assert sentence.endswith(".") if found is None else read(library, write_configuration(found)) == found


def test_the_file_in_the_readme_is_one(library: Lab) -> None:
    (text,) = re.findall(r"```json\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    found = read(library, text)
    assert found.task == TURNED
    assert found.settings == [
        (default_optim(FullSpec), FullSpec()),
        (default_optim(LoRASpec).but(learning_rate=0.01), LoRASpec.of(rank=8)),
    ]
    assert found.seeds == (0, 1, 2)


def specs_of(lab: Lab, experiment: Experiment) -> set[RunSpec]:
    return {run.spec for run in lab.store.members(experiment)}


@pytest.mark.parametrize("own_bases", [False, True])
def test_an_experiment_that_is_there_is_asked_for_again_by_its_configuration(
    tmp_path: Path, own_bases: bool, library: Lab
) -> None:
    lab, other = (Lab(Settings(home=tmp_path / name)) for name in ("one", "other"))
    arms = [*BOTH, (short(rate=0.3), "head")]
    first = compared(lab, "split", "digits", None, PRETRAIN.optim, arms, [3, 1], own_bases=own_bases)
    text = write_configuration(lab.experiments.configuration(first))
    again = compare(lab, read(lab, text))
    assert specs_of(lab, again) == specs_of(lab, first)
    there = compare(other, read(other, text))
    one, two = (
        {(spec.but(base="base"), where.store.run(spec.base).spec) for spec in specs_of(where, at)}
        for where, at in ((lab, first), (other, there))
    )
    assert one == two, "also of the bases"
    for each in (lab, other):
        each.close()


def test_two_ask_the_same_whatever_the_order_and_however_rates_are_written_down(library: Lab) -> None:
    one = Configuration.on(PRETRAIN, TURNED, BOTH, [0, 1], tune=TuneSpec.of(rates=3))
    two = Configuration.on(PRETRAIN, TURNED, list(reversed(one.settings)), [1, 0])
    assert one != two
    assert one.asks_the_same(two)
    for change in (
        {"task": DIGITS},
        {"seeds": (0,)},
        {"arms": one.arms[:1]},
        {"tune": None},
        {"own_bases": True},
        {"trim": True},
        {"device": "cpu"},
        {"base": PRETRAIN.but(seed=1)},
        {"objective": CLASSIFICATION.but(measure="loss")},
        {"objective": CLASSIFICATION.but(within=1.0)},
    ):
        assert not one.but(**change).asks_the_same(two)
    each = [Configuration.on(PRETRAIN.but(seed=seed), TURNED, BOTH, [0], own_bases=True) for seed in (0, 1)]
    assert each[0].asks_the_same(each[1])


def judged(lab: Lab, measure: str, within: float | None, **more: Any) -> Experiment:
    objective = CLASSIFICATION.but(measure=measure, within=within)
    return compared(lab, "same", "digits", None, PRETRAIN.optim, BOTH, [0, 1], objective=objective, **more)


@pytest.mark.parametrize("own_bases", [False, True])
def test_another_measure_is_another_experiment_on_the_same_bases(idle: Lab, own_bases: bool) -> None:
    first, second, third = (
        judged(idle, measure, within, own_bases=own_bases)
        for measure, within in (("", None), ("macro_f1", 1.0), ("macro_f1", 2.0))
    )
    bases = [{run.spec.base for run in idle.store.members(each)} for each in (first, second, third)]
    assert bases[0] == bases[1] == bases[2]
    assert len(bases[0]) == (2 if own_bases else 1)
    assert {idle.store.run(id).spec.objective for id in bases[0] if id} == {CLASSIFICATION}
    for each in (first, second, third):
        members = idle.store.members(each)
        assert idle.experiments.find(Planned(tuple(run.spec for run in members))).id == each.id
        assert idle.experiments.configuration(each).objective == members[0].spec.objective
    arms = [{run.spec.arm for run in idle.store.members(each)} for each in (first, second)]
    assert arms[0] == arms[1]


def test_an_experiment_that_grows_keeps_measure_and_margin(idle: Lab) -> None:
    for own_bases in (False, True):
        experiment = judged(idle, "loss", 0.1, own_bases=own_bases)
        new = idle.experiments.grow(experiment, [*BOTH, (short(), LoRASpec.of(rank=1))], range(3))
        assert len(new) == 5
        assert {run.spec.objective for run in idle.store.runs_of(new)} == {
            CLASSIFICATION.but(measure="loss", within=0.1)
        }


def test_a_base_has_no_measure_of_its_own() -> None:
    judged_base = PRETRAIN.but(objective=CLASSIFICATION.but(measure="loss"))
    assert Configuration.on(judged_base, TURNED, BOTH, [0]).base == PRETRAIN
