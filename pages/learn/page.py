"""The Learn page: what LoRA trains in a layer and in a network, merging, and the code, computed live."""

from __future__ import annotations

import streamlit as st

from core.lab import Lab, current
from core.methods.lora import LoRASpec
from core.numbers import bytes_text, count_text, percent, times_text, unbroken
from core.spec import bounds
from core.study.learn.counting import (
    ADAM_STATE,
    OWN,
    LayerCount,
    Network,
    count_file,
    count_spec,
    language_models,
)
from core.study.learn.listings import ADD_LORA, from_scratch, printed
from core.study.learn.merging import MERGED_LAYER, merge_and_unmerge
from pages.learn import diagram
from pages.shared.ui.customers import customers
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.literal import errors_shown, literal

READING_WIDTH = 880
"""Width of the page in pixels; longer lines are hard to read."""

NETWORK_RANKS = [1, 2, 4, 8, 16, 32, 64, 128, 256]
MERGE_RANKS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128]

WHAT = (
    "LoRA fine-tunes a network by training two narrow matrices beside each weight, while the weight stays frozen. "
    "All numbers on this page are computed as you move the sliders, and its address keeps your settings."
)
WHY = (
    "However long fine-tuning takes, it ends with one matrix that was added to $W$: $\\Delta W$. Full fine-tuning "
    "allows any; LoRA allows those with $r$ directions. That is often enough, since a new task mostly reuses what "
    "the base has learned. It is a hypothesis, not a theorem: LoRA Lab measures what it costs. A rank above the "
    "smaller side of $W$ would add nothing, so it is limited to that."
)
MORE = """
- **Start.** $A$ begins with random numbers and $B$ with zeros, so $AB$ is zero: before the first step, the adapted
  network computes exactly what the base computes.
- **Rank** $r$ is the number of directions that the change can have. Start with 4 to 16; raise it as long as the
  validation loss improves.
- **Alpha** is the strength of the adapter: $s = \\alpha / r$, so that a higher rank does not by itself make the change
  larger. rsLoRA has $\\alpha / \\sqrt{r}$.
- **Learning rate.** LoRA's best is often several times that of full fine-tuning. A larger $s$ acts like a higher rate,
  so tune one and fix the other.
- **Forgetting.** Frozen weights do not prevent it, because the network that answers is $W + s\\,AB$. Compare methods
  where both have learned equally much, as Compare's Forgetting tab does.

Papers: [LoRA](https://arxiv.org/abs/2106.09685), [rsLoRA](https://arxiv.org/abs/2312.03732), and on its limits
[LoRA Learns Less and Forgets Less](https://arxiv.org/abs/2405.09673).
"""


def in_a_layer() -> None:
    """Draw W beside A and B to scale, with sliders for the shape and the rank, and what each method trains."""
    limits = bounds(LoRASpec, "rank")
    rank = st.slider(
        "Rank r", int(limits.low or 1), int(limits.high or 1), 2, key="learn_rank", bind="query-params", help=WHY
    )
    left, right = st.columns(2, gap="large")
    with right:
        with st.container(horizontal=True):
            inputs = st.number_input("Inputs", 1, 65_536, 1000, key="learn_in", bind="query-params", width=140)
            outputs = st.number_input("Outputs", 1, 65_536, 1000, key="learn_out", bind="query-params", width=140)
        count = LayerCount(int(inputs), int(outputs), rank)
        ratio = count.full / count.lora
        with st.grid(2, min_column_width=140):
            st.metric("Full fine-tuning", count_text(count.full), help="Numbers in ΔW: in · out.")
            st.metric("LoRA", count_text(count.lora), help="Numbers in A and B: r · (in + out).")
            st.metric("Reduction", f"{count_text(ratio) if ratio == int(ratio) else times_text(ratio)} ×")
            st.metric(
                "No savings from rank",
                count_text(count.first_rank_without_saving),
                help="in · out / (in + out): half the side of a square matrix. Larger layers save more.",
            )
    with left:
        alt = f"W, {inputs:,} by {outputs:,}, and beside it the narrow A and B of rank {count.used_rank:,}, to scale."
        st.image(diagram.matrices(count), width="stretch", alt=alt)
        st.caption(
            "Areas are to scale. $W$ is frozen. Full fine-tuning trains all of the dashed $\\Delta W$; LoRA trains "
            "$A$ and $B$, whose product it is."
        )


