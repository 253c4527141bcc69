"""Hashes of the files that stages read, and the code that such a file imports from beside it."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recipec.engine import meaning
from recipec.json_files import read_object

HASHED_WHOLE = 256 << 20  # bytes; of larger files (model weights), only samples are hashed
SAMPLES, SAMPLE_BYTES = 16, 1 << 20
READ_AS_TEXT = 1 << 20  # bytes; what is larger is no code, whatever its name is
MOST_FILES = 1000  # of a folder that are told one by one
_NOT_READ = {".git", "__pycache__"}


class FileHashes:
    """Hashes of files and folders; a file with the same size, modification time and inode is not read again.

    Of code and YAML, only the meaning counts, not comments and layout. What the run itself writes (`outputs`, and the
    folder of `cache`) is no part of a folder around it.
    """

    def __init__(self, cache: Path, outputs: list[Path]) -> None:
        self._cache = cache
        self._new: dict[str, Any] = {}
        self._old = read_object(cache) or {}
        self._left_out = [cache.parent.absolute(), *outputs]

    def of(self, path: Path) -> Iterator[tuple[str, str]]:
        """Yield the hash of a file, or of each file below a folder, by its path below `path` (empty for a file)."""
        if path.is_file():
            yield "", self._file(path)
            return
        found = [(str(file.relative_to(path)), self._file(file)) for file in self.files(path)]
        if len(found) > MOST_FILES:
            yield "", meaning.sha256("".join(f"{name} {held}\n" for name, held in found))
        else:
            yield from found

    def files(self, folder: Path) -> list[Path]:
        """Return the files below a folder, sorted."""
        found = (file for file in folder.rglob("*") if file.is_file() and not _NOT_READ.intersection(file.parts))
        return sorted(file for file in found if not any(file.is_relative_to(one) for one in self._left_out))

    def save(self) -> None:
        """Write the cache for the next run."""
        fresh = self._cache.with_name(self._cache.name + ".new")
        fresh.write_text(json.dumps(self._new, indent=0), encoding="utf-8")
        fresh.replace(self._cache)

    def _file(self, path: Path) -> str:
        about = path.stat()
        as_text = path.suffix in (".py", ".yaml", ".yml") and about.st_size <= READ_AS_TEXT
        key, mark = f"{'text' if as_text else 'bytes'}:{path}", [about.st_size, about.st_mtime_ns, about.st_ino]
        held = self._new.get(key) or self._old.get(key)
        if not held or held[:3] != mark:
            held = [*mark, _text(path) if as_text else _content(path, about.st_size)]
        self._new[key] = held
        return str(held[3])


def imported(file: Path) -> list[Path]:
    """Return the code beside a Python program that it imports, and what that imports from beside it, sorted.

    Where a folder is imported from, all code in it counts.
    """
    found: set[Path] = set()
    waiting = [file]
    while waiting:
        at = waiting.pop()
        for name in _imports(at):
            module, package = at.with_name(f"{name}.py"), at.with_name(name)
            new = set(package.rglob("*.py")) if package.is_dir() else {module} if module.is_file() else set[Path]()
            waiting += new - found if not package.is_dir() else []
            found |= new
    return sorted(found - {file})


def _imports(file: Path) -> set[str]:
    """Return the first words of the modules that a Python program imports; none where it cannot be read as one."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, RecursionError):
        return set()
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level <= 1:
            named = [node.module] if node.module else [alias.name for alias in node.names]
            found |= {name.partition(".")[0] for name in named}
    return found


def _text(path: Path) -> str:
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    if path.suffix == ".py":
        return meaning.sha256(meaning.code(text))
    said = meaning.yaml(path.name, text)
    return meaning.sha256(text if said is None else json.dumps(said, sort_keys=True, default=str))


def _content(path: Path, size: int) -> str:
    with path.open("rb") as stream:
        if size <= HASHED_WHOLE:
            return hashlib.file_digest(stream, "sha256").hexdigest()
        digest = hashlib.sha256(str(size).encode())
        for index in range(SAMPLES):
            stream.seek((size - SAMPLE_BYTES) * index // (SAMPLES - 1))
            digest.update(stream.read(SAMPLE_BYTES))
        return digest.hexdigest()
