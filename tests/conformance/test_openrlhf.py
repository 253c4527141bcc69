"""OpenRLHF's own programs accept the command lines that we emit, and refuse wrong ones. None of them can train here."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recipec.diagnostics import errors
from recipec.pipeline import compile_file

ROOT = Path(__file__).parents[2]
JUDGE = ROOT / "tests" / "judges" / "openrlhf.py"
ENVIRONMENT = "openrlhf-cli"
RECIPES = [*(ROOT / "recipes").glob("*.yaml"), *(Path(__file__).parent / "openrlhf").glob("*.yaml")]


def judged(jobs: list[dict[str, Any]], python: Path) -> dict[str, dict[str, Any]]:
    done = subprocess.run(
        [python, JUDGE], input=json.dumps(jobs), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {verdict["file"]: verdict for verdict in json.loads(done.stdout)}


@pytest.mark.conformance
def test_it_accepts_what_we_emit(tool_python: Callable[[str], Path], tmp_path: Path) -> None:
    jobs, methods = [], set()
    for recipe in RECIPES:
        compiled = compile_file(str(recipe))
        assert errors(compiled.findings) == []
        assert compiled.resolved is not None
        for stage in compiled.resolved.plan.of_kind("train"):
            if stage.system == "openrlhf":
                file = tmp_path / compiled.name / f"{stage.name}.sh"
                file.parent.mkdir(exist_ok=True)
                file.write_text(compiled.files[f"{stage.name}/openrlhf.sh"], encoding="utf-8")
                jobs.append({"file": str(file), "world": stage.body.hardware.world})
                methods.add(stage.body.method)
    assert methods == {"sft", "reward", "dpo", "ipo", "grpo", "rloo", "ppo"}
    verdicts = judged(jobs, tool_python(ENVIRONMENT))
    assert len(verdicts) == len(jobs)
    assert [verdict for verdict in verdicts.values() if not verdict["ok"]] == []


SCRIPT = '#!/usr/bin/env bash\narguments=(\n  {}\n)\nexec python3 -m openrlhf.cli.{} "${{arguments[@]}}"\n'
SHARED = "--actor.num_nodes 1 --ref.num_nodes 1 --vllm.num_engines 4 --vllm.tensor_parallel_size 2 --train.colocate_all"
PPO = f"--actor.model_name_or_path m --reward.remote_url http://x --data.prompt_dataset d {SHARED}"
# name -> program, arguments, GPUs, part of the refusal (None: it is accepted)
CASES = {
    "good": ("train_ppo_ray", PPO, 8, None),
    "typo": ("train_ppo_ray", f"{PPO} --actor.adam.lrr 1", 8, "SystemExit"),
    "abbreviation": ("train_ppo_ray", f"{PPO} --actor.adam.eps 1 --use_m", 8, "use_m"),
    "number": ("train_ppo_ray", f"{PPO} --train.batch_size many", 8, "SystemExit"),
    "choice": ("train_ppo_ray", f"{PPO} --algo.advantage.estimator gea", 8, "SystemExit"),
    "group": ("train_ppo_ray", f"{PPO} --algo.advantage.estimator rloo", 8, "n_samples_per_prompt > 1"),
    "engines": ("train_ppo_ray", PPO.replace("engines 4", "engines 3"), 8, "vllm_tensor_parallel_size"),
    "reference": ("train_ppo_ray", f"{PPO} --ref.num_gpus_per_node 4", 8, "must be the same when colocate actor"),
    "few": ("train_ppo_ray", f"{PPO} --rollout.batch_size 4", 8, "number of sample batches"),
    "judging": ("train_ppo_ray", PPO.replace("--reward.remote_url http://x", "--reward.model_name_or_path r") + " --eval.dataset e", 8, "eval_dataset"),
    "cluster": ("train_ppo_ray", PPO.replace("--train.colocate_all", ""), 8, "GPUs, of 8"),
    "batch": ("train_ppo_ray", f"{PPO} --train.batch_size 20", 8, "not a multiple"),
    "dpo": ("train_dpo", "--model.model_name_or_path m --model.ipo_enable", 8, None),
    "dpo_prefix": ("train_dpo", "--actor.adam.lr 1", 8, "SystemExit"),
    "sft": ("train_sft", "--data.multiturn --data.apply_chat_template", 2, None),
    "turns": ("train_sft", "--data.multiturn", 2, "apply_chat_template must be enabled"),
    "ring": ("train_rm", "--ds.ring_attn_size 2", 2, "packing_samples must be enabled"),
}  # fmt: skip


@pytest.mark.conformance
def test_it_refuses_what_is_wrong(tool_python: Callable[[str], Path], tmp_path: Path) -> None:
    jobs = []
    for name, (program, arguments, world, _refusal) in CASES.items():
        (tmp_path / name).write_text(SCRIPT.format(arguments, program), encoding="utf-8")
        jobs.append({"file": str(tmp_path / name), "world": world})
    verdicts = judged(jobs, tool_python(ENVIRONMENT))
    wrong = []
    for name, (_program, _arguments, _world, refusal) in CASES.items():
        verdict = verdicts[str(tmp_path / name)]
        said = " ".join([verdict["error"] or "", *verdict["unknown"]])
        if verdict["ok"] is not (refusal is None) or (refusal or "") not in said:
            wrong.append((name, refusal, verdict))
    assert wrong == []
