"""Full fine-tuning: trains all weights of the base."""

from __future__ import annotations

from typing import Literal

from core.methods.method import MethodSpec, Role


class FullSpec(MethodSpec):
    """Trains all weights of the base."""

    kind: Literal["full"] = "full"
    title = "Full fine-tuning"
    short = "Full"
    line = "all weights"
    role = Role.REFERENCE
