"""What runs train with, as options: the fields of :class:`core.run_spec.OptimSpec`, rates by method, and adapters."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from core.cli.options import add_field
from core.engine.experiment import Setting
from core.engine.rate_grid import TuneSpec
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.methods.low_rank import LowRankSpec
from core.methods.method import MethodSpec, Role
from core.methods.registry import adapter_methods, methods
from core.networks.network import NetworkSpec
from core.networks.registry import FAMILIES
from core.run_spec import OptimSpec, default_optim, default_rate
from core.spec import bounds

OWN = ("learning_rate", "epochs")
"""Fields whose options differ between methods, or between the base and what starts from it."""

SHARED = tuple(name for name in OptimSpec.model_fields if name not in OWN)
"""Fields that an option sets for all runs alike, the base's included."""


def flag_of(field: str) -> str:
    """The option of a field, as in ``--batch-size``."""
    return f"--{field.replace('_', '-')}"


def add_training(parser: argparse.ArgumentParser) -> None:
    """Add the options of training and of adapters."""
    for field, more in (("epochs", "of fine-tuning"), *((name, "") for name in SHARED)):
        shown = by_family(lambda family, field=field: getattr(default_optim(FullSpec, family), field))  # type: ignore[misc]
        add_field(parser, flag_of(field), OptimSpec, field, more, shown=shown, default=None)
    for kind, method in (methods(Role.REFERENCE) | methods(Role.ADAPTER)).items():
        shown = by_family(lambda family, method=method: default_rate(method, family))  # type: ignore[misc]
        more = f"of {method.title}"
        add_field(parser, f"--lr-{kind}", OptimSpec, "learning_rate", more, shown=shown, default=None)
    add_field(
        parser,
        "--tune",
        TuneSpec,
        "rates",
        "those of one grid, 10^(k/2), that are nearest its own rate",
        nargs="?",
        metavar="N",
        default=0,
        const=bounds(TuneSpec, "rates").default,
        shown="off; 5 without a number",
    )
    lines = "; ".join(f"{kind}: {method.line}" for kind, method in adapter_methods().items())
    parser.add_argument(
        "--adapters",
        nargs="+",
        choices=list(adapter_methods()),
        default=[LoRASpec.name()],
        help=f"methods that train adapters, each with every rank: {lines} (default: {LoRASpec.name()})",
    )
    add_field(parser, "--rank", LowRankSpec, "rank", "one setting per rank", nargs="+", default=[4])
    add_field(parser, "--alpha", LowRankSpec, "alpha")
    add_targets(parser)
    lines = "; ".join(f"{kind}: {method.line}" for kind, method in methods(Role.CONTROL).items())
    parser.add_argument(
        "--controls",
        nargs="+",
        choices=list(methods(Role.CONTROL)),
        default=[],
        help=f"controls to compare with, by what they train: {lines}",
    )


def add_targets(parser: argparse.ArgumentParser) -> None:
    """Add ``--targets``, the layers that get adapters."""
    targets = bounds(LowRankSpec, "target_modules")
    parser.add_argument(
        "--targets",
        nargs="+",
        metavar="LAYER",
        default=list(targets.default),
        help=f"{targets.title}: {targets.description} (default: {' '.join(targets.default)})",
    )


def by_family(read: Callable[[type[NetworkSpec]], object]) -> str:
    """A default in words, as in ``10; 3 for a transformer``."""
    first, *others = FAMILIES
    differing = [f"{read(family)} for a {family.title}" for family in others if read(family) != read(first)]
    return "; ".join([str(read(first)), *differing])


def optim_of(
    options: argparse.Namespace, method: MethodSpec, network: type[NetworkSpec] | NetworkSpec, epochs: int | None
) -> OptimSpec:
    """How the options train a method; what they leave open is as the network's family has it.

    Args:
        options: those of :func:`add_training`.
        method: what is trained; its rate is that of its option, if it has one.
        network: the network, or its family.
        epochs: passes over the training part; None for the family's.

    Raises:
        SpecError: a value is out of bounds.
    """
    asked = {field: getattr(options, field) for field in SHARED}
    asked |= {"epochs": epochs, "learning_rate": getattr(options, f"lr_{method.kind}", None)}
    return default_optim(method, network).but(**{field: value for field, value in asked.items() if value is not None})


def settings_asked(options: argparse.Namespace, network: type[NetworkSpec] | NetworkSpec) -> list[Setting]:
    """The arms that the options ask for, untuned: full fine-tuning, every adapter at every rank, and the controls.

    Raises:
        SpecError: a value is out of bounds.
    """
    adapters, controls = adapter_methods(), methods(Role.CONTROL)
    shared = {"alpha": options.alpha, "target_modules": tuple(options.targets)}
    chosen: list[MethodSpec] = [
        *(method.of() for method in methods(Role.REFERENCE).values()),
        *(adapters[kind].of(rank=rank, **shared) for kind in options.adapters for rank in options.rank),
        *(controls[kind].of() for kind in options.controls),
    ]
    return [(optim_of(options, method, network, options.epochs), method) for method in chosen]


def tuning_asked(options: argparse.Namespace) -> TuneSpec | None:
    """How the options ask for rates to be tuned. Raises: SpecError: too few or too many rates."""
    return TuneSpec.of(rates=options.tune) if options.tune else None
