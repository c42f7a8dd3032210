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


def rank_colour(rank: int) -> str:
    """Return the colour of LoRA of a rank; ranks between those of :data:`RANKS` are mixed on a logarithmic scale."""
    known = np.log2(list(RANKS))
    lights = np.array([_linear(_parts(colour)) for colour in RANKS.values()])
    return _hex(_encoded(np.array([np.interp(math.log2(rank), known, light) for light in lights.T])))


def colour_of(setting: Setting) -> str:
    """Return the colour of a method and rank, whatever else a setting says."""
    match setting.role:
        case Role.REFERENCE:
            return FULL
        case Role.CONTROL if setting.spec is not None:
            return CONTROLS[_number(setting) % len(CONTROLS)]
        case Role.ADAPTER:
            size = setting.size
            return _muted(rank_colour(size) if isinstance(size, int) and size > 0 else LORA, _number(setting))
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
    linear = _linear(_parts(colour_of(setting)))
    luminance = float(linear @ LUMINANCE)
    # In linear light, luminance is exact for scaling towards black as well as for mixing with white.
    linear = linear * aim / luminance if aim < luminance else 1 - (1 - linear) * (1 - aim) / (1 - luminance)
    return _hex(_encoded(linear))


def colours_of(arms: Iterable[Arm | Setting | RunSpec]) -> dict[str, str]:
    """Return the colour of each arm, by its key: that of its method and rank, whatever other arms there are.

    Args:
        arms: arms, settings or specs of runs; several of one setting are allowed.

    Returns:
        Colours as ``#RRGGBB``.
    """
    return {setting.key: colour_of(setting) for setting in map(_setting, arms)}


def shades_of(arms: Iterable[Arm | Setting | RunSpec]) -> dict[str, str]:
    """Return colours that tell learning rates apart: shades where a method and rank has several arms.

    Args: see :func:`colours_of`.

    Returns:
        Colours as ``#RRGGBB``, by key of the arm.
    """
    settings = {setting.key: setting for setting in map(_setting, arms)}
    count = Counter(setting.group for setting in settings.values())
    return {key: (shade_of if count[own.group] > 1 else colour_of)(own) for key, own in settings.items()}


def _number(setting: Setting) -> int:
    """Return the place of a method among those with its role, in the order of the registry; of one that is reported
    and has none a place behind them, by its name.
    """
    known, own = list(methods(setting.role)), setting.method
    return known.index(own) if own in known else len(known) + crc32(own.encode()) % 3


def _muted(colour: str, number: int) -> str:
    """Mix a colour with gray of the same luminance, the more the later the method is in the registry."""
    linear = _linear(_parts(colour))
    share = 1 - (1 - MUTED) ** number
    return _hex(_encoded((1 - share) * linear + share * float(linear @ LUMINANCE)))


LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
"""Weights of linear red, green and blue in relative luminance. Source: WCAG 2.2."""


def _setting(each: Arm | Setting | RunSpec) -> Setting:
    if isinstance(each, RunSpec):
        return setting_of(each)
    return each.setting if isinstance(each, Arm) else each


def _parts(colour: str) -> NDArray[np.float64]:
    """Return red, green and blue of ``#RRGGBB``, 0 to 1."""
    return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])


def _linear(parts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert from sRGB to linear light."""
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def _encoded(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert from linear light to sRGB."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _hex(parts: NDArray[np.float64]) -> str:
    return "#" + "".join(f"{round(255 * float(part)):02X}" for part in parts)


LORA = rank_colour(LoRASpec().rank)
"""LoRA in drawings that are about no rank in particular: the colour of the default rank."""
