"""Check that a model is served: `python check_server.py check.json [COMMAND …]`.

With a command it starts that server, waits until it answers, asks, and stops it; without one it asks a server that runs already.
The server is of the same process group: whoever ends the group leaves none behind. Copied as it is into the output of a recipe that serves; needs only Python.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

PAUSE = 1.0  # seconds between two questions whether it is up


class Wrong(Exception):
    """The server did not do what it should."""


def call(settings: dict, path: str, body: dict | None = None, seconds: float = 300.0) -> dict:
    """Return what the server answers, as JSON; an empty object where it answers nothing. Raises OSError, Wrong."""
    key = os.environ.get(settings["key_variable"] or "", "")
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(settings["url"] + path, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            text = answer.read().decode("utf-8")
    except urllib.error.HTTPError as error:
        raise Wrong(f"{path}: {error.code}: {error.read().decode('utf-8', 'replace')[:500]}") from None
    return json.loads(text) if text.strip() else {}


def is_up(url: str) -> bool:
    """Return whether something answers at an address."""
    try:
        call({"url": url, "key_variable": ""}, "/health", seconds=2.0)
    except (OSError, Wrong):
        return False
    return True


def wait(settings: dict, server: subprocess.Popen | None) -> float:
    """Wait until the server is healthy; return after how many seconds. Raises Wrong where it ends, or takes too long."""
    began = time.monotonic()
    while time.monotonic() - began < settings["start_seconds"]:
        if server is not None and server.poll() is not None:
            raise Wrong(f"the server ended with exit code {server.returncode} before it answered")
        try:
            call(settings, "/health", seconds=10.0)
        except (OSError, Wrong):
            time.sleep(PAUSE)
        else:
            return time.monotonic() - began
    raise Wrong(f"the server did not answer within {settings['start_seconds']} seconds")


def said(message: dict) -> str:
    """Return what a message says: its answer, or what the model thought where it came to no answer."""
    return next((message[name] for name in ("content", "reasoning", "reasoning_content") if message.get(name)), "")


def ask(settings: dict, model: str) -> dict:
    """Ask one model, in one turn where it talks in turns; return what it answered. Raises OSError, Wrong."""
    words = {"model": model, "max_tokens": settings["max_tokens"], "temperature": 0, **settings["more"]}
    began = time.monotonic()
    if settings["chat"]:
        turns = [{"role": "user", "content": settings["ask"]}]
        found = call(settings, "/v1/chat/completions", words | {"messages": turns})
        choice = found["choices"][0]
        text = said(choice["message"])
    else:
        found = call(settings, "/v1/completions", words | {"prompt": settings["ask"]})
        choice = found["choices"][0]
        text = choice["text"]
    used = found.get("usage") or {}
    for end in settings["end_tokens"]:  # the one that ended it may stand at its end
        text = text.strip().removesuffix(end)
    past = [end for end in settings["end_tokens"] if end in text]
    if past:
        raise Wrong(f"{model}: it writes on behind {past[0]}, which ends an answer: {text[-200:]!r}")
    if not text.strip() and not (choice.get("message") or {}).get("tool_calls"):
        raise Wrong(f"{model}: the answer is empty")
    return {
        "model": model,
        "answer": text,
        "ended": choice.get("finish_reason"),
        "prompt_tokens": used.get("prompt_tokens"),
        "answer_tokens": used.get("completion_tokens"),
        "seconds": round(time.monotonic() - began, 3),
    }


def stop(server: subprocess.Popen, seconds: float = 60.0) -> None:
    """Stop a server, which stops what it started."""
    server.terminate()
    try:
        server.wait(seconds)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def check(settings: dict, command: list[str]) -> dict:
    """Return what was found. Raises OSError, Wrong."""
    server = None
    if command:
        if is_up(settings["url"]):
            raise Wrong(f"something answers at {settings['url']} already: stop it, or choose another port")
        variables = dict(os.environ)
        if settings["key_variable"]:
            if not os.environ.get(settings["key_variable"]):
                raise Wrong(
                    f"{settings['key_variable']} is not set, or empty, which has the key that requests must send"
                )
            variables[settings["server_key"]] = os.environ[settings["key_variable"]]
        server = subprocess.Popen(command, env=variables)
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: sys.exit(130))
    try:
        ready = wait(settings, server)
        print(f"the server answers after {ready:.0f} s", flush=True)
        answers = [ask(settings, model) for model in settings["models"]]
    finally:
        if server is not None:
            stop(server)
    return {"server": settings["server"], "url": settings["url"], "ready_seconds": round(ready, 1), "answers": answers}


def main(settings: dict, command: list[str]) -> None:
    """Check, write what was found into the folder of the results, and say it."""
    found = check(settings, command)
    for one in found["answers"]:
        print(
            f"{one['model']}: {one['answer_tokens']} tokens in {one['seconds']} s, ended by {one['ended']}: {one['answer']!r}"
        )
    if command:
        output = Path(settings["output"])
        output.mkdir(parents=True, exist_ok=True)
        fresh = output / f".{settings['file']}.new"
        fresh.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        fresh.replace(output / settings["file"])


if __name__ == "__main__":
    try:
        main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), sys.argv[2:])
    except (OSError, Wrong, KeyError, ValueError) as error:
        sys.exit(f"check_server.py: {error}")
