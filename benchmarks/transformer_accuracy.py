"""``python -m benchmarks.transformer_accuracy``: how well MiniLM learns ``definitions`` here and with the Trainer.

The Trainer is Hugging Face's. Both train one pass over the same texts with the same settings, once per seed, from the
same weights, head and matrices of LoRA included; order and dropout are their own. What is compared are means and
standard deviations of the accuracy on all test texts, and the differences seed by seed.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from torch import nn
from transformers import set_seed
from transformers.utils import logging as messages

from benchmarks.machine import machine
from benchmarks.transformers import BATCH, LENGTH, METHODS, Subject, hugging_face, packaged, trained
from core.data.examples import Task, TextExamples
from core.engine.jobs.choice import stepper_of
from core.methods.method import MethodSpec
from core.networks.network import SPEC
from core.run_spec import OptimSpec, default_optim
from core.training.evaluation import evaluate
from core.training.loop import train
from core.training.schedule import total_steps
from core.training.threads import available_cores

KINDS = ("full", "LoRA")


def parts(subject: Subject, count: int) -> Task:
    """The first training texts, which come in random order, and all test texts."""
    data = subject.dataset

    def examples(texts: Sequence[str], labels: Any) -> TextExamples:
        tokens = subject.tokenizer.encode(texts, LENGTH)
        return TextExamples.of(tokens, torch.tensor(labels), subject.tokenizer.padding)

    rows = torch.randperm(len(data.train_texts), generator=torch.Generator().manual_seed(0))[:count].tolist()
    own = examples([data.train_texts[row] for row in rows], data.train_labels[rows])
    test = examples(data.test_texts, data.test_labels)
    return Task(Task.of_one_part(own, 12).spec, tuple(range(12)), data.class_names, own, test.first(32), test)


def here(subject: Subject, task: Task, method: MethodSpec, optim: OptimSpec, seeds: Sequence[int]) -> list[float]:
    """Accuracy in percent of each seed, two at a time."""
    found = []
    for start in range(0, len(seeds), 2):
        own = seeds[start : start + 2]
        networks = [subject.network(method, seed) for seed in own]
        stepper = stepper_of(networks, method.kind, [optim] * len(own), own, task)
        stepper.use_threads(available_cores())
        for _ in train(stepper, [optim] * len(own)):
            pass
        found += [stepper.evaluate(member, "test")[0].measures["accuracy"] for member in range(len(own))]
    return found


def there(subject: Subject, task: Task, lora: bool, optim: OptimSpec, seed: int) -> float:
    """Accuracy in percent after Hugging Face's Trainer, with PEFT for LoRA."""
    set_seed(seed)
    model = hugging_face(subject, lora)
    start_alike(model, subject.network(METHODS[KINDS[lora]], seed))
    train_part = task.train
    if not isinstance(train_part, TextExamples):
        raise TypeError("The task has no texts.")
    rows = [
        {"input_ids": train_part.batch(torch.tensor([row]))["input_ids"][0].tolist(), "labels": int(label)}
        for row, label in enumerate(train_part.labels)
    ]
    trained(
        subject,
        model,
        rows,
        num_train_epochs=optim.epochs,
        learning_rate=optim.learning_rate,
        weight_decay=optim.weight_decay,
        warmup_steps=math.ceil(optim.warmup * total_steps(optim, len(rows))),
        lr_scheduler_type=optim.decay,
        max_grad_norm=optim.clip,
        seed=seed,
    )
    setattr(model, SPEC, subject.spec)
    return evaluate(model, task.test, task.classes).measures["accuracy"]


def start_alike(model: nn.Module, own: nn.Module) -> None:
    """Give a model of transformers, or of PEFT around one, the weights that the engine's network starts to train."""
    start = dict(own.named_parameters())
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            path = name.removeprefix("base_model.model.").replace(".modules_to_save.default", "")
            path = path.replace(".lora_A.default.weight", ".lora.A").replace(".lora_B.default.weight", ".lora.B")
            source = start[path].detach()
            parameter.data.copy_(source.t() if ".lora." in path else source)


def main() -> None:
    """Parse arguments, train, report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transformer_accuracy", description=__doc__)
    parser.add_argument("--texts", type=int, default=2400, help="training texts (default 2400)")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each (default 5)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/transformer_accuracy.json"), help="file to write")
    arguments = parser.parse_args()
    messages.set_verbosity_error()
    messages.disable_progress_bar()  # type: ignore[no-untyped-call]
    subject, start = Subject.load(packaged()), time.perf_counter()
    task, seeds = parts(subject, arguments.texts), range(arguments.seeds)
    found: dict[str, dict[str, list[float]]] = {}
    print("\n| | Trainer | here | difference, seed by seed |\n| --- | ---: | ---: | ---: |")
    for kind in KINDS:
        method = METHODS[kind]
        optim = default_optim(method, subject.spec).but(epochs=1, batch_size=BATCH)
        theirs = [there(subject, task, kind == "LoRA", optim, seed) for seed in seeds]
        own = here(subject, task, method, optim, seeds)
        found[kind] = {"Trainer": theirs, "here": own}
        differences = [ours - their for ours, their in zip(own, theirs, strict=True)]
        cells = [f"{fmean(values):.2f} ± {stdev(values):.2f} %" for values in (theirs, own)]
        cells.append(f"{fmean(differences):+.2f} ± {stdev(differences):.2f}")
        print(f"| {kind}, rate {optim.learning_rate:g} | {' | '.join(cells)} |", flush=True)
    date = time.strftime("%Y-%m-%d", time.gmtime())
    print(f"\n{arguments.texts} texts, {arguments.seeds} seeds; mean ± standard deviation over seeds.")
    print(f"{machine()}; {date}; {time.perf_counter() - start:.0f} s in all.")
    written = {"machine": machine(), "date": date, "texts": arguments.texts, "accuracy": found}
    arguments.out.write_text(json.dumps(written, indent=1))


if __name__ == "__main__":
    main()
