"""The method of docs/extending.md, which only this test registers, is trained and shown like the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest
import torch
from pydantic import Field
from torch import nn

from core.engine.jobs.run_files import NETWORK
from core.errors import SpecError
from core.lab import Lab, close_lab, open_lab
from core.methods.full import FullSpec
from core.methods.linear import is_linear
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec, Role
from core.methods.registry import METHODS, methods
from core.networks.file import read_network
from core.results.arm import arms_of
from core.results.row import rows_of
from core.results.setting import setting_of
from core.run_spec import RunSpec, default_rate
from core.settings import Settings
from core.store.record import Experiment
from core.study.figures.palette import NEUTRAL, colour_of
from tests.conftest import DIGITS, TURNED, compared, finish, short
from tests.docs.examples import example
from tests.pages.test_pages import draw, texts
from tests.registered import with_entry

NAMES = {"Literal": Literal, "torch": torch, "nn": nn, "Field": Field, "is_linear": is_linear}
NAMES |= {"MethodSpec": MethodSpec, "Role": Role, "__name__": "top"}
exec(compile(example("a method"), "docs/extending.md", "exec", dont_inherit=True), NAMES)
TopSpec: type[MethodSpec] = NAMES["TopSpec"]
"""The class that the page defines."""


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with with_entry(METHODS, TopSpec):
        yield open_lab(Settings(home=tmp_path_factory.mktemp("home")))
        close_lab()


@pytest.fixture(scope="module")
def experiment(opened: Lab) -> Experiment:
    """Once its runs have ended."""
    settings = [
        (short(rate=0.001), FullSpec()),
        (short(), LoRASpec.of()),
        (short(rate=0.002), TopSpec()),
        (short(rate=0.002), TopSpec.of(layers=1)),
    ]
    found = compared(opened, "rotation-45", "digits", None, short(), settings, [0, 1])
    finish(opened, *found.runs)
    return found


def test_what_only_this_test_registers_is_unknown_before() -> None:
    with pytest.raises(SpecError, match="There is no method 'top'"):
        RunSpec.of(method="top", base="b", source=DIGITS, task=TURNED)


def test_it_is_trained_alone_and_changes_what_it_says(opened: Lab, experiment: Experiment) -> None:
    runs = opened.store.members(experiment)
    assert {(run.state, run.cause) for run in runs} == {("finished", None)}
    assert len(arms_of(rows_of(runs))) == 4
    for run in runs:
        if run.spec.kind == "top":
            before = read_network(opened.artifacts.base(run)).state_dict()
            after = read_network(opened.artifacts.path(run.id, NETWORK)).state_dict()
            changed = {name.rpartition(".")[0] for name in before if not torch.equal(before[name], after[name])}
            assert changed == ({"layers.2", "layers.4"} if run.spec.method == TopSpec() else {"layers.4"})
            assert run.result.bank == 1
            assert run.spec == RunSpec.from_json(run.spec.to_json())


def test_pages_show_it(opened: Lab, experiment: Experiment) -> None:
    assert "Top two" in draw("new").pills(key="new-controls").options
    assert "only the last two layers" in str(draw("new").pills(key="new-controls").help)
    assert "Top two, layers 2" in texts(draw("experiment"))
    assert colour_of(setting_of(opened.store.members(experiment)[-1].spec)) != NEUTRAL
    assert "top" in methods(Role.CONTROL)
    assert default_rate(TopSpec) == 0.002
