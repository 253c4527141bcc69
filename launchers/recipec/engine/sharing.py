"""Results that variants of a sweep share: a stage whose key is the same is made once, and the other variants take it.

Taken results are hard links: each variant's folder is whole, costs no room, and outlives the one that it was taken from.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from recipec.engine.checkpoints import free_name
from recipec.engine.decision import Decision
from recipec.engine.fingerprint import Key
from recipec.engine.record import Record, RunFolder, history_of
from recipec.plan import Stage


class Made(NamedTuple):
    """A finished stage of another run: its folder, and where its results lie."""

    run: RunFolder
    stage: str

    @property
    def output(self) -> Path:
        """The folder with its results."""
        return self.run.path / self.stage


class Siblings:
    """The runs of a sweep, and what they have made, by the hashes of keys: before, and in this session.

    `failed` are the runs in which a stage has failed in this session.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = [RunFolder(folder) for folder in folders]
        self._before: dict[str, Made] | None = None
        self.session: dict[str, Made] = {}
        self.failed: dict[str, str] = {}

    @property
    def before(self) -> dict[str, Made]:
        """What is finished on disk; read once, for only this session adds to it."""
        if self._before is None:
            found = dict[str, Made]()  # put in its place whole: several threads may ask
            for folder in self._folders:
                lines = Record(folder.record).read()
                for stage in dict.fromkeys(row["stage"] for row in lines if "stage" in row):
                    history = history_of(lines, stage)
                    if history.state == "finished" and history.fingerprint is not None:
                        found.setdefault(history.fingerprint, Made(folder, stage))
            self._before = found
        return self._before

    def sharing(self, decisions: Iterable[Decision], keys: Mapping[str, Key], *, anew: bool) -> Sharing:
        """Return what the stages of one run can take; where it runs `anew`, only what this session has made."""
        return Sharing(self, {one.stage.name: keys[one.stage.name].hash for one in decisions}, anew)


class Sharing(NamedTuple):
    """What the stages of one run can take from its siblings, by the hashes of their keys."""

    siblings: Siblings
    hashes: dict[str, str]
    anew: bool

    def can_take(self, stage: Stage[Any]) -> bool:
        """Return whether a sibling has made a stage's results from the same."""
        made = self._found(stage)
        return made is not None and made.output.absolute() != Path(stage.output).absolute()

    def take(self, folder: RunFolder, stage: Stage[Any]) -> str | None:
        """Link a sibling's results of a stage into a run, with its events and log; return where from, None where none has any."""
        made, output = self._found(stage), Path(stage.output)
        if made is None or not self.can_take(stage):
            return None
        if output.exists():  # of an attempt that did not end
            output.rename(free_name(output, "previous"))
        _link(made.output, output)
        for of in (RunFolder.events, RunFolder.log):
            _take_file(of, made, folder, stage.name)
        self.made(folder, stage)
        return str(made.output)

    def failed(self, folder: RunFolder, stage: Stage[Any]) -> None:
        """Remember that a stage failed in a run: what is made from the same would fail too."""
        self.siblings.failed.setdefault(self.hashes[stage.name], str(folder.path))

    def failed_in(self, stage: Stage[Any]) -> str | None:
        """Return the run in which a stage that is made from the same has failed in this session."""
        return self.siblings.failed.get(self.hashes[stage.name])

    def made(self, folder: RunFolder, stage: Stage[Any]) -> None:
        """Remember that a run has a stage's results."""
        self.siblings.session.setdefault(self.hashes[stage.name], Made(folder, stage.name))

    def _found(self, stage: Stage[Any]) -> Made | None:
        held = self.hashes[stage.name]
        made = self.siblings.session.get(held) or (None if self.anew else self.siblings.before.get(held))
        there = made is not None and made.output.is_dir() and any(made.output.iterdir())
        return made if there else None


def _link(source: Path, target: Path) -> None:
    """Make a folder of links to the files of another, whole or not at all."""
    fresh = target.with_name(f".{target.name}.taking")
    shutil.rmtree(fresh, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, fresh, symlinks=True, copy_function=_link_file)
    fresh.rename(target)


def _link_file(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)


def _take_file(of: Callable[[RunFolder, str], Path], made: Made, folder: RunFolder, stage: str) -> None:
    source, target = of(made.run, made.stage), of(folder, stage)
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)  # a later attempt adds to it


__all__ = ["Made", "Sharing", "Siblings"]
