"""Kinds of files that are easily judged wrongly: each beside all that is told of it, as codes with their lines."""

from pathlib import Path
from typing import Any

import pytest

from recipec.diagnostics import errors
from recipec.doctor import examine
from recipec.source import Source, plain
from recipec.yaml_reader import read_text

from .overlaid import RULES, laid, write

AXOLOTL = """\
base_model: NousResearch/Llama-3.2-1B
datasets: [{path: rows.jsonl, ds_type: json, type: alpaca}]
micro_batch_size: 1
gradient_accumulation_steps: 2
learning_rate: 0.0001
output_dir: out
"""
TRL = "model_name_or_path: Qwen/Qwen3-0.6B\ndataset_name: trl-lib/tldr\noutput_dir: out\n"
FACTORY = (
    "model_name_or_path: Qwen/Qwen3-0.6B\nstage: sft\ndo_train: true\ndataset: d\ntemplate: qwen3\noutput_dir: out\n"
)
ACCELERATE = "compute_environment: LOCAL_MACHINE\ndistributed_type: FSDP\nnum_machines: 1\nnum_processes: 8\nmixed_precision: fp8\n"
BATCH = "#!/bin/bash\n#SBATCH --nodes=2\n#SBATCH --gpus-per-node=8\nHEAD=$(scontrol show hostnames $SLURM_JOB_NODELIST | head -n 1)\n"
RUN = "--nnodes=2 --nproc_per_node=8 --master_addr=$HEAD"

# name: file, text, what is told
KINDS: dict[str, tuple[str, str, list[tuple[str, int]]]] = {
    "the fp8 back end as accelerate's questionnaire writes it": ("a.yaml", ACCELERATE + "fp8_config: {backend: TE, override_linear_precision: [false, false, false]}\n", []),
    "the fp8 back end as only the parser spells it": ("a.yaml", ACCELERATE + "fp8_config: {backend: te}\n", [("T021", 6)]),
    "a dead key that the questionnaire writes": ("a.yaml", ACCELERATE + "fp8_config: {backend: TE, amax_history_length: 1024}\n", [("T020", 6)]),
    "anchors under keys of their own": ("x.yaml", "x-lora: &lora\n  lora_r: 8\n  lora_alhpa2: 4\n_rows: &rows {type: alpaca}\n.more: &more {path: a/b}\n<<: *lora\nadapter: lora\ndatasets: [{<<: [*rows, *more], spilt: train}]\nbase_model: m\nlearning_rate: 0.1\nmicro_batch_size: 1\ngradient_accumulation_steps: 1\n", [("T020", 3), ("T020", 8)]),
    "an anchor under a plain key, used": ("x.yaml", AXOLOTL + "shared: &s {path: t.jsonl, type: alpaca, split: train}\ntest_datasets: [*s]\n", []),
    "an anchor under a plain key, never used": ("x.yaml", AXOLOTL + "shared: &s {path: t.jsonl}\n", [("T020", 7)]),
    "keys for people where the tool refuses what it does not know": ("x.yaml", FACTORY + "_comment: hello\n", [("T020", 7)]),
    "text that Axolotl takes for a truth value": ("x.yaml", AXOLOTL + "bf16: 'true'\ntf32: 'No'\ngradient_checkpointing: 'on'\n", []),
    "such text contradicts like the value": ("x.yaml", AXOLOTL + "bf16: 'true'\nfp16: 'yes'\n", [("D105", 8)]),
    "such text turns a thing off": ("x.yaml", AXOLOTL + "sample_packing: 'false'\nrl: orpo\n", [("T021", 2)]),
    "text that is no truth value": ("x.yaml", AXOLOTL + "bf16: 'perhaps'\n", [("T021", 7)]),
    "text that TRL's parser reads": ("sft.yaml", TRL + "packing: 'True'\nlearning_rate: '1e-5'\n", []),
    "text that LLaMA-Factory hands on": ("x.yaml", FACTORY + "bf16: 'false'\n", [("T021", 7)]),
    "comments in DeepSpeed's JSON": ("ds.json", '{"_comment": "x",\n "//": "y",\n "comment": "z",\n "zero_optimization": {"stage": 3}}', []),
    "comments in a section that refuses them": ("ds.json", '{"zero_optimization": {"stage": 3,\n "_comment": "z"}}', [("T020", 2)]),
    "a misspelt key of DeepSpeed": ("ds.json", '{"zero_optimization": {"stage": 3},\n "train_batchsize": 8}', [("T020", 2)]),
    "the empty key of device_map": ("x.yaml", AXOLOTL + 'device_map: {"": 0}\nlora_alhpa: 3\n', [("T020", 8)]),
    "a null key": ("x.yaml", AXOLOTL + "device_map:\n  : 0\n", [("S021", 8)]),
    "a strategy below FSDP1": ("x.yaml", AXOLOTL + "fsdp_config:\n  sharding_strategy: SHARD_GRAD_OP\n", [("T020", 8)]),
    "a version that Axolotl has no more": ("x.yaml", AXOLOTL + "fsdp_version: 1\nfsdp_config:\n  offload_params: true\n", [("D158", 7)]),
    "resharding of the only version": ("x.yaml", AXOLOTL + "fsdp_config:\n  reshard_after_forward: false\n", []),
    "resharding below FSDP2": ("x.yaml", AXOLOTL + "fsdp_version: 2\nfsdp_config:\n  reshard_after_forward: false\n", []),
    "lists that LLaMA-Factory takes": ("x.yaml", FACTORY.replace(": d\n", ": [a, b]\n") + "lora_target: [q_proj, v_proj]\nadditional_target: [lm_head]\ninterleave_probs: [0.5, 0.5]\nmix_strategy: interleave_under\n", []),
    "a list that LLaMA-Factory does not take": ("x.yaml", FACTORY + "adapter_name_or_path: [a, b]\n", [("T021", 7)]),
    "quantisation of nothing": ("x.yaml", FACTORY + "quantization_method: bnb\ndouble_quantization: true\n", [("D178", 7)]),
    "quantisation": ("x.yaml", FACTORY + "quantization_bit: 4\nquantization_method: bnb\ndouble_quantization: true\n", []),
    "a union that TRL only documents": ("grpo.yaml", TRL + "num_generations: 8\nscale_rewards: true\n", []),
    "no part of that union": ("grpo.yaml", TRL + "num_generations: 8\nscale_rewards: [group]\n", [("T021", 5)]),
    "what transformers deprecates, in a file of LLaMA-Factory": ("x.yaml", FACTORY + "warmup_ratio: 0.1\n", []),
    "a program's own settings in JSON": ("a.json", '{"base": "m", "adapter": "runs/x", "tokenizer": "m", "precision": "bf16", "trust_remote_code": false, "output": "o"}', [("D100", 1)]),
    "a trainer's settings in JSON": ("a.json", '{"base_model": "m", "datasets": [{"path": "x", "type": "alpaca"}], "micro_batch_size": 1, "gradient_accumulation_steps": 1,\n "learning_rate": 0.0001, "adapter": "lora", "lora_r": 8, "lora_alhpa": 8, "lora_target_linear": true}', [("T020", 2)]),
}  # fmt: skip

