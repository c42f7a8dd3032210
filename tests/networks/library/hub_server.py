"""A small server that answers as the Hub does for one repository: description, files with ranges, refusals."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "a" * 40

POLL_SECONDS = 0.02
"""Interval at which it looks for its end: every test waits for that."""


class HubServer(ThreadingHTTPServer):
    """Serves the files of a folder as the repository ``org/tiny``; its attributes change how it answers."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, folder: Path, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Answers)
        self.folder = folder
        self.commit = COMMIT
        self.requests: list[tuple[str, str]] = []
        """Path and Range header of each request."""
        self.tokens: list[str] = []
        """Authorization header of each request that has one."""
        self.refusal: tuple[int, str] | None = None
        """Status and X-Error-Code of every answer."""
        self.file_refusal: tuple[int, str] | None = None
        """The same, for files only."""
        self.break_after: int | None = None
        """Bytes of weights after which a connection is closed."""
        self.ranges = True
        self.alter: Callable[[str, bytes], bytes] = lambda name, content: content
        """Changes what is sent of a file, but not what is said of it."""
        self.description: bytes | None = None
        """Sent in place of the repository's description."""
        self.redirect: str | None = None
        """Address that files are sent from instead."""
        self.hold: threading.Event | None = None
        """Sends the second half of weights only once this is set."""
        self.waiting = threading.Event()
        """Set when it waits for that."""
        threading.Thread(target=self.serve_forever, args=(POLL_SECONDS,), daemon=True).start()

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is part of the tests."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def described(self) -> dict[str, Any]:
        """What the Hub says of the repository."""
        files = []
        for path in sorted(self.folder.iterdir()):
            content = path.read_bytes()
            file: dict[str, Any] = {
                "rfilename": path.name,
                "size": len(content),
                "blobId": hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest(),
            }
            if path.suffix == ".safetensors":
                file |= {"blobId": "b" * 40}  # of the pointer
                file |= {
                    "lfs": {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
                }
            files.append(file)
        files.append({"rfilename": "onnx/model.onnx", "size": 10**12, "blobId": "c" * 40})
        return {"id": "org/tiny", "sha": self.commit, "siblings": files, "cardData": {"license": "bsd"}}


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def do_GET(self) -> None:
        hub = self.server
        path = unquote(urlsplit(self.path).path)
        hub.requests.append((path, self.headers.get("Range", "")))
        if token := self.headers.get("Authorization"):
            hub.tokens.append(token)
        if hub.refusal:
            self._refuse(*hub.refusal)
        elif path.startswith("/api/models/org/tiny/revision/"):
            if path.rpartition("/")[2] not in ("main", hub.commit):
                self._refuse(404, "RevisionNotFound")
                return
            content = hub.description or json.dumps(hub.described()).encode()
            self._head(200, len(content))
            self.wfile.write(content)
        elif path.startswith(f"/org/tiny/resolve/{hub.commit}/"):
            self._file(path.rpartition("/")[2])
        else:
            self._refuse(401, "RepoNotFound")

    def _file(self, name: str) -> None:
        hub = self.server
        if hub.file_refusal:
            self._refuse(*hub.file_refusal)
            return
        if hub.redirect and self.headers["Host"] not in hub.redirect:
            self._head(302, 0, Location=f"{hub.redirect}{urlsplit(self.path).path}")
            return
        content = hub.alter(name, (hub.folder / name).read_bytes())
        wanted, start = self.headers.get("Range"), 0
        if wanted and hub.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        body = content[start:]
        part = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        self._head(206 if start else 200, len(body), **part)
        if name.endswith(".safetensors") and hub.break_after is not None:
            self.wfile.write(body[: hub.break_after])
            self.wfile.flush()
            self.close_connection = True
            return
        if name.endswith(".safetensors") and hub.hold is not None:
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            hub.waiting.set()
            hub.hold.wait()
            body = body[len(body) // 2 :]
        self.wfile.write(body)

    def _refuse(self, status: int, code: str) -> None:
        self._head(status, 0, **({"X-Error-Code": code} if code else {}))

    def _head(self, status: int, length: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the output of tests readable."""
