"""What stored networks predict for each test example, the texts themselves, and networks that are ready to answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from core.data.dataset import ImageDataset, LanguageDataset, TextDataset
from core.data.drawing import box_of
from core.data.passage import SCORED_ROLE
from core.data.task_spec import TaskSpec
from core.engine.jobs.run_files import StoredAnswers, stored
from core.errors import DatasetError, LabError, PredictionsError
from core.lab import Lab
from core.methods.method import Role
from core.objectives.language import BYTES
from core.objectives.measure import Answers, Values
from core.results.arm import Arm
from core.results.results import Outcomes
from core.results.row import Row
from core.run_spec import RunSpec
from core.serving.panes import Panes
from core.store.record import Run
from core.study.arms.examples import (
    ArmPredictions,
    ClassResults,
    Differing,
    Disagreement,
    class_results,
    differing,
    disagreements,
)
from core.tasks.views.image import images_of
from core.tasks.views.language import in_parts
from core.training.evaluation import Evaluation, evaluate, predict
from core.wording.tasks import noun

MAX_SHIFT = 0.5
"""Points by which the accuracy of predictions may differ from that of the run; a network that is read back and merged
rounds differently, so an example or two may change sides."""

MAX_CHANGE = 0.01
"""The same for a measure that is no percentage, relative to its value or to 1, whichever is larger."""


def predictions(lab: Lab, run: Run) -> StoredAnswers:
    """What a run answered to each example of its task's test part, among all outputs of its network.

    Runs keep them. For a run of an older version they are computed from its stored network, and kept from then on.

    Args:
        lab: has the files.
        run: one with a result.

    Returns:
        Answers in the order of :func:`true_targets`.

    Raises:
        PredictionsError: the dataset has been replaced since by another of its name.
        LabError: the dataset or a network is gone or damaged, or the run has no result.
    """
    truth = true_targets(lab, run.spec)

    def compute() -> Evaluation:
        task = lab.tasks.get(run.spec.task, network=run.spec.network)
        with torch.no_grad():
            found = evaluate(lab.artifacts.trained(run), task.test, task.classes, objective=run.spec.objective)
        _check(stored(found), truth, run)
        return found

    answers = lab.artifacts.predictions(run.id, compute)
    _check(answers, truth, run)
    return answers


def computed_labels(lab: Lab, run: Run, of_base: bool, on_source: bool) -> NDArray[np.int64]:
    """(n,) the label that a stored network predicts for each test example, among all outputs; kept nowhere.

    Args:
        lab: has the files.
        run: a fine-tuned run.
        of_base: whether to ask its base; else the network that it trained.
        on_source: whether the test examples are those of its source; else those of its task.

    Raises:
        LabError: the dataset or the network is gone or damaged, or the run has no source.
    """
    task = run.spec.source if on_source else run.spec.task
    if task is None:
        raise DatasetError(f"Run {run.id} has no source: its base was not pretrained here.")
    network = lab.artifacts.base_network(run) if of_base else lab.artifacts.trained(run)
    test = lab.tasks.get(task, network=run.spec.network).test
    found: NDArray[np.int64] = predict(network, test).argmax(1).numpy()
    return found


def true_targets(lab: Lab, spec: RunSpec, of: TaskSpec | None = None) -> NDArray[Any]:
    """(n, …) the targets of each example of a test part: a label or number, or the tokens and bytes of a text.

    Args:
        lab: has the dataset.
        spec: of the run.
        of: the task, such as the run's source; None for what the run has learned.

    Raises:
        DatasetError: the dataset is gone.
        NetworkFileError: so is the network, by whose tokens texts are counted.
    """
    task = spec.task if of is None else of
    if spec.objective.targets == "texts":
        counted: NDArray[Any] = lab.tasks.get(task, network=spec.network).test.labels.numpy()
        return counted
    labels: NDArray[Any] = lab.catalog.load(task.dataset).test_labels[lab.tasks.outline(task).test]
    return labels


def test_texts(lab: Lab, task: TaskSpec, texts: Sequence[int]) -> tuple[str, ...]:
    """Some texts of a task's test part, as the dataset has them: nothing is cut.

    Args:
        lab: has the dataset.
        task: the dataset and what is kept of it.
        texts: k indices into the test part.

    Raises:
        DatasetError: the dataset is gone, or has no texts.
    """
    dataset, rows = lab.catalog.load(task.dataset), lab.tasks.outline(task).test
    if not isinstance(dataset, TextDataset | LanguageDataset):
        raise DatasetError(f"{task.dataset} has no texts: choose a run on a dataset of texts.")
    chosen = [dataset.test_texts[rows[place]] for place in texts]
    return tuple(each if isinstance(each, str) else each.text for each in chosen)


LONGEST = 200
"""Characters of a message, or of a part of a text, in a request that is shown."""


def asked_text(lab: Lab, run: Run) -> tuple[str, str]:
    """The first test example of a run as a request for its adapter has it, shortened: what is not scored, and what is.

    Of a conversation that is what its network's chat template makes of the messages up to the first answer.

    Raises:
        LabError: the dataset or the tokenizer is gone, or its template cannot be used.
    """
    dataset, row = lab.catalog.load(run.spec.task.dataset), lab.tasks.outline(run.spec.task).test[0]
    if not isinstance(dataset, LanguageDataset):
        (text,) = test_texts(lab, run.spec.task, [0])
        return "", text[:LONGEST]
    passage = dataset.test_texts[row]
    answer = next((place for place, (role, _) in enumerate(passage.messages, 1) if role == SCORED_ROLE), None)
    short = replace(
        passage,
        parts=tuple((text[:LONGEST], scored) for text, scored in passage.parts),
        messages=tuple((role, content[:LONGEST]) for role, content in passage.messages[:answer]),
    )
    (whole,) = in_parts([short], lab.artifacts.tokenizer(run), run.spec.task.dataset)
    first = next(place for place, (_, scored) in enumerate(whole.parts) if scored)
    return "".join(text for text, _ in whole.parts[:first]), whole.parts[first][0]


def tested_by(lab: Lab) -> Outcomes:
    """The primary measure of each test example of a run, from what the run has kept; None where it has kept nothing.

    Nothing is computed from a stored network, which takes minutes with transformers.
    """
    truths: dict[tuple[TaskSpec, str], NDArray[Any]] = {}

    def nothing() -> Evaluation:
        raise PredictionsError("Its answers were not kept.")

    def tested(row: Row) -> Values | None:
        run = row.run
        if run is None:
            return None
        measure, key = run.spec.objective.primary, (run.spec.task, run.spec.network.kind)
        try:
            if key not in truths:
                truths[key] = true_targets(lab, run.spec)
            answers = lab.artifacts.predictions(run.id, nothing, measure.needs_losses)
            _check(answers, truths[key], run)
        except LabError:
            return None
        return measure.each(Answers(answers.predicted, truths[key], answers.losses))

    return tested


def trivial_by(lab: Lab) -> Outcomes:
    """The same measure of the answers that need no input, on the test examples of a run; None where nothing is trivial,
    or the measure is computed from losses.
    """

    def trivial(row: Row) -> Values | None:
        spec = row.setting.spec
        if spec is None or spec.objective.primary.needs_losses:
            return None
        try:
            truth = true_targets(lab, spec)
        except LabError:
            return None
        answers = spec.objective.trivial(truth)
        return None if answers is None else spec.objective.primary.each(Answers(answers, truth))

    return trivial


def arm_predictions(lab: Lab, arms: Sequence[Arm]) -> list[ArmPredictions]:
    """The predictions of every run of some arms of one task; errors as of :func:`predictions`."""
    return [
        ArmPredictions(
            arm.key,
            arm.seeds,
            np.stack([predictions(lab, run).predicted for run in arm.runs]),
            true_targets(lab, arm.spec),
            arm.spec.network.learns,
        )
        for arm in arms
    ]


def results_by_class(lab: Lab, arms: Sequence[Arm]) -> ClassResults:
    """The predictions of some arms of one task by true class. Raises: LabError: see :func:`predictions`."""
    return class_results(arm_predictions(lab, arms))


@dataclass(frozen=True, eq=False)
class Disagreed:
    """The test images that only the first of two arms gets right."""

    count: int
    """Number of such images."""
    seeds: int
    """Number of seeds that the arms share."""
    first: tuple[Disagreement, ...]
    """The images on which most seeds disagree."""
    pixels: NDArray[np.uint8]
    """(k, 28, 28) these images, 0 black to 255 white."""


def disagreed(lab: Lab, a: Arm, b: Arm, limit: int) -> Disagreed:
    """The test images that ``a`` gets right and ``b`` wrong, and up to ``limit`` of them as pixels.

    Raises:
        LabError: see :func:`predictions`.
    """
    found = disagreements(*arm_predictions(lab, [a, b]))
    first = tuple(found[:limit])
    examples = torch.tensor([each.example for each in first], dtype=torch.int64)
    pixels = images_of(lab.tasks.get(a.spec.task).test, examples)
    return Disagreed(len(found), len(set(a.seeds) & set(b.seeds)), first, pixels)


@dataclass(frozen=True)
class DifferingTexts:
    """The test texts for which two arms predict different labels."""

    rows: tuple[Differing, ...]
    texts: tuple[str, ...]
    """The texts of :attr:`rows`; they are from outside, and may contain anything."""
    seeds: int
    """Number of seeds that the arms share."""
    tested: int
    """Number of all test texts."""


def differing_texts(lab: Lab, a: Arm, b: Arm) -> DifferingTexts:
    """The test texts for which two arms predict different labels; see :func:`core.study.arms.examples.differing`.

    Raises:
        LabError: see :func:`predictions`.
    """
    left, right = arm_predictions(lab, [a, b])
    found = differing(left, right)
    texts = test_texts(lab, a.spec.task, [each.example for each in found])
    return DifferingTexts(tuple(found), texts, len(set(a.seeds) & set(b.seeds)), len(left.truth))


@dataclass(frozen=True)
class TextCosts:
    """Test texts, those first on which two settings differ by most bits."""

    rows: NDArray[np.intp]
    """(texts,) their places in the test part."""
    texts: tuple[str, ...]
    """They are from outside, and may contain anything."""
    bits: NDArray[np.float64]
    """(texts, 2) bits per byte of each text for the first and the second setting, means over the seeds of both."""
    apart: NDArray[np.float64]
    """(texts,) bits that a text costs the first setting more than the second."""
    seeds: int
    """Number of seeds that the settings share."""
    tested: int
    """Number of all test texts."""


def text_costs(lab: Lab, a: Arm, b: Arm, limit: int) -> TextCosts:
    """The test texts on which two settings differ most. Args: limit: number of texts.

    Raises:
        LabError: see :func:`predictions`.
    """
    shared = sorted(set(a.seeds) & set(b.seeds))
    sizes = true_targets(lab, a.spec)[:, BYTES].astype(np.float64)
    runs = [[run for run in arm.runs if run.spec.seed in shared] for arm in (a, b)]
    nats = [[predictions(lab, run).losses for run in of_arm] for of_arm in runs]
    if any(losses is None for of_arm in nats for losses in of_arm):
        raise PredictionsError("What the test texts cost these runs was not kept: train them again.")
    bits = np.mean(np.array(nats, np.float64), 1).T / math.log(2)
    apart = bits[:, 0] - bits[:, 1]
    order = np.argsort(-np.abs(apart), kind="stable")[:limit]
    order = order[sizes[order] > 0]
    found = test_texts(lab, a.spec.task, order.tolist())
    return TextCosts(order, found, bits[order] / sizes[order, None], apart[order], len(shared), len(sizes))


def _check(answers: StoredAnswers, truth: NDArray[np.generic], run: Run) -> None:
    """Raises: PredictionsError: the measure of these answers is not the run's."""
    objective = run.spec.objective
    measure = next(each for each in objective.measures if not each.needs_losses)
    expected = run.result.measures.get(measure.name) if run.result else None
    if len(answers.predicted) == len(truth) and expected is not None:
        found = measure.of(Answers(answers.predicted, truth)) if len(truth) else 0.0
        is_share = measure.unit == "%"
        shift = max(MAX_SHIFT, 100 / max(len(truth), 1)) if is_share else MAX_CHANGE * max(abs(expected), 1.0)
        if abs(found - expected) <= shift + 1e-3:
            return
    raise PredictionsError(
        f"The test {noun(run.spec.network.learns)} of {run.spec.task.dataset} are not those that run {run.id} was "
        "measured on: the dataset was replaced by another of the same name. Train the run again to see its predictions."
    )


