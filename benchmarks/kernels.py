"""``python -m benchmarks.kernels NETWORK METHOD``: what each kernel of the general step is worth.

Contenders take turns, each in a process of its own on one core; each has one kernel switched off, and the first has
none off. SmolLM2 takes 4 GB for each: name one or two kernels at a time.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch

import core.training.fast_network as fast_network
import core.training.frozen as frozen
from benchmarks import language_models, transformers, turns
from benchmarks.turns import Contender, Timed, timed
from core.data.dataset import LanguageDataset
from core.data.task_spec import TaskSpec
from core.engine.jobs.choice import stepper_of
from core.memory import freed_memory_kept
from core.networks.decoder import DecoderSpec
from core.objectives.language import LanguageSpec
from core.run_spec import default_optim
from core.tasks.views.language import LanguageView
from core.training.bank.shard import no_denormals

STEPS = {"minilm": 6, "decoder": 4, "smollm2": 1}
"""Steps of a round, by network."""


def without_first_token() -> None:
    """Have the last block of an encoder computed for all tokens."""
    fast_network.first_token_only = lambda *args, **kwargs: {}


def without_products() -> None:
    """Have products computed as torch does, and so all of an encoder's last block."""
    fast_network.fast_layers = frozen.fast_layers = lambda *args, **kwargs: {}  # type: ignore[attr-defined]


KERNELS: Mapping[str, Callable[[], None]] = {
    "none": lambda: None,
    "first token": without_first_token,
    "products": without_products,
    "mallopt": lambda: None,
}
"""How each is switched off; freed memory is, where it is not kept."""


def minilm(home: Path, method: str, steps: int) -> Timed:
    """MiniLM on texts with labels."""
    subject = transformers.Subject.load(transformers.packaged())
    return transformers.engine(subject, subject.task(), transformers.METHODS[method], 1, steps)


def decoder(home: Path, method: str, steps: int) -> Timed:
    """The built-in decoder on the passages of the other benchmark of language models."""
    spec, asked = DecoderSpec.of(), language_models.METHODS[method]
    train, test = language_models.passages(800, 0), language_models.passages(16, 1)
    labels = (np.zeros(len(train), np.int64), np.zeros(len(test), np.int64))
    dataset = LanguageDataset("passages", train, labels[0], test, labels[1])
    of = TaskSpec.of(dataset="passages", length=256, validation=0.02)
    task = LanguageView().task(of, dataset, spec.tokenizer)
    network = asked.prepare(spec.build(0), torch.Generator().manual_seed(0))
    optim = default_optim(asked, spec).but(batch_size=32, epochs=200)
    stepper = stepper_of([network], asked.kind, [optim], [0], task, objectives=[LanguageSpec()])
    return turns.engine(stepper, steps, 32, partial(language_models.tokens, task))


def smollm2(home: Path, method: str, steps: int) -> Timed:
    """SmolLM2 in float32."""
    return language_models.here(home, method, "float32", steps)


NETWORKS: Mapping[str, Callable[[Path, str, int], Timed]] = {"minilm": minilm, "decoder": decoder, "smollm2": smollm2}


def built(network: str, method: str, off: str, home: Path) -> Timed:
    """A contender with one kernel off."""
    KERNELS[off]()
    settings = ExitStack()
    settings.enter_context(no_denormals())
    if off != "mallopt":
        settings.enter_context(freed_memory_kept())
    torch.set_num_threads(1)
    turns.available_cores = lambda: 1  # type: ignore[attr-defined]
    made = NETWORKS[network](home, method, STEPS[network])

    def work(number: int, kept: ExitStack = settings) -> tuple[float, int]:
        return made(number)

    return work


def main() -> None:
    """Print a line of a table for each kernel: processor time without it over that with it, by round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("method", choices=("full", "LoRA"))
    parser.add_argument("--off", nargs="+", default=list(KERNELS)[1:], choices=KERNELS, metavar="KERNEL")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--home", type=Path, default=Path(), help="with SmolLM2 imported as its only network")
    asked = parser.parse_args()
    names = ["none", *asked.off]
    make = partial(built, asked.network, asked.method)
    found = timed({name: Contender(partial(make, name, asked.home), False) for name in names}, asked.rounds)
    for name in names:
        pairs = zip(found["none"].core_rates, found[name].core_rates, strict=True)
        times = [with_it / without for with_it, without in pairs]
        spread = f"{min(times):.2f} to {max(times):.2f}"
        memory = f"{found[name].memory >> 20:,}"
        print(f"| {asked.network}, {asked.method} | {name} | {median(times):.2f} | {spread} | {memory} |")


if __name__ == "__main__":
    main()
