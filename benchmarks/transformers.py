"""``python -m benchmarks.transformers``: MiniLM on ``definitions``, side by side with the Trainer and PEFT."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import torch
from peft import LoraConfig, TaskType, get_peft_model
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

from benchmarks import turns
from benchmarks.machine import machine
from benchmarks.turns import Clock, Contender, Timed, batches, timed
from core.data.dataset import TextDataset
from core.data.examples import Task, TextExamples
from core.data.sources.built_in import Definitions
from core.engine.jobs.choice import stepper_of
from core.errors import NetworkFileError
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec
from core.methods.registry import method_of
from core.networks.hugging_face import architecture
from core.networks.library.place import known
from core.networks.tokenizer import Tokenizer
from core.networks.transformer import TransformerSpec
from core.run_spec import default_optim
from core.settings import Settings
from core.training.autograd import AutogradStepper
from core.training.threads import available_cores

BATCH = 32
LENGTH = 128
ATTENTION = ("query", "key", "value", "attention.output.dense")
TOP = tuple(f"layer.{block}.attention.{name}" for block in (4, 5) for name in (*(f"self.{n}" for n in ATTENTION[:3]),))
TOP += tuple(f"layer.{block}.attention.output.dense" for block in (4, 5))

METHODS: dict[str, MethodSpec] = {
    "full": method_of("full"),
    "LoRA": LoRASpec.of(rank=8, alpha=16, target_modules=ATTENTION),
    "LoRA on the last two layers": LoRASpec.of(rank=8, alpha=16, target_modules=TOP),
}

TARGETS = (
    ("engine, full", "Trainer, full", 2.3),
    ("engine, full", "Trainer grouped, full", 1.4),
    ("engine, LoRA", "Trainer, LoRA", 2.6),
    ("engine, LoRA", "Trainer grouped, LoRA", 1.4),
    ("engine, LoRA on the last two layers", "engine, LoRA", 2.0),
)
"""Contender, what it is compared with, and the ratio of examples per second that is asked for."""


@dataclass(frozen=True)
class Subject:
    """What is trained: MiniLM as its package has it, and the texts."""

    folder: Path
    dataset: TextDataset
    tokenizer: Tokenizer
    spec: TransformerSpec
    weights: dict[str, Tensor]

    @classmethod
    def load(cls, folder: Path) -> Subject:
        """Read everything.

        Args:
            folder: with the files of MiniLM.
        """
        dataset = Definitions(Settings(Path())).load("definitions")
        config = architecture(json.loads((folder / "config.json").read_text()))
        spec = TransformerSpec.of(
            weights="0" * 64, model="minilm", config=config, num_classes=len(dataset.class_names), head=("classifier",)
        )
        return cls(folder, dataset, Tokenizer("minilm", folder), spec, load_file(folder / "model.safetensors"))

    def network(self, method: MethodSpec, seed: int = 0) -> nn.Module:
        """MiniLM as the engine trains it, with tensors of its own."""
        own = {name: tensor.clone() for name, tensor in self.weights.items()}
        return method.prepare(self.spec.filled(own, seed), torch.Generator().manual_seed(seed))

    def task(self) -> Task:
        """The texts as the engine reads them."""
        texts = TextExamples.of(
            self.tokenizer.encode(self.dataset.train_texts, LENGTH),
            torch.tensor(self.dataset.train_labels),
            self.tokenizer.padding,
        )
        few = texts.first(64)
        return Task(Task.of_one_part(few, 12).spec, tuple(range(12)), self.dataset.class_names, texts, few, few)


def trainer(subject: Subject, lora: bool, grouped: bool, steps: int) -> Timed:
    """Hugging Face's Trainer as its docs show it, without evaluation and saving, with PEFT for LoRA.

    Args:
        subject: network and texts.
        lora: whether PEFT's LoRA is trained, else all weights.
        grouped: whether texts of similar length are batched together.
        steps: number of steps per round.
    """
    own = AutoTokenizer.from_pretrained(subject.folder)
    tokens = own(list(subject.dataset.train_texts), truncation=True, max_length=LENGTH)
    labels = subject.dataset.train_labels.tolist()
    rows = [
        {**{name: tokens[name][i] for name in tokens}, "labels": label}  # as a tokenized dataset has them
        for i, label in enumerate(labels)
    ]
    model = hugging_face(subject, lora)

    def run(number: int) -> tuple[float, int]:
        torch.set_num_threads(available_cores())
        strategy = "group_by_length" if grouped else "random"
        seconds = trained(subject, model, rows, max_steps=steps, train_sampling_strategy=strategy, seed=number)
        return seconds, steps * BATCH

    return run


def hugging_face(subject: Subject, lora: bool) -> Any:
    """MiniLM as transformers reads it, with PEFT's adapters if ``lora``."""
    model: Any = AutoModelForSequenceClassification.from_pretrained(subject.folder, num_labels=12)
    if lora:
        config = LoraConfig(r=8, lora_alpha=16, target_modules=list(ATTENTION), task_type=TaskType.SEQ_CLS)
        model = get_peft_model(model, config)
    return model


