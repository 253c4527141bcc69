"""`PLAN.md`, which a reviewer reads first, and `plan.json`, the same for machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from recipec.diagnostics import Finding
from recipec.facts.models import licence_of
from recipec.kinds import kind
from recipec.plan import Origin, Plan, Record, Resolved, Stage, leaf
from recipec.plural import counted
from recipec.render.markdown import cell, code, inert, paragraphs

# Leaves that are decided the same way for every recipe, or say what the recipe says, and so are not worth a reader's time.
PLAIN_LEAVES = (
    "id",
    "output",
    "hardware",
    "track",
    "data.cache",
    "length.unit",
    "precision",
    "max_length",
    "trust_remote_code",
    "beta",
    "limit",
    "data.holdout",
    "optimizer.warmup",
    "optimizer.decay",
    "few_shot",
)
TOLD = ("batch.", "watch.evaluate_every", "world")  # in the table of a training, with what they follow from


def is_plain(path: str) -> bool:
    """Return whether the value at a plan path, with its stage, is decided the same way for every recipe."""
    return path.partition(".")[2].startswith(PLAIN_LEAVES)


def where(origin: Origin) -> str:
    """Say in a few words where a value came from."""
    if origin.span is not None:
        return origin.span.label() if origin.kind == "recipe" else f"command line, {origin.span.source.text}"
    return origin.why


def values(resolved: Resolved) -> dict[str, tuple[Any, Origin]]:
    """Return every plan leaf that belongs to a stage or to the hardware, with its origin."""
    roots: dict[str, Any] = {stage.name: stage.body for stage in resolved.plan.stages}
    roots["hardware"] = resolved.plan.hardware
    found: dict[str, tuple[Any, Origin]] = {}
    for path, origin in sorted(resolved.origins.items()):
        root, _, rest = path.partition(".")
        found[path] = (leaf(roots[root], rest), origin)
    return found


def plan_markdown(
    resolved: Resolved,
    recipe: str,
    findings: list[Finding],
    files: list[str],
    allowed: Mapping[str, str],
    profiles: Sequence[str] = (),
    how: Sequence[str] = (),
    acts: Callable[[str], bool] = lambda _path: True,
) -> str:
    """Return the plan in words: first what a reviewer decides on, then what follows from it.

    `allowed` are the rules that do not hold here, each with its reason; `profiles` were merged over the recipe; `how`
    are the lines that say how to start it; `acts` says of a plan path whether anything emitted depends on it.
    """
    plan: Plan = resolved.plan
    lines = [f"# {plan.name}", ""]
    if plan.description:
        lines += [*paragraphs(plan.description), ""]
    chosen = "".join(f", with the profile {code(name)}," for name in profiles)
    lines += [f"Compiled from {code(recipe)}{chosen} for {_machine(plan)}.", ""]
    warnings = [finding for finding in findings if finding.severity == "warning"]
    notes = [finding for finding in findings if finding.severity == "note"]
    if warnings or notes or allowed:
        lines += ["## Warnings", ""]
        lines += [f"- {w.code}: {inert(w.message)}" + (f" ({w.span.label()})" if w.span else "") for w in warnings]
        lines += [f"- {note.code if note.code == 'T003' else 'not known'}: {inert(note.message)}" for note in notes]
        lines += [f"- allowed: {inert(name)}, because {inert(reason)}" for name, reason in allowed.items()]
        lines.append("")
    lines += ["## Stages", ""]
    lines += [
        f"- {code(stage.name)}, {_place(stage, plan)}: {kind(stage.kind).sentence(stage)}" for stage in plan.stages
    ]
    for stage in plan.stages:
        section = kind(stage.kind).section(stage, plan)
        lines += ["", *section] if section else []
    lines += ["", "## Before it starts", "", *_needs(plan), "", "## Start", "", *how]
    left = list(_left_open(resolved, acts))
    if left:
        lines += ["", "## What the recipe leaves open", "", "| decision | value | reason |", "|---|---|---|", *left]
    lines += ["", "## Files", "", *(f"- {code(name)}" for name in files), ""]
    return "\n".join(lines)


def _machine(plan: Plan) -> str:
    machine = plan.hardware
    if machine.device == "cpu":
        return "CPU"
    each = f"{machine.per_node} × {machine.gpu} ({machine.memory_gib} GiB each)"
    return each if machine.nodes == 1 else f"{counted(machine.nodes, 'node')} of {each}"


def _place(stage: Stage[Any], plan: Plan) -> str:
    """Say where a stage runs."""
    on = stage.resources
    what = f"the CPU, {counted(on.per_node, 'process')}" if on.device == "cpu" else f"{on.per_node} × {on.gpu}"
    if on.nodes > 1:
        return f"on all {on.nodes} nodes, {what} each"
    if on.device == "gpu" and on.gpu != plan.hardware.gpu:
        return f"on another machine, {what}"
    return f"on node 0, {what}" if plan.hardware.nodes > 1 else f"on {what}"


def _needs(plan: Plan) -> Iterator[str]:
    """Yield what must be there, or be allowed, before it is started."""
    made = {output.place for stage in plan.stages for output in stage.outputs}
    reads = list(dict.fromkeys(read for stage in plan.stages for read in stage.reads if read.path not in made))
    here = dict.fromkeys(code(read.path) for read in reads if read.needed)
    if here:
        yield f"- These must be there, below the folder that it is started in: {', '.join(here)}."
    hub = {read.path: licence_of(read.path) for read in reads if not read.needed and "/" in read.path}
    data = [stage.body.data for stage in plan.of_kind("train")]
    sources = [source for each in data for source in (*each.train, *each.validation)]
    hub |= {source.hub: None for source in sources if source.hub is not None}
    free = [code(name) for name, licence in hub.items() if licence is None]
    if free:
        yield f"- From the Hugging Face hub: {', '.join(free)}."
    for name, licence in hub.items():
        if licence is not None:
            accept = f"accept {licence} at https://huggingface.co/{name}"
            yield f"- From the hub, gated: {code(name)}. {accept[0].upper()}{accept[1:]}, and set `HF_TOKEN` where it runs."
    keys = dict.fromkeys(name for stage in plan.stages for name in kind(stage.kind).keys(stage.body))
    if keys:
        yield f"- Set where it runs, with the keys that are sent: {', '.join(map(code, keys))}."
    tracks = [stage.body.track for stage in plan.stages if hasattr(stage.body, "track")]
    if any(track.wandb_project for track in tracks):
        yield "- Metrics go to Weights & Biases: set `WANDB_API_KEY`, or `WANDB_MODE=offline` to keep them in `wandb/`."
    uris = dict.fromkeys(track.mlflow_uri for track in tracks if track.mlflow_uri)
    yield from (f"- Metrics go to MLflow at {code(uri)}." for uri in uris)
    environments = dict.fromkeys(stage.environment for stage in plan.stages)
    yield f"- Made on the first start: {counted(len(environments), 'environment')} ({', '.join(map(code, environments))})."


def _left_open(resolved: Resolved, acts: Callable[[str], bool]) -> Iterator[str]:
    """Yield the decisions that nobody wrote and that something emitted depends on, as rows of a table."""
    open_ = {
        path: origin
        for path, origin in resolved.origins.items()
        if origin.span is None
        and origin.kind in ("rule", "default")
        and origin.why not in ("", "default of the language")
        and not is_plain(path)
        and not path.partition(".")[2].startswith(TOLD)
        and acts(path)
    }
    for path, (value, origin) in values(Resolved(resolved.plan, open_)).items():
        if value is not None and value != "" and not isinstance(value, dict | tuple | Record):
            yield f"| {cell(path)} | {cell(_plain(value))} | {cell(origin.why)} |"


def _plain(value: Any) -> Any:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value
