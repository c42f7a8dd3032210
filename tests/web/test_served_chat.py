"""Conversations: the code of the Serve page has one as the network's chat template writes it, and works as it is."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from core.data.passage import Passage
from core.data.task_spec import TaskSpec
from core.engine.jobs.run_files import ADAPTER
from core.lab import Lab, close_lab, open_lab
from core.methods.lora import LoRASpec
from core.settings import Settings
from core.training.evaluation import evaluate
from tests import forked
from tests.browser.conftest import free_port
from tests.conftest import HANG, finish, short
from tests.data.passage_files import chat, conversation, dataset_of
from tests.launching import fine_tune
from tests.pages.test_pages import draw
from tests.training.tiny_passages import save_network
from tests.web.conftest import wait_for_answer

pytestmark = pytest.mark.usefixtures("read_here")

SAID = """it's "$A" `mat`"""
TEMPLATE = (
    "{% for m in messages %}{{ m.role + ': ' + m.content + '</s>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)
"""Ends answers with the mark that ends texts, as those of SmolLM2 and Qwen2 do."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("chat")
    save_network("llama tied", folder / "tiny")
    (folder / "tiny" / "chat_template.jinja").write_text(TEMPLATE)
    lab = open_lab(Settings(home=folder / "home"))
    chats = [conversation(*chat(f"the cat {number}", f"{SAID} {number}")) for number in range(20)]
    lab.catalog.keep(dataset_of(*chats), "chats")
    card = lab.networks.import_folder(folder / "tiny", "tiny-chat")
    network = lab.networks.spec(card.digest, learns="language")
    arms = [(short(1, 0.02), LoRASpec.of(rank=rank)) for rank in (1, 2)]
    finish(lab, *fine_tune(lab, network, TaskSpec.of(dataset="chats", length=64), arms, [0]).runs)
    yield lab
    close_lab()


def test_the_code_of_the_page_asks_with_the_chat_template_and_gets_what_evaluation_counts(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command, program = (code.value for code in draw("serve").code[:2])
    port, log = free_port(), tmp_path / "log"
    home = ["-m", "core", "serve", "--home", str(lab.settings.home), "--port", str(port)]
    with log.open("wb") as out:
        process = forked.start(home, env=os.environ | {"LORA_LAB_DATA": ""}, stderr=out)
    try:
        wait_for_answer(process, f"http://127.0.0.1:{port}/healthz", log)
        here = (f"http://localhost:{8501}", f"http://127.0.0.1:{port}")
        shell = ["bash", "-c", command.replace(*here) + " -sS"]
        done = subprocess.run(shell, capture_output=True, text=True, timeout=HANG, check=True)
        exec(program.replace(*here), {})
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=HANG)
    base, *adapters = json.loads(done.stdout)["predictions"]
    assert len(adapters) == 2
    printed = [line for line in capsys.readouterr().out.splitlines() if " " not in line]
    assert [float(line) for line in printed] == [each["bits_per_byte"] for each in (base, *adapters)]
    named = sorted(lab.predictor.adapters().adapters, key=lambda each: command.index(each.adapter))
    runs = [lab.store.run(each.adapter) for each in named]
    test = lab.tasks.get(runs[0].spec.task, network=runs[0].spec.network).test.at(torch.tensor([0]))
    for run, answer in zip(runs, adapters, strict=True):
        found = evaluate(lab.artifacts.trained(run), test, (), objective=run.spec.objective)
        assert answer["bits_per_byte"] == pytest.approx(found.measures["bits_per_byte"], rel=1e-4)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
def test_the_code_of_the_card_scores_an_answer_as_evaluation_does(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = lab.store.run(lab.predictor.adapters().adapters[0].adapter)
    (shown,) = [code.value for code in draw("adapters", adapter=run.id).code if "PeftModel" in code.value]
    shutil.copytree(lab.networks.folder(str(run.spec.network.brought)), tmp_path / "base")
    shutil.copy(lab.artifacts.path(run.id, ADAPTER), tmp_path / f"{run.id}-adapter.zip")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(shown, names)
    test = lab.tasks.get(run.spec.task, network=run.spec.network).test
    for place, passage in enumerate(lab.catalog.load("chats").test_texts[:3]):
        assert isinstance(passage, Passage)
        messages = [{"role": role, "content": content} for role, content in passage.messages]
        one = test.at(torch.tensor([place]))
        counted = evaluate(lab.artifacts.trained(run), one, (), objective=run.spec.objective).measures["bits_per_byte"]
        assert names["bits_per_byte"](messages) == pytest.approx(counted, rel=1e-4)
