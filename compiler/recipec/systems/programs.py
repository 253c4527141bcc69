"""The programs in `scripts/`, which are emitted as they are, with what some of them share in its place."""

from functools import cache
from pathlib import Path


@cache
def program(name: str) -> str:
    """Return the text of a program, read once."""
    return (Path(__file__).parent / "scripts" / name).read_text(encoding="utf-8")


TURNS = "from recipec.systems.scripts.turns import check_tools, listed_tools, pair_of, standard_turns\n"


@cache
def turns() -> str:
    """Return what programs share that read conversations, without its head."""
    return program("turns.py").partition("import json\n")[2].strip("\n") + "\n"


def reading_turns(name: str) -> str:
    """Return the text of a program that imports what is shared: it stands where the import was."""
    before, line, after = program(name).partition(TURNS)
    return f"{before}{turns()}\n{after}" if line else before
