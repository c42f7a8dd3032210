"""Runs of a method that only a newer version knows are listed and kept, and nobody trains them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from core.errors import SpecError
from core.lab import Lab
from core.run_spec import RunSpec
from core.settings import Settings
from core.store.record import Run
from core.store.run_file import read_run_file
from core.store.search import Query
from tests.conftest import DIGITS, copied, finish, short, wait_until
from tests.pages.test_pages import PAGES, draw
from tests.store.states import insert
from tests.study.samples import RESULT
from tests.text_home import PETS, import_tiny

NEWER = {"kind": "galore", "rank": 8, "gap": [1, 2]}


@pytest.fixture
def settings(settings: Settings, filled_home: Path) -> Settings:
    """With a base and runs that this version has finished."""
    shutil.copytree(filled_home, settings.home)
    return settings


def add_run(lab: Lab, like: RunSpec, changes: dict[str, Any], **row: object) -> Run:
    """A run of a newer version. Args: like: its spec without what that one knows; row: the rest of what is stored."""
    spec = json.dumps(json.loads(like.to_json()) | changes)
    with lab.store.transaction() as db:
        insert(db, spec=spec, base=like.base, bank_key="k", owner=lab.owner, **row)
    return lab.store.run(str(row["id"]))


def add_newer(lab: Lab, like: RunSpec) -> str:
    """Id of a queued run of a newer method."""
    return add_run(lab, like, {"method": NEWER}, id="r-newer", method="galore", state="queued", created=1.0).id


@pytest.fixture
def newer(current_lab: Lab) -> str:
    return add_newer(current_lab, current_lab.store.runs(methods=["full"])[0].spec)


def add_ranking_run(lab: Lab) -> str:
    """Id of a finished run with an objective of a newer version."""
    full = lab.store.runs(methods=["full"])[0]
    objective = {"kind": "ranking", "measure": "hits_at_ten", "within": 0.1, "completions": True}
    result = json.dumps(RESULT.to_dict() | {"hits_at_ten": 1.25, "validation_hits_at_ten": 1.3})
    own = {"id": "r-ranking", "method": "full", "state": "finished", "created": 2.0, "result": result}
    run = add_run(lab, full.spec, {"objective": objective}, **own)
    assert (run.spec.is_known, run.score, run.spec.arm == full.spec.arm) == (False, None, False)
    assert json.loads(run.spec.to_json())["objective"] == objective
    assert run.result is not None
    assert run.result.measures["hits_at_ten"] == 1.25
    return run.id


def test_what_is_newer_is_listed_found_and_shown_on_every_page(current_lab: Lab, newer: str) -> None:
    run = current_lab.store.run(newer)
    assert (run.spec.label, run.spec.is_known, run.spec.base is not None) == ("galore", False, True)
    assert run.spec.arm != current_lab.store.runs(methods=["full"])[0].spec.arm
    assert [entry.run.id for entry in current_lab.search.find(Query(text="galore")).entries] == [newer]
    ranking = add_ranking_run(current_lab)
    for page in PAGES:
        draw(page)
    for id in (newer, ranking):
        draw("runs", run=id)


@pytest.mark.parametrize("base", ["a run", "none", "a network"])
def test_it_waits_while_others_are_trained(current_lab: Lab, tmp_path: Path, base: str) -> None:
    full = current_lab.store.runs(methods=["full"])[0]
    like = pretrain = RunSpec.of(method="pretrain", task=DIGITS, optim=short())
    if base == "a run":
        like = full.spec
    elif base == "a network":
        like = RunSpec.of(method="full", network=import_tiny(current_lab, tmp_path / "tiny"), task=PETS, optim=short())
    newer = add_newer(current_lab, like)
    others = finish(current_lab, *current_lab.launcher.repeat(full.id), current_lab.launcher.launch(pretrain).id)
    assert [run.state for run in others] == ["finished"] * 2
    waits = current_lab.store.run(newer)
    assert (waits.state, waits.step, waits.cause) == ("queued", 0, None)


def test_its_copy_keeps_the_spec_as_it_was(current_lab: Lab, newer: str, tmp_path: Path) -> None:
    wait_until(lambda: copied(current_lab, newer))
    kept = read_run_file(current_lab.settings.runs / newer)
    assert json.loads(kept.row["spec"])["method"] == NEWER


def test_it_cannot_be_launched_or_read_from_a_file(current_lab: Lab, newer: str) -> None:
    with pytest.raises(SpecError, match="has no method 'galore': update it"):
        current_lab.launcher.repeat(newer)
    with pytest.raises(SpecError, match="There is no method 'galore'"):
        RunSpec.from_json(current_lab.store.run(newer).spec.to_json())
