"""What is answered of each experiment and of each table of judged results in a home folder, by their names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.cli.as_json import as_json
from core.cli.judge import judged_as_json
from core.lab import Lab
from core.settings import Settings
from core.study.report.answer import answer_before, bases_of, offered_adapter
from core.study.report.judged import judged_evidence

PLACES = ("adapter", "weights", "network")
"""Paths of files: a home of answers has none."""

WORDS = ("sentence", "reason", "withheld", "line", "carries")
"""Sentences, which are asserted where they are made: here are the numbers."""


def answers_of(home: Path) -> dict[str, Any]:
    """The object that ``--json`` prints of everything that can be asked, the answers of before the last launch, and the
    run whose adapter is offered first.
    """
    lab = Lab(Settings(home))
    try:
        found: dict[str, Any] = {}
        for experiment in sorted(lab.store.experiments(), key=lambda each: each.created):
            members = lab.store.members(experiment)
            bases = lab.store.runs_of(bases_of(members))
            before = answer_before(lab, experiment, members)
            found[experiment.id] = {
                "name": experiment.name,
                "answer": _numbers_of(as_json(lab, experiment, bases, members)),
                "before": None if before is None else [row.id for row in before.rows],
                "looks": [
                    {"seeds": look.seeds, "level": look.level, "account": look.account, "claims": look.claims}
                    for look in lab.looks.of(experiment.id)
                ],
            }
        for judged in lab.judged.list():
            found[judged.id] = {
                "name": judged.name,
                "answer": _numbers_of(judged_as_json(judged_evidence(lab, judged))),
            }
        offered = offered_adapter(lab)
        return {"offered": offered and offered.id, "found": found}
    finally:
        lab.close()


def _numbers_of(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _numbers_of(own) for name, own in value.items() if name not in (*PLACES, *WORDS)}
    return [_numbers_of(own) for own in value] if isinstance(value, list) else value
