"""What the RECORD of each installed package says of its files, and the hash of RECORD itself."""

from __future__ import annotations

import csv
import hashlib
import os
import re
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import NamedTuple


class Recorded(NamedTuple):
    """A file of a package as RECORD has it; `digest` is base64 without padding, empty where the file may change."""

    path: str  # below site-packages
    algorithm: str
    digest: str
    size: int | None


def canonical(name: str) -> str:
    """Return the normalized name of a package, as indexes spell it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def packages(folder: Path) -> Iterator[tuple[str, Distribution]]:
    """Yield the packages of an environment by their normalized names."""
    for package in distributions(path=[os.fspath(place) for place in folder.glob("lib/python3*/site-packages")]):
        yield canonical(package.metadata["Name"] or "?"), package


def records(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each package's RECORD, by the package; one without a RECORD has an empty text."""
    return {
        name: hashlib.sha256(text.encode()).hexdigest() if (text := package.read_text("RECORD")) else ""
        for name, package in sorted(packages(folder), key=lambda one: one[0])
    }


def recorded(package: Distribution) -> list[Recorded]:
    """Return the files of a package. Raises ValueError where there is no RECORD, or one that cannot be read.

    `Distribution.files` leaves out what is missing, from Python 3.12 on.
    """
    text = package.read_text("RECORD")
    if not text:
        raise ValueError("no RECORD")
    found: list[Recorded] = []
    for row in csv.reader(text.splitlines()):
        path, digest, size = row
        algorithm, _, value = digest.partition("=")
        found.append(Recorded(path, algorithm, value, int(size) if size else None))
    return found


__all__ = ["Recorded", "canonical", "packages", "recorded", "records"]
