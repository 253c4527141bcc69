"""The emitted tree on disk: written whole or not at all, compared, and never over somebody else's files."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import stat
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from recipec.diagnostics import Finding, RecipeError
from recipec.traced import CURRENT, MARK

MANIFEST = "plan.json"
BESIDE = {"dvc.lock": "dvc.yaml"}  # what another program writes beside a file of ours: it stays
COMPILED = re.compile(
    r"(?:.*/)?__pycache__/(?P<module>\w+)\.[\w.-]+\.pyc"
)  # what Python leaves beside a module it imported
LARGEST = 64 << 20  # bytes of a file of the user that a compile hashes; a run hashes all of them


def digest(text: str) -> str:
    """Return the SHA-256 of a text, in hexadecimal; while a trace is made, what stands for it."""
    if CURRENT and MARK in text:
        return CURRENT[-1].digest(text)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def file_digest(path: str) -> str | None:
    """Return the SHA-256 of a file of the user; None where it is not here, no file, or larger than LARGEST."""
    try:
        about = os.stat(path)  # noqa: PTH116  # as a user wrote it
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(about.st_mode) or about.st_size > LARGEST:
        return None
    return _content_digest(path, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=256)
def _content_digest(path: str, _changed: int, _size: int) -> str | None:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return None


def existing(folder: Path) -> dict[str, str]:
    """Return the text of every file below `folder`, by its path there, but for those that stay; empty when there is no such folder.

    What is no file (a link to nowhere or to a folder, a pipe) stands there too, as a text that no file of ours has.
    """
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
        name = path.relative_to(folder).as_posix()
        if (name in BESIDE and (folder / BESIDE[name]).is_file()) or _is_compiled(path, name):
            continue
        if path.is_file():
            found[name] = path.read_text(encoding="utf-8", errors="surrogateescape")
        elif path.is_symlink() or not path.is_dir():
            found[name] = "\0"
    return found


def _is_compiled(path: Path, name: str) -> bool:
    """Return whether a file is what Python made of a module that stands in the folder above it: nothing is lost with it."""
    found = COMPILED.fullmatch(name)
    return found is not None and (path.parent.parent / f"{found['module']}.py").is_file()


def foreign(folder: Path, old: Mapping[str, str]) -> list[Finding]:
    """Return a finding for each file below `folder` that this program did not write, or that was edited since."""
    if folder.exists() and not folder.is_dir():
        return [Finding("O001", "a file has the name of the output folder", help="move it away", file=str(folder))]
    if not old:
        return []
    try:
        written = {name: entry["sha256"] for name, entry in json.loads(old[MANIFEST])["files"].items()}
    except (KeyError, ValueError, TypeError, AttributeError):
        message = "the folder holds files that recipec did not write"
        return [Finding("O002", message, help="choose another --out, or move them away", file=str(folder))]
    findings: list[Finding] = []
    for name, text in old.items():
        if name == MANIFEST or written.get(name) == digest(text):
            continue
        edited = name in written
        what = "was edited by hand" if edited else "was not written by recipec"
        advice = "bring the change into the recipe (overrides), then delete this file" if edited else "move it away"
        findings.append(Finding("O003", f"{what}; it would be lost", help=advice, file=str(folder / name)))
    return findings


def write(folder: Path, files: Mapping[str, str]) -> bool:
    """Make `folder` hold exactly `files`, and what stays beside them; return whether anything changed.

    All at once: the tree is written beside and swapped in. Raises RecipeError, touching nothing, where the folder
    holds files of somebody else, or cannot be written.
    """
    try:
        if folder.is_symlink():  # what it points at is written, and the link stays
            return write(folder.resolve(), files)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder.parent) as alone:
            if alone:
                _sweep(folder)
            old = existing(folder)
            if findings := foreign(folder, old):
                raise RecipeError(findings)
            if old == dict(files):
                return False
            fresh = folder.parent / f".{folder.name}.new-{os.getpid()}"
            try:
                _fill(fresh, files)
                for name, of in BESIDE.items():
                    if of in files and (folder / name).is_file():
                        (fresh / name).write_bytes((folder / name).read_bytes())
                _swap(fresh, folder)
            finally:
                _remove(fresh)
    except (OSError, RuntimeError) as error:  # RuntimeError: a link that points at itself
        reason = error.strerror if isinstance(error, OSError) else "the link points at itself"
        advice = "check the path, its permissions, and the space left"
        raise RecipeError([Finding("O004", f"cannot be written: {reason}", help=advice, file=str(folder))]) from None
    return True


@contextmanager
def _alone(parent: Path) -> Generator[bool]:
    """Wait until no other compile writes below `parent`; yield whether this file system could promise it.

    The system drops the lock when the process that holds it dies, however it dies.
    """
    handle = os.open(parent, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            alone = True
        except OSError:  # some network file systems have no locks on folders
            alone = False
        yield alone
    finally:
        os.close(handle)


def _sweep(folder: Path) -> None:
    """Remove what compiles that were killed have left beside `folder`."""
    litter = re.compile(re.escape(f".{folder.name}.") + r"(new|old)-[0-9]+")
    for path in folder.parent.iterdir():
        if litter.fullmatch(path.name) and not path.is_symlink():
            _remove(path)


def _remove(folder: Path) -> None:
    """Remove a folder as far as that is possible; nothing where there is none."""
    if folder.exists():
        from shutil import rmtree  # brings three compressors, and mostly nothing is to be removed

        rmtree(folder, ignore_errors=True)


def replace(path: Path, text: str) -> None:
    """Put a text in the place of a file in one step, with the file's permissions. Raises RecipeError where it cannot."""
    fresh = path.with_name(f".{path.name}.new-{os.getpid()}")
    try:
        fresh.write_bytes(text.encode("utf-8"))
        fresh.chmod(stat.S_IMODE(path.stat().st_mode))
        fresh.replace(path)
    except OSError as error:
        message = f"cannot be written: {error.strerror}"
        raise RecipeError(
            [Finding("O004", message, help="check the path and its permissions", file=str(path))]
        ) from None
    finally:
        fresh.unlink(missing_ok=True)


