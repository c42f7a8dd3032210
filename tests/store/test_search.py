"""Search: every filter and order gives the same runs as plain Python, page by page."""

from __future__ import annotations

import json

import pytest

from core.data.task_spec import TaskSpec
from core.methods.lora import LoRASpec
from core.methods.method import Role
from core.methods.registry import methods
from core.run_spec import RunSpec
from core.store.notes import RunNotes
from core.store.record import Run
from core.store.schema import TABLES, UPGRADES
from core.store.search import MAX_WORDS, ORDERS, Entry, Query, Search
from core.store.store import Store
from tests.conftest import DIGITS
from tests.store.many import write_many
from tests.study.samples import RESULT, measured

COUNT = 400


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("home") / "lab.sqlite3")
    write_many(store, COUNT)
    return store


@pytest.fixture(scope="module")
def everything(many: Store) -> list[Entry]:
    """All runs, the newest first, read one by one."""
    search = Search(many)
    return [search.entries([run.id])[0] for run in many.runs()]


def words_of(store: Store, entry: Entry) -> str:
    run = entry.run
    name = store.experiment(run.experiment).name if run.experiment else ""
    parts = [run.id, run.spec.label, run.spec.task.dataset, entry.note, run.spec.base, run.cause, run.experiment, name]
    return " ".join([*(part or "" for part in parts), *entry.tags]).lower()


def fits(store: Store, entry: Entry, query: Query) -> bool:
    return (
        (not query.states or entry.run.state in query.states)
        and (not query.methods or entry.run.spec.kind in query.methods)
        and (not query.experiments or entry.run.experiment in query.experiments)
        and (not query.datasets or entry.run.spec.task.dataset in query.datasets)
        and all(tag in entry.tags for tag in query.tags)
        and (query.archived is None or entry.run.archived == query.archived)
        and all(word.lower() in words_of(store, entry) for word in query.text.split())
    )


def all_pages(search: Search, query: Query, size: int) -> list[Run]:
    first = search.find(query, 1, size)
    pages = [first, *(search.find(query, number, size) for number in range(2, first.pages + 1))]
    assert {page.found for page in pages} == {sum(len(page.entries) for page in pages)}
    assert all(len(page.entries) == size for page in pages[:-1])
    return [entry.run for page in pages for entry in page.entries]


@pytest.mark.parametrize(
    "query",
    [
        Query(),
        Query(archived=True),
        Query(archived=None),
        Query(states=("failed", "interrupted")),
        Query(methods=("lora",), states=("stopped",)),
        Query(datasets=("mnist", "digits"), methods=("pretrain",)),
        Query(experiments=("e-00000001",)),
        Query(experiments=("e-00000001", "e-none"), states=("stopped",)),
        Query(tags=("tag 3",)),
        Query(tags=("tag 3", "tag 4")),
        Query(text="diverged 4"),
        Query(text="LORA R=16 fashion"),
        Query(text="note tried 63"),
        Query(text="rotated r-0000009"),
        Query(text="tag 6", archived=None, states=("finished",)),
        Query(text="no such thing anywhere"),
    ],
)
def test_a_filter_lets_through_what_fits_and_nothing_else(many: Store, everything: list[Entry], query: Query) -> None:
    expected = [entry.run.id for entry in everything if fits(many, entry, query)]
    search = Search(many)
    assert [run.id for run in all_pages(search, query, 30)] == expected
    assert search.count(query) == len(expected)


@pytest.mark.parametrize("sort", list(ORDERS))
def test_an_order_is_that_of_the_values_with_those_that_lack_one_last(
    many: Store, everything: list[Entry], sort: str
) -> None:
    def negative(value: float | None) -> float | None:
        return None if value is None else -value

    def stored(run: Run) -> float | None:
        return run.result and (run.result.adapter_bytes or run.result.checkpoint_bytes)

    key = {
        "newest first": lambda run: -run.created,
        "oldest first": lambda run: run.created,
        "highest accuracy": lambda run: run.result and -run.score,
        "highest macro-F1": lambda run: run.result and -run.result.measures["macro_f1"],
        "lowest loss": lambda run: run.result and run.result.measures.get("loss"),
        "lowest bits per byte": lambda run: run.result and run.result.measures.get("bits_per_byte"),
        "highest next-token accuracy": lambda run: run.result and negative(run.result.measures.get("token_accuracy")),
        "shortest training": lambda run: run.result and run.result.seconds,
        "longest training": lambda run: run.result and -run.result.seconds,
        "largest files": lambda run: run.result and -(stored(run) or 0),
    }[sort]
    runs = [entry.run for entry in everything]
    expected = sorted(runs, key=lambda run: (key(run) is None, key(run) or 0, -run.created))
    found = all_pages(Search(many), Query(sort=sort, archived=None), 37)
    assert [run.id for run in found] == [run.id for run in expected]


