"""Files and folders of a home folder have the permissions that the umask of the process leaves them."""

from __future__ import annotations

from pathlib import Path

from tests import forked

WORK = """
import os, sys
from pathlib import Path
from core.lab import Lab
from core.reader import reading_here
from core.run_spec import OptimSpec, RunSpec
from core.settings import Settings
from tests.conftest import DIGITS, wait_until
from tests.networks.tiny import save_tiny
from tests.text_home import pets
folder = Path(sys.argv[1])
save_tiny(folder / "tiny")
for umask in sys.argv[2:]:
    home = folder / umask
    os.umask(int(umask, 8))
    lab = Lab(Settings(home=home))
    lab.start()
    with reading_here():
        lab.networks.import_folder(folder / "tiny")
    lab.catalog.keep(pets(), "pets")
    spec = RunSpec.of(method="pretrain", task=DIGITS, optim=OptimSpec.of(epochs=1))
    kept, deleted = (lab.launcher.launch(spec.but(seed=seed)).id for seed in (0, 1))
    wait_until(lambda: all(lab.store.run(id).is_over for id in (kept, deleted)))
    assert lab.store.run(kept).state == "finished", lab.store.run(kept).cause
    assert lab._backups.make()
    lab.notes.delete([deleted])
    for path in home.rglob("*"):
        kind = "folder" if path.is_dir() else "file"
        print(umask, kind, f"{path.stat().st_mode & 0o777:03o}", path.relative_to(home))
    lab.close()
"""


def test_all_that_a_lab_writes_follows_the_umask(tmp_path: Path) -> None:
    done = forked.run(["-c", WORK, str(tmp_path), "077", "002"])
    assert done.returncode == 0, done.stderr
    lines = [line.split(" ", 3) for line in done.stdout.splitlines()]
    for umask in (0o077, 0o002):
        found = [rest for name, *rest in lines if name == f"{umask:03o}"]
        paths = {path for _, _, path in found}
        assert {"lab.sqlite3", "lab.sqlite3-wal", "backups", "runs", "networks", "datasets", "owners"} <= paths
        expected = {"folder": f"{0o777 & ~umask:03o}", "file": f"{0o666 & ~umask:03o}"}
        assert [(kind, mode, path) for kind, mode, path in found if mode != expected[kind]] == []
