"""Download a dataset's files within size limits, verify them, and stop on request."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import zipfile
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from core.data.sources.idx import MAX_BYTES, IdxDataset, find_files, read_parts
from core.errors import DatasetError, DownloadError
from core.http_client import HttpClient, LostError


class FetchError(Exception):
    """Why a download from one or all mirrors failed, as a clause."""


class Fetch:
    """One attempt to download the files of a dataset into an empty folder."""

    def __init__(
        self,
        dataset: IdxDataset,
        folder: Path,
        progress: Callable[[float], None] | None,
        stop: threading.Event | None,
        timeout: float,
    ) -> None:
        self._dataset = dataset
        self._folder = folder
        self._progress = progress or (lambda share: None)
        self._stop = stop or threading.Event()
        self._client = HttpClient(timeout, self._check_stopped)
        self._received = 0

    def run(self) -> None:
        """Download, unpack and check all files.

        Raises:
            FetchError: no mirror had an intact file.
            DownloadError: it was stopped.
            OSError: the disk is full or cannot be written to.
        """
        for name, md5 in self._dataset.resources:
            self._fetch(name, md5)
            if name.endswith(".zip"):
                self._unzip(self._folder / name)
        files = find_files(self._dataset, self._folder)
        if files is None:
            raise FetchError("the download lacks some of its files")
        try:
            read_parts(self._dataset, files)
        except DatasetError as error:
            raise FetchError(f"the downloaded files are damaged ({error.args[0].removesuffix('.')})") from error
        self._progress(1.0)

    def _fetch(self, name: str, md5: str) -> None:
        reasons = []
        for mirror in self._dataset.mirrors:
            before = self._received
            try:
                self._fetch_from(mirror + name, self._folder / name, md5)
                return
            except LostError as error:  # in whose clause "it" is the server
                reasons.append(
                    str(error)
                    .replace("it answered", "the server answered")
                    .replace("its answer", "the server's answer")
                )
            except FetchError as error:
                reasons.append(str(error))
            self._received = before
        raise FetchError("; ".join(dict.fromkeys(reasons)))

    def _fetch_from(self, url: str, path: Path, md5: str) -> None:
        # torchvision publishes MD5 only, which detects damage but not forgery.
        digest = hashlib.md5(usedforsecurity=False)
        with path.open("wb") as file, closing(self._client.pieces(url)) as pieces:
            for piece in pieces:
                self._received += len(piece)
                if self._received > 2 * self._dataset.download_bytes:
                    raise FetchError("the server sends more data than the dataset has")
                digest.update(piece)
                file.write(piece)
                self._progress(min(1.0, self._received / self._dataset.download_bytes))
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != md5:
            raise FetchError(f"{path.name} is not the published file (its MD5 differs)")

    def _check_stopped(self) -> None:
        if self._stop.is_set():
            raise DownloadError(f"The download of {self._dataset.title} was stopped; nothing was changed.")

    def _unzip(self, path: Path) -> None:
        """Extract the four files from a zip and delete it; other members are never read."""
        try:
            with zipfile.ZipFile(path) as archive:
                for stem in self._dataset.stems:
                    if archive.getinfo(f"gzip/{stem}.gz").file_size > MAX_BYTES:
                        raise FetchError(f"{path.name} contains a file that is too large")
                    with archive.open(f"gzip/{stem}.gz") as member, (self._folder / f"{stem}.gz").open("wb") as file:
                        shutil.copyfileobj(member, file)
        except (zipfile.BadZipFile, KeyError, RuntimeError, EOFError, zlib.error) as error:
            raise FetchError(f"{path.name} is damaged ({error.args[0] if error.args else error})") from error
        path.unlink()
