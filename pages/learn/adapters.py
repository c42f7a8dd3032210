"""The section of the Learn page on where adapters go in a transformer, drawn from the network itself."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from core.data.dataset import LANGUAGE
from core.errors import LabError
from core.lab import Lab
from core.methods.method import MethodSpec, Role
from core.methods.registry import methods
from core.networks.causal import TESTED, CausalSpec
from core.networks.imported import ImportedSpec
from core.numbers import count_text, percent
from core.study.figures.palette import LORA
from core.study.learn.architectures import Adapted, adapted, alt_text, known_architectures
from core.study.learn.counting import KindOfLayer, kinds_table
from pages.learn.diagram import WIDTH, box, svg, text
from pages.learn.models import counts_table
from pages.shared.forms.adapter import RANK_CHOICES
from pages.shared.forms.layers import layer_form
from pages.shared.ui.literal import literal

LAYER = 30
"""Height of a layer, with the space below it."""

EDGE, INSET = 8, 22
"""Distance of boxes from the frame, and of layers in a block."""

STYLE = f"""<style>
.left {{ text-anchor: start }} .right {{ text-anchor: end }}
.block {{ fill: none; stroke: #808080; stroke-width: 1.5 }}
.light {{ fill: #fff }} .new {{ fill: none; stroke: {LORA}; stroke-width: 1.5; stroke-dasharray: 4 3 }}
@media (prefers-color-scheme: dark) {{ .light {{ fill: #fff }} }}
</style>"""


def network_drawing(found: Adapted) -> str:
    """Draw the layers of one block, what repeats it, and the layers outside of the blocks, from the input down."""
    parts: list[str] = [STYLE, text(WIDTH / 2, 14, "tokens"), text(WIDTH / 2, 34, "embeddings: frozen", "faint")]
    top, y = 52.0, 52.0 + 24
    inside = [kind for kind in found.kinds if kind.is_in_blocks]
    parts.append(text(WIDTH - INSET, y - 8, f"{found.blocks} blocks like this", "faint right"))
    role = ""
    for kind in inside:
        title = (kind.role or "other").capitalize()
        if title != role:
            y += 16
            parts.append(text(INSET, y, title, "left"))
            role, y = title, y + 12
        parts += _layer(kind, y)
        y += LAYER
    parts.append(box(EDGE, top, WIDTH - 2 * EDGE, y + 6 - top, "block"))
    y += 18
    for kind in (kind for kind in found.kinds if not kind.is_in_blocks):
        parts += _layer(kind, y)
        y += LAYER
    look, what = ("new", "new head: trained whole") if found.head else ("frozen", "output layer: frozen")
    parts += [box(INSET, y, WIDTH - 2 * INSET, LAYER - 6, look), text(WIDTH / 2, y + 12, what)]
    return svg(y + LAYER + 4, *parts)


def _layer(kind: KindOfLayer, y: float) -> list[str]:
    """One layer as a bar with its name, its shape, and in how many blocks it has an adapter if not in all."""
    ink = "light" if kind.chosen else ""
    some = 0 < len(kind.chosen) < len(kind.paths)
    count = f"{len(kind.chosen)} of {len(kind.paths)} · " if some else ""
    middle = y + (LAYER - 6) / 2
    return [
        box(INSET, y, WIDTH - 2 * INSET, LAYER - 6, "lora" if kind.chosen else "frozen"),
        text(INSET + 10, middle, kind.label, f"left {ink}"),
        text(WIDTH - INSET - 10, middle, f"{count}{kind.shape}", f"right {ink}"),
    ]


def where_adapters_go(lab: Lab) -> None:
    """Show a transformer with adapters on the chosen layers, and what each adapter method trains in it."""
    st.header("Where adapters go", anchor="where")
    st.markdown(
        "A transformer is a stack of equal blocks. In each block, **attention** lets every token look at the others: "
        "it has linear layers for queries, keys, values and its output. The **feed-forward** part then works on each "
        "token alone, with two or three wider layers. An adapter can stand beside any of them: beside all, it can "
        "change most; beside those of attention alone, it is smaller. A classifier at the end is new, so every "
        "method trains it whole; the output layer of a network that continues texts stays as it is."
    )
    networks = _networks(lab)
    name = st.selectbox("Network", list(networks), key="learn_network", bind="query-params")
    network = networks[name]
    left, right = st.columns(2, gap="large")
    with right:
        rank = int(st.select_slider("Rank", RANK_CHOICES, 8, key="learn_where_rank", bind="query-params"))
        targets = layer_form("learn-where", network)
    if not targets:
        st.info("Choose at least one kind of layer.", icon=":material/info:")
        return
    try:
        found = {
            kind.short: adapted(network, _of_rank(kind, rank).on(targets)) for kind in methods(Role.ADAPTER).values()
        }
    except LabError as error:
        st.warning(literal(str(error)))
        return
    first, *_ = found.values()
    with left:
        st.image(network_drawing(first), width="stretch", alt=alt_text(first))
    with right:
        for title, each in found.items():
            st.metric(
                f"{title}, rank {rank}" if each.rank else title,
                count_text(each.adapters),
                f"{percent(each.share)} of the network{', head included' * bool(each.head)}",
                delta_color="off",
                delta_arrow="off",
                border=True,
            )
        kind = "a language model" if network.learns == LANGUAGE else "a classifier with two classes"
        head = f", {count_text(first.head)} of them in the new head" if first.head else ""
        st.caption(
            f"{literal(first.name)} has {count_text(first.parameters)} parameters as {kind}{head}. Full fine-tuning "
            "trains all of them. DoRA also trains one magnitude per output of each adapted layer."
        )
        st.markdown(f"Target modules: `{','.join(targets)}`" if len(targets) < 9 else f"{len(targets)} target modules")
    counts_table(
        kinds_table(first.kinds, rank),
        {
            "layer": "Layer",
            "role": "Role",
            "in": "Inputs",
            "out": "Outputs",
            "copies": "Layers",
            "chosen": "With adapter",
            "lora": "A and B, per layer",
            "lora_all": "A and B, all",
        },
        {},
        f"The linear layers of {first.name} by kind, with their shapes and what LoRA of rank {rank} trains.",
    )


def _of_rank(kind: type[MethodSpec], rank: int) -> MethodSpec:
    """A method with matrices of a rank, if it has matrices."""
    method = kind.of()
    return method if method.inner_rank is None else method.of_size(rank)


def _networks(lab: Lab) -> Mapping[str, ImportedSpec]:
    """The known networks, then those that were imported and are others, by name; those that continue texts twice."""
    found: dict[str, ImportedSpec] = {spec.model: spec for spec in known_architectures().values()}
    found |= {f"{card.title} · {card.digest[:8]}": lab.networks.spec(card.digest) for card in lab.networks.list()}
    continuing = {
        f"{name} · as a language model": CausalSpec.of(weights=spec.weights, model=spec.model, config=spec.config)
        for name, spec in found.items()
        if spec.values["model_type"] in TESTED
    }
    return found | continuing
