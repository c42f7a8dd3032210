"""Memory of the code that oneDNN generates for matrix products of texts.

oneDNN compiles machine code for each shape of a product, and keeps it for the process. A layer multiplies as many rows
as its batch has tokens, padding included, so each padded length of a batch needs code of its own: forward, and where
blocks are trained backward, for each size of layer. Layers of equal size share it.

Two caches hold it: oneDNN's own, of all threads, with two entries for a product; and one in torch of each thread, which
holds one of the two. What both hold takes memory once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from core.data.examples import Examples, Task, TextExamples
from core.engine.jobs.job import untrained
from core.methods.linear import features, is_linear
from core.methods.method import MethodSpec
from core.networks.network import NetworkSpec
from core.objectives.language import LanguageSpec
from core.run_spec import RunSpec
from core.training.evaluation import BATCH
from core.training.frozen import TEXTS, block_list, frozen_blocks, texts_of
from core.training.loop import data_order
from core.training.threads import available_cores

ENTRY_BYTES = 288 * 2**10
"""Bytes of an entry in oneDNN 3.12: a buffer for code of 256 KiB, and what describes the product, whose size changes
this by less than a tenth."""

ENTRIES = 1024
"""Maximum number of entries of each of the caches, unless the environment says otherwise; each then forgets the one
that was not used for longest."""


def kernel_bytes(specs: Sequence[RunSpec], task: Task, source: Task | None = None) -> int:
    """Bytes of code for the products of runs that are trained together; 0 without oneDNN, and for images.

    Args:
        specs: the runs.
        task: what they learn.
        source: what their base has learned.
    """
    first, train = specs[0], task.train
    if not isinstance(train, TextExamples) or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return 0
    method, size = first.method.shape(), first.network.evaluation_batch or BATCH
    frozen = frozen_blocks(first.trained_network, method)
    lengths = (lengths_of(source) if source else {}) | lengths_of(task)
    language = isinstance(first.objective, LanguageSpec)
    held_out = [lengths[part] for part in lengths if part is not train]
    forward = set[int]().union(*(_rows(part.sort().values, size, not language) for part in held_out))
    if frozen.count:
        forward |= set[int]().union(
            *(_rows(lengths[part].sort().values, TEXTS, False) for part in texts_of(task, source) if len(part))
        )
    trained = set[int]() if 0 < frozen.total == frozen.count else _trained_rows(specs, train, lengths[train])
    shared, own = _layer_sizes(first.trained_network, method) * (len(forward | trained) + len(trained)), 0
    if language:  # its output layer reads scored tokens, whose number varies
        shared += sum(-(-len(part) // size) for part in held_out)
        parts = first.optim.accumulation * -(-len(train) // first.optim.batch_size)
        own = 2 * parts * first.optim.epochs * len({spec.seed for spec in specs})
    return ENTRY_BYTES * _entries(shared, own, min(len(specs), available_cores()))


@lru_cache(maxsize=256)
def _layer_sizes(network: NetworkSpec, method: MethodSpec) -> int:
    """Number of sizes of linear layers in the blocks of a network; cached, since pages ask for each run."""
    _, blocks = block_list(untrained(network, method))
    return len({features(module) for block in blocks for module in block.modules() if is_linear(module)})


def _entries(shared: int, own: int, threads: int) -> int:
    """Entries of all caches together.

    Args:
        shared: shapes that every thread multiplies.
        own: shapes of which each has its share.
        threads: threads that train.
    """
    shapes, known = shared + own, ENTRIES // 2
    if shapes <= known:
        return 2 * shapes
    # oneDNN has forgotten a part of the shapes; what a thread has of these is its own.
    return ENTRIES + int(threads * min(shared + own // threads, ENTRIES) * (1 - known / shapes))


def lengths_of(task: Task) -> dict[Examples, Tensor]:
    """Tokens of each text, by part; empty for a task of images."""
    parts = (task.train, task.validation, task.test)
    texts = [part for part in parts if isinstance(part, TextExamples) and len(part)]
    return {part: part.lengths for part in texts}


def _rows(lengths: Tensor, size: int, pooled: bool, parts: int = 1) -> set[int]:
    """Rows of the products of batches: texts times tokens of the longest one.

    Args:
        lengths: (n,) tokens of each text, in the order in which they are computed.
        size: texts of a batch.
        pooled: whether some layers read one token of each text, as a classifier does.
        parts: in which a batch is computed.
    """
    whole = len(lengths) // size * size
    batches = [lengths[:whole].view(-1, size), lengths[whole:][None]]
    pieces = [piece for batch in batches if batch.numel() for piece in batch.chunk(parts, 1)]
    rows = {row for piece in pieces for row in (piece.shape[1] * piece.amax(1)).tolist()}
    return rows | ({piece.shape[1] for piece in pieces} if pooled else set())


def _trained_rows(specs: Sequence[RunSpec], train: TextExamples, lengths: Tensor) -> set[int]:
    """Rows of the products in training, in the batches that it will have; no more are sought once an epoch has none
    that are new.

    Args:
        specs: the runs.
        train: what is trained on.
        lengths: (n,) tokens of each text, as it is trained on.
    """
    optim, found, pooled = specs[0].optim, set[int](), not isinstance(specs[0].objective, LanguageSpec)
    for epoch in range(1, optim.epochs + 1):
        before = len(found)
        for seed in dict.fromkeys(spec.seed for spec in specs):
            order = train.batched(data_order(len(train), seed, epoch), optim.batch_size, epoch)
            found |= _rows(lengths[order], optim.batch_size, pooled, optim.accumulation)
        if len(found) == before or len(found) >= ENTRIES:
            break
    return found
