"""A table of results as runs, as far as it can be understood: what does not fit becomes questions."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from core.errors import JudgeError, printable
from core.judge.cells import MAX_EPOCHS, Cells, Line, Reported, RowState, plain, trend_of
from core.judge.reading import KINDS, Reading, columns_text, known_name
from core.judge.table import Table
from core.methods.full import FullSpec
from core.methods.method import Role
from core.methods.registry import METHODS
from core.numbers import counted, listed, seeds_text

MAX_RUNS = 20_000
"""Maximum number of runs of a verdict."""

SETTING_LIKE = re.compile(r"(^|_)(lr|learning_rate|r|rank|alpha|seed)(_|$)")
"""Names of columns that are probably settings."""


def reference_of(reading: Reading) -> str:
    """The method that others are compared with, as rows call it."""
    asked = reading.reference or FullSpec.name()
    return KINDS.get(asked.lower()) or plain(asked)


def _grouped(lines: Iterable[Line], key: Callable[[Line], object]) -> list[list[Line]]:
    groups: dict[object, list[Line]] = {}
    for line in lines:
        groups.setdefault(key(line), []).append(line)
    return list(groups.values())


class Understood(Cells):
    """A table of results with one row for each run, as far as it is known."""

    def __init__(self, table: Table, reading: Reading) -> None:
        """Read a table. Raises: JudgeError: a value is not what it has to be, or the reading names no column of it."""
        super().__init__(table, reading)
        self.rows: list[Reported] = []
        """One for each run; none while there are questions."""
        if not self.names:
            return
        lines, asked = self.lines(), len(self.questions)
        if not self.names["seed"]:
            self._number(lines)
        if self.names["part"]:
            lines = self._of_parts(lines)
        if self.names["epoch"] and len(self.questions) == asked:
            lines = self._of_epochs(lines)
        if self.questions:
            return
        self._leave_out(lines)
        factor = 1.0 if self.scale is None else self.scale.factor
        self.rows = [line.reported(factor, f"run-{place}") for place, line in enumerate(self._unique(lines), 1)]
        self._check_reference()
        states = Counter(row.state for row in self.rows)
        words: dict[RowState, str] = {"failed": "failed", "stopped": "stopped or still running"}
        if lost := [f"{states[state]:,} {text}" for state, text in words.items() if states[state]]:
            self.notes.append(f"Of {counted(len(self.rows), 'run')} these did not finish: {listed(lost)}.")

    def _number(self, lines: Sequence[Line]) -> None:
        """Give runs without seeds one: 0 for all, or their places among the rows of their settings."""
        if not self.reading.unseeded:
            if run := next((line.run for line in lines if re.search(r"\d", line.run)), ""):
                called = f"runs are called as in {printable(run, 60)!r}. Say what stands before the seed there."
                self.ask("seed_pattern", f"No column has seeds; {called}")
            else:
                text = (
                    "No column has seeds. Say “one” if every setting has one run, all with one seed, or “order” if the "
                    "first rows of all settings share a seed, and so do the second ones, and so on."
                )
                self.ask("unseeded", text, ("one", "order"))
        for own in _grouped(lines, lambda line: (line.key, line.part, line.epoch)):
            if self.reading.unseeded == "one" and len(own) > 1:
                raise JudgeError(
                    f"{self.table.where(own[1].at)}: its setting has several runs, so they have several seeds: add a "
                    "column with seeds, or choose “order” as what rows without seeds are, if those of all settings are "
                    "in the order of the seeds."
                )
            for seed, line in enumerate(own):
                line.seed = seed

    def _of_parts(self, lines: list[Line]) -> list[Line]:
        """Lines of the test part, with what those of the validation part say of the same run and epoch."""
        parts = list(dict.fromkeys(line.part for line in lines))
        by_name = {part.lower(): part for part in reversed(parts)}
        test = self.reading.test or by_name.get("test", "")
        chosen_by = self.reading.chosen_by or by_name.get("validation", "")
        if self.reading.test and test not in parts:
            raise JudgeError(f"No row is of the part {printable(test)!r}; the file has {columns_text(parts)}.")
        if not self.reading.test and (not test or {*parts} - {test, chosen_by}):
            self.ask("test", f"Rows are of the parts {columns_text(parts)}, and settings are compared on one.", parts)
            return lines
        chosen = [line for line in lines if chosen_by and line.part == chosen_by]
        values = {(line.same, line.epoch): line.value for line in chosen}
        kept = [line for line in lines if line.part == test]
        for line in kept:
            line.validation = values.get((line.same, line.epoch), line.validation)
        return kept

    def _of_epochs(self, lines: list[Line]) -> list[Line]:
        """The line of each run that counts, with what its validation curve says of longer training.

        Where no run has lines of several epochs, as where each has the last one, all are kept.
        """
        runs = [_grouped(own, lambda line: line.epoch) for own in _grouped(lines, lambda line: line.same)]
        ended = [own for own in runs if any(line.state == "finished" for each in own for line in each)]
        last = {max(each[0].epoch for each in own) for own in ended or runs}
        length = int(end) if len(last) == 1 and (end := max(last)) <= MAX_EPOCHS and end.is_integer() else None
        if max(map(len, runs)) == 1:
            for line in lines:
                line.epochs = line.epochs or length
            return lines
        has_validation = bool(self.names["validation"] or self.names["part"])
        if self.reading.take == "best" and not has_validation:
            raise JudgeError("The best epoch is chosen on the validation part, and no column has it: take the last.")
        if not self.reading.take:
            options = ("last", "best") if has_validation else ("last",)
            self.ask("take", "Runs have several rows, one for each epoch or step, and one of them counts.", options)
        better, kept = max if self.scale is None or self.scale.higher else min, []
        for own in runs:
            ordered = sorted(map(self._counting, own), key=lambda line: line.epoch)
            tested = [line for line in ordered if line.value is not None] or ordered
            counts, validation = tested[-1], tested[-1].validation
            ranked = [(line.validation, line) for line in ordered if line.validation is not None]
            if self.reading.take == "best" and ranked:
                validation, best = better(ranked, key=lambda each: each[0])
                counts = best if len(tested) > 1 else counts  # else the network of the best epoch was tested at the end
            curve = {line.epoch: line.validation for line in ordered if math.isfinite(line.epoch)}
            counts.validation, counts.trend, counts.epochs = validation, trend_of(curve), counts.epochs or length
            kept.append(counts)
        return kept

    def _unique(self, lines: Sequence[Line]) -> list[Line]:
        """Runs of which each setting has one for each seed."""
        kept = []
        for own in _grouped(lines, lambda line: (line.key, line.seed)):
            finished = [line for line in own if line.state == "finished"]
            kept.append(self._counting(finished or own))
        if len(kept) < len(lines) and not self.questions:
            repeated = counted(len(lines) - len(kept), "row")
            self.notes.append(f"{repeated} repeated a setting and seed and did not count.")
        return kept

    def _counting(self, lines: Sequence[Line]) -> Line:
        """Which of some lines of one setting and seed counts; asked for unless they say the same.

        Named are columns in which they differ, since one may be a forgotten setting: those with a name like that of a
        setting, and those whose values come again in other rows, as values of measures and times do not.
        """
        if not self.reading.repeated and len({line.measured for line in lines}) > 1:
            differing = [
                name
                for name, cells in self.table.columns.items()
                if name not in self.names.values()
                and len({cells[line.at] for line in lines}) > 1
                and (SETTING_LIKE.search(known_name(name)) or 2 * len(set(cells)) <= len(self.table))
            ]
            ends = [f"{self.table.where(line.at)} ({printable(line.run, 40)})" for line in (lines[0], lines[-1])]
            method, seed = printable(lines[0].method), lines[0].seed
            text = (
                f"{method!r} has {len(lines)} different rows with seed {seed}, as {' and '.join(ends)}. They differ in "
                f"{columns_text(differing) if differing else 'no column that looks like a setting'}. Name what is a "
                "setting, as its field or a further setting, or say which counts."
            )
            self.ask("repeated", text.replace(" ()", ""), ("first", "last"))
        return lines[0 if self.reading.repeated == "first" else -1]

    def _leave_out(self, lines: Sequence[Line]) -> None:
        """Mark finished runs that lack something, and all of their seeds, so that no setting is chosen for having more.

        Taken are a method, seed and measure, a validation measure that others of the setting have, and what others of
        the method have, such as a rank, where the setting without it would have less than half as many runs. A seed
        stays if its setting has no measure at all, or none would be left.
        """
        sizes = Counter(line.key for line in lines)
        largest = {setting[0]: size for setting, size in reversed(sizes.most_common())}
        own = dict.fromkeys(
            ["rank", "alpha", "learning_rate", "epochs", *(name for line in lines for name in line.settings)]
        )
        known = {(line.method, name) for line in lines for name in own if not line.lacks(name)}
        validated = {line.key for line in lines if line.validation is not None}
        lacking: list[tuple[Line, str]] = []
        for line in (line for line in lines if line.state == "finished"):
            few = 2 * sizes[line.key] < largest[line.method]
            taken = ["method", *(name for name in own if few and (line.method, name) in known), "value", "seed"]
            if name := next(filter(line.lacks, [*taken, *["validation"] * (line.key in validated)]), ""):
                lacking.append((line, name))
                line.state = "incomplete"
        done = {(line.key, line.seed) for line in lines if line.state == "finished"}
        settings, seeds = {setting for setting, _ in done}, {seed for _, seed in done}
        lost, notes = set[int](), list[str]()
        for line, name in lacking:
            missing = {seed for seed in seeds if (line.key, seed) not in done}
            if (line.key, line.seed) in done:  # the run was repeated
                continue
            run = ", ".join(filter(None, [printable(line.method), f"seed {line.seed}" * (line.seed >= 0)]))
            column = self.names["measure"] if name == "value" else self.names.get(name, name)
            column = printable(column or self.names["measure"])
            notes.append(f"{self.table.where(line.at)} ({run}) has an empty cell in the column {column!r}")
            if not done or (self.reading.unseeded == "order" and name in ("method", *own)):
                why = "the order of the rows says their seeds" if done else "no other run has all that it takes"
                raise JudgeError(f"{notes[-1]}: fill it in, because {why}.")
            if line.seed < 0:
                lost |= missing if len(missing) == 1 else set()
            elif line.value is not None or line.key in settings:
                lost |= {line.seed} & seeds
        lost = lost if seeds - lost else set()
        for line in lines:
            if line.state == "finished" and line.seed in lost:
                line.state = "incomplete"
        what = f"All runs of {seeds_text(sorted(lost))}" if lost else "Runs"
        why = f"{what} are left out because of an empty cell; where such a run failed, say so in a column state"
        self.notes += [f"{note}." for note in (why, *notes) if notes]

    def _check_reference(self) -> None:
        """Ask for the reference where none of several methods is full fine-tuning."""
        methods = list(dict.fromkeys(row.method for row in self.rows))
        if (asked := self.reading.reference) and reference_of(self.reading) not in methods:
            raise JudgeError(f"No run is of the method {printable(asked)!r}; the file has {columns_text(methods)}.")
        full = {method.name() for method in METHODS if method.role is Role.REFERENCE}
        if not asked and not full & set(methods) and len(methods) > 1:
            text = "No run is called full, so that it is not known what the others are compared with."
            self.ask("reference", text, methods)
