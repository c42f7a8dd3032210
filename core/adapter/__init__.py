"""Adapter files: zips that Hugging Face PEFT can load, verified when they are written and when they are read."""

from core.adapter.card import Card
from core.adapter.certificate import Certificate
from core.adapter.config import AdapterConfig
from core.adapter.read import AdapterFile, apply_adapter, read_adapter
from core.adapter.verify import Verification, verify_adapter
from core.adapter.write import adapter_bytes

__all__ = [
    "AdapterConfig",
    "AdapterFile",
    "Card",
    "Certificate",
    "Verification",
    "adapter_bytes",
    "apply_adapter",
    "read_adapter",
    "verify_adapter",
]
