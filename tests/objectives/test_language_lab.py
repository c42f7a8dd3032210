"""Language from networks to a verdict, adapters and pages: a decoder pretrained here, and an imported network."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.adapter.archive import read_entries
from core.answer.checks.forgetting import forgotten
from core.artifacts.exports import FORMATS
from core.cli.comparison import print_comparison
from core.data.task_spec import TaskSpec
from core.engine.jobs.run_files import ADAPTER
from core.errors import ServingError, SpecError
from core.lab import Lab, close_lab, open_lab
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.networks.decoder import DecoderSpec
from core.networks.network import NetworkSpec
from core.objectives.language import LanguageSpec
from core.objectives.measure import Answers
from core.plan.configuration_file import read_configuration, write_configuration
from core.results.arm import arms_of
from core.results.measures import FORGETTING, quantity
from core.results.row import row_of, rows_of
from core.run_spec import RunSpec
from core.serving import inputs
from core.serving.request import PredictRequest, Row
from core.settings import Settings
from core.store.record import Experiment, Run
from core.study.report.answer import place_of
from core.study.report.report import report_of
from core.study.weights import predicted
from core.study.weights.predicted import text_costs
from core.training.evaluation import evaluate
from core.web.predict import description
from pages.home.question import is_usually_direct
from pages.shared.ui.literal import literal
from tests.conftest import compared, finish, short
from tests.launching import fine_tune
from tests.pages.test_pages import draw, texts
from tests.text_home import pets
from tests.training.tiny_passages import save_network

pytestmark = pytest.mark.usefixtures("read_here")

ARMS = [(short(2, 0.003), FullSpec()), (short(2, 0.02), LoRASpec.of(rank=2))]


@dataclass
class Done:
    """A lab with two experiments that have ended."""

    lab: Lab
    imported: NetworkSpec
    topics: Experiment
    """New topics on a decoder."""
    direct: Experiment
    """An imported network, fine-tuned as it is; its forgetting is measured on other texts."""
    alone: Experiment
    """The same network with LoRA alone."""

    def run(self, experiment: Experiment, kind: str) -> Run:
        return next(run for run in self.lab.store.members(experiment) if run.spec.kind == kind)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    folder = tmp_path_factory.mktemp("language")
    save_network("llama tied", folder / "tiny")
    lab = open_lab(Settings(home=folder / "home"))
    lab.catalog.keep(pets(), "pets")
    lab.catalog.keep(replace(pets(), test_texts=pets().train_texts, test_labels=pets().train_labels), "others")
    card = lab.networks.import_folder(folder / "tiny", "tiny-llama")
    network = lab.networks.spec(card.digest, learns="language")
    decoder = DecoderSpec.of(width=16, blocks=2, heads=2, feed_forward=24)
    topics = compared(lab, "split", "pets", None, short(2, 0.01), ARMS, range(2), network=decoder, length=64)
    task = TaskSpec.of(dataset="pets", length=32)
    direct = fine_tune(lab, network, task, ARMS, range(2), forgetting=task.but(dataset="others"))
    alone = fine_tune(lab, network, task, ARMS[1:], range(1))
    runs = finish(lab, topics.base, *topics.runs, *direct.runs, *alone.runs)
    assert {run.state for run in runs} == {"finished"}, [run.cause for run in runs]
    yield Done(lab, network, topics, direct, alone)
    close_lab()


def test_results_are_bits_per_byte_and_forgetting_is_told_in_them(done: Done) -> None:
    for experiment in (done.topics, done.direct):
        for run in done.lab.store.members(experiment):
            assert run.spec.objective == LanguageSpec()
            assert 0 < run.result.measures["bits_per_byte"] < 20
            assert run.result.measures["validation_bits_per_byte"] < 20
    full = done.run(done.topics, "full").result
    before, after = (full.measures[f"source_bits_per_byte{end}"] for end in ("_before", ""))
    assert quantity(FORGETTING, LanguageSpec()).of(full) == pytest.approx(after - before)
    assert full.measures["bits_per_byte"] < full.measures["bits_per_byte_before"]


@pytest.mark.parametrize("which", ["topics", "direct", "alone"])
def test_every_answer_says_how_much_better_than_the_base_a_language_model_is(
    done: Done, which: str, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = getattr(done, which)
    members = done.lab.store.members(experiment)
    loras = [run for run in members if run.spec.kind == "lora"]
    after, base = (np.mean([run.result.measures[f"bits_per_byte{end}"] for run in loras]) for end in ("", "_before"))
    found = report_of(done.lab, experiment)
    print_comparison(done.lab, experiment, members)
    printed, report = capsys.readouterr().out, " ".join([*found.answer, *(check.line for check in found.checks)])
    pages = [texts(draw(page, experiment=experiment.id)).replace("\\", "") for page in ("home", "compare")]
    gained = f"LoRA r=2 {'−' * bool(after > base)}{abs(base - after):.4f}."
    alone = f"LoRA r=2 went from {base:.4f} before fine-tuning to {after:.4f}."
    for said in (printed, report, *pages):
        assert (alone if which == "alone" else gained) in said


def test_an_imported_network_is_measured_on_other_texts_before_and_after(done: Done) -> None:
    for run in done.lab.store.members(done.direct):
        source = done.lab.tasks.get(run.spec.source, network=run.spec.network)
        assert source.spec.dataset == "others"
        networks = {"_before": done.lab.artifacts.base_network(run), "": done.lab.artifacts.trained(run)}
        for end, network in networks.items():
            found = evaluate(network, source.test, (), objective=LanguageSpec()).measures["bits_per_byte"]
            assert run.result.measures[f"source_bits_per_byte{end}"] == pytest.approx(found, rel=1e-5)
    assert forgotten(*arms_of(rows_of(done.lab.store.members(done.direct)))[::-1]) is not None
    assert ("Forgetting measured on", "others, at most 32 tokens") in report_of(done.lab, done.direct).facts
    asked = done.lab.experiments.configuration(done.direct)
    assert read_configuration(write_configuration(asked), done.lab.catalog, done.lab.networks) == asked
    assert "forgetting" not in asked.but(forgetting=None).to_json()
    with pytest.raises(SpecError, match="another dataset"):
        done.lab.launcher.plan(asked.but(forgetting=asked.task))


def test_the_measure_of_each_text_is_kept_and_means_that_of_the_run(done: Done) -> None:
    for experiment in (done.topics, done.direct):
        for run in done.lab.store.members(experiment):
            values = predicted.tested_by(done.lab)(row_of(run))
            assert values.mean() == pytest.approx(run.result.measures["bits_per_byte"], rel=1e-5)
            assert values.std() > 0
        assert place_of(done.lab, experiment, done.lab.store.members(experiment)).told is not None


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
@pytest.mark.parametrize("which", ["topics", "direct"])
def test_peft_and_transformers_read_what_is_exported_and_score_texts_alike(done: Done, which: str) -> None:
    run = done.run(getattr(done, which), "lora")
    config = json.loads(read_entries(done.lab.artifacts.path(run.id, ADAPTER))["adapter_config.json"])
    assert config["task_type"] == "CAUSAL_LM"
    offered = [form.name for form in done.lab.exports.offered(run)]
    assert offered == ["peft", "safetensors", "transformers"]
    for name in offered:
        certificate = done.lab.exports.make(run, FORMATS[name]).certificate
        assert certificate.examples == len(pets().test_texts) or which == "topics"
    assert done.lab.artifacts.verify(run.id)
    assert "AutoModelForCausalLM" in done.lab.artifacts.card(run.id)


def test_the_base_of_an_adapter_is_found_among_language_models(done: Done) -> None:
    run = done.run(done.direct, "lora")
    certificate = done.lab.artifacts.certificate(run.id)
    found = done.lab.origins.find(certificate["base_fingerprint"])
    assert found == done.imported


@pytest.mark.parametrize("which", ["topics", "direct"])
def test_served_texts_cost_base_and_adapter_what_evaluation_counted(done: Done, which: str) -> None:
    lab, run = done.lab, done.run(getattr(done, which), "lora")
    known = pets()
    kept = [text for text, label in zip(known.test_texts, known.test_labels, strict=True) if has(run, int(label))]
    asked = [Row(text=text, adapter=name) for name in (None, run.id) for text in kept]
    found = lab.predictor.predict(PredictRequest(rows=asked)).predictions
    for part, name in (found[: len(kept)], "bits_per_byte_before"), (found[len(kept) :], "bits_per_byte"):
        bits = sum(each.bits for answer in part for each in answer.tokens)
        assert bits / sum(answer.bytes for answer in part) == pytest.approx(run.result.measures[name], rel=1e-5)
    listed = {each.adapter: each for each in lab.predictor.adapters().adapters}
    assert (listed[run.id].reads, listed[run.id].bits_per_byte) == ("language", run.result.measures["bits_per_byte"])
    assert ("language" in listed[run.id].base) == (which == "direct")
    assert "TextScore" in description()["components"]["schemas"]


@pytest.mark.parametrize("which", ["topics", "direct", "alone"])
def test_the_code_on_serve_asks_the_adapter_that_is_chosen_whichever_is_the_newest(done: Done, which: str) -> None:
    run = done.run(getattr(done, which), "lora")
    app = draw("serve")
    box = app.selectbox(key="pick-adapter")
    (option,) = [option for option in box.options if run.id in option]
    box.select(option).run()
    assert not app.exception
    programs = [code.value for code in app.code if code.value.startswith("import json")]
    assert f'for name in [None, "{run.id}", ' in programs[0]
    assert (f'"base": "{run.spec.base}"' in programs[-1]) == (which == "topics")
    assert "scores texts that are given, and generates none" in texts(app)


def has(run: Run, label: int) -> bool:
    """Whether a run's task has the texts of a topic."""
    return run.spec.task.classes is None or label in run.spec.task.classes


