"""Plan stage to the documents of the tools that run it. One module for each system; this one only chooses."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from recipec.plan import InitStage, Stage, TrainStage
from recipec.targets import accelerate, axolotl, deepspeed, lm_eval, transformers
from recipec.targets.table import Document, Refusal, Row, fill, split_reads

CHECKED = ("axolotl", "deepspeed", "accelerate", "lm_eval")


class Emitted(NamedTuple):
    """The documents of one stage, every plan path that was read for them, and what could not be expressed."""

    documents: list[Document]
    seen: set[str]
    refusals: list[Refusal]


def emit(stage: Stage) -> Emitted:
    """Return the documents that make the tools do this stage."""
    out = Emitted([], set(), [])
    if isinstance(stage, InitStage):
        _add(out, stage, transformers.CONFIG_ROWS, "config.json", transformers.TOOL, transformers.RELEASE, "")
        _add(out, stage, transformers.INIT_ROWS, "init.json", transformers.TOOL, transformers.RELEASE, "")
    elif isinstance(stage, TrainStage):
        strategy = stage.parallel.strategy
        _add(out, stage, axolotl.ROWS, axolotl.FILE, axolotl.TOOL, axolotl.RELEASE, "config")
        if strategy.startswith("zero"):
            _add(out, stage, deepspeed.ROWS, deepspeed.FILE, deepspeed.TOOL, deepspeed.RELEASE, "ds_config")
        if strategy != "single":
            _add(out, stage, accelerate.ROWS, accelerate.FILE, accelerate.TOOL, accelerate.RELEASE, "config")
        out.seen.update(("parallel.strategy", "hardware.nodes", "hardware.per_node", "hardware.gpu", "track.telemetry"))
        if stage.adapter is not None:
            out.seen.add("adapter.merge")
    else:
        for index, model in enumerate(stage.models):
            file = f"lm_eval.{model.name}.yaml"
            _add(out, stage, lm_eval.rows(index), file, lm_eval.TOOL, lm_eval.release(stage), "config")
        out.seen.update(("hardware.gpu", "track.telemetry", "models"))
    return out


def uses_deepspeed(stage: Stage) -> bool:
    """Return whether the environment of this stage needs DeepSpeed."""
    return isinstance(stage, TrainStage) and stage.parallel.strategy.startswith("zero")


def uses_flash_attention(stage: Stage) -> bool:
    """Return whether the environment of this stage needs flash-attn."""
    return isinstance(stage, TrainStage) and stage.model.attention == "flash_attention_2"


EXTRAS: dict[str, Callable[[Stage], bool]] = {"deepspeed": uses_deepspeed, "flash-attn": uses_flash_attention}


def _add(out: Emitted, stage: Stage, rows: tuple[Row, ...], file: str, tool: str, release: str, contract: str) -> None:
    entries, refusals = fill(rows, stage)
    kept, seen = split_reads(entries)
    kind = "json" if file.endswith(".json") else "yaml"
    out.documents.append(Document(file, kind, tool, release, contract, kept))
    out.seen.update(seen)
    out.refusals.extend(refusals)
