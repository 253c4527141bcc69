"""`PLAN.md`, which a reviewer reads first, and `plan.json`, the same for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recipec.diagnostics import Finding
from recipec.plan import Adapter, EvaluateStage, InitStage, MergeStage, Origin, Plan, Resolved, Stage, TrainStage, leaf

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


def kind_of(stage: Stage) -> str:
    """Return `init`, `train`, `merge` or `evaluate`."""
    return {InitStage: "init", TrainStage: "train", MergeStage: "merge", EvaluateStage: "evaluate"}[type(stage)]


def where(origin: Origin) -> str:
    """Say in a few words where a value came from."""
    if origin.span is not None:
        return origin.span.label() if origin.kind == "recipe" else f"command line, {origin.span.source.text}"
    return origin.why


def values(resolved: Resolved) -> dict[str, tuple[Any, Origin]]:
    """Return every plan leaf that belongs to a stage or to the hardware, with its origin."""
    found: dict[str, tuple[Any, Origin]] = {}
    roots: dict[str, Any] = {stage.name: stage for stage in resolved.plan.stages}
    roots["hardware"] = resolved.plan.hardware
    for path, origin in sorted(resolved.origins.items()):
        root, _, rest = path.partition(".")
        if root in roots and rest:
            value = leaf(roots[root], rest)
            found[path] = (plain(value), origin)
    return found


def plain(value: Any) -> Any:
    """Return a plan value as JSON data."""
    if hasattr(value, "_fields"):
        return {name: plain(getattr(value, name)) for name in value._fields}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def plan_markdown(
    resolved: Resolved,
    recipe: str,
    findings: list[Finding],
    files: list[str],
    allowed: Mapping[str, str],
    profiles: Sequence[str] = (),
) -> str:
    """Return the plan in words.

    `allowed` are the rules that do not hold here, each with its reason; `profiles` were laid over the recipe.
    """
    plan: Plan = resolved.plan
    machine = plan.hardware
    lines = [f"# {plan.name}", ""]
    if plan.description:
        lines += [plan.description.strip(), ""]
    on = (
        "CPU"
        if machine.device == "cpu"
        else f"{machine.nodes} × {machine.per_node} × {machine.gpu} ({machine.memory_gib} GiB each)"
    )
    chosen = "".join(f", with the profile `{name}`," for name in profiles)
    lines += [f"Compiled from `{recipe}`{chosen} for {on}.", "", "## Stages", ""]
    for stage in plan.stages:
        lines.append(f"- `{stage.id}`: {_sentence(stage)}")
    for stage in plan.stages:
        if isinstance(stage, TrainStage):
            b = stage.batch
            lines += [
                "",
                "## Batch" if stage.name == "train" else f"## Batch of {stage.name}",
                "",
                f"{b.total} sequences per optimiser step = {b.micro} micro batch × {b.accumulation} gradient accumulation × {b.data_parallel} data-parallel processes; at most {b.total * stage.model.max_length:,} tokens.",
            ]
    warnings = [finding for finding in findings if finding.severity == "warning"]
    if warnings:
        lines += ["", "## Warnings", ""]
        lines += [f"- {w.code}: {w.message}" + (f" ({w.span.label()})" if w.span else "") for w in warnings]
    if allowed:
        lines += ["", "## Allowed", "", *(f"- {name}: {_cell(reason)}" for name, reason in allowed.items())]
    lines += ["", "## Decisions that the recipe leaves open", "", "| value | is | because |", "|---|---|---|"]
    for path, (value, origin) in values(resolved).items():
        if (
            not path.partition(".")[2].startswith(PLAIN_LEAVES)
            and origin.span is None
            and origin.kind in ("rule", "default")
            and origin.why != "default of the language"
            and not isinstance(value, dict | list)
        ):
            lines.append(f"| {path} | {_cell(value)} | {_cell(origin.why)} |")
    lines += ["", "## Files", ""]
    lines += [f"- `{name}`" for name in files]
    lines += [
        "",
        "Run all of it with `bash run.sh` of this folder, from the folder that the recipe's paths start at.",
        "",
    ]
    return "\n".join(lines)


def _sentence(stage: Stage) -> str:
    if isinstance(stage, InitStage):
        m = stage.model
        return f"makes a {m.family} model with random weights: {m.layers} layers of width {m.hidden_size}, vocabulary {m.vocab_size}"
    if isinstance(stage, MergeStage):
        return f"merges the adapter of `{stage.adapter}` into `{stage.base}` in {stage.precision}, by PEFT"
    if isinstance(stage, TrainStage):
        what = _trained(stage.adapter)
        amount = _many(stage.length.amount, stage.length.unit.removesuffix("s"))
        system = f"{stage.trainer} {stage.release}".strip()
        if stage.script is not None:
            many = _many(stage.hardware.world, "process").replace("processs", "processes")
            return f"`{stage.script.path}` trains, started by {stage.script.launcher} as {many}, {stage.numerics.precision}, {stage.parallel.strategy}"
        return f"{system} trains {what} of `{stage.model.path}` by {stage.method} for {amount}, {stage.numerics.precision}, {stage.parallel.strategy}"
    *others, last = [model.name for model in stage.models]
    names = f"{', '.join(others)} and {last}" if others else last
    return f"evaluates {names} on {', '.join(stage.tasks)} with lm-evaluation-harness ({stage.backend})"


def _many(count: float, what: str) -> str:
    return f"{count:g} {what}{'s' * (count != 1)}"


def _trained(adapter: Adapter | None) -> str:
    if adapter is None:
        return "all weights"
    kind = {"lora": "LoRA"}.get(adapter.type, adapter.type)
    return f"a {kind} adapter" + (f" of rank {adapter.rank}" if adapter.rank else "")


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
