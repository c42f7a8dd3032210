"""Alias of :func:`core.networks.file.read_network`, for the code in model cards."""

from core.networks.file import read_network

__all__ = ["read_network"]
