"""The model card, which is the README of an adapter file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Template
from typing import Protocol, Self

from core.adapter.certificate import Certificate
from core.data.task_spec import TaskSpec
from core.methods.low_rank import LowRankSpec
from core.networks.network import NetworkSpec
from core.run_spec import RunSpec


class Scores(Protocol):
    """The fields of a run's result that a card shows; accuracies in percent, or None."""

    @property
    def accuracy(self) -> float: ...
    @property
    def accuracy_before(self) -> float | None: ...
    @property
    def source_accuracy(self) -> float | None: ...
    @property
    def source_accuracy_before(self) -> float | None: ...
    @property
    def epochs(self) -> int: ...
    @property
    def device(self) -> str: ...


@dataclass(frozen=True)
class Card:
    """What the model card says about the run. Any text is safe here."""

    run: str
    base: str
    """The pretrain run whose network was fine-tuned."""
    task: tuple[str, ...] = ()
    """Lines about data and training."""
    results: Mapping[str, str] = field(default_factory=dict)
    """Measured values, by name."""

    @classmethod
    def of(cls, run: str, spec: RunSpec, result: Scores) -> Self:
        """The card of a finished LoRA run."""
        optim = spec.optim
        lines = [f"Trained on: {_task_line(spec.task)}"]
        if spec.source is not None:
            lines.append(f"The base was trained on: {_task_line(spec.source)}")
        lines.append(
            f"Adam, learning rate {optim.learning_rate:g}, batch size {optim.batch_size}, "
            f"{result.epochs} of {optim.epochs} epochs, seed {spec.seed}, on {result.device}"
        )
        measured = {
            "Accuracy on the test part": result.accuracy,
            "Accuracy before fine-tuning": result.accuracy_before,
            "Accuracy on the source task": result.source_accuracy,
            "Accuracy on the source task before": result.source_accuracy_before,
        }
        results = {name: f"{value:.2f} %" for name, value in measured.items() if value is not None}
        return cls(run, spec.base or "", tuple(lines), results)


def render(card: Card, lora: LowRankSpec, network: NetworkSpec, certificate: Certificate) -> bytes:
    """Render the ``README.md`` of an adapter file.

    Args:
        card: the run.
        lora: the settings of the adapter.
        network: the base's family and sizes.
        certificate: the measurements.
    """
    layers = ", ".join(f"`{path}` (rank {rank})" for path, rank in sorted(certificate.layers.items()))
    text = _TEMPLATE.substitute(
        run=plain(card.run),
        base=plain(card.base),
        task="".join(f"- {plain(line)}\n" for line in card.task),
        results="".join(f"| {plain(name)} | {plain(value)} |\n" for name, value in card.results.items()),
        rank=lora.rank,
        alpha=f"{lora.alpha:g}",
        scaling=lora.scaling,
        layers=layers,
        parameters=f"{certificate.parameters:,}",
        fingerprint=certificate.base_fingerprint,
        title=network.title,
        sizes=network.sizes,
        input=network.input_text,
        classes=network.num_classes,
        loading=_loading(network),
        rows=certificate.probe_rows,
        reloaded=f"{certificate.reloaded_difference:.2g}",
        merged=f"{certificate.merged_difference:.2g}",
    )
    return text.encode()


def _loading(network: NetworkSpec) -> str:
    """What stands before the code that reads the base with LoRA Lab."""
    if network.torch_code is None:
        return _WITH_LORA_LAB
    return _WITHOUT_LORA_LAB.substitute(code=network.torch_code)


def plain(text: str) -> str:
    """Escape ``text`` to a single line that Markdown shows literally, without markup, links, table cells or HTML."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())[:200]
    escaped = re.sub(r"([\\`*_{}\[\]<>()#|~!&$@:])", r"\\\1", line)
    escaped = re.sub(r"(?i)\b(www)\.", r"\1\\.", escaped)
    # At the start of a line, these would start a list or a rule.
    return re.sub(r"^(\d*)([-+=.])", r"\1\\\2", escaped)


def _task_line(task: TaskSpec) -> str:
    parts = [f"dataset {task.dataset}"]
    if task.classes is not None:
        parts.append(f"classes {', '.join(map(str, task.classes))}")
    if task.rotation:
        parts.append(f"rotated by {task.rotation:g} degrees")
    if task.invert:
        parts.append("inverted")
    if task.permutation is not None:
        parts.append(f"pixels permuted with seed {task.permutation}")
    if task.shots is not None:
        parts.append(f"{task.shots} images per class")
    return "; ".join(parts)


_TEMPLATE = Template("""\
---
library_name: peft
tags:
- lora
---

# LoRA adapter of run $run

$parameters trained parameters for a $title with layers of sizes $sizes.
They work only with the base that they were trained on.

- Run: $run
- Base: $base, fingerprint `$fingerprint`
$task- Rank $rank, alpha $alpha, scaling $scaling
- Layers: $layers

| Measure | Value |
| --- | --- |
$results
The input is $input, preprocessed as in training; the output is a row of $classes logits.

## Load it with PEFT

$loading```python
import zipfile
from pathlib import Path

from core.network_file import read_network
from peft import PeftModel

base = read_network(Path("base.safetensors"))
with zipfile.ZipFile("adapter.zip") as archive:
    archive.extractall("adapter")
model = PeftModel.from_pretrained(base, "adapter").eval()
```

`model.merge_and_unload()` adds the adapter to the base's weights.

## Load it without PEFT

```python
from pathlib import Path

from core.adapter import apply_adapter, read_adapter
from core.network_file import read_network

base = read_network(Path("base.safetensors"))
model = apply_adapter(base, read_adapter(Path("adapter.zip"))).eval()
```

`python -m core verify adapter.zip --base base.safetensors` checks the file against the base.

## Verification

When this file was written, it was read back and applied to a new copy of the base. On $rows inputs its logits differed
from those of the trained network by at most $reloaded, and merging changed them by at most $merged.
`certificate.json` has these values and the SHA-256 of the tensors.
""")

_WITHOUT_LORA_LAB = Template("""\
Put `adapter.zip` and the base's weights, `base.safetensors`, into one folder. This needs only PyTorch and PEFT:

```python
import zipfile
from collections import OrderedDict

from peft import PeftModel
from safetensors.torch import load_file
from torch import nn

$code
base.load_state_dict(load_file("base.safetensors"))
with zipfile.ZipFile("adapter.zip") as archive:
    archive.extractall("adapter")
model = PeftModel.from_pretrained(base, "adapter").eval()
```

With LoRA Lab installed, its own network class can be used as the base:

""")

_WITH_LORA_LAB = """\
Put `adapter.zip` and the base's weights, `base.safetensors`, into one folder. LoRA Lab reads the base:

"""
