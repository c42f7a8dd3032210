"""Rows per second with many adapters on one base, beside PEFT and the base alone: ``python -m benchmarks.serving``.

Every round asks each contender for the same rows once, in alternating order, so that a drift of the machine's speed
affects all alike; printed are medians over the rounds. Adapters are drawn at random for each row. PEFT answers a mixed
batch with ``adapter_names=``, or row by row after ``set_adapter``. With fewer adapters, rows of a batch share some,
which helps PEFT's mixed batch: it computes adapter by adapter.

``--network minilm`` serves texts of 16 tokens. There every adapter of LoRA Lab has a head of its own, as one that was
trained has; PEFT's adapters here have none, and so do less.

The last row of the table is the memory of the parameters that each contender needs beside the base, for the number of
adapters in brackets.

``--http`` measures end to end instead, both networks unless one is named: see :mod:`benchmarks.serving_http`.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from benchmarks.serving_http import measure
from core.adapter import Card, adapter_bytes, read_adapter
from core.data.examples import Batch
from core.methods.adapted import merged_copy
from core.methods.linear import is_linear
from core.methods.lora import LoRASpec
from core.methods.targets import head_paths
from core.networks.file import base_fingerprint
from core.networks.forward import forward
from core.networks.library.networks import Networks
from core.networks.perceptron import PerceptronSpec
from core.serving.mixed import MixedNetwork
from core.settings import Settings

ROUNDS = 15
TOKENS, CLASSES, WORDS = 16, 12, 30_000
"""Of texts: tokens of each, classes, and numbers that tokens have."""

Answer = Callable[[Batch, Sequence[int]], Tensor]


@dataclass(frozen=True)
class Subject:
    """A base, adapters of it, and rows to answer."""

    base: nn.Module
    method: LoRASpec
    draw: Callable[[int], Batch]
    """Makes a batch of so many rows."""
    rows: dict[int, int]
    """Rows per round and batch size."""
    adapters: int
    """Adapters of LoRA Lab."""
    peft: int
    """Adapters of PEFT, and merged copies."""
    rounds: int


def perceptron() -> Subject:
    """A perceptron with 1,000 adapters of rank 4 on all layers."""
    return Subject(
        PerceptronSpec.of().build(0).eval(),
        LoRASpec.of(rank=4),
        lambda size: {"pixels": torch.rand(size, 784)},
        {1: 200, 16: 640, 64: 1280},
        1000,
        256,
        ROUNDS,
    )


def minilm() -> Subject:
    """MiniLM with 64 adapters of rank 8 on all linear layers."""
    with tempfile.TemporaryDirectory() as home:
        networks = Networks(Settings(Path(home)))
        base = networks.start(networks.spec(networks.import_known("minilm").digest, CLASSES), seed=0).eval()

    def draw(size: int) -> Batch:
        shape = size, TOKENS
        ids = torch.randint(1000, WORDS, shape)
        mask = torch.ones(shape, dtype=torch.int64)
        return {"input_ids": ids, "attention_mask": mask}

    return Subject(base, LoRASpec.of(rank=8), draw, {1: 8, 16: 64, 64: 64}, 64, 64, ROUNDS)


SUBJECTS = {"perceptron": perceptron, "minilm": minilm}


def trained(subject: Subject, seed: int) -> nn.Module:
    """The base with an adapter whose B is not zero."""
    network = subject.method.prepare(copy.deepcopy(subject.base), torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.add_(0.02 * torch.randn(parameter.shape))
    return network.eval()


def ours(subject: Subject) -> tuple[Answer, MixedNetwork]:
    """LoRA Lab with all adapters, copies of a few."""
    mark, probe = base_fingerprint(subject.base), subject.draw(4)
    files = [
        read_adapter(
            adapter_bytes(
                trained(subject, seed), subject.method, base_fingerprint=mark, card=Card("r", "b"), probe=probe
            )
        )
        for seed in range(8)
    ]
    mixed = MixedNetwork(subject.base, lambda name: files[int(name) % len(files)], 2**30)
    for start in range(0, subject.adapters, 64):
        names = [str(number) for number in range(start, min(subject.adapters, start + 64))]
        mixed.answer(subject.draw(len(names)), names)
    return lambda batch, names: mixed.answer(batch, [str(name) for name in names]), mixed


def nbytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of tensors, with shared memory counted once."""
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())


