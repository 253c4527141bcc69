"""`train_ppo_ray`: PPO, REINFORCE++, GRPO and RLOO, whose models and vLLM engines Ray places on the declared GPUs.

Placement is of two kinds. Without `rollout.engines` every model and engine shares every GPU, and those that do not
compute sleep. With them, the engines have GPUs of their own; of the rest the actor and its reference take one half
and the critic and reward model the other, or the actor everything where there is neither.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recipec.kinds.train.records import Rollout, Train
from recipec.render.arguments_writer import Expanded
from recipec.systems import rewards
from recipec.systems.check import Unsupported
from recipec.systems.openrlhf import common, data
from recipec.systems.table import OMIT, Row, computed, same

NO_CLIP = 1_000_000


def _rollout(s: Train) -> Rollout:
    assert s.rollout is not None  # only online methods come here
    return s.rollout


def has_critic(s: Train) -> bool:
    """Whether a value model is trained beside the policy."""
    return s.method == "ppo" and s.objective is not None and s.objective.loss != "reinforce++"


def reward_model(s: Train) -> str | None:
    """Return the path of the reward model; None where rewards come from functions or an endpoint."""
    models = [index for index, reward in enumerate(s.rewards) if reward.type == "model"]
    if not models:
        return None
    if len(s.rewards) > 1:
        at = f"rewards.{models[0]}"
        raise Unsupported(at, "OpenRLHF has one reward model, and then no functions beside it", "keep one of them")
    if s.rewards[0].weight != 1:
        raise Unsupported("rewards.0.weight", "OpenRLHF does not scale the reward of a model", "drop weight")
    return s.rewards[0].path


def is_remote(s: Train) -> bool:
    """Whether the only reward is that of an HTTP endpoint, which OpenRLHF asks itself in the same words."""
    return len(s.rewards) == 1 and s.rewards[0].type == "remote" and s.rewards[0].weight == 1


def _remote_url(s: Train) -> Any:
    if reward_model(s) is not None:
        return OMIT
    if is_remote(s):
        url = s.rewards[0].url
        assert url is not None
        if "," in url:
            raise Unsupported("rewards.0.url", "OpenRLHF reads a comma in an address as a separator", "write it as %2C")
        return url
    return Expanded(f"$here/{rewards.FILE}")


def shares(s: Train) -> bool:
    """Whether the engines share the GPUs of the models. `train_ppo_ray` can generate only by vLLM, in bf16."""
    roll = _rollout(s)
    if roll.engine != "vllm":
        raise Unsupported("rollout.engine", "OpenRLHF generates by vLLM only", "set rollout.engine: vllm")
    if s.numerics.precision != "bf16":  # asserted by vllm_worker_wrap.py
        raise Unsupported("numerics.precision", "OpenRLHF's vLLM engines compute in bf16", "use precision: bf16")
    if s.adapter is not None:  # vllm_worker_wrap.py hands vLLM each parameter by the name that PEFT gave it
        raise Unsupported("adapter", "OpenRLHF cannot hand an adapter's weights to vLLM", "train all weights")
    if s.model.load_in != "bf16":
        raise Unsupported("model.load_in", "OpenRLHF cannot hand quantised weights to vLLM", "use load_in: bf16")
    if roll.max_new_tokens >= s.model.max_length:  # utils/agent.py leaves the rest to the prompt
        message = f"max_new_tokens {roll.max_new_tokens} leaves no room for a prompt in {s.model.max_length} tokens"
        raise Unsupported("rollout.max_new_tokens", message, "raise model.max_length, or lower it")
    if roll.mask_truncated:
        raise Unsupported("rollout.mask_truncated", "OpenRLHF keeps cut completions in the loss", "drop it")
    return roll.engines is None


def _engines(s: Train) -> Any:
    """As many as fill the shared GPUs: asserted by `train_ppo_ray` before it starts any model."""
    roll = _rollout(s)
    per_node, world, each = s.hardware.per_node, s.hardware.world, roll.tensor_parallel
    if not shares(s):
        return roll.engines
    if world % each or (each > per_node and each % per_node) or (each < per_node and per_node % each):
        message = f"engines of {each} GPUs do not fill nodes of {per_node}"
        raise Unsupported("rollout.tensor_parallel", message, f"use a divisor of {per_node}")
    return world // each


def nodes_and_gpus(gpus: int, per_node: int) -> tuple[int, int]:
    """Return the fewest nodes on which so many GPUs are spread evenly, and the GPUs on each."""
    nodes = next(n for n in range(-(-gpus // per_node), gpus + 1) if gpus % n == 0)
    return nodes, gpus // nodes


def _sized(name: str, there: Callable[[Train], bool]) -> tuple[Row, Row]:
    """Nodes and GPUs of a group of processes; all groups of a run are equally large."""

    def part(index: int) -> Callable[[Train], Any]:
        return lambda s: nodes_and_gpus(s.batch.data_parallel, s.hardware.per_node)[index] if there(s) else OMIT

    return computed(f"{name}.num_nodes", part(0)), computed(f"{name}.num_gpus_per_node", part(1))


def _pulled(s: Train) -> bool:
    """Whether there is a reference model."""
    return s.objective is not None and s.objective.beta > 0


def _estimator(s: Train) -> Any:
    assert s.objective is not None
    if s.method == "ppo":
        return "gae" if has_critic(s) else "reinforce"
    if s.method == "rloo":
        return "rloo"
    scale = _rollout(s).scale_rewards
    if scale == "batch":
        advice = "use group or none"
        raise Unsupported("rollout.scale_rewards", "OpenRLHF cannot scale rewards by the batch", advice)
    if s.objective.loss == "dr_grpo" and scale == "group":
        advice = "set rollout.scale_rewards: none, as Dr. GRPO has it"
        raise Unsupported("objective.loss", "OpenRLHF's dr_grpo divides by no standard deviation", advice)
    return "group_norm" if scale == "group" else "dr_grpo"


def _policy_loss(s: Train) -> Any:
    return "gspo" if s.objective is not None and s.objective.loss == "gspo" else "ppo"


def _aggregate(s: Train) -> Any:
    if s.method != "grpo":
        return "token-mean"
    assert s.objective is not None
    known = dict.fromkeys(("grpo", "gspo"), "seq-mean-token-mean") | dict.fromkeys(("dapo", "dr_grpo"), "token-mean")
    if s.objective.loss not in known:
        message = f"OpenRLHF has no {s.objective.loss} loss"
        raise Unsupported("objective.loss", message, f"it can do {', '.join(known)}")
    return known[s.objective.loss]


def _in_loss(s: Train) -> bool:
    """Whether the pull towards the reference is part of the loss, as in GRPO, and not of the reward."""
    return s.method == "grpo" and _pulled(s)


def _prompts(s: Train) -> Any:
    return s.batch.total // _rollout(s).completions


def _critic(make: Callable[[Train], Any]) -> Callable[[Train], Any]:
    return lambda s: make(s) if has_critic(s) else OMIT


def _evaluate(s: Train) -> Any:
    """`train_ppo_ray` asserts that rewards for validation come from functions or an endpoint; -1 is never."""
    if not s.data.validation:
        return OMIT
    if reward_model(s) is not None:
        advice = "drop data.validation, or reward by a function"
        raise Unsupported("data.validation", "OpenRLHF validates only with reward functions", advice)
    if s.watch.evaluate_every == "epoch":
        advice = "set train.evaluate_every to a number of steps"
        raise Unsupported("watch.evaluate_every", "OpenRLHF validates every so many steps", advice)
    return s.watch.evaluate_every


PLACEMENT: tuple[Row, ...] = (
    *_sized("actor", lambda _s: True),
    *_sized("ref", _pulled),
    *_sized("critic", has_critic),
    *_sized("reward", lambda s: reward_model(s) is not None),
    computed("train.colocate_all", lambda s: shares(s), "every model and engine shares every GPU"),
    computed(
        "train.colocate_actor_ref",
        lambda s: not shares(s) and _pulled(s),
        "actor and reference share theirs",
    ),
    computed(
        "train.colocate_critic_reward",
        lambda s: not shares(s) and has_critic(s) and reward_model(s) is not None,
        "critic and reward model share theirs",
    ),
    computed("vllm.num_engines", _engines),
    same("vllm.tensor_parallel_size", "rollout.tensor_parallel"),
    same("vllm.gpu_memory_utilization", "rollout.gpu_memory_share"),
    computed("vllm.enable_sleep", lambda s: shares(s), "engines leave the memory to training, and the reverse"),
    computed("ds.enable_sleep", lambda s: shares(s)),
)
BATCH: tuple[Row, ...] = (
    computed("train.batch_size", lambda s: s.batch.total, "completions per optimiser step"),
    computed("train.micro_batch_size", lambda s: (s.batch.micro, s.batch.accumulation)[0]),
    computed("rollout.batch_size", _prompts, "prompts whose completions are one optimiser step"),
    same("rollout.n_samples_per_prompt", "rollout.completions"),
    same("rollout.micro_batch_size", "batch.micro"),
    computed("train.num_episodes", common.epochs, "passes over the prompts"),
    computed("train.max_epochs", lambda s: _rollout(s).iterations, "passes over each batch of completions"),
    computed("eval.steps", _evaluate),
    same("data.dataloader_num_workers", "data.workers"),
)
POLICY: tuple[Row, ...] = (
    same("rollout.max_new_tokens", "rollout.max_new_tokens"),
    same("rollout.temperature", "rollout.temperature"),
    same("rollout.top_p", "rollout.top_p"),
    computed("algo.advantage.estimator", _estimator),
    computed("algo.advantage.lambd", _critic(lambda s: _rollout(s).gae_lambda)),
    computed("algo.advantage.gamma", lambda s: _rollout(s).discount if s.method == "ppo" else OMIT),
    same("algo.kl.init_coef", "objective.beta"),
    computed("algo.kl.use_loss", _in_loss),
    computed("algo.kl.estimator", lambda s: ("k3" if _in_loss(s) else "k1") if _pulled(s) else OMIT),
    computed("actor.policy_loss_type", _policy_loss),
    computed("actor.loss_agg_mode", _aggregate),
    computed("actor.eps_clip_low_high", lambda s: [_rollout(s).clip, _rollout(s).clip_high]),
)
REWARDS: tuple[Row, ...] = (
    computed("reward.model_name_or_path", reward_model),
    computed("reward.remote_url", _remote_url),
    computed("reward.clip_range", lambda _s: [-NO_CLIP, NO_CLIP], "rewards count as they are"),
    computed(
        "critic.model_name_or_path",
        _critic(lambda s: reward_model(s) or s.model.path),
        "its start: the reward model, else the policy with a new head",
    ),
)
ROWS: tuple[Row, ...] = (
    *common.model("actor"),
    *PLACEMENT,
    *data.sources("prompt_dataset", "prompt_split"),
    *data.PROMPTS,
    *REWARDS,
    *BATCH,
    *POLICY,
    *common.optimiser("actor.", common.learning_rate),
    *common.optimiser("critic.", lambda s: _rollout(s).critic_learning_rate, has_critic),
    *common.KEEPING,
    computed("logger.tensorboard_dir", lambda s: f"{s.output}/tensorboard" if s.track.tensorboard else OMIT),
)
