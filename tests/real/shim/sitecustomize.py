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

    if importlib.util.find_spec("deepspeed") is not None:
        import deepspeed.comm.torch

        deepspeed.comm.torch.build_shm_op = lambda: None  # would compile for minutes


local_rank = int(os.environ.get("LOCAL_RANK", -1))
if local_rank >= 0 and "-c" not in sys.orig_argv:  # a rank, not a helper process that a rank spawned
    try:
        pretend()
    except Exception:  # Python only prints what a sitecustomize raises; a test must stop instead
        traceback.print_exc()
        sys.exit(70)
