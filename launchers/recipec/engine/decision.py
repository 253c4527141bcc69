"""What a run does with each stage, decided before anything is started: from how it stands, and which stages were chosen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from recipec.diagnostics import Finding, RecipeError
from recipec.engine.build import Build
from recipec.engine.checkpoints import checkpoints, free_name, last_complete
from recipec.engine.record import Layout, StageHistory
from recipec.engine.selection import Chosen, Graph
from recipec.engine.standing import Standing
from recipec.plan import Stage
from recipec.plural import counted

MOST = 5  # changes that a refusal names


class Decision(NamedTuple):
    """What a run does with a stage: skip it, leave it alone, run it, or `renew` it: move its old output aside, then run it.

    One that is `wait`ed for runs on another machine, or needs what is made there.

    `anew`: that was asked for, whatever it has made before. `despite` are the changes under which it goes on from its checkpoints, because that was asked for.
    """

    stage: Stage[Any]
    action: Literal["skip", "leave", "wait", "run", "renew"]
    history: StageHistory
    why: str = ""
    despite: tuple[str, ...] = ()
    anew: bool = False

    @property
    def runs(self) -> bool:
        """Whether the stage is started."""
        return self.action in ("run", "renew")


def graph_of(build: Build) -> Graph:
    """Return the graph that stages are selected from."""
    stages = build.stages
    return Graph({stage.name: stage.kind for stage in stages}, {stage.name: stage.after for stage in stages})


def decide(
    build: Build,
    standings: Mapping[str, Standing],
    chosen: Chosen,
    *,
    fresh: bool,
    resume_anyway: bool = False,
    elsewhere: Mapping[str, str] = {},  # it is not written to
) -> list[Decision]:
    """Return what to do with each stage. `elsewhere` says of the stages that run on another machine why.

    Raises RecipeError when results of different recipes would get mixed, unless `resume_anyway` says that trainings go on
    from their checkpoints, or when a chosen stage would run on what is missing or stale.
    """
    found: list[Decision] = []
    running: set[str] = set()
    waited: set[str] = set()
    wrong: list[Finding] = []
    for standing in standings.values():
        name = standing.stage.name
        if name not in chosen.selected:
            found.append(Decision(standing.stage, "leave", standing.history, f"not selected; {standing.why()}"))
            continue
        needed = [one for one in standing.blocked_by if one not in chosen.selected]
        anew = [one for one in standing.stage.after if one in running]
        decision = _decided(standing, anew, forced=name in chosen.forced, fresh=fresh)
        apart = [one for one in standing.stage.after if one in waited]
        if decision.runs and (name in elsewhere or apart):
            waited.add(name)
            why = elsewhere.get(name) or f"it waits for {', '.join(apart)}, which another machine runs"
            found.append(Decision(standing.stage, "wait", standing.history, why))
            continue
        if decision.runs:
            running.add(name)
            wrong += [_not_ready(build, standing, standings[one]) for one in needed]
            asked = fresh or name in chosen.forced
            if decision.action == "renew" and not asked and checkpoints(Path(standing.stage.output)):
                changes = _changes(standing)
                impossible = _cannot_load(standing)
                if resume_anyway and not impossible and last_complete(Path(standing.stage.output)):
                    decision = decision._replace(
                        action="run", why=f"--resume-anyway, although this changed: {changes[0]}", despite=changes
                    )
                else:
                    wrong.append(_mixed(build, standing, changes, impossible))
        found.append(decision)
    if wrong:
        raise RecipeError(wrong)
    if fresh and not running and not waited:
        return [_anew(one, elsewhere.get(one.stage.name)) if one.action == "skip" else one for one in found]
    return found


def _anew(decision: Decision, elsewhere: str | None) -> Decision:
    """Return what becomes of a complete stage where everything is complete, and all is to start over."""
    return decision._replace(action="wait" if elsewhere else "renew", why=elsewhere or "--fresh", anew=True)


def _decided(standing: Standing, anew: list[str], *, forced: bool, fresh: bool) -> Decision:
    """Return what to do with a chosen stage; `anew` are those that it waits for and that run before it."""
    stage, history = standing.stage, standing.history
    if standing.done and not anew and not forced:
        return Decision(stage, "skip", history, standing.why())
    if forced:
        why = "it is to run anew"
    elif fresh:
        why = "--fresh"
    elif standing.done:
        why = f"stale: {anew[0]} runs again"
    else:
        why = "never run" if standing.state == "blocked" else standing.why()
    old = forced or fresh or standing.outdated or bool(anew)
    return Decision(stage, "renew" if standing.there and old else "run", history, why, anew=forced or fresh)


def _changes(standing: Standing) -> tuple[str, ...]:
    """Return in words what is not as it was when the checkpoints of a stage were written."""
    stage, reasons = standing.stage, tuple(one.text() for one in standing.reasons)
    if standing.history.fingerprint is None:
        return (f"no recorded run of {stage.name} wrote them",)
    return reasons or (f"{', '.join(stage.after)} has run again since",)


def _cannot_load(standing: Standing) -> str | None:
    """Return why no tool can load the checkpoints of a stage into the training as it is now; None where one can."""
    old, new = standing.history.layout, Layout.of(standing.stage)
    if old is None or new is None or old == new:
        return None
    plain = {"single", "ddp"}  # each process has the whole state
    if old.strategy != new.strategy and not {old.strategy, new.strategy} <= plain:
        return f"{old.strategy} wrote the optimizer's state, and {new.strategy} cannot load it"
    if old.strategy.startswith("zero"):
        split = f"{old.strategy} split the optimizer's state over {counted(old.world, 'process')}"
        return f"{split}, and loads it with as many alone"
    return None


def _mixed(build: Build, standing: Standing, changes: tuple[str, ...], impossible: str | None) -> Finding:
    """Return the refusal to go on from checkpoints that were made from something else."""
    name, place = standing.stage.name, standing.stage.output
    shown = "; ".join(changes[:MOST])
    left = f"; and {len(changes) - MOST} more: `recipe why {name}` has all" if len(changes) > MOST else ""
    message = f"the checkpoints in {place} were made from something else ({shown}{left})"
    anew = f"pass --fresh to move them to {free_name(Path(place), 'previous')} and start {name} over"
    if impossible:
        advice = f"{anew}; going on from them is not possible: {impossible}"
    elif last_complete(Path(place)) is None:
        advice = f"{anew}; none of them is complete"
    else:
        advice = f"{anew}, or --resume-anyway to go on from {last_complete(Path(place))} as things are now"
    return Finding("E010", message, help=advice, file=str(build.folder))


def _not_ready(build: Build, standing: Standing, parent: Standing) -> Finding:
    """Return the finding about a chosen stage that would run on what is missing or stale."""
    name = standing.stage.name
    message = f"{name} starts from {parent.stage.name}, which is not selected and not complete ({parent.why()})"
    span = build.span(build.stage_at(name))
    advice = f"pass --select +{name} to run what it needs too, or run {parent.stage.name} first"
    return Finding("E025", message, span, help=advice, file=None if span else str(build.folder))


__all__ = ["Decision", "decide", "graph_of"]
