"""Pretraining: trains the base of fine-tuning, from random weights or from those of a network that was brought."""

from __future__ import annotations

from typing import Literal

from core.methods.full import FullSpec
from core.methods.method import MethodSpec, Role


class PretrainSpec(MethodSpec):
    """Trains all weights; the result is a base."""

    kind: Literal["pretrain"] = "pretrain"
    title = "Pretraining"
    short = "Pretrain"
    line = "all weights, from random ones or from those that somebody brought"
    role = Role.BASE

    def shape(self) -> MethodSpec:
        return FullSpec()