def trained(subject: Subject, model: Any, rows: Sequence[dict[str, Any]], **arguments: Any) -> float:
    """Train with Hugging Face's Trainer, without evaluation and saving; return the seconds without preparation.

    Args:
        subject: whose tokenizer pads.
        model: what is trained, in place.
        rows: tokens and label of each text.
        arguments: of the training, besides those that all have here.
    """
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        whole = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=BATCH,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=False,
            logging_strategy="no",
            **arguments,
        )
        Trainer(
            model=model,
            args=whole,
            train_dataset=rows,  # type: ignore[arg-type]
            data_collator=DataCollatorWithPadding(AutoTokenizer.from_pretrained(subject.folder)),
            callbacks=[clock],
        ).train()
    return clock.seconds


def engine(subject: Subject, task: Task, method: MethodSpec, members: int, steps: int) -> Timed:
    """The engine: an experiment of several runs at once.

    Args:
        subject: network and texts.
        task: the texts.
        method: what is trained.
        members: number of runs.
        steps: number of steps per round.
    """
    optims = [default_optim(method, subject.spec).but(epochs=200)] * members
    networks = [subject.network(method, seed) for seed in range(members)]
    start = time.perf_counter()
    stepper = stepper_of(networks, method.kind, optims, range(members), task)
    prepared = time.perf_counter() - start
    if prepared > 1:
        print(f"    computed once what is frozen: {prepared:.1f} s", flush=True)
    return turns.engine(stepper, steps, BATCH)


