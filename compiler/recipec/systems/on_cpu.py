"""What a rehearsal lays over a recipe because there is no GPU: each system's own knowledge, as data."""

from __future__ import annotations

from typing import Any

from recipec.plan import Record
from recipec.systems.check import Only


class Instead(Record, frozen=True):
    """A value that stands in where a CPU cannot do what was asked for.

    `at` is a path of the recipe (`overrides.TOOL.KEY` too); `value` None: nothing is said there. It is laid where all of
    `when` holds for a stage's values. `untried`: what is not rehearsed then, where that is more than a number.
    """

    at: str
    value: Any
    why: str
    when: tuple[Only, ...] = ()
    untried: str = ""


class OnCpu(Record, frozen=True):
    """What of a system runs on a CPU: with `instead`; or nothing does, `never` says why."""

    instead: tuple[Instead, ...] = ()
    never: str = ""


ATTENTION = Instead(
    "model.attention",
    "sdpa",
    "its kernels need a GPU",
    (Only("model.attention", frozenset(["sdpa", "eager"]), negate=True),),
    untried="kernels of attention",
)
_ZERO = Only("parallel.strategy", frozenset(["zero1", "zero2", "zero3"]))
_VLLM = (Only("rollout.engine", frozenset(["vllm"])),)
_NVME = "DeepSpeed's asynchronous reads would be compiled, for a drive that is not here"
# Of every trainer that stands on Hugging Face's.
TRAINERS: tuple[Instead, ...] = (
    ATTENTION,
    Instead(
        "train.precision",
        "fp32",
        "fp16 with scaled losses needs a GPU",
        (Only("numerics.precision", frozenset(["fp16"])),),
        untried="fp16 with scaled losses",
    ),
    Instead(
        "train.liger_kernel",
        False,
        "Triton's kernels need a GPU",
        (Only("numerics.liger_kernel"),),
        untried="Liger's kernels",
    ),
    Instead(
        "train.torch_compile",
        False,
        "compiling takes longer than all else, and changes no value",
        (Only("numerics.torch_compile"),),
        untried="torch.compile",
    ),
    Instead(
        "parallel.context_parallel",
        1,
        "sequences are split by kernels that need a GPU",
        (Only("parallel.context_parallel", frozenset([1]), negate=True),),
        untried="sequences that processes share",
    ),
    Instead(
        "parallel.tensor_parallel",
        1,
        "two processes are too few to split layers and batches",
        (Only("parallel.tensor_parallel", frozenset([1]), negate=True),),
        untried="layers that GPUs share",
    ),
    Instead("parallel.offload.optimizer", "cpu", _NVME, (Only("parallel.optimizer_offload", frozenset(["nvme"])),)),
    Instead("parallel.offload.parameters", "cpu", _NVME, (Only("parallel.parameter_offload", frozenset(["nvme"])),)),
    Instead("parallel.offload.nvme_path", None, _NVME, (Only("parallel.nvme_path"),), untried="offload to NVMe"),
    Instead(
        "overrides.deepspeed.zero_force_ds_cpu_optimizer",
        False,
        "DeepSpeed's own Adam for CPUs would be compiled for minutes; torch's steps in its place",
        (_ZERO, Only("parallel.optimizer_offload", frozenset(["cpu", "nvme"]))),
        untried="DeepSpeed's Adam on CPUs",
    ),
    Instead("rollout.engine", "hf", "vLLM needs a GPU; the trainer's own model writes the answers", _VLLM, "vLLM"),
    Instead("rollout.engines", None, "of vLLM", (*_VLLM, Only("rollout.engines"))),
    Instead("rollout.tensor_parallel", None, "of vLLM", _VLLM),
    Instead("rollout.gpu_memory_share", None, "of vLLM", _VLLM),
)
