"""Everything that results of texts go through, on a tiny transformer: examples, balance, cuts and reports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from core.data.task_spec import TaskSpec
from core.errors import DatasetError
from core.forecast.forecast import frozen_sentence
from core.lab import Lab
from core.networks.perceptron import PerceptronSpec
from core.results.arm import Arm, arms_of
from core.results.choice import chosen_arms
from core.results.row import row_of, rows_of
from core.rule.controls import misleading_sentence, share_sentence
from core.settings import Settings
from core.store.search import Query
from core.store.store import Store
from core.study.arms.answers_table import RIGHT, differing_table
from core.study.arms.examples import ArmPredictions, Differing, differing
from core.study.arms.forgetting_notes import NO_SOURCE
from core.study.arms.settings import settings_of
from core.study.arms.tables import comparison_table, comparison_text, runs_table
from core.study.report.evidence import Evidence, gather
from core.study.report.facts import facts_of
from core.study.report.html import report_html
from core.study.report.report import Report, report
from core.study.weights.change import WeightChange, cut_networks
from core.study.weights.predicted import differing_texts, results_by_class, test_texts
from core.wording.csv_file import csv_of
from core.wording.tasks import examples_text, noun
from tests.study.samples import make_arm_runs, make_run
from tests.text_home import HEAVY, HOSTILE, NAMES, NETWORK
from tests.trained_home import TrainedHome

test_texts.__test__ = False  # the function of the library, not a test


@pytest.fixture(scope="module")
def lab(trained_home: TrainedHome) -> Iterator[Lab]:
    """The home folder, opened without training."""
    opened = Lab(Settings(home=trained_home.home))
    yield opened
    opened.store.close()


@pytest.fixture(scope="module")
def direct(lab: Lab, trained_home: TrainedHome) -> list[Arm]:
    return chosen_arms(rows_of(lab.store.members(trained_home.direct)))


@pytest.fixture(scope="module")
def evidence(lab: Lab, trained_home: TrainedHome) -> Evidence:
    return gather(lab, trained_home.direct)


def whole(found: Report) -> str:
    facts = [f"{name}: {text}" for name, text in found.facts]
    leads = [f"{section.title}: {section.lead}" for section in found.sections]
    return "\n".join(
        [found.question, *found.answer, *found.warnings, *(check.line for check in found.checks), *facts, *leads]
    )


def test_results_have_macro_f1_and_the_share_of_the_largest_class(lab, direct, trained_home):
    for arm in direct:
        for run in arm.runs:
            assert run.result.measures["largest_class"] == pytest.approx(HEAVY[0])
            assert 0 <= run.result.measures["macro_f1"] <= 100
    for run in lab.store.members(trained_home.after_source):
        assert run.result.measures["largest_class"] == pytest.approx(50)
    table = comparison_table(direct)
    assert table["Macro-F1 (%)"].tolist() == [arm.interval("macro_f1").mean for arm in direct]
    assert table["Largest class (%)"].tolist() == pytest.approx([HEAVY[0]] * len(direct))
    assert "Macro-F1" in comparison_text(direct)
    assert runs_table(lab.store.members(trained_home.direct))["Network"].unique().tolist() == [NETWORK]


@pytest.mark.parametrize(
    ("classes", "share", "misleads"),
    [
        (2, 50.4, False),
        (2, 75.0, False),
        (2, 75.1, True),
        (3, 50.0, False),
        (3, 50.1, True),
        (4, 60.0, True),
        (10, 49.0, False),
        (10, 50.1, True),
        (10, None, False),
    ],
)
def test_accuracy_is_called_misleading_where_one_class_is_far_more_than_its_balanced_share(
    classes: int, share: float | None, misleads: bool
):
    of_network = {"network": PerceptronSpec(num_classes=classes)}
    of_task = {"task": TaskSpec.of(dataset="digits", classes=range(classes))}
    for spec in (of_network, of_task):
        found = misleading_sentence(row_of(make_run(spec=spec, largest_class=share)))
        assert found.startswith(f"Accuracy misleads here: {share} % of the test images are") if misleads else not found


def test_the_share_of_the_largest_class_is_said_where_it_is_known():
    known = row_of(make_run(largest_class=25.0))
    assert share_sentence(known, "text") == "The largest class has 25.0 % of the test texts."
    assert share_sentence(row_of(make_run(largest_class=None)), "text") == ""


def test_runs_of_earlier_versions_have_no_macro_f1():
    old = arms_of(rows_of(make_arm_runs("full", [80.0, 82.0], macro_f1=None, largest_class=None)))
    assert comparison_table(old)["Macro-F1 (%)"].isna().all()


def test_examples_are_called_by_their_kind():
    assert (noun("text", 1), noun("image")) == ("text", "images")
    assert examples_text("text", 1200, "test") == "1,200 test texts"


def test_differing_examples_are_those_with_two_answers_in_a_shared_seed():
    truth = np.array([0, 1, 2, 2])
    a = ArmPredictions("a", (0, 1), np.array([[0, 1, 2, 0], [0, 1, 2, 1]], np.uint8), truth, "text")
    b = ArmPredictions("b", (0, 1, 2), np.array([[0, 0, 2, 1], [0, 0, 1, 1], [3, 3, 3, 3]], np.uint8), truth, "text")
    assert differing(a, b) == [
        Differing(1, 1, ((1, 2),), ((0, 2),)),
        Differing(2, 2, ((2, 2),), ((1, 1), (2, 1))),
        Differing(3, 2, ((0, 1), (1, 1)), ((1, 2),)),
    ]
    assert [each.right for each in differing(a, b)] == [(2, 0), (2, 1), (0, 0)]
    assert differing(a, a) == []
    table = differing_table(differing(a, b), ["x", "=y", "z"], ("A", "B"), ["zero", "one", "two"])
    assert table["B"].tolist() == ["zero", "one (1), two (1)", "one"]
    assert table[f"{RIGHT} A"].tolist() == [2, 2, 0]
    assert "'=y" in csv_of(table)  # a spreadsheet would compute it


def test_texts_on_which_settings_differ_are_those_of_the_test_part(lab, direct):
    full, lora = direct[:2]
    found = differing_texts(lab, full, lora)
    assert (found.tested, found.seeds) == (sum(HEAVY), 2)
    assert found.rows
    assert list(found.texts) == [test_texts(lab, full.spec.task, [row.example])[0] for row in found.rows]
    assert test_texts(lab, full.spec.task, [0]) == (HOSTILE,)
    with pytest.raises(DatasetError, match="digits has no texts"):
        test_texts(lab, make_run().spec.task, [0])


def test_predictions_by_class_speak_of_texts(lab, direct):
    results = results_by_class(lab, direct)
    assert results.classes == tuple(range(len(NAMES)))
    for matrix in results.confusions.values():
        np.testing.assert_allclose(matrix.sum(1), HEAVY)
    assert results.facts.sentence.startswith("100 test texts: one is worth 1.00 points. Always naming")


def test_a_report_of_a_network_as_it_was_brought_says_so(evidence, trained_home):
    found = report(evidence)
    text = whole(found)
    assert f"The network {NETWORK}, as it was imported, has to learn pets" in found.question
    assert f"Forgetting: {NO_SOURCE}" in text
    assert f"Weights: SHA-256 {trained_home.digest}" in text
    assert "Architecture: bert, 2 layers of width 16" in text
    assert "Dropout: 0.1 in training, none in evaluation" in text
    assert "Head: classifier: came without weights, trained by every method" in text
    assert "Longest input: 16 tokens; no training text is cut" in text
    assert "the draw of the head" in text
    assert any("Accuracy misleads here: 60.0 % of the test texts" in warning for warning in found.warnings)
    for wrong in ("image", "None", " nan", "trained on  "):
        assert wrong not in text
    assert "Macro-F1" in found.sections[0].parts[1].frame
    page = report_html(found)
    assert NETWORK in page
    assert "image" not in page.split("<h2>Words</h2>")[0].split("<body>")[1]


def test_a_report_says_how_many_texts_are_cut_and_how_the_rate_moved(evidence):
    shorter = replace(evidence.remeasured.truncated, length=8)
    moved = {"warmup": 0.1, "decay": "linear", "weight_decay": 0.01}
    members = tuple(replace(run, spec=run.spec.but(optim=run.spec.optim.but(**moved))) for run in evidence.members)
    changed = replace(evidence, members=members, remeasured=replace(evidence.remeasured, truncated=shorter))
    facts = dict(facts_of(changed))
    assert f"{shorter.cut} of 144 training texts are longer" in facts["Longest input"]
    assert facts["Training"] == "AdamW, 4 epochs, batches of 16, weight decay 0.01, warm-up 0.1, decay linear"


def test_a_report_after_a_source_task_measures_forgetting(lab, trained_home):
    found = report(gather(lab, trained_home.after_source))
    text = whole(found)
    assert f"{NETWORK} was trained on pets, classes 0–1 and has to learn pets, classes 2–3" in found.question
    assert "Forgetting: What the network still knows" in text
    assert NO_SOURCE not in text
    assert "image" not in text


def test_a_report_says_which_blocks_ran_once_without_dropout(evidence, lab, monkeypatch):
    facts = dict(facts_of(evidence))
    (head,) = [arm for arm in evidence.chosen if arm.spec.kind == "head"]
    sentence = frozen_sentence(head.spec.network, head.spec.method)
    assert facts["Frozen blocks"] == f"Head only: {sentence}"
    assert any(text == sentence for _, text in lab.store.log(head.runs[0].id))
    large = sentence.replace(", once for each text.", "; what they give for all texts is too large to be kept.")
    monkeypatch.setattr(Store, "log", lambda store, id: [(0.0, "Forecast"), (1.0, large)])
    again = gather(lab, evidence.experiment, evidence.remeasured)
    assert dict(facts_of(again))["Frozen blocks"] == f"Head only: {large}"
    assert "Frozen blocks" not in dict(facts_of(replace(evidence, frozen={})))


def test_the_head_is_not_cut_since_every_method_trains_all_of_it(lab, direct):
    run = direct[0].runs[0]
    base, tuned = lab.artifacts.base_network(run), lab.artifacts.network(run.id)
    (cut,) = cut_networks(WeightChange(base, tuned), [1])
    assert torch.equal(cut.classifier.weight, tuned.classifier.weight)
    assert not torch.equal(cut.bert.pooler.dense.weight, tuned.bert.pooler.dense.weight)


def test_test_texts_that_are_trained_on_are_told_in_the_report(evidence):
    assert evidence.overlaps == ()
    found = report(replace(evidence, overlaps=("In pets, 3 of 47 test texts are also in the training part.",)))
    assert "In pets, 3 of 47 test texts are also in the training part." in found.warnings


def test_names_say_network_task_and_settings(lab, trained_home):
    assert trained_home.direct.name == f"{NETWORK} → Pets, at most 16 tokens · r 2 · head only · 2 seeds"
    assert trained_home.after_source.name == f"{NETWORK} → Pets, classes 0–1 → classes 2–3 · r 2 · 2 seeds"
    shown = settings_of(lab.store.members(trained_home.direct)[0].spec)
    assert shown["Name"] == NETWORK
    assert shown["Weights"] == trained_home.digest
    assert all(len(value) <= 64 for value in shown.values())


def test_runs_are_found_by_the_name_of_their_network(lab, trained_home):
    assert NETWORK in lab.search.networks()
    assert lab.search.count(Query(networks=(NETWORK,))) == 11 < lab.search.count(Query())
    assert lab.search.count(Query(networks=("another",))) == 0
    base = lab.store.run(trained_home.after_source.base)
    # In no experiment, so only its network says the name.
    assert [entry.run.id for entry in lab.search.find(Query(text=f"{NETWORK} pretrain")).entries] == [base.id]
