"""The emitted tree as the engine sees it: `plan.json`, read and checked before anything is started."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from recipec import manifest
from recipec.diagnostics import Finding, RecipeError
from recipec.environments import environments_folder, folder_of, is_complete, read_pins
from recipec.environments.install import Pins
from recipec.job import Beside
from recipec.kinds import kind
from recipec.launch import nodes
from recipec.launch.words import FIRST, NODE
from recipec.manifest import About, Manifest, Unreadable
from recipec.plan import FileRead, Stage
from recipec.regular_file import read_regular
from recipec.source import Source, Span
from recipec.systems.registry import REGISTRY, system

SCRIPT = "run.sh"  # of each stage, in its folder
PATIENCE = 120  # seconds of a check of the machine


class Build(NamedTuple):
    """An emitted tree. `text` is its plan.json; `recipe` is the recipe's file, None when it is not available.

    `contents` are its files by name where it is only looked at: then nothing of it needs to be on disk.
    """

    folder: Path
    manifest: Manifest
    text: bytes
    recipe: Source | None
    contents: Mapping[str, str] | None = None

    @property
    def name(self) -> str:
        """The name of the recipe, and of its runs."""
        return self.manifest.recipe.name

    @property
    def stages(self) -> tuple[Stage[Any], ...]:
        """The stages, each behind those that it waits for."""
        return self.manifest.plan.stages

    def script(self, stage: Stage[Any]) -> Path:
        """Return the script that runs a stage."""
        return self.folder / stage.name / SCRIPT

    def pins(self, environment: str) -> Path:
        """Return the file with an environment's pins."""
        return self.folder / self.manifest.environments[environment].file

    def text_of(self, name: str) -> str:
        """Return the text of an emitted file. Raises OSError when it cannot be read."""
        if self.contents is not None:
            return self.contents[name]
        return (self.folder / name).read_text(encoding="utf-8", errors="surrogateescape")

    def pins_of(self, environment: str) -> Pins:
        """Return an environment's pins. Raises OSError when they cannot be read."""
        return read_pins(self.text_of(self.manifest.environments[environment].file))

    def files_of(self, stage: Stage[Any]) -> list[str]:
        """Return the emitted files of a stage, sorted."""
        return sorted(name for name in self.manifest.files if name.startswith(f"{stage.name}/"))

    def files_read(self) -> list[str]:
        """Return the emitted files that a run reads: those of its stages and their environments."""
        pins = {row.file for row in self.manifest.environments.values()}
        return [name for stage in self.stages for name in self.files_of(stage)] + sorted(pins)

    def made(self, path: str) -> bool:
        """Return whether a path is inside the output of a stage."""
        place = Path(path).absolute()
        return any(place.is_relative_to(Path(stage.output).absolute()) for stage in self.stages)

    def span(self, at: str | None) -> Span | None:
        """Return the place that plan.json writes as `file:line:column`; None without the recipe's text."""
        name, line, column = _split(at)
        if self.recipe is None or name not in (self.recipe.label, self.recipe.name) or not line:
            return None
        text = self.recipe.line(line)
        rest = text[column - 1 :]
        quote = rest[:1] if rest[:1] in "'\"" else ""
        end = rest.find(quote, 1) + 1 if quote else len(rest)
        for stop in "" if quote else (",", "}", "]", " #"):
            cut = rest.find(stop)
            end = min(end, cut) if cut > 0 else end
        return Span(self.recipe, line, column, line, column + max(1, len(rest[:end].rstrip())))

    def where(self, at: str) -> str:
        """Return a place with the file named as the user named it."""
        span = self.span(at)
        return span.where() if span else at

    def stage_at(self, name: str) -> str | None:
        """Return the first place in the recipe that says something of a stage: in its own part of it, if it has one."""
        said = [row for path, row in self.manifest.because.items() if path.startswith(f"{name}.") and row.at]
        own = [row for row in said if any(read.startswith(("stages[", "evaluate")) for read in row.reads)]
        return min((row.at for row in own or said if row.at), key=_split, default=None)

    def missing(self, only: Collection[str] | None = None) -> Iterator[FileRead]:
        """Yield each file that a stage (of `only` some) needs, that no stage makes, and that is not there."""
        stages = [stage for stage in self.stages if only is None or stage.name in only]
        needed = {read.path: read for stage in stages for read in stage.reads if read.needed}
        return (read for read in needed.values() if not self.made(read.path) and not _readable(Path(read.path)))


