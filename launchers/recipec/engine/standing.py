"""How each stage of a run stands: done, stale and because of what, running, failed, or not run yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from recipec.engine.build import Build
from recipec.engine.fingerprint import Key
from recipec.engine.meaning import is_secret
from recipec.engine.record import RunFolder, StageHistory, history_of
from recipec.plan import Stage
from recipec.processes import alive, group_members
from recipec.secrets import hidden

State = Literal["done", "stale", "running", "failed", "interrupted", "never run", "blocked"]
What = Literal["tool", "value", "file", "pin", "results", "record", "parent"]
SHOWN_HASH = 12  # characters of one


class Reason(NamedTuple):
    """One thing that is not as it was when a stage ran; `old` and `new` are None where there was, or is, nothing."""

    what: What
    name: str
    old: str | None = None
    new: str | None = None

    def text(self) -> str:
        """Return it as words, in which no secret can be read."""
        match self.what:
            case "results":
                return f"its results in {self.name} are gone"
            case "record":
                return "what it was made from was not kept: another version of recipec ran it"
            case "parent":
                return f"{self.name} {self.new}"
            case _:
                kind = {"tool": "", "value": "", "file": "file ", "pin": "package "}[self.what]
                return hidden(f"{kind}{self.name}: {_shown(self.old)} → {_shown(self.new)}")

    def as_json(self) -> dict[str, str | None]:
        """Return the machine-readable form."""
        changed = self.what in ("tool", "value", "file", "pin")
        old, new = (_shown(one) if one is not None and changed else one for one in (self.old, self.new))
        return {"what": self.what, "name": hidden(self.name), "old": old, "new": new, "text": self.text()}


class Standing(NamedTuple):
    """How a stage stands. `reasons` say what is not as it was when it last ran; `blocked_by` are stages it waits for.

    `outdated`: what is in its folder was made from something else, so that it cannot go on from there.
    """

    stage: Stage[Any]
    state: State
    history: StageHistory
    there: bool
    outdated: bool
    reasons: tuple[Reason, ...]
    blocked_by: tuple[str, ...]

    @property
    def done(self) -> bool:
        """Whether it is complete and unchanged."""
        return self.state == "done"

    def why(self) -> str:
        """Return in one line why it is not done."""
        if self.state == "failed":
            return f"failed: {self.history.last.get('reason') or 'no reason was recorded'}"
        if self.state == "blocked":
            return f"never run; it waits for {', '.join(self.blocked_by)}"
        if self.state in ("stale", "interrupted") and self.reasons:
            return f"{self.state}: {self.reasons[0].text()}"
        return {"done": "complete and unchanged"}.get(self.state, self.state)


def standings(
    build: Build, folder: RunFolder, lines: list[dict[str, Any]], keys: Mapping[str, Key]
) -> dict[str, Standing]:
    """Return how each stage stands, by name, from the record of a run and what its results would be made from now."""
    found: dict[str, Standing] = {}
    for stage in build.stages:
        found[stage.name] = _standing(folder, lines, stage, keys[stage.name], found)
    return found


def _standing(
    folder: RunFolder, lines: list[dict[str, Any]], stage: Stage[Any], key: Key, before: Mapping[str, Standing]
) -> Standing:
    history = history_of(lines, stage.name)
    output = Path(stage.output)
    there = output.is_dir() and any(output.iterdir())
    same = history.fingerprint == key.hash
    blocked = tuple(name for name in stage.after if not before[name].done)
    again = tuple(name for name in stage.after if before[name].history.finished_at > history.started_at)
    state = _state(lines, history)
    if state == "never run":
        reasons: tuple[Reason, ...] = ()
        state = "blocked" if blocked else state
    else:
        gone = [Reason("results", stage.output)] if history.state == "finished" and not there else []
        changed: Iterator[Reason] = iter(()) if same else _changed(Key.read(folder.key(stage.name)), key, history)
        reasons = (*gone, *changed, *_parents(key, before, again))
        if state == "done" and (reasons or not same):
            state = "stale"
    return Standing(stage, state, history, there, not same or bool(again), reasons, blocked)


def _state(lines: list[dict[str, Any]], history: StageHistory) -> State:
    match history.state:
        case "finished":
            return "done"
        case "failed":
            return "failed"
        case "started":
            return "running" if lives(lines, history) else "interrupted"
        case "interrupted":
            return "interrupted"
        case _:
            return "never run"


def lives(lines: list[dict[str, Any]], history: StageHistory) -> bool:
    """Return whether a stage that was started still runs: its own processes, or those of the run that started it."""
    started = [row for row in lines[: history.started_at + 1] if row.get("event") == "run-started"]
    last = history.last
    return (bool(started) and alive(int(started[-1]["pid"]), started[-1].get("pid_started"))) or bool(
        "pid" in last and group_members(int(last["pid"]), last.get("pid_started"))
    )


def _changed(old: Key | None, new: Key, history: StageHistory) -> Iterator[Reason]:
    """Yield what differs between the keys of a stage, by name: its tool first, then what a person is likely to have changed."""
    if old is None or old.hash != history.fingerprint:
        yield Reason("record", "")
        return
    parts: tuple[tuple[What, dict[str, str], dict[str, str]], ...] = (
        ("tool", old.system, new.system),
        ("value", old.values, new.values),
        ("file", old.files, new.files),
        ("pin", old.pins, new.pins),
    )
    for what, was, now in parts:
        for name in dict.fromkeys((*now, *was)):  # as the files have them
            if was.get(name) != now.get(name):
                yield Reason(what, name, was.get(name), now.get(name))
    for name in new.parents:
        if name not in old.parents:
            yield Reason("parent", name, new="is new among what it waits for")
    for name in old.parents:
        if name not in new.parents:
            yield Reason("parent", name, new="is not what it waits for any more")
    if old.parents.keys() == new.parents.keys() and list(old.parents) != list(new.parents):
        yield Reason("parent", " and ".join(new.parents), new="come in another order")


def _parents(key: Key, before: Mapping[str, Standing], again: tuple[str, ...]) -> Iterator[Reason]:
    """Yield why the stages that one waits for make it stale."""
    for name in key.parents:
        parent = before[name]
        if not parent.done:
            yield Reason("parent", name, new=f"is {parent.state}" if parent.state != "never run" else "has not run")
        elif name in again:
            yield Reason("parent", name, new="has run again since")


def _shown(value: str | None) -> str:
    if value is None:
        return "(nothing)"
    if is_secret(value):
        return "(a secret)"
    digest = value.removeprefix("sha256:")
    if len(digest) == 64 and all(char in "0123456789abcdef" for char in digest):
        return f"sha256:{digest[:SHOWN_HASH]}…"
    return hidden(value)


__all__ = ["Reason", "Standing", "standings"]
