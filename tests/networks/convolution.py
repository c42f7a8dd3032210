"""The network family that docs/extending.md shows as an example: its code is taken from there."""

from __future__ import annotations

import sys
from collections import OrderedDict
from types import ModuleType

from torch import nn

from core.networks.network import NetworkSpec
from tests.docs.examples import example

_MODULE = ModuleType("convolution_of_the_docs")
sys.modules[_MODULE.__name__] = _MODULE  # where the types of the spec's fields are looked up
exec(compile(example("a network family"), "docs/extending.md", "exec", dont_inherit=True), _MODULE.__dict__)
ConvolutionSpec: type[NetworkSpec] = _MODULE.ConvolutionSpec


def plain_network(filters: int = 8, hidden: int = 32, classes: int = 10) -> nn.Module:
    """The same layers in plain torch, as somebody builds them who has no LoRA Lab."""
    return nn.Sequential(
        OrderedDict(
            image=nn.Unflatten(1, (1, 28, 28)),
            conv=nn.Conv2d(1, filters, 5, 2),
            norm=nn.BatchNorm2d(filters),
            relu=nn.ReLU(),
            pool=nn.MaxPool2d(2),
            flat=nn.Flatten(),
            dropout=nn.Dropout(0.2),
            hidden=nn.Linear(36 * filters, hidden),
            relu_2=nn.ReLU(),
            output=nn.Linear(hidden, classes),
        )
    )
