"""A session that chooses files on pages as a browser does: over the websocket, and by uploads."""

from __future__ import annotations

import http.client
import re
from contextlib import ExitStack, closing
from types import TracebackType
from typing import Any

from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.proto.Common_pb2 import FileUploaderState, FileURLs, FileURLsRequest, StringArray, UploadedFileInfo
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState, WidgetStates

from tests.soak.spoken import ANSWER_SECONDS, GOOD_ENDS, connected

_ESCAPED = re.compile(r":color\[\\?(.)\]|\\(.)", re.DOTALL)
"""A character as ``literal()`` of pages escapes it."""


def shown(markdown: str) -> str:
    """The text that a browser shows of what ``literal()`` has escaped."""
    return _ESCAPED.sub(lambda found: found[1] or found[2], markdown)


class Chooser:
    """One session on one page, and what it sees there."""

    def __init__(self, port: int, page: str) -> None:
        """Open a page.

        Args:
            port: of the server on this machine.
            page: its path.
        """
        self._port, self._page = port, page
        self._ids: dict[str, str] = {}
        """Id of each widget, by its key in the page's code."""
        self._states: dict[str, WidgetState] = {}
        self._file: FileURLs | None = None
        self._key = ""
        self.elements: list[Element] = []
        """What is on the page."""
        self.complaints: list[str] = []
        """Exceptions on the page, and scripts that did not end well."""
        health = self._http("GET", "/_stcore/health")[1]
        cookie = str(health["Set-Cookie"]).partition(";")[0]
        self._headers = {"Cookie": cookie, "X-Xsrftoken": cookie.partition("=")[2]}
        self._open = ExitStack()
        self._socket = self._open.enter_context(connected(port, Cookie=cookie))
        self._session = ""
        self.draw()

    def __enter__(self) -> Chooser:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._open.close()

    @property
    def errors(self) -> list[str]:
        """The texts of all error messages on the page."""
        alerts = [element.alert for element in self.elements if element.WhichOneof("type") == "alert"]
        return [shown(alert.body) for alert in alerts if alert.format == Alert.ERROR]

    @property
    def faults(self) -> list[str]:
        """What is said of the first image or row that cannot be used, where a page offers to leave such out."""
        alerts = [element.alert for element in self.elements if element.WhichOneof("type") == "alert"]
        listed = [
            alert.body.partition(" cannot be used:\n\n- ")[2] for alert in alerts if alert.format == Alert.WARNING
        ]
        return [shown(faults.partition("\n- ")[0]) for faults in listed if faults]

    def draw(self, *triggers: str) -> None:
        """Have the page drawn. Args: triggers: keys of buttons that are pressed."""
        pressed = [WidgetState(id=self._ids[key], trigger_value=True) for key in triggers]
        states = WidgetStates(widgets=[*self._states.values(), *pressed])
        self._send(rerun_script=ClientState(page_name=self._page, widget_states=states))
        while True:
            message = self._received()
            kind = message.WhichOneof("type")
            if kind == "new_session":
                self.elements.clear()
                self._session = message.new_session.initialize.session_id or self._session
            elif kind == "delta":
                self._look(message)
            elif kind == "script_finished" and message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                if message.script_finished not in GOOD_ENDS:
                    self.complaints.append(f"{self._page}: ended with {message.script_finished}")
                return

    def set(self, key: str, value: str | list[str]) -> None:
        """Set a widget, and have the page drawn."""
        state = WidgetState(id=self._ids[key])
        if isinstance(value, str):
            state.string_value = value
        else:
            state.string_array_value.CopyFrom(StringArray(data=value))
        self._states[key] = state
        self.draw()

    def choose(self, key: str, name: str, content: bytes) -> int:
        """Choose a file in place of an earlier one; the page is drawn if its upload ended well. Returns: the status."""
        self.remove()
        self._send(file_urls_request=FileURLsRequest(request_id="1", file_names=[name], session_id=self._session))
        while (message := self._received()).WhichOneof("type") != "file_urls_response":
            pass
        self._key, self._file = key, message.file_urls_response.file_urls[0]
        head = b'--x\r\nContent-Disposition: form-data; name="f"; filename="%s"\r\n\r\n' % name.encode()
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        status, _ = self._http("PUT", self._file.upload_url, head + content + b"\r\n--x--\r\n", **kind)
        if status >= 300:
            self._file = None
            return status
        info = UploadedFileInfo(name=name, size=len(content), file_id=self._file.file_id, file_urls=self._file)
        state = FileUploaderState(uploaded_file_info=[info])
        self._states[key] = WidgetState(id=self._ids[key], file_uploader_state_value=state)
        self.draw()
        return status

    def remove(self) -> None:
        """Remove the file that was chosen; the page is not drawn."""
        if self._file is not None:
            self._http("DELETE", self._file.delete_url)
            self._file = None
            del self._states[self._key]

    def _look(self, message: ForwardMsg) -> None:
        delta = message.delta
        if delta.WhichOneof("type") == "add_block":
            self._note(delta.add_block.tab_container)
            return
        element = delta.new_element
        kind = element.WhichOneof("type")
        if kind is None:
            return
        self.elements.append(element)
        if kind == "exception":
            self.complaints.append(f"{self._page}: {element.exception.type} {element.exception.message}")
        self._note(getattr(element, kind))

    def _note(self, widget: Any) -> None:
        id = getattr(widget, "id", "")
        if isinstance(id, str) and id.startswith("$$"):
            self._ids[id.split("-", 2)[2]] = id

    def _send(self, **message: Any) -> None:
        self._socket.send(BackMsg(**message).SerializeToString())

    def _received(self) -> ForwardMsg:
        content = self._socket.recv(timeout=ANSWER_SECONDS)
        assert isinstance(content, bytes)
        message: ForwardMsg = ForwardMsg.FromString(content)
        return message

    def _http(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
        with closing(http.client.HTTPConnection("localhost", self._port, timeout=ANSWER_SECONDS)) as connection:
            connection.request(method, path, body, {**getattr(self, "_headers", {}), **headers})
            answer = connection.getresponse()
            answer.read()
            return answer.status, answer.headers
