"""The Serve page: how programs get answers from adapters, and how the server is doing."""

from __future__ import annotations

from statistics import median, quantiles

import streamlit as st

from core.lab import current
from core.serving.predictor import LATENCIES, Statistics
from core.serving.request import MAX_ROWS, ServedAdapter
from core.web.predict import OPENAPI
from core.wording.numbers import bytes_text, count_text, number_text
from pages.serve.examples import curl, python
from pages.shared.links import link

TICK = 2.0
"""Seconds between two looks at the figures."""

lab = current()


def examples(adapters: list[ServedAdapter]) -> None:
    """Show how to ask, with adapters that are there."""
    first = adapters[0]
    names = [each.adapter for each in adapters if each.base == first.base][:2]
    address = str(st.context.url or "http://localhost:8501/serve").rsplit("/", 1)[0]
    shell, program = st.tabs(["curl", "Python"])
    with shell:
        st.code(curl(address, names, first.reads), language=None, wrap_lines=True)
    with program:
        st.code(python(address, names, first.reads), language=None, wrap_lines=True)
    st.caption(
        f"A request has at most {count_text(MAX_ROWS)} rows, all on one base. A row whose adapter is null gets the "
        "answer of the base alone; where no row has one, the request names the base. A server that requires a token "
        "expects it in a header, `Authorization: Bearer TOKEN`. `python -m core serve --home HOME --port PORT` serves "
        "without the pages."
    )
    st.markdown(f"[Description for programs (OpenAPI)]({address}{OPENAPI})")


@st.fragment(run_every=TICK)
def figures() -> None:
    """Show what was answered since the start."""
    found = lab.predictor.statistics()
    with st.grid(4, min_column_width=150):
        st.metric("Requests", count_text(found.requests), border=True)
        st.metric("Rows", count_text(found.rows), border=True, help=f"In {count_text(found.batches)} batches.")
        latest = f"95th percentile of the latest {count_text(LATENCIES)} requests, from arrival to answer."
        st.metric("Latency, p95", _latency(found), border=True, help=latest)
        st.metric(
            "Adapters in memory",
            count_text(found.use.held),
            border=True,
            help=f"{bytes_text(found.use.nbytes)}. {count_text(found.use.hits)} rows found theirs in memory, "
            f"{count_text(found.use.misses)} had to wait until it was read.",
        )


def _latency(found: Statistics) -> str:
    if not found.seconds:
        return "–"
    high = quantiles(found.seconds, n=20)[-1] if len(found.seconds) > 1 else median(found.seconds)
    return f"{number_text(1000 * high, 1)} ms"


st.title("Serve")
st.markdown(
    "One base in memory, many small adapters beside it: each row of a request may name a different adapter. The base "
    "computes all rows at once, and each adapter adds its part. Rows are images or texts, as their base reads."
)
known = lab.predictor.adapters()
if not known:
    st.info("There is nothing to serve yet: train an adapter first.", icon=":material/info:")
    link("finetune", "Fine-tune with LoRA")
    st.stop()
figures()
st.subheader("Ask")
examples(known)
st.subheader("Adapters")
st.dataframe(
    [
        {
            "Adapter": each.adapter,
            "Reads": f"{each.reads}s",
            "Base": each.base,
            "Method": each.label,
            "Seed": each.seed,
            "Task": each.task,
            "Accuracy (%)": each.accuracy,
            "Size": bytes_text(each.bytes),
        }
        for each in known
    ],
    hide_index=True,
    column_config={
        "Base": st.column_config.TextColumn(width="small"),  # the digest of a brought network is long
        "Accuracy (%)": st.column_config.NumberColumn(format="%.2f"),
    },
    alt="Adapters that rows can name, with what they have learnt",
)
