"""The Learn page: an explanation of LoRA with numbers that are computed live."""

from __future__ import annotations

import streamlit as st

from core.lab import current
from core.methods.lora import LoRASpec
from core.networks.perceptron import PerceptronSpec
from core.study.learn import demonstration
from pages.learn.adapters import where_adapters_go
from pages.learn.matrix import beside_the_weight, merging, quiet_start, two_ways
from pages.learn.models import many_customers, model_counts
from pages.shared.ui.dataframe import dataframe
from pages.shared.ui.links import ENTRIES, link

READING_WIDTH = 880
"""Width of the text in pixels; longer lines are hard to read."""

SECTIONS = {
    "formulas": "Formulas",
    "count": "Counting",
    "beside": "Separate branch",
    "start": "Initialization",
    "merge": "Merging",
    "where": "Transformers",
    "models": "Language models",
    "customers": "Many adapters",
    "code": "Code",
    "settings": "Settings",
    "forgetting": "Forgetting",
    "next": "Next steps",
}

NEXT = {
    "home": "trains a base, fine-tunes it with both methods and compares them, with one click.",
    "new": "lets you choose task, rank, alpha, learning rates and seeds.",
    "experiment": "tells real differences from noise between seeds.",
}
"""Pages to visit next, and what each is for."""


def from_scratch() -> None:
    """Offer the file to read first."""
    st.markdown(
        "To read code first, start with `examples/from_scratch.py`: data, network, pretraining, the LoRA layer, "
        "freezing, fine-tuning, merging and the comparison in one file that needs torch alone. It comes with LoRA Lab, "
        "and `python examples/from_scratch.py` takes some ten seconds."
    )
    with st.expander("Read examples/from_scratch.py"):
        # The colors of Python are too pale for AA, and a wide line would scroll where the keyboard cannot.
        st.code(demonstration.from_scratch(), language=None, wrap_lines=True)


def in_code() -> None:
    """Show a Python program that uses LoRA, and its output."""
    st.header("LoRA in code", anchor="code")
    st.markdown(
        "With LoRA Lab's library, it takes three steps: replace each linear layer by one with an adapter, freeze the "
        "linear layers, and train the remaining parameters."
    )
    spec = LoRASpec()
    rank = st.slider(
        "Rank on all three layers",
        1,
        PerceptronSpec().num_classes,
        spec.rank,
        key="learn_code_rank",
        bind="query-params",
    )
    printed = demonstration.inventory(rank, spec.alpha)
    st.code(demonstration.listing(rank, spec.alpha), language=None)
    st.markdown("It prints the module tree, with an adapter beside each linear layer, and the parameter count:")
    st.code(f"{printed.tree}\n{printed.trainable:,} of {printed.total:,} parameters train", language=None)
    st.markdown("The `requires_grad` of each parameter tells whether it is trained or frozen:")
    dataframe(
        printed.parameters,
        hide_index=True,
        height="content",
        column_config={
            "name": "Parameter",
            "shape": "Shape",
            "numbers": st.column_config.NumberColumn("Size", format="localized"),
            "requires_grad": st.column_config.CheckboxColumn("requires_grad"),
        },
        alt="Every parameter of the adapted network with its shape and whether it is trained.",
    )
    st.caption("PyTorch stores $W$ transposed, so the first dimension of `linear.weight` is the outputs.")
    st.markdown("For your own networks, `add_lora` finds the layers by name and freezes everything else:")
    st.code(demonstration.ADD_LORA, language=None)


def settings() -> None:
    """Explain rank, alpha and scaling, with the factor s at several ranks."""
    st.header("Rank, alpha and scaling", anchor="settings")
    st.markdown(
        "- **Rank** $r$ is the number of directions that the change can have. It determines how many numbers are "
        "trained and stored, and what the adapter can express. Start with 4 to 16; raise it as long as the validation "
        "loss improves.\n"
        "- **Alpha** $\\alpha$ is the strength of the adapter's output. It adds no parameters and no cost.\n"
        "- **Scaling** determines how $\\alpha$ becomes the factor $s$. With $\\alpha / r$, as in the paper and PEFT, "
        "a higher rank does not by itself make the change larger, so a learning rate that suits one rank is a good "
        "start for another. With $\\alpha / \\sqrt{r}$ (rsLoRA), high ranks keep more of their effect. With $\\alpha$ "
        "alone, $s$ does not depend on the rank.\n"
        "- **Learning rate** belongs in this list because a larger $s$ and a higher learning rate have similar "
        "effects, so tune one and fix the other. LoRA's best rate is often several times that of full fine-tuning."
    )
    alpha = st.slider("Alpha", 1, 64, int(LoRASpec().alpha), key="learn_scaling_alpha", bind="query-params")
    st.space("small")  # the ends of the slider's scale lie below it
    table = demonstration.scalings(float(alpha), (1, 2, 4, 8, 16, 32, 64))
    dataframe(
        table,
        hide_index=True,
        column_config={
            "rank": "Rank",
            **{name: st.column_config.NumberColumn(f"s = {name}", format="%.3f") for name in demonstration.SCALINGS},
        },
        alt=f"The factor s with alpha {alpha} for ranks 1 to 64 and the three scalings.",
    )


def forgetting() -> None:
    """Explain what is lost of what the base had learned, and why methods are compared at equal accuracy."""
    st.header("Forgetting", anchor="forgetting")
    st.markdown(
        "A base was trained on a **source**, and fine-tuning teaches it a **target**. What it answered rightly on the "
        "source it may answer wrongly afterward: that is forgetting. Frozen weights do not prevent it, because the "
        "network that answers is $W + s\\,AB$. More of the target costs more of the source, and so does a higher "
        "learning rate, often more than the method does: LoRA at its own rate may forget more than full fine-tuning at "
        "a lower one. So the question is how much each forgets *where both have learned equally much*, as in *LoRA "
        "Learns Less and Forgets Less* below. Compare's Forgetting tab draws that curve from your own runs."
    )


def where_next() -> None:
    """Show links to other pages and to papers."""
    st.header("Where to go next", anchor="next")
    for page, line in NEXT.items():
        with st.container(horizontal=True, vertical_alignment="center"):
            link(page, ENTRIES[page].title)
            st.markdown(line)
    st.markdown(
        "Papers: [LoRA](https://arxiv.org/abs/2106.09685), [rsLoRA](https://arxiv.org/abs/2312.03732), and on the "
        "limits of LoRA, [LoRA Learns Less and Forgets Less](https://arxiv.org/abs/2405.09673)."
    )


with st.container(width=READING_WIDTH):
    st.title("Learn LoRA", anchor=False)
    st.markdown(
        "LoRA fine-tunes a network by training a few additional numbers while the original weights stay frozen. This "
        "page explains why that works and what it saves. All numbers are computed live as you move the sliders. Your "
        "settings stay while you visit other pages, and the page's address has them, so you can share what you see; "
        "opened anew without them, the page starts with its example."
    )
    st.markdown(" · ".join(f"[{title}](#{anchor})" for anchor, title in SECTIONS.items()))
    from_scratch()
    two_ways()
    beside_the_weight()
    quiet_start()
    merging()
    where_adapters_go(current())
    many_customers(*model_counts())
    in_code()
    settings()
    forgetting()
    where_next()