def floor(subject: Subject, task: Task, method: MethodSpec, members: int, steps: int) -> Timed:
    """The matrix products of the engine's steps, on tensors of the same sizes and layouts, and nothing else."""
    network, optim = subject.network(method), default_optim(method, subject.spec)
    plain = AutogradStepper(network, optim, task)  # without anything that was computed once
    products: list[Callable[[], object]] = []
    buffers: dict[tuple[Any, ...], Tensor] = {}
    for rows in batches(task, 0, 0, steps, BATCH):
        with _Products() as recorded:
            plain.rehearse(rows.view(1, 1, -1))
        products += [_product(call, buffers) for call in recorded.calls]

    def work(_: int) -> None:
        for product in products:
            product()

    def run(number: int) -> tuple[float, int]:
        start = time.perf_counter()
        with ThreadPoolExecutor(available_cores(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(work, range(members)))
        return time.perf_counter() - start, members * steps * BATCH

    return run


PRODUCTS = (
    torch.ops.aten.mm.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten.bmm.default,
    torch.ops.aten.baddbmm.default,
    torch.ops.mkldnn._linear_pointwise.default,
)


class _Products(TorchDispatchMode):
    """Records the matrix products that are done."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in PRODUCTS:
            shapes = tuple((tuple(a.shape), tuple(a.stride())) if isinstance(a, Tensor) else a for a in args)
            self.calls.append((func, shapes))
        return func(*args, **(kwargs or {}))


def _product(call: tuple[Any, tuple[Any, ...]], buffers: dict[tuple[Any, ...], Tensor]) -> Callable[[], object]:
    func, shapes = call

    def tensor(layout: Any, place: int) -> Any:
        if not isinstance(layout, tuple):
            return layout
        key = (*layout, place)
        if key not in buffers:
            buffers[key] = torch.empty_strided(*layout).normal_()
        return buffers[key]

    args = [tensor(layout, place) for place, layout in enumerate(shapes)]
    return lambda: func(*args)


def report(rates: dict[str, list[float]]) -> str:
    """Tables of examples per second, of ratios with what is asked for, and of shares of the floor."""
    lines = ["", "| | examples/s, maximum | median |", "| --- | ---: | ---: |"]
    lines += [f"| {name} | {max(found):.0f} | {median(found):.0f} |" for name, found in rates.items()]
    lines += ["", "| | at least | by maximum | by median of rounds | |", "| --- | ---: | ---: | ---: | --- |"]
    for name, other, wanted in TARGETS:
        if name in rates and other in rates:
            best = max(rates[name]) / max(rates[other])
            middle = median(own / theirs for own, theirs in zip(rates[name], rates[other], strict=True))
            met = "met" if min(best, middle) >= wanted else "missed"
            lines.append(f"| {name}, against {other} | {wanted}× | {best:.1f}× | {middle:.1f}× | {met} |")
    for kind in ("full", "LoRA"):
        if f"floor, {kind}" in rates and f"engine, {kind}" in rates:
            share = max(rates[f"engine, {kind}"]) / max(rates[f"floor, {kind}"])
            lines.append(f"| engine, {kind}, share of the floor | | {share:.0%} | | |")
    return "\n".join(lines)


def packaged() -> Path:
    """Folder with the files of MiniLM. Raises: NetworkFileError: its package is not installed."""
    network = known("minilm")
    found = find_spec(network.package) if network else None
    if network is None or found is None or not found.submodule_search_locations:
        raise NetworkFileError("The package with MiniLM is not installed: pip install -r requirements-dev.txt.")
    return Path(found.submodule_search_locations[0]) / network.path


def names() -> list[str]:
    """All contenders."""
    theirs = [f"Trainer{grouped}, {kind}" for kind in ("full", "LoRA") for grouped in ("", " grouped")]
    return [*theirs, *(f"engine, {kind}" for kind in METHODS), *(f"floor, {kind}" for kind in ("full", "LoRA"))]


def build(name: str, steps: int, members: int) -> Timed:
    """Prepare a contender. Args: name: one of :func:`names`; steps: per round; members: runs of the engine at once."""
    subject = Subject.load(packaged())
    who, kind = name.split(", ")
    if who.startswith("Trainer"):
        return trainer(subject, kind == "LoRA", who.endswith("grouped"), steps)
    return (engine if who == "engine" else floor)(subject, subject.task(), METHODS[kind], members, steps)


def main() -> None:
    """Parse arguments, run, report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transformers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="timings of each contender (default 5)")
    parser.add_argument("--steps", type=int, default=50, help="steps per timing (default 50)")
    parser.add_argument("--members", type=int, default=2, help="runs of the engine at once (default 2)")
    parser.add_argument("--only", default="", help="keep contenders whose name contains this")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/transformers.json"), help="JSON file to write")
    arguments = parser.parse_args()
    start = time.perf_counter()
    chosen = [name for name in names() if arguments.only in name]
    contenders = {
        name: Contender(partial(build, name, arguments.steps, arguments.members), not name.startswith("Trainer"))
        for name in chosen
    }
    rates = {name: found.rates for name, found in timed(contenders, arguments.rounds).items()}
    print(report(rates))
    date = time.strftime("%Y-%m-%d", time.gmtime())
    print(f"\n{machine()}; {date}; {time.perf_counter() - start:.0f} s in all.")
    arguments.out.write_text(json.dumps({"machine": machine(), "date": date, "examples_per_second": rates}, indent=1))


if __name__ == "__main__":
    main()
