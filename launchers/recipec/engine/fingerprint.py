"""One hash for everything that a stage's result depends on: its files, pins and data, and the stages before it.

Comments and layout of emitted files do not count: a new comment in a recipe must not cause another training.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recipec.diagnostics import RecipeError
from recipec.engine.build import Build
from recipec.json_files import read_object
from recipec.plan import Stage

HASHED_WHOLE = 256 << 20  # bytes; of larger files (model weights), only samples are hashed
SAMPLES, SAMPLE_BYTES = 16, 1 << 20
_FILE_NAME = re.compile(r"[\w./@+-]+\.(?:jsonl?|csv|tsv|parquet|txt|py)\b")


def fingerprints(build: Build, cache: Path) -> dict[str, str]:
    """Return the fingerprint of every stage, by name; the file `cache` keeps the hashes of data files between runs."""
    hashes = _Hashes(cache, [Path(stage.output).absolute() for stage in build.stages])
    found: dict[str, str] = {}
    for stage in build.stages:
        digest = hashlib.sha256()
        for part in _parts(build, stage, hashes):
            digest.update(part.encode("utf-8", "surrogateescape") + b"\0")
        for earlier in stage.after:
            digest.update(found[earlier].encode() + b"\0")
        found[stage.name] = digest.hexdigest()
    hashes.save()
    return found


def _parts(build: Build, stage: Stage[Any], hashes: _Hashes) -> Iterator[str]:
    """Yield all that shapes a stage beside earlier stages: its files, its pins, and what it reads that is here."""
    yield f"{stage.kind} {stage.system} {stage.release}"
    for name in build.files_of(stage):
        yield f"{name} {meaning_hash(build.folder / name)}"
    yield meaning_hash(build.pins(stage.environment))
    for path in sorted(_reads(stage, hashes)):
        if not build.made(path) and Path(path).exists():
            yield f"{path} {hashes.of(Path(path).absolute())}"


def _reads(stage: Stage[Any], hashes: _Hashes) -> set[str]:
    """Return the paths that a stage reads. Tasks of lm-eval name data files in their text, so these count too."""
    found = {read.path for read in stage.reads}
    tasks = stage.body.task_folder if stage.kind == "evaluate" else None
    for file in hashes.files(Path(tasks).absolute()) if tasks else ():
        if file.suffix in (".yaml", ".yml"):
            mentioned = _FILE_NAME.findall(file.read_text(encoding="utf-8", errors="replace"))
            found |= {name for name in mentioned if Path(name).is_file()}
    return found


def meaning_hash(path: Path) -> str:
    """Return a hash of a file's contents: parsed for YAML and JSON, without comments for scripts and pins."""
    raw = path.read_bytes()
    text = raw.decode("utf-8", "surrogateescape")
    if path.suffix == ".json":
        try:
            return _hash(json.dumps(json.loads(text), sort_keys=True))
        except ValueError:
            return _hash(text)
    if path.suffix in (".yaml", ".yml"):
        return _hash(json.dumps(_yaml(path.name, text), sort_keys=True, default=str))
    if path.suffix in (".sh", ".txt"):
        lines = [line.rstrip() for line in text.splitlines()]
        return _hash("\n".join(line for line in lines if line and not line.lstrip().startswith("#")))
    return _hash(text)


def _yaml(name: str, text: str) -> Any:
    from recipec.source import Source, plain
    from recipec.yaml_reader import read_text

    try:
        return plain(read_text(Source(name, text)))
    except RecipeError:
        return text


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


class _Hashes:
    """Hashes of files and folders; a file with the same size, modification time and inode is not read again.

    What the run itself writes (`outputs`, and the folder of `cache`) is no part of a folder around it.
    """

    def __init__(self, cache: Path, outputs: list[Path]) -> None:
        self._cache = cache
        self._new: dict[str, Any] = {}
        self._old = read_object(cache) or {}
        self._left_out = [cache.parent.absolute(), *outputs]

    def of(self, path: Path) -> str:
        """Return the hash of a file, or of the names and contents of all files below a folder."""
        if path.is_file():
            return self._file(path)
        return _hash("".join(f"{file.relative_to(path)} {self._file(file)}\n" for file in self.files(path)))

    def files(self, folder: Path) -> list[Path]:
        """Return the files below a folder, sorted."""
        found = (file for file in folder.rglob("*") if file.is_file() and ".git" not in file.parts)
        return sorted(file for file in found if not any(file.is_relative_to(one) for one in self._left_out))

    def save(self) -> None:
        """Write the cache for the next run."""
        fresh = self._cache.with_name(self._cache.name + ".new")
        fresh.write_text(json.dumps(self._new, indent=0), encoding="utf-8")
        fresh.replace(self._cache)

    def _file(self, path: Path) -> str:
        about = path.stat()
        key, mark = str(path), [about.st_size, about.st_mtime_ns, about.st_ino]
        held = self._new.get(key) or self._old.get(key)
        if not held or held[:3] != mark:
            held = [*mark, _content(path, about.st_size)]
        self._new[key] = held
        return str(held[3])


def _content(path: Path, size: int) -> str:
    with path.open("rb") as stream:
        if size <= HASHED_WHOLE:
            return hashlib.file_digest(stream, "sha256").hexdigest()
        digest = hashlib.sha256(str(size).encode())
        for index in range(SAMPLES):
            stream.seek((size - SAMPLE_BYTES) * index // (SAMPLES - 1))
            digest.update(stream.read(SAMPLE_BYTES))
        return digest.hexdigest()
