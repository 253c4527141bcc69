"""`hardware`, `parallel` and `launch`: what it runs on."""

from typing import Annotated, Literal

from pydantic import Field

from recipec.language.base import Count, Section, Text, example


class Hardware(Section):
    """The machine the recipe is for; declared, never probed."""

    model_config = example({"gpu": "a100-80gb", "per_node": 8, "nodes": 2})

    gpu: Annotated[Text, Field(description="GPU model, such as a100-80gb, or `none` for CPU.")]
    per_node: Annotated[int, Field(ge=1, le=64, description="GPUs (on CPU: processes) per node.")] = 1
    nodes: Annotated[int, Field(ge=1, le=10000, description="Nodes.")] = 1
    host_memory_gib: Annotated[
        Count | None, Field(description="Host memory of a node in GiB; if given, offload is checked against it.")
    ] = None


class Offload(Section):
    """What is offloaded from GPU memory."""

    model_config = example({"optimizer": "nvme", "parameters": "cpu", "nvme_path": "/local_nvme"})

    optimizer: Annotated[Literal["none", "cpu", "nvme"], Field(description="Where optimiser states are kept.")] = "none"
    parameters: Annotated[
        Literal["none", "cpu", "nvme"], Field(description="Where parameters are kept between uses.")
    ] = "none"
    nvme_path: Annotated[Text | None, Field(description="Folder on a local NVMe drive; required by nvme.")] = None


class Parallel(Section):
    """How the job is split over GPUs."""

    model_config = example({"strategy": "zero3", "offload": {"optimizer": "cpu"}})

    strategy: Annotated[
        Literal["single", "ddp", "fsdp2", "zero1", "zero2", "zero3"] | None,
        Field(description="Sharding: DDP, FSDP2 or a ZeRO stage of DeepSpeed. Default: single on one GPU, else ddp."),
    ] = None
    offload: Annotated[Offload, Field(description="Offload to CPU or NVMe.")] = Offload.model_construct()
    reshard_after_forward: Annotated[
        bool | None,
        Field(description="FSDP2: free gathered parameters after the forward pass. Default: true."),
    ] = None
    bucket_size: Annotated[Count | None, Field(description="ZeRO: elements per reduce bucket. Default: 5e8.")] = None


class Launch(Section):
    """Where the run goes."""

    model_config = example({"on": "local", "environment": {"NCCL_DEBUG": "INFO"}})

    on: Annotated[
        Literal["local", "nodes"] | None,
        Field(
            description="Launcher: `local` starts one machine; `nodes` is started by hand on each of several, with rank and"
            " address from the environment. Default: nodes where hardware.nodes is more than 1."
        ),
    ] = None
    environment: Annotated[
        dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], str],
        Field(
            description="Environment variables of every stage. Secrets are inherited, or named: `HF_TOKEN: ${env:HF_TOKEN}`."
        ),
    ] = {}
