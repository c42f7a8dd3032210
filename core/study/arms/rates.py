"""Settings at every learning rate that was tried, and the best of each method and rank on the validation part."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from core.methods.method import Role
from core.results.arm import Arm, grouped
from core.results.choice import best, comparisons_of, is_adapter, is_full
from core.results.row import Row
from core.results.setting import Setting, differing_of, joined_settings, order


def setting_text(setting: Setting) -> str:
    """A setting with its alpha and learning rate, as in ``LoRA r=4, alpha 8, learning rate 0.01``."""
    alpha = f", {setting.alpha_text}" if setting.alpha_text else ""
    return f"{setting.label}{alpha}, learning rate {setting.learning_rate:g}"


def setting_texts(settings: Iterable[Setting]) -> dict[str, str]:
    """The same of each setting, by its key; those that would read alike also have that in which they differ."""
    alike: dict[str, list[Setting]] = {}
    for setting in settings:
        alike.setdefault(setting_text(setting), []).append(setting)
    differing = {text: differing_of(own) for text, own in alike.items()}
    return {
        key: f"{text}, {joined_settings(texts)}" if texts else text
        for text, own in differing.items()
        for key, texts in own.items()
    }


def tried_arms(rows: Iterable[Row]) -> list[Arm]:
    """All settings that were tried: full fine-tuning first, then adapters by rank, alpha and learning rate.

    Args:
        rows: of one experiment. Controls are left out, but the seeds that they lack count as everywhere else.
    """
    arms = [arm for arms in comparisons_of(rows) for arm in arms if arm.role is not Role.CONTROL]
    return [replace(arm, label=setting_text(arm.setting)) for arm in sorted(arms, key=lambda arm: order(arm.setting))]


def best_adapters(arms: Iterable[Arm]) -> dict[str, Arm]:
    """The best alpha and learning rate of each adapter method and rank, by its label, in the order of the arms."""
    adapters = sorted(filter(is_adapter, arms), key=lambda arm: order(arm.setting))
    found = {label: best(members) for label, members in grouped(adapters, lambda arm: arm.setting.label).items()}
    return {label: arm for label, arm in found.items() if arm is not None}


def chosen(arms: Iterable[Arm]) -> tuple[Arm | None, Arm | None]:
    """The best setting of full fine-tuning, and that of all adapters."""
    everything = list(arms)
    return best(filter(is_full, everything)), best(filter(is_adapter, everything))


def at_alpha(arms: Iterable[Arm], alpha: float | None) -> list[Arm]:
    """Full fine-tuning, and one arm for each adapter method, rank and learning rate.

    Args:
        arms: all that were tried.
        alpha: the arms' alpha; None takes the best one for each rank and learning rate.
    """
    own = (arm for arm in arms if alpha is None or arm.setting.alpha in (None, alpha))
    tiles = grouped(own, lambda arm: (arm.setting.method, arm.setting.size, arm.learning_rate))
    return [best(members) or members[0] for members in tiles.values()]
