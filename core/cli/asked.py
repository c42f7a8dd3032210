"""What the options of ``compare`` ask for together: datasets and objective, and which options contradict each other."""

from __future__ import annotations

import argparse

from core.cli.texts import CONTINUED, EVERYTHING
from core.cli.training import FOUND
from core.data.dataset import LANGUAGE
from core.data.sources.catalog import Catalog
from core.errors import SpecError
from core.methods.method import Role, own_fields
from core.methods.registry import methods
from core.networks.library.place import KNOWN
from core.networks.network import NetworkSpec
from core.networks.registry import FAMILIES, families_for
from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import CLASSIFICATION, OBJECTIVES, measures_by_name, objective_of
from core.plan.axes import AXES
from core.spec import bounds
from core.wording.tasks import noun

FIRST = KNOWN[0].name
"""The network that sentences give as an example."""


OPTIONS = {"target_modules": "--targets"}
"""Options of fields that are not called as the fields are."""

ANSWERING = ("--report", "--json")
"""Options that say how to answer."""

BESIDE_CONFIG = ("--home", "--device", "--tune", *ANSWERING)
"""Options that ``--config`` takes beside it: where and how to train and to answer, and to find the learning rates."""


def check_consistent(options: argparse.Namespace) -> None:
    """Check options that say something about each other, before anything is read.

    Raises:
        SpecError: two of them contradict each other, and the message says which one to leave out; or the margin is out
            of bounds for the measure.
    """
    if options.config is not None:
        other = next((flag for flag in options.given if flag not in ("--config", *BESIDE_CONFIG)), None)
        if other is not None:
            raise SpecError(f"The file of --config says what is trained: change it there, and leave {other} out.")
        if options.tune not in (0, FOUND):
            raise SpecError("Beside --config, --tune searches for the learning rates: leave its number out.")
    if options.save_config is not None:
        other = next((flag for flag in options.given if flag in ANSWERING), None)
        if other is not None:
            raise SpecError(f"--save-config trains nothing: leave {other} out.")
    varied = next((axis for axis in AXES if options.vary and axis.name == options.vary.partition("=")[0].strip()), None)
    flag = OPTIONS.get(varied.replaces, f"--{varied.replaces.replace('_', '-')}") if varied is not None else ""
    if varied is not None and flag in options.given:
        raise SpecError(f"--vary {varied.name} says what each point has: leave {flag} out.")
    adapters = methods(Role.ADAPTER)
    for kind, method in adapters.items():
        if f"--lr-{kind}" in options.given and kind not in options.adapters:
            raise SpecError(f"--lr-{kind} is a rate of {method.title}: add {kind} to --adapters, or leave it out.")
    objective_asked(options)
    for field in own_fields(adapters.values()):
        kinds = [method.name() for method in field.methods]
        if f"--{field.key.replace('_', '-')}" in options.given and not set(kinds) & set(options.adapters):
            others = " or ".join(kinds)
            raise SpecError(f"--{field.key} is a setting of {others}: add {others} to --adapters, or leave it out.")
    direct = "--data" if options.data is not None else "--direct" if options.direct else ""
    columns = [flag for flag in ("text", "label", "part", *CONTINUED) if getattr(options, flag) is not None]
    if columns and options.data is None:
        raise SpecError(f"--{columns[0]} names a column of a file: name the file with --data.")
    continued = next((flag for flag in (*(f"--{key}" for key in CONTINUED), EVERYTHING) if flag in options.given), None)
    if continued is not None and options.objective != LANGUAGE:
        raise SpecError(f"{continued} is for texts to continue: give --objective {LANGUAGE}, or leave it out.")
    if options.label is not None and options.objective == LANGUAGE:
        raise SpecError("--label names the column of classes, and texts are continued without: leave it out.")
    if direct and options.network is None:
        raise SpecError(f"{direct} fine-tunes a network that has weights: name one, as in --network {FIRST}.")
    if options.data is not None and options.target is not None:
        raise SpecError("--data is what the network learns, and so is --target: leave one of them out.")
    if options.forgetting is not None and (not direct or options.objective != LANGUAGE):
        raise SpecError(
            "--forgetting is for a language model that is fine-tuned as it was imported: give --objective "
            f"{LANGUAGE} with --direct or --data, or leave it out."
        )
    for flag, given in {
        "--source": options.source is not None,
        "--preset": options.preset is not None,
        "--pretrain-epochs": options.pretrain_epochs is not None,
        "--vary-bases": options.vary_bases,
    }.items():
        if direct and given:
            instead = ", and use --shots for few examples" if options.preset == "ten-shot" else ""
            raise SpecError(f"{direct} fine-tunes the network without a source: leave {flag} out{instead}.")


