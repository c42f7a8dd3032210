"""Configurations as JSON files that people can read, edit and share.

What is left out of a file is as in the forms and on the command line: settings of training are those that suit the
method and the network, tasks those of ``preset``. A network that was imported is named by its digest, with its name
beside it, and a dataset by its name: both must be on the machine that reads the file.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from core.data.sources.catalog import Catalog
from core.data.task_spec import TaskSpec
from core.errors import JsonError, LabError, SpecError
from core.methods.method import MethodSpec, Role
from core.methods.pretrain import PretrainSpec
from core.networks.library.card import NetworkCard
from core.networks.library.networks import Networks
from core.networks.network import NetworkSpec
from core.networks.registry import FAMILIES
from core.objectives.registry import CLASSIFICATION
from core.plan.configuration import ArmSpec, Configuration, objective_for, outputs, with_head
from core.plan.experiment import head_for, pretraining_for
from core.reader.json_text import json_value
from core.results.intervals import DEFAULT_SEEDS
from core.run_spec import OptimSpec, RunSpec, default_length, default_optim, default_training, optim_for
from core.spec import class_of, shortened, shown_name
from core.tasks.presets import preset_tasks

FORMAT = "lora-lab-experiment"
VERSION = 3

MAX_FILE = 2**20
"""Maximum size of a file, in characters."""

OF_BASE = ("network", "task", "optim", "seed", "device", "method")
OF_IMPORTED = ("kind", "weights", "model")
"""What names a network that was imported: the rest is in the library."""
OUTPUTS = "num_classes"
"""Field of a network that a base has of its own; without a base it follows from the task."""
ASKED = tuple(name for name in Configuration.model_fields if name != "head")
"""Fields of a configuration that are in a file; the head's training follows from base and task."""
KNOWN = ("format", "version", "preset", "optim", *ASKED)

ImportNetwork = Callable[[str], NetworkCard]
"""Brings the network of a name to the library."""


def write_configuration(configuration: Configuration) -> str:
    """The file of a configuration, with every setting that a default could change."""
    asked = configuration.model_dump(mode="json", include=set(ASKED))
    values: dict[str, Any] = {"format": FORMAT, "version": VERSION}
    values |= {name: value for name, value in asked.items() if value is not None or name == "tune"}
    if configuration.base is not None:
        base = configuration.base
        values["base"] = {name: values["base"][name] for name in OF_BASE}
        values["base"] |= {"network": _network_values(base.network), "optim": _optim_values(base.optim, base.network)}
        if isinstance(base.method, PretrainSpec):
            values["base"]["method"]["new_rows"] = base.method.new_rows
    if configuration.network is not None:
        values["network"] = {name: values["network"][name] for name in OF_IMPORTED}
    for arm, written in zip(configuration.arms, values["arms"], strict=True):
        written["optim"] = _optim_values(arm.optim, configuration.start)
    objective = configuration.objective
    if objective == CLASSIFICATION:
        del values["objective"]
    else:
        values["objective"] |= {"measure": objective.primary.name, "within": objective.margin}
    return json.dumps(values, ensure_ascii=False, indent=2) + "\n"


def _optim_values(optim: OptimSpec, network: NetworkSpec) -> dict[str, Any]:
    """All settings of training, also where the rate of a head is that of the method."""
    head = {"head_rate": optim.head_rate} if network.has_head else {}
    return optim.model_dump(mode="json") | head


def _network_values(network: NetworkSpec) -> dict[str, Any]:
    values: dict[str, Any] = network.model_dump(mode="json")
    return values if network.brought is None else {name: values[name] for name in (*OF_IMPORTED, OUTPUTS)}


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
    try:
        file = _object(json_value(_text(content), unique=True))
    except JsonError as error:
        raise SpecError(f"This is {error}.") from error
    if file.get("format") != FORMAT:
        raise SpecError(f'This is not the file of an experiment: it has no "format": "{FORMAT}".')
    version = file.get("version")
    if type(version) is not int or version != VERSION:  # 3.0 is equal to 3
        step = "write it anew" if version in range(VERSION) else "update LoRA Lab"
        raise SpecError(
            f"This file has version {shortened(version)}, and this version of LoRA Lab reads version {VERSION}: {step}."
        )
    try:
        values = _Filling(catalog, networks, bring).filled(_only(file, KNOWN))
        found = Configuration.of(**values)
        _check_numbers(values, found.model_dump())
        return with_head(found)
    except SpecError as error:
        raise SpecError(": ".join(filter(None, (_shown(error.place), str(error))))) from error


