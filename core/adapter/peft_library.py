"""Adapter files as the real PEFT reads them.

The package is optional: ``requirements-peft.txt``.
"""

from __future__ import annotations

import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

from torch import nn

from core.errors import AdapterError
from core.networks.transformers_library import transformers
from core.optional_packages import optional_module


def read_with_peft(path: Path, base: nn.Module) -> tuple[nn.Module, str]:
    """Have PEFT put an adapter file of this lab on its base.

    Args:
        path: the zip file.
        base: PEFT changes it in place.

    Returns:
        The network in evaluation mode, and the version of PEFT.

    Raises:
        AdapterError: PEFT is not installed, or cannot read the file.
    """
    peft = _peft()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder)
            network: nn.Module = peft.PeftModel.from_pretrained(base, folder, torch_device="cpu")
        except (zipfile.BadZipFile, ValueError, RuntimeError) as error:
            reason = str(error).strip().partition("\n")[0][:200]
            raise AdapterError(f"PEFT {peft.__version__} cannot read this adapter: {reason}") from error
    return network.eval(), str(peft.__version__)


def _peft() -> Any:
    """The package. Raises: AdapterError: it is not installed."""
    transformers()  # which PEFT imports, and which only one thread may import at a time
    return optional_module("peft", "Checking an adapter for PEFT needs", "peft", AdapterError)
