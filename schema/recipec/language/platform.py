"""`hardware`, `parallel` and `launch`: what it runs on."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from recipec.language.base import Count, Section, Text, example

MEMORY = r"^[0-9]{1,4}(\.[0-9]+)? ?(GB|GiB|G)$"


class Gpu(Section):
    """A GPU that is not among the known ones, by what rules need to know of it."""

    model_config = example({"name": "rtx-5000-ada", "memory": "32GB", "compute_capability": 8.9})

    name: Text = Field(description="What to call it.")
    memory: Annotated[float, Field(ge=1, le=4096)] | Annotated[str, Field(pattern=MEMORY)] = Field(
        description="Memory of one GPU, such as 48GB."
    )
    compute_capability: float = Field(
        ge=3, le=20, description="NVIDIA's compute capability, such as 8.9: bf16 and Flash Attention need 8.0."
    )


def _digits(value: object) -> object:
    return str(value) if type(value) is int else value  # `gpu: 4090` is a name


class Hardware(Section):
    """The machine the recipe is for; declared, never probed."""

    model_config = example({"gpu": "a100-80gb", "per_node": 8, "nodes": 2})

    gpu: Annotated[Text, BeforeValidator(_digits)] | Gpu = Field(
        description="GPU model, such as a100-80gb, or `none` for CPU; one that is not known by its memory and compute"
        " capability."
    )
    per_node: int = Field(default=1, ge=1, le=64, description="GPUs (on CPU: processes) per node.")
    nodes: int = Field(default=1, ge=1, le=10000, description="Nodes.")
    host_memory_gib: Count | None = Field(
        default=None, description="Host memory of a node in GiB; if given, offload is checked against it."
    )


class Share(Section):
    """What one stage takes of the declared machine, or the other machine that it runs on."""

    model_config = example({"per_node": 2, "nodes": 1})

    gpu: Annotated[Text, BeforeValidator(_digits)] | Gpu | None = Field(
        default=None,
        description="`none`: it runs on the CPU, in per_node processes. Another GPU: it runs on another machine, with per_node of them. Default: on the machine's GPUs.",
    )
    per_node: int | None = Field(
        default=None, ge=1, le=64, description="GPUs (on CPU: processes) per node. Default: those of the machine."
    )
    nodes: int | None = Field(
        default=None, ge=1, le=10000, description="1 for node 0 alone. Default: all nodes of the machine."
    )


class Offload(Section):
    """What is offloaded from GPU memory."""

    model_config = example({"optimizer": "nvme", "parameters": "cpu", "nvme_path": "/local_nvme"})

    optimizer: Literal["none", "cpu", "nvme"] = Field(default="none", description="Where optimiser states are kept.")
    parameters: Literal["none", "cpu", "nvme"] = Field(
        default="none", description="Where parameters are kept between uses."
    )
    nvme_path: Text | None = Field(default=None, description="Folder on a local NVMe drive; required by nvme.")


class Parallel(Section):
    """How the job is split over GPUs."""

    model_config = example({"strategy": "zero3", "offload": {"optimizer": "cpu"}})

    strategy: Literal["single", "ddp", "fsdp2", "zero1", "zero2", "zero3"] | None = Field(
        default=None,
        description="Sharding: DDP, FSDP2 or a ZeRO stage of DeepSpeed. Default: single on one GPU, else ddp.",
    )
    context_parallel: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="Processes that share each sequence, every one with a part of it. They hold one sequence between them, so the batch is divided by fewer.",
    )
    tensor_parallel: int = Field(
        default=1,
        ge=1,
        le=64,
        description="GPUs of a node that share each layer, every one with some of its attention heads. They compute the same sequence.",
    )
    offload: Offload = Field(default=Offload.model_construct(), description="Offload to CPU or NVMe.")
    reshard_after_forward: bool | None = Field(
        default=None, description="FSDP2: free gathered parameters after the forward pass. Default: true."
    )
    bucket_size: Count | None = Field(
        default=None,
        description="ZeRO: elements per reduce bucket. Default: the hidden size squared under zero3, else 5e8, or less on small GPUs.",
    )


class Launch(Section):
    """Where the run goes."""

    model_config = example({"on": "local", "environment": {"NCCL_DEBUG": "INFO"}})

    on: Literal["local", "nodes"] | None = Field(
        default=None,
        description="Launcher: `local` starts one machine; `nodes` is started by hand on each of several, with rank and"
        " address from the environment. Default: nodes where hardware.nodes is more than 1.",
    )
    emit: list[Literal["dvc"]] = Field(
        default=[],
        description="Files for another system to run the stages: `dvc` writes dvc.yaml, for `dvc repro` in the emitted folder.",
    )
    environment: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], str] = Field(
        default={},
        description="Environment variables of every stage. Secrets are inherited, or named: `HF_TOKEN: ${env:HF_TOKEN}`.",
    )
