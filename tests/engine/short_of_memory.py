"""A lab in a process with limited memory: ``python -m tests.engine.short_of_memory``.

It trains all given specs together, and prints the result of each, one line of JSON per run.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from core.engine.jobs.run_job import run_job
from core.lab import Lab
from core.run_spec import RunSpec
from core.settings import Settings
from tests.conftest import finish

assert run_job  # imported so that all code is loaded before the limit is set


def taken() -> int:
    """Size of the address space of this process, which is what the limit applies to."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmSize")).split()[1])


def main(home: Path, allowed: int, warm: str, *specs: str) -> None:
    lab = Lab(Settings(home=home, threads=1))
    lab.start()
    finish(lab, lab.launcher.launch(RunSpec.from_json(warm)).id)
    limit = taken() + allowed
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    lab.workers._claiming.acquire()  # so that all are queued before the worker claims
    ids = [lab.launcher.launch(RunSpec.from_json(text)).id for text in specs]
    lab.workers._claiming.release()
    for run in finish(lab, *ids):
        states = [state for _, state in lab.store.transitions(run.id)]
        print(
            json.dumps(
                {
                    "state": run.state,
                    "cause": run.cause,
                    "bank": run.result.bank if run.result else None,
                    "states": states,
                    "log": [text for _, text in lab.store.log(run.id)],
                    "traceback": run.traceback,
                    "steps": lab.store.curve(run.id).step.tolist() == list(range(1, run.steps + 1)),
                }
            )
        )
    lab.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
