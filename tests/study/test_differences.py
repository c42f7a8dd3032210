"""What runs differ in: every setting that differs, and none that does not."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core.data.task_spec import TaskSpec
from core.methods.lora import LoRASpec
from core.networks.perceptron import PerceptronSpec
from core.objectives.classification import ClassificationSpec
from core.run_spec import OptimSpec, RunSpec
from core.spec import Spec
from core.study.arms.settings import differences, settings_of, share_base_and_task
from tests.study.samples import SOURCE, TARGET, make_run

CHANGES: dict[str, Any] = {
    "Rank": {"method": LoRASpec.of(rank=9)},
    "Alpha": {"method": LoRASpec.of(alpha=8.000001)},
    "Layers": {"method": LoRASpec.of(target_modules=("0", "2"))},
    "Learning rate": {"optim": OptimSpec.of(epochs=2, learning_rate=0.0050000001)},
    "Epochs": {"optim": OptimSpec.of(epochs=3, learning_rate=0.005)},
    "Task: Rotation": {"task": TARGET.but(rotation=44.0)},
    "Task: Classes kept": {"task": TARGET.but(classes=(1, 2))},
    "Task: Invert": {"task": TARGET.but(invert=True)},
    "Source task: Dataset": {"source": SOURCE.but(dataset="mnist")},
    "First hidden layer": {"network": PerceptronSpec.of(num_hidden_1=64)},
    "Base": {"base": "another"},
    "Seed": {"seed": 5},
    "Device": {"device": "cpu"},
}


@given(
    st.sets(
        st.sampled_from(sorted(CHANGES.keys() - {"Alpha", "Layers", "Epochs", "Task: Classes kept", "Task: Invert"}))
    )
)
def test_the_table_has_the_settings_that_differ_and_no_other(titles: set[str]) -> None:
    first = make_run("lora")
    changes = {name: value for title in titles for name, value in CHANGES[title].items()}
    second = make_run("lora", created=1.0, spec=changes)
    table = differences([first, second])
    assert set(table["Setting"]) == titles
    assert (table.iloc[:, 1] != table.iloc[:, 2]).all()


def test_a_small_difference_is_one_too() -> None:
    for title, change in CHANGES.items():
        table = differences([make_run("lora"), make_run("lora", created=1.0, spec=change)])
        assert list(table["Setting"]) == [title]


def test_settings_that_a_method_lacks_are_shown_as_missing() -> None:
    full, tuned = make_run("full"), make_run("lora", rank=8)
    table = differences([full, tuned]).set_index("Setting")
    assert table.loc["Rank"].tolist() == ["–", "8"]
    assert table.loc["Method"].tolist() == ["Full fine-tuning", "LoRA"]
    assert list(table.columns) == [f"Full, seed 0 ({full.id})", f"LoRA r=8, seed 0 ({tuned.id})"]
    assert "Batch size" not in table.index


def test_equal_specs_and_a_single_run_differ_in_nothing() -> None:
    runs = [make_run("lora", created=float(place)) for place in range(3)]
    assert differences(runs).empty
    assert differences(runs[:1]).empty
    assert len(differences(runs).columns) == 4


def test_every_field_of_a_spec_has_a_title_of_its_own() -> None:
    def fields(spec: type[Spec]) -> int:
        return len(spec.model_fields)

    run = make_run("lora")
    settings = settings_of(run.spec)
    parts = fields(PerceptronSpec) + 2 * fields(TaskSpec) + fields(LoRASpec) + fields(OptimSpec)
    # No head of its own with a learning rate, and no activations that are computed again.
    assert len(settings) == fields(RunSpec) - 7 + parts - 3 + fields(ClassificationSpec)
    whole = run.spec.but(head="whole", optim=run.spec.optim.but(head_rate=0.1))
    assert settings_of(whole) == {**settings, "Head": "whole", "Learning rate of the head": "0.1"}


def test_runs_can_be_compared_when_they_share_base_and_task() -> None:
    full, tuned = make_run("full"), make_run("lora")
    assert share_base_and_task([full, tuned])
    assert not share_base_and_task([])
    assert not share_base_and_task([full, make_run("pretrain")])
    assert not share_base_and_task([full, make_run("lora", spec={"base": "another"})])
    assert not share_base_and_task([full, make_run("lora", spec={"task": TaskSpec.of(rotation=1.0)})])
