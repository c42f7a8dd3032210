"""The answer of an experiment as every page shows it: two lines, level, figure, and the checks below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import streamlit as st

from core.answer.check import LEGEND, MARKS, Outcome
from core.answer.checks.outliers import far_off
from core.answer.checks.registry import checks_of
from core.answer.levels import PROBABLY, level_words, meaning_of
from core.answer.lines import headline, reason
from core.engine.jobs.run_files import ADAPTER, NETWORK
from core.methods.method import Role
from core.results.arm import Arm
from core.rule.answer import Answer
from core.rule.claims import Level
from core.rule.place import Place
from core.rule.withheld import NextStep
from core.store.record import Run
from core.study.report.answer import before_sentence
from core.study.report.sections import difference_plot
from pages.shared.ui.download import download_of_run
from pages.shared.ui.figure_panel import show
from pages.shared.ui.links import link
from pages.shared.ui.literal import literal
from pages.shared.ui.primary import on_primary

COLOURS: dict[str, Literal["green", "orange", "gray"]] = {
    Level.SHOWN: "green",
    Level.LEANING: "orange",
    PROBABLY: "orange",
    Level.OPEN: "gray",
}

CHECK_COLOURS = {Outcome.HOLDS: "green", Outcome.OPEN: "orange", Outcome.FAILS: "red", Outcome.UNKNOWN: "gray"}


def _unbroken(words: str) -> str:
    """A line as Markdown, in which no percentage is parted from its sign."""
    return literal(words).replace(" %", "\N{NO-BREAK SPACE}%")


def _colour(found: Place) -> Literal["green", "orange", "gray"]:
    return COLOURS[PROBABLY if found.is_probable else found.level]


def level_badge(found: Place) -> None:
    """Draw a badge with the answer's level, which its tooltip explains; nothing where it has none."""
    if level := level_words(found):
        st.badge(level, color=_colour(found), help=meaning_of(found))


def verdict_view(found: Place, before: Place | None = None) -> None:
    """Draw the answer's first line with its level, and the second.

    Args:
        found: the answer.
        before: the earlier answer that stands below it, of which the test part was read.
    """
    level = level_words(found)
    badge = f" :{_colour(found)}-badge[{level}]" if level else ""
    st.markdown(f"#### {literal(headline(found))}{badge}", help=meaning_of(found) if level else None)
    if before is None and (why := reason(found)):
        st.caption(literal(why))


def before_view(before: Place, members: Sequence[Run]) -> None:
    """Draw the answer that an experiment had before runs were added. Args: members: all runs of it, with those."""
    st.caption(before_sentence(before, len(members)))
    verdict_view(before)


def checks_view(found: Answer | Place, key: str) -> None:
    """Draw what could undo the claim, what fails first, and links to runs that lie far off. Args: key: of the list."""
    checks = checks_of(found)
    if not checks:
        return
    lines = [
        f":{CHECK_COLOURS[check.outcome]}[{MARKS[check.outcome]}] {_unbroken(check.words)}" for check in checks.values()
    ]
    half = (len(lines) + 1) // 2
    with st.container(key=key):
        st.markdown("**What could undo it**", help=LEGEND)
        for column, own in zip(st.columns(2), (lines[:half], lines[half:]), strict=True):
            column.markdown("  \n".join(own))
    for arm, row in far_off(found) if isinstance(found, Place) else ():
        if row.run is not None:
            link("runs", literal(f"{arm.name}, seed {row.seed}"), {"run": row.id})


def difference_view(found: Place, arms: Sequence[Arm], colours: Mapping[str, str], owner: str) -> None:
    """Draw how far each setting is from full fine-tuning; nothing where nothing was compared.

    Args:
        found: the verdict.
        arms: what the validation part chose, full fine-tuning among them.
        colours: of each arm, by key.
        owner: id of the experiment.
    """
    for plot in [] if found.unread else difference_plot(found, arms, colours):
        show(plot.figure, owner, plot.key, plot.alt)


def offers_adapter(found: Place) -> bool:
    """Whether an answer comes with an adapter: see :func:`adapter_button`."""
    return not (found.unread or (found.withheld and found.mend is not NextStep.RATES))


def adapter_button(found: Place, key: str) -> None:
    """Offer the adapter of the setting that the answer is about, with what was said of the setting; nothing while the
    test part is not to be read, and of settings that have not been shown to have learned anything: Adapters has them.

    Args:
        found: the verdict.
        key: of the button.
    """
    told, run = found.told, None if found.offered is None else found.offered.run
    if run is None or run.result is None or not offers_adapter(found):
        return
    measure = run.spec.objective.primary
    mean = f" (mean {measure.text(told.arm.interval(measure.name).mean, 1)})" if told is not None else ""
    is_chosen = found.choice is not None and found.choice.role is Role.ADAPTER
    title = f"Adapter {run.spec.label}, seed {run.spec.seed}: {run.score_text()}{mean}"
    download_of_run(
        on_primary(title) if is_chosen else title,
        run.id,
        ADAPTER,
        f"{key}-adapter",
        kind="primary" if is_chosen else "secondary",
        help=f"For Hugging Face PEFT. This seed, because of all it is nearest to the mean of its setting on the "
        f"validation part. The numbers are {measure.noun} on the test part, of this file and the mean of all seeds.",
    )
    if run.spec.base is not None:
        download_of_run(
            "Its base",
            run.spec.base,
            NETWORK,
            f"{key}-base",
            kind="tertiary",
            help=f"{run.spec.base}-{NETWORK}, the network that the adapter applies to and needs.",
        )
