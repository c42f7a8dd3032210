"""Timings made into a table, ratios against the targets, and the parts of a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median

from benchmarks.contenders import RATE, perceptron
from core.data.tasks import Task
from core.spec import LoRASpec
from core.training.bank.bank import Bank

NOTEBOOK, MEMORY = "notebook loop, ", "PEFT LoRA in memory, "


@dataclass(frozen=True)
class Timing:
    """One contender's figures."""

    name: str
    batch: int
    members: int
    seconds: tuple[float, ...]
    """Of an epoch of 60,000 images, for each run; one a round."""
    threads: tuple[int, ...]
    """That each round took."""
    memory: int | None
    """Bytes that the process grew by at most while it was built and first run."""

    def as_dict(self) -> dict[str, object]:
        """For JSON, with minimum and median."""
        return asdict(self) | {"minimum": min(self.seconds), "median": median(self.seconds)}


@dataclass(frozen=True)
class Target:
    """A ratio that is asked for, at batch 64."""

    title: str
    slow: str
    fast: tuple[str, ...]
    """Any of these, the best counts."""
    least: float


TARGETS = (
    Target("full, K = 1, against the notebook loop", "notebook loop", ("engine full K=1",), 9),
    Target(
        "full, K = 4 or 8, each run, against the notebook loop",
        "notebook loop",
        ("engine full K=4", "engine full K=8"),
        12,
    ),
    Target("LoRA r = 4, K = 1, against PEFT in an in-memory loop", "PEFT LoRA in memory", ("engine LoRA K=1",), 2),
    Target("LoRA r = 4, K = 1, against this engine's own full", "engine full K=1", ("engine LoRA K=1",), 1.2),
    Target(
        "LoRA r = 4, K = 32 of one data order, each run, against PEFT in an in-memory loop",
        "PEFT LoRA in memory",
        ("engine LoRA K=32",),
        6,
    ),
    Target("the same, 8 settings × 4 seeds", "PEFT LoRA in memory", ("engine LoRA 8 settings × 4 seeds",), 4.5),
)


def named(timings: Sequence[Timing], name: str, batch: int) -> Timing | None:
    """The timing of a contender; of its thread counts, the fastest, so that no ratio lives off a bad choice."""
    found = [t for t in timings if t.batch == batch and (t.name == name or _without_threads(t.name) == name)]
    return min(found, key=lambda t: median(t.seconds), default=None)


def _without_threads(name: str) -> str:
    return name.removesuffix(", 1 thread").removesuffix(", 2 threads")


def table(timings: Sequence[Timing]) -> str:
    """Markdown: seconds an epoch and run, and peak memory."""
    lines = [
        "| batch | | runs | threads | s an epoch and run, minimum | median | peak memory, MB |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for t in timings:
        memory = "" if t.memory is None else f"{t.memory / 1e6:.0f}"
        threads = " or ".join(map(str, sorted(set(t.threads))))
        figures = f"{min(t.seconds):.3f} | {median(t.seconds):.3f} | {memory}"
        lines.append(f"| {t.batch} | {_without_threads(t.name)} | {t.members} | {threads} | {figures} |")
    return "\n".join(lines)


def ratios(timings: Sequence[Timing], batch: int = 64) -> str:
    """Markdown: every target, what was measured by minimum and median, and whether it was met by both."""
    lines = ["| at batch 64 | at least | by minimum | by median of rounds | |", "| --- | ---: | ---: | ---: | --- |"]
    for target in TARGETS:
        slow, candidates = named(timings, target.slow, batch), [named(timings, f, batch) for f in target.fast]
        found = [_ratio(slow, fast) for fast in candidates if slow and fast]
        if not found:
            continue
        least, middle = max(found)
        verdict = (
            "met"
            if min(least, middle) >= target.least
            else "met by one"
            if max(least, middle) >= target.least
            else "missed"
        )
        lines.append(f"| {target.title} | {target.least:g}× | {least:.1f}× | {middle:.1f}× | {verdict} |")
    return "\n".join(lines)


def _ratio(slow: Timing, fast: Timing) -> tuple[float, float]:
    rounds = [a / b for a, b in zip(slow.seconds, fast.seconds, strict=True)]
    return min(slow.seconds) / min(fast.seconds), median(rounds)


def parts_of_a_step(task: Task, batch: int, settings: Sequence[tuple[LoRASpec | None, float, int]]) -> dict[str, float]:
    """Microseconds of one step's parts, each timed by itself, first to last."""
    networks = [perceptron(lora, seed) for lora, _, seed in settings]
    bank = Bank(networks, [RATE] * len(settings), [seed for _, _, seed in settings], task)
    parts: dict[str, float] = {}
    for name, seconds in bank.profile(0, batch, 300):
        parts[name] = parts.get(name, 0.0) + 1e6 * seconds
    return parts
