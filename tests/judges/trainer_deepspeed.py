"""Judge whether the Hugging Face trainer takes a DeepSpeed file beside its own numbers, on one pretended process.

A job: {"file": ..., "arguments": {"per_device_train_batch_size": 2, …}}.
"""

from importlib import import_module

from judging import Job, environment, run


def judge(job: Job) -> list[str]:
    """Return nothing. Raises what the trainer raises where the file's numbers are not its own."""
    with environment(RANK=0, LOCAL_RANK=0, WORLD_SIZE=1, MASTER_ADDR="127.0.0.1", MASTER_PORT=29555):
        training = import_module("transformers.training_args")
        arguments = training.TrainingArguments(output_dir="out", use_cpu=True, report_to="none", **job["arguments"])
        deepspeed = import_module("transformers.integrations.deepspeed")
        config = deepspeed.HfTrainerDeepSpeedConfig(job["file"])
        config.trainer_config_process(arguments)
        config.trainer_config_finalize(arguments, None, 10)
    return []


if __name__ == "__main__":
    run(judge)
