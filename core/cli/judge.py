"""``python -m core judge``: the verdict on results that others report."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from core.cli.as_json import comparison_as_json
from core.cli.comparison import print_answer, print_sections, save_report
from core.cli.options import add_home, add_output, check_output, opened_lab
from core.judge.reading import Reading
from core.judge.results import gather
from core.judge.sources import SOURCES, given
from core.lab import Lab
from core.spec import bounds
from core.store.judged import Judged
from core.study.arms.tables import plain_table
from core.study.report.judged import (
    JudgedEvidence,
    carried,
    judged_evidence,
    judged_report,
    judged_warnings,
    keep_results,
    network_sentences,
    networks_table,
)
from core.study.report.sections import measured_table
from core.study.report.shown import Shown

KEPT = "Nothing was kept of results that had not been judged."


def judge_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    sources = " ".join(f"{title}: {line}" for title, line in SOURCES.items())
    parser.description = (
        "Read results that other tools wrote, ask what does not fit, and give the verdict by the rule for "
        f"our own experiments. {sources}"
    )
    parser.set_defaults(command=judge, kept=KEPT)
    parser.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="tables, folders of the Trainer, a SQLite file of MLflow, and files beside them",
    )
    parser.add_argument("--name", help="of the results (default: the name of the first file)")
    parser.add_argument("--note", help="what to know of the results, to be kept with them")
    parser.add_argument("--into", metavar="ID", help="add the files to judged results, which is a further look at them")
    for name, about in Reading.model_fields.items():
        kind = about.annotation
        described = bounds(Reading, name).description.replace("%", "%%")
        more: dict[str, Any] = {}
        if get_origin(kind) is Literal:
            more["choices"] = [choice for choice in get_args(kind) if choice]
        elif name == "settings":
            more |= {"nargs": "+", "metavar": "COLUMN"}
        elif name in ("within", "examples"):
            more |= {"type": float if name == "within" else int, "metavar": "N"}
        parser.add_argument(f"--{name.replace('_', '-')}", dest=f"read_{name}", help=described, **more)
    add_home(parser)
    add_output(parser)


def judge(options: argparse.Namespace) -> int:
    """Read the files, keep the results, and print the verdict."""
    check_output(options)
    with opened_lab(options) as lab:
        judged = kept(lab, options)
        evidence = judged_evidence(lab, judged)
        if options.json:
            print(json.dumps(judged_as_json(evidence), indent=2))
        else:
            print_judged(evidence)
            print(f"Kept as {judged.id}.", file=sys.stderr)
        if options.report:
            save_report(options.report, judged_report(evidence))
    return 0 if not evidence.verdict.unread else 1


def reading_of(options: argparse.Namespace) -> Reading:
    """How the options say that tables are read. Raises: SpecError: one is out of bounds."""
    asked = {name: getattr(options, f"read_{name}") for name in Reading.model_fields}
    return Reading.of(**{name: value for name, value in asked.items() if value is not None})


def kept(lab: Lab, options: argparse.Namespace) -> Judged:
    """The results of the files: those that are kept already where nothing has changed.

    Raises:
        LabError: a file cannot be read, or something is open that only a person can answer; nothing was kept.
    """
    files, reading = given(options.files), reading_of(options)
    before = lab.judged.get(options.into) if options.into else None
    if before is not None and options.name:
        lab.judged.rename(before.id, options.name)
    found = gather(files, reading, before, lab.judged.measures(before.id) if before is not None else None)
    found.answered()
    known = {each.id for each in lab.judged.list()}
    judged = keep_results(lab, found, options.name or files[0].name, before)
    if judged.id in known and before is None:
        print(f"These files were judged before, as {judged.name}.", file=sys.stderr)
        if options.name:
            lab.judged.rename(judged.id, options.name)
    if options.note is not None:
        lab.judged.set_note(judged.id, options.note)
    return lab.judged.get(judged.id)


def print_judged(evidence: JudgedEvidence) -> None:
    """Print settings, the verdict, and what limits it."""
    found = evidence.verdict
    shown = [] if found.unread or not evidence.arms else [Shown.of(found, evidence.arms)]
    for each in shown:
        print(plain_table(measured_table(each), turned=True))
        print()
    print_answer(found)
    for sentence in carried(evidence):
        print(sentence)
    if evidence.networks:
        print()
        print(plain_table(networks_table(evidence).frame))
        for sentence in network_sentences(evidence):
            print(sentence)
    for warning in judged_warnings(evidence):
        print(f"Note: {warning}")
    for each in shown:
        print_sections(each)


def judged_as_json(evidence: JudgedEvidence) -> dict[str, Any]:
    """The object that ``--json`` prints: the keys of ``compare``, and ``reported`` for what was read."""
    judged = evidence.judged
    networks = [
        {
            "label": arm.label,
            "difference": found.interval.mean,
            "interval": [found.interval.low, found.interval.high],
            "p": found.p,
            "examples": found.interval.n,
            "paired": found.is_paired,
            "told_apart": found.is_told,
        }
        for arm, found in evidence.networks
    ]
    return comparison_as_json([*evidence.verdict.rows], evidence.verdict, None, lambda arm: None) | {
        "reported": {
            "id": judged.id,
            "name": judged.name,
            "note": judged.note,
            "reference": evidence.reference,
            "files": [{"name": file.name, "sha256": file.sha256, "bytes": file.bytes} for file in judged.files],
            "carries": carried(evidence),
            "networks": networks,
        }
    }
