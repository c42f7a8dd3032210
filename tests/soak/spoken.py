"""Sessions that use Streamlit's websocket like a browser but render nothing, so that many fit on a small machine.

The server does the same work as for a browser: it runs the page, sends its elements, and reruns each fragment at its
interval.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Sequence

from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

GOOD_ENDS = {
    ForwardMsg.FINISHED_SUCCESSFULLY,
    ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY,
    ForwardMsg.FINISHED_EARLY_FOR_RERUN,
}

ANSWER_SECONDS = 90.0
"""Maximum time for a page on a busy machine; the actual time is reported."""


def connected(port: int, **headers: str) -> ClientConnection:
    """A websocket to the server on this machine."""
    return connect(
        f"ws://localhost:{port}/_stcore/stream",
        origin=f"http://localhost:{port}",  # type: ignore[arg-type]
        additional_headers=headers,
        subprotocols=["streamlit"],  # type: ignore[list-item]
        compression=None,
        max_size=None,
        open_timeout=ANSWER_SECONDS,
        close_timeout=1,
    )


class Speaker:
    """One session in its own thread, which goes from page to page and records what it sees."""

    def __init__(self, port: int, pages: Sequence[str], stay: float, number: int) -> None:
        """Create a session, not started.

        Args:
            port: of the server on this machine.
            pages: paths of the pages, in the order in which they are opened, over and over.
            stay: seconds on each page.
            number: index in that order at which it begins.
        """
        self.complaints: list[str] = []
        self.ticks: list[float] = []
        """Milliseconds from the request of a fragment to the end of the answer."""
        self.waits: list[float] = []
        """Seconds from the request of a page to the end of the answer."""
        self._port, self._stay, self._number = port, stay, number
        self._pages: Iterator[str] = itertools.islice(itertools.cycle(pages), number, None)
        self._fragments: dict[str, tuple[float, float]] = {}
        """When each fragment is due, and its interval."""
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Start the session."""
        self._thread.start()

    def leave(self) -> None:
        """End the session after the current answer."""
        self._leave.set()
        self._thread.join(ANSWER_SECONDS)
        if self._thread.is_alive():
            self.complaints.append("no answer")

    def _run(self) -> None:
        try:
            with connected(self._port) as socket:
                while not self._leave.is_set():
                    self._visit(socket, next(self._pages))
        except (WebSocketException, OSError, TimeoutError) as error:
            self.complaints.append(f"websocket: {error!r}")

    def _visit(self, socket: ClientConnection, page: str) -> None:
        """Open a page and stay there, rerunning its fragments at their intervals."""
        start = time.monotonic()
        self._ask(socket, page, None)
        self.waits.append(time.monotonic() - start)
        while (now := time.monotonic()) < start + self._stay and not self._leave.is_set():
            ready = [fragment for fragment, (due, _) in self._fragments.items() if due <= now]
            if not ready:
                time.sleep(0.02)
                continue
            _, interval = self._fragments[ready[0]]
            self._fragments[ready[0]] = (now + interval, interval)
            self._ask(socket, page, ready[0])
            self.ticks.append(1000 * (time.monotonic() - now))

    def _ask(self, socket: ClientConnection, page: str, fragment: str | None) -> None:
        """Run a page or fragment, and read to the end of the answer."""
        state = ClientState(page_name=page, fragment_id=fragment or "", is_auto_rerun=fragment is not None)
        socket.send(BackMsg(rerun_script=state).SerializeToString())
        announced: dict[str, tuple[float, float]] = {}
        while True:
            content = socket.recv(timeout=ANSWER_SECONDS)
            assert isinstance(content, bytes)
            message = ForwardMsg.FromString(content)
            kind = message.WhichOneof("type")
            if kind == "new_session":
                announced.clear()
            elif kind == "auto_rerun":
                interval = message.auto_rerun.interval
                announced[message.auto_rerun.fragment_id] = (time.monotonic() + interval, interval)
            elif kind == "delta":
                self._look(page, message)
            elif kind == "script_finished":
                if message.script_finished not in GOOD_ENDS:
                    self.complaints.append(f"{page}: ended with {message.script_finished}")
                if message.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY:
                    self._fragments.clear()  # the whole page has run, so earlier fragments are gone
                if message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                    self._fragments |= announced
                    return

    def _look(self, page: str, message: ForwardMsg) -> None:
        element = message.delta.new_element
        if element.WhichOneof("type") == "exception":
            self.complaints.append(f"{page}: {element.exception.type} {element.exception.message}")
        if element.WhichOneof("type") == "alert" and element.alert.format == Alert.ERROR:
            self.complaints.append(f"{page}: {element.alert.body}")
