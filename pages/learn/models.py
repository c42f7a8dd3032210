"""Sections of the Learn page on whole networks: language models, and one base for many customers."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from pandas.api.types import is_numeric_dtype

from core.errors import LabError
from core.methods.lora import LoRASpec
from core.networks.perceptron import PerceptronSpec
from core.numbers import bytes_text, times_text
from core.study.learn.counting import Network, perceptron, storage
from core.study.learn.figures import storage_figure
from core.study.learn.language_models import (
    OWN,
    counted_file,
    language_models,
    model_table,
    projection_table,
    target_choices,
)
from core.study.report.shown import CUSTOMERS
from pages.shared.ui.customers import CHOICES
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.figure_panel import chart
from pages.shared.ui.literal import literal

MODEL_RANKS = [1, 2, 4, 8, 16, 32, 64, 128, 256]


@st.cache_data(max_entries=4, ttl="30m", show_spinner="Counting")
def _counted(content: bytes) -> Network | str:
    """A network, or what is wrong with its config."""
    try:
        return counted_file(content)
    except LabError as error:
        return str(error)


def _own() -> Network | None:
    """Draw the field for a config.json; return what it describes, if there is one."""
    file = st.file_uploader(
        "config.json",
        max_upload_size=1,
        type=["json"],
        key="learn_config",
        help="Of a language model that transformers has; its weights are not needed.",
    )
    found = None if file is None else _counted(file.getvalue())
    if isinstance(found, str):
        st.error(literal(found))
        return None
    return found


def model_counts() -> tuple[Network, int]:
    """Show the counts for published models; return the chosen model, and the rank."""
    st.header("For language models", anchor="models")
    st.markdown(
        "The blocks of a language model consist of such layers: four projections for attention ($q$, $k$, $v$ and the "
        "output) and two or three for the feed-forward part. With grouped-query attention, keys and values "
        "have fewer heads than queries, which is why `k_proj` and `v_proj` are narrower in newer models."
    )
    rank = int(st.select_slider("Rank of all adapters", MODEL_RANKS, 16, key="learn_model_rank", bind="query-params"))
    st.space("small")  # the ends of the slider's scale lie below it
    counts_table(
        model_table(rank),
        {
            "model": "Model",
            "parameters": "Parameters",
            "attention": "Attention only",
            "attention_percent": "% of all",
            "all_linear": "All linear",
            "all_linear_percent": "% of all ",
            "adam_full": "Adam, full",
            "adam_lora": "Adam, LoRA",
            "adam_saved": "Adam, saved",
        },
        {
            "attention_percent": "%.2f %%",
            "all_linear_percent": "%.2f %%",
            **dict.fromkeys(("adam_full", "adam_lora", "adam_saved"), "bytes"),
        },
        f"Language models with what LoRA of rank {rank} trains and the optimizer memory it saves.",
    )
    st.caption(
        "Attention only: all four projections. All linear: also the projections of the feed-forward part; embeddings "
        "and output layer stay frozen. Adam: two float32 means per trained number, with adapters on all linear layers."
    )
    models = language_models()
    usual, names = models["Llama 3 8B"], [*models, OWN]
    name = st.selectbox("Model in detail", names, names.index(usual.name), key="learn_model", bind="query-params")
    network = _own() if name == OWN else models[name]
    if network is None:
        return usual, rank
    _in_detail(network, rank)
    return network, rank


def _in_detail(network: Network, rank: int) -> None:
    """Draw the layers of a model, and what adapters on the chosen ones train."""
    choices = target_choices(network)
    chosen = st.selectbox(
        "Layers with adapters", list(choices), len(choices) - 1, key="learn_targets", bind="query-params"
    )
    targets = choices[chosen]
    st.metric("Trained numbers", f"{network.trainable(rank, *targets):,}", help=f"Target: `{','.join(targets)}`")
    counts_table(
        projection_table(network, rank),
        {
            "layer": "Layer",
            "in": "Inputs",
            "out": "Outputs",
            "copies": "Layers",
            "lora": "A and B, per layer",
            "times_fewer": "Reduction",
            "lora_all": "A and B, all layers",
            "fields": "Shape by config fields",
        },
        {"times_fewer": "%.0f ×"},
        f"The linear layers of {network.name} with their shapes and what LoRA of rank {rank} trains.",
    )
    layer = f"is a layer of its own, {network.output:,} of them" if network.output else "is the embedding, counted once"
    total = f"Including embeddings and norms, they add up to {network.parameters:,} parameters"
    if not network.checkpoint:
        st.caption(f"{total}; the output layer {layer}.")
        return
    fields = ", ".join(f"`{key}` {value:,}" for key, value in network.config.items())
    # Text that is as small as a caption, and not as pale, since nobody could read the link.
    st.markdown(
        f":small[From `config.json` of [{network.checkpoint}](https://huggingface.co/{network.checkpoint}): {fields}. "
        f"{total}, the published count; the output layer {layer}.]"
    )


def many_customers(model: Network, rank: int) -> None:
    """Show disk space for many fine-tuned networks: full copies, or one base with many adapters."""
    st.header("One base, many adapters", anchor="customers")
    st.markdown(
        "Suppose every customer gets their own fine-tuned network. With full fine-tuning, each is a complete copy. "
        "With LoRA, all share one base, which is stored and loaded once; only the adapters differ. A server keeps the "
        "base in memory and picks $A$ and $B$ for each request, which adds a small product to the large one."
    )
    customers = int(st.select_slider("Customers", CHOICES, CUSTOMERS, key="learn_customers", bind="query-params"))
    own = perceptron(PerceptronSpec())
    for title, network, r in (("LoRA Lab's default network", own, LoRASpec().rank), (model.name, model, rank)):
        need = storage(network, r, customers)
        with st.container(border=True):
            st.markdown(
                f"**{title}**, {network.parameters:,} parameters of {network.bytes_each} bytes; adapters of rank {r} "
                f"on all linear layers, {network.trainable(r):,} numbers each"
            )
            with st.grid(3, min_column_width=150):
                st.metric("Full copies", bytes_text(need.full_copies))
                st.metric("Base and adapters", bytes_text(need.shared))
                st.metric("Storage reduction", f"{times_text(need.full_copies / need.shared)} ×")
            if need.shared > need.full_copies:
                st.caption("For a single customer, LoRA stores more: the base and an adapter.")
    need = storage(model, rank, customers)
    alt = (
        f"Disk space against number of customers for {model.name}: for {customers:,}, full copies take "
        f"{bytes_text(need.full_copies)}, one base with adapters takes {bytes_text(need.shared)}."
    )
    chart(storage_figure(model, rank, customers), "learn_storage", alt)
    st.caption(f"{model.name} at rank {rank}, as chosen in the section above, without file headers.")


def counts_table(frame: pd.DataFrame, labels: dict[str, str], formats: dict[str, str], alt: str) -> None:
    """Draw the columns that have a label, the first one pinned; ``formats`` are of those that are not counts."""
    first, *_ = labels
    dataframe(
        frame[list(labels)],
        hide_index=True,
        height="content",
        column_config={
            name: st.column_config.NumberColumn(label, format=formats.get(name, "localized"))
            if is_numeric_dtype(frame[name])
            else st.column_config.TextColumn(label, pinned=True if name == first else None)
            for name, label in labels.items()
        },
        alt=alt,
    )