def _fill(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8"))
        if name.endswith(".sh"):
            path.chmod(0o755)


def _swap(fresh: Path, folder: Path) -> None:
    """Put `fresh` in the place of `folder` in one step of the file system, where it has such a step."""
    if not folder.exists():
        try:
            fresh.rename(folder)
            return
        except OSError:
            if not folder.exists():
                raise
            # another compile was faster: take its place
    import ctypes
    import sys

    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        exchange, here = 2, -100  # RENAME_EXCHANGE, AT_FDCWD of linux/fs.h and fcntl.h
        if libc.renameat2(here, os.fsencode(fresh), here, os.fsencode(folder), exchange) == 0:
            return
    aside = folder.parent / f".{folder.name}.old-{os.getpid()}"
    folder.rename(aside)
    fresh.rename(folder)
    from shutil import rmtree

    rmtree(aside)


def difference(folder: Path, files: Mapping[str, str]) -> str:
    """Return a unified diff from what is on disk to `files`; empty when they agree. Raises RecipeError."""
    from difflib import unified_diff

    try:
        old = existing(folder)
    except OSError as error:
        advice = "check the permissions of what is in it"
        raise RecipeError(
            [Finding("O004", f"cannot be read: {error.strerror}", help=advice, file=str(folder))]
        ) from None
    lines: list[str] = []
    for name in sorted({*old, *files}):
        before, after = old.get(name, ""), files.get(name, "")
        if before != after or (name in old) != (name in files):
            title = f"{folder.name}/{name}"
            lines += unified_diff(
                before.split("\n"), after.split("\n"), f"on disk: {title}", f"compiled: {title}", lineterm=""
            )
    return "\n".join(lines)
