"""Test only: a CPU build of torch answers as a CUDA build does on a machine without a GPU, which Axolotl 0.17 expects."""

import torch


def _no_gpu(*_: object) -> tuple[int, int]:
    raise RuntimeError("Found no NVIDIA driver on your system")


torch.cuda.get_device_capability = _no_gpu
