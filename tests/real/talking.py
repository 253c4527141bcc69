"""A server like OpenAI's for tests, by the standard library: it answers as a function says, and counts what it was asked."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[dict[str, Any], int], str | int | tuple[int, dict[str, str]]]


class Talking:
    """What was asked so far, and where. `said` of a request is its last message."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.answered: list[str] = []  # what was said in requests whose answer was sent
        self.url = ""
        self.lock = threading.Lock()

    @staticmethod
    def said(body: dict[str, Any]) -> str:
        """Return what a request says last."""
        return str(body["messages"][-1]["content"])


@contextmanager
def talking(answer: Answer, *, seconds: float = 0.0) -> Iterator[Talking]:
    """Serve; `answer` is given a request and its number from 1, and returns a text, or a status, or one with headers."""
    told = Talking()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.send(200, {"status": "ok"}, {})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with told.lock:
                told.asked.append(body)
                told.keys.append(self.headers.get("Authorization", ""))
                number = len(told.asked)
            time.sleep(seconds)
            found = answer(body, number)
            if not isinstance(found, str):
                status, headers = found if isinstance(found, tuple) else (found, {})
                self.send(status, {"error": {"message": "not now"}}, headers)
                return
            words = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
            message = {"role": "assistant", "content": found}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            name = f"{body['model']}-as-of-today"
            self.send(200, {"id": "x", "object": "chat.completion", "created": 1, "model": name, "choices": [choice], "usage": words}, {})  # fmt: skip
            with told.lock:
                told.answered.append(json.dumps(body["messages"]))

        def send(self, status: int, value: object, headers: dict[str, str]) -> None:
            data = json.dumps(value).encode()
            self.send_response(status)
            for name, text in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
