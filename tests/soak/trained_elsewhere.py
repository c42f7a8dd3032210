"""``python -m tests.soak.trained_elsewhere``: MiniLM trained by transformers and PEFT alone, as their docs show it.

Nothing of this project is imported. Each run has a folder named after its method, learning rate and seed, with what the
Trainer saves.
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from peft import LoraConfig, TaskType, get_peft_model
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    set_seed,
)

LENGTH, BATCH = 32, 16


def accuracy(answers: Any) -> dict[str, float]:
    """As ``compute_metrics`` of the docs."""
    return {"accuracy": float((np.argmax(answers.predictions, axis=-1) == answers.label_ids).mean())}


def train(network: Path, parts: dict[str, Any], out: Path, method: str, rate: float, seed: int, epochs: int) -> None:
    """Train and save one run."""
    set_seed(seed)
    model: Any = AutoModelForSequenceClassification.from_pretrained(network, num_labels=parts["classes"])
    if method == "lora":
        config = LoraConfig(r=8, lora_alpha=16, target_modules=["query", "value"], task_type=TaskType.SEQ_CLS)
        model = get_peft_model(model, config)
    own = AutoTokenizer.from_pretrained(network)

    def rows(part: str) -> list[dict[str, Any]]:
        tokens = own(parts[part]["texts"], truncation=True, max_length=LENGTH)
        labels = parts[part]["labels"]
        return [{**{name: tokens[name][i] for name in tokens}, "labels": label} for i, label in enumerate(labels)]

    arguments = TrainingArguments(
        output_dir=str(out),
        num_train_epochs=epochs,
        learning_rate=rate,
        per_device_train_batch_size=BATCH,
        per_device_eval_batch_size=64,
        eval_strategy="epoch",
        save_strategy="no",
        logging_steps=5,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        seed=seed,
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=rows("train"),  # type: ignore[arg-type]
        eval_dataset=rows("validation"),  # type: ignore[arg-type]
        data_collator=DataCollatorWithPadding(own),
        compute_metrics=accuracy,
    )
    trainer.train()
    trainer.evaluate(rows("test"), metric_key_prefix="test")  # type: ignore[arg-type]
    trainer.save_state()
    if method == "lora":
        model.save_pretrained(out)


def main() -> None:
    """Train every method, rate and seed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("network", type=Path)
    parser.add_argument("parts", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rates", type=float, nargs="+", required=True)
    parser.add_argument("--seeds", type=int, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    options = parser.parse_args()
    parts = json.loads(options.parts.read_text())
    for method, rate, seed in product(("full", "lora"), options.rates, range(options.seeds)):
        factor = 10 if method == "lora" else 1
        name = f"{method}-lr{factor * rate:g}-seed{seed}"
        train(options.network, parts, options.out / name, method, factor * rate, seed, options.epochs)


if __name__ == "__main__":
    main()
