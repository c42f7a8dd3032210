"""Networks as ONNX files, which other runtimes read, and such files as functions that compute logits.

The packages for it are optional: ``requirements-onnx.txt``.
"""

from __future__ import annotations

import logging
import warnings
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import torch
from torch import Tensor, nn

from core.data.examples import Batch
from core.errors import NetworkFileError
from core.networks.forward import evaluating, forward
from core.optional_packages import optional_module

OPSET = 25
"""Version of the operators that are used: the latest with which onnxruntime 1.32 computes all architectures, for any
number of texts of any length. With 23, torch 2.13 writes rotary embeddings that take one text at a time in some
architectures; with 26, the files of transformers are invalid, since it does not convert their operators."""

MAX_BYTES = 2**31 - 2**24
"""Maximum bytes of the weights: a file has less than 2 GiB, some of them for what is not weights."""

LOGITS = "logits"
"""Name of the only output, of shape (batch, classes)."""


def onnx_bytes(network: nn.Module, batch: Batch) -> bytes:
    """Make the ONNX file of a network.

    Args:
        network: without adapters, such as a merged one; it is exported in evaluation mode.
        batch: a few inputs, by the names that the file's inputs get. The number of examples, and of tokens where there
            are some, stays free.

    Raises:
        NetworkFileError: a package is missing, or the network is too large or has something that ONNX has not.
    """
    size = sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))
    if size > MAX_BYTES:
        raise NetworkFileError(
            f"This network has {size / 1e9:.2f} GB, and one ONNX file holds {MAX_BYTES / 1e9:.2f} GB: export it "
            "as safetensors."
        )
    _module("onnxscript")
    names = tuple(batch)
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}
    shapes = tuple({axis: size for axis, size in sizes.items() if _is_free(tensor, axis)} for tensor in batch.values())
    log = logging.getLogger("torch.onnx")
    level = log.level
    try:
        log.setLevel(logging.ERROR)
        with evaluating(network), warnings.catch_warnings(), redirect_stdout(StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                _Logits(network, names),
                tuple(batch.values()),
                dynamo=True,
                input_names=names,
                output_names=[LOGITS],
                dynamic_shapes={"inputs": shapes},
                opset_version=OPSET,
                external_data=False,
                verbose=False,
            )
            content: bytes = program.model_proto.SerializeToString() if program else b""
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise NetworkFileError(f"This network cannot be written as ONNX: {reason}") from error
    finally:
        log.setLevel(level)
    return content


class OnnxNetwork:
    """An ONNX file in onnxruntime; called like the network that it was made of."""

    def __init__(self, content: bytes, threads: int = 1) -> None:
        """Args:
        content: the file.
        threads: CPU threads of a call.

        Raises:
            NetworkFileError: onnxruntime is missing, or cannot read the file.
        """
        runtime = _module("onnxruntime")
        self.version: str = runtime.__version__
        """Version of onnxruntime."""
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self._session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions have no common base class
            raise NetworkFileError("onnxruntime cannot read this file: it is damaged, or not an ONNX file.") from error
        self._names = [given.name for given in self._session.get_inputs()]

    def __call__(self, *tensors: Tensor, **named: Tensor) -> Tensor:
        """Logits of shape (batch, classes). Args: the inputs, in the order of the file or by name."""
        inputs = dict(zip(self._names, tensors, strict=False)) | named
        (logits,) = self._session.run([LOGITS], {name: inputs[name].numpy() for name in self._names})
        return torch.from_numpy(logits)


class _Logits(nn.Module):
    """A network that is called with its inputs in order and returns nothing but logits."""

    def __init__(self, network: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.network, self.names = network, names

    def forward(self, *inputs: Tensor) -> Tensor:
        return forward(self.network, dict(zip(self.names, inputs, strict=True)))


def _is_free(tensor: Tensor, axis: int) -> bool:
    """Whether an axis may have any size: that of examples, and of tokens, but not of pixels."""
    return axis == 0 or (tensor.ndim > 1 and not tensor.is_floating_point())


def _module(name: str) -> Any:
    """A module of an optional package. Raises: NetworkFileError: it is not installed."""
    return optional_module(name, "ONNX files need", "onnx", NetworkFileError)
