"""The name under which model cards import :func:`core.networks.file.read_network`."""

from core.networks.file import read_network

__all__ = ["read_network"]
