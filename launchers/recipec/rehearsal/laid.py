"""What is laid over a recipe for a rehearsal, and what is said of it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from recipec.course import Course, Part
from recipec.rehearsal.rows import Taken
from recipec.source import Path as Steps
from recipec.source import Plain, dotted, find, plain, split_path


class Swap(NamedTuple):
    """One swap: `was` and `now` are what stands at a place of the recipe, or of what is around it."""

    at: str
    was: Plain
    now: Plain
    why: str


class Not(NamedTuple):
    """What cannot be rehearsed, and why."""

    what: str
    why: str


class Laid:
    """The recipe's tree, and what is laid over it."""

    def __init__(self, course: Course, run: Path) -> None:
        self.course, self.tree, self.run = course, course.tree, run
        self.swaps: list[Swap] = []
        self.cannot: list[Not] = []
        self.settings: dict[str, Plain] = {}
        self.over: dict[Steps, bool] = {}  # a value that stages inherit → whether it is laid over for all of them
        self.rows: dict[str, Taken] = {}
        self.sources: dict[str, str] = {}
        self.task_folders: list[str] = []
        self.tasks: dict[str, str] = {}
        self.asked = False  # something is evaluated as a server answers for it
        self.files: dict[str, str] = {}
        self.judge: int | None = None

    def put(self, part: Part, path: str, value: Plain, why: str) -> None:
        """Lay a value over what a stage says, or inherits, at a path; None: it says nothing there."""
        steps = split_path(path)
        own = (*part.path, *steps) if path.partition(".")[0] != "overrides" else steps
        was = next((node for at in (own, steps) if (node := find(self.tree, at)) is not None), None)
        before = plain(was) if was is not None else None
        if was is not None and own != steps and find(self.tree, own) is None:
            self.over[steps] = self.over.get(steps, True) and before != value
        if before == value or (value is None and was is None):
            return
        if value is None:
            for at in dict.fromkeys((own, steps)):
                if find(self.tree, at) is not None:
                    self._said(at, before, None, why)
        else:
            self._said(own, before, value, why)

    def _said(self, at: Steps, was: Plain, now: Plain, why: str) -> None:
        name = dotted(at)
        if name not in self.settings:
            self.settings[name] = now
            self.swaps.append(Swap(name, was, now, why))

    def place(self, part: Part, *steps: str | int) -> Steps:
        """Return where something that a stage has is written: in the stage, or in the recipe that it is taken from."""
        own = (*part.path, *steps)
        return own if find(self.tree, own) is not None else steps

    def at(self, steps: Steps, value: Plain, why: str) -> None:
        """Lay a value at a place of the whole recipe."""
        node = find(self.tree, steps)
        was = plain(node) if node is not None else None
        if was != value:
            self._said(steps, was, value, why)