def _readable(path: Path) -> bool:
    """Return whether a file or folder is there; a pipe or a device is none, which a tool would wait for."""
    return path.is_file() or path.is_dir()


def _split(at: str | None) -> tuple[str, int, int]:
    name, _, rest = (at or "").partition(":")
    line, _, column = rest.partition(":")
    return (name, int(line), int(column)) if line.isdecimal() and column.isdecimal() else (name, 0, 0)


def of_text(folder: Path, text: bytes, recipe: Path, contents: Mapping[str, str]) -> Build:
    """Return a tree that is only looked at, from the text of its plan.json and its files by name."""
    found = manifest.read(text)
    return Build(folder, found, text, _recipe_source(recipe, found.recipe), contents)


def read(path: Path, again: str) -> tuple[Manifest, bytes]:
    """Return what a plan.json says, and its text; `again` is the advice to make it anew. Raises RecipeError."""
    try:
        text = read_regular(path, None)
    except FileNotFoundError:
        raise _refused(
            "E001", "there is no plan here: this folder is not the output of `recipe compile`", path, again
        ) from None
    except OSError as error:
        raise _refused("E001", f"the plan cannot be read: {error.strerror}", path, again) from None
    try:
        found = manifest.read(text)
    except Unreadable as error:
        if error.format is None:
            raise _refused("E002", f"the plan is not valid: {error}", path, again) from None
        message = f"the plan has format {error.format}, this version of recipec runs format {manifest.FORMAT}"
        raise _refused("E003", message, path, f"{again} with this version") from None
    before: set[str] = set()
    for stage in found.plan.stages:
        if stage.environment not in found.environments:
            raise _refused("E002", f"the plan lacks the environment {stage.environment}", path, again)
        if lost := [name for name in stage.after if name not in before]:
            raise _refused("E002", f"the plan lacks the stage {lost[0]}, which {stage.name} waits for", path, again)
        before.add(stage.name)
    return found, text


def load(folder: Path, recipe: Path | None = None) -> Build:
    """Read an emitted tree; `recipe` lets findings show the recipe's line. Raises RecipeError."""
    found, text = read(folder / manifest.FILE, "run `recipe compile` again")
    return Build(folder, found, text, _recipe_source(recipe, found.recipe))


def _recipe_source(recipe: Path | None, about: About) -> Source | None:
    """Return the recipe's text; None when its file has changed since it was compiled, or cannot be read."""
    try:
        text = read_regular(recipe or Path(about.file))
    except OSError:
        return None
    if hashlib.sha256(text).hexdigest() != about.sha256:
        return None
    return Source(str(recipe or about.file), text.decode("utf-8", "replace"), about.file)


def _refused(code: str, message: str, path: Path, advice: str) -> RecipeError:
    return RecipeError([Finding(code, message, help=advice, file=str(path))])


def preflight(build: Build, *, allow_edited: bool, only: Collection[str] | None = None) -> list[Finding]:
    """Return everything that would stop a run (of `only` some stages), before an environment is made or a stage started."""
    findings = [] if allow_edited else _edited(build)
    for read in build.missing(only):
        advice = f"paths are relative to the folder you run from: {Path.cwd()}"
        span = build.span(read.at)
        file = None if span else read.at or read.path
        findings.append(Finding("E005", f'no file "{read.path}"', span, help=advice, file=file))
    findings += _keys(build, only)
    if shutil.which("bash") is None:
        findings.append(Finding("E007", "bash is not installed", help="the stages are bash scripts"))
    findings += _nodes(build)
    if not findings:
        findings += _room(build)
    if not findings:
        findings += _able(build, only)
    return findings


