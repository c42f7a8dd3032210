"""Clients that open connections to a server and stall; each connection is reopened soon after it was closed."""

from __future__ import annotations

import errno
import resource
import selectors
import socket
import sys
import threading
import time
from collections import Counter
from contextlib import suppress

HEAD = b"Host: localhost\r\n"

OPENINGS = {
    "no byte": b"",
    "half a head": b"GET / HTTP/1.1\r\n" + HEAD + b"X-Half: ",
    "a dripping head": b"GET / HTTP/1.1\r\n" + HEAD + b"X-Drip: ",
    "half a body": b"POST /access HTTP/1.1\r\n" + HEAD + b"Content-Length: 4000\r\n\r\ntoken=",
    "kept alive": b"GET /_stcore/health HTTP/1.1\r\n" + HEAD + b"\r\n",
    "refused, and a body to come": b"POST /runs HTTP/1.1\r\n" + HEAD + b"Content-Length: 4000\r\n\r\n",
}
"""Bytes that are sent at once, by kind."""

DRIP_SECONDS = 1.0

AGAIN_SECONDS = 2.0
"""Delay before a closed connection is reopened."""

OWN_ADDRESSES = ["127.0.0.1", "127.0.0.2", "127.0.0.3"] if sys.platform == "linux" else ["127.0.0.1"]
"""Client addresses; clients with the token use the first one too."""


class Stalling:
    """A number of stalled connections, maintained by a thread."""

    def __init__(self, port: int, count: int) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY and soft < count + 512:
            resource.setrlimit(resource.RLIMIT_NOFILE, (count + 512, hard))
        self.opened: Counter[str] = Counter()
        self.most_open = 0
        self._port, self._count = port, count
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Stalling:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leave.set()
        self._thread.join()

    def _run(self) -> None:
        kinds = list(OPENINGS)
        due = [(0.0, number) for number in range(self._count)]
        """Times at which connections are to be opened, the earliest first."""
        drip_at = time.monotonic() + DRIP_SECONDS
        with selectors.DefaultSelector() as selector:
            while not self._leave.is_set():
                now = time.monotonic()
                while due and due[0][0] <= now:
                    _, number = due.pop(0)
                    kind = kinds[number % len(kinds)]
                    self.opened[kind] += 1
                    client = socket.socket()
                    client.setblocking(False)
                    client.bind((OWN_ADDRESSES[number % len(OWN_ADDRESSES)], 0))
                    if client.connect_ex(("127.0.0.1", self._port)) not in {0, errno.EINPROGRESS}:
                        client.close()
                        due.append((now + AGAIN_SECONDS, number))
                        continue
                    selector.register(client, selectors.EVENT_WRITE, (number, kind))
                for key, events in selector.select(0.05):
                    client, (number, kind) = key.fileobj, key.data
                    assert isinstance(client, socket.socket)
                    try:
                        if events & selectors.EVENT_WRITE:
                            client.send(OPENINGS[kind])
                            selector.modify(client, selectors.EVENT_READ, key.data)
                            continue
                        if client.recv(65536):
                            continue
                    except OSError:
                        pass
                    selector.unregister(client)
                    client.close()
                    due.append((time.monotonic() + AGAIN_SECONDS, number))
                clients = list(selector.get_map().values())
                self.most_open = max(self.most_open, len(clients))
                if time.monotonic() >= drip_at:
                    drip_at += DRIP_SECONDS
                    for key in clients:
                        if key.data[1] == "a dripping head" and key.events == selectors.EVENT_READ:
                            with suppress(OSError):  # it was closed, which the next read shows
                                key.fileobj.send(b"x")  # type: ignore[union-attr]
            for key in list(selector.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]
