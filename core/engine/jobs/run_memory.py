"""Memory that one run takes in training, counted before it is trained.

As for whole banks (:mod:`core.forecast.bank_memory`), the code that trains is run on the ``meta`` device, whose tensors
have shapes but no memory, and a ledger counts the bytes.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch.nn import functional as F

from core.data.task import Task
from core.data.text_examples import TextExamples
from core.engine.jobs.build import untrained
from core.memory import training_bytes
from core.methods.method import MethodSpec
from core.networks.forward import forward
from core.networks.network import NetworkSpec
from core.networks.perceptron import MultilayerPerceptron
from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import CLASSIFICATION
from core.training.bank.bank import Bank
from core.training.frozen import frozen_blocks
from core.training.ledger import Ledger
from core.training.sharing import has_fast_loss, sharing


@lru_cache(maxsize=256)
def run_memory(
    spec: NetworkSpec, method: MethodSpec, batch_size: int, images: int, objective: ObjectiveSpec = CLASSIFICATION
) -> int:
    """Bytes that one run takes in training, alone on this engine.

    These are the network's weights, gradients, Adam's two moments, the activations of one step, and what the engine
    keeps to be fast: for LoRA the frozen outputs of the layers up to the first adapted one for every training image,
    and transposed copies of frozen weights; for transformers what the frozen blocks give for every text. Datasets and
    libraries are not counted. Runs of one bank share what is kept for every example, so a bank takes less than the sum
    of its runs.

    Args:
        spec: the network.
        method: what is trained of it.
        batch_size: images per step.
        images: number of training images.
        objective: what is learned; the fast step has classification alone.

    Raises:
        LoRAError: the adapters do not fit the network.
    """
    network = untrained(spec, method)
    batch = min(batch_size, images)
    examples = spec.examples(images)
    task = Task.of_one_part(examples, spec.num_classes)
    rows = torch.empty(batch, dtype=torch.int64, device="meta")
    with Ledger([*examples.tensors(), rows, *network.parameters()]) as ledger:
        is_fast = has_fast_loss(objective) and sharing(method.kind, spec.kind).step != "autograd"
        if is_fast and isinstance(network, MultilayerPerceptron):
            bank = Bank([network], [1e-3], [0], task)
            bank.program(0, batch)
            return int(ledger.live) + sum(parameter.nbytes for parameter in network.parameters())
        loss = F.cross_entropy(forward(network, examples.batch(rows)), examples.labels[rows])
        activations = int(ledger.live)
        del loss
    kept = frozen_blocks(spec, method).kept_bytes(len(examples.tokens)) if isinstance(examples, TextExamples) else 0
    return activations + training_bytes(network) + kept
