"""The verdict of an experiment as every page shows it: headline, level, figure, and what it rests on in a fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import streamlit as st

from core.engine.jobs.run_files import ADAPTER, NETWORK
from core.methods.method import Role
from core.results.arm import Arm
from core.rule.claims import Level
from core.rule.place import Place
from core.rule.tuning import reference_name
from core.rule.withheld import UNTIL_THEN, NextStep
from core.store.record import Run
from core.study.arms.forgetting_clause import forgetting_in_short
from core.study.arms.outliers import outliers
from core.study.arms.verdict_words import MEANINGS, basis, caveats, headline, level_words
from core.study.figures.differences import difference_rows
from core.study.report.answer import before_sentence
from pages.shared.ui.download import download_of_run
from pages.shared.ui.figure_panel import show
from pages.shared.ui.links import link
from pages.shared.ui.literal import literal
from pages.shared.ui.primary import on_primary

COLOURS: dict[Level, Literal["green", "orange", "gray"]] = {
    Level.SHOWN: "green",
    Level.LEANING: "orange",
    Level.OPEN: "gray",
}


def level_badge(found: Place) -> None:
    """Draw a badge with the verdict's level, which its tooltip explains; nothing where it has none."""
    if level := level_words(found):
        st.badge(level, color=COLOURS[found.level], help=MEANINGS[found.level])


def verdict_view(found: Place, before: Place | None = None) -> None:
    """Draw headline and badge, and in few words what changes how they are read.

    Args:
        found: the verdict.
        before: the earlier answer that stands below it, of which the test part was read.
    """
    level = level_words(found)
    badge = f" :{COLOURS[found.level]}-badge[{level}]" if level else ""
    words = headline(found) if before is None else headline(found).removesuffix(f" {UNTIL_THEN}")
    st.markdown(f"#### {literal(words)}{badge}", help=MEANINGS[found.level] if level else None)
    sentences = caveats(found)
    if found.told is not None and found.full is not None and not (found.reason or found.withheld):
        sentences.append(forgetting_in_short(found.told.arm, found.full, found.at_equal))
    if sentences := [*filter(None, sentences)]:
        st.caption(literal(" ".join(sentences)))
    for arm, row in outliers(found):
        if row.run is not None:
            link("runs", literal(f"{arm.name}, seed {row.seed}"), {"run": row.id})


def before_view(before: Place, members: Sequence[Run]) -> None:
    """Draw the answer that an experiment had before runs were added. Args: members: all runs of it, with those."""
    st.caption(before_sentence(before, len(members)))
    verdict_view(before)


def basis_view(found: Place, key: str, more: Sequence[str] = (), said: Sequence[str] = ()) -> None:
    """Draw a fold with the tests and what else the headline rests on.

    Args:
        found: the verdict.
        key: of the fold.
        more: further sentences in it.
        said: sentences that the page shows outside it.
    """
    if sentences := [*(sentence for sentence in basis(found) if sentence not in said), *more]:
        with st.expander("What this rests on", icon=":material/rule:", key=key):
            st.markdown("\n".join(f"- {literal(sentence)}" for sentence in sentences))


def difference_view(found: Place, arms: Sequence[Arm], colours: Mapping[str, str], owner: str) -> None:
    """Draw how far each setting is from full fine-tuning; nothing where nothing was compared.

    Args:
        found: the verdict.
        arms: what the validation part chose, full fine-tuning among them.
        colours: of each arm, by key.
        owner: id of the experiment.
    """
    if found.unread or found.full is None or not found.candidates:
        return
    title = found.full.spec.objective.primary.title
    figure = difference_rows(found, arms, colours)
    alt = f"{title} of each setting minus that of {reference_name(found.full)}, by seed, with mean and interval"
    show(figure, owner, "difference", alt)


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
