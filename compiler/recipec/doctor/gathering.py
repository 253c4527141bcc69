"""Which files are looked at: those that were given, those in a folder that was, and those that they name."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from recipec.doctor.contract_check import File
from recipec.doctor.recognise import SCRIPTS, TRAINERS
from recipec.doctor.shell import Script, Word
from recipec.source import Source, Span
from recipec.yaml_reader import read_utf8

INPUT = "-"
STANDARD_INPUT = "<stdin>"
CONFIGURATIONS = (".yaml", ".yml", ".json", ".j2", ".jinja", ".jinja2")
LARGEST = 1_000_000  # bytes of a file in a folder that may be a configuration
SKIPPED = {"node_modules", "__pycache__", "site-packages", "venv", "wandb"}


class Given(NamedTuple):
    """A file to look at: its name, and whether a person gave it, it lies in a folder, or another file names it (where)."""

    name: str
    folder: bool = False
    by: Span | None = None
    tool: str = ""  # what it must be, where the name stands


def given(names: Sequence[str]) -> list[Given]:
    """Return the files behind some names: a folder stands for the configurations and scripts below it."""
    found: dict[str, Given] = {}
    for name in names:
        if name != INPUT and Path(name).is_dir():
            for one in _below(name):
                found.setdefault(one, Given(one, folder=True))
        else:
            shown = STANDARD_INPUT if name == INPUT else name
            found[shown] = Given(shown)
    return list(found.values())


def _below(folder: str) -> Iterator[str]:
    for at, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in SKIPPED)
        for name in sorted(files):
            path = Path(at) / name
            if name.endswith((*CONFIGURATIONS, *SCRIPTS)) and path.is_file() and path.stat().st_size <= LARGEST:
                yield str(path)


def read_source(name: str) -> Source:
    """Return the text of a file, or of standard input. Raises RecipeError."""
    return Source(name, sys.stdin.read()) if name == STANDARD_INPUT else Source(name, read_utf8(name))


def names_in(file: File) -> Iterator[Given]:
    """Yield the files that a configuration names and that are there."""
    keys = {"accelerate": (("deepspeed_config.deepspeed_config_file", "deepspeed"),)}.get(file.guess.tool, ())
    if file.guess.tool in TRAINERS:
        keys = (
            ("deepspeed", "deepspeed"),
            *((("accelerate_config", "accelerate"),) if file.guess.tool == "trl" else ()),
        )
    for key, tool in keys:
        said = file.get(key)
        if isinstance(said, str) and (path := resolved(said, file.name)):
            yield Given(path, by=file.span(key, value=True), tool=tool)


def names_in_script(script: Script) -> Iterator[Given]:
    """Yield the files that a script names and that are there: configurations, and other scripts."""
    own = script.source.name
    for launch in script.launches:
        for option, tool in (("config_file", "accelerate"), ("deepspeed_config_file", "deepspeed")):
            word = launch.options.get(option)
            if word and word.known and (path := resolved(word.text, own)):
                yield Given(path, by=word.span, tool=tool)
        before = ""
        for word in launch.program:
            text = word.text.rpartition("=")[2]
            if word.known and re.search(r"\.(?:ya?ml|json)$", text) and (path := resolved(text, own)):
                tool = "deepspeed" if "deepspeed" in before + word.text.partition("=")[0] else ""
                yield Given(path, by=word.span, tool=tool)
            before = word.text
    for word in scripts_named(script):
        if path := resolved(word.text, own):
            yield Given(path, by=word.span)


def scripts_named(script: Script) -> Iterator[Word]:
    """Yield the words of a script that name another script which is there."""
    for words in script.commands:
        for word in words:
            if word.known and word.text.endswith(SCRIPTS) and resolved(word.text, script.source.name):
                yield word


def resolved(name: str, beside: str) -> str | None:
    """Return the path of a file that another one names: from that one's folder, or from where one stands."""
    folder = Path(beside).parent if beside != STANDARD_INPUT else Path()
    for path in dict.fromkeys((folder / name, Path(name))):
        try:
            if path.is_file():
                return os.path.relpath(path) if not Path(beside).is_absolute() and not path.is_absolute() else str(path)
        except (OSError, ValueError):  # a name that no file can have
            return None
    return None
