"""Scripts that are one of several processes already, or bound to one GPU."""

import libcst as cst

from recipec.adopt.survey import Survey
from recipec.adopt.training import code
from recipec.adopt.tree import dotted, last
from recipec.adopt.trouble import Trouble

# What makes a script one of several processes already, and what to do with it instead.
LAUNCHED = "it runs on several GPUs as it is: start it by a recipe with trainer: script"
ALREADY = {
    "lightning": ("a Lightning script is distributed by its Trainer", LAUNCHED),
    "pytorch_lightning": ("a Lightning script is distributed by its Trainer", LAUNCHED),
    "transformers.Trainer": ("the Hugging Face Trainer is distributed already", LAUNCHED),
    "transformers.Seq2SeqTrainer": ("the Hugging Face Trainer is distributed already", LAUNCHED),
    "trl": ("TRL's trainers are distributed already", LAUNCHED),
    "deepspeed": ("DeepSpeed distributes this script already", f"{LAUNCHED}, launcher: deepspeed"),
    "fastai": ("fastai's Learner hides its loop", "use Learner.to_distributed"),
    "ignite": ("Ignite's Engine hides its loop", "use ignite.distributed"),
}
BY_HAND = {
    "DistributedDataParallel": "is distributed by hand already",
    "init_process_group": "is distributed by hand already",
    "DistributedSampler": "shares its data by hand already",
    "FullyShardedDataParallel": "is sharded by hand already",
    "fully_shard": "is sharded by hand already",
    "DataParallel": "uses torch.nn.DataParallel, which is one process with several GPUs",
}


def refuse_distributed(survey: Survey) -> None:
    """Raise Trouble where the script is distributed already, or bound to one GPU."""
    for name, statement in survey.imports.items():
        for known, (message, advice) in ALREADY.items():
            if name == known or name.startswith(known + ".") or (known == "trl" and name.startswith("trl")):
                raise Trouble(statement, "A003", message, advice)
    for use in survey.calls:
        assert isinstance(use.node, cst.Call)
        called = last(dotted(use.node.func))
        if called in BY_HAND or dotted(use.node.func) in ("DDP", "FSDP"):
            what = BY_HAND.get(called, "is distributed by hand already")
            advice = "take these lines out first: Accelerate does their work"
            raise Trouble(use.node, "A004", f"the script {what}", advice)
        if called == "set_device":
            raise Trouble(use.node, "A005", "the script binds itself to one GPU", "drop the line: Accelerate chooses")
        if called == "spawn" or (
            called == "Process" and any(a.keyword and a.keyword.value == "target" for a in use.node.args)
        ):
            advice = "take these lines out and call the function itself: the launcher starts the processes"
            raise Trouble(use.node, "A004", "the script starts processes of its own", advice)
    for made in survey.assignments:
        if "CUDA_VISIBLE_DEVICES" in code(made.statement).partition("=")[0]:
            advice = "drop the line: the launcher gives each process its GPU"
            raise Trouble(made.statement, "A005", "the script binds itself to one GPU", advice)
