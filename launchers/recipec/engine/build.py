"""The emitted tree as the engine sees it: `plan.json`, read and checked before anything is started."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

from recipec.diagnostics import Finding, RecipeError
from recipec.environments import environments_folder, folder_of, info_of, is_complete
from recipec.source import Source, Span

FORMAT = 1
PLAN = "plan.json"


class Stage(NamedTuple):
    """One stage of a plan. Plan paths of its values start with `name`; `output` is relative to the working folder."""

    id: str
    name: str
    kind: str
    tool: str
    release: str
    environment: str
    script: str
    output: str
    inputs: tuple[str, ...]
    resumable: bool
    steps: int | None


class Build(NamedTuple):
    """An emitted tree. `plan` is plan.json as data; `recipe` is the recipe's file, None when it is not available."""

    folder: Path
    name: str
    plan: dict[str, Any]
    text: bytes
    stages: tuple[Stage, ...]
    recipe: Source | None

    def pins(self, environment: str) -> Path:
        """Return the file with an environment's pins."""
        return self.folder / str(self.plan["environments"][environment]["file"])

    def files_read(self) -> list[str]:
        """Return the emitted files that a run reads: those of its stages and their environments."""
        folders = tuple(f"{stage.id}/" for stage in self.stages)
        pins = {str(row["file"]) for row in self.plan["environments"].values()}
        return [name for name in self.plan.get("files", {}) if name.startswith(folders) or name in pins]

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

    def where(self, at: str | None) -> str:
        """Return a place with the file named as the user named it."""
        span = self.span(at)
        return span.where() if span else at or ""

    def origin_of(self, value: str) -> str | None:
        """Return where the recipe sets a value, as plan.json writes it."""
        for row in self.plan.get("values", {}).values():
            if row.get("value") == value and row.get("at"):
                return str(row["at"])
        return None

    def data(self) -> Iterator[tuple[str, str | None]]:
        """Yield the local data files, each with the place in the recipe that names it."""
        for row in self.plan.get("data", []):
            if isinstance(row, str):
                yield row, self.origin_of(row)
            else:
                yield str(row["path"]), row.get("at") or self.origin_of(str(row["path"]))


def _split(at: str | None) -> tuple[str, int, int]:
    name, _, rest = (at or "").partition(":")
    line, _, column = rest.partition(":")
    return (name, int(line), int(column)) if line.isdecimal() and column.isdecimal() else (name, 0, 0)


def load(folder: Path, recipe: Path | None = None) -> Build:
    """Read an emitted tree; `recipe` lets findings show the recipe's line. Raises RecipeError."""
    path = folder / PLAN
    again = "run `recipe compile` again"
    try:
        text = path.read_bytes()
        held: Any = json.loads(text)
    except FileNotFoundError:
        raise _refused(
            "E001", "there is no plan here: this folder is not the output of `recipe compile`", path, again
        ) from None
    except OSError as error:
        raise _refused("E001", f"the plan cannot be read: {error.strerror}", path, again) from None
    except ValueError as error:
        raise _refused("E002", f"the plan is not valid JSON: {error}", path, again) from None
    plan = cast("dict[str, Any]", held) if isinstance(held, dict) else {}
    found = plan.get("format")
    if found != FORMAT:
        message = f"the plan has format {json.dumps(found)}, this version of recipec runs format {FORMAT}"
        raise _refused("E003", message, path, f"{again} with this version")
    try:
        stages = tuple(_stage(row) for row in plan["stages"])
        name = str(plan["recipe"]["name"])
        known = plan["environments"]
        lost = [stage.environment for stage in stages if stage.environment not in known]
        if lost:
            raise KeyError(lost[0])
        source = _recipe_source(recipe, plan["recipe"])
    except (KeyError, TypeError, AttributeError) as error:
        raise _refused("E002", f"the plan lacks {error}", path, again) from None
    return Build(folder, name, plan, text, stages, source)


def _stage(row: dict[str, Any]) -> Stage:
    return Stage(
        row["id"],
        row.get("name", row["kind"]),
        row["kind"],
        row.get("tool", ""),
        row.get("release", ""),
        row["environment"],
        row["script"],
        row["output"],
        tuple(row.get("inputs", ())),
        bool(row.get("resumable", False)),
        row.get("steps"),
    )


def _recipe_source(recipe: Path | None, row: dict[str, Any]) -> Source | None:
    """Return the recipe's text; None when its file has changed since it was compiled, or cannot be read."""
    try:
        text = (recipe or Path(row["file"])).read_bytes()
    except OSError:
        return None
    if hashlib.sha256(text).hexdigest() != row.get("sha256"):
        return None
    return Source(str(recipe or row["file"]), text.decode("utf-8", "replace"), str(row["file"]))


def _refused(code: str, message: str, path: Path, advice: str) -> RecipeError:
    return RecipeError([Finding(code, message, help=advice, file=str(path))])


def preflight(build: Build, *, allow_edited: bool) -> list[Finding]:
    """Return everything that would stop a run; called before any environment is created or stage started."""
    findings = [] if allow_edited else _edited(build)
    for path, at in build.data():
        if not Path(path).exists():
            advice = f"paths are relative to the folder you run from: {Path.cwd()}"
            file = None if build.span(at) else path
            findings.append(Finding("E005", f'no file "{path}"', build.span(at), help=advice, file=file))
    if shutil.which("bash") is None:
        findings.append(Finding("E007", "bash is not installed", help="the stages are bash scripts"))
    if not findings:
        findings += _room(build)
    return findings


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
        if held != build.plan["files"][name].get("sha256"):
            message = "edited by hand: the run would not follow the recipe"
            findings.append(Finding("E004", message, help=advice, file=str(path)))
    return findings


def _room(build: Build) -> list[Finding]:
    """Return a finding when there is too little disk space for the environments that must be created."""
    needed = 0.0
    for name, row in build.plan["environments"].items():
        if not is_complete(folder_of(name, build.pins(name))):
            needed += info_of(build.pins(name), row).disk_gb or 0.0
    place = environments_folder()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / 1e9
    if needed <= free:
        return []
    message = f"the environments need {needed:.1f} GB, {place} has {free:.1f} GB free"
    return [Finding("E006", message, help="free some space, or set RECIPEC_HOME to a folder on a larger disk")]
