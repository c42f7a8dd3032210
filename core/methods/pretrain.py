"""Pretraining: trains the base of fine-tuning from random weights."""

from __future__ import annotations

from typing import Literal

from core.methods.full import FullSpec
from core.methods.method import MethodSpec, Role


class PretrainSpec(MethodSpec):
    """Trains all weights, from random ones; the result is a base."""

    kind: Literal["pretrain"] = "pretrain"
    title = "Pretraining"
    short = "Pretrain"
    line = "all weights, from random ones"
    role = Role.BASE
    starts_from_base = False

    def shape(self) -> MethodSpec:
        return FullSpec()
