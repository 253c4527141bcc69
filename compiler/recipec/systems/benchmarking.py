"""What the measuring of servers has in common: the settings, the script that starts them, and its job."""

from __future__ import annotations

from typing import Any

from recipec.job import Beside, Job
from recipec.kinds.benchmark import CHOSEN, FILE, Benchmark, Load, Point, Slo
from recipec.systems import serving
from recipec.systems.check import Check, refuses
from recipec.systems.document import Sheet
from recipec.systems.programs import program
from recipec.systems.registry import system
from recipec.systems.table import NULL, Row, constant, made, same

SCRIPT, SETTINGS = "benchmark_server.py", "measure.json"
PERCENTILES = (50, 90, 95, 99)  # that both tools tell


def options(server: str, settings: dict[str, Any]) -> list[str]:
    """Return settings as options of a server's own command; those that it does not have are refused elsewhere."""
    found: list[str] = []
    for word, value in settings.items():
        option = system(server).varies.get(word)
        if option is None:
            continue
        if isinstance(value, bool):
            found.append(option if value else option.replace("--", "--no-", 1))
        else:
            found += [option, f"{value}"]
    return found


def _points(server: str, points: tuple[Point, ...]) -> list[dict[str, Any]]:
    return [{"name": one.name, "settings": one.settings, "options": options(server, one.settings)} for one in points]


def _loads(loads: tuple[Load, ...]) -> list[dict[str, Any]]:
    """Return the measurements in the words of the recipe; what a tool is told of each stands in a file of its own."""
    words = (
        "name",
        "workload",
        "input",
        "output",
        "shared_prefix",
        "concurrency",
        "rate",
        "requests",
        "warmup",
        "seed",
    )
    return [{word: getattr(one, word) for word in words} for one in loads]


def _slo(slo: Slo | None) -> Any:
    if slo is None:
        return NULL
    return {word: getattr(slo, word) for word in ("first_token_ms", "between_tokens_ms", "percentile")}


def sheets(tool: str, package: str, release: str, *more: Row) -> list[Sheet]:
    """Return `measure.json`, by which the script measures, and what it starts the server by; `more` is what it must know of the tool."""
    rows = (
        constant("tool", tool),
        constant("release", release),
        made("points", _points, "server.tool", "points"),
        made("loads", _loads, "loads"),
        made("slo", _slo, "slo"),
        *more,
        same("output", "output"),
        constant("file", FILE),
        constant("chosen", CHOSEN),
    )
    own = Sheet(SETTINGS, rows, package, release, "", "json", raw_keys=False)
    return [own, serving.beside(package, release)]


def job(s: Benchmark) -> Job:
    """Return what measures: it starts the server with each of the settings, on as many GPUs as the largest takes."""
    return Job(
        ("python", Beside(SCRIPT), Beside(SETTINGS), Beside(serving.SERVER)),
        processes=max(one.gpus for one in s.points),
    )


def files(_s: Benchmark) -> dict[str, str]:
    """Return the script, and what starts a server for it."""
    return {SCRIPT: program(SCRIPT), **serving.beside_files()}


def uses(_s: Benchmark) -> tuple[str, ...]:
    """Return the plan paths that the job acts on."""
    return ("output", "server", "tool", "points", "loads")


def _lacking(server: str, points: tuple[Point, ...]) -> list[str]:
    words = {word: None for one in points for word in one.settings}
    return [word for word in words if word not in system(server).varies]


CHECKS: tuple[Check, ...] = (
    refuses(
        "points",
        "server.tool",
        when=lambda points, server: _lacking(server, points),
        message=lambda points, server: f"{server} cannot be started with another {', '.join(_lacking(server, points))}",
        advice="drop it, or serve by tool: vllm_serve, on a GPU",
    ),
)
