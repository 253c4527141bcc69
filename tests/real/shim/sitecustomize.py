"""Test only: let configurations that were written for GPUs train on this CPU, unchanged, as several gloo ranks.

Put this folder on PYTHONPATH. What stands in for one GPU per rank is that of `recipe run --rehearse`
(`launchers/recipec/rehearsal/on_cpu/`), which is run here; beside that, ranks and optimisers tell what they really do.
"""

import importlib.util
import os
import sys
import traceback
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[3] / "launchers" / "recipec" / "rehearsal" / "on_cpu" / "sitecustomize.py"
spec = importlib.util.spec_from_file_location("on_cpu", SOURCES)
on_cpu = importlib.util.module_from_spec(spec)
spec.loader.exec_module(on_cpu)


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


if "RECIPEC_FORMATS" in os.environ and on_cpu.chosen():
    try:
        formats()
        if on_cpu.RANK < 0:
            on_cpu.able()
    except Exception:
        traceback.print_exc()
        sys.exit(70)
if on_cpu.RANK >= 0 and "-c" not in sys.orig_argv and "RECIPEC_EVIDENCE" in os.environ:
    try:
        witness()
    except Exception:  # Python only prints what a sitecustomize raises; a test must stop instead
        traceback.print_exc()
        sys.exit(70)
