"""A network family that only this test knows goes through the whole job, without a change in core/.

The family is the one in docs/extending.md: a convolution with BatchNorm and dropout before two linear layers.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import chdir, closing
from html import unescape
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from streamlit.testing.v1 import AppTest
from torch import Tensor

from core.__main__ import main
from core.adapter import apply_adapter, verify_adapter
from core.adapter.archive import CARD
from core.answer.lines import headline
from core.artifacts.artifacts import MERGED
from core.artifacts.trial import evaluate_adapter
from core.engine.jobs.run_files import ADAPTER, NETWORK, PREDICTIONS
from core.errors import BaseMismatchError, SpecError
from core.forecast.forecast import Forecast
from core.forecast.packing import packed
from core.forecast.step_time import StepTimeSpec, rounds
from core.methods.biases import BiasesSpec
from core.methods.dora import DoRASpec
from core.methods.full import FullSpec
from core.methods.head import HeadSpec
from core.methods.lora import LoRASpec
from core.methods.method import Role
from core.methods.scratch import ScratchSpec
from core.networks.file import read_network, write_network
from core.networks.registry import FAMILIES
from core.numbers import percent
from core.plan.configuration import preset_configuration
from core.results.arm import arms_of
from core.results.row import rows_of
from core.run_spec import RunSpec
from core.serving.predictor import Predictor
from core.serving.request import PredictRequest, Row
from core.study.arms.tables import comparison_table, runs_table
from core.study.report.html import report_html
from core.study.report.report import report_of
from core.study.weights.predicted import predictions
from core.training.evaluation import evaluate, predict
from tests.adapter.samples import logits
from tests.conftest import DIGITS, TURNED, finish, short, wait_until
from tests.extended import PARTS, Done, check_drawn, check_goes_on, check_recipe, check_served, experiment_done
from tests.launching import fine_tune
from tests.networks.convolution import ConvolutionSpec, plain_network
from tests.pages.test_pages import draw, draw_with_digits, texts
from tests.registered import with_entry
from tests.study.samples import decided_on

SLOW, FAST = short(rate=0.002), short(rate=0.01)
ARMS = [
    (SLOW, FullSpec()),
    (FAST, LoRASpec.of(rank=4)),
    (FAST, LoRASpec.of(rank=2, target_modules=("hidden",))),
    (FAST, DoRASpec.of(rank=2)),
    (FAST, HeadSpec()),
    (FAST, BiasesSpec()),
    (SLOW, ScratchSpec()),
]
FROZEN = ("lora", "dora", "head", "biases")
"""Methods that train nothing but linear layers."""


@pytest.fixture(scope="module")
def registered() -> Iterator[None]:
    with with_entry(FAMILIES, ConvolutionSpec):
        yield


@pytest.fixture(scope="module")
def done(registered: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    """Every method on one base, with two seeds, finished."""
    spec = RunSpec.of(method="pretrain", network=ConvolutionSpec.of(), task=DIGITS, optim=short(epochs=6, rate=0.003))
    yield from experiment_done(tmp_path_factory.mktemp("family"), spec, ARMS)


def base_state(done: Done) -> dict[str, Tensor]:
    return read_network(done.base_path).state_dict()


def test_it_is_valid_while_it_is_registered_and_unknown_before_and_after(registered: None) -> None:
    spec = RunSpec.of(method="pretrain", network={"kind": "convolution", "num_filters": 3})
    assert spec.network == ConvolutionSpec.of(num_filters=3)
    assert RunSpec.from_json(spec.to_json()) == spec
    with pytest.raises(SpecError, match="Filters must be at least 1"):
        RunSpec.of(method="pretrain", network={"kind": "convolution", "num_filters": 0})
    FAMILIES.remove(ConvolutionSpec)
    try:
        with pytest.raises(SpecError, match="no network 'convolution'; choose one of: perceptron"):
            RunSpec.from_json(spec.to_json())
    finally:
        FAMILIES.append(ConvolutionSpec)


def test_every_run_learns_alone_from_the_base_and_is_counted(done: Done) -> None:
    assert done.base.result is not None
    assert done.base.score > 90
    assert done.base.result.parameters == sum(p.numel() for p in plain_network().parameters())
    for run in done.runs:
        assert run.result is not None
        assert run.result.bank == 1
        assert run.result.steps == run.steps
        assert run.score > 20
        if run.spec.method.starts_from_base:
            assert run.result.measures["source_accuracy_before"] == done.base.score
    trained = {run.spec.label: run.result.trainable_parameters for run in done.runs if run.result}
    assert trained["LoRA r=4"] == 4 * (36 * 8 + 32) + 4 * (32 + 10)
    assert trained["LoRA r=2"] == 2 * (36 * 8 + 32)
    assert trained["DoRA r=2"] == 2 * (36 * 8 + 32) + 2 * (32 + 10) + 32 + 10
    assert trained["Head only"] == 32 * 10 + 10
    assert trained["Biases only"] == 32 + 10
    assert trained["Full"] == done.base.result.parameters


@pytest.mark.parametrize("kind", [*FROZEN, "full", "scratch"])
def test_a_frozen_base_keeps_its_statistics_bit_for_bit_and_a_trained_one_moves_them(done: Done, kind: str) -> None:
    before = base_state(done)
    assert before["norm.running_mean"].abs().sum() > 0
    for run in (run for run in done.runs if run.spec.kind == kind):
        file = MERGED if run.spec.role is Role.ADAPTER else NETWORK
        state = read_network(done.lab.artifacts.path(run.id, file)).state_dict()
        assert state.keys() == before.keys()
        same = {name for name in state if torch.equal(state[name], before[name])}
        changed = state.keys() - same
        if kind in FROZEN:
            assert changed <= {f"{layer}.{part}" for layer in ("hidden", "output") for part in ("weight", "bias")}
            assert changed
        else:
            assert {"conv.weight", "norm.weight", "norm.running_mean", "norm.running_var", "hidden.weight"} <= changed


@pytest.mark.parametrize("label", ["LoRA r=2", "DoRA r=2"])
def test_its_adapter_is_verified_merged_and_evaluated(
    done: Done, tmp_path: Path, label: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lab, run = done.lab, done.of(label, 1)
    adapter, base = lab.artifacts.path(run.id, ADAPTER), done.base_path
    layers = ("hidden",) if label == "LoRA r=2" else ("hidden", "output")
    for found in (verify_adapter(adapter, base), lab.artifacts.verify(run.id)):
        assert found.certified
        assert found.fingerprint_matches
        assert found.layers == layers
    assert lab.artifacts.certificate(run.id)["probe_rows"] == len(done.pixels) > 300
    adapted, merged = lab.artifacts.trained(run), read_network(lab.artifacts.path(run.id, MERGED))
    torch.testing.assert_close(logits(merged, done.pixels), logits(adapted, done.pixels), atol=1e-4, rtol=1e-5)
    labels = logits(adapted, done.pixels).argmax(1)
    assert torch.equal(torch.from_numpy(predictions(lab, run).predicted).long(), labels)
    assert PREDICTIONS in lab.store.files(run.id)
    _, scores = evaluate_adapter(adapter.read_bytes(), read_network(base), lab.tasks, [TURNED, DIGITS])
    assert run.result is not None
    assert [score.after.measures["accuracy"] for score in scores] == [
        run.score,
        run.result.measures["source_accuracy"],
    ]
    assert main(["verify", str(adapter), "--base", str(base)]) == 0
    assert "its certificate matches the file's contents" in capsys.readouterr().out
    other = read_network(base)
    other.get_submodule("norm").running_mean += 1e-6
    write_network(tmp_path / "other.safetensors", other)
    with pytest.raises(BaseMismatchError, match="another base"):
        verify_adapter(adapter, tmp_path / "other.safetensors")
    with pytest.raises(BaseMismatchError, match="another base"):
        apply_adapter(other, lab.artifacts.adapter(run.id))


@pytest.mark.parametrize("label", ["LoRA r=4", "DoRA r=2"])
def test_peft_gives_the_same_logits_on_a_base_of_plain_torch(done: Done, tmp_path: Path, label: str) -> None:
    with zipfile.ZipFile(done.path(label, ADAPTER)) as archive:
        archive.extractall(tmp_path)
    plain = plain_network()
    plain.load_state_dict(base_state(done))
    expected = logits(done.lab.artifacts.trained(done.of(label)), done.pixels)
    before = logits(plain, done.pixels)
    loaded = PeftModel.from_pretrained(plain, str(tmp_path)).eval()
    torch.testing.assert_close(logits(loaded, done.pixels), expected, atol=1e-5, rtol=1e-5)
    assert (expected - before).abs().max() > 0.1
    merged = loaded.merge_and_unload()
    torch.testing.assert_close(logits(merged, done.pixels), expected, atol=1e-4, rtol=1e-5)


def check_code(done: Done, folder: Path, *blocks: str) -> None:
    """Code that we show gives the network of ``LoRA r=4``, run where somebody keeps its adapter and its base."""
    run = done.of("LoRA r=4")
    shutil.copy(done.path("LoRA r=4", ADAPTER), folder / f"{run.id}-adapter.zip")
    shutil.copy(done.base_path, folder / f"{done.base.id}-{NETWORK}")
    expected = logits(done.lab.artifacts.trained(run), done.pixels)
    with chdir(folder):
        for block in blocks:
            names: dict[str, torch.nn.Module] = {}
            exec(block, names)
            torch.testing.assert_close(logits(names["model"], done.pixels), expected, atol=1e-5, rtol=1e-5)


def test_its_card_says_what_it_is_and_its_code_runs(done: Done, tmp_path: Path) -> None:
    with zipfile.ZipFile(done.path("LoRA r=4", ADAPTER)) as archive:
        card = archive.read(CARD).decode()
    assert "for a convolutional network with layers of sizes 8-32-10." in card
    assert "The input is `pixels` of shape (784,), preprocessed as below; the output is\nof shape (n, 10)." in card
    assert "$" not in card
    blocks = [block.split("```")[0] for block in card.split("```python\n")[1:]]
    assert ["core." in block for block in blocks] == [True, False]
    check_code(done, tmp_path, blocks[0])


def test_the_comparison_names_a_verdict_for_it(done: Done) -> None:
    members = done.lab.store.members(done.experiment)
    found = decided_on(rows_of(members))
    assert found.told is not None
    assert headline(found)
    table = comparison_table(arms_of(rows_of(members)))
    assert len(table) == len(ARMS)
    assert len(runs_table(members)) == 2 * len(ARMS)
    assert {arm.role for arm in arms_of(rows_of(members))} == {Role.REFERENCE, Role.ADAPTER, Role.CONTROL}


def test_the_report_is_complete_and_says_which_network_it_is_about(done: Done) -> None:
    html = report_html(report_of(done.lab, done.experiment))
    assert "convolutional network 8-32-10, " in html
    assert "could not be measured again" not in html
    assert '"kind": "convolution"' in unescape(html)


def test_a_recipe_has_its_sizes_and_gives_its_very_weights_again(done: Done, tmp_path: Path) -> None:
    network = json.loads(done.lab.recipe(done.base.id).to_json())["spec"]["network"]
    assert network == {"kind": "convolution", "num_classes": 10, "num_filters": 8, "num_hidden": 32, "dropout": 0.2}
    check_recipe(done, "Full", tmp_path)


def test_an_interrupted_run_goes_on_to_the_last_bit(done: Done, tmp_path: Path) -> None:
    check_goes_on(done, done.of("Full"), tmp_path)  # whose base's statistics move as well


def test_time_and_memory_are_forecast_and_runs_are_packed_one_by_one(done: Done) -> None:
    specs = [run.spec for run in done.runs]
    banks = packed(specs, done.lab.tasks, done.lab.settings)
    assert sorted(banks) == [[number] for number in range(len(specs))]
    forecast = done.lab.estimates.whole(specs)
    assert forecast.seconds is not None
    assert forecast.basis in ("measured", "rough")
    for run in done.runs:
        lines = [Forecast.from_line(text) for _, text in done.lab.store.log(run.id)]
        assert lines[0] is not None
        assert run.result is not None
        assert lines[0].memory > run.result.memory > 4 * run.result.parameters
    unlike = [spec.but(network=ConvolutionSpec.of(num_filters=12)) for spec in specs[:1]]
    wait_until(lambda: done.lab.estimates.whole(unlike).basis in ("calibrated", "rough"))


def test_what_it_cannot_learn_is_refused_in_one_sentence(done: Done) -> None:
    spec = done.base.spec.but(network=ConvolutionSpec.of(num_classes=4))
    with pytest.raises(SpecError, match="has 4 outputs, but digits has labels up to 9"):
        done.lab.launcher.launch(spec)


def test_an_evaluation_takes_as_many_examples_at_once_as_the_family_says(
    done: Done, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = read_network(done.base_path)
    test = done.lab.tasks.get(DIGITS).test
    seen: list[int] = []
    network.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    whole = predict(network, test)
    monkeypatch.setattr(ConvolutionSpec, "evaluation_batch", 100)
    torch.testing.assert_close(predict(network, test), whole)
    assert seen == [360, 100, 100, 100, 60]
    assert done.base.result is not None
    assert evaluate(network, test, tuple(range(10))).measures["accuracy"] == done.base.score


@pytest.mark.parametrize(("page", "view"), PARTS)
def test_every_page_shows_it_without_having_been_told(done: Done, page: str, view: str | None) -> None:
    check_drawn(done, page, view)


@pytest.mark.parametrize(
    ("view", "label"),
    [
        *((view, "LoRA r=4") for view in ("Alpha", "Subspaces")),
        *(("Alpha", label) for label in ("Full", "LoRA r=2", "DoRA r=2")),
        *(("Spectrum", "Full"), ("Rank", "DoRA r=2")),
    ],
)
def test_every_part_of_the_weights_page_draws_or_says_why_not(done: Done, view: str, label: str) -> None:
    app = check_drawn(done, "weights", view, run=done.of(label).id)
    layers = next(box for box in app.selectbox if box.key == "pick-layer").options
    assert [layer.split(" ")[0] for layer in layers] == ["hidden", "output"]
    why = "Training also changed what is not linear in this network (conv and norm)"
    assert (why in texts(app).replace("\\", "")) == (label == "Full" and view == "Alpha")
    if view == "Alpha" and label != "Full":
        run = done.of(label)
        assert run.result is not None
        metrics = {metric.label: metric.value for metric in app.metric}
        assert metrics["Target"] == percent(run.score)


def test_details_and_adapter_of_a_run_are_shown_with_code_that_runs(done: Done, tmp_path: Path) -> None:
    run = done.of("LoRA r=4")
    assert not draw("runs", run=run.id).error
    assert not draw("runs", run=done.base.id).error
    app = draw("adapters", adapter=run.id)
    assert not app.error
    (code,) = (block.value for block in app.code if "PeftModel" in block.value)
    assert "pages" not in code
    check_code(done, tmp_path, code)
    next(button for button in app.button if button.label == "Verify again").click().run()
    assert not app.exception
    assert "The adapter is valid: rank 4 on hidden, output" in texts(app).replace("\\", "")


def test_forms_ask_for_its_sizes_and_offer_its_layers(done: Done) -> None:
    app = draw_with_digits("pretrain")
    assert app.slider(key="pretrain-perceptron-num-hidden-1").max == 1024
    app.segmented_control(key="pretrain-family").set_value("convolution").run()
    assert not app.exception
    app.slider(key="pretrain-convolution-num-filters").set_value(5).run()
    app.slider(key="pretrain-convolution-dropout").set_value(0.5).run()
    app.slider(key=f"pretrain-{ConvolutionSpec.name()}-epochs").set_value(1).run()
    next(button for button in app.button if "Start pretraining" in button.label).click().run()
    assert not app.exception
    new = done.lab.store.runs(methods=["pretrain"])[0]
    assert new.spec.network == ConvolutionSpec.of(num_filters=5, dropout=0.5)
    finish(done.lab, new.id)


def layers_of(app: AppTest) -> tuple[list[str], list[str]]:
    """Layers that the Fine-tune form offers, and those that are chosen."""
    pills = next(each for each in app.button_group if each.key.endswith("-layers"))
    return list(pills.options), list(pills.value)


def test_fine_tuning_offers_the_layers_of_the_base_also_after_another_base_was_chosen(done: Done) -> None:
    (other,) = finish(done.lab, done.lab.launcher.launch(RunSpec.of(method="pretrain", task=DIGITS, optim=short())).id)
    app = draw("new", base=other.id)
    perceptron = ["layers.0", "layers.2", "layers.4"]
    assert layers_of(app) == (perceptron, perceptron)
    next(each for each in app.button_group if each.key.endswith("-layers")).set_value(["layers.2"]).run()
    assert layers_of(app) == (perceptron, ["layers.2"])
    app.selectbox(key="pick-base").set_value(done.base.id).run()
    assert not app.exception
    assert layers_of(app) == (["hidden", "output"], ["hidden", "output"])
    app.selectbox(key="pick-base").set_value(other.id).run()
    assert not app.exception
    assert layers_of(app) == (perceptron, ["layers.2"]), "each family keeps what was chosen for it"


def test_a_form_is_filled_with_the_settings_of_an_experiment_on_it(done: Done) -> None:
    both = ["hidden", "output"]
    one_layer = fine_tune(done.lab, done.base, TURNED, ARMS[2:3], [0])
    finish(done.lab, *one_layer.runs)
    for experiment, chosen in ((done.experiment, both), (one_layer, ["hidden"])):
        like = draw("new", like=experiment.id, base=done.base.id)
        assert not like.error
        assert layers_of(like) == (both, chosen)


def test_the_time_of_its_steps_is_measured_without_a_bank(done: Done) -> None:
    spec = StepTimeSpec(done.base.spec.network, DIGITS, (LoRASpec.of(),), 64, bank=8)
    times = next(rounds(spec, done.lab.tasks.get(DIGITS)))
    assert set(times) == {(way, method) for way in ("plain", "alone") for method in (FullSpec(), LoRASpec.of())}
    assert min(times.values()) > 0


def test_rows_of_one_request_are_answered_by_its_adapters_and_its_base(done: Done) -> None:
    lab = done.lab
    with closing(Predictor(lab.store, lab.artifacts, lab.catalog, lab.networks.tokenizer_of)) as predictor:
        check_served(done, predictor, "LoRA r=4", "DoRA r=2", "LoRA r=2", None)
        with pytest.raises(SpecError, match="reads pixels"):
            predictor.predict(PredictRequest(rows=[Row(pixels=[0.5], adapter=done.of("LoRA r=4").id)]))


def test_a_preset_can_be_compared_on_it(done: Done) -> None:
    planned = done.lab.launcher.plan(
        preset_configuration(
            done.lab.catalog, "rotation-45", "digits", None, SLOW, ARMS[:2], seeds=[0], network=ConvolutionSpec.of()
        )
    )
    assert [spec.network for _, spec in planned.bases] == [ConvolutionSpec.of()]
    assert {spec.network for spec in planned.runs} == {ConvolutionSpec.of()}
