"""Details of one run: result, curve, settings, history, and the command that repeats it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import streamlit as st

from core.errors import NoteError, UnknownRunError
from core.lab import Lab
from core.methods.method import Role
from core.numbers import NOTHING, bytes_text, count_text, counted, forecast_text, seconds_text
from core.objectives.measure import SOURCE
from core.results.measures import MEMORY_NOTE
from core.results.row import row_of
from core.results.setting import setting_of
from core.rule.controls import misleading_sentence, share_sentence
from core.store.notes import MAX_NOTE
from core.store.record import Result, Run
from core.store.search import Entry
from core.study.arms.settings import settings_of
from core.study.arms.trained_memory import trained_memory
from core.study.figures.curves import NamedCurve, live_losses, loss_curves
from core.study.figures.palette import colour_of
from core.wording.tasks import task_text
from pages.shared.experiment.exports import export_files
from pages.shared.experiment.live import TICK
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.download import download
from pages.shared.ui.figure_panel import chart
from pages.shared.ui.links import link
from pages.shared.ui.literal import literal
from pages.shared.ui.live_view import View, live_view
from pages.shared.ui.pickers import STATE_ICONS, state_badge, when

ROUNDING = (
    "Trained alone, each step is the same up to rounding, which adds up: after some hundred steps the {measure} may "
    "differ as much as between two seeds."
)
"""How closely a run of a bank is reproduced."""

PROBLEM = "runs-note-problem"
"""Session state key: widget key of the note or tag that could not be saved, and the error message."""


def heading(lab: Lab, entry: Entry) -> None:
    """Show the run's name, state and origin."""
    run = entry.run
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(f"{run.spec.label}, seed {run.spec.seed}", width="content")
        state_badge(run)
        if entry.run.archived:
            st.badge("archived", icon=":material/archive:", color="gray")
    words = [run.id, literal(task_text(run.spec.task, run.spec.objective)), when(run.created)]
    if run.spec.base or run.spec.network.brought:
        words.append(f"from {literal(run.spec.base or lab.networks.title_of(run.spec.network))}")
    if run.experiment:
        words.append(literal(lab.store.experiment(run.experiment).name))
    st.caption(" · ".join(words))


def detail(lab: Lab, entry: Entry) -> None:
    """Show everything that is known about a run."""
    run = entry.run
    if run.state == "interrupted":
        cause = literal(run.cause or "Its process ended before the run did.")
        st.warning(f"{cause} Finish continues from its last checkpoint.")
    elif run.cause:
        st.error(literal(run.cause))
    if run.traceback and st.toggle("Show traceback", key="runs-traceback"):
        st.code(run.traceback, language="text")
    _result(lab, run)
    if run.step or run.is_live:
        _curve(lab, run)
    left, right = st.columns(2, gap="large")
    with left:
        _notes(lab, entry)
        _settings(run)
    with right:
        _history(lab, run)
        _command(lab, run)
        if run.result is not None:
            st.markdown("**Files for other tools**")
            export_files(lab, run)
            if run.spec.role is Role.ADAPTER and run.experiment:
                link("adapters", "Use it", {"experiment": run.experiment, "adapter": run.id})


def _result(lab: Lab, run: Run) -> None:
    if run.result is None:
        return
    result = run.result
    with st.container(horizontal=True):
        for measure in run.spec.objective.measures:
            if (value := result.measures.get(measure.name)) is not None:
                about = f"{measure.about} {share_sentence(row_of(run), run.spec.network.learns)}".strip()
                text = measure.text(value)
                st.metric(measure.title, text, help=about if measure.about else "On the test part.", border=True)
        primary = run.spec.objective.primary
        if (value := result.measures.get(SOURCE + primary.name)) is not None:
            st.metric(f"Source {primary.noun}", primary.text(value), border=True)
        st.metric("Trainable parameters", count_text(result.trainable_parameters), border=True)
        share = f"Its share of the time of a bank of {result.bank} runs." if result.bank > 1 else None
        st.metric("Training time", seconds_text(result.seconds), help=share, border=True)
        st.metric("Memory, counted", bytes_text(result.memory), help=MEMORY_NOTE, border=True)
    if warning := misleading_sentence(row_of(run)):
        st.warning(warning)
    _forecast(lab, run, result)


def _forecast(lab: Lab, run: Run, result: Result) -> None:
    """Show the forecast that was kept when the run was queued, beside what came of it."""
    kept = lab.estimates.at_launch([run.id]).get(run.id)
    if kept is None or run.state != "finished":
        return
    words = []
    if kept.seconds is not None:
        words.append(f"Training: {forecast_text(kept.seconds_low, kept.seconds_high, result.seconds)}.")
    if memory := trained_memory([run], {run.id: kept}):
        words.append(memory.sentence)
    st.caption(" ".join(words))


def _curve(lab: Lab, run: Run) -> None:
    """Draw the losses of the run, live while it trains."""
    colour = colour_of(setting_of(run.spec))
    alt = f"Training and validation loss of run {run.id}, by step"

    def named() -> NamedCurve:
        return NamedCurve.of(run, run.spec.label, colour, lab.store.curve(run.id))

    if run.is_live:
        live_view(lambda: View(charts={f"{run.id}-loss": (live_losses(named()), alt)}, height=380), "runs-own", TICK)
    else:
        chart(loss_curves([named()]), "runs-curve", alt, f"{run.id}-loss")


