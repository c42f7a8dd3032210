"""Runs of a method that only a newer version knows are listed and kept, and nobody trains them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import SpecError
from core.lab import Lab, close_lab, open_lab
from core.run_spec import RunSpec
from core.settings import Settings
from core.store.run_file import read_run_file
from core.store.search import Query
from tests.conftest import DIGITS, copied, finish, short, wait_until
from tests.pages.test_pages import PAGES, draw
from tests.study.samples import RESULT
from tests.text_home import PETS, import_tiny

NEWER = {"kind": "galore", "rank": 8, "gap": [1, 2]}


@pytest.fixture
def opened(settings: Settings, filled_home: Path) -> Iterator[Lab]:
    """With a base and runs that this version has finished."""
    shutil.copytree(filled_home, settings.home)
    yield open_lab(settings)
    close_lab()


@pytest.fixture
def newer(opened: Lab) -> str:
    """Id of a queued run of a newer version."""
    full = opened.runs(methods=["full"])[0].spec
    spec = json.dumps(json.loads(full.to_json()) | {"method": NEWER})
    with opened.store.transaction() as db:
        db.execute(
            "INSERT INTO runs (id, spec, method, base, bank_key, state, owner, created)"
            " VALUES ('r-newer', ?, 'galore', ?, 'k', 'queued', ?, 1.0)",
            (spec, full.base, opened.owner),
        )
    return "r-newer"


def add_ranking_run(lab: Lab) -> str:
    """Id of a finished run with an objective of a newer version."""
    full = lab.runs(methods=["full"])[0]
    objective = {"kind": "ranking", "measure": "hits_at_ten", "within": 0.1, "completions": True}
    spec = json.dumps(json.loads(full.spec.to_json()) | {"objective": objective})
    result = json.dumps(RESULT.to_dict() | {"hits_at_ten": 1.25, "validation_hits_at_ten": 1.3})
    with lab.store.transaction() as db:
        db.execute(
            "INSERT INTO runs (id, spec, method, base, bank_key, state, owner, created, result)"
            " VALUES ('r-ranking', ?, 'full', ?, 'k', 'finished', ?, 2.0, ?)",
            (spec, full.spec.base, lab.owner, result),
        )
    run = lab.run("r-ranking")
    assert (run.spec.is_known, run.score, run.spec.arm == full.spec.arm) == (False, None, False)
    assert json.loads(run.spec.to_json())["objective"] == objective
    assert run.result is not None
    assert run.result.measures["hits_at_ten"] == 1.25
    return run.id


def test_what_is_newer_is_listed_found_and_shown_on_every_page(opened: Lab, newer: str) -> None:
    run = opened.run(newer)
    assert (run.spec.label, run.spec.is_known, run.spec.base is not None) == ("galore", False, True)
    assert run.spec.arm != opened.runs(methods=["full"])[0].spec.arm
    assert [entry.run.id for entry in opened.search.find(Query(text="galore")).entries] == [newer]
    ranking = add_ranking_run(opened)
    for page in PAGES:
        draw(page)
    for id in (newer, ranking):
        draw("runs", run=id)


def test_it_waits_while_others_are_trained(opened: Lab, newer: str) -> None:
    other = opened.repeat(opened.runs(methods=["full"])[0].id)
    assert finish(opened, *other)[0].state == "finished"
    assert (opened.run(newer).state, opened.run(newer).step) == ("queued", 0)


@pytest.mark.parametrize("direct", [True, False])
def test_one_without_a_base_waits_as_well(opened: Lab, tmp_path: Path, direct: bool) -> None:
    pretrain = RunSpec.of(method="pretrain", task=DIGITS, optim=short())
    own = pretrain
    if direct:
        own = RunSpec.of(method="full", network=import_tiny(opened, tmp_path / "tiny"), task=PETS, optim=short())
    spec = json.dumps(json.loads(own.to_json()) | {"method": NEWER})
    with opened.store.transaction() as db:
        db.execute(
            "INSERT INTO runs (id, spec, method, base, bank_key, state, owner, created)"
            " VALUES ('r-newer', ?, 'galore', NULL, 'k', 'queued', ?, 1.0)",
            (spec, opened.owner),
        )
    assert finish(opened, opened.launch(pretrain).id)[0].state == "finished"
    assert (opened.run("r-newer").state, opened.run("r-newer").cause) == ("queued", None)


def test_its_copy_keeps_the_spec_as_it_was(opened: Lab, newer: str, tmp_path: Path) -> None:
    wait_until(lambda: copied(opened, newer))
    kept = read_run_file(opened.settings.runs / newer)
    assert json.loads(kept.row["spec"])["method"] == NEWER


def test_it_cannot_be_launched_or_read_from_a_file(opened: Lab, newer: str) -> None:
    with pytest.raises(SpecError, match="has no method 'galore': update it"):
        opened.repeat(newer)
    with pytest.raises(SpecError, match="There is no method 'galore'"):
        RunSpec.from_json(opened.run(newer).spec.to_json())