SCRIPTS: dict[str, tuple[str, list[tuple[str, int]]]] = {
    "a rank that is filled in before srun": (BATCH + f"srun torchrun {RUN} --node_rank=$SLURM_NODEID t.py\n", [("D232", 5)]),
    "a rank that is filled in before srun, in double quotes": (BATCH + f'srun bash -c "torchrun {RUN} --node_rank=$SLURM_NODEID t.py"\n', [("D232", 5)]),
    "a rank that each node fills in": (BATCH + f"srun bash -c 'torchrun {RUN} --node_rank=$SLURM_NODEID t.py'\n", []),
    "a rank that each node fills in, behind a backslash": (BATCH + f'srun bash -c "torchrun {RUN} --node_rank=\\$SLURM_NODEID t.py"\n', []),
    "one rank for all": (BATCH + f"srun torchrun {RUN} --node_rank=0 t.py\n", [("D232", 5)]),
    "no rank": (BATCH + f"srun torchrun {RUN} t.py\n", [("D231", 5)]),
    "no rank, from a variable of torchrun": (BATCH + f"export PET_NODE_RANK=$R\nsrun torchrun {RUN} t.py\n", []),
    "no rank where c10d gives it": (BATCH + "srun torchrun --nnodes=2 --nproc_per_node=8 --rdzv_backend=c10d --rdzv_endpoint=$HEAD:1 t.py\n", []),
    "no rank on one node": ("#SBATCH --nodes=1\n#SBATCH --gpus-per-node=8\nsrun torchrun --nproc_per_node=8 t.py\n", []),
    "accelerate without a rank": (BATCH + "srun accelerate launch --num_processes 16 --num_machines 2 --main_process_ip $HEAD t.py\n", [("D231", 5)]),
    "an address on each node": (BATCH + "srun bash -c 'accelerate launch --num_processes 16 --num_machines 2 --machine_rank $SLURM_NODEID --main_process_ip $(hostname -I) t.py'\n", [("D233", 5)]),
    "an address of the batch's node": (BATCH + "srun bash -c \"accelerate launch --num_processes 16 --num_machines 2 --machine_rank \\$SLURM_NODEID --main_process_ip $HEAD t.py\"\n", []),
    "an option that sbatch does not have": ("#SBATCH --node=2\n#SBATCH --gpu-per-node=8\n#SBATCH --ntask=2\n", [("D230", 2)]),
    "beginnings of options that sbatch takes": ("#SBATCH --nod=2\n#SBATCH --exclus\n", []),
    "letters": ("#SBATCH -N 2 -J x -Z 3\n", [("D230", 1)]),
    "directives that are comments": ("#!/bin/bash\n# SBATCH --nodes=2\n#sbatch --nodes=2\n##SBATCH --nodes=2\n#SBATCH --time=1\n", [("D234", 2), ("D234", 3)]),
    "options below the first command": ("#SBATCH --nodes=1\nmodule load cuda\n#SBATCH --time=1:00\n", [("D221", 3)]),
    "GPUs split between a server and the training": ("#!/bin/bash\nCUDA_VISIBLE_DEVICES=6,7 trl vllm-serve --model m --tensor-parallel-size 2 &\nCUDA_VISIBLE_DEVICES=0,1,2 accelerate launch --num_processes 3 t.py\n", []),
    "the same with a job": ("#SBATCH --gpus-per-node=8\nCUDA_VISIBLE_DEVICES=6,7 trl vllm-serve --model m --tensor_parallel_size=2 &\nCUDA_VISIBLE_DEVICES=0,1,2,3,4,5 accelerate launch --num_processes 6 t.py\n", []),
    "GPUs that both take": ("CUDA_VISIBLE_DEVICES=2,3 vllm serve m --tensor-parallel-size 2 &\nCUDA_VISIBLE_DEVICES=0,1,2 torchrun --nproc_per_node 3 t.py\n", [("D236", 2)]),
    "GPUs that the training takes by itself": ("CUDA_VISIBLE_DEVICES=0 trl vllm-serve --model m &\naccelerate launch --num_processes 3 t.py\n", [("D236", 2)]),
    "more processes than visible GPUs": ("export CUDA_VISIBLE_DEVICES=0,1\ntorchrun --nproc_per_node 4 t.py\n", [("D235", 2)]),
    "a server on more GPUs than it sees": ("CUDA_VISIBLE_DEVICES=0 vllm serve m --tensor-parallel-size 2 &\nCUDA_VISIBLE_DEVICES=1 torchrun --nproc_per_node 1 t.py\n", [("D235", 1)]),
    "devices by their names": ("export CUDA_VISIBLE_DEVICES=GPU-1a\ntorchrun --nproc_per_node 4 t.py\n", []),
    "a launcher in a variable": (BATCH + 'RUN="torchrun --nnodes=2 --nproc_per_node=4 --master_addr=$(hostname) --node_rank=0"\nsrun $RUN t.py\n', [("D222", 6), ("D232", 6)]),
    "a launcher in a list": (BATCH + "ARGS=(\n  --nnodes=2  # two\n  --nproc_per_node=4\n)\nARGS+=(--node_rank=0)\nsrun torchrun \"${ARGS[@]}\" t.py\n", [("D222", 10), ("D232", 10)]),
    "a launcher in a variable of elsewhere": (BATCH + "srun $LAUNCHER t.py\n", [("D229", 5)]),
    "a launcher in another script": (BATCH + "srun bash inner.sh\n", [("D229", 5)]),
    "a launcher in another script, behind options": (BATCH + "srun -N 2 --export=ALL ./inner.sh\n", [("D229", 5)]),
    "a launcher in a script beside this one, which is read": (BATCH.replace("#SBATCH --nodes=2\n#SBATCH --gpus-per-node=8\n", "") + 'here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)\nexec bash "$here/beside.sh"\n', []),
    "the same by the folder alone": ('cd "$(dirname "$0")"\nbash "$(dirname -- "$0")/beside.sh"\n', []),
    "a script beside this one that is not there": ('here=$(cd "$(dirname "$0")" && pwd -P)\nbash "$here/inner.sh"\n', [("D229", 2)]),
    "a Python in a variable, and a launcher": ("for one in python3.11 python3; do\n  $one -c 'import sys' && break\ndone\ntorchrun --nproc_per_node 2 t.py\n", []),
    "a Python in a variable that launches nothing": ("$one -c 'import sys'\n$one -m venv x\n", [("D229", 1)]),
    "a pattern within a test": ('if ! [[ "$RANK" =~ ^(0|[1-9][0-9]*)$ && "$RANK" -lt 8 ]]; then exit; fi\ntorchrun --nproc_per_node 2 --nope 1 t.py\n', [("D228", 2)]),
    "a program without a launcher": (BATCH + "srun python t.py\n", []),
    "a sum": (BATCH + "G=4\nsrun torchrun --nnodes=2 --nproc_per_node=$((G * 2)) --rdzv_backend=c10d t.py\n", []),
    "a default": (BATCH + "srun torchrun --nnodes=2 --nproc_per_node=${G:-4} --rdzv_backend=c10d t.py\n", [("D222", 5)]),
    "a number of Slurm's": (BATCH + "srun torchrun --nnodes=$SLURM_NNODES --nproc_per_node=8 t.py\n", [("D231", 5)]),
}  # fmt: skip


