"""A server that answers what was recorded from a real one, byte for byte, and remembers what it was asked."""

from __future__ import annotations

import json
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

TRANSCRIPTS = Path(__file__).parent / "transcripts"


@dataclass
class Answer:
    """
    What to send: a status, headers and a body; nothing at all when `drop`.

    Instead of all that `drip` is sent, and after it a byte now and then for as long as anybody listens.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    body: bytes = b"{}"
    drop: bool = False
    drip: bytes = b""
    length: int | None = None


@dataclass(frozen=True)
class Asked:
    """What was asked."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))

    @property
    def for_token(self) -> bool:
        return self.path.endswith("/oauth/token")


TOKEN = Answer(
    body=json.dumps({"token_type": "Bearer", "expires_in": 1209600, "access_token": "replayed-access"}).encode()
)


_JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

# Answers without end, by what of them trickles.
TRICKLING = {
    "headers": Answer(drip=b"HTTP/1.1 200 OK\r\nX-Slow: "),
    "chunk line": Answer(drip=_JSON + b"Transfer-Encoding: chunked\r\n\r\n1;slow="),
    "body": Answer(drip=_JSON + b"Content-Length: 9999\r\n\r\n"),
}


def transcript(case: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((TRANSCRIPTS / f"{case}.json").read_text())
    return loaded


def recorded(case: str) -> Answer:
    """The answer of a recorded exchange, with JSON as Laravel writes it."""
    response = transcript(case)["response"]
    body = response["body"]
    text = body if isinstance(body, str) else json.dumps(body, separators=(",", ":")).replace("/", "\\/")
    return Answer(response["status"], dict(response["headers"]), b"" if body is None else text.encode())


Answering = Answer | Callable[[Asked], Answer]


class Replay:
    """
    Answers queued with `answer`, in their order, for all but the token endpoint, which gives `tokens`.

    The last answer of either queue is given again for as long as somebody asks. An answer may be a function of what
    was asked; it runs in the server's thread.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answers: list[Answering] = []
        self.tokens: list[Answering] = [TOKEN]
        self.url = ""

    def answer(self, *answers: Answering) -> None:
        self.answers.extend(answers)

    def next_for(self, asked: Asked) -> Answer:
        queue = self.tokens if asked.for_token else self.answers
        answer = queue.pop(0) if len(queue) > 1 else queue[0]
        return answer if isinstance(answer, Answer) else answer(asked)

    @property
    def token_requests(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.for_token]

    @property
    def resource_requests(self) -> list[Asked]:
        return [asked for asked in self.asked if not asked.for_token]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up are part of the tests; anything else is a fault of theirs."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


@contextmanager
def replay_server(tls: ssl.SSLContext | None = None) -> Iterator[Replay]:
    replay = Replay()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            asked = Asked(self.command, parts.path, dict(parse_qsl(parts.query)), dict(self.headers.items()), body)
            replay.asked.append(asked)
            answer = replay.next_for(asked)
            if answer.drop:
                self.close_connection = True
                return
            if answer.drip:
                self.close_connection = True
                self.wfile.write(answer.drip)
                while True:  # until it is hung up
                    self.wfile.write(b"0")
                    time.sleep(0.02)
            self.send_response_only(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body) if answer.length is None else answer.length))
            self.end_headers()
            self.wfile.write(answer.body)
            self.close_connection = answer.length is not None

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_CONNECT = _serve

        def log_message(self, *_: Any) -> None:
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    if tls:
        # The handshake is left to the connection's own thread, so that a client that breaks it off stops nobody.
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005})
    thread.start()
    replay.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    try:
        yield replay
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
