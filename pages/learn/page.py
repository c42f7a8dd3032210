"""Learn: what LoRA is, told with numbers that are computed while one reads."""

from __future__ import annotations

import streamlit as st

from core.spec import LoRASpec, ModelSpec
from core.study.learn import demonstration
from pages.learn.matrix import beside_the_weight, merging, quiet_start, two_ways
from pages.learn.models import language_models, many_customers
from pages.shared.links import ENTRIES, link

READING_WIDTH = 880
"""Pixels; longer lines are hard to follow."""

SECTIONS = {
    "formulas": "Two formulas",
    "count": "Counting",
    "beside": "Beside the weight",
    "start": "A quiet start",
    "merge": "Merging",
    "models": "Language models",
    "customers": "Many customers",
    "code": "In code",
    "settings": "Settings",
    "next": "Where next",
}

NEXT = {
    "home": "does the whole job with one button: a base, both methods, the comparison.",
    "finetune": "lets you choose task, rank, alpha, learning rates and seeds.",
    "compare": "tells a difference from the noise between seeds.",
}
"""Pages to go on to, and what each is for."""


def in_code() -> None:
    """The same in Python: what one writes, and what it prints."""
    st.header("In code", anchor="code")
    st.markdown(
        "With the lab's library it takes three steps: put a layer with an adapter in place of each linear layer, "
        "freeze the linear layers, and train what is left."
    )
    spec = LoRASpec()
    rank = st.slider(
        "Rank on all three layers", 1, ModelSpec().num_classes, spec.rank, key="learn_code_rank", bind="query-params"
    )
    printed = demonstration.inventory(rank, spec.alpha)
    st.code(demonstration.listing(rank, spec.alpha), language="python")
    st.markdown("It prints the tree of modules, with an adapter beside each linear layer, and the count:")
    st.code(f"{printed.tree}\n{printed.trainable:,} of {printed.total:,} parameters train", language=None)
    st.markdown("What is frozen and what trains stands in each parameter's `requires_grad`:")
    st.dataframe(
        printed.parameters,
        hide_index=True,
        height="content",
        column_config={
            "name": "Parameter",
            "shape": "Shape",
            "numbers": st.column_config.NumberColumn("Numbers", format="localized"),
            "requires_grad": st.column_config.CheckboxColumn("requires_grad"),
        },
        alt="Every parameter of the adapted network, its shape, and whether training changes it.",
    )
    st.caption(
        "`linear.weight` has its shape the other way round: PyTorch stores $W$ transposed, outputs first. For networks "
        "of your own, `add_lora(network, LoRASpec(rank=4))` finds the layers by name and freezes everything else."
    )


def settings() -> None:
    """What rank, alpha and scaling mean, with the factor for each rank."""
    st.header("Rank, alpha and scaling", anchor="settings")
    st.markdown(
        "- **Rank** $r$ is how many directions the change can have. It sets what is trained and stored, and how much "
        "the adapter can express. Start at 4 to 16; raise it while the validation loss still falls for it.\n"
        "- **Alpha** $\\alpha$ is the strength of the adapter's output. It trains nothing and costs nothing.\n"
        "- **Scaling** says how $\\alpha$ becomes the factor $s$. With $\\alpha / r$, the paper's and PEFT's choice, a "
        "higher rank does not make the change larger by itself, so a learning rate that suits one rank is a fair start "
        "for the next. With $\\alpha / \\sqrt{r}$ (rsLoRA) high ranks keep more of their pull. Plain $\\alpha$ ignores "
        "the rank.\n"
        "- **Learning rate** belongs in this list: doubling $s$ and raising the learning rate push in the same "
        "direction, so tune one and leave the other. LoRA's best rate is often several times that of full fine-tuning."
    )
    alpha = st.slider("Alpha", 1, 64, int(LoRASpec().alpha), key="learn_scaling_alpha", bind="query-params")
    table = demonstration.scalings(float(alpha), (1, 2, 4, 8, 16, 32, 64))
    st.dataframe(
        table,
        hide_index=True,
        column_config={
            "rank": "Rank",
            **{name: st.column_config.NumberColumn(f"s = {name}", format="%.3f") for name in demonstration.SCALINGS},
        },
        alt=f"The factor s at alpha {alpha} for ranks 1 to 64 and the three scalings.",
    )


def where_next() -> None:
    """What to do with it."""
    st.header("Where to go next", anchor="next")
    for page, line in NEXT.items():
        with st.container(horizontal=True, vertical_alignment="center"):
            link(page, ENTRIES[page].title)
            st.markdown(line)
    st.markdown(
        "The papers: [LoRA](https://arxiv.org/abs/2106.09685), [rsLoRA](https://arxiv.org/abs/2312.03732), and on when "
        "it falls short, [LoRA learns less and forgets less](https://arxiv.org/abs/2405.09673)."
    )


with st.container(width=READING_WIDTH):
    st.title("Learn LoRA", anchor=False)
    st.markdown(
        "LoRA fine-tunes a network by training a few numbers *beside* its weights and leaving the weights alone. Here "
        "is why that works and what it saves. Every number is computed as you move a slider, and the address "
        "keeps your settings, so a link shows somebody else what you see."
    )
    st.caption(" · ".join(f"[{title}](#{anchor})" for anchor, title in SECTIONS.items()))
    two_ways()
    beside_the_weight()
    quiet_start()
    merging()
    many_customers(*language_models())
    in_code()
    settings()
    where_next()
