"""The judges say yes to a good file and no to a broken one: a judge that cannot refuse proves nothing."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

JUDGES = Path(__file__).parents[1] / "judges"
AXOLOTL, GENERAL = "axolotl-0.21.0-deepspeed", "trl-1.16.0-deepspeed"
A100 = {"sm": "sm_80", "count": 4, "bf16": True}
T4 = {"sm": "sm_75", "count": 1, "bf16": False}


class Sample(NamedTuple):
    """A file, what else the job says, and part of the refusal that is expected (None: the file is good)."""

    name: str
    text: str
    refusal: str | None = None
    job: dict[str, Any] = {}  # never changed


def verdicts(python: Path, tool: str, samples: list[Sample], folder: Path) -> dict[str, dict[str, Any]]:
    """Return each sample's verdict."""
    jobs = []
    for sample in samples:
        file = folder / f"{sample.name}.{'json' if tool == 'deepspeed' else 'yaml'}"
        file.write_text(sample.text, encoding="utf-8")
        jobs.append({"file": str(file), "cwd": str(folder), **sample.job})
    done = subprocess.run(
        [python, JUDGES / f"{tool}.py"],
        input=json.dumps(jobs),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {Path(verdict["file"]).stem: verdict for verdict in json.loads(done.stdout)}


def compare(samples: list[Sample], found: dict[str, dict[str, Any]]) -> None:
    """Hold every verdict against what the sample expects."""
    wrong = []
    for sample in samples:
        verdict = found[sample.name]
        said = " ".join([verdict["error"] or "", *verdict["unknown"]])
        if verdict["ok"] is not (sample.refusal is None) or (sample.refusal or "") not in said:
            wrong.append((sample.name, sample.refusal, verdict))
    assert wrong == []


BASE = """
base_model: m
sequence_len: 128
micro_batch_size: 1
learning_rate: 1.0e-4
optimizer: adamw_torch
lr_scheduler: cosine
output_dir: o
"""
CHAT = BASE + "datasets: [{path: a.jsonl, type: chat_template}]\n"
LIGER = "plugins: [axolotl.integrations.liger.LigerPlugin]\n"
DPO = BASE + "rl: dpo\ndatasets: [{path: json, data_files: [a.jsonl], type: chatml.intel%s}]\n"
AXOLOTL_SAMPLES = [
    Sample("good", CHAT + "bf16: true\n", None, {"gpu": A100}),
    Sample("cpu", CHAT + "bf16: false\nfp16: false\n", None, {"gpu": None}),
    Sample("plugin", CHAT + LIGER + "liger_rope: true\n", None, {"gpu": A100}),
    Sample("dpo", DPO % "", None, {"gpu": A100}),
    Sample("renamed", CHAT + "model_type: LlamaForCausalLM\n", None, {"gpu": A100}),
    Sample("typo", CHAT + "context_parapllel_size: 2\n", "context_parapllel_size", {"gpu": A100}),
    Sample("no_plugin", CHAT + "liger_rope: true\n", "liger_rope", {"gpu": A100}),
    Sample("bad_plugin", CHAT + LIGER.replace("liger", "ligr"), "axolotl.integrations.ligr", {"gpu": A100}),
    Sample("nested", CHAT + "fsdp_config: {offload_parms: true}\n", "fsdp_config.offload_parms", {"gpu": A100}),
    Sample("dpo_key", DPO % ", ds_type: json", "datasets.0.ds_type", {"gpu": A100}),
    Sample("optimizer", CHAT.replace("adamw_torch", "adamw_trch"), "OptimizerNames", {"gpu": A100}),
    Sample("scheduler", CHAT.replace("cosine", "cosin"), "SchedulerType", {"gpu": A100}),
    Sample("type", CHAT.replace("128", "long"), "sequence_len", {"gpu": A100}),
    Sample("qlora", CHAT + "adapter: qlora\nlora_r: 8\n", "load_in_4bit", {"gpu": A100}),
    Sample("bf16", CHAT + "bf16: true\n", "AMP is not supported", {"gpu": T4}),
    Sample("fp8", CHAT + "fp8: true\n", "fp8 is not supported", {"gpu": A100}),
]

DS: dict[str, Any] = {
    "train_batch_size": 8,
    "train_micro_batch_size_per_gpu": 1,
    "gradient_accumulation_steps": 2,
    "bf16": {"enabled": True},
    "zero_optimization": {"stage": 3, "offload_optimizer": {"device": "cpu"}},
    "optimizer": {"type": "AdamW", "params": {"lr": 1e-4}},
    "activation_checkpointing": {"cpu_checkpointing": False},
}


def ds(name: str, refusal: str | None = None, world: int = 4, **more: Any) -> Sample:
    """Return a DeepSpeed sample: the good one with some blocks replaced."""
    return Sample(name, json.dumps({**DS, **more}), refusal, {"world": world})


DEEPSPEED_SAMPLES = [
    ds("good"),
    ds("world", "train_batch_size is not equal", world=8),
    ds("top", "zero_optimisation", zero_optimisation={}),
    ds("zero", "Extra inputs", zero_optimization={"stag": 3}),
    ds("stage", "Input should be 0, 1, 2", zero_optimization={"stage": 7}),
    ds("nested", "activation_checkpointing.cpu_chekpointing", activation_checkpointing={"cpu_chekpointing": True}),
    ds("optimizer", "AdmaW", optimizer={"type": "AdmaW"}),
    ds("scheduler", "WarmpLR", scheduler={"type": "WarmpLR", "params": {}}),
    Sample("duplicate", '{"train_batch_size": 4, "train_batch_size": 8}', "Duplicate", {"world": 4}),
]

ONE = "compute_environment: LOCAL_MACHINE\nnum_processes: 4\nnum_machines: 1\nmachine_rank: 0\n"
DDP = ONE + "mixed_precision: bf16\ndistributed_type: MULTI_GPU\n"
FSDP = (
    ONE
    + """mixed_precision: bf16
distributed_type: FSDP
fsdp_config:
  fsdp_version: 2
  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP
  fsdp_transformer_layer_cls_to_wrap: LlamaDecoderLayer
  fsdp_reshard_after_forward: true
  fsdp_state_dict_type: SHARDED_STATE_DICT
"""
)
WITH_DS = (
    ONE + "distributed_type: DEEPSPEED\ndeepspeed_config: {deepspeed_config_file: ds.json, zero3_init_flag: true%s}\n"
)
TWO = ("num_machines: 1", "num_machines: 2")
WORLD = {"world": 4}
ACCELERATE_SAMPLES = [
    Sample("ddp", DDP, None, WORLD),
    Sample("fsdp", FSDP, None, WORLD),
    Sample("deepspeed", WITH_DS % "", None, WORLD),
    Sample(
        "two",
        (WITH_DS % ", deepspeed_multinode_launcher: standard").replace(*TWO) + "main_process_ip: 10.0.0.1\n",
        None,
        WORLD,
    ),
    Sample("top", DDP + "num_proceses: 4\n", "num_proceses", WORLD),
    Sample("nested", FSDP + "  fsdp_offload_parms: true\n", "fsdp_config.fsdp_offload_parms", WORLD),
    Sample("world", DDP, "starts 4 processes, not 8", {"world": 8}),
    Sample("kind", DDP.replace("MULTI_GPU", "MANY_GPU"), "MANY_GPU", WORLD),
    Sample("wrap", FSDP.replace("TRANSFORMER_BASED_WRAP", "TRANSFORMERS"), "auto wrap policy", WORLD),
    Sample("stage", ONE + "distributed_type: DEEPSPEED\ndeepspeed_config: {zero_stage: 7}\n", "no ZeRO stage 7", WORLD),
    Sample("no_file", (WITH_DS % "").replace("ds.json", "none.json"), "none.json", WORLD),
    Sample("both", (WITH_DS % "") + "mixed_precision: bf16\n", "will be ignored", WORLD),
    Sample("ip", DDP.replace(*TWO), None, {**WORLD, "arguments": ["--main_process_ip", "10.0.0.1"]}),
    Sample("no_ip", DDP.replace(*TWO), "main_process_ip", WORLD),
    Sample("launcher", WITH_DS % ", deepspeed_multinode_launcher: ssh", "ssh", WORLD),
]

TASK = """
task: mine_task
dataset_path: json
output_type: multiple_choice
doc_to_text: q
doc_to_choice: c
doc_to_target: t
"""
EVAL = "model: hf\nmodel_args: {pretrained: m, dtype: float32}\ninclude_path: tasks\noutput_path: o\ndevice: cpu\n"
LM_EVAL_SAMPLES = [
    Sample("good", EVAL + "tasks: [mine_task, gsm8k]\n"),
    Sample("vllm", EVAL.replace("model: hf", "model: vllm") + "tasks: [gsm8k]\n"),
    Sample("task", EVAL + "tasks: [mine_tsk]\n", "mine_tsk"),
    Sample("key", EVAL + "tasks: [gsm8k]\nbatchsize: 2\n", "batchsize"),
    Sample("model", EVAL.replace("model: hf", "model: hff") + "tasks: [gsm8k]\n", "hff"),
    Sample("no_tasks", EVAL, "no tasks"),
    Sample("samples", "model: hf\nlog_samples: true\ntasks: [gsm8k]\n", "output_path"),
]

CASES = [
    (AXOLOTL, "axolotl", AXOLOTL_SAMPLES),
    *[(name, "deepspeed", DEEPSPEED_SAMPLES) for name in (AXOLOTL, GENERAL)],
    *[(name, "accelerate", ACCELERATE_SAMPLES) for name in (AXOLOTL, GENERAL)],
    *[(name, "lm_eval", LM_EVAL_SAMPLES) for name in (AXOLOTL, GENERAL)],
]


@pytest.mark.conformance
@pytest.mark.parametrize(("name", "tool", "samples"), CASES, ids=[f"{tool}-{name}" for name, tool, _ in CASES])
def test_judge(name: str, tool: str, samples: list[Sample], tool_python: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "mine.yaml").write_text(TASK, encoding="utf-8")
    (tmp_path / "ds.json").write_text(json.dumps(DS), encoding="utf-8")
    compare(samples, verdicts(tool_python(name), tool, samples, tmp_path))
