"""Answers requests for completions as a server does, by what is planted for each prompt; of several, by the seed of the request.

python code_server.py answers.json PORT_FILE
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ANSWERS: dict[str, list[str]] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))


class Handler(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        planted = ANSWERS[asked["prompt"]]
        with (Path(sys.argv[1]).with_name("requests.jsonl")).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({key: asked[key] for key in asked if key != "prompt"}) + "\n")
        text = planted[asked["seed"] % len(planted)]
        for stop in asked.get("stop") or ():
            text = text.partition(stop)[0]
        said = json.dumps({"choices": [{"index": 0, "text": text}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Path(sys.argv[2]).write_text(str(server.server_address[1]))
    server.serve_forever()