def in_a_network(lab: Lab) -> None:
    """Show what LoRA trains in a network that is described by its config, and what many adapters of it take on disk."""
    st.header(
        "Counting in a network",
        anchor="count",
        help="A transformer is a stack of equal blocks. **Attention** lets every token look at the others; the "
        "**feed-forward** part works on each token alone. An adapter can stand beside any of their linear layers.",
    )
    network = _network(lab)
    if network is None:
        return
    left, right = st.columns(2, gap="large")
    with right:
        rank = int(
            st.select_slider("Rank of all adapters", NETWORK_RANKS, 16, key="learn_model_rank", bind="query-params")
        )
        st.space("small")  # the ends of the slider's scale lie below it
        choices = network.choices
        name = st.selectbox("Layers with adapters", list(choices), key="learn_targets", bind="query-params")
        chosen = choices[name]
        table = network.table(chosen, rank)
        adapters = int(table["A and B, all"].sum())
        trained = adapters + network.head
        share = percent(100 * trained / network.parameters)
        st.metric(
            "Trained numbers",
            count_text(adapters),
            f"{share} of {count_text(network.parameters)}{', head included' * bool(network.head)}",
            delta_color="off",
            delta_arrow="off",
        )
        with st.grid(2, min_column_width=140):
            about = "Two float32 means for each trained number."
            st.metric("Adam, full", bytes_text(ADAM_STATE * network.parameters), help=about)
            st.metric("Adam, LoRA", bytes_text(ADAM_STATE * trained), help=about)
    with left:
        st.image(
            diagram.blocks(network, chosen),
            width="stretch",
            alt=f"{network.name}: {network.blocks} blocks with adapters on {', '.join(kind.label for kind in chosen)}.",
        )
    with st.expander("Layer by layer"):
        dataframe(
            table,
            hide_index=True,
            height="content",
            column_config={column: st.column_config.NumberColumn(format="localized") for column in table.columns[1:]},
            alt=f"The linear layers of {network.name} with their shapes and what LoRA of rank {rank} trains.",
        )
        if network.checkpoint:
            st.markdown(f"From `config.json` of [{network.checkpoint}](https://huggingface.co/{network.checkpoint}).")
    many_adapters(network, trained)


def _network(lab: Lab) -> Network | None:
    """Draw the choice of a network: published, imported, or that of a config.json, without which there is none yet."""
    published = language_models()
    imported = {f"{card.title} · {card.digest[:8]}": card.digest for card in lab.networks.list()}
    names = [*published, *imported, OWN]
    name = st.selectbox("Network", names, names.index("Llama 3 8B"), key="learn_network", bind="query-params")
    if name in published:
        return published[name]
    if name in imported:
        return count_spec(name, lab.networks.spec(imported[name]))
    file = st.file_uploader(
        "config.json",
        max_upload_size=1,
        type=["json"],
        key="learn_config",
        help="Of a language model that transformers has; its weights are not needed.",
    )
    return None if file is None else _counted(file.getvalue())


@st.cache_data(max_entries=4, ttl="30m", show_spinner="Counting")
def _counted(content: bytes) -> Network:
    return count_file(content)


def many_adapters(network: Network, trained: int) -> None:
    """Compare the disk space of a full copy per customer with that of one base and an adapter per customer."""
    st.header(
        "One base, many adapters",
        anchor="customers",
        help="With full fine-tuning, every customer has a complete copy. With LoRA, all share one base, which is "
        "stored and loaded once; a server picks $A$ and $B$ for each request.",
    )
    number = customers("learn_customers", "Each has a network of their own.", bind="query-params")
    full, shared = network.storage(trained, number)
    with st.grid(3, min_column_width=150):
        st.metric("Full copies", bytes_text(full))
        st.metric("Base and adapters", bytes_text(shared))
        st.metric("Storage reduction", f"{times_text(full / shared)} ×")
    st.caption(f"{literal(network.name)} with the adapter from above, {network.bytes_each} bytes a number.")


def merging() -> None:
    """Compare two branches with one product: the same outputs at a different cost per input."""
    st.header(
        "Merging",
        anchor="merge",
        help="A merged network is as fast as the base and needs no LoRA code. Subtracting $s\\,AB$ would not restore "
        "$W$ exactly, because sums are rounded, so `merge` keeps a copy that `unmerge` restores. Keep $A$ and $B$ "
        "apart to train, or to switch adapters between inputs; merge them to serve a single task.",
    )
    st.markdown("$x\\,(W + s\\,AB) = xW + s\\,(xA)\\,B$, so after training one product can replace three.")
    rank = int(
        st.select_slider("Rank in a layer of 784 × 128", MERGE_RANKS, 4, key="learn_merge_rank", bind="query-params")
    )
    st.space("small")
    count = LayerCount(*MERGED_LAYER, rank)
    difference, is_restored = merge_and_unmerge(0, rank)
    with st.grid(4, min_column_width=170):
        more = unbroken(f"{percent(100 * count.lora / count.full, 1)} more")
        about = "Multiplications per input; $s$ can be folded into $B$."
        st.metric(
            "Two branches", count_text(count.full + count.lora), more, delta_color="off", delta_arrow="off", help=about
        )
        st.metric("Merged", count_text(count.full), "as the base", delta_color="off", delta_arrow="off", help=about)
        st.metric(
            "Largest difference", f"{difference:.1e}".replace("e-0", "e-"), help="Of outputs, by rounding; 64 inputs."
        )
        st.metric("W after unmerging", "bit-identical" if is_restored else "changed")


def in_code() -> None:
    """List a program that adds adapters with what it prints, and the file to read first."""
    st.header("In code", anchor="code")
    # The colors of Python are too pale for AA, and a wide line would scroll where the keyboard cannot.
    st.code(ADD_LORA, language=None, wrap_lines=True)
    st.code(printed(), language=None, wrap_lines=True)
    with st.expander("All of it from scratch, with torch alone: `examples/from_scratch.py`"):
        st.code(from_scratch(), language=None, wrap_lines=True)
    with st.expander("Start, rank, alpha, learning rate and forgetting"):
        st.markdown(MORE)


with st.container(width=READING_WIDTH):
    st.title("Learn LoRA", anchor=False, help=WHAT)
    in_a_layer()
    with errors_shown():
        in_a_network(current())
    merging()
    in_code()
