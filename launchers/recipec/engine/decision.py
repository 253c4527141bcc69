"""What a run does with each stage, decided before anything is started: from how it stands, and which stages were chosen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from recipec.diagnostics import Finding, RecipeError
from recipec.engine.build import Build
from recipec.engine.checkpoints import checkpoints, free_name
from recipec.engine.record import StageHistory
from recipec.engine.selection import Chosen, Graph
from recipec.engine.standing import Standing
from recipec.plan import Stage


class Decision(NamedTuple):
    """What a run does with a stage: skip it, leave it alone, run it, or `renew` it: move its old output aside, then run it."""

    stage: Stage[Any]
    action: Literal["skip", "leave", "run", "renew"]
    history: StageHistory
    why: str = ""

    @property
    def runs(self) -> bool:
        """Whether the stage is started."""
        return self.action in ("run", "renew")


def graph_of(build: Build) -> Graph:
    """Return the graph that stages are selected from."""
    stages = build.stages
    return Graph({stage.name: stage.kind for stage in stages}, {stage.name: stage.after for stage in stages})


def decide(build: Build, standings: Mapping[str, Standing], chosen: Chosen, *, fresh: bool) -> list[Decision]:
    """Return what to do with each stage.

    Raises RecipeError when results of different recipes would get mixed, or a chosen stage would run on what is missing or
    stale.
    """
    found: list[Decision] = []
    running: set[str] = set()
    wrong: list[Finding] = []
    for standing in standings.values():
        name = standing.stage.name
        if name not in chosen.selected:
            found.append(Decision(standing.stage, "leave", standing.history, f"not selected; {standing.why()}"))
            continue
        needed = [one for one in standing.blocked_by if one not in chosen.selected]
        anew = [one for one in standing.stage.after if one in running]
        decision = _decided(standing, anew, forced=name in chosen.forced, fresh=fresh)
        if decision.runs:
            running.add(name)
            wrong += [_not_ready(build, standing, standings[one]) for one in needed]
            asked = fresh or name in chosen.forced
            if decision.action == "renew" and not asked and checkpoints(Path(standing.stage.output)):
                wrong.append(_mixed(build, standing))
        found.append(decision)
    if wrong:
        raise RecipeError(wrong)
    if fresh and not running:
        return [one._replace(action="renew", why="--fresh") if one.action == "skip" else one for one in found]
    return found


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
    return Decision(stage, "renew" if standing.there and old else "run", history, why)


def _mixed(build: Build, standing: Standing) -> Finding:
    stage = standing.stage
    if standing.history.fingerprint is None:
        message = f"{stage.output} has checkpoints that no recorded run of {stage.name} wrote"
    elif standing.reasons:
        message = f"the checkpoints in {stage.output} were made from something else ({standing.reasons[0].text()})"
    else:
        message = f"the checkpoints in {stage.output} were made from earlier results of {', '.join(stage.after)}"
    advice = f"pass --fresh to move them to {free_name(Path(stage.output), 'previous')} and start {stage.name} over"
    return Finding("E010", message, help=advice, file=str(build.folder))


def _not_ready(build: Build, standing: Standing, parent: Standing) -> Finding:
    """Return the finding about a chosen stage that would run on what is missing or stale."""
    name = standing.stage.name
    message = f"{name} starts from {parent.stage.name}, which is not selected and not complete ({parent.why()})"
    span = build.span(build.stage_at(name))
    advice = f"pass --select +{name} to run what it needs too, or run {parent.stage.name} first"
    return Finding("E025", message, span, help=advice, file=None if span else str(build.folder))


__all__ = ["Decision", "decide", "graph_of"]
