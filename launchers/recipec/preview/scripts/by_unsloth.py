"""Rows as Unsloth prepares them: the emitted script's own rows, and the preparation of the trainer that it patches.

Without a GPU, Unsloth patches TRL's trainer for the CPU; on one it puts its own preparation in the place of TRL's, which
is plain Python and is put there here too, for a recipe of a GPU. What else it patches there decides no token and no mask.
"""

import os
import sys
from pathlib import Path

import by_trl
import common


def main() -> None:
    """Answer the request."""
    request = common.read_request()
    if common.load_tokenizer(request) is None:
        return
    folder, scratch = Path(request["folder"]), Path(request["scratch"])
    os.environ |= {
        "UNSLOTH_FORCE_CPU": "1",
        "UNSLOTH_DISABLE_STATISTICS": "1",
        "UNSLOTH_COMPILE_LOCATION": str(scratch / "compiled"),
    }
    import unsloth  # noqa: F401  # before TRL, which it patches

    if request["gpu"]:
        prepare_as_on_a_gpu()
    sys.path.insert(0, str(folder))
    tokenizer, parts = by_trl.by_script(request, folder)
    supervised = request["method"] in ("sft", "pretrain")
    config = by_trl.arguments(folder / "train.py") if supervised else {}
    answers = [by_trl.supervise, by_trl.prefer][not supervised](request, config, tokenizer, parts, scratch)
    common.answer(versions=common.versions(), template=common.template_digest(tokenizer), **answers)


def prepare_as_on_a_gpu() -> None:
    """Give TRL's trainer Unsloth's preparation, beside the packing of TRL that it finds in the trainer's module."""
    import trl
    from trl.trainer.sft_trainer import pack_dataset
    from unsloth_zoo import dataset_utils

    dataset_utils.pack_dataset = pack_dataset
    trl.SFTTrainer._prepare_dataset = dataset_utils.sft_prepare_dataset


if __name__ == "__main__":
    main()