MERGED = "-merged"
"""End of the name of a merged network, behind the run's id."""


def panes_of(lab: Lab, runs: Sequence[Run], merged: bool = False) -> tuple[Panes, dict[str, str]]:
    """Read a base and the networks of some runs, ready to answer, each by the run's id.

    Args:
        lab: has the files.
        runs: at least one, all from one base and with one seed.
        merged: whether each adapter is there a second time, merged into the base, by its id with :data:`MERGED`.

    Returns:
        The networks, and by run why one cannot be read.

    Raises:
        LabError: the base is gone or damaged.
    """
    panes = Panes(lab.artifacts.base_network(runs[0]), lab.artifacts.base_network(runs[0]))
    problems: dict[str, str] = {}
    for run in runs:
        try:
            if run.spec.role is not Role.ADAPTER:
                panes.add(run.id, lab.artifacts.network(run.id))
                continue
            panes.add_adapter(run.id, lab.artifacts.adapter(run.id))
            if merged:
                panes.add_merged(run.id + MERGED, run.id)
        except LabError as error:
            problems[run.id] = str(error)
    return panes, problems


def drawn_box(lab: Lab, dataset: str) -> int:
    """Side of the square that drawings are scaled to for a dataset of images; see :func:`core.data.drawing.box_of`.

    Raises:
        DatasetError: the dataset is gone, or has no images.
    """
    found = lab.catalog.load(dataset)
    if not isinstance(found, ImageDataset):
        raise DatasetError(f"{dataset} has no images: type a text instead.")
    return box_of(found.test_images)
