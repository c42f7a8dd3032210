"""The ways by which files of others come in, each with what it answers: pages, commands, and requests to the API."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from core.serving.request import MAX_BYTES
from tests import forked
from tests.bad_files.sentences import faults_of
from tests.conftest import HANG, wait_until
from tests.data.text_files import CSV
from tests.networks.library.hub_server import HubServer
from tests.soak.choosing import Chooser
from tests.web.conftest import Visitor


@dataclass(frozen=True)
class Kind:
    """How files of one kind come in."""

    doors: tuple[str, ...]
    ending: str = ""
    page: str = ""
    widget: str = ""
    """Key of the widget of that page that takes a file."""


KINDS = {
    "images": Kind(("page",), ".zip", "data", "upload-file-image-0"),
    "picture": Kind(("page",), ".png", "tryit", "try-picture"),
    "texts": Kind(("page", "command"), ".csv", "data", "upload-file-text-0"),
    "adapter": Kind(("page", "command"), ".zip", "adapters", "adapter-file"),
    "network": Kind(("page", "command"), ".zip", "networks", "networks-zip"),
    "experiment": Kind(("page", "command"), ".json", "new", "new-open-0"),
    "hub": Kind(("page",), "", "networks"),
    "request": Kind(("request",)),
}


@dataclass
class Answer:
    """What was said of one file."""

    said: list[str] = field(default_factory=list)
    """Error messages, or why a part of the file cannot be used; none if the file was taken."""
    complaints: list[str] = field(default_factory=list)
    """What should not be: exceptions, and statuses of crashes."""

    @property
    def faults(self) -> list[str]:
        """What is wrong with the answer; empty for one sentence, and where the file was taken."""
        many = ["several sentences"] if len(self.said) > 1 else []
        return self.complaints + many + [fault for sentence in self.said for fault in faults_of(sentence)]


class Doors:
    """The doors of one dashboard, each entered by one person who goes on with the next file."""

    def __init__(self, port: int, home: Path, base: str, network: str, folder: Path, hub: HubServer | None) -> None:
        """Open the pages.

        Args:
            port: of the dashboard.
            home: its folder.
            base: run that adapters are for.
            network: digest of an imported network.
            folder: an empty one, for the files of commands.
            hub: what the dashboard takes for Hugging Face.
        """
        self._port, self._home, self._base, self._network, self._hub = port, home, base, network, hub
        self._folder, self._count = folder, 0
        self._pages: dict[str, Chooser] = {}
        self._open = ExitStack()
        self.held = 0
        """Bytes of the file that a page, or a request, holds."""

    def close(self) -> None:
        """Close the pages."""
        self._open.close()

    def enter(self, door: str, kind: str, content: bytes) -> Answer:
        """Import a file. Args: door: one of those of its kind in ``KINDS``."""
        self._count += 1
        self.held = len(content) if door != "command" else 0
        try:
            if door == "request":
                return self._request(content)
            return self._command(kind, content) if door == "command" else self._page(kind, content)
        finally:
            self.held = 0

    def _page(self, kind: str, content: bytes) -> Answer:
        if kind not in self._pages:
            self._pages[kind] = self._opened(kind)
        page = self._pages[kind]
        page.complaints.clear()
        name = f"{self._count}{KINDS[kind].ending}"
        if kind == "hub":
            assert self._hub is not None
            self._hub.description = content
            name = "org/tiny"
            page.set("networks-hub-name", name)
            page.draw("networks-hub-bring")
        elif (status := page.choose(KINDS[kind].widget, name, content)) >= 300:
            return Answer(complaints=[f"the upload ended with {status}"])
        elif kind == "network":
            page.draw("networks-zip-bring")
        wait_until(lambda: not _is_arriving(page))
        answer = Answer(page.errors or page.faults, list(page.complaints))
        page.remove()
        if kind in ("hub", "network") and answer.said:
            page.draw(f"arrival-dismiss-{name}")
        else:
            page.draw()
        return answer

    def _opened(self, kind: str) -> Chooser:
        page = self._open.enter_context(Chooser(self._port, KINDS[kind].page))
        if kind == "texts":
            page.set("upload-kind", ["Texts"])
        elif kind == "adapter":
            page.set("adapters-from", "From a file")
        elif kind == "picture":
            page.set("try-input", ["Picture"])
        return page

    def _command(self, kind: str, content: bytes) -> Answer:
        own = self._folder / str(self._count)
        own.mkdir()
        file = own / f"a{KINDS[kind].ending}"
        file.write_bytes(content)
        sound, saved = own / "sound.csv", own / "saved.json"
        home = ["--home", str(self._home)]
        named = ["--save-config", str(saved), *home]
        base = self._home / "runs" / self._base / "network.safetensors"
        if kind == "network":
            sound.write_bytes(CSV)
        arguments: Mapping[str, list[str]] = {
            "adapter": ["verify", str(file), "--base", str(base)],
            "experiment": ["compare", "--config", str(file), *home],
            "texts": ["compare", "--data", str(file), "--network", self._network, *named],
            "network": ["compare", "--data", str(sound), "--network", str(file), *named],
        }
        environment = {**os.environ, "LORA_LAB_HOME": str(own / "not here"), "OMP_NUM_THREADS": "1"}
        done = forked.run(["-m", "core", *arguments[kind]], cwd=own, env=environment, timeout=HANG)
        _, found, sentence = done.stderr.rpartition("error: ")
        expected = {own / "a", file, sound, saved}
        complaints = [f"{path.name} was written" for path in own.iterdir() if path not in expected]
        if done.returncode not in (0, 1) or "Traceback" in done.stderr or bool(found) != bool(done.returncode):
            complaints.append(f"status {done.returncode}: {done.stderr[-500:]}")
        file.unlink()
        return Answer([sentence.removesuffix("\n")] if found else [], complaints)

    def _request(self, content: bytes) -> Answer:
        # Larger ones are refused: see tests/web.
        answer, body = Visitor(self._port).ask("POST", "/api/predict", content[:MAX_BYTES])
        complaints = [] if 200 <= answer.status < 500 else [f"status {answer.status}"]
        return Answer([] if answer.status == 200 else [json.loads(body)["error"]], complaints)


def _is_arriving(page: Chooser) -> bool:
    """Whether a network is on its way; the page is drawn again if so."""
    told = [element.progress.text for element in page.elements if element.WhichOneof("type") == "progress"]
    found = any(text.startswith("Importing") for text in told)  # others are of runs
    if found:
        page.draw()
    return found
