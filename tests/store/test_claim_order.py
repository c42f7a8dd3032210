"""The order in which runs are claimed: experiments in turn, and within one the methods, in banks as large as before."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from core.errors import UnknownRunError
from core.methods.full import FullSpec
from core.methods.lora import LoRASpec
from core.plan.experiment import arm_specs, every
from core.store.record import Experiment, Run
from core.store.store import Store
from core.training.sharing import FULL_BANK, LORA_BANK
from tests.conftest import BOTH, TURNED, short
from tests.store.states import SPEC, put
from tests.study.samples import RESULT

RATES = (0.0003, 0.001, 0.003, 0.01, 0.03)
THOROUGH = [(short(rate=rate), FullSpec()) for rate in RATES] + [
    (short(rate=rate), LoRASpec.of(rank=rank)) for rank in (1, 4, 16) for rate in RATES
]


def queue(store: Store, name: str, arms: Sequence[object], seeds: Sequence[int]) -> list[str]:
    """Queue an experiment on the finished base r-base; the ids of its runs."""
    specs = arm_specs("r-base", SPEC, every(arms, seeds, TURNED), "auto")  # type: ignore[arg-type]
    members = [(f"{name}-{number}", spec) for number, spec in enumerate(specs)]
    experiment = Experiment(name, name, 0.0, "r-base", tuple(id for id, _ in members))
    store.add(members, "me", 1000, experiment)
    return [id for id, _ in members]


def claim(store: Store) -> list[Run]:
    """Claim the next bank, as a worker does."""
    runs = store.next_runs("me")
    return store.claim(runs[: LORA_BANK if runs and runs[0].spec.role == "adapter" else FULL_BANK])


def claim_all(store: Store) -> list[list[Run]]:
    """Every bank, one after another, as one worker takes them."""
    banks = []
    while bank := claim(store):
        banks.append(bank)
    return banks


@pytest.fixture
def based(store: Store) -> Store:
    """A store with a finished base."""
    put(store, "r-base", "finished")
    return store


def test_few_runs_of_each_method_race_in_two_turns_at_least(based: Store) -> None:
    queue(based, "e-1", BOTH, range(8))
    assert [(bank[0].spec.kind, len(bank)) for bank in claim_all(based)] == [("full", 4), ("lora", 4)] * 2
    queue(based, "e-2", BOTH[:1], range(8))
    assert [len(bank) for bank in claim_all(based)] == [8]  # a single method has nobody to race with
    queue(based, "e-3", BOTH, range(2))
    assert [len(bank) for bank in claim_all(based)] == [2, 2]


def test_full_and_lora_take_turns_in_banks_that_are_as_large_as_they_can_be(based: Store) -> None:
    ids = queue(based, "e-1", THOROUGH, range(8))
    banks = claim_all(based)
    assert [bank[0].spec.kind for bank in banks] == ["full", "lora"] * 4 + ["full"]
    assert [len(bank) for bank in banks] == [8, 32, 8, 32, 8, 32, 8, 24, 8]
    assert sorted(run.id for bank in banks for run in bank) == sorted(ids)
    for method in ("full", "lora"):
        claimed = [run.created for bank in banks for run in bank if run.spec.kind == method]
        assert claimed == sorted(claimed)  # by seed, so that all arms have first results early


def test_two_workers_take_one_method_each(based: Store) -> None:
    queue(based, "e-1", THOROUGH[:1] + THOROUGH[5:6], range(50))
    assert [claim(based)[0].spec.kind for _ in range(2)] == ["full", "lora"]


def test_an_experiment_ends_before_the_next_one_begins(based: Store) -> None:
    first = queue(based, "e-1", THOROUGH, range(3))
    other = [(optim.but(epochs=2), kind) for optim, kind in THOROUGH]  # so that no bank has runs of both
    second = queue(based, "e-2", other, range(3))
    claimed = [run.id for bank in claim_all(based) for run in bank]
    assert set(claimed[: len(first)]) == set(first)
    assert set(claimed[len(first) :]) == set(second)


def test_experiments_that_can_be_trained_together_still_share_banks(based: Store) -> None:
    queue(based, "e-1", THOROUGH[:2], range(2))
    queue(based, "e-2", THOROUGH[:2], range(2, 4))
    assert [len(bank) for bank in claim_all(based)] == [8]


def test_seeds_with_bases_of_their_own_share_banks_base_by_base_as_soon_as_those_are_there(store: Store) -> None:
    for seed, state in ((0, "finished"), (2, "finished"), (1, "queued")):
        put(store, f"b-{seed}", state, SPEC.but(seed=seed))  # type: ignore[arg-type]
    asked = every([(short(), LoRASpec.of(rank=rank)) for rank in (1, 2)], range(3), TURNED)
    specs = arm_specs({seed: f"b-{seed}" for seed in range(3)}, SPEC, asked, "auto")
    by_rank = sorted(specs, key=lambda spec: spec.method.size or 0)
    store.add([(f"r-{number}", spec) for number, spec in enumerate(by_rank)], "me", 1000)
    base, bank = sorted(claim_all(store), key=len)
    assert [run.id for run in base] == ["b-1"]
    assert [run.spec.base for run in bank] == ["b-0", "b-0", "b-2", "b-2"]
    store.finish(base[0], "finished", RESULT, {})
    assert [[run.spec.base for run in bank] for bank in claim_all(store)] == [["b-1", "b-1"]]


def test_a_run_without_its_base_waits_and_does_not_hold_up_the_others(store: Store) -> None:
    put(store, "r-base", "queued")
    queue(store, "e-1", THOROUGH, range(1))
    (base,) = claim(store)
    assert base.id == "r-base"
    assert claim_all(store) == []
    store.finish(base, "finished", RESULT, {})
    assert [bank[0].spec.kind for bank in claim_all(store)] == ["full", "lora", "lora", "full"]


def test_what_is_to_be_stopped_comes_first_whatever_its_method(based: Store) -> None:
    ids = queue(based, "e-1", THOROUGH[:1] + THOROUGH[5:6], range(2))
    with based.transaction() as db:
        db.execute("UPDATE runs SET stop_asked = 1 WHERE id = ?", (ids[-1],))
    claim(based)
    assert based.run(ids[-1]).state == "running"


def test_many_runs_are_stopped_in_one_call_all_or_none(based: Store) -> None:
    ids = queue(based, "e-1", THOROUGH[:2], range(3))
    with pytest.raises(UnknownRunError):
        based.ask_stop(*ids, "r-none", owner="me")
    assert {based.run(id).state for id in ids} == {"queued"}
    based.ask_stop(*ids, "r-base", owner="me")
    assert {based.run(id).state for id in ids} == {"stopped"}
    assert based.run("r-base").state == "finished"
