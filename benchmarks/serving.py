"""Rows per second with many adapters on one base, beside PEFT and the base alone: ``python -m benchmarks.serving``.

Every round asks each contender for the same rows once, in alternating order, so that a drift of the machine's speed
affects all alike; printed are medians over the rounds. Adapters are drawn at random for each row. PEFT answers a mixed
batch with ``adapter_names=``, or row by row after ``set_adapter``. With fewer adapters, rows of a batch share some,
which helps PEFT's mixed batch: it computes adapter by adapter.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Sequence
from statistics import median

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from core.adapter import Card, adapter_bytes, read_adapter
from core.methods.lora import LoRASpec
from core.methods.low_rank import add_lora
from core.methods.merging import merged_copy
from core.networks.fingerprint import base_fingerprint
from core.networks.perceptron import PerceptronSpec
from core.serving.mixed import MixedNetwork

SPEC = LoRASpec.of(rank=4)
ROUNDS = 15
ROWS = {1: 200, 16: 640, 64: 1280}
"""Rows per round and batch size."""

Answer = Callable[[Tensor, Sequence[int]], Tensor]


def trained(base: nn.Module, seed: int) -> nn.Module:
    """The base with an adapter whose B is not zero."""
    network = add_lora(copy.deepcopy(base), SPEC, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.add_(0.02 * torch.randn(parameter.shape))
    return network.eval()


def ours(base: nn.Module, networks: Sequence[nn.Module], count: int) -> tuple[Answer, MixedNetwork]:
    """LoRA Lab with ``count`` adapters, copies of a few."""
    mark, probe = base_fingerprint(base), torch.rand(8, 784)
    files = [
        read_adapter(adapter_bytes(network, SPEC, base_fingerprint=mark, card=Card("r", "b"), probe=probe))
        for network in networks
    ]
    mixed = MixedNetwork(base, lambda name: files[int(name) % len(files)], 2**30)
    for start in range(0, count, 64):
        names = [str(number) for number in range(start, min(count, start + 64))]
        mixed.answer({"pixels": torch.rand(len(names), 784)}, names)
    return lambda x, names: mixed.answer({"pixels": x}, [str(name) for name in names]), mixed


def peft_of(base: nn.Module, networks: Sequence[nn.Module]) -> tuple[Answer, Answer]:
    """PEFT in a mixed batch, and row by row."""
    config = LoraConfig(r=SPEC.rank, lora_alpha=SPEC.alpha, target_modules=["layers.0", "layers.2", "layers.4"])
    model = get_peft_model(copy.deepcopy(base), config, adapter_name="0")
    for number in range(1, len(networks)):
        model.add_adapter(str(number), config)
    model.eval()
    names = [str(number) for number in range(len(networks))]

    def mixed(x: Tensor, wanted: Sequence[int]) -> Tensor:
        with torch.no_grad():
            found: Tensor = model(x, adapter_names=[names[number % len(names)] for number in wanted])
        return found

    def switching(x: Tensor, wanted: Sequence[int]) -> Tensor:
        found = []
        for row, number in zip(x, wanted, strict=True):
            model.set_adapter(names[number % len(names)])
            with torch.no_grad():
                found.append(model(row[None]))
        return torch.cat(found)

    return mixed, switching


def merged_of(networks: Sequence[nn.Module]) -> Answer:
    """One merged copy of the network per adapter, row by row."""
    copies = [merged_copy(network) for network in networks]

    def answer(x: Tensor, wanted: Sequence[int]) -> Tensor:
        with torch.no_grad():
            return torch.cat([copies[number % len(copies)](row[None]) for row, number in zip(x, wanted, strict=True)])

    return answer


def alone(base: nn.Module) -> Answer:
    """The base, which has no adapter."""

    def answer(x: Tensor, wanted: Sequence[int]) -> Tensor:
        with torch.no_grad():
            found: Tensor = base(x)
        return found

    return answer


def timed(answer: Answer, batches: Sequence[tuple[Tensor, Sequence[int]]]) -> float:
    """Seconds for all batches."""
    start = time.perf_counter()
    for x, wanted in batches:
        answer(x, wanted)
    return time.perf_counter() - start


def main() -> None:
    """Measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--adapters", type=int, default=1000, help="adapters of LoRA Lab (default: 1000)")
    parser.add_argument("--peft", type=int, default=256, help="adapters of PEFT and merged copies (default: 256)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default: 1)")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    base = PerceptronSpec.of().build(0).eval()
    networks = [trained(base, seed) for seed in range(options.peft)]
    our, mixed = ours(base, networks, options.adapters)
    in_one_batch, switching = peft_of(base, networks)
    contenders = {
        "LoRA Lab": our,
        "PEFT, mixed batch": in_one_batch,
        "PEFT, set_adapter per row": switching,
        "merged copies": merged_of(networks),
        "base alone": alone(base),
    }
    print(f"{options.adapters} adapters of rank 4 in memory, {mixed.use.nbytes / 2**20:.0f} MiB.\n")
    print("| rows per batch | " + " | ".join(contenders) + " |\n| --- |" + " --- |" * len(contenders))
    for size, rows in ROWS.items():
        batches = [
            (torch.rand(size, 784), torch.randint(options.adapters, (size,)).tolist()) for _ in range(rows // size)
        ]
        few = batches[:4]
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        order = list(contenders)
        for _ in range(ROUNDS):
            for name in order:
                slow = name == "PEFT, set_adapter per row"
                taken = timed(contenders[name], few if slow else batches)
                seconds[name].append(taken / (size * len(few if slow else batches)))
            order.reverse()
        print(
            f"| {size} | " + " | ".join(f"{1 / median(seconds[name]):,.0f}" for name in contenders) + " |", flush=True
        )


if __name__ == "__main__":
    main()
