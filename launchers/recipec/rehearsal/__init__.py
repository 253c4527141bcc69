"""`recipe run --rehearse`: every stage of a recipe on this CPU, with a few rows of its data and tiny models.

A rehearsal is the same recipe with some values laid over it (`swaps.py`), so that all behind it is the code of the real
run: compiler, rules, emitted files, engine and tools. What is swapped and what cannot be rehearsed is listed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, NamedTuple

from recipec.diagnostics import Finding, RecipeError, errors
from recipec.engine import Choice, Display, run
from recipec.engine import build as builds
from recipec.engine.build import Build
from recipec.engine.record import Record, RunFolder
from recipec.environments import EnvironmentFailure, EnvironmentInterrupted, ensure
from recipec.output import write
from recipec.pipeline import Compiled, compile_file
from recipec.plan import Plan
from recipec.plural import counted
from recipec.processes import Child, Signals
from recipec.rehearsal.judges import serving
from recipec.rehearsal.laid import Swap
from recipec.rehearsal.stand_ins import SCRIPT
from recipec.rehearsal.swaps import Swaps, swaps_of
from recipec.run_command import Overrides

MARKER = "rehearsal.json"
ON_CPU = Path(__file__).parent / "on_cpu"
LAST = 15  # lines of a script that failed


class Rehearsal(NamedTuple):
    """What came of a rehearsal, or would: `code` is None where nothing was started."""

    name: str
    swaps: Swaps
    rehearsed: dict[str, str]  # stage → how it ended
    seconds: float
    code: int | None


class NotRehearsed(Exception):
    """The rehearsal ended before its first stage; `lines` say more."""

    def __init__(self, message: str, lines: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.lines = lines


def rehearse(
    file: str,
    overrides: Overrides,
    out: Path,
    runs: Path,
    *,
    choice: Choice = Choice(),  # noqa: B008  # it is frozen
    dry: bool = False,
    say: Callable[[str], None],
    display: Display | None = None,
    jobs: int = 1,
) -> Rehearsal:
    """Rehearse a recipe, up to `jobs` stages at once; with `dry`, only tell what would be swapped, and what cannot be rehearsed.

    Raises RecipeError, with what is wrong with the recipe or its rehearsal; NotRehearsed where it could not begin.
    """
    began = time.monotonic()
    real = compile_file(file, *overrides[:3], variants=overrides.variants)
    if real.variant is not None:  # of a sweep, one is rehearsed: what the others have else are other values
        values = (f"{path}={json.dumps(value, ensure_ascii=False)}" for path, value in real.variant.values.items())
        overrides = overrides._replace(settings=(*overrides.settings, "sweep=null", *values), variants=())
        real = compile_file(file, *overrides[:3])
    if errors(real.findings) or real.resolved is None:
        raise RecipeError(real.findings)
    plan = real.resolved.plan
    swaps = swaps_of(file, plan, runs, tuple(overrides.settings), tuple(overrides.profiles), tuple(overrides.variables))
    folder = runs / f"{plan.name[:90]}.rehearsal"
    if not swaps.stages:
        return Rehearsal(folder.name, swaps, {}, time.monotonic() - began, None)
    if dry:
        laid = _compiled(file, overrides, swaps)
        return Rehearsal(folder.name, _settled(swaps, plan, laid), {}, time.monotonic() - began, None)
    with _empty(folder):
        _put(folder, swaps)
    laid = _compiled(file, overrides, swaps)
    settled = _settled(swaps, plan, laid)
    if settled.settings != swaps.settings:
        laid = _compiled(file, overrides, settled)
    swaps = settled
    _tell(folder, swaps)
    write(out / laid.name, laid.files)
    build = builds.load(out / laid.name, Path(file))
    with _around(swaps), serving(swaps.judge):
        _make(build, swaps, say)
        chosen = _chosen(choice, build, swaps)
        code = run(out / laid.name, runs, recipe=Path(file), choice=chosen, display=display, jobs=jobs)
    ended = _ended(folder, laid, swaps)
    return Rehearsal(folder.name, swaps, ended, time.monotonic() - began, code)


def _settled(swaps: Swaps, plan: Plan, laid: Compiled) -> Swaps:
    assert laid.resolved is not None
    return swaps.settled(plan, laid.resolved.plan)


def _compiled(file: str, overrides: Overrides, swaps: Swaps) -> Compiled:
    laid = compile_file(file, overrides.settings, overrides.profiles, overrides.variables, rehearsal=swaps.settings)
    if errors(laid.findings):
        raise RecipeError(errors(laid.findings))
    return laid


def _chosen(choice: Choice, build: Build, swaps: Swaps) -> Choice:
    """Return the choice of stages without those that cannot be rehearsed."""
    never = [stage.name for stage in build.stages if stage.name in swaps.never]
    return choice._replace(exclude=(*choice.exclude, *never)) if never else choice


@contextlib.contextmanager
def _empty(folder: Path) -> Generator[None]:
    """Begin with an empty folder: what an earlier rehearsal left goes. Raises RecipeError for a folder of another kind."""
    if folder.exists() and not (folder / MARKER).is_file() and any(folder.iterdir()):
        message = f"{folder} is there, and is no rehearsal's: it is left alone"
        raise RecipeError([Finding("E040", message, help="move it away, or give the recipe another name")])
    folder.mkdir(parents=True, exist_ok=True)
    with RunFolder(folder).lock.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            advice = "wait for it to end"
            raise RecipeError(
                [Finding("E011", f'the run "{folder.name}" is already in progress', help=advice)]
            ) from None
        for path in folder.iterdir():
            if path == RunFolder(folder).lock or path.name == MARKER:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        (folder / MARKER).touch()
        yield


def _tell(folder: Path, swaps: Swaps) -> None:
    """Write down what differs from the real run, beside the results."""
    told = {"swaps": [one._asdict() for one in swaps.swaps], "not_rehearsed": [one._asdict() for one in swaps.cannot]}
    (folder / MARKER).write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _put(folder: Path, swaps: Swaps) -> None:
    """Write rows, tasks and links to the models that stand in."""
    for path, rows in swaps.rows.items():
        if rows.text is not None:
            place = Path(path) if Path(path).suffix != ".parquet" else Path(f"{path}.jsonl")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(rows.text, encoding="utf-8", errors="surrogateescape")
    if swaps.tasks:
        for own in swaps.task_folders:
            shutil.copytree(own, folder / "tasks", dirs_exist_ok=True)
        (folder / "tasks").mkdir(exist_ok=True)
        for name, text in swaps.tasks.items():
            (folder / "tasks" / name).write_text(text, encoding="utf-8")
    for path, text in swaps.files.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text, encoding="utf-8")
    for model in swaps.models:
        model.put(folder)


def _make(build: Build, swaps: Swaps, say: Callable[[str], None]) -> None:
    """Make the models that are not there yet, and copy rows that only a tool can read. Raises NotRehearsed."""
    models = [
        {"name": one.name, "output": str(one.kept), "spec": one.spec} for one in swaps.models if not one.kept.is_dir()
    ]
    rows = [
        {
            "from": swaps.sources.get(path, f"{path}.jsonl"),
            "to": path,
            "rows": one.number,
            "among": 1000,
        }
        for path, one in swaps.rows.items()
        if Path(path).suffix == ".parquet"
    ]
    if not models and not rows:
        return
    stage = next(stage for stage in build.stages if stage.name in swaps.stages)
    try:
        python = ensure(stage.environment, build.pins(stage.environment), progress=say) / "bin" / "python"
    except EnvironmentInterrupted:
        raise KeyboardInterrupt from None
    except EnvironmentFailure as error:
        raise NotRehearsed(str(error), error.lines) from None
    for one in models:
        say(f"making a tiny model in the place of {one['name']}")
    for path in rows:
        Path(str(path["to"])).parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, Signals() as signals, (Path(name) / "log").open("wb") as log:
        jobs = Path(name) / "jobs.json"
        jobs.write_text(json.dumps({"models": models, "rows": rows}), encoding="utf-8")
        with Child([str(python), str(SCRIPT), str(jobs)], output=log, variables=os.environ) as child:
            code = child.wait(signals, lambda: None, lambda _number: None, saving=5.0)
        if signals.received:
            raise KeyboardInterrupt
        if code:
            told = (Path(name) / "log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise NotRehearsed("what stands in for the models and rows could not be made", tuple(told[-LAST:]))
    for path in rows:
        Path(f"{path['to']}.jsonl").unlink(missing_ok=True)


@contextlib.contextmanager
def _around(swaps: Swaps) -> Generator[None]:
    """Run with the variables of a rehearsal, which stages inherit."""
    before = dict(os.environ)
    paths = [str(ON_CPU), *filter(None, [before.get("PYTHONPATH", "")])]
    os.environ.update({**swaps.variables, "PYTHONPATH": os.pathsep.join(paths)})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _ended(folder: Path, laid: Compiled, swaps: Swaps) -> dict[str, str]:
    """Return how each stage ended that was started."""
    assert laid.resolved is not None
    states = {"stage-finished": "done", "stage-failed": "failed", "stage-interrupted": "interrupted"}
    found: dict[str, str] = {}
    for row in Record(RunFolder(folder).record).read():
        if row.get("event") in states:
            found[row["stage"]] = states[row["event"]]
    names = [stage.name for stage in laid.resolved.plan.stages if stage.name not in swaps.never]
    return {name: found.get(name, "not started") for name in names}


def as_text(found: Rehearsal) -> str:
    """Return what a rehearsal did, or would do."""
    lines = [f"{found.name}: {counted(len(found.swaps.swaps), 'swap')}"]
    lines += [f"  {line}" for line in _swap_lines(found.swaps.swaps)]
    if found.swaps.cannot:
        lines += ["cannot be rehearsed:", *(f"  {one.what}: {one.why}" for one in found.swaps.cannot)]
    if found.code is None:
        stages = ", ".join(found.swaps.stages)
        lines.append(f"would be rehearsed: {stages}; nothing was started" if stages else "nothing can be rehearsed")
    else:
        ended = [f"{name} {state}" for name, state in found.rehearsed.items()]
        lines.append(f"rehearsed in {found.seconds:.0f} s: {', '.join(ended)}")
    return "\n".join(lines)


def _swap_lines(swaps: list[Swap]) -> list[str]:
    return [f"{one.at}: {_short(one.was)} → {_short(one.now)} ({one.why})" for one in swaps]


def _short(value: Any) -> str:
    if value is None:
        return "—"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}…"


def as_json(found: Rehearsal) -> dict[str, Any]:
    """Return the same as data."""
    return {
        "name": found.name,
        "swaps": [one._asdict() for one in found.swaps.swaps],
        "not_rehearsed": [one._asdict() for one in found.swaps.cannot],
        "stages": list(found.swaps.stages),
        "ended": found.rehearsed,
        "seconds": round(found.seconds, 1),
        "exit_code": found.code,
    }


__all__ = ["NotRehearsed", "Rehearsal", "as_json", "as_text", "rehearse"]
