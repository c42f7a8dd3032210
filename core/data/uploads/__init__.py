"""Uploaded datasets: read within limits, converted to 28×28 grey, and previewed before they are saved."""

from core.data.uploads.draft import Draft, samples
from core.data.uploads.limits import MAX_BYTES
from core.data.uploads.read import KINDS, read_upload

__all__ = ["KINDS", "MAX_BYTES", "Draft", "read_upload", "samples"]
