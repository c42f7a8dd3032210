"""Specs: frozen, bounded, the same after a trip through JSON, and clear about what is wrong."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.artifacts.recipe import Recipe
from core.data.task_spec import MAX_CLASSES, TaskSpec
from core.errors import SpecError
from core.methods.adapter import MAX_TARGETS
from core.methods.full import FullSpec
from core.methods.head import HeadSpec
from core.methods.layers import SCALINGS, STARTS
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec
from core.methods.pretrain import PretrainSpec
from core.methods.scratch import ScratchSpec
from core.networks.perceptron import PerceptronSpec
from core.objectives.registry import CLASSIFICATION
from core.run_spec import OptimSpec, RunSpec
from core.spec import DEVICES, MAX_CHARACTERS, Spec, bounds
from core.training.sharing import bank_key

SPECS: list[type[Spec]] = [PerceptronSpec, TaskSpec, LoRASpec, OptimSpec]

finite = st.floats(allow_nan=False, allow_infinity=False)
models = st.builds(
    PerceptronSpec,
    num_features=st.integers(1, 4096),
    num_hidden_1=st.integers(1, 4096),
    num_hidden_2=st.integers(1, 4096),
    num_classes=st.integers(2, 1000),
)
tasks = st.builds(
    TaskSpec,
    dataset=st.from_regex(r"[a-z0-9][a-z0-9-]{0,63}", fullmatch=True),
    classes=st.none() | st.lists(st.integers(0, 61), min_size=2, unique=True).map(tuple),
    rotation=st.floats(-180, 180),
    invert=st.booleans(),
    permutation=st.none() | st.integers(0, 2**31 - 1),
    shots=st.none() | st.integers(1, 10_000),
    validation=st.floats(0.02, 0.5),
)
loras = st.builds(
    LoRASpec,
    rank=st.integers(1, 512),
    alpha=st.floats(0, 4096, exclude_min=True),
    scaling=st.sampled_from(SCALINGS),
    start=st.sampled_from(STARTS),
    target_modules=st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=4).map(tuple),
)
optims = st.builds(
    OptimSpec,
    learning_rate=st.floats(0, 1, exclude_min=True),
    batch_size=st.integers(1, 8192),
    epochs=st.integers(1, 200),
    patience=st.integers(0, 200),
    keep=st.sampled_from(["last", "best"]),
)


objectives = st.sampled_from(CLASSIFICATION.measures).flatmap(
    lambda measure: st.builds(
        CLASSIFICATION.but, measure=st.just(measure.name), within=st.none() | st.floats(0, measure.max_margin)
    )
)


def methods_with_settings(tuned: bool) -> st.SearchStrategy[MethodSpec]:
    return st.sampled_from([FullSpec(), HeadSpec(), ScratchSpec()]) | loras if tuned else st.just(PretrainSpec())


@st.composite
def runs(draw: st.DrawFn) -> RunSpec:
    tuned = draw(st.booleans())
    return RunSpec(
        method=draw(methods_with_settings(tuned)),
        network=draw(models),
        task=draw(tasks),
        source=draw(tasks) if tuned else None,
        base=draw(st.text(min_size=1, max_size=20)) if tuned else None,
        optim=draw(optims),
        seed=draw(st.integers(0, 2**31 - 1)),
        device=draw(st.sampled_from(DEVICES)),
        own_base=tuned and draw(st.booleans()),
        objective=draw(objectives),
    )


FINE = RunSpec(method=LoRASpec(), base="b", source=TaskSpec())


@given(runs() | models | tasks | loras | optims)
def test_a_spec_is_the_same_after_a_trip_through_json(spec: Spec) -> None:
    assert type(spec).from_json(spec.to_json()) == spec
    assert type(spec).from_json(spec.to_json()).to_json() == spec.to_json()


@given(runs(), st.integers(0, 2**31 - 1))
def test_runs_that_differ_only_in_the_seed_are_one_arm(spec: RunSpec, seed: int) -> None:
    assert spec.but(seed=seed).arm == spec.arm
    assert RunSpec.from_json(spec.to_json()).arm == spec.arm


@pytest.mark.parametrize(
    "change",
    [
        {"network": PerceptronSpec(num_hidden_1=64)},
        {"task": TaskSpec(rotation=45)},
        {"source": TaskSpec(invert=True)},
        {"base": "c"},
        {"method": LoRASpec(rank=8)},
        {"method": LoRASpec(target_modules=("layers.0",))},
        {"optim": OptimSpec(learning_rate=0.01)},
        {"device": "cpu"},
        {"method": "full"},
        {"own_base": True},
    ],
)
def test_any_other_difference_is_another_arm(change: dict[str, object]) -> None:
    assert FINE.but(**change).arm != FINE.arm


def test_with_a_base_for_each_seed_no_base_is_part_of_an_arm() -> None:
    assert FINE.but(own_base=True, seed=1).arm == FINE.but(own_base=True, base="other").arm


JUDGED = FINE.but(objective=CLASSIFICATION.but(measure="macro_f1", within=1.0))


def test_measure_and_margin_change_neither_arm_nor_bank() -> None:
    assert JUDGED != FINE
    assert (JUDGED.arm, bank_key(JUDGED)) == (FINE.arm, bank_key(FINE))
    assert '"objective": {"kind": "classification", "measure": "macro_f1", "within": 1.0}' in JUDGED.to_json()


def test_a_spec_without_a_measure_of_its_own_is_what_it_was_before_there_were_objectives() -> None:
    """The values are those of the code before it had objectives."""
    for spec in (FINE, FINE.but(objective=CLASSIFICATION.but(measure="accuracy", within=0.5))):
        assert (spec.arm, bank_key(spec)) == ("52c5f6f7cf91", "9d9b66422429")
        digest = hashlib.sha256(spec.to_json().encode()).hexdigest()
        assert digest == "b5e1d16688e056905a5e6c008ae64e9eae0b59a912ef9d45d9f59c8366b99801"


def test_a_recipe_has_measure_and_margin() -> None:
    assert Recipe.read(Recipe.of(run="r-1", spec=JUDGED).to_json()).spec == JUDGED
    assert Recipe.read(JUDGED.to_json()).spec == JUDGED


def test_a_label_names_method_and_rank() -> None:
    assert [FINE.label, FINE.but(method="full").label] == ["LoRA r=4", "Full"]
    assert RunSpec(method="pretrain").label == "Pretrain"


def test_a_spec_cannot_be_changed_and_takes_no_unknown_field() -> None:
    with pytest.raises(ValueError, match="frozen"):
        FINE.seed = 3  # type: ignore[misc]
    with pytest.raises(SpecError, match=r"^rnak is not a setting; known here: kind, rank, "):
        LoRASpec.of(rnak=3)
    with pytest.raises(SpecError):
        LoRASpec().but(rank=0)


BAD = [
    (LoRASpec, {"rank": 0}, "Rank must be at least 1, not 0."),
    (LoRASpec, {"rank": 513}, "Rank must be at most 512, not 513."),
    (LoRASpec, {"rank": 2.5}, "Rank "),
    (LoRASpec, {"alpha": 0}, "Alpha must be more than 0, not 0."),
    (LoRASpec, {"alpha": float("nan")}, "Alpha must be a finite number, not nan."),
    (LoRASpec, {"alpha": float("inf")}, "Alpha must be a finite number, not inf."),
    (LoRASpec, {"scaling": "alpha*r"}, "Scaling must be 'alpha/r', 'alpha' or 'alpha/sqrt(r)', not 'alpha*r'."),
    (LoRASpec, {"target_modules": ()}, "Layers "),
    (PerceptronSpec, {"num_hidden_1": 0}, "First hidden layer must be at least 1, not 0."),
    (PerceptronSpec, {"num_features": 10**9}, "Input features must be at most 4096"),
    (TaskSpec, {"dataset": "../etc/passwd"}, "Dataset must be a name of lower-case letters, digits and hyphens, not "),
    (TaskSpec, {"dataset": "x" * 10_000}, "Dataset "),
    (TaskSpec, {"dataset": "two\nlines"}, "Dataset "),
    (TaskSpec, {"classes": (1,)}, "Classes kept must be at least two different labels."),
    (TaskSpec, {"classes": (1, 1)}, "Classes kept must be at least two different labels."),
    (TaskSpec, {"classes": tuple(range(1000)), "rotation": 200}, "Rotation must be at most 180, not 200."),
    (TaskSpec, {"classes": (0, "x" * 5000)}, "Classes kept "),
    (TaskSpec, {"shots": 0}, "Shots per class must be at least 1, not 0."),
    (OptimSpec, {"learning_rate": float("-inf")}, "Learning rate must be "),
    (OptimSpec, {"epochs": 1001}, "Epochs must be at most 1000, not 1001."),
    (OptimSpec, {"keep": "worst"}, "Keep must be 'last' or 'best', not 'worst'."),
    (RunSpec, {}, "Method is missing."),
    (
        RunSpec,
        {"method": "full"},
        "Fine-tuning needs a base: choose a finished pretrain run, or a network with weights.",
    ),
    (RunSpec, {"method": "pretrain", "base": "b"}, "A pretrain run starts from random weights"),
    (RunSpec, {"method": "pretrain", "own_base": True}, "A pretrain run does not start from a base"),
    (RunSpec, {"method": "dreams"}, "There is no method 'dreams'; choose one of: pretrain, full, lora, "),
    (RunSpec, {"method": 3}, "Method must be a kind with its settings, not 3."),
    (RunSpec, {"method": {"kind": "full", "rank": 4}}, "rank is not a setting; known here: kind."),
    (RunSpec, {"method": {"kind": "lora", "rank": 0}}, "Rank must be at least 1, not 0."),
    (RunSpec, {"method": "pretrain", "network": "mind"}, "There is no network 'mind'; choose one of: perceptron"),
    (RunSpec, {"method": "pretrain", "optim": {"epochs": 0}}, "Epochs must be at least 1, not 0."),
    (
        RunSpec,
        {"method": "pretrain", "task": {"colour": "red"}},
        "colour is not a setting; known here: dataset, classes, ",
    ),
    (RunSpec, {"method": "pretrain", "seed": -1}, "Seed must be at least 0, not -1."),
    (TaskSpec, {"classes": (1,) * 1001}, "Classes kept takes at most 1000: remove some."),
    (TaskSpec, {"classes": (1, 10**400)}, "Classes kept must be at most 999"),
    (TaskSpec, {"classes": (-1, 2)}, "Classes kept must be at least 0, not -1."),
    (LoRASpec, {"target_modules": ("a",) * (MAX_TARGETS + 1)}, "Layers takes at most 512: remove some."),
    (LoRASpec, {"target_modules": ("fc", "")}, "Layers must not be empty."),
    (LoRASpec, {"target_modules": ("a" * 101,)}, "Layers must have at most 100 characters"),
    (LoRASpec, {"target_modules": ()}, "Layers takes at least 1: add some."),
    (RunSpec, {"method": "full", "base": "b" * 65, "source": {}}, "Base must have at most 64 characters"),
]


@pytest.mark.parametrize(("spec", "values", "sentence"), BAD)
def test_a_bad_value_gets_one_sentence_that_names_the_field(
    spec: type[Spec], values: dict[str, object], sentence: str
) -> None:
    with pytest.raises(SpecError) as caught:
        spec.of(**values)
    _is_one_sentence(str(caught.value))
    assert str(caught.value).startswith(sentence)


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
)


@given(st.sampled_from([*SPECS, RunSpec]), st.data())
def test_any_json_gives_a_spec_or_one_sentence(spec: type[Spec], data: st.DataObject) -> None:
    names = st.sampled_from([*spec.model_fields, "schema", "cls", "self", "values"])
    values = {"schema": data.draw(st.sampled_from([1, 2]))} | data.draw(
        st.dictionaries(names | st.text(max_size=9), junk, max_size=4)
    )
    try:
        found = spec.from_json(json.dumps(values))
    except SpecError as error:
        _is_one_sentence(str(error))
    else:
        assert spec.from_json(found.to_json()) == found


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "null", "{}", '{"schema": 1}', '{"schema": 3}', "[" * 100_000, "9" * 9_999]
)
def test_text_that_is_no_spec_gets_one_sentence(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        PerceptronSpec.from_json(text)
    _is_one_sentence(str(caught.value))


@pytest.mark.parametrize(
    ("spec", "field"), [(spec, field) for spec in SPECS for field in spec.model_fields if field != "kind"]
)
def test_every_field_says_what_it_is_and_keeps_its_bounds(spec: type[Spec], field: str) -> None:
    limits = bounds(spec, field)
    assert limits.title != field
    assert limits.description.endswith((".", ")"))
    if limits.high is not None:
        beside = {"batch_size": 1024} if field == "accumulation" else {}
        assert getattr(spec.of(**{field: limits.high} | beside), field) == limits.high
        with pytest.raises(SpecError):
            spec.of(**{field: limits.high * 2})
    if limits.low is not None:
        with pytest.raises(SpecError):
            spec.of(**{field: limits.low - 1})


LONG_NAME = "y" * 97


def test_the_longest_spec_there_can_be_is_read_and_longer_text_is_not() -> None:
    classes = tuple(range(MAX_CLASSES))
    longest = RunSpec.of(
        base="b" * 64,
        task=TaskSpec.of(dataset="d" * 64, classes=classes),
        source=TaskSpec.of(dataset="s" * 64, classes=classes),
        method=LoRASpec.of(target_modules=tuple(f"{LONG_NAME}{i:03}" for i in range(MAX_TARGETS))),
    )
    text = longest.to_json()
    assert len(text) < MAX_CHARACTERS / 2
    assert RunSpec.from_json(text) == longest
    with pytest.raises(SpecError, match="has 270,000 characters; a spec has at most 262,144"):
        RunSpec.from_json(text.ljust(270_000))


def _is_one_sentence(message: str) -> None:
    assert message.endswith(".")
    assert message.isprintable()
    assert len(message) < 400


def test_what_a_help_text_says_of_studies_is_what_they_found() -> None:
    found = (Path(__file__).parents[1] / "docs" / "studies" / "README.md").read_text(encoding="utf-8")
    told = [
        field.description
        for spec in SPECS
        for field in spec.model_fields.values()
        if field.description and "docs/studies" in field.description
    ]
    assert len(told) == 5
    for text in told:
        numbers = re.findall(r"\d+\.\d+", text)
        assert numbers
        assert [number for number in numbers if number not in found] == []
