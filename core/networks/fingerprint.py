"""The fingerprint of a network, which tells one base of adapters from another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from core.methods.heads import without_head


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of the names, dtypes, shapes and bytes of all tensors; tells one network from another."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        # Quoted, so that no name can imitate a header and the bytes that follow it.
        digest.update(f"{json.dumps(name)} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy() if tensor.numel() else b"")
    return digest.hexdigest()


def base_fingerprint(base: nn.Module) -> str:
    """The fingerprint of a base of adapters, without its head: that is drawn from a seed, and travels in the adapter."""
    return fingerprint(without_head(base))
