"""Tables of timings, ratios compared with targets, and the parts of a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median

from benchmarks.contenders import RATE, perceptron
from core.data.examples import Task
from core.methods.lora import LoRASpec
from core.training.bank.bank import Bank

NOTEBOOK, MEMORY = "notebook loop, ", "PEFT LoRA in memory, "


@dataclass(frozen=True)
class Timing:
    """Figures of one contender."""

    name: str
    batch: int
    members: int
    seconds: tuple[float, ...]
    """Seconds per run for an epoch of 60,000 images, one value per round."""
    threads: tuple[int, ...]
    """Number of threads in each round."""
    memory: int | None
    """Peak growth of memory in bytes while it was built and first run."""

    def as_dict(self) -> dict[str, object]:
        """The figures as JSON values, with minimum and median."""
        return asdict(self) | {"minimum": min(self.seconds), "median": median(self.seconds)}


@dataclass(frozen=True)
class Target:
    """A required speed-up at batch size 64."""

    title: str
    slow: str
    fast: tuple[str, ...]
    """Names of contenders, of which the best counts."""
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
    """The timing of a contender with its fastest thread count, so that no ratio profits from a bad choice."""
    found = [t for t in timings if t.batch == batch and (t.name == name or _without_threads(t.name) == name)]
    return min(found, key=lambda t: median(t.seconds), default=None)


def _without_threads(name: str) -> str:
    return name.removesuffix(", 1 thread").removesuffix(", 2 threads")


def table(timings: Sequence[Timing]) -> str:
    """Markdown table: seconds per epoch and run, and peak memory."""
    lines = [
        "| batch | | runs | threads | s per epoch and run, minimum | median | peak memory, MB |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for t in timings:
        memory = "" if t.memory is None else f"{t.memory / 1e6:.0f}"
        threads = " or ".join(map(str, sorted(set(t.threads))))
        figures = f"{min(t.seconds):.3f} | {median(t.seconds):.3f} | {memory}"
        lines.append(f"| {t.batch} | {_without_threads(t.name)} | {t.members} | {threads} | {figures} |")
    return "\n".join(lines)


def ratios(timings: Sequence[Timing], batch: int = 64) -> str:
    """Markdown table: every target, the ratios of minimum and median, and whether both meet it."""
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
    """Microseconds of each part of a step, each timed separately, in order."""
    networks = [perceptron(lora, seed) for lora, _, seed in settings]
    bank = Bank(networks, [RATE] * len(settings), [seed for _, _, seed in settings], task)
    parts: dict[str, float] = {}
    for name, seconds in bank.profile(0, batch, 300):
        parts[name] = parts.get(name, 0.0) + 1e6 * seconds
    return parts
