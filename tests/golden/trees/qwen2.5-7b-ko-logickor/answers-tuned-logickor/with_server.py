"""Run a command beside a server: `python with_server.py server.json COMMAND …`.

Starts the server of a stage that serves, on the port of the settings or one that is free, waits until it answers, runs the command, stops the server, and ends as the
command did. The command is told by variables: RECIPE_SERVER_URL (http://127.0.0.1:PORT/v1), RECIPE_SERVER_MODEL (what requests ask for)
and RECIPE_SERVER_KEY (empty where none is asked for). The server is of the same process group: whoever ends the group leaves none
behind. Copied as it is into the output of a recipe that asks its served models; needs only Python.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from check_server import Wrong, is_up, stop, wait

HOST = "127.0.0.1"


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.socket() as one:
        one.bind((HOST, 0))
        return int(one.getsockname()[1])


@contextmanager
def running(settings: dict, options: Sequence[str] = (), output: IO[str] | None = None) -> Iterator[dict[str, str]]:
    """Start the server with further options; yield the variables that tell of it, and stop it behind that.

    `output` is where it writes, in the place of what this program has. Raises Wrong where it ends, or takes too long; OSError.
    """
    key = ""
    if settings["key_variable"]:
        key = os.environ.get(settings["key_variable"], "")
        if not key:
            raise Wrong(f"{settings['key_variable']} is not set, or empty, which has the key that requests must send")
    port = settings.get("port") or free_port()
    url = f"http://{HOST}:{port}"
    if is_up(url):
        raise Wrong(f"something answers at {url} already: stop it, or choose another port")
    script = Path(__file__).resolve().parent / settings["serve"]
    command = ["bash", str(script), "--host", HOST, "--port", str(port), *options]
    server = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        ready = wait(settings | {"url": url}, server)
        print(f"{settings['model']} is served at {url} after {ready:.0f} s", flush=True)
        told = {
            "RECIPE_SERVER_URL": f"{url}/v1",
            "RECIPE_SERVER_MODEL": settings["model"],
            "RECIPE_SERVER_KEY": key,
        }
        yield told | ({settings["key_as"]: key} if key and settings.get("key_as") else {})
    finally:
        stop(server)


def main(settings: dict, command: list[str]) -> int:
    """Run the command beside the server; return its exit code."""
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: sys.exit(130))
    with running(settings) as told:
        return subprocess.run(command, env={**os.environ, **told}, check=False).returncode


if __name__ == "__main__":
    try:
        sys.exit(main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), sys.argv[2:]))
    except (OSError, Wrong, KeyError, ValueError) as error:
        sys.exit(f"with_server.py: {error}")