def _text(content: str | bytes) -> bytes:
    if len(content) > MAX_FILE:
        raise SpecError(f"This file is larger than {MAX_FILE:,} bytes: no file of an experiment is.")
    text = content.encode("utf-8", "replace") if isinstance(content, str) else content
    if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)):  # 32 LE begins as 16 does
        raise SpecError("This file is not in UTF-8: save it as UTF-8 in your editor.")
    return text


class _Filling:
    """Completes a file with what it leaves out; what it says stays as it is, for the configuration to validate."""

    def __init__(self, catalog: Catalog, networks: Networks, bring: ImportNetwork | None) -> None:
        self._catalog, self._networks, self._import = catalog, networks, bring

    def filled(self, file: dict[str, Any]) -> dict[str, Any]:
        """The fields of a configuration. Args: file: all settings in the file."""
        if ("base" in file) == ("network" in file):
            raise SpecError(
                "An experiment starts from a base, or from a network that was imported: give base or network, not both."
            )
        values: dict[str, Any] = {"seeds": range(DEFAULT_SEEDS), **{name: file[name] for name in ASKED if name in file}}
        network = self._base(file, values) if "base" in file else self._imported(file, values)
        if isinstance(file.get("objective"), dict):
            values["objective"] = {"kind": CLASSIFICATION.kind, **file["objective"]}
        if file.get("forgetting") is not None:
            with _within("forgetting"):
                values["forgetting"] = {"length": values["task"]["length"], **_object(file["forgetting"])}
                self._task(values["forgetting"])
        if isinstance(file.get("arms"), list):
            shared = _part(file, "optim")
            values["arms"] = [_arm(number, arm, network, shared) for number, arm in enumerate(file["arms"])]
        return values

    def _imported(self, file: dict[str, Any], values: dict[str, Any]) -> NetworkSpec:
        """Fill in a network that is fine-tuned as it was imported, and what it learns; return the network."""
        if "preset" in file:
            raise SpecError("preset changes the task of a base, and this file has none: leave it out, and give task.")
        with _within("network"):
            network = self._network(_only(_object(file["network"]), OF_IMPORTED))
            if network.brought is None:
                raise SpecError("Only a network that was imported is fine-tuned without a base.", ("kind",))
        values["task"] = {"length": default_length(network), **_part(file, "task")}
        with _within("task"):
            task = self._task(values["task"])
        with _within("network"):
            network = self._with_outputs(network, {}, task)
        values["network"] = network.model_dump()
        return network

    def _base(self, file: dict[str, Any], values: dict[str, Any]) -> NetworkSpec:
        """Fill in a base, and the task that is learned from it; return the network as it is fine-tuned."""
        with _within("base"):
            base = _only(dict(_object(file["base"])), OF_BASE)
            given = _part(base, "network")
            with _within("network"):
                network = self._network(given)
            source_given = _part(base, "task")
        sources, targets = self._preset(file.get("preset"), source_given, _part(file, "task"), network.learns)
        length = {"length": default_length(network)}
        base["task"], values["task"] = length | sources, length | targets
        with _within("base", "task"):
            source = self._task(base["task"])
        with _within("task"):
            task = self._task(values["task"])
        with _within("base", "network"):
            network = self._with_outputs(network, given, source, task)
        usual = pretraining_for(self._catalog, source, network)
        with _within("base"):
            if base.get("method", usual.kind) == usual.kind or _part(base, "method").get("kind") == usual.kind:
                own = base.get("method", {})
                base["method"] = (
                    usual.model_dump() | {"new_rows": usual.new_rows} | ({} if isinstance(own, str) else own)
                )
            base["optim"] = default_optim(usual, network).model_dump() | _part(base, "optim")
            base = {"device": file.get("device", "auto"), **base}
            objective = objective_for(self._catalog, source, network.learns)
            RunSpec.of(**base | {"network": network, "objective": objective})
        values["base"] = base | {"network": network.model_dump() | given, "objective": objective.model_dump()}
        return network.but(whole_head=bool(head_for(network, source, task, objective)))

    def _preset(
        self, name: object, before: dict[str, Any], after: dict[str, Any], learns: str
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Source and target, each as a preset makes it where the file does not say otherwise."""
        if name is None:
            return before, after
        with _within("preset"):
            names = [name, before.get("dataset", ""), after.get("dataset") or ""]
            if not all(isinstance(each, str) for each in names):
                raise SpecError("A preset and datasets are given by their names.")
            tasks = preset_tasks(str(name), names[1], self._catalog, names[2] or None, learns=learns)
        return tasks[0].model_dump() | before, tasks[1].model_dump() | after

    def _task(self, values: dict[str, Any]) -> TaskSpec:
        if "dataset" not in values:
            raise SpecError("A dataset is missing.", ("dataset",))
        task = TaskSpec.of(**values)
        with _within("dataset"):
            self._catalog.info(task.dataset)
        return task

    def _network(self, values: dict[str, Any]) -> NetworkSpec:
        with _within("kind"):
            family = class_of(values.get("kind", FAMILIES[0].name()), FAMILIES, "network")
        if not family.is_imported:
            return family.of(**values)
        card = self._card(_only(values, (*OF_IMPORTED, OUTPUTS)))
        return self._networks.spec(card.digest, learns=family.learns)

    def _card(self, values: dict[str, Any]) -> NetworkCard:
        """The network of a digest, or of a name where there is no digest."""
        digest, name = (values.get(field, "") for field in ("weights", "model"))
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

    def _with_outputs(self, network: NetworkSpec, values: dict[str, Any], *tasks: TaskSpec) -> NetworkSpec:
        """The network with as many outputs as the file says, or else as the tasks need."""
        count = values.get(OUTPUTS, outputs(self._catalog, network.learns, *tasks))
        found = network.but(num_classes=count)
        for task in tasks:
            objective_for(self._catalog, task, network.learns).check_outputs(found.num_classes)
        return found


def _arm(number: int, arm: object, network: NetworkSpec, shared: dict[str, Any]) -> dict[str, Any]:
    """An arm with all its settings of training. Args: number: its place; shared: settings of all arms."""
    with _within("arms", number):
        values = _object(arm)
        if "method" not in values:
            raise SpecError("A method is missing.", ("method",))
        method: MethodSpec = ArmSpec.of(method=values["method"], optim=default_training(network)).method
        if method.role is Role.BASE:
            raise SpecError(f"A base is trained by {method.kind}, and an arm by another method.", ("method",))
        own = _part(values, "optim")
        optim = default_optim(method, network).model_dump() | shared | own
        with _within("optim"):
            found = OptimSpec.of(**optim)
        return {
            **values,
            "optim": optim if "head_rate" in own else optim | {"head_rate": optim_for(method, found).head_rate},
        }


@contextmanager
def _within(*names: str | int) -> Iterator[None]:
    """Put these names before the place of an error. Raises: SpecError."""
    try:
        yield
    except LabError as error:
        inner = error.place if isinstance(error, SpecError) else ()
        raise SpecError(str(error), (*names, *inner)) from error


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SpecError(f"This must be an object in braces, not {shortened(value)}.")
    return value


def _part(values: dict[str, Any], name: str) -> dict[str, Any]:
    """The object under a name; an empty one where it is left out."""
    with _within(name):
        return _object(values.get(name, {}))


def _only(values: dict[str, Any], known: Collection[str]) -> dict[str, Any]:
    """The values themselves. Raises: SpecError: one has another name than these."""
    for name in values:
        if name not in known:
            raise SpecError(f"{shown_name(name)} is not a setting; known here: {', '.join(known)}.", (name,))
    return values


def _check_numbers(given: Any, found: Any, place: tuple[str | int, ...] = ()) -> None:
    """Check that true and false stand for no number, which pydantic would read as 1 and 0.

    Raises:
        SpecError: one does.
    """
    if isinstance(given, bool) and type(found) in (int, float):
        raise SpecError(f"This must be a number, not {given}.", place)
    if isinstance(given, dict) and isinstance(found, dict):
        for name in given.keys() & found.keys():
            _check_numbers(given[name], found[name], (*place, name))
    if isinstance(given, list) and isinstance(found, list | tuple):
        for number, (one, other) in enumerate(zip(given, found, strict=True)):
            _check_numbers(one, other, (*place, number))


def _shown(place: tuple[str | int, ...]) -> str:
    """A place as it is written in Python, such as ``arms[1].optim.learning_rate``."""
    where = ""
    for name in place:
        where += f"[{name}]" if isinstance(name, int) else f".{shown_name(name)}" if where else shown_name(name)
    return where