def told(file: Path) -> list[tuple[str, int]]:
    """Return the codes and lines of everything that is found."""
    return [(finding.code, finding.span.line if finding.span else 0) for finding in examine([str(file)]).findings]


@pytest.mark.parametrize("kind", KINDS)
def test_kind_of_file(kind: str, tmp_path: Path) -> None:
    name, text, expected = KINDS[kind]
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert told(tmp_path / name) == expected


@pytest.mark.parametrize("kind", SCRIPTS)
def test_kind_of_script(kind: str, tmp_path: Path) -> None:
    text, expected = SCRIPTS[kind]
    (tmp_path / "run.sh").write_text(text, encoding="utf-8")
    (tmp_path / "beside.sh").write_text("torchrun --nproc_per_node 2 t.py\n", encoding="utf-8")
    assert told(tmp_path / "run.sh") == expected


METHODS = [
    ("orpo.yaml", "beta: 0.1\nmax_completion_length: 5\n", "orpo"),
    ("train.yaml", "beta: 0.1\nmax_length: 5\nrun_name: my-orpo\n", "orpo"),
    ("simpo.yaml", "loss_type: simpo\ncpo_alpha: 0.0\nsimpo_gamma: 1.0\n", "cpo"),
    ("train.yaml", "beta: 0.1\nmax_length: 5\n", "dpo"),
    ("train.yaml", "beta: 0.1\nmax_prompt_length: 5\n", "dpo"),
    ("gkd.yaml", "teacher_model_name_or_path: m\nlmbda: 0.5\n", "gkd"),
    ("train.yaml", "num_generations: 8\nmax_completion_length: 5\nloss_type: dr_grpo\n", "grpo"),
]


