"""How programs get answers from adapters, and how the server is doing."""

from __future__ import annotations

from itertools import islice
from statistics import median, quantiles

import streamlit as st

from core.data.dataset import LANGUAGE
from core.errors import LabError
from core.lab import Lab, current
from core.numbers import bytes_text, count_text, number_text
from core.objectives.language import BITS_PER_BYTE
from core.objectives.registry import objective_of
from core.serving.predictor import LATENCIES, Statistics, is_imported
from core.serving.request import MAX_LISTED, MAX_ROWS, ServedAdapter
from core.store.record import Experiment
from core.study.report.answer import last_read
from core.study.weights.predicted import asked_text
from core.web.predict import ADAPTERS, OPENAPI
from core.wording.tasks import noun
from pages.experiment.use.code import EXAMPLES, TEXT, curl, python
from pages.shared.ui.access import token_sentence
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.pickers import distinct, pick

TICK = 2.0
"""Seconds between two looks at the figures."""


def examples(lab: Lab, adapters: list[ServedAdapter]) -> None:
    """Show how to ask: draw a choice of adapters, and code for the chosen one and for another one of its base.

    Args:
        lab: has their runs.
        adapters: at least one; the first is chosen at first.
    """
    texts = {each.adapter: f"{each.label}, seed {each.seed} · {each.task} · {each.adapter}" for each in adapters}
    chosen = pick("Adapter", texts, "adapter", "The code below asks this one, and beside it another one of its base.")
    first = next(each for each in adapters if each.adapter == chosen)
    has_classes = objective_of(first.objective).has_classes
    others = (each.adapter for each in adapters if each.base == first.base and each != first)
    names = [chosen, *islice(others, 1)]
    address = str(st.context.url or "http://localhost:8501/serve").rsplit("/", 1)[0]
    continues = first.reads == LANGUAGE
    rows_of = ("Base and adapters", [None, *names]) if continues else ("Rows with adapters", [*names])
    asked: dict[str, tuple[list[str | None], str | None]] = {rows_of[0]: (rows_of[1], None)}
    if lab.store.runs_of([first.base]):  # a network that was imported answers with adapters only
        asked["Base alone"] = ([None], first.base)
    prompt, text = _asked(lab, first)
    if continues:
        st.markdown("The network scores texts that are given, and generates none.")
    for tab, (rows, base) in zip(st.tabs(list(asked)), asked.values(), strict=True):
        with tab:
            for title, code in (("curl", curl), ("Python", python)):
                st.caption(title)
                st.code(
                    code(address, rows, first.reads, base, has_classes, text, prompt), language=None, wrap_lines=True
                )
    if continues:
        st.caption(
            "The answer to each row has the bits per byte of the text, lower is better, and the bits of each token. A "
            "row may have a prompt, too, which stands before the text and is not scored. Conversations are "
            "written as the network's chat template does it; the code above has the first test example."
        )
    st.caption(
        f"A request has at most {count_text(MAX_ROWS)} rows, all on one base. {' '.join(_alone(adapters))} "
        f"{token_sentence()} `python -m core serve --home HOME --port PORT` serves without the pages."
    )
    st.markdown(f"[Description for programs (OpenAPI)]({address}{OPENAPI})")


@st.cache_data(max_entries=64, show_spinner=False, hash_funcs={ServedAdapter: lambda each: each.adapter})
def _asked(_lab: Lab, adapter: ServedAdapter) -> tuple[str, str]:
    """A prompt and a text of what an adapter was tested on, where it reads texts and they are here."""
    if EXAMPLES[adapter.reads].json:
        return "", TEXT
    try:
        return asked_text(_lab, _lab.store.run(adapter.adapter))
    except LabError:
        return "", TEXT


def _alone(adapters: list[ServedAdapter]) -> list[str]:
    """What a row without an adapter gets: a sentence for each kind of base that is there."""
    brought = {each.base: each.reads for each in adapters if is_imported(each.base)}
    found = []
    if any(each.base not in brought for each in adapters):
        found.append(
            "On a base that was pretrained here, a row without an adapter gets the answer of the base alone; where no "
            "row has one, the request names the base."
        )
    if LANGUAGE in brought.values():
        found.append(
            "On an imported network that continues texts, a row without an adapter gets the answer of the network "
            "alone, beside at least one row that names one."
        )
    if {*brought.values()} - {LANGUAGE}:
        found.append(
            "On an imported network that does not continue texts, every row names an adapter, which has the trained "
            "head."
        )
    return found


