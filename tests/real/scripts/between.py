"""Stand between a server and who asks it: `python between.py FILE SCRIPT --host HOST --port PORT`.

Starts `bash SCRIPT` on a port of its own, hands every request on to it, and every answer back as it comes, and writes what each request
asked and the usage that the server told into FILE, a line of JSON each.
"""

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FILE, SCRIPT = Path(sys.argv[1]), sys.argv[2]
PORT = int(sys.argv[sys.argv.index("--port") + 1])
ALONE = threading.Lock()


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


BEHIND = free_port()


class Between(BaseHTTPRequestHandler):
    """Hands on."""

    def hand_on(self) -> None:
        """Ask the server the same; an answer ends where the connection does."""
        asked = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server = http.client.HTTPConnection("127.0.0.1", BEHIND, timeout=300)
        try:
            server.request(self.command, self.path, asked, {"Content-Type": "application/json"})
            answer = server.getresponse()
        except OSError:  # it is not up yet
            self.send_error(503)
            return
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
        self.end_headers()
        told = b""
        while part := answer.read1():
            told += part
            self.wfile.write(part)
        if self.command == "POST":
            self.note(json.loads(asked), told.decode())

    def note(self, asked: dict, told: str) -> None:
        """Write down what was asked, and the last usage that was told of it."""
        events = [line.removeprefix("data: ") for line in told.splitlines()]
        found = [json.loads(one).get("usage") for one in events if one.startswith("{")]
        usage = [one for one in found if one][-1]
        with ALONE, FILE.open("a", encoding="utf-8") as file:
            print(json.dumps({"prompt": asked["prompt"], "max_tokens": asked["max_tokens"], "usage": usage}), file=file)

    do_GET = do_POST = hand_on  # as the class calls them

    def log_message(self, *_: object) -> None:
        """Say nothing."""


server = subprocess.Popen(["bash", SCRIPT, "--host", "127.0.0.1", "--port", str(BEHIND)])
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
try:
    ThreadingHTTPServer(("127.0.0.1", PORT), Between).serve_forever()
finally:
    server.terminate()
    server.wait()
