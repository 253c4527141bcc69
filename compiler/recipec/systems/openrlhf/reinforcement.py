"""`train_ppo_ray`: PPO, REINFORCE++, GRPO and RLOO, whose models and vLLM engines Ray places on the declared GPUs.

Placement is of two kinds. Without `rollout.engines` every model and engine shares every GPU, and those that do not
compute sleep. With them, the engines have GPUs of their own; of the rest the actor and its reference take one half
and the critic and reward model the other, or the actor everything where there is neither.
"""

from __future__ import annotations

from recipec.kinds.train.records import Reward
from recipec.render.arguments_writer import Expanded
from recipec.systems import rewards
from recipec.systems.check import Check, differs, refuses
from recipec.systems.openrlhf import common, data
from recipec.systems.table import (
    OMIT,
    Row,
    below,
    choice,
    constant,
    gathered,
    made,
    named,
    renamed,
    same,
)

NO_CLIP = 1_000_000
# OpenRLHF's words for how the losses of a step are averaged, by GRPO's losses
AGGREGATED = {
    "grpo": "seq-mean-token-mean",
    "gspo": "seq-mean-token-mean",
    "dapo": "token-mean",
    "dr_grpo": "token-mean",
}
REWARD = "rewards.0.type"  # checks see to it that a reward model is the only reward


def with_critic(row: Row) -> Row:
    """Return the row for stages that train a value model beside the policy."""
    return row.when("method", "ppo").unless("objective.loss", "reinforce++")


def with_reference(row: Row) -> Row:
    """Return the row for stages that are pulled towards a reference model."""
    return row.when("objective.beta")


def with_reward_model(row: Row) -> Row:
    """Return the row for stages whose reward is that of a model, not of functions or an endpoint."""
    return row.when(REWARD, "model")


def is_remote(chosen: tuple[Reward, ...]) -> bool:
    """Return whether the only reward is that of an HTTP endpoint, which OpenRLHF asks itself in the same words."""
    return len(chosen) == 1 and chosen[0].type == "remote" and chosen[0].weight == 1


