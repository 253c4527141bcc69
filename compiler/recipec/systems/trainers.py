"""What the systems that train have in common: their environments and the shape of their jobs."""

from __future__ import annotations

import json

from recipec.facts import has_pins, pins, releases
from recipec.job import MASTER_PORT, Job, Word
from recipec.kinds.train.records import Train
from recipec.systems.check import Check, refuses
from recipec.systems.system import Need
from recipec.systems.table import Row

GENERAL = "trl-1.16.0"  # makes, merges and evaluates models where no trainer's environment does
CONTEXT, TENSOR = "parallel.context_parallel", "parallel.tensor_parallel"
HOSTED = ("databricks", "databricks-uc", "uc")  # the places of MLflow that have no address
EVALUATES = frozenset(["lm-eval", "peft", "transformers"])


def need(
    s: Train,
    *,
    base: str = "",
    brings: frozenset[str] = frozenset(),
    holds: frozenset[str] = EVALUATES,
    adds: frozenset[str] = frozenset(["mlflow", "trackio"]),
) -> Need:
    """Return the environment of a training: the trainer's own (or `base`), with what it needs beyond what that `brings`.

    `adds`: the trackers that the trainer can be told of, and whose packages an environment may lack.
    """
    extras = ["deepspeed"] if s.parallel.strategy.startswith("zero") else []
    extras += ["flash-attn"] if s.model.attention == "flash_attention_2" else []
    own = base or (f"{s.trainer}-{s.release}" if s.release in releases(s.trainer) else GENERAL)
    wanted = {
        "liger": ("liger-kernel", s.numerics.liger_kernel),
        "mlflow": ("mlflow-skinny", "mlflow" in adds and s.track.mlflow_uri is not None),
        "schedulefree": ("schedulefree", s.optimizer.name == "adamw_schedule_free"),
        "trackio": ("trackio", "trackio" in adds and s.track.trackio_project is not None),
    }
    held = pins(own) if has_pins(own) else None
    extras += [name for name, (package, wants) in wanted.items() if wants and held and f"\n{package}==" not in held]
    return Need(own, frozenset(extras) - brings, holds=holds)


def job(s: Train, *program: Word, start: tuple[Word, ...] = ()) -> Job:
    """Return the job of a training whose processes meet at a port of node 0.

    A single process of the Trainer spreads each batch over all GPUs that it sees (transformers' `n_gpu`, by DataParallel), and
    the batch grows with them: it sees one. A script of the user's own is started as it is.
    """
    alone = s.parallel.strategy == "single" and s.hardware.device == "gpu" and s.script is None
    ports = (MASTER_PORT,) if s.hardware.nodes > 1 else ()
    sharded = s.parallel.strategy.startswith("zero") or s.parallel.strategy == "fsdp2"
    steps_on_cpu = sharded and s.script is None and s.parallel.optimizer_offload != "none"
    nodes, each = s.hardware.nodes, s.hardware.per_node
    return Job(program, start, nodes=nodes, processes=each, ports=ports, one_gpu=alone, shares_cores=steps_on_cpu)


def where_split(row: Row) -> tuple[Row, ...]:
    """Return the row for trainings whose processes share sequences, and the same for those that share layers only."""
    return row.unless(CONTEXT, 1), row.when(CONTEXT, 1).unless(TENSOR, 1)


def unsplit(tool: str, *paths: str) -> tuple[Check, ...]:
    """Return the checks of a trainer that cannot share sequences, or layers, between its processes."""
    return tuple(
        refuses(
            path,
            when=lambda size: size > 1,
            message=f"{tool} has no {path.partition('.')[2].replace('_', ' ')}ism",
            advice="drop it, or choose a trainer that has it (docs/methods.md)",
        )
        for path in paths
    )


def own_reference(tool: str) -> Check:
    """Return the check of a trainer that compares with what the training starts from, and with nothing else."""
    return refuses(
        "reference",
        when=lambda reference: reference is not None,
        message=f"{tool} compares with the model that the training starts from, and cannot be given another",
        advice="drop reference_model, or use trainer: trl",
    )


def ring(tool: str, message: str = "") -> Check:
    """Return the check of a trainer whose processes share sequences by ring attention, which Flash Attention 2 computes."""
    return refuses(
        "model.attention",
        CONTEXT,
        "hardware.sm",
        when=lambda attention, parts, _sm: parts > 1 and attention != "flash_attention_2",
        message=message or f"{tool}'s context parallelism is ring attention of Flash Attention 2",
        advice=lambda _attention, _parts, sm: (
            "set model.attention: flash_attention_2"
            if sm >= 80
            else "drop parallel.context_parallel: Flash Attention 2 needs a GPU with SM 80"
        ),
    )


# Variables that only say where a stage reports, and by what name
TRACKING = frozenset(
    [
        "WANDB_PROJECT",
        "WANDB_ENTITY",
        "WANDB_RUN_GROUP",
        "MLFLOW_TRACKING_URI",
        "MLFLOW_EXPERIMENT_NAME",
        "MLFLOW_TAGS",
        "MLFLOW_ALLOW_FILE_STORE",
    ]
)


FILE_STORE = {"MLFLOW_ALLOW_FILE_STORE": "true"}  # without which MLflow's client refuses a folder


def is_folder(uri: str) -> bool:
    """Return whether an address of MLflow is a folder."""
    return uri.startswith("file:") or (":" not in uri and uri not in HOSTED)


def tracking(s: Train) -> dict[str, str]:
    """Return the variables by which Hugging Face's trainers know where to report."""
    track = s.track
    said = {
        "WANDB_PROJECT": track.wandb_project,
        "WANDB_ENTITY": track.wandb_entity,
        "MLFLOW_TRACKING_URI": track.mlflow_uri,
        "MLFLOW_EXPERIMENT_NAME": track.mlflow_experiment,
    }
    return {name: value for name, value in said.items() if value is not None} | grouping(s)


def grouped(s: Train) -> tuple[str, ...]:
    """Return what the variables of `grouping` say beside what trackers there are."""
    return ("track.group",) if s.track.wandb_project is not None or s.track.mlflow_uri is not None else ()


def grouping(s: Train) -> dict[str, str]:
    """Return the variables that no trainer has a word for: what tells the runs of a recipe, and leave to write to a folder.

    W&B's client reads the group itself; of MLflow, Hugging Face's callback sets the tags.
    """
    track, found = s.track, dict[str, str]()
    if track.wandb_project is not None:
        found["WANDB_RUN_GROUP"] = track.group
    if track.mlflow_uri is not None:
        found["MLFLOW_TAGS"] = json.dumps({"recipe": track.group, "stage": s.name})
        found |= FILE_STORE if is_folder(track.mlflow_uri) else {}
    return found
