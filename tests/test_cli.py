"""The command line: the whole job without a browser, and an adapter checked from a shell."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from peft import PeftModel

from core.__main__ import main
from core.adapter import apply_adapter, read_adapter
from core.network_file import read_network, write_network


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "core", *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )


def test_compare_prints_one_json_object_and_its_adapter_loads_in_peft(tmp_path: Path) -> None:
    done = run(
        "compare", "--source", "digits", "--preset", "rotation-45", "--epochs", "2", "--pretrain-epochs", "3",
        "--seeds", "2", "--rank", "4", "--device", "cpu", "--home", tmp_path / "home", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["device"] == "cpu"
    assert found["base"]["parameters"] == 136_074
    arms = {arm["method"]: arm for arm in found["arms"]}
    assert (arms["full"]["trainable_parameters"], arms["lora"]["trainable_parameters"]) == (136_074, 6_248)
    assert arms["full"]["adapter"] is None
    for arm in arms.values():
        assert len(arm["accuracy"]) == len(arm["source_accuracy"]) == 2
        assert all(0 <= value <= 100 for value in arm["accuracy"])
        assert arm["seconds"] > 0
    assert "run" in done.stderr or "seed" in done.stderr  # the bar

    base = read_network(Path(found["base"]["weights"]))
    adapter = Path(arms["lora"]["adapter"])
    x = torch.rand(64, 784, generator=torch.Generator().manual_seed(0))
    ours = apply_adapter(base, read_adapter(adapter))(x)
    with zipfile.ZipFile(adapter) as archive:
        archive.extractall(tmp_path / "adapter")
    theirs = PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()(x)
    torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=1e-5)

    checked = run("verify", adapter, "--base", found["base"]["weights"])
    assert checked.returncode == 0, checked.stderr
    assert "6,248 parameters" in checked.stdout


def test_compare_prints_a_table_and_the_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(
        ["compare", "--source", "digits", "--epochs", "1", "--pretrain-epochs", "1", "--seeds", "2", "--rank", "2", "8",
         "--home", str(tmp_path)]
    )  # fmt: skip
    out = capsys.readouterr().out
    assert status == 0
    assert "LoRA r=2" in out
    assert "LoRA r=8" in out
    assert "136,074" in out
    assert "Note: " in out  # two seeds are too few, and it says so


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--rank", "0"], "Rank must be at least 1"),
        (["--rank", "500"], "Rank 500 is above 128"),
        (["--alpha", "nan"], "Alpha must be a finite number"),
        (["--source", "cats"], "cats"),
        (["--source", "mnist"], "LORA_LAB_DATA"),
        (["--seeds", "0"], "at least 1"),
        (["--epochs", "0"], "Epochs must be at least 1"),
        (["--preset", "transfer"], "second dataset"),
        (["--device", "cuda"], "no cuda device"),
    ],
)
def test_bad_options_get_one_sentence_and_leave_no_run(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    sentence: str,
) -> None:
    monkeypatch.delenv("LORA_LAB_DATA", raising=False)
    defaults = [] if "--source" in arguments else ["--source", "digits"]
    assert main(["compare", "--home", str(tmp_path), *defaults, *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("error: ")
    assert sentence in captured.err
    assert list((tmp_path / "runs").glob("*")) == []


def test_verify_gives_the_reason_and_exits_with_1(tmp_path: Path, trained: tuple[Path, Path]) -> None:
    adapter, base = trained
    other = read_network(base)
    with torch.no_grad():
        other.layers[0].bias[0] += 1  # type: ignore[operator]
    write_network(tmp_path / "other.safetensors", other)
    cut = tmp_path / "cut.zip"
    cut.write_bytes(adapter.read_bytes()[:-200])
    for arguments, word in [
        ([adapter, "--base", tmp_path / "other.safetensors"], "base"),
        ([cut, "--base", base], "zip"),
        ([tmp_path / "none.zip", "--base", base], "none.zip"),
        ([adapter, "--base", adapter], "safetensors"),
    ]:
        done = run("verify", *arguments)
        assert done.returncode == 1
        assert done.stdout == ""
        assert word in done.stderr
        assert done.stderr.count("\n") == 1, done.stderr


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Path, Path]:
    done = run(
        "compare", "--source", "digits", "--epochs", "1", "--pretrain-epochs", "1", "--seeds", "1", "--home",
        tmp_path / "home", "--json",
    )  # fmt: skip
    found = json.loads(done.stdout)
    return Path(found["arms"][1]["adapter"]), Path(found["base"]["weights"])