def _able(build: Build, only: Collection[str] | None) -> list[Finding]:
    """Return a finding for each stage of which its own check says that this machine cannot do it."""
    findings: list[Finding] = []
    for stage in build.stages if build.contents is None else ():
        if stage.system not in REGISTRY or (only is not None and stage.name not in only):
            continue
        if not system(stage.system).asks_machine:
            continue
        check = system(stage.system).job(stage.body).check
        if not check:
            continue
        words = [str(build.folder / stage.name / one.file) if isinstance(one, Beside) else str(one) for one in check]
        try:
            asked = subprocess.run(
                [sys.executable, *words], capture_output=True, text=True, check=False, timeout=PATIENCE
            )
        except subprocess.TimeoutExpired:
            findings.append(
                Finding("E009", f"{stage.name}: the check of the machine took more than {PATIENCE} seconds")
            )
            continue
        if asked.returncode:
            said = (asked.stderr or asked.stdout).strip().splitlines()
            message = f"{stage.name}: {said[-1] if said else 'this machine cannot do it'}"
            advice = f"run `{' '.join(('python3', *words))}` to see it again"
            findings.append(Finding("E009", message, help=advice, file=str(build.folder / stage.name)))
    return findings


def _keys(build: Build, only: Collection[str] | None) -> Iterator[Finding]:
    """Yield a finding for each environment variable with a key that a stage needs, and that is not set."""
    needing: dict[str, list[str]] = {}
    for stage in build.stages:
        for name in kind(stage.kind).keys(stage.body) if only is None or stage.name in only else ():
            if not os.environ.get(name) and not build.manifest.plan.variables.get(name):
                needing.setdefault(name, []).append(stage.name)
    for name, stages in needing.items():
        advice = f"export {name}=…, or leave out what needs it: --exclude {' --exclude '.join(stages)}"
        message = f"{name} is not set, or empty, which has the key that {', '.join(stages)} will send"
        yield Finding("E014", message, help=advice, file=str(build.folder))


def spread(build: Build) -> bool:
    """Return whether a stage of the plan is started on each of several nodes; one that Ray starts is not."""
    several = build.manifest.plan.launcher == nodes.LAUNCHER.name
    return several and any(system(stage.system).job(stage.body).on_each_node for stage in build.stages)


def _nodes(build: Build) -> list[Finding]:
    """Return a finding when a plan of several nodes is not started as node 0, which keeps the record of the run."""
    plan, rank = build.manifest.plan, os.environ.get(NODE)
    if rank == "0" or not spread(build):
        return []
    each = f"bash {build.folder}/{SCRIPT}"
    if rank is None:
        message = f"this plan is started on each of {plan.hardware.nodes} nodes, and {NODE} is not set"
        advice = f"run `{each}` on each with {NODE} and {FIRST} set; on node 0, `recipe run` does too"
    else:
        message, advice = f"this is node {rank}: the record of the run is kept on node 0", f"run `{each}` here"
    return [Finding("E008", message, help=f"{advice}; {build.folder}/PLAN.md says more", file=str(build.folder))]


def _edited(build: Build) -> list[Finding]:
    findings: list[Finding] = []
    for name in build.files_read():
        path = build.folder / name
        advice = "recompile, or pass --allow-edited"
        try:
            held = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            findings.append(Finding("E004", f"cannot be read: {error.strerror}", help="recompile", file=str(path)))
            continue
        if held != build.manifest.files[name].sha256:
            message = "edited by hand: the run would not follow the recipe"
            findings.append(Finding("E004", message, help=advice, file=str(path)))
    return findings


def _room(build: Build) -> list[Finding]:
    """Return a finding when there is too little disk space for the environments that must be created."""
    needed = 0.0
    for name, row in build.manifest.environments.items():
        if not is_complete(folder_of(name, build.text_of(row.file))):
            needed += build.pins_of(name).disk_gb or 0.0
    place = environments_folder()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / 1e9
    if needed <= free:
        return []
    message = f"the environments need {needed:.1f} GB, {place} has {free:.1f} GB free"
    return [Finding("E006", message, help="free some space, or set RECIPEC_HOME to a folder on a larger disk")]
