"""The programs in `scripts/`, which are emitted as they are."""

from functools import cache
from pathlib import Path


@cache
def program(name: str) -> str:
    """Return the text of a program, read once."""
    return (Path(__file__).parent / "scripts" / name).read_text(encoding="utf-8")
