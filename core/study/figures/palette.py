"""One colour for each arm, the same on every page, readable on white and on near-black."""

from __future__ import annotations

from collections.abc import Iterable

from core.spec import RunSpec
from core.study.arms.arm import Arm, arm_order

FULL = "#0072B2"
"""Full fine-tuning: blue."""

NEUTRAL = "#808080"
"""Pretraining, and whatever is no arm."""

LORA = ("#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#F0E442")
"""LoRA arms in this order: vermillion, green, purple, sky blue, orange; yellow, faint on white, last.

With :data:`FULL` these are the colours of Okabe and Ito, "Color Universal Design" (2008), which people
with colour vision deficiency tell apart; its black is left out because it vanishes on a dark page.
"""

CONTROL = ("#8C8C8C", "#A6A08A", "#70808C")
"""Controls: greys that lean no way, to brown and to blue. They are what the others are seen against."""


def colours_of(arms: Iterable[Arm | RunSpec]) -> dict[str, str]:
    """The colour of each arm, by its key.

    The order of ``arms`` plays no part. Give all arms of an experiment, also where only some are
    drawn, so that they look the same everywhere.

    Args:
        arms: arms, or specs of runs, several of an arm allowed.

    Returns:
        Colours as ``#RRGGBB``; arms beyond the palette get greyer versions of it.
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
    """``colour`` moved towards mid grey, half of the way at each turn."""
    share = 0.5**turn
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(128 + share * (part - 128)):02X}" for part in parts)
