"""What servers have in common: the check that they answer, and the scripts that keep them up."""

from __future__ import annotations

from typing import Any

from recipec.job import Beside, Port, Word
from recipec.kinds.serve import ANSWER, FILE, Adapter, Serve
from recipec.systems.document import Sheet
from recipec.systems.programs import program
from recipec.systems.table import Row, constant, made, same

CHECK, SETTINGS = "check_server.py", "check.json"
STARTER, SERVER = "with_server.py", "server.json"
LOCAL = ("127.0.0.1", "localhost", "::1")
EVERY = ("0.0.0.0", "::")  # addresses that stand for all
PATIENCE = 1800  # seconds in which a large model is loaded
THOUGHT = 1024  # tokens in which a model that thinks comes to an answer


HERE = 'set -euo pipefail\nhere=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)\n'  # of a script of bash


def inside(environment: str) -> str:
    """Return the lines by which a script of bash, started by itself, runs the programs of an environment that a run has made."""
    return (
        f'bin="${{RECIPE_ENVIRONMENTS:-runs/environments}}/{environment}/bin"\n'
        '[ -x "$bin/python" ] || { echo "no environment at $bin: run ../run.sh, which makes it" >&2; exit 3; }\n'
        'PATH="$(cd "$bin" && pwd):$PATH"\nexport PATH DO_NOT_TRACK=1\n'
    )


def _url(host: str, port: int) -> str:
    at = "127.0.0.1" if host in EVERY else host
    return f"http://{f'[{at}]' if ':' in at else at}:{port}"


def _models(name: str, adapters: tuple[Adapter, ...], replaces: str | None) -> list[str]:
    """Return the names by which each model is asked for."""
    return [name, *(one.name for one in adapters if one.name != replaces)]


NAMED = made("models", _models, "name", "adapters", "replaces")  # what a server is asked for that knows names


def rows(variable: str, models: Row, more: dict[str, Any]) -> tuple[Row, ...]:
    """Return the table of `check.json`; `variable` is where the server looks for its key, `models` what it is asked for.

    `more` are words of its own API that a request has.
    """
    return (
        same("server", "tool"),
        made("url", _url, "host", "port"),
        made("key_variable", lambda given: given or "", "key_variable"),
        constant("server_key", variable),
        models,
        same("chat", "chat"),
        same("ask", "ask"),
        made("max_tokens", lambda parser: THOUGHT if parser else ANSWER, "reasoning_parser"),
        same("end_tokens", "ends") if more else constant("end_tokens", []),  # which another server never shows
        constant("more", more),
        constant("start_seconds", PATIENCE),
        same("output", "output"),
        constant("file", FILE),
    )


def settings(variable: str, models: Row, more: dict[str, Any], package: str, release: str) -> Sheet:
    """Return `check.json`."""
    return Sheet(SETTINGS, rows(variable, models, more), package, release, "", "json", raw_keys=False)


def job_words(*command: Word) -> tuple[Word, ...]:
    """Return the words that start a server by a command, check it and stop it."""
    return ("python", Beside(CHECK), Beside(SETTINGS), *command)


def files(s: Serve, environment: str, command: str, variable: str) -> dict[str, str]:
    """Return the check, and the scripts that keep a server up: at a terminal, and by systemd."""
    told = f'export {variable}="${{{s.key_variable}:?is not set}}"\n' if s.key_variable else ""
    head = "#!/usr/bin/env bash\n"
    begin = HERE
    serve = (
        f"{head}# Serves the model until it is stopped. Run it from the folder that the recipe's paths start at, after the run.\n"
        f"# What stands behind its name is told to the server last: bash serve.sh --port 9000\n{begin}"
        f'{inside(environment)}{told}exec {command} "$@"\n'
    )
    key = f"EnvironmentFile=%h/.config/{s.name}.env\n" if s.key_variable else ""
    unit = (
        f"{head}# Prints a unit of systemd that serves the model from this folder: bash service.sh > ~/.config/systemd/user/NAME.service\n"
        f"{begin}at=${{PWD//%/%%}} made=${{RECIPE_ENVIRONMENTS:-$PWD/runs/environments}}\n"
        f"cat <<END\n[Unit]\nDescription={s.name}, served by {s.tool}\nAfter=network-online.target\n\n[Service]\n"
        'WorkingDirectory=$at\nEnvironment="RECIPE_ENVIRONMENTS=${made//%/%%}"\n'
        '${HF_HOME:+Environment="HF_HOME=${HF_HOME//%/%%}"}\n'
        'ExecStart=/usr/bin/env bash "${here//%/%%}/serve.sh"\nRestart=on-failure\nRestartSec=10\nTimeoutStopSec=60\n'
        f"{key}\n[Install]\nWantedBy=default.target\nEND\n"
    )
    return {CHECK: program(CHECK), "serve.sh": serve, "service.sh": unit}


# of a stage that starts the server of another for itself, which its body has as `server`
BESIDE: tuple[Row, ...] = (
    made("serve", lambda stage: f"../{stage}/serve.sh", "server.stage"),
    same("model", "server.model"),
    made("key_variable", lambda given: given or "", "server.key_variable"),
    constant("start_seconds", PATIENCE),
)
OWN_PORT: tuple[Row, ...] = (*BESIDE, same("port", "server.port"))  # where a tool's file has the address in it


def beside(package: str, release: str, rows: tuple[Row, ...] = BESIDE) -> Sheet:
    """Return the settings of `with_server.py`, for a stage whose body has a `server` (`kinds.serve.Served`)."""
    return Sheet(SERVER, rows, package, release, "", "json", raw_keys=False)


def ports(port: int) -> tuple[Port, ...]:
    """Return the port of a server, which no two may have at once."""
    return (Port(f"SERVER_PORT_{port}", port, "the server of the model"),)


def beside_words(*command: Word) -> tuple[Word, ...]:
    """Return the words that run a command beside the server."""
    return ("python", Beside(STARTER), Beside(SERVER), *command)


def beside_files() -> dict[str, str]:
    """Return the programs that start a server for another stage, and stop it."""
    return {STARTER: program(STARTER), CHECK: program(CHECK)}


def uses(_s: Any) -> tuple[str, ...]:
    """Return the plan paths that job and files act on."""
    return (
        "output",
        "name",
        "host",
        "port",
        "key_variable",
        "tool",
        "tensor_parallel",
        "pipeline_parallel",
        "data_parallel",
    )
