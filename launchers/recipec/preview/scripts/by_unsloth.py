"""Rows as Unsloth prepares them: the emitted script's own rows, and the preparation of the trainer that it patches.

Without a GPU, Unsloth patches TRL's trainer for the CPU. With a GPU, it also replaces TRL's preparation of rows by its
own, which is plain Python; this is done here too when the recipe uses a GPU. Its other patches for GPUs change neither
tokens nor masks.
"""

import os
from pathlib import Path

import by_trl
import common


def main() -> None:
    """Answer the request."""
    request = common.read_request()
    if common.load_tokenizer(request) is None:
        return
    scratch = Path(request["scratch"])
    os.environ |= {
        "UNSLOTH_FORCE_CPU": "1",
        "UNSLOTH_DISABLE_STATISTICS": "1",
        "UNSLOTH_COMPILE_LOCATION": str(scratch / "compiled"),
    }
    import unsloth  # noqa: F401  # before TRL, which it patches

    if request["gpu"]:
        prepare_as_on_a_gpu()
    by_trl.answer(request, Path(request["folder"]), scratch)


def prepare_as_on_a_gpu() -> None:
    """Give TRL's trainer Unsloth's preparation of rows; Unsloth takes the packing from TRL's trainer module."""
    import trl
    from trl.trainer.sft_trainer import pack_dataset
    from unsloth_zoo import dataset_utils

    dataset_utils.pack_dataset = pack_dataset
    trl.SFTTrainer._prepare_dataset = dataset_utils.sft_prepare_dataset


if __name__ == "__main__":
    main()