def figures() -> None:
    """Show how much is answered, how fast, and how often adapters were in memory."""
    found = current().predictor.statistics()
    latest = f"the latest {count_text(LATENCIES)} requests"
    window = f"Over the latest minute, or {latest} where these took less."
    with st.grid(4, min_column_width=150):
        st.metric("Requests per second", number_text(found.rate.requests, 1), border=True, help=window)
        st.metric("Rows per second", number_text(found.rate.rows, 1), border=True, help=window)
        of_latest = f"95th percentile of {latest}, from arrival to answer."
        st.metric("Latency, p95", _latency(found), border=True, help=of_latest)
        size = f"They take {bytes_text(found.use.nbytes)}."
        st.metric("Adapters in memory", count_text(found.use.held), border=True, help=size)
        st.metric("Requests", count_text(found.requests), border=True, help="Since the start.")
        batches = f"Since the start, in {count_text(found.batches)} batches."
        st.metric("Rows", count_text(found.rows), border=True, help=batches)
        st.metric("Cache hits", count_text(found.use.hits), border=True, help="Rows whose adapter was in memory.")
        waited = "Rows that had to wait until their adapter was read from its file."
        st.metric("Cache misses", count_text(found.use.misses), border=True, help=waited)


def _latency(found: Statistics) -> str:
    if not found.seconds:
        return "–"
    high = quantiles(found.seconds, n=20)[-1] if len(found.seconds) > 1 else median(found.seconds)
    return f"{number_text(1000 * high, 1)} ms"


def programs_part(lab: Lab, experiment: Experiment) -> None:
    """Draw how programs ask the adapters of an experiment and others of their base, and how the server is doing."""
    st.markdown(
        "One base in memory, many small adapters beside it: each row of a request may name a different one.",
        help="The base computes all rows at once, and each adapter adds its part. Rows are images or texts, as their "
        "base reads; a base that continues texts answers with the bits of each token.",
    )
    listed = lab.predictor.adapters()
    if not listed.adapters:
        st.info("There is nothing to serve yet: train an adapter first.", icon=":material/info:")
        return
    offered, members = last_read(lab, experiment).offered, set(experiment.runs)
    first = None if offered is None else offered.id
    known = sorted(listed.adapters, key=lambda each: (each.adapter != first, each.adapter not in members))
    examples(lab, known)
    with st.expander("How the server is doing", icon=":material/monitoring:", key="served", on_change="rerun") as fold:
        if fold.open:
            st.fragment(figures, run_every=TICK)()
    with st.expander("All adapters", icon=":material/list:", key="served-adapters"):
        if listed.next:
            st.caption(f"The newest; `GET {ADAPTERS}` lists all, {count_text(MAX_LISTED)} at a time.")
        _table(lab, known)


def _table(lab: Lab, known: list[ServedAdapter]) -> None:
    titles = distinct({card.digest: card.title for card in lab.networks.list()})
    results = {"Accuracy (%)": lambda each: each.accuracy, BITS_PER_BYTE.title: lambda each: each.bits_per_byte}
    shown = {title: value for title, value in results.items() if any(value(each) is not None for each in known)}
    dataframe(
        [
            {
                "Adapter": each.adapter,
                "Reads": noun(each.reads),
                "Base": titles.get(each.base.partition("/")[0], each.base),
                "Method": each.label,
                "Alpha": each.alpha,
                "Learning rate": each.learning_rate,
                "Seed": each.seed,
                "Task": each.task,
                **{title: value(each) for title, value in shown.items()},
                "Size": bytes_text(each.bytes),
            }
            for each in known
        ],
        hide_index=True,
        column_config={
            "Alpha": st.column_config.NumberColumn(format="%.6g"),
            "Learning rate": st.column_config.NumberColumn(format="%.6g"),
            "Accuracy (%)": st.column_config.NumberColumn(format="%.2f"),
            BITS_PER_BYTE.title: st.column_config.NumberColumn(format="%.3f"),
        },
        alt="Adapters that rows can name, with what they have learned",
    )