@pytest.mark.parametrize(("name", "text", "method"), METHODS)
def test_methods_of_trl(name: str, text: str, method: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(TRL + text, encoding="utf-8")
    ((_, guess),) = examine([str(tmp_path / name)]).recognised
    assert (guess.tool, guess.document) == ("trl", method)


def test_a_method_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(TRL + "beta: 0.1\n", encoding="utf-8")
    found = examine([str(tmp_path / "x.yaml")], ["trl-1.9.0:orpo"])
    assert found.recognised[0][1].title == "TRL 1.9.0 (orpo, of trl.experimental)"
    with pytest.raises(ValueError, match="no kpo of TRL; there is sft"):
        examine([str(tmp_path / "x.yaml")], ["trl:kpo"])


def refusals() -> list[dict[str, Any]]:
    """Return the rows of `refusals.yaml`."""
    rows: Any = plain(read_text(Source("refusals.yaml", RULES.with_name("refusals.yaml").read_text(encoding="utf-8"))))
    return list(rows)


@pytest.mark.parametrize("row", refusals(), ids=lambda row: f"{row['code']}-{'-'.join(row['bad'])}")
def test_refusal_of_axolotl(row: dict[str, Any], tmp_path: Path) -> None:
    of = [f"axolotl-{row['of']}"] if "of" in row else []
    bad = examine([str(write(tmp_path / "bad", "axolotl", "", laid("axolotl", row["bad"])))], of)
    assert row["code"] in {finding.code for finding in errors(bad.findings)}
    good = examine([str(write(tmp_path / "good", "axolotl", "", laid("axolotl", row["good"])))], of)
    assert errors(good.findings) == []
