"""A process that fine-tunes a network on definitions: ``python -m tests.soak.text_growth HOME NETWORK JSON``.

It resumes the runs of its home folder that are interrupted, or else queues new ones. It prints their ids, and once they
have ended one line of JSON for each: its state, and the peak memory of all together in bytes, measured and forecast.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from core.data.task_spec import TaskSpec
from core.forecast.memory import memory_of
from core.lab import Lab
from core.methods.registry import method_of
from core.networks.decoder import DecoderSpec
from core.objectives.language import LanguageSpec
from core.run_spec import OptimSpec, RunSpec
from core.settings import Settings
from tests.conftest import wait_until
from tests.launching import fine_tune

LIMIT = 3000.0
"""Seconds after which the runs will never end, however busy the machine is."""


def main(home: Path, network: str, asked: dict[str, Any]) -> None:
    """Args:
    home: of the lab.
    network: a known one, which is imported from its package; or ``decoder``, which is pretrained.
    asked: ``method`` and ``optim``, fields of both; ``task``, fields of the task; ``seeds``; ``settings`` of the lab;
        ``learns``, where that is language.
    """
    lab = Lab(Settings(home=home, **asked.get("settings", {})))
    method = method_of(asked["method"].pop("kind")).but(**asked["method"])
    task, optim = TaskSpec.of(dataset="definitions", **asked["task"]), OptimSpec.of(**asked["optim"])
    ids: list[str] = []
    if network == "decoder":  # queued before the lab trains, so that all train together
        spec = RunSpec.of(method=method, network=DecoderSpec.of(), task=task, objective=LanguageSpec(), optim=optim)
        ids = [lab.launcher.launch(spec.but(seed=seed)).id for seed in asked["seeds"]]
    lab.start()
    if interrupted := [run.id for run in lab.store.runs(states=["interrupted"])]:
        ids = interrupted
        lab.launcher.finish(ids)
    elif not ids:
        card = lab.networks.find(network) or lab.networks.import_known(network)
        start = lab.networks.spec(card.digest, learns=asked.get("learns", "text"))
        ids = list(fine_tune(lab, start, task, [(optim, method)], asked["seeds"]).runs)
    print(*ids, flush=True)
    forecasts = lab.estimates.at_launch(ids)
    wait_until(lambda: not any(run.is_live for run in lab.store.runs_of(ids)), LIMIT)
    planned = memory_of([run.spec for run in lab.store.runs_of(ids)], lab.tasks)
    for run in lab.store.runs_of(ids):
        result, forecast = run.result, forecasts.get(run.id)
        print(
            json.dumps(
                {
                    "state": run.state,
                    "cause": run.cause,
                    "steps": run.step,
                    "used": result and result.peak_memory,
                    "planned": planned,
                    "together": result and result.bank,
                    "threads": result and result.threads,
                    "seconds": result and result.seconds,
                    "forecast": forecast and (forecast.seconds_low, forecast.seconds_high),
                    "value": result and result.measures[run.spec.objective.primary.name],
                    "memory": result and result.memory,
                }
            ),
            flush=True,
        )
    lab.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]))
