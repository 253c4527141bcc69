"""Plan stage to the documents of the tools that run it. One module for each system; this one only chooses."""

from collections.abc import Iterator
from importlib import import_module
from typing import NamedTuple

from recipec.plan import EvaluateStage, InitStage, Plan, Stage, TrainStage
from recipec.systems import lm_eval, transformers
from recipec.systems.check import Refusal, Values
from recipec.systems.document import Document, Sheet
from recipec.systems.system import Trainer, uses_nothing
from recipec.systems.table import Reader, fill, flattened

TRAINERS = ("axolotl", "trl", "llamafactory", "unsloth", "openrlhf", "script")
CHECKED = (*TRAINERS[:-1], "deepspeed", "accelerate", "lm_eval")  # tools that `overrides` may speak to
GENERAL = "trl-1.16.0"  # makes, merges and evaluates models where the trainer's environment does not
VLLM = "vllm-0.33.0"
RAY = "ray-2.60.0"  # where Ray starts a script of the user's own
ALWAYS = (
    "id", "name", "trainer", "release", "method", "adapter.merge", "parallel.strategy", "hardware.gpu",
    "hardware.host_memory_gib", "track.telemetry",
)  # fmt: skip


class Emitted(NamedTuple):
    """What makes the tools do one stage.

    `commands` are the lines of `run.sh` with their `variables`, `files` texts beside the documents, `seen` every plan
    path that was read for them, `refusals` what cannot be expressed, `differences` what the tool does another way.
    """

    documents: list[Document]
    commands: list[str]
    variables: dict[str, str]
    files: dict[str, str]
    seen: set[str]
    refusals: list[Refusal]
    differences: list[Refusal]


def trainer(name: str) -> Trainer:
    """Return the declaration of a trainer."""
    declared: Trainer = import_module(f"recipec.systems.{name}").TRAINER
    return declared


def emit(stage: Stage, environment: str) -> Emitted:
    """Return what makes the tools do this stage in this environment."""
    out = Emitted([], [], {}, {}, set(ALWAYS), [], [])
    values = flattened(stage)
    reads: list[str] = []
    seen = Reader(stage, "", reads)
    if isinstance(stage, TrainStage):
        system = trainer(stage.trainer)
        out.refusals.extend(_cannot(system, stage))
        if not out.refusals:
            # a recorder stands for the stage where the system does not list itself what it uses
            read: TrainStage = seen if system.uses is uses_nothing else stage  # type: ignore[assignment]
            _fill(out, stage, values, system.sheets(read))
            out.commands.extend(system.commands(read))
            out.variables.update(system.variables(read))
            out.files.update(system.files(read))
            out.differences.extend(system.differences(read))
            out.seen.update(system.uses(stage))
            for check in system.checks(stage):
                out.seen.update(check.uses(values, stage.release))  # what is refused or told is not ignored
                told = out.refusals if check.severity == "error" else out.differences
                told.extend(check.each(values, stage.release))
    elif isinstance(stage, EvaluateStage):
        _fill(out, stage, values, lm_eval.sheets(stage, environment))
        out.commands.extend(lm_eval.commands(stage))
        out.variables.update(lm_eval.variables(stage))
        out.seen.add("models")
    else:
        made = transformers.init if isinstance(stage, InitStage) else transformers.merge
        _fill(out, stage, values, made.sheets(environment))
        out.commands.append(f'exec python "$here/{made.script}" "$here/{made.settings}"')
        out.files[made.script] = made.text()
    out.seen.update(reads)
    return out


def environment(stage: Stage, plan: Plan) -> str:
    """Return the name of the environment that runs a stage: its trainer's own, with what any of its stages adds."""
    if isinstance(stage, EvaluateStage) and stage.backend == "vllm":
        return VLLM
    trainings = [other for other in plan.stages if isinstance(other, TrainStage)]
    if isinstance(stage, TrainStage):
        base = _base(stage)
    else:
        base = next((_base(other) for other in trainings if trainer(other.trainer).lm_eval), GENERAL)
    wanted = {extra for other in trainings if _base(other) == base for extra in extras(other)}
    return "-".join([base, *sorted(wanted)])


def extras(stage: TrainStage) -> list[str]:
    """Return what a training needs beside its trainer's own environment, in the words of environment names."""
    system = trainer(stage.trainer)
    started = stage.script is not None and stage.script.launcher == "deepspeed"
    sharded = stage.parallel.strategy.startswith("zero") and stage.parallel.strategy in system.strategies
    found = ["deepspeed"] if started or sharded else []
    found += ["flash-attn"] if stage.model.attention == "flash_attention_2" else []
    return [extra for extra in found if extra not in system.holds]


def _base(stage: TrainStage) -> str:
    if stage.script is not None:
        return RAY if stage.script.launcher == "ray" else GENERAL
    return f"{stage.trainer}-{stage.release}" if stage.release else GENERAL


def _cannot(system: Trainer, stage: TrainStage) -> Iterator[Refusal]:
    """Yield what the trainer has declared that it cannot do."""
    name = system.name
    for path, value, known in (
        ("method", stage.method, system.methods),
        ("parallel.strategy", stage.parallel.strategy, system.strategies),
        ("adapter.type", stage.adapter.type if stage.adapter else None, system.adapters),
    ):
        if value is not None and value not in known:
            others = [other for other in TRAINERS if other != name and value in _known(other, path)]
            advice = f"it can do {', '.join(sorted(known))}" + (
                f"; {', '.join(others)} can do {value}" if others else ""
            )
            yield Refusal(path, f"{name} cannot do {value}", advice)
    if system.one_process and stage.hardware.device == "cpu" and stage.hardware.world > 1:
        yield Refusal(
            "hardware.world", "several processes need GPUs", f"{system.one_process}; use per_node: 1, nodes: 1"
        )


def _known(name: str, path: str) -> frozenset[str]:
    system = trainer(name)
    return {"method": system.methods, "parallel.strategy": system.strategies, "adapter.type": system.adapters}[path]


def _fill(out: Emitted, stage: Stage, values: Values, sheets: list[Sheet]) -> None:
    for sheet in sheets:
        filled = fill(sheet.rows, stage, values, sheet.release)
        out.documents.append(
            Document(sheet.file, sheet.kind, sheet.tool, sheet.release, sheet.contract, filled.entries, sheet.template)
        )
        out.seen.update(filled.used)
        out.refusals.extend(filled.refusals)
