"""Recipe to plan. Each kind decides its own stages from what was said and what earlier stages hand on."""

from __future__ import annotations

from recipec.course import Course
from recipec.decide.graph import Graph, Handed, Made, scored
from recipec.decide.machine import hardware, track
from recipec.decide.said import Said
from recipec.kinds import checkpoints, kind
from recipec.kinds.train import base
from recipec.plan import Origin, Plan, Record, Resolved
from recipec.systems.environments import with_environments


class Decision(Record, frozen=True):
    """A plan with the origins of its values, and what was said for each of its stages, by the stage's name.

    `whole` is what was said of all stages, `parts` the parts of the course as they were said, in order, and `graph` what
    there is in the end. `usual` are the recipe paths that say what would be decided without them.
    """

    resolved: Resolved
    said: dict[str, Said]
    whole: Said
    parts: tuple[Said, ...]
    graph: Graph
    usual: frozenset[str]


def decide(course: Course) -> Decision:
    """Decide everything. What contradicts itself is decided somehow too: rules check the result."""
    recipe = course.recipe
    several = course.parts[0].own is not None
    parts = tuple(Said(part) for part in course.parts)
    whole = Said(course.whole) if several else parts[0]
    machine, names = hardware(whole), tuple(part.name for part in course.parts)
    longest = max(part.recipe.model.max_length for part in course.parts)
    graph = Graph(recipe.name, machine, track(whole), several, {}, {}, {}, {}, {}, names, "base", longest)
    graph = graph.replaced(models={"base": base(whole, graph)})
    kept: list[Made] = []
    said: dict[str, Said] = {}
    for say in parts:
        at = graph.replaced(machine=hardware(say)) if say.says_own("hardware") else graph
        made = () if (deciding := kind(say.part.kind).decide) is None else deciding(say, at)
        kept += made
        said |= {one.stage.name: say for one in made}
        graph = _after(graph, made)
        beside = checkpoints.of_course(whole, graph, made)
        kept += beside
        said |= {one.stage.name: whole for one in beside}
        graph = _after(graph, beside)
    evaluating = kind("evaluate").decide if recipe.evaluate is not None else None
    if evaluating is not None:
        made = evaluating(whole, graph)
        kept += made
        said |= {one.stage.name: whole for one in made}
    origins: dict[str, Origin] = {f"hardware.{path}": origin for path, origin in machine.origins.items()}
    for one in kept:
        origins |= {f"{one.stage.name}.{path}": origin for path, origin in one.origins.items()}
    stages = with_environments(tuple(one.stage for one in kept))
    plan = Plan(
        recipe.name, recipe.description, machine.value, stages, dict(recipe.launch.environment), _launcher(whole)
    )
    resolved = Resolved(plan, origins)
    return Decision(resolved, said, whole, parts, graph, resolved.usual())


def _launcher(say: Said) -> str:
    return say.recipe.launch.on or ("nodes" if say.recipe.hardware.nodes > 1 else "local")


def _after(graph: Graph, made: tuple[Made, ...]) -> Graph:
    """Return the course with what a part of it has made."""
    hands: dict[str, Handed] = {one.hands.name: one.hands for one in made if one.hands is not None and not one.merges}
    onward = [one.hands.name for one in made if one.hands is not None and not (one.merges or one.aside)]
    merged = {one.hands.name: one.hands for one in made if one.hands is not None and one.merges}
    rows = {one.stage.name: one.rows for one in made if one.rows is not None}
    left = {one.stage.name: one.stage for one in made if one.stage.outputs}
    if left:
        scores = {**graph.scores, **scored(made)}
        graph = graph.replaced(rows={**graph.rows, **rows}, scores=scores, stages={**graph.stages, **left})
    if not hands and not merged:
        return graph
    return graph.replaced(
        models={**graph.models, **hands},
        merged={**graph.merged, **merged},
        previous=onward[-1] if onward else graph.previous,
    )
