"""`PLAN.md`, which a reviewer reads first, and `plan.json`, the same for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recipec.diagnostics import Finding
from recipec.kinds import kind
from recipec.plan import Origin, Plan, Record, Resolved, leaf
from recipec.render.markdown import cell, code, inert, paragraphs

# Leaves that are decided the same way for every recipe, and so are not worth a reviewer's time.
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
)


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
) -> str:
    """Return the plan in words.

    `allowed` are the rules that do not hold here, each with its reason; `profiles` were merged over the recipe; `how`
    are the lines that say how to start it.
    """
    plan: Plan = resolved.plan
    machine = plan.hardware
    lines = [f"# {plan.name}", ""]
    if plan.description:
        lines += [*paragraphs(plan.description), ""]
    on = (
        "CPU"
        if machine.device == "cpu"
        else f"{machine.nodes} × {machine.per_node} × {machine.gpu} ({machine.memory_gib} GiB each)"
    )
    chosen = "".join(f", with the profile `{name}`," for name in profiles)
    lines += [f"Compiled from {code(recipe)}{chosen} for {on}.", "", "## Stages", ""]
    for stage in plan.stages:
        lines.append(f"- `{stage.id}`: {kind(stage.kind).sentence(stage)}")
    for stage in plan.stages:
        section = kind(stage.kind).section(stage)
        lines += ["", *section] if section else []
    warnings = [finding for finding in findings if finding.severity == "warning"]
    if warnings:
        lines += ["", "## Warnings", ""]
        lines += [f"- {w.code}: {inert(w.message)}" + (f" ({w.span.label()})" if w.span else "") for w in warnings]
    if allowed:
        lines += ["", "## Allowed", "", *(f"- {inert(name)}: {inert(reason)}" for name, reason in allowed.items())]
    lines += ["", "## Decisions that the recipe leaves open", "", "| decision | value | reason |", "|---|---|---|"]
    open_ = {
        path: origin
        for path, origin in resolved.origins.items()
        if origin.span is None
        and origin.kind in ("rule", "default")
        and origin.why not in ("", "default of the language")
        and not is_plain(path)
    }
    for path, (value, origin) in values(Resolved(plan, open_)).items():
        if not isinstance(value, dict | tuple | Record):
            lines.append(f"| {cell(path)} | {cell(value)} | {cell(origin.why)} |")
    lines += ["", "## Files", ""]
    lines += [f"- `{name}`" for name in files]
    lines += ["", "## Start", "", *how, ""] if len(how) > 1 else ["", *how, ""]
    return "\n".join(lines)
