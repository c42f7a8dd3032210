"""From scratch: what the task alone would give, without the base."""

from __future__ import annotations

from typing import Literal

from core.methods.full import FullSpec
from core.methods.method import MethodSpec, Role


class ScratchSpec(MethodSpec):
    """Trains all weights, starting from random ones instead of the base's."""

    kind: Literal["scratch"] = "scratch"
    title = "From scratch"
    short = "From scratch"
    line = "a new network from random weights"
    role = Role.CONTROL
    starts_from_base = False

    def shape(self) -> MethodSpec:
        return FullSpec()
