"""Test only: let configurations that were written for GPUs train on this CPU, unchanged, as several gloo ranks.

Put this folder on PYTHONPATH. It acts in the ranks that a launcher starts (they have LOCAL_RANK) and nowhere else.
It stands in for one GPU per rank: accelerate is told that each rank has a device, DeepSpeed that the CPU is the
accelerator, NCCL is replaced by gloo, and the questions "can this GPU do bf16, TF32?" are answered with yes, so that
`bf16: true` trains in bf16 (on the CPU, through torch's own CPU kernels). No number of a configuration is changed.
"""

import os
import sys
import traceback

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["DS_ACCELERATOR"] = "cpu"  # read by DeepSpeed
os.environ["AXOLOTL_DATASET_NUM_PROC"] = "1"  # no pool of processes for a few dozen rows


def pretend() -> None:
    os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"  # read by accelerate

    import torch
    import torch.distributed as dist
    from accelerate.state import DistributedType, PartialState
    from transformers.utils import import_utils

    # accelerate asks CUDA how many ranks may run; without an answer it trains one process in each rank, silently.
    PartialState._prepare_backend = lambda *_args, **_kwargs: ("gloo", DistributedType.MULTI_GPU)
    barrier = dist.barrier
    dist.barrier = lambda group=None, async_op=False, device_ids=None: barrier(group, async_op)

    # cached answers: their importers have not copied the functions yet, since nothing else was imported before
    import_utils.is_torch_bf16_gpu_available = lambda: True
    import_utils.is_torch_tf32_available = lambda: True
    import transformers.utils

    transformers.utils.is_torch_bf16_gpu_available = import_utils.is_torch_bf16_gpu_available
    transformers.utils.is_torch_tf32_available = import_utils.is_torch_tf32_available


if "LOCAL_RANK" in os.environ and "-c" not in sys.orig_argv:  # a rank, not a helper process that a rank spawned
    try:
        pretend()
    except Exception:  # Python only prints what a sitecustomize raises; a test must stop instead
        traceback.print_exc()
        sys.exit(70)
