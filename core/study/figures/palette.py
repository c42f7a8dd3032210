"""Colours of arms: the same on every page, and readable on light and dark backgrounds."""

from __future__ import annotations

from collections.abc import Iterable

from core.spec import RunSpec
from core.study.arms.arm import Arm, arm_order

FULL = "#0072B2"
"""Full fine-tuning: blue."""

NEUTRAL = "#808080"
"""Pretraining, and everything that is not an arm: grey."""

LORA = ("#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#F0E442")
"""LoRA arms, in this order: vermillion, green, purple, sky blue, orange; yellow, which is faint on white, is last.

With :data:`FULL`, these are the colours of Okabe and Ito, "Color Universal Design" (2008), which people with colour
vision deficiency can tell apart. Their black is left out because it is invisible on a dark page.
"""

CONTROL = ("#8C8C8C", "#A6A08A", "#70808C")
"""Controls: neutral, brownish and bluish grey, because they are a background for the other arms."""


def colours_of(arms: Iterable[Arm | RunSpec]) -> dict[str, str]:
    """Return the colour of each arm, by its key.

    The order of ``arms`` does not matter. Pass all arms of an experiment even if only some are drawn, so that each arm
    has the same colour everywhere.

    Args:
        arms: arms or specs of runs; several runs of an arm are allowed.

    Returns:
        Colours as ``#RRGGBB``; arms beyond the size of the palette get greyer versions of its colours.
    """
    specs = {spec.arm: spec for spec in (arm.spec if isinstance(arm, Arm) else arm for arm in arms)}
    palettes = {"full": (FULL,), "lora": LORA, "pretrain": (NEUTRAL,), "control": CONTROL}
    counts = dict.fromkeys(palettes, 0)
    colours = {}
    for key, spec in sorted(specs.items(), key=lambda item: arm_order(item[1])):
        kind = "control" if spec.control else spec.method
        turn, place = divmod(counts[kind], len(palettes[kind]))
        colours[key] = _greyer(palettes[kind][place], turn)
        counts[kind] += 1
    return colours


def _greyer(colour: str, turn: int) -> str:
    """Move ``colour`` towards mid grey, half of the remaining way per turn."""
    share = 0.5**turn
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(128 + share * (part - 128)):02X}" for part in parts)
