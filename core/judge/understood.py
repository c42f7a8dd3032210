"""A table of results as runs, as far as it can be understood: what does not fit becomes questions."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from core.errors import JudgeError, printable
from core.judge.cells import MAX_EPOCHS, Cells, Line, Reported, RowState, plain, trend_of
from core.judge.reading import KINDS, Reading, columns_text, known_name, measure_name
from core.judge.table import Table
from core.methods.full import FullSpec
from core.methods.method import Role
from core.methods.registry import METHODS
from core.numbers import counted, listed, seeds_text
from core.objectives.registry import measures_by_name

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
        lines = self._runs() if self.names else []
        if self.questions:
            return
        self._leave_out(lines)
        self.rows = list(itertools.starmap(self._named, enumerate(self._unique(lines), 1)))
        self._check_reference()
        states = Counter(row.state for row in self.rows)
        words: dict[RowState, str] = {"failed": "failed", "stopped": "stopped or still running"}
        if lost := [f"{states[state]:,} {text}" for state, text in words.items() if states[state]]:
            self.notes.append(f"Of {counted(len(self.rows), 'run')} these did not finish: {listed(lost)}.")

    def _runs(self) -> list[Line]:
        """One line for each run, of which a table may have several: for epochs and for parts."""
        lines, asked = self.lines(), len(self.questions)
        if not self.names["seed"]:
            self._number(lines)
        if self.names["part"]:
            lines = self._of_parts(lines)
        return self._of_epochs(lines) if self.names["epoch"] and len(self.questions) == asked else lines

    def _number(self, lines: Sequence[Line]) -> None:
        """Give runs without seeds one: 0 for all, or their places among the rows of their settings, as somebody says.

        Raises:
            JudgeError: all are to have one, and a setting has several runs.
        """
        if not self.reading.unseeded:
            if run := next((line.row.run for line in lines if re.search(r"\d", line.row.run)), ""):
                called = f"runs are called as in {printable(run, 60)!r}. Say what stands before the seed there."
                self.ask("seed_pattern", f"No column has seeds; {called}")
            else:
                text = (
                    "No column has seeds. Say “one” if every setting has one run, all with one seed, or “order” if the "
                    "first rows of all settings share a seed, and so do the second ones, and so on."
                )
                self.ask("unseeded", text, ("one", "order"))
        for own in _grouped(lines, lambda line: (line.row.key, line.part, line.epoch)):
            if self.reading.unseeded == "one" and len(own) > 1:
                raise JudgeError(
                    f"{self.table.where(own[1].at)}: its setting has several runs, so they have several seeds: add a "
                    "column with seeds, or choose “order” as what rows without seeds are, if those of all settings are "
                    "in the order of the seeds."
                )
            for seed, line in enumerate(own):
                line.row = replace(line.row, seed=seed)

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
        values = {(line.run, line.epoch): line.row.value for line in chosen}
        kept = [line for line in lines if line.part == test]
        for line in kept:
            line.row = replace(line.row, validation=values.get((line.run, line.epoch), line.row.validation))
        return kept

    def _of_epochs(self, lines: list[Line]) -> list[Line]:
        """The line of each run that counts, with what its validation curve says of longer training.

        Where no run has lines of several epochs, as where each has the last one, all are kept.
        """
        take, runs = (
            self.reading.take,
            [_grouped(own, lambda line: line.epoch) for own in _grouped(lines, lambda line: line.run)],
        )
        ended = [own for own in runs if any(line.row.state == "finished" for each in own for line in each)]
        last = {max(each[0].epoch for each in own) for own in ended or runs}
        length = int(end) if len(last) == 1 and (end := max(last)) <= MAX_EPOCHS and end.is_integer() else None
        if max(map(len, runs)) == 1:
            for line in lines:
                line.row = replace(line.row, epochs=line.row.epochs or length)
            return lines
        has_validation = bool(self.names["validation"] or self.names["part"])
        if take == "best" and not has_validation:
            raise JudgeError("The best epoch is chosen on the validation part, and no column has it: take the last.")
        if not take:
            options = ("last", "best") if has_validation else ("last",)
            self.ask("take", "Runs have several rows, one for each epoch or step, and one of them counts.", options)
        known = measures_by_name().get(measure_name(self.names["measure"]))
        is_lower = self.reading.better == "lower" or (not self.reading.better and known is not None and known.sign < 0)
        kept = []
        for own in runs:
            ordered = sorted(map(self._counting, own), key=lambda line: line.epoch)
            tested = [line for line in ordered if line.row.value is not None] or ordered
            counts, validation = tested[-1], tested[-1].row.validation
            ranked = [(line.row.validation, line) for line in ordered if line.row.validation is not None]
            if take == "best" and ranked:
                validation, best = (min if is_lower else max)(ranked, key=lambda each: each[0])
                counts = best if len(tested) > 1 else counts  # else the network of the best epoch was tested at the end
            curve = {line.epoch: line.row.validation for line in ordered if math.isfinite(line.epoch)}
            epochs = counts.row.epochs or length
            counts.row = replace(counts.row, validation=validation, trend=trend_of(curve), epochs=epochs)
            kept.append(counts)
        return kept

    def _unique(self, lines: Sequence[Line]) -> list[Reported]:
        """Runs of which each setting has one for each seed."""
        kept = []
        for own in _grouped(lines, lambda line: (line.row.key, line.row.seed)):
            finished = [line for line in own if line.row.state == "finished"]
            kept.append(self._counting(finished or own).row)
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
            ends = [f"{self.table.where(line.at)} ({printable(line.row.run, 40)})" for line in (lines[0], lines[-1])]
            method, seed = printable(lines[0].row.method), lines[0].row.seed
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

        Raises:
            JudgeError: none is left, or a setting is not known where the order of its rows says their seeds.
        """
        rows = [line.row for line in lines]
        sizes = Counter(row.key for row in rows)
        largest = {setting[0]: size for setting, size in reversed(sizes.most_common())}
        own = dict.fromkeys(
            ["rank", "alpha", "learning_rate", "epochs", *(name for row in rows for name in row.settings)]
        )
        known = {(row.method, name) for row in rows for name in own if not row.lacks(name)}
        validated = {row.key for row in rows if row.validation is not None}
        lacking: list[tuple[Line, str]] = []
        for line in (line for line in lines if line.row.state == "finished"):
            row, few = line.row, 2 * sizes[line.row.key] < largest[line.row.method]
            taken = ["method", *(name for name in own if few and (row.method, name) in known), "value", "seed"]
            taken += ["validation"] * (row.key in validated)
            if name := next(filter(row.lacks, taken), ""):
                lacking.append((line, name))
                line.row = replace(row, state="incomplete")
        done = {(line.row.key, line.row.seed) for line in lines if line.row.state == "finished"}
        settings, seeds = {setting for setting, _ in done}, {seed for _, seed in done}
        columns = {**self.names, "value": self.names["measure"]}
        columns["validation"] = columns["validation"] or columns["value"]
        lost, notes = set[int](), list[str]()
        for line, name in lacking:
            row, setting = line.row, line.row.key
            if (setting, row.seed) in done:  # the run was repeated
                continue
            run = ", ".join(filter(None, [printable(row.method), f"seed {row.seed}" * (row.seed >= 0)]))
            column = printable(columns.get(name) or name)
            notes.append(f"{self.table.where(line.at)} ({run}) has an empty cell in the column {column!r}")
            if not done or (self.reading.unseeded == "order" and name in ("method", *own)):
                why = "the order of the rows says their seeds" if done else "no other run has all that it takes"
                raise JudgeError(f"{notes[-1]}: fill it in, because {why}.")
            missing = {seed for seed in seeds if (setting, seed) not in done}
            if row.seed < 0:
                lost |= missing if len(missing) == 1 else set()
            elif row.value is not None or setting in settings:
                lost |= {row.seed} & seeds
        lost = lost if seeds - lost else set()
        for line in lines:
            if line.row.state == "finished" and line.row.seed in lost:
                line.row = replace(line.row, state="incomplete")
        what = f"All runs of {seeds_text(sorted(lost))}" if lost else "Runs"
        why = f"{what} are left out because of an empty cell; where such a run failed, say so in a column state"
        self.notes += [f"{note}." for note in (why, *notes) if notes]

    def _named(self, place: int, row: Reported) -> Reported:
        """A run with a name, in the unit of the measure."""
        factor = 1.0 if self.scale is None else self.scale.factor
        measured = {name: getattr(row, name) for name in ("value", "validation", "trend")}
        scaled = {name: factor * value for name, value in measured.items() if value is not None and factor != 1.0}
        return replace(row, run=row.run or f"run-{place}", **scaled)

    def _check_reference(self) -> None:
        """Ask for the reference where none of several methods is full fine-tuning."""
        methods = list(dict.fromkeys(row.method for row in self.rows))
        if (asked := self.reading.reference) and reference_of(self.reading) not in methods:
            raise JudgeError(f"No run is of the method {printable(asked)!r}; the file has {columns_text(methods)}.")
        full = {method.name() for method in METHODS if method.role is Role.REFERENCE}
        if not asked and not full & set(methods) and len(methods) > 1:
            text = "No run is called full, so that it is not known what the others are compared with."
            self.ask("reference", text, methods)
