"""What `recipe run --dry-run`, `recipe why` and `recipe status` tell of a run; nothing here starts or writes anything."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from recipec import manifest
from recipec.diagnostics import Finding, RecipeError, errors
from recipec.engine import build as builds
from recipec.engine.build import Build
from recipec.engine.decision import Decision
from recipec.engine.fingerprint import keys
from recipec.engine.record import Record, RunFolder
from recipec.engine.standing import Standing, standings
from recipec.engine.status import Readers, RunStatus, read_run, status
from recipec.pipeline import Compiled, compile_file
from recipec.plural import counted
from recipec.regular_file import read_regular
from recipec.secrets import hidden
from recipec.suggest import nearest

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])\Z")
MOST = 20  # reasons that are shown of one stage
LAST = 5  # lines of an error that are shown again
_ACTIONS = {"skip": "skip", "leave": "leave", "wait": "wait", "run": "run", "renew": "run anew"}


class Overrides(NamedTuple):
    """What the command line changes in a recipe."""

    settings: Sequence[str] = ()
    profiles: Sequence[str] = ()
    variables: Sequence[str] = ()
    variants: Sequence[str] = ()


class Told(NamedTuple):
    """A run, and what its results would be made from now; `note` says what could not be judged."""

    folder: RunFolder
    standings: dict[str, Standing]
    note: str | None


def with_checkpoints(options: Any) -> dict[str, Any]:
    """Return what a run does with earlier checkpoints, as `run` takes it. Raises RecipeError for words that contradict."""
    if options.resume_anyway and (options.fresh or options.force or options.start):
        message = "--resume-anyway goes on from checkpoints, and --fresh, --force and --from start over"
        raise RecipeError([Finding("U003", message, help="leave out one of them", file="command line")])
    return {"fresh": options.fresh, "resume_anyway": options.resume_anyway}


def with_limits(options: Any) -> dict[str, Any]:
    """Return how long a tool may stand still, and how many stages run at once, as `run` takes it. Raises RecipeError."""
    return {"stall": seconds_of("--stall", options.stall), "jobs": options.jobs}


def seconds_of(option: str, text: str | None) -> float | None:
    """Return the seconds that `90s`, `30m`, `2h` or `1d` say. Raises RecipeError for what is no time."""
    found = _DURATION.match(text or "")
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if text is not None and not seconds:
        advice = "write it as 90s, 30m or 2h"
        raise RecipeError([Finding("U003", f'{option}: "{text}" is no time', help=advice, file="command line")])
    return seconds or None


def in_memory(compiled: Compiled, folder: Path, recipe: Path) -> Build:
    """Return what was compiled as a tree that would lie in `folder`; nothing of it is written."""
    text = compiled.files[manifest.FILE]
    return builds.of_text(folder, text.encode(), recipe, compiled.files)


def foreseen_text(name: str, decisions: Sequence[Decision]) -> str:
    """Return as text what a run would do."""
    width = max(len(one.stage.name) for one in decisions)
    rows = [f"  {one.stage.name:<{width}}  {_ACTIONS[one.action]:<8}  {one.why}" for one in decisions]
    count = counted(sum(one.runs for one in decisions), "stage")
    return "\n".join([f"{name}: {count} would run; nothing was started", *rows])


def foreseen_json(decisions: Sequence[Decision]) -> list[dict[str, Any]]:
    """Return as data what a run would do; `action` is `skip`, `leave`, `wait`, `run` or `renew`."""
    return [{"stage": one.stage.name, "action": one.action, "why": one.why} for one in decisions]


def told_of(named: str | None, runs: Path, overrides: Overrides) -> Told:
    """Return how the stages of a run stand: of a recipe's file as it is now, or of a run by name as it was compiled last.

    Raises RecipeError, also for a recipe with errors.
    """
    if named is None:
        named = _only(runs)
    elif Path(named).is_file() and not RunFolder(runs / named).plan.is_file():
        compiled = compile_file(
            named, overrides.settings, overrides.profiles, overrides.variables, variants=overrides.variants
        )
        if errors(compiled.findings):
            raise RecipeError(compiled.findings)
        folder = RunFolder(runs / compiled.name)
        return Told(folder, _standings(in_memory(compiled, folder.path, Path(named)), folder), None)
    if any(overrides):
        message = f"--set, --profile, --var and --variant change a recipe, and {named} is no file"
        raise RecipeError([Finding("U003", message, help="name the recipe's file", file="command line")])
    folder, lines, _ = read_run(runs / named)
    place = next((row["build"] for row in reversed(lines) if row.get("event") == "run-started"), None)
    try:
        found = builds.load(Path(place or folder.path))
        return Told(folder, _standings(found, folder), _note(found))
    except (RecipeError, OSError):
        note = f"what is stale is not known: the files that it was run from ({place}) are gone; name the recipe instead"
        return Told(folder, {}, note)


def _standings(build: Build, folder: RunFolder) -> dict[str, Standing]:
    return standings(build, folder, Record(folder.record).read(), keys(build, folder.hashes, save=False))


def _note(build: Build) -> str | None:
    """Return what to tell when the recipe was changed since it was compiled last."""
    about = build.manifest.recipe
    try:
        same = hashlib.sha256(read_regular(about.file)).hexdigest() == about.sha256
    except OSError:
        return None
    return None if same else f"{about.file} has changed since it was compiled: name it to judge it as it is now"


def _only(runs: Path) -> str:
    """Return the name of the only run that there is."""
    names = sorted(path.parent.name for path in runs.glob("*/plan.json"))
    if len(names) == 1:
        return names[0]
    message = f"there are {len(names)} runs: {', '.join(names)}" if names else f"there is no run in {runs}"
    advice = "name one, or a recipe's file" if names else "name a recipe's file, or start it with `recipe run`"
    raise RecipeError([Finding("E020", message, help=advice, file=str(runs))])


def standing_of(told: Told, stage: str) -> Standing:
    """Return how one stage stands. Raises RecipeError when there is no such stage, or it cannot be judged."""
    found = told.standings.get(stage)
    if found is None:
        names = list(told.standings)
        message = f'there is no stage "{stage}"; there are {", ".join(names)}' if names else told.note or "no stages"
        where = str(told.folder.path)
        raise RecipeError([Finding("E021", message, suggestion=nearest(stage, names), file=where)])
    return found


def why_text(told: Told, standing: Standing) -> str:
    """Return as text how a stage stands, and why."""
    name = standing.stage.name
    lines = [f"{name}: {_head(told, standing)}"]
    lines += [f"  {hidden(line)[:300]}" for line in _error(standing)]
    reasons = [reason.text() for reason in standing.reasons]
    lines += [f"  {text}" for text in (reasons if len(reasons) <= MOST else reasons[: MOST - 1])]
    if len(reasons) > MOST:
        lines.append(f"  and {counted(len(reasons) - MOST + 1, 'more reason')}: --json has all")
    lines += [f"  `recipe why {parent}` says more about {parent}" for parent in standing.blocked_by]
    return "\n".join([*lines, *([f"note: {told.note}"] if told.note else [])])


def _head(told: Told, standing: Standing) -> str:
    if standing.state == "blocked":
        waits = ", ".join(f"{name} ({told.standings[name].state})" for name in standing.blocked_by)
        return f"blocked: it has not run, and waits for {waits}"
    return "stale, because" if standing.state == "stale" else standing.why().partition(": ")[0] + _reason(standing)


def _reason(standing: Standing) -> str:
    reason = standing.history.last.get("reason")
    return f" ({reason})" if standing.state == "failed" and reason else ""


def _error(standing: Standing) -> list[str]:
    return list(standing.history.last.get("error") or [])[-LAST:] if standing.state == "failed" else []


def why_json(told: Told, standing: Standing) -> dict[str, Any]:
    """Return as data how a stage stands, and why."""
    last = standing.history.last
    return {
        "stage": standing.stage.name,
        "state": standing.state,
        "reasons": [reason.as_json() for reason in standing.reasons],
        "blocked_by": list(standing.blocked_by),
        "reason": last.get("reason") if standing.state == "failed" else None,
        "error": [hidden(line) for line in _error(standing)],
        "note": told.note,
    }


def status_of(told: Told, readers: Readers | None = None) -> RunStatus:
    """Return the state of a run, with the first reason of each stage that is complete but stale."""
    found = status(told.folder.path, readers)
    for row in found["stages"]:
        standing = told.standings.get(row["stage"])
        stale = standing is not None and row["state"] == "complete" and not standing.done
        row["stale"] = standing.why().removeprefix("stale: ") if standing is not None and stale else None
    found["note"] = told.note
    return found


__all__ = ["Overrides", "foreseen_json", "foreseen_text", "in_memory", "status_of", "told_of", "why_json", "why_text"]