def nodes_and_gpus(gpus: int, per_node: int) -> tuple[int, int]:
    """Return the fewest nodes on which so many GPUs are spread evenly, and the GPUs on each."""
    nodes = next(n for n in range(-(-gpus // per_node), gpus + 1) if gpus % n == 0)
    return nodes, gpus // nodes


def _sized(name: str) -> Row:
    """Nodes and GPUs of a group of processes; all groups of a run are equally large."""

    def say(holders: int, context: int, tensor: int, per_node: int) -> tuple[int, int]:
        return nodes_and_gpus(holders * context * tensor, per_node)

    keys = (f"{name}.num_nodes", f"{name}.num_gpus_per_node")
    sizes = ("batch.data_parallel", "parallel.context_parallel", "parallel.tensor_parallel", "hardware.per_node")
    return Row(keys, sizes, say)


def _shared(key: str, why: str = "") -> Row:
    """The key is true where the engines share the GPUs of the models."""
    return choice(key, "rollout.engines", {None: True}, other=False, why=why)


PLACEMENT: tuple[Row, ...] = (
    _sized("actor"),
    with_reference(_sized("ref")),
    with_critic(_sized("critic")),
    with_reward_model(_sized("reward")),
    _shared("train.colocate_all", "every model and engine shares every GPU"),
    with_reference(
        constant("train.colocate_actor_ref", True, "actor and reference share GPUs").when("rollout.engines")
    ),
    with_reward_model(
        with_critic(
            constant("train.colocate_critic_reward", True, "critic and reward model share GPUs").when("rollout.engines")
        )
    ),
    same("vllm.num_engines", "rollout.engines").when("rollout.engines"),
    # as many as fill the shared GPUs: asserted by `train_ppo_ray` before it starts any model
    made("vllm.num_engines", lambda world, each: world // each, "hardware.world", "rollout.tensor_parallel").unless(
        "rollout.engines"
    ),
    same("vllm.tensor_parallel_size", "rollout.tensor_parallel"),
    same("vllm.gpu_memory_utilization", "rollout.gpu_memory_share"),
    _shared("vllm.enable_sleep", "engines and training free their memory for each other"),
    _shared("ds.enable_sleep"),
)
REWARDS: tuple[Row, ...] = (
    with_reward_model(same("reward.model_name_or_path", "rewards.0.path")),
    made(
        "reward.remote_url",
        lambda chosen: chosen[0].url if is_remote(chosen) else Expanded(f"$here/{rewards.FILE}"),
        "rewards",
    ).unless(REWARD, "model"),
    constant("reward.clip_range", [-NO_CLIP, NO_CLIP], "rewards are not clipped"),
    with_critic(
        made(
            "critic.model_name_or_path",
            lambda kind, judge, policy: judge if kind == "model" else policy,
            REWARD,
            "rewards.0.path",
            "model.path",
            why="starts from the reward model, or else the policy with a new head",
        )
    ),
)
BATCH: tuple[Row, ...] = (
    same("train.batch_size", "batch.total", "completions per optimiser step"),
    same("train.micro_batch_size", "batch.micro"),
    made(
        "rollout.batch_size",
        lambda total, completions: total // completions,
        "batch.total",
        "rollout.completions",
        why="prompts; their completions are one optimiser step",
    ),
    same("rollout.n_samples_per_prompt", "rollout.completions"),
    same("rollout.micro_batch_size", "batch.micro"),
    common.passes("train.num_episodes", "passes over the prompts"),
    same("train.max_epochs", "rollout.iterations", "passes over each batch of completions"),
    renamed("eval.steps", "watch.evaluate_every", {"epoch": OMIT, "never": OMIT}),  # unsaid, it is never
    same("data.dataloader_num_workers", "data.workers"),
)
POLICY: tuple[Row, ...] = (
    same("rollout.max_new_tokens", "rollout.max_new_tokens"),
    same("rollout.temperature", "rollout.temperature"),
    same("rollout.top_p", "rollout.top_p"),
    choice("algo.advantage.estimator", "objective.loss", {"reinforce++": "reinforce"}, other="gae").when(
        "method", "ppo"
    ),
    constant("algo.advantage.estimator", "rloo").when("method", "rloo"),
    named("algo.advantage.estimator", "rollout.scale_rewards", {"group": "group_norm", "none": "dr_grpo"}).when(
        "method", "grpo"
    ),
    with_critic(same("algo.advantage.lambd", "rollout.gae_lambda")),
    same("algo.advantage.gamma", "rollout.discount").when("method", "ppo"),
    same("algo.kl.init_coef", "objective.beta"),
    # GRPO's pull is part of the loss, that of the others of the reward
    with_reference(choice("algo.kl.use_loss", "method", {"grpo": True}, other=False)),
    with_reference(choice("algo.kl.estimator", "method", {"grpo": "k3"}, other="k1")),
    choice("actor.policy_loss_type", "objective.loss", {"gspo": "gspo"}, other="ppo"),
    named("actor.loss_agg_mode", "objective.loss", AGGREGATED).when("method", "grpo"),
    constant("actor.loss_agg_mode", "token-mean").unless("method", "grpo"),
    gathered("actor.eps_clip_low_high", "rollout.clip", "rollout.clip_high"),
)
ROWS: tuple[Row, ...] = (
    *common.model("actor"),
    *PLACEMENT,
    *data.sources("prompt_dataset", "prompt_split"),
    *data.PROMPTS,
    *REWARDS,
    *BATCH,
    *POLICY,
    *common.optimiser("actor.", "optimizer.learning_rate"),
    *map(with_critic, common.optimiser("critic.", "rollout.critic_learning_rate")),
    *common.KEEPING,
    below("logger.tensorboard_dir", "output", "tensorboard").when("track.tensorboard"),
)


def _does_not_fill(each: int, per_node: int, world: int) -> bool:
    return bool(world % each or (each > per_node and each % per_node) or (each < per_node and per_node % each))


_AVERAGED = "OpenRLHF averages the loss over all tokens of a step"
CHECKS: tuple[Check, ...] = (
    refuses(
        "rollout.engine",
        when=lambda engine: engine != "vllm",
        message="OpenRLHF generates by vLLM only",
        advice="set rollout.engine: vllm",
    ),
    refuses(  # asserted by vllm_worker_wrap.py
        "numerics.precision",
        when=lambda precision: precision != "bf16",
        message="OpenRLHF's vLLM engines compute in bf16",
        advice="use precision: bf16",
    ),
    refuses(  # vllm_worker_wrap.py hands vLLM each parameter by the name that PEFT gave it
        "adapter",
        when=lambda adapter: adapter is not None,
        message="OpenRLHF cannot hand an adapter's weights to vLLM",
        advice="train all weights",
    ),
    refuses(
        "rollout.mask_truncated",
        when=bool,
        message="OpenRLHF cannot leave truncated completions out of the loss",
        advice="drop it",
    ),
    refuses(
        "rollout.tensor_parallel",
        "hardware.per_node",
        "hardware.world",
        when=_does_not_fill,
        message=lambda each, per_node, _world: f"engines of {each} GPUs do not fill nodes of {per_node}",
        advice=lambda _each, per_node, _world: f"use a divisor of {per_node}",
    ).unless("rollout.engines"),
    refuses(
        "objective.loss",
        "rollout.scale_rewards",
        when=lambda loss, scale: loss == "dr_grpo" and scale == "group",
        message="OpenRLHF's dr_grpo divides by no standard deviation",
        advice="set rollout.scale_rewards: none, as Dr. GRPO has it",
    ).when("method", "grpo"),
    refuses(
        "rewards.*.type",
        "rewards",
        when=lambda kind, chosen: kind == "model" and len(chosen) > 1,
        message="OpenRLHF takes one reward model or reward functions, not both",
        advice="keep one of them",
    ),
    refuses(
        "rewards.0.weight",
        when=lambda weight: weight != 1,
        message="OpenRLHF does not scale the reward of a model",
        advice="drop weight",
    ).when(REWARD, "model"),
    refuses(
        "rewards.0.url",
        "rewards",
        when=lambda url, chosen: is_remote(chosen) and "," in url,
        message="OpenRLHF reads a comma in an address as a separator",
        advice="write it as %2C",
    ),
    refuses(  # asserted by train_ppo_ray
        "data.validation",
        when=bool,
        message="OpenRLHF validates only with reward functions",
        advice="drop data.validation, or reward by a function",
    ).when(REWARD, "model"),
    refuses(
        "watch.evaluate_every",
        when=lambda every: every == "epoch" or isinstance(every, float),
        message="OpenRLHF validates by steps",
        advice="set train.evaluate_every to a number of steps",
    ).unless(REWARD, "model"),
    differs(
        "method",
        when=lambda _method: True,
        message=f"{_AVERAGED}; RLOO sums over the tokens of a completion",
        advice="use trl where that matters",
    ).when("method", "rloo"),
    differs(
        "method",
        "objective.loss",
        when=lambda _method, loss: loss == "dr_grpo",
        message=f"{_AVERAGED}; Dr. GRPO divides by a constant",
        advice="use trl where that matters",
    ).when("method", "grpo"),
)