def _notes(lab: Lab, entry: Entry) -> None:
    """Draw fields for note and tags that are saved on every change."""
    run, note, tags = entry.run, f"runs-note-{entry.run.id}", f"runs-tags-{entry.run.id}"
    new, stored = f"{tags}-new", f"{note}-stored"
    failed, problem = st.session_state.pop(PROBLEM, (None, None))
    # Fields show what is stored, which another tab may have changed; text that could not be saved stays for correction.
    # A note is put into its field only where it is new there, since this replaces what is being typed.
    if note not in st.session_state or entry.note not in (st.session_state.get(stored), st.session_state[note]):
        st.session_state[note] = entry.note
    st.session_state[stored] = entry.note
    if failed != new:
        st.session_state[new] = None
    st.session_state[tags] = list(entry.tags)
    if entry.tags:
        st.pills(
            "Tags",
            entry.tags,
            selection_mode="multi",
            wrap=True,
            key=tags,
            format_func=literal,
            on_change=_save,
            args=(lab.notes.set_tags, run.id, tags),
            help="Press a tag to remove it.",
        )
    st.selectbox(
        "Add a tag",
        [tag for tag in lab.search.tags() if tag not in entry.tags],
        index=None,
        key=new,
        accept_new_options=True,
        placeholder="Choose or type a tag",
        on_change=_add_tag,
        args=(lab, run.id, new),
    )
    st.text_area(
        "Note",
        key=note,
        max_chars=MAX_NOTE,
        height=110,
        placeholder="What did you try, and what did you find?",
        on_change=_save,
        args=(lab.notes.set_note, run.id, note),
    )
    if problem:
        st.error(literal(problem))


def _save(write: Callable[[str, Any], None], id: str, key: str) -> None:
    try:
        write(id, st.session_state[key])
    except (NoteError, UnknownRunError) as error:
        st.session_state[PROBLEM] = key, str(error)


def _add_tag(lab: Lab, id: str, key: str) -> None:
    if st.session_state[key]:
        _save(lambda id, tag: lab.notes.add_tag([id], tag), id, key)


def _settings(run: Run) -> None:
    st.markdown("**Settings**")
    settings = settings_of(run.spec)
    table = pd.DataFrame({"Setting": list(settings), "Value": list(settings.values())}, dtype="string")
    dataframe(table, hide_index=True, alt="Settings of the run")
    with st.expander("As JSON", icon=":material/data_object:"):
        st.code(run.spec.model_dump_json(indent=2), language=None, wrap_lines=True)


def _history(lab: Lab, run: Run) -> None:
    st.markdown("**History**")
    lines, resumed, latest = [], False, 0.0
    for moment, state in lab.store.transitions(run.id):
        latest = max(latest, moment)  # keeps the order even if the machine's clock was set back
        word = "running again" if state == "running" and resumed else state
        resumed = resumed or state in ("interrupted", "stopped", "failed")
        lines.append((latest, f"{STATE_ICONS[state]} {word} · {when(moment)}"))
    lines += [(moment, literal(sentence)) for moment, sentence in lab.store.log(run.id)]
    for _, line in sorted(lines, key=lambda pair: pair[0]):
        st.markdown(line)
    if run.result:
        others = run.result.bank - 1
        beside = f", together with {counted(others, 'other run')}" if others else ""
        threads = counted(run.result.threads, "thread")
        st.caption(f"{count_text(run.step)} steps on {run.result.device} with {threads}{beside}.")
    epochs = lab.store.curve(run.id).epochs
    if len(epochs):
        with st.expander("Metrics per epoch", icon=":material/format_list_numbered:"):
            shown = epochs.dropna(axis="columns", how="all").drop(columns="step")
            shown.columns = [name.replace("_", " ").capitalize() for name in shown.columns]
            dataframe(shown, hide_index=True, placeholder=NOTHING, alt="Losses and accuracies after each epoch")


def _command(lab: Lab, run: Run) -> None:
    """Show the command that trains the run again."""
    st.markdown("**Reproduce this run**")
    base = " --base BASE.safetensors" if _needs_base(lab, run) else ""
    st.code(f"python -m core run {run.id}.json{base}", language=None, wrap_lines=True)
    download(
        f"Download {run.id}.json",
        lambda: lab.recipe(run.id).to_json(),
        f"{run.id}.json",
        "application/json",
        "runs-recipe",
    )
    st.caption(f"On this machine, `python -m core run --run {run.id}{base}` does the same. {_promise(lab, run)}")


def _needs_base(lab: Lab, run: Run) -> bool:
    """Return whether the command needs the weights of the base, because the base cannot be trained again."""
    if run.spec.base is None:
        return False
    bases = lab.store.runs_of([run.spec.base])
    return not bases or bases[0].state == "stopped"


def _promise(lab: Lab, run: Run) -> str:
    """Return a sentence on how closely the command reproduces this run."""
    if _needs_base(lab, run):
        return "Its base was stopped, which cannot be reproduced: download the base from the Adapters page first."
    if run.state == "stopped":
        return "This run was stopped; the command trains it to the end."
    if run.result is None:
        return "The JSON file defines the run completely" + (
            ", including the training of its base." if run.spec.base else "."
        )
    rounding = ROUNDING.format(measure=run.spec.objective.primary.noun)
    if run.result.bank > 1:
        return f"It was trained in a bank with other runs. {rounding}"
    if any(
        base.result and base.result.bank > 1 for base in lab.store.runs_of([run.spec.base] if run.spec.base else [])
    ):
        return f"Its base was trained in a bank with other runs. {rounding}"
    return "With the device and thread count from the JSON file, the weights are the same bit for bit."