def peft_of(subject: Subject) -> tuple[Answer, Answer, int]:
    """PEFT in a mixed batch, and row by row, and the bytes of its adapters."""
    heads = tuple(head_paths(subject.base))
    layers = [
        path for path, module in subject.base.named_modules() if is_linear(module) and not path.startswith(heads or "-")
    ]
    config = LoraConfig(r=subject.method.rank, lora_alpha=subject.method.alpha, target_modules=layers)
    model = get_peft_model(copy.deepcopy(subject.base), config, adapter_name="0")
    for number in range(1, subject.peft):
        model.add_adapter(str(number), config)
    model.eval()

    def asked(batch: Batch, **more: Sequence[str]) -> Tensor:
        inputs = {"x": batch["pixels"]} if "pixels" in batch else batch
        with torch.no_grad():
            found = model(**inputs, **more)
        return found if isinstance(found, Tensor) else found.logits

    def mixed(batch: Batch, wanted: Sequence[int]) -> Tensor:
        return asked(batch, adapter_names=[str(number % subject.peft) for number in wanted])

    def switching(batch: Batch, wanted: Sequence[int]) -> Tensor:
        found = []
        for row, number in enumerate(wanted):
            model.set_adapter(str(number % subject.peft))
            found.append(asked({name: tensor[row : row + 1] for name, tensor in batch.items()}))
        return torch.cat(found)

    return mixed, switching, nbytes(tensor for name, tensor in model.named_parameters() if "lora_" in name)


def merged_of(subject: Subject) -> tuple[Answer, int, int]:
    """One merged copy of the network per adapter, row by row, with their bytes and number."""
    copies = [merged_copy(trained(subject, seed)) for seed in range(min(subject.peft, 64))]

    def answer(batch: Batch, wanted: Sequence[int]) -> Tensor:
        with torch.no_grad():
            return torch.cat(
                [
                    forward(copies[number % len(copies)], {name: tensor[k : k + 1] for name, tensor in batch.items()})
                    for k, number in enumerate(wanted)
                ]
            )

    return answer, nbytes(tensor for each in copies for tensor in each.parameters()), len(copies)


def alone(subject: Subject) -> Answer:
    """The base, which has no adapter."""

    def answer(batch: Batch, wanted: Sequence[int]) -> Tensor:
        with torch.no_grad():
            return forward(subject.base, batch)

    return answer


def timed(answer: Answer, batches: Sequence[tuple[Batch, Sequence[int]]]) -> float:
    """Seconds for all batches."""
    start = time.perf_counter()
    for batch, wanted in batches:
        answer(batch, wanted)
    return time.perf_counter() - start


def main() -> None:
    """Measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--network", choices=list(SUBJECTS), help="the base (default: perceptron; with --http one after the other)"
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default: 1)")
    parser.add_argument("--http", action="store_true", help="measure python -m core serve, end to end")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement over HTTP (default: 5)")
    options = parser.parse_args()
    if options.http:
        for network in [options.network] if options.network else SUBJECTS:
            measure(network, options.threads, options.seconds)
        return
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    subject = SUBJECTS[options.network or "perceptron"]()
    our, mixed = ours(subject)
    in_one_batch, switching, of_peft = peft_of(subject)
    merged, of_copies, copies = merged_of(subject)
    contenders = {
        "LoRA Lab": our,
        "PEFT, mixed batch": in_one_batch,
        "PEFT, set_adapter per row": switching,
        "merged copies": merged,
        "base alone": alone(subject),
    }
    held = mixed.use.nbytes
    beside = [(held, subject.adapters), *[(of_peft, subject.peft)] * 2, (of_copies, copies), (0, 0)]
    print(f"{subject.adapters} adapters of rank {subject.method.rank} in memory, {held / 2**20:.0f} MiB.\n")
    print("| rows per batch | " + " | ".join(contenders) + " |\n| --- |" + " --- |" * len(contenders))
    for size, rows in subject.rows.items():
        batches = [(subject.draw(size), torch.randint(subject.adapters, (size,)).tolist()) for _ in range(rows // size)]
        few = batches[:4]
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        order = list(contenders)
        for _ in range(subject.rounds):
            for name in order:
                slow = name == "PEFT, set_adapter per row"
                taken = timed(contenders[name], few if slow else batches)
                seconds[name].append(taken / (size * len(few if slow else batches)))
            order.reverse()
        print(
            f"| {size} | " + " | ".join(f"{1 / median(seconds[name]):,.0f}" for name in contenders) + " |", flush=True
        )
    print("| MiB (adapters) | " + " | ".join(f"{taken / 2**20:,.0f} ({count:,})" for taken, count in beside) + " |")


if __name__ == "__main__":
    main()
