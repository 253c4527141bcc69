"""`train_sft`, `train_rm` and `train_dpo`: processes of one job, each with a copy of the data."""

from __future__ import annotations

from recipec.job import Word
from recipec.kinds.train.records import Train
from recipec.systems import torchrun
from recipec.systems.check import Check, differs, refuses
from recipec.systems.openrlhf import common, data
from recipec.systems.table import OMIT, Row, below, choice, nonzero, renamed, same


def start(s: Train) -> tuple[Word, ...]:
    """Return the words that start the processes, up to the module. DeepSpeed's own launcher wants ssh between nodes."""
    if s.hardware.nodes == 1:
        return ("deepspeed", "--num_gpus", str(s.hardware.per_node), "--module")
    return (*torchrun.start(s), "-m")


BATCH: tuple[Row, ...] = (
    same("train.batch_size", "batch.total"),
    same("train.micro_batch_size", "batch.micro"),
    common.passes("train.max_epochs"),
    renamed("eval.steps", "watch.evaluate_every", {"epoch": OMIT, "never": OMIT}),  # unsaid, it is once an epoch
    same("data.dataloader_num_workers", "data.workers"),
    below("logger.tensorboard_dir", "output", "tensorboard").when("track.tensorboard"),
)
DPO: tuple[Row, ...] = (
    same("model.beta", "objective.beta"),
    choice("model.ipo_enable", "method", {"ipo": True}),
    nonzero("model.label_smoothing", "objective.label_smoothing"),
    nonzero("model.nll_loss_coef", "objective.sft_weight"),
    same("ref.model_name_or_path", "reference.path"),
)
CHECKS: tuple[Check, ...] = (
    refuses(
        "watch.evaluate_every",
        "data.validation",
        when=lambda every, held: isinstance(every, float) or (every == "never" and bool(held)),
        message="OpenRLHF validates after a number of steps, or once an epoch",
        advice="set train.evaluate_every to a number of steps, or to epoch",
    ),
    refuses(
        "track.tensorboard",
        "track.wandb_project",
        when=lambda tensorboard, project: tensorboard and project is not None,
        message="OpenRLHF writes to wandb or TensorBoard, not to both",
        advice="choose one of them",
    ),
    refuses(
        "reference.adapter",
        "reference.revision",
        when=lambda adapter, revision: adapter is not None or revision is not None,
        message="OpenRLHF takes whole weights as the reference model, at no revision",
        advice="merge the adapter in a stage of its own, and name that",
    ).when("reference.path"),
    refuses(
        "objective.loss",
        when=lambda loss: loss != "sigmoid",
        message=lambda loss: f"OpenRLHF has no {loss} loss of dpo",
        advice="use loss: sigmoid, or another trainer",
    ).when("method", "dpo"),
    differs(
        "model.max_length",
        when=lambda _length: True,
        message="OpenRLHF truncates rows longer than max_length and ends each with the end token; it drops a row only if"
        " its prompt leaves no room for an answer",
        advice="choose max_length so that few rows are longer",
    ).of_rows("long"),
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
        *common.optimiser("", "optimizer.learning_rate"),
        *common.KEEPING,
    )
