"""``python -m benchmarks.language_models``: SmolLM2-135M on passages, side by side with TRL's SFTTrainer and PEFT.

Both have the same batches of prompts and completions, attention and precision. With the Trainer's bfloat16 as here,
weights are float32, and products bfloat16.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from functools import cache, partial
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import numpy as np
import torch
from datasets import Dataset, disable_progress_bars
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from benchmarks import turns
from benchmarks.machine import machine
from benchmarks.turns import Clock, Contender, Timed, Turns, batches, timed
from core.data.dataset import LanguageDataset
from core.data.examples import Task
from core.data.passage import Passage
from core.data.sources.built_in import Definitions
from core.data.task_spec import TaskSpec
from core.engine.jobs.choice import stepper_of
from core.lab import Lab
from core.methods.lora import LoRASpec
from core.methods.method import MethodSpec
from core.methods.registry import method_of
from core.objectives.language import LanguageSpec
from core.run_spec import default_optim
from core.settings import Settings
from core.tasks.views.language import LanguageView
from core.training.threads import available_cores

BATCH = 8
"""Texts of a batch, as in SFTTrainer."""

LENGTH = 512
"""Tokens that passages are cut after; none is so long."""

METHODS: dict[str, MethodSpec] = {"full": method_of("full"), "LoRA": LoRASpec.of(rank=8, alpha=16)}
PRECISIONS = ("float32", "bfloat16")

SPEED = {"full": 1.15, "LoRA": 1.3}
"""How many times as many tokens per second as with SFTTrainer are asked for."""

MEMORY = 0.8
"""Share of its memory that is asked for."""


def passages(count: int, seed: int) -> tuple[Passage, ...]:
    """Prompts and completions of mixed length, made of definitions: 1 to 6, then 1 to 12."""
    known, draw = Definitions(Settings(Path())).load("definitions").train_texts, Random(seed)
    return tuple(
        Passage.prompted(
            "; ".join(draw.choices(known, k=draw.randint(1, 6))),
            f"\n{'; '.join(draw.choices(known, k=draw.randint(1, 12)))}",
        )
        for _ in range(count)
    )


@cache
def task_of(home: Path) -> Task:
    """800 training passages, as the network in a home folder reads them."""
    with closing(Lab(Settings(home))) as lab:
        own = lab.networks.tokenizer(lab.networks.list()[0].digest)
    train, test = passages(800, 0), passages(16, 1)
    dataset = LanguageDataset("passages", train, np.zeros(800, np.int64), test, np.zeros(16, np.int64))
    return LanguageView().task(TaskSpec.of(dataset="passages", length=LENGTH, validation=0.02), dataset, own)


def here(home: Path, kind: str, precision: str, steps: int, recomputed: bool = False) -> Timed:
    """The engine.

    Args:
        home: with the network.
        kind: of :data:`METHODS`.
        precision: of products.
        steps: per round.
        recomputed: whether activations are computed again, which saves memory.
    """
    task, method = task_of(home), METHODS[kind]
    with closing(Lab(Settings(home))) as lab:
        spec = lab.networks.spec(lab.networks.list()[0].digest, learns=LanguageSpec.name())
        network = method.prepare(lab.networks.start(spec, 0), torch.Generator().manual_seed(0))
    optim = default_optim(method, spec).but(batch_size=BATCH, epochs=200, precision=precision, recompute=recomputed)
    stepper = stepper_of([network], method.kind, [optim], [0], task, objectives=[LanguageSpec()])
    return turns.engine(stepper, steps, BATCH, partial(tokens, task))


def tokens(task: Task, rows: Tensor) -> int:
    """Tokens of some rows, without padding."""
    return int(task.train.lengths[rows].sum())  # type: ignore[attr-defined]


def trl(home: Path, kind: str, precision: str, steps: int, recomputed: bool = False) -> Timed:
    """TRL's SFTTrainer; arguments as above."""
    task = task_of(home)
    with closing(Lab(Settings(home))) as lab:
        folder = lab.networks.folder(lab.networks.list()[0].digest)
    disable_progress_bars()
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if kind == "LoRA":
        model = get_peft_model(
            model, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
        )
    clock = Clock()
    trainer = _Ordered(
        model,
        SFTConfig(
            output_dir=tempfile.mkdtemp(),
            per_device_train_batch_size=BATCH,
            max_steps=steps,
            max_length=LENGTH,
            learning_rate=1e-4,
            lr_scheduler_type="constant",
            bf16=precision == "bfloat16",
            activation_checkpointing=recomputed,
            use_cpu=True,
            dataloader_pin_memory=False,
            **{"save_strategy": "no", "logging_strategy": "no", "report_to": "none", "disable_tqdm": True},
        ),
        train_dataset=Dataset.from_list(_rows(task)),
        processing_class=AutoTokenizer.from_pretrained(folder),
        callbacks=[clock],
    )

    def run(number: int) -> tuple[float, int]:
        torch.set_num_threads(available_cores())
        rows = batches(task, 0, number, steps, BATCH)
        trainer.order = rows.flatten().tolist()
        trainer.train()
        return clock.seconds, tokens(task, rows)

    return run


