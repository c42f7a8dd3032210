"""Colours of arms: they belong to method and rank, and are readable on light and dark backgrounds.

Every colour has a contrast of at least 3:1 with white and with the dark page (WCAG 2.2, SC 1.4.11). Ranks that differ
by a factor of four, and full fine-tuning, differ for any kind of colour vision; the tests state by how much.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from plotly.colors import hex_to_rgb

from core.methods.lora import LoRASpec
from core.methods.method import Role
from core.methods.registry import methods
from core.results.arm import Arm
from core.results.setting import Setting, setting_of
from core.run_spec import RunSpec, default_rate

FULL = "#129DD9"
"""Full fine-tuning: blue."""

NEUTRAL = "#808080"
"""Pretraining, and everything that is not an arm: gray."""

RANKS = {
    1: "#E17401",
    2: "#DF5217",
    4: "#D92427",
    8: "#C12F6B",
    16: "#8C4F8A",
    32: "#9232C8",
    64: "#5F36FE",
    1024: "#4A5BB5",
}
"""LoRA: from orange over red and purple to indigo as the rank grows, ever darker."""

CONTROLS = ("#08A479", "#7D8A4B", "#0A7269")
"""Controls in the order of the registry: greens. Figures also draw them dotted, or with other markers."""

MUTED = 0.55
"""Share of gray in the colours of the second adapter method, and of each one after it once more."""

DARKEST, LIGHTEST = 0.1245, 0.295
"""Relative luminance of shades; beyond, the contrast with the dark or the light page is below 3:1."""

LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
"""Weights of linear red, green and blue in relative luminance. Source: WCAG 2.2."""


def rank_colour(rank: int) -> str:
    """Return the colour of LoRA of a rank; ranks between those of :data:`RANKS` are mixed on a logarithmic scale."""
    known, lights = np.log2(list(RANKS)), np.array([_light(colour) for colour in RANKS.values()])
    return _hex(np.array([np.interp(math.log2(rank), known, light) for light in lights.T]))


def colour_of(setting: Setting) -> str:
    """Return the colour of a method and rank, whatever else a setting says."""
    match setting.role:
        case Role.REFERENCE:
            return FULL
        case Role.CONTROL if setting.spec is not None:
            return CONTROLS[_number(setting) % len(CONTROLS)]
        case Role.ADAPTER:
            light = _light(rank_colour(setting.size) if isinstance(setting.size, int) and setting.size > 0 else LORA)
            gray = 1 - (1 - MUTED) ** _number(setting)
            return _hex((1 - gray) * light + gray * float(light @ LUMINANCE))
    return NEUTRAL


def dash_of(setting: Setting) -> str:
    """Return how the line of an arm is drawn: solid, but dotted for controls, and dashed for adapters after LoRA."""
    if setting.role is Role.CONTROL:
        return "dot"
    return ("solid", "dash", "dashdot", "longdash")[_number(setting) % 4 if setting.role is Role.ADAPTER else 0]


def shade_of(setting: Setting) -> str:
    """Return :func:`colour_of`, the darker the lower the learning rate; the default rate has a medium shade."""
    rate, spec = setting.learning_rate, setting.spec
    usual = rate if spec is None else default_rate(spec.method, spec.trained_network)
    aim = DARKEST + (LIGHTEST - DARKEST) * rate / (rate + usual)
    light = _light(colour_of(setting))
    luminance = float(light @ LUMINANCE)
    # In linear light, luminance is exact for scaling towards black as well as for mixing with white.
    return _hex(light * aim / luminance if aim < luminance else 1 - (1 - light) * (1 - aim) / (1 - luminance))


def colours_of(arms: Iterable[Arm | Setting | RunSpec], by_rate: bool = False) -> dict[str, str]:
    """Return the colour of each arm, by its key: that of its method and rank, whatever other arms there are.

    Args:
        arms: arms, settings or specs of runs; several of one setting are allowed.
        by_rate: whether shades tell learning rates apart where a method and rank has several arms.

    Returns:
        Colours as ``#RRGGBB``.
    """
    found = [
        setting_of(each) if isinstance(each, RunSpec) else each.setting if isinstance(each, Arm) else each
        for each in arms
    ]
    settings = {setting.key: setting for setting in found}
    count = Counter(setting.group for setting in settings.values())
    return {key: (shade_of if by_rate and count[own.group] > 1 else colour_of)(own) for key, own in settings.items()}


def _number(setting: Setting) -> int:
    """Return the place of a method among those with its role, in the order of the registry; of one that is reported
    and has none a place behind them, by its name.
    """
    known, own = list(methods(setting.role)), setting.method
    return known.index(own) if own in known else len(known) + crc32(own.encode()) % 3


def _light(colour: str) -> NDArray[np.float64]:
    """Return linear red, green and blue of ``#RRGGBB``, 0 to 1."""
    parts = np.array(hex_to_rgb(colour)) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def _hex(light: NDArray[np.float64]) -> str:
    """Return ``#RRGGBB`` of linear red, green and blue."""
    parts = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return "#" + "".join(f"{round(255 * float(part)):02X}" for part in parts)


LORA = rank_colour(LoRASpec().rank)
"""LoRA in drawings that are about no rank in particular: the colour of the default rank."""