def test_a_prompt_is_read_and_not_scored(done: Done) -> None:
    run, (prompt, text) = done.run(done.topics, "lora"), ("the dog – ", "a cat")
    rows = [Row(text=prompt + text), Row(text=text, prompt=prompt), Row(text="", prompt=prompt), Row(text="")]
    whole, last, *none = done.lab.predictor.predict(PredictRequest(rows=rows, base=run.spec.base)).predictions
    assert last.bytes == len(text)
    assert [each.token for each in last.tokens] == [each.token for each in whole.tokens[-len(last.tokens) :]]
    bits = [each.bits for each in last.tokens]
    assert bits == pytest.approx([each.bits for each in whole.tokens[-len(bits) :]], rel=1e-4)
    assert last.bits_per_byte == pytest.approx(sum(bits) / last.bytes)
    assert [each.bits_per_byte for each in none] == [None, None]


def test_texts_that_cannot_be_answered_are_one_sentence(done: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    run = done.run(done.direct, "lora")
    key = f"{done.imported.brought}/language"
    with pytest.raises(ServingError, match="name one of them in at least one row"):
        done.lab.predictor.predict(PredictRequest(rows=[Row(text="a cat")], base=key))
    with pytest.raises(ServingError, match="reads texts: give each row its text"):
        done.lab.predictor.predict(PredictRequest(rows=[Row(pixels=[0.5], adapter=run.id)]))
    monkeypatch.setattr(inputs, "MAX_SCORED", 5)
    with pytest.raises(ServingError, match="more than 5 tokens: send them in several requests"):
        done.lab.predictor.predict(PredictRequest(rows=[Row(text="a cat", adapter=run.id)] * 6))


CLASS_THINGS = re.compile(r".{0,60}(?:\bclass(?:es)?\b|confus|probabilit|macro-f1|languages).{0,60}", re.IGNORECASE)


@pytest.mark.parametrize(
    ("which", "page", "view"),
    [
        *(("topics", page, "") for page in ("home", "report", "runs", "new", "pretrain", "adapters", "data")),
        *(
            ("topics", "compare", view)
            for view in ("Bits per byte", "Rates", "Curves", "Forgetting", "Cost", "Examples", "Runs")
        ),
        *(("topics", "weights", view) for view in ("Spectrum", "Rank", "Alpha", "Subspaces")),
        *(("direct", page, "") for page in ("home", "report", "runs", "new", "serve", "tryit", "study")),
        ("direct", "compare", "Forgetting"),
        ("topics", "tryit", ""),
    ],
)
def test_pages_speak_of_texts_and_not_of_classes(done: Done, which: str, page: str, view: str) -> None:
    experiment = getattr(done, which)
    named = {"experiment": experiment.id} if page in ("tryit", "study", "report", "compare", "weights") else {}
    named |= {"run": done.run(experiment, "lora").id} if page in ("runs", "weights") else {}
    if page == "new":
        named |= {"base": experiment.base or f"language-{done.imported.brought}"}
    app = draw(page, **named | ({"view": view} if view else {}))
    assert not app.error, [error.value for error in app.error]
    if which == "direct" and page == "compare":
        assert "The source is others" in texts(app)
    if page == "tryit":
        assert next(iter(app.dataframe[0].value["Network"])) == "Base"  # whose output layer is not new
    if page in ("compare", "report", "runs", "weights"):
        assert not CLASS_THINGS.findall(texts(app))


def test_a_text_on_which_settings_differ_is_opened_token_by_token(done: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pages.experiment.use.answers.APART", 0.01)
    full, lora = arms_of(rows_of(done.lab.store.members(done.topics)))
    found = text_costs(done.lab, full, lora, 4)
    app = draw("tryit", experiment=done.topics.id, **{"try-example": str(found.rows[3] + 1)})
    assert app.number_input(key="try-example").value == found.rows[3] + 1
    assert literal(found.texts[3]) in [each.value for each in app.markdown]
    _, tokens = (each.value for each in app.dataframe)
    apart = tokens[tokens.columns[2]] - tokens["Base"]  # of the first fine-tuned network
    (text,) = (each.value for each in app.markdown if each.value.startswith(f"**{literal(tokens.columns[2])}**"))
    assert (":blue-background" in text, ":orange-background" in text) == ((apart <= -0.01).any(), (apart >= 0.01).any())
    assert ":blue-background" in text


def test_home_asks_for_new_topics_with_a_decoder(done: Done) -> None:
    app = draw("home")
    assert app.toggle(key="home-direct-language-own").value, "as the last experiment of this home was asked"
    app.selectbox(key="home-dataset").set_value("definitions").run()
    app.button_group(key="home-learned").set_value("language").run()
    assert not app.toggle(key="home-direct-language").value
    assert not app.exception
    target = app.selectbox(key="home-target-language")
    assert (target.value, target.options[target.index]) == ("split", "New topics")
    assert "rank 8, 3 seeds, one base" in app.radio(key="home-plan").proto.captions[1]
    assert not [box for box in app.selectbox if box.key == "home-forgetting"]


def test_own_texts_are_at_first_what_an_imported_network_is_fine_tuned_on_as_it_is(done: Done) -> None:
    own, published = (done.lab.catalog.info(name, "language") for name in ("others", "definitions"))
    assert is_usually_direct(own, "language")
    assert not is_usually_direct(published, "language")
    assert is_usually_direct(published, "text"), "for which no network is made here"


def test_forms_offer_other_texts_to_measure_the_forgetting_of_an_imported_network(done: Done) -> None:
    app = draw("home", experiment=done.direct.id)
    assert app.toggle(key="home-direct-language-own").value
    box = app.selectbox(key="home-forgetting")
    assert (box.value, box.options) == ("others", ["nothing", "Definitions", "others"])
    app = draw("new", like=done.direct.id)
    assert app.selectbox(key="new-forgetting").value == "others"
    app.selectbox(key="new-dataset").set_value("others").run()
    box = app.selectbox(key="new-forgetting")
    assert (box.value, box.options) == ("", ["nothing", "Definitions", "pets"])
    assert not app.exception


TEXTS = st.lists(
    st.tuples(st.floats(0, 500), st.integers(1, 90), st.integers(1, 300)).map(lambda text: (*text, text[1] // 2)),
    min_size=2,
    max_size=30,
)
"""Nats, scored tokens and bytes of some texts, and how many tokens are predicted rightly."""


def answers_of(texts: list[tuple[float, int, int, int]]) -> Answers:
    nats, tokens, size, right = (np.array(column) for column in zip(*texts, strict=True))
    return Answers(right, np.stack([tokens, size], 1), nats)


@given(TEXTS)
def test_a_measure_is_a_ratio_of_sums_and_the_mean_of_what_each_text_adds(texts: list) -> None:
    answers = answers_of(texts)
    bits, right, loss = (
        sum(text[0] for text in texts) / math.log(2) / sum(text[2] for text in texts),
        100 * sum(text[3] for text in texts) / sum(text[1] for text in texts),
        sum(text[0] for text in texts) / sum(text[1] for text in texts),
    )
    for measure, expected in zip(LanguageSpec().measures, (bits, right, loss), strict=True):
        assert measure.of(answers) == pytest.approx(expected)
        assert measure.each(answers).mean() == pytest.approx(expected)


def test_the_interval_over_texts_is_that_of_leaving_texts_out() -> None:
    """The linearization has the variance of the jackknife, which knows nothing of it (Efron and Tibshirani, 1993)."""
    draw = np.random.RandomState(0)
    size = draw.randint(20, 200, 400)
    answers = Answers(size // 9, np.stack([size // 4, size], 1), size * draw.gamma(9, 0.15, 400))
    (measure, *_) = LanguageSpec().measures
    n = len(size)
    without = [
        measure.of(Answers(answers.predicted[kept], answers.targets[kept], answers.losses[kept]))
        for kept in (np.arange(n) != left for left in range(n))
    ]
    jackknife = (n - 1) / n * np.square(np.array(without) - np.mean(without)).sum()
    assert measure.each(answers).var(ddof=1) / n == pytest.approx(jackknife, rel=0.02)


def test_the_loss_of_a_batch_is_per_scored_token_also_where_nothing_is_scored() -> None:
    outputs = torch.tensor([[6.0, 1.0], [3.0, 2.0]], dtype=torch.float64)
    assert LanguageSpec().loss(outputs, torch.tensor([[2.0, 9.0], [4.0, 8.0]])).item() == 1.5
    assert LanguageSpec().loss(0 * outputs, torch.zeros(2, 2)).item() == 0


def test_lower_is_better_and_a_network_for_classes_does_not_learn_it() -> None:
    assert LanguageSpec().primary.sign == -1
    assert LanguageSpec().validated == "validation_bits_per_byte"
    for network, objective in (("perceptron", "language"), ("decoder", "classification")):
        with pytest.raises(SpecError, match="choose another network"):
            RunSpec.of(method="pretrain", network=network, objective=objective)
