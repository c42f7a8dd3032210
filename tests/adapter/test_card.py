"""The model card: its code works, and no name in it is more than text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.adapter import Card
from core.adapter.archive import CARD, CERTIFICATE, TASK, json_bytes, zip_bytes
from core.adapter.card import plain, render
from core.adapter.certificate import Certificate
from core.artifacts.trial import Origin
from core.data.task_spec import TaskSpec
from core.methods.low_rank import LowRankSpec
from core.methods.method import Role
from core.methods.registry import methods
from core.networks.file import fingerprint, write_network
from core.run_spec import OptimSpec, RunSpec
from tests.adapter.samples import BASE, ENTRIES, LORA, MODEL, SMALL, WHOLE, assert_close, logits, packed, probe
from tests.data.uploaded import entries_of
from tests.study.samples import RESULT, measured

pytestmark = pytest.mark.usefixtures("read_here")


def test_the_code_in_the_model_card_loads_the_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_network(tmp_path / "base.safetensors", BASE)
    (tmp_path / "adapter.zip").write_bytes(WHOLE)
    blocks = re.findall(r"```python\n(.*?)```", ENTRIES[CARD].decode(), re.DOTALL)
    (block,) = blocks
    assert "core" not in block
    names: dict[str, Any] = {}
    exec(block, names)
    assert_close(logits(names["model"], probe()), logits(MODEL, probe()))


@pytest.mark.parametrize("method", methods(Role.ADAPTER).values(), ids=lambda method: method.title)
def test_the_model_card_names_the_method(method: type[LowRankSpec]) -> None:
    certificate = Certificate.from_json(ENTRIES[CERTIFICATE])
    card = render(Card("r-1", "b"), method.of(rank=3), SMALL, certificate).decode()
    assert f"# {method.title} adapter of run r-1\n" in card
    assert f"- {method.title} trains {method.line}\n" in card


def test_hostile_names_stay_text_in_the_model_card() -> None:
    shown = ENTRIES[CARD].decode()
    calm = packed(BASE, MODEL, LORA, probe(), Card("x", "b", ("one", "two"), {"a": "b"}))
    assert len(shown.splitlines()) == len(entries_of(calm)[CARD].decode().splitlines())
    assert "\\<script\\>" in shown
    assert not re.search(
        r"(?<!\\)<|(?<!\\)\]\(|^# big|www\.evil|http:|\u202e", shown.split("## Load", 1)[0], re.MULTILINE
    )


@given(st.text(max_size=300))
def test_any_text_becomes_one_harmless_line(text: str) -> None:
    line = plain(text)
    assert line.isprintable()
    assert len(line) <= 400
    assert not re.match(r"\d*[-+=.]", line)
    assert not re.search(r"(?<!\\)(\\\\)*[`*_{}\[\]<>()#|~!&$@:]", line)
    assert re.sub(r"\\(.)", r"\1", line) == " ".join("".join(c if c.isprintable() else " " for c in text).split())[:200]


def test_a_card_of_a_run_states_task_and_results() -> None:
    spec = RunSpec(
        base="base-1",
        source=TaskSpec(dataset="mnist"),
        task=TaskSpec(dataset="mnist", classes=(5, 6), rotation=45, invert=True, permutation=3, shots=10),
        method=LORA,
        optim=OptimSpec(learning_rate=0.005, epochs=3),
        seed=4,
    )
    result = measured(
        RESULT,
        accuracy=97.125,
        accuracy_before=None,
        source_accuracy_before=96.5,
        source_accuracy_masked=None,
        source_accuracy_masked_before=None,
    )
    card = Card.of("run-7", spec, result.measures)
    assert (card.run, card.base) == ("run-7", "base-1")
    told = "\n".join(card.lines)
    for word in ("mnist, classes 5–6, rotated 45°, inverted, pixels shuffled, 10 per class", "0.005", "seed 4"):
        assert word in told
    assert list(card.results.values()) == ["97.12 %", "80.00 %", "96.50 %"]
    assert card.seed == 4, "the card says that one seed has these values, which the other seeds of its setting may miss"


def test_a_card_says_what_training_had_beyond_plain_adam() -> None:
    spec = RunSpec(base="b", source=TaskSpec(), method=LORA)
    told = "\n".join(Card.of("r", spec, RESULT.measures).lines)
    assert "Adam, learning rate" in told
    assert "Trained with" not in told
    optim = OptimSpec(weight_decay=0.01, warmup=0.1, decay="linear", clip=1.0)
    lines = Card.of("r", spec.but(optim=optim), RESULT.measures).lines
    assert lines[-1] == "Trained with weight decay 0.01, warm-up 0.1, decay linear, gradient clipping 1.0"
    assert lines[-2].startswith("AdamW, learning rate 0.001,")


@pytest.mark.parametrize(
    "task",
    [
        TaskSpec(dataset="mnist", classes=(5, 6), rotation=-22.5, invert=True, permutation=3, shots=10, validation=0.2),
        TaskSpec(dataset="mnist", classes=tuple(range(400))),
        None,
    ],
)
def test_base_and_task_are_read_back_from_the_json_beside_the_card_and_never_a_part_of_them(
    task: TaskSpec | None,
) -> None:
    name = "b`\n# big"
    content = packed(BASE, MODEL, LORA, probe(), Card("r-1", name, task=task))
    origin = Origin.of(content)
    assert (origin.name, origin.task) == (name, task)
    assert origin.fingerprint == fingerprint(BASE.state_dict())
    entries = entries_of(content)
    told = json.loads(entries[TASK])
    for other in (None, b"{", b"[]", b"{}", json_bytes(told | {"more": 1}), json_bytes(told | {"task": {"shots": 0}})):
        changed = {name: data for name, data in entries.items() if name != TASK} | ({TASK: other} if other else {})
        assert Origin.of(zip_bytes(changed)) == Origin(origin.fingerprint, None, None)
