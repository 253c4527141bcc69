"""Test only: let configurations that were written for GPUs train on this CPU, unchanged, as several gloo ranks.

Put this folder on PYTHONPATH. It acts in the ranks that a launcher starts (they have LOCAL_RANK) and nowhere else.
It stands in for one GPU per rank: accelerate is told that each rank has a device, DeepSpeed that the CPU is the
accelerator, NCCL is replaced by gloo, and the questions "can this GPU do bf16, TF32?" are answered with yes, so that
`bf16: true` trains in bf16 (on the CPU, through torch's own CPU kernels). No number of a configuration is changed.
"""

import importlib.util
import os
import sys
import traceback

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["DS_ACCELERATOR"] = "cpu"  # read by DeepSpeed
os.environ["AXOLOTL_DATASET_NUM_PROC"] = "1"  # no pool of processes for a few dozen rows


def pretend() -> None:
    """Replace what asks for a GPU. Order matters: nothing here may import a module that copies what is replaced."""
    os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"  # read by accelerate

    import torch.distributed as dist
    import transformers.utils
    from accelerate.state import DistributedType, PartialState
    from torch.nn.parallel import DistributedDataParallel as DDP
    from transformers.integrations import accelerate as placement
    from transformers.utils import import_utils

    # without a device accelerate lets every rank train alone, and says nothing
    PartialState._prepare_backend = lambda *_args, **_kwargs: ("gloo", DistributedType.MULTI_GPU)
    barrier = dist.barrier
    dist.barrier = lambda group=None, async_op=False, device_ids=None: barrier(group, async_op)
    wrap = DDP.__init__
    DDP.__init__ = lambda self, module, device_ids=None, output_device=None, **rest: wrap(self, module, **rest)

    for module in (import_utils, transformers.utils):
        module.is_torch_bf16_gpu_available = lambda: True
        module.is_torch_tf32_available = lambda: True
    place = placement.check_and_set_device_map
    placement.check_and_set_device_map = lambda where: place("cpu" if where == {"": local_rank} else where)

    from accelerate.parallelism_config import ParallelismConfig

    build = ParallelismConfig.build_device_mesh
    ParallelismConfig.build_device_mesh = lambda self, _device_type: build(self, "cpu")

    import torch

    gather = dist.all_gather_into_tensor

    def gather_detached(output_tensor, input_tensor, group=None, async_op=False):
        """Gather as NCCL does, unseen by autograd: gloo writes into views of the output, which autograd forbids."""
        with torch.no_grad():
            return gather(output_tensor.detach(), input_tensor.detach(), group, async_op)

    dist.all_gather_into_tensor = gather_detached

    if importlib.util.find_spec("deepspeed") is not None:
        import deepspeed.comm.torch

        deepspeed.comm.torch.build_shm_op = lambda: None  # would compile for minutes


def witness() -> None:
    """Write what each rank really does to $RECIPEC_EVIDENCE: the test asks the ranks, not the configuration."""
    import json

    import torch.distributed as dist
    from accelerate import Accelerator
    from torch.distributed.tensor import DTensor

    prepare = Accelerator.prepare

    def watched(self, *args, **kwargs):
        result = prepare(self, *args, **kwargs)
        for item in result if isinstance(result, (tuple, list)) else (result,):
            if hasattr(item, "named_parameters"):
                names = [kind.__name__ for kind in type(item).__mro__]
                sharded = sum(isinstance(parameter, DTensor) for parameter in item.parameters())
                stage = item.zero_optimization_stage() if hasattr(item, "zero_optimization_stage") else None
                row = {"world": dist.get_world_size(), "backend": dist.get_backend(), "classes": names}
                row |= {"sharded": sharded, "zero_stage": stage, "dtype": str(next(item.parameters()).dtype)}
                path = os.path.join(os.environ["RECIPEC_EVIDENCE"], f"rank{dist.get_rank()}.json")  # noqa: PTH118
                with open(path, "w", encoding="utf-8") as stream:  # noqa: PTH123
                    json.dump(row, stream)
        return result

    Accelerator.prepare = watched


def formats() -> None:
    """Write the formats of what an optimiser steps to $RECIPEC_FORMATS: of its parameters, and of their states."""
    import json

    import torch
    from torch.optim.optimizer import register_optimizer_step_post_hook

    def told(optimizer, *_more):
        held = [one for group in optimizer.param_groups for one in group["params"] if one.numel()]
        states = [value for state in optimizer.state.values() for value in state.values() if torch.is_tensor(value)]
        row = {"parameters": held, "states": [one for one in states if one.dim()]}
        found = {name: sorted({str(one.dtype).removeprefix("torch.") for one in those}) for name, those in row.items()}
        with open(os.environ["RECIPEC_FORMATS"], "w", encoding="utf-8") as stream:  # noqa: PTH123
            json.dump(found, stream)

    register_optimizer_step_post_hook(told)


def able() -> None:
    """Answer the question "can this GPU do bf16?" with yes in a process that trains alone."""
    import transformers.utils
    from transformers.utils import import_utils

    for module in (import_utils, transformers.utils):
        module.is_torch_bf16_gpu_available = lambda: True
        module.is_torch_tf32_available = lambda: True


local_rank = int(os.environ.get("LOCAL_RANK", -1))
if "RECIPEC_FORMATS" in os.environ and "-c" not in sys.orig_argv and "pip" not in sys.orig_argv:
    try:
        formats()
        if local_rank < 0:
            able()
    except Exception:
        traceback.print_exc()
        sys.exit(70)
if local_rank >= 0 and "-c" not in sys.orig_argv:  # a rank, not a helper process that a rank spawned
    try:
        pretend()
        if "RECIPEC_EVIDENCE" in os.environ:
            witness()
    except Exception:  # Python only prints what a sitecustomize raises; a test must stop instead
        traceback.print_exc()
        sys.exit(70)
