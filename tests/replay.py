"""A server that answers what was recorded from a real one, byte for byte, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

TRANSCRIPTS = Path(__file__).parent / "transcripts"


@dataclass
class Answer:
    """What to send: a status, headers and a body; nothing at all when `drop`."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    body: bytes = b"{}"
    drop: bool = False
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


TOKEN = Answer(
    body=json.dumps({"token_type": "Bearer", "expires_in": 1209600, "access_token": "replayed-access"}).encode()
)


def transcript(case: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((TRANSCRIPTS / f"{case}.json").read_text())
    return loaded


def recorded(case: str) -> Answer:
    """The answer of a recorded exchange, with JSON as Laravel writes it."""
    response = transcript(case)["response"]
    body = response["body"]
    text = body if isinstance(body, str) else json.dumps(body, separators=(",", ":")).replace("/", "\\/")
    return Answer(response["status"], dict(response["headers"]), b"" if body is None else text.encode())


class Replay:
    """
    Answers queued with `answer`, in their order, for all but the token endpoint, which gives `tokens`.

    The last answer of either queue is given again for as long as somebody asks.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answers: list[Answer] = []
        self.tokens: list[Answer] = [TOKEN]
        self.url = ""

    def answer(self, *answers: Answer) -> None:
        self.answers.extend(answers)

    def next_for(self, path: str) -> Answer:
        queue = self.tokens if path == "/oauth/token" else self.answers
        return queue.pop(0) if len(queue) > 1 else queue[0]


@contextmanager
def replay_server() -> Iterator[Replay]:
    replay = Replay()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            replay.asked.append(
                Asked(self.command, parts.path, dict(parse_qsl(parts.query)), dict(self.headers.items()), body)
            )
            answer = replay.next_for(parts.path)
            if answer.drop:
                self.close_connection = True
                return
            self.send_response_only(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body) if answer.length is None else answer.length))
            self.end_headers()
            self.wfile.write(answer.body)
            self.close_connection = answer.length is not None

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _serve

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    replay.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield replay
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
