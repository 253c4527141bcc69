"""Of a rehearsal: files that were emitted for GPUs run on this CPU, unchanged; several processes speak by gloo.

Python imports this when it starts, in every process of a stage, because this folder is on PYTHONPATH. It stands in for
one GPU per process: accelerate is told that each has a device, DeepSpeed that the CPU is the accelerator, NCCL is
replaced by gloo, and the questions "can this GPU do bf16, TF32?" are answered with yes, so that `bf16: true` trains in
bf16, by torch's own kernels for CPUs. No number of a configuration is changed.
"""

import importlib.util
import os
import sys
import traceback

RANK = int(os.environ.get("LOCAL_RANK", "-1"))


def able() -> None:
    """Answer the question "can this GPU do bf16?" with yes."""
    import transformers.utils
    from transformers.utils import import_utils

    for module in (import_utils, transformers.utils):
        module.is_torch_bf16_gpu_available = lambda: True
        module.is_torch_tf32_available = lambda: True


def pretend() -> None:
    """Replace what asks for a GPU. Order matters: nothing here may import a module that copies what is replaced."""
    os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"  # read by accelerate

    import torch.distributed as dist
    from accelerate.state import DistributedType, PartialState
    from torch.nn.parallel import DistributedDataParallel as DDP
    from transformers.integrations import accelerate as placement

    # without a device accelerate lets every rank train alone, and says nothing
    PartialState._prepare_backend = lambda *_args, **_kwargs: ("gloo", DistributedType.MULTI_GPU)
    barrier = dist.barrier
    dist.barrier = lambda group=None, async_op=False, **_devices: barrier(group, async_op)
    wrap = DDP.__init__

    def on_no_device(self, module, _device_ids=None, _output_device=None, **rest):
        devices = ("device_ids", "output_device")
        wrap(self, module, **{name: value for name, value in rest.items() if name not in devices})

    DDP.__init__ = on_no_device

    able()
    place = placement.check_and_set_device_map
    placement.check_and_set_device_map = lambda where: place("cpu" if where == {"": RANK} else where)

    from accelerate.parallelism_config import ParallelismConfig

    build = ParallelismConfig.build_device_mesh
    ParallelismConfig.build_device_mesh = lambda self, _device_type: build(self, "cpu")

    import torch

    torch.Tensor.pin_memory = lambda self, *_device: self  # FSDP2 pins what it keeps in host memory
    gather = dist.all_gather_into_tensor

    def gather_detached(output_tensor, input_tensor, group=None, async_op=False):
        """Gather as NCCL does, unseen by autograd: gloo writes into views of the output, which autograd forbids."""
        with torch.no_grad():
            return gather(output_tensor.detach(), input_tensor.detach(), group, async_op)

    dist.all_gather_into_tensor = gather_detached

    if importlib.util.find_spec("deepspeed") is not None:
        from importlib import import_module  # `deepspeed.comm.torch` is torch itself, as an attribute

        import_module("deepspeed.comm.torch").build_shm_op = lambda: None  # would compile for minutes


def chosen() -> bool:
    """Return whether this process is one that trains or answers: no helper that one spawned, and no installer."""
    return "-c" not in sys.orig_argv and "pip" not in sys.orig_argv


os.environ["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "1") if RANK < 0 else "1"
os.environ["DS_ACCELERATOR"] = "cpu"  # read by DeepSpeed
os.environ["AXOLOTL_DATASET_NUM_PROC"] = "0"  # no pool of processes for a few dozen rows
if chosen() and importlib.util.find_spec("transformers") is not None:
    try:
        if RANK >= 0:
            pretend()
        elif os.environ.get("RECIPE_EVENTS"):
            able()
    except Exception:  # Python only prints what a sitecustomize raises; a rehearsal must stop instead
        traceback.print_exc()
        sys.exit(70)
