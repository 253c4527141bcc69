"""OpenRLHF 0.11: the command line of its programs, as a script with one option on a line.

It has no configuration file. `train_sft`, `train_rm` and `train_dpo` are started as processes of one job; reinforcement
learning (`train_ppo_ray`) is one driver that Ray gives its processes. Nothing of it can run, or even be imported,
without NVIDIA GPUs. What its code refuses only after it has started is refused here: each such place is named beside
its rule.
"""

from __future__ import annotations

from typing import get_args

from recipec.job import RAY_PORT, Beside, Job, RayCluster, Word
from recipec.kinds.train.records import Train
from recipec.language.train import Scheduler
from recipec.systems import rewards, trainers
from recipec.systems.check import Check, Only
from recipec.systems.document import Sheet, alike
from recipec.systems.on_cpu import Instead, OnCpu
from recipec.systems.openrlhf import common, data, reinforcement, supervised
from recipec.systems.system import OF_TURNS, Need, System

TOOL = "openrlhf"
FILE = "openrlhf.sh"
SUPERVISED = {"sft": "train_sft", "reward": "train_rm", "dpo": "train_dpo", "ipo": "train_dpo"}
ONLINE = frozenset(["grpo", "rloo", "ppo"])
ALIKE = (alike("train.micro_batch_size", "train.micro_batch_size", "train.dynamic_batch_enable"),)


def _sheets(s: Train, _environment: str) -> list[Sheet]:
    if s.method in ONLINE:
        command: tuple[Word, ...] = ("python3", "-m", "openrlhf.cli.train_ppo_ray")
        rows, program = reinforcement.ROWS, "train_ppo_ray"
    else:
        program = SUPERVISED[s.method]
        rows = supervised.rows(s.method)
        command = (*supervised.start(s), f"openrlhf.cli.{program}")
    return [Sheet(FILE, rows, TOOL, s.release, program, "arguments", command=command, alike=ALIKE)]


def _job(s: Train) -> Job:
    job = trainers.job(s, "bash", Beside(FILE))
    return job.replaced(start=RayCluster(), ports=(RAY_PORT,)) if s.method in ONLINE else job


def _files(s: Train) -> dict[str, str]:
    if s.method in ONLINE and rewards.functions(s) and not reinforcement.is_remote(s.rewards):
        return {rewards.FILE: rewards.openrlhf(s)}
    return {}


def _checks(s: Train) -> tuple[Check, ...]:
    own = reinforcement.CHECKS if s.method in ONLINE else supervised.CHECKS
    return (*common.CHECKS, *data.CHECKS, *own)


def _uses(s: Train) -> tuple[str, ...]:
    """The kind of adapter is used where it is the only one that OpenRLHF can do: others are refused."""
    return ("adapter.type", "hardware.nodes", "hardware.per_node", *(["rewards"] if _files(s) else []))


def _need(s: Train) -> Need:
    need = trainers.need(s, brings=frozenset(["deepspeed", "flash-attn"]), adds=frozenset())
    return need.replaced(extras=need.extras | {"ring-flash-attn"}) if s.parallel.context_parallel > 1 else need


SYSTEM = System(
    TOOL,
    kinds=frozenset(["train"]),
    can={
        "method": frozenset(SUPERVISED) | ONLINE,
        "parallel.strategy": frozenset(["zero1", "zero2", "zero3"]),
        "adapter.type": frozenset(["lora"]),
        # it cannot be told how long warmup_stable_decay decays
        "optimizer.scheduler": frozenset(get_args(Scheduler)) - {"warmup_stable_decay"},
    },
    sheets=_sheets,
    engines_apart=True,
    keeps=frozenset(["activations"]),
    scores_tokens=True,
    trusts_code=True,
    own_loop=True,
    needs=_need,
    job=_job,
    files=_files,
    checks=_checks,
    uses=_uses,
    reads={"chat": OF_TURNS, "preference": OF_TURNS, "prompt": OF_TURNS},
    pairs=frozenset(["messages"]),
    on_cpu=OnCpu(
        (  # so that what else a course holds can be rehearsed
            Instead("rollout.engines", None, "two processes are too few", (Only("rollout.engines"),)),
            Instead("rollout.tensor_parallel", None, "two processes are too few", (Only("rollout.tensor_parallel"),)),
        ),
        "OpenRLHF cannot be imported without flash-attn, and samples by vLLM: both need a GPU",
    ),
    joint_length=True,  # utils/agent.py leaves the rest to the prompt
)
