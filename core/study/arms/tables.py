"""Runs and arms as tables: numbers to sort and to download, text to read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec
from core.numbers import NOTHING, bytes_text, count_text, counted, exact_text, listed, seconds_text
from core.objectives.classification import LARGEST_CLASS
from core.objectives.measure import SOURCE
from core.objectives.registry import CLASSIFICATION
from core.plan.experiment import Recipe
from core.results.arm import Arm, judged_by
from core.results.measures import COSTS, EACH, FORGETTING, FORGETTING_MASKED, quantity, spread_text, value_text
from core.results.row import row_of
from core.results.scale import Objective
from core.rule.tuning import RateChoice, one_per_group, ratio_text
from core.run_spec import OptimSpec
from core.spec import bounds
from core.store.record import Run
from core.store.search import Entry

_COSTS = {
    "Training time (s)": "seconds",
    "Memory, counted (bytes)": "memory",
    "Adapter (bytes)": "adapter_bytes",
    "Checkpoint (bytes)": "checkpoint_bytes",
}
_PARAMETERS = "Trainable parameters"
_COUNTS = ("Rank", "Seeds", "Seed", "Epochs", _PARAMETERS, *(title for title in _COSTS if title.endswith("(bytes)")))
"""Columns of whole numbers."""


def _means(objectives: Iterable[Objective], known: Callable[[str], bool]) -> dict[str, str]:
    """Columns of means that tables show, with the name of the quantity in each; losses only where they are known."""
    found: dict[str, str] = {_PARAMETERS: "trainable_parameters"}
    own = list(dict.fromkeys(objectives)) or [CLASSIFICATION]
    for objective in own:
        for measure in objective.measures:
            if not measure.needs_losses or known(measure.name):
                found[measure.axis] = measure.name
        if objective.has_classes:
            found["Largest class (%)"] = LARGEST_CLASS
    for objective in own:
        primary, masked = objective.primary, objective.masked
        found[f"Source {primary.noun}{primary.unit_suffix}"] = SOURCE + primary.name
        if masked is not None:
            found[f"Source {masked.noun}, masked{masked.unit_suffix}"] = SOURCE + masked.name
    for objective in own:
        points = objective.primary.difference_unit
        unit = f" ({points})" if points else ""
        found[f"Forgetting{unit}"] = FORGETTING
        if objective.masked is not None:
            found[f"Forgetting, masked{unit}"] = FORGETTING_MASKED
    return found | _COSTS


def _means_of(arms: Sequence[Arm]) -> dict[str, str]:
    def known(name: str) -> bool:
        return any(arm.values(name) for arm in arms)

    return _means((arm.setting.objective for arm in arms), known)


_ALWAYS = tuple(str(OptimSpec.model_fields[name].title) for name in ("learning_rate", "epochs", "batch_size"))
_IN_LABEL = ("kind", "rank")
"""Fields that are in the label of a method."""


def comparison_table(arms: Sequence[Arm]) -> pd.DataFrame:
    """One row per arm, as numbers: settings, then means over its seeds.

    Measured means have the half-width of their 95 % interval beside them, in a column named ``±``
    and the mean's title; it is missing for one seed, and for times that the runs of a bank share. So is any value that
    an arm does not have.
    """
    columns: dict[str, list[Any]] = {
        "Setting": [arm.label for arm in arms],
        "Method": [arm.setting.method for arm in arms],
        **varied_columns([arm.spec.method for arm in arms]),
        "Learning rate": [arm.learning_rate for arm in arms],
        "Seeds": [len(arm.rows) for arm in arms],
    }
    for title, name in _means_of(arms).items():
        intervals = [arm.interval(name) for arm in arms]
        if name in COSTS and COSTS[name].exact:
            means = [interval.mean if interval.n else None for interval in intervals]
            columns[title] = [round(mean) if mean and title in _COUNTS else mean for mean in means]
        else:
            columns[title] = [interval.mean for interval in intervals]
            columns[f"± {title}"] = [interval.half_width for interval in intervals]
    return _typed(columns)


def comparison_text(arms: Sequence[Arm]) -> pd.DataFrame:
    """The table of :func:`comparison_table` as people read it: units in the cells, each mean with its interval."""
    varied = varied_columns([arm.spec.method for arm in arms])
    columns: dict[str, list[Any]] = {
        "Setting": [arm.label for arm in arms],
        **{title: list(map(_varied_text, values)) for title, values in varied.items()},
        "Learning rate": [f"{arm.learning_rate:g}" for arm in arms],
        "Seeds": [count_text(len(arm.rows)) for arm in arms],
    }
    for title, name in _means_of(arms).items():
        columns[title.split(" (")[0]] = [mean_text(arm, name) for arm in arms]
    return pd.DataFrame(columns, dtype=object)


def validation_table(arms: Sequence[Arm]) -> pd.DataFrame:
    """One row per arm, as people read it: what the validation part says, while the test part is not to be read yet."""
    columns = {
        "Setting": [arm.label for arm in arms],
        "Learning rate": [f"{arm.learning_rate:g}" for arm in arms],
        "Seeds": [count_text(len(arm.finished)) for arm in arms],
        f"Validation {judged_by(arms).primary.noun}": [spread_text(arm.validated, arm.what()) for arm in arms],
    }
    return pd.DataFrame(columns, dtype=object)


def settings_table(settings: Iterable[Recipe]) -> pd.DataFrame:
    """One row per setting, as text: its arm, rate, epochs and batch size, and each field that some setting has changed.

    Args:
        settings: what arms train with.
    """
    rows = []
    changed = dict.fromkeys(_ALWAYS)
    for optim, method in settings:
        row = {"Setting": method.label}
        for spec in (optim, method):
            for name, about in type(spec).model_fields.items():
                value, title = getattr(spec, name), str(about.title)
                if name in _IN_LABEL:
                    continue
                row[title] = _words(value)
                if value != about.default:
                    changed[title] = None
        rows.append(row)
    return pd.DataFrame([{name: row.get(name, NOTHING) for name in ("Setting", *changed)} for row in rows])


def mean_text(arm: Arm, name: str) -> str:
    """A mean with its interval, as in ``97.31 % (97.19 to 97.43)``, or ``0.11 s, shared`` for the time of a bank."""
    interval, what = arm.interval(name), arm.what(name)
    if interval.n and what.timed and arm.shares_time:
        return f"{value_text(what, interval.mean)}, shared"
    return spread_text(interval, what)


def storage_sentence(arms: Sequence[Arm], customers: int) -> str:
    """What each arm takes to store, as in ``Where each customer has a network of their own, 100 customers take to
    store: Full 54.5 MB and LoRA r=4 3.75 MB.``
    """
    sizes = listed([f"{arm.label} {bytes_text(arm.bytes_for(customers))}" for arm in arms])
    take = "takes" if customers == 1 else "take"
    return f"{EACH}, {counted(customers, 'customer')} {take} to store: {sizes}."


def runs_table(runs: Iterable[Run], titles: Mapping[str, str] | None = None) -> pd.DataFrame:
    """One row per run, in the order given, as numbers and times (UTC); values that a run does not have are missing.

    Args:
        runs: to be listed.
        titles: what imported networks are called now, by digest; others are called as their runs record.
    """
    everything, called = list(runs), titles or {}
    settings: dict[str, Callable[[Run], object]] = {
        "Run": lambda run: run.id,
        # Short: what else tells the arms of many experiments apart has columns of its own.
        "Setting": lambda run: run.spec.label,
        "Method": lambda run: run.spec.kind,
        "Dataset": lambda run: run.spec.task.dataset,
        "Network": lambda run: called.get(run.spec.network.brought or "", run.spec.network.sizes),
        "Seed": lambda run: run.spec.seed,
        "State": lambda run: run.state,
    }
    measured: dict[str, Callable[[Run], object]] = {
        "Learning rate": lambda run: run.spec.optim.learning_rate,
        "Epochs": lambda run: run.result.epochs if run.result else None,
    }
    columns: dict[str, list[Any]] = {title: [of(run) for run in everything] for title, of in settings.items()}
    columns |= varied_columns([run.spec.method for run in everything])
    columns |= {title: [of(run) for run in everything] for title, of in measured.items()}

    def known(name: str) -> bool:
        return any(run.result and run.result.measures.get(name) is not None for run in everything)

    for title, name in _means((run.spec.objective for run in everything), known).items():
        columns[title] = [_value(run, name) for run in everything]
    table = _typed(columns)
    table["Created"] = pd.to_datetime([run.created for run in everything], unit="s", utc=True).as_unit("ms")
    table["Experiment"] = pd.array([run.experiment for run in everything], dtype="string")
    table["Cause"] = pd.array([run.cause for run in everything], dtype="string")
    return table


def _value(run: Run, name: str) -> float | None:
    """A quantity of a run; None where it has none, or its objective has another measure of the title."""
    if run.result is None:
        return None
    objective = run.spec.objective
    if name not in COSTS and name not in (FORGETTING, FORGETTING_MASKED):
        return run.result.measures.get(name)
    return quantity(name, objective).of(row_of(run))


def entries_table(entries: Iterable[Entry], titles: Mapping[str, str] | None = None) -> pd.DataFrame:
    """The table of :func:`runs_table` with the steps made, tags, note and archive flag of each run."""
    everything = list(entries)
    table = runs_table((entry.run for entry in everything), titles)
    table["Steps"] = pd.array([entry.run.step for entry in everything], dtype="Int64")
    table["Tags"] = pd.array([", ".join(entry.tags) for entry in everything], dtype="string")
    table["Note"] = pd.array([" ".join(entry.note.split()) for entry in everything], dtype="string")
    table["Archived"] = pd.array([entry.run.archived for entry in everything], dtype="boolean")
    return table


def plain_table(table: pd.DataFrame, turned: bool = False) -> str:
    """A table for a terminal, columns aligned.

    Args:
        table: its index is left out.
        turned: one line per column instead of one per row, for a table of few rows and many columns.
    """
    lines = [
        [str(title) for title in table.columns],
        *([_cell(cell) for cell in row] for row in table.to_numpy(object)),
    ]
    columns = list(zip(*lines, strict=True))
    if turned:
        lines, columns = [list(column) for column in columns], [tuple(line) for line in lines]
    # What reads as a number stands to the right; what stands in a turned table is of mixed kinds.
    right = [not turned and all(cell[:1] in f"0123456789+−-{NOTHING}" for cell in column[1:]) for column in columns]
    widths = [max(len(cell) for cell in column) for column in columns]
    shapes = list(zip(widths, right, strict=True))
    text = [
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, (width, to_right) in zip(line, shapes, strict=True)
        ).rstrip()
        for line in lines
    ]
    return "\n".join([text[0], "  ".join("─" * width for width in widths), *text[1:]])


def varied_columns(methods: Sequence[MethodSpec]) -> dict[str, list[Any]]:
    """Columns of the fields that some of the methods vary, and of LoRA's in any case: a value for each method or None.

    Args:
        methods: one for each row.
    """
    titles: dict[str, str] = {}
    kinds: list[type[MethodSpec]] = [LoRASpec, *map(type, methods)]
    for kind in kinds:
        titles |= {name: bounds(kind, name).title for name in kind.varied()}
    return {
        title: [getattr(method, name) if name in method.varied() else None for method in methods]
        for name, title in titles.items()
    }


def is_count(values: Sequence[Any]) -> bool:
    """Whether a column has whole numbers alone, and not nothing."""
    known = [value for value in values if value is not None]
    return bool(known) and all(type(value) is int for value in known)


def _varied_text(value: Any) -> str:
    if value is None:
        return NOTHING
    return count_text(value) if isinstance(value, int) else f"{value:g}"


def _words(value: object) -> str:
    """The value of a field in words."""
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return exact_text(value) if isinstance(value, float) else str(value)


def _cell(value: object) -> str:
    if pd.isna(value):  # type: ignore[call-overload]
        return NOTHING
    return f"{value:g}" if isinstance(value, float) else str(value)


def _typed(columns: dict[str, list[Any]]) -> pd.DataFrame:
    """Whole numbers stay whole where some are missing; text is text also where there is none."""
    types: dict[str, Any] = dict.fromkeys(columns, "Float64") | dict.fromkeys(
        ("Run", "Setting", "Method", "Dataset", "Network", "State"), "string"
    )
    types |= {title: "Int64" for title, values in columns.items() if title in _COUNTS or is_count(values)}
    return pd.DataFrame({title: pd.Series(values, dtype=types[title]) for title, values in columns.items()})


def rates_table(choices: Sequence[RateChoice]) -> pd.DataFrame:
    """One row for each method, rank and control: the learning rates tried, and where the chosen one lies among them.

    Of a search also where training diverged, and how many runs it took.
    """
    rows = one_per_group(choices)
    columns = {
        "Setting": [choice.arm.setting.label for choice in rows],
        "Rates tried": [", ".join(f"{rate:g}" for rate in choice.tried) for choice in rows],
        "Chosen": [f"{choice.arm.learning_rate:g}" if choice.ranked else NOTHING for choice in rows],
        "Over that of full": [f"{ratio_text(c.ratio)} ×" if c.ratio else NOTHING for c in rows],
        "Where": [_place(choice) for choice in rows],
    }
    if any(choice.is_searched for choice in rows):
        columns["Diverged at"] = [", ".join(f"{rate:g}" for rate in choice.walls) or NOTHING for choice in rows]
        columns["Runs"] = [count_text(choice.runs) for choice in rows]
        columns["Training"] = [seconds_text(choice.seconds) for choice in rows]
    return pd.DataFrame(columns, dtype=object)


def _place(choice: RateChoice) -> str:
    """Where the chosen rate lies among those tried; a dash where one was tried, or none was chosen."""
    if not choice.ranked or len(choice.tried) < 2:
        return NOTHING
    return f"{choice.at_end} tried" if choice.at_end else "inside"
