"""How programs ask adapters that are there, and what was asked."""

from __future__ import annotations

import ast
import json
import shlex

import pytest

from core.lab import Lab
from core.serving.inputs import READ
from core.serving.request import PredictRequest, Row
from core.web.predict import PREDICT
from pages.experiment.use.code import EXAMPLES, curl, python
from pages.shared.ui import access
from tests.pages.test_pages import draw, metrics
from tests.trained_home import TrainedHome


@pytest.mark.parametrize("reads", READ)
def test_the_code_asks_for_what_the_base_reads_and_names_a_base_alone_beside_the_rows(reads: str) -> None:
    command, program = curl("http://here", ["r-1"], reads), python("http://here", [None, "r-1"], reads)
    assert 'name in [None, "r-1"]' in program
    key = EXAMPLES[reads].key
    assert f'"{key}": ' in command
    assert f'"{key}": {key}' in program
    compile(program, "program", "exec")
    for code in (curl("http://here", [None], reads, "r-2"), python("http://here", [None], reads, "r-2")):
        assert '"base": "r-2"' in code
        assert "adapter" not in code
    if key == "text":
        hostile = 'it\'s "$P" \\ `😀`\n€'
        asked = json.loads(shlex.split(curl("http://here", ["r-1"], reads, text=hostile))[-1])["rows"][0]["text"]
        (line,) = [line for line in python("http://here", ["r-1"], reads, text=hostile).splitlines() if "😀" in line]
        assert asked == ast.literal_eval(line.removeprefix("text = ")) == hostile


@pytest.mark.parametrize(
    ("address", "token", "login", "sentence"),
    [
        ("127.0.0.1", None, False, "requires no token"),
        ("127.0.0.1", "a-long-token-of-my-own-41", False, "has in `LORA_LAB_TOKEN`"),
        ("0.0.0.0", None, False, "in the link that the server printed"),
        ("127.0.0.1", None, True, "this server has no token"),
        ("0.0.0.0", None, True, "this server has no token"),
        ("0.0.0.0", "a-long-token-of-my-own-41", True, "has in `LORA_LAB_TOKEN`"),
    ],
)
def test_it_says_which_token_this_server_takes(
    address: str, token: str | None, login: bool, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access.st, "get_option", lambda name: address)
    monkeypatch.setattr(access.st, "secrets", {"auth": {}} if login else {})
    monkeypatch.delenv("LORA_LAB_TOKEN", raising=False)
    if token:
        monkeypatch.setenv("LORA_LAB_TOKEN", token)
    assert sentence in access.token_sentence()
    assert access.is_local() == ("requires no token" in sentence)


@pytest.mark.slow
def test_it_lists_adapters_shows_requests_and_counts_answers(opened: Lab, trained_home: TrainedHome) -> None:
    base, *runs = trained_home.bring(opened, str(trained_home.split.base), *trained_home.split.runs)
    runs = [run for run in runs if run.spec.seed == 0 and run.spec.label != "LoRA r=2"]
    opened.notes.delete([id for id in trained_home.split.runs if id not in {run.id for run in runs}])
    adapters = [run for run in runs if run.spec.role == "adapter"]
    app = draw("serve", experiment=trained_home.split.id)
    assert set(app.dataframe[-1].value["Adapter"]) == {run.id for run in adapters}
    assert set(app.dataframe[-1].value["Method"]) == {"LoRA r=4", "DoRA r=4"}
    with_adapters, alone = app.code[:2], app.code[2:]
    assert len(alone) == 2
    for code in app.code:
        assert PREDICT in code.value
        assert "LORA_LAB_TOKEN" in code.value
    assert all(run.id in code.value for code in with_adapters for run in adapters)
    assert all(f'"base": "{base.id}"' in code.value for code in alone)
    app.session_state["served"] = True  # the fold is open
    shown = metrics(app.run())
    assert (shown["Requests"], shown["Latency, p95"]) == ("0", "–")
    assert (shown["Requests per second"], shown["Rows per second"]) == ("0.0", "0.0")
    rows = [Row(pixels=[0.5] * 784, adapter=run.id) for run in adapters for _ in range(3)]
    opened.predictor.predict(PredictRequest(rows=rows))
    shown = metrics(app.run())
    assert (shown["Requests"], shown["Rows"], shown["Adapters in memory"]) == ("1", "6", "2")
    assert (shown["Cache hits"], shown["Cache misses"]) == ("0", "6")
    assert float(shown["Rows per second"]) > 0
    assert shown["Latency, p95"].endswith(" ms")