def test_a_page_that_does_not_exist_is_the_nearest_that_does(many: Store) -> None:
    search = Search(many)
    assert search.find(Query(), 10**9).number == search.find(Query()).pages
    assert search.find(Query(), -5).number == 1
    assert search.find(Query(text="nothing like it")).pages == 1


def test_signs_of_sql_in_a_search_are_letters(store: Store, notes: RunNotes) -> None:
    store.add([("r-1", RunSpec.of(method="pretrain", task=DIGITS))], "me", 10)
    search = Search(store)
    notes.set_note("r-1", r"100 %_\' done")
    for text in ("%", "_", "\\", "'", "%_", r"100 %_\'"):
        assert search.count(Query(text=text)) == 1, text
    for text in ("1%0", "d_ne", "'; DROP TABLE runs; --", "\\\\\\"):
        assert search.count(Query(text=text)) == 0, text
    assert search.count(Query(text=" ".join(["done"] * MAX_WORDS + ["absent"]))) == 1
    assert search.count(Query(text="%" * 100_000)) == 0
    assert search.count(Query(datasets=("digits' OR 1 --",), tags=("x'",))) == 0


def of_every_kind() -> list[RunSpec]:
    """Specs with all labels, and two ranks of which one is a prefix of the other."""
    shared = {"task": DIGITS, "source": DIGITS, "base": "r-0"}
    return [
        RunSpec.of(method="pretrain", task=TaskSpec.of(dataset="fashion-mnist")),
        RunSpec.of(method="full", **shared),
        *(RunSpec.of(method=LoRASpec.of(rank=rank), **shared) for rank in (1, 16)),
        *(RunSpec.of(method=control, **shared) for control in methods(Role.CONTROL)),
    ]


def test_words_of_a_label_find_exactly_its_runs(store: Store) -> None:
    specs = of_every_kind()
    store.add([(f"x{place}", spec) for place, spec in enumerate(specs)], "me", 100)
    store.add([(f"y{place}", spec.but(seed=1)) for place, spec in enumerate(specs)], "me", 100)
    labels = sorted({spec.label for spec in specs})
    assert len(labels) == len(specs)
    parts = [part for label in labels for part in (label, label.upper(), *label.split(), label[1:4], label[-2:])]
    for text in [*parts, "r=1", "r=", "LoRA 16", "Full only", "head scratch"]:
        fit = [i for i, spec in enumerate(specs) if all(w.lower() in spec.label.lower() for w in text.split())]
        entries = Search(store).find(Query(text=text, sort="oldest first")).entries
        assert sorted(entry.run.id for entry in entries) == [f"{kind}{i}" for kind in "xy" for i in fit], text


def test_the_schema_contains_no_labels() -> None:
    text = " ".join([TABLES, *UPGRADES.values()]).lower()
    for label in (spec.label for spec in of_every_kind()):
        assert f"'{label.split(' r=')[0]}".lower() not in text, label


def test_columns_read_off_specs_and_results_say_what_python_says(store: Store) -> None:
    specs = of_every_kind()
    store.add([(f"r-{place}", spec) for place, spec in enumerate(specs)], "me", 10)
    with store.transaction() as db:
        for place, accuracy in enumerate((50.0, float("nan"), float("inf"))):
            result = json.dumps(measured(RESULT, accuracy=accuracy).to_dict())
            db.execute("UPDATE runs SET result = ? WHERE id = ?", (result, f"r-{place}"))
    for sort in ORDERS:  # a result with numbers that JSON does not know has an order, too
        assert Search(store).find(Query(sort=sort)).found == len(specs)
    rows = store.rows("SELECT kind, dataset, accuracy FROM runs ORDER BY id")
    assert len({row["kind"] for row in rows}) == len(specs)
    assert [row["dataset"] for row in rows] == [spec.task.dataset for spec in specs]
    assert [row["accuracy"] for row in rows] == [50.0] + [None] * (len(specs) - 1)


def test_the_mark_changes_with_the_list(store: Store, notes: RunNotes) -> None:
    search = Search(store)
    marks = [search.version()]
    spec = RunSpec.of(method="pretrain", task=DIGITS)
    for change in (
        lambda: store.add([("r-1", spec), ("r-2", spec)], "me", 10),
        lambda: store.ask_stop("r-1", owner="me"),
        lambda: notes.archive(["r-1"]),
        lambda: notes.delete(["r-1"]),
    ):
        change()
        assert search.version() not in marks
        marks.append(search.version())
    assert search.version() == marks[-1]
