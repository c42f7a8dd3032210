"""One attempt to bring a dataset's files here: bounded, checked, and stopped when told."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Generator
from contextlib import closing
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from core.data.idx import MOST_BYTES, Source, find_files, read_parts
from core.errors import DatasetError, DownloadError

CHUNK = 1 << 16
"""Bytes that a download reads at once."""


class FetchError(Exception):
    """Why a download, or one mirror of it, failed: the middle of a sentence."""


class Fetch:
    """One attempt to bring the files of a source into an empty folder."""

    def __init__(
        self,
        source: Source,
        folder: Path,
        progress: Callable[[float], None] | None,
        stop: threading.Event | None,
        timeout: float,
    ) -> None:
        self._source = source
        self._folder = folder
        self._progress = progress or (lambda share: None)
        self._stop = stop or threading.Event()
        self._timeout = timeout
        self._received = 0

    def run(self) -> None:
        """Fetch, unpack and check all of it.

        Raises:
            FetchError: no mirror gave a file that is whole.
            DownloadError: it was stopped.
            OSError: the disk is full or cannot be written.
        """
        for name, md5 in self._source.resources:
            self._fetch(name, md5)
            if name.endswith(".zip"):
                self._unzip(self._folder / name)
        files = find_files(self._source, self._folder)
        if files is None:
            raise FetchError("the download lacks some of its files")
        try:
            read_parts(self._source, files)
        except DatasetError as error:
            raise FetchError(f"the files that came are damaged ({error.args[0].removesuffix('.')})") from error
        self._progress(1.0)

    def _fetch(self, name: str, md5: str) -> None:
        reasons = []
        for mirror in self._source.mirrors:
            self._heed_stop()
            before = self._received
            try:
                self._fetch_from(mirror + name, self._folder / name, md5)
                return
            except FetchError as error:
                self._received = before
                reasons.append(str(error))
        raise FetchError("; ".join(dict.fromkeys(reasons)))

    def _fetch_from(self, url: str, path: Path, md5: str) -> None:
        # MD5 is what torchvision publishes: it tells a damaged file, not a forged one.
        digest = hashlib.md5(usedforsecurity=False)
        with path.open("wb") as file, closing(_pieces(url, self._timeout)) as pieces:
            for piece in pieces:
                self._heed_stop()
                self._received += len(piece)
                if self._received > 2 * self._source.download_bytes:
                    raise FetchError("the server sends more than the dataset holds")
                digest.update(piece)
                file.write(piece)
                self._progress(min(1.0, self._received / self._source.download_bytes))
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != md5:
            raise FetchError(f"{path.name} is not the published file (its MD5 differs)")

    def _heed_stop(self) -> None:
        if self._stop.is_set():
            raise DownloadError(f"The download of {self._source.title} was stopped; nothing was changed.")

    def _unzip(self, path: Path) -> None:
        """Take the four files out of a zip and remove it; other members are never touched."""
        try:
            with zipfile.ZipFile(path) as archive:
                for stem in self._source.stems:
                    if archive.getinfo(f"gzip/{stem}.gz").file_size > MOST_BYTES:
                        raise FetchError(f"{path.name} holds a file that is too large")
                    with archive.open(f"gzip/{stem}.gz") as member, (self._folder / f"{stem}.gz").open("wb") as file:
                        shutil.copyfileobj(member, file, CHUNK)
        except (zipfile.BadZipFile, KeyError, RuntimeError, EOFError, zlib.error) as error:
            raise FetchError(f"{path.name} is damaged ({error.args[0] if error.args else error})") from error
        path.unlink()


def _pieces(url: str, timeout: float) -> Generator[bytes, None, None]:
    """What ``url`` holds, as it comes.

    Raises:
        FetchError: no answer, an answer that says no, or one that breaks off.
    """
    try:
        # Addresses come from torchvision; an answer that is not HTTP (a file, say) is refused.
        with urllib.request.urlopen(url, timeout=timeout) as response:  # noqa: S310
            if not isinstance(response, HTTPResponse):
                raise FetchError("the address is not one of a web server")
            size, received = response.length, 0
            while size is None or received < size:
                # read1 hands over what is there, so that a stop does not wait for a slow server.
                piece = response.read1(CHUNK)
                if not piece:
                    break
                received += len(piece)
                yield piece
            if size is not None and received < size:
                raise FetchError("the connection broke off half way")
    except urllib.error.HTTPError as error:
        error.close()
        raise FetchError(f"the server answered {error.code}") from error
    except urllib.error.URLError as error:
        raise FetchError(_reason(error.reason)) from error
    except (OSError, HTTPException) as error:
        raise FetchError(_reason(error)) from error


def _reason(error: BaseException | str) -> str:
    if isinstance(error, TimeoutError):
        return "the server does not answer"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{text[:1].lower()}{text[1:]}" if text else type(error).__name__