def dataset_names(catalog: Catalog, options: argparse.Namespace) -> tuple[str, str | None]:
    """The source and the target that the options ask for.

    Args:
        catalog: all datasets.
        options: consistent ones.

    Returns:
        The source, empty for a network that is fine-tuned as it is; and the target, None where it follows from the
        source or is the file of ``--data``.

    Raises:
        DatasetError: there is no such dataset.
        SpecError: one is of a kind that the network does not learn, or has no texts to be cut.
    """
    source: str | None = options.source
    target: str | None = options.target
    kind = family_of(options).learns
    if options.forgetting is not None:
        check_kind(catalog, options.network, options.forgetting, kind)
    if options.data is not None:
        return "", None
    if options.direct:
        source, target = "", target or catalog.best(kind)
    elif source is None:
        source = catalog.best(kind if options.network is not None or kind == LANGUAGE else "")
    for name in filter(None, (source, target)):
        check_kind(catalog, options.network, name, kind)
        own = catalog.info(name, kind).kind
        if options.length is not None and own not in ("text", LANGUAGE):
            raise SpecError(f"--length is for texts, but {name} has {own}s: leave it out.")
    return source, target


def family_of(options: argparse.Namespace) -> type[NetworkSpec]:
    """The first family of networks that learn the objective: of those with weights if the options name one."""
    continues = getattr(options, "objective", CLASSIFICATION.kind) == LANGUAGE
    found = (family for family in FAMILIES if (family.learns == LANGUAGE) == continues)
    return next(family for family in found if family.is_imported == (options.network is not None))


def check_kind(catalog: Catalog, network: str | None, dataset: str, learns: str = "") -> None:
    """Check that a dataset is of the kind that a network learns.

    Args:
        catalog: all datasets.
        network: the name of one with weights; None for one that is made for the data.
        dataset: name of the dataset.
        learns: kind of data that the objective is for, where that is language.

    Raises:
        DatasetError: there is no such dataset.
        SpecError: it is of another kind.
    """
    kind = catalog.info(dataset, learns).kind
    if LANGUAGE in (kind, learns):
        if kind == learns:
            return
        if kind == LANGUAGE:
            raise SpecError(f"{dataset} has texts to continue: give --objective language, or name another dataset.")
        raise SpecError(
            f"{dataset} has {noun(kind)}, and language is learned from texts: name a dataset of texts such as "
            f"{catalog.best(LANGUAGE)}."
        )
    learned = {family.learns for family in FAMILIES if family.is_imported and family.learns != LANGUAGE}
    if network is not None and kind not in learned:
        wanted = next(iter(learned))
        raise SpecError(
            f"{network} reads {wanted}s, but {dataset} has {kind}s: leave --network out, or name a dataset of "
            f"{wanted}s such as {catalog.best(wanted)}."
        )
    if network is None and all(family.is_imported for family in families_for(kind)):
        raise SpecError(f"{dataset} has {kind}s: name a network that reads them, as in --network {FIRST}.")


def add_objective(parser: argparse._ActionsContainer) -> None:
    """Add the options."""
    lines = ", ".join(f"{objective.title} ({objective.name()})" for objective in OBJECTIVES)
    parser.add_argument(
        "--objective",
        choices=[objective.name() for objective in OBJECTIVES],
        default=CLASSIFICATION.kind,
        help=f"what is learned: {lines} (default: %(default)s)",
    )
    known = measures_by_name()
    about = bounds(ObjectiveSpec, "measure")
    parser.add_argument(
        "--measure",
        choices=list(known),
        help=f"{about.title}: {about.description} (default: {CLASSIFICATION.primary.name})".replace("%", "%%"),
    )
    about = bounds(ObjectiveSpec, "within")
    limits = "; ".join(
        " ".join(filter(None, [f"of {name}: 0 to {measure.max_margin:g}", measure.difference_unit]))
        + f", default {measure.margin:g}"
        for name, measure in known.items()
    )
    parser.add_argument(
        "--within", type=float, metavar="X", help=f"{about.title}: {about.description} ({limits})".replace("%", "%%")
    )


def objective_asked(options: argparse.Namespace) -> ObjectiveSpec:
    """The objective that the options ask for. Raises: SpecError: the margin is out of bounds for the measure."""
    return objective_of(options.objective).but(measure=options.measure or "", within=options.within)
