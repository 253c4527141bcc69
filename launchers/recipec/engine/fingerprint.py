"""What a stage's result depends on, in named parts: its values, files and pins, its tool, and the stages before it.

Comments, layout, names of other stages and the places of results do not count: none of them may cause another training.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from recipec.diagnostics import Finding, RecipeError
from recipec.engine import meaning
from recipec.engine.build import SCRIPT, Build
from recipec.engine.file_hashes import FileHashes, imported
from recipec.json_files import read_object, write_whole
from recipec.launch.launcher import Started
from recipec.launch.script import watching
from recipec.plan import Stage, fields
from recipec.systems.registry import REGISTRY, system
from recipec.systems.trainers import TRACKING

FORMAT = 1
_FILE_NAME = re.compile(r"[\w./@+-]+\.(?:jsonl?|csv|tsv|parquet|txt|py)\b")


class Key(NamedTuple):
    """Everything that a stage's result depends on, by name: which of it differs says why a stage is stale.

    `values` are those of emitted files (`file:key`), `files` hashes of what it reads, `pins` versions of packages,
    `parents` the hashes of the keys of the stages that it waits for.
    """

    system: dict[str, str]
    values: dict[str, str]
    files: dict[str, str]
    pins: dict[str, str]
    parents: dict[str, str]

    @property
    def hash(self) -> str:
        """The fingerprint: one hash for all of it. What the stages before it are called does not count."""
        counted = [self.system, self.values, self.files, self.pins, list(self.parents.values())]
        return meaning.sha256(json.dumps(counted, sort_keys=True))

    def write(self, path: Path) -> None:
        """Write it to a file, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        said = {"format": FORMAT, "fingerprint": self.hash, **self._asdict()}
        write_whole(path, (json.dumps(said, indent=1) + "\n").encode())

    @classmethod
    def read(cls, path: Path) -> Key | None:
        """Return what `write` wrote; None where there is no such file, or another version wrote it."""
        found = read_object(path)
        if found is None or found.get("format") != FORMAT:
            return None
        try:
            return cls(**msgspec.convert({part: found.get(part) for part in cls._fields}, dict[str, dict[str, str]]))
        except msgspec.ValidationError:
            return None


def keys(build: Build, cache: Path, *, save: bool = True) -> dict[str, Key]:
    """Return the key of every stage, by name; the file `cache` keeps the hashes of data files between runs."""
    hashes = FileHashes(cache, [Path(stage.output).absolute() for stage in build.stages])
    found: dict[str, Key] = {}
    for stage in build.stages:
        found[stage.name] = Key(
            system={"kind": stage.kind, "system": stage.system, "release": stage.release},
            values=dict(_values(build, stage)),
            files=dict(_files(build, stage, hashes)),
            pins=dict(_pin(line) for line in build.pins_of(stage.environment).lines),
            parents={earlier: found[earlier].hash for earlier in stage.after},
        )
    if save:
        hashes.save()
    return found


def fingerprints(build: Build, cache: Path) -> dict[str, str]:
    """Return the fingerprint of every stage, by name."""
    return {name: key.hash for name, key in keys(build, cache).items()}


def _pin(line: str) -> tuple[str, str]:
    name, _, version = line.partition("==")
    return name, version or line


def _values(build: Build, stage: Stage[Any]) -> Iterator[tuple[str, str]]:
    """Yield the values of a stage's emitted files; its own name, in their paths, is left out.

    What watches the stage from its script does not count, but where it may end it: then its own values do.
    """
    watchers = [
        Started(one, job)
        for one in build.stages
        if one.after[:1] == (stage.name,)
        and one.system in REGISTRY
        and system(one.system).watches
        and (job := system(one.system).job(one.body)).watcher is not None
    ]
    silent = tuple(line for one in watchers for line in watching(one))
    yield from _written(build, stage, "", silent)
    for one in watchers:
        if one.job.watcher is not None and one.job.watcher.shapes:
            yield from _written(build, one.stage, "watcher/")


def _written(build: Build, stage: Stage[Any], below: str, silent: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Yield the values of the emitted files of a stage, each file's name below a folder; `silent` lines of its script do not count."""
    place = _placing(build, stage)
    for name in build.files_of(stage):
        lines, text = build.manifest.files[name].lines, build.text_of(name)
        if silent and name == f"{stage.name}/{SCRIPT}":
            text = "".join(line for line in text.splitlines(keepends=True) if not line.rstrip().endswith(silent))
        yield from meaning.values(
            below + name.removeprefix(f"{stage.name}/"),
            text,
            {key: line.line for key, line in lines.items()},
            _left_out({key: line.reads for key, line in lines.items()}, stage.name),
            place,
        )


def _left_out(reads: Mapping[str, tuple[str, ...]], stage: str) -> Callable[[str], bool]:
    """Return what tells whether a key only says where a stage reports."""
    named = {key for key, paths in reads.items() if meaning.reports(paths, stage)}
    return lambda key: key in named or key in TRACKING or meaning.silences(key)


def _placing(build: Build, stage: Stage[Any]) -> Callable[[str], str]:
    """Return what puts, for the folders of a run in a text, what they are to a stage: its output, an input, its cache."""
    roles = {stage.output: "<output>"}
    for number, one in enumerate(stage.inputs, 1):
        made = [(field, getattr(one.output, field)) for field in ("place", *fields(one.output))]
        for field, path in made if one.stage is not None else ():
            if isinstance(path, str) and build.made(path):
                roles.setdefault(path, f"<input {number}>" if field == "place" else f"<input {number}: {field}>")
    if stage.kind == "train":
        roles.setdefault(stage.body.data.cache, "<cache>")
    roles.setdefault(str(Path(stage.output).parent), "<run>")
    longest_first = "|".join(re.escape(path) for path in sorted(roles, key=len, reverse=True) if path)
    pattern = re.compile(rf"(?<![\w./-])(?:\./)?({longest_first})(?![\w.-])")
    return lambda text: pattern.sub(lambda found: roles[found[1]], text)


def _files(build: Build, stage: Stage[Any], hashes: FileHashes) -> Iterator[tuple[str, str]]:
    for path in sorted(_reads(stage, hashes)):
        if not build.made(path) and Path(path).exists():
            try:
                found = list(hashes.of(Path(path).absolute()))
            except OSError as error:
                raise _unreadable(build, stage, path, error) from None
            yield from ((f"{path}/{below}" if below else path, held) for below, held in found)


def _unreadable(build: Build, stage: Stage[Any], path: str, error: OSError) -> RecipeError:
    span = next((build.span(read.at) for read in stage.reads if read.path == path), None)
    which = os.fsdecode(error.filename) if error.filename else path
    message = f"{which} cannot be read: {error.strerror}"
    advice = f"{stage.name} reads it; nothing was started"
    return RecipeError([Finding("E013", message, span, help=advice, file=None if span else path)])


def _reads(stage: Stage[Any], hashes: FileHashes) -> set[str]:
    """Return the paths that a stage reads. Tasks of lm-eval name data files in their text, so these count too."""
    found = {read.path for read in stage.reads}
    tasks = getattr(stage.body, "task_folder", None)
    inside = hashes.files(Path(tasks).absolute()) if tasks else []
    for file in inside:
        if file.suffix in (".yaml", ".yml"):
            mentioned = _FILE_NAME.findall(file.read_text(encoding="utf-8", errors="replace"))
            found |= {name for name in mentioned if Path(name).is_file()}
    for path in [path for path in found if path.endswith(".py") and Path(path).is_file()]:
        found |= {str(beside) for beside in imported(Path(path))}
    return found


__all__ = ["Key", "fingerprints", "keys"]
