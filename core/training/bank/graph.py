"""Capture a step in a CUDA graph, to launch it once instead of launching each of its calls."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

log = logging.getLogger(__name__)

WARM_UP = 3
"""Runs before capturing, as torch.cuda.graph requires: libraries allocate their workspaces at first use."""


def captured(work: Callable[[], None], state: Sequence[Tensor]) -> Callable[[], None]:
    """Capture ``work`` in a CUDA graph; if that is not possible, return ``work`` itself.

    Args:
        work: calls on fixed tensors, without synchronization; see :class:`core.training.bank.tape.Tape`.
        state: tensors that ``work`` changes, whose values are restored afterwards.
    """
    if not all(tensor.is_cuda for tensor in state):
        return work
    kept = [tensor.clone() for tensor in state]
    try:
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                work()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
    except RuntimeError as error:
        log.warning("The step could not be captured in a CUDA graph and is launched call by call: %s", error)
        return work
    finally:
        for tensor, before in zip(state, kept, strict=True):
            tensor.copy_(before)
    replay: Callable[[], None] = graph.replay
    return replay
