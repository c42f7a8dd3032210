"""What runs train with, as options: the fields of :class:`core.run_spec.OptimSpec`, rates by method, and adapters."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from core.cli.options import add_field
from core.errors import SpecError
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec, Role, own_fields, with_values
from core.methods.registry import methods
from core.networks.network import NetworkSpec
from core.networks.registry import FAMILIES
from core.plan.axes import AXES, VarySpec
from core.plan.experiment import Recipe
from core.plan.search import TuneSpec, default_search
from core.run_spec import OptimSpec, default_optim, default_rate, optim_for
from core.spec import bounds

OWN = ("learning_rate", "epochs")
"""Fields whose options differ between methods, or between the base and what starts from it."""

FOUND = -1
"""Stands for ``--tune`` without a number: rates are searched for."""

SHARED = tuple(name for name in OptimSpec.model_fields if name not in OWN)
"""Fields that an option sets for all methods alike."""

SAVES_MEMORY = ("accumulation", "recompute")
"""Those that an option sets for the base as well: all others say how it is fine-tuned, so that one base serves all."""


def flag_of(field: str) -> str:
    """The option of a field, as in ``--batch-size``."""
    return f"--{field.replace('_', '-')}"


def add_training(parser: argparse.ArgumentParser) -> None:
    """Add the options of training, of searches and studies, and of adapters, each in a group."""
    training = parser.add_argument_group("training")
    for field in ("epochs", *SHARED):
        more = "of the base as well" if field in SAVES_MEMORY else "of fine-tuning"
        shown = by_family(lambda family, field=field: _default(family, field))  # type: ignore[misc]
        add_field(training, flag_of(field), OptimSpec, field, more, shown=shown, default=None)
    for kind, method in (methods(Role.REFERENCE) | methods(Role.ADAPTER)).items():
        shown = by_family(lambda family, method=method: default_rate(method, family))  # type: ignore[misc]
        more = f"of {method.title}"
        add_field(training, f"--lr-{kind}", OptimSpec, "learning_rate", more, shown=shown, default=None)
    search = parser.add_argument_group("searches and studies")
    add_field(
        search,
        "--tune",
        TuneSpec,
        "rates",
        "all are points of one grid, 10^(k/2), and N are those nearest its own rate",
        nargs="?",
        metavar="N",
        default=0,
        const=FOUND,
        shown="off; a search without a number",
    )
    add_field(
        search,
        "--longer",
        TuneSpec,
        "longer",
        "with --tune without a number",
        default=None,
        shown=by_family(lambda family: family.longer),
    )
    axes = "; ".join(f"{axis.name}: {axis.line.rstrip('.')}" for axis in AXES)
    search.add_argument(
        "--vary",
        metavar="AXIS=POINT,…",
        help=f"make a study: compare everything at each of these points, with learning rates found there; {axes} "
        "(default: no study; without points, the usual ones of the axis)",
    )
    adapters, compared = methods(Role.ADAPTER), parser.add_argument_group("adapters and controls")
    lines = "; ".join(f"{kind}: {method.line}" for kind, method in adapters.items())
    compared.add_argument(
        "--adapters",
        nargs="+",
        choices=list(adapters),
        default=[LoRASpec.name()],
        help=f"methods that train adapters, each with every rank: {lines} (default: {LoRASpec.name()})",
    )
    for own in own_fields(adapters.values()):
        several: dict[str, Any] = {}
        if own.is_size or own.is_strength:
            several = {"nargs": "+", "default": [own.about.default]}
        more = f"one setting per {own.about.title.lower()}" if several else ""
        add_field(compared, flag_of(own.key), own.methods[0], own.name, more, **several)
    add_targets(compared)
    lines = "; ".join(f"{kind}: {method.line}" for kind, method in methods(Role.CONTROL).items())
    compared.add_argument(
        "--controls",
        nargs="+",
        choices=list(methods(Role.CONTROL)),
        default=[],
        help=f"controls to compare with, by what they train: {lines}",
    )


def _default(family: type[NetworkSpec], field: str) -> object:
    if field == "head_rate":
        return "none" if family.head_rate is None else family.head_rate
    value = getattr(default_optim(FullSpec, family), field)
    return "that of the method" if value is None else "off" if value is False else value


def add_targets(parser: argparse._ActionsContainer) -> None:
    """Add ``--targets``, the layers that get adapters."""
    targets = bounds(LoRASpec, "target_modules")
    parser.add_argument(
        "--targets",
        nargs="+",
        metavar="LAYER",
        default=list(targets.default),
        help=f"{targets.title}: {targets.description} (default: {' '.join(targets.default)})".replace("%", "%%"),
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
    usual, is_base = default_optim(method, network), method.role is Role.BASE
    asked = {field: getattr(options, field) for field in (SAVES_MEMORY if is_base else SHARED)}
    asked |= {"epochs": epochs, "learning_rate": getattr(options, f"lr_{method.kind}", None)}
    if is_base and options.accumulation is not None:
        asked["accumulation"] = min(options.accumulation, usual.batch_size)
    return optim_for(method, usual.but(**{field: value for field, value in asked.items() if value is not None}))


def settings_asked(options: argparse.Namespace, network: type[NetworkSpec] | NetworkSpec) -> list[Recipe]:
    """The arms that the options ask for, untuned: full fine-tuning, every adapter at every rank, and the controls.

    Raises:
        SpecError: a value is out of bounds.
    """
    adapters, controls = methods(Role.ADAPTER), methods(Role.CONTROL)
    fields = own_fields(adapters.values())
    values = {field.key: getattr(options, field.key.replace("-", "_")) for field in fields}
    chosen: list[MethodSpec] = [
        *(method.of() for method in methods(Role.REFERENCE).values()),
        *(each for kind in options.adapters for each in with_values(adapters[kind], fields, values, options.targets)),
        *(controls[kind].of() for kind in options.controls),
    ]
    return [(optim_of(options, method, network, options.epochs), method) for method in chosen]


def study_asked(options: argparse.Namespace, network: NetworkSpec) -> VarySpec | None:
    """What the options vary; None for no study. Raises: SpecError: there is no such axis or point."""
    if options.vary is None:
        return None
    return VarySpec.of_text(options.vary, network, optim_of(options, FullSpec(), network, options.epochs))


def tuning_asked(options: argparse.Namespace, network: type[NetworkSpec] | NetworkSpec) -> TuneSpec | None:
    """How the options ask for rates to be tuned.

    Args:
        options: those of :func:`add_training`.
        network: the network, or its family.

    Raises:
        SpecError: too few or too many rates, or longer training without a search.
    """
    longer: dict[str, int] = {} if options.longer is None else {"longer": options.longer}
    if options.vary is not None:
        if options.tune not in (0, FOUND) or options.longer:
            raise SpecError("--vary finds learning rates at each point: leave --longer and the number of --tune out.")
        return TuneSpec.of()
    if options.tune == FOUND:
        return default_search(network).but(**longer)
    if longer and not options.tune:
        raise SpecError("--longer is for a search: give --tune without a number too.")
    return TuneSpec.of(rates=options.tune, **longer) if options.tune else None
