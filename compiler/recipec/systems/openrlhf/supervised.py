"""`train_sft`, `train_rm` and `train_dpo`: processes of one job, each with a copy of the data."""

from __future__ import annotations

from typing import Any

from recipec.kinds.train.records import Train
from recipec.systems.check import Unsupported
from recipec.systems.openrlhf import common, data
from recipec.systems.table import OMIT, Row, computed, named, same


def launcher(s: Train) -> str:
    """Return the words that start the processes, up to the module. DeepSpeed's own launcher wants ssh between nodes."""
    if s.hardware.nodes == 1:
        return f"deepspeed --num_gpus {s.hardware.per_node} --module"
    where = '--node_rank "${NODE_RANK:?rank of this node, from 0}" --master_addr "${MASTER_ADDR:?address of node 0}"'
    sizes = f"--nnodes {s.hardware.nodes} --nproc_per_node {s.hardware.per_node}"
    return f'torchrun {sizes} {where} --master_port "${{MASTER_PORT:-29500}}" -m'


def _tensorboard(s: Train) -> Any:
    if not s.track.tensorboard:
        return OMIT
    if s.track.wandb_project is not None:
        advice = "choose one of them"
        raise Unsupported("track.tensorboard", "OpenRLHF writes to wandb or TensorBoard, not to both", advice)
    return f"{s.output}/tensorboard"


BATCH: tuple[Row, ...] = (
    same("train.batch_size", "batch.total"),
    computed("train.micro_batch_size", lambda s: (s.batch.micro, s.batch.accumulation)[0]),
    computed("train.max_epochs", common.epochs),
    computed("eval.steps", data.evaluate_every),
    same("data.dataloader_num_workers", "data.workers"),
    computed("logger.tensorboard_dir", _tensorboard),
)
DPO: tuple[Row, ...] = (
    same("model.beta", "objective.beta"),
    computed("model.ipo_enable", lambda s: True if s.method == "ipo" else OMIT),
    named("_loss", "objective.loss", {"sigmoid": OMIT}),
    computed("model.label_smoothing", lambda s: s.objective.label_smoothing or OMIT),
    computed("model.nll_loss_coef", lambda s: s.objective.sft_weight or OMIT),
)


def rows(method: str) -> tuple[Row, ...]:
    """Return the table of a method."""
    read = data.SFT if method == "sft" else data.PAIRS
    objective = DPO if method in ("dpo", "ipo") else ()
    return (
        *common.model("model"),
        *data.sources("dataset", "dataset_split"),
        *read,
        *objective,
        *BATCH,
        *common.optimiser("", common.learning_rate),
        *common.KEEPING,
    )