class _Ordered(SFTTrainer):  # type: ignore[misc]
    """SFTTrainer with a given order of the texts."""

    order: list[int]

    def _get_train_sampler(self, *_: Any) -> list[int]:
        return self.order


def _rows(task: Task) -> list[dict[str, list[int]]]:
    """The training part as TRL has it: −100 is not scored."""
    train: Any = task.train
    found = []
    for start, end in zip(train.offsets[:-1].tolist(), train.offsets[1:].tolist(), strict=True):
        ids, scored = train.tokens[start:end].long(), train.scored[start:end]
        found.append({"input_ids": ids.tolist(), "labels": ids.masked_fill(~scored, -100).tolist()})
    return found


WHO = {
    "here": here,
    "TRL": trl,
    "here, recomputing": partial(here, recomputed=True),
    "TRL, recomputing": partial(trl, recomputed=True),
}


def report(found: Mapping[str, Mapping[str, Turns]]) -> str:
    """Tables of tokens per second and memory, and of the ratios with what is asked for."""
    lines = [
        "",
        "| | tokens/s, median | tokens/s of a core, median | peak memory, MiB |",
        "| --- | ---: | ---: | ---: |",
    ]
    for what, own in found.items():
        lines += [
            f"| {what}, {who} | {median(one.rates):.0f} | {median(one.core_rates):.0f} | {one.memory >> 20:,} |"
            for who, one in own.items()
        ]
    lines += ["", "| against TRL | asked | tokens/s | tokens/s of a core | memory, asked 0.8× |"]
    lines += ["| --- | ---: | ---: | ---: | ---: |"]
    for what, own in found.items():
        for how in ("", ", recomputing"):
            if {f"here{how}", f"TRL{how}"} <= own.keys():
                one, other = own[f"here{how}"], own[f"TRL{how}"]
                ratios = [_ratio(one.rates, other.rates), _ratio(one.core_rates, other.core_rates)]
                speeds = " | ".join(f"{ratio:.2f}×" for ratio in ratios)
                asked = SPEED[what.split(",")[0]]
                lines.append(f"| {what}{how} | {asked}× | {speeds} | {one.memory / other.memory:.2f}× |")
    return "\n".join(lines)


def _ratio(own: list[float], others: list[float]) -> float:
    """Median of the ratios of the rounds."""
    return median(one / other for one, other in zip(own, others, strict=True))


def main() -> None:
    """Parse arguments, run, report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.language_models", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="timings of each contender (default 5)")
    parser.add_argument("--steps", type=int, default=10, help="steps per timing (default 10)")
    parser.add_argument("--home", type=Path, help="home folder with SmolLM2 as its only network (default: imported)")
    parser.add_argument("--only", default="", help="keep what begins with this, such as LoRA, or LoRA, bfloat16")
    parser.add_argument("--who", nargs="+", choices=WHO, default=list(WHO), help="contenders (default: all)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/language_models.json"), help="JSON file to write")
    arguments = parser.parse_args()
    start = time.perf_counter()
    found: dict[str, dict[str, Turns]] = {}
    with tempfile.TemporaryDirectory() as folder:
        home = arguments.home or Path(folder)
        with closing(Lab(Settings(home))) as lab:
            if not lab.networks.list():
                lab.networks.import_known("smollm2")
        texts: Any = task_of(home).train
        mean, share = float(texts.lengths.float().mean()), float(texts.scored.float().mean())
        print(f"{mean:.0f} tokens per text, {share:.0%} scored", flush=True)
        for kind in METHODS:
            for precision in PRECISIONS:
                what = f"{kind}, {precision}"
                if what.startswith(arguments.only):
                    print(what, flush=True)
                    contenders = {
                        who: Contender(
                            partial(WHO[who], home, kind, precision, arguments.steps), who.startswith("here")
                        )
                        for who in arguments.who
                    }
                    found[what] = timed(contenders, arguments.rounds)
                    _write(found, arguments.out)  # whatever ends the rest
    print(report(found))
    print(f"\n{machine()}; {time.strftime('%Y-%m-%d', time.gmtime())}; {time.perf_counter() - start:.0f} s in all.")


def _write(found: Mapping[str, Mapping[str, Turns]], file: Path) -> None:
    values = {what: {who: vars(one) for who, one in own.items()} for what, own in found.items()}
    date = time.strftime("%Y-%m-%d", time.gmtime())
    file.write_text(json.dumps({"machine": machine(), "date": date, "found": values}, indent=1))


if __name__ == "__main__":
    main()
