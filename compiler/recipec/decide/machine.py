"""The declared machine and the trackers: what every kind of stage has."""

from __future__ import annotations

from recipec.decide.said import Decided, Said, section
from recipec.facts import Gpu, gpus
from recipec.facts.gpu_names import declared, named
from recipec.language.platform import Gpu as Declared
from recipec.plan import Hardware, Origin, Precision, Track
from recipec.plural import counted
from recipec.suggest import nearest

WORDS = ("hardware.gpu.name", "hardware.gpu.memory", "hardware.gpu.compute_capability")
UNKNOWN = "a100-80gb"  # checked in the place of a GPU that is not known, which is an error anyway


def known_gpu(said: str | Declared) -> Gpu:
    """Return a GPU of the facts, or as the recipe declares it; of a name that is not there, the nearest."""
    if not isinstance(said, str):
        return declared(said.name, said.memory, said.compute_capability)
    known, found = gpus(), named(said)
    return found.gpu or known[next(iter(found.choices), None) or nearest(said, sorted(known)) or UNKNOWN]


def hardware(say: Said) -> Decided[Hardware]:
    """Look the declared GPU up in the facts; world = nodes × per_node."""
    machine = say.recipe.hardware
    gpu = known_gpu(machine.gpu)
    why = f"hardware facts: {gpu.source}"
    nodes, per_node = machine.nodes, say.word("hardware.per_node", machine.per_node)
    count = named(machine.gpu).number if isinstance(machine.gpu, str) else None
    if count is not None and not say.wrote("hardware.per_node"):
        per_node = say.rule(count, f"{machine.gpu} says so", "hardware.gpu")
    words = WORDS if not isinstance(machine.gpu, str) else ("hardware.gpu",)
    if machine.gpu == gpu.name:
        name = say.word("hardware.gpu", gpu.name)
    else:
        name = say.rule(gpu.name, "as declared" if words is WORDS else f"another name is {machine.gpu}", *words)

    def fact(value: object) -> Decided[object]:
        return say.rule(value, why, *words, kind="fact")

    return section(
        Hardware,
        gpu=name,
        device=fact("cpu" if gpu.name == "none" else "gpu"),
        memory_gib=fact(gpu.memory_gib),
        sm=fact(gpu.sm),
        bf16=fact(gpu.bf16),
        per_node=per_node,
        nodes=say.word("hardware.nodes", nodes),
        world=say.rule(
            per_node.value * nodes,
            f"{counted(nodes, 'node')} × {per_node.value} per node",
            "hardware.per_node" if count is None else "hardware.gpu",
            "hardware.nodes",
        ),
        host_memory_gib=say.word("hardware.host_memory_gib", machine.host_memory_gib),
    )


def elsewhere(machine: Hardware, own: Hardware) -> bool:
    """Return whether a stage runs on GPUs of another kind than the machine's, and so on another machine."""
    return own.device == "gpu" and own.gpu != machine.gpu


def precision(say: Said, machine: Hardware) -> Decided[Precision]:
    """Choose the number format of the computation by what the hardware has."""
    usual: Precision = "fp32" if machine.device == "cpu" else "bf16" if machine.bf16 else "fp16"
    why = {"fp32": "CPU trains in fp32", "bf16": "the GPU computes in bf16", "fp16": "the GPU has no bf16"}[usual]
    train = say.recipe.train
    return say.take("train.precision", train.precision if train is not None else None, usual, why, "hardware.gpu")


def tracked(whole: Decided[Track], stage: str) -> Decided[Track]:
    """Return the trackers of one stage: its run is called after the recipe and itself."""
    name = f"{whole.value.group}-{stage}"
    origin = Origin("rule", "names of the recipe and of the stage", None, whole.origins["group"].reads)
    return Decided(whole.value.replaced(run_name=name), {**whole.origins, "run_name": origin})


def track(say: Said) -> Decided[Track]:
    """Trackers."""
    given = say.recipe.track
    wandb, mlflow, trackio = given.wandb, given.mlflow, given.trackio
    return section(
        Track,
        run_name=say.rule(say.recipe.name, "name of the recipe", "name"),
        wandb_project=say.word("track.wandb.project", wandb.project if wandb else None),
        wandb_entity=say.word("track.wandb.entity", wandb.entity if wandb else None),
        mlflow_uri=say.word("track.mlflow.tracking_uri", mlflow.tracking_uri if mlflow else None),
        mlflow_experiment=say.word("track.mlflow.experiment", mlflow.experiment if mlflow else None),
        trackio_project=say.word("track.trackio.project", trackio.project if trackio else None),
        trackio_space=say.word("track.trackio.space", trackio.space if trackio else None),
        tensorboard=say.word("track.tensorboard", given.tensorboard),
        telemetry=say.word("track.telemetry", given.telemetry),
        group=say.rule(say.recipe.name, "name of the recipe", "name"),
    )
