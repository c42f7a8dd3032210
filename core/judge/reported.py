"""What others report as rows of results: the same table as that of runs, of which more is known."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from core.judge.grouping import Reported
from core.methods.method import Role
from core.methods.registry import METHODS
from core.objectives.classification import ACCURACY, LARGEST_CLASS
from core.objectives.measure import VALIDATION
from core.results.row import Row
from core.results.scale import TEST, Scale
from core.results.setting import Setting, setting_text, short_name

UNKNOWN_DECAY = "not reported"

NOUN = "example"
"""What one test example is called where nobody says it."""

_KNOWN = {method.name(): method for method in METHODS}


def rows_of_reported(
    reported: Sequence[Reported], scale: Scale, reference: str, noun: str, searched: bool = False
) -> list[Row]:
    """What others report as rows, in their order.

    Args:
        reported: each with a name of its own.
        scale: of the measure.
        reference: the method that the others are compared with.
        noun: what one test example is called.
        searched: whether a search of this lab found the learning rates.
    """
    rows = [_row(place, each, scale, reference, noun or NOUN) for place, each in enumerate(reported)]
    return [replace(row, plan="complete") for row in rows] if searched else rows


def _row(place: int, each: Reported, scale: Scale, reference: str, noun: str) -> Row:
    name, is_finished = scale.primary.name, each.state == "finished"
    measures = {ACCURACY.name: each.accuracy, name: each.value, VALIDATION + name: each.validation}
    if measures[ACCURACY.name] is not None:  # what is compared with the share
        measures[LARGEST_CLASS] = each.largest_class
    return Row(
        id=each.run,
        setting=_setting(each, scale, reference, noun),
        seed=each.seed,
        state="failed" if each.state == "incomplete" else each.state,
        cause=each.cause or None,
        archived=each.archived or each.state == "stopped",  # others have left it out
        created=float(place),
        has_result=is_finished,
        measures={name: value for name, value in measures.items() if value is not None} if is_finished else {},
        trends={VALIDATION + name: each.trend} if is_finished and each.trend is not None else {},
        trained=(each.trained or 0) if is_finished else 0,
        steps=(each.steps or 0) if is_finished else 0,
    )


def _setting(each: Reported, scale: Scale, reference: str, noun: str) -> Setting:
    known = _KNOWN.get(each.method)
    short = known.short if known is not None else each.method
    is_control = known is not None and known.role is Role.CONTROL
    method: dict[str, object] = {"rank": each.rank, "alpha": each.alpha} | _others(each.settings)
    method = {name: value for name, value in method.items() if value is not None}
    rate, epochs, decay = each.learning_rate or 0.0, each.epochs or 1, each.decay or UNKNOWN_DECAY
    optim = {"learning_rate": rate, "epochs": epochs, "patience": each.patience, "decay": decay}
    return Setting(
        key=_key(each.method, method, optim, scale, noun),
        objective=scale,
        method=each.method,
        label=short if each.rank is None else f"{short} r={each.rank}",
        title=known.title if known is not None else each.method,
        role=Role.REFERENCE if each.method == reference else Role.CONTROL if is_control else Role.ADAPTER,
        learning_rate=rate,
        epochs=epochs,
        size=each.rank,
        rank=each.rank,
        alpha=each.alpha,
        alpha_text="" if each.alpha is None else f"alpha {each.alpha:g}",
        patience=each.patience,
        decay=decay,
        learns=noun,
        texts={short_name(name): setting_text(name, value) for name, value in (method | optim).items()},
    )


def _key(kind: str, method: Mapping[str, object], optim: Mapping[str, object], scale: Scale, noun: str) -> str:
    """The key of a setting, which looks of earlier versions have in the store: it is never to change."""
    default = {"learning_rate": 0.0, "epochs": 1, "patience": 0, "decay": UNKNOWN_DECAY}
    objective: dict[str, object] = {
        "column": scale.name,
        "higher": scale.higher,
        "kind": "reported",
        "measure": "",
        "shown": scale.title,
    }
    values: dict[str, dict[str, object]] = {
        "method": {**method, "kind": kind},
        "network": {"kind": "reported", "noun": noun} if noun != NOUN else {"kind": "reported"},
        "objective": objective | {"measure": "", "unit": scale.unit, "within": None},
        "optim": {name: value for name, value in optim.items() if value != default[name]},
    }
    if scale.part != TEST:
        values["objective"]["part"] = scale.part
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def _others(settings: Mapping[str, str]) -> dict[str, object]:
    """Further settings under names that no field had."""
    own = ("kind", "is_reference", "rank", "alpha")
    return {f"{name} (column)" if name in own else name: text for name, text in settings.items()}
