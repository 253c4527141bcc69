"""A program beside a server that is started for it; the server here is one of the standard library, that stands in for a model's."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "compiler" / "recipec" / "systems" / "scripts"
SERVER = """
import http.server, json, sys
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(json.dumps(' '.join(sys.argv[1:])).encode())
    def log_message(self, *_): pass
http.server.HTTPServer(('127.0.0.1', int(sys.argv[sys.argv.index('--port') + 1])), Answers).serve_forever()
"""
ASK = "import os, urllib.request as u; print(u.urlopen(os.environ['RECIPE_SERVER_URL'][:-3]).read().decode(), os.environ['RECIPE_SERVER_MODEL'], os.environ['RECIPE_SERVER_KEY'])"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A stage's folder beside that of a stage that serves."""
    own, served = tmp_path / "asked", tmp_path / "served"
    own.mkdir()
    served.mkdir()
    for name in ("with_server.py", "check_server.py"):
        shutil.copy(SCRIPTS / name, own)
    (served / "server.py").write_text(SERVER)
    (served / "serve.sh").write_text(f'exec {sys.executable} "$(dirname "$0")/server.py" "$@"\n')
    told(own)
    return own


def told(own: Path, **more: str | float) -> None:
    settings = {"serve": "../served/serve.sh", "model": "shop", "key_variable": "", "start_seconds": 30}
    (own / "server.json").write_text(json.dumps(settings | more))


def command(own: Path, *words: str) -> list[str]:
    return [sys.executable, str(own / "with_server.py"), str(own / "server.json"), *words]


def run(own: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(own, *words),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **variables},
    )


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
            return True
    except OSError:
        return False


def port_of(text: str) -> int:
    return int(text.partition("--port ")[2].split()[0].strip(chr(34)))


def test_a_command_is_told_of_the_server_and_leaves_none(place: Path) -> None:
    done = run(place, sys.executable, "-c", ASK)
    assert done.returncode == 0, done.stderr
    assert "--host 127.0.0.1 --port " in done.stdout
    assert done.stdout.rstrip().endswith("shop")
    assert not answers(port_of(done.stdout))


def test_it_ends_as_the_command_did(place: Path) -> None:
    assert run(place, "bash", "-c", "exit 7").returncode == 7


def test_a_key_is_handed_on_and_must_be_there(place: Path) -> None:
    told(place, key_variable="SHOP_KEY")
    assert run(place, sys.executable, "-c", ASK, SHOP_KEY="secret").stdout.rstrip().endswith("shop secret")
    done = run(place, "bash", "-c", "true", SHOP_KEY="")
    assert done.returncode == 1
    assert "SHOP_KEY is not set, or empty" in done.stderr


def test_a_server_that_ends_is_told(place: Path) -> None:
    (place.parent / "served" / "serve.sh").write_text("exit 9\n")
    done = run(place, "bash", "-c", "touch never")
    assert done.returncode == 1
    assert "the server ended with exit code 9 before it answered" in done.stderr


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_what_is_ended(place: Path, how: signal.Signals) -> None:
    code = f"{ASK}; import time; time.sleep(60)"
    words = command(place, sys.executable, "-u", "-c", code)
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True) as going:
        assert going.stdout is not None
        line = next(one for one in going.stdout if "--port" in one)
        port = port_of(line)
        assert answers(port)
        os.killpg(going.pid, how)
    assert going.returncode != 0
    end = time.monotonic() + 30
    while answers(port):
        assert time.monotonic() < end
        time.sleep(0.1)
