"""Requests that arrive while an adapter is read share the next batch; those without room are told to come again."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
import torch

from core.adapter.read import AdapterFile
from core.cli.serve import LOCAL_NAMES, application
from core.errors import ServingBusyError, ServingError
from core.lab import Lab
from core.serving import predictor
from core.serving.inputs import READ
from core.serving.request import WINDOW, Answered, PredictRequest, Rate, Row, rate_of
from core.settings import Settings
from core.web.guard import Access
from core.web.predict import PREDICT
from tests.conftest import HANG, wait_until
from tests.trained_home import TrainedHome
from tests.web.asking import ask


@dataclass
class Slow:
    """A lab whose adapters are read once :attr:`may_read` is set."""

    lab: Lab
    adapters: list[str]
    reads: threading.Event = field(default_factory=threading.Event)
    may_read: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def settings(trained_home: TrainedHome, settings: Settings) -> Settings:
    trained_home.copy(settings.home)
    return settings


@pytest.fixture
def slow(trained_home: TrainedHome, current_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    found = Slow(
        current_lab, [run.id for run in current_lab.store.members(trained_home.plain) if run.spec.role == "adapter"]
    )
    read = current_lab.artifacts.adapter

    def held_back(run: str) -> AdapterFile:
        found.reads.set()
        assert found.may_read.wait(HANG)
        return read(run)

    monkeypatch.setattr(current_lab.artifacts, "adapter", held_back)
    yield found
    found.may_read.set()


def test_requests_that_arrive_together_share_a_batch_and_get_their_own_answers(slow: Slow) -> None:
    draw = torch.Generator().manual_seed(0)
    rows = [Row(pixels=torch.rand(784, generator=draw).tolist(), adapter=slow.adapters[n % 2]) for n in range(6)]
    requests = [PredictRequest(rows=[row]) for row in rows]
    with ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(slow.lab.predictor.predict, requests[0])]
        assert slow.reads.wait(HANG)
        answers += [pool.submit(slow.lab.predictor.predict, request) for request in requests[1:]]
        wait_until(lambda: len(slow.lab.predictor._left) == 5)
        slow.may_read.set()
        together = [answer.result(HANG).predictions[0] for answer in answers]
    found = slow.lab.predictor.statistics()
    assert (found.requests, found.rows, found.batches) == (6, 6, 2)
    for request, mine in zip(requests, together, strict=True):
        alone = slow.lab.predictor.predict(request).predictions[0]
        torch.testing.assert_close(torch.tensor(mine.probabilities), torch.tensor(alone.probabilities))
    assert slow.lab.predictor.statistics().batches == 8


def test_a_request_without_room_is_told_to_come_again_and_then_is_answered(
    slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor, "MAX_WAITING", 2)
    app = application(Access.decide("127.0.0.1", {}, LOCAL_NAMES), 8600)
    body = json.dumps({"rows": [{"pixels": [0.5] * 784, "adapter": slow.adapters[0]}] * 2}).encode()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, app, PREDICT, "POST", chunks=[body], Content_Length=str(len(body)))
        assert slow.reads.wait(HANG)
        status, sentence, headers = ask(app, PREDICT, "POST", chunks=[body], Content_Length=str(len(body)))
        assert (status, json.loads(sentence), headers["retry-after"]) == (503, {"error": str(ServingBusyError())}, "1")
        slow.may_read.set()
        assert first.result(HANG)[0] == 200
    assert ask(app, PREDICT, "POST", chunks=[body], Content_Length=str(len(body)))[0] == 200


def test_a_kind_of_data_that_cannot_be_served_is_one_sentence(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(READ, "image")
    with pytest.raises(ServingError, match="that learn images cannot be served"):
        slow.lab.predictor.predict(PredictRequest(rows=[Row(pixels=[0.5] * 784, adapter=slow.adapters[0])]))
    assert {each.reads for each in slow.lab.predictor.adapters().adapters} == {"text"}


def answered(*at: float, rows: int = 1) -> list[Answered]:
    return [Answered(each, rows, 0.1) for each in at]


def test_a_steady_rate_is_found_whatever_part_of_it_is_known() -> None:
    whole = answered(*(0.5 * number for number in range(1, 401)), rows=3)
    for kept in (10, 100, 400):
        latest = whole[-kept:]
        for now in (200.0, 200.4):
            found = rate_of(latest, latest[0].at if kept < 400 else 0.0, now)
            assert found.requests == pytest.approx(2.0, rel=0.11)
            assert found.rows == pytest.approx(3 * found.requests)


def test_what_is_older_than_a_minute_does_not_count() -> None:
    latest = answered(1.0, 2.0, 70.0)
    assert rate_of(latest, 0.0, 71.0) == Rate(1 / WINDOW, 1 / WINDOW)
    assert rate_of(latest, 0.0, 70.0 + WINDOW) == Rate(0.0, 0.0)


def test_after_the_start_only_the_seconds_since_it_count() -> None:
    assert rate_of(answered(1.0, 2.0, 3.0, 4.0, rows=2), 0.0, 4.0) == Rate(1.0, 2.0)
    assert rate_of([], 5.0, 5.0) == Rate(0.0, 0.0)
