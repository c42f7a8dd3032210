"""What a browser does beside asking for pages: a websocket, and uploads."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import contextmanager

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect

from tests.conftest import HANG
from tests.web.conftest import Server, Visitor


def stream(visitor: Visitor, origin: str | None = None, **headers: str) -> ClientConnection:
    return connect(
        f"ws://localhost:{visitor.port}/_stcore/stream",
        origin=origin or f"http://localhost:{visitor.port}",  # type: ignore[arg-type]
        additional_headers={**visitor.headers, **headers},
        subprotocols=["streamlit"],  # type: ignore[list-item]
        compression=None,
        open_timeout=10,
        close_timeout=1,  # what was not read stands before the server's answer
    )


@contextmanager
def drawn_page(visitor: Visitor) -> Iterator[str]:
    """The id of a session that draws the first page over the websocket, as the browser does."""
    with stream(visitor) as socket:
        socket.send(BackMsg(rerun_script=ClientState()).SerializeToString())
        content = socket.recv(timeout=HANG)
        assert isinstance(content, bytes)
        yield ForwardMsg.FromString(content).new_session.initialize.session_id


def against_forgery(server: Server, visitor: Visitor) -> dict[str, str]:
    """Headers of a visitor with the cookie that everybody gets, and a page must show to change anything."""
    cookie = server.visitor().ask("GET", "/_stcore/health")[0].headers["Set-Cookie"].partition(";")[0]
    cookies = "; ".join(filter(None, [visitor.headers.get("Cookie"), cookie]))
    return {"Cookie": cookies, "X_Xsrftoken": cookie.partition("=")[2]}


def put(
    server: Server, visitor: Visitor, session: str, content: bytes = b"1,2", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    """Send a file as the upload widget does."""
    body = b'--x\r\nContent-Disposition: form-data; name="f"; filename="f.csv"\r\n\r\n' + content + b"\r\n--x--\r\n"
    own = against_forgery(server, visitor) | {"Content_Type": "multipart/form-data; boundary=x"}
    return visitor.ask("PUT", f"/_stcore/upload_file/{session}/f", body, **own | headers)
