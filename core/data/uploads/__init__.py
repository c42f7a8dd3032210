"""Datasets that people bring: read within bounds, brought to 28×28 grey, looked at before they are kept."""

from core.data.uploads.draft import Draft, samples
from core.data.uploads.limits import MOST_BYTES
from core.data.uploads.read import KINDS, read_upload

__all__ = ["KINDS", "MOST_BYTES", "Draft", "read_upload", "samples"]
