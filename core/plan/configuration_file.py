"""Configurations as JSON files that people can read, edit and share.

What is left out of a file is as in the forms and on the command line: settings of training are those that suit the
method and the network, tasks those of ``preset``. A network that was imported is named by its digest, with its name
beside it, and a dataset by its name: both must be on the machine that reads the file.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from core.data.sources.catalog import Catalog
from core.data.task_spec import TaskSpec
from core.errors import SpecError
from core.methods.method import MethodSpec, Role
from core.methods.pretrain import PretrainSpec
from core.methods.registry import METHODS, methods
from core.networks.library.card import NetworkCard
from core.networks.library.networks import Networks
from core.networks.network import NetworkSpec
from core.networks.registry import FAMILIES
from core.objectives.objective import ObjectiveSpec
from core.objectives.registry import CLASSIFICATION, OBJECTIVES
from core.plan.axes import VarySpec
from core.plan.configuration import ArmSpec, Configuration, objective_for, outputs, with_head
from core.plan.json_part import JsonPart, json_text, placed
from core.plan.new_classes import head_for, pretraining_for
from core.plan.rate_grid import TuneSpec
from core.run_spec import OptimSpec, RunSpec, default_length, default_optim, optim_for
from core.spec import DEVICES, KindSpec, class_of, shortened
from core.study.stats.claims import DEFAULT_SEEDS
from core.tasks.presets import preset_tasks

FORMAT = "lora-lab-experiment"
VERSION = 3
"""Version of the files that are written. In version 1, tuning without a number of rates meant :data:`RATES_1`; before
version 3, no base had new rows unless its file said so."""

WITH_ROWS = 3
"""The first version in which a base has the new rows of :func:`core.plan.new_classes.pretraining_for` by default."""
RATES_1 = 5
HEADS_1 = {"head_rate": None, "weight_decay": 0.01}
"""Defaults of networks with a head in files of version 1."""

MAX_FILE = 2**20
"""Maximum size of a file, in characters."""

OF_BASE = ("network", "task", "optim", "seed", "device", "method")
OF_IMPORTED = ("kind", "weights", "model")
"""What names a network that was imported: the rest is in the library."""
OUTPUTS = "num_classes"
"""Field of a network that a base has of its own; without a base it follows from the task."""
FORGETTING = "forgetting"
"""The task on which that of an imported network is measured; left out where it is not."""
REST = ("seeds", "own_bases", "trim", "device")
"""Fields of a configuration that are in the file as they are."""
TASKS = ("preset", "base", "network", "task", FORGETTING)
KNOWN = ("format", "version", *TASKS, "objective", "optim", "arms", "tune", "vary", *REST)

K = TypeVar("K", bound=KindSpec)

ImportNetwork = Callable[[str], NetworkCard]
"""Brings the network of a name to the library."""


def write_configuration(configuration: Configuration) -> str:
    """The file of a configuration; what all arms are trained with alike stands once, under ``optim``."""
    arms = [_optim_values(arm.optim, configuration.start) for arm in configuration.arms]
    first = arms[0] if arms else {}
    shared = {name: value for name, value in first.items() if all(arm.get(name) == value for arm in arms)}
    base, network = configuration.base, configuration.network
    values: dict[str, Any] = {"format": FORMAT, "version": VERSION}
    if base is not None:
        values["base"] = {
            "network": _network_values(base.network),
            "task": base.task.model_dump(mode="json"),
            "optim": _optim_values(base.optim, base.network),
            "seed": base.seed,
            "device": base.device,
        }
        values["base"]["method"] = _method_values(base.method)
    if network is not None:
        values["network"] = {name: _network_values(network)[name] for name in OF_IMPORTED}
    values["task"] = configuration.task.model_dump(mode="json")
    if configuration.forgetting is not None:
        values[FORGETTING] = configuration.forgetting.model_dump(mode="json")
    if configuration.objective != CLASSIFICATION:
        values["objective"] = _objective_values(configuration.objective)
    values["optim"] = shared
    values["arms"] = [
        {
            "method": arm.method.model_dump(mode="json"),
            "optim": {name: value for name, value in own.items() if name not in shared},
        }
        for arm, own in zip(configuration.arms, arms, strict=True)
    ]
    if configuration.vary is not None:
        values["vary"] = configuration.vary.model_dump(mode="json")
    values["tune"] = None if configuration.tune is None else configuration.tune.model_dump(mode="json")
    values |= {name: configuration.model_dump(mode="json", include={name})[name] for name in REST}
    return json_text(values) + "\n"


def read_configuration(
    content: str | bytes, catalog: Catalog, networks: Networks, bring: ImportNetwork | None = None
) -> Configuration:
    """The configuration in a file.

    Args:
        content: of the file.
        catalog: all datasets.
        networks: the library of networks that were imported.
        bring: called with the name of a network that is not in the library; None where none is imported.

    Raises:
        SpecError: the file is not one of these, a setting is unknown or out of bounds, a dataset or a network is
            missing, or parts contradict each other. The message begins with the place of what is wrong.
    """
    file = JsonPart.of_text(_text(content))
    if file.values.get("format") != FORMAT:
        raise SpecError(f'This is not the file of an experiment: it has no "format": "{FORMAT}".')
    version = file.values.get("version")
    if type(version) is not int or not 1 <= version <= VERSION:  # true and 1.0 are equal to 1
        raise SpecError(
            f"This file has version {shortened(version)}, and this version of LoRA Lab reads "
            f"versions 1 to {VERSION}: update LoRA Lab."
        )
    return _Reading(file.only(KNOWN), catalog, networks, bring).configuration()


def _text(content: str | bytes) -> bytes:
    if len(content) > MAX_FILE:
        raise SpecError(f"This file is larger than {MAX_FILE:,} bytes: no file of an experiment is.")
    text = content.encode("utf-8", "replace") if isinstance(content, str) else content
    if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)):  # 32 LE begins as 16 does
        raise SpecError("This file is not in UTF-8: save it as UTF-8 in your editor.")
    return text


def _optim_values(optim: OptimSpec, network: NetworkSpec) -> dict[str, Any]:
    """All settings of training, also where the rate of a head is that of the method."""
    head = {"head_rate": optim.head_rate} if network.has_head else {}
    return optim.model_dump(mode="json") | head


def _method_values(method: MethodSpec) -> dict[str, Any]:
    """All settings of a method, also where no new rows are wanted."""
    rows = {"new_rows": method.new_rows} if isinstance(method, PretrainSpec) else {}
    return method.model_dump(mode="json") | rows


def _network_values(network: NetworkSpec) -> dict[str, Any]:
    values: dict[str, Any] = network.model_dump(mode="json")
    return values if network.brought is None else {name: values[name] for name in (*OF_IMPORTED, OUTPUTS)}


def _objective_values(objective: ObjectiveSpec) -> dict[str, Any]:
    """An objective with the measure and the margin that hold, also where one of them is the default."""
    values: dict[str, Any] = objective.model_dump(mode="json")
    return values | {"measure": objective.primary.name, "within": objective.margin} if objective.is_known else values


class _Reading:
    """One file that is read."""

    def __init__(self, file: JsonPart, catalog: Catalog, networks: Networks, bring: ImportNetwork | None) -> None:
        self._file = file
        self._catalog = catalog
        self._networks = networks
        self._import = bring

    def configuration(self) -> Configuration:
        file = self._file
        file.require("arms")
        file.part("optim").only(list(OptimSpec.model_fields)).check_numbers(OptimSpec)
        file.check_numbers(Configuration)
        if ("base" in file.values) == ("network" in file.values):
            raise SpecError(
                "An experiment starts from a base, or from a network that was imported: give base or network, not both."
            )
        device = file.values.get("device", DEVICES[0])
        if device not in DEVICES:
            raise SpecError(f"device must be one of {', '.join(DEVICES)}, not {shortened(device)}.")
        objective = self._objective()
        start, task = self._base(device, objective) if "base" in file.values else self._imported()
        network = start.network if isinstance(start, RunSpec) else start
        if isinstance(start, RunSpec):
            network = network.but(whole_head=bool(head_for(network, start.task, task, start.objective)))
        arms = tuple(self._arm(part, network) for part in file.parts("arms"))
        usual = {"rates": RATES_1 if file.values["version"] == 1 else None}
        tune = None if file.values.get("tune") is None else file.part("tune").spec(TuneSpec, usual)
        rest = {name: file.values[name] for name in REST if name in file.values}
        found: dict[str, Any] = {"seeds": tuple(range(DEFAULT_SEEDS)), "task": task, "objective": objective}
        found |= {"base" if isinstance(start, RunSpec) else "network": start, "arms": arms, "tune": tune}
        if file.values.get(FORGETTING) is not None:
            found[FORGETTING] = self._task(file.part(FORGETTING), {"length": task.length})
        found["vary"] = None if file.values.get("vary") is None else file.part("vary").spec(VarySpec)
        return with_head(file.made(Configuration.of, **found | rest))

    def _objective(self) -> ObjectiveSpec:
        """What is learned, with measure and margin; what runs learn by default where the file says nothing."""
        part = self._file.part("objective")
        return part.spec(self._class(part, OBJECTIVES, "objective", CLASSIFICATION.kind))

    def _imported(self) -> tuple[NetworkSpec, TaskSpec]:
        """The network that is fine-tuned as it was imported, and what it learns."""
        part = self._file.part("network")
        network = self._network(part.only(OF_IMPORTED))
        if network.brought is None:
            raise SpecError(f"{part.at('kind')}: only a network that was imported is fine-tuned without a base.")
        if "preset" in self._file.values:
            raise SpecError("preset changes the task of a base, and this file has none: leave it out, and give task.")
        task = self._task(self._file.part("task"), {"length": default_length(network)})
        return self._with_outputs(network, part, task), task

    def _base(self, device: object, objective: ObjectiveSpec) -> tuple[RunSpec, TaskSpec]:
        """The base, and the task that is learned from it."""
        part = self._file.part("base").only(OF_BASE)
        of_network = part.part("network")
        network = self._network(of_network)
        before, after = part.part("task"), self._file.part("task")
        firsts, seconds = self._preset(before, after, network.learns)
        length = {"length": default_length(network)}
        source = self._task(before, firsts | length)
        task = self._task(after, seconds | length)
        network = self._with_outputs(network, of_network, source, task)
        anew = self._file.values["version"] >= WITH_ROWS
        usual = pretraining_for(self._catalog, source, network) if anew else PretrainSpec()
        method = self._method(part, list(methods(Role.BASE).values()), usual)
        optim = part.part("optim").spec(OptimSpec, self._usual(method, network))
        part.check_numbers(RunSpec)
        own = {name: part.values[name] for name in ("seed", "device") if name in part.values}
        fields = {"device": device, "method": method, "network": network, "task": source, "optim": optim}
        fields["objective"] = objective_for(self._catalog, source, network.learns)
        return part.made(RunSpec.of, **fields | own), task

    def _preset(self, before: JsonPart, after: JsonPart, learns: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """What a preset makes of the source and of the target, where the file does not say otherwise."""
        name = self._file.values.get("preset")
        if name is None:
            return {}, {}
        before.require("dataset")
        names = [part.values.get("dataset") for part in (before, after)]
        with placed(self._file.at("preset")):
            if not all(isinstance(each, str) for each in (name, names[0], names[1] or "")):
                raise SpecError("A preset and datasets are given by their names.")
            tasks = preset_tasks(str(name), str(names[0]), self._catalog, names[1] or None, learns=learns)
        return tasks[0].model_dump(), tasks[1].model_dump()

    def _task(self, part: JsonPart, defaults: Mapping[str, Any]) -> TaskSpec:
        if "dataset" not in defaults:
            part.require("dataset")
        task = part.spec(TaskSpec, defaults)
        with placed(part.at("dataset")):
            self._catalog.info(task.dataset)
        return task

    def _network(self, part: JsonPart) -> NetworkSpec:
        family = self._class(part, FAMILIES, "network", FAMILIES[0].name())
        if not family.is_imported:
            return part.spec(family)
        part.only((*OF_IMPORTED, OUTPUTS))
        with placed(part.place):
            return self._networks.spec(self._card(part).digest, learns=family.learns)

    def _card(self, part: JsonPart) -> NetworkCard:
        """The network of a digest, or of a name where there is no digest."""
        digest, name = (part.values.get(field, "") for field in ("weights", "model"))
        if not isinstance(digest, str) or not isinstance(name, str) or not (digest or name):
            raise SpecError("weights is the digest of a network that was imported, and model its name: give one.")
        known = {card.digest: card for card in self._networks.list()}
        found = known.get(digest) if digest else self._networks.find(name)
        if found is None and self._import is not None and name:
            found = self._import(name)
        if found is None:
            title = shortened(name) if name else shortened(digest[:12])
            raise SpecError(f"The network {title} is not in this library: import it on the Networks page.")
        if digest and found.digest != digest:
            raise SpecError(
                f"{shortened(name)} has other files now, {found.digest[:12]}, than this experiment, "
                f"{shortened(digest[:12])}: leave weights out to use them."
            )
        return found

    def _with_outputs(self, network: NetworkSpec, part: JsonPart, *tasks: TaskSpec) -> NetworkSpec:
        """The network with as many outputs as the file says, or else as the tasks need."""
        part.check_numbers(type(network))
        count = part.values.get(OUTPUTS, outputs(self._catalog, network.learns, *tasks))
        found = part.made(network.but, num_classes=count)
        with placed(part.place):
            for task in tasks:
                objective_for(self._catalog, task, network.learns).check_outputs(found.num_classes)
        return found

    def _arm(self, part: JsonPart, network: NetworkSpec) -> ArmSpec:
        part.only(list(ArmSpec.model_fields)).require("method")
        method = self._method(part, [each for each in METHODS if each.role is not Role.BASE])
        own = part.part("optim")
        optim = own.spec(OptimSpec, self._usual(method, network), self._file.part("optim"))
        optim = optim if "head_rate" in own.values else optim_for(method, optim)
        return part.made(ArmSpec.of, method=method, optim=optim)

    def _usual(self, method: MethodSpec, network: NetworkSpec) -> dict[str, Any]:
        """Settings of training that a file leaves out."""
        earlier = HEADS_1 if self._file.values["version"] == 1 and network.has_head else {}
        return default_optim(method, network).model_dump() | earlier

    def _method(self, part: JsonPart, known: Sequence[type[MethodSpec]], usual: MethodSpec | None = None) -> MethodSpec:
        """The method of an arm or a base: the name of a kind, or a kind with settings; ``usual`` if left out."""
        value = part.values.get("method", usual.kind if usual else None)
        own = JsonPart.of_value({"kind": value} if isinstance(value, str) else value, part.at("method"))
        method = self._class(own, known, "method")
        return own.spec(method, usual.model_dump() if usual and isinstance(usual, method) else None)

    def _class(self, part: JsonPart, known: Sequence[type[K]], what: str, usual: object = None) -> type[K]:
        """The class of the kind that an object has."""
        kind = part.values.get("kind", usual)
        with placed(part.at("kind")):
            if not isinstance(kind, str):
                article = "an" if what[0] in "aeiou" else "a"
                raise SpecError(f"The kind of {article} {what} is given by its name.")
            return class_of(kind, known, what)
