"""Bad tables: each gets one sentence that says what to do, and nothing of it is kept."""

from __future__ import annotations

import gzip
import io
import json
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from core.__main__ import main
from core.lab import Lab
from core.settings import Settings
from tests.judge.samples import csv_of, rows_of, written

ROWS = rows_of(seeds=range(2))
GOOD = csv_of(ROWS)
LINES = GOOD.decode().splitlines()


def but(**cells: object) -> bytes:
    """The table with other cells in its second row."""
    return csv_of([ROWS[0], {**ROWS[1], **cells}, *ROWS[2:]])


def zipped(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()


def state(**values: object) -> bytes:
    return zipped({"run-seed1/trainer_state.json": json.dumps(values).encode()})


def database(*statements: str) -> bytes:
    with sqlite3.connect(":memory:") as db:
        for statement in statements:
            db.execute(statement)
        return db.serialize()


MLFLOW = [
    "CREATE TABLE experiments (experiment_id INTEGER, name TEXT)",
    "CREATE TABLE runs (run_uuid TEXT, name TEXT, status TEXT, lifecycle_stage TEXT, experiment_id INTEGER,"
    " start_time INTEGER)",
    "CREATE TABLE params (key TEXT, value TEXT, run_uuid TEXT)",
    "CREATE TABLE tags (key TEXT, value TEXT, run_uuid TEXT)",
    "CREATE TABLE metrics (key TEXT, value REAL, timestamp INTEGER, run_uuid TEXT, step INTEGER, is_nan INTEGER)",
    "CREATE TABLE latest_metrics (key TEXT, value REAL, run_uuid TEXT, is_nan INTEGER)",
]
ENDLESS = (
    "CREATE VIEW experiments AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x AS name FROM n"
)

BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "header alone": (LINES[0].encode(), "has no rows"),
    "one column": (b"accuracy\n1\n2\n", "has one column"),
    "no header": ("\n".join(LINES[8:]).encode(), "'4' in it"),
    "two columns of one name": (GOOD.replace(b"rank", b"seed", 1), "'seed' in it, which is"),
    "a row that is too short": ("\n".join([*LINES[:3], "full,1"]).encode(), "Row 4 has 2 cells"),
    "a row that is too long": ("\n".join([*LINES[:3], LINES[3] + ",9"]).encode(), "Row 4 has 7 cells"),
    "an open quote": (GOOD + b'"full', "quote"),
    "no text": (bytes(range(256)) * 20, "file"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + b"0" * 100, "is a single image"),
    "a pickle": (b"\x80\x04\x95" + b"0" * 100, "pickle"),
    "Excel": (zipped({"xl/workbook.xml": b"", "[Content_Types].xml": b""}), "Excel"),
    "a zip of two tables": (zipped({"a.csv": GOOD, "b.csv": GOOD}), "2 files"),
    "a damaged gzip": (gzip.compress(GOOD)[:-20], "gzipped"),
    "a damaged Parquet file": (b"PAR1" + b"\x00" * 60 + b"PAR1", "damaged"),
    "no number": (but(accuracy="high"), "'high' in the column 'accuracy' is no number"),
    "a comma for the decimals": (but(accuracy="91,5"), "write a point"),
    "no seed": (csv_of({**row, "seed": ""} for row in ROWS), "Row 2 (full) has an empty cell in the column 'seed'"),
    "no seed of a run that failed": (
        csv_of([{**ROWS[0], "seed": "", "state": "failed"}, *ROWS[1:]]),
        "'seed' is no seed of a run",
    ),
    "seeds in names alone": (
        csv_of({**row, "seed": "", "run": f"{row['method']}-s{row['seed']}"} for row in ROWS),
        "has an empty cell in the column 'seed': fill it in",
    ),
    "half a seed": (but(seed="1.5"), "no whole number"),
    "a negative rank": (but(rank="-1"), "no whole number"),
    "a rank in words": (but(rank="eight"), "is no number"),
    "a negative rate": (but(learning_rate="-0.1"), "above 0"),
    "no method": (csv_of({**row, "method": ""} for row in ROWS), "empty cell in the column 'method'"),
    "an endless method": (but(method="x" * 500), "more than 120 characters"),
    "an unknown state": (csv_of({**row, "state": "fine"} for row in ROWS), "'fine' in the column 'state' is not known"),
    "no measure": (csv_of({"method": "full", "seed": seed, "note": "x"} for seed in range(3)), "can be the measure"),
    "no values": (csv_of({**row, "accuracy": "", "validation": ""} for row in ROWS), "no numbers"),
    "more than 100 percent": (but(accuracy="250"), "no percentage"),
    "a negative percentage": (but(accuracy="-5"), "no percentage"),
    "no full fine-tuning": (csv_of(row for row in ROWS if row["method"] != "full"), "--reference"),
    "different rows of one run": (csv_of([*ROWS, {**ROWS[0], "accuracy": 1.0}]), "--repeated"),
    "epochs": (csv_of({**row, "epoch": epoch} for row in ROWS for epoch in (1, 2)), "--take"),
    "JSON of numbers": (b"[1, 2, 3]", "not a JSON object"),
    "a line that is no JSON": (json.dumps(ROWS[0]).encode() + b"\n{oops\n", "Row 2 is not a JSON object"),
    "a list of others": (b"[1" + b",{}" * 1000 + b"]", "Row 1 is not a JSON object"),
    "a list of nothing": (b"[" + b"{}," * 1_000_001 + b"{}]", "no rows"),
    "blank rows": (GOOD + b"\n" * 1_000_001 + b'"', "quote"),
    "deep JSON": (b"[" * 100_000, "not a JSON object"),
    "no list of looks": (b'{"lora_lab_results": 1, "looks": 5}', "looks"),
    "an unknown reading": (b'{"lora_lab_results": 1, "reading": {"colour": "red"}}', "reading"),
    "only what is beside a table": (b"run,item,right\na,1,1\n", "None of the files"),
    "a Trainer's state without measures": (state(log_history=[{"loss": 1.0}]), "evaluate before saving"),
    "a Trainer's state that is no JSON": (zipped({"a/trainer_state.json": b"{"}), "is no JSON"),
    "a zip that says there is a state": (zipped({"trainer_state.json.txt": b"x"}), "no rows"),
    "SQLite without MLflow": (database("CREATE TABLE t (x)"), "no table experiments"),
    "damaged SQLite": (database(*MLFLOW)[:5000], "damaged"),
    "MLflow with an endless view": (database(ENDLESS, *MLFLOW[1:]), "no table experiments"),
    "a hundred megabytes in a cell": (b"method,accuracy\nfull," + b"9" * 3_000_000, "characters"),
}
"""Files, each with a part of its sentence."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def refused(home: Path, capsys: pytest.CaptureFixture[str], *files: Path) -> str:
    """The sentence by which the command refuses files, of which nothing is kept."""
    assert main(["judge", *map(str, files), "--home", str(home)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert len(line) <= 500
    with closing(Lab(Settings(home))) as lab:
        assert lab.judged.list() == []
        assert lab.store.rows("SELECT 1 FROM judged_files UNION ALL SELECT 1 FROM judged_values") == []
    return line


def test_there_are_fifty() -> None:
    assert len(BAD) >= 50


@pytest.mark.parametrize("case", BAD)
def test_a_bad_table_gets_one_sentence_and_nothing_is_kept(
    case: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, words = BAD[case]
    assert words in refused(home, capsys, *written(tmp_path, {"bad.csv": content}))


@pytest.mark.parametrize(
    ("beside", "words"),
    [
        ("run,item,right\nnobody,1,1\n", "which the results do not have"),
        ("run,item,right\nrun-1,1,1\nrun-1,1,0\n", "twice"),
        ("run,item,right\nrun-1,1,1\nrun-2,2,1\n", "lacks 1 test example"),
        ("run,item,right\nrun-1,1,maybe\n", "neither right nor wrong"),
        ("run,item,note\nrun-1,1,1\n", "has no column"),
        ("item,right\n1,1\n", "does not say of which run"),
        ("run,item,right\nrun-1,1,1\nrun-1,2,0\n", "have a mean of"),
        ("run,epoch,validation\nrun-1,1,5\nrun-1,1,6\n", "twice"),
        ("run,epoch,validation\nrun-1,1,x\n", "is no number"),
        ("run,epoch\nrun-1,1\n", "no column beside"),
    ],
)
def test_a_bad_file_beside_a_good_table_keeps_nothing_of_either(
    beside: str, words: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = written(tmp_path, {"good.csv": GOOD, "beside.csv": beside.encode()})
    assert words in refused(home, capsys, *files)
